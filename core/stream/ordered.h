/*
 * The receiving end of a reliable stream: puts its packets in order, each once. extensions X2.2, streams.md 15.7 (with
 * the window of X2 instead of 64). It holds pointers; what they point to, and how many bytes that may be, is the
 * caller's affair.
 */
#ifndef NM_CORE_STREAM_ORDERED_H
#define NM_CORE_STREAM_ORDERED_H

#include <stdbool.h>
#include <stdint.h>

struct ordered {
    uint64_t next;     /* the sequence to be delivered next: all before were */
    void **slots;      /* [sequence & (capacity - 1)] for next <= sequence < next + capacity */
    uint32_t capacity; /* power of two, or 0: grows with the distance of what arrives */
    uint32_t limit;    /* sequences ahead of `next` that are taken */
    uint32_t held;     /* slots in use */
};

enum ordered_place {
    ORDERED_NEXT,      /* to be delivered at once: ordered_advance(), or held when nobody takes it now */
    ORDERED_LATER,     /* to be held */
    ORDERED_DUPLICATE, /* was delivered, or is held */
    ORDERED_BEYOND     /* more than the limit ahead: no sender within its credit goes there */
};

/* `limit` > 0: packets that the window can hold. Allocates nothing. */
void ordered_init(struct ordered *, uint32_t limit);
void ordered_deinit(struct ordered *); /* the items are the caller's: ordered_take_any() them first */
enum ordered_place ordered_place(const struct ordered *, uint64_t sequence);
/* Holds an item, not NULL, for a sequence that is ORDERED_NEXT or ORDERED_LATER. NET_ERR_NO_MEMORY: it is not held. */
int ordered_hold(struct ordered *, uint64_t sequence, void *item);
void *ordered_first(const struct ordered *); /* the item of `next`, or NULL */
void ordered_advance(struct ordered *);   /* `next` was delivered; its item, if there was one, is the caller's again */
void *ordered_take_any(struct ordered *); /* empties it, in order; NULL: empty */

#endif
