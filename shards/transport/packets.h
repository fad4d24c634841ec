/*
 * The pool of a shard for packets that are kept: until they are acknowledged, or until their turn comes. Blocks of two
 * sizes, cut from slabs; a slab whose blocks are all back serves either size. Slabs are allocated as they are needed,
 * up to the limit, and kept.
 */
#ifndef NM_SHARDS_NODE_PACKETS_H
#define NM_SHARDS_NODE_PACKETS_H

#include "shards/transport/stream.h"

struct packet_pool {
    uint64_t limit, taken;        /* bytes: of all slabs at most (limits.unacknowledged), of the slabs there are */
    uint64_t used;                /* bytes of the blocks in use */
    bool returned;                /* a block came back since somebody cleared this */
    struct list empty;            /* slabs without a block in use */
    struct list partial[2], full; /* by size: with both kinds of blocks; without a free one */
};

void packet_pool_init(struct packet_pool *, uint64_t limit);
void packet_pool_deinit(struct packet_pool *); /* every block is back */
/* A block with at least `room` bytes at data, at most WIRE_MAX_PLAINTEXT; all else is zero. NULL: the limit is reached,
 * or memory. */
struct packet *packet_get(struct packet_pool *, size_t room);
void packet_put(struct packet_pool *, struct packet *);

#endif
