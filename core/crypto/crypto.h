/*
 * Primitives of the wire: keyed BLAKE2s, HMAC/HKDF-BLAKE2s, X25519, Ed25519 (strict), and the two packet AEADs.
 * Everything is done by libcrypto or intel-ipsec-mb; this file only gives them one face, fetched once per shard, so
 * that no hot call fetches or allocates. Randomness never comes from here (design: "What keeps that true").
 * What returns nothing can fail only for want of a few bytes of memory inside libcrypto, and then ends the process.
 */
#ifndef NM_CORE_CRYPTO_CRYPTO_H
#define NM_CORE_CRYPTO_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/span.h"

/* Per shard: fetched algorithms, scratch contexts, the ipsec-mb manager. Not shared between threads. */
struct crypto;

struct crypto_options {
    bool no_ipsec_mb; /* use libcrypto only (tests cross both) */
};

/* 0, NET_ERR_NO_MEMORY, or NET_ERR_UNSUPPORTED when libcrypto lacks an algorithm. NULL options: defaults. */
int crypto_init(struct crypto **, const struct crypto_options *);
void crypto_deinit(struct crypto *); /* after all its AEAD contexts were freed */
/* True where the CPU has AES and carry-less multiply: only then AES-256-GCM is offered (extensions X6). */
bool crypto_has_fast_aes(void);
bool crypto_uses_ipsec_mb(const struct crypto *);

void secure_wipe(void *, size_t);                      /* the compiler cannot leave it out */
bool secure_equal(const void *, const void *, size_t); /* constant time */

/* BLAKE2s-256 over the concatenation of `parts`; keyed when key_len is 1..32 (native keyed mode), unkeyed when 0. */
void blake2s(struct crypto *, const uint8_t *key, size_t key_len, const struct cspan *parts, size_t count,
             uint8_t out[32]);
/* HKDF of Noise with HMAC-BLAKE2s; writes `outputs` (2 or 3) blocks. session.md 3.1 */
void hkdf_blake2s(struct crypto *, const uint8_t ck[32], struct cspan ikm, unsigned outputs, uint8_t out[][32]);

/* X25519, RFC 7748. False when the result is all zeros (session.md 16.11). */
bool x25519(const uint8_t secret[32], const uint8_t public_key[32], uint8_t out[32]);
void x25519_public(const uint8_t secret[32], uint8_t out[32]);

/* Ed25519, RFC 8032. Verification is strict as identity.md 1.1: canonical S, no small-order A or R, cofactorless. */
void ed25519_public(const uint8_t seed[32], uint8_t out[32]);
void ed25519_sign(const uint8_t seed[32], struct cspan message, uint8_t signature[64]);
bool ed25519_verify(const uint8_t public_key[32], struct cspan message, const uint8_t signature[64]);

enum aead_suite { AEAD_CHACHA20_POLY1305, AEAD_AES_256_GCM };

/* A hot key: expanded once, then only the nonce changes. About 1 KiB; borrow, do not keep one per idle peer. */
struct aead;

/* Borrows a context from the shard's pool (bounded only by memory) and expands `key` into it. NULL: no memory. */
struct aead *aead_new(struct crypto *, enum aead_suite, const uint8_t key[32]);
void aead_free(struct crypto *, struct aead *); /* wipes; NULL is fine */
/* dst may equal src (in place). seal writes `len` bytes and a 16-byte tag. open: true iff the tag is right; on false
 * the bytes of dst are unspecified. */
void aead_seal(struct aead *, const uint8_t nonce[12], const uint8_t *aad, size_t aad_len, const uint8_t *src,
               uint8_t *dst, size_t len, uint8_t tag[16]);
bool aead_open(struct aead *, const uint8_t nonce[12], const uint8_t *aad, size_t aad_len, const uint8_t *src,
               uint8_t *dst, size_t len, const uint8_t tag[16]);

#endif
