/* Each check of logs fires: somebody who loses, repeats, invents or keeps what should not be is told of. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/mesh/check_subs.h"
#include "tests/sim/mesh/workload.h"
#include "tests/support/check_scene.h"

static struct scene scene;
static struct mesh_node *a, *b;

static void setup(void)
{
    scene_make(&scene, 1);
    a = &scene.mesh.nodes[0];
    b = &scene.mesh.nodes[1];
}

static void end(void)
{
    scene_end(&scene);
}

TestSuite(sim_check_logs, .init = setup, .fini = end, .timeout = 120);

enum { TAG = 7 };

static void publish(uint64_t from, uint64_t count, bool durable)
{
    struct mesh_published p = check_publish(&scene.check, a, "x", TAG, from, count, durable, 10 * SIM_S);
    cr_assert(p.err == NET_OK && p.events == count);
}

static void expect_logs(const char *text)
{
    cr_assert_not(check_logs(&scene.check));
    scene_expect(&scene, text);
}

/* One bit of a file of a log, on stable storage; `at` from the end where negative. */
static void spoil(struct mesh_node *m, const char *path, long at)
{
    struct cspan now = sim_disk_get(m->host, path);
    cr_assert(now.data, "%s", path);
    uint8_t *bytes = malloc(now.len);
    memcpy(bytes, now.data, now.len);
    bytes[at < 0 ? (long)now.len + at : at] ^= 0x40;
    sim_disk_put(m->host, path, (struct cspan){bytes, now.len});
    free(bytes);
}

Test(sim_check_logs, an_acknowledged_event_that_is_not_there)
{
    scene_start(&scene);
    publish(0, 10, true);
    cr_assert(check_logs(&scene.check), "%s", scene.check.what);
    check_handed(&scene.check, a, "x", TAG, 10, 1);
    cr_assert(check_logs(&scene.check), "what has no answer may be missing");
    check_acked(&scene.check, a, "x", TAG, 10, 1, CHECK_SEQ, false);
    expect_logs("node 0, x: event 10 of 7 is lost");
}

Test(sim_check_logs, an_event_that_rotted_away)
{
    scene_start(&scene);
    publish(0, 10, true);
    cr_assert(mesh_stop(a, 10 * SIM_S));
    spoil(a, "/node/redex/x/v0000000001/dat", -1);
    mesh_start(a);
    check_excuse(&scene.check, b);
    expect_logs("event 9 of 7 is lost: acknowledged as synced");
}

Test(sim_check_logs, an_event_that_rotted_away_is_excused)
{
    scene_start(&scene);
    publish(0, 10, true);
    cr_assert(mesh_stop(a, 10 * SIM_S));
    spoil(a, "/node/redex/x/v0000000001/dat", -1);
    mesh_start(a);
    check_excuse(&scene.check, a);
    cr_assert(check_logs(&scene.check), "%s", scene.check.what);
}

/* The disk forgets all that was not synced: that takes what was not durable, and no more is excused. */
Test(sim_check_logs, a_power_cut_excuses_what_was_not_durable)
{
    *sim_disk_settings(a->host) = (struct sim_disk_settings){.crash_keep = 0, .crash_tear = 0};
    scene_start(&scene);
    publish(0, 5, true);
    publish(5, 5, false);
    mesh_crash(a);
    mesh_start(a);
    cr_assert(check_logs(&scene.check), "%s", scene.check.what);
    struct holding now;
    cr_assert(holding_read(a, (struct log_key){0, channel_hash("x", 1), 0}, &now));
    cr_assert_eq(now.count, 5, "the cut took the others");
    holding_free(&now);
    scene.check.own->ledgers[0]->sources[0]->acked[1].durable = true;
    expect_logs("event 5 of 7 is lost: acknowledged as synced");
}

Test(sim_check_logs, a_kill_excuses_nothing)
{
    scene_start(&scene);
    publish(0, 5, false);
    mesh_kill(a);
    mesh_start(a);
    cr_assert(check_logs(&scene.check), "%s", scene.check.what);
    scene.check.own->ledgers[0]->sources[0]->acked[0].count++;
    scene.check.own->ledgers[0]->sources[0]->handed++;
    expect_logs("event 5 of 7 is lost");
}

Test(sim_check_logs, a_restart_excuses_what_was_in_memory)
{
    a->config.channel.log = LOG_MEMORY;
    scene_start(&scene);
    publish(0, 5, true);
    mesh_kill(a);
    mesh_start(a);
    publish(5, 5, true);
    cr_assert(check_logs(&scene.check), "%s", scene.check.what);
    scene.check.own->ledgers[0]->sources[0]->acked[0].life++;
    expect_logs("event 0 of 7 is lost");
}

Test(sim_check_logs, an_event_that_nobody_handed_over)
{
    scene_start(&scene);
    publish(0, 5, false);
    mesh_publish(a, "x", TAG, 5, 1, false, SIM_S);
    expect_logs("sequence 5 is an event that nobody handed over");
}

Test(sim_check_logs, an_event_that_is_there_twice)
{
    scene_start(&scene);
    publish(0, 5, false);
    mesh_publish(a, "x", TAG, 4, 1, false, SIM_S);
    expect_logs("event 4 of 7 at 5 stands behind 4 at 4");
}

Test(sim_check_logs, events_out_of_order)
{
    scene_start(&scene);
    check_handed(&scene.check, a, "x", TAG, 0, 5);
    mesh_publish(a, "x", TAG, 3, 2, false, SIM_S);
    mesh_publish(a, "x", TAG, 0, 3, false, SIM_S);
    expect_logs("event 0 of 7 at 2 stands behind 4 at 1");
}

Test(sim_check_logs, an_answer_with_another_sequence)
{
    scene_start(&scene);
    check_handed(&scene.check, a, "x", TAG, 0, 5);
    struct mesh_published p = mesh_publish(a, "x", TAG, 0, 5, false, SIM_S);
    check_acked(&scene.check, a, "x", TAG, 0, 4, p.first_seq + 1, false);
    expect_logs("event 0 of 7 was acknowledged as 1, where event 1 of 7 is");
}

Test(sim_check_logs, a_sequence_that_names_two_events)
{
    scene_start(&scene);
    publish(0, 5, false);
    cr_assert(check_logs(&scene.check));
    scene.check.own->ledgers[0]->seen.all[3].number = 77;
    expect_logs("sequence 3 was event 77 of 7 and is event 3 of 7");
}

Test(sim_check_logs, an_answer_about_something_else)
{
    scene_start(&scene);
    publish(0, 5, false);
    check_acked(&scene.check, a, "x", TAG, 3, 3, CHECK_SEQ, false);
    scene_expect(&scene, "acknowledged event 5 of 7 on x, which was never handed to it");
}

/* What the node believes is one thing; the check goes by what the scenario says. */
static void publish_under_retention(uint64_t events, uint64_t bytes)
{
    a->config.channel.retention_events = events;
    a->config.channel.retention_bytes = bytes;
    scene_start(&scene);
    publish(0, 50, false);
    cr_assert(check_logs(&scene.check), "%s", scene.check.what);
    for (uint64_t i = 0; i < 10; i++)
        publish(50 + 20 * i, 20, false);
    sim_run_for(scene.mesh.sim, SIM_S);
    cr_assert(check_logs(&scene.check), "%s", scene.check.what);
}

Test(sim_check_logs, retention_that_keeps_too_much)
{
    publish_under_retention(100, 0);
    a->config.channel.retention_events = 99;
    expect_logs("keeps 100 events, which are to be 99");
}

Test(sim_check_logs, retention_that_keeps_too_many_bytes)
{
    publish_under_retention(0, 8000);
    a->config.channel.retention_bytes = 7000;
    expect_logs("bytes, which are to be 7000");
}

Test(sim_check_logs, retention_that_keeps_too_little)
{
    publish_under_retention(100, 0);
    a->config.channel.retention_events = 101;
    expect_logs("though more were to be kept");
}

Test(sim_check_logs, retention_where_there_is_none)
{
    publish_under_retention(100, 0);
    a->config.channel.retention_events = 0;
    expect_logs("is lost");
}

/* ---- appends ---- */

Test(sim_check_logs, a_producer_that_is_forgotten)
{
    struct workload_settings settings = {.channel = "x", .to = b, .interval = 20 * SIM_MS, .batch = 2};
    scene_start(&scene);
    struct workload *w = workload_publish(&scene.check, a, &settings);
    sim_run_for(scene.mesh.sim, 5 * SIM_S);
    cr_assert_gt(workload_look(w).acked, 10);
    cr_assert(mesh_stop(b, 10 * SIM_S));
    sim_disk_put(b->host, "/node/redex/x/producers~", (struct cspan){0});
    mesh_start(b);
    sim_run_for(scene.mesh.sim, 60 * SIM_S);
    scene_expect(&scene, "node 1 forgot the producer");
}

Test(sim_check_logs, an_append_that_is_never_answered)
{
    struct workload_settings settings = {.channel = "x", .to = b, .interval = 20 * SIM_MS, .batch = 2};
    scene_start(&scene);
    workload_publish(&scene.check, a, &settings);
    sim_run_for(scene.mesh.sim, 5 * SIM_S);
    mesh_kill(b);
    workload_stop(&scene.check);
    cr_assert_not(workload_finish(&scene.check, 60 * SIM_S));
    scene_expect(&scene, "node 0 has no answer from node 1 about event");
}
