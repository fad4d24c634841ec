/* The life of an operation: submitted, perhaps cancelled, completed, delivered. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "tests/sim/world/sim_internal.h"

static struct sim *world_of(const struct sim_shard *s)
{
    return s->host->sim;
}

static enum handle_kind handle_kind_of(enum io_kind kind)
{
    switch (kind) {
    case IO_UDP_RECV:
    case IO_UDP_SEND:
        return HANDLE_UDP;
    case IO_ACCEPT:
        return HANDLE_LISTENER;
    case IO_RECV:
    case IO_SEND:
        return HANDLE_STREAM;
    case IO_READ:
    case IO_WRITE:
    case IO_FDATASYNC:
    case IO_FSYNC:
        return HANDLE_FILE;
    default:
        return HANDLE_FREE; /* needs none, or gives it up: IO_CLOSE */
    }
}

static struct io_op **multishot(struct sim_shard *s, enum io_kind kind)
{
    return kind == IO_UDP_RECV ? &s->udp_recv : kind == IO_ACCEPT ? &s->accept : kind == IO_SIGNAL ? &s->signal : NULL;
}

/* What happens at the moment an operation that takes time is done. */
static int32_t effect(struct sim_shard *s, struct io_op *op)
{
    switch (op->kind) {
    case IO_UDP_SEND:
        return sim_net_send(s, op);
    case IO_RECV:
    case IO_SEND:
        return sim_stream_run(s, op);
    default:
        return sim_file_effect(s, op);
    }
}

static void run(struct sim *sim, struct sim_event *e)
{
    (void)sim;
    struct sim_op *o = container_of(e, struct sim_op, event);
    struct sim_shard *s = o->shard;
    o->running = true;
    int32_t res = o->canceled ? -ECANCELED : effect(s, o->op);
    o->running = false;
    if (!o->ready) /* else the process died of it */
        sim_op_complete(s, o->op, res);
}

void sim_op_schedule(struct sim_shard *s, struct io_op *op, uint64_t at)
{
    if (!sim_op_of(op)->event.place)
        sim_queue_put(&world_of(s)->queue, &sim_op_of(op)->event, at);
}

static void start_send(struct sim_shard *s, struct io_op *op)
{
    struct sim *sim = world_of(s);
    uint64_t at = sim->now + sim_draw(sim, sim->settings.send);
    s->last_send = at > s->last_send ? at : s->last_send;
    sim_op_schedule(s, op, s->last_send);
}

static void start(struct sim_shard *s, struct io_op *op)
{
    switch (op->kind) {
    case IO_UDP_RECV:
    case IO_ACCEPT:
    case IO_SIGNAL:
        assert(!*multishot(s, op->kind));
        *multishot(s, op->kind) = op;
        sim_shard_wake(s); /* something may be waiting */
        break;
    case IO_UDP_SEND:
        start_send(s, op);
        break;
    case IO_RECV:
    case IO_SEND:
        sim_stream_start(s, op);
        break;
    default:
        sim_file_submit(s, op);
    }
}

/* To a node that is being taken down the world answers at once. */
static int32_t refusal(enum io_kind kind)
{
    switch (kind) {
    case IO_CLOSE:
        return 0;
    case IO_UDP_RECV:
    case IO_ACCEPT:
    case IO_SIGNAL:
    case IO_RECV:
        return -ECANCELED;
    case IO_SEND:
        return -EPIPE;
    case IO_UDP_SEND:
        return -ENETDOWN;
    default:
        return -EIO;
    }
}

void sim_op_submit(struct io *io, struct io_op *op)
{
    struct sim_shard *s = shard_of(io);
    assert(!op->pending && op->done);
    op->pending = true;
    op->more = false;
    struct sim_op *o = sim_op_of(op);
    *o = (struct sim_op){.event.run = run, .op = op, .shard = s};
    list_push_back(&s->pending, &op->backend.link);
    if (handle_kind_of(op->kind) != HANDLE_FREE)
        sim_handle(s, op->handle, handle_kind_of(op->kind))->pending++;
    if (op->kind == IO_CLOSE)
        sim_handle_close(s, sim_handle_any(s, op->handle));
    if (s->cut_off)
        sim_op_complete(s, op, refusal(op->kind));
    else
        start(s, op);
}

/* What waits for the world comes back soon; what is under way is stopped, or it is too late for that. */
void sim_op_cancel(struct io *io, struct io_op *op)
{
    struct sim_shard *s = shard_of(io);
    struct sim *sim = world_of(s);
    struct sim_op *o = sim_op_of(op);
    if (!op->pending || o->ready || o->cancel_asked)
        return;
    o->cancel_asked = true;
    if (o->event.place && sim_chance(sim, SIM_ALWAYS / 2))
        return;
    o->canceled = true;
    sim_queue_remove(&sim->queue, &o->event);
    sim_op_schedule(s, op, sim->now + sim_draw(sim, sim->settings.send));
}

/* Out of whatever it waits in. */
static void detach(struct sim_shard *s, struct io_op *op)
{
    sim_queue_remove(&world_of(s)->queue, &sim_op_of(op)->event);
    list_remove(&op->backend.link);
    struct io_op **slot = multishot(s, op->kind);
    if (slot && *slot == op)
        *slot = NULL;
    if (handle_kind_of(op->kind) == HANDLE_STREAM)
        sim_stream_op_gone(s, op);
}

void sim_op_complete(struct sim_shard *s, struct io_op *op, int32_t res)
{
    struct sim_op *o = sim_op_of(op);
    detach(s, op);
    o->ready = true;
    o->res = res;
    list_push_back(&s->ready, &op->backend.link);
    sim_shard_wake(s);
}

static struct cspan payload(const struct io_op *op, int32_t res)
{
    if (res <= 0)
        return (struct cspan){0};
    if (op->kind == IO_UDP_RECV)
        return (struct cspan){op->arrival.data, op->arrival.len};
    if (op->kind == IO_RECV || op->kind == IO_READ)
        return (struct cspan){op->buf.data, (size_t)res};
    return (struct cspan){0};
}

void sim_op_deliver(struct sim_shard *s, struct io_op *op, int32_t res, bool more)
{
    if (!more) {
        detach(s, op);
        op->pending = false;
        if (handle_kind_of(op->kind) != HANDLE_FREE)
            sim_handle(s, op->handle, handle_kind_of(op->kind))->pending--;
    }
    op->more = more;
    if (!s->cut_off)
        sim_trace(world_of(s), TRACE_DONE, s->host, s->io.shard, op->kind, (uint64_t)(int64_t)res, payload(op, res));
    op->done(op, res);
}

static void settle_file_op(struct sim_shard *s, struct io_op *op)
{
    struct sim *sim = world_of(s);
    uint64_t limit = SIM_NEVER;
    if (sim_chance(sim, SIM_ALWAYS / 2))
        return;
    if (op->kind == IO_WRITE && sim_chance(sim, SIM_ALWAYS / 2))
        limit = sim_random_below(sim, UINT64_C(65536));
    int32_t res = sim_file_run(s, op, limit);
    if (op->kind == IO_OPEN && res >= 0)
        sim_handle_close(s, sim_handle_any(s, res));
}

void sim_op_settle(struct sim_shard *s)
{
    for (struct list *l = s->pending.next; l != &s->pending; l = l->next) {
        struct io_op *op = container_of(l, struct io_op, backend.link);
        if (op->kind >= IO_OPEN && op->kind <= IO_MKDIR && op->kind != IO_READ && !sim_op_of(op)->canceled &&
            !sim_op_of(op)->running)
            settle_file_op(s, op);
    }
}

void sim_op_cut_off(struct sim_shard *s)
{
    s->cut_off = true;
    for (struct list *l; (l = list_first(&s->pending));)
        sim_op_complete(s, container_of(l, struct io_op, backend.link), -ECANCELED);
}

void sim_op_drop(struct sim_shard *s)
{
    s->cut_off = true;
    struct list *all[] = {&s->pending, &s->ready};
    for (size_t i = 0; i < 2; i++) {
        for (struct list *l; (l = list_first(all[i]));) {
            struct io_op *op = container_of(l, struct io_op, backend.link);
            detach(s, op);
            op->pending = false;
            if (handle_kind_of(op->kind) != HANDLE_FREE)
                sim_handle(s, op->handle, handle_kind_of(op->kind))->pending--;
        }
    }
}

void sim_io_close(struct io *io)
{
    sim_op_drop(shard_of(io));
}
