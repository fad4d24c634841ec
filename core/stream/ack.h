/*
 * Acknowledgements of the packets of one session: when one is due, and its bytes. Extensions X2.3; RFC 9000 13.2 and
 * 19.3. Times are the shard's monotonic nanoseconds.
 *
 * The block, all little-endian (subprotocol 0x0B01, one event, or the first event of a packet with frag_flags bit 1):
 *
 *   offset  size  field
 *        0     8  largest packet counter acknowledged
 *        8     4  delay: microseconds since that packet arrived, saturating
 *       12     2  n: further ranges, at most 32
 *       14     2  zero
 *       16     4  packets below the largest in its range (the first range is [largest - this, largest])
 *       20  8 n   each: u32 missing counters above this range minus 1, u32 counters in it minus 1
 *
 * Counters are those of the session the block travels in, in the other direction.
 */
#ifndef NM_CORE_STREAM_ACK_H
#define NM_CORE_STREAM_ACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/span.h"
#include "core/stream/ranges.h"

enum {
    ACK_HEAD = 20,    /* bytes of a block with one range */
    ACK_RANGE = 8,    /* bytes of each further range */
    ACK_FURTHER = 32, /* further ranges a block may have */
    ACK_MAX = ACK_HEAD + ACK_FURTHER * ACK_RANGE,
    ACK_EVERY = 64,            /* eliciting packets that make one due */
    ACK_MAX_DELAY_NS = 1000000 /* an eliciting packet is acknowledged this late at the latest; both ends know it */
};

/* What the receiver of one session owes. */
struct ack_state {
    struct ranges ranges;
    uint64_t largest_ns; /* when the largest arrived */
    uint64_t due_ns;     /* when an acknowledgement must leave at the latest; UINT64_MAX: none is owed */
    uint32_t eliciting;  /* packets since the last one left */
};

void ack_init(struct ack_state *);
/*
 * A packet was opened and has its place (X2.3). Every opened packet counts, also what elicits nothing
 * (acknowledgements, heartbeats). Due at once when an eliciting packet leaves a gap or fills one: the sender waits for
 * that.
 */
void ack_on_packet(struct ack_state *, uint64_t counter, bool eliciting, uint64_t now);
/* Makes one due now: the peer repeated what has its place already, so it lacks our acknowledgement. */
void ack_hurry(struct ack_state *, uint64_t now);
static inline bool ack_due(const struct ack_state *a, uint64_t now)
{
    return now >= a->due_ns;
}
/*
 * Writes the block into `room` bytes and returns its length; the lowest ranges are left out where room ends. 0 when
 * nothing arrived yet or room is below ACK_HEAD. Does not change when the next is due: that is ack_on_sent, once the
 * packet with the block leaves. Call both once a turn at most: what piled up within a turn is one acknowledgement.
 */
size_t ack_encode(const struct ack_state *, uint64_t now, uint8_t *out, size_t room);
void ack_on_sent(struct ack_state *);

/* A block that was read. */
struct ack {
    uint64_t delay_ns;
    uint32_t count;                       /* ranges, 1 .. ACK_FURTHER + 1 */
    struct range ranges[ACK_FURTHER + 1]; /* descending and apart; the largest is ranges[0].last */
};

/* NET_ERR_FORMAT: wrong length, more than 32 further ranges, a field that must be zero, or a range below counter 0. */
int ack_decode(struct cspan block, struct ack *);

#endif
