/*
 * A new generation on disk, beside a log that goes on. redex.md 8.4 and the crash points of 7.4; gap G16.
 *
 * The bulk is written and synced while the log writes to its present files as always. Then, for the time of one small
 * write, a sync and a rename, its flushes and syncs wait (appends do not), so that the new files hold everything the
 * old ones do when the manifest names them; only when that name is on stable storage the log changes over. So whichever
 * generation a crash leaves has all that was acknowledged. Until the rename, whatever fails is the end of it: the new
 * files are deleted, the log goes on in the old ones.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "storage/redex/compact.h"

enum { MAKE_TRIES = 16 };

static void run(struct redex_compaction *c);

void compact_go(struct redex_compaction *c, enum compact_step step)
{
    c->step = step;
    c->at = 0;
    run(c);
}

/* The log goes on in its old files. */
void compact_give_up(struct redex_compaction *c, int err)
{
    if (c->err == NET_OK)
        c->err = err;
    c->retiring = true;
    if (c->log->paused) {
        c->log->paused = false;
        redex_mark_dirty(c->log);
        redex_sync_start(c->log);
    }
    compact_go(c, STEP_CLOSE);
}

bool compact_must_stop(struct redex_compaction *c)
{
    if (c->step >= STEP_RENAME || !(c->canceled || c->log->error == NET_ERR_POISONED))
        return false;
    compact_give_up(c, c->canceled ? NET_ERR_CANCELED : NET_ERR_POISONED);
    return true;
}

/* ---- the two kinds of operations: one at a time, or one for each part ---- */

static void on_op(struct io_op *op, int32_t res);

static void submit(struct redex_compaction *c, enum io_kind kind)
{
    c->op.kind = kind;
    c->op.done = on_op;
    c->ops++;
    io_submit(c->log->io, &c->op);
}

static void submit_path(struct redex_compaction *c, enum io_kind kind, uint32_t generation, const char *file, int flags)
{
    c->op.path.path = redex_path(&c->path, c->log, generation, file);
    assert(c->op.path.path); /* shorter than those of the open */
    c->op.path.flags = flags;
    c->op.path.mode = kind == IO_MKDIR ? 0700 : 0600;
    submit(c, kind);
}

static void submit_handle(struct redex_compaction *c, enum io_kind kind, unsigned which)
{
    c->op.handle = c->handle[which];
    submit(c, kind);
}

/* ---- the log's own writes and syncs come to an end ---- */

static bool quiet(const struct redex *r)
{
    return r->writes == 0 && r->syncs == 0 && !r->reservation.skipping;
}

static void become_quiet(struct redex_compaction *c)
{
    c->log->paused = true;
    if (!quiet(c->log))
        return; /* compact_on_settled */
    compact_set_goals(c, UINT64_MAX);
    compact_go(c, STEP_COPY_REST);
}

/* ---- the end of it ---- */

/* The new generation is the live one, on stable storage too. */
static void change_over(struct redex_compaction *c)
{
    struct redex *r = c->log;
    if (compact_copy_all(c) != NET_OK) { /* no memory for the index of what came since the rename */
        redex_poison(r);
        c->keep = true;
        compact_give_up(c, NET_ERR_NO_MEMORY);
        return;
    }
    compact_change_over(c);
    for (int i = 0; i < PARTS; i++) {
        io_handle old = r->file[i].handle;
        r->file[i].handle = c->handle[i];
        c->handle[i] = old;
        r->file[i].written = r->file[i].synced = c->part[i].written;
    }
    uint32_t old = r->generation;
    r->generation = c->generation;
    c->generation = old;
    r->written_seq = r->synced_seq = r->triggered_seq = c->end_seq;
    r->triggered_bytes = r->written_bytes;
    timer_cancel(r->timers, &r->sync_timer);
    if (r->error != NET_ERR_POISONED)
        redex_set_error(r, NET_OK);
    r->paused = false;
    compact_go(c, STEP_CLOSE);
    redex_sync_start(r);
    redex_settled(r);
}

static void files_done(struct redex_compaction *c)
{
    struct redex *r = c->log;
    c->files_done = true;
    if (r->closing) {
        compact_end(c);
        redex_settled(r);
    } else {
        redex_mark_dirty(r); /* a turn sees the end of it */
    }
}

static void close_next(struct redex_compaction *c)
{
    while (c->at < HANDLES && c->handle[c->at] == IO_NO_HANDLE)
        c->at++;
    if (c->at == HANDLES)
        compact_go(c, STEP_UNLINK);
    else
        submit_handle(c, IO_CLOSE, c->at);
}

static void unlink_next(struct redex_compaction *c)
{
    if (c->keep)
        files_done(c);
    else if (c->at == PARTS)
        compact_go(c, STEP_UNLINK_TMP);
    else
        submit_path(c, IO_UNLINK, c->generation, redex_part_name[c->at], 0);
}

/* ---- the steps ---- */

static void run_opening(struct redex_compaction *c)
{
    switch (c->step) {
    case STEP_MAKE:
        submit_path(c, IO_MKDIR, c->generation, "", 0);
        break;
    case STEP_OPEN:
        submit_path(c, IO_OPEN, c->generation, redex_part_name[c->at], O_RDWR | O_CREAT | O_EXCL);
        break;
    case STEP_OPEN_DIR:
        submit_path(c, IO_OPEN, c->at == 0 ? c->generation : 0, "", O_RDONLY | O_DIRECTORY);
        break;
    case STEP_SYNC_DIR:
        submit_handle(c, IO_FSYNC, HANDLE_DIR);
        break;
    case STEP_OPEN_TMP:
        submit_path(c, IO_OPEN, 0, "manifest.tmp", O_WRONLY | O_CREAT | O_TRUNC);
        break;
    case STEP_WRITE_TMP:
        manifest_encode(c->manifest, c->generation);
        c->iov = (struct iovec){c->manifest, MANIFEST_SIZE};
        c->op.write.iov = &c->iov;
        c->op.write.iov_count = 1;
        c->op.write.offset = 0;
        submit_handle(c, IO_WRITE, HANDLE_TMP);
        break;
    default:
        assert(c->step == STEP_SYNC_TMP);
        submit_handle(c, IO_FDATASYNC, HANDLE_TMP);
    }
}

static void run_closing(struct redex_compaction *c)
{
    switch (c->step) {
    case STEP_CLOSE:
        close_next(c);
        break;
    case STEP_UNLINK:
        unlink_next(c);
        break;
    case STEP_UNLINK_TMP:
        if (c->has_tmp)
            submit_path(c, IO_UNLINK, 0, "manifest.tmp", 0);
        else
            compact_go(c, STEP_REMOVE_DIR);
        break;
    default:
        assert(c->step == STEP_REMOVE_DIR);
        submit_path(c, IO_UNLINK, c->generation, "", AT_REMOVEDIR);
    }
}

static void run(struct redex_compaction *c)
{
    switch (c->step) {
    case STEP_COPY:
        compact_set_goals(c, COMPACT_ROUND);
        compact_write_slices(c);
        break;
    case STEP_COPY_REST:
        compact_write_slices(c);
        break;
    case STEP_SYNC:
    case STEP_SYNC_REST:
        redex_syncs_ask(c->log->sync_places, &c->sync_request);
        break;
    case STEP_QUIET:
        become_quiet(c);
        break;
    case STEP_RENAME:
        c->op.path.path2 = redex_path(&c->path2, c->log, 0, "manifest");
        submit_path(c, IO_RENAME, 0, "manifest.tmp", 0);
        break;
    case STEP_SYNC_ROOT:
        submit_handle(c, IO_FSYNC, HANDLE_ROOT);
        break;
    default:
        if (c->step < STEP_QUIET)
            run_opening(c);
        else
            run_closing(c);
    }
}

/* ---- what came of a step ---- */

/* A directory of that number may be somebody's channel, or what an earlier one could not delete: not ours to use. */
static void made(struct redex_compaction *c, int32_t res)
{
    if (res >= 0) {
        compact_go(c, STEP_OPEN);
    } else if (res == -EEXIST && c->at < MAKE_TRIES && c->generation < UINT32_MAX) {
        c->generation++;
        c->at++;
        run(c);
    } else {
        c->keep = true; /* it is not ours */
        compact_give_up(c, net_err_from_errno(-res));
    }
}

/* Which handle a step opens first, and how many it opens. */
static unsigned handles_of(enum compact_step step, unsigned *first)
{
    *first = step == STEP_OPEN ? 0 : step == STEP_OPEN_DIR ? HANDLE_DIR : HANDLE_TMP;
    return step == STEP_OPEN ? PARTS : step == STEP_OPEN_DIR ? 2 : 1;
}

static void opened(struct redex_compaction *c, int32_t res)
{
    unsigned first, count = handles_of(c->step, &first);
    c->handle[first + c->at] = res;
    c->has_tmp = c->has_tmp || c->step == STEP_OPEN_TMP;
    if (compact_must_stop(c))
        return;
    if (++c->at == count)
        compact_go(c, c->step + 1);
    else
        run(c);
}

static void renamed(struct redex_compaction *c)
{
    c->has_tmp = false;
    compact_go(c, STEP_SYNC_ROOT);
}

/* What is left behind when this fails is met again by the next open. */
static void tidied(struct redex_compaction *c)
{
    if (c->step == STEP_CLOSE)
        c->handle[c->at] = IO_NO_HANDLE;
    c->at++;
    if (c->step == STEP_CLOSE || c->step == STEP_UNLINK)
        run(c);
    else if (c->step == STEP_UNLINK_TMP)
        compact_go(c, STEP_REMOVE_DIR);
    else
        files_done(c);
}

static void root_sync_failed(struct redex_compaction *c)
{
    struct redex *r = c->log;
    redex_poison(r); /* the name may be lost, and with it what would be written from now on */
    c->keep = true;
    compact_give_up(c, NET_ERR_POISONED);
    redex_settled(r);
}

static void on_op(struct io_op *op, int32_t res)
{
    struct redex_compaction *c = container_of(op, struct redex_compaction, op);
    c->ops--;
    if (c->step >= STEP_CLOSE)
        tidied(c);
    else if (c->step == STEP_MAKE)
        made(c, res);
    else if (c->step == STEP_SYNC_ROOT && res < 0)
        root_sync_failed(c);
    else if (c->step == STEP_WRITE_TMP && res >= 0 && res != MANIFEST_SIZE)
        compact_give_up(c, NET_ERR_IO);
    else if (res < 0)
        compact_give_up(c, net_err_from_errno(-res));
    else if (op->kind == IO_OPEN)
        opened(c, res);
    else if (c->step == STEP_SYNC_ROOT)
        change_over(c);
    else if (c->step == STEP_RENAME)
        renamed(c);
    else if (!compact_must_stop(c))
        compact_go(c, c->step + 1);
}

void compact_files_start(struct redex_compaction *c)
{
    c->sync_request.start = compact_on_place;
    for (int i = 0; i < HANDLES; i++)
        c->handle[i] = IO_NO_HANDLE;
    c->generation = c->log->generation + 1;
    compact_go(c, STEP_MAKE);
}

/* True if it is done with the log's writes and syncs for now: the log's own completions go on with it. */
void redex_compact_on_settled(struct redex *r)
{
    struct redex_compaction *c = r->compaction;
    if (c && c->step == STEP_QUIET && quiet(r) && !compact_must_stop(c))
        become_quiet(c);
}

void redex_compact_cancel(struct redex *r)
{
    struct redex_compaction *c = r->compaction;
    c->canceled = true;
    if (c->files_done) {
        compact_end(c);
    } else if (c->ops == 0) { /* it waits for a place, or for the log */
        list_remove(&c->sync_request.link);
        compact_must_stop(c);
    }
}

void compact_files_drop(struct redex_compaction *c)
{
    for (int i = 0; i < HANDLES; i++)
        if (c->log->mode == REDEX_DISK && c->handle[i] != IO_NO_HANDLE)
            c->log->io->plain->close(c->log->io, c->handle[i]);
}
