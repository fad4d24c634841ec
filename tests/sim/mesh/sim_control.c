/* What the admin port would ask of a node, and what an attacker with its keys would send: for whole-node tests. */
#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "shards/peers/peer.h"
#include "tests/sim/mesh/sim_node.h"

struct ask {
    struct control_request request;
    const struct mesh_node *of;
    bool done;
    int err;
};

static void on_done(struct control_request *r, int err, const char *message)
{
    (void)message;
    struct ask *ask = container_of(r, struct ask, request);
    ask->done = true;
    ask->err = err;
}

static bool asking(void *ctx)
{
    const struct ask *ask = ctx;
    return !ask->done && ask->of->node;
}

static int answer(struct mesh_node *m, struct ask *ask)
{
    ask->of = m;
    sim_host_poke(m->host, 0);
    (void)sim_run_while(m->mesh->sim, asking, ask, 120 * SIM_S);
    if (ask->done)
        return ask->err;
    if (m->node) /* else it died over it */
        node_request_cancel(m->node, &ask->request);
    return NET_ERR_TIMEOUT;
}

static struct channel_name name_of(const char *channel)
{
    struct channel_name name;
    bool valid = channel_name_parse(channel, strlen(channel), &name) == CHANNEL_NAME_OK;
    assert(valid);
    return name;
}

int mesh_ask_subscribe(struct mesh_node *m, const char *channel, const struct mesh_node *from, uint64_t timeout_ns)
{
    struct ask ask = {.request.done = on_done};
    struct subscribe_ask want = {.channel = name_of(channel), .peer = from->node_id, .mode = SUBSCRIBE_LIVE};
    node_subscribe(m->node, &want, timeout_ns, &ask.request);
    return answer(m, &ask);
}

int mesh_ask_follow(struct mesh_node *m, const char *channel, const struct mesh_node *from,
                    enum subscription_start start, uint64_t sequence, uint64_t timeout_ns, bool *live)
{
    struct ask ask = {.request.done = on_done};
    struct subscribe_ask want = {
        .channel = name_of(channel), .peer = from->node_id, .start = start, .sequence = sequence};
    node_subscribe(m->node, &want, timeout_ns, &ask.request);
    int err = answer(m, &ask);
    *live = ask.request.live;
    return err;
}

int mesh_ask_unsubscribe(struct mesh_node *m, const char *channel, const struct mesh_node *from, uint64_t timeout_ns)
{
    struct ask ask = {.request.done = on_done};
    struct channel_name name = name_of(channel);
    node_unsubscribe(m->node, &name, from->node_id, timeout_ns, &ask.request);
    return answer(m, &ask);
}

static struct peer_entry *entry_of(struct mesh_node *m, const struct mesh_node *other)
{
    struct peer_entry *e = m->peers;
    while (e < m->peers + m->peer_count && e->node_id != other->node_id)
        e++;
    assert(e < m->peers + m->peer_count);
    return e;
}

int mesh_ask_remove(struct mesh_node *m, const struct mesh_node *other)
{
    struct ask ask = {.request.done = on_done};
    node_peer_remove(m->node, entry_of(m, other)->name, &ask.request);
    return answer(m, &ask);
}

int mesh_ask_add(struct mesh_node *m, const struct mesh_node *other)
{
    struct ask ask = {.request.done = on_done};
    node_peer_add(m->node, entry_of(m, other), &ask.request);
    return answer(m, &ask);
}

struct peer *mesh_peer(struct mesh_node *m, const struct mesh_node *other)
{
    struct peer *p = NULL;
    for (unsigned i = 0; i < m->config.shards && !p; i++)
        p = peer_find(node_shard(m->node, i), other->node_id);
    return p;
}

bool mesh_send_sealed(struct mesh_node *m, const struct mesh_node *to, struct wire_header h, struct cspan plaintext)
{
    uint8_t packet[WIRE_MAX_PACKET];
    struct peer *p = mesh_peer(m, to);
    struct session *session = p ? link_tx(&p->link) : NULL;
    assert(plaintext.len <= sizeof packet - WIRE_OVERHEAD);
    if (!session)
        return false;
    h.payload_len = (uint16_t)plaintext.len;
    memcpy(packet + WIRE_HEADER, plaintext.data, plaintext.len);
    if (session_seal(session, p->shard->crypto, &h, packet) != NET_OK)
        return false;
    struct io_addr from = sim_host_addr(m->host), at = sim_host_addr(to->host);
    sim_inject(m->mesh->sim, &from, &at, (struct cspan){packet, WIRE_OVERHEAD + plaintext.len});
    return true;
}
