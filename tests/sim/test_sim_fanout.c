/* Many channels, many subscribers, many shards in the simulated world: nobody is forgotten, nobody waits for another.
 */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/logs/view.h"
#include "tests/support/mesh_expect.h"

static struct mesh mesh;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_fanout, .fini = end, .timeout = 120);

/* What a subscriber holds is [from, to) of the tag, in order and once. */
static void check_holds(struct mesh_node *m, const char *channel, const struct mesh_node *origin, uint32_t tag,
                        uint64_t from, uint64_t to)
{
    struct mesh_log log = mesh_read(m, channel, origin, 10 * SIM_S);
    cr_assert_eq(log.err, NET_OK, "node %u, %s: %s", m->number, channel, net_err_name(log.err));
    cr_assert_eq(log.count, to - from, "node %u, %s: %zu of %lu events", m->number, channel, log.count, to - from);
    for (size_t i = 0; i < log.count; i++) {
        cr_assert_eq(log.entries[i].tag, tag);
        cr_assert_eq(log.entries[i].number, from + i);
    }
    mesh_log_free(&log);
}

static void start_all(void)
{
    for (unsigned i = 0; i < mesh.count; i++)
        mesh_start(&mesh.nodes[i]);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
}

Test(sim_fanout, a_peer_with_many_channels_gets_each_of_them_at_once)
{
    enum { CHANNELS = 12 };
    char channels[CHANNELS][32];
    mesh_init(&mesh, 1);
    struct mesh_node *a = mesh_add(&mesh, 1), *b = mesh_add(&mesh, 1);
    mesh_know(b, a);
    for (int i = 0; i < CHANNELS; i++) {
        text_format(channels[i], sizeof channels[i], "many/%d", i);
        mesh_subscribe(b, channels[i], a);
    }
    start_all();
    for (int i = 0; i < CHANNELS; i++)
        cr_assert(mesh_subscribed(b, channels[i], 10 * SIM_S));
    for (int i = 0; i < CHANNELS; i++) { /* one has news, the others have none */
        expect_published(a, channels[i], 1, 0, 5, false);
        sim_run_for(mesh.sim, 10 * SIM_MS);
        check_holds(b, channels[i], a, 1, 0, 5);
    }
}

Test(sim_fanout, a_subscriber_without_credit_costs_its_publisher_no_turns)
{
    for (unsigned shards = 1; shards <= 2; shards++) {
        if (shards > 1)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 2);
        struct mesh_node *a = mesh_add(&mesh, shards), *b = mesh_add(&mesh, 1), *c = mesh_add(&mesh, 1);
        mesh_know(b, a);
        mesh_know(c, a);
        mesh_subscribe(b, "busy", a);
        mesh_subscribe(c, "busy", a); /* with two shards one of them lives on the other shard than the log */
        start_all();
        cr_assert(mesh_subscribed(b, "busy", 10 * SIM_S) && mesh_subscribed(c, "busy", 10 * SIM_S));
        sim_cut(mesh.sim, a->host, b->host, true);
        sim_cut(mesh.sim, a->host, c->host, true);
        expect_published(a, "busy", 1, 0, 30000, false); /* more than a window */
        sim_run_for(mesh.sim, SIM_S);                    /* what the windows hold leaves paced */
        uint64_t before = MESH_COUNT(a, turns);
        sim_run_for(mesh.sim, 5 * SIM_S);
        cr_assert_leq(MESH_COUNT(a, turns) - before, 1000 * shards, "%lu turns in 5 s", MESH_COUNT(a, turns) - before);
    }
}
