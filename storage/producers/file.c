/*
 * `producers~` while the log runs: one job at a time, and what is noted meanwhile is the next one's. A job appends a
 * batch of records and, if one of them is durable, syncs; or it writes all that is remembered into a new file, which
 * takes the place of the old one: the first file is made like that, and one that is twice as long as it has to be.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "storage/producers/producers_internal.h"

enum { BATCH_AT_FIRST = 16, REWRITE_MIN = 64 << 10 };
static const uint64_t RETRY_NS = 100000000, REWRITE_RETRY_NS = 10000000000, MARK_NS = 1000000000;

int producers_batch_reserve(struct batch *b, size_t more)
{
    if (b->count + more <= b->room)
        return NET_OK;
    size_t room = b->room ? b->room * 2 : BATCH_AT_FIRST;
    uint8_t *bytes = realloc(b->bytes, room * INTENT_SIZE);
    if (!bytes)
        return NET_ERR_NO_MEMORY;
    b->bytes = bytes;
    b->room = room;
    return NET_OK;
}

uint64_t producers_rewrite_len(uint64_t live)
{
    return 2 * live > REWRITE_MIN ? 2 * live : REWRITE_MIN;
}

static uint8_t *put_mark(const struct producers *p, uint8_t *out)
{
    struct intent mark = {
        .kind = INTENT_MARK, .append.sequence = redex_synced_seq(p->redex), .first_seq = redex_written_seq(p->redex)};
    memcpy(mark.append.id, p->boot, sizeof p->boot);
    intent_encode(&mark, out);
    return out + INTENT_SIZE;
}

uint8_t *producers_image(const struct producers *p, size_t *len)
{
    *len = (size_t)(producers_records(p) + 1) * INTENT_SIZE;
    uint8_t *image = malloc(*len);
    if (image) {
        uint8_t *end = put_mark(p, producers_encode(p, image));
        assert(end == image + *len);
    }
    return image;
}

/* ---- the end of a job ---- */

static void finish_close(struct producers *p)
{
    void (*closed)(void *) = p->closed;
    void *ctx = p->closed_ctx;
    producers_free(p);
    closed(ctx);
}

static void await(struct producers *p, uint64_t at)
{
    if (!timer_armed(&p->timer) || p->timer.deadline > at)
        timer_arm(p->timers, &p->timer, at);
}

void producers_on_timer(struct timer *t, uint64_t now_ns)
{
    (void)now_ns;
    producers_mark_dirty(container_of(t, struct producers, timer));
}

static void job_succeeded(struct producers *p)
{
    p->error = NET_OK;
    p->under_way.count = 0;
    p->under_way.durable = false;
    p->stored = p->job_number;
    if (p->job_syncs)
        p->synced = p->job_number;
    redex_hold(p->redex, p->collecting.count ? p->collecting.first_seq : UINT64_MAX);
    if (p->mark_at <= io_now(p->io))
        p->mark_at = io_now(p->io) + MARK_NS;
    await(p, p->mark_at);
    if (p->collecting.count || p->sync_wanted > p->synced)
        producers_mark_dirty(p);
}

static void job_done(struct producers *p, int err)
{
    p->job = JOB_NONE;
    free(p->image);
    p->image = NULL;
    if (err == NET_OK) {
        job_succeeded(p);
    } else {
        p->error = err;
        p->retry_at = io_now(p->io) + RETRY_NS;
        await(p, p->retry_at);
    }
    if (err == NET_ERR_POISONED)
        redex_give_up(p->redex);
    if (!p->closing)
        p->progress(p->ctx, p);
    else if (p->error == NET_OK && (p->collecting.count || p->sync_wanted > p->synced))
        producers_flush(p);
    else
        finish_close(p);
}

/* ---- operations ---- */

static void submit(struct producers *p, enum io_kind kind, io_handle handle, io_done_fn *done)
{
    p->op.kind = kind;
    p->op.handle = handle;
    p->op.done = done;
    io_submit(p->io, &p->op);
}

static void submit_path(struct producers *p, enum io_kind kind, const char *path, const char *path2, int flags,
                        io_done_fn *done)
{
    p->op.path.path = path;
    p->op.path.path2 = path2;
    p->op.path.flags = flags;
    p->op.path.mode = 0600;
    submit(p, kind, IO_NO_HANDLE, done);
}

static struct producers *owner(struct io_op *op)
{
    return container_of(op, struct producers, op);
}

static int error_of(int32_t res)
{
    int err = res < 0 ? net_err_from_errno(-res) : NET_ERR_IO; /* a write that wrote nothing */
    return err == NET_ERR_NO_SPACE || err == NET_ERR_READ_ONLY ? err : NET_ERR_IO;
}

static void on_written(struct io_op *, int32_t);

static void write_rest(struct producers *p)
{
    p->iov = (struct iovec){p->writing.data, p->writing.len};
    p->op.write.iov = &p->iov;
    p->op.write.iov_count = 1;
    p->op.write.offset = p->writing_at;
    submit(p, IO_WRITE, p->job == JOB_REWRITE ? p->fresh : p->handle, on_written);
}

static void rewrite_failed(struct producers *p, int err);

static void all_written(struct producers *p)
{
    if (p->job == JOB_APPEND)
        p->file_len += p->under_way.count * INTENT_SIZE;
    if (p->job_syncs)
        redex_syncs_ask(p->syncs, &p->sync_request);
    else
        job_done(p, NET_OK);
}

static void on_written(struct io_op *op, int32_t res)
{
    struct producers *p = owner(op);
    if (res <= 0) {
        if (p->job == JOB_REWRITE)
            rewrite_failed(p, error_of(res));
        else
            job_done(p, error_of(res));
        return;
    }
    p->writing.data += res;
    p->writing.len -= (size_t)res;
    p->writing_at += (size_t)res;
    if (p->writing.len)
        write_rest(p);
    else
        all_written(p);
}

static void rename_fresh(struct producers *p);

static void on_synced(struct io_op *op, int32_t res)
{
    struct producers *p = owner(op);
    redex_sync_counted(p->syncs, p->stats, io_now(p->io) - p->sync_at, res);
    redex_syncs_serve(p->syncs);
    if (p->job == JOB_APPEND)
        job_done(p, res < 0 ? NET_ERR_POISONED : NET_OK); /* the kernel has forgotten what was dirty */
    else if (res < 0)
        rewrite_failed(p, NET_ERR_IO);
    else
        rename_fresh(p);
}

unsigned producers_on_sync_place(struct redex_sync_request *q)
{
    struct producers *p = container_of(q, struct producers, sync_request);
    p->sync_at = io_now(p->io);
    submit(p, IO_FDATASYNC, p->job == JOB_REWRITE ? p->fresh : p->handle, on_synced);
    return 1;
}

/* ---- a new file ---- */

static void append_batch(struct producers *p)
{
    p->job = JOB_APPEND;
    p->job_syncs = p->under_way.durable || p->sync_wanted > p->synced;
    p->writing = (struct span){p->under_way.bytes, p->under_way.count * INTENT_SIZE};
    p->writing_at = p->file_len;
    if (p->writing.len)
        write_rest(p);
    else
        all_written(p); /* what was written before is to be synced */
}

static void on_given_up(struct io_op *op, int32_t res)
{
    struct producers *p = owner(op);
    (void)res;
    p->fresh = IO_NO_HANDLE;
    append_batch(p);
}

/* The old file goes on; what stands in the new one is overwritten by the next attempt. */
static void rewrite_failed(struct producers *p, int err)
{
    free(p->image);
    p->image = NULL;
    p->rewrite_at = io_now(p->io) + REWRITE_RETRY_NS;
    if (p->handle == IO_NO_HANDLE) {
        if (p->fresh != IO_NO_HANDLE)
            p->io->plain->close(p->io, p->fresh);
        p->fresh = IO_NO_HANDLE;
        job_done(p, err);
    } else if (p->fresh == IO_NO_HANDLE) {
        append_batch(p);
    } else {
        submit(p, IO_CLOSE, p->fresh, on_given_up);
    }
}

static void on_old_closed(struct io_op *op, int32_t res)
{
    (void)res;
    job_done(owner(op), NET_OK);
}

static void on_dir_closed(struct io_op *op, int32_t res)
{
    struct producers *p = owner(op);
    io_handle old = p->handle;
    (void)res;
    p->dir = IO_NO_HANDLE;
    p->handle = p->fresh;
    p->fresh = IO_NO_HANDLE;
    p->file_len = p->writing_at;
    p->rewrite_len = producers_rewrite_len(p->file_len);
    if (old == IO_NO_HANDLE)
        job_done(p, NET_OK);
    else
        submit(p, IO_CLOSE, old, on_old_closed);
}

static void on_dir_synced(struct io_op *op, int32_t res)
{
    struct producers *p = owner(op);
    if (res < 0)
        job_done(p, NET_ERR_POISONED); /* a power cut may bring the old file back, without what comes next */
    else
        submit(p, IO_CLOSE, p->dir, on_dir_closed);
}

static void on_dir_opened(struct io_op *op, int32_t res)
{
    struct producers *p = owner(op);
    if (res < 0) {
        job_done(p, NET_ERR_POISONED);
        return;
    }
    p->dir = res;
    submit(p, IO_FSYNC, p->dir, on_dir_synced);
}

static void on_renamed(struct io_op *op, int32_t res)
{
    struct producers *p = owner(op);
    if (res < 0)
        rewrite_failed(p, error_of(res));
    else
        submit_path(p, IO_OPEN, p->root, NULL, O_RDONLY | O_DIRECTORY, on_dir_opened);
}

static void rename_fresh(struct producers *p)
{
    submit_path(p, IO_RENAME, p->path_new, p->path, 0, on_renamed);
}

static void on_fresh_opened(struct io_op *op, int32_t res)
{
    struct producers *p = owner(op);
    if (res < 0) {
        rewrite_failed(p, error_of(res));
        return;
    }
    p->fresh = res;
    write_rest(p);
}

/* False: no memory. */
static bool rewrite(struct producers *p)
{
    size_t len;
    p->image = producers_image(p, &len);
    if (!p->image)
        return false;
    p->job = JOB_REWRITE;
    p->job_syncs = true;
    p->writing = (struct span){p->image, len};
    p->writing_at = 0;
    submit_path(p, IO_OPEN, p->path_new, NULL, O_RDWR | O_CREAT | O_TRUNC, on_fresh_opened);
    return true;
}

/* ---- a turn ---- */

/* There is more to say of the intents in the file. */
static bool mark_is_due(const struct producers *p)
{
    uint64_t written = redex_written_seq(p->redex), synced = redex_synced_seq(p->redex);
    return (written > p->marked_written && p->marked_written < p->last_end) ||
           (synced > p->marked_synced && p->marked_synced < p->last_end);
}

static void mark(struct producers *p)
{
    struct batch *b = &p->collecting;
    if (producers_batch_reserve(b, 1) != NET_OK)
        return; /* it is a help, and comes with the next batch */
    if (b->count == 0)
        b->first_seq = UINT64_MAX; /* it holds nothing */
    put_mark(p, b->bytes + b->count++ * INTENT_SIZE);
    p->marked_written = redex_written_seq(p->redex);
    p->marked_synced = redex_synced_seq(p->redex);
}

/* Makes what is collected the batch under way. False: there is nothing to do. */
static bool take_batch(struct producers *p)
{
    if (p->under_way.count)
        return true; /* once more */
    bool something = p->collecting.count > 0 || p->sync_wanted > p->synced;
    if (!p->closing && mark_is_due(p)) { /* a log that was closed needs none, and a full disk has no room for it */
        if (something || io_now(p->io) >= p->mark_at)
            mark(p);
        else
            await(p, p->mark_at);
    }
    if (!something && p->collecting.count == 0)
        return false;
    struct batch empty = p->under_way;
    p->under_way = p->collecting;
    p->collecting = empty;
    p->job_number = p->next_number;
    return true;
}

void producers_flush(struct producers *p)
{
    list_remove(&p->link);
    if (!p->redex || p->job != JOB_NONE || p->error == NET_ERR_POISONED)
        return;
    if (p->error != NET_OK && io_now(p->io) < p->retry_at) {
        await(p, p->retry_at);
        return;
    }
    if (!take_batch(p))
        return;
    uint64_t end = p->file_len + p->under_way.count * INTENT_SIZE;
    bool anew = p->handle == IO_NO_HANDLE || (end >= p->rewrite_len && io_now(p->io) >= p->rewrite_at);
    if (anew && rewrite(p))
        return;
    if (p->handle == IO_NO_HANDLE)
        job_done(p, NET_ERR_NO_MEMORY);
    else
        append_batch(p);
}

void producers_flush_all(struct list *dirty)
{
    struct list now, *n;
    list_init(&now);
    while ((n = list_pop(dirty)))
        list_push_back(&now, n);
    while ((n = list_first(&now)))
        producers_flush(container_of(n, struct producers, link));
}

void producers_want_sync(struct producers *p, uint64_t number)
{
    if (number + 1 <= p->sync_wanted || !p->redex)
        return;
    p->sync_wanted = number + 1;
    if (p->sync_wanted > p->synced)
        producers_mark_dirty(p);
}

uint64_t producers_stored(const struct producers *p)
{
    return p->stored;
}

uint64_t producers_synced(const struct producers *p)
{
    return p->synced;
}

int producers_error(const struct producers *p)
{
    return p->error;
}

void producers_close(struct producers *p, void (*closed)(void *ctx), void *ctx)
{
    assert(!p->closing && closed);
    p->closing = true;
    p->closed = closed;
    p->closed_ctx = ctx;
    if (p->redex)
        p->sync_wanted = p->next_number; /* as the log's close does with the events */
    if (p->job != JOB_NONE)
        return;
    bool waiting = p->redex && (p->collecting.count || p->under_way.count || p->sync_wanted > p->synced);
    if (p->error != NET_ERR_POISONED)
        p->error = NET_OK; /* one more try */
    if (waiting && p->error == NET_OK)
        producers_flush(p);
    else
        finish_close(p);
}
