/* What shards tell each other: kinds and bodies of the records in the rings between them. Plain data, copied. Names of
 * channels travel only when something is opened; afterwards the canonical hash stands for them. */
#ifndef NM_SHARDS_NODE_MESSAGES_H
#define NM_SHARDS_NODE_MESSAGES_H

#include "core/channel/append.h"
#include "core/io/io.h"
#include "core/session/session.h"
#include "shards/node/control.h"

/* kind, from -> to */
enum message_kind {
    MSG_SESSION,       /* shard 0 -> home: a handshake ended, run this session */
    MSG_FORGET_PEER,   /* shard 0 -> home: arg node id */
    MSG_ROUTE,         /* shard 0 -> all: where a neighbour is reached, for relaying */
    MSG_FOREIGN_ID,    /* home -> the shard a v0.19 session id steers to: arg id, aux 1 add / 0 remove */
    MSG_DATAGRAM,      /* any -> home: a datagram that arrived on the wrong shard */
    MSG_PEER_STATE,    /* home -> shard 0 */
    MSG_REDIAL,        /* home -> shard 0: arg node id */
    MSG_SUBSCRIBE,     /* shard 0 -> home: we want (aux 1) or no longer want (aux 0) a channel of that peer */
    MSG_SUBSCRIBED,    /* home -> shard 0: the peer's answer */
    MSG_RECEIVE_OPEN,  /* home -> channel owner: events of that origin will come */
    MSG_RECEIVED,      /* home -> channel owner: events */
    MSG_CREDIT,        /* channel owner -> home: that many bytes were handed on */
    MSG_FOLLOW_OPEN,   /* home -> channel owner: a channel of that peer is followed: where does our log of it end? */
    MSG_FOLLOW_PLACE,  /* channel owner -> home: there */
    MSG_FOLLOWED,      /* home -> channel owner: events of the peer's log, or where it goes on */
    MSG_FOLLOW,        /* home -> channel owner: a peer wants to follow a log of ours (follow.h) */
    MSG_FOLLOW_END,    /* home -> channel owner: it no longer does */
    MSG_FOLLOW_GRANT,  /* channel owner -> home: the answer, or the end of it */
    MSG_FOLLOW_LAG,    /* home -> shard 0: how far what we follow is behind */
    MSG_ROSTER,        /* home -> channel owner: a peer subscribes (aux 1) or unsubscribes (aux 0) */
    MSG_ROSTER_ACK,    /* channel owner -> home: the answer for the peer */
    MSG_CURSOR,        /* channel owner -> home: start (aux 1) or end (aux 0) sending a channel to a peer */
    MSG_PEER_GONE,     /* home -> all: arg node id: take it from every roster */
    MSG_WATCH,         /* reader -> owner: tell me when the log grows (aux 1), or no longer (aux 0) */
    MSG_HEAD,          /* owner -> watcher: how far the log is */
    MSG_READ,          /* reader -> owner: send me events */
    MSG_DATA,          /* owner -> reader: events */
    MSG_PLACE,         /* reader -> owner of a `none` channel: what its cursors still need */
    MSG_PUBLISH_OPEN,  /* shard 0 -> owner */
    MSG_PUBLISH,       /* shard 0 -> owner: event frames */
    MSG_PUBLISHED,     /* owner -> shard 0: stored (written, or synced), or an error */
    MSG_APPEND_SUBMIT, /* shard 0 -> home: event frames to be appended at that peer; MSG_PUBLISHED answers */
    MSG_APPEND_CANCEL, /* shard 0 -> home: a publisher is gone */
    MSG_APPEND,        /* home -> channel owner: event frames of a peer's producer */
    MSG_APPENDED,      /* channel owner -> home: the answer for it */
    MSG_LIST, /* shard 0 -> all: aux enum list_kind, arg request, maybe a channel's hash or a peer; rows and an end come
                 back */
    MSG_LIST_ROW, /* aux enum list_kind: a struct msg_list_row, session_row, stream_row or subscriber_row */
    MSG_LIST_END,
    MSG_SCRAPE,         /* shard 0 -> all: arg request; rows of each kind and the shard's own at last come back */
    MSG_SCRAPE_CHANNEL, /* all -> shard 0: struct msg_scrape_channel */
    MSG_SCRAPE_LAGS,    /* all -> shard 0: struct scrape_lag, as many as there are */
    MSG_SCRAPE_PEERS,   /* all -> shard 0: struct scrape_peer, as many as there are */
    MSG_SCRAPE_SHARD,   /* all -> shard 0: the last one */
    MSG_CONFIG,         /* shard 0 -> all: the configuration from now on, by reference */
    MSG_CONFIGURED,     /* all -> shard 0: have it, and no longer use the one before; arg: logs kept of another kind */
    MSG_SAY,            /* any -> shard 0: a line for stderr */
    MSG_STOP,           /* shard 0 -> all: aux = enum stop_phase */
    MSG_STOPPED,        /* all -> shard 0: aux = phase reached */
};

struct msg_config {
    const struct config *config; /* shard 0's, which frees it when all have answered for the next one */
};

struct msg_session {
    struct session_params params;
    struct io_addr addr;
    uint64_t rtt_ns;  /* of the handshake; 0 unknown */
    uint64_t contact; /* its instance: a node that is removed and added again is another one */
    uint32_t rx_window;
    bool relayed;
};

struct msg_route {
    uint64_t node_id;
    struct io_addr addr;
    bool up;
};

struct msg_peer_state {
    uint64_t node_id, contact, features, rtt_ns;
    struct io_addr addr;
    enum peer_state state;
    bool restarted; /* another INSTANCE than before */
    bool failed;    /* silent for 3 x session_timeout, or never confirmed its first session */
    bool relayed;
};

struct msg_subscribe { /* MSG_RECEIVE_OPEN, MSG_ROSTER */
    uint64_t node_id, nonce;
    struct channel_name channel;
};

struct msg_want { /* MSG_SUBSCRIBE */
    struct subscribe_ask ask;
    uint32_t number; /* of this wish: what is told again has the same */
    bool anew;       /* the start counts, whatever log there is of an earlier follow */
};

struct msg_answer { /* MSG_ROSTER_ACK */
    uint64_t node_id, nonce, hash;
    bool subscribe, accepted;
    uint8_t reason;
};

struct msg_subscribed { /* the peer's answer, or ours when it need not be asked */
    uint64_t node_id, hash;
    bool subscribe;
    bool live;        /* what comes, or would, are live events */
    int32_t err;      /* POLICY: the peer refused */
    const char *note; /* static: why it was refused, or is live instead of followed; "" */
    uint32_t number;  /* of the wish, and what is left of it: */
    enum subscription_start start;
    bool anew;
};

struct msg_follow_lag {
    uint64_t node_id, hash;
    uint64_t lag; /* events */
};

struct msg_received { /* followed by frames */
    uint64_t origin, hash, stream_id;
    uint32_t credit, count;
};

struct msg_credit {
    uint64_t node_id, stream_id;
    uint32_t credit;
};

enum { LOG_ID_SIZE = 16 };

/*
 * What is followed (extensions.md X7) is kept in a log of its own. MSG_FOLLOW_OPEN asks where that ends: whoever
 * follows goes on there. `begin` says what the publisher answered, before the first events of it: the log with this id
 * goes on at next_seq. A log of ours with that id that ends there or before is kept (with a hole); any other, or one
 * that reaches further, is set aside, readable, and a new one begins. In any case the answer is MSG_FOLLOW_PLACE.
 *
 * Messages of one home arrive in order: a home that discards what was on its way to it and asks anew hears where the
 * log ends without it, and may go on from there.
 */
struct msg_follow_open {
    uint64_t node_id, token; /* token: repeated in the answer */
    struct channel_name channel;
    bool begin;
    uint8_t log_id[LOG_ID_SIZE]; /* begin: of the publisher's log */
    uint64_t next_seq;           /* begin */
};

struct msg_follow_place {
    uint64_t node_id, hash, token;
    int32_t err; /* the log cannot be opened: NET_ERR_UNSUPPORTED: this node keeps no log of the channel (log: none) */
    bool known;  /* there is a log: the two below say which, and the sequence it wants next */
    uint8_t log_id[LOG_ID_SIZE];
    uint64_t next_seq;
};

/*
 * Events from first_seq on: `runs` time runs, then frames as of wire.md 6.1, as many as the sum of the runs. A run:
 * count u32 LE, CLOCK_REALTIME ns of the append u64 LE. What our log has is skipped; what is missing before first_seq
 * is a hole of the publisher's. No events: the log goes on at first_seq.
 */
struct msg_followed {
    uint64_t origin, hash, stream_id;
    uint8_t log_id[LOG_ID_SIZE]; /* of the log that was begun or asked for: else the events are dropped, counted */
    uint64_t first_seq;
    uint32_t credit, count, runs; /* credit: bytes of the stream that come back with MSG_CREDIT when this is stored */
};

enum { TIME_RUN_SIZE = 12 };

struct msg_cursor {
    uint64_t node_id, hash, from;
    struct channel_name channel;
};

struct log_key {
    uint64_t origin; /* 0: this node's own log */
    uint64_t hash;
    /* Of a peer's channel there may be several logs. 0: what came live. 1 and up: what was followed, in the order in
     * which these logs began; the highest is the one that is followed now, the others are only read. */
    uint32_t edition;
};

struct msg_watch {
    struct log_key key;
    struct channel_name channel;
};

struct log_heads {
    bool exists;
    bool none;                     /* log: none: the owner wants to know what readers still need */
    uint64_t first, live, written; /* first retained; visible below live; in the file below written */
};

struct msg_head {
    struct log_key key;
    struct log_heads heads;
};

struct msg_read {
    struct log_key key;
    uint64_t from, end; /* events with from <= seq < end */
    uint32_t offset;    /* bytes of the event at `from` that the reader has already */
    bool judge;         /* it wants to know of a large event whether it is text */
};

struct msg_place {
    struct log_key key;
    uint64_t keep; /* the oldest sequence, or the end as far as this shard knows it */
};

/* A large event goes in parts. Each but the last is a multiple of 3 bytes, so that base64 goes on from part to part. */
enum part_text { PART_NOT_JUDGED, PART_BINARY, PART_TEXT }; /* whether the whole event is UTF-8 */
struct log_part {
    uint32_t offset, total; /* of the event's bytes, where this part begins; all. total 0: events are whole */
    enum part_text text;    /* judged at offset 0 */
};

enum { DATA_EVENTS_MAX = 4096 }; /* of one MSG_DATA */
struct msg_data {                /* followed by rows: seq u64, ts u64, len u32, pad u32, bytes padded to 8 */
    struct log_key key;
    struct log_heads heads;
    uint64_t from, next;  /* what was asked, where to go on */
    struct log_part part; /* what its only row is, if total != 0 */
    uint32_t count;
    uint32_t asked; /* the offset that was asked for */
};

struct msg_publish_open {
    struct channel_name channel;
    uint32_t publisher;
    bool durable;
};

struct msg_publish { /* followed by frames */
    uint64_t hash;
    uint32_t publisher, count;
};

struct msg_published {
    uint32_t publisher, count;
    uint64_t first_seq;
    uint64_t bytes; /* of payload */
    int32_t err;
    bool delayed; /* no answer yet, because of err: the writing goes on being tried */
};

struct msg_append_submit { /* followed by frames */
    uint64_t node_id, sequence;
    uint32_t publisher, count;
    uint8_t producer[PRODUCER_ID_SIZE];
    bool durable;
    struct channel_name channel;
};

struct msg_append_cancel {
    uint64_t node_id;
    uint32_t publisher;
};

struct msg_append { /* followed by frames */
    uint64_t node_id, sequence;
    uint32_t generation, credit; /* of the peer's stream; bytes that go back with the answer */
    uint32_t count;
    uint8_t producer[PRODUCER_ID_SIZE];
    bool durable;
    struct channel_name channel;
};

struct msg_appended {
    uint64_t node_id;
    uint32_t generation, credit;
    bool answered; /* else only the credit goes back */
    struct append_answer answer;
};

enum list_kind { LIST_CHANNELS, LIST_SESSIONS, LIST_STREAMS, LIST_SUBSCRIBERS, LIST_LAGS };

struct msg_list_row {
    struct channel_name channel;
    uint64_t origin, first_seq, next_seq, bytes, appended_events, appended_bytes;
    uint32_t subscribers, edition;
    int32_t error;
    enum config_log log;
    bool exists, followed;
};

struct scrape_channel { /* of one log, or several as one */
    uint64_t events, bytes, log_bytes;
    uint32_t logs, subscribers, failing;
};

struct msg_scrape_channel {
    struct channel_name channel;
    uint64_t origin, hash;
    bool followed;
    uint64_t made_at; /* monotonic ns: the oldest logs have a row of their own */
    uint64_t first_seq, next_seq;
    struct scrape_channel sums;
};

struct scrape_lag { /* of an own channel with subscribers: events that the slowest of those here has still to get */
    uint64_t hash, lag;
};

struct scrape_peer {
    uint64_t node_id, tx_events, rx_events;
};

enum { SCRAPE_BATCH = 512 }; /* lags or peers in one message */

struct msg_scrape_shard {
    struct scrape_channel rest; /* of the logs that got no row */
    uint64_t log_bytes;         /* payload that logs hold in memory */
    uint64_t cpu_ns;            /* of the shard's thread */
    uint64_t unwritten_bytes, timers, streams, parked_messages, fullest_ring_bytes;
};

#endif
