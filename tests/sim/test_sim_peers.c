/* Peers under stress: outages in one direction, lost confirmations, rotation, roaming, removal, restarts. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/logs/view.h"
#include "tests/support/mesh_expect.h"

static const char CHANNEL[] = "stress";

static struct mesh mesh;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_peers, .fini = end, .timeout = 240);

/* b knows a's address and subscribes; a knows b's only if `mutual`. */
static void pair(uint64_t seed, unsigned shards_a, unsigned shards_b, bool mutual, struct mesh_node **a,
                 struct mesh_node **b)
{
    mesh_init(&mesh, seed);
    *a = mesh_add(&mesh, shards_a);
    *b = mesh_add(&mesh, shards_b);
    mesh_know(*a, *b);
    (*a)->peers[0].has_addr = mutual;
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

Test(sim_peers, an_outage_of_one_direction_ends_no_subscription)
{
    struct mesh_node *a, *b;
    for (int mutual = 0; mutual < 2; mutual++) {
        if (mutual)
            mesh_deinit(&mesh);
        pair(1, 2, 1, mutual, &a, &b);
        start_pair(a, b);
        expect_published(a, CHANNEL, 1, 0, 100, false);
        sim_run_for(mesh.sim, SIM_S);
        sim_link(mesh.sim, b->host, a->host)->down = true; /* a does not hear b, b hears a */
        sim_run_for(mesh.sim, 200 * SIM_S);                /* long enough to be taken as failed */
        sim_link(mesh.sim, b->host, a->host)->down = false;
        cr_assert(mesh_settle(&mesh, 60 * SIM_S));
        cr_assert(mesh_subscribed(b, CHANNEL, 60 * SIM_S));
        sim_run_for(mesh.sim, 70 * SIM_S); /* b asks again every minute */
        expect_published(a, CHANNEL, 1, 100, 100, false);
        sim_run_for(mesh.sim, SIM_S);
        expect_ascending(b, CHANNEL, a, 200, 199);
    }
}

Test(sim_peers, an_outage_that_is_no_longer_than_patience_leaves_the_subscription_active)
{
    struct mesh_node *a, *b;
    pair(2, 1, 1, true, &a, &b);
    b->peers[0].has_addr = false; /* b cannot dial, and a has no reason to */
    start_pair(a, b);
    sim_link(mesh.sim, a->host, b->host)->down = true;
    sim_run_for(mesh.sim, 25 * SIM_S);
    cr_assert_not(mesh_connected(b, a));
    sim_link(mesh.sim, a->host, b->host)->down = false;
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    cr_assert(mesh_subscribed(b, CHANNEL, 10 * SIM_S));
}

Test(sim_peers, leaving_during_an_outage_reaches_the_publisher_afterwards)
{
    struct mesh_node *a, *b;
    pair(3, 2, 1, true, &a, &b);
    start_pair(a, b);
    sim_cut(mesh.sim, a->host, b->host, true);
    sim_run_for(mesh.sim, 25 * SIM_S);
    cr_assert_eq(mesh_ask_unsubscribe(b, CHANNEL, a, 5 * SIM_S), NET_OK);
    sim_cut(mesh.sim, a->host, b->host, false);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    sim_run_for(mesh.sim, 20 * SIM_S);
    uint64_t sent = MESH_COUNT(a, tx_events);
    expect_published(a, CHANNEL, 1, 0, 1000, false);
    sim_run_for(mesh.sim, 5 * SIM_S);
    cr_assert_eq(MESH_COUNT(a, tx_events), sent);
    cr_assert_eq(MESH_COUNT(b, drop_unsubscribed), 0);
}

Test(sim_peers, leaving_reaches_the_publisher_also_when_the_first_messages_are_lost)
{
    struct mesh_node *a, *b;
    pair(4, 1, 2, true, &a, &b);
    start_pair(a, b);
    sim_link(mesh.sim, b->host, a->host)->loss = SIM_ALWAYS;
    cr_assert_eq(mesh_ask_unsubscribe(b, CHANNEL, a, 60 * SIM_S), NET_OK);
    sim_link(mesh.sim, b->host, a->host)->loss = 0;
    sim_run_for(mesh.sim, 200 * SIM_S);
    uint64_t sent = MESH_COUNT(a, tx_events);
    expect_published(a, CHANNEL, 1, 0, 1000, false);
    sim_run_for(mesh.sim, 5 * SIM_S);
    cr_assert_eq(MESH_COUNT(a, tx_events), sent);
}

Test(sim_peers, a_subscription_renewed_while_it_is_being_left_is_there)
{
    struct mesh_node *a, *b;
    pair(5, 1, 2, true, &a, &b);
    sim_settings(mesh.sim)->link.delay = (struct sim_range){20 * SIM_MS, 20 * SIM_MS};
    start_pair(a, b);
    for (uint64_t i = 0; i < 20; i++) {
        cr_assert_eq(mesh_ask_unsubscribe(b, CHANNEL, a, i * SIM_MS + 1), NET_OK); /* does not wait for the peer */
        cr_assert_eq(mesh_ask_subscribe(b, CHANNEL, a, 10 * SIM_S), NET_OK);
        expect_published(a, CHANNEL, 1, i * 10, 10, false);
        sim_run_for(mesh.sim, 200 * SIM_MS);
        expect_ascending(b, CHANNEL, a, 10, i * 10 + 9);
    }
}

static void ignore(struct control_request *r, int err, const char *message)
{
    (void)r;
    (void)err;
    (void)message;
}

static void not_called(struct control_request *r, int err, const char *message)
{
    (void)r, (void)message;
    cr_assert_fail("%d", err);
}

/* Who asked goes away while peers.yaml is written: what it will say is done all the same. */
Test(sim_peers, what_was_asked_for_is_done_though_nobody_waits)
{
    struct mesh_node *a, *b;
    struct subscribe_ask ask = {.mode = SUBSCRIBE_LIVE};
    pair(8, 1, 2, true, &a, &b);
    b->subscription_count = 0;
    mesh_start(a);
    mesh_start(b);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
    sim_disk_settings(b->host)->slow = (struct sim_range){20 * SIM_MS, 20 * SIM_MS};
    ask.peer = a->node_id;
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &ask.channel), CHANNEL_NAME_OK);
    for (int subscribed = 1; subscribed >= 0; subscribed--) {
        struct control_request r = {.done = not_called};
        if (subscribed)
            node_subscribe(b->node, &ask, 10 * SIM_S, &r);
        else
            node_unsubscribe(b->node, &ask.channel, ask.peer, 10 * SIM_S, &r);
        sim_host_poke(b->host, 0);
        sim_run_for(mesh.sim, 30 * SIM_MS);
        node_request_cancel(b->node, &r);
        sim_run_for(mesh.sim, 2 * SIM_S);
        uint64_t sent = MESH_COUNT(a, tx_events);
        expect_published(a, CHANNEL, 1, subscribed ? 0 : 10, 10, false);
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_eq(MESH_COUNT(a, tx_events), sent + (subscribed ? 10 : 0));
    }
}

Test(sim_peers, of_leaving_and_subscribing_at_once_the_later_holds)
{
    struct mesh_node *a, *b;
    pair(7, 1, 2, true, &a, &b);
    start_pair(a, b);
    for (uint64_t i = 0; i < 5; i++) {
        struct control_request leave = {.done = ignore};
        struct channel_name name;
        cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &name), CHANNEL_NAME_OK);
        node_unsubscribe(b->node, &name, a->node_id, 10 * SIM_S, &leave);
        cr_assert_eq(mesh_ask_subscribe(b, CHANNEL, a, 10 * SIM_S), NET_OK);
        sim_run_for(mesh.sim, SIM_S);
        expect_published(a, CHANNEL, 1, i * 10, 10, false);
        sim_run_for(mesh.sim, SIM_S);
        expect_ascending(b, CHANNEL, a, (size_t)(i + 1) * 10, i * 10 + 9);
    }
}

/* While they are saved, the home of the peer says that it goes on, as it does after each new session. */
Test(sim_peers, of_leaving_and_subscribing_at_once_the_later_holds_though_the_peer_was_asked_in_between)
{
    struct mesh_node *a, *b;
    pair(8, 1, 2, true, &a, &b);
    a->config.rekey_interval_ns = b->config.rekey_interval_ns = SIM_S;
    a->config.heartbeat_interval_ns = b->config.heartbeat_interval_ns = 100 * SIM_MS;
    start_pair(a, b);
    sim_settings(mesh.sim)->file = (struct sim_range){50 * SIM_MS, 300 * SIM_MS};
    for (uint64_t i = 0; i < 40; i++) {
        struct control_request leave = {.done = ignore}, come = {.done = ignore};
        struct subscribe_ask want = {.peer = a->node_id, .mode = SUBSCRIBE_LIVE};
        cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &want.channel), CHANNEL_NAME_OK);
        node_unsubscribe(b->node, &want.channel, a->node_id, 10 * SIM_S, &leave);
        sim_host_poke(b->host, 0);
        sim_run_for(mesh.sim, sim_random_below(mesh.sim, 300 * SIM_MS));
        node_subscribe(b->node, &want, 10 * SIM_S, &come);
        sim_host_poke(b->host, 0);
        sim_run_for(mesh.sim, 6 * SIM_S);
        uint64_t stored = MESH_COUNT(b, stored_events);
        expect_published(a, CHANNEL, 1, i * 10, 10, false);
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_eq(MESH_COUNT(b, stored_events), stored + 10, "round %lu", i);
    }
    cr_assert_gt(MESH_COUNT(b, sessions_confirmed), 100);
}

/* Keeps back what one side sends under its first session. */
struct straggler {
    const struct mesh_node *from;
    uint64_t session_id;
    bool hold;
    uint8_t kept[WIRE_MAX_PACKET];
    size_t len;
};

static bool keep_back(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span datagram)
{
    struct straggler *s = ctx;
    struct io_addr addr = sim_host_addr(s->from->host);
    struct wire_header h;
    (void)to;
    if (memcmp(addr.ip, from->ip, sizeof addr.ip) != 0 ||
        wire_classify((struct cspan){datagram.data, datagram.len}) != WIRE_CLASS_DIRECT ||
        wire_header_decode((struct cspan){datagram.data, datagram.len}, &h) != NET_OK)
        return true;
    if (!s->session_id)
        s->session_id = h.session_id;
    if (!s->hold || h.session_id != s->session_id)
        return true;
    memcpy(s->kept, datagram.data, datagram.len);
    s->len = datagram.len;
    return false;
}

static bool not_rotated(void *ctx)
{
    return MESH_COUNT(ctx, sessions_confirmed) < 2;
}

Test(sim_peers, a_straggler_of_the_session_before_does_not_move_a_peer_back)
{
    static struct straggler s;
    struct mesh_node *a, *b;
    pair(8, 1, 1, false, &a, &b);
    b->config.rekey_interval_ns = 20 * SIM_S;
    s = (struct straggler){.from = b};
    sim_set_tap(mesh.sim, keep_back, &s);
    start_pair(a, b);
    sim_run_for(mesh.sim, 10 * SIM_S);
    s.hold = true;
    struct io_addr old = sim_host_addr(b->host), moved = old;
    moved.port = 4444;
    sim_run_for(mesh.sim, 7 * SIM_S);
    cr_assert_gt(s.len, 0);
    sim_host_set_addr(b->host, &moved);
    cr_assert(sim_run_while(mesh.sim, not_rotated, a, 30 * SIM_S));
    cr_assert_eq(mesh_peer(a, b)->addr.port, 4444);
    struct io_addr to = sim_host_addr(a->host);
    uint64_t opened = MESH_COUNT(a, rx_packets);
    sim_inject(mesh.sim, &old, &to, (struct cspan){s.kept, s.len});
    sim_run_for(mesh.sim, 60 * SIM_US); /* less than the next packet of b takes */
    cr_assert_eq(MESH_COUNT(a, rx_packets), opened + 1);
    cr_assert_eq(mesh_peer(a, b)->addr.port, 4444);
}

/* Loses the first packets that leave under a session for a while. */
struct loss {
    const struct mesh_node *from;
    unsigned lose;
};

static bool lose_first(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span datagram)
{
    struct loss *loss = ctx;
    struct io_addr addr = sim_host_addr(loss->from->host);
    bool heartbeat = datagram.len == WIRE_OVERHEAD;
    (void)to;
    if (loss->lose == 0 || !heartbeat || memcmp(addr.ip, from->ip, sizeof addr.ip) != 0)
        return true;
    loss->lose--;
    return false;
}

Test(sim_peers, whoever_dials_first_and_however_long_it_takes_one_session_comes_of_it)
{
    static const uint64_t delays[] = {50 * SIM_US, 10 * SIM_MS, 130 * SIM_MS, 260 * SIM_MS, 700 * SIM_MS};
    static const uint64_t offsets[] = {0, 100 * SIM_US, 9 * SIM_MS, 131 * SIM_MS, 505 * SIM_MS, 800 * SIM_MS};
    enum { DELAYS = sizeof delays / sizeof delays[0], OFFSETS = sizeof offsets / sizeof offsets[0] };
    for (unsigned i = 0; i < DELAYS * DELAYS * OFFSETS; i++) {
        uint64_t there = delays[i % DELAYS], back = delays[i / DELAYS % DELAYS], offset = offsets[i / DELAYS / DELAYS];
        struct mesh_node *a, *b;
        if (i)
            mesh_deinit(&mesh);
        pair(100 + i, 1, 1, true, &a, &b);
        sim_link(mesh.sim, a->host, b->host)->delay = (struct sim_range){there, there};
        sim_link(mesh.sim, b->host, a->host)->delay = (struct sim_range){back, back};
        mesh_start(a);
        sim_run_for(mesh.sim, offset);
        mesh_start(b);
        cr_assert(mesh_settle(&mesh, 12 * SIM_S), "case %u: %lu and %lu us, %lu us later", i, there / 1000, back / 1000,
                  offset / 1000);
        cr_assert(mesh_subscribed(b, CHANNEL, 12 * SIM_S), "case %u", i);
        sim_run_for(mesh.sim, 12 * SIM_S);
        uint64_t dials = MESH_COUNT(a, handshakes_started) + MESH_COUNT(b, handshakes_started);
        expect_published(a, CHANNEL, 1, 0, 10, false);
        sim_run_for(mesh.sim, 30 * SIM_S);
        expect_ascending(b, CHANNEL, a, 10, 9);
        cr_assert_eq(MESH_COUNT(a, handshakes_started) + MESH_COUNT(b, handshakes_started), dials, "case %u", i);
        cr_assert(MESH_COUNT(a, gauge_sessions) == 1 && MESH_COUNT(b, gauge_sessions) == 1, "case %u", i);
    }
}

Test(sim_peers, a_lost_confirmation_is_repeated)
{
    struct mesh_node *a, *b;
    pair(6, 1, 1, false, &a, &b);
    struct loss loss = {a, 3}; /* a responds: its first heartbeats are the answers b waits for */
    sim_set_tap(mesh.sim, lose_first, &loss);
    mesh_start(a);
    mesh_start(b);
    uint64_t start = sim_now(mesh.sim);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
    cr_assert_eq(loss.lose, 0);
    cr_assert_lt(sim_now(mesh.sim) - start, 2 * SIM_S, "%lu ms", (sim_now(mesh.sim) - start) / SIM_MS);
}

Test(sim_peers, rotation_under_loss_loses_no_more_than_the_network)
{
    enum { EVENTS = 40000 };
    for (uint64_t seed = 10; seed < 16; seed++) {
        struct mesh_node *a, *b;
        if (seed > 10)
            mesh_deinit(&mesh);
        pair(seed, 2, 2, true, &a, &b);
        a->config.rekey_interval_ns = b->config.rekey_interval_ns = 7 * SIM_S;
        struct sim_link *links[] = {sim_link(mesh.sim, a->host, b->host), sim_link(mesh.sim, b->host, a->host)};
        for (int i = 0; i < 2; i++)
            *links[i] = (struct sim_link){
                .loss = 50000, .duplicate = 50000, .reorder = 50000, .delay = {5 * SIM_MS, 25 * SIM_MS}};
        start_pair(a, b);
        uint64_t next = 0;
        while (next < EVENTS) {
            expect_published(a, CHANNEL, 1, next, 200, false);
            next += 200;
            sim_run_for(mesh.sim, 500 * SIM_MS);
        }
        sim_run_for(mesh.sim, 20 * SIM_S);
        cr_assert_gt(MESH_COUNT(a, sessions_confirmed), 5, "it did rotate");
        static uint8_t seen[EVENTS];
        memset(seen, 0, sizeof seen);
        struct mesh_log log = mesh_read(b, CHANNEL, a, 10 * SIM_S);
        for (size_t i = 0; i < log.count; i++) {
            cr_assert_eq(log.entries[i].tag, 1);
            cr_assert_eq(seen[log.entries[i].number]++, 0);
        }
        cr_assert_gt(log.count, EVENTS * 92 / 100, "seed %lu: %zu of %d", seed, log.count, EVENTS);
        mesh_log_free(&log);
    }
}

Test(sim_peers, a_peer_removed_and_added_again_is_connected_and_served)
{
    for (uint64_t seed = 20; seed < 40; seed++) {
        struct mesh_node *a, *b;
        if (seed > 20)
            mesh_deinit(&mesh);
        pair(seed, 3, 2, true, &a, &b);
        start_pair(a, b);
        expect_published(a, CHANNEL, 1, 0, 10, false);
        sim_run_for(mesh.sim, sim_random_below(mesh.sim, 100) * SIM_US);
        struct mesh_node *who = seed & 1 ? a : b, *other = seed & 1 ? b : a;
        cr_assert_eq(mesh_ask_remove(who, other), NET_OK);
        sim_run_for(mesh.sim, sim_random_below(mesh.sim, 50) * SIM_US);
        cr_assert_eq(mesh_ask_add(who, other), NET_OK);
        if (who == b)
            cr_assert_eq(mesh_ask_subscribe(b, CHANNEL, a, 60 * SIM_S), NET_OK, "seed %lu", seed);
        cr_assert(mesh_settle(&mesh, 120 * SIM_S), "seed %lu", seed);
        sim_run_for(mesh.sim, 10 * SIM_S);
        expect_published(a, CHANNEL, 1, 10, 10, false);
        sim_run_for(mesh.sim, SIM_S);
        expect_ascending(b, CHANNEL, a, 10, 19);
    }
}

Test(sim_peers, ten_restarts_of_either_side_and_events_go_on)
{
    for (uint64_t seed = 50; seed < 54; seed++) {
        struct mesh_node *a, *b;
        if (seed > 50)
            mesh_deinit(&mesh);
        pair(seed, 2, 3, seed & 1, &a, &b);
        a->config.channel.log = b->config.channel.log = seed & 2 ? LOG_DISK : LOG_MEMORY;
        start_pair(a, b);
        uint64_t next = 0;
        for (int i = 0; i < 20; i++) {
            struct mesh_node *victim = i & 1 ? a : b;
            mesh_kill(victim);
            sim_run_for(mesh.sim, sim_random_below(mesh.sim, 300) * SIM_MS);
            mesh_start(victim);
            sim_run_for(mesh.sim, sim_random_below(mesh.sim, 3 * SIM_S));
            expect_published(a, CHANNEL, 1, next, 100, false);
            next += 100;
        }
        cr_assert(mesh_settle(&mesh, 60 * SIM_S), "seed %lu", seed);
        cr_assert(mesh_subscribed(b, CHANNEL, 60 * SIM_S), "seed %lu", seed);
        sim_run_for(mesh.sim, 30 * SIM_S);
        expect_published(a, CHANNEL, 1, next, 100, false);
        sim_run_for(mesh.sim, SIM_S);
        expect_ascending(b, CHANNEL, a, 100, next + 99);
    }
}
