/* Wake-ups: no shard sleeps while it has something to do, and none turns for nothing. */
#include <criterion/criterion.h>
#include <errno.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/node/mailbox.h"
#include "shards/logs/view.h"
#include "tests/support/mesh_expect.h"

static struct mesh mesh;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_wake, .fini = end, .timeout = 120);

/* A channel of that prefix that this shard of the node owns. */
static void owned_by(const struct mesh_node *m, unsigned shard, const char *prefix, char out[32])
{
    for (unsigned i = 0; i < 1000; i++) {
        text_format(out, 32, "%s/%u", prefix, i);
        if (channel_hash(out, strlen(out)) % m->config.shards == shard)
            return;
    }
    cr_assert_fail("no channel of shard %u", shard);
}

static uint64_t turns(struct mesh_node *m, unsigned shard)
{
    return counter_get(&node_shard(m->node, shard)->metrics.turns);
}

static void start_all(void)
{
    for (unsigned i = 0; i < mesh.count; i++)
        mesh_start(&mesh.nodes[i]);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
}

Test(sim_wake, an_idle_mesh_hardly_turns)
{
    mesh_init(&mesh, 1);
    struct mesh_node *a = mesh_add(&mesh, 3), *b = mesh_add(&mesh, 2);
    mesh_know(a, b);
    mesh_know(b, a);
    mesh_subscribe(b, "idle", a);
    start_all();
    cr_assert(mesh_subscribed(b, "idle", 10 * SIM_S));
    expect_published(a, "idle", 1, 0, 100, false);
    sim_run_for(mesh.sim, 5 * SIM_S);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t before = turns(a, i);
        sim_run_for(mesh.sim, 20 * SIM_S);
        uint64_t most = i == 0 ? 300 : 60; /* shard 0 looks ten times a second whether another thread wants a stop */
        cr_assert_leq(turns(a, i) - before, most, "shard %u: %lu turns in 20 s", i, turns(a, i) - before);
    }
}

Test(sim_wake, a_backlog_larger_than_the_ring_between_shards_arrives)
{
    enum { CHANNELS = 12, EVENTS = 1500 };
    char channels[CHANNELS][32];
    mesh_init(&mesh, 2);
    struct mesh_node *a = mesh_add(&mesh, 2), *b = mesh_add(&mesh, 1);
    a->config.ring_bytes = 1 << 20;
    mesh_know(a, b);
    mesh_know(b, a);
    unsigned from = 0;
    for (int i = 0; i < CHANNELS; i++) { /* all of the shard that is not the peer's home */
        do
            text_format(channels[i], sizeof channels[i], "backlog/%u", from++);
        while (channel_hash(channels[i], strlen(channels[i])) % 2 == 0);
        mesh_subscribe(b, channels[i], a);
    }
    start_all();
    cr_assert_eq(mesh_peer(a, b)->shard->index, 0);
    for (int i = 0; i < CHANNELS; i++)
        cr_assert(mesh_subscribed(b, channels[i], 10 * SIM_S));
    sim_cut(mesh.sim, a->host, b->host, true);
    sim_run_for(mesh.sim, 25 * SIM_S); /* silent: nobody sends to it */
    for (int i = 0; i < CHANNELS; i++)
        expect_published(a, channels[i], 1, 0, EVENTS, false);
    sim_cut(mesh.sim, a->host, b->host, false);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    sim_run_for(mesh.sim, 20 * SIM_S);
    for (int i = 0; i < CHANNELS; i++) {
        struct mesh_log log = mesh_read(b, channels[i], a, 10 * SIM_S);
        cr_assert_eq(log.err, NET_OK, "%s: %s", channels[i], net_err_name(log.err));
        cr_assert_eq(log.count, EVENTS, "%s: %zu", channels[i], log.count);
        mesh_log_free(&log);
    }
}

Test(sim_wake, what_waited_for_room_in_a_ring_leaves_when_there_is_room)
{
    mesh_init(&mesh, 3);
    struct mesh_node *a = mesh_add(&mesh, 3);
    mesh_start(a);
    sim_run_for(mesh.sim, SIM_S);
    struct shard *from = node_shard(a->node, 1);
    struct msg_route m = {.node_id = 1}; /* takes away a route that is not there */
    while (from->parked_count < 10)
        mailbox_send(from, 2, MSG_ROUTE, 0, 0, &m, sizeof m);
    sim_host_poke(a->host, 1);
    sim_run_for(mesh.sim, 50 * SIM_MS);
    cr_assert_eq(from->parked_count, 0);
    uint64_t before = turns(a, 1);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_leq(turns(a, 1) - before, 10);
}

/* A short message would fit where a long one waits for room: it waits, too. */
Test(sim_wake, what_waits_for_room_in_a_ring_is_not_overtaken)
{
    mesh_init(&mesh, 5);
    struct mesh_node *a = mesh_add(&mesh, 3);
    mesh_start(a);
    sim_run_for(mesh.sim, SIM_S);
    struct shard *from = node_shard(a->node, 1);
    struct msg_route m = {.node_id = 1}; /* takes away a route that is not there */
    uint8_t padding[1000] = {0};
    while (mailbox_try(from, 2, MSG_ROUTE, 0, 0, &m, sizeof m, padding, sizeof padding))
        ;
    cr_assert_gt(mailbox_room(from, 2), sizeof m, "there is room for a short one");
    uint8_t longer[sizeof m + sizeof padding] = {0};
    memcpy(longer, &m, sizeof m);
    mailbox_send(from, 2, MSG_ROUTE, 0, 0, longer, sizeof longer);
    cr_assert_eq(from->parked_count, 1);
    cr_assert_not(mailbox_try(from, 2, MSG_ROUTE, 0, 0, &m, sizeof m, NULL, 0));
    sim_host_poke(a->host, 2);
    sim_host_poke(a->host, 1);
    sim_run_for(mesh.sim, 50 * SIM_MS);
    cr_assert_eq(from->parked_count, 0);
    cr_assert(mailbox_try(from, 2, MSG_ROUTE, 0, 0, &m, sizeof m, NULL, 0));
}

static const struct sim_fault ONE_FAILED_WRITE = {.kinds = 1 << IO_WRITE, .suffix = "dat", .error = EIO, .times = 1};

Test(sim_wake, a_failed_write_is_tried_again_on_a_shard_that_has_nothing_else_to_do)
{
    char channel[32];
    mesh_init(&mesh, 4);
    struct mesh_node *a = mesh_add(&mesh, 2);
    mesh_start(a);
    owned_by(a, 1, "disk", channel);
    expect_published(a, channel, 1, 0, 1, false);
    sim_run_for(mesh.sim, SIM_S);
    sim_disk_fault(a->host, &ONE_FAILED_WRITE);
    uint64_t start = sim_now(mesh.sim);
    expect_published(a, channel, 1, 1, 10, false);
    cr_assert_lt(sim_now(mesh.sim) - start, SIM_S);
}

Test(sim_wake, a_grant_owed_to_a_silent_peer_costs_no_turns)
{
    mesh_init(&mesh, 5);
    struct mesh_node *a = mesh_add(&mesh, 1), *b = mesh_add(&mesh, 1);
    mesh_know(b, a);
    mesh_subscribe(b, "grants", a);
    start_all();
    cr_assert(mesh_subscribed(b, "grants", 10 * SIM_S));
    expect_published(a, "grants", 1, 0, 10, false);
    sim_run_for(mesh.sim, SIM_S);
    sim_cut(mesh.sim, a->host, b->host, true);
    sim_run_for(mesh.sim, 30 * SIM_S);
    struct peer *p = mesh_peer(b, a);
    struct stream *st = map_get(&p->streams, channel_stream_id(channel_hash("grants", 6)));
    cr_assert_not_null(st);
    stream_consumed(p, st, 100000); /* what a disk that was slow for half a minute says */
    sim_host_poke(b->host, 0);
    uint64_t before = turns(b, 0);
    sim_run_for(mesh.sim, 10 * SIM_S);
    cr_assert_leq(turns(b, 0) - before, 400, "%lu turns in 10 s", turns(b, 0) - before);
    sim_cut(mesh.sim, a->host, b->host, false);
    uint64_t granted = MESH_COUNT(b, grants_sent);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_gt(MESH_COUNT(b, grants_sent), granted, "it is not forgotten");
}

Test(sim_wake, a_channel_without_a_log_stops_waiting_for_a_stalled_reader)
{
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        char channel[32];
        if (shards > 1)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 6);
        struct mesh_node *a = mesh_add(&mesh, shards), *b = mesh_add(&mesh, 1);
        a->config.channel.log = b->config.channel.log = LOG_NONE;
        a->config.log_none_bytes = 512 << 10;
        mesh_know(b, a);
        owned_by(a, shards - 1, "none", channel);
        mesh_subscribe(b, channel, a);
        start_all();
        cr_assert(mesh_subscribed(b, channel, 10 * SIM_S));
        sim_cut(mesh.sim, a->host, b->host, true);
        uint64_t start = sim_now(mesh.sim), before = MESH_COUNT(a, turns);
        expect_published(a, channel, 1, 0, 30000, false); /* 3 MB, more than window and ring */
        uint64_t took = sim_now(mesh.sim) - start;
        cr_assert_lt(took, 4 * SIM_S, "%u shards: %lu ms", shards, took / SIM_MS);
        cr_assert_leq(MESH_COUNT(a, turns) - before, 20000, "%lu turns", MESH_COUNT(a, turns) - before);
    }
}

struct rtt_look {
    uint64_t rtt_ns;
};

static void on_peer(void *ctx, const struct peer_row *row)
{
    if (row->has_rtt)
        ((struct rtt_look *)ctx)->rtt_ns = row->rtt_ns;
}

Test(sim_wake, the_round_trip_is_measured_from_when_the_answer_came)
{
    mesh_init(&mesh, 7);
    sim_settings(mesh.sim)->link.delay = (struct sim_range){73 * SIM_MS, 73 * SIM_MS};
    struct mesh_node *a = mesh_add(&mesh, 2), *b = mesh_add(&mesh, 1);
    mesh_know(b, a);
    start_all();
    struct rtt_look look = {0};
    node_each_peer(b->node, on_peer, &look);
    cr_assert_geq(look.rtt_ns, 146 * SIM_MS, "%lu us", look.rtt_ns / 1000);
    cr_assert_leq(look.rtt_ns, 150 * SIM_MS, "%lu us", look.rtt_ns / 1000);
}
