/* Signals as completions: a signalfd is polled, then read until it is empty. Reading alone would wait in an io-wq
 * thread, for a signalfd has no non-blocking path of its own in the kernel. */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "shards/reactor/reactor_internal.h"

enum { STEP_POLL, STEP_READ }; /* io_op.backend.a */
_Static_assert(sizeof(struct signalfd_siginfo) <= sizeof((struct io_op *)0)->backend.space, "read in place");

int signals_init(struct reactor *r, const sigset_t *set)
{
    r->signal_fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
    return r->signal_fd < 0 ? -errno : 0;
}

void signals_deinit(struct reactor *r)
{
    if (r->signal_fd >= 0)
        close(r->signal_fd);
}

static void step(struct reactor *r, struct io_op *op, unsigned next)
{
    struct io_uring_sqe *sqe = ring_sqe(r, op);
    op->backend.a = next;
    if (next == STEP_POLL)
        io_uring_prep_poll_add(sqe, r->signal_fd, POLLIN);
    else
        io_uring_prep_read(sqe, r->signal_fd, op->backend.space, sizeof(struct signalfd_siginfo), 0);
}

static void finish(struct reactor *r, struct io_op *op, int32_t res)
{
    r->signal_op = NULL;
    op_finish(r, op, res);
}

static void start(struct reactor *r, struct io_op *op)
{
    assert(!r->signal_op && r->signal_fd >= 0);
    r->signal_op = op;
    step(r, op, STEP_POLL);
}

static void on_cqe(struct reactor *r, struct io_op *op, int32_t res, uint32_t flags)
{
    (void)flags;
    bool canceled = (op->backend.b & OP_CANCELED) != 0;
    bool read_one = op->backend.a == STEP_READ && res == (int32_t)sizeof(struct signalfd_siginfo);
    if (read_one) {
        int32_t number = (int32_t)((struct signalfd_siginfo *)(void *)op->backend.space)->ssi_signo;
        if (canceled) {
            finish(r, op, number);
            return;
        }
        step(r, op, STEP_READ);
        op_deliver(r, op, number, true);
    } else if (canceled) {
        finish(r, op, -ECANCELED);
    } else if (op->backend.a == STEP_POLL && res > 0) {
        step(r, op, STEP_READ);
    } else if (op->backend.a == STEP_READ && res == -EAGAIN) {
        step(r, op, STEP_POLL);
    } else {
        finish(r, op, res < 0 ? res : -EIO);
    }
}

const struct op_driver signal_driver = {start, on_cqe};
