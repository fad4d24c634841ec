/*
 * Retention: which events at the front are given up, and when. redex.md 13, gaps G1, G7.
 *
 * To readers they are gone at once; their memory is given back in steps; their bytes stay in the files until enough
 * came together for a new generation (compact.c). What a file still holds when the log is opened again goes by the same
 * rules then. So the newest event may be given up like any other, but stays in the files: it is what tells a log that
 * was killed where it goes on.
 */
#include "storage/redex/redex_internal.h"

enum { DROPS_PER_TURN = 65536 };

static uint64_t stamp_at(const struct redex *r, uint64_t i)
{
    return load_le64(r->file[PART_TS].memory.base + i * STAMP_SIZE);
}

static struct record record_at(const struct redex *r, uint64_t i)
{
    return record_load(r->file[PART_IDX].memory.base + i * RECORD_SIZE);
}

bool redex_over_limit(const struct redex *r)
{
    const struct redex_policy *p = &r->policy;
    uint64_t wall = io_wall(r->io);

    if (r->count == 0)
        return false;
    return (p->retain_events && r->count > p->retain_events) ||
           (p->retain_bytes && r->count * RECORD_SIZE + r->heap_bytes > p->retain_bytes) ||
           (p->retain_age_ns && wall > p->retain_age_ns && stamp_at(r, r->head) < wall - p->retain_age_ns);
}

static void drop_first(struct redex *r)
{
    struct record rec = record_at(r, r->head);
    if (!record_is_inline(rec)) {
        r->heap_bytes -= rec.len;
        if (r->ascending)
            r->dat_head = (uint64_t)rec.offset + rec.len;
    }
    r->payload_bytes -= record_payload_len(rec);
    r->head++;
    r->count--;
}

/* True if the first sequence moved. */
static bool drop(struct redex *r, uint64_t budget)
{
    uint64_t before = r->head;
    while (budget > 0 && redex_over_limit(r)) {
        drop_first(r);
        budget--;
    }
    if (r->head == before)
        return false;
    if (r->count > 0 && r->ascending && !record_is_inline(record_at(r, r->head)))
        r->dat_head = record_at(r, r->head).offset;
    return true;
}

struct redex_front redex_front(const struct redex *r)
{
    uint64_t records = r->file[PART_IDX].len / RECORD_SIZE;
    if (r->head < records || records == 0)
        return (struct redex_front){.record = r->head, .dat = r->dat_head};
    struct record last = record_at(r, records - 1);
    return (struct redex_front){.record = records - 1,
                                .dat = r->ascending && !record_is_inline(last) ? last.offset : r->dat_head};
}

uint64_t redex_front_offset(struct redex_front front, enum redex_part part)
{
    return part == PART_DAT ? front.dat : front.record * (part == PART_IDX ? RECORD_SIZE : STAMP_SIZE);
}

/* Memory that neither a reader nor a write needs. True: there is more of it. */
static bool discard(struct redex *r)
{
    bool more = false;
    struct redex_front front = redex_front(r);
    for (int i = 0; i < PARTS; i++) {
        struct redex_file *f = &r->file[i];
        uint64_t end = redex_front_offset(front, (enum redex_part)i);
        if (r->mode == REDEX_DISK && end > f->written)
            end = f->written;
        more = redex_memory_discard(&f->memory, (size_t)end) || more;
    }
    return more;
}

/* How far a part may grow: offsets have 32 bits, and the addresses may have been scarce. */
uint64_t redex_part_limit(const struct redex *r, enum redex_part part)
{
    uint64_t space = r->file[part].memory.space, limit = redex_part_space(r, part);
    return limit < space ? limit : space;
}

uint64_t redex_part_space(const struct redex *r, enum redex_part part)
{
    return part == PART_DAT ? r->dat_limit : REDEX_MAX_RECORDS * (part == PART_IDX ? RECORD_SIZE : STAMP_SIZE);
}

/* A new generation costs what is kept, so it waits until as much is given up: each byte is rewritten once or so. Near
 * the end of what the format can name it comes earlier. */
bool redex_compaction_due(const struct redex *r)
{
    struct redex_front front = redex_front(r);
    uint64_t dead = 0, all = 0;
    bool crowded = false;
    for (int i = 0; i < PARTS; i++) {
        dead += redex_front_offset(front, (enum redex_part)i);
        all += r->file[i].len;
        crowded = crowded || r->file[i].len > redex_part_limit(r, (enum redex_part)i) / 4 * 3;
    }
    return (dead >= r->min_dead && dead >= all - dead) || (crowded && dead > all / 16);
}

/* The log's turn comes when its oldest event has come of age, or a little later, so that events go together. */
static void await_age(struct redex *r)
{
    const uint64_t slack_max = UINT64_C(60000000000);
    uint64_t age = r->policy.retain_age_ns, wall = io_wall(r->io);
    if (age == 0 || r->count == 0)
        return;
    uint64_t stamp = stamp_at(r, r->head), wait = stamp > wall ? age : age - (wall - stamp);
    uint64_t slack = age / 64 < slack_max ? age / 64 : slack_max;
    redex_turn_at(r, io_now(r->io) + wait + slack);
}

void redex_retain_all(struct redex *r)
{
    if (drop(r, UINT64_MAX))
        redex_mark_dirty(r); /* turns give its memory back */
    await_age(r);
}

bool redex_retain_turn(struct redex *r)
{
    uint64_t events = r->count, bytes = r->payload_bytes;
    if (drop(r, DROPS_PER_TURN)) { /* what an open gives up again was counted when it was given up first */
        counter_add(&r->stats->retired_events, events - r->count);
        counter_add(&r->stats->retired_bytes, bytes - r->payload_bytes);
        r->tell_owner = true;
    }
    bool more = redex_over_limit(r);
    if (!r->compaction) /* it writes from there */
        more = discard(r) || more;
    if (more)
        redex_mark_dirty(r);
    else
        await_age(r);
    return more;
}
