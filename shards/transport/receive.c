/* The way in: arrivals are split into datagrams, classified (wire.md 1.1), matched to a session, opened, dispatched. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/channel/append.h"
#include "shards/channels/append.h"
#include "shards/peers/contacts.h"
#include "shards/channels/follow.h"
#include "shards/transport/fragments.h"
#include "shards/logs/log.h"
#include "shards/node/mailbox.h"
#include "shards/peers/membership.h"
#include "shards/transport/receive.h"
#include "shards/transport/user_stream.h"

/* A peer whose session this datagram names, on this shard. */
static struct peer *peer_of(struct shard *s, uint64_t session_id)
{
    return map_get(&s->sessions, session_id);
}

/* Not ours: to the shard the id steers to, or that a v0.19 session was announced for. */
static void pass_on(struct shard *s, uint64_t session_id, const uint8_t *datagram, size_t len,
                    const struct io_addr *from, bool forwarded)
{
    uintptr_t foreign = (uintptr_t)map_get(&s->foreign, session_id);
    unsigned to = foreign ? (unsigned)(foreign - 1) : wire_steer_id(session_id, s->node->shard_count);
    if (to == s->index || (forwarded && !foreign)) {
        COUNT(s, drop_session);
        return;
    }
    if (mailbox_try(s, to, MSG_DATAGRAM, 0, 0, from, sizeof *from, datagram, len))
        COUNT(s, passed_on);
    else
        COUNT(s, drop_ring_full);
}

/* Events to the hooks and to the owner of the channel's log. `given`: where they stand, if it is memory of their own.
 * False: no room for them. */
static bool hand_on(struct peer *p, const struct msg_received *m, struct cspan frames, uint8_t *given)
{
    struct shard *s = p->shard;
    COUNT_N(s, rx_events, m->count);
    p->rx_events += m->count;
    const struct netmesh_hooks *hooks = &s->node->options.hooks;
    if (hooks->on_events) {
        struct netmesh_events e = {m->hash, p->node_id, frames.data, frames.len, m->count};
        hooks->on_events(hooks->ctx, s->face, &e);
    }
    unsigned owner = log_owner(s->node, m->hash);
    bool sent = true, by_reference = given && owner != s->index && frames.len > MAILBOX_COPIED;
    if (owner == s->index)
        log_on_received(s, s->index, m, frames);
    else if (by_reference)
        sent = mailbox_give(s, owner, MSG_RECEIVED, 0, m, sizeof *m, given, frames.len);
    else
        sent = mailbox_try(s, owner, MSG_RECEIVED, 0, 0, m, sizeof *m, frames.data, frames.len);
    if (!sent)
        COUNT_N(s, drop_ring_full, m->count); /* not acknowledged, no credit given back: the sender slows down */
    if (!by_reference || !sent)
        free(given);
    return sent;
}

/* A part of a large event, which goes on when it is whole, with the credit of what came last. False: no room. */
static bool on_fragment(struct peer *p, struct stream *st, uint64_t hash, const struct wire_header *h,
                        struct cspan plaintext)
{
    struct msg_received m = {p->node_id, hash, h->stream_id, h->payload_len + (uint32_t)WIRE_OVERHEAD, 1};
    struct fragment_message whole;
    bool placed = fragments_take(p, h, plaintext, &whole);
    peer_schedule(p);
    if (whole.frame)
        return hand_on(p, &m, (struct cspan){whole.frame, whole.len}, whole.frame);
    if (placed)
        stream_consumed(p, st, m.credit);
    return placed;
}

/* Plain events of a channel we subscribe to: to the hooks and to the owner of the channel's log; others are the
 * application's. False: no room for them. */
static bool on_events(struct peer *p, const struct wire_header *h, struct cspan plaintext)
{
    struct shard *s = p->shard;
    struct subscription *sub = membership_find(p, h->stream_id);
    if (!sub)
        return user_stream_on_events(p, h, plaintext);
    struct stream *st = stream_get(p, h->stream_id);
    if (!st) {
        COUNT(s, drop_stream_limit);
        return false;
    }
    if (h->sequence > st->rx_next)
        COUNT_N(s, drop_lost, h->sequence - st->rx_next);
    if (h->sequence >= st->rx_next)
        st->rx_next = h->sequence + 1;
    st->last_active = s->now;
    if (fragments_carried(p, h)) {
        return on_fragment(p, st, sub->hash, h, plaintext);
    }

    struct wire_frames walk = wire_frames(plaintext, h->event_count);
    struct cspan event;
    uint32_t count = 0;
    while (wire_frames_next(&walk, &event))
        count++;
    struct cspan frames = {plaintext.data, plaintext.len - walk.rest.len};
    uint32_t credit = h->payload_len + (uint32_t)WIRE_OVERHEAD;
    if (count < h->event_count)
        COUNT(s, drop_frames);
    if (count == 0) {
        stream_consumed(p, st, credit);
        return true;
    }
    struct msg_received m = {p->node_id, sub->hash, h->stream_id, credit, count};
    return hand_on(p, &m, frames, NULL);
}

void receive_handle(struct shard *s, uint16_t subprotocol, packet_handler *handler)
{
    assert(s->handler_count < RECEIVE_HANDLERS && !receive_handler(s, subprotocol));
    s->handlers[s->handler_count++] = (struct receive_handler){subprotocol, handler};
}

packet_handler *receive_handler(const struct shard *s, uint16_t subprotocol)
{
    for (uint32_t i = 0; i < s->handler_count; i++)
        if (s->handlers[i].subprotocol == subprotocol)
            return s->handlers[i].handler;
    return NULL;
}

void receive_init(struct shard *s)
{
    receive_handle(s, SUBPROTO_EVENTS, user_stream_on_packet);
    receive_handle(s, SUBPROTO_STREAM, stream_on_control);
    receive_handle(s, SUBPROTO_FOLLOW, follow_on_control);
    receive_handle(s, SUBPROTO_FOLLOWED, follow_on_records);
    receive_handle(s, SUBPROTO_APPEND, append_on_requests);
    receive_handle(s, SUBPROTO_APPEND_ANSWER, append_on_answers);
}

/* True: it has its place, or never will. */
static bool on_fire_and_forget(struct peer *p, const struct wire_header *h, struct cspan plaintext)
{
    switch (h->subprotocol) {
    case SUBPROTO_EVENTS:
        return on_events(p, h, plaintext);
    case SUBPROTO_MEMBERSHIP:
        membership_on_packet(p, plaintext, h->event_count);
        return true;
    case SUBPROTO_CREDIT:
        stream_on_credit(p, plaintext, h->event_count);
        return true;
    case SUBPROTO_STREAM:
        if (h->event_count == 0 && transport_acknowledges(p))
            return true; /* a probe */
        break;
    }
    COUNT(p->shard, drop_subprotocol); /* wire.md 14.30, the stricter mode: dropped after authentication */
    return true;
}

/* The block counts for the session in use only: what was in flight under another was sent again. */
static void on_ack_block(struct peer *p, const struct wire_header *h, struct cspan block)
{
    if (h->session_id == p->link.current.session.p.rx_id)
        transport_on_ack(p, block);
}

/* X2: acknowledgements by themselves, or before what else is in the packet. */
static void on_acknowledging(struct peer *p, const struct wire_header *h, struct cspan plaintext)
{
    struct wire_header rest = *h;
    struct wire_frames walk = wire_frames(plaintext, h->event_count);
    struct cspan block;
    bool alone = h->subprotocol == SUBPROTO_ACK;
    if (alone || (h->frag_flags & FRAME_ACK)) {
        if (!wire_frames_next(&walk, &block)) {
            COUNT(p->shard, drop_ack_block);
            return;
        }
        on_ack_block(p, h, block);
        plaintext = walk.rest;
        rest.event_count--;
        rest.frag_flags &= (uint8_t)~FRAME_ACK;
    }
    bool placed = alone || ((h->flags & WIRE_RELIABLE) ? stream_on_packet(p, &rest, plaintext)
                                                       : on_fire_and_forget(p, &rest, plaintext));
    if (placed)
        transport_on_packet(p, h, !alone);
}

static void dispatch(struct peer *p, const struct wire_header *h, struct cspan plaintext)
{
    if (transport_acknowledges(p))
        on_acknowledging(p, h, plaintext);
    else
        (void)on_fire_and_forget(p, h, plaintext);
}

static void count_open_failure(struct shard *s, int err)
{
    switch (err) {
    case NET_ERR_FORMAT:
        COUNT(s, drop_length);
        break;
    case NET_ERR_REPLAY:
        COUNT(s, drop_replay);
        break;
    default:
        COUNT(s, drop_auth);
    }
}

/* A Net packet that is not a handshake; `packet` is what follows the routing header, if there was one. */
static void on_packet(struct shard *s, const struct wire_header *h, uint8_t *packet, size_t len,
                      const struct io_addr *from, bool routed, const uint8_t *datagram, size_t datagram_len,
                      bool forwarded)
{
    struct peer *p = peer_of(s, h->session_id);
    if (!p && !forwarded) { /* its session may stand in a ring that is not drained yet */
        mailbox_drain(s);
        p = peer_of(s, h->session_id);
    }
    if (!p) {
        pass_on(s, h->session_id, datagram, datagram_len, from, forwarded);
        return;
    }
    struct session *session = link_find(&p->link, h->session_id);
    if (!session) {
        COUNT(s, drop_session);
        return;
    }
    bool heartbeat = (h->flags & WIRE_HEARTBEAT) != 0;
    if (heartbeat && routed && !(session->p.features & FEATURE_RELAYED)) {
        COUNT(s, drop_routed_heartbeat);
        return;
    }
    if (heartbeat && len != WIRE_OVERHEAD) {
        COUNT(s, drop_length);
        return;
    }
    int err = session_open(session, s->crypto, h, packet, len);
    if (err) {
        count_open_failure(s, err);
        return;
    }
    COUNT(s, rx_packets);
    peer_on_authenticated(p, session, h, from, routed);
    if (heartbeat)
        transport_on_packet(p, h, false);
    else
        dispatch(p, h, (struct cspan){packet + WIRE_HEADER, h->payload_len});
}

static void on_net(struct shard *s, uint8_t *datagram, size_t len, size_t offset, const struct io_addr *from,
                   bool forwarded)
{
    struct wire_header h;
    uint8_t *packet = datagram + offset;
    if (wire_header_decode((struct cspan){packet, len - offset}, &h) != NET_OK) {
        COUNT(s, drop_header);
        return;
    }
    bool routed = offset != 0;
    bool heartbeat = (h.flags & WIRE_HEARTBEAT) != 0;
    bool handshake = (h.flags & WIRE_HANDSHAKE) != 0;
    if (handshake && heartbeat && routed) { /* wire.md 1.1: the heartbeat test comes first on this path */
        COUNT(s, drop_routed_heartbeat);
    } else if (handshake) {
        if (s->index == 0)
            contacts_on_handshake(s, (struct cspan){datagram, len}, from);
        else if (!mailbox_try(s, 0, MSG_DATAGRAM, 0, 0, from, sizeof *from, datagram, len))
            COUNT(s, drop_ring_full);
    } else {
        on_packet(s, &h, packet, len - offset, from, routed, datagram, len, forwarded);
    }
}

void receive_datagram(struct shard *s, uint8_t *datagram, size_t len, const struct io_addr *from, bool forwarded)
{
    struct cspan d = {datagram, len};
    switch (wire_classify(d)) {
    case WIRE_CLASS_DIRECT:
        on_net(s, datagram, len, 0, from, forwarded);
        break;
    case WIRE_CLASS_ROUTED: /* to this node: others were relayed before */
        on_net(s, datagram, len, WIRE_ROUTE, from, forwarded);
        break;
    case WIRE_CLASS_PINGWAVE: /* topology is not kept: counted, so that nobody wonders */
        COUNT(s, drop_pingwave);
        break;
    case WIRE_CLASS_KEEPALIVE:
        COUNT(s, drop_keepalive);
        break;
    case WIRE_CLASS_NONE:
        COUNT(s, drop_class);
        break;
    }
}

static void on_segment(struct shard *s, struct io_arrival *a, size_t offset, size_t len)
{
    struct wire_route route;
    uint8_t *d = a->data + offset;
    COUNT(s, rx_datagrams);
    if (wire_classify((struct cspan){d, len}) == WIRE_CLASS_ROUTED &&
        wire_route_decode((struct cspan){d, len}, &route) == NET_OK && route.dest_id != s->node->identity.ids.node_id)
        relay_forward(s, a, offset, len, route.dest_id);
    else
        receive_datagram(s, d, len, &a->from, false);
}

static void on_arrival(struct io_op *op, int32_t res)
{
    struct shard *s = container_of(op, struct shard, recv);
    s->receiving = op->more;
    s->now = io_now(s->io); /* completions come before the turn, maybe after a long sleep */
    if (res >= 0) {
        struct io_arrival *a = &op->arrival;
        COUNT_N(s, rx_bytes, a->len);
        if (a->truncated) {
            COUNT(s, drop_truncated);
        } else {
            size_t step = a->segment ? a->segment : a->len;
            for (size_t at = 0; at < a->len; at += step)
                on_segment(s, a, at, a->len - at < step ? a->len - at : step);
            if (a->len == 0) {
                COUNT(s, rx_datagrams);
                COUNT(s, drop_class);
            }
        }
    }
    if (!op->more && res != -ECANCELED && s->stopping < STOP_IO)
        receive_start(s); /* the pool was empty or the queue full: arm again */
}

void receive_start(struct shard *s)
{
    s->recv = (struct io_op){.kind = IO_UDP_RECV, .done = on_arrival, .handle = s->io->udp};
    s->receiving = true;
    io_submit(s->io, &s->recv);
}
