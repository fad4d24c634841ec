/* What the files of core/crypto share: the shard's fetched algorithms, and what a make of an AEAD provides. */
#ifndef NM_CORE_CRYPTO_CRYPTO_INTERNAL_H
#define NM_CORE_CRYPTO_CRYPTO_INTERNAL_H

#include <openssl/evp.h>

#include "core/crypto/crypto.h"

/* One suite made by one library. Arguments as aead_seal and aead_open in crypto.h. */
struct aead_ops {
    struct aead *(*make)(struct crypto *); /* without a key; NULL: no memory */
    void (*destroy)(struct aead *);
    bool (*key)(struct aead *, const uint8_t key[32]); /* false: no memory */
    void (*forget)(struct aead *);                     /* wipes the key */
    void (*seal)(struct aead *, const uint8_t nonce[12], struct cspan aad, const uint8_t *src, uint8_t *dst, size_t len,
                 uint8_t tag[16]);
    bool (*open)(struct aead *, const uint8_t nonce[12], struct cspan aad, const uint8_t *src, uint8_t *dst, size_t len,
                 const uint8_t tag[16]);
};

/* Contexts of one suite that nobody uses; what they allocated they keep. */
struct aead_pool {
    const struct aead_ops *ops;
    struct aead *idle;
};

struct aead { /* first member of what a make makes */
    struct aead_pool *pool;
    struct aead *next; /* in pool->idle */
};

struct crypto {
    EVP_MD *blake2s;
    EVP_MAC *blake2s_keyed, *hmac;
    EVP_MD_CTX *blake2s_ctx;
    EVP_MAC_CTX *blake2s_keyed_ctx, *hmac_ctx;
    EVP_CIPHER *chacha, *gcm;
    struct ipsec_mb *ipsec_mb; /* NULL: libcrypto does it all */
    struct aead_pool pools[2]; /* by enum aead_suite */
};

extern const struct aead_ops aead_chacha_libcrypto, aead_gcm_libcrypto;
void aead_pools_drain(struct crypto *);

#ifdef NM_IPSEC_MB
extern const struct aead_ops aead_gcm_ipsec_mb;
/* NULL where the CPU lacks what AES-256-GCM needs, or without memory. */
struct ipsec_mb *ipsec_mb_new(void);
void ipsec_mb_free(struct ipsec_mb *);
#endif

#endif
