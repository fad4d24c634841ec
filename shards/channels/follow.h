/*
 * Followed channels (extensions X7), on the home shard of the peer: a log of ours that it follows, a log of its that we
 * do. The bytes are those of core/channel/follow.h. A publisher keeps a place in its log for each follower, no queue;
 * a follower keeps no place at all: it goes on where its own log ends, which the owner of that log says.
 */
#ifndef NM_SHARDS_NODE_FOLLOW_H
#define NM_SHARDS_NODE_FOLLOW_H

#include "core/channel/follow.h"
#include "shards/peers/peer.h"
#include "shards/transport/stream.h"

struct log_view;
struct subscription;

/* MSG_FOLLOW, MSG_FOLLOW_GRANT: what a peer asks of the owner of a log, and its answer. */
struct msg_follow {
    uint64_t node_id;
    struct follow_message m; /* the answer has the channel too */
};

/* ---- follow_owner.c: on the shard that owns the log ---- */

void follow_on_ask(struct shard *, unsigned home, const struct msg_follow *);
void follow_on_end(struct shard *, const struct msg_follow *);

/* ---- follow_publisher.c: a peer that follows a log of ours ---- */

enum { FOLLOWER_AHEAD_MIN = 64 }; /* events */

struct follower {
    struct stream_source source;
    struct list in_peer, in_view; /* in_view: while it is agreed */
    struct peer *peer;
    struct log_view *view; /* NULL: the owner was asked, and has not answered */
    struct stream *stream; /* with `view` */
    struct follow_message ask, answer;
    bool answered;          /* `answer` was sent, or there is none yet */
    bool waiting;           /* there is no log yet */
    bool asked_again;       /* now there is: the owner was asked for it */
    bool broken;            /* it cannot go on: ended at the next tick */
    bool position_due;      /* to be told where the log ends */
    bool apart;             /* the event at `next` was announced, and comes alone in the next packets: */
    struct large_sent sent; /* of that event, when it goes in fragments */
    uint64_t next;          /* to be sent next */
    uint64_t tick_at;       /* when the answer is tried again, or a position is due; monotonic ns */
    uint32_t ahead;         /* of a log on another shard: events to ask for at once */
};

void follow_on_grant(struct shard *, const struct msg_follow *);
void follower_on_heads(struct follower *); /* its view's have changed */
void followers_tick(struct peer *, uint64_t now);
uint64_t followers_deadline(const struct peer *);
void followers_free(struct peer *);

/* ---- follow_cursor.c: what it is sent ---- */

/* As stream_source.fill, of follower.source. */
bool follower_fill(struct stream_source *, struct peer *, struct stream *);
/* Events that the owner sent, and where to go on behind them; what finds no credit is read again. */
void follower_feed(struct follower *, const struct redex_event *, size_t n, const struct log_part *, uint64_t next);

/* ---- follow_follower.c: a log of the peer's that we follow ---- */

struct following {     /* in a subscription */
    uint64_t token;    /* of the last question to the owner of our log */
    uint64_t number;   /* of the last FOLLOW; its stream */
    uint64_t heard_at; /* when the stream last gave a sign; monotonic ns */
    uint64_t next;     /* the sequence that must come next */
    uint64_t shown;    /* the hooks have seen all events below */
    uint8_t log_id[LOG_ID];
    bool placed;   /* the owner said where our log ends: FOLLOW can be sent */
    bool known;    /* and there is one: log_id and next are of it */
    bool expected; /* the stream of `number` is */
    bool sent;     /* FOLLOW was */
    bool begun;    /* the answer came: events may */
    bool apart;    /* the next packet is one event, appended at: */
    uint64_t apart_at;
};

void following_begin(struct peer *,
                     struct subscription *); /* asks, from where our log ends (or from the start given) */
void following_tick(struct peer *, struct subscription *, uint64_t now);
void following_end(struct peer *, struct subscription *); /* tells the peer */
void following_on_answer(struct peer *, const struct follow_message *);
void follow_on_place(struct shard *, const struct msg_follow_place *);

/* What arrives on the streams of both (stream.h). */
packet_handler follow_on_control, follow_on_records;

#endif
