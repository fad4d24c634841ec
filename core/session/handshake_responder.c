#include "core/base/err.h"
#include "core/session/handshake_internal.h"

int handshake_peek(struct crypto *c, const struct handshake_local *l, struct cspan datagram,
                   struct handshake_hello *hello)
{
    struct handshake_frame f;
    uint8_t gate[HANDSHAKE_GATE];
    int err = handshake_unframe(datagram, &f);
    if (err)
        return err;
    if (f.routed && f.route.dest_id != l->identity->ids.node_id)
        return NET_ERR_FORMAT;
    *hello = (struct handshake_hello){.routed = f.routed,
                                      .src_id = f.routed ? f.route.src_id : 0,
                                      .gate_zero = handshake_gate_is_zero(f.gate),
                                      .ephemeral = f.noise.data,
                                      .noise = f.noise};
    if (hello->gate_zero)
        return NET_OK;
    handshake_gate(c, l->gate_key, f.noise, gate);
    hello->gated = secure_equal(gate, f.gate, sizeof gate);
    return hello->gated ? NET_OK : NET_ERR_AUTH;
}

/* The payload begins with the initiator's node id, except a direct one of v0.19.0, where the candidate has to do: the
 * tag has proven its low half, as it has proven src_id. The offer stands behind it. */
static int read_offer(const struct handshake_hello *hello, uint64_t candidate, struct cspan payload, uint64_t *node_id,
                      struct offer *peer)
{
    struct cspan block = {payload.data + 8, payload.len < 8 ? 0 : payload.len - 8};
    if (hello->routed && payload.len < 8)
        return NET_ERR_FORMAT;
    int err = offer_decode(block, 8, peer);
    if (err)
        return err;
    *node_id = hello->routed || peer->present ? load_le64(payload.data) : candidate;
    bool same = hello->routed ? (uint32_t)*node_id == hello->src_id : *node_id == candidate;
    return same && *node_id != 0 ? NET_OK : NET_ERR_AUTH;
}

static int read_payload(struct crypto *c, const struct handshake_local *l, const struct handshake_hello *hello,
                        uint64_t candidate, const uint8_t h[32], struct cspan payload, struct handshake_claim *claim)
{
    struct offer peer;
    int err = read_offer(hello, candidate, payload, &claim->node_id, &peer);
    if (err)
        return err;
    if (claim->node_id == l->identity->ids.node_id)
        return NET_ERR_POLICY;
    if (!(peer.features & FEATURE_SECURE))
        return NET_OK;
    err = handshake_check(c, l, &peer, HANDSHAKE_INITIATOR, h, payload.data, claim->node_id);
    if (err)
        return err;
    claim->secure = true;
    claim->features = peer.features;
    claim->receive_id = peer.receive_id;
    claim->instance = peer.instance;
    claim->window = peer.window;
    claim->max_datagram = peer.max_datagram;
    memcpy(claim->entity, peer.entity, 32);
    return NET_OK;
}

static int read_msg1(struct noise *n, struct crypto *c, const struct handshake_local *l,
                     const struct handshake_hello *hello, uint64_t candidate, struct handshake_claim *claim)
{
    uint8_t prologue[NOISE_PROLOGUE], h[32], payload[OFFER_MAX_PAYLOAD];
    const uint8_t *noise = hello->noise.data;
    noise_prologue(hello->routed ? hello->src_id : candidate, l->identity->ids.node_id, prologue);
    noise_init(n, c, (struct cspan){prologue, sizeof prologue}, l->static_public);
    noise_psk(n, c, l->psk);
    noise_ephemeral(n, c, noise);
    if (!noise_dh(n, c, l->static_secret, noise))
        return NET_ERR_AUTH;
    memcpy(h, n->h, 32);
    int err = noise_decrypt(n, c, (struct cspan){noise + 32, hello->noise.len - 32}, payload);
    if (err)
        return err;
    struct cspan plain = {payload, hello->noise.len - NOISE_EMPTY};
    return read_payload(c, l, hello, candidate, h, plain, claim);
}

int handshake_read(struct crypto *c, const struct handshake_local *l, const struct handshake_hello *hello,
                   uint64_t candidate, struct handshake_claim *claim)
{
    struct noise n;
    *claim = (struct handshake_claim){.routed = hello->routed, .gated = hello->gated};
    int err = read_msg1(&n, c, l, hello, candidate, claim);
    if (!err) {
        memcpy(claim->h, n.h, 32);
        memcpy(claim->ck, n.ck, 32);
        memcpy(claim->ephemeral, hello->ephemeral, 32);
    } else {
        secure_wipe(claim, sizeof *claim);
    }
    secure_wipe(&n, sizeof n);
    return err;
}

/* Writes the Noise message; its length or a net_err. */
static int write_msg2(struct noise *n, struct crypto *c, const struct handshake_local *l,
                      const struct handshake_claim *claim, const struct handshake_offer *offer,
                      const uint8_t ephemeral_secret[32], uint8_t *out)
{
    uint8_t payload[OFFER_MAX_PAYLOAD];
    size_t len = 0;
    memcpy(n->h, claim->h, 32);
    memcpy(n->ck, claim->ck, 32);
    x25519_public(ephemeral_secret, out);
    noise_ephemeral(n, c, out);
    if (!noise_dh(n, c, ephemeral_secret, claim->ephemeral))
        return NET_ERR_AUTH;
    if (claim->secure)
        len = handshake_prove(c, l, offer, HANDSHAKE_RESPONDER, n->h, payload, 0);
    int err = noise_encrypt(n, c, (struct cspan){payload, len}, out + 32);
    return err ? err : (int)(NOISE_EMPTY + len);
}

int handshake_answer(struct crypto *c, const struct handshake_local *l, const struct handshake_claim *claim,
                     const struct handshake_offer *offer, const uint8_t ephemeral_secret[32], uint8_t *out,
                     struct session_params *result)
{
    struct noise n;
    const struct wire_route route = {
        .ttl = WIRE_TTL_HANDSHAKE, .src_id = (uint32_t)l->identity->ids.node_id, .dest_id = claim->node_id};
    const struct offer peer = {.features = claim->features,
                               .receive_id = claim->receive_id,
                               .instance = claim->instance,
                               .window = claim->window,
                               .max_datagram = claim->max_datagram,
                               .entity = claim->entity};
    int len = write_msg2(&n, c, l, claim, offer, ephemeral_secret, out + handshake_noise_at(claim->routed));
    if (len > 0) {
        uint64_t receive_id = claim->secure ? offer->receive_id : 0;
        handshake_yield(c, &n, HANDSHAKE_RESPONDER, claim->node_id, &peer, l->features, receive_id, result);
        const uint8_t *gate_key = claim->gated ? l->gate_key : NULL;
        len = (int)handshake_enframe(c, claim->routed ? &route : NULL, gate_key, out, (size_t)len);
    }
    secure_wipe(&n, sizeof n);
    return len;
}
