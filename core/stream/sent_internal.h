/* The ring of sent packets: places, and the bits that say what became of each. Only recovery.c and sent.c. */
#ifndef NM_CORE_STREAM_SENT_INTERNAL_H
#define NM_CORE_STREAM_SENT_INTERNAL_H

#include "core/stream/recovery.h"

static inline struct sent *sent_at(const struct recovery *r, uint64_t place)
{
    return &r->ring[place & (r->capacity - 1)];
}
static inline bool sent_bit(const struct recovery *r, const uint64_t *bits, uint64_t place)
{
    uint64_t slot = place & (r->capacity - 1);
    return bits[slot / 64] >> slot % 64 & 1;
}
static inline void sent_set(const struct recovery *r, uint64_t *bits, uint64_t place)
{
    uint64_t slot = place & (r->capacity - 1);
    bits[slot / 64] |= UINT64_C(1) << slot % 64;
}
static inline void sent_clear(const struct recovery *r, uint64_t *bits, uint64_t place)
{
    uint64_t slot = place & (r->capacity - 1);
    bits[slot / 64] &= ~(UINT64_C(1) << slot % 64);
}

/* First place from `place` on, below `end`, with a bit in `a` or `b` (may be NULL); `end` if none. 64 places a step. */
uint64_t sent_next(const struct recovery *, const uint64_t *a, const uint64_t *b, uint64_t place, uint64_t end);
/* First place whose counter is not below `counter`; tail if none. */
uint64_t sent_find(const struct recovery *, uint64_t counter);
/* Room for one more at the tail. NET_ERR_LIMIT, NET_ERR_NO_MEMORY. */
int sent_grow(struct recovery *);
/* Moves the head over what is settled: acknowledged, or lost and sent before `forget_before`. */
void sent_trim(struct recovery *, uint64_t forget_before);

#endif
