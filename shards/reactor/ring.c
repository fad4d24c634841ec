/* One shard's ring: made, turned and ended here. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/err.h"
#include "shards/reactor/reactor_internal.h"

#define NS_PER_S 1000000000u
#define WALL_MAX_AGE_NS 1000000u
#define WAIT_MAX_S 3600 /* keeps the kernel's arithmetic far from overflow; who waits longer just turns once more */

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t monotonic(struct io *io)
{
    (void)io;
    return read_clock(CLOCK_MONOTONIC);
}

/* The wall clock is asked once in a millisecond and goes on with the other one in between: a reading costs as much as
 * opening a small packet. */
static void read_clocks(struct reactor *r)
{
    uint64_t now = read_clock(CLOCK_MONOTONIC);
    r->io.now = now;
    r->idle_at = 0;
    if (now - r->wall_read >= WALL_MAX_AGE_NS) {
        r->wall_read = now;
        r->wall_offset = read_clock(CLOCK_REALTIME) - now;
    }
    r->io.wall = now + r->wall_offset;
}

const struct io_ops reactor_ops = {
    .submit = op_submit,
    .cancel = op_cancel,
    .udp_hold = udp_hold,
    .udp_release = udp_release,
    .doorbell = doorbell_ring,
    .random = entropy_random,
    .clock = monotonic,
};

static bool fatal(int err)
{
    /* Interrupted, timed out, or (EAGAIN, EBUSY) short of memory or CQ room: the next turn goes on. */
    return err < 0 && err != -EINTR && err != -ETIME && err != -EAGAIN && err != -EBUSY;
}

static void submitted(struct reactor *r)
{
    counter_add(&r->stats.enters, 1);
    if (io_uring_sq_ready(&r->ring) == 0)
        r->send.messages = r->send.iovs = 0;
}

/* Fails only for want of memory, and the kernel's small allocations do not fail for long. */
void ring_flush(struct reactor *r)
{
    int err = io_uring_submit(&r->ring);
    assert(!fatal(err));
    submitted(r);
}

struct io_uring_sqe *ring_sqe(struct reactor *r, struct io_op *op)
{
    struct io_uring_sqe *sqe;
    while (!(sqe = io_uring_get_sqe(&r->ring)))
        ring_flush(r);
    sqe->user_data = (uintptr_t)op;
    counter_add(&r->stats.sqes, 1);
    return sqe;
}

/* Something to dispatch, without asking the kernel. */
static bool ready(const struct reactor *r)
{
    return io_uring_cq_ready(&r->ring) != 0 || !list_empty(&r->local);
}

/* The kernel has completions for us that appear only inside of io_uring_enter. */
static bool kernel_has_work(const struct reactor *r)
{
    unsigned flags = __atomic_load_n(r->ring.sq.kflags, __ATOMIC_RELAXED);
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* Submits and takes what is there. No system call when there is nothing of either. */
static int enter(struct reactor *r)
{
    if (io_uring_sq_ready(&r->ring) == 0 && !kernel_has_work(r))
        return 0;
    int err = kernel_has_work(r) ? io_uring_submit_and_get_events(&r->ring) : io_uring_submit(&r->ring);
    submitted(r);
    return err;
}

/* The turn has nothing left to do from here on. Where a clock is read anyway: none is for this. */
static void begin_idle(struct reactor *r, uint64_t now)
{
    if (r->idle_at == 0)
        r->idle_at = now;
}

/* The result of the wait says what was submitted, not whether something came: the caller looks at the CQ. */
static int enter_and_wait(struct reactor *r, uint64_t deadline)
{
    uint64_t now = read_clock(CLOCK_MONOTONIC);
    uint64_t left = deadline > now ? deadline - now : 0;
    if (left == 0)
        return enter(r);
    begin_idle(r, now);
    struct __kernel_timespec ts = {.tv_sec = WAIT_MAX_S};
    if (left < (uint64_t)WAIT_MAX_S * NS_PER_S)
        ts =
            (struct __kernel_timespec){.tv_sec = (long long)(left / NS_PER_S), .tv_nsec = (long long)(left % NS_PER_S)};
    struct io_uring_cqe *cqe = NULL;
    int err = io_uring_submit_and_wait_timeout(&r->ring, &cqe, 1, &ts, NULL);
    submitted(r);
    return err;
}

/* Looks into the socket and the ring again and again. True when there is something to do; false when the time to look
 * for it is over. */
static bool spin(struct reactor *r, uint64_t deadline, bool (*idle)(void *), void *ctx, int *err)
{
    uint64_t end = r->io.now + r->spin_ns < deadline ? r->io.now + r->spin_ns : deadline;
    for (;;) {
        udp_recv_arm(r, RECV_LOOKS);
        *err = enter(r); /* first of all: what this turn sends is waited for */
        udp_recv_absorb(r);
        if (ready(r) || fatal(*err) || (idle && !idle(ctx)))
            return true;
        uint64_t now = read_clock(CLOCK_MONOTONIC);
        begin_idle(r, now);
        if (now >= end)
            break;
    }
    udp_recv_arm(r, RECV_WAITS);
    return false;
}

static int gather(struct reactor *r, uint64_t deadline, bool (*idle)(void *), void *ctx)
{
    int err = 0;
    if (deadline == 0 || ready(r))
        return enter(r);
    if (r->spin_ns && spin(r, deadline, idle, ctx, &err))
        return err;
    if (!idle)
        return enter_and_wait(r, deadline);
    err = doorbell_fall_asleep(r, idle, ctx) ? enter_and_wait(r, deadline) : enter(r);
    doorbell_wake_up(r);
    return err;
}

static int dispatch(struct reactor *r)
{
    int count = 0;
    struct list local;
    list_init(&local);
    for (struct list *l; (l = list_pop(&r->local)) != NULL;)
        list_push_back(&local, l); /* those that finish meanwhile wait for the next turn */
    for (struct list *l; (l = list_pop(&local)) != NULL; count++) {
        struct io_op *op = container_of(l, struct io_op, backend.link);
        op_finish(r, op, (int32_t)op->backend.a);
    }
    for (unsigned left = io_uring_cq_ready(&r->ring); left > 0; left--) {
        struct io_uring_cqe cqe = r->ring.cq.cqes[*r->ring.cq.khead & r->ring.cq.ring_mask];
        io_uring_cq_advance(&r->ring, 1);
        counter_add(&r->stats.cqes, 1);
        if (cqe.user_data == 0)
            continue; /* a doorbell, or a cancel that found nothing */
        op_on_cqe(r, (struct io_op *)(uintptr_t)cqe.user_data, cqe.res, cqe.flags);
        count++;
    }
    return count;
}

int reactor_turn(struct reactor *r, uint64_t deadline, bool (*idle)(void *ctx), void *ctx)
{
    udp_recv_arm(r, r->spin_ns ? RECV_DRAINS : RECV_WAITS);
    uint64_t begun = r->io.now;
    int err = gather(r, deadline, idle, ctx);
    if (fatal(err))
        return net_err_from_errno(-err);
    uint64_t idle_at = r->idle_at;
    read_clocks(r);
    histogram_add(&r->stats.turn_ns, (idle_at ? idle_at : r->io.now) - begun);
    return dispatch(r);
}

static int set_up(struct reactor *r, const struct reactor_options *o)
{
    int udp = r->group->udp[o->shard];
    int err = io_uring_register_files_sparse(&r->ring, RING_FIXED_FILES);
    if (err < 0 || (err = io_uring_register_files_update(&r->ring, FIXED_UDP, &udp, 1)) < 0)
        return err;
    io_uring_register_ring_fd(&r->ring); /* spares a lookup per call; the kernel grants a thread 16 of them */
    if ((err = udp_recv_init(r, o->recv_buffers ? o->recv_buffers : RECV_BUFFERS_DEFAULT)) < 0)
        return err;
    if (o->signals && (err = signals_init(r, o->signals)) < 0)
        return err;
    return doorbell_init(r);
}

int reactor_create(struct reactor **out, struct reactor_group *g, const struct reactor_options *o, char *why,
                   size_t why_len)
{
    assert(o->shard < g->shards);
    *out = NULL;
    if (o->recv_buffers > RECV_BUFFERS_MAX)
        return explain(why, why_len, NET_ERR_INVALID, "%u receive buffers, at most %d are allowed", o->recv_buffers,
                       RECV_BUFFERS_MAX);
    struct reactor *r = calloc(1, sizeof *r);
    if (!r)
        return explain(why, why_len, NET_ERR_NO_MEMORY, "out of memory");
    int err = ring_open(&r->ring, why, why_len);
    if (err) {
        free(r);
        return err;
    }
    r->group = g;
    r->spin_ns = o->spin_ns;
    r->signal_fd = -1;
    r->send.gso = g->features.gso;
    list_init(&r->local);
    r->io = (struct io){.ops = &reactor_ops,
                        .plain = &reactor_plain,
                        .shard = o->shard,
                        .shards = g->shards,
                        .udp = g->udp[o->shard],
                        .listener = o->shard == 0 ? g->listener : IO_NO_HANDLE,
                        .err = o->shard == 0 ? STDERR_FILENO : IO_NO_HANDLE};
    read_clocks(r);
    if ((err = set_up(r, o)) < 0) {
        reactor_destroy(r);
        return explain(why, why_len, err == -ENOMEM ? NET_ERR_NO_MEMORY : NET_ERR_IO,
                       "cannot prepare the ring of shard %u: %s", o->shard, strerror(-err));
    }
    *out = r;
    return 0;
}

struct io *reactor_io(struct reactor *r)
{
    return &r->io;
}

const struct reactor_stats *reactor_get_stats(const struct reactor *r)
{
    return &r->stats;
}

bool reactor_busy(const struct reactor *r)
{
    return r->pending != 0;
}

void reactor_cancel_all(struct reactor *r)
{
    if (r->recv.state != RECV_OFF)
        op_cancel(&r->io, r->recv.op);
    if (r->signal_op)
        op_cancel(&r->io, r->signal_op);
    struct io_uring_sqe *sqe = ring_sqe(r, NULL);
    io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
}

void reactor_destroy(struct reactor *r)
{
    if (!r)
        return;
    assert(!reactor_busy(r));
    doorbell_deinit(r);
    /* Ending a ring is the kernel's background work; the socket must be free when the group closes it. */
    io_uring_unregister_files(&r->ring);
    signals_deinit(r);
    io_uring_queue_exit(&r->ring);
    udp_recv_deinit(r);
    entropy_deinit(&r->entropy);
    free(r);
}
