#include "tests/support/handshake_pair.h"

#include <criterion/criterion.h>

#include "core/base/err.h"

struct handshake_pair hp;

void hp_side(struct side *s, uint8_t seed_byte, uint64_t features)
{
    uint8_t seed[32];
    memset(seed, seed_byte, sizeof seed);
    cr_assert_eq(identity_init(&s->identity, hp.crypto, seed), NET_OK);
    s->local = (struct handshake_local){.identity = &s->identity, .features = features};
    memset(s->local.static_secret, seed_byte + 1, 32);
    memset(s->local.psk, 0x42, 32);
    handshake_local_init(&s->local, hp.crypto);
    s->offer = (struct handshake_offer){.receive_id = 0xAA00u + seed_byte,
                                        .instance = 0xBB00u + seed_byte,
                                        .window = 100000u + seed_byte,
                                        .max_datagram = (uint16_t)(1400 + seed_byte)};
    memset(s->ephemeral, seed_byte + 2, 32);
}

void hp_init(void)
{
    cr_assert_eq(crypto_init(&hp.crypto, NULL), NET_OK);
    hp_side(&hp.alice, 0x11, HP_ALL_FEATURES);
    hp_side(&hp.bob, 0x22, HP_ALL_FEATURES & ~(uint64_t)FEATURE_CREDIT);
    hp.target = (struct handshake_target){.node_id = hp.bob.identity.ids.node_id};
    memcpy(hp.target.static_public, hp.bob.local.static_public, 32);
}

void hp_deinit(void)
{
    crypto_deinit(hp.crypto);
}

struct cspan hp_dial(void)
{
    int len = handshake_start(&hp.attempt, hp.crypto, &hp.alice.local, &hp.target, &hp.alice.offer, hp.alice.ephemeral,
                              hp.msg1);
    cr_assert_gt(len, 0, "%s", net_err_name(len));
    return (struct cspan){hp.msg1, (size_t)len};
}

int hp_receive(struct cspan datagram, uint64_t candidate)
{
    int err = handshake_peek(hp.crypto, &hp.bob.local, datagram, &hp.hello);
    return err ? err : handshake_read(hp.crypto, &hp.bob.local, &hp.hello, candidate, &hp.claim);
}

struct cspan hp_answer(void)
{
    int len =
        handshake_answer(hp.crypto, &hp.bob.local, &hp.claim, &hp.bob.offer, hp.bob.ephemeral, hp.msg2, &hp.theirs);
    cr_assert_gt(len, 0, "%s", net_err_name(len));
    return (struct cspan){hp.msg2, (size_t)len};
}

int hp_finish(struct cspan datagram)
{
    return handshake_finish(&hp.attempt, hp.crypto, &hp.alice.local, datagram, &hp.ours);
}

void hp_expect_fit(void)
{
    cr_expect_arr_eq(hp.ours.tx_key, hp.theirs.rx_key, 32);
    cr_expect_arr_eq(hp.ours.rx_key, hp.theirs.tx_key, 32);
    cr_expect_arr_neq(hp.ours.rx_key, hp.ours.tx_key, 32);
    cr_expect_eq(hp.ours.tx_id, hp.theirs.rx_id);
    cr_expect_eq(hp.ours.rx_id, hp.theirs.tx_id);
    cr_expect_eq(hp.ours.features, hp.theirs.features);
    cr_expect_eq(hp.ours.handshake_name, hp.theirs.handshake_name);
    cr_expect(hp.ours.initiator && !hp.theirs.initiator);
    cr_expect_eq(hp.ours.peer_node_id, hp.bob.identity.ids.node_id);
    cr_expect_eq(hp.theirs.peer_node_id, hp.alice.identity.ids.node_id);
}

void hp_follow_msg1(struct expected *e, uint8_t payload[OFFER_MAX_PAYLOAD])
{
    uint8_t prologue[32];
    noise_prologue(hp.alice.identity.ids.node_id, hp.bob.identity.ids.node_id, prologue);
    noise_init(&e->noise, hp.crypto, (struct cspan){prologue, 32}, hp.bob.local.static_public);
    noise_psk(&e->noise, hp.crypto, hp.bob.local.psk);
    noise_ephemeral(&e->noise, hp.crypto, hp.msg1 + NOISE1);
    cr_assert(noise_dh(&e->noise, hp.crypto, hp.bob.local.static_secret, hp.msg1 + NOISE1));
    memcpy(e->h, e->noise.h, 32);
    if (payload)
        cr_assert_eq(noise_decrypt(&e->noise, hp.crypto, (struct cspan){hp.msg1 + NOISE1 + 32, 164 + 16}, payload),
                     NET_OK);
}

void hp_expect_gate(const uint8_t *gate, struct cspan noise)
{
    uint8_t key[32], hash[32];
    struct cspan parts[] = {{(const uint8_t *)"net-mesh gate v1", 16}, {hp.bob.local.static_public, 32}};
    blake2s(hp.crypto, hp.bob.local.psk, 32, parts, 2, key);
    blake2s(hp.crypto, key, 32, &noise, 1, hash);
    cr_expect_arr_eq(gate, hash, 16);
}

struct cspan hp_forge_msg1(struct cspan payload, bool routed)
{
    struct noise n;
    uint8_t prologue[32], *noise = hp.msg1 + handshake_noise_at(routed);
    const struct wire_route route = {
        .ttl = 16, .src_id = (uint32_t)hp.alice.identity.ids.node_id, .dest_id = hp.bob.identity.ids.node_id};
    noise_prologue(hp.alice.identity.ids.node_id, hp.bob.identity.ids.node_id, prologue);
    noise_init(&n, hp.crypto, (struct cspan){prologue, 32}, hp.bob.local.static_public);
    noise_psk(&n, hp.crypto, hp.alice.local.psk);
    x25519_public(hp.alice.ephemeral, noise);
    noise_ephemeral(&n, hp.crypto, noise);
    cr_assert(noise_dh(&n, hp.crypto, hp.alice.ephemeral, hp.bob.local.static_public));
    cr_assert_eq(noise_encrypt(&n, hp.crypto, payload, noise + 32), NET_OK);
    size_t len =
        handshake_enframe(hp.crypto, routed ? &route : NULL, hp.bob.local.gate_key, hp.msg1, NOISE_EMPTY + payload.len);
    return (struct cspan){hp.msg1, len};
}

size_t hp_honest_payload(const struct side *from, uint64_t node_id, enum handshake_role role, uint8_t *payload)
{
    struct expected e;
    x25519_public(hp.alice.ephemeral, hp.msg1 + NOISE1);
    hp_follow_msg1(&e, NULL);
    store_le64(payload, node_id);
    return handshake_prove(hp.crypto, &from->local, &from->offer, role, e.h, payload, 8);
}
