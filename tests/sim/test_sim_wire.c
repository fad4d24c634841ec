/* What a node puts on the wire and what it takes from it: wire.md 14 and extensions X0, X5, where whole nodes decide.
 * Numbers are those of wire.md 14; the bytes themselves are tests/unit/test_wire.c's and test_session.c's. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "shards/node/shard.h"
#include "shards/transport/transport.h"
#include "tests/sim/mesh/scripted.h"

static const char CHANNEL[] = "sensors/lidar";

static struct mesh mesh;
static struct scripted peer;
static bool peer_used;

static void end(void)
{
    if (peer_used)
        scripted_deinit(&peer);
    peer_used = false;
    mesh_deinit(&mesh);
}

TestSuite(sim_wire, .fini = end, .timeout = 120);

/* A node and a peer of its own kind that is let in without an entry; or one of v0.19.0. */
static struct mesh_node *node_and_peer(uint64_t seed, unsigned shards, bool compat)
{
    mesh_init(&mesh, seed);
    struct mesh_node *node = mesh_add(&mesh, shards);
    scripted_init(&peer, &mesh, node, compat);
    peer_used = true;
    if (compat)
        scripted_list(&peer, true);
    mesh_start(node);
    return node;
}

static void settle(void)
{
    sim_run_for(mesh.sim, 5 * SIM_MS);
}

/* ---- what is sent: 14, 35, 40 ---- */

struct watch {
    uint64_t ids[64], next[64]; /* the counter each direction of a session comes to next, by session id */
    size_t id_count;
    unsigned heartbeats, events, grants, messages, batches, acks;
    unsigned handshakes[2]; /* direct, routed */
    uint64_t origins[2];    /* of the two nodes */
    bool compat;
};

static void check_counter(struct watch *w, const struct wire_header *h)
{
    uint8_t nonce[WIRE_NONCE];
    size_t i = 0;
    while (i < w->id_count && w->ids[i] != h->session_id)
        i++;
    if (w->compat) /* one id for both directions: told apart by what only one of them sends */
        return;
    cr_assert_lt(i, 64);
    if (i == w->id_count)
        w->ids[w->id_count++] = h->session_id;
    cr_assert_eq(h->counter, w->next[i], "each counter once, from 0, whatever the packet is");
    w->next[i]++;
    wire_nonce(h->session_id, h->counter, nonce);
    cr_assert_arr_eq(h->nonce_prefix, nonce, 4);
}

static void check_handshake(struct watch *w, const struct wire_header *h, bool routed, size_t len)
{
    w->handshakes[routed]++;
    cr_assert_eq(h->flags, WIRE_HANDSHAKE);
    cr_assert(h->session_id == 0 && h->counter == 0 && load_le32(h->nonce_prefix) == 0);
    cr_assert(h->subprotocol == 0 && h->channel_hash == 0 && h->origin_hash == 0 && h->event_count == 0);
    cr_assert_eq(h->payload_len, len - WIRE_HEADER);
    cr_assert_eq(h->stream_id == 0 && h->sequence == 0, w->compat, "the gate, between our own");
}

static void check_session_packet(struct watch *w, const struct wire_header *h, size_t len)
{
    uint64_t hash = channel_hash(CHANNEL, strlen(CHANNEL));
    check_counter(w, h);
    cr_assert_eq(len, (size_t)WIRE_OVERHEAD + h->payload_len);
    if (h->flags & WIRE_HEARTBEAT) {
        w->heartbeats++;
        cr_assert_eq(h->flags, WIRE_HEARTBEAT);
        cr_assert(h->stream_id == 0 && h->sequence == 0 && h->payload_len == 0 && h->event_count == 0);
    } else {
        cr_assert(h->flags == 0 && h->event_count > 0);
    }
    if (h->subprotocol == SUBPROTO_EVENTS && !(h->flags & WIRE_HEARTBEAT)) { /* channels.md 18.47, 18.48 */
        w->events++;
        w->batches += h->event_count > 1;
        cr_assert_eq(h->stream_id, UINT64_C(0xec21e8ac7fa5e5d8), "channels.md 3");
        cr_assert_eq(h->stream_id, channel_stream_id(hash));
        cr_assert_eq(h->channel_hash, 0xe5d8);
        cr_assert(h->origin_hash == (uint32_t)w->origins[0] || h->origin_hash == (uint32_t)w->origins[1]);
        return;
    }
    cr_assert(h->channel_hash == 0 && h->origin_hash == 0, "only publishes carry them");
    if (h->subprotocol == SUBPROTO_CREDIT) {
        w->grants++;
        cr_assert_eq(h->stream_id, UINT64_MAX);
    } else if (h->subprotocol == SUBPROTO_MEMBERSHIP) {
        w->messages++;
        cr_assert_eq(h->stream_id, SUBPROTO_MEMBERSHIP);
    } else if (h->subprotocol == SUBPROTO_ACK && !w->compat) {
        w->acks++;
        cr_assert(h->stream_id == UINT64_MAX && h->sequence == 0 && h->event_count == 1, "extensions X2");
    } else {
        cr_assert_eq(h->subprotocol, 0);
    }
}

static bool watch_datagram(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span d)
{
    struct watch *w = ctx;
    struct wire_header h;
    (void)from, (void)to;
    bool routed = wire_classify((struct cspan){d.data, d.len}) == WIRE_CLASS_ROUTED;
    struct cspan packet = {d.data + (routed ? WIRE_ROUTE : 0), d.len - (routed ? WIRE_ROUTE : 0)};
    cr_assert_eq(wire_header_decode(packet, &h), NET_OK);
    cr_assert(h.priority == 0 && h.hop_ttl == 0 && h.hop_count == 0);
    bool acknowledges = !w->compat && h.subprotocol == SUBPROTO_CREDIT; /* X2.3, beside grants */
    cr_assert_eq(h.frag_flags & ~(acknowledges ? FRAME_ACK : 0), 0);
    cr_assert(h.subnet_id == 0 && h.fragment_id == 0 && h.fragment_offset == 0);
    if (h.flags & WIRE_HANDSHAKE)
        check_handshake(w, &h, routed, packet.len);
    else
        check_session_packet(w, &h, packet.len);
    return true;
}

static void watch_a_pair(bool compat)
{
    mesh_init(&mesh, 40 + compat);
    struct mesh_node *a = mesh_add(&mesh, 8), *b = mesh_add(&mesh, 5);
    struct watch w = {.compat = compat};
    mesh_know(a, b);
    mesh_know(b, a);
    if (compat) {
        a->peers[0].compat = b->peers[0].compat = PEER_V019;
        a->peers[0].has_addr = a->peers[0].has_key = false;
    }
    mesh_subscribe(b, CHANNEL, a);
    mesh_subscribe(a, CHANNEL, b);
    sim_set_tap(mesh.sim, watch_datagram, &w);
    mesh_start(a);
    mesh_start(b);
    w.origins[0] = a->node->identity.ids.origin_hash;
    w.origins[1] = b->node->identity.ids.origin_hash;
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
    cr_assert(mesh_subscribed(b, CHANNEL, 30 * SIM_S) && mesh_subscribed(a, CHANNEL, 30 * SIM_S));
    cr_assert_eq(mesh_publish(a, CHANNEL, 1, 0, 3000, false, 60 * SIM_S).err, NET_OK);
    cr_assert_eq(mesh_publish(b, CHANNEL, 2, 0, 3000, false, 60 * SIM_S).err, NET_OK);
    sim_run_for(mesh.sim, 12 * SIM_S);
    cr_assert(w.heartbeats > 2 && w.events > 20 && w.batches > 10 && w.grants > 1 && w.messages >= 4);
    cr_assert_eq(w.acks > 0, !compat);
    cr_assert(w.handshakes[0] == 0 && w.handshakes[1] >= 2, "the routed frame, to a neighbour too (X0)");
    if (!compat)
        cr_assert_eq(MESH_COUNT(a, passed_on) + MESH_COUNT(b, passed_on), 0, "RECEIVE_ID steers to the peer's shard");
    sim_set_tap(mesh.sim, NULL, NULL);
}

Test(sim_wire, every_field_of_every_packet_between_our_own)
{
    watch_a_pair(false);
}

Test(sim_wire, every_field_of_every_packet_to_v019)
{
    watch_a_pair(true);
}

/* ---- what is dropped without an answer: 2 to 5, 16, 18, 22 to 24, 32, and 10.4 ---- */

static bool nothing_leaves(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span d)
{
    (void)ctx, (void)from, (void)to, (void)d;
    cr_assert_fail("a datagram was answered");
    return false;
}

static void expect_dropped(struct mesh_node *node, struct cspan datagram, size_t field, const char *what)
{
    uint64_t before = mesh_counter(node, field);
    scripted_inject(&peer, datagram);
    settle();
    cr_assert_eq(mesh_counter(node, field), before + 1, "%s", what);
}
#define EXPECT_DROPPED(node, datagram, field, what)                                                                    \
    expect_dropped((node), (datagram), offsetof(struct shard_metrics, field), (what))

Test(sim_wire, strays_are_counted_and_get_no_answer)
{
    struct mesh_node *node = node_and_peer(50, 2, false);
    uint8_t d[WIRE_MAX_DATAGRAM] = {0};
    struct wire_header h = {.session_id = 77, .payload_len = 4, .event_count = 1};
    size_t data = WIRE_OVERHEAD + 4;
    sim_set_tap(mesh.sim, nothing_leaves, NULL);

    memcpy(d, "\x50\x48", 2);
    EXPECT_DROPPED(node, ((struct cspan){d, 14}), drop_keepalive, "a keep-alive nobody waits for");
    EXPECT_DROPPED(node, ((struct cspan){d, 15}), drop_class, "a keep-alive of 15 bytes");
    EXPECT_DROPPED(node, ((struct cspan){d, 72}), drop_pingwave, "a pingwave");
    d[63] = 4;
    EXPECT_DROPPED(node, ((struct cspan){d, 72}), drop_class, "a pingwave of health 4");

    wire_header_encode(&h, d);
    EXPECT_DROPPED(node, ((struct cspan){d, data}), drop_session, "an unknown session");
    EXPECT_DROPPED(node, ((struct cspan){d, 63}), drop_class, "63 bytes");
    d[2] = 0;
    EXPECT_DROPPED(node, ((struct cspan){d, data}), drop_header, "version 0");
    d[2] = 2;
    EXPECT_DROPPED(node, ((struct cspan){d, data}), drop_header, "version 2");
    d[2] = 1;
    store_le16(d + 60, 8113);
    EXPECT_DROPPED(node, ((struct cspan){d, data}), drop_header, "payload_len 8113");
    store_le16(d + 60, 4);
    store_le16(d + 62, 2029);
    EXPECT_DROPPED(node, ((struct cspan){d, data}), drop_header, "event_count 2029");
    memcpy(d, "\x4e\x45", 2);
    EXPECT_DROPPED(node, ((struct cspan){d, data}), drop_class, "the magic the other way round");

    struct wire_route to_us = {.ttl = 8, .dest_id = node->node_id}, to_nobody = {.ttl = 8, .dest_id = 99};
    h.flags = WIRE_HEARTBEAT | WIRE_HANDSHAKE;
    wire_header_encode(&h, d + WIRE_ROUTE);
    wire_route_encode(&to_us, d);
    EXPECT_DROPPED(node, ((struct cspan){d, 81}), drop_class, "81 routed bytes");
    EXPECT_DROPPED(node, ((struct cspan){d, 82}), drop_routed_heartbeat, "a routed heartbeat that is a handshake too");
    wire_route_encode(&to_nobody, d);
    EXPECT_DROPPED(node, ((struct cspan){d, 82}), drop_no_route, "for a node nobody knows");
    sim_set_tap(mesh.sim, NULL, NULL);
}

/* 32, the other half: direct, HANDSHAKE comes first. */
Test(sim_wire, a_direct_handshake_that_is_a_heartbeat_too_is_a_handshake)
{
    uint8_t d[HANDSHAKE_MAX_DATAGRAM];
    mesh_init(&mesh, 51);
    struct mesh_node *node = mesh_add(&mesh, 1);
    scripted_init(&peer, &mesh, node, true);
    peer_used = true;
    scripted_list(&peer, true)->mode = PEER_MODE_DIRECT;
    mesh_start(node);
    struct cspan msg1 = scripted_msg1(&peer, HANDSHAKE_DIRECT, d);
    d[3] |= WIRE_HEARTBEAT;
    scripted_inject(&peer, msg1);
    settle();
    cr_assert_eq(peer.handshakes, 1);
}

/* ---- what a session takes: 6 to 8, 10, 12, 17, 18, 29 to 31 ---- */

/* The nonces of the Acks heard since `from`, in order. */
static size_t acks(size_t from, uint64_t *nonces, size_t room)
{
    size_t n = 0;
    for (const struct heard *h; (h = scripted_next(&peer, &from, heard_membership)) && n < room; n++) {
        cr_assert_eq(h->text_len, 4 + 11);
        cr_assert_eq(h->text[4], MEMBERSHIP_ACK);
        nonces[n] = load_le64(h->text + 5);
    }
    return n;
}

Test(sim_wire, a_wrong_length_is_dropped_and_the_right_one_taken_after_it)
{
    struct mesh_node *node = node_and_peer(52, 1, false);
    uint8_t text[MESSAGE_FRAME], d[WIRE_MAX_DATAGRAM];
    uint64_t nonce;
    scripted_connect(&peer);
    size_t from = peer.heard_count;
    struct cspan good = scripted_seal(&peer, membership_header, message_frame(MEMBERSHIP_UNSUBSCRIBE, "a", 5, text), d);
    d[good.len] = 0;
    EXPECT_DROPPED(node, ((struct cspan){d, good.len + 1}), drop_length, "a byte more");
    EXPECT_DROPPED(node, ((struct cspan){d, good.len - 1}), drop_length, "a byte less");
    d[6] = 9;                /* hop_count */
    memset(d + 12, 0xee, 4); /* the nonce prefix is not looked at */
    scripted_inject(&peer, good);
    settle();
    cr_assert(acks(from, &nonce, 1) == 1 && nonce == 5);
    EXPECT_DROPPED(node, good, drop_replay, "a second time");

    struct wire_header h = {.flags = WIRE_HEARTBEAT, .session_id = peer.session.p.tx_id, .counter = 1000};
    wire_header_encode(&h, d);
    for (size_t area = 0; area <= 17; area++)
        if (area != 16)
            EXPECT_DROPPED(node, ((struct cspan){d, WIRE_HEADER + area}), drop_length, "a heartbeat's area");
    EXPECT_DROPPED(node, ((struct cspan){d, WIRE_OVERHEAD}), drop_auth, "a forged heartbeat");
}

Test(sim_wire, every_message_of_a_packet_is_processed_in_order) /* 29, channels.md 18.17 */
{
    struct mesh_node *node = node_and_peer(53, 3, false);
    uint8_t text[4 * MESSAGE_FRAME], one[MESSAGE_FRAME];
    uint64_t nonces[4];
    size_t len = 0;
    scripted_connect(&peer);
    for (uint64_t nonce = 10; nonce < 13; nonce++) {
        struct cspan frame = message_frame(MEMBERSHIP_UNSUBSCRIBE, "a", nonce, one);
        memcpy(text + len, frame.data, frame.len);
        len += frame.len;
        if (nonce == 10) { /* what cannot be decoded stops nothing, and is not answered */
            memcpy(text + len, "\x01\x00\x00\x00\x07", 5);
            len += 5;
        }
    }
    size_t from = peer.heard_count;
    struct wire_header h = membership_header;
    h.event_count = 4;
    scripted_send(&peer, h, (struct cspan){text, len});
    settle();
    cr_assert_eq(acks(from, nonces, 4), 3);
    cr_assert(nonces[0] == 10 && nonces[1] == 11 && nonces[2] == 12);
    cr_assert_eq(MESH_COUNT(node, drop_membership), 1);
}

Test(sim_wire, a_nack_flag_changes_nothing_and_unknown_subprotocols_are_dropped) /* 30, 31 */
{
    struct mesh_node *node = node_and_peer(54, 1, false);
    static const uint16_t unknown[] = {0x0001, 0x0400, 0x0601, 0x0B01, 0x0C00, 0x1000, 0xFFFF};
    uint8_t text[MESSAGE_FRAME];
    uint64_t nonce;
    scripted_connect(&peer);
    size_t from = peer.heard_count;
    struct wire_header h = membership_header;
    h.flags = WIRE_NACK | WIRE_PRIORITY | WIRE_FIN | 0xC0;
    scripted_send(&peer, h, message_frame(MEMBERSHIP_UNSUBSCRIBE, "a", 6, text));
    settle();
    cr_assert(acks(from, &nonce, 1) == 1 && nonce == 6);
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        h = (struct wire_header){.subprotocol = unknown[i], .stream_id = unknown[i], .event_count = 1};
        scripted_send(&peer, h, message_frame(MEMBERSHIP_UNSUBSCRIBE, "a", 7, text));
    }
    settle();
    cr_assert_eq(MESH_COUNT(node, drop_subprotocol), sizeof unknown / sizeof *unknown);
    cr_assert_eq(acks(from, &nonce, 8), 1, "no answer to any");
}

/* 17, 18: routed data to us is taken without a relay; a heartbeat only from a peer that has X5 in a session with us. */
static void routed_to_self(bool compat)
{
    struct mesh_node *node = node_and_peer(55 + compat, 2, compat);
    uint8_t text[MESSAGE_FRAME], d[WIRE_MAX_DATAGRAM];
    uint64_t nonce;
    scripted_connect(&peer);
    size_t from = peer.heard_count;
    scripted_inject(
        &peer, scripted_seal_routed(&peer, membership_header, message_frame(MEMBERSHIP_UNSUBSCRIBE, "a", 8, text), d));
    settle();
    cr_assert(acks(from, &nonce, 1) == 1 && nonce == 8);
    uint64_t taken = MESH_COUNT(node, rx_packets);
    struct wire_header h = {.flags = WIRE_HEARTBEAT};
    scripted_inject(&peer, scripted_seal_routed(&peer, h, (struct cspan){0}, d));
    settle();
    cr_assert_eq(MESH_COUNT(node, rx_packets) - taken, !compat);
    cr_assert_eq(MESH_COUNT(node, drop_routed_heartbeat), compat);
}

Test(sim_wire, routed_to_self_from_our_own)
{
    routed_to_self(false);
}

Test(sim_wire, routed_to_self_from_v019)
{
    routed_to_self(true);
}

/* X0, X4, X6: what a node offers is what its configuration and its socket buffer (4 MiB in this world) allow. */
Test(sim_wire, offers_follow_the_configuration)
{
    for (int aes = 0; aes < 2; aes++) {
        if (aes)
            end();
        mesh_init(&mesh, 61);
        struct mesh_node *node = mesh_add(&mesh, 1);
        scripted_init(&peer, &mesh, node, false);
        peer_used = true;
        peer.local.features |= FEATURE_AES_GCM | FEATURE_ACK | FEATURE_CREDIT | FEATURE_FRAGMENT | FEATURE_APPEND;
        node->config.cipher_aes_gcm = aes;
        node->config.window = aes ? 1 << 30 : 100000;
        mesh_start(node);
        scripted_connect(&peer);
        uint64_t on = FEATURE_SECURE | FEATURE_ACK | FEATURE_FRAGMENT | FEATURE_CREDIT | FEATURE_RELAYED |
                      FEATURE_EPOCHS | FEATURE_APPEND;
        cr_assert_eq(peer.session.p.features, aes && crypto_has_fast_aes() ? on | FEATURE_AES_GCM : on);
        cr_assert_eq(peer.session.p.peer_window, aes ? 1 << 20 : 100000);
        cr_assert_eq(peer.session.p.peer_max_datagram, 8210);
    }
}

/* X4: half of the socket buffer is for all windows together. */
Test(sim_wire, many_subscriptions_share_the_socket_buffer)
{
    mesh_init(&mesh, 62);
    struct mesh_node *node = mesh_add(&mesh, 1), *publisher = mesh_add(&mesh, 1);
    scripted_init(&peer, &mesh, node, false);
    peer_used = true;
    node->config.window = 1 << 30;
    mesh_know(node, publisher);
    for (int i = 0; i < 8; i++) {
        char channel[32];
        snprintf(channel, sizeof channel, "channel/%d", i);
        mesh_subscribe(node, channel, publisher);
    }
    mesh_start(node);
    scripted_connect(&peer);
    cr_assert_eq(peer.session.p.peer_window, (2 << 20) / 8);
}

/* ---- relaying: 19 to 21; sizes: 33, 34 ---- */

static bool from_the_node(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span d)
{
    const struct io_addr listening = sim_host_addr(peer.node->host);
    (void)ctx, (void)to, (void)d;
    cr_assert(from->port == listening.port && memcmp(from->ip, listening.ip, 16) == 0);
    return true;
}

Test(sim_wire, a_relay_changes_the_routing_header_alone)
{
    struct mesh_node *relay = node_and_peer(57, 2, false);
    uint8_t d[WIRE_ROUTE + 200], want[WIRE_ROUTE + 200];
    struct wire_route route = {.ttl = 1, .hop_count = 4, .flags = 0xF3, .reserved = 0x55, .src_id = 0x01020304};
    const struct io_addr stranger = {.ip = {[10] = 0xff, 0xff, 10, 9, 9, 9}, .port = 1};
    const struct io_addr to = sim_host_addr(relay->host);
    scripted_connect(&peer);
    sim_set_tap(mesh.sim, from_the_node, NULL);
    for (size_t i = 0; i < sizeof d; i++)
        d[i] = (uint8_t)(i * 7); /* not even the inner magic is looked at */
    route.dest_id = peer.identity.ids.node_id;
    wire_route_encode(&route, d);
    memcpy(want, d, sizeof d);
    want[2] = 0;
    want[3] = 5;
    want[4] = 0x03;
    sim_inject(mesh.sim, &stranger, &to, (struct cspan){d, sizeof d});
    settle();
    cr_assert_eq(peer.unopened, 1);
    cr_assert_eq(peer.last_len, sizeof want);
    cr_assert_arr_eq(peer.last, want, sizeof want);
    d[2] = 0;
    sim_inject(mesh.sim, &stranger, &to, (struct cspan){d, sizeof d});
    settle();
    cr_assert(peer.unopened == 1 && MESH_COUNT(relay, drop_ttl) == 1);
    sim_set_tap(mesh.sim, NULL, NULL);
}

/* Two relays whose routes lead to each other would throw it to and fro until its ttl is used up. */
Test(sim_wire, a_relay_sends_nothing_back_to_where_it_came_from)
{
    struct mesh_node *relay = node_and_peer(58, 2, false);
    uint8_t d[WIRE_ROUTE + 200] = {0};
    scripted_connect(&peer);
    const struct wire_route route = {.ttl = 5, .src_id = 1, .dest_id = peer.identity.ids.node_id};
    wire_route_encode(&route, d);
    EXPECT_DROPPED(relay, ((struct cspan){d, sizeof d}), drop_no_route, "for the node that sent it");
    cr_assert(peer.unopened == 0 && MESH_COUNT(relay, relayed) == 0);
}

/* The largest event that goes alone fills one packet of 8192 bytes; one byte more is not for a peer that takes no
 * fragments, and that is counted. */
Test(sim_wire, the_largest_event_is_one_packet)
{
    struct mesh_node *node = node_and_peer(58, 1, false);
    uint8_t text[MESSAGE_FRAME];
    scripted_connect(&peer);
    scripted_send(&peer, membership_header, message_frame(MEMBERSHIP_SUBSCRIBE, CHANNEL, 1, text));
    settle();
    size_t from = peer.heard_count;
    cr_assert_eq(mesh_publish_size(node, CHANNEL, 8108), NET_OK);
    cr_assert_eq(mesh_publish_size(node, CHANNEL, 8109), NET_OK, "the log takes it");
    settle();
    const struct heard *h = scripted_next(&peer, &from, heard_events);
    cr_assert(h && h->datagram_len == 8192 && h->header.event_count == 1);
    cr_assert_null(scripted_next(&peer, &from, heard_events));
    cr_assert_eq(MESH_COUNT(node, drop_oversize), 1);
}

/* The same to a peer behind a relay: with the routing header no more than 8192 bytes, ttl 8, both ids. */
Test(sim_wire, a_relayed_peer_gets_8090_bytes)
{
    struct mesh_node *node = node_and_peer(59, 1, false);
    uint8_t text[MESSAGE_FRAME], d[WIRE_MAX_DATAGRAM], msg1[HANDSHAKE_MAX_DATAGRAM];
    struct wire_header heartbeat = {.flags = WIRE_HEARTBEAT};
    struct cspan datagram = scripted_msg1(&peer, HANDSHAKE_ROUTED, msg1);
    msg1[3] = 1; /* it took a hop */
    scripted_inject(&peer, datagram);
    settle();
    cr_assert(peer.has_session);
    scripted_inject(&peer, scripted_seal_routed(&peer, heartbeat, (struct cspan){0}, d));
    settle();
    scripted_inject(&peer, scripted_seal_routed(&peer, membership_header,
                                                message_frame(MEMBERSHIP_SUBSCRIBE, CHANNEL, 1, text), d));
    settle();
    cr_assert_eq(mesh_publish_size(node, CHANNEL, 8090), NET_OK);
    cr_assert_eq(mesh_publish_size(node, CHANNEL, 8091), NET_OK, "the log takes it");
    settle();
    size_t at = 0;
    const struct heard *h = scripted_next(&peer, &at, heard_events);
    cr_assert(h && h->datagram_len == 8192);
    cr_assert_null(scripted_next(&peer, &at, heard_events));
    cr_assert_eq(MESH_COUNT(node, drop_oversize), 1, "this peer cannot be sent it, and that is counted");
    for (size_t i = 0; i < peer.heard_count; i++) { /* X5: every kind travels so */
        cr_assert(peer.heard[i].routed && peer.heard[i].route.ttl == 8 && peer.heard[i].route.hop_count == 0);
        cr_assert_eq(peer.heard[i].route.src_id, (uint32_t)node->node_id);
        cr_assert_eq(peer.heard[i].route.dest_id, peer.identity.ids.node_id);
    }
    cr_assert(scripted_count(&peer, 0, heard_heartbeat) >= 1 && scripted_count(&peer, 0, heard_membership) == 1);
}
