/* Bounds on what strangers can make us compute (extensions.md X0, gate; session.md 16.9, 16.10). */
#ifndef NM_SHARDS_NODE_GUARD_H
#define NM_SHARDS_NODE_GUARD_H

#include "core/io/io.h"

enum { GUARD_SOURCES = 4096, GUARD_EPHEMERALS = 4096 };
struct guard {
    uint64_t seed;
    uint64_t window_start;
    uint16_t sources[GUARD_SOURCES]; /* handshakes in this second, by hash of the source */
    uint8_t ephemerals[GUARD_EPHEMERALS][16];
    uint64_t *answered; /* ring of times: answers not yet confirmed */
    uint32_t answered_head, answered_count, answered_max;
};

int guard_init(struct guard *, struct io *, uint32_t max_pending); /* NET_OK, NET_ERR_NO_MEMORY */
void guard_deinit(struct guard *);
/* At most UINT16_MAX a second: the range of limits.handshakes_per_source. */
bool guard_source_ok(struct guard *, uint64_t now, const struct io_addr *, uint32_t per_second);
bool guard_ephemeral_seen(struct guard *, const uint8_t ephemeral[32]);
void guard_ephemeral_remember(struct guard *, const uint8_t ephemeral[32]);
bool guard_pending_ok(struct guard *, uint64_t now, uint64_t timeout); /* ns; counts one when true */
void guard_confirmed(struct guard *);

#endif
