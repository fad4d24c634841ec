/* Subscriptions, both ways, on the home shard of the peer (channels.md 6 to 8, 13): ours at it, and its at us. */
#ifndef NM_SHARDS_NODE_MEMBERSHIP_H
#define NM_SHARDS_NODE_MEMBERSHIP_H

#include "shards/node/peer.h"

enum subscription_state { SUBSCRIPTION_ASKING, SUBSCRIPTION_ACTIVE, SUBSCRIPTION_REFUSED, SUBSCRIPTION_LEAVING };

struct subscription { /* ours, at this peer */
    struct list in_peer;
    struct channel_name channel;
    uint64_t hash, nonce;
    enum subscription_state state;
    uint64_t ask_at; /* next time to (re)send; UINT64_MAX none */
    uint32_t attempts;
    bool opened; /* the owner of our copy was told */
};

void membership_on_packet(struct peer *, struct cspan plaintext, uint32_t count);
void membership_on_roster_ack(struct shard *, const struct msg_answer *);
void membership_on_subscribe(struct shard *, bool on, const struct msg_subscribe *);
void membership_on_session(struct peer *); /* a new one: everything is asked again */
void membership_tick(struct peer *, uint64_t now);
uint64_t membership_deadline(const struct peer *);
void membership_free(struct peer *);
struct subscription *membership_find(struct peer *, uint64_t stream_id); /* NULL: none of ours */

#endif
