/* A peer on its home shard: its sessions, its streams, and its turn to send. */
#ifndef NM_SHARDS_NODE_PEER_H
#define NM_SHARDS_NODE_PEER_H

#include "core/channel/channel.h"
#include "core/stream/fragment.h"
#include "shards/node/shard.h"
#include "shards/transport/stream.h"

struct control_message { /* a membership message waiting to be sent */
    uint16_t len;
    uint8_t bytes[MEMBERSHIP_MAX_SENT];
};
enum { CONTROL_QUEUE = 32 };

struct append_producer;
struct append_taker;

struct peer {
    struct shard *shard;
    uint64_t node_id;
    struct link link;
    struct io_addr addr;
    bool relayed;             /* every packet travels with a routing header */
    struct io_addr next_addr; /* where an unconfirmed session's other end is */
    bool next_relayed;
    bool reported_connected, moved; /* moved: shard 0 does not know the address yet */
    uint64_t reported_at;
    uint64_t contact;  /* which contact of shard 0 this is */
    uint64_t instance; /* the peer's, of the current state */
    uint64_t features, rtt_ns;
    uint16_t plaintext_path; /* bytes that fit the path unfragmented */
    uint16_t plaintext_max;  /* bytes the peer takes */
    uint16_t
        plaintext_whole; /* bytes of an event that goes in one packet; a larger one goes in fragments, if the peer takes
                          * them: a lost piece of IP's fragments holds memory of the peer's kernel for 30 s */
    uint32_t rx_window;  /* bytes we granted per stream */
    struct map streams;  /* id -> struct stream */
    struct list closed_streams; /* of those: over, oldest first */
    struct transport transport;
    uint64_t message_bytes;        /* of messages to it that wait to be sent in fragments */
    struct reassembly *reassembly; /* of what it sends in fragments; NULL: nothing came (fragments.c) */
    uint64_t idle_round;           /* when idle streams are looked for again */
    uint64_t control_seq;          /* of credit packets */
    uint64_t tx_events, rx_events;
    uint64_t held; /* bytes of the shard's pool in which packets of the peer wait for their turn */
    struct list cursors, subscriptions, grants;
    struct list followers; /* struct follower: of logs of ours */
    uint32_t follower_count;
    struct append_producer *append_producer; /* of our appends at the peer, or NULL */
    struct append_taker *append_taker;       /* of the peer's appends here, or NULL */
    struct list tx;                          /* in shard->tx_peers while it wants to send */
    struct timer timer;                      /* link, grants, credit recovery, subscriptions: whatever is next */
    struct list in_shard;
    uint32_t control_head, control_count;
    struct control_message control[CONTROL_QUEUE];
    bool confirm_due, heartbeat_due; /* decided by the link, sent by the next pull */
    bool pulling, leaving;           /* peer_pull(), peer_forget() */
};

struct peer *peer_find(struct shard *, uint64_t node_id);
struct peer *peer_get(struct shard *, uint64_t node_id); /* creates, without a session; NULL: memory */
void peer_forget(struct peer *);
/* A handshake ended, wherever it was made. */
void peer_on_session(struct shard *, const struct msg_session *);
/* A packet opened under `session`: the peer lives, and may have moved to `from`. */
void peer_on_authenticated(struct peer *, struct session *, const struct wire_header *, const struct io_addr *from,
                           bool routed);
void peer_schedule(struct peer *); /* something changed: recompute the timer */
void peer_wants_tx(struct peer *);
bool peer_usable(const struct peer *); /* has a session to send under and is not silent */
void peer_report(struct peer *, enum peer_state, bool restarted, bool failed); /* to shard 0 */
void peer_control(struct peer *, const struct membership *); /* queues it; dropped and counted when the queue is full */

/* peer_list.c: a row for each session, stream (of one peer, or NULL: all), and cursor */
void peer_on_list_sessions(struct shard *, unsigned from, uint64_t request);
void stream_describe(const struct stream *, struct stream_row *); /* but the channel */
void peer_on_list_streams(struct shard *, unsigned from, uint64_t request, const uint64_t *peer);
void peer_on_list_subscribers(struct shard *, unsigned from, uint64_t request);
void peer_on_list_lags(struct shard *, unsigned from, uint64_t request); /* of channels of ours that peers here read */

/* pull.c: sends what there is to send, as far as buffers and a fair share go. True: there is more. */
bool peer_pull(struct peer *);

#endif
