/*
 * Pacing: a token bucket in bytes, so that what congestion control allows leaves spread over the round trip and not in
 * one burst (RFC 9002 7.7). The bucket holds a burst of a millisecond, at least 64 KiB: what a loop turn sends at once
 * is not cut by timers, and loopback speed is not limited by it. It may go into debt by one packet, so any packet size
 * passes.
 */
#ifndef NM_CORE_STREAM_PACER_H
#define NM_CORE_STREAM_PACER_H

#include <stdbool.h>
#include <stdint.h>

enum { PACER_MIN_BURST = 65536 }; /* bytes */

struct pacer {
    uint64_t rate;    /* bytes per second; 0: unlimited */
    int64_t tokens;   /* bytes that may leave now; negative: debt */
    uint64_t last_ns; /* when tokens were counted */
};

void pacer_init(struct pacer *, uint64_t now);
void pacer_set_rate(struct pacer *, uint64_t bytes_per_second, uint64_t now);
/* May a packet leave now? */
bool pacer_allow(struct pacer *, uint64_t now);
/* It left. */
void pacer_spend(struct pacer *, uint32_t bytes);
/* When pacer_allow turns true: `now` or earlier if it is; never UINT64_MAX, as any rate gets there. */
uint64_t pacer_deadline(const struct pacer *);

#endif
