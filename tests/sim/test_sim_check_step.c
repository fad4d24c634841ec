/* Each check of a step, of deliveries, of convergence and of rest fires. */
#include <criterion/criterion.h>
#include <string.h>

#include "shards/peers/contacts.h"
#include "shards/peers/peer.h"
#include "tests/sim/mesh/check_internal.h"
#include "tests/support/check_scene.h"

static struct scene scene;
static struct mesh_node *a, *b;

static void setup(void)
{
    scene_at_rest(&scene, 1);
    a = &scene.mesh.nodes[0];
    b = &scene.mesh.nodes[1];
}

static void end(void)
{
    scene_end(&scene);
}

TestSuite(sim_check_step, .init = setup, .fini = end, .timeout = 120);

static void expect_step(const char *text)
{
    cr_assert_not(check_step(&scene.check));
    scene_expect(&scene, text);
}

static struct shard *first(struct mesh_node *m)
{
    return node_shard(m->node, 0);
}

Test(sim_check_step, a_counter_that_goes_back)
{
    counter_set(&first(a)->metrics.rx_datagrams, 1);
    expect_step("node 0, shard 0: rx_datagrams went from");
}

Test(sim_check_step, a_session_with_another_psk)
{
    b->secrets.psk[0] ^= 1;
    expect_step("which has another psk");
    b->secrets.psk[0] ^= 1;
}

Test(sim_check_step, a_session_with_nobody_of_the_mesh)
{
    b->node_id++;
    expect_step("which is none of this mesh");
}

Test(sim_check_step, a_peer_called_connected_that_is_silent)
{
    sim_run_for(scene.mesh.sim, 120 * SIM_S);
    cr_assert(check_step(&scene.check), "%s", scene.check.what);
    mesh_peer(a, b)->link.last_rx = 0;
    expect_step("calls node");
}

Test(sim_check_step, memory_beyond_its_bounds)
{
    struct shard *s = first(a);
    uint64_t before = s->packets.taken;
    s->packets.taken = a->config.max_unacknowledged + 1;
    cr_assert_not(check_step(&scene.check));
    s->packets.taken = before;
    scene_expect(&scene, "limits.unacknowledged");
}

Test(sim_check_step, reassembly_beyond_its_bounds)
{
    struct shard *s = first(a);
    uint64_t before = s->reassembly.used;
    s->reassembly.used = a->config.reassembly_total + 1;
    cr_assert_not(check_step(&scene.check));
    s->reassembly.used = before;
    scene_expect(&scene, "limits.reassembly");
}

/* ---- what applications are brought ---- */

static void bring(struct mesh_node *to, const char *channel, uint32_t tag, uint64_t number)
{
    uint8_t frame[260];
    size_t len = mesh_event(tag, number, frame + 4);
    store_le32(frame, (uint32_t)len);
    struct netmesh_events e = {channel_hash(channel, strlen(channel)), a->node_id, frame, 4 + len, 1};
    to->hooks.on_events(to->hooks.ctx, first(to)->face, &e);
}

static void expect_brought(const char *text)
{
    cr_assert_not(check_step(&scene.check));
    scene_expect(&scene, text);
}

enum { LIVE = 0x10000 }; /* the tag of the first workload: a/live */

Test(sim_check_step, a_live_event_that_comes_twice)
{
    bring(b, "a/live", LIVE, 300);
    expect_brought("node 1 was brought event 300 of 65536 on a/live twice");
}

Test(sim_check_step, a_live_event_out_of_order)
{
    scene.check.live_in_order = true;
    check_handed(&scene.check, a, "a/new", 9, 0, 10);
    bring(b, "a/new", 9, 5);
    cr_assert(check_step(&scene.check), "%s", scene.check.what);
    bring(b, "a/new", 9, 4);
    expect_brought("event 4 of 9 on a/new after 5");
}

Test(sim_check_step, a_live_event_that_nobody_published)
{
    bring(b, "a/live", 12345, 0);
    expect_brought("that nobody published");
}

Test(sim_check_step, a_live_event_of_another_channel)
{
    bring(b, "a/log", LIVE, 1000000);
    expect_brought("which is for a/live");
}

static void stream(uint64_t number, uint32_t tag, enum netmesh_stream_end how)
{
    uint8_t frame[260];
    size_t len = mesh_event(tag, number, frame + 4);
    store_le32(frame, (uint32_t)len);
    struct netmesh_stream_events e = {.peer = a->node_id,
                                      .stream = 5,
                                      .frames = frame,
                                      .len = 4 + len,
                                      .count = 1,
                                      .mode = NETMESH_RELIABLE,
                                      .end = how};
    b->hooks.on_stream(b->hooks.ctx, first(b)->face, &e);
}

Test(sim_check_step, a_reliable_stream_out_of_order)
{
    check_streamed(&scene.check, a, b, 5, 20, 3);
    stream(0, 20, NETMESH_STREAM_GOES_ON);
    cr_assert(check_step(&scene.check), "%s", scene.check.what);
    stream(2, 20, NETMESH_STREAM_GOES_ON);
    expect_brought("event 2 of stream 5 (20)");
}

Test(sim_check_step, a_reliable_stream_that_repeats)
{
    check_streamed(&scene.check, a, b, 5, 20, 3);
    stream(0, 20, NETMESH_STREAM_GOES_ON);
    stream(0, 20, NETMESH_STREAM_GOES_ON);
    expect_brought("event 0 of stream 5 (20)");
}

Test(sim_check_step, a_reliable_stream_that_ends_early)
{
    struct netmesh_stream handle = {.peer = b->node_id, .id = 5};
    check_streamed(&scene.check, a, b, 5, 20, 3);
    a->hooks.on_stream_end(a->hooks.ctx, first(a)->face, &handle, 0);
    expect_brought("ended well after 0 of 3 events");
}

/* ---- convergence, drops and rest ---- */

Test(sim_check_step, a_mesh_that_does_not_converge)
{
    mesh_kill(b);
    mesh_start(b);
    sim_cut(scene.mesh.sim, a->host, b->host, true);
    cr_assert_not(check_converges(&scene.check, 5 * SIM_S));
    scene_expect(&scene, "connected to node");
}

Test(sim_check_step, a_subscription_that_is_gone)
{
    cr_assert_eq(mesh_ask_unsubscribe(b, "a/log", a, 5 * SIM_S), 0);
    cr_assert_not(check_converges(&scene.check, 2 * SIM_S));
    scene_expect(&scene, "node 1 does not ask for a/log any more");
}

Test(sim_check_step, a_follower_that_falls_behind)
{
    sim_cut(scene.mesh.sim, a->host, b->host, true);
    check_publish(&scene.check, a, "a/log", 30, 0, 5, false, SIM_S);
    cr_assert_not(check_converges(&scene.check, 2 * SIM_S));
    scene_expect(&scene, "has a/log of node 0 up to");
}

Test(sim_check_step, a_datagram_without_an_end)
{
    counter_add(&first(a)->metrics.rx_datagrams, 1);
    cr_assert_not(check_drops(&scene.check));
    scene_expect(&scene, "node 0 was handed");
}

Test(sim_check_step, a_drop_that_is_not_counted)
{
    struct shard *s = first(a);
    counter_set(&s->metrics.rx_packets, counter_get(&s->metrics.rx_packets) - 100);
    cr_assert_not(check_drops(&scene.check));
    scene_expect(&scene, "have an end that is counted");
}

Test(sim_check_step, an_event_that_came_and_went_nowhere)
{
    counter_add(&first(b)->metrics.rx_events, 1);
    cr_assert_not(check_drops(&scene.check));
    scene_expect(&scene, "node 1 got");
}

Test(sim_check_step, a_send_that_is_not_counted)
{
    counter_add(&first(a)->metrics.tx_datagrams, 5);
    cr_assert_not(check_drops(&scene.check));
    scene_expect(&scene, "node 0 counts");
}

static void retransmit(void *ctx)
{
    COUNT((struct shard *)ctx, packets_retransmitted);
}

Test(sim_check_step, something_that_is_sent_again_at_rest)
{
    sim_call_at(scene.mesh.sim, sim_now(scene.mesh.sim) + SIM_S, retransmit, first(a));
    cr_assert_not(check_quiet(&scene.check, 0));
    scene_expect(&scene, "at rest, node 0: packets_retransmitted went from");
}

static void drop(void *ctx)
{
    COUNT((struct shard *)ctx, drop_auth);
}

Test(sim_check_step, something_that_is_dropped_at_rest)
{
    sim_call_at(scene.mesh.sim, sim_now(scene.mesh.sim) + SIM_S, drop, first(a));
    cr_assert_not(check_quiet(&scene.check, 0));
    scene_expect(&scene, "at rest, node 0 dropped 1 things");
}
