/*
 * Streams of the application (netmesh.h, streams.md) at their peer's home. What the application sends is pushed: it
 * goes into packets at once, as far as credit and the pool allow. Beyond them one event is kept that goes in fragments.
 */
#ifndef NM_SHARDS_NODE_USER_STREAM_H
#define NM_SHARDS_NODE_USER_STREAM_H

#include "shards/peers/peer.h"

/* The sending half of one; lives until ended() of its source, or a fire-and-forget one's close. */
struct user_stream {
    struct stream_source source;
    uint64_t epoch; /* the handle's */
    bool closed;    /* what it was given still goes out */
};

/* The one that is open for sending under this id; NULL: none. */
struct user_stream *user_stream_find(struct peer *, uint64_t id, struct stream **);
/* As netmesh_stream_open(), of a peer that is here. */
int user_stream_open(struct peer *, uint64_t id, const struct netmesh_stream_options *, uint64_t *epoch);
/* The most a frame may have: what the peer takes in a packet and the window holds; on a reliable stream, where
 * fragments are known and the window holds a packet, limits.event_bytes, if that is more. */
uint32_t user_stream_room(const struct peer *, const struct stream *);
/* One packet of the frames at the front, none of which is larger, or the first in fragments: how many, and their bytes;
 * 0: backpressure. */
uint32_t user_stream_send(struct peer *, struct stream *, struct cspan frames, uint32_t count, size_t *used);
void user_stream_close(struct peer *, struct stream *);
void user_stream_reset(struct peer *, struct stream *);

/* Plain events of a fire-and-forget packet that belong to no subscription. False: no room for them. */
bool user_stream_on_events(struct peer *, const struct wire_header *, struct cspan plaintext);
/* Of a reliable one: a packet_handler. */
bool user_stream_on_packet(struct peer *, struct stream *, const struct wire_header *, struct cspan plaintext);
/* Once a while: fire-and-forget streams on which nothing moves are forgotten (streams.md 4.4). */
void user_streams_tick(struct peer *, uint64_t now);

#endif
