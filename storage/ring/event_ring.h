/*
 * What a channel with `log: none` keeps: the newest events, in memory of fixed size, as wire frames (u32 LE length +
 * bytes), so that a packet's plaintext is one copy of a contiguous range. Design "Logs": only what cursors still need,
 * bounded.
 */
#ifndef NM_STORAGE_RING_EVENT_RING_H
#define NM_STORAGE_RING_EVENT_RING_H

#include <stdint.h>

#include "core/base/span.h"
#include "storage/redex/redex.h"

struct event_ring {
    uint8_t *data;
    uint32_t *position; /* of the frame of sequence s, at s & index_mask */
    uint64_t *stamp;
    uint32_t size, index_mask;
    uint32_t head; /* where the next frame goes */
    uint32_t wrap; /* end of the last frame before the head wrapped to 0 */
    uint64_t first_seq, next_seq;
};

/* `bytes` is a power of two of at least 64 KiB. 0 or NET_ERR_NO_MEMORY. */
int event_ring_init(struct event_ring *, uint32_t bytes);
void event_ring_deinit(struct event_ring *);

/* Appends `count` frames that fill `frames`, dropping the oldest events for room but none at or behind `keep`:
 * NET_ERR_AGAIN then. NET_ERR_TOO_LARGE when several exceed an eighth of the ring, or one the whole of it,
 * NET_ERR_FORMAT when they do not fill `frames`. All or nothing. */
int event_ring_append(struct event_ring *, uint64_t ts_ns, struct cspan frames, uint32_t count, uint64_t keep,
                      uint64_t *first_seq);

/* Counts `count` events that nobody will read: their sequences pass, nothing is kept. Returns the first. */
uint64_t event_ring_skip(struct event_ring *, uint32_t count);

/* The contiguous frames from `seq` on (first_seq <= seq < next_seq); maybe not up to next_seq: the ring wraps between
 * frames. */
struct cspan event_ring_frames(const struct event_ring *, uint64_t seq);
/* CLOCK_REALTIME of the append of `seq`, ns (first_seq <= seq < next_seq). */
static inline uint64_t event_ring_time(const struct event_ring *r, uint64_t seq)
{
    return r->stamp[seq & r->index_mask];
}
/* As redex_read. */
size_t event_ring_read(const struct event_ring *, uint64_t *seq, uint64_t end, struct redex_event *out, size_t max);

#endif
