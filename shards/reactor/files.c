/* Files. The kernel's io-wq does what would block. */
#include <assert.h>
#include <fcntl.h>
#include <limits.h>

#include "shards/reactor/reactor_internal.h"

enum { READ_MAX_BYTES = 1 << 30 }; /* per operation; more is a short read */

static void start_open(struct reactor *r, struct io_op *op)
{
    io_uring_prep_openat(ring_sqe(r, op), AT_FDCWD, op->path.path, op->path.flags | O_CLOEXEC, op->path.mode);
}

static void start_read(struct reactor *r, struct io_op *op)
{
    unsigned len = op->buf.len < READ_MAX_BYTES ? (unsigned)op->buf.len : READ_MAX_BYTES;
    io_uring_prep_read(ring_sqe(r, op), op->handle, op->buf.data, len, op->buf.offset);
}

static void start_write(struct reactor *r, struct io_op *op)
{
    assert(op->write.iov_count <= IOV_MAX);
    io_uring_prep_writev(ring_sqe(r, op), op->handle, op->write.iov, op->write.iov_count, op->write.offset);
}

static void start_fdatasync(struct reactor *r, struct io_op *op)
{
    io_uring_prep_fsync(ring_sqe(r, op), op->handle, IORING_FSYNC_DATASYNC);
}

static void start_fsync(struct reactor *r, struct io_op *op)
{
    io_uring_prep_fsync(ring_sqe(r, op), op->handle, 0);
}

static void start_rename(struct reactor *r, struct io_op *op)
{
    io_uring_prep_rename(ring_sqe(r, op), op->path.path, op->path.path2);
}

static void start_unlink(struct reactor *r, struct io_op *op)
{
    io_uring_prep_unlink(ring_sqe(r, op), op->path.path, op->path.flags);
}

static void start_mkdir(struct reactor *r, struct io_op *op)
{
    io_uring_prep_mkdir(ring_sqe(r, op), op->path.path, op->path.mode);
}

static void start_close(struct reactor *r, struct io_op *op)
{
    io_uring_prep_close(ring_sqe(r, op), op->handle);
}

const struct op_driver open_driver = {start_open, NULL};
const struct op_driver read_driver = {start_read, NULL};
const struct op_driver write_driver = {start_write, NULL};
const struct op_driver fdatasync_driver = {start_fdatasync, NULL};
const struct op_driver fsync_driver = {start_fsync, NULL};
const struct op_driver rename_driver = {start_rename, NULL};
const struct op_driver unlink_driver = {start_unlink, NULL};
const struct op_driver mkdir_driver = {start_mkdir, NULL};
const struct op_driver close_driver = {start_close, NULL};
