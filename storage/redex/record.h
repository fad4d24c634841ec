/* One idx record: 20 bytes that name an event. redex.md 4. Only this folder includes this file. */
#ifndef NM_STORAGE_REDEX_RECORD_H
#define NM_STORAGE_REDEX_RECORD_H

#include <stdint.h>

#define XXH_INLINE_ALL /* a call per event would cost as much as hashing 64 bytes */
#include <xxhash.h>

#include "core/base/span.h"

enum { RECORD_SIZE = 20, STAMP_SIZE = 8, INLINE_SIZE = 8 };

#define RECORD_INLINE UINT32_C(0x80000000)
#define RECORD_SUM_MASK UINT32_C(0x0fffffff)

struct record {
    uint64_t seq;
    uint32_t offset, len; /* of the payload in dat; an inline record holds its 8 payload bytes here */
    uint32_t flags_sum;   /* flags in the top nibble, low 28 bits of XXH3-64 of the payload below */
};

/* The stored checksum of a payload. */
static inline uint32_t record_sum(const void *payload, size_t len)
{
    return (uint32_t)XXH3_64bits(payload, len) & RECORD_SUM_MASK;
}

static inline struct record record_load(const uint8_t *p)
{
    return (struct record){load_le64(p), load_le32(p + 8), load_le32(p + 12), load_le32(p + 16)};
}

static inline void record_store(uint8_t *p, struct record r)
{
    store_le64(p, r.seq);
    store_le32(p + 8, r.offset);
    store_le32(p + 12, r.len);
    store_le32(p + 16, r.flags_sum);
}

static inline int record_is_inline(struct record r)
{
    return (r.flags_sum & RECORD_INLINE) != 0;
}

/* Payload bytes, whichever way they are stored. */
static inline uint64_t record_payload_len(struct record r)
{
    return record_is_inline(r) ? INLINE_SIZE : r.len;
}

#endif
