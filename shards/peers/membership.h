/* Subscriptions, both ways, on the home shard of the peer (channels.md 6 to 8, 13): ours at it, and its at us. */
#ifndef NM_SHARDS_NODE_MEMBERSHIP_H
#define NM_SHARDS_NODE_MEMBERSHIP_H

#include "shards/channels/follow.h"
#include "shards/peers/peer.h"

enum subscription_state { SUBSCRIPTION_ASKING, SUBSCRIPTION_ACTIVE, SUBSCRIPTION_REFUSED, SUBSCRIPTION_LEAVING };

struct subscription { /* ours, at this peer */
    struct list in_peer;
    struct channel_name channel;
    uint64_t hash, nonce;
    bool asked;                  /* what is wanted now, under the nonce: its Ack counts */
    uint32_t number;             /* of the wish that this is */
    enum subscription_mode mode; /* as wanted */
    enum subscription_start start;
    uint64_t start_seq;
    bool fresh;             /* the start counts, whatever log there is of an earlier follow */
    bool followed;          /* else live */
    const char *note;       /* static: why it is live instead of followed; "" */
    uint64_t has_no_log_of; /* the peer's instance that keeps no log of the channel; 0 */
    struct following following;
    enum subscription_state state;
    uint64_t ask_at; /* next time to (re)send; UINT64_MAX none */
    uint32_t attempts;
    bool opened; /* the owner of our copy was told */
};

void membership_on_packet(struct peer *, struct cspan plaintext, uint32_t count);
void membership_on_roster_ack(struct shard *, const struct msg_answer *);
void membership_on_want(struct shard *, bool on, const struct msg_want *);
/* A new one: everything is asked again; what is followed only of a peer that is `anew`, without streams of before. */
void membership_on_session(struct peer *, bool anew);
void membership_tick(struct peer *, uint64_t now);
uint64_t membership_deadline(const struct peer *);
void membership_free(struct peer *);
/* follow_follower.c: what became of a follow. `note` is static. */
void membership_accepted(struct peer *, struct subscription *);
void membership_refused(struct peer *, struct subscription *, int err, const char *note); /* POLICY: by the peer */
void membership_go_live(struct peer *, struct subscription *, const char *note);
struct subscription *membership_find(struct peer *, uint64_t stream_id); /* NULL: none of ours */

#endif
