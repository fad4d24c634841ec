/* Answering msg1: the gate and the guards first, then the Noise, then who it is, then msg2. */
#include "shards/peers/contacts.h"
#include "shards/transport/transmit.h"

void send_handshake(struct shard *s, const struct io_addr *to, const uint8_t *datagram, size_t len)
{
    struct tx_buffer *b = transmit_get(s, false);
    if (!b) {
        COUNT(s, drop_send);
        return;
    }
    memcpy(b->data, datagram, len);
    transmit_send(s, b, to, len, 0, 1);
}

/* Anybody may send these, in any number: the address is formatted only for the few that are said. */
#define SAY_REFUSED(cs, from, why)                                                                                     \
    shard_say_about((cs)->shard, LEVEL_WARN, (struct say_about){.addr = (from)}, "refused a handshake: " why)

static bool at_addr(const struct contact *c, const struct io_addr *from)
{
    return c->entry->has_addr && io_addr_equal(&c->entry->addr, from);
}

/* A v0.19.0 entry that a direct msg1 from `from` may come from: the one at that address, or one that is inbound only.
 */
static bool direct_candidate(const struct contact *c, const struct io_addr *from)
{
    return contact_is_compat(c) && (at_addr(c, from) || (!c->entry->has_addr && c->entry->mode == PEER_MODE_DIRECT));
}

/* X0: zeros pass only where policy expects a v0.19.0 node. */
static bool ungated_allowed(struct contacts *cs, const struct handshake_hello *hello, const struct io_addr *from)
{
    if (cs->shard->config->sessions == SESSIONS_COMPAT)
        return true;
    for (struct list *n = cs->all.next; n != &cs->all; n = n->next) {
        const struct contact *c = container_of(n, struct contact, in_all);
        if (hello->routed ? contact_is_compat(c) && (uint32_t)c->node_id == hello->src_id : direct_candidate(c, from))
            return true;
    }
    return false;
}

static int read_direct(struct contacts *cs, const struct handshake_hello *hello, const struct io_addr *from,
                       struct handshake_claim *claim)
{
    struct shard *s = cs->shard;
    for (struct list *n = cs->all.next; n != &cs->all; n = n->next) {
        const struct contact *c = container_of(n, struct contact, in_all);
        if (direct_candidate(c, from) && handshake_read(s->crypto, &s->node->local, hello, c->node_id, claim) == NET_OK)
            return NET_OK;
    }
    return NET_ERR_AUTH;
}

/* Who may have a session here, and of which kind. */
static bool claim_allowed(struct contacts *cs, const struct handshake_claim *claim)
{
    const struct config *config = cs->shard->config;
    const struct contact *c = contact_find(cs, claim->node_id);
    bool listed = c && c->entry;
    if (claim->node_id == cs->shard->node->identity.ids.node_id || claim->node_id == 0)
        return false;
    if (!listed && config->peers == PEERS_LISTED)
        return false;
    if (!cipher_allowed(cs->shard->node, claim->features))
        return false;
    if (claim->secure)
        return true;
    /* An entry that is not marked is one of ours: it is never talked down, whatever the mesh as a whole allows. */
    return listed ? c->entry->compat == PEER_V019 : config->sessions == SESSIONS_COMPAT;
}

static bool passes_guards(struct contacts *cs, const struct handshake_hello *hello, const struct io_addr *from)
{
    struct shard *s = cs->shard;
    const struct config *config = s->config;
    if (!hello->gated && !(hello->gate_zero && ungated_allowed(cs, hello, from))) {
        COUNT(s, drop_gate);
        SAY_REFUSED(cs, from, "without the secure extension, and no entry expects that (security.sessions)");
        return false;
    }
    /* First of all: anybody can send a recorded msg1 under its address, and must not use up what its owner may send. */
    if (guard_ephemeral_seen(&cs->guard, hello->ephemeral)) {
        COUNT(s, drop_handshake_replay);
        return false;
    }
    if (!guard_source_ok(&cs->guard, s->now, from, config->max_handshakes_per_source)) {
        COUNT(s, drop_handshake_rate);
        SAY_REFUSED(cs, from, "too many from its address (limits.handshakes_per_source)");
        return false;
    }
    guard_ephemeral_remember(&cs->guard, hello->ephemeral);
    if (!guard_pending_ok(&cs->guard, s->now, config->handshake_timeout_ns)) {
        COUNT(s, drop_handshake_pending);
        SAY_REFUSED(cs, from, "too many are under way (limits.pending_handshakes)");
        return false;
    }
    return true;
}

static void answer(struct contacts *cs, const struct handshake_claim *claim, const struct io_addr *from, bool relayed)
{
    struct shard *s = cs->shard;
    int err;
    struct contact *c = contact_get(cs, claim->node_id, &err);
    if (!c && err == NET_ERR_LIMIT) {
        COUNT(s, drop_peer_limit);
        SAY_REFUSED(cs, from, "no room for another peer (limits.peers)");
        return;
    }
    if (!c) {
        COUNT(s, drop_no_memory);
        return;
    }
    struct handshake_offer offer;
    struct session_params params;
    uint8_t ephemeral[32], datagram[HANDSHAKE_MAX_DATAGRAM];
    contact_offer(c, &offer);
    io_random(s->io, ephemeral, sizeof ephemeral);
    int len = handshake_answer(s->crypto, &s->node->local, claim, &offer, ephemeral, datagram, &params);
    secure_wipe(ephemeral, sizeof ephemeral);
    if (len < 0) {
        COUNT(s, drop_handshake);
        return;
    }
    contact_session(c, &params, from, relayed, 0);
    secure_wipe(&params, sizeof params);
    send_handshake(s, from, datagram, (size_t)len);
    COUNT(s, handshakes_answered);
}

void answer_on_datagram(struct contacts *cs, struct cspan datagram, const struct io_addr *from)
{
    struct shard *s = cs->shard;
    struct handshake_hello hello;
    struct handshake_claim claim;
    struct wire_route route;
    int err = handshake_peek(s->crypto, &s->node->local, datagram, &hello);
    if (err) {
        if (err == NET_ERR_AUTH) {
            COUNT(s, drop_gate);
            SAY_REFUSED(cs, from, "it has another psk, or another public key of this node");
        } else {
            COUNT(s, drop_handshake);
            SAY_REFUSED(cs, from, "it is malformed");
        }
        return;
    }
    if (!passes_guards(cs, &hello, from))
        return;
    bool relayed = hello.routed && wire_route_decode(datagram, &route) == NET_OK && route.hop_count > 0;
    err = hello.routed ? handshake_read(s->crypto, &s->node->local, &hello, 0, &claim)
                       : read_direct(cs, &hello, from, &claim);
    if (err) {
        COUNT(s, drop_handshake);
        SAY_REFUSED(cs, from, "it does not prove what it claims");
        return;
    }
    const struct contact *c = contact_find(cs, claim.node_id);
    if (!claim_allowed(cs, &claim)) {
        COUNT(s, drop_handshake_policy);
        shard_say_about(s, LEVEL_WARN, (struct say_about){.peer = claim.node_id, .addr = from},
                        "refused a handshake: the configuration does not let this peer in, or not with its cipher or "
                        "kind of session");
    } else if (c && dial_has_precedence(c)) {
        COUNT(s, handshakes_superseded); /* both dial, and ours goes on */
    } else {
        answer(cs, &claim, from, relayed);
    }
    secure_wipe(&claim, sizeof claim);
}
