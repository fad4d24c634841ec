#include "tests/support/check_scene.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tests/sim/mesh/workload.h"

void scene_make(struct scene *s, uint64_t seed)
{
    mesh_init(&s->mesh, seed);
    for (unsigned i = 0; i < SCENE_NODES; i++)
        mesh_add(&s->mesh, 1 + i % 2);
    for (unsigned i = 0; i < SCENE_NODES; i++)
        for (unsigned k = 0; k < SCENE_NODES; k++)
            if (i != k)
                mesh_know(&s->mesh.nodes[i], &s->mesh.nodes[k]);
    check_init(&s->check, &s->mesh);
}

void scene_end(struct scene *s)
{
    mesh_deinit(&s->mesh);
    check_deinit(&s->check);
}

void scene_read_all(struct scene *s)
{
    struct mesh_node *n = s->mesh.nodes;
    mesh_subscribe(&n[1], "a/live", &n[0]);
    mesh_subscribe(&n[2], "a/live", &n[0]);
    mesh_follow(&n[1], "a/log", &n[0]);
    mesh_follow(&n[2], "a/log", &n[0]);
    mesh_follow(&n[0], "b/log", &n[1]);
}

void scene_start(struct scene *s)
{
    for (unsigned i = 0; i < SCENE_NODES; i++)
        mesh_start(&s->mesh.nodes[i]);
}

void scene_work(struct scene *s, uint64_t ns)
{
    struct mesh_node *n = s->mesh.nodes;
    struct workload_settings at_home[] = {
        {.channel = "a/live", .interval = 20 * SIM_MS, .batch = 5},
        {.channel = "a/log", .interval = 30 * SIM_MS, .batch = 3, .durable = true},
        {.channel = "a/log", .interval = 50 * SIM_MS, .batch = 64},
    };
    for (size_t i = 0; i < sizeof at_home / sizeof at_home[0]; i++)
        workload_publish(&s->check, &n[0], &at_home[i]);
    struct workload_settings synced = {
        .channel = "a/log", .to = &n[0], .interval = 40 * SIM_MS, .batch = 7, .durable = true};
    workload_publish(&s->check, &n[1], &synced);
    struct workload_settings written = {.channel = "b/log", .to = &n[1], .interval = 25 * SIM_MS, .batch = 2};
    workload_publish(&s->check, &n[2], &written);
    for (uint64_t end = sim_now(s->mesh.sim) + ns; sim_now(s->mesh.sim) < end;) {
        sim_run_for(s->mesh.sim, 10 * SIM_MS);
        cr_assert(check_step(&s->check), "%s", s->check.what);
    }
}

void scene_finish(struct scene *s)
{
    workload_stop(&s->check);
    cr_assert(workload_finish(&s->check, 60 * SIM_S), "%s", s->check.what);
}

void scene_at_rest(struct scene *s, uint64_t seed)
{
    scene_make(s, seed);
    scene_read_all(s);
    scene_start(s);
    scene_work(s, 2 * SIM_S);
    scene_finish(s);
    cr_assert(check_rest(&s->check), "%s", s->check.what);
}

void scene_expect(struct scene *s, const char *text)
{
    cr_assert(strstr(s->check.what, text), "found: \"%s\"", s->check.what);
}
