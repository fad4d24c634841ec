/*
 * The recovery walk: which events do the files hold? redex.md 7.3.4 to 7.3.7, gaps G1, G3, G15.
 *
 * The reference trusts every field of a record but the payload's checksum. Here each record is tested against what its
 * neighbours leave for it, since within a generation seq = previous + 1 and offset = previous end: a field that one bit
 * flipped is put right, if the checksum of the payload then agrees. A record whose payload cannot be found is dropped,
 * and only that one: what follows is kept, be it inline or beyond a hole that a power cut left, and so the three files
 * may have reached the disk in any order.
 */
#include "storage/redex/redex_internal.h"

enum { LOOK_AHEAD = 8 }; /* records that are asked about a damaged neighbour */
enum verdict { INTACT, REPAIRED, LOST };

struct walk {
    struct redex_scan *out;
    const struct redex_seq_state *state;
    uint8_t *idx, *ts;
    const uint8_t *dat;
    uint64_t dat_len;
    size_t records, at;
    uint64_t expect;    /* offset the next heap payload should have */
    uint64_t last_kept; /* valid if out->kept > 0 */
    uint64_t previous;  /* seq of the record before, or the one its place implies */
    uint64_t budget;    /* bytes that may still be hashed */
    uint64_t unsure;    /* redex_mirror_unsure() */
};

static bool one_bit(uint64_t a, uint64_t b)
{
    return __builtin_popcountll(a ^ b) == 1;
}

static struct record record_at(const struct walk *w, size_t i)
{
    return record_load(w->idx + i * RECORD_SIZE);
}

/* Hashes a range of dat that a record can name. Honest records do not overlap, so the budget only stops made-up ones.
 */
static bool heap_sum(struct walk *w, uint64_t offset, uint64_t len, uint32_t *sum)
{
    if (offset > UINT32_MAX || len > UINT32_MAX)
        return false;
    if (offset > w->dat_len || len > w->dat_len - offset || len > w->budget)
        return false;
    w->budget -= len;
    *sum = record_sum(w->dat + offset, (size_t)len);
    return true;
}

static bool heap_matches(struct walk *w, uint64_t offset, uint64_t len, uint32_t want)
{
    uint32_t sum = 0;
    return heap_sum(w, offset, len, &sum) && sum == want;
}

/* Where the payload of record `at` must end: the next heap record's offset, or the end of dat. */
static uint64_t next_offset(const struct walk *w)
{
    for (size_t i = w->at + 1; i < w->records && i < w->at + LOOK_AHEAD; i++) {
        struct record rec = record_at(w, i);
        if (!record_is_inline(rec))
            return rec.offset;
    }
    return w->dat_len;
}

static enum verdict settle_inline(struct walk *w, struct record *rec)
{
    uint32_t want = rec->flags_sum & RECORD_SUM_MASK;
    uint32_t sum = record_sum(w->idx + w->at * RECORD_SIZE + 8, INLINE_SIZE);
    if (sum == want)
        return INTACT;
    if (heap_matches(w, rec->offset, rec->len, want)) {
        rec->flags_sum &= ~RECORD_INLINE;
        return REPAIRED;
    }
    if (!one_bit(sum, want))
        return LOST;
    rec->flags_sum ^= sum ^ want;
    return REPAIRED;
}

static enum verdict settle_heap(struct walk *w, struct record *rec)
{
    uint32_t want = rec->flags_sum & RECORD_SUM_MASK, sum;
    uint64_t end = next_offset(w);

    if (rec->len == 0 && rec->offset < w->expect && want == record_sum("", 0)) { /* it would match anywhere */
        rec->offset = (uint32_t)w->expect;
        return REPAIRED;
    }
    if (heap_matches(w, rec->offset, rec->len, want))
        return INTACT;
    if (record_sum(w->idx + w->at * RECORD_SIZE + 8, INLINE_SIZE) == want) {
        rec->flags_sum |= RECORD_INLINE;
        return REPAIRED;
    }
    if (rec->offset != w->expect && heap_matches(w, w->expect, rec->len, want)) {
        rec->offset = (uint32_t)w->expect;
        return REPAIRED;
    }
    if (rec->offset == w->expect && end > w->expect && end - w->expect != rec->len &&
        heap_matches(w, w->expect, end - w->expect, want)) {
        rec->len = (uint32_t)(end - w->expect);
        return REPAIRED;
    }
    if (rec->offset == w->expect && end == w->expect && want == record_sum("", 0)) {
        rec->len = 0;
        return REPAIRED;
    }
    if (rec->offset == w->expect && w->expect + rec->len == end && heap_sum(w, rec->offset, rec->len, &sum) &&
        one_bit(sum, want)) {
        rec->flags_sum ^= sum ^ want;
        return REPAIRED;
    }
    return LOST;
}

/* Nothing that was kept comes before: what follows is the judge, since sequences ascend. */
static uint64_t settle_first_seq(const struct walk *w, uint64_t seq)
{
    if (w->at + 1 >= w->records)
        return seq;
    uint64_t next = record_at(w, w->at + 1).seq;
    if (seq < next || next == 0 || !one_bit(seq, next - 1))
        return seq;
    if (w->at + 2 < w->records && record_at(w, w->at + 2).seq == seq + 2)
        return seq; /* the second one is wrong */
    return next - 1;
}

/*
 * The sequence record `at` should have. It may follow the record before, or the last event kept: the reference gives
 * the sequences of events that its recovery dropped away again (G1). It may also lie further on, behind a hole that a
 * reservation or an earlier recovery left. Sequences ascend, so a later record that is where it would be without a hole
 * proves that there is none. The last record has no such witness: if it is one bit away and its payload follows the one
 * before (a dropped event leaves its payload between), and our seq file knows nothing of a hole, it is put right.
 */
static uint64_t settle_seq(const struct walk *w, struct record rec)
{
    uint64_t seq = rec.seq, due = w->previous + 1;

    if (!w->out->kept)
        return settle_first_seq(w, seq);
    if (seq == due || seq == w->last_kept + 1)
        return seq;
    for (size_t i = 1; i < LOOK_AHEAD && w->at + i < w->records; i++)
        if (record_at(w, w->at + i).seq == due + i)
            return due;
    bool last = w->at + 1 == w->records, follows = record_is_inline(rec) || rec.offset == w->expect;
    bool known =
        w->state->known && (seq + 1 == w->state->end || (due < w->state->next_seq && seq >= w->state->next_seq));
    return last && follows && !known && one_bit(seq, due) ? due : seq;
}

/* A hole that a power cut left in idx; it was never an event. */
static bool all_zero(const uint8_t *p, size_t len)
{
    while (len && !*p)
        p++, len--;
    return len == 0;
}

static void raise_last(struct redex_scan *out, uint64_t seq)
{
    uint64_t next = seq == UINT64_MAX ? seq : seq + 1;
    if (next > out->last)
        out->last = next;
}

static void drop(struct walk *w, struct record rec, uint64_t seq)
{
    uint64_t due = w->previous + 1;
    bool placed = !w->out->kept || seq == due || seq == w->last_kept + 1;

    w->out->dropped++;
    if (placed && !all_zero(w->idx + w->at * RECORD_SIZE, RECORD_SIZE))
        raise_last(w->out, seq);
    w->previous = placed ? seq : due;
    if (!record_is_inline(rec) && rec.offset == w->expect && rec.len <= w->dat_len - w->expect)
        w->expect += rec.len; /* its payload is there, but wrong */
}

static void keep(struct walk *w, struct record rec, size_t stamps)
{
    struct redex_scan *out = w->out;

    if (out->kept != w->at)
        out->moved = true;
    record_store(w->idx + out->kept * RECORD_SIZE, rec);
    if (w->at < stamps)
        memmove(w->ts + out->kept * STAMP_SIZE, w->ts + w->at * STAMP_SIZE, STAMP_SIZE);
    out->front = out->front || w->at == 0;
    out->kept++;
    w->last_kept = w->previous = rec.seq;
    raise_last(out, rec.seq);
    if (!record_is_inline(rec)) {
        w->expect = (uint64_t)rec.offset + rec.len;
        if (w->expect > out->dat_end)
            out->dat_end = w->expect;
    }
}

/* A mirror ends where a crash has left something out: it comes again, with all that follows. */
static bool is_end(const struct walk *w, bool whole, size_t stamps)
{
    uint64_t due = w->out->kept ? w->previous + 1 : 0;
    return due >= w->unsure && w->unsure != UINT64_MAX &&
           !(whole && w->at < stamps && load_le64(w->ts + w->at * STAMP_SIZE) != 0);
}

/* False: the log ends before this record. */
static bool scan_record(struct walk *w, size_t stamps)
{
    struct record rec = record_at(w, w->at);
    enum verdict payload = record_is_inline(rec) ? settle_inline(w, &rec) : settle_heap(w, &rec);
    uint64_t seq = settle_seq(w, rec);

    /* Only the first record can have sequence 0: here a hole before it has taken the word, which no checksum covers. */
    bool ascends = w->out->kept ? seq > w->last_kept : w->at == 0 || seq > 0;
    if (is_end(w, payload != LOST && ascends, stamps))
        return false;
    if (payload == LOST || !ascends) {
        drop(w, rec, seq);
        return true;
    }
    if (payload == REPAIRED || seq != rec.seq) {
        w->out->repaired++;
        w->out->moved = true;
    }
    rec.seq = seq;
    keep(w, rec, stamps);
    return true;
}

/* A record that was cut off by a crash may have been an event somebody saw: its sequence is not used again. */
static void scan_torn(struct walk *w, uint64_t idx_len)
{
    const uint8_t *torn = w->idx + w->records * RECORD_SIZE;
    size_t len = (size_t)idx_len % RECORD_SIZE;
    uint8_t due[8];

    len = len < sizeof due ? len : sizeof due;
    store_le64(due, w->records ? w->previous + 1 : 0);
    if (len && memcmp(torn, due, len) == 0 && !all_zero(torn, len))
        raise_last(w->out, load_le64(due));
}

/*
 * Gap G17: a stamp has no checksum, and steers retention by age. But stamps ascend, as clocks do: one that stands
 * outside of two neighbours that are in order, and would not if one bit were other, is put right: the way that leaves
 * it nearest to the one before. If it agrees with the second one behind it, the first one behind is wrong. What a clock
 * did that was set back is in order nowhere near, and stays.
 */
static uint64_t settle_stamp(uint64_t before, uint64_t stamp, uint64_t after, uint64_t second)
{
    uint64_t best = UINT64_MAX;
    if (before > after || (before <= stamp && stamp <= after) || (stamp > after && stamp <= second))
        return stamp;
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t other = stamp ^ UINT64_C(1) << bit;
        if (other >= before && other <= after && other < best)
            best = other;
    }
    return best == UINT64_MAX ? stamp : best;
}

static uint64_t stamp_at(const uint8_t *ts, size_t i, size_t count, uint64_t now)
{
    return i < count ? load_le64(ts + i * STAMP_SIZE) : now;
}

/* Returns the first that was put right, or `count`. */
static size_t settle_stamps(uint8_t *ts, size_t count, uint64_t now)
{
    size_t first = count;
    uint64_t before = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t stamp = stamp_at(ts, i, count, now);
        uint64_t right = settle_stamp(before, stamp, stamp_at(ts, i + 1, count, now), stamp_at(ts, i + 2, count, now));
        before = right;
        if (right == stamp)
            continue;
        store_le64(ts + i * STAMP_SIZE, right);
        first = i < first ? i : first;
    }
    return first;
}

/*
 * redex.md 7.3.6, 7.3.12. Stamps are positional, so those before the end of a short file are good. But when records
 * were dropped from the middle, a short ts may have been written without their stamps (G3): then none can be trusted.
 */
static void scan_stamps(struct walk *w, size_t stamps, size_t last_used, uint64_t now)
{
    struct redex_scan *out = w->out;
    if (stamps >= last_used) {
        out->stamps = settle_stamps(w->ts, out->kept, now);
        return;
    }
    out->stamps = last_used != out->kept ? 0 : stamps;
    out->stamps_lost = true;
    for (size_t i = out->stamps; i < out->kept; i++)
        store_le64(w->ts + i * STAMP_SIZE, now);
}

void redex_scan(struct redex *r, uint64_t idx_len, uint64_t dat_len, uint64_t ts_len, uint64_t now,
                const struct redex_seq_state *state, struct redex_scan *out)
{
    struct walk w = {
        .state = state,
        .out = out,
        .idx = r->file[PART_IDX].memory.base,
        .ts = r->file[PART_TS].memory.base,
        .dat = r->file[PART_DAT].memory.base,
        .dat_len = dat_len,
        .records = (size_t)(idx_len / RECORD_SIZE),
        .budget = dat_len * 16 + 4096,
        .unsure = redex_mirror_unsure(r, state),
    };
    size_t stamps = (size_t)(ts_len / STAMP_SIZE), last_used = 0;

    *out = (struct redex_scan){.records = w.records};
    for (w.at = 0; w.at < w.records; w.at++) {
        size_t before = out->kept;
        if (!scan_record(&w, stamps))
            break;
        if (out->kept > before)
            last_used = w.at + 1;
    }
    scan_torn(&w, idx_len);
    scan_stamps(&w, stamps, last_used, now);
    out->end = out->kept ? (w.last_kept == UINT64_MAX ? UINT64_MAX : w.last_kept + 1) : 0;
}

/* The sequence after the last that is kept, and the end of the last payload. */
static void find_ends(const struct redex *r, struct redex_scan *scan)
{
    const uint8_t *idx = r->file[PART_IDX].memory.base;
    scan->end = scan->dat_end = 0;
    for (size_t i = 0; i < scan->kept; i++) {
        struct record rec = record_load(idx + i * RECORD_SIZE);
        scan->end = rec.seq == UINT64_MAX ? rec.seq : rec.seq + 1;
        if (!record_is_inline(rec) && (uint64_t)rec.offset + rec.len > scan->dat_end)
            scan->dat_end = (uint64_t)rec.offset + rec.len;
    }
}

void redex_scan_exclude(struct redex *r, struct redex_scan *scan, struct redex_range range)
{
    uint8_t *idx = r->file[PART_IDX].memory.base, *ts = r->file[PART_TS].memory.base;
    size_t from = (size_t)redex_search(idx, scan->kept, range.from);
    size_t end = (size_t)redex_search(idx, scan->kept, range.end), rest = scan->kept - end;
    memmove(idx + from * RECORD_SIZE, idx + end * RECORD_SIZE, rest * RECORD_SIZE);
    memmove(ts + from * STAMP_SIZE, ts + end * STAMP_SIZE, rest * STAMP_SIZE);
    scan->moved = scan->moved || rest > 0;
    scan->kept -= end - from;
    if (scan->stamps > from)
        scan->stamps = from;
    find_ends(r, scan);
}
