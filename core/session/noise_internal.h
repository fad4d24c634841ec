/*
 * Noise_NKpsk0_25519_ChaChaPoly_BLAKE2s, step by step. session.md 3. The steps come in the order of the pattern:
 * init, psk, then per message ephemeral, dh, and encrypt or decrypt of its payload.
 */
#ifndef NM_CORE_SESSION_NOISE_INTERNAL_H
#define NM_CORE_SESSION_NOISE_INTERNAL_H

#include "core/crypto/crypto.h"

enum { NOISE_TAG = 16, NOISE_EMPTY = 32 + NOISE_TAG, NOISE_PROLOGUE = 32 };

struct noise {
    uint8_t h[32], ck[32], key[32];
};

/* The 32 bytes that bind both ids; only their low halves are. session.md 3.2 */
void noise_prologue(uint64_t initiator, uint64_t responder, uint8_t out[NOISE_PROLOGUE]);

void noise_init(struct noise *, struct crypto *, struct cspan prologue, const uint8_t responder_static[32]);
void noise_psk(struct noise *, struct crypto *, const uint8_t psk[32]);
void noise_ephemeral(struct noise *, struct crypto *, const uint8_t ephemeral_public[32]);
/* False for a public key of small order (session.md 16.11). */
bool noise_dh(struct noise *, struct crypto *, const uint8_t secret[32], const uint8_t public_key[32]);
/* Writes payload.len + NOISE_TAG bytes. 0 or NET_ERR_NO_MEMORY. */
int noise_encrypt(struct noise *, struct crypto *, struct cspan payload, uint8_t *out);
/* Writes sealed.len - NOISE_TAG bytes. 0, NET_ERR_TRUNCATED, NET_ERR_AUTH (the state is spoilt), NET_ERR_NO_MEMORY. */
int noise_decrypt(struct noise *, struct crypto *, struct cspan sealed, uint8_t *out);

/* Of v0.19.0 (session.md 4) and of X1: keys[0] initiator to responder, keys[1] back. */
void noise_keys_v019(const struct noise *, struct crypto *, uint8_t keys[2][32]);
void noise_split(const struct noise *, struct crypto *, uint8_t keys[2][32]);

#endif
