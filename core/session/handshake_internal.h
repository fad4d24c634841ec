/* What both roles of the handshake share: framing, the gate, the proof of identity, and the session that comes out. */
#ifndef NM_CORE_SESSION_HANDSHAKE_INTERNAL_H
#define NM_CORE_SESSION_HANDSHAKE_INTERNAL_H

#include "core/session/handshake.h"
#include "core/session/noise_internal.h"
#include "core/session/offer.h"

enum { HANDSHAKE_GATE_AT = 32, HANDSHAKE_GATE = 16 }; /* stream_id and sequence of the Net header */

enum handshake_role { HANDSHAKE_INITIATOR = 1, HANDSHAKE_RESPONDER = 2 };

/* A handshake datagram taken apart; everything points into it. */
struct handshake_frame {
    bool routed;
    struct wire_route route; /* when routed */
    const uint8_t *gate;
    struct cspan noise; /* NOISE_EMPTY .. NOISE_EMPTY + OFFER_MAX_PAYLOAD bytes */
};

/* Writes the headers before the Noise message that already stands behind their place (handshake_noise_at), and the gate
 * when gate_key is not NULL. route NULL: direct. Returns the length of the datagram. */
size_t handshake_enframe(struct crypto *, const struct wire_route *route, const uint8_t *gate_key, uint8_t *out,
                         size_t noise_len);
int handshake_unframe(struct cspan datagram, struct handshake_frame *); /* NET_ERR_TRUNCATED, FORMAT */
static inline size_t handshake_noise_at(bool routed)
{
    return (routed ? WIRE_ROUTE : 0) + WIRE_HEADER;
}

void handshake_gate_key(struct crypto *, const uint8_t psk[32], const uint8_t responder_static[32], uint8_t out[32]);
void handshake_gate(struct crypto *, const uint8_t gate_key[32], struct cspan noise, uint8_t out[HANDSHAKE_GATE]);
bool handshake_gate_is_zero(const uint8_t gate[HANDSHAKE_GATE]);

/* Appends our block, signed over h and what stands before ENTITY. Returns the new length of the payload. */
size_t handshake_prove(struct crypto *, const struct handshake_local *, const struct handshake_offer *,
                       enum handshake_role, const uint8_t h[32], uint8_t payload[OFFER_MAX_PAYLOAD], size_t used);
/* The other side's proof, made in `role`, of being `node_id`. 0, NET_ERR_POLICY (it is us), NET_ERR_AUTH. */
int handshake_check(struct crypto *, const struct handshake_local *, const struct offer *, enum handshake_role role,
                    const uint8_t h[32], const uint8_t *payload, uint64_t node_id);

/* The session after msg2. peer->features without FEATURE_SECURE: a v0.19.0 session, and the rest of peer is not read.
 */
void handshake_yield(struct crypto *, const struct noise *, enum handshake_role ours, uint64_t peer_node_id,
                     const struct offer *peer, uint64_t our_features, uint64_t our_receive_id, struct session_params *);

#endif
