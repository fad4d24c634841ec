/*
 * Single-producer single-consumer byte ring of records between two shards (design: "Shards and who owns what").
 * A record is a 16-byte head (u32 body length, u16 kind, u16 aux, u64 arg) and a body, contiguous, 16-byte aligned; the
 * memory wraps only between records. These are the only atomics of a node besides sleep flags and counters.
 */
#ifndef NM_CORE_RING_SPSC_H
#define NM_CORE_RING_SPSC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spsc_record {
    uint32_t len; /* body bytes */
    uint16_t kind;
    uint16_t aux;
    uint64_t arg;
    uint8_t body[];
};

struct spsc {
    uint8_t *mem;
    size_t size;                      /* power of two */
    _Alignas(64) _Atomic size_t tail; /* written by the producer */
    size_t head_seen, reserved;       /* producer's */
    _Alignas(64) _Atomic size_t head; /* written by the consumer */
    size_t tail_seen, peeked;         /* consumer's */
};

/* `size` is a power of two of at least 4096; memory is allocated here. 0 or NET_ERR_NO_MEMORY. */
int spsc_init(struct spsc *, size_t size);
void spsc_deinit(struct spsc *);
/* Largest body that can ever fit: size/2 - head. */
size_t spsc_max_body(const struct spsc *);

/* Producer. Room for a record with a body of up to `len` bytes, or NULL when full (or larger than spsc_max_body).
 * Fill it and commit; committing with a smaller final `len` is allowed. One reservation at a time. */
struct spsc_record *spsc_reserve(struct spsc *, size_t len);
void spsc_commit(struct spsc *, struct spsc_record *, size_t len);
/* Bytes of body a reserve would surely get now (0 when none). */
size_t spsc_room(struct spsc *);

/* Any thread, for a statistic: bytes taken by records at about this moment. */
size_t spsc_used(const struct spsc *);

/* Consumer. The oldest record or NULL; stays valid until spsc_release(). */
struct spsc_record *spsc_peek(struct spsc *);
void spsc_release(struct spsc *);
bool spsc_empty(struct spsc *); /* consumer side, exact for what was committed before the call */

#endif
