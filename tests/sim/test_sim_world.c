/* The world keeps its promises: one seed is one run, time and turns are as the seam says, a process can die any time.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world/sim.h"
#include "tests/sim/world/toy.h"

static uint64_t run_of(uint64_t seed, unsigned shards)
{
    struct sim *sim = sim_create(seed);
    struct sim_settings *settings = sim_settings(sim);
    settings->link.loss = SIM_ALWAYS / 10;
    settings->link.duplicate = SIM_ALWAYS / 20;
    settings->missteer = SIM_ALWAYS / 10;
    settings->send_again = SIM_ALWAYS / 20;
    struct toy a = {.rounds = 50}, b = {.rounds = 50};
    toy_add_pair(sim, shards, &a, &b);
    sim_run_for(sim, 200 * SIM_MS);
    sim_host_crash(a.host);
    cr_assert(sim_host_restart(a.host));
    sim_run_for(sim, 200 * SIM_MS);
    uint64_t hash = sim_trace_hash(sim);
    sim_destroy(sim);
    return hash;
}

Test(world, one_seed_is_one_run)
{
    static const unsigned shards[] = {1, 2, 3, 8};
    for (size_t i = 0; i < sizeof shards / sizeof shards[0]; i++) {
        for (uint64_t seed = 1; seed <= 5; seed++) {
            uint64_t hash = run_of(seed, shards[i]);
            void *moved = malloc(1000 * seed); /* other addresses must not matter */
            cr_assert_eq(run_of(seed, shards[i]), hash);
            free(moved);
            cr_assert_neq(run_of(seed + 100, shards[i]), hash);
            cr_assert_neq(run_of(seed, shards[i] + 1), hash);
        }
    }
}

static bool toy_unfinished(void *ctx)
{
    struct toy *const *pair = ctx;
    return !toy_finished(pair[0]) || !toy_finished(pair[1]);
}

Test(world, ping_pong_ends_whatever_the_network_does)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct sim *sim = sim_create(seed);
        struct sim_settings *s = sim_settings(sim);
        s->link.loss = (uint32_t)sim_random_below(sim, SIM_ALWAYS / 2);
        s->link.duplicate = (uint32_t)sim_random_below(sim, SIM_ALWAYS / 2);
        s->link.delay.max = SIM_MS * sim_random_below(sim, 20);
        s->missteer = (uint32_t)sim_random_below(sim, SIM_ALWAYS);
        s->send_again = SIM_ALWAYS / 10;
        s->multishot_end = SIM_ALWAYS / 3;
        struct toy a = {.rounds = 100}, b = {.rounds = 100};
        struct toy *pair[] = {&a, &b};
        toy_add_pair(sim, 1 + (unsigned)(seed % 4), &a, &b);
        cr_assert(sim_run_while(sim, toy_unfinished, pair, 100 * SIM_S), "seed %llu", (unsigned long long)seed);
        for (size_t i = 0; i < 2; i++) {
            cr_assert_eq(pair[i]->bad, 0);
            cr_assert_eq(pair[i]->answered, (uint64_t)pair[i]->rounds * pair[i]->shards);
        }
        sim_destroy(sim);
    }
}

Test(world, a_cut_stops_and_heals)
{
    struct sim *sim = sim_create(7);
    struct toy a = {.rounds = 1000000}, b = {.rounds = 1000000};
    toy_add_pair(sim, 2, &a, &b);
    sim_run_for(sim, 50 * SIM_MS);
    uint64_t before = a.answered;
    cr_assert_gt(before, 0);
    sim_cut(sim, a.host, b.host, true);
    sim_run_for(sim, 50 * SIM_MS);
    cr_assert_leq(a.answered, before + a.shards); /* what had arrived already */
    before = a.answered;
    sim_run_for(sim, 50 * SIM_MS);
    cr_assert_eq(a.answered, before);
    sim_cut(sim, a.host, b.host, false);
    sim_run_for(sim, 50 * SIM_MS);
    cr_assert_gt(a.answered, before);
    sim_destroy(sim);
}

/* A node that only looks at its clock. */
struct clockwork {
    struct io *io;
    uint64_t next;
    unsigned turns;
    uint8_t boot[16], random[32];
};

static void *clockwork_create(void *ctx, struct io *const *ios, unsigned shards)
{
    (void)shards;
    struct clockwork *c = ctx;
    c->next = io_now(ios[0]) + 10 * SIM_MS;
    c->turns = 0;
    ios[0]->plain->boot_id(ios[0], c->boot);
    io_random(ios[0], c->random, sizeof c->random);
    c->io = ios[0];
    return c;
}

static uint64_t clockwork_turn(void *node, unsigned shard)
{
    struct clockwork *c = node;
    (void)shard;
    c->turns++;
    return c->next;
}

static void clockwork_destroy(void *node)
{
    (void)node;
}

static const struct sim_node_ops clockwork_ops = {clockwork_create, clockwork_turn, NULL, clockwork_destroy};

Test(world, turns_come_at_the_start_and_at_the_deadline_and_not_between)
{
    struct sim *sim = sim_create(3);
    struct sim_host *host = sim_add_host(sim, 1);
    struct clockwork c = {0};
    cr_assert(sim_host_start(host, &clockwork_ops, &c));
    sim_run_until(sim, c.next - 1);
    cr_assert_eq(c.turns, 1);
    uint64_t deadline = c.next;
    c.next = SIM_NEVER;
    sim_run_until(sim, deadline + sim_settings(sim)->wake.max);
    cr_assert_eq(c.turns, 2);
    sim_run_for(sim, SIM_S);
    cr_assert_eq(c.turns, 2);
    sim_host_poke(host, 0);
    sim_run_for(sim, SIM_MS);
    cr_assert_eq(c.turns, 3);
    sim_destroy(sim);
}

Test(world, a_deadline_in_the_past_does_not_stop_time)
{
    struct sim *sim = sim_create(3);
    struct sim_host *host = sim_add_host(sim, 1);
    struct clockwork c = {0};
    cr_assert(sim_host_start(host, &clockwork_ops, &c));
    c.next = 0;
    sim_run_for(sim, SIM_MS);
    cr_assert_geq(c.turns, SIM_MS / sim_settings(sim)->turn.max);
    cr_assert_leq(c.turns, SIM_MS / sim_settings(sim)->turn.min + 1);
    sim_destroy(sim);
}

Test(world, boot_id_changes_with_a_crash_only_and_random_with_every_process)
{
    struct sim *sim = sim_create(11);
    struct sim_host *host = sim_add_host(sim, 1), *other = sim_add_host(sim, 1);
    struct clockwork c = {0}, d = {0};
    cr_assert(sim_host_start(host, &clockwork_ops, &c));
    cr_assert(sim_host_start(other, &clockwork_ops, &d));
    struct clockwork first = c;
    cr_assert_neq(memcmp(first.boot, d.boot, 16), 0);
    cr_assert_neq(memcmp(first.random, d.random, 32), 0);
    cr_assert(sim_host_restart(host));
    cr_assert_eq(memcmp(first.boot, c.boot, 16), 0);
    cr_assert_neq(memcmp(first.random, c.random, 32), 0);
    sim_host_crash(host);
    cr_assert_null(sim_host_node(host));
    cr_assert(sim_host_restart(host));
    cr_assert_neq(memcmp(first.boot, c.boot, 16), 0);
    sim_destroy(sim);
}

Test(world, wall_clocks_differ_by_host)
{
    struct sim *sim = sim_create(1);
    struct sim_host *host = sim_add_host(sim, 1);
    sim_host_set_wall(host, -(int64_t)SIM_S);
    struct clockwork c = {0};
    cr_assert(sim_host_start(host, &clockwork_ops, &c));
    cr_assert_eq(io_wall(c.io), sim_settings(sim)->wall_base + sim_now(sim) - SIM_S);
    cr_assert_eq(io_now(c.io), sim_now(sim));
    sim_destroy(sim);
}

/* A node that waits in every way there is, and either unwinds or does not. */
struct waiter {
    struct io *io;
    struct io_op recv, accept, signal, open, again;
    int32_t result[5];
    unsigned done, halts;
    bool resubmit;
    char path[16];
};

static void note(struct waiter *w, unsigned which, int32_t res)
{
    w->result[which] = res;
    w->done++;
}
static void recv_done(struct io_op *op, int32_t res)
{
    note(container_of(op, struct waiter, recv), 0, res);
}
static void accept_done(struct io_op *op, int32_t res)
{
    note(container_of(op, struct waiter, accept), 1, res);
}
static void signal_done(struct io_op *op, int32_t res)
{
    note(container_of(op, struct waiter, signal), 2, res);
}
static void again_done(struct io_op *op, int32_t res)
{
    note(container_of(op, struct waiter, again), 4, res);
}
static void open_done(struct io_op *op, int32_t res)
{
    struct waiter *w = container_of(op, struct waiter, open);
    note(w, 3, res);
    if (w->resubmit) {
        w->again = (struct io_op){.kind = IO_MKDIR, .done = again_done, .path.path = "late"};
        io_submit(w->io, &w->again);
    }
}

static void *waiter_create(void *ctx, struct io *const *ios, unsigned shards)
{
    (void)shards;
    struct waiter *w = ctx;
    struct io *io = w->io = ios[0];
    strcpy(w->path, "made");
    w->recv = (struct io_op){.kind = IO_UDP_RECV, .done = recv_done, .handle = io->udp};
    w->accept = (struct io_op){.kind = IO_ACCEPT, .done = accept_done, .handle = io->listener};
    w->signal = (struct io_op){.kind = IO_SIGNAL, .done = signal_done};
    w->open = (struct io_op){.kind = IO_OPEN, .done = open_done, .path = {w->path, NULL, 0, 0}};
    io_submit(io, &w->recv);
    io_submit(io, &w->accept);
    io_submit(io, &w->signal);
    return w;
}

static uint64_t waiter_turn(void *node, unsigned shard)
{
    (void)node;
    (void)shard;
    return SIM_NEVER;
}

static bool waiter_halt(void *node)
{
    struct waiter *w = node;
    return ++w->halts >= 3;
}

static const struct sim_node_ops waiter_ops = {waiter_create, waiter_turn, waiter_halt, clockwork_destroy};
static const struct sim_node_ops abrupt_ops = {waiter_create, waiter_turn, NULL, clockwork_destroy};

Test(world, signals_arrive_once)
{
    struct sim *sim = sim_create(5);
    struct sim_host *host = sim_add_host(sim, 1);
    struct waiter w = {0};
    cr_assert(sim_host_start(host, &waiter_ops, &w));
    sim_host_signal(host, SIGTERM);
    sim_run_for(sim, SIM_MS);
    cr_assert_eq(w.done, 1);
    cr_assert_eq(w.result[2], SIGTERM);
    cr_assert(w.signal.more && w.signal.pending);
    sim_destroy(sim);
}

Test(world, a_node_that_halts_gets_its_operations_back)
{
    struct sim *sim = sim_create(5);
    struct sim_host *host = sim_add_host(sim, 1);
    struct waiter w = {.resubmit = true};
    cr_assert(sim_host_start(host, &waiter_ops, &w));
    sim_run_for(sim, SIM_MS);
    io_submit(w.io, &w.open);
    sim_host_kill(host);
    cr_assert_null(sim_host_node(host));
    cr_assert_eq(w.done, 5);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(w.result[i], -ECANCELED);
    cr_assert_eq(w.result[4], -EIO); /* submitted when the world was gone */
    cr_assert(!w.recv.pending && !w.accept.pending && !w.signal.pending && !w.open.pending && !w.again.pending);
    cr_assert_geq(w.halts, 3);
    cr_assert_null(sim_disk_get(host, "late").data);
    sim_destroy(sim);
}

Test(world, a_node_that_does_not_halt_is_dropped)
{
    struct sim *sim = sim_create(5);
    struct sim_host *host = sim_add_host(sim, 1);
    struct waiter w = {0};
    cr_assert(sim_host_start(host, &abrupt_ops, &w));
    sim_run_for(sim, SIM_MS);
    sim_host_kill(host);
    cr_assert_eq(w.done, 0);
    cr_assert(!w.recv.pending && !w.accept.pending && !w.signal.pending);
    sim_run_for(sim, SIM_S);
    cr_assert_eq(w.done, 0);
    sim_destroy(sim);
}

Test(world, what_waits_can_be_cancelled)
{
    struct sim *sim = sim_create(5);
    struct sim_host *host = sim_add_host(sim, 1);
    struct waiter w = {0};
    cr_assert(sim_host_start(host, &waiter_ops, &w));
    sim_run_for(sim, SIM_MS);
    io_cancel(w.io, &w.recv);
    io_cancel(w.io, &w.accept);
    io_cancel(w.io, &w.signal);
    io_cancel(w.io, &w.signal);
    io_cancel(w.io, &w.open); /* not pending: nothing happens */
    cr_assert_eq(w.done, 0);
    sim_run_for(sim, SIM_MS);
    cr_assert_eq(w.done, 3);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(w.result[i], -ECANCELED);
    sim_destroy(sim);
}

static void append(void *ctx)
{
    char *text = ctx;
    strcat(text, text[0] ? "b" : "a");
}

Test(world, script_calls_come_in_time_and_in_order)
{
    struct sim *sim = sim_create(1);
    char text[8] = "", unused[8] = "";
    sim_call_at(sim, sim_now(sim) + 5, append, text);
    sim_call_at(sim, sim_now(sim) + 5, append, text);
    sim_call_at(sim, sim_now(sim) + SIM_S, append, unused); /* goes with the world */
    sim_run_for(sim, 4);
    cr_assert_str_eq(text, "");
    sim_run_for(sim, 1);
    cr_assert_str_eq(text, "ab");
    sim_destroy(sim);
    cr_assert_str_eq(unused, "");
}
