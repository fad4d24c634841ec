/*
 * Loss detection of the packets of one session, with its round trip time, congestion control and pacing: RFC 9002,
 * appendices A and B, with acknowledgement blocks (ack.h) in the place of ACK frames. Extensions X2.4, X2.5. Times are
 * the shard's monotonic nanoseconds, sizes are bytes of whole datagrams.
 *
 * What is in flight stands in a ring in the order of counters; it doubles up to a limit. A packet the transport wants
 * back when it is lost (KEPT) is named by exactly one entry in flight: `lost` and recovery_probe() hand it back, and it
 * takes a new counter when it leaves again. Entries that were declared lost are remembered for a while without it, so
 * that a late acknowledgement is known as spurious.
 */
#ifndef NM_CORE_STREAM_RECOVERY_H
#define NM_CORE_STREAM_RECOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/stream/ack.h"
#include "core/stream/congestion.h"
#include "core/stream/pacer.h"
#include "core/stream/rtt.h"

enum {                     /* flags of a sent packet */
       SENT_ELICITING = 1, /* the peer acknowledges it: counts as in flight */
       SENT_KEPT = 2,      /* content is kept until it is acknowledged: `what` */
       SENT_PROBE = 4,     /* sent because of a time-out, whatever congestion control and pacer allow */
};

struct sent {
    uint64_t counter;
    void *what;       /* with SENT_KEPT: the caller's packet. NULL in `spurious` */
    uint64_t stream;  /* the caller's: stream id */
    uint64_t sent_ns; /* set by recovery_on_sent, and so is the mark */
    struct delivery_mark mark;
    uint16_t bytes; /* of the datagram */
    uint16_t cost;  /* the caller's: credit of its stream. 0 once recovery_probe took `what` */
    uint8_t flags;
};

/* Called from within the functions below, which they must not call. The entry is gone when the callback returns. */
struct recovery_events {
    void *ctx;
    void (*acked)(void *ctx, const struct sent *);
    void (*lost)(void *ctx, const struct sent *);     /* declared lost: send `what` again, or refund `cost` */
    void (*spurious)(void *ctx, const struct sent *); /* was reported as lost, and has arrived after all */
};

struct recovery {
    struct rtt rtt;
    struct congestion congestion;
    struct pacer pacer;
    uint64_t packets_lost, packets_spurious, probes, acks_invalid; /* since init */

    struct sent *ring;
    uint64_t *in_flight, *lost; /* a bit for each place of the ring: not acknowledged yet; declared lost since */
    uint32_t capacity, limit;   /* places; 0 or a power of two */
    uint64_t head, tail;        /* of the ring: places are numbered without end */
    uint64_t scan;              /* no place before is in flight */
    uint32_t flying, kept;      /* entries in flight, and those of them that are KEPT */

    uint64_t next_counter; /* above all that were sent */
    uint64_t path_counter; /* of the first packet on this path: those before are no measure of it */
    uint64_t largest;      /* acknowledged, of this session; with any_acked */
    bool any_acked;
    uint64_t last_eliciting_ns, loss_ns; /* loss_ns: when the time threshold is reached; 0: not needed */
    uint32_t backoff;                    /* probe time-outs in a row */
    uint32_t reorder_packets;            /* packet threshold */
    uint32_t reorder_shift;              /* time threshold: 1 + 1/2^shift round trips */
};

/*
 * rtt_guess: what the handshake took, 0 if unknown (then RFC 9002's 333 ms). limit: packets remembered, a power of two,
 * at least 64; memory is some 80 bytes each once so many are in flight. Nothing is allocated yet.
 */
void recovery_init(struct recovery *, uint64_t rtt_guess_ns, uint32_t limit, uint64_t now);
/* Frees the ring. What it names is the caller's: recovery_abandon() first. */
void recovery_deinit(struct recovery *);

/* What the handshake of a session took, when nothing better was measured yet: before its first packet. 0: nothing
 * changes. */
void recovery_guess_rtt(struct recovery *, uint64_t guess_ns, uint64_t now);
/* The peer is reached by another path: its round trip, of which the one before is a guess, and its rate are measured
 * anew (RFC 9000 9.4), by what is sent from now on. What is in flight stays: it is reported as acknowledged or lost as
 * ever, and measures nothing. Nothing was measured yet: nothing changes. */
void recovery_on_path(struct recovery *, uint64_t now);

/* Makes room for one more eliciting packet: before it is sealed. NET_ERR_LIMIT: too many unacknowledged; NO_MEMORY. */
int recovery_reserve(struct recovery *, uint64_t now);
/*
 * A packet of the session left (every one, also acknowledgements and heartbeats: flags 0, no reserve needed); counters
 * ascend. Eliciting packets take pacer tokens and count in flight.
 */
void recovery_on_sent(struct recovery *, const struct sent *, uint64_t now);
/* The transport had room to send and nothing to send: what is measured until then says nothing about the path. */
void recovery_on_idle(struct recovery *);

/* May reliable traffic leave now (congestion control and pacer), may fire-and-forget (pacer only)? */
static inline bool recovery_may_send(const struct recovery *r, uint64_t now, bool reliable)
{
    return pacer_allow(&r->pacer, now) && (!reliable || congestion_room(&r->congestion) > 0);
}

/*
 * A block that came in the session. NET_ERR_INVALID: it names a counter that was never sent (acks_invalid counts), and
 * nothing changed. An old or repeated block is fine.
 */
int recovery_on_ack(struct recovery *, const struct ack *, uint64_t now, const struct recovery_events *);

/* When recovery_on_tick wants to be called: time threshold or probe time-out; UINT64_MAX: nothing in flight. The pacer
 * has its own: pacer_deadline(&r->pacer). */
uint64_t recovery_deadline(const struct recovery *);
/*
 * Declares lost what the time threshold says. True: a probe time-out expired: send one or two eliciting packets with
 * SENT_PROBE now, whatever congestion control and pacer say, first what recovery_probe() returns, then anything.
 * Nothing is lost because of silence alone: the answer to a probe tells. Only where the limit is reached the oldest are
 * reported lost, so that two probes can be recorded.
 */
bool recovery_on_tick(struct recovery *, uint64_t now, const struct recovery_events *);
/* Takes `what` of the oldest KEPT packet in flight out of its entry, which stays in flight without: it is to be sent
 * again under a new counter. NULL: none. */
void *recovery_probe(struct recovery *);

/*
 * The session is over: all in flight is reported lost, with no verdict on the path. The next session begins at counter
 * 0 with the same rtt and congestion window (X1: streams go on across a re-handshake).
 */
void recovery_abandon(struct recovery *, uint64_t now, const struct recovery_events *);

#endif
