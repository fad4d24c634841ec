/* Logs, on the shard that owns their channel: this node's own, and the copies of what peers publish. */
#ifndef NM_SHARDS_NODE_LOG_H
#define NM_SHARDS_NODE_LOG_H

#include "shards/node/shard.h"
#include "storage/producers/producers.h"
#include "storage/redex/redex.h"
#include "storage/ring/event_ring.h"

/* A reader of a `none` channel that stands still longer is not waited for. */
#define READER_STALL_NS UINT64_C(1000000000)

/* What another shard's cursors still need of a `none` channel; `at` is when that last moved, or was nothing. */
struct log_reader {
    uint64_t next, at;
    bool waiting; /* `read` found no room in the ring to that shard */
    struct msg_read read;
};

/* Appended by a hook, which gets no answer, and not yet written. */
struct log_mark {
    uint64_t end_seq, at; /* at: monotonic ns of the append, of the oldest when several share a mark */
    uint64_t count;
};
enum { LOG_MARKS = 8 };

struct log {
    struct log_key key;
    struct channel_name name;
    struct shard *shard;
    enum config_log kind;
    uint64_t appended_events, appended_bytes; /* since it was opened */
    bool open;                                /* has storage: redex or ring */
    bool fsync_each;                          /* every publish is answered when it is synced */
    int error, compaction_error;              /* log_storage.c: what was said last, and stands in the gauges */
    struct redex *redex;
    struct event_ring ring;
    struct list in_shard;                 /* shard->log_list */
    struct list growing;                  /* shard->grown_logs while watchers must be told */
    struct list starving;                 /* shard->starved_logs while it waits for room that nobody announces */
    struct list pending, pending_durable; /* log_publish.c: not yet answered, in order of their last sequence */
    struct log_mark marks[LOG_MARKS];     /* a ring; when it is full, the newest takes what comes */
    uint32_t mark_first, mark_count;
    struct list publishers; /* log_publish.c: those with data that found no room */
    /* append_owner.c: of peers' producers: not yet answered, in order; found no room */
    struct producers *producers; /* of our own logs; NULL: nobody asked yet, and there is no file */
    struct list appends, appends_durable, appends_waiting;
    /* A received log has one peer and one stream: the credit owed to it until the log has room again. */
    uint32_t held_credit;
    unsigned held_home;
    uint64_t held_stream;
    uint64_t made_at;           /* monotonic ns */
    uint64_t open_at;           /* the opening failed: tried again, not before this */
    uint64_t watchers;          /* bit per shard that watches */
    struct log_reader *readers; /* by shard: how far those that watch have come */
    struct log_view *view;      /* this shard's own view, or NULL */
    bool receives;              /* we subscribed: it stays, also while it cannot be opened */
    bool closing;
    /* log_follow.c, of an edition above 0: */
    bool refuses;          /* something could not be stored: nor is what follows it, until where to go on is asked */
    struct list unstored;  /* what found no room yet, in order */
    size_t unstored_bytes; /* ... bounded by the window of its stream */
    bool name_taken; /* a received log: another name with its hash was subscribed to since, whose events are not its */
};

uint64_t log_map_key(struct log_key); /* its fields mixed, for the maps of logs and views: not unique */
static inline bool log_key_equal(struct log_key a, struct log_key b)
{
    return a.origin == b.origin && a.hash == b.hash && a.edition == b.edition;
}
struct log *log_find(struct shard *, struct log_key);
/* Finds or makes a log, without storage yet. NET_ERR_EXISTS (another name has this hash), NET_ERR_LIMIT,
 * NET_ERR_NO_MEMORY; *out is set only on success. */
int log_touch(struct shard *, struct log_key, const struct channel_name *, struct log **out);
/* The same with storage: also NET_ERR_INVALID (no name for a directory), NET_ERR_STATE (stopping) and the errors of
 * redex_open(). */
int log_open(struct shard *, struct log_key, const struct channel_name *, struct log **out);
/* An edition above 0 that begins: a copy of the log of this id, from this sequence on. */
struct log_begin {
    const uint8_t *id;
    uint64_t next_seq;
};
/* The same; `begin` makes the log, NULL opens one that is there. Also NET_ERR_EXISTS (on disk), NET_ERR_NOT_FOUND. */
int log_open_at(struct shard *, struct log_key, const struct channel_name *, const struct log_begin *begin,
                struct log **out);
/* Where the logs of an origin are on disk: DIR/redex for our own, DIR/redex-from/NODE_ID for what came live from a
 * peer, DIR/redex-follow/NODE_ID for what was taken from its logs. There edition 1 is in CHANNEL, edition N in
 * CHANNEL~(N-1): a log that is followed no longer stays where it is. */
void log_directory(const struct node *, struct log_key, char *out, size_t size);
/* Frames of wire.md 6.1. NET_ERR_AGAIN (no room now, log_on_progress() follows), or an error of redex_append(). */
int log_append(struct log *, struct cspan frames, uint32_t count, uint64_t *first);
void log_heads(const struct log *, struct log_heads *);
/* Up to `max` events from *seq on, which moves behind them; their bytes live until the end of the turn. */
size_t log_read(struct log *, uint64_t *seq, uint64_t end, struct redex_event *out, size_t max);
bool log_congested(const struct log *);
bool log_stored(const struct log *, uint64_t end, bool durable); /* what is below `end`: written, or synced */
int log_fault(const struct log *);                               /* why that makes no progress; 0: it does */
void log_root(const struct log *, char *out, size_t size);       /* its directory */
void log_mark_grown(struct log *);    /* its heads changed: log_tell() has something to say */
void log_tell(struct shard *);        /* once a turn: heads of grown logs to their watchers */
void log_starve(struct log *);        /* something of it waits for room: looked at in every turn */
void log_retry(struct shard *);       /* once a turn: the starved logs */
void log_release(struct log *);       /* frees it when it has no storage and nobody cares */
void log_close_all(struct shard *);   /* stop_log_closed() for each */
void log_abandon_all(struct shard *); /* lets go of logs that are open still; nothing of them is in flight */
void log_free_all(struct shard *);

/* log_scan.c */
int log_open_all(struct shard *, struct config_error *); /* what this shard owns below DIR; says what is wrong */

/* log_storage.c: settings, and what is wrong */
struct redex_policy log_policy(const struct channel_settings *);
/* Every log takes what config_channel() says now; returns how many are open and stay of another kind. */
uint64_t log_apply_settings(struct shard *);
void log_set_error(struct log *, int err);     /* for the gauges alone; 0: none */
void log_on_error(struct log *, int err);      /* as redex_error() has it; says what changed */
void log_on_open_error(struct log *, int err); /* it has no storage */
void log_on_compaction(struct log *);          /* one may have failed */

/* log_serve.c: what other shards ask of a log's owner */
void log_on_watch(struct shard *, unsigned from, bool on, const struct msg_watch *);
void log_on_read(struct shard *, unsigned from, const struct msg_read *);
void log_on_place(struct shard *, unsigned from, const struct msg_place *);
void log_on_receive_open(struct shard *, const struct msg_subscribe *);
void log_on_received(struct shard *, unsigned from, const struct msg_received *, struct cspan frames);
void log_on_roster(struct shard *, unsigned from, bool add, const struct msg_subscribe *);
void log_on_peer_gone(struct shard *, uint64_t node_id);
/* A row for each log; `hash`: only for those of channels with that hash, or NULL. */
void log_on_list(struct shard *, unsigned from, uint64_t request, const uint64_t *hash);
bool log_serve_waiting(struct log *); /* reads that found no room; false: there is still none for some */
void log_return_credit(struct log *);

/* log_follow.c: logs of what peers publish, taken from the peers' own logs. extensions.md X7 */
void log_on_follow_open(struct shard *, unsigned from, const struct msg_follow_open *);
/* The bytes are copied. Credit comes back with MSG_CREDIT (or at once on the same shard) when they are in the log; what
 * finds no room waits here, within the window of its stream. */
void log_on_followed(struct shard *, unsigned from, const struct msg_followed *, struct cspan runs,
                     struct cspan frames);
/* The log of the highest edition that is open, or NULL: what comes is stored there. */
struct log *log_followed(struct shard *, uint64_t origin, uint64_t hash);
/* An edition above 0 was opened; it is freed. NET_ERR_NO_MEMORY. */
int log_follow_opened(struct log *);
void log_follow_forget(struct log *);
void log_follow_store(struct log *); /* what found no room before */
/* Names a log as extensions.md X7.1 has it: random, kept with it; zeros while the log is not open, and of `none`. */
void log_id(const struct log *, uint8_t out[LOG_ID_SIZE]);

/* Whether a peer may read a channel of ours, by whatever way; refusals are counted. */
enum membership_reason log_authorize(struct shard *, const struct channel_name *, uint64_t node_id);
enum membership_reason log_count_refused(struct shard *, int err);
uint32_t log_readers(const struct log *); /* peers that subscribed to it, or follow it */

/* log_publish.c: the owner's side of a publish */
void log_on_publish_open(struct shard *, const struct msg_publish_open *);
void log_on_publish(struct shard *, const struct msg_publish *, struct cspan frames);
void log_on_hook_publish(struct log *, uint64_t first, uint32_t count); /* appended: its way to the file is timed */
void log_on_progress(struct log *);
void log_append_waiting(struct log *); /* what found no room, as far as there is room now */
void log_publishers_free(struct shard *);

#endif
