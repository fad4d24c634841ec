/* The primitives against published vectors, the two makes of AES-256-GCM against each other, and the pool. */
#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/evp.h>

#include "core/base/err.h"
#include "core/crypto/crypto.h"
#include "tests/support/alloc_count.h"
#include "tests/support/vectors.h"

static struct crypto *fast, *plain; /* Criterion runs every test in a process of its own */

static void open_both(void)
{
    const struct crypto_options options = {.no_ipsec_mb = true};
    cr_assert_eq(crypto_init(&fast, NULL), NET_OK);
    cr_assert_eq(crypto_init(&plain, &options), NET_OK);
}

static void close_both(void)
{
    crypto_deinit(fast);
    crypto_deinit(plain);
}

TestSuite(crypto, .init = open_both, .fini = close_both);

static void bytes(const char *hex, uint8_t *out, size_t len)
{
    cr_assert_eq(unhex(hex, out, len), len);
}

#define EXPECT_BYTES(got, hex)                                                                                         \
    do {                                                                                                               \
        uint8_t expected_[sizeof(got)];                                                                                \
        bytes(hex, expected_, sizeof expected_);                                                                       \
        cr_expect_arr_eq(got, expected_, sizeof expected_);                                                            \
    } while (0)

/* RFC 7693 appendix B, in one part and in two. */
Test(crypto, blake2s_unkeyed)
{
    uint8_t out[32];
    struct cspan whole = {(const uint8_t *)"abc", 3};
    struct cspan parts[] = {{whole.data, 1}, {whole.data + 1, 2}};
    blake2s(fast, NULL, 0, &whole, 1, out);
    EXPECT_BYTES(out, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
    blake2s(fast, NULL, 0, parts, 2, out);
    EXPECT_BYTES(out, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
}

/* identity.md 2.2: all 32 bytes of both keyed hashes. */
Test(crypto, blake2s_keyed)
{
    uint8_t entity[32], out[32];
    bytes("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8", entity, 32);
    struct cspan part = {entity, 32};
    blake2s(fast, (const uint8_t *)"net-node-id-v1", 14, &part, 1, out);
    EXPECT_BYTES(out, "f594630a5d6a82bd7fcc2862a1b8fc525a4efe18353ba17db70ba1cbd298b272");
    blake2s(fast, (const uint8_t *)"net-origin-v1", 13, &part, 1, out);
    EXPECT_BYTES(out, "bf76198038322a78a3ce4e08810c537dc510ae7fc14ac4f40948855f506cb82b");
}

/* RFC 7748 5.2. */
Test(crypto, x25519_known_answer)
{
    uint8_t secret[32], point[32], out[32];
    bytes("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", secret, 32);
    bytes("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c", point, 32);
    cr_assert(x25519(secret, point, out));
    EXPECT_BYTES(out, "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
}

Test(crypto, x25519_public_is_the_product_with_nine)
{
    uint8_t secret[32] = {1, 2, 3}, nine[32] = {9}, by_product[32], by_name[32];
    cr_assert(x25519(secret, nine, by_product));
    x25519_public(secret, by_name);
    cr_expect_arr_eq(by_product, by_name, 32);
}

/* Points of small order give zero, whatever the secret (RFC 7748 6.1); session.md 16.11 refuses them. */
Test(crypto, x25519_refuses_small_order)
{
    const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    };
    uint8_t secret[32], point[32], out[32];
    memset(secret, 0x77, sizeof secret);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        bytes(points[i], point, 32);
        cr_expect_not(x25519(secret, point, out), "%s", points[i]);
    }
}

/* RFC 8032 7.1, test 1. */
Test(crypto, ed25519_known_answer)
{
    uint8_t seed[32], entity[32], signature[64];
    struct cspan empty = {seed, 0};
    bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", seed, 32);
    ed25519_public(seed, entity);
    EXPECT_BYTES(entity, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    ed25519_sign(seed, empty, signature);
    EXPECT_BYTES(signature,
                 "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf"
                 "9b46bd25bf5f0595bbe24655141438e7a100b");
    cr_expect(ed25519_verify(entity, empty, signature));
    signature[40] ^= 1;
    cr_expect_not(ed25519_verify(entity, empty, signature));
}

/* The eight points of small order in all their encodings, with either sign bit. The two of order 8 double to y = 0, so
 * that d y^4 + 2 y^2 = 1 modulo p: checked here, so the constants need no trust. */
static const char *const small_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

Test(crypto, order_eight_constants_are_what_they_say)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *p = NULL, *d = BN_new(), *t = BN_new(), *yy = BN_new();
    BN_hex2bn(&p, "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed");
    BN_set_word(t, 121666); /* d = -121665 / 121666 */
    BN_mod_inverse(d, t, p, ctx);
    BN_mul_word(d, 121665);
    BN_sub(d, p, d);
    for (size_t i = 2; i <= 3; i++) {
        uint8_t encoded[32];
        bytes(small_order[i], encoded, 32);
        BIGNUM *y = BN_lebin2bn(encoded, 32, NULL);
        BN_mod_sqr(yy, y, p, ctx);
        BN_mod_mul(t, yy, d, p, ctx);
        BN_add_word(t, 2);
        BN_mod_mul(t, t, yy, p, ctx);
        cr_expect(BN_is_one(t), "%s", small_order[i]);
        BN_free(y);
    }
    BN_free(p);
    BN_free(d);
    BN_free(t);
    BN_free(yy);
    BN_CTX_free(ctx);
}

static bool lax_verify(const uint8_t entity[32], struct cspan message, const uint8_t signature[64])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, entity, 32);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) > 0 &&
              EVP_DigestVerify(ctx, signature, 64, message.data, message.len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok;
}

/* With R the neutral element and S = 0 the equation holds for a key of small order whenever its order divides k:
 * libcrypto accepts, and anybody could have made that signature. */
Test(crypto, ed25519_refuses_keys_of_small_order)
{
    const uint8_t signature[64] = {1};
    for (size_t i = 0; i < 2 * sizeof small_order / sizeof small_order[0]; i++) {
        uint8_t entity[32];
        bool accepted_by_libcrypto = false;
        bytes(small_order[i / 2], entity, 32);
        if (i % 2)
            entity[31] |= 0x80;
        for (int m = 0; m < 256; m++) {
            uint8_t text = (uint8_t)m;
            struct cspan message = {&text, 1};
            accepted_by_libcrypto |= lax_verify(entity, message, signature);
            cr_expect_not(ed25519_verify(entity, message, signature));
        }
        cr_expect(accepted_by_libcrypto, "encoding %zu is no point of small order", i);
    }
}

static void seal_and_open(struct crypto *c, enum aead_suite suite, const char *key_hex, const char *nonce_hex,
                          const char *aad_hex, const char *text_hex, const char *sealed_hex)
{
    uint8_t key[32], nonce[12], aad[64], text[256], sealed[256], out[256];
    bytes(key_hex, key, sizeof key);
    bytes(nonce_hex, nonce, sizeof nonce);
    size_t aad_len = unhex(aad_hex, aad, sizeof aad), len = unhex(text_hex, text, sizeof text);
    cr_assert_eq(unhex(sealed_hex, sealed, sizeof sealed), len + 16);
    struct aead *a = aead_new(c, suite, key);
    aead_seal(a, nonce, aad, aad_len, text, out, len, out + len);
    cr_expect_arr_eq(out, sealed, len + 16);
    cr_expect(aead_open(a, nonce, aad, aad_len, sealed, out, len, sealed + len));
    cr_expect_arr_eq(out, text, len);
    aead_free(c, a);
}

/* RFC 8439 2.8.2. */
Test(crypto, chacha20_poly1305_known_answer)
{
    seal_and_open(
        fast, AEAD_CHACHA20_POLY1305, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
        "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
        "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c642"
        "06f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f75"
        "6c642062652069742e",
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9"
        "e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de5"
        "76d26586cec64b61161ae10b594f09e26a7e902ecbd0600691");
}

/* Test case 16 of the GCM specification (McGrew, Viega), by both makes. */
Test(crypto, aes_256_gcm_known_answer)
{
    struct crypto *both[] = {fast, plain};
    for (size_t i = 0; i < 2; i++)
        seal_and_open(
            both[i], AEAD_AES_256_GCM, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16ae"
            "df5aa0de657ba637b39",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61"
            "e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b");
}

enum { LONGEST = 8112 };

struct crossing {
    uint8_t text[LONGEST], one[LONGEST + 16], other[LONGEST + 16], aad[64], nonce[12];
};

static void cross(struct aead *a, struct aead *b, struct crossing *x, size_t len, size_t aad_len)
{
    store_le64(x->nonce + 4, len);
    aead_seal(a, x->nonce, x->aad, aad_len, x->text, x->one, len, x->one + len); /* out of place */
    memcpy(x->other, x->text, len);
    aead_seal(b, x->nonce, x->aad, aad_len, x->other, x->other, len, x->other + len); /* in place */
    cr_assert_arr_eq(x->one, x->other, len + 16, "length %zu", len);
    cr_assert(aead_open(b, x->nonce, x->aad, aad_len, x->one, x->one, len, x->one + len));
    cr_assert_arr_eq(x->one, x->text, len, "length %zu", len);
    cr_assert(aead_open(a, x->nonce, x->aad, aad_len, x->other, x->one, len, x->other + len));
    cr_assert_arr_eq(x->one, x->text, len, "length %zu", len);
}

/* Every length of a packet's text, both directions, in place and out of place (extensions X6: "a test crosses them").
 */
Test(crypto, both_makes_of_gcm_agree)
{
    if (!crypto_uses_ipsec_mb(fast))
        cr_skip_test("this build or CPU has no intel-ipsec-mb");
    cr_assert_not(crypto_uses_ipsec_mb(plain));
    struct crossing *x = calloc(1, sizeof *x);
    uint8_t key[32];
    for (size_t i = 0; i < LONGEST; i++)
        x->text[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t i = 0; i < 64; i++)
        key[i % 32] = x->aad[i] = (uint8_t)(i * 5 + 1);
    struct aead *a = aead_new(fast, AEAD_AES_256_GCM, key), *b = aead_new(plain, AEAD_AES_256_GCM, key);
    const size_t aad_lens[] = {52, 0, 1, 13, 32};
    for (size_t len = 0; len <= LONGEST; len++) {
        cross(a, b, x, len, 52);
        cross(b, a, x, len, aad_lens[len % 5]);
    }
    aead_free(fast, a);
    aead_free(plain, b);
    free(x);
}

static void refuses_tampering(struct crypto *c, enum aead_suite suite)
{
    uint8_t key[32] = {3}, nonce[12] = {4}, aad[52] = {5}, text[100] = {6}, sealed[116], out[100];
    struct aead *a = aead_new(c, suite, key);
    aead_seal(a, nonce, aad, sizeof aad, text, sealed, sizeof text, sealed + sizeof text);
    for (size_t i = 0; i < sizeof sealed; i++) {
        sealed[i] ^= 0x10;
        cr_expect_not(aead_open(a, nonce, aad, sizeof aad, sealed, out, sizeof text, sealed + sizeof text));
        sealed[i] ^= 0x10;
    }
    for (size_t i = 0; i < sizeof aad; i++) {
        aad[i] ^= 1;
        cr_expect_not(aead_open(a, nonce, aad, sizeof aad, sealed, out, sizeof text, sealed + sizeof text));
        aad[i] ^= 1;
    }
    nonce[11] ^= 1;
    cr_expect_not(aead_open(a, nonce, aad, sizeof aad, sealed, out, sizeof text, sealed + sizeof text));
    nonce[11] ^= 1;
    cr_expect(aead_open(a, nonce, aad, sizeof aad, sealed, out, sizeof text, sealed + sizeof text));
    aead_free(c, a);
}

Test(crypto, aead_refuses_tampering)
{
    refuses_tampering(fast, AEAD_CHACHA20_POLY1305);
    refuses_tampering(fast, AEAD_AES_256_GCM);
    refuses_tampering(plain, AEAD_AES_256_GCM);
}

/* A context that comes back from the pool has nothing of its former key. */
Test(crypto, pool_changes_keys)
{
    for (int suite = 0; suite < 2; suite++) {
        uint8_t old[32] = {1}, new[32] = {2}, nonce[12] = {0}, text[20] = {0}, by_old[36], reused[36], fresh[36];
        struct aead *a = aead_new(fast, (enum aead_suite)suite, old);
        aead_seal(a, nonce, NULL, 0, text, by_old, sizeof text, by_old + 20);
        aead_free(fast, a);
        struct aead *again = aead_new(fast, (enum aead_suite)suite, new);
        cr_expect_eq(again, a, "the pool gives back what it got");
        struct aead *second = aead_new(fast, (enum aead_suite)suite, new);
        aead_seal(again, nonce, NULL, 0, text, reused, sizeof text, reused + 20);
        aead_seal(second, nonce, NULL, 0, text, fresh, sizeof text, fresh + 20);
        cr_expect_arr_eq(reused, fresh, sizeof fresh);
        cr_expect_arr_neq(reused, by_old, sizeof by_old);
        aead_free(fast, again);
        aead_free(fast, second);
    }
}

static void run_hot_calls(struct crypto *c, enum aead_suite suite, uint8_t *packet, size_t len)
{
    uint8_t key[32] = {9}, nonce[12] = {0}, aad[52] = {0};
    struct aead *a = aead_new(c, suite, key);
    aead_seal(a, nonce, aad, sizeof aad, packet, packet, len, packet + len);
    cr_assert(aead_open(a, nonce, aad, sizeof aad, packet, packet, len, packet + len));
    aead_free(c, a);
}

Test(crypto, hot_calls_do_not_allocate)
{
    if (!alloc_count_works())
        cr_skip_test("the sanitizer has the allocator");
    uint8_t packet[1500] = {0}, key[32] = {1}, hash[32];
    struct cspan part = {packet, 212};
    struct crypto *both[2] = {fast, plain};
    uint64_t before = 0;
    for (int round = 0; round < 100; round++) {
        if (round == 1) /* the first has filled the pools */
            before = alloc_count();
        for (int i = 0; i < 2; i++) {
            run_hot_calls(both[i], AEAD_CHACHA20_POLY1305, packet, 1392);
            run_hot_calls(both[i], AEAD_AES_256_GCM, packet, 1392);
            blake2s(both[i], key, sizeof key, &part, 1, hash); /* the gate's */
        }
    }
    cr_expect_eq(alloc_count(), before);
}

Test(crypto, wipe_and_equal)
{
    uint8_t a[40], b[40];
    memset(a, 1, sizeof a);
    memset(b, 1, sizeof b);
    cr_expect(secure_equal(a, b, sizeof a));
    b[39] = 2;
    cr_expect_not(secure_equal(a, b, sizeof a));
    cr_expect(secure_equal(a, b, 39));
    secure_wipe(a, sizeof a);
    memset(b, 0, sizeof b);
    cr_expect_arr_eq(a, b, sizeof a);
}
