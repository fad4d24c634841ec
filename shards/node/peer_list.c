/* What the admin port is told of the peers at home here: their sessions, and how far they have read. */
#include "shards/node/mailbox.h"
#include "shards/node/view.h"

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

static void send_subscriber(const struct peer *p, const struct cursor *c, unsigned to, uint64_t request)
{
    uint64_t live = c->view->heads.live;
    struct subscriber_row row = {
        .peer = p->node_id,
        .channel = c->view->name,
        .next_seq = c->next,
        .lag = live > c->next ? live - c->next : 0,
    };
    mailbox_send(p->shard, to, MSG_LIST_ROW, LIST_SUBSCRIBERS, request, &row, sizeof row);
}

void peer_on_list_subscribers(struct shard *s, unsigned from, uint64_t request)
{
    for (struct list *n = s->peer_list.next; n != &s->peer_list; n = n->next) {
        const struct peer *p = container_of(n, struct peer, in_shard);
        for (struct list *m = p->cursors.next; m != &p->cursors; m = m->next)
            send_subscriber(p, container_of(m, struct cursor, in_peer), from, request);
    }
}
