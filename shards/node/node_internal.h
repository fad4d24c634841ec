/* The parts of a node and of a shard, shared by the files of this folder only. */
#ifndef NM_SHARDS_NODE_NODE_INTERNAL_H
#define NM_SHARDS_NODE_NODE_INTERNAL_H

#include <stdatomic.h>

#include "core/base/counter.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "core/base/map.h"
#include "core/base/timer.h"
#include "core/channel/roster.h"
#include "core/identity/identity.h"
#include "core/ring/spsc.h"
#include "core/session/handshake.h"
#include "core/session/link.h"
#include "core/stream/credit.h"
#include "core/wire/packer.h"
#include "core/wire/wire.h"
#include "shards/node/control.h"
#include "shards/node/messages.h"
#include "shards/node/metrics.h"
#include "shards/node/node.h"
#include "storage/redex/redex.h"
#include "storage/ring/event_ring.h"

/* Events of one MSG_DATA, at most. */
enum { DATA_EVENTS_MAX = 4096, DATA_BYTES_MAX = 262144 };

enum stop_phase { STOP_NONE, STOP_PUBLISHERS, STOP_LOGS, STOP_IO, STOP_DONE };

struct contacts;
struct shard;

struct node {
    struct config config;
    struct node_options options; /* pointers inside are not used after node_create, but dir */
    char dir[CONFIG_PATH_MAX];
    struct identity identity;
    struct handshake_local local;
    struct link_config link_config;
    struct peers_file peers; /* as it was at the start; contacts hold what is true since */
    uint32_t rx_window;      /* credit we grant per stream to our own kind */
    unsigned shard_count;
    struct shard **shards;
    struct spsc *rings;                  /* [from * shard_count + to] */
    atomic_bool stop_requested, running; /* running: shard 0 serves; before, the others look for shard_abandon() */
    void (*quiesced)(void *ctx);
    void *quiesced_ctx;
    uint64_t started_ns;
};

/* A control message waiting for room in a ring: never lost, bounded. */
struct parked_message {
    struct list link;
    struct spsc_record head;
};

/* ---- transmit buffers ---- */

enum { TX_LARGE = 64960, TX_SMALL = 2048, TX_LARGE_COUNT = 16, TX_SMALL_COUNT = 64 };

struct tx_buffer {
    struct list link; /* free list, or blocked list */
    struct io_op op;
    struct iovec iov;
    struct shard *shard;
    uint32_t size;
    uint32_t packets;
    int64_t held; /* receive buffer this one sends from (relay), or -1 */
    uint8_t *data;
};

/* ---- logs, on the shard that owns the channel ---- */

struct pending_publish { /* appended, not yet stored as far as the publisher wants it */
    struct list link;
    uint64_t end_seq, first_seq, bytes;
    uint32_t publisher, count;
    bool durable;
};

struct owner_publisher { /* a publisher as the owner of its channel sees it */
    uint32_t id;
    bool durable;
    struct log *log;
    struct list waiting; /* copies of what found no room: bounded by the publisher's window */
    struct list link;    /* in log->publishers while waiting is not empty */
};

struct log {
    struct log_key key;
    struct channel_name name;
    struct shard *shard;
    enum config_log kind;
    bool open; /* has storage: redex or ring */
    struct redex *redex;
    struct event_ring ring;
    struct list in_shard;                 /* shard->log_list */
    struct list growing;                  /* shard->grown_logs while watchers must be told */
    struct list starving;                 /* shard->starved_logs while a `none` channel has publishers without room */
    struct list pending, pending_durable; /* pending_publish, in order of end_seq */
    struct list publishers;               /* owner_publishers with waiting data */
    /* A received log has one peer and one stream: the credit owed to it until the log has room again. */
    uint32_t held_credit;
    unsigned held_home;
    uint64_t open_at; /* the opening failed: tried again, not before this */
    uint64_t held_stream;
    uint64_t watchers;          /* bit per shard that watches */
    struct log_reader *readers; /* by shard: how far those that watch have come */
    struct log_view *view;      /* this shard's own view, or NULL */
    bool closing;
};

/* A reader of a `none` channel that stands still longer is not waited for. */
#define READER_STALL_NS UINT64_C(1000000000)

/* What another shard's cursors still need of a `none` channel; `at` is when that last moved, or was nothing. */
struct log_reader {
    uint64_t next, at;
};

/* ---- views: a log as a reader's shard sees it ---- */

struct log_view {
    struct log_key key;
    struct channel_name name;
    struct shard *shard;
    struct log *log; /* when this shard owns it */
    struct log_heads heads;
    struct list cursors; /* struct cursor, by `in_view` */
    struct list tails;   /* struct tail, by node.link */
    bool reading;        /* a MSG_READ is under way */
    bool heads_known;    /* the owner said how far the log is, or that there is none */
};

/* ---- peers, on their home shard ---- */

struct stream {
    uint64_t id;
    uint64_t tx_seq, rx_next;
    struct credit_tx tx;
    struct credit_rx rx;
    struct subscription *subscription; /* ours, for what arrives; NULL */
    struct list grant;                 /* in peer->grants while a grant is owed */
    uint64_t last_active;
};

struct cursor { /* a peer's place in a log it subscribes to */
    struct list in_view, in_peer;
    struct peer *peer;
    struct log_view *view;
    struct stream *stream;
    uint64_t next;
    uint64_t moved_at;
};

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

struct control_message { /* a membership message waiting to be sent */
    uint16_t len;
    uint8_t bytes[MEMBERSHIP_MAX_SENT];
};
enum { CONTROL_QUEUE = 32 };

struct peer {
    struct shard *shard;
    uint64_t node_id;
    struct link link;
    struct io_addr addr;
    bool relayed;             /* every packet travels with a routing header */
    struct io_addr next_addr; /* where an unconfirmed session's other end is */
    bool next_relayed;
    bool reported_connected;
    uint64_t instance; /* the peer's, of the current state */
    uint64_t features, rtt_ns;
    uint16_t plaintext_path; /* fits the path unfragmented */
    uint16_t plaintext_max;  /* the peer takes */
    uint32_t rx_window;      /* we granted per stream */
    struct map streams;      /* id -> struct stream */
    uint64_t control_seq;    /* of credit packets */
    struct list cursors, subscriptions, grants;
    struct list tx;     /* in shard->tx_peers while it wants to send */
    struct timer timer; /* link, grants, credit recovery, subscriptions: whatever is next */
    struct list in_shard;
    uint32_t control_head, control_count;
    struct control_message control[CONTROL_QUEUE];
    bool confirm_due, heartbeat_due; /* decided by the link, sent by the next pull */
};

/* ---- a shard ---- */

struct shard {
    struct node *node;
    unsigned index;
    struct io *io;
    struct crypto *crypto;
    struct timer_wheel timers;
    uint64_t now;
    struct shard_metrics metrics;
    const struct reactor_stats *reactor_stats;

    struct list *parked; /* per destination */
    uint32_t parked_count;
    uint64_t rung; /* bit per shard that got records in this turn and may need its doorbell */

    struct io_op recv;
    bool receiving;

    struct map sessions; /* rx id -> struct peer */
    struct map foreign;  /* v0.19 rx id that steers here -> (shard number + 1) as a pointer */
    struct map peers;    /* node id -> struct peer */
    struct list peer_list, tx_peers;
    struct map routes; /* node id -> struct route */

    struct tx_buffer *tx_buffers;
    uint8_t *tx_memory;
    struct list tx_large, tx_small, tx_blocked;
    uint32_t tx_in_flight;

    struct map logs; /* mixed key -> struct log */
    struct list log_list, grown_logs, dirty_logs, starved_logs;
    struct map views; /* mixed key -> struct log_view */
    struct map owner_publishers;
    struct list spare_pending;
    struct roster roster;

    struct contacts *contacts; /* shard 0 only */
    struct netmesh_shard *face;
    enum stop_phase stopping;
    atomic_bool abandoned;
    uint32_t logs_closing;
    bool busy; /* wants another turn at once */
};

/* What netmesh.h calls a shard. */
struct netmesh_shard {
    struct shard *shard;
};

/* shard.c */
int shard_create(struct node *, unsigned index);
void shard_destroy(struct shard *);

/* One key for the maps of logs and views: origin and hash mixed. */
uint64_t log_map_key(struct log_key);
static inline unsigned log_owner(const struct node *n, uint64_t hash)
{
    return (unsigned)(hash % n->shard_count);
}

/* mailbox.c */
/* Waits for room if it must: for what may not be lost and is bounded by what it speaks of (peers, logs, requests). */
void mailbox_send(struct shard *, unsigned to, enum message_kind, uint16_t aux, uint64_t arg, const void *body,
                  size_t len);
/* For what may be lost, or comes again: false when there is no room. */
bool mailbox_try(struct shard *, unsigned to, enum message_kind, uint16_t aux, uint64_t arg, const void *body,
                 size_t len, const void *tail, size_t tail_len);
struct spsc_record *mailbox_reserve(struct shard *, unsigned to, size_t len); /* NULL: no room */
void mailbox_commit(struct shard *, unsigned to, struct spsc_record *, size_t len);
size_t mailbox_room(struct shard *, unsigned to);
void mailbox_drain(struct shard *);
void mailbox_flush(struct shard *);   /* parked messages, then doorbells */
void mailbox_discard(struct shard *); /* frees what is parked */
void shard_on_message(struct shard *, unsigned from, struct spsc_record *);

/* receive.c */
void receive_start(struct shard *);
void receive_datagram(struct shard *, uint8_t *datagram, size_t len, const struct io_addr *from, bool forwarded);
/* relay.c: true when the arrival was sent on (its buffer held) */
bool relay_forward(struct shard *, struct io_arrival *, size_t offset, size_t len, uint64_t dest);
void relay_on_route(struct shard *, const struct msg_route *);

/* transmit.c */
int transmit_init(struct shard *);
void transmit_deinit(struct shard *);
struct tx_buffer *transmit_get(struct shard *, bool large); /* NULL: all in flight */
void transmit_send(struct shard *, struct tx_buffer *, const struct io_addr *to, size_t len, size_t segment,
                   uint32_t packets);
void transmit_release(struct shard *, struct tx_buffer *);
void transmit_retry(struct shard *);
/* Seals one packet standing at `at` (routing header space included when routed) and returns its full length, 0 on
 * failure. */
size_t transmit_seal(struct peer *, struct session *, struct wire_header *, uint8_t *at);

/* peer.c */
struct peer *peer_find(struct shard *, uint64_t node_id);
struct peer *peer_get(struct shard *, uint64_t node_id); /* creates, without a session; NULL: memory */
void peer_on_session(struct shard *, const struct msg_session *);
void peer_on_authenticated(struct peer *, struct session *, const struct wire_header *, const struct io_addr *from,
                           bool routed);
void peer_forget(struct peer *);
void peer_schedule(struct peer *); /* something changed: recompute the timer */
void peer_wants_tx(struct peer *);
bool peer_usable(const struct peer *); /* has a session to send under and is not silent */
void peer_report(struct peer *, enum peer_state, bool restarted, bool failed);
void peer_control(struct peer *, const struct membership *); /* queues a membership message */
/* pull.c */
bool peer_pull(struct peer *); /* true: more to send, no buffer or budget now */
/* stream.c */
struct stream *stream_get(struct peer *, uint64_t id); /* creates; NULL: limit or memory */
void streams_reset(struct peer *, bool all);           /* after a restart of the peer, or a new v0.19 session */
void streams_free(struct peer *);
void stream_consumed(struct peer *, struct stream *, uint32_t bytes);
void stream_on_credit(struct peer *, struct cspan plaintext, uint32_t count);
uint64_t streams_deadline(const struct peer *);
void streams_tick(struct peer *, uint64_t now);
/* membership.c */
void membership_on_packet(struct peer *, struct cspan plaintext, uint32_t count);
void membership_on_roster_ack(struct shard *, const struct msg_answer *);
void membership_on_subscribe(struct shard *, bool on, const struct msg_subscribe *);
void membership_on_session(struct peer *);
void membership_tick(struct peer *, uint64_t now);
uint64_t membership_deadline(const struct peer *);
void membership_free(struct peer *);
struct subscription *membership_find(struct peer *, uint64_t stream_id);
/* subscriber.c */
void cursor_on_message(struct shard *, bool start, const struct msg_cursor *);
bool cursor_pull(struct cursor *); /* sends what it may; true: more is there but no buffer */
bool cursor_feed(struct cursor *, const struct redex_event *events, size_t n);
void cursor_free(struct cursor *);
/* view.c */
struct log_view *view_open(struct shard *, struct log_key, const struct channel_name *); /* NULL: memory */
void view_unused(struct log_view *); /* closes when nobody reads it any more */
void view_on_heads(struct log_view *, const struct log_heads *);
void view_on_head_message(struct shard *, const struct msg_head *);
void view_on_data(struct shard *, const struct spsc_record *);
void view_read(struct log_view *, uint64_t from, uint64_t end);
/* The oldest sequence below `live` that a cursor here still moves towards, else `live`. */
uint64_t view_keep(struct log_view *, uint64_t live);
/* log.c */
struct log *log_find(struct shard *, struct log_key);
int log_open(struct shard *, struct log_key, const struct channel_name *,
             struct log **); /* finds or opens with storage */
int log_touch(struct shard *, struct log_key, const struct channel_name *,
              struct log **); /* finds or makes, no storage yet */
int log_append(struct log *, struct cspan frames, uint32_t count, uint64_t *first);
void log_heads(const struct log *, struct log_heads *);
size_t log_read(struct log *, uint64_t *seq, uint64_t end, struct redex_event *out, size_t max);
bool log_congested(const struct log *);
void log_tell(struct shard *); /* heads of grown logs to their watchers; once a turn */
int log_open_all(struct shard *, struct config_error *);
void log_close_all(struct shard *);
void log_free_all(struct shard *);
/* log_serve.c: what other shards ask of a log's owner */
void log_on_watch(struct shard *, unsigned from, bool on, const struct msg_watch *);
void log_on_read(struct shard *, unsigned from, const struct msg_read *);
void log_on_place(struct shard *, unsigned from, const struct msg_place *);
void log_on_receive_open(struct shard *, const struct msg_subscribe *);
void log_on_received(struct shard *, unsigned from, const struct msg_received *, struct cspan frames);
void log_on_roster(struct shard *, unsigned from, bool add, const struct msg_subscribe *);
void log_on_peer_gone(struct shard *, uint64_t node_id);
void log_on_list(struct shard *, unsigned from, uint64_t request);
void log_return_credit(struct log *);
void log_release(struct log *); /* frees it when it has no storage and nobody cares */
/* log_publish.c: the owner's side of a publish */
void log_on_publish_open(struct shard *, const struct msg_publish_open *);
void log_on_publish(struct shard *, const struct msg_publish *, struct cspan frames);
void log_on_progress(struct log *);
void log_publishers_retry(struct shard *); /* once a turn: channels without a log have no progress to wait for */
void log_publishers_free(struct shard *);

/* contacts.c and the other files of shard 0 */
int contacts_init(struct shard *, struct config_error *);
void contacts_deinit(struct shard *);
void contacts_on_handshake(struct shard *, struct cspan datagram, const struct io_addr *from);
void contacts_on_peer_state(struct shard *, unsigned home, const struct msg_peer_state *);
void contacts_on_redial(struct shard *, uint64_t node_id);
void contacts_on_subscribed(struct shard *, const struct msg_answer *);
void contacts_on_published(struct shard *, const struct msg_published *);
void contacts_on_list_row(struct shard *, uint64_t request, const struct msg_list_row *);
void contacts_on_list_end(struct shard *, uint64_t request);
void contacts_on_stopped(struct shard *, unsigned from, enum stop_phase);

/* tail.c */
void tail_advance(struct log_view *);
void tail_on_data(struct log_view *, uint64_t from, uint64_t next, const struct redex_event *, size_t n);

/* stop.c */
void stop_on_message(struct shard *, enum stop_phase);
void stop_log_closed(struct shard *);

#endif
