/* Floods and forgeries: every table has a bound, what it turned away is counted, and an honest peer is still served. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/session/handshake.h"
#include "shards/peers/contacts.h"
#include "shards/logs/view.h"
#include "tests/sim/mesh/sim_node.h"

static const char CHANNEL[] = "honest";

static struct mesh mesh;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_caps, .fini = end, .timeout = 240);

static bool connected(struct mesh_node *a, struct mesh_node *b, uint64_t limit_ns)
{
    uint64_t until = sim_now(mesh.sim) + limit_ns;
    while (!(mesh_connected(a, b) && mesh_connected(b, a)) && sim_now(mesh.sim) < until)
        sim_run_for(mesh.sim, 10 * SIM_MS);
    return mesh_connected(a, b) && mesh_connected(b, a);
}

static void check_served(struct mesh_node *a, struct mesh_node *b)
{
    cr_assert(connected(a, b, 30 * SIM_S));
    int err = mesh_ask_subscribe(b, CHANNEL, a, 30 * SIM_S);
    cr_assert_eq(err, NET_OK, "%s", net_err_name(err));
    struct mesh_published p = mesh_publish(a, CHANNEL, 1, 0, 100, false, 30 * SIM_S);
    cr_assert_eq(p.err, NET_OK, "%s", net_err_name(p.err));
    sim_run_for(mesh.sim, SIM_S);
    struct mesh_log log = mesh_read(b, CHANNEL, a, 10 * SIM_S);
    cr_assert_eq(log.err, NET_OK, "%s", net_err_name(log.err));
    cr_assert_eq(log.count, 100);
    mesh_log_free(&log);
}

static bool lose_answers(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span datagram)
{
    const struct io_addr *mute = ctx;
    (void)to;
    (void)datagram;
    return memcmp(from->ip, mute->ip, sizeof mute->ip) != 0;
}

Test(sim_caps, guests_that_never_confirm_leave_nothing)
{
    mesh_init(&mesh, 1);
    struct mesh_node *a = mesh_add(&mesh, 2), *guests[6];
    a->config.max_peers = 3;
    struct io_addr mute = sim_host_addr(a->host);
    sim_set_tap(mesh.sim, lose_answers, &mute);
    for (int i = 0; i < 6; i++) {
        guests[i] = mesh_add(&mesh, 1);
        mesh_know(guests[i], a);
    }
    mesh_start(a);
    for (int i = 0; i < 6; i++)
        mesh_start(guests[i]);
    sim_run_for(mesh.sim, 20 * SIM_S);
    cr_assert_leq(MESH_COUNT(a, gauge_peers), 3);
    cr_assert_gt(MESH_COUNT(a, drop_peer_limit), 0);
    for (int i = 0; i < 6; i++)
        mesh_kill(guests[i]);
    sim_run_for(mesh.sim, 10 * SIM_S);
    cr_assert_eq(MESH_COUNT(a, gauge_peers), 0);
    cr_assert_eq(MESH_COUNT(a, gauge_sessions), 0);
    sim_set_tap(mesh.sim, NULL, NULL);
    mesh_start(guests[5]);
    check_served(a, guests[5]);
}

struct recorded {
    struct io_addr from;
    uint8_t bytes[HANDSHAKE_MAX_DATAGRAM];
    size_t len;
};

/* The first handshake datagram that comes from there. */
static bool record_handshake(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span datagram)
{
    struct recorded *r = ctx;
    (void)to;
    if (r->len == 0 && memcmp(from->ip, r->from.ip, sizeof from->ip) == 0 && datagram.len <= sizeof r->bytes) {
        memcpy(r->bytes, datagram.data, datagram.len);
        r->len = datagram.len;
    }
    return true;
}

Test(sim_caps, a_recorded_handshake_sent_again_under_its_address_locks_nobody_out)
{
    static struct recorded r;
    mesh_init(&mesh, 2);
    struct mesh_node *a = mesh_add(&mesh, 1), *b = mesh_add(&mesh, 1);
    mesh_know(b, a);
    r = (struct recorded){.from = sim_host_addr(b->host)};
    sim_set_tap(mesh.sim, record_handshake, &r);
    mesh_start(a);
    mesh_start(b);
    cr_assert(connected(a, b, 10 * SIM_S));
    mesh_kill(b);
    struct io_addr to = sim_host_addr(a->host);
    uint64_t answered = MESH_COUNT(a, handshakes_answered);
    for (int i = 0; i < 500; i++) {
        if (i == 100)
            mesh_start(b);
        for (int k = 0; k < 10; k++)
            sim_inject(mesh.sim, &r.from, &to, (struct cspan){r.bytes, r.len});
        sim_run_for(mesh.sim, 10 * SIM_MS);
    }
    cr_assert_geq(MESH_COUNT(a, drop_handshake_replay), 4000);
    cr_assert_eq(MESH_COUNT(a, handshakes_answered), answered + 1, "only the honest one");
    cr_assert(mesh_connected(b, a));
    check_served(a, b);
}

/* msg1 of a holder of the PSK, fresh each time. */
static size_t make_msg1(struct mesh_node *enemy, struct mesh_node *victim, uint8_t *out)
{
    struct node *n = enemy->node;
    struct shard *s = node_shard(n, 0);
    struct handshake hs;
    struct handshake_target target = {.node_id = victim->node_id};
    struct handshake_offer offer = {.receive_id = 1, .instance = 1, .window = 65536, .max_datagram = 1200};
    uint8_t ephemeral[32];
    memcpy(target.static_public, victim->public_key, sizeof target.static_public);
    for (size_t i = 0; i < sizeof ephemeral; i++)
        ephemeral[i] = (uint8_t)sim_random(mesh.sim);
    int len = handshake_start(&hs, s->crypto, &s->node->local, &target, &offer, ephemeral, out);
    handshake_wipe(&hs);
    cr_assert_gt(len, 0);
    return (size_t)len;
}

static struct io_addr address(bool many)
{
    struct io_addr from = {.ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 200, 0, 1}, .port = 5000};
    if (many)
        store_le32(from.ip + 12, 10u | (uint32_t)sim_random_below(mesh.sim, 1 << 24) << 8);
    return from;
}

Test(sim_caps, floods_of_handshakes_are_bounded_and_an_honest_peer_gets_in)
{
    for (int many = 0; many < 2; many++) {
        if (many)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 3);
        struct mesh_node *a = mesh_add(&mesh, 2), *enemy = mesh_add(&mesh, 1), *b = mesh_add(&mesh, 1);
        mesh_know(b, a);
        mesh_start(a);
        mesh_start(enemy);
        sim_run_for(mesh.sim, SIM_S);
        struct io_addr to = sim_host_addr(a->host);
        uint8_t msg1[HANDSHAKE_MAX_DATAGRAM];
        for (int i = 0; i < 2000; i++) {
            if (i == 1000 && !many) /* one source has its share, whoever it is */
                mesh_start(b);
            size_t len = make_msg1(enemy, a, msg1);
            struct io_addr from = address(many);
            sim_inject(mesh.sim, &from, &to, (struct cspan){msg1, len});
            sim_run_for(mesh.sim, SIM_MS);
        }
        uint64_t answered = MESH_COUNT(a, handshakes_answered);
        cr_assert_leq(answered, many ? a->config.max_pending_handshakes : 20, "%lu answered", answered);
        cr_assert_geq(MESH_COUNT(a, drop_handshake_rate) + MESH_COUNT(a, drop_handshake_pending), 1500);
        cr_assert_leq(MESH_COUNT(a, gauge_sessions), 3);
        if (many) /* a holder of the PSK that forges addresses can fill the queue: for as long as it goes on */
            mesh_start(b);
        cr_assert(connected(a, b, 10 * SIM_S));
        check_served(a, b);
    }
}

Test(sim_caps, garbage_of_every_class_changes_nothing)
{
    mesh_init(&mesh, 4);
    struct mesh_node *a = mesh_add(&mesh, 3), *b = mesh_add(&mesh, 1);
    mesh_know(b, a);
    mesh_start(a);
    mesh_start(b);
    cr_assert(connected(a, b, 10 * SIM_S));
    struct io_addr to = sim_host_addr(a->host);
    static uint8_t bytes[65507];
    uint64_t before = MESH_COUNT(a, rx_packets), datagrams = MESH_COUNT(a, rx_datagrams);
    uint64_t id = mesh_peer(a, b)->link.current.session.p.rx_id;
    enum { ROUNDS = 4000 };
    for (int i = 0; i < ROUNDS; i++) {
        size_t len = (size_t)sim_random_below(mesh.sim, i & 1 ? 200 : 9000);
        for (size_t k = 0; k < len; k++)
            bytes[k] = (uint8_t)sim_random(mesh.sim);
        struct wire_header h = {.flags = (uint8_t)sim_random_below(mesh.sim, 16),
                                .session_id = i & 2 ? id : sim_random(mesh.sim),
                                .counter = sim_random_below(mesh.sim, 1 << 20),
                                .payload_len = (uint16_t)(len > WIRE_OVERHEAD ? len - WIRE_OVERHEAD : 0)};
        struct wire_route route = {.ttl = 8, .src_id = (uint32_t)b->node_id, .dest_id = a->node_id};
        size_t at = 0;
        if (i % 3 == 1 && len >= WIRE_ROUTE) {
            wire_route_encode(&route, bytes);
            at = WIRE_ROUTE;
        }
        if (i % 5 && len >= at + WIRE_HEADER)
            wire_header_encode(&h, bytes + at);
        struct io_addr from = address(i & 4);
        sim_inject(mesh.sim, &from, &to, (struct cspan){bytes, len});
        if (i % 16 == 0)
            sim_run_for(mesh.sim, 100 * SIM_US);
    }
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_geq(MESH_COUNT(a, rx_datagrams) - datagrams, ROUNDS - 100);
    cr_assert_leq(MESH_COUNT(a, rx_packets) - before, 4, "heartbeats of the friend");
    cr_assert_eq(MESH_COUNT(a, gauge_peers), 1);
    check_served(a, b);
}

enum { KEPT = 4096 };
struct kept {
    struct {
        struct io_addr from, to;
        uint8_t bytes[1500];
        size_t len;
    } datagrams[KEPT];
    size_t count;
};

static bool keep(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span datagram)
{
    struct kept *k = ctx;
    if (k->count < KEPT && datagram.len <= sizeof k->datagrams[0].bytes) {
        memcpy(k->datagrams[k->count].bytes, datagram.data, datagram.len);
        k->datagrams[k->count].from = *from;
        k->datagrams[k->count].to = *to;
        k->datagrams[k->count++].len = datagram.len;
    }
    return true;
}

Test(sim_caps, everything_that_was_ever_sent_can_be_sent_again_without_effect)
{
    static struct kept k;
    mesh_init(&mesh, 5);
    struct mesh_node *a = mesh_add(&mesh, 2), *b = mesh_add(&mesh, 2);
    mesh_know(b, a);
    mesh_know(a, b);
    mesh_subscribe(b, "replay", a);
    sim_set_tap(mesh.sim, keep, &k);
    mesh_start(a);
    mesh_start(b);
    cr_assert(connected(a, b, 10 * SIM_S));
    cr_assert(mesh_subscribed(b, "replay", 10 * SIM_S));
    cr_assert_eq(mesh_publish(a, "replay", 1, 0, 5000, false, 10 * SIM_S).err, NET_OK);
    sim_run_for(mesh.sim, 10 * SIM_S);
    sim_set_tap(mesh.sim, NULL, NULL);
    uint64_t confirmed = MESH_COUNT(a, sessions_confirmed) + MESH_COUNT(b, sessions_confirmed);
    uint64_t answered = MESH_COUNT(a, handshakes_answered) + MESH_COUNT(b, handshakes_answered);
    uint64_t opened = MESH_COUNT(a, rx_packets) + MESH_COUNT(b, rx_packets);
    cr_assert_gt(k.count, 300);
    for (size_t i = 0; i < 2 * k.count; i++) {
        size_t n = i < k.count ? i : (size_t)sim_random_below(mesh.sim, k.count);
        sim_inject(mesh.sim, &k.datagrams[n].from, &k.datagrams[n].to,
                   (struct cspan){k.datagrams[n].bytes, k.datagrams[n].len});
        if (i % 64 == 0)
            sim_run_for(mesh.sim, SIM_MS);
    }
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(MESH_COUNT(a, sessions_confirmed) + MESH_COUNT(b, sessions_confirmed), confirmed);
    cr_assert_eq(MESH_COUNT(a, handshakes_answered) + MESH_COUNT(b, handshakes_answered), answered);
    cr_assert_leq(MESH_COUNT(a, rx_packets) + MESH_COUNT(b, rx_packets) - opened, 4, "heartbeats");
    struct mesh_log log = mesh_read(b, "replay", a, 10 * SIM_S);
    cr_assert_eq(log.count, 5000);
    mesh_log_free(&log);
    check_served(a, b);
}

static size_t put_membership(uint8_t *at, enum membership_type type, const char *channel)
{
    struct membership m = {.type = type, .nonce = 1};
    cr_assert_eq(channel_name_parse(channel, strlen(channel), &m.channel), CHANNEL_NAME_OK);
    int len = membership_encode(&m, at + 4, MEMBERSHIP_MAX_SENT);
    cr_assert_gt(len, 0);
    store_le32(at, (uint32_t)len);
    return 4 + (size_t)len;
}

/* A packet full of requests for channels numbered from `from` on; returns where to go on. */
static unsigned flood(struct mesh_node *enemy, struct mesh_node *victim, unsigned from, enum membership_type type)
{
    static uint8_t text[WIRE_MAX_PLAINTEXT];
    struct wire_header h = {.subprotocol = SUBPROTO_MEMBERSHIP, .stream_id = SUBPROTO_MEMBERSHIP};
    size_t len = 0;
    while (len + 64 < sizeof text) {
        char channel[32];
        text_format(channel, sizeof channel, "f/%u", from++);
        len += put_membership(text + len, type, channel);
        h.event_count++;
    }
    cr_assert(mesh_send_sealed(enemy, victim, h, (struct cspan){text, len}));
    return from;
}

static uint32_t parked(struct mesh_node *m)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < m->config.shards; i++)
        sum += node_shard(m->node, i)->parked_count;
    return sum;
}

Test(sim_caps, a_peer_that_subscribes_to_everything_gets_its_share_and_no_more)
{
    for (unsigned shards = 1; shards <= 2; shards++) {
        if (shards > 1)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 6);
        struct mesh_node *a = mesh_add(&mesh, shards), *enemy = mesh_add(&mesh, 1), *b = mesh_add(&mesh, 1);
        a->config.max_channels = 256;
        a->config.max_channels_per_peer = 100;
        a->config.ring_bytes = 1 << 20;
        mesh_know(enemy, a);
        mesh_know(b, a);
        for (unsigned i = 0; i < mesh.count; i++)
            mesh_start(&mesh.nodes[i]);
        cr_assert(mesh_settle(&mesh, 10 * SIM_S));
        unsigned next = 0;
        uint32_t most = 0;
        for (int i = 0; i < 400; i++) {
            next = flood(enemy, a, i < 20 ? next : 0, i < 40 ? MEMBERSHIP_SUBSCRIBE : MEMBERSHIP_UNSUBSCRIBE);
            if (i % 8 == 7)
                sim_run_for(mesh.sim, 20 * SIM_US);
            most = parked(a) > most ? parked(a) : most;
        }
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_leq(most, 8, "%u messages wait", most);
        cr_assert_leq(MESH_COUNT(a, gauge_logs), 100 * shards);
        check_served(a, b);
    }
}

Test(sim_caps, channels_that_only_peers_asked_for_leave_room_for_those_of_the_node)
{
    mesh_init(&mesh, 7);
    struct mesh_node *a = mesh_add(&mesh, 1), *enemy = mesh_add(&mesh, 1), *b = mesh_add(&mesh, 1);
    a->config.max_channels = 64;
    mesh_know(enemy, a);
    mesh_know(b, a);
    for (unsigned i = 0; i < mesh.count; i++)
        mesh_start(&mesh.nodes[i]);
    cr_assert(mesh_settle(&mesh, 10 * SIM_S));
    flood(enemy, a, 0, MEMBERSHIP_SUBSCRIBE);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(MESH_COUNT(a, gauge_logs), 32);
    cr_assert_eq(mesh_ask_subscribe(b, CHANNEL, a, 10 * SIM_S), NET_ERR_POLICY, "a typed refusal");
    cr_assert_eq(mesh_publish(a, CHANNEL, 1, 0, 1, false, 10 * SIM_S).err, NET_OK);
    cr_assert_eq(mesh_ask_subscribe(b, CHANNEL, a, 10 * SIM_S), NET_OK, "it exists now");
}
