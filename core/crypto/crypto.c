#include "core/base/err.h"
#include "core/crypto/crypto_internal.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <stdlib.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

void secure_wipe(void *p, size_t len)
{
    OPENSSL_cleanse(p, len);
}

bool secure_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

bool crypto_has_fast_aes(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
    unsigned long have = getauxval(AT_HWCAP);
    return (have & HWCAP_AES) && (have & HWCAP_PMULL);
#else
    return false;
#endif
}

bool crypto_uses_ipsec_mb(const struct crypto *c)
{
    return c->ipsec_mb != NULL;
}

static bool fetch(struct crypto *c)
{
    c->blake2s = EVP_MD_fetch(NULL, "BLAKE2S-256", NULL);
    c->blake2s_keyed = EVP_MAC_fetch(NULL, "BLAKE2SMAC", NULL);
    c->hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    c->chacha = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
    c->gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    return c->blake2s && c->blake2s_keyed && c->hmac && c->chacha && c->gcm;
}

static bool make_contexts(struct crypto *c)
{
    c->blake2s_ctx = EVP_MD_CTX_new();
    c->blake2s_keyed_ctx = EVP_MAC_CTX_new(c->blake2s_keyed);
    c->hmac_ctx = EVP_MAC_CTX_new(c->hmac);
    if (!c->blake2s_ctx || !c->blake2s_keyed_ctx || !c->hmac_ctx)
        return false;
    char digest[] = "BLAKE2S-256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    return EVP_DigestInit_ex2(c->blake2s_ctx, c->blake2s, NULL) && EVP_MAC_CTX_set_params(c->hmac_ctx, params);
}

/* Which make serves each suite. */
static void choose_makes(struct crypto *c, bool no_ipsec_mb)
{
    c->pools[AEAD_CHACHA20_POLY1305].ops = &aead_chacha_libcrypto;
    c->pools[AEAD_AES_256_GCM].ops = &aead_gcm_libcrypto;
#ifdef NM_IPSEC_MB
    if (!no_ipsec_mb && (c->ipsec_mb = ipsec_mb_new()))
        c->pools[AEAD_AES_256_GCM].ops = &aead_gcm_ipsec_mb;
#else
    (void)no_ipsec_mb;
#endif
}

int crypto_init(struct crypto **out, const struct crypto_options *options)
{
    struct crypto *c = calloc(1, sizeof *c);
    if (!c)
        return NET_ERR_NO_MEMORY;
    int err = !fetch(c) ? NET_ERR_UNSUPPORTED : !make_contexts(c) ? NET_ERR_NO_MEMORY : NET_OK;
    if (err) {
        crypto_deinit(c);
        return err;
    }
    choose_makes(c, options && options->no_ipsec_mb);
    *out = c;
    return NET_OK;
}

void crypto_deinit(struct crypto *c)
{
    if (!c)
        return;
    aead_pools_drain(c);
#ifdef NM_IPSEC_MB
    ipsec_mb_free(c->ipsec_mb);
#endif
    EVP_MAC_CTX_free(c->hmac_ctx); /* the contexts cleanse what they hold */
    EVP_MAC_CTX_free(c->blake2s_keyed_ctx);
    EVP_MD_CTX_free(c->blake2s_ctx);
    EVP_CIPHER_free(c->gcm);
    EVP_CIPHER_free(c->chacha);
    EVP_MAC_free(c->hmac);
    EVP_MAC_free(c->blake2s_keyed);
    EVP_MD_free(c->blake2s);
    free(c);
}
