/* X25519 and strict Ed25519 over libcrypto's raw keys. */
#include "core/crypto/crypto_internal.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

/*
 * The secret as a libcrypto key. Given a public half, libcrypto does not compute one, which would double the price of
 * an exchange; the exchange reads the private half and the peer's key only, so any 32 bytes do.
 */
static EVP_PKEY *x25519_private(const uint8_t secret[32], const uint8_t any_public[32])
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, (void *)(uintptr_t)secret, 32),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)any_public, 32),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "X25519", NULL);
    if (ctx && EVP_PKEY_fromdata_init(ctx) > 0)
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

bool x25519(const uint8_t secret[32], const uint8_t public_key[32], uint8_t out[32])
{
    static const uint8_t zero[32];
    size_t len = 32;
    EVP_PKEY *own = x25519_private(secret, public_key);
    EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public_key, 32);
    EVP_PKEY_CTX *ctx = own ? EVP_PKEY_CTX_new(own, NULL) : NULL;
    bool ok = peer && ctx && EVP_PKEY_derive_init(ctx) > 0 && EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) > 0 &&
              EVP_PKEY_derive(ctx, out, &len) > 0;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
    return ok && !secure_equal(out, zero, 32);
}

static void public_of(int type, const uint8_t secret[32], uint8_t out[32])
{
    size_t len = 32;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(type, NULL, secret, 32);
    bool ok = key && EVP_PKEY_get_raw_public_key(key, out, &len);
    EVP_PKEY_free(key);
    assert(ok); /* any 32 bytes are a secret: libcrypto is out of memory */
}

void x25519_public(const uint8_t secret[32], uint8_t out[32])
{
    public_of(EVP_PKEY_X25519, secret, out);
}

void ed25519_public(const uint8_t seed[32], uint8_t out[32])
{
    public_of(EVP_PKEY_ED25519, seed, out);
}

void ed25519_sign(const uint8_t seed[32], struct cspan message, uint8_t signature[64])
{
    size_t len = 64;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = key && ctx && EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) > 0 &&
              EVP_DigestSign(ctx, signature, &len, message.data, message.len) > 0;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    assert(ok); /* as above */
}

/* The y coordinates of the eight points of small order, and of their encodings that are not reduced modulo p = 2^255-19
 * (the sign bit is masked off: x and -x share an order). */
static const uint8_t small_order[][32] = {
    {0x00}, /* order 4 */
    {0x01}, /* order 1 */
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
     0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05}, /* order 8 */
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
     0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a}, /* order 8 */
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, /* p-1: order 2 */
    {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, /* p: 0 again */
    {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, /* p+1: 1 again */
};

static bool has_small_order(const uint8_t point[32])
{
    for (size_t i = 0; i < sizeof small_order / sizeof small_order[0]; i++)
        if (memcmp(point, small_order[i], 31) == 0 && (point[31] & 0x7f) == small_order[i][31])
            return true;
    return false;
}

/*
 * libcrypto checks that S is canonical, that A is a point, and the equation without the cofactor; it compares the bytes
 * of R with the encoding it computed, so R is a canonical point. What it lacks is the small orders.
 */
bool ed25519_verify(const uint8_t public_key[32], struct cspan message, const uint8_t signature[64])
{
    if (has_small_order(public_key) || has_small_order(signature))
        return false;
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, 32);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = key && ctx && EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) > 0 &&
              EVP_DigestVerify(ctx, signature, 64, message.data, message.len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok;
}
