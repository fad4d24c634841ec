#include <assert.h>

#include "storage/redex/redex_internal.h"

static bool fits(const struct redex *r, enum redex_part part, uint64_t more)
{
    uint64_t limit = redex_part_limit(r, part);
    return r->file[part].len <= limit && more <= limit - r->file[part].len;
}

/* Whether the format has room for more, or will have when retention and a new generation have made some. */
static int admit_size(struct redex *r, uint64_t heap, uint64_t count)
{
    if (heap > r->max_bytes || count > REDEX_MAX_RECORDS)
        return NET_ERR_TOO_LARGE;
    if (r->heap_bytes + heap <= r->max_bytes && fits(r, PART_DAT, heap) && fits(r, PART_IDX, count * RECORD_SIZE) &&
        fits(r, PART_TS, count * STAMP_SIZE))
        return NET_OK;
    if (!redex_over_limit(r) && !redex_compaction_due(r))
        return NET_ERR_FULL;
    redex_mark_dirty(r);
    return r->compact_error != NET_OK ? r->compact_error : NET_ERR_AGAIN;
}

/* What every append asks first; nothing is consumed when it says no. `heap` = payload bytes for dat. */
static int admit(struct redex *r, uint64_t heap, uint64_t count)
{
    struct redex_file *dat = &r->file[PART_DAT], *idx = &r->file[PART_IDX], *ts = &r->file[PART_TS];

    if (r->closing)
        return NET_ERR_CLOSED;
    if (r->skip_to > r->next_seq)
        return NET_ERR_AGAIN;
    if (r->error && !(r->patient && r->error != NET_ERR_POISONED))
        return r->error;
    if (count > UINT64_MAX - r->next_seq)
        return NET_ERR_FULL;
    int err = admit_size(r, heap, count);
    if (err != NET_OK)
        return err;
    if (r->mode == REDEX_DISK) {
        uint64_t dirty = redex_unwritten_bytes(r);
        if (dirty && dirty + heap + count * (RECORD_SIZE + STAMP_SIZE) > r->max_dirty)
            return NET_ERR_AGAIN; /* alone, an append of any size is let in */
        if (r->next_seq + count > r->reservation.reserved) {
            r->reservation.requested = r->next_seq + count;
            redex_mark_dirty(r);
            return NET_ERR_AGAIN;
        }
    }
    err = redex_memory_commit(&dat->memory, dat->len + heap);
    if (err == NET_OK)
        err = redex_memory_commit(&idx->memory, idx->len + count * RECORD_SIZE);
    if (err == NET_OK)
        err = redex_memory_commit(&ts->memory, ts->len + count * STAMP_SIZE);
    return err;
}

/* The bytes are in place behind the ends of the files: now they count. */
static void publish(struct redex *r, uint64_t heap, uint64_t payload, uint64_t count)
{
    r->file[PART_DAT].len += heap;
    r->file[PART_IDX].len += count * RECORD_SIZE;
    r->file[PART_TS].len += count * STAMP_SIZE;
    r->next_seq += count;
    r->count += count;
    r->payload_bytes += payload;
    r->heap_bytes += heap;
    if (r->mode == REDEX_MEMORY)
        r->written_seq = r->synced_seq = r->next_seq;
    if (r->mode == REDEX_DISK || r->retains)
        redex_mark_dirty(r);
}

/*
 * Frames and time runs, from the front. `payload` is what is left of the bytes of all payloads, and every length is
 * taken from it: so no frame leads outside of the input, nor out of the memory that was committed for it. The runs name
 * as many events as there are frames.
 */
struct feed {
    const uint8_t *frame, *run;
    size_t payload;
    uint32_t of_run; /* events left of the run before `run` */
    uint64_t ts_ns;
};

static bool feed_init(struct feed *f, struct cspan runs, struct cspan frames, uint32_t count)
{
    uint64_t sum = 0;
    if (frames.len / 4 < count || runs.len % REDEX_RUN_SIZE != 0)
        return false;
    for (size_t at = 0; at < runs.len; at += REDEX_RUN_SIZE)
        sum += load_le32(runs.data + at);
    *f = (struct feed){.frame = frames.data, .run = runs.data, .payload = frames.len - (size_t)count * 4};
    return sum == count;
}

static inline bool feed_next(struct feed *f, struct cspan *event)
{
    uint32_t len = load_le32(f->frame);
    if (len > f->payload)
        return false;
    while (f->of_run == 0) {
        f->of_run = load_le32(f->run);
        f->ts_ns = load_le64(f->run + 4);
        f->run += REDEX_RUN_SIZE;
    }
    f->of_run--;
    *event = (struct cspan){f->frame + 4, len};
    f->frame += 4 + (size_t)len;
    f->payload -= len;
    return true;
}

/* Appends all that is left of `f`: `count` events. */
static int append_feed(struct redex *r, struct feed *f, uint32_t count)
{
    const size_t heap = f->payload;
    int err = admit(r, heap, count);
    if (err != NET_OK)
        return err;

    uint32_t offset = (uint32_t)r->file[PART_DAT].len;
    uint8_t *dat = r->file[PART_DAT].memory.base;
    uint8_t *idx = r->file[PART_IDX].memory.base + r->file[PART_IDX].len;
    uint8_t *ts = r->file[PART_TS].memory.base + r->file[PART_TS].len;
    for (uint32_t i = 0; i < count; i++) {
        struct cspan e;
        if (!feed_next(f, &e))
            return NET_ERR_FORMAT;
        record_store(idx, (struct record){r->next_seq + i, offset, (uint32_t)e.len, record_sum(e.data, e.len)});
        store_le64(ts, f->ts_ns);
        memcpy(dat + offset, e.data, e.len);
        offset += (uint32_t)e.len;
        idx += RECORD_SIZE;
        ts += STAMP_SIZE;
    }
    if (f->payload != 0)
        return NET_ERR_FORMAT;
    if (count)
        publish(r, heap, heap, count);
    return NET_OK;
}

int redex_append_frames(struct redex *r, uint64_t ts_ns, struct cspan frames, uint32_t count, uint64_t *first_seq)
{
    uint8_t run[REDEX_RUN_SIZE];
    struct feed f;
    assert(!r->mirror);
    store_le32(run, count);
    store_le64(run + 4, ts_ns);
    if (!feed_init(&f, (struct cspan){run, sizeof run}, frames, count))
        return NET_ERR_FORMAT;
    uint64_t first = r->next_seq;
    int err = append_feed(r, &f, count);
    if (err == NET_OK)
        *first_seq = first;
    return err;
}

int redex_append_at(struct redex *r, uint64_t first_seq, struct cspan runs, struct cspan frames, uint32_t count)
{
    struct feed f;
    struct cspan passed;
    assert(r->mirror);
    if (!feed_init(&f, runs, frames, count))
        return NET_ERR_FORMAT;
    if (count > UINT64_MAX - first_seq)
        return NET_ERR_FULL;
    int err = redex_skip_to(r, first_seq);
    if (err != NET_OK)
        return err;
    for (; count > 0 && first_seq < r->next_seq; first_seq++, count--)
        if (!feed_next(&f, &passed))
            return NET_ERR_FORMAT;
    return append_feed(r, &f, count);
}

static int append_one(struct redex *r, uint64_t ts_ns, struct record rec, struct cspan heap, uint64_t payload,
                      uint64_t *seq)
{
    assert(!r->mirror);
    int err = admit(r, heap.len, 1);
    if (err != NET_OK)
        return err;
    rec.seq = *seq = r->next_seq;
    if (!record_is_inline(rec))
        rec.offset = (uint32_t)r->file[PART_DAT].len;
    record_store(r->file[PART_IDX].memory.base + r->file[PART_IDX].len, rec);
    store_le64(r->file[PART_TS].memory.base + r->file[PART_TS].len, ts_ns);
    if (heap.len)
        memcpy(r->file[PART_DAT].memory.base + r->file[PART_DAT].len, heap.data, heap.len);
    publish(r, heap.len, payload, 1);
    return NET_OK;
}

int redex_append(struct redex *r, uint64_t ts_ns, struct cspan payload, uint64_t *seq)
{
    if (payload.len > REDEX_MAX_BYTES)
        return NET_ERR_TOO_LARGE;
    struct record rec = {.len = (uint32_t)payload.len, .flags_sum = record_sum(payload.data, payload.len)};
    return append_one(r, ts_ns, rec, payload, payload.len, seq);
}

int redex_append_inline(struct redex *r, uint64_t ts_ns, const uint8_t payload[8], uint64_t *seq)
{
    struct record rec = {
        .offset = load_le32(payload),
        .len = load_le32(payload + 4),
        .flags_sum = RECORD_INLINE | record_sum(payload, INLINE_SIZE),
    };
    return append_one(r, ts_ns, rec, (struct cspan){NULL, 0}, INLINE_SIZE, seq);
}
