/* The checks of a mesh (sim/mesh/check.h) pass a healthy one, also after storms; what they say of a sick one is in
 * test_sim_check_*.c. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/sim/mesh/check_internal.h"
#include "tests/sim/mesh/workload.h"
#include "tests/support/check_scene.h"

static struct scene scene;

static void end(void)
{
    scene_end(&scene);
}

TestSuite(sim_check, .fini = end, .timeout = 280);

Test(sim_check, a_healthy_mesh_passes)
{
    scene_at_rest(&scene, 1);
    struct workload_stats stats = workload_sum(&scene.check);
    cr_assert(stats.acked > 3000 && stats.acked == stats.handed && stats.refused == 0 && stats.unanswered == 0);
    cr_assert_gt(scene.check.own->delivered.count, 0, "hooks were called");
}

/* ---- storms ---- */

static uint64_t below(uint64_t bound)
{
    return sim_random_below(scene.mesh.sim, bound);
}

static void set_links(bool peace)
{
    for (unsigned i = 0; i < SCENE_NODES; i++)
        for (unsigned k = 0; k < SCENE_NODES; k++) {
            struct sim_link *l = sim_link(scene.mesh.sim, scene.mesh.nodes[i].host, scene.mesh.nodes[k].host);
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
        cr_assert(mesh_stop(m, 40 * SIM_S), "node %u does not stop", m->number);
        break;
    default:
        set_links(below(4) == 0);
        return;
    }
    sim_run_for(scene.mesh.sim, below(3 * SIM_S));
    mesh_start(m);
}

static void storms(uint64_t seed)
{
    static const enum config_log kinds[] = {LOG_DISK, LOG_DISK, LOG_MEMORY, LOG_NONE};
    scene_make(&scene, seed);
    for (unsigned i = 0; i < SCENE_NODES; i++) {
        struct config *c = &scene.mesh.nodes[i].config;
        c->channel.log = kinds[below(4)];
        c->channel.retention_events = below(3) ? 0 : 500;
        c->rekey_interval_ns = below(2) ? 20 * SIM_S : 86400 * SIM_S;
    }
    scene_read_all(&scene);
    scene_start(&scene);
    scene_work(&scene, SIM_S);
    for (int i = 0; i < 20 && !scene.check.what[0]; i++) {
        storm(&scene.mesh.nodes[below(SCENE_NODES)]);
        for (uint64_t steps = below(30); steps > 0 && check_step(&scene.check); steps--)
            sim_run_for(scene.mesh.sim, 100 * SIM_MS);
    }
    set_links(true);
    workload_stop(&scene.check);
    bool good = workload_finish(&scene.check, 300 * SIM_S) && check_rest(&scene.check);
    cr_assert(good, "seed %lu: %s", seed, scene.check.what);
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
