/*
 * From memory to the disk: at most one write per file at a time, and beside it at most one sync. A write that failed or
 * stopped short is taken up where it ended, so nothing in a file is ever truncated while the log runs.
 */
#include <errno.h>

#include "storage/redex/redex_internal.h"

enum { WRITE_MAX = 1 << 30 }; /* one operation's; `res` is 32 bits */

static void submit_write(struct redex_file *f);

/* All three are done, one way or the other. */
static void flushed(struct redex *r)
{
    if (r->write_error != NET_OK) {
        redex_set_error(r, r->write_error);
        redex_retry_later(r);
    } else {
        redex_set_error(r, NET_OK);
        r->written_seq = r->flush_seq;
        if (redex_unwritten_bytes(r) > 0)
            redex_mark_dirty(r);
        redex_sync_start(r);
    }
    redex_settled(r);
}

static void on_write(struct io_op *op, int32_t res)
{
    struct redex_file *f = container_of(op, struct redex_file, write);
    struct redex *r = f->log;

    if (res > 0) {
        f->written += (uint32_t)res;
        if (f->written < f->write_end) {
            submit_write(f);
            return;
        }
    } else { /* a write of something that wrote nothing is an error too */
        r->write_error = res == -ENOSPC || res == -EDQUOT ? NET_ERR_NO_SPACE : NET_ERR_IO;
    }
    if (--r->writes == 0)
        flushed(r);
}

static void submit_write(struct redex_file *f)
{
    uint64_t len = f->write_end - f->written;
    f->iov = (struct iovec){f->memory.base + f->written, len < WRITE_MAX ? (size_t)len : WRITE_MAX};
    f->write.kind = IO_WRITE;
    f->write.handle = f->handle;
    f->write.done = on_write;
    f->write.write.iov = &f->iov;
    f->write.write.iov_count = 1;
    f->write.write.offset = f->written;
    io_submit(f->log->io, &f->write);
}

void redex_write_start(struct redex *r)
{
    if (r->writes > 0 || redex_unwritten_bytes(r) == 0)
        return;
    r->flush_seq = r->next_seq;
    r->write_error = NET_OK;
    for (int i = 0; i < PARTS; i++) {
        struct redex_file *f = &r->file[i];
        if (f->written == f->len)
            continue;
        f->write_end = f->len;
        r->writes++;
        submit_write(f);
    }
}

void redex_flush(struct redex *r)
{
    list_remove(&r->link);
    if (r->mode == REDEX_MEMORY || r->closing || r->error == NET_ERR_POISONED)
        return;
    if (r->error != NET_OK && io_now(r->io) < r->retry_at) {
        redex_mark_dirty(r);
        return;
    }
    redex_reservation_extend(r);
    redex_write_start(r);
}

void redex_flush_all(struct list *dirty)
{
    struct list now;
    if (list_empty(dirty))
        return;
    /* Take over the whole list first: a log that still has something to do links itself for the next turn. */
    list_init(&now);
    list_push_back(dirty, &now);
    list_remove(dirty);
    for (struct list *n; (n = list_first(&now)) != NULL;)
        redex_flush(container_of(n, struct redex, link));
}

static void on_sync(struct io_op *op, int32_t res)
{
    struct redex_file *f = container_of(op, struct redex_file, sync);
    struct redex *r = f->log;

    if (res < 0)
        r->sync_error = res;
    else
        f->synced = f->sync_end;
    if (--r->syncs > 0)
        return;
    if (r->sync_error < 0) {
        /* The kernel has forgotten which pages were dirty: no later sync means anything. */
        redex_set_error(r, NET_ERR_POISONED);
    } else {
        r->synced_seq = r->sync_seq;
        redex_sync_start(r);
    }
    redex_settled(r);
}

/* Covers the writes that are complete now; a flush in flight goes on beside it and has its own sync later. */
void redex_sync_start(struct redex *r)
{
    if (r->syncs > 0 || r->error == NET_ERR_POISONED || r->want <= r->synced_seq || r->written_seq < r->want_low)
        return;
    r->sync_seq = r->written_seq;
    r->want_low = r->sync_seq + 1; /* of whoever wants more: as soon as more is written */
    r->sync_error = 0;
    for (int i = 0; i < PARTS; i++) {
        struct redex_file *f = &r->file[i];
        if (f->synced == f->written)
            continue;
        f->sync_end = f->written;
        f->sync.kind = IO_FDATASYNC;
        f->sync.handle = f->handle;
        f->sync.done = on_sync;
        r->syncs++;
        io_submit(r->io, &f->sync);
    }
}

void redex_want_sync(struct redex *r, uint64_t seq)
{
    uint64_t covered = r->syncs > 0 ? r->sync_seq : r->synced_seq;

    if (seq > r->next_seq)
        seq = r->next_seq;
    if (r->mode == REDEX_MEMORY || seq <= covered)
        return;
    if (r->want <= covered || seq < r->want_low)
        r->want_low = seq;
    if (r->want < seq)
        r->want = seq;
    redex_sync_start(r);
}
