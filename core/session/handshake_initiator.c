#include <assert.h>

#include "core/base/err.h"
#include "core/session/handshake_internal.h"

/* msg1's payload: our node id in routed mode, and behind it the offer when the target is ours. */
static size_t write_payload(const struct handshake *hs, struct crypto *c, const struct handshake_local *l,
                            const uint8_t h[32], uint8_t payload[OFFER_MAX_PAYLOAD])
{
    size_t len = 0;
    if (hs->target.mode == HANDSHAKE_ROUTED) {
        store_le64(payload, l->identity->ids.node_id);
        len = 8;
    }
    return hs->target.compat ? len : handshake_prove(c, l, &hs->offer, HANDSHAKE_INITIATOR, h, payload, len);
}

/* Writes the Noise message; its length or a net_err. */
static int write_msg1(struct handshake *hs, struct noise *n, struct crypto *c, const struct handshake_local *l,
                      uint8_t *out)
{
    uint8_t prologue[NOISE_PROLOGUE], payload[OFFER_MAX_PAYLOAD];
    noise_prologue(l->identity->ids.node_id, hs->target.node_id, prologue);
    noise_init(n, c, (struct cspan){prologue, sizeof prologue}, hs->target.static_public);
    noise_psk(n, c, l->psk);
    x25519_public(hs->ephemeral_secret, out);
    noise_ephemeral(n, c, out);
    if (!noise_dh(n, c, hs->ephemeral_secret, hs->target.static_public))
        return NET_ERR_INVALID;
    size_t len = write_payload(hs, c, l, n->h, payload);
    int err = noise_encrypt(n, c, (struct cspan){payload, len}, out + 32);
    return err ? err : (int)(NOISE_EMPTY + len);
}

int handshake_start(struct handshake *hs, struct crypto *c, const struct handshake_local *l,
                    const struct handshake_target *target, const struct handshake_offer *offer,
                    const uint8_t ephemeral_secret[32], uint8_t *out)
{
    assert(target->compat || target->mode == HANDSHAKE_ROUTED); /* X0 */
    struct noise n;
    bool routed = target->mode == HANDSHAKE_ROUTED;
    const struct wire_route route = {
        .ttl = WIRE_TTL_HANDSHAKE, .src_id = (uint32_t)l->identity->ids.node_id, .dest_id = target->node_id};
    *hs = (struct handshake){.target = *target, .offer = *offer};
    memcpy(hs->ephemeral_secret, ephemeral_secret, 32);
    handshake_gate_key(c, l->psk, target->static_public, hs->gate_key);
    int len = write_msg1(hs, &n, c, l, out + handshake_noise_at(routed));
    if (len > 0) {
        memcpy(hs->h, n.h, 32);
        memcpy(hs->ck, n.ck, 32);
        const uint8_t *gate_key = target->compat ? NULL : hs->gate_key;
        len = (int)handshake_enframe(c, routed ? &route : NULL, gate_key, out, (size_t)len);
    } else {
        handshake_wipe(hs);
    }
    secure_wipe(&n, sizeof n);
    return len;
}

/* Is it for us, from the target, and did it pass the gate? No key is touched before all that. */
static int look(const struct handshake *hs, struct crypto *c, const struct handshake_local *l, struct cspan datagram,
                struct handshake_frame *f)
{
    int err = handshake_unframe(datagram, f);
    if (err)
        return err;
    if (f->routed != (hs->target.mode == HANDSHAKE_ROUTED))
        return NET_ERR_FORMAT;
    if (f->routed && (f->route.dest_id != l->identity->ids.node_id || f->route.src_id != (uint32_t)hs->target.node_id))
        return NET_ERR_FORMAT;
    if (hs->target.compat)
        return handshake_gate_is_zero(f->gate) ? NET_OK : NET_ERR_AUTH;
    uint8_t gate[HANDSHAKE_GATE];
    handshake_gate(c, hs->gate_key, f->noise, gate);
    return secure_equal(gate, f->gate, sizeof gate) ? NET_OK : NET_ERR_AUTH;
}

/* What the target offered: from v0.19.0 nothing, whatever its payload holds; a node of ours must prove itself. */
static int read_offer(const struct handshake *hs, struct crypto *c, const struct handshake_local *l,
                      const uint8_t h[32], struct cspan payload, struct offer *peer)
{
    *peer = (struct offer){0};
    if (hs->target.compat)
        return NET_OK;
    int err = offer_decode(payload, 0, peer);
    if (err)
        return err;
    if (!(peer->features & FEATURE_SECURE))
        return NET_ERR_POLICY;
    return handshake_check(c, l, peer, HANDSHAKE_RESPONDER, h, payload.data, hs->target.node_id);
}

static int read_msg2(const struct handshake *hs, struct noise *n, struct crypto *c, const struct handshake_local *l,
                     struct cspan noise, struct session_params *result)
{
    uint8_t h[32], payload[OFFER_MAX_PAYLOAD];
    struct offer peer;
    memcpy(n->h, hs->h, 32);
    memcpy(n->ck, hs->ck, 32);
    noise_ephemeral(n, c, noise.data);
    if (!noise_dh(n, c, hs->ephemeral_secret, noise.data))
        return NET_ERR_AUTH;
    memcpy(h, n->h, 32);
    int err = noise_decrypt(n, c, (struct cspan){noise.data + 32, noise.len - 32}, payload);
    if (!err)
        err = read_offer(hs, c, l, h, (struct cspan){payload, noise.len - NOISE_EMPTY}, &peer);
    if (!err)
        handshake_yield(c, n, HANDSHAKE_INITIATOR, hs->target.node_id, &peer, l->features, hs->offer.receive_id,
                        result);
    return err;
}

int handshake_finish(struct handshake *hs, struct crypto *c, const struct handshake_local *l, struct cspan datagram,
                     struct session_params *result)
{
    struct handshake_frame f;
    struct noise n;
    int err = look(hs, c, l, datagram, &f);
    if (err)
        return err;
    err = read_msg2(hs, &n, c, l, f.noise, result);
    secure_wipe(&n, sizeof n);
    if (!err)
        handshake_wipe(hs);
    return err;
}

void handshake_wipe(struct handshake *hs)
{
    secure_wipe(hs, sizeof *hs);
}
