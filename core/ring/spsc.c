#include "core/ring/spsc.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"

/*
 * `tail` and `head` count bytes for ever; the offset in memory is the count modulo size. Each side keeps the last value
 * it saw of the other's, so the other's cache line moves only when that view is used up. A record that would not fit
 * before the end of memory starts at its beginning; the gap is a record whose length is PADDING.
 */
enum { HEAD = sizeof(struct spsc_record), SIZE_MIN = 4096 };
#define PADDING UINT32_MAX
#define SIZE_TOP ((size_t)1 << 31) /* so that no body is as long as PADDING */

_Static_assert(HEAD == 16, "head and alignment are the same");

static size_t record_size(size_t len)
{
    return HEAD + ((len + 15) & ~(size_t)15);
}

static struct spsc_record *record_at(const struct spsc *r, size_t position)
{
    return (struct spsc_record *)(void *)(r->mem + (position & (r->size - 1)));
}

static size_t to_end(const struct spsc *r, size_t position)
{
    return r->size - (position & (r->size - 1));
}

int spsc_init(struct spsc *r, size_t size)
{
    assert(size >= SIZE_MIN && size <= SIZE_TOP && (size & (size - 1)) == 0);
    *r = (struct spsc){.mem = aligned_alloc(64, size), .size = size};
    return r->mem ? NET_OK : NET_ERR_NO_MEMORY;
}

void spsc_deinit(struct spsc *r)
{
    free(r->mem);
    r->mem = NULL;
}

size_t spsc_max_body(const struct spsc *r)
{
    return r->size / 2 - HEAD;
}

size_t spsc_used(const struct spsc *r)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    return tail - head <= r->size ? tail - head : 0; /* the two are of different moments */
}

struct spsc_record *spsc_reserve(struct spsc *r, size_t len)
{
    if (len > spsc_max_body(r))
        return NULL;
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    size_t gap = to_end(r, tail) < record_size(len) ? to_end(r, tail) : 0;
    size_t need = gap + record_size(len);
    if (r->size - (tail - r->head_seen) < need) {
        r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
        if (r->size - (tail - r->head_seen) < need)
            return NULL;
    }
    if (gap)
        record_at(r, tail)->len = PADDING;
    r->reserved = tail + gap;
    struct spsc_record *rec = record_at(r, r->reserved);
    rec->len = (uint32_t)len;
    return rec;
}

void spsc_commit(struct spsc *r, struct spsc_record *rec, size_t len)
{
    assert(rec == record_at(r, r->reserved) && len <= rec->len);
    rec->len = (uint32_t)len;
    atomic_store_explicit(&r->tail, r->reserved + record_size(len), memory_order_release);
}

/* The larger of what is free up to the end of memory and what is free behind it. */
static size_t room_seen(const struct spsc *r)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    size_t space = r->size - (tail - r->head_seen), before = to_end(r, tail);
    size_t best = space <= before ? space : before > space - before ? before : space - before;
    if (best < HEAD)
        return 0;
    return best - HEAD < spsc_max_body(r) ? best - HEAD : spsc_max_body(r);
}

size_t spsc_room(struct spsc *r)
{
    size_t room = room_seen(r);
    if (room == spsc_max_body(r))
        return room;
    r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
    return room_seen(r);
}

bool spsc_empty(struct spsc *r)
{
    r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
    return r->tail_seen == atomic_load_explicit(&r->head, memory_order_relaxed);
}

struct spsc_record *spsc_peek(struct spsc *r)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (head == r->tail_seen && spsc_empty(r))
        return NULL;
    struct spsc_record *rec = record_at(r, head);
    if (rec->len == PADDING) { /* committed together with the record behind it */
        head += to_end(r, head);
        rec = record_at(r, head);
    }
    r->peeked = head + record_size(rec->len);
    return rec;
}

void spsc_release(struct spsc *r)
{
    assert(r->peeked != atomic_load_explicit(&r->head, memory_order_relaxed));
    atomic_store_explicit(&r->head, r->peeked, memory_order_release);
}
