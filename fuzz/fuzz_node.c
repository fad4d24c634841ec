/*
 * A whole node against a peer that holds every key and means harm: in the simulator, with a real handshake behind it,
 * the input becomes datagrams out of nowhere, packets sealed under the peer's session, events of our own and time that
 * goes by. Afterwards the node still serves an honest peer and stops in order.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/session/session.h"
#include "shards/peers/peer.h"
#include "tests/sim/mesh/sim_node.h"

enum { MAX_ACTIONS = 64 };

struct input {
    const uint8_t *data;
    size_t len;
};

static uint64_t take(struct input *in, unsigned bytes)
{
    uint64_t v = 0;
    for (; bytes > 0 && in->len > 0; bytes--, in->len--)
        v = v << 8 | *in->data++;
    return v;
}

static struct cspan take_bytes(struct input *in, size_t max)
{
    size_t len = (size_t)take(in, 2);
    if (len > in->len)
        len = in->len;
    if (len > max)
        len = max;
    struct cspan out = {in->data, len};
    in->data += len;
    in->len -= len;
    return out;
}

struct scene {
    struct mesh mesh;
    struct mesh_node *node, *enemy, *friend;
};

static void open_scene(struct scene *s, unsigned shards)
{
    mesh_init(&s->mesh, 1);
    s->node = mesh_add(&s->mesh, shards);
    s->enemy = mesh_add(&s->mesh, 1);
    s->friend = mesh_add(&s->mesh, 1);
    for (unsigned i = 0; i < s->mesh.count; i++)
        s->mesh.nodes[i].config.channel.log = LOG_MEMORY;
    mesh_know(s->node, s->enemy);
    mesh_know(s->enemy, s->node);
    mesh_know(s->friend, s->node);
    mesh_subscribe(s->node, "in", s->enemy);
    mesh_subscribe(s->enemy, "out", s->node);
    for (unsigned i = 0; i < s->mesh.count; i++)
        mesh_start(&s->mesh.nodes[i]);
    bool settled = mesh_settle(&s->mesh, 60 * SIM_S) && mesh_subscribed(s->node, "in", 60 * SIM_S);
    assert(settled);
}

/* The session under which the enemy's own node would send. */
static struct session *enemy_session(struct scene *s, struct crypto **crypto)
{
    struct shard *shard = node_shard(s->enemy->node, 0);
    struct peer *p = peer_find(shard, s->node->node_id);
    *crypto = shard->crypto;
    return p ? link_tx(&p->link) : NULL;
}

static uint64_t choose_stream(struct input *in)
{
    uint8_t which = (uint8_t)take(in, 1);
    if (which > 2)
        return take(in, 8);
    const char *names[] = {"in", "out", "none"};
    return channel_hash(names[which], strlen(names[which]));
}

static void send_sealed(struct scene *s, struct input *in)
{
    static const uint16_t subprotocols[] = {SUBPROTO_EVENTS, SUBPROTO_MEMBERSHIP, SUBPROTO_CREDIT};
    static uint8_t packet[WIRE_MAX_PACKET];
    struct crypto *crypto;
    struct session *session = enemy_session(s, &crypto);
    if (!session)
        return;
    struct wire_header h = {.flags = (uint8_t)take(in, 1)};
    uint8_t kind = (uint8_t)take(in, 1);
    h.subprotocol = kind < 3 ? subprotocols[kind] : (uint16_t)take(in, 2);
    h.stream_id = choose_stream(in);
    h.sequence = take(in, 2);
    h.event_count = (uint16_t)take(in, 2);
    h.frag_flags = (uint8_t)take(in, 1);
    struct cspan text = take_bytes(in, sizeof packet - WIRE_OVERHEAD);
    h.payload_len = (uint16_t)text.len;
    if (text.len)
        memcpy(packet + WIRE_HEADER, text.data, text.len);
    if (session_seal(session, crypto, &h, packet) != NET_OK)
        return;
    struct io_addr from = sim_host_addr(s->enemy->host), to = sim_host_addr(s->node->host);
    sim_inject(s->mesh.sim, &from, &to, (struct cspan){packet, WIRE_OVERHEAD + text.len});
}

static void act(struct scene *s, struct input *in)
{
    struct io_addr enemy = sim_host_addr(s->enemy->host), node = sim_host_addr(s->node->host);
    switch (take(in, 1) & 3) {
    case 0:
        enemy.port = (uint16_t)(enemy.port + (take(in, 1) & 1));
        sim_inject(s->mesh.sim, &enemy, &node, take_bytes(in, 65507));
        break;
    case 1:
        send_sealed(s, in);
        break;
    case 2:
        sim_run_for(s->mesh.sim, take(in, 1) * SIM_MS);
        break;
    case 3:
        mesh_publish(s->node, "out", 1, 0, take(in, 1), false, SIM_MS);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct scene s;
    struct input in = {data, len};
    open_scene(&s, 1 + (unsigned)(take(&in, 1) & 1));
    for (int i = 0; i < MAX_ACTIONS && in.len > 0; i++)
        act(&s, &in);
    sim_run_for(s.mesh.sim, 2 * SIM_S);
    assert(mesh_connected(s.friend, s.node));
    struct mesh_published p = mesh_publish(s.node, "still/there", 1, 0, 10, false, 10 * SIM_S);
    assert(p.err == NET_OK && p.events == 10);
    bool stopped = mesh_stop(s.node, 60 * SIM_S);
    assert(stopped);
    mesh_deinit(&s.mesh);
    return 0;
}
