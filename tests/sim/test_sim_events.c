/* Events of every size on every path and kind of log, subscribers of every speed, and clocks that jump. */
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "shards/logs/view.h"
#include "tests/support/mesh_expect.h"

static const char CHANNEL[] = "events";

static struct mesh mesh;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_events, .fini = end, .timeout = 240);

/* ---- events of a given size ---- */

static void fill(uint8_t *at, uint32_t len, size_t number)
{
    for (uint32_t i = 0; i < len; i++)
        at[i] = (uint8_t)(len + number + i);
}

struct put {
    struct publisher publisher;
    bool done;
    int err;
};

static void on_writable(struct publisher *p)
{
    (void)p;
}

static void on_done(struct publisher *publisher, int err)
{
    struct put *p = container_of(publisher, struct put, publisher);
    p->done = true;
    p->err = err;
}

static bool putting(void *ctx)
{
    return !((struct put *)ctx)->done;
}

/* One publish for each, in order; they are all acknowledged afterwards. */
static void put_sizes(struct mesh_node *m, const uint32_t *sizes, size_t count)
{
    static uint8_t frame[4 + WIRE_MAX_EVENT];
    struct put p = {.publisher = {.writable = on_writable, .done = on_done}};
    struct channel_name name;
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &name), CHANNEL_NAME_OK);
    cr_assert_eq(node_publish_open(m->node, &p.publisher, &name, false), NET_OK);
    for (size_t i = 0; i < count; i++) {
        store_le32(frame, sizes[i]);
        fill(frame + 4, sizes[i], i);
        int err;
        while ((err = node_publish_put(m->node, &p.publisher, (struct cspan){frame, 4 + sizes[i]}, 1)) == NET_ERR_AGAIN)
            sim_run_for(mesh.sim, SIM_MS);
        cr_assert_eq(err, NET_OK, "%s", net_err_name(err));
    }
    node_publish_finish(m->node, &p.publisher);
    sim_host_poke(m->host, 0);
    cr_assert(sim_run_while(mesh.sim, putting, &p, 60 * SIM_S));
    cr_assert_eq(p.err, NET_OK, "%s", net_err_name(p.err));
}

struct check {
    struct tail tail;
    const uint32_t *sizes;
    size_t count, at;
    bool done;
    int err;
};

static bool on_event(struct tail *t, const struct tail_event *e)
{
    static uint8_t expected[WIRE_MAX_EVENT];
    struct check *c = container_of(t, struct check, tail);
    cr_assert_lt(c->at, c->count, "more than was published");
    cr_assert_eq(e->data.len, c->sizes[c->at], "event %zu has %zu bytes, not %u", c->at, e->data.len, c->sizes[c->at]);
    fill(expected, c->sizes[c->at], c->at);
    cr_assert(e->data.len == 0 || memcmp(e->data.data, expected, e->data.len) == 0);
    c->at++;
    return true;
}

static bool on_gap(struct tail *t, uint64_t from, uint64_t to)
{
    (void)t;
    cr_assert_fail("gap from %lu to %lu", from, to);
    return true;
}

static void on_end(struct tail *t, int err)
{
    struct check *c = container_of(t, struct check, tail);
    c->done = true;
    c->err = err;
}

static bool checking(void *ctx)
{
    return !((struct check *)ctx)->done;
}

static void check_sizes(struct mesh_node *m, const struct mesh_node *origin, const uint32_t *sizes, size_t count)
{
    struct check c = {.tail = {.event = on_event, .gap = on_gap, .done = on_end}, .sizes = sizes, .count = count};
    struct tail_request r = {.self = !origin, .origin = origin ? origin->node_id : 0};
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &r.channel), CHANNEL_NAME_OK);
    cr_assert_eq(node_tail_open(m->node, &c.tail, &r), NET_OK);
    sim_host_poke(m->host, 0);
    cr_assert(sim_run_while(mesh.sim, checking, &c, 60 * SIM_S));
    cr_assert_eq(c.err, NET_OK, "%s", net_err_name(c.err));
    cr_assert_eq(c.at, count, "%zu of %zu events", c.at, count);
}

static const uint32_t SIZES[] = {0,    1,    8,    1387, 1388, 1389,           1390, 1391, 1392, 1393, 2000,
                                 8090, 8107, 8108, 0,    8108, WIRE_MAX_EVENT, 1,    1392, 0,    0,    4000};
enum { SIZE_COUNT = sizeof SIZES / sizeof SIZES[0] };

static void subscribed_pair(unsigned shards_a, unsigned shards_b, struct mesh_node **a, struct mesh_node **b)
{
    *a = mesh_add(&mesh, shards_a);
    *b = mesh_add(&mesh, shards_b);
    mesh_know(*b, *a);
    mesh_subscribe(*b, CHANNEL, *a);
}

static void start_all(void)
{
    for (unsigned i = 0; i < mesh.count; i++)
        mesh_start(&mesh.nodes[i]);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    for (unsigned i = 0; i < mesh.count; i++)
        if (mesh.nodes[i].subscription_count)
            cr_assert(mesh_subscribed(&mesh.nodes[i], CHANNEL, 60 * SIM_S));
}

Test(sim_events, every_size_arrives_on_every_path)
{
    static const int paths[] = {1232, 1472, 8972, 65507};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct mesh_node *a, *b;
        if (i)
            mesh_deinit(&mesh);
        mesh_init(&mesh, i);
        sim_settings(mesh.sim)->path_payload = paths[i];
        subscribed_pair(1 + (unsigned)i, 4 - (unsigned)i, &a, &b);
        start_all();
        put_sizes(a, SIZES, SIZE_COUNT);
        sim_run_for(mesh.sim, SIM_S);
        check_sizes(a, NULL, SIZES, SIZE_COUNT);
        check_sizes(b, a, SIZES, SIZE_COUNT);
        cr_assert_eq(MESH_COUNT(a, drop_oversize), 0);
    }
}

Test(sim_events, large_events_cross_a_relay_and_what_fits_no_packet_in_fragments)
{
    static uint32_t sizes[202];
    mesh_init(&mesh, 10);
    struct mesh_node *c = mesh_add(&mesh, 2), *relay = mesh_add(&mesh, 2), *a = mesh_add(&mesh, 2);
    mesh_know(relay, c);
    mesh_know(a, relay);
    mesh_know(a, c);
    a->peers[1].addr = sim_host_addr(relay->host); /* by way of the relay */
    mesh_subscribe(a, CHANNEL, c);
    sim_cut(mesh.sim, a->host, c->host, true);
    mesh_start(relay);
    mesh_start(c);
    sim_run_for(mesh.sim, 2 * SIM_S);
    mesh_start(a);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    cr_assert(mesh_subscribed(a, CHANNEL, 60 * SIM_S));
    for (size_t i = 0; i < 200; i++)
        sizes[i] = i % 4 == 3 ? (uint32_t)i : WIRE_MAX_EVENT_ROUTED;
    sizes[200] = WIRE_MAX_EVENT_ROUTED + 1;
    sizes[201] = WIRE_MAX_EVENT;
    put_sizes(c, sizes, 202);
    sim_run_for(mesh.sim, 5 * SIM_S);
    check_sizes(a, c, sizes, 202);
    cr_assert_geq(MESH_COUNT(relay, relayed), 150);
    cr_assert_eq(MESH_COUNT(c, drop_oversize), 0);
    cr_assert_gt(MESH_COUNT(c, tx_fragments), 2);
}

Test(sim_events, every_kind_of_log_at_either_end_carries_them)
{
    static const enum config_log kinds[] = {LOG_NONE, LOG_MEMORY, LOG_DISK};
    for (unsigned i = 0; i < 9; i++) {
        struct mesh_node *a, *b;
        if (i)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 20 + i);
        subscribed_pair(2, 1, &a, &b);
        a->config.channel.log = kinds[i / 3];
        b->config.channel.log = kinds[i % 3];
        start_all();
        put_sizes(a, SIZES, SIZE_COUNT);
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_eq(MESH_COUNT(b, stored_events), SIZE_COUNT, "%u: %lu", i, MESH_COUNT(b, stored_events));
        if (b->config.channel.log != LOG_NONE)
            check_sizes(b, a, SIZES, SIZE_COUNT);
        if (a->config.channel.log != LOG_NONE)
            check_sizes(a, NULL, SIZES, SIZE_COUNT);
        cr_assert(mesh_stop(a, 20 * SIM_S) && mesh_stop(b, 20 * SIM_S));
    }
}

Test(sim_events, what_exceeds_the_limit_is_refused_at_the_door)
{
    enum { LIMIT = 70000 };
    static uint8_t frame[4 + LIMIT + 1];
    mesh_init(&mesh, 11);
    struct mesh_node *a = mesh_add(&mesh, 1);
    struct channel_name name;
    const char *key;
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &name), CHANNEL_NAME_OK);
    a->config.event_bytes = LIMIT;
    mesh_start(a);
    struct shard *s = node_shard(a->node, 0);
    store_le32(frame, LIMIT + 1);
    cr_assert_eq(node_max_event(a->node, &name, &key), LIMIT, "what the admin port holds publishers to");
    cr_assert_str_eq(key, "limits.event_bytes");
    cr_assert_eq(netmesh_publish(s->face, CHANNEL, frame, sizeof frame, 1), NET_ERR_TOO_LARGE);
    store_le32(frame, LIMIT);
    cr_assert_eq(netmesh_publish(s->face, CHANNEL, frame, sizeof frame, 1), NET_ERR_FORMAT, "a byte is left over");
    cr_assert_eq(netmesh_publish(s->face, CHANNEL, frame, sizeof frame, 2), NET_ERR_TOO_LARGE, "only one goes alone");
    int err;
    while ((err = netmesh_publish(s->face, CHANNEL, frame, sizeof frame - 1, 1)) == NETMESH_AGAIN)
        sim_run_for(mesh.sim, SIM_MS);
    cr_assert_eq(err, NET_OK, "%s", net_err_name(err));
}

/* ---- subscribers ---- */

Test(sim_events, subscribers_of_every_speed_get_everything)
{
    static const uint64_t delays[] = {50 * SIM_US, 20 * SIM_MS, 150 * SIM_MS, 400 * SIM_MS};
    for (unsigned shards = 1; shards <= 3; shards++) {
        if (shards > 1)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 30);
        struct mesh_node *a = mesh_add(&mesh, shards), *b[4];
        for (int i = 0; i < 4; i++) {
            b[i] = mesh_add(&mesh, 1);
            b[i]->config.window = i & 1 ? 65536 : 1 << 20;
            mesh_know(b[i], a);
            mesh_subscribe(b[i], CHANNEL, a);
            sim_link(mesh.sim, a->host, b[i]->host)->delay = (struct sim_range){delays[i], delays[i]};
            sim_link(mesh.sim, b[i]->host, a->host)->delay = (struct sim_range){delays[i], delays[i]};
        }
        start_all();
        sim_run_for(mesh.sim, SIM_S);
        expect_published(a, CHANNEL, 1, 0, 20000, false);
        sim_run_for(mesh.sim, SIM_S);
        expect_ascending(b[0], CHANNEL, a, 20000, 19999); /* the slow ones are not waited for */
        sim_run_for(mesh.sim, 60 * SIM_S);
        for (int i = 1; i < 4; i++)
            expect_ascending(b[i], CHANNEL, a, 20000, 19999);
    }
}

Test(sim_events, a_stalled_subscriber_costs_no_memory_and_no_time)
{
    for (unsigned shards = 1; shards <= 2; shards++) {
        if (shards > 1)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 40);
        struct mesh_node *a = mesh_add(&mesh, shards), *b = mesh_add(&mesh, 1), *stalled = mesh_add(&mesh, 1);
        for (unsigned i = 0; i < mesh.count; i++)
            mesh.nodes[i].config.channel.log = LOG_NONE;
        mesh_know(b, a);
        mesh_know(stalled, a);
        mesh_subscribe(b, CHANNEL, a);
        mesh_subscribe(stalled, CHANNEL, a);
        start_all();
        expect_published(a, CHANNEL, 1, 0, 50000, false);
        sim_cut(mesh.sim, a->host, stalled->host, true);
        expect_published(a, CHANNEL, 1, 0, 50000, false);
        sim_run_for(mesh.sim, SIM_S);
        size_t before = mallinfo2().uordblks;
        uint64_t start = sim_now(mesh.sim), stored = MESH_COUNT(b, stored_events);
        for (int i = 0; i < 10; i++)
            expect_published(a, CHANNEL, 1, 0, 50000, false);
        cr_assert_lt(sim_now(mesh.sim) - start, 20 * SIM_S);
        cr_assert_lt(mallinfo2().uordblks, before + (2 << 20), "%zu bytes more", mallinfo2().uordblks - before);
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_eq(MESH_COUNT(b, stored_events) - stored, 500000, "%lu", MESH_COUNT(b, stored_events) - stored);
        sim_cut(mesh.sim, a->host, stalled->host, false);
        cr_assert(mesh_settle(&mesh, 60 * SIM_S));
        sim_run_for(mesh.sim, 10 * SIM_S);
        stored = MESH_COUNT(stalled, stored_events);
        expect_published(a, CHANNEL, 1, 0, 100, false);
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_eq(MESH_COUNT(stalled, stored_events) - stored, 100, "it goes on with what is new");
    }
}

Test(sim_events, subscribing_and_leaving_while_events_flow_disturbs_nobody)
{
    for (unsigned shards = 1; shards <= 3; shards++) {
        if (shards > 1)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 50);
        struct mesh_node *a = mesh_add(&mesh, shards), *b = mesh_add(&mesh, 1), *c = mesh_add(&mesh, 2);
        mesh_know(b, a);
        mesh_know(c, a);
        mesh_subscribe(b, CHANNEL, a);
        start_all();
        uint64_t next = 0;
        for (int i = 0; i < 60; i++) {
            int err =
                i & 1 ? mesh_ask_unsubscribe(c, CHANNEL, a, 10 * SIM_S) : mesh_ask_subscribe(c, CHANNEL, a, 10 * SIM_S);
            cr_assert_eq(err, NET_OK, "%s", net_err_name(err));
            mesh_publish(a, CHANNEL, 1, next, 300, false, 0); /* it has not been answered when the next request comes */
            next += 300;
        }
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_eq(mesh_ask_subscribe(c, CHANNEL, a, 10 * SIM_S), NET_OK);
        expect_published(a, CHANNEL, 1, next, 300, false);
        sim_run_for(mesh.sim, SIM_S);
        expect_ascending(c, CHANNEL, a, 300, next + 299);
        struct mesh_log own = mesh_read(a, CHANNEL, NULL, 10 * SIM_S), got = mesh_read(b, CHANNEL, a, 10 * SIM_S);
        cr_assert_eq(got.count, own.count, "%zu of %zu", got.count, own.count);
        mesh_log_free(&own);
        mesh_log_free(&got);
    }
}

Test(sim_events, a_node_stops_in_order_while_events_come_and_go)
{
    for (unsigned i = 0; i < 24; i++) {
        struct mesh_node *a, *b;
        if (i)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 70 + i);
        subscribed_pair(1 + i % 3, 1 + i / 3 % 2, &a, &b);
        mesh_subscribe(a, CHANNEL, b);
        mesh_know(a, b);
        start_all();
        sim_settings(mesh.sim)->sync = (struct sim_range){SIM_MS, 200 * SIM_MS}; /* logs close one by one */
        for (int k = 0; k < 20; k++) { /* both send for as long as the stop takes */
            mesh_publish(a, CHANNEL, 1, 0, 20000, false, SIM_MS);
            mesh_publish(b, CHANNEL, 1, 0, 20000, false, SIM_MS);
        }
        cr_assert(mesh_stop(i & 1 ? a : b, 60 * SIM_S));
        cr_assert(mesh_stop(i & 1 ? b : a, 60 * SIM_S));
    }
}

Test(sim_events, a_wall_clock_that_jumps_changes_nothing_but_stamps)
{
    struct mesh_node *a, *b;
    mesh_init(&mesh, 60);
    subscribed_pair(2, 2, &a, &b);
    start_all();
    static const int64_t jumps[] = {86400, -86400, 400 * 86400LL, 0};
    uint64_t next = 0;
    for (int i = 0; i < 4; i++) {
        sim_host_set_wall(a->host, jumps[i] * (int64_t)SIM_S);
        sim_host_set_wall(b->host, -jumps[i] / 2 * (int64_t)SIM_S);
        expect_published(a, CHANNEL, 1, next, 1000, false);
        next += 1000;
        sim_run_for(mesh.sim, 20 * SIM_S);
        cr_assert(mesh_connected(a, b) && mesh_connected(b, a));
        expect_ascending(b, CHANNEL, a, next, next - 1);
    }
    mesh_kill(b);
    mesh_kill(a);
    start_all();
    expect_ascending(a, CHANNEL, NULL, next, next - 1);
    expect_ascending(b, CHANNEL, a, next, next - 1);
}
