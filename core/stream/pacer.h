/*
 * Pacing: what congestion control allows leaves spread over the round trip and not in one burst (RFC 9002 7.7). A token
 * bucket, kept as the time at which it will be full again. It holds a burst of two milliseconds, at least two datagrams
 * of the largest size: what a loop turn sends is not cut by timers, and loopback speed is not limited by them. It goes
 * into debt by the packet that leaves, so any size passes. Times are the shard's monotonic nanoseconds.
 */
#ifndef NM_CORE_STREAM_PACER_H
#define NM_CORE_STREAM_PACER_H

#include <stdbool.h>
#include <stdint.h>

#define PACER_MIN_BURST UINT64_C(16420)      /* bytes */
#define PACER_MAX_RATE UINT64_C(20000000000) /* bytes per second; beyond it pacing is off */

struct pacer {
    uint64_t rate;     /* bytes per second; 0: unlimited */
    uint64_t burst_ns; /* the bucket, as time at that rate */
    uint64_t ready_ns; /* when it is full */
};

/* Unlimited until a rate is set. */
void pacer_init(struct pacer *, uint64_t now);
/* 0: unlimited. What was spent stays spent. */
void pacer_set_rate(struct pacer *, uint64_t bytes_per_second, uint64_t now);
/* May a packet leave now? */
bool pacer_allow(const struct pacer *, uint64_t now);
/* It left. */
void pacer_spend(struct pacer *, uint32_t bytes, uint64_t now);
/* When to ask again, after pacer_allow said no: a millisecond after it turns true, so that packets leave in batches. */
uint64_t pacer_deadline(const struct pacer *);

#endif
