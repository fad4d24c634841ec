/* Both roles of the handshake between our own nodes: extensions X0 and X1, session.md 20. v0.19.0 is in
 * test_handshake_v019.c. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "tests/support/handshake_pair.h"

TestSuite(handshake, .init = hp_init, .fini = hp_deinit);

Test(handshake, secure_session)
{
    cr_assert_eq(hp_receive(hp_dial(), 0), NET_OK);
    cr_expect(hp.hello.routed && hp.hello.gated && !hp.hello.gate_zero);
    cr_expect_eq(hp.hello.src_id, (uint32_t)hp.alice.identity.ids.node_id);
    cr_expect_arr_eq(hp.hello.ephemeral, hp.msg1 + NOISE1, 32);
    cr_expect(hp.claim.secure && hp.claim.routed);
    cr_expect_eq(hp.claim.features, hp.alice.local.features);
    cr_expect_arr_eq(hp.claim.entity, hp.alice.identity.entity, 32);
    cr_assert_eq(hp_finish(hp_answer()), NET_OK);
    hp_expect_fit();
    cr_expect_eq(hp.ours.features, HP_ALL_FEATURES & ~(uint64_t)FEATURE_CREDIT, "what both offered");
    cr_expect(hp.ours.rx_id == hp.alice.offer.receive_id && hp.ours.tx_id == hp.bob.offer.receive_id);
    cr_expect(hp.ours.peer_instance == hp.bob.offer.instance && hp.theirs.peer_instance == hp.alice.offer.instance);
    cr_expect(hp.ours.peer_window == hp.bob.offer.window && hp.theirs.peer_window == hp.alice.offer.window);
    cr_expect_eq(hp.ours.peer_max_datagram, hp.bob.offer.max_datagram);
    cr_expect_eq(hp.theirs.peer_max_datagram, hp.alice.offer.max_datagram);
    cr_expect_arr_eq(hp.ours.peer_entity, hp.bob.identity.entity, 32);
    cr_expect_arr_eq(hp.theirs.peer_entity, hp.alice.identity.entity, 32);
}

/* Bits whose requirement is off are off too: X6 (bit 6 wants 5), X7 (bit 7 wants 1). */
Test(handshake, features_stand_on_each_other)
{
    hp.bob.local.features = FEATURE_SECURE | FEATURE_AES_GCM | FEATURE_FOLLOW | FEATURE_APPEND;
    hp.alice.local.features |= FEATURE_FOLLOW | FEATURE_APPEND;
    cr_assert_eq(hp_receive(hp_dial(), 0), NET_OK);
    cr_assert_eq(hp_finish(hp_answer()), NET_OK);
    cr_expect_eq(hp.ours.features, (uint64_t)(FEATURE_SECURE | FEATURE_APPEND));
    cr_expect_eq(hp.theirs.features, hp.ours.features);
}

/* X0's bytes, put together here from the primitives: payload, signature input, gate; and X1's keys. */
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
    blake2s(hp.crypto, NULL, 0, &before, 1, input + 58);
    cr_expect(ed25519_verify(from->identity.entity, (struct cspan){input, 90}, payload + used + 92));
}

Test(handshake, bytes_of_the_offer)
{
    struct expected e;
    uint8_t payload[OFFER_MAX_PAYLOAD], keys[2][32];
    struct cspan datagram = hp_dial();
    cr_assert_eq(datagram.len, NOISE1 + 48u + 164);
    hp_follow_msg1(&e, payload);
    cr_expect_eq(load_le64(payload), hp.alice.identity.ids.node_id);
    expect_payload(payload, 8, &hp.alice, 1, e.h);
    hp_expect_gate(hp.msg1 + GATE1, (struct cspan){hp.msg1 + NOISE1, datagram.len - NOISE1});

    cr_assert_eq(hp_receive(datagram, 0), NET_OK);
    struct cspan reply = hp_answer();
    cr_assert_eq(reply.len, NOISE1 + 48u + 156);
    noise_ephemeral(&e.noise, hp.crypto, hp.msg2 + NOISE1);
    cr_assert(noise_dh(&e.noise, hp.crypto, hp.alice.ephemeral, hp.msg2 + NOISE1));
    memcpy(e.h, e.noise.h, 32);
    cr_assert_eq(noise_decrypt(&e.noise, hp.crypto, (struct cspan){hp.msg2 + NOISE1 + 32, 156 + 16}, payload), NET_OK);
    expect_payload(payload, 0, &hp.bob, 2, e.h);
    hp_expect_gate(hp.msg2 + GATE1, (struct cspan){hp.msg2 + NOISE1, reply.len - NOISE1});

    noise_split(&e.noise, hp.crypto, keys);
    cr_expect_arr_eq(hp.theirs.rx_key, keys[0], 32);
    cr_expect_arr_eq(hp.theirs.tx_key, keys[1], 32);
    cr_expect_eq(hp.theirs.handshake_name, load_le64(e.noise.h));
}

/* 20.12: no session id, no nonce; 20.10: the answer goes to the full id with ttl 16. */
Test(handshake, headers)
{
    struct wire_route route;
    struct wire_header h;
    struct cspan datagram = hp_dial();
    cr_assert_eq(wire_route_decode(datagram, &route), NET_OK);
    cr_expect(route.ttl == 16 && route.hop_count == 0 && route.flags == 0 && route.reserved == 0);
    cr_expect_eq(route.src_id, (uint32_t)hp.alice.identity.ids.node_id);
    cr_expect_eq(route.dest_id, hp.bob.identity.ids.node_id);
    cr_assert_eq(wire_header_decode((struct cspan){hp.msg1 + NET1, datagram.len - NET1}, &h), NET_OK);
    cr_expect(h.flags == WIRE_HANDSHAKE && h.session_id == 0 && h.counter == 0 && load_le32(h.nonce_prefix) == 0);
    cr_expect_eq(h.payload_len, datagram.len - NOISE1);
    cr_assert_eq(hp_receive(datagram, 0), NET_OK);
    cr_assert_eq(wire_route_decode(hp_answer(), &route), NET_OK);
    cr_expect(route.ttl == 16 && route.src_id == (uint32_t)hp.bob.identity.ids.node_id);
    cr_expect_eq(route.dest_id, hp.alice.identity.ids.node_id);
}

/* 20.13 */
Test(handshake, payload_len_is_not_compared)
{
    struct cspan datagram = hp_dial();
    store_le16(hp.msg1 + NET1 + 60, 7);
    cr_expect_eq(hp_receive(datagram, 0), NET_OK);
}

/* ---- what the responder refuses ---- */

Test(handshake, gate_of_msg1)
{
    struct cspan datagram = hp_dial();
    for (size_t i = 0; i < HANDSHAKE_GATE; i++) {
        hp.msg1[GATE1 + i] ^= 1;
        cr_expect_eq(handshake_peek(hp.crypto, &hp.bob.local, datagram, &hp.hello), NET_ERR_AUTH);
        hp.msg1[GATE1 + i] ^= 1;
    }
    hp.msg1[datagram.len - 1] ^= 1;
    cr_expect_eq(handshake_peek(hp.crypto, &hp.bob.local, datagram, &hp.hello), NET_ERR_AUTH,
                 "it covers the Noise bytes");
    memset(hp.msg1 + GATE1, 0, HANDSHAKE_GATE);
    cr_expect_eq(handshake_peek(hp.crypto, &hp.bob.local, datagram, &hp.hello), NET_OK);
    cr_expect(hp.hello.gate_zero && !hp.hello.gated, "the caller's policy decides about zeros");
}

/* 20.6: the gate stops a wrong PSK or static key, and without it the tag does. */
Test(handshake, wrong_keys)
{
    hp.alice.local.psk[0] ^= 1;
    struct cspan datagram = hp_dial();
    cr_expect_eq(hp_receive(datagram, 0), NET_ERR_AUTH);
    memset(hp.msg1 + GATE1, 0, HANDSHAKE_GATE);
    cr_expect_eq(hp_receive(datagram, 0), NET_ERR_AUTH);
    hp.alice.local.psk[0] ^= 1;
    hp.target.static_public[0] ^= 1;
    datagram = hp_dial();
    memset(hp.msg1 + GATE1, 0, HANDSHAKE_GATE);
    cr_expect_eq(hp_receive(datagram, 0), NET_ERR_AUTH);
}

/* A relay that rewrites an id breaks the tag. */
Test(handshake, rewritten_route)
{
    struct cspan datagram = hp_dial();
    hp.msg1[6] ^= 1;
    cr_expect_eq(hp_receive(datagram, 0), NET_ERR_AUTH);
    hp.msg1[6] ^= 1;
    hp.msg1[10] ^= 1;
    cr_expect_eq(hp_receive(datagram, 0), NET_ERR_FORMAT, "for another node");
    hp.msg1[10] ^= 1;
    hp.msg1[2] = 3; /* hops are its to change */
    hp.msg1[3] = 13;
    cr_expect_eq(hp_receive(datagram, 0), NET_OK);
}

Test(handshake, lengths)
{
    struct cspan datagram = hp_dial();
    static uint8_t big[NOISE1 + 48 + 513];
    for (size_t len = 0; len < NOISE1 + 48; len++)
        cr_expect_neq(handshake_peek(hp.crypto, &hp.bob.local, (struct cspan){hp.msg1, len}, &hp.hello), NET_OK);
    cr_expect_eq(handshake_peek(hp.crypto, &hp.bob.local, (struct cspan){hp.msg1, NOISE1 + 47}, &hp.hello),
                 NET_ERR_TRUNCATED);
    memcpy(big, hp.msg1, datagram.len);
    cr_expect_eq(handshake_peek(hp.crypto, &hp.bob.local, (struct cspan){big, sizeof big}, &hp.hello), NET_ERR_FORMAT);
    hp.msg1[NET1 + 3] = WIRE_HEARTBEAT | WIRE_HANDSHAKE;
    cr_expect_eq(handshake_peek(hp.crypto, &hp.bob.local, datagram, &hp.hello), NET_ERR_FORMAT,
                 "routed heartbeats are dropped");
    hp.msg1[NET1 + 3] = WIRE_RELIABLE;
    cr_expect_eq(handshake_peek(hp.crypto, &hp.bob.local, datagram, &hp.hello), NET_ERR_FORMAT);
}

static int claim_with(const uint8_t *payload, size_t len)
{
    return hp_receive(hp_forge_msg1((struct cspan){payload, len}, true), 0);
}

Test(handshake, claims_that_prove_nothing)
{
    uint8_t payload[OFFER_MAX_PAYLOAD];
    uint64_t id = hp.alice.identity.ids.node_id;
    size_t len = hp_honest_payload(&hp.alice, id, HANDSHAKE_INITIATOR, payload);
    struct side mallory;
    cr_assert_eq(claim_with(payload, len), NET_OK);
    for (size_t i = 8; i < len; i++) { /* any byte of the block: signed, or a form that is refused */
        payload[i] ^= 0x40;
        cr_expect(claim_with(payload, len) != NET_OK || !hp.claim.secure, "byte %zu", i);
        payload[i] ^= 0x40;
    }
    len = hp_honest_payload(&hp.alice, id, HANDSHAKE_RESPONDER, payload);
    cr_expect_eq(claim_with(payload, len), NET_ERR_AUTH, "the proof of the other role");
    hp_side(&mallory, 0x33, HP_ALL_FEATURES);
    len = hp_honest_payload(&mallory, id, HANDSHAKE_INITIATOR, payload);
    cr_expect_eq(claim_with(payload, len), NET_ERR_AUTH, "an entity with another node id");
    len = hp_honest_payload(&hp.bob, id, HANDSHAKE_INITIATOR, payload);
    cr_expect_eq(claim_with(payload, len), NET_ERR_POLICY, "our own entity");
    len = hp_honest_payload(&hp.alice, id ^ UINT64_C(1) << 40, HANDSHAKE_INITIATOR, payload);
    cr_expect_eq(claim_with(payload, len), NET_ERR_AUTH, "the high half of the id is proven too");
}

/* A proof is worth nothing in another handshake: it signs h. */
Test(handshake, stolen_proof)
{
    uint8_t payload[OFFER_MAX_PAYLOAD];
    size_t len = hp_honest_payload(&hp.alice, hp.alice.identity.ids.node_id, HANDSHAKE_INITIATOR, payload);
    hp.alice.ephemeral[5] ^= 1;
    cr_expect_eq(claim_with(payload, len), NET_ERR_AUTH);
}

/* 20.8, 20.9, and what a block must be. */
Test(handshake, payload_of_routed_msg1)
{
    uint8_t payload[16] = {0};
    store_le64(payload, hp.alice.identity.ids.node_id);
    cr_expect_eq(claim_with(payload, 7), NET_ERR_FORMAT);
    cr_expect_eq(claim_with(payload, 8), NET_OK);
    cr_expect_eq(claim_with(payload, 9), NET_OK);
    cr_expect(!hp.claim.secure && hp.claim.features == 0 && hp.claim.node_id == hp.alice.identity.ids.node_id);
    memcpy(payload + 8, "NXT1\x01\x00", 6);
    cr_expect_eq(claim_with(payload, 14), NET_ERR_FORMAT);
    payload[0] ^= 1;
    cr_expect_eq(claim_with(payload, 8), NET_ERR_AUTH, "the payload names another node than src_id");
}

/* A block without bit 0 gives a v0.19.0 session; whether that is wanted is policy. */
Test(handshake, block_without_security)
{
    uint8_t payload[26] = {0};
    store_le64(payload, hp.alice.identity.ids.node_id);
    memcpy(payload + 8, "NXT1\x0c\x00\x01\x00\x08\x00\x02\x00\x00\x00\x00\x00\x00\x00", 18);
    cr_assert_eq(claim_with(payload, 26), NET_OK);
    cr_expect(!hp.claim.secure && hp.claim.features == 0);
    cr_expect_eq(hp_answer().len, NOISE1 + 48u);
    cr_expect(hp.theirs.features == 0 && hp.theirs.rx_id == hp.theirs.tx_id &&
              hp.theirs.rx_id == hp.theirs.handshake_name);
}

Test(handshake, small_order_ephemeral)
{
    struct cspan datagram = hp_dial();
    memset(hp.msg1 + NOISE1, 0, 32);
    handshake_gate(hp.crypto, hp.bob.local.gate_key, (struct cspan){hp.msg1 + NOISE1, datagram.len - NOISE1},
                   hp.msg1 + GATE1);
    cr_expect_eq(hp_receive(datagram, 0), NET_ERR_AUTH);
    memset(hp.target.static_public, 0, 32);
    cr_expect_eq(handshake_start(&hp.attempt, hp.crypto, &hp.alice.local, &hp.target, &hp.alice.offer,
                                 hp.alice.ephemeral, hp.msg1),
                 NET_ERR_INVALID);
}

/* ---- what the initiator refuses, and that it goes on waiting ---- */

/* Bob's msg2 with any payload. */
static struct cspan forge_msg2(struct cspan payload)
{
    struct noise n;
    const struct wire_route route = {
        .ttl = 16, .src_id = (uint32_t)hp.bob.identity.ids.node_id, .dest_id = hp.alice.identity.ids.node_id};
    memcpy(n.h, hp.claim.h, 32);
    memcpy(n.ck, hp.claim.ck, 32);
    x25519_public(hp.bob.ephemeral, hp.msg2 + NOISE1);
    noise_ephemeral(&n, hp.crypto, hp.msg2 + NOISE1);
    cr_assert(noise_dh(&n, hp.crypto, hp.bob.ephemeral, hp.claim.ephemeral));
    cr_assert_eq(noise_encrypt(&n, hp.crypto, payload, hp.msg2 + NOISE1 + 32), NET_OK);
    return (struct cspan){
        hp.msg2, handshake_enframe(hp.crypto, &route, hp.bob.local.gate_key, hp.msg2, NOISE_EMPTY + payload.len)};
}

Test(handshake, forged_msg2_does_not_abort)
{
    struct side mallory;
    uint8_t payload[OFFER_MAX_PAYLOAD];
    struct noise n;
    cr_assert_eq(hp_receive(hp_dial(), 0), NET_OK);
    struct handshake before = hp.attempt;
    cr_expect_eq(hp_finish(forge_msg2((struct cspan){payload, 0})), NET_ERR_POLICY, "no block: X1 is required");
    memcpy(payload, "NXT1\x01\x00", 6);
    cr_expect_eq(hp_finish(forge_msg2((struct cspan){payload, 6})), NET_ERR_FORMAT);
    memcpy(n.h, hp.claim.h, 32);
    memcpy(n.ck, hp.claim.ck, 32);
    noise_ephemeral(&n, hp.crypto, hp.msg2 + NOISE1);
    cr_assert(noise_dh(&n, hp.crypto, hp.bob.ephemeral, hp.claim.ephemeral));
    hp_side(&mallory, 0x33, HP_ALL_FEATURES);
    size_t len = handshake_prove(hp.crypto, &mallory.local, &mallory.offer, HANDSHAKE_RESPONDER, n.h, payload, 0);
    cr_expect_eq(hp_finish(forge_msg2((struct cspan){payload, len})), NET_ERR_AUTH, "an entity that was not dialled");
    len = handshake_prove(hp.crypto, &hp.alice.local, &hp.bob.offer, HANDSHAKE_RESPONDER, n.h, payload, 0);
    cr_expect_eq(hp_finish(forge_msg2((struct cspan){payload, len})), NET_ERR_POLICY, "our own entity");
    len = handshake_prove(hp.crypto, &hp.bob.local, &hp.bob.offer, HANDSHAKE_INITIATOR, n.h, payload, 0);
    cr_expect_eq(hp_finish(forge_msg2((struct cspan){payload, len})), NET_ERR_AUTH, "the proof of the other role");
    struct cspan good = hp_answer();
    hp.msg2[GATE1] ^= 1;
    cr_expect_eq(hp_finish(good), NET_ERR_AUTH, "gate");
    memset(hp.msg2 + GATE1, 0, HANDSHAKE_GATE);
    cr_expect_eq(hp_finish(good), NET_ERR_AUTH, "gate left out");
    good = hp_answer();
    hp.msg2[good.len - 1] ^= 1;
    handshake_gate(hp.crypto, hp.bob.local.gate_key, (struct cspan){hp.msg2 + NOISE1, good.len - NOISE1},
                   hp.msg2 + GATE1);
    cr_expect_eq(hp_finish(good), NET_ERR_AUTH, "tag");
    cr_expect_eq(hp_finish((struct cspan){hp.msg1, 294}), NET_ERR_FORMAT, "a reflected msg1");
    cr_expect_arr_eq(&hp.attempt, &before, sizeof hp.attempt, "the attempt goes on");
    cr_expect_eq(hp_finish(hp_answer()), NET_OK);
    hp_expect_fit();
}

Test(handshake, msg2_of_another_route)
{
    cr_assert_eq(hp_receive(hp_dial(), 0), NET_OK);
    struct cspan good = hp_answer();
    hp.msg2[6] ^= 1;
    cr_expect_eq(hp_finish(good), NET_ERR_FORMAT);
    hp.msg2[6] ^= 1;
    hp.msg2[17] ^= 1;
    cr_expect_eq(hp_finish(good), NET_ERR_FORMAT);
    hp.msg2[17] ^= 1;
    cr_expect_eq(hp_finish((struct cspan){hp.msg2 + WIRE_ROUTE, good.len - WIRE_ROUTE}), NET_ERR_FORMAT, "direct");
    cr_expect_eq(hp_finish(good), NET_OK);
}

/* A retried msg1 is answered again: the claim is not used up (session.md 18.3). */
Test(handshake, answers_twice)
{
    cr_assert_eq(hp_receive(hp_dial(), 0), NET_OK);
    hp_answer();
    hp.bob.ephemeral[3] ^= 1;
    cr_expect_eq(hp_finish(hp_answer()), NET_OK);
    hp_expect_fit();
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
    struct cspan datagram = hp_dial();
    handshake_wipe(&hp.attempt);
    cr_expect(all_zero(&hp.attempt, sizeof hp.attempt));
    cr_assert_eq(hp_receive(hp_dial(), 0), NET_OK);
    cr_assert_eq(hp_finish(hp_answer()), NET_OK);
    cr_expect(all_zero(&hp.attempt, sizeof hp.attempt), "success wipes too");
    hp.msg1[NOISE1 + 40] ^= 1;
    memset(hp.msg1 + GATE1, 0, HANDSHAKE_GATE);
    cr_expect_eq(hp_receive(datagram, 0), NET_ERR_AUTH);
    cr_expect(all_zero(&hp.claim, sizeof hp.claim), "a refused claim keeps nothing");
    handshake_local_deinit(&hp.alice.local);
    cr_expect(all_zero(&hp.alice.local, sizeof hp.alice.local));
}
