/* xoshiro256** seeded by splitmix64 (Blackman, Vigna), written out so that a seed means the same run everywhere. */
#ifndef NM_TESTS_SIM_RNG_H
#define NM_TESTS_SIM_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/splitmix.h"

struct rng {
    uint64_t s[4];
};

/* Streams of one seed are independent of each other. */
static inline void rng_init(struct rng *r, uint64_t seed, uint64_t stream)
{
    uint64_t x = seed, y = stream;
    x ^= splitmix(&y);
    for (int i = 0; i < 4; i++)
        r->s[i] = splitmix(&x);
}

static inline uint64_t rng_rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t result = rng_rotl(r->s[1] * 5, 7) * 9, t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rng_rotl(r->s[3], 45);
    return result;
}

/* 0 <= result < bound; bound > 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t bound)
{
    return (uint64_t)((unsigned __int128)rng_next(r) * bound >> 64);
}

/* min <= result <= max. */
static inline uint64_t rng_between(struct rng *r, uint64_t min, uint64_t max)
{
    return max <= min ? min : min + rng_below(r, max - min + 1);
}

static inline bool rng_chance(struct rng *r, uint32_t ppm)
{
    return ppm != 0 && rng_below(r, 1000000) < ppm;
}

static inline void rng_bytes(struct rng *r, void *out, size_t len)
{
    for (uint8_t *p = out; len > 0;) {
        uint64_t word = rng_next(r);
        for (int i = 0; i < 8 && len > 0; i++, len--, word >>= 8)
            *p++ = (uint8_t)word;
    }
}

#endif
