/* Dialling: msg1 with growing patience, for as long as an entry has an address. session.md 6, 7; extensions X0. */
#include "shards/peers/contacts.h"

static const uint64_t FIRST_TIMEOUT_NS = 500000000;

static bool can_dial(const struct contact *c)
{
    return c->entry && c->entry->has_addr && c->entry->has_key;
}

/* Every attempt has a new ephemeral. Early ones are short, so that a neighbour that starts a moment later is found
 * soon. */
static uint64_t attempt_timeout(const struct contact *c)
{
    uint64_t most = c->owner->shard->config->handshake_timeout_ns;
    uint64_t t = c->dial.attempts < 8 ? FIRST_TIMEOUT_NS << c->dial.attempts : most;
    if (t < 4 * c->rtt_ns)
        t = 4 * c->rtt_ns;
    uint32_t jitter;
    io_random(c->owner->shard->io, &jitter, sizeof jitter);
    return (t < most ? t : most) + jitter % 50000000;
}

static void attempt(struct contact *c)
{
    struct shard *s = c->owner->shard;
    struct dial *d = &c->dial;
    struct handshake_target target = {
        .node_id = c->node_id,
        .compat = contact_is_compat(c),
        .mode = contact_is_compat(c) && c->entry->mode == PEER_MODE_DIRECT ? HANDSHAKE_DIRECT : HANDSHAKE_ROUTED,
    };
    struct handshake_offer offer;
    uint8_t ephemeral[32], datagram[HANDSHAKE_MAX_DATAGRAM];
    if (d->sent)
        COUNT(s, handshakes_expired);
    memcpy(target.static_public, c->entry->public_key, sizeof target.static_public);
    contact_offer(c, &offer);
    io_random(s->io, ephemeral, sizeof ephemeral);
    int len = handshake_start(&d->handshake, s->crypto, &s->node->local, &target, &offer, ephemeral, datagram);
    secure_wipe(ephemeral, sizeof ephemeral);
    d->sent = len > 0;
    d->sent_at = s->now;
    if (d->sent) {
        send_handshake(s, &c->entry->addr, datagram, (size_t)len);
        COUNT(s, handshakes_started);
    }
    timer_arm(&s->timers, &d->timer, s->now + attempt_timeout(c));
    uint32_t patience = s->config->handshake_retries ? s->config->handshake_retries : 1;
    if (c->state == PEER_CONNECTING && d->attempts == patience)
        shard_say_about(s, LEVEL_WARN, (struct say_about){.peer = c->node_id, .addr = &c->entry->addr},
                        "%s does not answer, or refuses; going on to try", c->entry->name);
    if (c->state != PEER_CONNECTED)
        c->state = d->attempts < patience ? PEER_CONNECTING : PEER_DOWN;
    d->attempts++;
}

static void on_timer(struct timer *t, uint64_t now)
{
    (void)now;
    struct contact *c = container_of(t, struct contact, dial.timer);
    if (can_dial(c) && c->owner->phase == STOP_NONE)
        attempt(c);
}

void dial_init(struct contact *c)
{
    timer_init(&c->dial.timer, on_timer);
}

void dial_start(struct contact *c)
{
    if (can_dial(c) && !timer_armed(&c->dial.timer))
        attempt(c);
}

void dial_stop(struct contact *c)
{
    timer_cancel(&c->owner->shard->timers, &c->dial.timer);
    handshake_wipe(&c->dial.handshake);
    c->dial.sent = false;
    c->dial.attempts = 0;
}

bool dial_has_precedence(const struct contact *c)
{
    /* For the first attempts only: if ours cannot get through, the other's must. */
    return c->dial.sent && c->dial.attempts <= 2 && !contact_is_compat(c) &&
           c->owner->shard->node->identity.ids.node_id < c->node_id;
}

/* Whether the datagram may answer this contact's attempt. Several entries may have one address, or ids that are alike
 * in their low half. */
static bool may_answer(const struct contact *c, const struct wire_route *route, const struct io_addr *from)
{
    if (!c->dial.sent || (c->dial.handshake.target.mode == HANDSHAKE_ROUTED) != (route != NULL))
        return false;
    if (route)
        return (uint32_t)c->node_id == route->src_id;
    return io_addr_equal(&c->entry->addr, from);
}

static void on_session(struct contact *c, const struct session_params *params, const struct io_addr *from, bool relayed)
{
    struct shard *s = c->owner->shard;
    c->dial.sent = false;
    if (!cipher_allowed(s->node, params->features)) {
        COUNT(s, drop_handshake_policy);
        shard_say_about(s, LEVEL_WARN, (struct say_about){.peer = c->node_id, .addr = from},
                        "the peer answered with a cipher that security.ciphers forbids");
        return; /* the timer tries again: the other end may be restarted with another cipher */
    }
    contact_session(c, params, from, relayed, s->now - c->dial.sent_at);
    /* The home reports when it is confirmed, and that stops the timer; else the next attempt comes. */
    timer_arm(&s->timers, &c->dial.timer, s->now + s->config->handshake_timeout_ns);
}

bool dial_on_datagram(struct contacts *cs, struct cspan datagram, const struct io_addr *from)
{
    struct shard *s = cs->shard;
    struct wire_route decoded;
    const struct wire_route *route = wire_route_decode(datagram, &decoded) == NET_OK ? &decoded : NULL;
    for (struct list *n = cs->all.next; n != &cs->all; n = n->next) {
        struct contact *c = container_of(n, struct contact, in_all);
        struct session_params params;
        if (!may_answer(c, route, from) ||
            handshake_finish(&c->dial.handshake, s->crypto, &s->node->local, datagram, &params) != NET_OK)
            continue; /* forged, late, another's, or a msg1: we keep waiting (session.md 18.4) */
        on_session(c, &params, from, route && route->hop_count > 0);
        secure_wipe(&params, sizeof params);
        return true;
    }
    return false;
}
