/* Events that are larger than a packet, from publisher to reader: shards, logs, paths, losses, limits. extensions X3.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/utf8.h"
#include "shards/peers/peer.h"
#include "tests/sim/mesh/sim_node.h"

#define CHANNEL "large"

enum { MAX = 16 << 20, COPIED = 60000 };

static struct mesh mesh;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_large, .fini = end, .timeout = 240);

/* Byte i of event `number`: told apart from its neighbours in the event and in the stream. Even ones are text. */
static uint8_t byte_of(size_t number, size_t i)
{
    uint8_t b = (uint8_t)(number * 31 + i + i / 1009);
    return number % 2 ? b : (uint8_t)('a' + b % 26);
}

/* ---- publishing ---- */

struct put {
    struct publisher publisher;
    bool writable, done;
    int err;
};

static void on_writable(struct publisher *p)
{
    container_of(p, struct put, publisher)->writable = true;
}

static void on_done(struct publisher *publisher, int err)
{
    struct put *p = container_of(publisher, struct put, publisher);
    p->done = true;
    p->err = err;
}

static bool full(void *ctx)
{
    const struct put *p = ctx;
    return !p->writable && !p->done;
}

static bool putting(void *ctx)
{
    return !((struct put *)ctx)->done;
}

static int put_one(struct mesh_node *m, struct put *p, size_t number, uint32_t len)
{
    uint8_t *frame = malloc(4 + (size_t)len);
    cr_assert_not_null(frame);
    store_le32(frame, len);
    for (uint32_t i = 0; i < len; i++)
        frame[4 + i] = byte_of(number, i);
    int err;
    do {
        p->writable = false;
        err = 4 + len > COPIED ? node_publish_give(m->node, &p->publisher, frame, 4 + (size_t)len)
                               : node_publish_put(m->node, &p->publisher, (struct cspan){frame, 4 + (size_t)len}, 1);
        sim_host_poke(m->host, 0);
    } while (err == NET_ERR_AGAIN && sim_run_while(mesh.sim, full, p, 60 * SIM_S));
    if (err || 4 + len <= COPIED)
        free(frame);
    return err;
}

/* One event for each size, numbered from 0; what became of the publish. `to`: into the log of that peer. */
static int put_sizes_to(struct mesh_node *m, const struct mesh_node *to, const uint32_t *sizes, size_t count)
{
    struct put p = {.publisher = {.writable = on_writable, .done = on_done}};
    struct channel_name name;
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &name), CHANNEL_NAME_OK);
    cr_assert_eq(to ? node_publish_open_to(m->node, &p.publisher, &name, true, to->node_id, NULL, 0)
                    : node_publish_open(m->node, &p.publisher, &name, false),
                 NET_OK);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(put_one(m, &p, i, sizes[i]), NET_OK, "event %zu", i);
    node_publish_finish(m->node, &p.publisher);
    sim_host_poke(m->host, 0);
    cr_assert(sim_run_while(mesh.sim, putting, &p, 60 * SIM_S));
    return p.err;
}

static int put_sizes(struct mesh_node *m, const uint32_t *sizes, size_t count)
{
    return put_sizes_to(m, NULL, sizes, count);
}

/* ---- reading ---- */

struct check {
    struct tail tail;
    const uint32_t *sizes;
    size_t count, at;
    const bool *lost; /* events that did not arrive; NULL: all did */
    uint32_t step;    /* bytes taken of a piece before the reader says it is full; 0: all */
    bool paused, done;
    int err;
};

static void skip_lost(struct check *c)
{
    while (c->lost && c->at < c->count && c->lost[c->at])
        c->at++;
}

static void check_bytes(const struct check *c, struct cspan data, size_t offset)
{
    for (size_t i = 0; i < data.len; i++)
        cr_assert_eq(data.data[i], byte_of(c->at, offset + i), "event %zu, byte %zu", c->at, offset + i);
}

static bool on_event(struct tail *t, const struct tail_event *e)
{
    struct check *c = container_of(t, struct check, tail);
    skip_lost(c);
    cr_assert_lt(c->at, c->count, "more than was published");
    cr_assert_eq(e->data.len, c->sizes[c->at], "event %zu has %zu bytes, not %u", c->at, e->data.len, c->sizes[c->at]);
    cr_assert_leq(e->data.len, TAIL_WHOLE_MAX);
    check_bytes(c, e->data, 0);
    c->at++;
    return true;
}

static size_t on_piece(struct tail *t, const struct tail_piece *p)
{
    struct check *c = container_of(t, struct check, tail);
    struct cspan data = p->event.data;
    skip_lost(c);
    cr_assert_lt(c->at, c->count, "more than was published");
    cr_assert_eq(p->total, c->sizes[c->at], "event %zu has %u bytes, not %u", c->at, p->total, c->sizes[c->at]);
    cr_assert_gt(p->total, TAIL_WHOLE_MAX);
    cr_assert_eq(p->text, c->at % 2 == 0);
    cr_assert(data.len % 3 == 0 || p->offset + data.len == p->total);
    if (c->step && data.len > c->step) {
        data.len = c->step;
        c->paused = true;
    }
    check_bytes(c, data, p->offset);
    if (p->offset + data.len == p->total)
        c->at++;
    return data.len;
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

static bool reading(void *ctx)
{
    const struct check *c = ctx;
    return !c->done && !c->paused;
}

static void check_log(struct mesh_node *m, const struct mesh_node *origin, struct check c)
{
    c.tail = (struct tail){.event = on_event, .piece = on_piece, .gap = on_gap, .done = on_end};
    struct tail_request r = {.self = !origin, .origin = origin ? origin->node_id : 0};
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &r.channel), CHANNEL_NAME_OK);
    cr_assert_eq(node_tail_open(m->node, &c.tail, &r), NET_OK);
    while (!c.done) {
        sim_host_poke(m->host, 0);
        cr_assert(sim_run_while(mesh.sim, reading, &c, 60 * SIM_S));
        if (c.paused)
            node_tail_resume(m->node, &c.tail);
        c.paused = false;
    }
    cr_assert_eq(c.err, NET_OK, "%s", net_err_name(c.err));
    skip_lost(&c);
    cr_assert_eq(c.at, c.count, "%zu of %zu events", c.at, c.count);
}

static void check_sizes(struct mesh_node *m, const struct mesh_node *origin, const uint32_t *sizes, size_t count)
{
    check_log(m, origin, (struct check){.sizes = sizes, .count = count});
}

/* ---- the mesh ---- */

static void make_pair(uint64_t seed, unsigned shards_a, unsigned shards_b, struct mesh_node **a, struct mesh_node **b)
{
    mesh_init(&mesh, seed);
    *a = mesh_add(&mesh, shards_a);
    *b = mesh_add(&mesh, shards_b);
    mesh_know(*b, *a);
    mesh_subscribe(*b, CHANNEL, *a);
    for (unsigned i = 0; i < mesh.count; i++) {
        mesh.nodes[i].config.event_bytes = MAX;
        mesh.nodes[i].config.log_none_bytes = 2 * MAX;
    }
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

static const uint32_t SIZES[] = {1,     8108,   8109,  8110, 20000,   0,     59996,  59997, 65536,
                                 70000, 262144, 12345, 3,    1 << 20, 16384, 300007, 8109,  5};
enum { SIZE_COUNT = sizeof SIZES / sizeof SIZES[0] };

static bool more_to_store(void *ctx)
{
    return MESH_COUNT((struct mesh_node *)ctx, stored_events) < SIZE_COUNT;
}

Test(sim_large, every_size_on_every_path)
{
    static const int paths[] = {1232, 1472, 8972, 65507};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct mesh_node *a, *b;
        if (i)
            mesh_deinit(&mesh);
        make_pair(40 + i, 1 + (unsigned)i, 4 - (unsigned)i, &a, &b);
        sim_settings(mesh.sim)->path_payload = paths[i];
        start_all();
        cr_assert_eq(put_sizes(a, SIZES, SIZE_COUNT), NET_OK);
        cr_assert(sim_run_while(mesh.sim, more_to_store, b, 60 * SIM_S), "%lu stored", MESH_COUNT(b, stored_events));
        sim_run_for(mesh.sim, SIM_S); /* until it is written */
        check_sizes(a, NULL, SIZES, SIZE_COUNT);
        check_sizes(b, a, SIZES, SIZE_COUNT);
        check_log(b, a, (struct check){.sizes = SIZES, .count = SIZE_COUNT, .step = 9999});
        cr_assert_eq(MESH_COUNT(a, tx_fragments), MESH_COUNT(b, rx_fragments));
        cr_assert_eq(MESH_COUNT(a, drop_oversize), 0);
    }
}

Test(sim_large, every_kind_of_log_at_either_end)
{
    static const enum config_log kinds[] = {LOG_NONE, LOG_MEMORY, LOG_DISK};
    for (unsigned i = 0; i < 9; i++) {
        struct mesh_node *a, *b;
        if (i)
            mesh_deinit(&mesh);
        make_pair(60 + i, 1 + i % 2, 2, &a, &b);
        a->config.channel.log = kinds[i / 3];
        b->config.channel.log = kinds[i % 3];
        start_all();
        cr_assert_eq(put_sizes(a, SIZES, SIZE_COUNT), NET_OK);
        cr_assert(sim_run_while(mesh.sim, more_to_store, b, 60 * SIM_S), "%u: %lu", i, MESH_COUNT(b, stored_events));
        sim_run_for(mesh.sim, SIM_S);
        if (b->config.channel.log != LOG_NONE)
            check_sizes(b, a, SIZES, SIZE_COUNT);
        cr_assert(mesh_stop(a, 20 * SIM_S) && mesh_stop(b, 20 * SIM_S));
    }
}

/* 16 MiB, with owners and peers on other shards than the publisher and the reader; it is there after a restart. */
Test(sim_large, the_largest)
{
    static const uint32_t sizes[] = {MAX, 10, MAX - 1, 1000};
    struct mesh_node *a, *b;
    make_pair(80, 3, 2, &a, &b);
    start_all();
    cr_assert_eq(put_sizes(a, sizes, 4), NET_OK);
    sim_run_for(mesh.sim, 5 * SIM_S);
    cr_assert_eq(MESH_COUNT(b, stored_events), 4);
    check_sizes(b, a, sizes, 4);
    cr_assert(mesh_stop(b, 20 * SIM_S));
    mesh_start(b);
    check_sizes(b, a, sizes, 4);
}

/* Into the log of a peer, acknowledged there, through loss; what exceeds the peer's limit is refused by it. */
Test(sim_large, appended_at_a_peer)
{
    static const uint32_t too_large[] = {(4 << 20) + 1};
    struct mesh_node *a, *b;
    make_pair(85, 2, 3, &a, &b);
    mesh_know(a, b);
    b->config.channel.append = true;
    b->config.event_bytes = 4 << 20;
    start_all();
    sim_link(mesh.sim, a->host, b->host)->loss = SIM_ALWAYS / 100;
    cr_assert_eq(put_sizes_to(a, b, SIZES, SIZE_COUNT), NET_OK);
    check_sizes(b, NULL, SIZES, SIZE_COUNT);
    cr_assert_eq(put_sizes_to(a, b, too_large, 1), NET_ERR_TOO_LARGE);
    check_sizes(b, NULL, SIZES, SIZE_COUNT);
    cr_assert_gt(MESH_COUNT(a, tx_fragments), 0);
}

/* ---- losses ---- */

struct thief {
    size_t seen, nth; /* large datagrams; the one that is lost */
};

static bool steal(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span datagram)
{
    struct thief *t = ctx;
    (void)from;
    (void)to;
    return datagram.len < 1000 || ++t->seen != t->nth;
}

/* A fragment is lost: its event is dropped as a whole and counted, and what is before and behind it arrives. */
Test(sim_large, an_event_with_a_hole_is_dropped_whole)
{
    static const uint32_t sizes[] = {100000, 200000, 50, 100000, 5};
    static const bool lost[] = {false, true, false, false, false};
    struct mesh_node *a, *b;
    struct thief thief = {.nth = 100};
    make_pair(90, 2, 2, &a, &b);
    sim_settings(mesh.sim)->path_payload = 1472;
    start_all();
    sim_set_tap(mesh.sim, steal, &thief);
    cr_assert_eq(put_sizes(a, sizes, 5), NET_OK);
    sim_run_for(mesh.sim, 3 * SIM_S);
    cr_assert_geq(thief.seen, thief.nth);
    cr_assert_eq(MESH_COUNT(b, drop_incomplete), 1);
    cr_assert_eq(MESH_COUNT(b, drop_lost), 1);
    cr_assert_eq(MESH_COUNT(b, stored_events), 4);
    check_log(b, a, (struct check){.sizes = sizes, .count = 5, .lost = lost});
}

/* The last fragment is lost and nothing comes behind it: the memory comes back all the same. */
Test(sim_large, an_event_without_an_end)
{
    static const uint32_t sizes[] = {72 * (1472 - 80 - 4) + 1200};
    struct mesh_node *a, *b;
    struct thief thief = {.nth = 73};
    make_pair(91, 1, 1, &a, &b);
    sim_settings(mesh.sim)->path_payload = 1472;
    start_all();
    sim_set_tap(mesh.sim, steal, &thief);
    cr_assert_eq(put_sizes(a, sizes, 1), NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_gt(node_shard(b->node, 0)->reassembly.used, 90000);
    sim_run_for(mesh.sim, 15 * SIM_S);
    cr_assert_eq(MESH_COUNT(b, drop_incomplete), 1);
    cr_assert_eq(node_shard(b->node, 0)->reassembly.used, 0);
}

/* Reordering and duplicates harm nothing. */
Test(sim_large, out_of_order)
{
    struct mesh_node *a, *b;
    make_pair(92, 2, 1, &a, &b);
    start_all();
    struct sim_link *link = sim_link(mesh.sim, a->host, b->host);
    link->delay = (struct sim_range){2 * SIM_MS, 5 * SIM_MS};
    link->reorder = link->duplicate = SIM_ALWAYS / 10;
    cr_assert_eq(put_sizes(a, SIZES, SIZE_COUNT), NET_OK);
    sim_run_for(mesh.sim, 10 * SIM_S);
    cr_assert_eq(MESH_COUNT(b, drop_incomplete), 0);
    cr_assert_eq(MESH_COUNT(b, stored_events), SIZE_COUNT);
}

struct heard_sizes {
    struct tail tail;
    uint64_t whole, other;
    bool done;
};

static bool on_any(struct tail *t, const struct tail_event *e)
{
    struct heard_sizes *h = container_of(t, struct heard_sizes, tail);
    h->whole += e->data.len == 7000;
    h->other += e->data.len != 7000;
    return true;
}

static bool on_any_gap(struct tail *t, uint64_t from, uint64_t to)
{
    (void)t;
    return from < to;
}

static void on_any_end(struct tail *t, int err)
{
    cr_assert_eq(err, NET_OK);
    container_of(t, struct heard_sizes, tail)->done = true;
}

static bool hearing(void *ctx)
{
    return !((struct heard_sizes *)ctx)->done;
}

/* In the middle of an event its reader comes to be where a whole one fits a packet: it ends as it began, in fragments,
 * and those behind it come. What was on its way to the old place is lost. */
Test(sim_large, a_path_that_grows_under_an_event)
{
    enum { COUNT = 500 };
    static uint32_t sizes[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        sizes[i] = 7000;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct mesh_node *a, *b;
        struct heard_sizes h = {.tail = {.event = on_any, .gap = on_any_gap, .done = on_any_end}};
        struct tail_request r = {0};
        make_pair(200 + seed, 1 + (unsigned)(seed % 6), 1, &a, &b);
        b->config.window = 65536;
        sim_settings(mesh.sim)->path_payload = 1472;
        start_all();
        for (int way = 0; way < 2; way++)
            sim_link(mesh.sim, (way ? a : b)->host, (way ? b : a)->host)->delay =
                (struct sim_range){10 * SIM_MS, 10 * SIM_MS};
        cr_assert_eq(put_sizes(a, sizes, COUNT), NET_OK);
        sim_run_for(mesh.sim, (50 + seed) * SIM_MS);
        struct io_addr addr = sim_host_addr(b->host);
        addr.ip[15] ^= 1;
        sim_settings(mesh.sim)->path_payload = 8972;
        sim_host_set_addr(b->host, &addr);
        sim_run_for(mesh.sim, 30 * SIM_S);
        cr_assert_eq(put_sizes(a, sizes, 10), NET_OK);
        sim_run_for(mesh.sim, 5 * SIM_S);
        r.origin = a->node_id;
        cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &r.channel), CHANNEL_NAME_OK);
        cr_assert_eq(node_tail_open(b->node, &h.tail, &r), NET_OK);
        sim_host_poke(b->host, 0);
        cr_assert(sim_run_while(mesh.sim, hearing, &h, 60 * SIM_S));
        cr_assert_eq(h.other, 0, "seed %lu: %lu of another size", seed, h.other);
        cr_assert(h.whole > 100 && h.whole + MESH_COUNT(b, drop_lost) >= COUNT, "seed %lu: %lu, %lu lost", seed,
                  h.whole, MESH_COUNT(b, drop_lost));
        if (seed < 29)
            mesh_deinit(&mesh);
    }
}

/* ---- limits ---- */

/* The receiver takes less than the sender sends: that event is dropped and counted, and the credit of its fragments
 * comes back. */
Test(sim_large, larger_than_the_receiver_takes)
{
    static const uint32_t sizes[] = {60000, 2 << 20, 50, 65536, 65537, 60000};
    static const bool lost[] = {false, true, false, false, true, false};
    struct mesh_node *a, *b;
    make_pair(93, 2, 2, &a, &b);
    b->config.event_bytes = 65536;
    start_all();
    cr_assert_eq(put_sizes(a, sizes, 6), NET_OK);
    sim_run_for(mesh.sim, 5 * SIM_S);
    cr_assert_eq(MESH_COUNT(b, drop_event_bytes), 2);
    cr_assert_gt(MESH_COUNT(b, drop_fragment_late), 0);
    cr_assert_eq(MESH_COUNT(b, stored_events), 4);
    cr_assert_eq(MESH_COUNT(a, credit_written_off), 0);
    check_log(b, a, (struct check){.sizes = sizes, .count = 6, .lost = lost});
}

/* No memory for it here: dropped and counted, and the next one that fits is taken. */
Test(sim_large, reassembly_is_full)
{
    static const uint32_t sizes[] = {1 << 20, 100000, 100001};
    static const bool lost[] = {true, false, false};
    struct mesh_node *a, *b;
    make_pair(94, 1, 1, &a, &b);
    b->config.reassembly_peer = 256 << 10;
    start_all();
    cr_assert_eq(put_sizes(a, sizes, 3), NET_OK);
    sim_run_for(mesh.sim, 20 * SIM_S);
    cr_assert_eq(MESH_COUNT(b, drop_reassembly), 1);
    cr_assert_eq(MESH_COUNT(b, stored_events), 2);
    cr_assert_eq(node_shard(b->node, 0)->reassembly.used, 0);
    check_log(b, a, (struct check){.sizes = sizes, .count = 3, .lost = lost});
}

/* A channel without a log names its own limit, and refuses what its ring cannot hold. */
Test(sim_large, none_has_a_limit_of_its_own)
{
    struct mesh_node *a, *b;
    struct channel_name name;
    const char *key;
    static const uint32_t largest[] = {(512 << 10) - 4, 100, (512 << 10) - 4};
    make_pair(95, 2, 1, &a, &b);
    a->config.channel.log = LOG_NONE;
    a->config.log_none_bytes = 512 << 10;
    start_all();
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &name), CHANNEL_NAME_OK);
    cr_assert_eq(node_max_event(a->node, &name, &key), (512 << 10) - 4);
    cr_assert_str_eq(key, "channels.none_bytes");
    cr_assert_eq(put_sizes(a, largest, 3), NET_OK);
    sim_run_for(mesh.sim, 5 * SIM_S);
    cr_assert_eq(MESH_COUNT(b, stored_events), 3);
    check_sizes(b, a, largest, 3);
    static const uint32_t larger[] = {(512 << 10) - 3};
    cr_assert_eq(put_sizes(a, larger, 1), NET_ERR_TOO_LARGE);
}

/* ---- sessions that end in the middle ---- */

static bool nothing_yet(void *ctx)
{
    return MESH_COUNT((struct mesh_node *)ctx, rx_fragments) < 300;
}

/* The subscriber is killed in the middle of an event: what it gets afterwards is whole. */
Test(sim_large, a_restart_in_the_middle)
{
    static const uint32_t sizes[] = {4 << 20, 50, 100000};
    struct mesh_node *a, *b;
    make_pair(96, 2, 2, &a, &b);
    sim_settings(mesh.sim)->path_payload = 1472;
    start_all();
    sim_link(mesh.sim, a->host, b->host)->delay = (struct sim_range){20 * SIM_MS, 20 * SIM_MS};
    cr_assert_eq(put_sizes(a, sizes, 3), NET_OK);
    cr_assert(sim_run_while(mesh.sim, nothing_yet, b, 20 * SIM_S));
    mesh_kill(b);
    mesh_start(b);
    cr_assert(mesh_subscribed(b, CHANNEL, 60 * SIM_S));
    static const uint32_t again[] = {3000000};
    cr_assert_eq(put_sizes(a, again, 1), NET_OK);
    sim_run_for(mesh.sim, 30 * SIM_S);
    check_sizes(b, a, again, 1);
}
