/* Streams as an application uses them (netmesh.h), in whole nodes. Numbers are those of streams.md 19; what they map to
 * is in tests/streams_checklist.md. One end is a node; the other a peer whose every packet the test decides. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/stream/ack.h"
#include "core/stream/credit.h"
#include "shards/peers/peer.h"
#include "tests/sim/mesh/scripted.h"

static const char CHANNEL[] = "sensors/lidar";
static const uint64_t ID = UINT64_C(0xDEADBEEFCAFEF00D);

static struct mesh mesh;
static struct mesh_node *node;
static struct scripted peer;
static struct netmesh_shard *face; /* of the shard where the peer is at home */
static uint64_t peer_id;

/* What came to the application. */
static struct {
    unsigned calls, refusals, channel_calls, peers;
    uint64_t events, sequence, stream;
    uint32_t count; /* of the last call */
    bool full;      /* takes nothing */
} app;

static bool on_stream(void *ctx, struct netmesh_shard *shard, const struct netmesh_stream_events *e)
{
    (void)ctx;
    cr_assert(shard == face && e->peer == peer_id && e->mode == NETMESH_FIRE_AND_FORGET);
    if (app.full) {
        app.refusals++;
        return false;
    }
    app.calls++;
    app.events += e->count;
    app.count = e->count;
    app.sequence = e->sequence;
    app.stream = e->stream;
    return true;
}

static void on_events(void *ctx, struct netmesh_shard *shard, const struct netmesh_events *e)
{
    (void)ctx;
    (void)shard;
    (void)e;
    app.channel_calls++;
}

static void on_peer(void *ctx, struct netmesh_shard *shard, uint64_t id, bool connected)
{
    (void)ctx;
    cr_assert(id == peer_id);
    app.peers += connected;
    face = shard;
}

static void make(uint64_t seed, bool compat)
{
    memset(&app, 0, sizeof app);
    mesh_init(&mesh, seed);
    sim_settings(mesh.sim)->path_payload = WIRE_MAX_PACKET;
    node = mesh_add(&mesh, 3);
    node->hooks = (struct netmesh_hooks){.on_stream = on_stream, .on_events = on_events, .on_peer = on_peer};
    scripted_init(&peer, &mesh, node, compat);
    scripted_list(&peer, true)->compat = compat ? PEER_V019 : PEER_OURS;
    peer.offer.window = 65536;
    peer_id = peer.identity.ids.node_id;
}

static void start(uint64_t seed, bool compat)
{
    make(seed, compat);
    mesh_start(node);
    scripted_connect(&peer);
    cr_assert_eq(app.peers, 1, "and so we know where it is at home");
}

static void end(void)
{
    scripted_deinit(&peer);
    mesh_deinit(&mesh);
}

TestSuite(sim_user_streams, .fini = end, .timeout = 120);

/* As a hook on that shard would call it: right after a turn. */
static struct netmesh_shard *home(void)
{
    sim_host_poke(node->host, face->shard->index);
    sim_run_for(mesh.sim, 100 * SIM_US);
    sim_host_poke(node->host, face->shard->index);
    return face;
}

static void settle(void)
{
    home();
    sim_run_for(mesh.sim, 5 * SIM_MS);
}

static struct netmesh_stream open_with(uint64_t id, const struct netmesh_stream_options *options)
{
    struct netmesh_stream handle;
    cr_assert_eq(netmesh_stream_open(home(), peer_id, id, options, &handle), NET_OK);
    cr_assert(handle.peer == peer_id && handle.id == id);
    return handle;
}

static struct netmesh_stream_stats stats_of(uint64_t id)
{
    struct netmesh_stream_stats stats;
    cr_assert_eq(netmesh_stream_get_stats(home(), peer_id, id, &stats), NET_OK);
    return stats;
}

static uint8_t frames[64 * (4 + 9000)];

/* `count` events of `len` bytes, into `frames`. */
static struct cspan make_events(uint32_t count, uint32_t len)
{
    memset(frames, 0, (size_t)count * (4 + len));
    for (uint32_t i = 0; i < count; i++)
        store_le32(frames + (size_t)i * (4 + len), len);
    return (struct cspan){frames, (size_t)count * (4 + len)};
}

static int send_events(const struct netmesh_stream *handle, uint32_t count, uint32_t len, uint32_t *sent)
{
    struct cspan events = make_events(count, len);
    return netmesh_stream_send(home(), handle, events.data, events.len, count, sent);
}

static bool of_the_stream(const struct heard *h)
{
    return heard_events(h) && h->header.stream_id == ID;
}

static void grant(uint64_t id, uint64_t total)
{
    uint8_t text[4 + CREDIT_MESSAGE];
    store_le32(text, CREDIT_MESSAGE);
    credit_encode(id, total, text + 4);
    scripted_send(&peer,
                  (struct wire_header){.subprotocol = SUBPROTO_CREDIT, .stream_id = UINT64_MAX, .event_count = 1},
                  (struct cspan){text, sizeof text});
    settle();
}

/* ---- sending ---- */

/* 1, 6, 7, 12, 47 */
static void defaults(uint64_t seed, bool compat)
{
    size_t at;
    uint32_t sent = 9;
    start(seed, compat);
    at = peer.heard_count;
    struct netmesh_stream handle = open_with(ID, NULL);
    struct netmesh_stream_stats stats = stats_of(ID);
    cr_assert(stats.tx_window == 65536 && stats.tx_credit_remaining == 65536 && stats.active && stats.tx_seq == 0);
    cr_assert_eq(netmesh_stream_send(home(), &handle, frames, 0, 0, &sent), NET_OK);
    cr_assert_eq(sent, 0);
    settle();
    cr_assert_eq(scripted_count(&peer, at, of_the_stream), 0, "no events: nothing");
    for (uint64_t i = 0; i < 3; i++) {
        cr_assert_eq(send_events(&handle, 1, 15, &sent), NET_OK);
        cr_assert_eq(sent, 1);
        settle();
        const struct heard *h = scripted_next(&peer, &at, of_the_stream);
        cr_assert_not_null(h);
        cr_assert(h->header.sequence == i && h->header.flags == 0 && h->header.event_count == 1 && h->text_len == 19);
        cr_assert_eq(stats_of(ID).tx_credit_remaining, 65536 - 99 * (i + 1));
    }
    stats = stats_of(ID);
    cr_assert(stats.tx_seq == 3 && stats.rx_seq == 0 && stats.inbound_pending == 0 && stats.backpressure_events == 0);
    grant(ID, 3 * 99);
    grant(ID, 99); /* stale: it counts, and changes nothing */
    stats = stats_of(ID);
    cr_assert(stats.credit_grants_received == 2 && stats.tx_credit_remaining == 65536);
    cr_assert_eq(netmesh_stream_get_stats(home(), peer_id, ID + 1, &stats), NETMESH_NOT_FOUND);
    cr_assert_eq(netmesh_stream_get_stats(home(), peer_id + 1, ID, &stats), NETMESH_NOT_FOUND);
}

Test(sim_user_streams, an_open_stream_to_our_own)
{
    defaults(1, false);
}

Test(sim_user_streams, an_open_stream_to_v019)
{
    defaults(2, true);
}

/* 4, 5: as many to a packet as fit */
Test(sim_user_streams, packets_are_filled)
{
    static const struct {
        uint32_t sizes[3], packets, lens[2];
    } cases[] = {{{4000, 4000, 200}, 2, {8112, 204}}, {{4000, 4000, 100}, 1, {8112}}, {{8108, 0, 0}, 2, {8112, 8}}};
    start(3, true);
    struct netmesh_stream handle = open_with(ID, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t at = peer.heard_count, len = 0;
        for (int k = 0; k < 3; k++) {
            store_le32(frames + len, cases[i].sizes[k]);
            len += 4 + cases[i].sizes[k];
        }
        cr_assert_eq(netmesh_stream_send(home(), &handle, frames, len, 3, NULL), NET_OK);
        settle();
        for (uint32_t k = 0; k < cases[i].packets; k++) {
            const struct heard *h = scripted_next(&peer, &at, of_the_stream);
            cr_assert(h && h->text_len == cases[i].lens[k], "case %zu", i);
        }
        cr_assert_null(scripted_next(&peer, &at, of_the_stream));
    }
    for (uint32_t count = WIRE_MAX_EVENTS; count <= WIRE_MAX_EVENTS + 1; count++) {
        size_t at = peer.heard_count;
        cr_assert_eq(send_events(&handle, count, 0, NULL), NET_OK);
        settle();
        cr_assert_eq(scripted_count(&peer, at, of_the_stream), count - WIRE_MAX_EVENTS + 1);
    }
}

/* 2, 14: what is refused takes no sequence, is counted, and what was sent is told */
static void backpressure(uint64_t seed, bool compat)
{
    size_t at;
    uint32_t sent;
    start(seed, compat);
    at = peer.heard_count;
    struct netmesh_stream handle = open_with(ID, NULL);
    cr_assert_eq(send_events(&handle, 20, 4000, &sent), NETMESH_AGAIN);
    cr_assert_eq(sent, 16, "8 packets of 8192 bytes are in the window of 65536");
    cr_assert_eq(send_events(&handle, 20, 4000, &sent), NETMESH_AGAIN);
    cr_assert_eq(sent, 0);
    settle();
    struct netmesh_stream_stats stats = stats_of(ID);
    cr_assert(stats.tx_seq == 8 && stats.backpressure_events == 2 && stats.tx_credit_remaining == 0);
    cr_assert_eq(scripted_count(&peer, at, of_the_stream), 8);
    grant(ID, 8 * 8192);
    cr_assert_eq(send_events(&handle, 1, 4000, &sent), NET_OK);
    settle();
    const struct heard *last = NULL;
    for (const struct heard *h; (h = scripted_next(&peer, &at, of_the_stream));)
        last = h;
    cr_assert(last && last->header.sequence == 8);
}

Test(sim_user_streams, backpressure_of_our_own)
{
    backpressure(4, false);
}

Test(sim_user_streams, backpressure_of_v019)
{
    backpressure(5, true);
}

/* 51: what is never granted is taken as lost after a while (13.4), for streams without acknowledgements too */
Test(sim_user_streams, an_exhausted_window_recovers)
{
    uint32_t sent;
    start(6, true);
    struct netmesh_stream handle = open_with(ID, NULL);
    cr_assert_eq(send_events(&handle, 20, 4000, &sent), NETMESH_AGAIN);
    sim_run_for(mesh.sim, 190 * SIM_MS);
    cr_assert_eq(send_events(&handle, 20, 4000, &sent), NETMESH_AGAIN);
    cr_assert_eq(sent, 0);
    sim_run_for(mesh.sim, 15 * SIM_MS);
    cr_assert_eq(send_events(&handle, 16, 4000, &sent), NET_OK);
}

/* 8, 9, 10, 11 */
Test(sim_user_streams, handles_and_epochs)
{
    struct netmesh_stream_options heavy = {NETMESH_FIRE_AND_FORGET, 10000, 7}, none = {.weight = 0};
    struct netmesh_stream a, b, unknown = {peer_id, 77, 1};
    start(7, false);
    unknown.peer = peer_id;
    a = open_with(ID, &heavy);
    b = open_with(ID, NULL);
    cr_assert_eq(a.epoch, b.epoch, "the first one stays");
    cr_assert_eq(stats_of(ID).tx_window, 10000);
    cr_assert_eq(netmesh_stream_close(home(), &unknown), NET_OK);
    cr_assert_eq(netmesh_stream_close(home(), &a), NET_OK);
    cr_assert_eq(netmesh_stream_close(home(), &a), NET_OK);
    cr_assert_eq(send_events(&a, 1, 10, NULL), NETMESH_CLOSED);
    cr_assert_eq(netmesh_stream_open(home(), peer_id, ID, NULL, &b), NETMESH_AGAIN, "for two seconds");
    sim_run_for(mesh.sim, 2100 * SIM_MS);
    b = open_with(ID, &none);
    cr_assert_neq(a.epoch, b.epoch);
    cr_assert_eq(send_events(&a, 1, 10, NULL), NETMESH_CLOSED, "an old handle is worth nothing");
    cr_assert_eq(netmesh_stream_close(home(), &a), NET_OK);
    cr_assert_eq(send_events(&b, 1, 10, NULL), NET_OK, "nor does it close what came after it");
    cr_assert_eq(stats_of(ID).tx_window, 65536, "0: what the peer grants");
    struct netmesh_stream_options greedy = {.window = 10 << 20};
    open_with(ID + 1, &greedy);
    cr_assert_eq(stats_of(ID + 1).tx_window, 65536, "nor is more than that taken");
    struct netmesh_stream other = b;
    other.peer++;
    cr_assert_eq(netmesh_stream_close(home(), &other), NETMESH_NOT_FOUND);
    cr_assert_eq(send_events(&other, 1, 10, NULL), NETMESH_NOT_FOUND);
}

Test(sim_user_streams, what_cannot_be_sent_is_refused_whole)
{
    struct netmesh_stream_options small = {.window = 1000};
    struct netmesh_stream handle, other;
    size_t at;
    uint32_t sent = 9;
    start(8, true);
    at = peer.heard_count;
    handle = open_with(ID, NULL);
    make_events(2, 8108);
    store_le32(frames + 4 + 8108, 8109);
    cr_assert_eq(netmesh_stream_send(home(), &handle, frames, (size_t)8 + 8108 + 8109, 2, &sent), NET_ERR_TOO_LARGE);
    cr_assert_eq(sent, 0);
    make_events(2, 10);
    cr_assert_eq(netmesh_stream_send(home(), &handle, frames, 28, 3, &sent), NET_ERR_FORMAT);
    cr_assert_eq(netmesh_stream_send(home(), &handle, frames, 27, 2, &sent), NET_ERR_FORMAT);
    cr_assert_eq(netmesh_stream_send(home(), &handle, frames, 28, 1, &sent), NET_ERR_FORMAT);
    other = open_with(ID + 1, &small);
    cr_assert_eq(send_events(&other, 1, 917, &sent), NET_ERR_TOO_LARGE, "more than the window");
    cr_assert_eq(send_events(&other, 1, 916, &sent), NET_OK);
    settle();
    cr_assert_eq(scripted_count(&peer, at, of_the_stream), 0);
    static const uint64_t reserved[] = {0x0A00, 0x0A01, 0x0B00, 0x0BFF, UINT64_MAX};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        cr_assert_eq(netmesh_stream_open(home(), peer_id, reserved[i], NULL, &other), NET_ERR_INVALID);
    struct netmesh_stream_options reliable = {.mode = NETMESH_RELIABLE};
    cr_assert_eq(netmesh_stream_open(home(), peer_id, 5, &reliable, &other), NETMESH_UNREACHABLE, "v0.19.0 knows none");
    cr_assert_eq(netmesh_stream_open(home(), peer_id + 1, 5, NULL, &other), NETMESH_NOT_FOUND);
}

/* 19, 20: a grant for what is not open, or was closed, changes nothing */
Test(sim_user_streams, grants_of_no_stream)
{
    struct netmesh_stream_stats stats;
    start(9, false);
    grant(12345, 1000);
    cr_assert_eq(netmesh_stream_get_stats(home(), peer_id, 12345, &stats), NETMESH_NOT_FOUND);
    cr_assert_eq(MESH_COUNT(node, drop_credit_stream), 1);
    struct netmesh_stream handle = open_with(ID, NULL);
    cr_assert_eq(send_events(&handle, 1, 4000, NULL), NET_OK);
    settle();
    cr_assert_eq(netmesh_stream_close(home(), &handle), NET_OK);
    settle();
    grant(ID, 4084);
    cr_assert_eq(MESH_COUNT(node, drop_credit_stream), 2);
    sim_run_for(mesh.sim, 2100 * SIM_MS);
    handle = open_with(ID, NULL);
    cr_assert_eq(send_events(&handle, 1, 15, NULL), NET_OK);
    settle();
    cr_assert_eq(stats_of(ID).tx_credit_remaining, 65536 - 99);
    grant(ID, 99);
    cr_assert_eq(stats_of(ID).tx_credit_remaining, 65536, "later ones are applied");
}

/* ---- sending again by itself: 43, 44, 45 ---- */

static struct {
    unsigned done;
    int err;
    uint64_t at;
} ended;

static void on_done(struct netmesh_retry *r, struct netmesh_shard *shard, int err)
{
    cr_assert(shard == face && r->ctx == &ended);
    ended.done++;
    ended.err = err;
    ended.at = sim_now(mesh.sim);
}

static struct netmesh_retry retry_of(const struct netmesh_stream *handle, uint32_t count, uint32_t len, uint32_t most)
{
    struct cspan events = make_events(count, len);
    memset(&ended, 0, sizeof ended);
    return (struct netmesh_retry){.stream = *handle,
                                  .frames = events.data,
                                  .len = events.len,
                                  .count = count,
                                  .max_retries = most,
                                  .done = on_done,
                                  .ctx = &ended};
}

Test(sim_user_streams, retries_are_counted_and_paused)
{
    static const uint64_t pauses[] = {0, 5, 15, 35, 75, 155, 315, 515, 715}; /* ms, of all before */
    struct netmesh_stream_options reliable = {NETMESH_RELIABLE, 65536, 1};
    make(10, false);
    struct mesh_node *other = mesh_add(&mesh, 1); /* the one that gives no credit: it hears nothing */
    peer_id = other->node_id;
    node->peer_count = 0;
    mesh_know(node, other);
    mesh_know(other, node);
    mesh_start(node);
    mesh_start(other);
    cr_assert(mesh_settle(&mesh, 10 * SIM_S));
    sim_cut(mesh.sim, node->host, other->host, true);
    struct netmesh_stream handle = open_with(ID, &reliable);
    cr_assert_eq(send_events(&handle, 16, 4000, NULL), NET_OK);
    for (uint32_t most = 0; most < 9; most += most ? 4 : 1) {
        struct netmesh_retry r = retry_of(&handle, 3, 4000, most);
        uint64_t refused = stats_of(ID).backpressure_events, from = sim_now(mesh.sim);
        netmesh_stream_retry(home(), &r);
        cr_assert_eq(ended.done, 0, "never from inside the call");
        home();
        sim_run_for(mesh.sim, 2 * SIM_S);
        cr_assert(ended.done == 1 && ended.err == NETMESH_AGAIN && r.count == 3, "of %u", most);
        cr_assert_eq(stats_of(ID).backpressure_events - refused, most + 1);
        uint64_t took = ended.at - from, want = pauses[most] * SIM_MS;
        cr_assert(took >= want && took < want + 12 * SIM_MS, "%u: %lu ns", most, took);
    }
}

Test(sim_user_streams, a_retry_goes_on_behind_what_was_sent)
{
    size_t at;
    uint64_t total = 0;
    start(11, false);
    at = peer.heard_count;
    struct netmesh_stream handle = open_with(ID, NULL);
    struct netmesh_retry r = retry_of(&handle, 60, 4000, 4096); /* 240 kB through a window of 64 KiB */
    for (uint32_t i = 0; i < 60; i++)
        store_le32(frames + (size_t)i * 4004 + 4, i);
    netmesh_stream_retry(home(), &r);
    for (uint32_t next = 0; !ended.done;) {
        sim_run_for(mesh.sim, 20 * SIM_MS);
        for (const struct heard *h; (h = scripted_next(&peer, &at, of_the_stream));) {
            struct wire_frames walk = wire_frames((struct cspan){h->text, h->text_len}, h->header.event_count);
            struct cspan event;
            while (wire_frames_next(&walk, &event))
                cr_assert_eq(load_le32(event.data), next++, "each once");
            total += h->text_len + WIRE_OVERHEAD;
        }
        grant(ID, total);
    }
    cr_assert(ended.done == 1 && ended.err == NET_OK && r.count == 0 && r.len == 0);
}

Test(sim_user_streams, only_backpressure_is_tried_again)
{
    start(12, false);
    struct netmesh_stream handle = open_with(ID, NULL);
    struct netmesh_retry r = retry_of(&handle, 1, 8200, 4096);
    netmesh_stream_retry(home(), &r);
    settle();
    cr_assert(ended.done == 1 && ended.err == NET_ERR_TOO_LARGE);
    cr_assert_eq(send_events(&handle, 16, 4000, NULL), NET_OK);
    r = retry_of(&handle, 1, 4000, 4096);
    netmesh_stream_retry(home(), &r);
    settle();
    cr_assert_eq(ended.done, 0);
    cr_assert_eq(netmesh_stream_close(home(), &handle), NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert(ended.done == 1 && ended.err == NETMESH_CLOSED);
    r = retry_of(&handle, 1, 4000, 4096);
    netmesh_stream_retry(home(), &r);
    netmesh_stream_retry_cancel(&r);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(ended.done, 0, "cancelled");
}

/* 46: towards a peer that cannot be reached nothing leaves, and it is no error while there is credit */
Test(sim_user_streams, a_peer_behind_a_cut_link)
{
    uint32_t sent;
    start(13, false);
    struct netmesh_stream handle = open_with(ID, NULL);
    sim_cut(mesh.sim, node->host, peer.host, true);
    size_t at = peer.heard_count;
    cr_assert_eq(send_events(&handle, 1, 10, &sent), NET_OK);
    cr_assert_eq(sent, 1);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(scripted_count(&peer, at, of_the_stream), 0);
}

/* ---- receiving ---- */

static void bring(uint64_t id, uint64_t sequence, uint16_t count, struct cspan text)
{
    scripted_send(&peer, (struct wire_header){.stream_id = id, .sequence = sequence, .event_count = count}, text);
    settle();
}

static const uint8_t two[] = "\5\0\0\0hello\6\0\0\0world!"; /* wire.md 13.9: 19 bytes, 99 with what credit adds */

/* The last grant of `id` heard from *at on, or 0. */
static uint64_t granted(uint64_t id, size_t *at)
{
    uint64_t total = 0, stream, one;
    for (const struct heard *h; (h = scripted_next(&peer, at, heard_credit));) {
        struct wire_frames walk = wire_frames((struct cspan){h->text, h->text_len}, h->header.event_count);
        struct cspan event;
        cr_assert_eq(h->header.stream_id, UINT64_MAX);
        while (wire_frames_next(&walk, &event))
            if (credit_decode(event, &stream, &one) == NET_OK && stream == id)
                total = one;
    }
    return total;
}

/* 23, 38, 49: packets without events are counted for credit, and bring nothing */
Test(sim_user_streams, what_comes_is_handed_on_and_granted)
{
    size_t at;
    start(14, false);
    at = peer.heard_count;
    bring(ID, 0, 2, (struct cspan){two, sizeof two - 1});
    cr_assert(app.calls == 1 && app.count == 2 && app.sequence == 0 && app.stream == ID);
    bring(ID, 1, 0, (struct cspan){0});
    cr_assert_eq(app.calls, 1);
    cr_assert_eq(granted(ID, &at), 99 + 80);
    struct netmesh_stream_stats stats = stats_of(ID);
    cr_assert(stats.rx_seq == 1 && !stats.active && stats.credit_grants_sent == 2);
    for (uint64_t id = 0; id < 7; id++) { /* all of a peer on the shard where it is at home: on_stream says so */
        bring(id, 0, 2, (struct cspan){two, sizeof two - 1});
        cr_assert_eq(app.stream, id);
    }
    cr_assert_eq(MESH_COUNT(node, stream_events_received), 16);
}

/* 25: grants have a sequence of their own, whatever streams are called */
Test(sim_user_streams, grants_count_by_themselves)
{
    size_t at;
    start(15, true);
    at = peer.heard_count;
    for (uint64_t i = 0; i < 3; i++) {
        bring(SUBPROTO_CREDIT, i, 2, (struct cspan){two, sizeof two - 1});
        const struct heard *h = scripted_next(&peer, &at, heard_credit);
        cr_assert(h && h->header.stream_id == UINT64_MAX && h->header.sequence == i && h->header.flags == 0);
        cr_assert_eq(load_le64(h->text + 4), SUBPROTO_CREDIT);
    }
}

/* 48: what is subscribed to goes to its log, and not to the application's streams */
Test(sim_user_streams, a_channels_events_are_no_streams)
{
    uint8_t text[15] = {11, 0, 0, 0, MEMBERSHIP_ACK, [13] = 1};
    size_t at = 0;
    struct membership m;
    make(16, false);
    struct subscription_entry *e = mesh_add_subscription(node);
    e->peer = peer_id;
    snprintf(e->channel, sizeof e->channel, "%s", CHANNEL);
    mesh_start(node);
    scripted_connect(&peer);
    settle();
    const struct heard *h = scripted_next(&peer, &at, heard_membership);
    cr_assert(h && membership_decode((struct cspan){h->text + 4, h->text_len - 4}, &m) == NET_OK);
    store_le64(text + 5, m.nonce);
    scripted_send(&peer, membership_header, (struct cspan){text, sizeof text});
    settle();
    uint64_t hash = channel_hash(CHANNEL, strlen(CHANNEL));
    scripted_send(&peer,
                  (struct wire_header){
                      .channel_hash = channel_wire_hash(hash), .stream_id = channel_stream_id(hash), .event_count = 2},
                  (struct cspan){two, sizeof two - 1});
    settle();
    cr_assert(app.channel_calls == 1 && app.calls == 0 && MESH_COUNT(node, stored_events) == 2);
    bring(ID, 0, 2, (struct cspan){two, sizeof two - 1});
    cr_assert(app.channel_calls == 1 && app.calls == 1 && MESH_COUNT(node, stored_events) == 2);
}

/* 52: an application that takes nothing gets no more than the window: no grant, and what comes is dropped, counted */
Test(sim_user_streams, what_is_not_taken_is_not_granted)
{
    size_t at;
    start(17, false);
    app.full = true;
    at = peer.heard_count;
    for (uint64_t i = 0; i < 3; i++)
        bring(ID, i, 2, (struct cspan){two, sizeof two - 1});
    cr_assert(app.refusals == 3 && app.calls == 0 && MESH_COUNT(node, drop_not_taken) == 6);
    cr_assert_eq(granted(ID, &at), 0);
    app.full = false;
    bring(ID, 3, 2, (struct cspan){two, sizeof two - 1});
    cr_assert(app.calls == 1 && granted(ID, &at) == 99);
}

/* All that the node sent arrived. */
static void acknowledge(void)
{
    uint8_t text[4 + ACK_HEAD] = {ACK_HEAD};
    uint64_t largest = peer_find(face->shard, peer_id)->link.current.session.tx_counter - 1;
    store_le64(text + 4, largest);
    store_le32(text + 4 + 16, (uint32_t)largest);
    scripted_send(&peer, (struct wire_header){.subprotocol = SUBPROTO_ACK, .stream_id = UINT64_MAX, .event_count = 1},
                  (struct cspan){text, sizeof text});
    sim_run_for(mesh.sim, 2 * SIM_MS);
}

/* X4: a grant of which nobody would hear that it was lost waits until somebody would. Here too much is in flight. */
Test(sim_user_streams, a_grant_goes_when_its_loss_would_be_noticed)
{
    make(21, false);
    peer.local.features |= FEATURE_ACK;
    mesh_start(node);
    scripted_connect(&peer);
    struct netmesh_stream handle = open_with(ID + 1, NULL);
    cr_assert_eq(send_events(&handle, 1, 10, NULL), NET_OK);
    settle();
    struct recovery *in_flight = &peer_find(face->shard, peer_id)->transport.recovery;
    in_flight->limit = in_flight->capacity;
    while (in_flight->flying < in_flight->limit) {
        cr_assert_eq(send_events(&handle, 1, 10, NULL), NET_OK);
        sim_run_for(mesh.sim, 100 * SIM_US);
    }
    size_t at = peer.heard_count;
    bring(ID, 0, 2, (struct cspan){two, sizeof two - 1});
    cr_assert_eq(app.calls, 1);
    cr_assert_eq(granted(ID, &at), 0);
    acknowledge();
    cr_assert_eq(granted(ID, &at), 99);
    cr_assert_eq(in_flight->flying, 1, "the packet of the grant: it is missed if it does not arrive");
}

/* A node whose application has no use for streams. */
Test(sim_user_streams, without_a_hook_nothing_comes)
{
    struct netmesh_stream_stats stats;
    make(18, false);
    node->hooks.on_stream = NULL;
    mesh_start(node);
    scripted_connect(&peer);
    bring(ID, 0, 2, (struct cspan){two, sizeof two - 1});
    cr_assert_eq(MESH_COUNT(node, drop_unsubscribed), 1);
    cr_assert_eq(netmesh_stream_get_stats(home(), peer_id, ID, &stats), NETMESH_NOT_FOUND);
}

/* 39, 41: idle streams end; whatever moves on one, either way, keeps it */
Test(sim_user_streams, idle_streams_are_forgotten)
{
    struct netmesh_stream_stats stats;
    struct netmesh_stream sending;
    start(19, false);
    sending = open_with(1, NULL);
    open_with(2, NULL);
    bring(3, 0, 2, (struct cspan){two, sizeof two - 1});
    bring(4, 0, 2, (struct cspan){two, sizeof two - 1});
    for (uint64_t i = 0; i < 31; i++) {
        sim_run_for(mesh.sim, 10 * SIM_S);
        scripted_heartbeat(&peer);
        if (i % 29 == 28) { /* after 290 s */
            cr_assert_eq(send_events(&sending, 1, 10, NULL), NET_OK);
            bring(3, 1 + i, 2, (struct cspan){two, sizeof two - 1});
        }
    }
    for (uint64_t id = 1; id <= 4; id++)
        cr_assert_eq(netmesh_stream_get_stats(home(), peer_id, id, &stats), id % 2 ? NET_OK : NETMESH_NOT_FOUND,
                     "stream %lu", id);
    cr_assert_eq(MESH_COUNT(node, streams_idle), 2);
}

/* 40: a peer cannot make more streams than the limit: the newest are refused at once, none is taken from another */
Test(sim_user_streams, no_more_streams_than_the_limit)
{
    make(20, false);
    node->config.max_streams = 64;
    mesh_start(node);
    scripted_connect(&peer);
    size_t before = peer_find(face->shard, peer_id)->streams.count;
    for (uint64_t id = 1; id <= 70; id++)
        bring(id, 0, 2, (struct cspan){two, sizeof two - 1});
    cr_assert_eq(app.calls, 64 - before);
    cr_assert_eq(MESH_COUNT(node, drop_stream_limit), 70 - (64 - before));
    bring(1, 1, 2, (struct cspan){two, sizeof two - 1});
    cr_assert_eq(app.calls, 64 - before + 1);
}
