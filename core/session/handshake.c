#include "core/session/handshake_internal.h"

#include <assert.h>

#include "core/base/err.h"

void handshake_local_init(struct handshake_local *l, struct crypto *c)
{
    assert(l->features & FEATURE_SECURE);
    x25519_public(l->static_secret, l->static_public);
    handshake_gate_key(c, l->psk, l->static_public, l->gate_key);
}

void handshake_local_deinit(struct handshake_local *l)
{
    secure_wipe(l, sizeof *l);
}

size_t handshake_enframe(struct crypto *c, const struct wire_route *route, const uint8_t *gate_key, uint8_t *out,
                         size_t noise_len)
{
    size_t noise_at = handshake_noise_at(route != NULL);
    uint8_t *header = out + noise_at - WIRE_HEADER;
    const struct wire_header h = {.flags = WIRE_HANDSHAKE, .payload_len = (uint16_t)noise_len};
    if (route)
        wire_route_encode(route, out);
    wire_header_encode(&h, header);
    if (gate_key)
        handshake_gate(c, gate_key, (struct cspan){out + noise_at, noise_len}, header + HANDSHAKE_GATE_AT);
    return noise_at + noise_len;
}

int handshake_unframe(struct cspan datagram, struct handshake_frame *f)
{
    struct wire_header h;
    f->routed = wire_classify(datagram) == WIRE_CLASS_ROUTED;
    if (f->routed) {
        int err = wire_route_decode(datagram, &f->route);
        if (err)
            return err;
        datagram.data += WIRE_ROUTE;
        datagram.len -= WIRE_ROUTE;
    }
    int err = wire_header_decode(datagram, &h);
    if (err)
        return err == NET_ERR_TRUNCATED ? err : NET_ERR_FORMAT;
    if (!(h.flags & WIRE_HANDSHAKE) || (f->routed && (h.flags & WIRE_HEARTBEAT)))
        return NET_ERR_FORMAT;
    f->gate = datagram.data + HANDSHAKE_GATE_AT;
    f->noise = (struct cspan){datagram.data + WIRE_HEADER, datagram.len - WIRE_HEADER};
    if (f->noise.len < NOISE_EMPTY)
        return NET_ERR_TRUNCATED;
    return f->noise.len > NOISE_EMPTY + OFFER_MAX_PAYLOAD ? NET_ERR_FORMAT : NET_OK;
}

void handshake_gate_key(struct crypto *c, const uint8_t psk[32], const uint8_t responder_static[32], uint8_t out[32])
{
    static const uint8_t label[16] = {'n', 'e', 't', '-', 'm', 'e', 's', 'h', ' ', 'g', 'a', 't', 'e', ' ', 'v', '1'};
    struct cspan parts[] = {{label, sizeof label}, {responder_static, 32}};
    blake2s(c, psk, 32, parts, 2, out);
}

void handshake_gate(struct crypto *c, const uint8_t gate_key[32], struct cspan noise, uint8_t out[HANDSHAKE_GATE])
{
    uint8_t hash[32];
    blake2s(c, gate_key, 32, &noise, 1, hash);
    memcpy(out, hash, HANDSHAKE_GATE);
}

bool handshake_gate_is_zero(const uint8_t gate[HANDSHAKE_GATE])
{
    static const uint8_t zero[HANDSHAKE_GATE];
    return memcmp(gate, zero, sizeof zero) == 0;
}

enum { PROOF = 25 + 1 + 32 + 32 };

static void proof_input(struct crypto *c, enum handshake_role role, const uint8_t h[32], struct cspan before,
                        uint8_t out[PROOF])
{
    memcpy(out, "net-mesh session proof v1", 25);
    out[25] = (uint8_t)role;
    memcpy(out + 26, h, 32);
    blake2s(c, NULL, 0, &before, 1, out + 58);
}

size_t handshake_prove(struct crypto *c, const struct handshake_local *l, const struct handshake_offer *o,
                       enum handshake_role role, const uint8_t h[32], uint8_t payload[OFFER_MAX_PAYLOAD], size_t used)
{
    uint8_t input[PROOF];
    size_t entity_at, hashed;
    const struct offer ours = {.features = l->features,
                               .receive_id = o->receive_id,
                               .instance = o->instance,
                               .window = o->window,
                               .max_datagram = o->max_datagram};
    assert(o->receive_id && o->instance);
    assert(o->window >= 65536 && o->window <= UINT32_C(1) << 30);
    assert(o->max_datagram >= 1200 && o->max_datagram <= WIRE_MAX_DATAGRAM);
    size_t len = offer_encode(payload, used, &ours, &entity_at, &hashed);
    proof_input(c, role, h, (struct cspan){payload, hashed}, input);
    memcpy(payload + entity_at, l->identity->entity, 32);
    ed25519_sign(l->identity->seed, (struct cspan){input, sizeof input}, payload + entity_at + 32);
    return len;
}

int handshake_check(struct crypto *c, const struct handshake_local *l, const struct offer *o, enum handshake_role role,
                    const uint8_t h[32], const uint8_t *payload, uint64_t node_id)
{
    uint8_t input[PROOF];
    if (memcmp(o->entity, l->identity->entity, 32) == 0)
        return NET_ERR_POLICY;
    if (identity_ids_of(c, o->entity).node_id != node_id)
        return NET_ERR_AUTH;
    proof_input(c, role, h, (struct cspan){payload, o->entity_tlv_at}, input);
    return ed25519_verify(o->entity, (struct cspan){input, sizeof input}, o->signature) ? NET_OK : NET_ERR_AUTH;
}

/* On when both sent the bit, and what it stands on is on: X6 and X7 name those. */
static uint64_t features_on(uint64_t ours, uint64_t theirs)
{
    uint64_t on = ours & theirs;
    if (!(on & FEATURE_SECURE))
        return 0;
    if (!(on & FEATURE_EPOCHS))
        on &= ~(uint64_t)FEATURE_AES_GCM;
    if (!(on & FEATURE_ACK))
        on &= ~(uint64_t)FEATURE_FOLLOW;
    return on;
}

void handshake_yield(struct crypto *c, const struct noise *n, enum handshake_role ours, uint64_t peer_node_id,
                     const struct offer *peer, uint64_t our_features, uint64_t our_receive_id, struct session_params *p)
{
    uint8_t keys[2][32];
    uint64_t name = load_le64(n->h);
    *p = (struct session_params){.peer_node_id = peer_node_id,
                                 .features = features_on(our_features, peer->features),
                                 .initiator = ours == HANDSHAKE_INITIATOR,
                                 .handshake_name = name};
    if (p->features & FEATURE_SECURE) {
        noise_split(n, c, keys);
        p->rx_id = our_receive_id;
        p->tx_id = peer->receive_id;
        p->peer_instance = peer->instance;
        p->peer_window = peer->window;
        p->peer_max_datagram = peer->max_datagram;
        memcpy(p->peer_entity, peer->entity, 32);
    } else {
        noise_keys_v019(n, c, keys);
        p->rx_id = p->tx_id = name;
        p->peer_window = 65536; /* streams.md 4.1 */
        p->peer_max_datagram = WIRE_MAX_DATAGRAM;
    }
    memcpy(p->tx_key, keys[p->initiator ? 0 : 1], 32);
    memcpy(p->rx_key, keys[p->initiator ? 1 : 0], 32);
    secure_wipe(keys, sizeof keys);
}
