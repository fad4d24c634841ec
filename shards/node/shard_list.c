/* What the admin port is told of the shards themselves. */
#include <string.h>

#include "shards/node/shard.h"

static uint64_t drops(const struct shard_metrics *m)
{
    uint64_t sum = 0;
#define X(field, name, labels, help)                                                                                   \
    if (strcmp(name, "drops_total") == 0)                                                                              \
        sum += counter_get(&m->field);
    SHARD_COUNTERS(X)
#undef X
    return sum;
}

static uint64_t fullest_ring(const struct node *n, unsigned to)
{
    size_t most = 0;
    for (unsigned from = 0; from < n->shard_count; from++) {
        size_t used = spsc_used(&n->rings[from * n->shard_count + to]);
        if (used > most)
            most = used;
    }
    return most;
}

void node_each_shard(struct node *n, void (*row)(void *ctx, const struct shard_row *), void *ctx)
{
    const struct config *c = n->config;
    for (unsigned i = 0; i < n->shard_count; i++) {
        const struct shard_metrics *m = &n->shards[i]->metrics;
        struct shard_row r = {
            .index = i,
            .pinned = c->pin && c->cpu_count,
            .cpu = c->cpu_count ? c->cpus[i % c->cpu_count] : 0,
            .turns = counter_get(&m->turns),
            .peers = counter_get(&m->gauge_peers),
            .sessions = counter_get(&m->gauge_sessions),
            .logs = counter_get(&m->gauge_logs),
            .rx_datagrams = counter_get(&m->rx_datagrams),
            .rx_bytes = counter_get(&m->rx_bytes),
            .rx_events = counter_get(&m->rx_events),
            .tx_datagrams = counter_get(&m->tx_datagrams),
            .tx_bytes = counter_get(&m->tx_bytes),
            .tx_events = counter_get(&m->tx_events),
            .published_events = counter_get(&m->published_events),
            .stored_events = counter_get(&m->stored_events),
            .drops = drops(m),
            .ring_bytes = c->ring_bytes,
            .ring_used = fullest_ring(n, i),
        };
        row(ctx, &r);
    }
}
