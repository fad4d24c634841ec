/* Seeded random numbers for tests: splitmix64, so that a failure repeats. */
#ifndef NM_TESTS_SUPPORT_SPLITMIX_H
#define NM_TESTS_SUPPORT_SPLITMIX_H

#include <stdint.h>

static inline uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* 0..below-1 */
static inline uint64_t splitmix_below(uint64_t *state, uint64_t below)
{
    return splitmix(state) % below;
}

#endif
