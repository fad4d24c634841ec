#include "storage/redex/redex_internal.h"

static uint64_t seq_at(const struct redex *r, uint64_t i)
{
    return load_le64(r->file[PART_IDX].memory.base + i * RECORD_SIZE);
}

uint64_t redex_search(const uint8_t *idx, uint64_t records, uint64_t seq)
{
    uint64_t low = 0, high = records;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (load_le64(idx + middle * RECORD_SIZE) < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t redex_found_count(const struct redex_found *found, struct redex_range range)
{
    return redex_search(found->idx, found->records, range.end) - redex_search(found->idx, found->records, range.from);
}

/* Where the first event at or after `seq` is; behind the last if there is none. */
static uint64_t position(const struct redex *r, uint64_t seq)
{
    if (r->count == 0 || seq <= seq_at(r, r->head))
        return r->head;
    uint64_t ahead = seq - seq_at(r, r->head);
    if (ahead < r->count && seq_at(r, r->head + ahead) == seq)
        return r->head + ahead; /* no hole before it: the usual case */
    return r->head + redex_search(r->file[PART_IDX].memory.base + r->head * RECORD_SIZE, r->count, seq);
}

/*
 * Checksums were verified when the log was opened, and made here when it was appended to: memory does not rot in our
 * model of the world (a machine that needs more has ECC), so a read is a pointer and costs nothing per byte.
 */
static struct redex_event event_at(const struct redex *r, uint64_t i)
{
    const uint8_t *at = r->file[PART_IDX].memory.base + i * RECORD_SIZE;
    struct record rec = record_load(at);
    struct redex_event e = {
        .seq = rec.seq,
        .ts_ns = load_le64(r->file[PART_TS].memory.base + i * STAMP_SIZE),
        .is_inline = record_is_inline(rec),
    };
    e.data = e.is_inline ? (struct cspan){at + 8, INLINE_SIZE}
                         : (struct cspan){r->file[PART_DAT].memory.base + rec.offset, rec.len};
    return e;
}

size_t redex_read(struct redex *r, uint64_t *seq, uint64_t end, struct redex_event *out, size_t max)
{
    size_t n = 0;
    for (uint64_t i = position(r, *seq); n < max && i < r->head + r->count && seq_at(r, i) < end; i++, n++)
        out[n] = event_at(r, i);
    if (n == max && max > 0)
        *seq = out[n - 1].seq + 1;
    else if (max > 0 && *seq < end)
        *seq = end < r->next_seq ? end : *seq < r->next_seq ? r->next_seq : *seq;
    return n;
}

uint64_t redex_first_seq(const struct redex *r)
{
    return r->count ? seq_at(r, r->head) : r->next_seq;
}

uint64_t redex_next_seq(const struct redex *r)
{
    return r->next_seq;
}

uint64_t redex_written_seq(const struct redex *r)
{
    return r->written_seq;
}

uint64_t redex_synced_seq(const struct redex *r)
{
    return r->synced_seq;
}

uint64_t redex_count(const struct redex *r)
{
    return r->count;
}

uint64_t redex_bytes(const struct redex *r)
{
    return r->payload_bytes;
}

uint64_t redex_unwritten_bytes(const struct redex *r)
{
    uint64_t sum = 0;
    for (int i = 0; i < PARTS && r->mode == REDEX_DISK; i++)
        sum += r->file[i].len - r->file[i].written;
    return sum;
}

uint64_t redex_damaged(const struct redex *r)
{
    return r->damaged;
}

int redex_compaction_error(const struct redex *r)
{
    return r->compact_error;
}

int redex_error(const struct redex *r)
{
    return r->error;
}
