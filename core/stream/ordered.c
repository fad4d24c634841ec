#include "core/stream/ordered.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"

enum { CAPACITY_MIN = 64 };

void ordered_init(struct ordered *o, uint32_t limit)
{
    assert(limit > 0 && limit <= UINT32_C(1) << 30);
    *o = (struct ordered){.limit = limit};
}

void ordered_deinit(struct ordered *o)
{
    assert(o->held == 0);
    free(o->slots);
    o->slots = NULL;
    o->capacity = 0;
}

static void **slot_of(const struct ordered *o, uint64_t sequence)
{
    return &o->slots[sequence & (o->capacity - 1)];
}

enum ordered_place ordered_place(const struct ordered *o, uint64_t sequence)
{
    if (sequence < o->next)
        return ORDERED_DUPLICATE;
    uint64_t ahead = sequence - o->next;
    if (ahead >= o->limit)
        return ORDERED_BEYOND;
    if (ahead < o->capacity && *slot_of(o, sequence))
        return ORDERED_DUPLICATE;
    return ahead == 0 ? ORDERED_NEXT : ORDERED_LATER;
}

static int grow(struct ordered *o, uint64_t ahead)
{
    uint32_t capacity = o->capacity ? o->capacity : CAPACITY_MIN;
    while (capacity <= ahead)
        capacity *= 2;
    void **slots = calloc(capacity, sizeof *slots);
    if (!slots)
        return NET_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < o->capacity; i++) {
        uint64_t sequence = o->next + i;
        slots[sequence & (capacity - 1)] = *slot_of(o, sequence);
    }
    free(o->slots);
    o->slots = slots;
    o->capacity = capacity;
    return NET_OK;
}

int ordered_hold(struct ordered *o, uint64_t sequence, void *item)
{
    enum ordered_place place = ordered_place(o, sequence);
    assert(item && (place == ORDERED_NEXT || place == ORDERED_LATER));
    uint64_t ahead = sequence - o->next;
    if (ahead >= o->capacity && grow(o, ahead) != NET_OK)
        return NET_ERR_NO_MEMORY;
    *slot_of(o, sequence) = item;
    o->held++;
    return NET_OK;
}

void *ordered_first(const struct ordered *o)
{
    return o->capacity ? *slot_of(o, o->next) : NULL;
}

void ordered_advance(struct ordered *o)
{
    if (ordered_first(o)) {
        *slot_of(o, o->next) = NULL;
        o->held--;
    }
    o->next++;
}

void *ordered_take_any(struct ordered *o)
{
    for (uint32_t i = 0; o->held && i < o->capacity; i++) {
        void **slot = slot_of(o, o->next + i), *item = *slot;
        if (item) {
            *slot = NULL;
            o->held--;
            return item;
        }
    }
    return NULL;
}
