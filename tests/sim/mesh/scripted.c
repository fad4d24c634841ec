#include "tests/sim/mesh/scripted.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/node/shard.h"
#include "tests/sim/world/bare.h"

static void keep_raw(struct scripted *p, const uint8_t *datagram, size_t len)
{
    memcpy(p->last, datagram, len);
    p->last_len = len;
}

static void begin_session(struct scripted *p, const struct session_params *params)
{
    if (p->has_session)
        session_deinit(&p->session, p->crypto);
    session_init(&p->session, params);
    p->has_session = true;
}

static void on_handshake(struct scripted *p)
{
    struct session_params params;
    struct cspan datagram = {p->last, p->last_len};
    uint8_t out[HANDSHAKE_MAX_DATAGRAM];
    if (p->dialling && handshake_finish(&p->attempt, p->crypto, &p->local, datagram, &params) == NET_OK) {
        begin_session(p, &params);
        p->dialling = false;
    } else if (p->answers) {
        scripted_inject(p, scripted_msg2(p, out));
    }
}

static void hear(struct scripted *p, const uint8_t *datagram, size_t len)
{
    struct heard h = {.datagram_len = len, .at = sim_now(p->mesh->sim)};
    uint8_t packet[WIRE_MAX_DATAGRAM];
    size_t at = 0;
    if (wire_classify((struct cspan){datagram, len}) == WIRE_CLASS_ROUTED) {
        h.routed = wire_route_decode((struct cspan){datagram, len}, &h.route) == NET_OK;
        at = WIRE_ROUTE;
    }
    memcpy(packet, datagram + at, len - at);
    int err = wire_header_decode((struct cspan){packet, len - at}, &h.header);
    if (!err && (h.header.flags & WIRE_HANDSHAKE)) {
        keep_raw(p, datagram, len);
        p->handshakes++;
        p->msg1_at = h.at;
        on_handshake(p);
        return;
    }
    if (err || !p->has_session || session_open(&p->session, p->crypto, &h.header, packet, len - at) != NET_OK) {
        keep_raw(p, datagram, len);
        p->unopened++;
        return;
    }
    h.text_len = h.header.payload_len;
    h.text = malloc(h.text_len + 1);
    assert(h.text && p->heard_count < SCRIPTED_MAX_HEARD);
    memcpy(h.text, packet + WIRE_HEADER, h.text_len);
    p->heard[p->heard_count++] = h;
}

static void on_arrival(struct io_op *op, int32_t res)
{
    struct scripted *p = container_of(op, struct scripted, recv);
    const struct io_arrival *a = &op->arrival;
    if (res < 0)
        return;
    for (size_t at = 0; at < a->len; at += a->segment)
        hear(p, a->data + at, a->len - at < a->segment ? a->len - at : a->segment);
    if (!op->more)
        io_submit(p->io, op);
}

static void random_bytes(struct scripted *p, void *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)(sim_random(p->mesh->sim) >> 32);
}

void scripted_init(struct scripted *p, struct mesh *mesh, struct mesh_node *node, bool compat)
{
    uint8_t seed[32];
    *p = (struct scripted){.mesh = mesh, .node = node, .compat = compat};
    int err = crypto_init(&p->crypto, NULL);
    assert(err == NET_OK);
    do
        random_bytes(p, seed, sizeof seed);
    while (identity_init(&p->identity, p->crypto, seed) != NET_OK);
    p->local = (struct handshake_local){
        .identity = &p->identity,
        .features = FEATURE_SECURE | FEATURE_RELAYED | FEATURE_EPOCHS,
    };
    random_bytes(p, p->local.static_secret, 32);
    memcpy(p->local.psk, mesh->psk, 32);
    handshake_local_init(&p->local, p->crypto);
    p->offer = (struct handshake_offer){.window = 65536, .max_datagram = WIRE_MAX_DATAGRAM};
    random_bytes(p, &p->offer.instance, sizeof p->offer.instance);
    p->host = bare_host(mesh->sim, 1, &p->io);
    p->recv = (struct io_op){.kind = IO_UDP_RECV, .done = on_arrival, .handle = p->io->udp};
    io_submit(p->io, &p->recv);
}

void scripted_deinit(struct scripted *p)
{
    for (size_t i = 0; i < p->heard_count; i++)
        free(p->heard[i].text);
    if (p->has_session)
        session_deinit(&p->session, p->crypto);
    crypto_deinit(p->crypto);
}

struct peer_entry *scripted_list(struct scripted *p, bool listen_only)
{
    struct peer_entry *e = mesh_add_entry(p->node);
    *e = (struct peer_entry){.node_id = p->identity.ids.node_id, .compat = p->compat ? PEER_V019 : PEER_OURS};
    text_format(e->name, sizeof e->name, "scripted-%zu", p->node->peer_count);
    if (!listen_only) {
        e->has_addr = e->has_key = true;
        e->addr = sim_host_addr(p->host);
        memcpy(e->public_key, p->local.static_public, 32);
    }
    return e;
}

struct cspan scripted_msg1(struct scripted *p, enum handshake_mode mode, uint8_t *out)
{
    struct handshake_target target = {.node_id = p->node->node_id, .compat = p->compat, .mode = mode};
    uint8_t ephemeral[32];
    memcpy(target.static_public, p->node->public_key, 32);
    random_bytes(p, ephemeral, sizeof ephemeral);
    random_bytes(p, &p->offer.receive_id, sizeof p->offer.receive_id);
    int len = handshake_start(&p->attempt, p->crypto, &p->local, &target, &p->offer, ephemeral, out);
    assert(len > 0);
    p->dialling = true;
    return (struct cspan){out, (size_t)len};
}

static bool dialling(void *ctx)
{
    const struct scripted *p = ctx;
    return p->dialling;
}

bool scripted_dial(struct scripted *p, enum handshake_mode mode)
{
    uint8_t datagram[HANDSHAKE_MAX_DATAGRAM];
    scripted_inject(p, scripted_msg1(p, mode, datagram));
    bool answered = sim_run_while(p->mesh->sim, dialling, p, 200 * SIM_MS);
    p->dialling = false;
    return answered;
}

static bool not_connected(void *ctx)
{
    bool known;
    return scripted_state(ctx, &known) != PEER_CONNECTED;
}

void scripted_connect(struct scripted *p)
{
    bool dialled = scripted_dial(p, HANDSHAKE_ROUTED);
    assert(dialled);
    scripted_heartbeat(p);
    bool connected = sim_run_while(p->mesh->sim, not_connected, p, 200 * SIM_MS);
    assert(connected);
    sim_run_for(p->mesh->sim, SIM_MS);
}

struct cspan scripted_msg2(struct scripted *p, uint8_t *out)
{
    struct cspan msg1 = {p->last, p->last_len};
    struct handshake_hello hello;
    struct handshake_claim claim;
    struct session_params params;
    uint8_t ephemeral[32];
    if (handshake_peek(p->crypto, &p->local, msg1, &hello) != NET_OK ||
        handshake_read(p->crypto, &p->local, &hello, p->node->node_id, &claim) != NET_OK)
        return (struct cspan){0};
    random_bytes(p, ephemeral, sizeof ephemeral);
    random_bytes(p, &p->offer.receive_id, sizeof p->offer.receive_id);
    int len = handshake_answer(p->crypto, &p->local, &claim, &p->offer, ephemeral, out, &params);
    assert(len > 0);
    begin_session(p, &params);
    return (struct cspan){out, (size_t)len};
}

static size_t seal_at(struct scripted *p, struct wire_header h, struct cspan text, uint8_t *at)
{
    h.payload_len = (uint16_t)text.len;
    if (text.len)
        memcpy(at + WIRE_HEADER, text.data, text.len);
    int err = session_seal(&p->session, p->crypto, &h, at);
    assert(err == NET_OK);
    return WIRE_OVERHEAD + text.len;
}

struct cspan scripted_seal(struct scripted *p, struct wire_header h, struct cspan text, uint8_t *out)
{
    return (struct cspan){out, seal_at(p, h, text, out)};
}

struct cspan scripted_seal_routed(struct scripted *p, struct wire_header h, struct cspan text, uint8_t *out)
{
    const struct wire_route route = {
        .ttl = WIRE_TTL_DATA, .src_id = (uint32_t)p->identity.ids.node_id, .dest_id = p->node->node_id};
    wire_route_encode(&route, out);
    return (struct cspan){out, WIRE_ROUTE + seal_at(p, h, text, out + WIRE_ROUTE)};
}

void scripted_inject(struct scripted *p, struct cspan datagram)
{
    struct io_addr from = sim_host_addr(p->host), to = sim_host_addr(p->node->host);
    sim_inject(p->mesh->sim, &from, &to, datagram);
}

void scripted_send(struct scripted *p, struct wire_header h, struct cspan text)
{
    uint8_t datagram[WIRE_MAX_DATAGRAM];
    scripted_inject(p, scripted_seal(p, h, text, datagram));
}

void scripted_heartbeat(struct scripted *p)
{
    scripted_send(p, (struct wire_header){.flags = WIRE_HEARTBEAT}, (struct cspan){0});
}

const struct wire_header membership_header = {
    .subprotocol = SUBPROTO_MEMBERSHIP, .stream_id = SUBPROTO_MEMBERSHIP, .event_count = 1};

struct cspan message_frame(enum membership_type type, const char *channel, uint64_t nonce, uint8_t out[MESSAGE_FRAME])
{
    struct membership m = {.type = type, .nonce = nonce};
    enum channel_name_error err = channel_name_parse(channel, strlen(channel), &m.channel);
    assert(err == CHANNEL_NAME_OK);
    int len = membership_encode(&m, out + 4, MEMBERSHIP_MAX_SENT);
    assert(len > 0);
    store_le32(out, (uint32_t)len);
    return (struct cspan){out, 4 + (size_t)len};
}

const struct heard *scripted_next(const struct scripted *p, size_t *at, heard_fn *want)
{
    while (*at < p->heard_count) {
        const struct heard *h = &p->heard[(*at)++];
        if (want(h))
            return h;
    }
    return NULL;
}

size_t scripted_count(const struct scripted *p, size_t from, heard_fn *want)
{
    size_t count = 0;
    while (scripted_next(p, &from, want))
        count++;
    return count;
}

bool heard_heartbeat(const struct heard *h)
{
    return (h->header.flags & WIRE_HEARTBEAT) != 0;
}

bool heard_membership(const struct heard *h)
{
    return h->header.subprotocol == SUBPROTO_MEMBERSHIP;
}

bool heard_credit(const struct heard *h)
{
    return h->header.subprotocol == SUBPROTO_CREDIT;
}

bool heard_events(const struct heard *h)
{
    return h->header.subprotocol == SUBPROTO_EVENTS && !heard_heartbeat(h);
}

struct look {
    uint64_t node_id;
    enum peer_state state;
    bool known;
};

static void on_peer(void *ctx, const struct peer_row *row)
{
    struct look *look = ctx;
    if (row->node_id != look->node_id)
        return;
    look->state = row->state;
    look->known = true;
}

enum peer_state scripted_state(struct scripted *p, bool *known)
{
    struct look look = {.node_id = p->identity.ids.node_id, .state = PEER_DOWN};
    node_each_peer(p->node->node, on_peer, &look);
    *known = look.known;
    return look.state;
}

bool scripted_connected(struct scripted *p)
{
    bool known;
    return scripted_state(p, &known) == PEER_CONNECTED;
}

int mesh_publish_size(struct mesh_node *m, const char *channel, size_t len)
{
    uint8_t frame[4 + WIRE_MAX_DATAGRAM] = {0};
    assert(len <= WIRE_MAX_DATAGRAM);
    store_le32(frame, (uint32_t)len);
    unsigned owner = netmesh_owner(node_shard(m->node, 0)->face, channel);
    int err = netmesh_publish(node_shard(m->node, owner)->face, channel, frame, 4 + len, 1);
    sim_host_poke(m->host, owner);
    return err;
}
