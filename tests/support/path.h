/*
 * A sender with endless data, a receiver and the path between, in simulated time: what core/stream's recovery,
 * congestion control, pacing and acknowledgements do together. Deterministic: the same struct path gives the same
 * result.
 */
#ifndef NM_TESTS_SUPPORT_PATH_H
#define NM_TESTS_SUPPORT_PATH_H

#include <stdbool.h>
#include <stdint.h>

struct path {
    uint64_t rate;      /* of the bottleneck, bytes per second */
    uint64_t rtt_ns;    /* without queueing */
    uint64_t queue;     /* bytes the bottleneck keeps; what does not fit is dropped */
    double loss;        /* 0..1, of each packet of either direction */
    double duplicate;   /* likewise: comes twice */
    uint64_t jitter_ns; /* up to so much later, each packet by itself: reorders */
    uint32_t packet;    /* bytes of a datagram */
    uint64_t seed;
    uint64_t outage_ns, outage_end_ns; /* nothing passes from .. until; 0, 0: no outage */
    uint64_t slow_ns;                  /* from then on half the rate; 0: never */
    bool fire_and_forget;              /* sends as the pacer says, whatever is in flight */
};

struct path_result {
    uint64_t goodput;                                /* bytes per second that arrived for the first time */
    uint64_t sent, lost, spurious, repeated, probes; /* packets; repeated: arrived again */
    uint64_t longest_ns;                             /* between two arrivals of something new */
    uint64_t queue_ns;                               /* mean wait in the queue */
    uint64_t cwnd, smoothed_ns;
    uint32_t reorder_packets;
};

/* Sends for so long. */
struct path_result path_run(const struct path *, uint64_t duration_ns);

#endif
