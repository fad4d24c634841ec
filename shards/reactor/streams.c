/* Connections of the admin port, TCP and unix alike. */
#include <assert.h>
#include <sys/socket.h>

#include "shards/reactor/reactor_internal.h"

enum { STREAM_MAX_BYTES = 1 << 30 }; /* per operation; more is a short transfer */

static unsigned clamp(size_t len)
{
    return len < STREAM_MAX_BYTES ? (unsigned)len : STREAM_MAX_BYTES;
}

static void start_accept(struct reactor *r, struct io_op *op)
{
    io_uring_prep_multishot_accept(ring_sqe(r, op), op->handle, NULL, NULL, SOCK_CLOEXEC);
}

static void on_accept(struct reactor *r, struct io_op *op, int32_t res, uint32_t flags)
{
    op_deliver(r, op, res, (flags & IORING_CQE_F_MORE) != 0);
}

static void start_recv(struct reactor *r, struct io_op *op)
{
    io_uring_prep_recv(ring_sqe(r, op), op->handle, op->buf.data, clamp(op->buf.len), 0);
}

static void start_send(struct reactor *r, struct io_op *op)
{
    io_uring_prep_send(ring_sqe(r, op), op->handle, op->buf.data, clamp(op->buf.len), MSG_NOSIGNAL);
}

const struct op_driver accept_driver = {start_accept, on_accept};
const struct op_driver recv_driver = {start_recv, NULL};
const struct op_driver send_driver = {start_send, NULL};
