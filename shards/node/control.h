/*
 * The node's face to the admin port. Everything here is called on shard 0's thread; answers that need another shard or
 * the disk come later through a callback on the same thread, never from inside the call. What belongs to a request is
 * embedded in the caller's object and must stay until its callback ran (or the matching _cancel returned).
 */
#ifndef NM_SHARDS_NODE_CONTROL_H
#define NM_SHARDS_NODE_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/list.h"
#include "core/base/span.h"
#include "core/base/timer.h"
#include "core/channel/channel.h"
#include "core/io/io.h"
#include "shards/config/config.h"

struct node;

struct node_info {
    uint64_t node_id;
    uint8_t entity[32], public_key[32];
    const struct config *config;
    unsigned shards;
    uint64_t uptime_ns;
    bool stopping;
    bool fast_cipher; /* AES-256-GCM is offered */
    bool ipsec_mb, gso, gro;
    uint32_t socket_buffer; /* got */
};
void node_get_info(struct node *, struct node_info *);

enum peer_state { PEER_DOWN, PEER_CONNECTING, PEER_CONNECTED };
struct peer_row {
    const char *name; /* NULL: let in without an entry */
    uint64_t node_id;
    bool has_addr;
    struct io_addr addr;
    enum peer_state state;
    enum peer_compat compat;
    uint64_t features; /* of the session, core/session/session.h */
    bool has_rtt;
    uint64_t rtt_ns;
};
/* Calls `row` for every peer, entries first. Rows are valid during the call. */
void node_each_peer(struct node *, void (*row)(void *ctx, const struct peer_row *), void *ctx);
/* A name or an id ("0x…", decimal) of a known peer. 0 or NET_ERR_NOT_FOUND. */
int node_resolve_peer(struct node *, const char *text, uint64_t *node_id);
/* The name an id goes by, or NULL. */
const char *node_peer_name(struct node *, uint64_t node_id);

/* A one-shot request. message: a sentence for a person; when err is 0 "", or what is worth knowing beside it. */
struct control_request {
    void (*done)(struct control_request *, int err, const char *message);
    bool live;        /* answered to node_subscribe(): live events will come, whatever was asked for */
    struct list link; /* the node's from here on */
    uint64_t deadline;
    struct {
        uint64_t a, b;
        void *p;
    } node;
};

/* peers.yaml is on disk before `done`. NET_ERR_EXISTS (other entry of that name or id), NET_ERR_INVALID, NET_ERR_LIMIT.
 */
void node_peer_add(struct node *, const struct peer_entry *, struct control_request *);
void node_peer_remove(struct node *, const char *name, struct control_request *); /* and its subscriptions */
/* Persists, asks the peer, answers after its Ack: 0, NET_ERR_POLICY (refused; message has the reason), NET_ERR_EXISTS
 * (the hash of another channel of that peer), NET_ERR_TIMEOUT or NET_ERR_UNREACHABLE (not connected within timeout: the
 * subscription stays and is asked for again by itself). With a start, what was followed before is set aside as a log of
 * its own, and another begins there; without one, it goes on where it ends. */
struct subscribe_ask {
    struct channel_name channel;
    uint64_t peer; /* node id */
    enum subscription_mode mode;
    enum subscription_start start;
    uint64_t sequence; /* of START_SEQUENCE */
};
void node_subscribe(struct node *, const struct subscribe_ask *, uint64_t timeout_ns, struct control_request *);
void node_unsubscribe(struct node *, const struct channel_name *, uint64_t peer, uint64_t timeout_ns,
                      struct control_request *);
/* Forget a request whose client went away; its `done` will not be called. */
void node_request_cancel(struct node *, struct control_request *);

/*
 * Reads DIR/node.yaml again, with the --set of the start. What can change at run time does, on all shards, before
 * `done`; what cannot is named. A mistake in the file (NET_ERR_INVALID, NET_ERR_TOO_LARGE), a file that cannot be read,
 * and a node that stops (NET_ERR_STATE) change nothing: `message` says what is wrong and `changes` is NULL. Who asks
 * while a reload is under way is answered by another one after it.
 */
struct reload_request {
    void (*done)(struct reload_request *, int err, const char *message, const struct config_changes *changes);
    struct list link; /* the node's from here on */
};
void node_reload(struct node *, struct reload_request *);
void node_reload_cancel(struct node *, struct reload_request *); /* its `done` will not be called */
/* Every key and its value in use; config_row.pending has what waits for the next start. */
void node_each_setting(struct node *, void (*row)(void *ctx, const struct config_row *), void *ctx);

/* What this node says: changed at once, on all shards. */
enum config_level node_log_level(const struct node *);
void node_set_log_level(struct node *, enum config_level);

struct shard_row {
    unsigned index;
    bool pinned; /* to `cpu` */
    unsigned cpu;
    uint64_t turns, peers, sessions, logs;
    uint64_t rx_datagrams, rx_bytes, rx_events, tx_datagrams, tx_bytes, tx_events;
    uint64_t published_events, stored_events, drops; /* drops: for whatever reason */
    uint64_t ring_bytes, ring_used;                  /* of the fullest ring that brings it messages, right now */
};
/* Synchronous: what is counted is read relaxed. */
void node_each_shard(struct node *, void (*row)(void *ctx, const struct shard_row *), void *ctx);

/*
 * Lists of what all shards know: each is asked by message; `row` is called any number of times, `done` once. A row is
 * valid during the call. What is cancelled is not called again.
 */
struct listing { /* the node's part */
    struct list link;
    void (*row)(struct listing *, const void *body);
    void (*done)(struct listing *);
    uint32_t waiting, id;
    struct node *node;
    struct lag_list *lags; /* of a list of channels, which asks for them first */
};
void node_list_cancel(struct node *, struct listing *);

struct channel_row {
    const char *channel;
    bool self;       /* origin: this node, or the peer below */
    uint64_t origin; /* node id */
    /* Of a peer's channel there may be several logs. 0: this node's own, or what came live. 1 and up: what was
     * followed, in the order in which these logs began; `followed`: the last of them, which goes on. */
    uint32_t edition;
    bool followed;
    enum config_log log;
    uint64_t first_seq, next_seq, bytes;
    uint64_t appended_events, appended_bytes; /* since the node started */
    uint32_t subscribers;                     /* of ours, on this node */
    uint64_t lag;                             /* events that the slowest of these has still to get */
    bool exists;                              /* false: subscribed to by peers, but nothing was ever published */
    int error;                                /* the log refuses appends: net_err */
};
struct subscription_row {
    const char *channel;
    uint64_t peer;
    bool active;                 /* acknowledged in the current session */
    enum subscription_mode mode; /* what comes, or is asked for */
    const char *note;            /* why it is not active, or live instead of followed; "": nothing to say */
    uint64_t lag;                /* of what is followed: events written there and not yet here, as last heard */
};
void node_each_subscription(struct node *, void (*row)(void *, const struct subscription_row *), void *ctx);
struct channel_list {
    void (*row)(struct channel_list *, const struct channel_row *); /* any number of times */
    void (*done)(struct channel_list *);
    struct listing node;
};
void node_list_channels(struct node *, struct channel_list *);

/* Of a peer's sessions: the one in use, one not yet confirmed, and the one before for what is still on its way. */
enum session_state { SESSION_ACTIVE, SESSION_UNCONFIRMED, SESSION_PREVIOUS };
struct session_row {
    uint64_t peer;         /* node id */
    uint64_t id;           /* the same at both ends: from the handshake's hash */
    uint64_t rx_id, tx_id; /* as packets carry them */
    enum session_state state;
    bool aes_gcm; /* else ChaCha20-Poly1305 */
    bool initiator;
    bool silent; /* nothing came for a while though we sent: what can wait is held */
    uint64_t features;
    uint64_t age_ns;
    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes; /* of packets, header and tag included */
    uint64_t rtt_ns;                                     /* of the peer; 0: not measured yet */
    uint64_t rx_window, tx_window;                       /* bytes a stream may bring before credit is given anew */
    unsigned shard;                                      /* the peer's home */
};
struct session_list {
    void (*row)(struct session_list *, const struct session_row *);
    void (*done)(struct session_list *);
    struct listing node;
};
void node_list_sessions(struct node *, struct session_list *);

/* A stream of a peer, both directions (streams.md 12). Bytes are those of credit: payload + 80 a packet. */
struct stream_row {
    uint64_t peer, id;                                  /* the peer's node id */
    struct channel_name channel;                        /* whose events it brings or takes; len 0: no channel's */
    uint64_t tx_seq, rx_seq;                            /* sent next; highest that came, 0 also when nothing did */
    uint64_t tx_bytes, rx_bytes;                        /* sent under credit; taken, and granted anew or soon to be */
    uint32_t tx_window, rx_window, tx_credit_remaining; /* bytes; 0: unlimited */
    bool tx_reliable, rx_reliable;
    uint64_t inbound_pending;     /* packets that came and wait: for one before them, or for room */
    uint64_t retransmitted;       /* packets */
    uint64_t written_off;         /* bytes sent that are taken as lost */
    uint64_t backpressure_events; /* sends refused for want of credit */
    uint64_t credit_grants_received, credit_grants_sent;
    uint64_t idle_ns; /* since anything was sent or came */
    unsigned shard;   /* the peer's home */
};
struct stream_list {
    void (*row)(struct stream_list *, const struct stream_row *);
    void (*done)(struct stream_list *);
    struct listing node;
};
void node_list_streams(struct node *, struct stream_list *, const uint64_t *peer); /* NULL: of all peers */

/* A peer that reads a channel of ours, as far as it has come. */
struct subscriber_row {
    uint64_t peer; /* node id */
    struct channel_name channel;
    enum subscription_mode mode;
    uint64_t next_seq, lag; /* to be sent next; events it is behind */
};
struct subscriber_list {
    void (*row)(struct subscriber_list *, const struct subscriber_row *);
    void (*done)(struct subscriber_list *);
    struct listing node;
};
void node_list_subscribers(struct node *, struct subscriber_list *);

/* A publish in progress. */
struct publisher {
    /* Room came back after NET_ERR_AGAIN. */
    void (*writable)(struct publisher *);
    /* After finish: everything accepted has been written (durable: synced), or err says what failed first; the counts
     * are what is safe in the log. Also called early, without finish, when the log failed. After it the publisher is
     * free. */
    void (*done)(struct publisher *, int err);
    uint64_t events, bytes, first_seq, last_seq; /* acknowledged so far; first/last valid when events > 0 */
    struct {
        struct list link;
        struct channel_name channel;
        uint64_t hash, accepted, acked, deadline;
        uint32_t id, in_flight;
        int trouble; /* what the answer waits for; 0: nothing in particular */
        bool durable, finished, want_writable;
        /* at a peer: */
        uint64_t peer, sequence; /* 0: here; of the next append */
        uint8_t producer[16];
        unsigned home;                                          /* the peer's shard */
        uint32_t unanswered;                                    /* appends */
        enum { INTRODUCED, STRANGE, INTRODUCING } introduction; /* of a producer that was drawn, to the peer */
    } node;
};
/* NET_ERR_INVALID (name not storable), NET_ERR_LIMIT (channels), NET_ERR_STATE (stopping). */
int node_publish_open(struct node *, struct publisher *, const struct channel_name *, bool durable);
/* Event frames (u32 LE length + bytes), whole ones, at most 60,000 bytes and 2,028 events a call, each event at most
 * node_max_event(). 0, NET_ERR_AGAIN (nothing taken), or the error that ends this publish: node_publish_finish() then
 * brings `done` with the counts. */
int node_publish_put(struct node *, struct publisher *, struct cspan frames, uint32_t count);
/* The same of one frame that is larger than a call of that takes, in memory of malloc() that is the node's when 0 is
 * returned. */
int node_publish_give(struct node *, struct publisher *, uint8_t *frame, size_t len);
/*
 * The same into the log of a peer (extensions.md X8): answered by the peer when it is stored there, appended once
 * however often it has to be sent. The events of a put become one append, or several of at most node_max_append() bytes
 * of frames, with the producer's sequences from `sequence` on. Who goes on with them after an answer that never came
 * gives the same id, sequence and events again; a put of no event, allowed here, makes the producer known to the peer.
 * An id that is NULL is drawn, for this publisher, and made known first: nothing is taken before the peer answered
 * that. Also NET_ERR_UNREACHABLE (not connected), NET_ERR_UNSUPPORTED (a peer without acknowledged append); later,
 * `done`: NET_ERR_REPLAY (forgotten there), NET_ERR_STATE (an append before is missing), NET_ERR_EXISTS (other events
 * had this sequence), NET_ERR_POLICY.
 */
int node_publish_open_to(struct node *, struct publisher *, const struct channel_name *, bool durable, uint64_t peer,
                         const uint8_t producer[16], uint64_t sequence);
uint32_t node_max_append(const struct node *);
void node_publish_finish(struct node *, struct publisher *);
void node_publish_cancel(struct node *, struct publisher *); /* client gone; what was accepted stays */
/* Bytes of the largest event that channel takes; *key is what bounds it in node.yaml. */
uint32_t node_max_event(const struct node *, const struct channel_name *, const char **key);

/* Reading a log from a position, and on. */
enum tail_start { TAIL_EARLIEST, TAIL_LATEST, TAIL_SEQ };
struct tail_event {
    uint64_t seq, ts_ns;
    struct cspan data; /* valid during the call */
};
enum { TAIL_WHOLE_MAX = 8108 }; /* bytes: larger events come in pieces */
struct tail_piece {
    struct tail_event event; /* its data: the bytes from `offset` on, a multiple of 3 unless they are the last */
    uint32_t offset, total;
    bool text; /* all of it is UTF-8 */
};
struct tail {
    /* Events in order; false = stop here, the event was not taken: node_tail_resume() goes on with it. */
    bool (*event)(struct tail *, const struct tail_event *);
    /* What comes next of a large event: how many bytes of it were taken, all or a multiple of 3. Less than all = stop
     * here: node_tail_resume() goes on behind them. */
    size_t (*piece)(struct tail *, const struct tail_piece *);
    bool (*gap)(struct tail *, uint64_t from,
                uint64_t to); /* sequences from..to (inclusive) are not there; same return */
    /* The end was reached (no follow), the count is used up, or err: NET_ERR_NOT_FOUND (no such log and no follow). */
    void (*done)(struct tail *, int err);
    struct {
        struct list link, woken;
        uint64_t next, left, end;
        uint32_t offset; /* bytes taken of the event at `next` */
        bool follow, counted, paused, end_known, from_latest, exact, text;
        void *p;
    } node;
};
struct tail_request {
    struct channel_name channel;
    bool self;        /* origin self, else `origin` */
    uint64_t origin;  /* node id */
    uint32_t edition; /* channel_row.edition */
    enum tail_start start;
    uint64_t seq;
    bool follow; /* also: wait for a log that does not exist yet */
    bool counted;
    uint64_t count;
};
/* NET_ERR_EXISTS (another channel has this hash), NET_ERR_STATE (stopping), NET_ERR_NO_MEMORY. */
int node_tail_open(struct node *, struct tail *, const struct tail_request *);
void node_tail_resume(struct node *, struct tail *);
void node_tail_cancel(struct node *, struct tail *); /* no callback afterwards */
/* Which log of a channel is meant. */
enum log_kind {
    LOG_ANY_KIND, /* what is followed if something is, else what came live; this node's own */
    LOG_LIVE,     /* what came live; this node's own */
    LOG_FOLLOWED, /* what is followed now */
    LOG_EDITION   /* what was followed: `edition` */
};
struct log_choice {
    bool any_origin; /* else the one below */
    bool self;
    uint64_t origin;
    enum log_kind kind;
    uint32_t edition;
};
/* The logs of a channel that are meant: of no origin (0), of one (1: which), of several (2). Answers later. */
struct log_lookup {
    void (*done)(struct log_lookup *, int origins, bool self, uint64_t origin, uint32_t edition);
    struct {
        struct channel_list list;
        struct channel_name channel;
        struct log_choice choice;
        int found;
        bool self;
        uint64_t origin;
        uint32_t edition;
    } node;
};
void node_find_log(struct node *, const struct channel_name *, const struct log_choice *, struct log_lookup *);
void node_find_log_cancel(struct node *, struct log_lookup *);

/* /metrics: the text of everything that is counted. Counters are read as they stand; what only its shard knows
 * (channels, peers) is asked for, and who has not answered within a second is left out and said to be missing. */
struct scrape_rows;
struct metrics_scrape {
    void (*put)(struct metrics_scrape *, const char *text, size_t len); /* any number of times, then: */
    void (*done)(struct metrics_scrape *);
    struct {
        struct list link;
        struct timer timer;
        uint32_t id, waiting;
        struct node *node;
        struct scrape_rows *rows;
    } node;
};
/* 0, or NET_ERR_NO_MEMORY: nothing will be called. */
int node_scrape(struct node *, struct metrics_scrape *);
void node_scrape_cancel(struct node *, struct metrics_scrape *); /* no callback afterwards */

/* Why the node is not ready, as /readyz has it: calls `row` for each reason. None: it is ready. */
struct problem_row {
    const char *code; /* stable, for programs: "stopping", "disk_full", "disk_error", "log_poisoned", … */
    const char *text; /* a sentence for a person */
};
void node_each_problem(struct node *, void (*row)(void *ctx, const struct problem_row *), void *ctx);

/* Begins the orderly stop. The admin port keeps what it has and gets admin_stop() when the rest is done. */
void node_shutdown(struct node *);
bool node_stopping(const struct node *); /* it has begun */
void node_stop_now(struct node *);       /* the same, with no time left */

#endif
