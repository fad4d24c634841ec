/* What the admin port is told of the peers at home here: their sessions and streams, and how far they have read. */
#include "shards/channels/follow.h"
#include "shards/node/mailbox.h"
#include "shards/peers/membership.h"
#include "shards/logs/view.h"

static void send_session(const struct peer *p, const struct link_slot *slot, enum session_state state, unsigned to,
                         uint64_t request)
{
    struct shard *s = p->shard;
    const struct session *e = &slot->session;
    if (!slot->used)
        return;
    struct session_row row = {
        .peer = p->node_id,
        .id = e->p.handshake_name,
        .rx_id = e->p.rx_id,
        .tx_id = e->p.tx_id,
        .state = state,
        .aes_gcm = e->suite == AEAD_AES_256_GCM,
        .initiator = e->p.initiator,
        .silent = state == SESSION_ACTIVE && link_silent(&p->link, s->now),
        .features = e->p.features,
        .age_ns = s->now - slot->since,
        .rx_packets = e->rx_packets,
        .rx_bytes = e->rx_bytes,
        .tx_packets = e->tx_counter,
        .tx_bytes = e->tx_bytes,
        .rtt_ns = p->rtt_ns,
        .rx_window = p->rx_window,
        .tx_window = e->p.peer_window,
        .shard = s->index,
    };
    mailbox_send(s, to, MSG_LIST_ROW, LIST_SESSIONS, request, &row, sizeof row);
}

void peer_on_list_sessions(struct shard *s, unsigned from, uint64_t request)
{
    for (struct list *n = s->peer_list.next; n != &s->peer_list; n = n->next) {
        const struct peer *p = container_of(n, struct peer, in_shard);
        send_session(p, &p->link.current, SESSION_ACTIVE, from, request);
        send_session(p, &p->link.next, SESSION_UNCONFIRMED, from, request);
        send_session(p, &p->link.previous, SESSION_PREVIOUS, from, request);
    }
}

void stream_describe(const struct stream *st, struct stream_row *row)
{
    const struct shard *s = st->peer->shard;
    uint64_t rx_next = st->rx_reliable ? st->arrived.next : st->rx_next;
    *row = (struct stream_row){
        .peer = st->peer->node_id,
        .id = st->id,
        .tx_seq = st->tx_seq,
        .rx_seq = rx_next ? rx_next - 1 : 0,
        .tx_reliable = st->tx_open && st->tx_reliable,
        .rx_reliable = st->rx_reliable,
        .inbound_pending = st->arrived.held,
        .retransmitted = st->retransmitted,
        .tx_bytes = st->tx.sent,
        .rx_bytes = st->rx.consumed,
        .tx_window = st->tx.window,
        .rx_window = st->rx.window,
        .tx_credit_remaining = st->tx.remaining,
        .written_off = st->tx.written_off,
        .backpressure_events = st->tx.refusals,
        .credit_grants_received = st->tx.grants,
        .credit_grants_sent = st->rx.grants,
        .idle_ns = s->now - st->last_active,
        .shard = s->index,
    };
}

static void send_stream(const struct peer *p, const struct stream *st, const struct channel_name *channel, unsigned to,
                        uint64_t request)
{
    struct stream_row row;
    stream_describe(st, &row);
    if (channel)
        row.channel = *channel;
    mailbox_send(p->shard, to, MSG_LIST_ROW, LIST_STREAMS, request, &row, sizeof row);
}

/* Those that send to a cursor are found from it, which knows the channel's name. */
static void send_streams(const struct peer *p, unsigned to, uint64_t request)
{
    for (struct list *n = p->cursors.next; n != &p->cursors; n = n->next) {
        const struct cursor *c = container_of(n, struct cursor, in_peer);
        if (c->stream)
            send_stream(p, c->stream, &c->view->name, to, request);
    }
    map_each(&p->streams, slot)
    {
        const struct stream *st = slot->value;
        if (!st->cursors && !st->closed_at)
            send_stream(p, st, st->subscription ? &st->subscription->channel : NULL, to, request);
    }
}

void peer_on_list_streams(struct shard *s, unsigned from, uint64_t request, const uint64_t *peer)
{
    for (struct list *n = s->peer_list.next; n != &s->peer_list; n = n->next) {
        const struct peer *p = container_of(n, struct peer, in_shard);
        if (!peer || *peer == p->node_id)
            send_streams(p, from, request);
    }
}

static void send_subscriber(const struct peer *p, const struct log_view *v, enum subscription_mode mode, uint64_t next,
                            uint64_t end, unsigned to, uint64_t request)
{
    struct subscriber_row row = {
        .peer = p->node_id,
        .channel = v->name,
        .mode = mode,
        .next_seq = next,
        .lag = end > next ? end - next : 0,
    };
    mailbox_send(p->shard, to, MSG_LIST_ROW, LIST_SUBSCRIBERS, request, &row, sizeof row);
}

void peer_on_list_subscribers(struct shard *s, unsigned from, uint64_t request)
{
    for (struct list *n = s->peer_list.next; n != &s->peer_list; n = n->next) {
        const struct peer *p = container_of(n, struct peer, in_shard);
        for (struct list *m = p->cursors.next; m != &p->cursors; m = m->next) {
            const struct cursor *c = container_of(m, struct cursor, in_peer);
            send_subscriber(p, c->view, SUBSCRIBE_LIVE, c->next, c->view->heads.live, from, request);
        }
        for (struct list *m = p->followers.next; m != &p->followers; m = m->next) {
            const struct follower *f = container_of(m, struct follower, in_peer);
            if (f->view)
                send_subscriber(p, f->view, SUBSCRIBE_FOLLOW, f->next, f->view->heads.written, from, request);
        }
    }
}

void peer_on_list_lags(struct shard *s, unsigned from, uint64_t request)
{
    map_each(&s->views, slot)
    {
        const struct log_view *v = slot->value;
        struct scrape_lag row = {v->key.hash, 0};
        if (!view_has_readers(v))
            continue;
        row.lag = view_lag(v);
        mailbox_send(s, from, MSG_LIST_ROW, LIST_LAGS, request, &row, sizeof row);
    }
}
