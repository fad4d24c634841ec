/* Whole nodes in the simulated world: sessions, channels and logs under loss, restarts, crashes and a hostile seam. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "shards/logs/view.h"
#include "tests/support/mesh_expect.h"

static const char CHANNEL[] = "sensors/lidar";

static struct mesh mesh;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_node, .fini = end, .timeout = 120);

/* What a subscriber holds: every event whole, in order, none twice, none that was not published. */
static void check_received(const struct mesh_log *log, uint32_t tag, uint64_t published)
{
    cr_assert_eq(log->err, NET_OK, "%s", net_err_name(log->err));
    for (size_t i = 0; i < log->count; i++) {
        cr_assert_eq(log->entries[i].tag, tag);
        cr_assert_lt(log->entries[i].number, published);
        if (i)
            cr_assert_gt(log->entries[i].number, log->entries[i - 1].number);
    }
}

static void check_complete(struct mesh_node *m, const struct mesh_node *origin, uint32_t tag, uint64_t published)
{
    struct mesh_log log = mesh_read(m, CHANNEL, origin, 10 * SIM_S);
    check_received(&log, tag, published);
    cr_assert_eq(log.count, published);
    cr_assert_eq(log.gaps, 0);
    mesh_log_free(&log);
}

static uint64_t drops(struct mesh_node *m)
{
    return MESH_COUNT(m, drop_lost) + MESH_COUNT(m, drop_ring_full) + MESH_COUNT(m, drop_log_full) +
           MESH_COUNT(m, drop_lag) + MESH_COUNT(m, drop_unsubscribed) + MESH_COUNT(m, drop_auth) +
           MESH_COUNT(m, drop_replay) + MESH_COUNT(m, drop_send);
}

/* Two nodes that know each other; b subscribes to a's channel. */
static void pair(uint64_t seed, unsigned shards_a, unsigned shards_b, struct mesh_node **a, struct mesh_node **b)
{
    mesh_init(&mesh, seed);
    *a = mesh_add(&mesh, shards_a);
    *b = mesh_add(&mesh, shards_b);
    mesh_know(*a, *b);
    mesh_know(*b, *a);
    mesh_subscribe(*b, CHANNEL, *a);
}

static void start_pair(struct mesh_node *a, struct mesh_node *b)
{
    mesh_start(a);
    mesh_start(b);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
    cr_assert(mesh_subscribed(b, CHANNEL, 30 * SIM_S));
}

Test(sim_node, events_arrive_complete_and_in_order_whatever_the_number_of_shards)
{
    for (unsigned shards = 1; shards <= 4; shards++) {
        struct mesh_node *a, *b;
        if (shards > 1)
            mesh_deinit(&mesh);
        pair(shards, shards, 5 - shards, &a, &b);
        start_pair(a, b);
        expect_published(a, CHANNEL, 1, 0, 5000, false);
        sim_run_for(mesh.sim, SIM_S);
        check_complete(a, NULL, 1, 5000);
        check_complete(b, a, 1, 5000);
        cr_assert_eq(drops(a) + drops(b), 0);
        cr_assert(mesh_stop(a, 10 * SIM_S));
        cr_assert(mesh_stop(b, 10 * SIM_S));
    }
}

Test(sim_node, the_same_seed_gives_the_same_run)
{
    uint64_t hash[3];
    for (int i = 0; i < 3; i++) {
        struct mesh_node *a, *b;
        if (i)
            mesh_deinit(&mesh);
        pair(i < 2 ? 77 : 78, 2, 3, &a, &b);
        sim_settings(mesh.sim)->coalesce = SIM_ALWAYS / 2;
        start_pair(a, b);
        expect_published(a, CHANNEL, 1, 0, 500, true);
        sim_run_for(mesh.sim, SIM_S);
        hash[i] = sim_trace_hash(mesh.sim);
    }
    cr_assert_eq(hash[0], hash[1]);
    cr_assert_neq(hash[0], hash[2]);
}

static void make_lossy(struct mesh_node *a, struct mesh_node *b, uint32_t loss)
{
    struct sim_link *links[] = {sim_link(mesh.sim, a->host, b->host), sim_link(mesh.sim, b->host, a->host)};
    for (int i = 0; i < 2; i++) {
        links[i]->loss = loss;
        links[i]->duplicate = loss;
        links[i]->reorder = loss;
        links[i]->delay = (struct sim_range){SIM_MS, 20 * SIM_MS};
    }
}

Test(sim_node, under_loss_what_arrives_is_whole_and_never_twice)
{
    struct mesh_node *a, *b;
    pair(3, 2, 2, &a, &b);
    make_lossy(a, b, 50000);
    start_pair(a, b);
    expect_published(a, CHANNEL, 1, 0, 20000, false);
    sim_run_for(mesh.sim, 20 * SIM_S);
    struct mesh_log log = mesh_read(b, CHANNEL, a, 10 * SIM_S);
    cr_assert_eq(log.err, NET_OK);
    cr_assert_gt(log.count, 20000 * 8 / 10);
    /* Fire and forget: reordering is the network's. But nothing comes twice, and nothing is made up. */
    static uint8_t seen[20000];
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < log.count; i++) {
        cr_assert_eq(log.entries[i].tag, 1);
        cr_assert_lt(log.entries[i].number, 20000);
        cr_assert_eq(seen[log.entries[i].number]++, 0);
    }
    mesh_log_free(&log);
    cr_assert_gt(MESH_COUNT(b, drop_lost), 0);
    cr_assert_gt(MESH_COUNT(b, drop_replay), 0, "duplicates are refused by the window");
}

Test(sim_node, a_receiver_that_was_killed_comes_back_and_subscribes_by_itself)
{
    struct mesh_node *a, *b;
    pair(4, 1, 2, &a, &b);
    start_pair(a, b);
    expect_published(a, CHANNEL, 1, 0, 1000, false);
    sim_run_for(mesh.sim, SIM_S);
    mesh_kill(b);
    expect_published(a, CHANNEL, 1, 1000, 100, false); /* missed: nothing fetches it in this version */
    mesh_start(b);
    cr_assert(mesh_subscribed(b, CHANNEL, 60 * SIM_S));
    expect_published(a, CHANNEL, 1, 1100, 1000, false);
    sim_run_for(mesh.sim, 2 * SIM_S);
    struct mesh_log log = mesh_read(b, CHANNEL, a, 10 * SIM_S);
    check_received(&log, 1, 2100);
    cr_assert_geq(log.count, 2000);
    cr_assert_eq(log.entries[999].number, 999, "what was stored before the kill is there");
    cr_assert_eq(log.entries[log.count - 1].number, 2099);
    mesh_log_free(&log);
}

Test(sim_node, a_publisher_that_was_killed_has_everything_it_acknowledged)
{
    struct mesh_node *a, *b;
    pair(5, 2, 1, &a, &b);
    start_pair(a, b);
    expect_published(a, CHANNEL, 1, 0, 3000, false);
    mesh_kill(a);
    mesh_start(a);
    cr_assert(mesh_settle(&mesh, 120 * SIM_S));
    check_complete(a, NULL, 1, 3000);
    cr_assert(mesh_subscribed(b, CHANNEL, 60 * SIM_S));
    sim_run_for(mesh.sim, 6 * SIM_S);
    expect_published(a, CHANNEL, 1, 3000, 500, false);
    sim_run_for(mesh.sim, SIM_S);
    struct mesh_log log = mesh_read(b, CHANNEL, a, 10 * SIM_S);
    check_received(&log, 1, 3500);
    cr_assert_eq(log.entries[log.count - 1].number, 3499);
    mesh_log_free(&log);
}

Test(sim_node, durable_events_survive_power_loss)
{
    for (uint64_t seed = 100; seed < 130; seed++) {
        struct mesh_node *a, *b;
        if (seed > 100)
            mesh_deinit(&mesh);
        pair(seed, 2, 1, &a, &b);
        start_pair(a, b);
        expect_published(a, CHANNEL, 1, 0, 200, true);
        struct mesh_published more =
            mesh_publish(a, CHANNEL, 1, 200, 5000, false, sim_random_below(mesh.sim, 200) * SIM_MS);
        mesh_crash(a);
        mesh_start(a);
        struct mesh_log log = mesh_read(a, CHANNEL, NULL, 10 * SIM_S);
        check_received(&log, 1, 5200);
        cr_assert_geq(log.count, 200, "seed %lu: %zu of 200 durable events, %lu more acknowledged", seed, log.count,
                      more.events);
        for (size_t i = 0; i < 200; i++)
            cr_assert_eq(log.entries[i].number, i);
        uint64_t last = log.entries[log.count - 1].seq;
        mesh_log_free(&log);
        struct mesh_published p = mesh_publish(a, CHANNEL, 2, 0, 10, true, 10 * SIM_S);
        cr_assert_eq(p.err, NET_OK);
        cr_assert_gt(p.first_seq, last);
        cr_assert_geq(p.first_seq, 200 + more.events, "an acknowledged sequence names one event for ever");
    }
}

Test(sim_node, both_dial_at_the_same_moment_and_one_session_stays)
{
    for (uint64_t seed = 200; seed < 230; seed++) {
        struct mesh_node *a, *b;
        if (seed > 200)
            mesh_deinit(&mesh);
        pair(seed, 1, 2, &a, &b);
        uint64_t delay = 1 + sim_random_below(mesh.sim, 300) * SIM_MS;
        sim_link(mesh.sim, a->host, b->host)->delay = (struct sim_range){delay, delay};
        sim_link(mesh.sim, b->host, a->host)->delay = (struct sim_range){delay, delay};
        start_pair(a, b);
        sim_run_for(mesh.sim, 10 * SIM_S);
        cr_assert(mesh_connected(a, b) && mesh_connected(b, a));
        expect_published(a, CHANNEL, 1, 0, 100, false);
        sim_run_for(mesh.sim, SIM_S);
        check_complete(b, a, 1, 100);
        cr_assert(MESH_COUNT(a, gauge_sessions) == 1 && MESH_COUNT(b, gauge_sessions) == 1); /* session.md 20.23 */
    }
}

Test(sim_node, a_hostile_seam_loses_nothing)
{
    for (uint64_t seed = 300; seed < 310; seed++) {
        struct mesh_node *a, *b;
        if (seed > 300)
            mesh_deinit(&mesh);
        pair(seed, 3, 4, &a, &b);
        struct sim_settings *s = sim_settings(mesh.sim);
        s->missteer = SIM_ALWAYS / 4;
        s->coalesce = SIM_ALWAYS / 2;
        s->send_again = SIM_ALWAYS / 10;
        s->short_io = SIM_ALWAYS / 4;
        s->multishot_end = SIM_ALWAYS / 10;
        start_pair(a, b);
        expect_published(a, CHANNEL, 1, 0, 3000, false);
        sim_run_for(mesh.sim, 2 * SIM_S);
        check_complete(a, NULL, 1, 3000);
        struct mesh_log log = mesh_read(b, CHANNEL, a, 10 * SIM_S);
        cr_assert_eq(log.err, NET_OK);
        cr_assert_eq(log.count, 3000, "seed %lu", seed);
        mesh_log_free(&log);
        cr_assert_gt(MESH_COUNT(b, passed_on), 0);
    }
}

Test(sim_node, a_long_outage_heals_and_the_same_incarnation_goes_on_where_it_was)
{
    struct mesh_node *a, *b;
    pair(6, 2, 2, &a, &b);
    start_pair(a, b);
    expect_published(a, CHANNEL, 1, 0, 100, false);
    sim_run_for(mesh.sim, SIM_S);
    sim_cut(mesh.sim, a->host, b->host, true);
    expect_published(a, CHANNEL, 1, 100, 100, false);
    sim_run_for(mesh.sim, 60 * SIM_S);
    cr_assert_not(mesh_connected(a, b), "three silent intervals are noticed");
    expect_published(a, CHANNEL, 1, 200, 100, false);
    sim_cut(mesh.sim, a->host, b->host, false);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    sim_run_for(mesh.sim, 10 * SIM_S);
    struct mesh_log log = mesh_read(b, CHANNEL, a, 10 * SIM_S);
    check_received(&log, 1, 300);
    cr_assert_eq(log.entries[log.count - 1].number, 299);
    cr_assert_geq(log.count, 200, "only what was in flight when the line went is lost");
    mesh_log_free(&log);
}

Test(sim_node, a_peer_that_roams_is_followed)
{
    struct mesh_node *a, *b;
    pair(7, 1, 1, &a, &b);
    a->peers[0].has_addr = true;
    start_pair(a, b);
    struct io_addr moved = sim_host_addr(b->host);
    moved.port = 4444;
    sim_host_set_addr(b->host, &moved);
    sim_run_for(mesh.sim, 12 * SIM_S); /* b's next heartbeat comes from the new address */
    expect_published(a, CHANNEL, 1, 0, 100, false);
    sim_run_for(mesh.sim, SIM_S);
    check_complete(b, a, 1, 100);
}

Test(sim_node, an_unlisted_node_with_a_proven_entity_is_let_in_unless_only_listed_ones_are)
{
    for (int listed = 0; listed < 2; listed++) {
        if (listed)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 8);
        struct mesh_node *a = mesh_add(&mesh, 2), *b = mesh_add(&mesh, 1);
        a->config.peers = listed ? PEERS_LISTED : PEERS_ANY;
        mesh_know(b, a);
        mesh_subscribe(b, CHANNEL, a);
        mesh_start(a);
        mesh_start(b);
        cr_assert_eq(mesh_settle(&mesh, 20 * SIM_S), !listed);
        cr_assert_eq(MESH_COUNT(a, drop_handshake_policy) > 0, listed);
    }
}

Test(sim_node, a_wrong_psk_never_passes_the_gate)
{
    mesh_init(&mesh, 9);
    struct mesh_node *a = mesh_add(&mesh, 1), *b = mesh_add(&mesh, 1);
    mesh_know(b, a);
    b->secrets.psk[0] ^= 1;
    mesh_start(a);
    mesh_start(b);
    cr_assert_not(mesh_settle(&mesh, 20 * SIM_S));
    cr_assert_gt(MESH_COUNT(a, drop_gate), 0);
    cr_assert_eq(MESH_COUNT(a, handshakes_answered), 0);
}

Test(sim_node, v019_sessions_between_compat_entries_carry_events_both_modes)
{
    for (int mode = 0; mode < 2; mode++) {
        struct mesh_node *a, *b;
        if (mode)
            mesh_deinit(&mesh);
        pair(10 + (uint64_t)mode, 3, 2, &a, &b);
        a->peers[0].compat = b->peers[0].compat = PEER_V019;
        a->peers[0].has_addr = a->peers[0].has_key = false; /* inbound only: b dials */
        a->peers[0].mode = b->peers[0].mode = mode ? PEER_MODE_DIRECT : PEER_MODE_ROUTED;
        start_pair(a, b);
        expect_published(a, CHANNEL, 1, 0, 2000, false);
        sim_run_for(mesh.sim, 3 * SIM_S);
        check_complete(b, a, 1, 2000);
        cr_assert_gt(MESH_COUNT(a, compat_sessions), 0);
    }
}

Test(sim_node, a_secure_node_refuses_a_v019_session_that_no_entry_allows)
{
    mesh_init(&mesh, 12);
    struct mesh_node *a = mesh_add(&mesh, 1), *b = mesh_add(&mesh, 1), *c = mesh_add(&mesh, 1);
    mesh_know(b, a);
    mesh_know(c, a);
    b->peers[0].compat = c->peers[0].compat = PEER_V019;
    mesh_start(a);
    mesh_start(b);
    sim_run_for(mesh.sim, 20 * SIM_S);
    cr_assert_not(mesh_connected(b, a));
    cr_assert_gt(MESH_COUNT(a, drop_gate), 0);
    mesh_kill(a);
    a->config.sessions = SESSIONS_COMPAT;
    mesh_start(a);
    mesh_start(c);
    cr_assert(mesh_settle(&mesh, 20 * SIM_S), "security.sessions: compat lets it in");
}

Test(sim_node, events_cross_a_relay_that_cannot_read_them)
{
    mesh_init(&mesh, 13);
    struct mesh_node *a = mesh_add(&mesh, 2), *relay = mesh_add(&mesh, 2), *c = mesh_add(&mesh, 1);
    mesh_know(relay, c);
    mesh_know(a, relay);
    mesh_know(a, c); /* but by way of the relay */
    a->peers[1].addr = sim_host_addr(relay->host);
    mesh_subscribe(a, CHANNEL, c);
    sim_cut(mesh.sim, a->host, c->host, true);
    mesh_start(relay);
    mesh_start(c);
    sim_run_for(mesh.sim, 2 * SIM_S);
    mesh_start(a);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    cr_assert(mesh_subscribed(a, CHANNEL, 30 * SIM_S));
    expect_published(c, CHANNEL, 1, 0, 500, false);
    sim_run_for(mesh.sim, 20 * SIM_S);
    check_complete(a, c, 1, 500);
    cr_assert_gt(MESH_COUNT(relay, relayed), 10);
    cr_assert(mesh_connected(a, c), "heartbeats cross the relay too");
}

/* A world of its own for each seed: topology, faults, restarts. What must hold holds at the end. */
static void swarm(uint64_t seed)
{
    mesh_init(&mesh, seed);
    struct sim *sim = mesh.sim;
    struct mesh_node *a = mesh_add(&mesh, 1 + (unsigned)sim_random_below(sim, 3));
    struct mesh_node *b = mesh_add(&mesh, 1 + (unsigned)sim_random_below(sim, 3));
    mesh_know(b, a);
    if (sim_random_below(sim, 2))
        mesh_know(a, b);
    mesh_subscribe(b, CHANNEL, a);
    struct sim_settings *s = sim_settings(sim);
    s->missteer = (uint32_t)sim_random_below(sim, SIM_ALWAYS / 4);
    s->coalesce = (uint32_t)sim_random_below(sim, SIM_ALWAYS);
    s->send_again = (uint32_t)sim_random_below(sim, SIM_ALWAYS / 8);
    s->short_io = (uint32_t)sim_random_below(sim, SIM_ALWAYS / 4);
    s->multishot_end = (uint32_t)sim_random_below(sim, SIM_ALWAYS / 8);
    make_lossy(a, b, (uint32_t)sim_random_below(sim, 100000));
    mesh_start(a);
    mesh_start(b);
    uint64_t next = 0, durable = 0, last_acked_seq = 0;
    for (int round = 0; round < 6; round++) {
        bool sync = sim_random_below(sim, 2);
        struct mesh_published p = mesh_publish(a, CHANNEL, 1, next, 1 + sim_random_below(sim, 2000), sync, 30 * SIM_S);
        cr_assert_eq(p.err, NET_OK, "seed %lu: %s", seed, net_err_name(p.err));
        cr_assert(round == 0 || p.first_seq > last_acked_seq, "seed %lu", seed);
        last_acked_seq = p.first_seq + p.events - 1;
        next += p.events;
        if (sync)
            durable = next;
        sim_run_for(sim, sim_random_below(sim, 5 * SIM_S));
        struct mesh_node *victim = sim_random_below(sim, 2) ? a : b;
        uint64_t what = sim_random_below(sim, 4);
        if (what == 0) {
            mesh_kill(victim);
            mesh_start(victim);
        } else if (what == 1) {
            mesh_crash(victim);
            if (victim == a)
                next = 1000000 * (uint64_t)(round + 1); /* numbers that a crash lost are not published again */
            mesh_start(victim);
        } else if (what == 2) {
            cr_assert(mesh_stop(victim, 30 * SIM_S), "seed %lu", seed);
            mesh_start(victim);
        }
        (void)durable;
    }
    sim_run_for(sim, 30 * SIM_S);
    struct mesh_log own = mesh_read(a, CHANNEL, NULL, 10 * SIM_S), got = mesh_read(b, CHANNEL, a, 10 * SIM_S);
    cr_assert_eq(own.err, NET_OK, "seed %lu", seed);
    for (size_t i = 0; i < own.count; i++) {
        cr_assert_eq(own.entries[i].tag, 1, "seed %lu", seed);
        if (i)
            cr_assert(own.entries[i].seq > own.entries[i - 1].seq && own.entries[i].number > own.entries[i - 1].number,
                      "seed %lu", seed);
    }
    for (size_t i = 0; i < got.count; i++)
        cr_assert_eq(got.entries[i].tag, 1, "seed %lu", seed);
    mesh_log_free(&own);
    mesh_log_free(&got);
}

Test(sim_node, swarms_of_faults_break_no_promise)
{
    for (uint64_t seed = 1000; seed < 1060; seed++) {
        if (seed > 1000)
            mesh_deinit(&mesh);
        swarm(seed);
    }
}
