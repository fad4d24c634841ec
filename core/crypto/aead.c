/* The face of the AEADs, and the pool that keeps hot calls free of allocation. */
#include "core/crypto/crypto_internal.h"

#include <assert.h>

static void give_back(struct aead *a)
{
    a->next = a->pool->idle;
    a->pool->idle = a;
}

struct aead *aead_new(struct crypto *c, enum aead_suite suite, const uint8_t key[32])
{
    assert(suite == AEAD_CHACHA20_POLY1305 || suite == AEAD_AES_256_GCM);
    struct aead_pool *pool = &c->pools[suite];
    struct aead *a = pool->idle;
    if (a)
        pool->idle = a->next;
    else if (!(a = pool->ops->make(c)))
        return NULL;
    a->pool = pool;
    if (!pool->ops->key(a, key)) {
        give_back(a);
        return NULL;
    }
    return a;
}

void aead_free(struct crypto *c, struct aead *a)
{
    if (!a)
        return;
    assert(a->pool == &c->pools[0] || a->pool == &c->pools[1]); /* contexts do not change shards */
    a->pool->ops->forget(a);
    give_back(a);
}

void aead_pools_drain(struct crypto *c)
{
    for (size_t i = 0; i < 2; i++) {
        struct aead_pool *pool = &c->pools[i];
        while (pool->idle) {
            struct aead *a = pool->idle;
            pool->idle = a->next;
            pool->ops->destroy(a);
        }
    }
}

void aead_seal(struct aead *a, const uint8_t nonce[12], const uint8_t *aad, size_t aad_len, const uint8_t *src,
               uint8_t *dst, size_t len, uint8_t tag[16])
{
    a->pool->ops->seal(a, nonce, (struct cspan){aad, aad_len}, src, dst, len, tag);
}

bool aead_open(struct aead *a, const uint8_t nonce[12], const uint8_t *aad, size_t aad_len, const uint8_t *src,
               uint8_t *dst, size_t len, const uint8_t tag[16])
{
    return a->pool->ops->open(a, nonce, (struct cspan){aad, aad_len}, src, dst, len, tag);
}
