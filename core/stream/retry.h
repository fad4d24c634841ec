/* The pauses of who tries again after backpressure: 5 ms, doubled up to 200 ms. streams.md 5.5 and 19 (44). */
#ifndef NM_CORE_STREAM_RETRY_H
#define NM_CORE_STREAM_RETRY_H

#include <stdint.h>

/* Nanoseconds to wait before attempt `retry` that follows the first one, counted from 0. */
static inline uint64_t retry_pause_ns(uint32_t retry)
{
    return retry < 6 ? UINT64_C(5000000) << retry : UINT64_C(200000000);
}

#endif
