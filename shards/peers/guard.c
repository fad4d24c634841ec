/* Fixed memory, no allocation: what bounds handshakes before anything expensive is done for them. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/base/err.h"
#include "shards/peers/guard.h"

static const uint64_t WINDOW_NS = 1000000000;

int guard_init(struct guard *g, struct io *io, uint32_t max_pending)
{
    *g = (struct guard){.answered = calloc(max_pending, sizeof *g->answered), .answered_max = max_pending};
    io_random(io, &g->seed, sizeof g->seed);
    return g->answered ? NET_OK : NET_ERR_NO_MEMORY;
}

void guard_deinit(struct guard *g)
{
    free(g->answered);
}

bool guard_source_ok(struct guard *g, uint64_t now, const struct io_addr *from, uint32_t per_second)
{
    if (now - g->window_start >= WINDOW_NS) {
        memset(g->sources, 0, sizeof g->sources);
        g->window_start = now;
    }
    uint8_t key[18];
    memcpy(key, from->ip, 16);
    store_le16(key + 16, from->port);
    uint16_t *count = &g->sources[XXH3_64bits_withSeed(key, sizeof key, g->seed) % GUARD_SOURCES];
    if (*count >= per_second)
        return false;
    (*count)++;
    return true;
}

/* Two places an ephemeral may be in; the newer one pushes the older out of the first. */
static void places(struct guard *g, const uint8_t ephemeral[32], uint8_t **first, uint8_t **second)
{
    uint64_t hash = XXH3_64bits_withSeed(ephemeral, 32, g->seed);
    *first = g->ephemerals[hash % GUARD_EPHEMERALS];
    *second = g->ephemerals[(hash >> 32) % GUARD_EPHEMERALS];
}

bool guard_ephemeral_seen(struct guard *g, const uint8_t ephemeral[32])
{
    uint8_t *first, *second;
    places(g, ephemeral, &first, &second);
    return memcmp(first, ephemeral, 16) == 0 || memcmp(second, ephemeral, 16) == 0;
}

void guard_ephemeral_remember(struct guard *g, const uint8_t ephemeral[32])
{
    uint8_t *first, *second;
    places(g, ephemeral, &first, &second);
    if (second != first)
        memcpy(second, first, 16);
    memcpy(first, ephemeral, 16);
}

bool guard_pending_ok(struct guard *g, uint64_t now, uint64_t timeout_ns)
{
    while (g->answered_count && now - g->answered[g->answered_head] >= timeout_ns)
        guard_confirmed(g); /* given up: its place is free */
    if (g->answered_count == g->answered_max)
        return false;
    g->answered[(g->answered_head + g->answered_count++) % g->answered_max] = now;
    return true;
}

void guard_confirmed(struct guard *g)
{
    if (g->answered_count == 0)
        return;
    g->answered_head = (g->answered_head + 1) % g->answered_max;
    g->answered_count--;
}
