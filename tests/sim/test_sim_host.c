/* Hosts that are not well, without a node: clocks, processes that stand still, shards without processor, doorbells. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/sim/world/sim.h"

/* A process that notes what its turns see and sets its deadline a period ahead. */
struct watcher {
    struct sim *sim;
    struct io *io[4];
    uint64_t period; /* by its own clock; 0: no deadlines */
    uint64_t turns[4], last_turn[4];
    struct io_op recv;
    struct made {
        struct io_op op;
        struct watcher *by;
    } made[4];
    unsigned received, completed;
    uint64_t received_at, completed_at;
};

static void on_arrival(struct io_op *op, int32_t res)
{
    struct watcher *w = container_of(op, struct watcher, recv);
    w->received += res > 0;
    w->received_at = sim_now(w->sim);
    if (!op->more && res > 0)
        io_submit(w->io[0], op);
}

static void *create(void *ctx, struct io *const *ios, unsigned shards)
{
    struct watcher *w = ctx;
    memcpy(w->io, ios, shards * sizeof *ios);
    w->recv = (struct io_op){.kind = IO_UDP_RECV, .done = on_arrival, .handle = ios[0]->udp};
    io_submit(ios[0], &w->recv);
    return w;
}

static uint64_t turn(void *node, unsigned shard)
{
    struct watcher *w = node;
    w->turns[shard]++;
    w->last_turn[shard] = sim_now(w->sim);
    return w->period ? io_now(w->io[shard]) + w->period : SIM_NEVER;
}

static void destroy(void *node)
{
    (void)node;
}

static const struct sim_node_ops ops = {create, turn, NULL, destroy};

static struct sim_host *watched(struct watcher *w, uint64_t seed, unsigned shards)
{
    w->sim = sim_create(seed);
    struct sim_host *host = sim_add_host(w->sim, shards);
    cr_assert(sim_host_start(host, &ops, w));
    return host;
}

Test(host, a_clock_that_gains_shows_more_and_wakes_earlier)
{
    static const int32_t ppm[] = {0, 100000, -100000};
    for (unsigned i = 0; i < 3; i++) {
        struct watcher w = {.period = SIM_S};
        struct sim_host *host = watched(&w, 1, 1);
        sim_run_for(w.sim, 10 * SIM_S);
        sim_host_set_skew(host, ppm[i]);
        uint64_t turns = w.turns[0], before = w.io[0]->ops->clock(w.io[0]), wall = io_wall(w.io[0]);
        sim_run_for(w.sim, 1000 * SIM_S);
        sim_host_poke(host, 0);
        uint64_t gone = io_now(w.io[0]) - before, expected = (uint64_t)(1000 + ppm[i] / 1000) * SIM_S;
        cr_assert_eq(gone, expected, "%lld", (long long)gone);
        cr_assert_geq(io_wall(w.io[0]) - wall, expected, "both of its clocks are the same quartz");
        uint64_t due = expected / SIM_S;
        cr_assert(w.turns[0] - turns <= due + 1 && w.turns[0] - turns > due - 5, "%llu turns",
                  (unsigned long long)(w.turns[0] - turns));
        sim_host_set_skew(host, 0);
        before = io_now(w.io[0]);
        sim_run_for(w.sim, SIM_S);
        sim_host_poke(host, 0);
        cr_assert_eq(io_now(w.io[0]) - before, SIM_S, "it neither jumps nor goes back");
        sim_destroy(w.sim);
    }
}

Test(host, a_wall_clock_steps_and_the_monotonic_one_does_not)
{
    struct watcher w = {.period = SIM_S};
    struct sim_host *host = watched(&w, 1, 1);
    sim_run_for(w.sim, SIM_S);
    sim_host_poke(host, 0);
    uint64_t now = io_now(w.io[0]), wall = io_wall(w.io[0]);
    sim_host_set_wall(host, -3600 * (int64_t)SIM_S);
    sim_host_poke(host, 0);
    cr_assert_eq(io_now(w.io[0]), now);
    cr_assert_eq(io_wall(w.io[0]), wall - 3600 * SIM_S);
    sim_destroy(w.sim);
}

static void on_made(struct io_op *op, int32_t res)
{
    struct watcher *w = container_of(op, struct made, op)->by;
    w->completed += res >= 0;
    w->completed_at = sim_now(w->sim);
}

static void send_one(struct watcher *w, const struct sim_host *host)
{
    struct io_addr to = sim_host_addr(host), from = {.ip = {[10] = 0xff, 0xff, 10, 9, 9, 9}, .port = 1};
    sim_inject(w->sim, &from, &to, (struct cspan){(const uint8_t[1000]){0}, 1000});
}

Test(host, a_process_that_stands_still_finds_everything_at_once)
{
    struct watcher w = {.period = 10 * SIM_MS};
    struct sim_host *host = watched(&w, 1, 2);
    sim_settings(w.sim)->coalesce = 0;
    sim_settings(w.sim)->socket_buffer = 20000;
    sim_run_for(w.sim, SIM_S);
    static const char *const paths[] = {"a", "b", "c", "d"};
    for (unsigned i = 0; i < 4; i++) {
        w.made[i] = (struct made){{.kind = IO_MKDIR, .done = on_made, .path.path = paths[i]}, &w};
        io_submit(w.io[0], &w.made[i].op);
    }
    uint64_t began = sim_now(w.sim), turns[2] = {w.turns[0], w.turns[1]};
    sim_host_pause(host, 30 * SIM_S);
    for (unsigned i = 0; i < 50; i++) {
        send_one(&w, host);
        sim_run_for(w.sim, 500 * SIM_MS);
    }
    cr_assert(w.turns[0] == turns[0] && w.turns[1] == turns[1] && w.received == 0 && w.completed == 0);
    cr_assert_eq(sim_stats(w.sim)->overflows, 30, "what does not fit into the socket is lost");
    sim_run_for(w.sim, 6 * SIM_S);
    cr_assert_eq(w.received, 20);
    cr_assert_eq(w.completed, 4);
    uint64_t end = began + 30 * SIM_S;
    cr_assert(w.completed_at >= end && w.completed_at < end + SIM_MS, "%llu", (unsigned long long)w.completed_at - end);
    cr_assert(w.received_at >= end && w.received_at < end + SIM_MS, "%llu", (unsigned long long)w.received_at - end);
    cr_assert_gt(w.turns[1], turns[1] + 50, "it goes on");
    sim_destroy(w.sim);
}

Test(host, a_pause_ends_when_told_and_with_its_process)
{
    struct watcher w = {.period = 10 * SIM_MS};
    struct sim_host *host = watched(&w, 1, 1);
    sim_run_for(w.sim, SIM_S);
    sim_host_pause(host, SIM_NEVER / 2);
    sim_run_for(w.sim, SIM_S);
    uint64_t turns = w.turns[0];
    sim_host_pause(host, 0);
    sim_run_for(w.sim, 100 * SIM_MS);
    cr_assert_gt(w.turns[0], turns + 5);
    sim_host_pause(host, SIM_NEVER / 2);
    cr_assert(sim_host_restart(host));
    turns = w.turns[0];
    sim_run_for(w.sim, 100 * SIM_MS);
    cr_assert_gt(w.turns[0], turns + 5);
    sim_destroy(w.sim);
}

Test(host, a_starved_shard_turns_seldom_and_the_others_as_ever)
{
    struct watcher w = {.period = SIM_MS};
    struct sim_host *host = watched(&w, 1, 3);
    sim_host_starve(host, 1, (struct sim_range){100 * SIM_MS, 100 * SIM_MS});
    sim_run_for(w.sim, 10 * SIM_S);
    cr_assert(w.turns[1] <= 101 && w.turns[1] > 90, "%llu", (unsigned long long)w.turns[1]);
    cr_assert(w.turns[0] > 5000 && w.turns[2] > 5000);
    sim_host_starve(host, 1, (struct sim_range){0});
    sim_run_for(w.sim, 10 * SIM_S);
    cr_assert_gt(w.turns[1], 5000);
    sim_destroy(w.sim);
}

Test(host, a_doorbell_can_ring_nobody)
{
    struct watcher w = {.period = 0};
    struct sim_host *host = watched(&w, 1, 2);
    sim_run_for(w.sim, SIM_S);
    static const uint32_t lost[] = {0, SIM_ALWAYS / 2, SIM_ALWAYS};
    static const uint64_t least[] = {200, 60, 0}, most[] = {200, 140, 0};
    for (unsigned i = 0; i < 3; i++) {
        sim_settings(w.sim)->lost_doorbell = lost[i];
        uint64_t turns = w.turns[1];
        for (unsigned n = 0; n < 200; n++) {
            io_doorbell(w.io[0], 1);
            sim_run_for(w.sim, SIM_MS);
        }
        turns = w.turns[1] - turns;
        cr_assert(turns >= least[i] && turns <= most[i], "%llu turns", (unsigned long long)turns);
    }
    sim_host_kill(host);
    sim_destroy(w.sim);
}
