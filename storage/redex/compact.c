/*
 * A new generation without what retention has given up: the part that happens in memory. redex.md 8.4
 *
 * The log goes on meanwhile. Payloads and stamps stay where they are in memory: what was byte `base` of the file is
 * byte 0 of the new one. The index gets a new mirror, since its offsets change; so do the others when their addresses
 * run out. It is filled in slices, a slice a turn. Then the log changes over, between two turns.
 */
#include <assert.h>
#include <stdlib.h>

#include "storage/redex/compact.h"

enum { COPY_SLICE = 26214 * RECORD_SIZE, RELEASE_SLICE = 8 << 20, SPARE = 64 << 20, MARGIN = 1 << 20 }; /* bytes */
static const uint64_t RETRY_NS = 10000000000; /* after one that failed */

const uint8_t *compact_source(const struct redex_compaction *c, enum redex_part part, uint64_t at)
{
    const struct compact_part *p = &c->part[part];
    return p->moves ? p->fresh.base + at : c->log->file[part].memory.base + p->base + at;
}

/* The bytes the new file will have, so far. */
uint64_t compact_len(const struct redex_compaction *c, enum redex_part part)
{
    return c->log->file[part].len - c->part[part].base;
}

static void copy_records(const struct redex_compaction *c, uint64_t from, uint64_t to)
{
    const uint8_t *in = c->log->file[PART_IDX].memory.base + c->part[PART_IDX].base;
    uint8_t *out = c->part[PART_IDX].fresh.base;
    uint32_t shift = (uint32_t)c->part[PART_DAT].base;
    for (uint64_t at = from; at < to; at += RECORD_SIZE) {
        struct record rec = record_load(in + at);
        if (!record_is_inline(rec))
            rec.offset -= shift;
        record_store(out + at, rec);
    }
}

int compact_copy(struct redex_compaction *c, enum redex_part part, uint64_t to)
{
    struct compact_part *p = &c->part[part];
    if (!p->moves || to <= p->copied)
        return NET_OK;
    int err = redex_memory_commit(&p->fresh, to);
    if (err != NET_OK)
        return err;
    if (part == PART_IDX)
        copy_records(c, p->copied, to);
    else
        memcpy(p->fresh.base + p->copied, c->log->file[part].memory.base + p->base + p->copied,
               (size_t)(to - p->copied));
    p->copied = to;
    return NET_OK;
}

int compact_copy_all(struct redex_compaction *c)
{
    int err = NET_OK;
    for (int i = 0; i < PARTS && err == NET_OK; i++)
        err = compact_copy(c, (enum redex_part)i, compact_len(c, (enum redex_part)i));
    return err;
}

/* ---- begin, change over, end ---- */

/* The mirror goes on when it has the addresses to double, and some; else the part gets new ones. */
static int place_part(struct redex_compaction *c, enum redex_part part)
{
    struct compact_part *p = &c->part[part];
    const struct redex_file *f = &c->log->file[part];
    uint64_t space = redex_part_space(c->log, part), left = f->memory.space - p->base;
    p->goal = f->len - p->base;
    p->moves = part == PART_IDX || (left < space && left < p->goal * 2 + SPARE);
    return p->moves ? redex_memory_reserve(&p->fresh, (size_t)space, (size_t)p->goal + MARGIN) : NET_OK;
}

static void forget(struct redex_compaction *c)
{
    c->log->compaction = NULL;
    for (int i = 0; i < PARTS; i++)
        redex_memory_release(&c->part[i].fresh);
    list_remove(&c->sync_request.link);
    c->log->sync_places->compactions--;
    free(c);
}

static struct redex_compaction *create(struct redex *r)
{
    struct redex_compaction *c = calloc(1, sizeof *c);
    struct redex_front front = redex_front(r);
    int err = NET_OK;
    if (!c)
        return NULL;
    c->log = r;
    list_init(&c->sync_request.link);
    r->compaction = c;
    r->sync_places->compactions++;
    for (int i = 0; i < PARTS && err == NET_OK; i++) {
        c->part[i].compaction = c;
        c->part[i].base = redex_front_offset(front, (enum redex_part)i);
        err = place_part(c, (enum redex_part)i);
    }
    if (err == NET_OK)
        return c;
    forget(c);
    return NULL;
}

static void failed(struct redex *r, int err)
{
    counter_add(&r->stats->generation_failures, 1);
    r->compact_at = io_now(r->io) + RETRY_NS;
    r->compact_error = err;
    r->tell_owner = true; /* appends may wait for the room */
    redex_mark_dirty(r);
}

/* Retention may have come to what is not written yet. */
static bool begins_behind_hold(const struct redex *r)
{
    return r->mode == REDEX_DISK && redex_front(r).record > redex_end(r).offset[PART_IDX] / RECORD_SIZE;
}

static void start(struct redex *r)
{
    if (r->error == NET_ERR_POISONED || r->generation == UINT32_MAX)
        return;
    if (io_now(r->io) < r->compact_at) {
        redex_turn_at(r, r->compact_at);
        return;
    }
    if (r->sync_places->compactions >= REDEX_COMPACTIONS || begins_behind_hold(r)) {
        redex_mark_dirty(r);
        return;
    }
    struct redex_compaction *c = create(r);
    if (!c)
        failed(r, NET_ERR_NO_MEMORY);
    else if (r->mode == REDEX_DISK)
        compact_files_start(c);
}

void compact_change_over(struct redex_compaction *c)
{
    struct redex *r = c->log;
    for (int i = 0; i < PARTS; i++) {
        struct redex_file *f = &r->file[i];
        struct compact_part *p = &c->part[i];
        f->len -= p->base;
        if (p->moves) { /* the old one is released in slices */
            struct redex_memory old = f->memory;
            f->memory = p->fresh;
            p->fresh = old;
        } else {
            redex_memory_advance(&f->memory, (size_t)p->base);
        }
    }
    r->head -= c->part[PART_IDX].base / RECORD_SIZE;
    r->dat_head -= c->part[PART_DAT].base;
    c->retiring = true;
    r->compact_error = NET_OK;
    r->tell_owner = true;
    counter_add(&r->stats->generations, 1);
    redex_mark_dirty(r);
}

/* Of a log without files: a slice, and twice what came since the last turn, so that it comes to an end while as much is
 * appended as is kept. */
static void copy_turn(struct redex_compaction *c)
{
    bool all = true;
    for (int i = 0; i < PARTS && c->err == NET_OK; i++) {
        struct compact_part *p = &c->part[i];
        uint64_t len = compact_len(c, (enum redex_part)i), end = p->copied + COPY_SLICE + 2 * (len - p->goal);
        p->goal = len;
        c->err = compact_copy(c, (enum redex_part)i, end < len ? end : len);
        all = all && (!p->moves || p->copied == len);
    }
    if (c->err == NET_OK && all)
        compact_change_over(c);
    else if (c->err != NET_OK)
        c->retiring = true;
}

/* True: there is more to release. */
static bool release_turn(struct redex_compaction *c)
{
    for (int i = 0; i < PARTS; i++)
        if (c->part[i].fresh.map_size > 0) {
            redex_memory_release_some(&c->part[i].fresh, RELEASE_SLICE);
            return true;
        }
    return false;
}

void compact_end(struct redex_compaction *c)
{
    struct redex *r = c->log;
    int err = c->err;
    forget(c);
    if (err != NET_OK)
        failed(r, err);
}

bool redex_compact_turn(struct redex *r)
{
    if (!r->compaction && redex_compaction_due(r))
        start(r);
    struct redex_compaction *c = r->compaction;
    if (!c)
        return false;
    bool files = r->mode == REDEX_DISK, more = !files;
    if (c->retiring)
        more = release_turn(c);
    else if (!files)
        copy_turn(c);
    else if (r->paused)
        (void)compact_copy_all(c); /* what has no room now has none at the end either, and is met there */
    if (c->retiring && !more && (!files || c->files_done)) {
        compact_end(c);
        more = true; /* what is before the new base can be given back now */
    }
    if (more)
        redex_mark_dirty(r);
    return more;
}

void redex_compact_free(struct redex *r)
{
    struct redex_compaction *c = r->compaction;
    if (!c)
        return;
    compact_files_drop(c);
    forget(c);
}
