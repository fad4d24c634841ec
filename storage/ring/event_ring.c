#include "storage/ring/event_ring.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/base/err.h"

/* An index entry for every 32 bytes of ring: frames of less than that make the index, not the bytes, the bound. */
enum { BYTES_PER_INDEX = 32, FRAME_HEAD = 4 };

int event_ring_init(struct event_ring *r, uint32_t bytes)
{
    assert(bytes >= 65536 && (bytes & (bytes - 1)) == 0);
    uint32_t entries = bytes / BYTES_PER_INDEX;
    *r = (struct event_ring){
        .data = malloc(bytes),
        .position = calloc(entries, sizeof *r->position),
        .stamp = calloc(entries, sizeof *r->stamp),
        .size = bytes,
        .index_mask = entries - 1,
        .wrap = bytes,
    };
    if (r->data && r->position && r->stamp)
        return NET_OK;
    event_ring_deinit(r);
    return NET_ERR_NO_MEMORY;
}

void event_ring_deinit(struct event_ring *r)
{
    free(r->data);
    free(r->position);
    free(r->stamp);
    *r = (struct event_ring){0};
}

static uint32_t position_of(const struct event_ring *r, uint64_t seq)
{
    return r->position[seq & r->index_mask];
}

/* Where `len` contiguous bytes go without touching what is kept, dropping old events below `keep`. */
static int make_room(struct event_ring *r, uint32_t len, uint32_t count, uint64_t keep, uint32_t *at, bool *wraps)
{
    for (;;) {
        uint32_t tail = r->first_seq == r->next_seq ? r->head : position_of(r, r->first_seq);
        bool empty = r->first_seq == r->next_seq;
        bool index_full = r->next_seq - r->first_seq + count > (uint64_t)r->index_mask + 1;
        if (!index_full && (empty || tail < r->head)) { /* free: [head, size) and [0, tail) */
            if (r->size - r->head >= len) {
                *at = r->head;
                *wraps = false;
                return NET_OK;
            }
            if (empty || tail > len) {
                *at = 0;
                *wraps = true;
                return NET_OK;
            }
        } else if (!index_full && tail - r->head > len) { /* free: [head, tail), never filled to the brim */
            *at = r->head;
            *wraps = false;
            return NET_OK;
        }
        if (empty || r->first_seq >= keep)
            return NET_ERR_AGAIN;
        r->first_seq++;
    }
}

static bool frames_fill(struct cspan frames, uint32_t count)
{
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (frames.len - at < FRAME_HEAD)
            return false;
        uint32_t len = load_le32(frames.data + at);
        if (len > frames.len - at - FRAME_HEAD)
            return false;
        at += FRAME_HEAD + len;
    }
    return at == frames.len;
}

int event_ring_append(struct event_ring *r, uint64_t ts_ns, struct cspan frames, uint32_t count, uint64_t keep,
                      uint64_t *first_seq)
{
    if (frames.len > r->size || (count > 1 && frames.len > r->size / 8) || count > r->index_mask / 8)
        return NET_ERR_TOO_LARGE;
    if (!frames_fill(frames, count))
        return NET_ERR_FORMAT;
    uint32_t at;
    bool wraps;
    int err = make_room(r, (uint32_t)frames.len, count, keep, &at, &wraps);
    if (err)
        return err;
    if (wraps)
        r->wrap = r->head;
    memcpy(r->data + at, frames.data, frames.len);
    *first_seq = r->next_seq;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t slot = r->next_seq++ & r->index_mask;
        r->position[slot] = at;
        r->stamp[slot] = ts_ns;
        at += FRAME_HEAD + load_le32(r->data + at);
    }
    r->head = at;
    return NET_OK;
}

uint64_t event_ring_skip(struct event_ring *r, uint32_t count)
{
    uint64_t first = r->next_seq;
    r->first_seq = r->next_seq = first + count;
    return first;
}

struct cspan event_ring_frames(const struct event_ring *r, uint64_t seq)
{
    assert(seq >= r->first_seq && seq < r->next_seq);
    uint32_t at = position_of(r, seq);
    uint32_t end = at < r->head ? r->head : r->wrap;
    return (struct cspan){r->data + at, end - at};
}

size_t event_ring_read(const struct event_ring *r, uint64_t *seq, uint64_t end, struct redex_event *out, size_t max)
{
    if (*seq < r->first_seq)
        *seq = r->first_seq;
    if (end > r->next_seq)
        end = r->next_seq;
    size_t n = 0;
    for (; n < max && *seq < end; (*seq)++, n++) {
        const uint8_t *frame = r->data + position_of(r, *seq);
        out[n] = (struct redex_event){
            .seq = *seq,
            .ts_ns = r->stamp[*seq & r->index_mask],
            .data = {frame + FRAME_HEAD, load_le32(frame)},
        };
    }
    return n;
}
