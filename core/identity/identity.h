/* Entity identity and its projections. identity.md 2-4 */
#ifndef NM_CORE_IDENTITY_IDENTITY_H
#define NM_CORE_IDENTITY_IDENTITY_H

#include "core/crypto/crypto.h"

struct identity_ids {
    uint64_t node_id;     /* sessions, routing, roster */
    uint64_t origin_hash; /* low 32 bits are the wire origin of publishes */
};

struct identity {
    uint8_t seed[32];   /* secret; wiped by identity_deinit */
    uint8_t entity[32]; /* ed25519 public key */
    struct identity_ids ids;
};

/* identity.md 2 */
struct identity_ids identity_ids_of(struct crypto *, const uint8_t entity[32]);
/* Derives all from the seed, which is copied. NET_ERR_INVALID for the identities a node must refuse: node id 0, or low
 * 16 bits 0x4E45 (wire.md 11.6). */
int identity_init(struct identity *, struct crypto *, const uint8_t seed[32]);
void identity_deinit(struct identity *); /* wipes */

#endif
