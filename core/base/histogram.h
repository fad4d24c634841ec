/*
 * A distribution of durations with one writer (its shard) that another thread may read at any time. Buckets end at
 * powers of two of nanoseconds, from 1.024 us to 17.2 s: what is read from it is right within a factor of two, and
 * recording is one count of leading zeros.
 */
#ifndef NM_CORE_BASE_HISTOGRAM_H
#define NM_CORE_BASE_HISTOGRAM_H

#include "core/base/counter.h"

enum { HISTOGRAM_FIRST_BIT = 10, HISTOGRAM_BUCKETS = 26 };

struct histogram {
    counter bucket[HISTOGRAM_BUCKETS]; /* not cumulative; the last holds all that is longer than the others end at */
    counter sum;                       /* ns */
};

/* Where bucket `i` ends, in ns, itself included; the last has no end. */
static inline uint64_t histogram_bound(unsigned i)
{
    return UINT64_C(1) << (HISTOGRAM_FIRST_BIT + i);
}

static inline void histogram_add_many(struct histogram *h, uint64_t ns, uint64_t times)
{
    unsigned bits = ns > 1 ? 64 - (unsigned)__builtin_clzll(ns - 1) : 0; /* ns <= 1 << bits */
    unsigned i = bits > HISTOGRAM_FIRST_BIT ? bits - HISTOGRAM_FIRST_BIT : 0;
    counter_add(&h->bucket[i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1], times);
    counter_add(&h->sum, ns * times);
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
    histogram_add_many(h, ns, 1);
}

#endif
