/* One of the two streams of acknowledged append towards a peer: opened when there is something to send, and again when
 * it ended. Internal to append_producer.c and append_taker.c. */
#ifndef NM_SHARDS_NODE_APPEND_STREAM_H
#define NM_SHARDS_NODE_APPEND_STREAM_H

#include "shards/peers/peer.h"

struct append_stream {
    struct peer *peer;
    uint16_t id; /* of the stream and of the subprotocol */
    struct stream_source source;
    struct timer retry;
};

typedef bool append_fill_fn(struct stream_source *, struct peer *, struct stream *);
typedef void append_ended_fn(struct stream_source *, struct peer *, struct stream *, int why);

void append_stream_init(struct append_stream *, struct peer *, uint16_t id, append_fill_fn *, append_ended_fn *);
/* There is something to send: now if there is a session, else append_on_session() says so again. */
void append_stream_kick(struct append_stream *);
void append_stream_retry(struct append_stream *); /* kicks in a while: it ended, and its number rests */
void append_stream_deinit(struct append_stream *);

#endif
