/* The life of an operation: submitted, perhaps cancelled, completed once or many times. */
#include <assert.h>
#include <errno.h>

#include "shards/reactor/reactor_internal.h"

static const struct op_driver *const drivers[] = {
    [IO_UDP_RECV] = &udp_recv_driver, [IO_UDP_SEND] = &udp_send_driver, [IO_ACCEPT] = &accept_driver,
    [IO_RECV] = &recv_driver,         [IO_SEND] = &send_driver,         [IO_OPEN] = &open_driver,
    [IO_READ] = &read_driver,         [IO_WRITE] = &write_driver,       [IO_FDATASYNC] = &fdatasync_driver,
    [IO_FSYNC] = &fsync_driver,       [IO_RENAME] = &rename_driver,     [IO_UNLINK] = &unlink_driver,
    [IO_MKDIR] = &mkdir_driver,       [IO_CLOSE] = &close_driver,       [IO_SIGNAL] = &signal_driver,
};

void op_submit(struct io *io, struct io_op *op)
{
    struct reactor *r = reactor_of(io);
    assert(!op->pending && op->done);
    assert((unsigned)op->kind < sizeof drivers / sizeof drivers[0]);
    op->pending = true;
    op->more = false;
    op->backend.b = 0;
    r->pending++;
    drivers[op->kind]->start(r, op);
}

void op_cancel(struct io *io, struct io_op *op)
{
    struct reactor *r = reactor_of(io);
    if (!op->pending || op->backend.b & OP_CANCELED)
        return;
    op->backend.b |= OP_CANCELED;
    if (op->kind == IO_UDP_RECV && udp_recv_cancel(r, op))
        return;
    /* It stands behind the operation in the queue, so it finds it, or finds it done. */
    struct io_uring_sqe *sqe = ring_sqe(r, NULL);
    io_uring_prep_cancel(sqe, op, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

void op_on_cqe(struct reactor *r, struct io_op *op, int32_t res, uint32_t flags)
{
    const struct op_driver *driver = drivers[op->kind];
    assert(op->pending);
    if (driver->on_cqe)
        driver->on_cqe(r, op, res, flags);
    else
        op_finish(r, op, res);
}

void op_deliver(struct reactor *r, struct io_op *op, int32_t res, bool more)
{
    if (!more) {
        op->pending = false;
        r->pending--;
    }
    op->more = more;
    op->done(op, res);
}

void op_finish(struct reactor *r, struct io_op *op, int32_t res)
{
    op_deliver(r, op, res, false);
}

void op_finish_later(struct reactor *r, struct io_op *op, int32_t res)
{
    op->backend.a = (uint64_t)(int64_t)res;
    list_push_back(&r->local, &op->backend.link);
}
