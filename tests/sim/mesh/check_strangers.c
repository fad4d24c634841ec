/* No session between strangers, and none that is called alive from which nothing comes. */
#include "shards/peers/contacts.h"
#include "shards/peers/peer.h"
#include "tests/sim/mesh/check_internal.h"

/* As the scenario has it, or as the node does: while a change is being saved they differ, and where saving fails for
 * longer. */
static bool has_entry(const struct mesh_node *m, const struct mesh_node *other)
{
    const struct contact *contact = contact_find(node_shard(m->node, 0)->contacts, other->node_id);
    if (contact && contact->entry)
        return true;
    for (size_t i = 0; i < m->peer_count; i++)
        if (m->peers[i].node_id == other->node_id)
            return true;
    return false;
}

static const char *why_strangers(const struct mesh_node *m, const struct mesh_node *other, const struct session *s)
{
    if (!other)
        return "which is none of this mesh";
    if (memcmp(m->secrets.psk, other->secrets.psk, sizeof m->secrets.psk) != 0)
        return "which has another psk";
    if (s->p.peer_node_id != other->node_id)
        return "in whose place another one is";
    if (m->config.peers == PEERS_LISTED && !has_entry(m, other))
        return "of which it has no entry, and only listed peers are let in";
    if (s->p.initiator && !has_entry(m, other))
        return "which it dialled without an entry";
    return NULL;
}

static bool check_slot(struct check *c, const struct mesh_node *m, const struct peer *p, const struct link_slot *slot)
{
    if (!slot->used)
        return true;
    struct mesh_node *other = check_by_id(c, p->node_id);
    const char *why = why_strangers(m, other, &slot->session);
    if (why)
        return check_fail(c, "node %u has a session with node %016lx, %s", m->number, p->node_id, why);
    if (session_secure(&slot->session)) {
        /* The other end of it, where that is still there: the same keys, crossed. */
        struct peer *q = other->node ? mesh_peer(other, m) : NULL;
        struct session *far = q ? link_find(&q->link, slot->session.p.tx_id) : NULL;
        if (far && far->p.handshake_name == slot->session.p.handshake_name &&
            (far->p.tx_id != slot->session.p.rx_id || far->p.initiator == slot->session.p.initiator))
            return check_fail(c, "node %u and node %u disagree about their session %016lx", m->number, other->number,
                              far->p.handshake_name);
    }
    return true;
}

/* X1: a peer that is silent for 3 x session_timeout is no longer there. */
static bool check_silence(struct check *c, const struct mesh_node *m, const struct peer *p)
{
    const struct link_config *config = p->link.config;
    uint64_t patience = 3 * config->session_timeout_ns + config->heartbeat_interval_ns + SIM_S;
    if (!p->reported_connected || p->shard->now < p->link.last_rx + patience)
        return true;
    return check_fail(c, "node %u calls node %016lx connected, which was last heard %lu ms ago", m->number, p->node_id,
                      (p->shard->now - p->link.last_rx) / SIM_MS);
}

bool check_strangers(struct check *c, struct check_node *n)
{
    check_each_shard(n->m, s)
    {
        for (struct list *at = s->peer_list.next; at != &s->peer_list; at = at->next) {
            const struct peer *p = container_of(at, struct peer, in_shard);
            if (!check_slot(c, n->m, p, &p->link.current) || !check_slot(c, n->m, p, &p->link.next) ||
                !check_slot(c, n->m, p, &p->link.previous) || !check_silence(c, n->m, p))
                return false;
        }
    }
    return true;
}
