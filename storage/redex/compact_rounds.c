/*
 * The bytes of a new generation: written in slices of each part, rounds of slices with a sync behind each, so that
 * neither a turn nor the disk belongs to it for long.
 */
#include <errno.h>

#include "storage/redex/compact.h"

enum { SLICE = 26214 * RECORD_SIZE, REST_MAX = 1 << 20 }; /* bytes */

static enum redex_part part_of(const struct compact_part *p)
{
    return (enum redex_part)(p - p->compaction->part);
}

static void parts_done(struct redex_compaction *c);

static void submit_write(struct compact_part *p);

static void part_done(struct redex_compaction *c)
{
    if (--c->ops == 0)
        parts_done(c);
}

static void on_part_written(struct io_op *op, int32_t res)
{
    struct compact_part *p = container_of(op, struct compact_part, op);
    struct redex_compaction *c = p->compaction;
    if (res > 0) {
        p->written += (uint32_t)res;
        if (p->written < p->slice_end) {
            submit_write(p);
            return;
        }
    } else {
        c->op_err = res < 0 ? res : -EIO;
    }
    part_done(c);
}

static void submit_write(struct compact_part *p)
{
    struct redex_compaction *c = p->compaction;
    const uint8_t *from = compact_source(c, part_of(p), p->written);
    p->iov = (struct iovec){(void *)(uintptr_t)from, (size_t)(p->slice_end - p->written)};
    p->op.kind = IO_WRITE;
    p->op.handle = c->handle[part_of(p)];
    p->op.done = on_part_written;
    p->op.write.iov = &p->iov;
    p->op.write.iov_count = 1;
    p->op.write.offset = p->written;
    io_submit(c->log->io, &p->op);
}

void compact_write_slices(struct redex_compaction *c)
{
    int err = NET_OK;
    for (int i = 0; i < PARTS && err == NET_OK; i++) {
        struct compact_part *p = &c->part[i];
        p->slice_end = p->goal - p->written > SLICE ? p->written + SLICE : p->goal;
        err = compact_copy(c, (enum redex_part)i, p->slice_end);
    }
    if (err != NET_OK) {
        compact_give_up(c, err);
        return;
    }
    c->op_err = 0;
    for (int i = 0; i < PARTS; i++)
        c->ops += c->part[i].written < c->part[i].slice_end;
    for (int i = 0; i < PARTS; i++)
        if (c->part[i].written < c->part[i].slice_end)
            submit_write(&c->part[i]);
    if (c->ops == 0)
        compact_go(c, c->step + 1);
}

static void on_part_synced(struct io_op *op, int32_t res)
{
    struct redex_compaction *c = container_of(op, struct compact_part, op)->compaction;
    struct redex_syncs *places = c->log->sync_places;
    redex_sync_counted(places, c->log->stats, io_now(c->log->io) - c->sync_at, res);
    if (res < 0)
        c->op_err = res;
    redex_syncs_serve(places);
    part_done(c);
}

unsigned compact_on_place(struct redex_sync_request *q)
{
    struct redex_compaction *c = container_of(q, struct redex_compaction, sync_request);
    if (compact_must_stop(c))
        return 0;
    c->op_err = 0;
    c->sync_at = io_now(c->log->io);
    for (int i = 0; i < PARTS; i++) {
        struct compact_part *p = &c->part[i];
        p->op.kind = IO_FDATASYNC;
        p->op.handle = c->handle[i];
        p->op.done = on_part_synced;
        c->ops++;
        io_submit(c->log->io, &p->op);
    }
    return PARTS;
}

void compact_set_goals(struct redex_compaction *c, uint64_t more)
{
    struct redex_end end = redex_end(c->log);
    c->end_seq = end.seq;
    for (int i = 0; i < PARTS; i++) {
        struct compact_part *p = &c->part[i];
        uint64_t left = end.offset[i] - p->base - p->written;
        p->goal = p->written + (left > more ? more / RECORD_SIZE * RECORD_SIZE : left);
    }
    c->rounds++;
}

/* The log appends meanwhile; but its disk is busy with this too, so a few rounds more than there were at first do. */
static bool another_round(const struct redex_compaction *c)
{
    struct redex_end end = redex_end(c->log);
    uint64_t left = 0, all = 0;
    for (int i = 0; i < PARTS; i++) {
        left += end.offset[i] - c->part[i].base - c->part[i].written;
        all += c->part[i].written;
    }
    return left > REST_MAX && c->rounds < 16 + 2 * (all / COMPACT_ROUND);
}

static void parts_done(struct redex_compaction *c)
{
    bool written = true;
    if (compact_must_stop(c))
        return;
    if (c->op_err < 0) {
        compact_give_up(c, net_err_from_errno(-c->op_err));
        return;
    }
    for (int i = 0; i < PARTS; i++)
        written = written && c->part[i].written == c->part[i].goal;
    if (!written)
        compact_write_slices(c);
    else if (c->step == STEP_SYNC && another_round(c))
        compact_go(c, STEP_COPY);
    else
        compact_go(c, c->step + 1);
}
