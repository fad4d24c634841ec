/* Round trip time of a path: RFC 9002 5, and the probe time-out of 6.2.1. Nanoseconds. */
#ifndef NM_CORE_STREAM_RTT_H
#define NM_CORE_STREAM_RTT_H

#include <stdbool.h>
#include <stdint.h>

#define RTT_GUESS_NS UINT64_C(333000000) /* kInitialRtt */
#define RTT_GRANULARITY_NS                                                                                             \
    UINT64_C(1000000) /* kGranularity: loopback takes 50 us, and whoever answers may be busy for longer */

struct rtt {
    uint64_t latest, min, smoothed, var;
    bool measured; /* false: smoothed is a guess, var half of it, latest and min 0 */
};

/* What the handshake took, or 0: unknown. */
static inline void rtt_init(struct rtt *r, uint64_t guess_ns)
{
    uint64_t guess = guess_ns ? guess_ns : RTT_GUESS_NS;
    *r = (struct rtt){.smoothed = guess, .var = guess / 2};
}

/* delay: what the peer says it waited, not more than it may. */
static inline void rtt_update(struct rtt *r, uint64_t sample, uint64_t delay)
{
    r->latest = sample;
    if (!r->measured) {
        *r = (struct rtt){.latest = sample, .min = sample, .smoothed = sample, .var = sample / 2, .measured = true};
        return;
    }
    if (sample < r->min)
        r->min = sample;
    uint64_t adjusted = sample >= r->min + delay ? sample - delay : sample;
    uint64_t off = adjusted > r->smoothed ? adjusted - r->smoothed : r->smoothed - adjusted;
    r->var = (3 * r->var + off) / 4;
    r->smoothed = (7 * r->smoothed + adjusted) / 8;
}

/* Without back-off. */
static inline uint64_t rtt_pto(const struct rtt *r, uint64_t max_ack_delay)
{
    uint64_t var = 4 * r->var;
    return r->smoothed + (var > RTT_GRANULARITY_NS ? var : RTT_GRANULARITY_NS) + max_ack_delay;
}

#endif
