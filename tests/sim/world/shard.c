/* A shard of a running process: its struct io, and when its turns come. */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/world/sim_internal.h"

static struct sim_shard *shard_at(const struct sim_host *h, unsigned number)
{
    assert(number < h->shard_count);
    return &h->shards[number];
}

static void doorbell(struct io *io, unsigned shard)
{
    const struct sim_shard *s = shard_of(io);
    struct sim *sim = s->host->sim;
    if (!s->cut_off && !sim_chance(sim, sim->settings.lost_doorbell))
        sim_shard_wake(shard_at(s->host, shard));
}

static void random_fill(struct io *io, void *out, size_t len)
{
    rng_bytes(&shard_of(io)->rng, out, len);
}

static uint64_t clock_read(struct io *io)
{
    const struct sim_shard *s = shard_of(io);
    return s->cut_off ? s->io.now : sim_host_local(s->host);
}

const struct io_ops sim_io_ops = {
    .submit = sim_op_submit,
    .cancel = sim_op_cancel,
    .udp_hold = sim_net_hold,
    .udp_release = sim_net_release,
    .doorbell = doorbell,
    .random = random_fill,
    .clock = clock_read,
};

void sim_shard_init(struct sim_shard *s, struct sim_host *h, unsigned number)
{
    *s = (struct sim_shard){
        .io = {.ops = &sim_io_ops, .plain = &sim_io_plain, .shard = number, .shards = h->shard_count},
        .host = h,
        .turn.run = sim_shard_turn,
    };
    rng_init(&s->rng, h->sim->seed, (h->number + UINT64_C(1)) << 48 | h->incarnation << 8 | number);
    list_init(&s->pending);
    list_init(&s->ready);
    list_init(&s->waiting);
    list_init(&s->buffers);
    s->io.udp = sim_handle_open(s, HANDLE_UDP)->number;
    s->io.err = IO_NO_HANDLE;
    s->io.listener = number == 0 ? sim_handle_open(s, HANDLE_LISTENER)->number : IO_NO_HANDLE;
    sim_shard_clocks(s);
}

void sim_shard_deinit(struct sim_shard *s)
{
    sim_queue_remove(&s->host->sim->queue, &s->turn);
    sim_net_drop(&s->waiting);
    for (struct list *l; (l = list_pop(&s->buffers));)
        free(container_of(l, struct buffer, link));
    for (size_t i = 0; i < s->handle_count; i++) {
        if (s->handles[i]->kind != HANDLE_FREE)
            sim_handle_close(s, s->handles[i]);
        free(s->handles[i]);
    }
    free(s->handles);
}

void sim_shard_clocks(struct sim_shard *s)
{
    const struct sim_host *h = s->host;
    s->io.now = sim_host_local(h);
    s->io.wall = h->sim->settings.wall_base + s->io.now + (uint64_t)h->wall_offset;
}

static void turn_at(struct sim_shard *s, uint64_t at)
{
    if (at < s->busy_until)
        at = s->busy_until;
    if (s->turn.place && s->turn.at <= at)
        return;
    sim_queue_remove(&s->host->sim->queue, &s->turn);
    sim_queue_put(&s->host->sim->queue, &s->turn, at);
}

void sim_shard_wake(struct sim_shard *s)
{
    struct sim *sim = s->host->sim;
    if (!s->cut_off)
        turn_at(s, sim->now + sim_draw(sim, sim->settings.wake));
}

static void take_signals(struct sim_shard *s)
{
    for (int n = 1; n < 64 && s->signal; n++) {
        if (s->signals >> n & 1) {
            s->signals &= ~(UINT64_C(1) << n);
            sim_op_deliver(s, s->signal, n, true);
        }
    }
}

static void take_completions(struct sim_shard *s)
{
    for (struct list *l; (l = list_first(&s->ready));) {
        struct io_op *op = container_of(l, struct io_op, backend.link);
        sim_op_deliver(s, op, sim_op_of(op)->res, false);
    }
}

void sim_shard_dispatch(struct sim_shard *s)
{
    bool net_first = !s->cut_off && sim_chance(s->host->sim, SIM_ALWAYS / 2);
    if (net_first)
        sim_net_take(s);
    take_completions(s);
    if (!net_first)
        sim_net_take(s);
    sim_stream_accept(s);
    take_signals(s);
}

void sim_shard_turn(struct sim *sim, struct sim_event *e)
{
    struct sim_shard *s = container_of(e, struct sim_shard, turn);
    struct sim_host *h = s->host;
    if (h->paused_until > sim->now) {
        turn_at(s, h->paused_until);
        return;
    }
    uint64_t cost = sim_draw(sim, sim->settings.turn);
    if (h->starve.max && h->starved == s->io.shard)
        cost += sim_draw(sim, h->starve);
    s->busy_until = sim->now + (cost ? cost : 1);
    sim->stats.turns++;
    sim_trace(sim, TRACE_TURN, h, s->io.shard, 0, 0, (struct cspan){0});
    sim_shard_clocks(s);
    h->in_node = true;
    sim_shard_dispatch(s);
    uint64_t deadline = h->ops->turn(h->node, s->io.shard);
    h->in_node = false;
    if (sim_net_can_take(s) || deadline <= s->io.now)
        turn_at(s, 0);
    else if (deadline != SIM_NEVER)
        turn_at(s, sim_host_world(h, deadline) + sim_draw(sim, sim->settings.wake));
}
