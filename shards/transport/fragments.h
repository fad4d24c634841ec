/* Events that are larger than a packet, on their way to a peer and from one. Extensions X3; core/stream/fragment.h has
 * the bytes and what is put together. */
#ifndef NM_SHARDS_NODE_FRAGMENTS_H
#define NM_SHARDS_NODE_FRAGMENTS_H

#include "core/stream/fragment.h"
#include "shards/logs/view.h"

bool fragments_on(const struct peer *); /* both ends have FEATURE_FRAGMENT */

/* A large event of a log, as far as it is here. */
struct large_event {
    uint64_t seq, ts_ns;
    struct cspan data;      /* its bytes from `offset` on, valid during the call */
    uint32_t offset, total; /* bytes */
};
enum fragments_sent {
    FRAGMENTS_ALL,       /* the last one went */
    FRAGMENTS_SOME,      /* a batch went: there is more of it here */
    FRAGMENTS_READ,      /* the event's bytes behind cursor->sent.offset are wanted */
    FRAGMENTS_NO_CREDIT, /* until a grant comes; or the session can seal no more */
    FRAGMENTS_NO_BUFFER, /* until a transmit buffer comes back */
};
/* One batch of fragments of the event at c->next, from c->sent on, `allowance` bytes as far as packets go; those that
 * it sent are added to *spent. When the stream began anew meanwhile, the event does, too. */
enum fragments_sent fragments_send(struct cursor *, const struct large_event *, uint64_t allowance, uint64_t *spent);

/* Of reliable streams: the next packet of the event, committed as stream_commit() does. NO_CREDIT: stream_packet() has
 * none. Nobody commits anything else to the stream between the first and the last. */
enum fragments_sent fragments_commit(struct peer *, struct stream *, uint16_t subprotocol, struct large_sent *,
                                     const struct large_event *);
/* stream_send_message() of what exceeds a packet, and what goes on with it. */
int fragments_send_message(struct peer *, struct stream *, uint16_t subprotocol, struct cspan message);
void fragments_commit_message(struct peer *, struct stream *); /* one packet of it, if there is credit */
void fragments_drop_message(struct stream *);

bool fragments_carried(const struct peer *, const struct wire_header *); /* the packet is a fragment */
/* Takes the fragment in the packet. *out: the message, when it is whole. True: the packet's credit may go back. What
 * is dropped is counted. */
bool fragments_take(struct peer *, const struct wire_header *, struct cspan plaintext, struct fragment_message *out);
/* The same of a packet of a reliable stream, in order. 0, or the reason why the stream cannot go on: NET_ERR_LIMIT,
 * NET_ERR_TOO_LARGE, NET_ERR_NO_MEMORY, NET_ERR_FORMAT. A message counts in the budgets until fragments_done(). */
int fragments_collect(struct peer *, const struct wire_header *, struct cspan plaintext, struct fragment_message *out);
void fragments_done(struct stream *);       /* stream->whole was taken */
void fragments_end_stream(struct stream *); /* drops what came on it */
uint64_t fragments_deadline(const struct peer *);
void fragments_tick(struct peer *, uint64_t now);
void fragments_reset(struct peer *); /* its streams begin anew: what is not whole never will be */

#endif
