#include "core/session/noise_internal.h"

#include "core/base/err.h"

static struct cspan text(const char *s)
{
    return (struct cspan){(const uint8_t *)s, strlen(s)};
}

static void mix_hash(struct noise *n, struct crypto *c, struct cspan data)
{
    struct cspan parts[] = {{n->h, 32}, data};
    blake2s(c, NULL, 0, parts, 2, n->h);
}

static void mix_key(struct noise *n, struct crypto *c, const uint8_t ikm[32])
{
    uint8_t out[2][32];
    hkdf_blake2s(c, n->ck, (struct cspan){ikm, 32}, 2, out);
    memcpy(n->ck, out[0], 32);
    memcpy(n->key, out[1], 32);
    secure_wipe(out, sizeof out);
}

void noise_prologue(uint64_t initiator, uint64_t responder, uint8_t out[NOISE_PROLOGUE])
{
    memcpy(out, "net-handshake-v1", 16);
    store_le64(out + 16, (uint32_t)initiator);
    store_le64(out + 24, (uint32_t)responder);
}

void noise_init(struct noise *n, struct crypto *c, struct cspan prologue, const uint8_t responder_static[32])
{
    struct cspan name = text("Noise_NKpsk0_25519_ChaChaPoly_BLAKE2s");
    blake2s(c, NULL, 0, &name, 1, n->h);
    memcpy(n->ck, n->h, 32);
    mix_hash(n, c, prologue);
    mix_hash(n, c, (struct cspan){responder_static, 32});
}

void noise_psk(struct noise *n, struct crypto *c, const uint8_t psk[32])
{
    uint8_t out[3][32];
    hkdf_blake2s(c, n->ck, (struct cspan){psk, 32}, 3, out);
    memcpy(n->ck, out[0], 32);
    mix_hash(n, c, (struct cspan){out[1], 32});
    memcpy(n->key, out[2], 32);
    secure_wipe(out, sizeof out);
}

void noise_ephemeral(struct noise *n, struct crypto *c, const uint8_t ephemeral_public[32])
{
    mix_hash(n, c, (struct cspan){ephemeral_public, 32});
    mix_key(n, c, ephemeral_public); /* because the pattern has a psk */
}

bool noise_dh(struct noise *n, struct crypto *c, const uint8_t secret[32], const uint8_t public_key[32])
{
    uint8_t shared[32];
    bool ok = x25519(secret, public_key, shared);
    if (ok)
        mix_key(n, c, shared);
    secure_wipe(shared, sizeof shared);
    return ok;
}

/* Each key of this pattern protects one payload: the nonce is always zero. */
static const uint8_t nonce[12];

int noise_encrypt(struct noise *n, struct crypto *c, struct cspan payload, uint8_t *out)
{
    struct aead *a = aead_new(c, AEAD_CHACHA20_POLY1305, n->key);
    if (!a)
        return NET_ERR_NO_MEMORY;
    aead_seal(a, nonce, n->h, 32, payload.data, out, payload.len, out + payload.len);
    aead_free(c, a);
    mix_hash(n, c, (struct cspan){out, payload.len + NOISE_TAG});
    return NET_OK;
}

int noise_decrypt(struct noise *n, struct crypto *c, struct cspan sealed, uint8_t *out)
{
    if (sealed.len < NOISE_TAG)
        return NET_ERR_TRUNCATED;
    struct aead *a = aead_new(c, AEAD_CHACHA20_POLY1305, n->key);
    if (!a)
        return NET_ERR_NO_MEMORY;
    size_t len = sealed.len - NOISE_TAG;
    bool ok = aead_open(a, nonce, n->h, 32, sealed.data, out, len, sealed.data + len);
    aead_free(c, a);
    mix_hash(n, c, sealed);
    return ok ? NET_OK : NET_ERR_AUTH;
}

void noise_keys_v019(const struct noise *n, struct crypto *c, uint8_t keys[2][32])
{
    uint8_t prk[32];
    struct cspan label = text("net-kdf-v1"), to = text("initiator-tx"), from = text("initiator-rx");
    blake2s(c, n->h, 32, &label, 1, prk);
    blake2s(c, prk, 32, &to, 1, keys[0]);
    blake2s(c, prk, 32, &from, 1, keys[1]);
    secure_wipe(prk, sizeof prk);
}

void noise_split(const struct noise *n, struct crypto *c, uint8_t keys[2][32])
{
    hkdf_blake2s(c, n->ck, (struct cspan){n->ck, 0}, 2, keys);
}
