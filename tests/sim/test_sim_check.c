/* The checks of a mesh (sim/mesh/check.h): a healthy mesh passes them, and each of them fires at what it is there for.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/mesh/check_internal.h"
#include "tests/sim/mesh/workload.h"

static struct mesh mesh;
static struct check check;

static void end(void)
{
    mesh_deinit(&mesh);
    check_deinit(&check);
}

TestSuite(sim_check, .fini = end, .timeout = 120);

/* Three nodes that know each other; not started. */
static void make(uint64_t seed)
{
    mesh_init(&mesh, seed);
    for (unsigned i = 0; i < 3; i++)
        mesh_add(&mesh, 1 + i % 2);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned k = 0; k < 3; k++)
            if (i != k)
                mesh_know(&mesh.nodes[i], &mesh.nodes[k]);
    check_init(&check, &mesh);
}

static void start(void)
{
    for (unsigned i = 0; i < mesh.count; i++)
        mesh_start(&mesh.nodes[i]);
}

/* Everything a workload can be: at home, at a peer, synced or not, read live and followed. */
static void work(uint64_t ns)
{
    struct mesh_node *n = mesh.nodes;
    workload_publish(&check, &n[0],
                     &(struct workload_settings){.channel = "a/live", .interval = 20 * SIM_MS, .batch = 5});
    workload_publish(
        &check, &n[0],
        &(struct workload_settings){.channel = "a/log", .interval = 30 * SIM_MS, .batch = 3, .durable = true});
    workload_publish(&check, &n[0],
                     &(struct workload_settings){.channel = "a/log", .interval = 50 * SIM_MS, .batch = 64});
    workload_publish(&check, &n[1],
                     &(struct workload_settings){
                         .channel = "a/log", .to = &n[0], .interval = 40 * SIM_MS, .batch = 7, .durable = true});
    workload_publish(&check, &n[2],
                     &(struct workload_settings){.channel = "b/log", .to = &n[1], .interval = 25 * SIM_MS, .batch = 2});
    for (uint64_t end = sim_now(mesh.sim) + ns; sim_now(mesh.sim) < end;) {
        sim_run_for(mesh.sim, 10 * SIM_MS);
        cr_assert(check_step(&check), "%s", check.what);
    }
}

static void read_all(void)
{
    struct mesh_node *n = mesh.nodes;
    mesh_subscribe(&n[1], "a/live", &n[0]);
    mesh_subscribe(&n[2], "a/live", &n[0]);
    mesh_follow(&n[1], "a/log", &n[0]);
    mesh_follow(&n[2], "a/log", &n[0]);
    mesh_follow(&n[0], "b/log", &n[1]);
}

static void rest(void)
{
    workload_stop(&check);
    cr_assert(workload_finish(&check, 60 * SIM_S), "%s", check.what);
    cr_assert(check_rest(&check), "%s", check.what);
}

Test(sim_check, a_healthy_mesh_passes)
{
    make(1);
    read_all();
    start();
    work(5 * SIM_S);
    rest();
    for (struct workload *f = check.own->flows; f; f = NULL)
        cr_assert_gt(workload_look(f).acked, 100);
}

/* ---- storms ---- */

static uint64_t below(uint64_t bound)
{
    return sim_random_below(mesh.sim, bound);
}

static void set_links(bool peace)
{
    for (unsigned i = 0; i < mesh.count; i++)
        for (unsigned k = 0; k < mesh.count; k++) {
            struct sim_link *l = sim_link(mesh.sim, mesh.nodes[i].host, mesh.nodes[k].host);
            l->loss = l->duplicate = l->reorder = peace || below(2) ? 0 : (uint32_t)below(100000);
            l->delay = (struct sim_range){50 * SIM_US, peace ? 50 * SIM_US : 50 * SIM_US + below(20 * SIM_MS)};
            l->down = !peace && below(8) == 0;
        }
}

static void storm(struct mesh_node *m)
{
    switch (below(6)) {
    case 0:
        mesh_kill(m);
        break;
    case 1:
        mesh_crash(m);
        break;
    case 2:
        if (!mesh_stop(m, 40 * SIM_S))
            check_fail(&check, "node %u does not stop", m->number);
        break;
    default:
        set_links(below(4) == 0);
        return;
    }
    sim_run_for(mesh.sim, below(3 * SIM_S));
    mesh_start(m);
}

static void storms(uint64_t seed)
{
    static const enum config_log kinds[] = {LOG_DISK, LOG_DISK, LOG_MEMORY, LOG_NONE};
    make(seed);
    for (unsigned i = 0; i < mesh.count; i++) {
        struct config *c = &mesh.nodes[i].config;
        c->channel.log = kinds[below(4)];
        c->channel.retention_events = below(3) ? 0 : 500;
        c->rekey_interval_ns = below(2) ? 20 * SIM_S : 86400 * SIM_S;
    }
    read_all();
    start();
    work(SIM_S);
    for (int i = 0; i < 20 && !check.what[0]; i++) {
        storm(&mesh.nodes[below(mesh.count)]);
        for (uint64_t steps = below(30); steps > 0 && check_step(&check); steps--)
            sim_run_for(mesh.sim, 100 * SIM_MS);
    }
    set_links(true);
    workload_stop(&check);
    bool good = workload_finish(&check, 300 * SIM_S) && check_rest(&check);
    cr_assert(good, "seed %lu: %s", seed, check.what);
}

Test(sim_check, a_mesh_that_has_been_through_storms_passes)
{
    const char *from = getenv("CHECK_FROM"), *count = getenv("CHECK_COUNT"); /* a longer run, or one seed again */
    uint64_t first = from ? strtoull(from, NULL, 10) : 1, seeds = count ? strtoull(count, NULL, 10) : 12;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        if (seed > first)
            end();
        storms(seed);
    }
}
