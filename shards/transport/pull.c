/* What a peer is owed, in the order it is sent: heartbeats, membership, acknowledgements and grants, then the streams
 * by their turns. What goes before them is the priority lane: little, and never held back by them. */
#include <assert.h>

#include "shards/transport/transmit.h"
#include "shards/logs/view.h"

/* Together they fit what every path carries. */
enum { ACK_BESIDE_GRANTS = 148, GRANTS_PER_PACKET = 47 };
static_assert(4 + ACK_BESIDE_GRANTS + GRANTS_PER_PACKET * (4 + CREDIT_MESSAGE) <= 1200 - WIRE_OVERHEAD - WIRE_ROUTE,
              "fits 1200 bytes");

static const struct sent ELICITS_NOTHING = {.flags = 0};

/* One packet of its own; `plaintext` is copied. `how`: for recovery.h. False: no buffer now. */
static bool send_single(struct peer *p, struct session *session, struct wire_header *h, const uint8_t *plaintext,
                        const struct sent *how)
{
    struct shard *s = p->shard;
    struct tx_buffer *b = transmit_get(s, false);
    if (!b)
        return false;
    size_t offset = p->relayed ? WIRE_ROUTE : 0;
    if (h->payload_len)
        memcpy(b->data + offset + WIRE_HEADER, plaintext, h->payload_len);
    size_t len = session == &p->link.current.session ? transport_seal(p, h, how, b->data)
                                                     : transmit_seal(p, session, h, b->data);
    if (len == 0) {
        COUNT(s, drop_send);
        transmit_release(s, b);
        return true;
    }
    transmit_send(s, b, &p->addr, len, 0, 1);
    link_on_sent(&p->link, s->now);
    return true;
}

static bool send_heartbeat(struct peer *p, struct session *session)
{
    struct wire_header h = {.flags = WIRE_HEARTBEAT};
    return send_single(p, session, &h, NULL, &ELICITS_NOTHING);
}

/* Under the session that waits for confirmation, to where its other end is. */
static bool send_confirm(struct peer *p)
{
    struct io_addr addr = p->addr;
    bool relayed = p->relayed;
    p->addr = p->next_addr;
    p->relayed = p->next_relayed;
    bool sent = send_heartbeat(p, &p->link.next.session);
    p->addr = addr;
    p->relayed = relayed;
    return sent;
}

static bool pull_heartbeats(struct peer *p)
{
    if (p->confirm_due && p->link.next.used && !send_confirm(p))
        return false;
    p->confirm_due = false;
    struct session *session = link_tx(&p->link);
    if (p->heartbeat_due && session && !send_heartbeat(p, session))
        return false;
    p->heartbeat_due = false;
    return true;
}

static bool pull_control(struct peer *p, struct session *session)
{
    while (p->control_count) {
        struct stream *st = stream_get(p, SUBPROTO_MEMBERSHIP);
        if (!st)
            return true;
        struct control_message *m = &p->control[p->control_head];
        uint8_t frame[4 + MEMBERSHIP_MAX_SENT];
        store_le32(frame, m->len);
        memcpy(frame + 4, m->bytes, m->len);
        struct wire_header h = {
            .subprotocol = SUBPROTO_MEMBERSHIP,
            .stream_id = SUBPROTO_MEMBERSHIP,
            .sequence = st->tx_seq,
            .payload_len = (uint16_t)(4 + m->len),
            .event_count = 1,
        };
        if (!send_single(p, session, &h, frame, &(struct sent){.stream = h.stream_id, .flags = SENT_ELICITING}))
            return false;
        st->tx_seq++;
        st->last_active = p->shard->now;
        p->control_head = (p->control_head + 1) % CONTROL_QUEUE;
        p->control_count--;
    }
    return true;
}

/* What the peer waits for: an acknowledgement and grants, in one packet as far as they fit. */
struct feedback {
    uint8_t plaintext[4 + ACK_MAX + GRANTS_PER_PACKET * (4 + CREDIT_MESSAGE)];
    size_t len;
    bool acks;
    uint16_t grants;
    struct stream *granted[GRANTS_PER_PACKET];
};

static void add_ack(struct peer *p, struct feedback *f)
{
    size_t room = list_empty(&p->grants) ? ACK_MAX : ACK_BESIDE_GRANTS;
    size_t len = ack_encode(&p->transport.acks, p->shard->now, f->plaintext + 4, room);
    store_le32(f->plaintext, (uint32_t)len);
    f->acks = len > 0;
    f->len = len ? 4 + len : 0;
}

static void add_grants(struct peer *p, struct feedback *f)
{
    for (struct list *n = p->grants.next; n != &p->grants && f->grants < GRANTS_PER_PACKET; n = n->next) {
        struct stream *st = container_of(n, struct stream, grant);
        store_le32(f->plaintext + f->len, CREDIT_MESSAGE);
        credit_encode(st->id, st->rx.consumed, f->plaintext + f->len + 4);
        f->len += 4 + CREDIT_MESSAGE;
        f->granted[f->grants++] = st;
    }
}

/* An acknowledgement alone asks for none. */
static bool send_feedback(struct peer *p, struct session *session, struct feedback *f)
{
    struct wire_header h = {
        .frag_flags = f->acks && f->grants ? FRAME_ACK : 0,
        .subprotocol = f->grants ? SUBPROTO_CREDIT : SUBPROTO_ACK,
        .stream_id = UINT64_MAX,
        .sequence = f->grants ? p->control_seq : 0,
        .payload_len = (uint16_t)f->len,
        .event_count = (uint16_t)(f->grants + f->acks),
    };
    struct sent how = {.stream = UINT64_MAX, .flags = f->grants ? SENT_ELICITING : 0};
    if (!send_single(p, session, &h, f->plaintext, &how))
        return false;
    for (uint16_t i = 0; i < f->grants; i++) {
        credit_rx_granted(&f->granted[i]->rx);
        f->granted[i]->grant_counter = h.counter;
        list_remove(&f->granted[i]->grant);
    }
    p->control_seq += f->grants > 0;
    COUNT_N(p->shard, grants_sent, f->grants);
    if (f->acks) {
        ack_on_sent(&p->transport.acks);
        COUNT(p->shard, acks_sent);
    }
    return true;
}

/* All grants that are due in one packet (X4), those of streams that owe a little along with them; an acknowledgement
 * that is owed too. A grant whose loss nobody would notice waits: its stream might stand still for ever. */
static bool pull_feedback(struct peer *p, struct session *session)
{
    bool acknowledges = transport_acknowledges(p);
    bool grants = stream_grants_due(p), ack = acknowledges && ack_due(&p->transport.acks, p->shard->now);
    for (bool first = true; ack || (grants && !list_empty(&p->grants)); first = false, ack = false) {
        struct feedback f;
        f.len = 0;
        f.acks = false;
        f.grants = 0;
        if (acknowledges && first && p->transport.acks.eliciting > 0)
            add_ack(p, &f);
        if (transport_notices_loss(p)) {
            add_grants(p, &f);
        } else if (grants) {
            stream_grants_put_off(p);
            grants = false;
        }
        if (f.len == 0)
            return true;
        if (!send_feedback(p, session, &f))
            return false;
    }
    return true;
}

static bool pull_probes(struct peer *p)
{
    for (; p->transport.probes; p->transport.probes--)
        if (!stream_probe(p))
            return false;
    return true;
}

/* The turn of each that has something now comes by the schedule. */
static void wake_cursors(struct peer *p)
{
    for (struct list *n = p->cursors.next; n != &p->cursors; n = n->next)
        cursor_look(container_of(n, struct cursor, in_peer));
}

static bool pull(struct peer *p)
{
    if (!pull_heartbeats(p))
        return true;
    struct session *session = link_tx(&p->link);
    if (!session || !peer_usable(p))
        return false;
    if (!pull_control(p, session) || !pull_feedback(p, session) || !pull_probes(p))
        return true;
    wake_cursors(p);
    bool more = transport_pull(p);
    peer_schedule(p);
    return more;
}

bool peer_pull(struct peer *p)
{
    p->pulling = true; /* what it makes ready on the way has its turn now */
    bool more = pull(p);
    p->pulling = false;
    return more;
}
