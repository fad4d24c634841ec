/* AES-256-GCM by intel-ipsec-mb's direct calls: no job queue, no set-up but the nonce. x86-64 with AES and CLMUL. */
#ifdef NM_IPSEC_MB
#include "core/crypto/crypto_internal.h"

#include <intel-ipsec-mb.h>
#include <stdlib.h>

struct ipsec_mb {
    IMB_MGR *mgr;
};

struct aead_ipsec_mb {
    struct aead base;
    const IMB_MGR *mgr;
    _Alignas(64) struct gcm_key_data key; /* its type asks for that only where the macro LINUX is defined */
    struct gcm_context_data scratch;
};

static struct aead_ipsec_mb *of(struct aead *a)
{
    return (struct aead_ipsec_mb *)(void *)a;
}

struct ipsec_mb *ipsec_mb_new(void)
{
    IMB_ARCH arch = IMB_ARCH_NONE;
    const uint64_t needs = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
    struct ipsec_mb *m = calloc(1, sizeof *m);
    if (m && crypto_has_fast_aes() && (m->mgr = alloc_mb_mgr(0))) {
        init_mb_mgr_auto(m->mgr, &arch);
        if (arch != IMB_ARCH_NONE && imb_get_errno(m->mgr) == 0 && (m->mgr->features & needs) == needs)
            return m;
    }
    ipsec_mb_free(m);
    return NULL;
}

void ipsec_mb_free(struct ipsec_mb *m)
{
    if (m && m->mgr)
        free_mb_mgr(m->mgr);
    free(m);
}

static struct aead *make(struct crypto *c)
{
    struct aead_ipsec_mb *a = aligned_alloc(_Alignof(struct aead_ipsec_mb), sizeof *a);
    if (!a)
        return NULL;
    memset(a, 0, sizeof *a);
    a->mgr = c->ipsec_mb->mgr;
    return &a->base;
}

static void destroy(struct aead *a)
{
    free(a);
}

static bool set_key(struct aead *a, const uint8_t key[32])
{
    IMB_AES256_GCM_PRE(of(a)->mgr, key, &of(a)->key);
    return true;
}

static void forget(struct aead *a)
{
    secure_wipe(&of(a)->key, sizeof of(a)->key);
    secure_wipe(&of(a)->scratch, sizeof of(a)->scratch);
}

static void seal(struct aead *a, const uint8_t nonce[12], struct cspan aad, const uint8_t *src, uint8_t *dst,
                 size_t len, uint8_t tag[16])
{
    IMB_AES256_GCM_ENC(of(a)->mgr, &of(a)->key, &of(a)->scratch, dst, src, len, nonce, aad.data, aad.len, tag, 16);
}

static bool open(struct aead *a, const uint8_t nonce[12], struct cspan aad, const uint8_t *src, uint8_t *dst,
                 size_t len, const uint8_t tag[16])
{
    uint8_t computed[16];
    IMB_AES256_GCM_DEC(of(a)->mgr, &of(a)->key, &of(a)->scratch, dst, src, len, nonce, aad.data, aad.len, computed, 16);
    return secure_equal(computed, tag, 16);
}

const struct aead_ops aead_gcm_ipsec_mb = {make, destroy, set_key, forget, seal, open};
#endif
