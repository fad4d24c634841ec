/*
 * Builds the plaintext of one packet from events: length-prefixed frames back to back. wire.md 6.1 and 8,
 * streams.md 5.1. The sender's hot path: everything is inline, nothing allocates, a run of ready-made frames costs one
 * copy.
 *
 * The caller seals the packet when an add does not fit (header: payload_len = len, event_count = count), then starts
 * the next one with packer_init().
 */
#ifndef NM_CORE_WIRE_PACKER_H
#define NM_CORE_WIRE_PACKER_H

#include <assert.h>

#include "core/wire/wire.h"

enum { WIRE_FRAME_HEAD = 4 }; /* bytes: the u32 length before each event */

struct packer {
    uint8_t *out;    /* the caller's, `cap` bytes, outlives the packer; usually packet + WIRE_HEADER */
    size_t cap, len; /* bytes of plaintext allowed, written */
    uint32_t count;  /* events written, at most WIRE_MAX_EVENTS */
};

/* `cap` is the plaintext limit of the path in bytes, at most WIRE_MAX_PLAINTEXT (8094 when routed). */
static inline void packer_init(struct packer *p, uint8_t *out, size_t cap)
{
    assert(cap <= WIRE_MAX_PLAINTEXT);
    *p = (struct packer){.out = out, .cap = cap};
}

/* Appends one event as a frame. False: it does not fit (in an empty packer: larger than any packet), nothing changed.
 */
static inline bool packer_add(struct packer *p, struct cspan event)
{
    size_t room = p->cap - p->len;
    if (room < WIRE_FRAME_HEAD || event.len > room - WIRE_FRAME_HEAD || p->count == WIRE_MAX_EVENTS)
        return false;
    uint8_t *frame = p->out + p->len;
    store_le32(frame, (uint32_t)event.len);
    if (event.len)
        memcpy(frame + WIRE_FRAME_HEAD, event.data, event.len);
    p->len += WIRE_FRAME_HEAD + event.len;
    p->count++;
    return true;
}

/*
 * Appends whole frames (events already length-prefixed) from the front of `frames`, at most `most`, as many as fit, in
 * one copy. Returns how many; the caller goes on behind the bytes by which p->len grew. 0 with frames left means: no
 * room, or, in an empty packer, a frame that no packet of this cap can hold or that runs past the end of `frames`.
 */
static inline uint32_t packer_add_frames(struct packer *p, struct cspan frames, uint32_t most)
{
    size_t room = p->cap - p->len < frames.len ? p->cap - p->len : frames.len;
    uint32_t limit = most < WIRE_MAX_EVENTS - p->count ? most : WIRE_MAX_EVENTS - p->count, n = 0;
    size_t at = 0;
    while (n < limit && room - at >= WIRE_FRAME_HEAD) {
        size_t len = load_le32(frames.data + at);
        if (len > room - at - WIRE_FRAME_HEAD)
            break;
        at += WIRE_FRAME_HEAD + len;
        n++;
    }
    if (at)
        memcpy(p->out + p->len, frames.data, at);
    p->len += at;
    p->count += n;
    return n;
}

#endif
