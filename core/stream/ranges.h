/*
 * A set of packet counters as ranges, newest kept: what arrived in one direction of one session, for acknowledgements
 * (extensions X2.3, RFC 9000 13.2.3). Bounded: when there are too many ranges the lowest is forgotten.
 */
#ifndef NM_CORE_STREAM_RANGES_H
#define NM_CORE_STREAM_RANGES_H

#include <stdbool.h>
#include <stdint.h>

enum { RANGES_MAX = 32 };

struct range {
    uint64_t first, last; /* both inside */
};

struct ranges {
    uint32_t count;
    struct range list[RANGES_MAX]; /* descending; at least one counter is missing between two */
};

void ranges_init(struct ranges *);
/* False, and nothing changed: it is there already, or below all that a full set holds. In order: O(1). */
bool ranges_add(struct ranges *, uint64_t counter);
bool ranges_contain(const struct ranges *, uint64_t counter);
/* Of a set that is not empty. */
static inline uint64_t ranges_largest(const struct ranges *r)
{
    return r->list[0].last;
}

#endif
