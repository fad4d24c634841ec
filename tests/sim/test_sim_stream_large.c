/* Events on an application's reliable streams that are larger than a packet: netmesh_stream_send(), extensions X3. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "shards/peers/peer.h"
#include "tests/sim/mesh/sim_node.h"

enum { ID = 7, MAX = 16 << 20 };

static struct mesh mesh;
static struct mesh_node *a, *b; /* a sends, b receives */

/* What b's application was brought, and what both heard of the end. */
static struct {
    uint64_t events, refusals;
    uint64_t to_refuse; /* so many offers first */
    enum netmesh_stream_end end;
    int sender_end; /* 1: none yet */
    const uint32_t *sizes;
} app;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_stream_large, .fini = end, .timeout = 120);

static uint8_t byte_of(uint64_t number, size_t i)
{
    return (uint8_t)(number * 31 + i + i / 1009);
}

static bool on_stream(void *ctx, struct netmesh_shard *shard, const struct netmesh_stream_events *e)
{
    struct wire_frames walk = wire_frames((struct cspan){e->frames, e->len}, e->count);
    struct cspan event;
    (void)ctx;
    (void)shard;
    if (app.refusals < app.to_refuse) {
        app.refusals++;
        return false;
    }
    cr_assert(e->stream == ID && e->mode == NETMESH_RELIABLE);
    while (wire_frames_next(&walk, &event)) {
        cr_assert_eq(event.len, app.sizes[app.events], "event %lu has %zu", app.events, event.len);
        for (size_t i = 0; i < event.len; i++)
            if (event.data[i] != byte_of(app.events, i))
                cr_assert_fail("event %lu differs at %zu", app.events, i);
        app.events++;
    }
    app.end = e->end;
    return true;
}

static void on_stream_end(void *ctx, struct netmesh_shard *shard, const struct netmesh_stream *handle, int err)
{
    (void)ctx;
    (void)shard;
    cr_assert_eq(handle->id, ID);
    app.sender_end = err;
}

static void make(uint64_t seed)
{
    memset(&app, 0, sizeof app);
    app.sender_end = 1;
    mesh_init(&mesh, seed);
    a = mesh_add(&mesh, 1);
    b = mesh_add(&mesh, 1);
    mesh_know(a, b);
    mesh_know(b, a);
    a->hooks = (struct netmesh_hooks){.on_stream_end = on_stream_end};
    b->hooks = (struct netmesh_hooks){.on_stream = on_stream};
    a->config.event_bytes = b->config.event_bytes = MAX;
}

static struct netmesh_shard *home(void)
{
    sim_host_poke(a->host, 0);
    sim_run_for(mesh.sim, 10 * SIM_US);
    sim_host_poke(a->host, 0);
    return mesh_peer(a, b)->shard->face;
}

static struct netmesh_stream open_stream(uint32_t window)
{
    struct netmesh_stream_options o = {.mode = NETMESH_RELIABLE, .window = window};
    struct netmesh_stream handle;
    mesh_start(a);
    mesh_start(b);
    cr_assert(mesh_settle(&mesh, 10 * SIM_S));
    cr_assert_eq(netmesh_stream_open(home(), b->node_id, ID, &o, &handle), NET_OK);
    return handle;
}

/* One frame for each size; the caller's to free. */
static uint8_t *make_frames(const uint32_t *sizes, uint32_t count, size_t *len)
{
    *len = 0;
    for (uint32_t i = 0; i < count; i++)
        *len += 4 + (size_t)sizes[i];
    uint8_t *frames = malloc(*len), *at = frames;
    cr_assert_not_null(frames);
    for (uint32_t n = 0; n < count; n++) {
        store_le32(at, sizes[n]);
        for (size_t i = 0; i < sizes[n]; i++)
            at[4 + i] = byte_of(n, i);
        at += 4 + (size_t)sizes[n];
    }
    return frames;
}

static int sent_with; /* 1: not done */

static void on_sent(struct netmesh_retry *r, struct netmesh_shard *shard, int err)
{
    (void)r;
    (void)shard;
    sent_with = err;
}

static bool sending(void *ctx)
{
    (void)ctx;
    return sent_with == 1;
}

static int send_all(const struct netmesh_stream *handle, const uint32_t *sizes, uint32_t count)
{
    size_t len;
    uint8_t *frames = make_frames(sizes, count, &len);
    struct netmesh_retry r = {
        .stream = *handle, .frames = frames, .len = len, .count = count, .max_retries = 4096, .done = on_sent};
    sent_with = 1;
    app.sizes = sizes;
    netmesh_stream_retry(home(), &r);
    cr_assert(sim_run_while(mesh.sim, sending, NULL, 100 * SIM_S));
    free(frames);
    return sent_with;
}

static bool goes_on(void *ctx)
{
    (void)ctx;
    return app.end == NETMESH_STREAM_GOES_ON || app.sender_end == 1;
}

/* Small ones before, between and behind; through loss, and an application that has no room at first. */
Test(sim_stream_large, arrive_once_and_in_order)
{
    static const uint32_t sizes[] = {10, MAX, 0, 9000, 1 << 20, 8108, 8109, 100, 1441, 1440, 70000, 1};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    make(1);
    struct netmesh_stream handle = open_stream(0);
    app.to_refuse = 5;
    for (int i = 0; i < 2; i++) {
        struct sim_link *l = sim_link(mesh.sim, (i ? a : b)->host, (i ? b : a)->host);
        l->loss = l->reorder = l->duplicate = 20000;
    }
    cr_assert_eq(send_all(&handle, sizes, COUNT), NET_OK);
    cr_assert_eq(netmesh_stream_close(home(), &handle), NET_OK);
    cr_assert(sim_run_while(mesh.sim, goes_on, NULL, 60 * SIM_S));
    cr_assert_eq(app.events, COUNT, "%lu", app.events);
    cr_assert_eq(app.refusals, 5);
    cr_assert(app.end == NETMESH_STREAM_FINISHED && app.sender_end == NET_OK);
    cr_assert_eq(MESH_COUNT(b, stream_events_received), COUNT);
    cr_assert_eq(node_shard(a->node, 0)->message_bytes, 0);
    cr_assert_eq(node_shard(b->node, 0)->reassembly.used, 0);
}

/* A peer that takes less: skipped it would be missing, so the stream ends, at both ends. */
Test(sim_stream_large, above_the_receivers_limit_they_break_the_stream)
{
    static const uint32_t sizes[] = {65536, 65537, 5};
    make(2);
    b->config.event_bytes = 65536;
    struct netmesh_stream handle = open_stream(0);
    send_all(&handle, sizes, 3);
    cr_assert(sim_run_while(mesh.sim, goes_on, NULL, 60 * SIM_S));
    cr_assert_eq(app.events, 1);
    cr_assert(app.end == NETMESH_STREAM_BROKEN && app.sender_end == NETMESH_CLOSED);
    cr_assert_eq(MESH_COUNT(b, drop_event_bytes), 1);
    cr_assert_eq(node_shard(a->node, 0)->message_bytes, 0);
    cr_assert_eq(node_shard(b->node, 0)->reassembly.used, 0);
}

Test(sim_stream_large, above_the_senders_limit_or_window_they_are_refused)
{
    static const uint32_t most[] = {65536}, more[] = {65537}, packet[] = {1000};
    make(3);
    a->config.event_bytes = 65536;
    struct netmesh_stream handle = open_stream(0);
    cr_assert_eq(send_all(&handle, more, 1), NET_ERR_TOO_LARGE);
    cr_assert_eq(send_all(&handle, most, 1), NET_OK);
    mesh_deinit(&mesh);
    make(4);
    handle = open_stream(1200); /* no fragment fits */
    cr_assert_eq(send_all(&handle, more, 1), NET_ERR_TOO_LARGE);
    cr_assert_eq(send_all(&handle, packet, 1), NET_OK);
}

/* Given up in the middle: nothing stays behind at either end. */
Test(sim_stream_large, a_reset_in_the_middle)
{
    static const uint32_t sizes[] = {MAX};
    make(5);
    struct netmesh_stream handle = open_stream(65536);
    cr_assert_eq(send_all(&handle, sizes, 1), NET_OK);
    sim_run_for(mesh.sim, 5 * SIM_MS);
    cr_assert_gt(node_shard(a->node, 0)->message_bytes, 0);
    cr_assert_eq(netmesh_stream_reset(home(), &handle), NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert(app.events == 0 && app.end == NETMESH_STREAM_BROKEN);
    cr_assert_eq(node_shard(a->node, 0)->message_bytes, 0);
    cr_assert_eq(node_shard(b->node, 0)->reassembly.used, 0);
}

/* The path, and what the peer says that it takes, change while an event is on its way or waits for credit. */
Test(sim_stream_large, the_size_of_packets_may_change_meanwhile)
{
    static const uint32_t sizes[] = {1388, 1 << 20}, waits[] = {1388, 5000};
    enum { PATH = 1472 - WIRE_OVERHEAD };
    make(6);
    sim_settings(mesh.sim)->path_payload = WIRE_MAX_DATAGRAM;
    struct netmesh_stream handle = open_stream(65536);
    cr_assert_eq(send_all(&handle, sizes, 2), NET_OK);
    sim_run_for(mesh.sim, 5 * SIM_MS);
    cr_assert_gt(node_shard(a->node, 0)->message_bytes, 0);
    struct peer *p = mesh_peer(a, b);
    p->plaintext_max = p->plaintext_path = p->plaintext_whole = PATH;
    sim_run_for(mesh.sim, 10 * SIM_S);
    cr_assert_eq(app.events, 2);
    mesh_deinit(&mesh);
    make(7);
    sim_settings(mesh.sim)->path_payload = PATH + WIRE_OVERHEAD;
    handle = open_stream(PATH + WIRE_OVERHEAD); /* one packet */
    cr_assert_eq(send_all(&handle, waits, 2), NET_OK);
    p = mesh_peer(a, b);
    cr_assert_eq(p->plaintext_path, PATH);
    p->plaintext_path = p->plaintext_whole = p->plaintext_max;
    sim_run_for(mesh.sim, 10 * SIM_S);
    cr_assert_eq(app.events, 2);
}

/* What waits for a peer that takes nothing leaves memory for the others. */
Test(sim_stream_large, a_silent_peer_leaves_the_others_room)
{
    static const uint32_t largest[] = {MAX}, sizes[] = {1 << 20};
    struct netmesh_stream_options reliable = {.mode = NETMESH_RELIABLE};
    struct netmesh_stream handle, other;
    size_t len;
    make(8);
    struct mesh_node *silent = mesh_add(&mesh, 1);
    mesh_know(a, silent);
    mesh_know(silent, a);
    mesh_start(silent);
    handle = open_stream(0);
    sim_cut(mesh.sim, a->host, silent->host, true);
    uint8_t *frames = make_frames(largest, 1, &len);
    uint32_t taken = 0;
    for (uint64_t id = 0; id < 8; id++) {
        uint32_t sent;
        cr_assert_eq(netmesh_stream_open(home(), silent->node_id, id, &reliable, &other), NET_OK);
        int err = netmesh_stream_send(home(), &other, frames, len, 1, &sent);
        cr_assert_eq(err, sent ? NET_OK : NETMESH_AGAIN);
        taken += sent;
    }
    free(frames);
    cr_assert_eq(taken, 1);
    cr_assert_eq(send_all(&handle, sizes, 1), NET_OK);
    sim_run_for(mesh.sim, 5 * SIM_S);
    cr_assert_eq(app.events, 1);
}
