/* identity.md 1-4 against the golden vectors. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/identity/identity.h"
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

TestSuite(identity, .init = open_crypto, .fini = close_crypto);

Test(identity, ids_and_signatures_of_the_reference)
{
    struct json_object *root = vectors_load(TEST_DATA "/identity/ids.json");
    struct json_object *cases = vectors_member(root, "cases");
    cr_assert_gt(json_object_array_length(cases), 30);
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        struct json_object *one = json_object_array_get_idx(cases, i);
        uint8_t seed[32], entity[32], signature[64], ours[64], message[512];
        struct identity id;
        vectors_bytes(one, "seed", seed, 32);
        vectors_bytes(one, "entity_id", entity, 32);
        vectors_bytes(one, "signature", signature, 64);
        struct cspan text = {message, vectors_blob(one, "message", message, sizeof message)};
        cr_assert_eq(identity_init(&id, crypto, seed), NET_OK);
        cr_expect_arr_eq(id.entity, entity, 32);
        cr_expect_eq(id.ids.node_id, vectors_u64(one, "node_id"));
        cr_expect_eq(id.ids.origin_hash, vectors_u64(one, "origin_hash"));
        ed25519_sign(id.seed, text, ours);
        cr_expect_arr_eq(ours, signature, 64);
        cr_expect(ed25519_verify(entity, text, signature));
        identity_deinit(&id);
    }
    json_object_put(root);
}

/* identity.md 1.1: what a strict verifier takes, and the twins and small orders it must not. */
Test(identity, strict_verification)
{
    struct json_object *root = vectors_load(TEST_DATA "/identity/verify.json");
    struct json_object *cases = vectors_member(root, "cases");
    cr_assert_gt(json_object_array_length(cases), 20);
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        struct json_object *one = json_object_array_get_idx(cases, i);
        uint8_t entity[32], signature[64], message[512];
        vectors_bytes(one, "entity_id", entity, 32);
        vectors_bytes(one, "signature", signature, 64);
        struct cspan text = {message, vectors_blob(one, "message", message, sizeof message)};
        bool valid = json_object_get_boolean(vectors_member(one, "valid"));
        cr_expect_eq(ed25519_verify(entity, text, signature), valid, "case %zu: %s", i, vectors_text(one, "kind"));
    }
    json_object_put(root);
}

static void pair(const uint8_t seed[32], uint64_t node_id, uint64_t origin_hash)
{
    struct identity id;
    cr_assert_eq(identity_init(&id, crypto, seed), NET_OK);
    cr_expect_eq(id.ids.node_id, node_id);
    cr_expect_eq(id.ids.origin_hash, origin_hash);
}

/* identity.md 2.2, checklist 1. */
Test(identity, the_four_pairs)
{
    uint8_t a[32], b[32], zero[32] = {0}, same[32];
    for (uint8_t i = 0; i < 32; i++) {
        a[i] = i;
        b[i] = (uint8_t)(32 + i);
        same[i] = 0x42;
    }
    pair(a, UINT64_C(0xbd826a5d0a6394f5), UINT64_C(0x782a3238801976bf));
    pair(b, UINT64_C(0xe93c7424f25e8ada), UINT64_C(0x421b1911d72427dd));
    pair(zero, UINT64_C(0x2a22743fee3e433d), UINT64_C(0x87482e2f287f5d52));
    pair(same, UINT64_C(0xc211b9fddfaef86d), UINT64_C(0xc162c80da6be3de4));
}

/* session.md 1, checklist 46: an entity need not be a point to have ids. */
Test(identity, ids_of_any_32_bytes)
{
    uint8_t entity[32];
    for (uint8_t i = 0; i < 32; i++)
        entity[i] = i;
    struct identity_ids ids = identity_ids_of(crypto, entity);
    cr_expect_eq(ids.node_id, UINT64_C(0x094F6CE10A75BDC3));
    cr_expect_eq(ids.origin_hash, UINT64_C(0x3737C13AFD9655E1));
}

/* wire.md 11.6. One seed in 65536 gives such an id; count up until one comes. */
Test(identity, refuses_an_id_that_looks_like_a_packet)
{
    uint8_t seed[32] = {0};
    struct identity id;
    int err = NET_OK;
    for (uint32_t n = 0; n < 2000000 && err == NET_OK; n++) {
        store_le32(seed, n);
        err = identity_init(&id, crypto, seed);
    }
    cr_assert_eq(err, NET_ERR_INVALID);
    cr_expect_eq(id.ids.node_id & 0xffff, 0x4E45u);
}

Test(identity, deinit_leaves_no_seed)
{
    uint8_t seed[32], zero[32] = {0};
    struct identity id;
    memset(seed, 0x42, sizeof seed);
    cr_assert_eq(identity_init(&id, crypto, seed), NET_OK);
    cr_expect_arr_eq(id.seed, seed, 32);
    struct identity_ids ids = id.ids;
    for (int again = 0; again < 2; again++) { /* checklist 5 */
        identity_deinit(&id);
        cr_expect_arr_eq(id.seed, zero, 32);
        cr_expect(id.ids.node_id == ids.node_id && id.ids.origin_hash == ids.origin_hash);
    }
}
