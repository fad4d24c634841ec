/* Both roles of the handshake: v0.19.0 byte for byte against vectors and recordings, ours against X0 and X1. */
#include <criterion/criterion.h>
#include <glob.h>

#include "core/base/err.h"
#include "core/session/handshake_internal.h"
#include "tests/support/vectors.h"

static struct crypto *crypto;

struct side {
    struct identity identity;
    struct handshake_local local;
    struct handshake_offer offer;
    uint8_t ephemeral[32];
};

/* Two nodes of ours that share a PSK, and the attempt between them. */
static struct side alice, bob;
static struct handshake attempt;
static struct handshake_target target;
static struct handshake_hello hello;
static struct handshake_claim claim;
static struct session_params ours, theirs;
static uint8_t msg1[HANDSHAKE_MAX_DATAGRAM], msg2[HANDSHAKE_MAX_DATAGRAM];

enum { NET1 = WIRE_ROUTE, GATE1 = NET1 + 32, NOISE1 = NET1 + WIRE_HEADER }; /* offsets in a routed datagram */

static void make_side(struct side *s, uint8_t seed_byte, uint64_t features)
{
    uint8_t seed[32];
    memset(seed, seed_byte, sizeof seed);
    cr_assert_eq(identity_init(&s->identity, crypto, seed), NET_OK);
    s->local = (struct handshake_local){.identity = &s->identity, .features = features};
    memset(s->local.static_secret, seed_byte + 1, 32);
    memset(s->local.psk, 0x42, 32);
    handshake_local_init(&s->local, crypto);
    s->offer = (struct handshake_offer){.receive_id = 0xAA00u + seed_byte,
                                        .instance = 0xBB00u + seed_byte,
                                        .window = 100000u + seed_byte,
                                        .max_datagram = (uint16_t)(1400 + seed_byte)};
    memset(s->ephemeral, seed_byte + 2, 32);
}

static const uint64_t all_features =
    FEATURE_SECURE | FEATURE_ACK | FEATURE_CREDIT | FEATURE_RELAYED | FEATURE_EPOCHS | FEATURE_AES_GCM;

static void set_up(void)
{
    cr_assert_eq(crypto_init(&crypto, NULL), NET_OK);
    make_side(&alice, 0x11, all_features);
    make_side(&bob, 0x22, all_features & ~(uint64_t)FEATURE_CREDIT);
    target = (struct handshake_target){.node_id = bob.identity.ids.node_id};
    memcpy(target.static_public, bob.local.static_public, 32);
}

static void tear_down(void)
{
    crypto_deinit(crypto);
}

TestSuite(handshake, .init = set_up, .fini = tear_down);

static struct cspan dial(void)
{
    int len = handshake_start(&attempt, crypto, &alice.local, &target, &alice.offer, alice.ephemeral, msg1);
    cr_assert_gt(len, 0, "%s", net_err_name(len));
    return (struct cspan){msg1, (size_t)len};
}

static int receive(struct cspan datagram, uint64_t candidate)
{
    int err = handshake_peek(crypto, &bob.local, datagram, &hello);
    return err ? err : handshake_read(crypto, &bob.local, &hello, candidate, &claim);
}

static struct cspan answer(void)
{
    int len = handshake_answer(crypto, &bob.local, &claim, &bob.offer, bob.ephemeral, msg2, &theirs);
    cr_assert_gt(len, 0, "%s", net_err_name(len));
    return (struct cspan){msg2, (size_t)len};
}

static int finish(struct cspan datagram)
{
    return handshake_finish(&attempt, crypto, &alice.local, datagram, &ours);
}

static void expect_fit(void)
{
    cr_expect_arr_eq(ours.tx_key, theirs.rx_key, 32);
    cr_expect_arr_eq(ours.rx_key, theirs.tx_key, 32);
    cr_expect_arr_neq(ours.rx_key, ours.tx_key, 32);
    cr_expect_eq(ours.tx_id, theirs.rx_id);
    cr_expect_eq(ours.rx_id, theirs.tx_id);
    cr_expect_eq(ours.features, theirs.features);
    cr_expect_eq(ours.handshake_name, theirs.handshake_name);
    cr_expect(ours.initiator && !theirs.initiator);
    cr_expect_eq(ours.peer_node_id, bob.identity.ids.node_id);
    cr_expect_eq(theirs.peer_node_id, alice.identity.ids.node_id);
}

/* ---- ours ---- */

Test(handshake, secure_session)
{
    cr_assert_eq(receive(dial(), 0), NET_OK);
    cr_expect(hello.routed && hello.gated && !hello.gate_zero);
    cr_expect_eq(hello.src_id, (uint32_t)alice.identity.ids.node_id);
    cr_expect_arr_eq(hello.ephemeral, msg1 + NOISE1, 32);
    cr_expect(claim.secure && claim.routed);
    cr_expect_eq(claim.features, alice.local.features);
    cr_expect_arr_eq(claim.entity, alice.identity.entity, 32);
    cr_assert_eq(finish(answer()), NET_OK);
    expect_fit();
    cr_expect_eq(ours.features, all_features & ~(uint64_t)FEATURE_CREDIT, "what both offered");
    cr_expect(ours.rx_id == alice.offer.receive_id && ours.tx_id == bob.offer.receive_id);
    cr_expect(ours.peer_instance == bob.offer.instance && theirs.peer_instance == alice.offer.instance);
    cr_expect(ours.peer_window == bob.offer.window && theirs.peer_window == alice.offer.window);
    cr_expect_eq(ours.peer_max_datagram, bob.offer.max_datagram);
    cr_expect_eq(theirs.peer_max_datagram, alice.offer.max_datagram);
    cr_expect_arr_eq(ours.peer_entity, bob.identity.entity, 32);
    cr_expect_arr_eq(theirs.peer_entity, alice.identity.entity, 32);
}

/* Bits whose requirement is off are off too: X6 (bit 6 wants 5), X7 (bit 7 wants 1). */
Test(handshake, features_stand_on_each_other)
{
    bob.local.features = FEATURE_SECURE | FEATURE_AES_GCM | FEATURE_FOLLOW | FEATURE_APPEND;
    alice.local.features |= FEATURE_FOLLOW | FEATURE_APPEND;
    cr_assert_eq(receive(dial(), 0), NET_OK);
    cr_assert_eq(finish(answer()), NET_OK);
    cr_expect_eq(ours.features, (uint64_t)(FEATURE_SECURE | FEATURE_APPEND));
    cr_expect_eq(theirs.features, ours.features);
}

/* X0's bytes, put together here from the primitives: payload, signature input, gate; and X1's keys. */
struct expected {
    struct noise noise; /* Bob's, after msg1 or msg2 */
    uint8_t h[32];      /* just before the payload */
};

static void follow_msg1(struct expected *e, uint8_t payload[OFFER_MAX_PAYLOAD])
{
    uint8_t prologue[32];
    noise_prologue(alice.identity.ids.node_id, bob.identity.ids.node_id, prologue);
    noise_init(&e->noise, crypto, (struct cspan){prologue, 32}, bob.local.static_public);
    noise_psk(&e->noise, crypto, bob.local.psk);
    noise_ephemeral(&e->noise, crypto, msg1 + NOISE1);
    cr_assert(noise_dh(&e->noise, crypto, bob.local.static_secret, msg1 + NOISE1));
    memcpy(e->h, e->noise.h, 32);
    if (payload)
        cr_assert_eq(noise_decrypt(&e->noise, crypto, (struct cspan){msg1 + NOISE1 + 32, 164 + 16}, payload), NET_OK);
}

static void expect_payload(const uint8_t *payload, size_t used, const struct side *from, uint8_t role,
                           const uint8_t h[32])
{
    uint8_t block[56] = "NXT1\x96\x00", input[90], *at = block + 6;
    struct cspan before = {payload, used + 56};
    store_le32(at, 0x00080001);
    store_le64(at + 4, from->local.features);
    store_le32(at + 12, 0x00020002);
    store_le16(at + 16, from->offer.max_datagram);
    store_le32(at + 18, 0x00040003);
    store_le32(at + 22, from->offer.window);
    store_le32(at + 26, 0x00080005);
    store_le64(at + 30, from->offer.receive_id);
    store_le32(at + 38, 0x00080006);
    store_le64(at + 42, from->offer.instance);
    cr_expect_arr_eq(payload + used, block, sizeof block);
    cr_expect_eq(load_le32(payload + used + 56), 0x00608004u);
    cr_expect_arr_eq(payload + used + 60, from->identity.entity, 32);
    memcpy(input, "net-mesh session proof v1", 25);
    input[25] = role;
    memcpy(input + 26, h, 32);
    blake2s(crypto, NULL, 0, &before, 1, input + 58);
    cr_expect(ed25519_verify(from->identity.entity, (struct cspan){input, 90}, payload + used + 92));
}

static void expect_gate(const uint8_t *gate, struct cspan noise)
{
    uint8_t key[32], hash[32];
    struct cspan parts[] = {{(const uint8_t *)"net-mesh gate v1", 16}, {bob.local.static_public, 32}};
    blake2s(crypto, bob.local.psk, 32, parts, 2, key);
    blake2s(crypto, key, 32, &noise, 1, hash);
    cr_expect_arr_eq(gate, hash, 16);
}

Test(handshake, bytes_of_the_offer)
{
    struct expected e;
    uint8_t payload[OFFER_MAX_PAYLOAD], keys[2][32];
    struct cspan datagram = dial();
    cr_assert_eq(datagram.len, NOISE1 + 48u + 164);
    follow_msg1(&e, payload);
    cr_expect_eq(load_le64(payload), alice.identity.ids.node_id);
    expect_payload(payload, 8, &alice, 1, e.h);
    expect_gate(msg1 + GATE1, (struct cspan){msg1 + NOISE1, datagram.len - NOISE1});

    cr_assert_eq(receive(datagram, 0), NET_OK);
    struct cspan reply = answer();
    cr_assert_eq(reply.len, NOISE1 + 48u + 156);
    noise_ephemeral(&e.noise, crypto, msg2 + NOISE1);
    cr_assert(noise_dh(&e.noise, crypto, alice.ephemeral, msg2 + NOISE1));
    memcpy(e.h, e.noise.h, 32);
    cr_assert_eq(noise_decrypt(&e.noise, crypto, (struct cspan){msg2 + NOISE1 + 32, 156 + 16}, payload), NET_OK);
    expect_payload(payload, 0, &bob, 2, e.h);
    expect_gate(msg2 + GATE1, (struct cspan){msg2 + NOISE1, reply.len - NOISE1});

    noise_split(&e.noise, crypto, keys);
    cr_expect_arr_eq(theirs.rx_key, keys[0], 32);
    cr_expect_arr_eq(theirs.tx_key, keys[1], 32);
    cr_expect_eq(theirs.handshake_name, load_le64(e.noise.h));
}

/* 20.12: no session id, no nonce; 20.10: the answer goes to the full id with ttl 16. */
Test(handshake, headers)
{
    struct wire_route route;
    struct wire_header h;
    struct cspan datagram = dial();
    cr_assert_eq(wire_route_decode(datagram, &route), NET_OK);
    cr_expect(route.ttl == 16 && route.hop_count == 0 && route.flags == 0 && route.reserved == 0);
    cr_expect_eq(route.src_id, (uint32_t)alice.identity.ids.node_id);
    cr_expect_eq(route.dest_id, bob.identity.ids.node_id);
    cr_assert_eq(wire_header_decode((struct cspan){msg1 + NET1, datagram.len - NET1}, &h), NET_OK);
    cr_expect(h.flags == WIRE_HANDSHAKE && h.session_id == 0 && h.counter == 0 && load_le32(h.nonce_prefix) == 0);
    cr_expect_eq(h.payload_len, datagram.len - NOISE1);
    cr_assert_eq(receive(datagram, 0), NET_OK);
    cr_assert_eq(wire_route_decode(answer(), &route), NET_OK);
    cr_expect(route.ttl == 16 && route.src_id == (uint32_t)bob.identity.ids.node_id);
    cr_expect_eq(route.dest_id, alice.identity.ids.node_id);
}

/* 20.13 */
Test(handshake, payload_len_is_not_compared)
{
    struct cspan datagram = dial();
    store_le16(msg1 + NET1 + 60, 7);
    cr_expect_eq(receive(datagram, 0), NET_OK);
}

/* ---- what the responder refuses ---- */

Test(handshake, gate_of_msg1)
{
    struct cspan datagram = dial();
    for (size_t i = 0; i < HANDSHAKE_GATE; i++) {
        msg1[GATE1 + i] ^= 1;
        cr_expect_eq(handshake_peek(crypto, &bob.local, datagram, &hello), NET_ERR_AUTH);
        msg1[GATE1 + i] ^= 1;
    }
    msg1[datagram.len - 1] ^= 1;
    cr_expect_eq(handshake_peek(crypto, &bob.local, datagram, &hello), NET_ERR_AUTH, "it covers the Noise bytes");
    memset(msg1 + GATE1, 0, HANDSHAKE_GATE);
    cr_expect_eq(handshake_peek(crypto, &bob.local, datagram, &hello), NET_OK);
    cr_expect(hello.gate_zero && !hello.gated, "the caller's policy decides about zeros");
}

/* 20.6: the gate stops a wrong PSK or static key, and without it the tag does. */
Test(handshake, wrong_keys)
{
    alice.local.psk[0] ^= 1;
    struct cspan datagram = dial();
    cr_expect_eq(receive(datagram, 0), NET_ERR_AUTH);
    memset(msg1 + GATE1, 0, HANDSHAKE_GATE);
    cr_expect_eq(receive(datagram, 0), NET_ERR_AUTH);
    alice.local.psk[0] ^= 1;
    target.static_public[0] ^= 1;
    datagram = dial();
    memset(msg1 + GATE1, 0, HANDSHAKE_GATE);
    cr_expect_eq(receive(datagram, 0), NET_ERR_AUTH);
}

/* A relay that rewrites an id breaks the tag. */
Test(handshake, rewritten_route)
{
    struct cspan datagram = dial();
    msg1[6] ^= 1;
    cr_expect_eq(receive(datagram, 0), NET_ERR_AUTH);
    msg1[6] ^= 1;
    msg1[10] ^= 1;
    cr_expect_eq(receive(datagram, 0), NET_ERR_FORMAT, "for another node");
    msg1[10] ^= 1;
    msg1[2] = 3; /* hops are its to change */
    msg1[3] = 13;
    cr_expect_eq(receive(datagram, 0), NET_OK);
}

Test(handshake, lengths)
{
    struct cspan datagram = dial();
    static uint8_t big[NOISE1 + 48 + 513];
    for (size_t len = 0; len < NOISE1 + 48; len++)
        cr_expect_neq(handshake_peek(crypto, &bob.local, (struct cspan){msg1, len}, &hello), NET_OK);
    cr_expect_eq(handshake_peek(crypto, &bob.local, (struct cspan){msg1, NOISE1 + 47}, &hello), NET_ERR_TRUNCATED);
    memcpy(big, msg1, datagram.len);
    cr_expect_eq(handshake_peek(crypto, &bob.local, (struct cspan){big, sizeof big}, &hello), NET_ERR_FORMAT);
    msg1[NET1 + 3] = WIRE_HEARTBEAT | WIRE_HANDSHAKE;
    cr_expect_eq(handshake_peek(crypto, &bob.local, datagram, &hello), NET_ERR_FORMAT, "routed heartbeats are dropped");
    msg1[NET1 + 3] = WIRE_RELIABLE;
    cr_expect_eq(handshake_peek(crypto, &bob.local, datagram, &hello), NET_ERR_FORMAT);
}

/* A msg1 from Alice with any payload, properly gated and sealed: what a hostile holder of the PSK can send. */
static struct cspan forge_msg1(struct cspan payload, bool routed)
{
    struct noise n;
    uint8_t prologue[32], *noise = msg1 + handshake_noise_at(routed);
    const struct wire_route route = {
        .ttl = 16, .src_id = (uint32_t)alice.identity.ids.node_id, .dest_id = bob.identity.ids.node_id};
    noise_prologue(alice.identity.ids.node_id, bob.identity.ids.node_id, prologue);
    noise_init(&n, crypto, (struct cspan){prologue, 32}, bob.local.static_public);
    noise_psk(&n, crypto, alice.local.psk);
    x25519_public(alice.ephemeral, noise);
    noise_ephemeral(&n, crypto, noise);
    cr_assert(noise_dh(&n, crypto, alice.ephemeral, bob.local.static_public));
    cr_assert_eq(noise_encrypt(&n, crypto, payload, noise + 32), NET_OK);
    size_t len = handshake_enframe(crypto, routed ? &route : NULL, bob.local.gate_key, msg1, NOISE_EMPTY + payload.len);
    return (struct cspan){msg1, len};
}

/* The payload Alice would send, for a test to damage; the signature is right for forge_msg1. */
static size_t honest_payload(const struct side *from, uint64_t node_id, enum handshake_role role, uint8_t *payload)
{
    struct expected e;
    x25519_public(alice.ephemeral, msg1 + NOISE1);
    follow_msg1(&e, NULL);
    store_le64(payload, node_id);
    return handshake_prove(crypto, &from->local, &from->offer, role, e.h, payload, 8);
}

static int claim_with(const uint8_t *payload, size_t len)
{
    return receive(forge_msg1((struct cspan){payload, len}, true), 0);
}

Test(handshake, claims_that_prove_nothing)
{
    uint8_t payload[OFFER_MAX_PAYLOAD];
    uint64_t id = alice.identity.ids.node_id;
    size_t len = honest_payload(&alice, id, HANDSHAKE_INITIATOR, payload);
    struct side mallory;
    cr_assert_eq(claim_with(payload, len), NET_OK);
    for (size_t i = 8; i < len; i++) { /* any byte of the block: signed, or a form that is refused */
        payload[i] ^= 0x40;
        cr_expect(claim_with(payload, len) != NET_OK || !claim.secure, "byte %zu", i);
        payload[i] ^= 0x40;
    }
    len = honest_payload(&alice, id, HANDSHAKE_RESPONDER, payload);
    cr_expect_eq(claim_with(payload, len), NET_ERR_AUTH, "the proof of the other role");
    make_side(&mallory, 0x33, all_features);
    len = honest_payload(&mallory, id, HANDSHAKE_INITIATOR, payload);
    cr_expect_eq(claim_with(payload, len), NET_ERR_AUTH, "an entity with another node id");
    len = honest_payload(&bob, id, HANDSHAKE_INITIATOR, payload);
    cr_expect_eq(claim_with(payload, len), NET_ERR_POLICY, "our own entity");
    len = honest_payload(&alice, id ^ UINT64_C(1) << 40, HANDSHAKE_INITIATOR, payload);
    cr_expect_eq(claim_with(payload, len), NET_ERR_AUTH, "the high half of the id is proven too");
}

/* A proof is worth nothing in another handshake: it signs h. */
Test(handshake, stolen_proof)
{
    uint8_t payload[OFFER_MAX_PAYLOAD];
    size_t len = honest_payload(&alice, alice.identity.ids.node_id, HANDSHAKE_INITIATOR, payload);
    alice.ephemeral[5] ^= 1;
    cr_expect_eq(claim_with(payload, len), NET_ERR_AUTH);
}

/* 20.8, 20.9, and what a block must be. */
Test(handshake, payload_of_routed_msg1)
{
    uint8_t payload[16] = {0};
    store_le64(payload, alice.identity.ids.node_id);
    cr_expect_eq(claim_with(payload, 7), NET_ERR_FORMAT);
    cr_expect_eq(claim_with(payload, 8), NET_OK);
    cr_expect_eq(claim_with(payload, 9), NET_OK);
    cr_expect(!claim.secure && claim.features == 0 && claim.node_id == alice.identity.ids.node_id);
    memcpy(payload + 8, "NXT1\x01\x00", 6);
    cr_expect_eq(claim_with(payload, 14), NET_ERR_FORMAT);
    payload[0] ^= 1;
    cr_expect_eq(claim_with(payload, 8), NET_ERR_AUTH, "the payload names another node than src_id");
}

/* A block without bit 0 gives a v0.19.0 session; whether that is wanted is policy. */
Test(handshake, block_without_security)
{
    uint8_t payload[26] = {0};
    store_le64(payload, alice.identity.ids.node_id);
    memcpy(payload + 8, "NXT1\x0c\x00\x01\x00\x08\x00\x02\x00\x00\x00\x00\x00\x00\x00", 18);
    cr_assert_eq(claim_with(payload, 26), NET_OK);
    cr_expect(!claim.secure && claim.features == 0);
    cr_expect_eq(answer().len, NOISE1 + 48u);
    cr_expect(theirs.features == 0 && theirs.rx_id == theirs.tx_id && theirs.rx_id == theirs.handshake_name);
}

Test(handshake, small_order_ephemeral)
{
    struct cspan datagram = dial();
    memset(msg1 + NOISE1, 0, 32);
    handshake_gate(crypto, bob.local.gate_key, (struct cspan){msg1 + NOISE1, datagram.len - NOISE1}, msg1 + GATE1);
    cr_expect_eq(receive(datagram, 0), NET_ERR_AUTH);
    memset(target.static_public, 0, 32);
    cr_expect_eq(handshake_start(&attempt, crypto, &alice.local, &target, &alice.offer, alice.ephemeral, msg1),
                 NET_ERR_INVALID);
}

/* ---- what the initiator refuses, and that it goes on waiting ---- */

/* Bob's msg2 with any payload. */
static struct cspan forge_msg2(struct cspan payload)
{
    struct noise n;
    const struct wire_route route = {
        .ttl = 16, .src_id = (uint32_t)bob.identity.ids.node_id, .dest_id = alice.identity.ids.node_id};
    memcpy(n.h, claim.h, 32);
    memcpy(n.ck, claim.ck, 32);
    x25519_public(bob.ephemeral, msg2 + NOISE1);
    noise_ephemeral(&n, crypto, msg2 + NOISE1);
    cr_assert(noise_dh(&n, crypto, bob.ephemeral, claim.ephemeral));
    cr_assert_eq(noise_encrypt(&n, crypto, payload, msg2 + NOISE1 + 32), NET_OK);
    return (struct cspan){msg2, handshake_enframe(crypto, &route, bob.local.gate_key, msg2, NOISE_EMPTY + payload.len)};
}

Test(handshake, forged_msg2_does_not_abort)
{
    struct side mallory;
    uint8_t payload[OFFER_MAX_PAYLOAD];
    struct noise n;
    cr_assert_eq(receive(dial(), 0), NET_OK);
    struct handshake before = attempt;
    cr_expect_eq(finish(forge_msg2((struct cspan){payload, 0})), NET_ERR_POLICY, "no block: X1 is required");
    memcpy(payload, "NXT1\x01\x00", 6);
    cr_expect_eq(finish(forge_msg2((struct cspan){payload, 6})), NET_ERR_FORMAT);
    memcpy(n.h, claim.h, 32);
    memcpy(n.ck, claim.ck, 32);
    noise_ephemeral(&n, crypto, msg2 + NOISE1);
    cr_assert(noise_dh(&n, crypto, bob.ephemeral, claim.ephemeral));
    make_side(&mallory, 0x33, all_features);
    size_t len = handshake_prove(crypto, &mallory.local, &mallory.offer, HANDSHAKE_RESPONDER, n.h, payload, 0);
    cr_expect_eq(finish(forge_msg2((struct cspan){payload, len})), NET_ERR_AUTH, "an entity that was not dialled");
    len = handshake_prove(crypto, &alice.local, &bob.offer, HANDSHAKE_RESPONDER, n.h, payload, 0);
    cr_expect_eq(finish(forge_msg2((struct cspan){payload, len})), NET_ERR_POLICY, "our own entity");
    len = handshake_prove(crypto, &bob.local, &bob.offer, HANDSHAKE_INITIATOR, n.h, payload, 0);
    cr_expect_eq(finish(forge_msg2((struct cspan){payload, len})), NET_ERR_AUTH, "the proof of the other role");
    struct cspan good = answer();
    msg2[GATE1] ^= 1;
    cr_expect_eq(finish(good), NET_ERR_AUTH, "gate");
    memset(msg2 + GATE1, 0, HANDSHAKE_GATE);
    cr_expect_eq(finish(good), NET_ERR_AUTH, "gate left out");
    good = answer();
    msg2[good.len - 1] ^= 1;
    handshake_gate(crypto, bob.local.gate_key, (struct cspan){msg2 + NOISE1, good.len - NOISE1}, msg2 + GATE1);
    cr_expect_eq(finish(good), NET_ERR_AUTH, "tag");
    cr_expect_eq(finish((struct cspan){msg1, 294}), NET_ERR_FORMAT, "a reflected msg1");
    cr_expect_arr_eq(&attempt, &before, sizeof attempt, "the attempt goes on");
    cr_expect_eq(finish(answer()), NET_OK);
    expect_fit();
}

Test(handshake, msg2_of_another_route)
{
    cr_assert_eq(receive(dial(), 0), NET_OK);
    struct cspan good = answer();
    msg2[6] ^= 1;
    cr_expect_eq(finish(good), NET_ERR_FORMAT);
    msg2[6] ^= 1;
    msg2[17] ^= 1;
    cr_expect_eq(finish(good), NET_ERR_FORMAT);
    msg2[17] ^= 1;
    cr_expect_eq(finish((struct cspan){msg2 + WIRE_ROUTE, good.len - WIRE_ROUTE}), NET_ERR_FORMAT, "direct");
    cr_expect_eq(finish(good), NET_OK);
}

/* A retried msg1 is answered again: the claim is not used up (session.md 18.3). */
Test(handshake, answers_twice)
{
    cr_assert_eq(receive(dial(), 0), NET_OK);
    answer();
    bob.ephemeral[3] ^= 1;
    cr_expect_eq(finish(answer()), NET_OK);
    expect_fit();
}

static bool all_zero(const void *p, size_t len)
{
    const uint8_t *bytes = p;
    while (len && bytes[len - 1] == 0)
        len--;
    return len == 0;
}

/* 20.48: nothing of the attempt is left. */
Test(handshake, wipes)
{
    struct cspan datagram = dial();
    handshake_wipe(&attempt);
    cr_expect(all_zero(&attempt, sizeof attempt));
    cr_assert_eq(receive(dial(), 0), NET_OK);
    cr_assert_eq(finish(answer()), NET_OK);
    cr_expect(all_zero(&attempt, sizeof attempt), "success wipes too");
    msg1[NOISE1 + 40] ^= 1;
    memset(msg1 + GATE1, 0, HANDSHAKE_GATE);
    cr_expect_eq(receive(datagram, 0), NET_ERR_AUTH);
    cr_expect(all_zero(&claim, sizeof claim), "a refused claim keeps nothing");
    handshake_local_deinit(&alice.local);
    cr_expect(all_zero(&alice.local, sizeof alice.local));
}

/* ---- direct mode and v0.19.0 ---- */

/* X0: our nodes never send it to each other, but answer it. Who it is must be guessed (session.md 13.4). */
Test(handshake, direct_msg1_with_an_offer)
{
    uint8_t payload[OFFER_MAX_PAYLOAD];
    uint64_t id = alice.identity.ids.node_id;
    size_t len = honest_payload(&alice, id, HANDSHAKE_INITIATOR, payload);
    struct cspan datagram = forge_msg1((struct cspan){payload, len}, false);
    cr_expect_eq(receive(datagram, 12345), NET_ERR_AUTH, "a wrong candidate");
    cr_expect_eq(receive(datagram, id ^ UINT64_C(1) << 40), NET_ERR_AUTH, "right in its low half only");
    cr_assert_eq(receive(datagram, id), NET_OK);
    cr_expect(claim.secure && !claim.routed && claim.gated);
    struct cspan reply = answer();
    cr_expect_eq(reply.data[0], 0x45, "answered as it came");
    expect_gate(msg2 + 32, (struct cspan){msg2 + WIRE_HEADER, reply.len - WIRE_HEADER});
}

/* 20.7 */
Test(handshake, direct_msg1_may_carry_anything)
{
    const uint8_t payload[] = "some later version";
    struct cspan datagram = forge_msg1((struct cspan){payload, sizeof payload}, false);
    cr_expect_eq(receive(datagram, alice.identity.ids.node_id), NET_OK);
    cr_expect(!claim.secure && claim.features == 0);
}

Test(handshake, compat_target_gets_v019)
{
    target.compat = true;
    for (int mode = HANDSHAKE_ROUTED; mode <= HANDSHAKE_DIRECT; mode++) {
        target.mode = (enum handshake_mode)mode;
        struct cspan datagram = dial();
        cr_expect_eq(datagram.len, mode == HANDSHAKE_ROUTED ? 138u : 112u);
        cr_assert_eq(receive(datagram, alice.identity.ids.node_id), NET_OK);
        cr_expect(hello.gate_zero && !claim.secure && claim.features == 0);
        struct cspan reply = answer();
        cr_expect_eq(reply.len, mode == HANDSHAKE_ROUTED ? 130u : 112u);
        size_t gate = (mode == HANDSHAKE_ROUTED ? WIRE_ROUTE : 0) + 32;
        cr_expect(handshake_gate_is_zero(msg2 + gate), "ungated gets ungated");
        cr_assert_eq(finish(reply), NET_OK);
        expect_fit();
        cr_expect(ours.features == 0 && ours.rx_id == ours.tx_id && ours.peer_instance == 0);
        cr_expect(ours.peer_window == 65536 && ours.peer_max_datagram == 8210);
    }
}

/* One side of a golden v0.19.0 handshake: ids are given, not derived, and the other side's secrets may be unknown. */
static void golden_side(struct side *s, struct json_object *from, const char *id, const char *ephemeral)
{
    *s = (struct side){.local = {.identity = &s->identity, .features = FEATURE_SECURE}};
    s->identity.ids.node_id = id ? vectors_u64(from, id) : 0;
    vectors_bytes(from, "psk", s->local.psk, 32);
    if (json_object_object_get_ex(from, ephemeral, NULL))
        vectors_bytes(from, ephemeral, s->ephemeral, 32);
}

static void expect_datagram(struct cspan got, struct json_object *from, const char *name)
{
    uint8_t wanted[HANDSHAKE_MAX_DATAGRAM];
    size_t len = vectors_blob(from, name, wanted, sizeof wanted);
    cr_assert_eq(got.len, len);
    cr_expect_arr_eq(got.data, wanted, len);
}

static void expect_keys(const struct session_params *p, struct json_object *from)
{
    uint8_t i2r[32], r2i[32];
    vectors_bytes(from, "k_i2r", i2r, 32);
    vectors_bytes(from, "k_r2i", r2i, 32);
    cr_expect_arr_eq(p->tx_key, p->initiator ? i2r : r2i, 32);
    cr_expect_arr_eq(p->rx_key, p->initiator ? r2i : i2r, 32);
    cr_expect_eq(p->rx_id, vectors_u64(from, "session_id"));
    cr_expect_eq(p->tx_id, p->rx_id);
    cr_expect_eq(p->features, 0u);
}

/* wire.md 13.3 to 13.6: all four datagrams, both roles. */
Test(handshake, vectors_of_v019)
{
    struct json_object *root = vectors_load(TEST_DATA "/handshake/handshake.json");
    for (size_t i = 0; i < 2; i++) { /* "mesh direct", "mesh routed" */
        struct json_object *v = json_object_array_get_idx(vectors_member(root, "vectors"), i);
        golden_side(&alice, v, NULL, "initiator_ephemeral_private");
        golden_side(&bob, v, NULL, "responder_ephemeral_private");
        alice.identity.ids.node_id = UINT64_C(0x1122334455667788);
        bob.identity.ids.node_id = UINT64_C(0x99AABBCCDDEEFF00);
        vectors_bytes(v, "responder_static_private", bob.local.static_secret, 32);
        handshake_local_init(&bob.local, crypto);
        target = (struct handshake_target){.node_id = bob.identity.ids.node_id, .compat = true};
        target.mode = i == 0 ? HANDSHAKE_DIRECT : HANDSHAKE_ROUTED;
        vectors_bytes(v, "responder_static_public", target.static_public, 32);
        cr_expect_arr_eq(bob.local.static_public, target.static_public, 32);
        struct cspan datagram = dial();
        expect_datagram(datagram, v, "datagram1");
        cr_assert_eq(receive(datagram, alice.identity.ids.node_id), NET_OK);
        expect_datagram(answer(), v, "datagram2");
        cr_assert_eq(finish((struct cspan){msg2, i == 0 ? 112 : 130}), NET_OK);
        expect_keys(&ours, v);
        expect_keys(&theirs, v);
    }
    json_object_put(root);
}

static void replay_recording(struct json_object *in, struct json_object *first, struct json_object *second,
                             struct json_object *derived)
{
    uint8_t received[HANDSHAKE_MAX_DATAGRAM];
    golden_side(&alice, in, "initiator_id", "initiator_ephemeral_private");
    golden_side(&bob, in, "responder_id", "responder_ephemeral_private");
    if (strcmp(vectors_text(in, "our_role"), "initiator") == 0) {
        target = (struct handshake_target){.node_id = bob.identity.ids.node_id, .compat = true};
        target.mode = strcmp(vectors_text(in, "mode"), "direct") == 0 ? HANDSHAKE_DIRECT : HANDSHAKE_ROUTED;
        vectors_bytes(in, "responder_static_public", target.static_public, 32);
        expect_datagram(dial(), first, "bytes");
        struct cspan datagram = {received, vectors_blob(second, "bytes", received, sizeof received)};
        cr_assert_eq(finish(datagram), NET_OK);
        expect_keys(&ours, derived);
    } else {
        vectors_bytes(in, "responder_static_private", bob.local.static_secret, 32);
        handshake_local_init(&bob.local, crypto);
        struct cspan datagram = {received, vectors_blob(first, "bytes", received, sizeof received)};
        cr_assert_eq(receive(datagram, alice.identity.ids.node_id), NET_OK);
        cr_expect_eq(claim.node_id, alice.identity.ids.node_id);
        expect_datagram(answer(), second, "bytes");
        expect_keys(&theirs, derived);
    }
}

/* Sessions that the reference took part in: our message is rebuilt, its message is read, the keys are those it used. */
Test(handshake, recordings_of_v019)
{
    glob_t files;
    size_t replayed = 0;
    cr_assert_eq(glob(TEST_DATA "/session/live/*.json", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        struct json_object *root = vectors_load(files.gl_pathv[i]), *in = vectors_member(root, "inputs");
        struct json_object *datagrams = vectors_member(root, "datagrams");
        if (strcmp(vectors_text(in, "mode"), "legacy") != 0) { /* the adapter's are in test_noise.c */
            replay_recording(in, json_object_array_get_idx(datagrams, 0), json_object_array_get_idx(datagrams, 1),
                             vectors_member(root, "derived"));
            replayed++;
        }
        json_object_put(root);
    }
    cr_expect_eq(replayed, 13u);
    globfree(&files);
}
