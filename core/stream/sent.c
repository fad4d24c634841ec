#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/stream/sent_internal.h"

enum { WORD = 64, FIRST_CAPACITY = 64 };

uint64_t sent_next(const struct recovery *r, const uint64_t *a, const uint64_t *b, uint64_t place, uint64_t end)
{
    while (place < end) {
        uint64_t slot = place & (r->capacity - 1);
        uint64_t word = (a[slot / WORD] | (b ? b[slot / WORD] : 0)) >> slot % WORD;
        if (word) {
            place += (uint64_t)__builtin_ctzll(word);
            return place < end ? place : end;
        }
        place += WORD - slot % WORD;
    }
    return end;
}

uint64_t sent_find(const struct recovery *r, uint64_t counter)
{
    uint64_t low = r->head, high = r->tail;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (sent_at(r, middle)->counter < counter)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Places keep their numbers: each moves to where its number belongs in the larger ring. */
static void move(const struct recovery *from, struct recovery *to)
{
    for (uint64_t place = from->head; place < from->tail; place++) {
        *sent_at(to, place) = *sent_at(from, place);
        if (sent_bit(from, from->in_flight, place))
            sent_set(to, to->in_flight, place);
        if (sent_bit(from, from->lost, place))
            sent_set(to, to->lost, place);
    }
}

int sent_grow(struct recovery *r)
{
    if (r->tail - r->head < r->capacity)
        return NET_OK;
    if (r->capacity == r->limit)
        return NET_ERR_LIMIT;
    struct recovery larger = *r;
    larger.capacity = r->capacity ? r->capacity * 2 : FIRST_CAPACITY;
    size_t words = larger.capacity / WORD;
    larger.ring = malloc(larger.capacity * sizeof *larger.ring + 2 * words * sizeof(uint64_t)); /* one block for all */
    if (!larger.ring)
        return NET_ERR_NO_MEMORY;
    larger.in_flight = (uint64_t *)(larger.ring + larger.capacity);
    larger.lost = larger.in_flight + words;
    memset(larger.in_flight, 0, 2 * words * sizeof(uint64_t));
    move(r, &larger);
    free(r->ring);
    *r = larger;
    return NET_OK;
}

void sent_trim(struct recovery *r, uint64_t forget_before)
{
    for (;;) {
        r->head = sent_next(r, r->in_flight, r->lost, r->head, r->tail);
        if (r->head == r->tail || sent_bit(r, r->in_flight, r->head) || sent_at(r, r->head)->sent_ns >= forget_before)
            break;
        sent_clear(r, r->lost, r->head++);
    }
    if (r->scan < r->head)
        r->scan = r->head;
}
