/*
 * Congestion control of one session: how many bytes may be in flight, and how fast they leave. Extensions X2.5, RFC
 * 9002 7. Driven by recovery.c, which tells it what was sent, acknowledged and lost. Bytes are whole datagrams, times
 * the shard's monotonic nanoseconds.
 *
 * It is a model of the path as BBR makes it (draft-cardwell-iccrg-bbr-congestion-control): the most that was
 * delivered per second lately and the shortest round trip say how much is in flight when the path is full and its queue
 * empty. Loss is no signal up to LOSS_BOUND: a radio link that loses 5 % is not a full one. Beyond it the queue is
 * taken for too short for what the model sends, and what may be in flight is bounded until probing finds more room.
 */
#ifndef NM_CORE_STREAM_CONGESTION_H
#define NM_CORE_STREAM_CONGESTION_H

#include <stdbool.h>
#include <stdint.h>

#include "core/stream/delivery.h"
#include "core/stream/rtt.h"

enum congestion_mode {
    CONGESTION_STARTUP,  /* doubles each round until delivery grows no more */
    CONGESTION_DRAIN,    /* lets the queue that made go */
    CONGESTION_CRUISE,   /* at the measured rate, now and then a quarter more and then less */
    CONGESTION_PROBE_RTT /* half of it for a moment: the shortest round trip is seen with an empty queue only */
};

/* The most of late: since this half of the window began, and in the half before. */
struct congestion_most {
    uint64_t half[2], round, since_ns;
};

struct congestion {
    uint64_t cwnd;      /* bytes that may be in flight */
    uint64_t in_flight; /* bytes sent and neither acknowledged nor lost; fire-and-forget too, so it may exceed cwnd */
    uint64_t rate;      /* bytes per second for the pacer */
    uint32_t packet;    /* the largest datagram so far */
    enum congestion_mode mode;

    struct delivery delivery;
    struct delivery_sample sample; /* of the block being read */
    uint64_t acked;                /* bytes of it */

    uint64_t round_end; /* a round ends when what was sent after this much was delivered is acknowledged */
    uint64_t rounds;
    bool round_start; /* this block began one */

    struct congestion_most bandwidth; /* delivered per second */
    uint64_t min_rtt, min_rtt_ns;     /* shortest lately, and when that was; 0: not measured */
    uint64_t probe_rtt_end;           /* 0: not in flight little enough yet */

    uint64_t full_bandwidth; /* STARTUP: what delivery must exceed by a quarter to go on */
    uint32_t full_rounds;    /* rounds in which it did not */
    bool full;               /* the path was filled once */

    uint32_t phase; /* of CRUISE */
    uint64_t phase_ns;

    struct congestion_most extra; /* acknowledged at once beyond the rate: cwnd allows for bundles */
    uint64_t extra_ns, extra_acked;

    uint64_t lost, lost_from; /* bytes lost since so much was delivered */
    uint64_t bound;           /* bytes in flight that lost too much; UINT64_MAX: none */
};

/* rtt_ns: what is guessed until it is measured; 0: unknown. */
void congestion_init(struct congestion *, uint64_t rtt_ns, uint64_t now);

/* Bytes that reliable traffic may add to what is in flight. */
static inline uint64_t congestion_room(const struct congestion *c)
{
    return c->cwnd > c->in_flight ? c->cwnd - c->in_flight : 0;
}

struct delivery_mark congestion_on_sent(struct congestion *, uint32_t bytes, uint64_t now);
/* One packet each, then congestion_update once for all that a block said. */
void congestion_on_acked(struct congestion *, const struct delivery_mark *, uint64_t sent_ns, uint32_t bytes,
                         uint64_t arrived);
void congestion_on_lost(struct congestion *, uint32_t bytes);
void congestion_on_spurious(struct congestion *, uint32_t bytes); /* was told as lost, and arrived */
void congestion_update(struct congestion *, const struct rtt *, uint64_t rtt_sample, uint64_t now); /* sample 0: none */
/* Leaves the sum without a verdict: drained without having been acknowledged or lost on this path. */
void congestion_forget(struct congestion *, uint32_t bytes);
/* RFC 9002 7.6: all was lost for three probe time-outs. The path is a new one. */
void congestion_on_persistent(struct congestion *, uint64_t rtt_ns, uint64_t now);
/* The peer is reached by another path (RFC 9000 9.4): begins anew. rtt_ns: a guess. */
void congestion_on_path(struct congestion *, uint64_t rtt_ns, uint64_t now);
/* Nothing to send although there was room. */
void congestion_on_idle(struct congestion *);

#endif
