/* BLAKE2s in its three uses: plain, natively keyed, and inside HMAC for Noise's HKDF. */
#include "core/crypto/crypto_internal.h"

#include <assert.h>

/* Contexts and algorithms exist since crypto_init: what can still fail is only a caller's mistake or libcrypto's own
 * few bytes of memory, and neither has a way to go on. */
#define MUST(expression)                                                                                               \
    do {                                                                                                               \
        int must_ok = (expression);                                                                                    \
        assert(must_ok);                                                                                               \
    } while (0)

/* A context keeps its last key until it is given another, and with it an epoch's key that has passed, or what all keys
 * of a session follow from. */
static void forget_key(EVP_MAC_CTX *ctx)
{
    static const uint8_t zero[32];
    MUST(EVP_MAC_init(ctx, zero, sizeof zero, NULL));
}

void blake2s(struct crypto *c, const uint8_t *key, size_t key_len, const struct cspan *parts, size_t count,
             uint8_t out[32])
{
    assert(key_len <= 32);
    if (key_len) {
        size_t written;
        MUST(EVP_MAC_init(c->blake2s_keyed_ctx, key, key_len, NULL));
        for (size_t i = 0; i < count; i++)
            MUST(EVP_MAC_update(c->blake2s_keyed_ctx, parts[i].data, parts[i].len));
        MUST(EVP_MAC_final(c->blake2s_keyed_ctx, out, &written, 32));
        forget_key(c->blake2s_keyed_ctx);
        return;
    }
    MUST(EVP_DigestInit_ex2(c->blake2s_ctx, NULL, NULL));
    for (size_t i = 0; i < count; i++)
        MUST(EVP_DigestUpdate(c->blake2s_ctx, parts[i].data, parts[i].len));
    MUST(EVP_DigestFinal_ex(c->blake2s_ctx, out, NULL));
}

static void hmac_blake2s(struct crypto *c, const uint8_t key[32], struct cspan first, struct cspan second,
                         uint8_t out[32])
{
    size_t written;
    MUST(EVP_MAC_init(c->hmac_ctx, key, 32, NULL));
    MUST(EVP_MAC_update(c->hmac_ctx, first.data, first.len));
    MUST(EVP_MAC_update(c->hmac_ctx, second.data, second.len));
    MUST(EVP_MAC_final(c->hmac_ctx, out, &written, 32));
}

void hkdf_blake2s(struct crypto *c, const uint8_t ck[32], struct cspan ikm, unsigned outputs, uint8_t out[][32])
{
    assert(outputs == 2 || outputs == 3);
    uint8_t secret[32];
    struct cspan none = {secret, 0}, before = none;
    hmac_blake2s(c, ck, ikm, none, secret);
    for (unsigned i = 0; i < outputs; i++) {
        uint8_t number = (uint8_t)(i + 1);
        hmac_blake2s(c, secret, before, (struct cspan){&number, 1}, out[i]);
        before = (struct cspan){out[i], 32};
    }
    secure_wipe(secret, sizeof secret);
    forget_key(c->hmac_ctx);
}
