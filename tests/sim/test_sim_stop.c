/* The orderly stop of a node: what was acknowledged is there afterwards, whatever goes on, and it ends by its deadline.
 */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/node/shard.h"
#include "tests/sim/mesh/sim_node.h"

static const char CHANNEL[] = "sensors/lidar";

static struct mesh mesh;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_stop, .fini = end, .timeout = 120);

/* Publishes without an end, as fast as the node takes it. */
struct feeder {
    struct publisher publisher;
    struct node *node;
    uint64_t next;
    bool finished, done;
    int err;
};

static void feed(struct publisher *publisher)
{
    struct feeder *f = container_of(publisher, struct feeder, publisher);
    int err = NET_OK;
    while (err == NET_OK) {
        uint8_t frames[20 * 260];
        size_t len = 0;
        for (uint32_t i = 0; i < 20; i++) {
            size_t n = mesh_event(7, f->next + i, frames + len + 4);
            store_le32(frames + len, (uint32_t)n);
            len += 4 + n;
        }
        err = node_publish_put(f->node, publisher, (struct cspan){frames, len}, 20);
        if (err == NET_OK)
            f->next += 20;
    }
    if (err == NET_ERR_AGAIN || f->finished)
        return;
    f->finished = true;
    node_publish_finish(f->node, publisher);
}

static void on_done(struct publisher *publisher, int err)
{
    struct feeder *f = container_of(publisher, struct feeder, publisher);
    f->done = true;
    f->err = err;
}

static void start_feeding(struct feeder *f, struct mesh_node *m, bool durable)
{
    struct channel_name name;
    *f = (struct feeder){.publisher = {.writable = feed, .done = on_done}, .node = m->node};
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &name), CHANNEL_NAME_OK);
    cr_assert_eq(node_publish_open(m->node, &f->publisher, &name, durable), NET_OK);
    feed(&f->publisher);
    sim_host_poke(m->host, 0);
}

/* The node's own log holds at least these events, the first ones that were published. */
static void check_kept(struct mesh_node *m, uint64_t acknowledged)
{
    mesh_start(m);
    struct mesh_log log = mesh_read(m, CHANNEL, NULL, 10 * SIM_S);
    cr_assert(log.err == NET_OK || acknowledged == 0, "%s", net_err_name(log.err));
    cr_assert_geq(log.count, acknowledged);
    for (size_t i = 0; i < log.count; i++) {
        cr_assert_eq(log.entries[i].tag, 7);
        cr_assert_eq(log.entries[i].number, i);
    }
    mesh_log_free(&log);
}

/* A slow disk, a publisher that never pauses, and a stop at any moment. */
static void stop_under_load(uint64_t seed, bool durable)
{
    struct feeder f;
    mesh_init(&mesh, seed);
    struct mesh_node *m = mesh_add(&mesh, 1 + (unsigned)(seed % 3));
    sim_settings(mesh.sim)->file = (struct sim_range){10 * SIM_US, 20 * SIM_MS};
    sim_settings(mesh.sim)->sync = (struct sim_range){SIM_MS, 200 * SIM_MS};
    mesh_start(m);
    start_feeding(&f, m, durable);
    sim_run_for(mesh.sim, sim_random_below(mesh.sim, 500 * SIM_MS));
    cr_assert(mesh_stop(m, 30 * SIM_S), "seed %lu: it ends", (unsigned long)seed);
    cr_assert(f.done, "seed %lu: the publisher has an answer", (unsigned long)seed);
    if (durable)
        mesh_crash(m);
    check_kept(m, f.publisher.events);
}

Test(sim_stop, under_load_nothing_acknowledged_is_lost)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        stop_under_load(seed, seed % 2);
        if (seed < 10)
            mesh_deinit(&mesh);
    }
}

static bool is_idle(void *ctx)
{
    return !((struct feeder *)ctx)->done;
}

/* A client that opened a publish and sends no more has nothing to wait for. */
Test(sim_stop, an_idle_publisher_does_not_hold_it)
{
    struct feeder f = {.publisher = {.writable = feed, .done = on_done}};
    struct channel_name name;
    mesh_init(&mesh, 3);
    struct mesh_node *m = mesh_add(&mesh, 2);
    mesh_start(m);
    channel_name_parse(CHANNEL, strlen(CHANNEL), &name);
    cr_assert_eq(node_publish_open(m->node, &f.publisher, &name, false), NET_OK);
    uint64_t before = sim_now(mesh.sim);
    node_request_stop(m->node);
    cr_assert(sim_run_while(mesh.sim, is_idle, &f, SIM_S));
    cr_assert_eq(f.err, NET_ERR_STATE);
    cr_assert(mesh_stop(m, 10 * SIM_S));
    cr_assert_lt(sim_now(mesh.sim) - before, SIM_S);
}

/* The disk hangs: what is under way never completes. */
static void hang(struct mesh_node **m, struct feeder *f, uint64_t seed)
{
    mesh_init(&mesh, seed);
    *m = mesh_add(&mesh, 2);
    (*m)->config.stop_timeout_ns = SIM_S;
    mesh_start(*m);
    start_feeding(f, *m, false);
    sim_run_for(mesh.sim, 50 * SIM_MS);
    cr_assert_gt(f->publisher.events, 0);
    sim_settings(mesh.sim)->file = sim_settings(mesh.sim)->sync = (struct sim_range){SIM_S * 86400, SIM_S * 86400};
    sim_run_for(mesh.sim, 100 * SIM_MS);
}

Test(sim_stop, a_disk_that_hangs_ends_it_at_the_deadline)
{
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct feeder f;
        struct mesh_node *m;
        hang(&m, &f, seed);
        uint64_t before = sim_now(mesh.sim);
        cr_assert(mesh_stop(m, 10 * SIM_S), "seed %lu", (unsigned long)seed);
        uint64_t took = sim_now(mesh.sim) - before;
        cr_assert(took >= SIM_S && took < 3 * SIM_S / 2, "%lu ms", (unsigned long)(took / SIM_MS));
        sim_settings(mesh.sim)->file = sim_settings(mesh.sim)->sync = (struct sim_range){SIM_US, SIM_MS};
        check_kept(m, f.publisher.events);
        if (seed < 2)
            mesh_deinit(&mesh);
    }
}

static void stop_now(void *ctx)
{
    node_stop_now(((struct mesh_node *)ctx)->node);
}

Test(sim_stop, the_second_demand_ends_it_at_once)
{
    struct feeder f;
    struct mesh_node *m;
    hang(&m, &f, 9);
    uint64_t before = sim_now(mesh.sim);
    sim_call_at(mesh.sim, before + SIM_S / 4, stop_now, m);
    cr_assert(mesh_stop(m, 10 * SIM_S));
    uint64_t took = sim_now(mesh.sim) - before;
    cr_assert(took >= SIM_S / 4 && took < SIM_S / 2, "%lu ms", (unsigned long)(took / SIM_MS));
}

/* Nothing but a doorbell tells it, and that rings nobody who is not asleep yet. */
Test(sim_stop, a_shard_that_was_given_up_does_not_fall_asleep)
{
    mesh_init(&mesh, 11);
    struct mesh_node *m = mesh_add(&mesh, 2);
    mesh_start(m);
    sim_run_for(mesh.sim, SIM_S);
    struct shard *s = m->node->shards[1];
    cr_assert(shard_idle(s));
    shard_abandon(s);
    cr_assert_not(shard_idle(s));
}
