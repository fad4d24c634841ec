/*
 * A log as a reader's shard sees it. Where the shard owns the log, a view reads it in place; elsewhere the owner sends
 * the heads and, on demand, the events. Cursors send to peers, tails answer the admin port.
 */
#ifndef NM_SHARDS_NODE_VIEW_H
#define NM_SHARDS_NODE_VIEW_H

#include "shards/logs/log.h"
#include "shards/peers/peer.h"

struct log_view {
    struct log_key key;
    struct channel_name name;
    struct shard *shard;
    struct log *log; /* when this shard owns it */
    struct log_heads heads;
    uint64_t max_lag;      /* of the channel's settings */
    struct list cursors;   /* struct cursor, by `in_view` */
    struct list tails;     /* struct tail, by node.link */
    struct list followers; /* struct follower, by in_view */
    bool reading;          /* a MSG_READ is under way */
    bool heads_known;      /* the owner said how far the log is, or that there is none */
};

struct log_view *view_find(struct shard *, struct log_key);
/* Finds or makes a view. NET_ERR_EXISTS (another name has this hash), NET_ERR_NO_MEMORY; *out is set only on success.
 */
int view_open(struct shard *, struct log_key, const struct channel_name *, struct log_view **out);
void view_unused(struct log_view *); /* closes when nobody reads it any more */
void view_on_heads(struct log_view *, const struct log_heads *);
void view_on_head_message(struct shard *, const struct msg_head *);
void view_on_data(struct shard *, const struct spsc_record *);
/* Asks the owner, once at a time; `offset` bytes of the event at `from` are here already. */
void view_read(struct log_view *, uint64_t from, uint64_t end, uint32_t offset);

bool view_has_readers(const struct log_view *); /* peers */
uint64_t view_lag(const struct log_view *);     /* events that the slowest of them has still to get */

/* The oldest sequence below `live` that a cursor here still moves towards, else `live`. */
uint64_t view_keep(struct log_view *, uint64_t live);

/* subscriber.c: a peer's place in a log it subscribes to */
struct cursor {
    struct list in_view, in_peer;
    struct peer *peer;
    struct log_view *view;
    struct stream *stream;
    struct sender sender; /* its turns among what the peer is sent */
    uint64_t next;
    uint64_t moved_at;
    struct large_sent sent; /* of the event at `next` */
};

void cursor_on_message(struct shard *, bool start, const struct msg_cursor *);
void cursor_look(struct cursor *); /* takes part in the turns if it has something to send */
/* Events that the owner sent, or a part of one; false: no buffer, or it may not send more now: the rest is read again.
 */
bool cursor_feed(struct cursor *, const struct redex_event *events, size_t n, const struct log_part *);
void cursor_free(struct cursor *);

/* tail.c: for every tail of the view */
void tail_advance(struct log_view *);
void tail_on_data(struct log_view *, const struct msg_data *, const struct redex_event *, size_t n);

#endif
