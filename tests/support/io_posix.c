#include "tests/support/io_posix.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shards/reactor/reactor_internal.h"
#include "tests/support/splitmix.h"

static struct io_posix *self(struct io *io)
{
    return container_of(io, struct io_posix, io);
}

/* True if the fault strikes this time. */
static bool strikes(struct io_posix_fault *f)
{
    if (f->times == 0)
        return false;
    if (f->after > 0) {
        f->after--;
        return false;
    }
    f->times--;
    return true;
}

/* ---- operations ---- */

static void posix_submit(struct io *io, struct io_op *op)
{
    struct io_posix *p = self(io);
    assert(!op->pending);
    op->pending = true;
    op->more = false;
    list_init(&op->backend.link);
    list_push_back(&p->queue, &op->backend.link);
    p->waiting++;
    unsigned writes = 0;
    for (struct list *l = p->queue.next; l != &p->queue; l = l->next)
        writes += container_of(l, struct io_op, backend.link)->kind == IO_WRITE;
    if (writes > p->max_waiting_writes)
        p->max_waiting_writes = writes;
}

static int32_t perform_write(struct io_posix *p, struct io_op *op)
{
    struct iovec first = op->write.iov[0];
    p->writes++;
    if (strikes(&p->write_fault)) {
        if (p->write_fault.err)
            return -p->write_fault.err;
        first.iov_len = first.iov_len < p->write_fault.at_most ? first.iov_len : p->write_fault.at_most;
        ssize_t n = pwritev(op->handle, &first, 1, (off_t)op->write.offset);
        return n < 0 ? -errno : (int32_t)n;
    }
    ssize_t n = pwritev(op->handle, op->write.iov, (int)op->write.iov_count, (off_t)op->write.offset);
    return n < 0 ? -errno : (int32_t)n;
}

static int32_t perform_sync(struct io_posix *p, struct io_op *op)
{
    p->syncs++;
    if (strikes(&p->sync_fault))
        return -p->sync_fault.err;
    return p->sync_for_real && fdatasync(op->handle) < 0 ? -errno : 0;
}

static int result(int res)
{
    return res < 0 ? -errno : res;
}

static int32_t perform_name(struct io_posix *p, struct io_op *op)
{
    if ((p->name_kinds >> op->kind & 1) && strikes(&p->name_fault))
        return -p->name_fault.err;
    switch (op->kind) {
    case IO_OPEN:
        return result(open(op->path.path, op->path.flags | O_CLOEXEC, op->path.mode));
    case IO_FSYNC:
        return p->sync_for_real ? result(fsync(op->handle)) : 0;
    case IO_RENAME:
        return result(rename(op->path.path, op->path.path2));
    case IO_UNLINK:
        return result(unlinkat(AT_FDCWD, op->path.path, op->path.flags));
    case IO_MKDIR:
        return result(mkdir(op->path.path, op->path.mode));
    default:
        assert(op->kind == IO_CLOSE);
        return result(close(op->handle));
    }
}

static int32_t perform(struct io_posix *p, struct io_op *op)
{
    switch (op->kind) {
    case IO_WRITE:
        return perform_write(p, op);
    case IO_FDATASYNC:
        return perform_sync(p, op);
    default:
        return perform_name(p, op);
    }
}

bool io_posix_step(struct io_posix *p)
{
    struct list *first = list_pop(&p->queue);
    if (!first)
        return false;
    struct io_op *op = container_of(first, struct io_op, backend.link);
    int32_t res = perform(p, op);
    p->waiting--;
    op->pending = false;
    op->done(op, res);
    return true;
}

unsigned io_posix_run(struct io_posix *p)
{
    unsigned n = 0;
    while (io_posix_step(p))
        n++;
    return n;
}

/* ---- plain calls: those of the reactor, between injected faults ---- */

static int plain_write(struct io *io, io_handle h, const void *data, size_t len, uint64_t offset)
{
    struct io_posix *p = self(io);
    if (strikes(&p->plain_write_fault))
        return -p->plain_write_fault.err;
    return reactor_plain.write(io, h, data, len, offset);
}

static int plain_sync(struct io *io, io_handle h)
{
    struct io_posix *p = self(io);
    if (strikes(&p->plain_sync_fault))
        return -p->plain_sync_fault.err;
    return p->sync_for_real ? reactor_plain.sync(io, h) : 0;
}

static int plain_sync_dir(struct io *io, const char *path)
{
    struct io_posix *p = self(io);
    if (strikes(&p->plain_sync_fault))
        return -p->plain_sync_fault.err;
    return p->sync_for_real ? reactor_plain.sync_dir(io, path) : access(path, F_OK) < 0 ? -errno : 0;
}

static void plain_boot_id(struct io *io, uint8_t out[16])
{
    memcpy(out, self(io)->boot, 16);
}

/* Bytes that never repeat in a test, the same in every run. */
static void posix_random(struct io *io, void *out, size_t len)
{
    struct io_posix *p = container_of(io, struct io_posix, io);
    for (uint8_t *at = out; len > 0; len--)
        *at++ = (uint8_t)splitmix(&p->random);
}

void io_posix_init(struct io_posix *p)
{
    static const struct io_ops ops = {.submit = posix_submit, .random = posix_random};
    *p = (struct io_posix){
        .io = {.ops = &ops,
               .plain = &p->plain,
               .shards = 1,
               .now = 1,
               .wall = 1,
               .udp = IO_NO_HANDLE,
               .listener = IO_NO_HANDLE},
        .plain = reactor_plain,
        .boot = {1},
    };
    p->plain.write = plain_write;
    p->plain.sync = plain_sync;
    p->plain.sync_dir = plain_sync_dir;
    p->plain.boot_id = plain_boot_id;
    list_init(&p->queue);
}
