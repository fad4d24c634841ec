#include "tests/support/io_posix.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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

static int result(int res)
{
    return res < 0 ? -errno : 0;
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
    return p->sync_for_real ? result(fdatasync(op->handle)) : 0;
}

bool io_posix_step(struct io_posix *p)
{
    struct list *first = list_pop(&p->queue);
    if (!first)
        return false;
    struct io_op *op = container_of(first, struct io_op, backend.link);
    assert(op->kind == IO_WRITE || op->kind == IO_FDATASYNC);
    int32_t res = op->kind == IO_WRITE ? perform_write(p, op) : perform_sync(p, op);
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

/* ---- plain calls ---- */

static int plain_open(struct io *io, const char *path, int flags, mode_t mode, io_handle *out)
{
    (void)io;
    *out = open(path, flags | O_CLOEXEC, mode);
    return result(*out);
}

static int plain_close(struct io *io, io_handle h)
{
    (void)io;
    return result(close(h));
}

static ssize_t plain_read(struct io *io, io_handle h, void *data, size_t len, uint64_t offset)
{
    (void)io;
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(h, (char *)data + done, len - done, (off_t)(offset + done));
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int plain_write(struct io *io, io_handle h, const void *data, size_t len, uint64_t offset)
{
    struct io_posix *p = self(io);
    if (strikes(&p->plain_write_fault))
        return -p->plain_write_fault.err;
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(h, (const char *)data + done, len - done, (off_t)(offset + done));
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    return 0;
}

static int64_t plain_size(struct io *io, io_handle h)
{
    struct stat st;
    (void)io;
    return fstat(h, &st) < 0 ? -errno : st.st_size;
}

static int plain_truncate(struct io *io, io_handle h, uint64_t len)
{
    (void)io;
    return result(ftruncate(h, (off_t)len));
}

static int plain_sync(struct io *io, io_handle h)
{
    struct io_posix *p = self(io);
    if (strikes(&p->plain_sync_fault))
        return -p->plain_sync_fault.err;
    return p->sync_for_real ? result(fsync(h)) : 0;
}

static int plain_sync_dir(struct io *io, const char *path)
{
    if (strikes(&self(io)->plain_sync_fault))
        return -self(io)->plain_sync_fault.err;
    int h = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (h < 0)
        return -errno;
    int err = self(io)->sync_for_real ? result(fsync(h)) : 0;
    close(h);
    return err;
}

static int plain_lock(struct io *io, io_handle h)
{
    (void)io;
    return result(flock(h, LOCK_EX | LOCK_NB));
}

static int plain_mkdir(struct io *io, const char *path, mode_t mode)
{
    (void)io;
    return result(mkdir(path, mode));
}

static int plain_rmdir(struct io *io, const char *path)
{
    (void)io;
    return result(rmdir(path));
}

static int plain_rename(struct io *io, const char *from, const char *to)
{
    (void)io;
    return result(rename(from, to));
}

static int plain_unlink(struct io *io, const char *path)
{
    (void)io;
    return result(unlink(path));
}

static int plain_list(struct io *io, const char *path, io_dir_fn *fn, void *ctx)
{
    (void)io;
    DIR *dir = opendir(path);
    int res = 0;
    if (!dir)
        return -errno;
    for (struct dirent *e; res == 0 && (e = readdir(dir)) != NULL;) {
        struct io_dirent entry = {.is_dir = e->d_type == DT_DIR, .is_file = e->d_type == DT_REG};
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        memcpy(entry.name, e->d_name, strlen(e->d_name) + 1);
        res = fn(ctx, &entry);
    }
    closedir(dir);
    return res;
}

static void plain_boot_id(struct io *io, uint8_t out[16])
{
    memcpy(out, self(io)->boot, 16);
}

void io_posix_init(struct io_posix *p)
{
    static const struct io_ops ops = {.submit = posix_submit};
    static const struct io_plain plain = {
        .open = plain_open,
        .close = plain_close,
        .read = plain_read,
        .write = plain_write,
        .size = plain_size,
        .truncate = plain_truncate,
        .sync = plain_sync,
        .sync_dir = plain_sync_dir,
        .lock = plain_lock,
        .mkdir = plain_mkdir,
        .rmdir = plain_rmdir,
        .rename = plain_rename,
        .unlink = plain_unlink,
        .list = plain_list,
        .boot_id = plain_boot_id,
    };
    *p = (struct io_posix){
        .io = {.ops = &ops,
               .plain = &plain,
               .shards = 1,
               .now = 1,
               .wall = 1,
               .udp = IO_NO_HANDLE,
               .listener = IO_NO_HANDLE},
        .boot = {1},
    };
    list_init(&p->queue);
}
