/*
 * Any datagram at both roles, as it came, and again with what an outsider cannot do, done for it: the last byte of the
 * input chooses whether the rest is taken as a msg1 or msg2 *payload*, which is sealed and gated properly, so that the
 * fuzzer reaches the code behind the tag.
 */
#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/session/handshake_internal.h"

static struct crypto *crypto;
static struct identity alice, bob;
static struct handshake_local alice_local, bob_local;
static const uint8_t ephemeral_a[32] = {5}, ephemeral_b[32] = {6};

static void make(struct identity *id, struct handshake_local *l, uint8_t n)
{
    uint8_t seed[32] = {n};
    int err = identity_init(id, crypto, seed);
    assert(err == NET_OK);
    *l = (struct handshake_local){.identity = id, .features = FEATURE_SECURE | FEATURE_EPOCHS, .static_secret = {n}};
    handshake_local_init(l, crypto);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    int err = crypto_init(&crypto, NULL);
    assert(err == NET_OK);
    make(&alice, &alice_local, 1);
    make(&bob, &bob_local, 2);
    return 0;
}

static const struct handshake_offer offer = {.receive_id = 7, .instance = 8, .window = 65536, .max_datagram = 1472};

static void start(struct handshake *hs, uint8_t *msg1)
{
    struct handshake_target target = {.node_id = bob.ids.node_id};
    memcpy(target.static_public, bob_local.static_public, 32);
    int len = handshake_start(hs, crypto, &alice_local, &target, &offer, ephemeral_a, msg1);
    assert(len > 0);
}

static void at_bob(struct cspan datagram)
{
    struct handshake_hello hello;
    struct handshake_claim claim;
    struct session_params params;
    uint8_t out[HANDSHAKE_MAX_DATAGRAM];
    if (handshake_peek(crypto, &bob_local, datagram, &hello) != NET_OK)
        return;
    if (handshake_read(crypto, &bob_local, &hello, alice.ids.node_id, &claim) != NET_OK)
        return;
    assert(!claim.secure || memcmp(claim.entity, bob.entity, 32) != 0);
    int len = handshake_answer(crypto, &bob_local, &claim, &offer, ephemeral_b, out, &params);
    assert(len > 0 && len <= HANDSHAKE_MAX_DATAGRAM);
}

static void at_alice(struct cspan datagram)
{
    struct handshake hs;
    struct session_params params;
    uint8_t msg1[HANDSHAKE_MAX_DATAGRAM];
    start(&hs, msg1);
    int err = handshake_finish(&hs, crypto, &alice_local, datagram, &params);
    assert(err != NET_OK || memcmp(params.peer_entity, bob.entity, 32) == 0);
    handshake_wipe(&hs);
}

/* A Noise message of Alice (Bob's answer, when `second`) with the fuzzer's payload; one bit chooses the framing. */
static void with_payload(struct cspan payload, bool second, bool routed)
{
    struct noise n;
    uint8_t prologue[32], out[HANDSHAKE_MAX_DATAGRAM], *noise = out + handshake_noise_at(routed || second);
    const struct wire_route to_bob = {.ttl = 16, .src_id = (uint32_t)alice.ids.node_id, .dest_id = bob.ids.node_id};
    const struct wire_route to_alice = {.ttl = 16, .src_id = (uint32_t)bob.ids.node_id, .dest_id = alice.ids.node_id};
    struct handshake hs;
    if (payload.len > OFFER_MAX_PAYLOAD)
        return;
    if (second) {
        start(&hs, out);
        memcpy(n.h, hs.h, 32);
        memcpy(n.ck, hs.ck, 32);
    } else {
        noise_prologue(alice.ids.node_id, bob.ids.node_id, prologue);
        noise_init(&n, crypto, (struct cspan){prologue, 32}, bob_local.static_public);
        noise_psk(&n, crypto, alice_local.psk);
    }
    x25519_public(second ? ephemeral_b : ephemeral_a, noise);
    noise_ephemeral(&n, crypto, noise);
    bool ok =
        second ? noise_dh(&n, crypto, ephemeral_a, noise) : noise_dh(&n, crypto, ephemeral_a, bob_local.static_public);
    assert(ok && noise_encrypt(&n, crypto, payload, noise + 32) == NET_OK);
    const struct wire_route *route = second ? &to_alice : routed ? &to_bob : NULL;
    size_t len = handshake_enframe(crypto, route, bob_local.gate_key, out, NOISE_EMPTY + payload.len);
    if (second)
        at_alice((struct cspan){out, len});
    else
        at_bob((struct cspan){out, len});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    uint8_t how = data[--len];
    struct cspan rest = {data, len};
    if (how & 1) {
        with_payload(rest, how & 2, how & 4);
    } else {
        at_bob(rest);
        at_alice(rest);
    }
    return 0;
}
