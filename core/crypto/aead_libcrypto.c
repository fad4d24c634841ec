/* ChaCha20-Poly1305 and AES-256-GCM by libcrypto: everywhere, and the yardstick for any faster make. */
#include "core/crypto/crypto_internal.h"

#include <assert.h>
#include <stdlib.h>

struct aead_libcrypto {
    struct aead base;
    EVP_CIPHER_CTX *ctx;
};

static EVP_CIPHER_CTX *ctx_of(struct aead *a)
{
    return ((struct aead_libcrypto *)(void *)a)->ctx;
}

static void destroy(struct aead *a)
{
    EVP_CIPHER_CTX_free(ctx_of(a)); /* cleanses */
    free(a);
}

static struct aead *make(EVP_CIPHER *cipher)
{
    struct aead_libcrypto *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->ctx = EVP_CIPHER_CTX_new();
    /* The only call that names the cipher: naming it again would allocate its context again. */
    if (!a->ctx || EVP_CipherInit_ex2(a->ctx, cipher, NULL, NULL, 1, NULL) <= 0) {
        destroy(&a->base);
        return NULL;
    }
    return &a->base;
}

static struct aead *make_chacha(struct crypto *c)
{
    return make(c->chacha);
}

static struct aead *make_gcm(struct crypto *c)
{
    return make(c->gcm);
}

static bool set_key(struct aead *a, const uint8_t key[32])
{
    return EVP_CipherInit_ex2(ctx_of(a), NULL, key, NULL, 1, NULL) > 0;
}

/* libcrypto has no call for it that keeps the context; another key takes the place of the old one. */
static void forget(struct aead *a)
{
    static const uint8_t zero[32];
    set_key(a, zero);
}

static void seal(struct aead *a, const uint8_t nonce[12], struct cspan aad, const uint8_t *src, uint8_t *dst,
                 size_t len, uint8_t tag[16])
{
    EVP_CIPHER_CTX *ctx = ctx_of(a);
    int n;
    bool ok = EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, 1, NULL) > 0 &&
              (!aad.len || EVP_CipherUpdate(ctx, NULL, &n, aad.data, (int)aad.len) > 0) &&
              (!len || EVP_CipherUpdate(ctx, dst, &n, src, (int)len) > 0) && EVP_CipherFinal_ex(ctx, tag, &n) > 0 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag) > 0;
    assert(ok); /* cipher and key are set and nothing allocates: there is no way to fail */
}

static bool open(struct aead *a, const uint8_t nonce[12], struct cspan aad, const uint8_t *src, uint8_t *dst,
                 size_t len, const uint8_t tag[16])
{
    EVP_CIPHER_CTX *ctx = ctx_of(a);
    uint8_t expected[16], none[16];
    int n;
    memcpy(expected, tag, sizeof expected); /* libcrypto takes it by a pointer without const */
    return EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, 0, NULL) > 0 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, expected) > 0 &&
           (!aad.len || EVP_CipherUpdate(ctx, NULL, &n, aad.data, (int)aad.len) > 0) &&
           (!len || EVP_CipherUpdate(ctx, dst, &n, src, (int)len) > 0) && EVP_CipherFinal_ex(ctx, none, &n) > 0;
}

const struct aead_ops aead_chacha_libcrypto = {make_chacha, destroy, set_key, forget, seal, open};
const struct aead_ops aead_gcm_libcrypto = {make_gcm, destroy, set_key, forget, seal, open};
