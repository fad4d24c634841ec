/* What a peer is owed, in the order it is sent: heartbeats, membership, grants, events. */
#include "shards/node/transmit.h"
#include "shards/node/view.h"

enum { GRANTS_PER_PACKET = 64 };

/* One packet of its own; `plaintext` is copied. False: no buffer now. */
static bool send_single(struct peer *p, struct session *session, struct wire_header *h, const uint8_t *plaintext)
{
    struct shard *s = p->shard;
    struct tx_buffer *b = transmit_get(s, false);
    if (!b)
        return false;
    size_t offset = p->relayed ? WIRE_ROUTE : 0;
    if (h->payload_len)
        memcpy(b->data + offset + WIRE_HEADER, plaintext, h->payload_len);
    size_t len = transmit_seal(p, session, h, b->data);
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
    return send_single(p, session, &h, NULL);
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
        if (!send_single(p, session, &h, frame))
            return false;
        st->tx_seq++;
        st->last_active = p->shard->now;
        p->control_head = (p->control_head + 1) % CONTROL_QUEUE;
        p->control_count--;
    }
    return true;
}

/* All grants that are due in one packet (X4), those of streams that owe a little along with them. */
static bool pull_grants(struct peer *p, struct session *session)
{
    uint64_t now = p->shard->now;
    bool due = false;
    for (struct list *n = p->grants.next; n != &p->grants && !due; n = n->next)
        due = credit_rx_due(&container_of(n, struct stream, grant)->rx, now);
    while (due && !list_empty(&p->grants)) {
        uint8_t plaintext[GRANTS_PER_PACKET * (4 + CREDIT_MESSAGE)];
        uint16_t count = 0;
        struct stream *in_packet[GRANTS_PER_PACKET];
        for (struct list *n = p->grants.next; n != &p->grants && count < GRANTS_PER_PACKET; n = n->next) {
            struct stream *st = container_of(n, struct stream, grant);
            uint8_t *frame = plaintext + count * (4 + CREDIT_MESSAGE);
            store_le32(frame, CREDIT_MESSAGE);
            credit_encode(st->id, st->rx.consumed, frame + 4);
            in_packet[count++] = st;
        }
        struct wire_header h = {
            .subprotocol = SUBPROTO_CREDIT,
            .stream_id = UINT64_MAX,
            .sequence = p->control_seq,
            .payload_len = (uint16_t)(count * (4 + CREDIT_MESSAGE)),
            .event_count = count,
        };
        if (!send_single(p, session, &h, plaintext))
            return false;
        p->control_seq++;
        for (uint16_t i = 0; i < count; i++) {
            credit_rx_granted(&in_packet[i]->rx);
            list_remove(&in_packet[i]->grant);
        }
        COUNT_N(p->shard, grants_sent, count);
    }
    return true;
}

/* Every cursor once, each then at the end of the line, so that none starves for want of buffers. */
static bool pull_cursors(struct peer *p)
{
    for (const struct list *last = p->cursors.prev, *at = NULL; last != &p->cursors && at != last;) {
        struct cursor *c = container_of(list_first(&p->cursors), struct cursor, in_peer);
        bool more = cursor_pull(c);
        at = &c->in_peer;
        list_remove(&c->in_peer);
        list_push_back(&p->cursors, &c->in_peer);
        if (more)
            return true;
    }
    return false;
}

bool peer_pull(struct peer *p)
{
    if (!pull_heartbeats(p))
        return true;
    struct session *session = link_tx(&p->link);
    if (!session || !peer_usable(p))
        return false;
    if (!pull_control(p, session) || !pull_grants(p, session))
        return true;
    bool more = pull_cursors(p);
    peer_schedule(p);
    return more;
}
