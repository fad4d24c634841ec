/*
 * The NKpsk0 handshake of both worlds: v0.19.0 (session.md 3-7) and ours with the offer X0 and secure keys X1.
 * Sans-I/O: datagrams in, datagrams out. Timers, retries, pacing and the choice of shard belong to the caller
 * (shards/peers/dial.c, answer.c).
 */
#ifndef NM_CORE_SESSION_HANDSHAKE_H
#define NM_CORE_SESSION_HANDSHAKE_H

#include "core/identity/identity.h"
#include "core/session/session.h"

enum { HANDSHAKE_MAX_DATAGRAM = WIRE_ROUTE + WIRE_HEADER + 48 + 512 }; /* bytes of either message, headers included */

/* Constant for the life of a node. Fill in all but the derived fields, then call handshake_local_init(). */
struct handshake_local {
    const struct identity *identity;
    uint8_t static_secret[32]; /* X25519 */
    uint8_t psk[32];
    uint64_t features;         /* what we offer; FEATURE_SECURE always */
    uint8_t static_public[32]; /* derived */
    uint8_t gate_key[32];      /* derived: the key of the gate in front of us (X0) */
};
void handshake_local_init(struct handshake_local *, struct crypto *);
void handshake_local_deinit(struct handshake_local *); /* wipes all keys; the identity stays the caller's */

/* Per attempt. */
struct handshake_offer {
    uint64_t receive_id;   /* not 0, steers to the peer's shard */
    uint64_t instance;     /* not 0 */
    uint32_t window;       /* bytes of credit per stream, 65536..2^30 */
    uint16_t max_datagram; /* bytes, 1200..8210 */
};

enum handshake_mode { HANDSHAKE_ROUTED, HANDSHAKE_DIRECT };

struct handshake_target {
    uint64_t node_id;
    uint8_t static_public[32];
    bool compat;              /* v0.19.0: no extension block, no gate, v0.19 keys */
    enum handshake_mode mode; /* direct only towards v0.19.0 (X0) */
};

/* An initiator's attempt between msg1 and msg2. Single use: any failure of a *valid-looking* msg2 leaves it usable, so
 * that a forged one cannot abort it (session.md 17.5); wiped by handshake_wipe or success. */
struct handshake {
    struct handshake_target target;
    struct handshake_offer offer;
    uint8_t h[32], ck[32], ephemeral_secret[32];
    uint8_t gate_key[32]; /* of the target's gate; its msg2 carries it too */
};

/* Writes msg1, complete with headers and gate. Returns its length (<= HANDSHAKE_MAX_DATAGRAM) or net_err:
 * NET_ERR_INVALID for a target whose static key is of small order, NET_ERR_NO_MEMORY. The ephemeral must be fresh for
 * every call; the caller wipes its copy. */
int handshake_start(struct handshake *, struct crypto *, const struct handshake_local *,
                    const struct handshake_target *, const struct handshake_offer *, const uint8_t ephemeral_secret[32],
                    uint8_t *out);
/*
 * Reads a msg2 datagram (routed or direct as started). 0 and *result (result->initiator = true, the attempt is wiped),
 * or a net_err and the attempt is as before: NET_ERR_TRUNCATED / FORMAT, NET_ERR_AUTH (gate, tag, signature, another
 * node), NET_ERR_POLICY (a node of ours that did not offer X1, or our own entity), NET_ERR_NO_MEMORY.
 */
int handshake_finish(struct handshake *, struct crypto *, const struct handshake_local *, struct cspan datagram,
                     struct session_params *result);
void handshake_wipe(struct handshake *);

/* The cheap look at a msg1 before any X25519: lengths, destination, and whether the gate passes. */
struct handshake_hello {
    bool routed;
    uint32_t src_id;          /* routed: lo32 of the claimed initiator */
    bool gated;               /* the 16 gate bytes are right */
    bool gate_zero;           /* they are all zero: acceptable only where policy says v0.19.0 */
    const uint8_t *ephemeral; /* 32 bytes inside the datagram, for the replay cache */
    struct cspan noise;       /* the Noise message inside the datagram */
};
/* `out` points into the datagram. NET_ERR_TRUNCATED / FORMAT (also: to another node), NET_ERR_AUTH when the gate is
 * neither right nor zero. */
int handshake_peek(struct crypto *, const struct handshake_local *, struct cspan datagram, struct handshake_hello *out);

/*
 * What msg1 proves; secure_wipe it when done. For direct msg1 the initiator id must be guessed: pass candidates in turn
 * (session.md 13.4); for routed ones candidate is ignored. payload features 0: a v0.19.0 initiator.
 */
struct handshake_claim {
    uint64_t node_id;
    bool secure; /* offered X1 with a valid ENTITY */
    uint8_t entity[32];
    uint64_t features, receive_id, instance;
    uint32_t window;
    uint16_t max_datagram;
    uint8_t h[32], ck[32], ephemeral[32]; /* Noise state after msg1, for handshake_answer */
    bool routed, gated;
};
/* NET_ERR_AUTH (tag, signature, id mismatch), NET_ERR_FORMAT (payload, block), NET_ERR_POLICY (own entity or node id),
 * NET_ERR_NO_MEMORY. Costs an X25519: look at hello->gated and the caps first. */
int handshake_read(struct crypto *, const struct handshake_local *, const struct handshake_hello *, uint64_t candidate,
                   struct handshake_claim *);
/* Writes msg2 (at most HANDSHAKE_MAX_DATAGRAM bytes) and yields the responder's side. offer is used only when the claim
 * is secure. Returns length or net_err: NET_ERR_AUTH (the initiator's ephemeral is of small order), NET_ERR_NO_MEMORY.
 */
int handshake_answer(struct crypto *, const struct handshake_local *, const struct handshake_claim *,
                     const struct handshake_offer *, const uint8_t ephemeral_secret[32], uint8_t *out,
                     struct session_params *result);

#endif
