/*
 * Who subscribed to which channel of ours: one roster per shard, for the channels that the shard owns. channels.md 10,
 * in broadcast mode; a queue group will be a second kind of list beside `broadcast` in a channel, its members counting
 * for the peer like these. Nothing here is touched per event: fan-out is by cursors in the log.
 */
#ifndef NM_CORE_CHANNEL_ROSTER_H
#define NM_CORE_CHANNEL_ROSTER_H

#include "core/base/list.h"
#include "core/base/map.h"
#include "core/channel/channel.h"

/* One peer's subscription to one channel. */
struct roster_member {
    struct list in_channel, in_peer;
    struct roster_channel *channel;
    struct roster_peer *peer;
    uint64_t node_id;
    unsigned shard; /* where that peer lives */
};

struct roster {
    struct map channels; /* by channel hash; channels of the same hash are chained and told apart by name */
    struct map peers;    /* by node id */
    uint32_t channel_count, max_channels, max_channels_per_peer;
};

/* max_channels: with at least one subscriber; both limits are at least 1. `seed` is from the shard's randomness.
 * NET_OK. */
int roster_init(struct roster *, uint32_t max_channels, uint32_t max_channels_per_peer, uint64_t seed);
void roster_deinit(struct roster *);

/* 1: new. 0: subscribed already (the shard is brought up to date), also at the limits. NET_ERR_LIMIT (of channels, or
 * of this peer), NET_ERR_NO_MEMORY; then nothing changed. */
int roster_add(struct roster *, const struct channel_name *, uint64_t node_id, unsigned shard);
bool roster_remove(struct roster *, const struct channel_name *, uint64_t node_id); /* false: was not there */
/* Takes a peer from every channel. Returns from how many. */
uint32_t roster_remove_peer(struct roster *, uint64_t node_id);

bool roster_has(const struct roster *, const struct channel_name *, uint64_t node_id);
uint32_t roster_count(const struct roster *, const struct channel_name *); /* subscribers */
uint32_t roster_peer_channels(const struct roster *, uint64_t node_id);
/* The subscribers of a channel in the order they came: the first when `after` is NULL, NULL behind the last. Do not
 * change the roster meanwhile. */
const struct roster_member *roster_next(const struct roster *, const struct channel_name *,
                                        const struct roster_member *after);

#endif
