/* What every benchmark needs: a clock, a core of its own, percentiles, and an end when something fails. */
#ifndef NM_BENCH_MEASURE_H
#define NM_BENCH_MEASURE_H

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000u

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static inline void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}

/* The first two CPUs that this process may use; the same one twice when there is just one. */
static inline void choose_cpus(unsigned cpus[2])
{
    cpu_set_t set;
    unsigned found = 0;
    check(sched_getaffinity(0, sizeof set, &set) == 0, "sched_getaffinity");
    for (unsigned i = 0; i < CPU_SETSIZE && found < 2; i++)
        if (CPU_ISSET(i, &set))
            cpus[found++] = i;
    if (found == 1)
        cpus[1] = cpus[0];
}

/* The calling thread. */
static inline void pin_to(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    check(sched_setaffinity(0, sizeof set, &set) == 0, "pinning to a CPU");
}

struct latency {
    double p50, p99, p999; /* microseconds */
};

static inline int latency_order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Sorts the samples, nanoseconds each. */
static inline struct latency latency_of(uint32_t *samples, size_t n)
{
    qsort(samples, n, sizeof *samples, latency_order);
    return (struct latency){samples[n / 2] / 1e3, samples[n * 99 / 100] / 1e3, samples[n * 999 / 1000] / 1e3};
}

#endif
