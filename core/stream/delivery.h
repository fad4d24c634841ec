/*
 * How fast the path delivers, measured for every packet: what was delivered between its departure and its
 * acknowledgement, over the time that took (draft-cheng-iccrg-delivery-rate-estimation). Bytes and nanoseconds.
 */
#ifndef NM_CORE_STREAM_DELIVERY_H
#define NM_CORE_STREAM_DELIVERY_H

#include <stdbool.h>
#include <stdint.h>

struct delivery {
    uint64_t delivered;    /* bytes acknowledged so far */
    uint64_t delivered_ns; /* when that grew last */
    uint64_t first_ns;     /* departure of the packet that was acknowledged last */
    uint64_t
        idle_until; /* samples of packets that left before so much was delivered tell of us, not of the path; 0: none */
};

/* What a packet in flight remembers of its departure. */
struct delivery_mark {
    uint64_t delivered, delivered_ns, first_ns;
    bool idle;
};

/* Of one acknowledgement block. */
struct delivery_sample {
    struct delivery_mark mark; /* of the packet that left last among those acknowledged */
    uint64_t sent_ns;          /* when it left */
    bool any;
};

/* A packet leaves; alone: nothing else is in flight. */
static inline struct delivery_mark delivery_on_sent(struct delivery *d, bool alone, uint64_t now)
{
    if (alone)
        d->first_ns = d->delivered_ns = now;
    return (struct delivery_mark){d->delivered, d->delivered_ns, d->first_ns, d->idle_until != 0};
}

/* arrived: now, less what the peer waited with its acknowledgement, so that bundles do not look like speed. */
static inline void delivery_on_acked(struct delivery *d, struct delivery_sample *s, const struct delivery_mark *mark,
                                     uint64_t sent_ns, uint32_t bytes, uint64_t arrived)
{
    d->delivered += bytes;
    if (arrived > d->delivered_ns)
        d->delivered_ns = arrived;
    if (!s->any || sent_ns >= s->sent_ns)
        *s = (struct delivery_sample){*mark, sent_ns, true};
}

/* Bytes per second; 0: nothing that can be trusted, such as acknowledgements that came faster than the path is. */
static inline uint64_t delivery_rate(struct delivery *d, const struct delivery_sample *s, uint64_t min_rtt)
{
    uint64_t sending = s->sent_ns - s->mark.first_ns, acking = d->delivered_ns - s->mark.delivered_ns;
    uint64_t elapsed = sending > acking ? sending : acking;
    d->first_ns = s->sent_ns;
    if (d->idle_until && d->delivered > d->idle_until)
        d->idle_until = 0;
    if (elapsed == 0 || elapsed < min_rtt)
        return 0;
    return (d->delivered - s->mark.delivered) * UINT64_C(1000000000) / elapsed;
}

/* There was nothing to send. */
static inline void delivery_on_idle(struct delivery *d, uint64_t in_flight)
{
    d->idle_until = d->delivered + in_flight ? d->delivered + in_flight : 1;
}

#endif
