/* session.md 3, 4 and 15: the pattern, its intermediate values, the public vector, the adapter's empty prologue. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/session/noise_internal.h"
#include "tests/support/vectors.h"

static struct crypto *crypto;

static void open_crypto(void)
{
    cr_assert_eq(crypto_init(&crypto, NULL), NET_OK);
}

static void close_crypto(void)
{
    crypto_deinit(crypto);
}

TestSuite(noise, .init = open_crypto, .fini = close_crypto);

static void expect(struct json_object *from, const char *name, const uint8_t got[32])
{
    uint8_t wanted[32];
    vectors_bytes(from, name, wanted, 32);
    cr_expect_arr_eq(got, wanted, 32, "%s", name);
}

/* Both ends of one handshake. */
struct pair {
    uint8_t psk[32], rs_secret[32], rs[32], ei_secret[32], er_secret[32], prologue[64], payload1[64], payload2[64];
    struct cspan prologue_span, payload1_span, payload2_span;
    uint8_t msg1[128], msg2[128];
    size_t len1, len2;
    struct noise initiator, responder;
};

static void read_pair(struct json_object *v, struct pair *p)
{
    vectors_bytes(v, "psk", p->psk, 32);
    vectors_bytes(v, "responder_static_private", p->rs_secret, 32);
    vectors_bytes(v, "responder_static_public", p->rs, 32);
    vectors_bytes(v, "initiator_ephemeral_private", p->ei_secret, 32);
    vectors_bytes(v, "responder_ephemeral_private", p->er_secret, 32);
    p->prologue_span = (struct cspan){p->prologue, vectors_blob(v, "prologue", p->prologue, 64)};
    p->payload1_span = (struct cspan){p->payload1, vectors_blob(v, "payload1", p->payload1, 64)};
    p->payload2_span = (struct cspan){p->payload2, vectors_blob(v, "payload2", p->payload2, 64)};
}

static void write_msg1(struct pair *p, struct json_object *trace)
{
    struct noise *n = &p->initiator;
    noise_init(n, crypto, p->prologue_span, p->rs);
    if (trace)
        expect(trace, "h_responder_static", n->h);
    noise_psk(n, crypto, p->psk);
    if (trace) {
        expect(trace, "h_psk", n->h);
        expect(trace, "ck_psk", n->ck);
    }
    x25519_public(p->ei_secret, p->msg1);
    noise_ephemeral(n, crypto, p->msg1);
    cr_assert(noise_dh(n, crypto, p->ei_secret, p->rs));
    if (trace) {
        expect(trace, "h_msg1_ad", n->h);
        expect(trace, "k_msg1", n->key);
    }
    cr_assert_eq(noise_encrypt(n, crypto, p->payload1_span, p->msg1 + 32), NET_OK);
    p->len1 = NOISE_EMPTY + p->payload1_span.len;
    if (trace)
        expect(trace, "h_msg1", n->h);
}

static void read_msg1(struct pair *p)
{
    uint8_t payload[64];
    struct noise *n = &p->responder;
    noise_init(n, crypto, p->prologue_span, p->rs);
    noise_psk(n, crypto, p->psk);
    noise_ephemeral(n, crypto, p->msg1);
    cr_assert(noise_dh(n, crypto, p->rs_secret, p->msg1));
    cr_assert_eq(noise_decrypt(n, crypto, (struct cspan){p->msg1 + 32, p->len1 - 32}, payload), NET_OK);
    cr_expect_arr_eq(payload, p->payload1, p->payload1_span.len);
}

static void exchange_msg2(struct pair *p, struct json_object *trace)
{
    uint8_t payload[64];
    x25519_public(p->er_secret, p->msg2);
    noise_ephemeral(&p->responder, crypto, p->msg2);
    cr_assert(noise_dh(&p->responder, crypto, p->er_secret, p->msg1));
    if (trace)
        expect(trace, "k_msg2", p->responder.key);
    cr_assert_eq(noise_encrypt(&p->responder, crypto, p->payload2_span, p->msg2 + 32), NET_OK);
    p->len2 = NOISE_EMPTY + p->payload2_span.len;
    noise_ephemeral(&p->initiator, crypto, p->msg2);
    cr_assert(noise_dh(&p->initiator, crypto, p->ei_secret, p->msg2));
    cr_assert_eq(noise_decrypt(&p->initiator, crypto, (struct cspan){p->msg2 + 32, p->len2 - 32}, payload), NET_OK);
    cr_expect_arr_eq(payload, p->payload2, p->payload2_span.len);
}

/* 20.1 to 20.3: messages, intermediate values, hash and keys of the direct, routed, adapter and cacophony vectors. */
Test(noise, vectors)
{
    struct json_object *root = vectors_load(TEST_DATA "/handshake/handshake.json");
    struct json_object *all = vectors_member(root, "vectors");
    cr_assert_eq(json_object_array_length(all), 4);
    for (size_t i = 0; i < 4; i++) {
        struct json_object *v = json_object_array_get_idx(all, i), *trace;
        struct pair p = {.len1 = 0};
        uint8_t msg[128], keys[2][32];
        json_object_object_get_ex(v, "trace", &trace);
        read_pair(v, &p);
        write_msg1(&p, trace);
        read_msg1(&p);
        exchange_msg2(&p, trace);
        cr_expect_eq(vectors_blob(v, "msg1", msg, sizeof msg), p.len1);
        cr_expect_arr_eq(p.msg1, msg, p.len1);
        cr_expect_eq(vectors_blob(v, "msg2", msg, sizeof msg), p.len2);
        cr_expect_arr_eq(p.msg2, msg, p.len2);
        expect(v, "handshake_hash", p.initiator.h);
        cr_expect_arr_eq(&p.initiator.ck, &p.responder.ck, 32);
        noise_keys_v019(&p.responder, crypto, keys);
        expect(v, "k_i2r", keys[0]);
        expect(v, "k_r2i", keys[1]);
    }
    json_object_put(root);
}

/* The adapter's handshakes with the reference (empty prologue): its msg1 read and its msg2 read. */
static void recorded(const char *path)
{
    struct json_object *root = vectors_load(path), *in = vectors_member(root, "inputs");
    struct json_object *derived = vectors_member(root, "derived"), *datagrams = vectors_member(root, "datagrams");
    struct pair p = {.len1 = 0};
    struct noise *ours = &p.initiator;
    uint8_t noise1[128], noise2[128], payload[64], keys[2][32];
    vectors_bytes(in, "psk", p.psk, 32);
    vectors_bytes(in, "responder_static_public", p.rs, 32);
    p.prologue_span = (struct cspan){p.prologue, 0};
    p.payload1_span = p.payload2_span = (struct cspan){p.payload1, 0};
    cr_assert_eq(vectors_blob(json_object_array_get_idx(datagrams, 0), "noise", noise1, sizeof noise1), NOISE_EMPTY);
    cr_assert_eq(vectors_blob(json_object_array_get_idx(datagrams, 1), "noise", noise2, sizeof noise2), NOISE_EMPTY);
    if (strcmp(vectors_text(in, "our_role"), "initiator") == 0) {
        vectors_bytes(in, "initiator_ephemeral_private", p.ei_secret, 32);
        write_msg1(&p, NULL);
        cr_expect_arr_eq(p.msg1, noise1, NOISE_EMPTY);
        noise_ephemeral(ours, crypto, noise2);
        cr_assert(noise_dh(ours, crypto, p.ei_secret, noise2));
        cr_assert_eq(noise_decrypt(ours, crypto, (struct cspan){noise2 + 32, NOISE_TAG}, payload), NET_OK);
    } else {
        ours = &p.responder;
        vectors_bytes(in, "responder_static_private", p.rs_secret, 32);
        vectors_bytes(in, "responder_ephemeral_private", p.er_secret, 32);
        memcpy(p.msg1, noise1, p.len1 = NOISE_EMPTY);
        read_msg1(&p);
        x25519_public(p.er_secret, p.msg2);
        noise_ephemeral(ours, crypto, p.msg2);
        cr_assert(noise_dh(ours, crypto, p.er_secret, noise1));
        cr_assert_eq(noise_encrypt(ours, crypto, p.payload2_span, p.msg2 + 32), NET_OK);
        cr_expect_arr_eq(p.msg2, noise2, NOISE_EMPTY);
    }
    expect(derived, "handshake_hash", ours->h);
    noise_keys_v019(ours, crypto, keys);
    expect(derived, "k_i2r", keys[0]);
    expect(derived, "k_r2i", keys[1]);
    json_object_put(root);
}

Test(noise, recordings_of_the_adapter)
{
    recorded(TEST_DATA "/session/live/legacy_initiator.json");
    recorded(TEST_DATA "/session/live/legacy_responder.json");
}

/* 20.4, 20.5 */
Test(noise, prologue_binds_the_low_halves)
{
    uint8_t wanted[32], got[32];
    unhex("6e65742d68616e647368616b652d7631887766550000000000ffeedd00000000", wanted, 32);
    noise_prologue(UINT64_C(0x1122334455667788), UINT64_C(0x99AABBCCDDEEFF00), got);
    cr_expect_arr_eq(got, wanted, 32);
    noise_prologue(UINT64_C(0x5566778855667788), UINT64_C(0x11223344DDEEFF00), got);
    cr_expect_arr_eq(got, wanted, 32);
    noise_prologue(UINT64_C(0x1122334455667789), UINT64_C(0x99AABBCCDDEEFF00), got);
    cr_expect_arr_neq(got, wanted, 32);
}

/* Noise's Split: the first two outputs of HKDF(ck, nothing). */
Test(noise, split)
{
    struct noise n = {.ck = {7}};
    uint8_t keys[2][32], wanted[3][32], none;
    noise_split(&n, crypto, keys);
    hkdf_blake2s(crypto, n.ck, (struct cspan){&none, 0}, 3, wanted);
    cr_expect_arr_eq(keys, wanted, 64);
}

Test(noise, refuses_small_order_and_short_input)
{
    struct noise n = {.ck = {7}};
    uint8_t secret[32] = {1}, zero[32] = {0}, out[32];
    cr_expect_not(noise_dh(&n, crypto, secret, zero));
    cr_expect_eq(noise_decrypt(&n, crypto, (struct cspan){zero, NOISE_TAG - 1}, out), NET_ERR_TRUNCATED);
    cr_expect_eq(noise_decrypt(&n, crypto, (struct cspan){zero, NOISE_TAG}, out), NET_ERR_AUTH);
}
