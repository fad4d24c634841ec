/* A peer on its home shard: sessions come and go, the peer and its streams stay. */
#include <assert.h>
#include <stdlib.h>

#include "shards/channels/append.h"
#include "shards/channels/follow.h"
#include "shards/transport/fragments.h"
#include "shards/node/mailbox.h"
#include "shards/peers/membership.h"
#include "shards/transport/user_stream.h"
#include "shards/logs/view.h"

static const uint64_t MOVE_REPORT_NS = 1000000000; /* shard 0 hears at once of a move, unless there are many */

static void on_timer(struct timer *, uint64_t now);

struct peer *peer_find(struct shard *s, uint64_t node_id)
{
    return map_get(&s->peers, node_id);
}

struct peer *peer_get(struct shard *s, uint64_t node_id)
{
    struct peer *p = peer_find(s, node_id);
    if (p)
        return p;
    p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->shard = s;
    p->node_id = node_id;
    link_init(&p->link, &s->link_config, s->node->identity.ids.node_id, node_id, s->now);
    streams_init(p);
    transport_init(p);
    list_init(&p->cursors);
    list_init(&p->followers);
    list_init(&p->subscriptions);
    list_init(&p->grants);
    list_init(&p->tx);
    list_init(&p->in_shard);
    timer_init(&p->timer, on_timer);
    if (map_put(&s->peers, node_id, p) != NET_OK) {
        free(p);
        return NULL;
    }
    list_push_back(&s->peer_list, &p->in_shard);
    return p;
}

/* Session ids of v0.19 sessions are given by the handshake: when one steers elsewhere, that shard must know. */
static void announce_id(struct shard *s, uint64_t id, bool add)
{
    unsigned to = wire_steer_id(id, s->node->shard_count);
    if (to != s->index)
        mailbox_send(s, to, MSG_FOREIGN_ID, add, id, NULL, 0);
}

/* The link dropped or added sessions: the shard's table follows. Ids it no longer knows are removed lazily here. */
static void sync_ids(struct peer *p, const uint64_t before[3], const uint64_t after[3])
{
    struct shard *s = p->shard;
    for (int i = 0; i < 3; i++) {
        bool stays = false;
        for (int j = 0; j < 3; j++)
            stays |= before[i] == after[j];
        if (before[i] && !stays) {
            map_remove(&s->sessions, before[i]);
            announce_id(s, before[i], false);
        }
    }
}

static void ids_of(const struct peer *p, uint64_t ids[3])
{
    const struct link_slot *slots[] = {&p->link.current, &p->link.next, &p->link.previous};
    for (int i = 0; i < 3; i++)
        ids[i] = slots[i]->used ? slots[i]->session.p.rx_id : 0;
}

static uint16_t clamp_plaintext(int payload, bool relayed)
{
    int room = payload - WIRE_OVERHEAD - (relayed ? WIRE_ROUTE : 0);
    int most = relayed ? WIRE_MAX_PLAINTEXT - WIRE_ROUTE : WIRE_MAX_PLAINTEXT;
    return (uint16_t)(room > most ? most : room);
}

/* The plaintext that fits the path unfragmented, and the one the peer takes at all. */
static void learn_sizes(struct peer *p, uint16_t peer_max_datagram)
{
    struct io *io = p->shard->io;
    int path = p->shard->config->max_datagram;
    if (path == 0)
        path = io->plain->path_payload(io, &p->addr);
    if (path < 1200)
        path = 1200; /* unknown, or a strange route: what every path carries */
    int most = peer_max_datagram ? peer_max_datagram : WIRE_MAX_PACKET;
    p->plaintext_max = clamp_plaintext(most, p->relayed);
    p->plaintext_path = clamp_plaintext(path < most ? path : most, p->relayed);
    p->plaintext_whole = fragments_on(p) ? p->plaintext_path : p->plaintext_max;
}

static void tell_application(const struct peer *p)
{
    const struct netmesh_hooks *hooks = &p->shard->node->options.hooks;
    if (hooks->on_peer && p->shard->stopping == STOP_NONE)
        hooks->on_peer(hooks->ctx, p->shard->face, p->node_id, p->reported_connected);
}

void peer_report(struct peer *p, enum peer_state state, bool restarted, bool failed)
{
    struct msg_peer_state m = {.node_id = p->node_id,
                               .contact = p->contact,
                               .features = p->features,
                               .rtt_ns = p->rtt_ns,
                               .addr = p->addr,
                               .state = state,
                               .restarted = restarted,
                               .failed = failed,
                               .relayed = p->relayed};
    bool was = p->reported_connected;
    p->reported_connected = state == PEER_CONNECTED;
    if (was != p->reported_connected || restarted)
        tell_application(p);
    p->reported_at = p->shard->now;
    p->moved = false;
    mailbox_send(p->shard, 0, MSG_PEER_STATE, 0, 0, &m, sizeof m);
}

/* Another port of the same host is the same path behind a NAT that forgot (RFC 9000 9.4). */
static void set_path(struct peer *p, const struct io_addr *addr, bool relayed)
{
    bool same = io_addr_same_host(&p->addr, addr) && p->relayed == relayed;
    p->addr = *addr;
    p->relayed = relayed;
    if (same)
        return;
    if (p->link.current.used)
        learn_sizes(p, p->link.current.session.p.peer_max_datagram);
    transport_on_path(p);
}

/* The peer lost its state (or ours of it is void): nobody sends to it until it asks again. */
static void leave_rosters(struct peer *p)
{
    while (!list_empty(&p->cursors))
        cursor_free(container_of(list_first(&p->cursors), struct cursor, in_peer));
    for (unsigned i = 0; i < p->shard->node->shard_count; i++)
        mailbox_send(p->shard, i, MSG_PEER_GONE, 0, p->node_id, NULL, 0);
}

/* Stragglers of a state that the peer lost would be taken for news of the streams that begin now. */
static void drop_previous(struct peer *p)
{
    uint64_t before[3], after[3];
    ids_of(p, before);
    link_forget_previous(&p->link, p->shard->crypto);
    ids_of(p, after);
    sync_ids(p, before, after);
}

/* `current` is a new session: what it means for the streams depends on whether the peer is the same incarnation. */
static void on_promoted(struct peer *p)
{
    const struct session_params *sp = &p->link.current.session.p;
    bool secure = session_secure(&p->link.current.session);
    bool first = p->instance == 0 && p->features == 0 && !p->reported_connected;
    bool restarted = secure && p->instance != 0 && p->instance != sp->peer_instance;
    p->features = sp->features;
    p->instance = sp->peer_instance;
    learn_sizes(p, sp->peer_max_datagram);
    if (restarted)
        leave_rosters(p);
    transport_on_session(p);
    if (restarted || !secure || first) {
        drop_previous(p);
        streams_reset(p);
        fragments_reset(p);
    } else if (!transport_acknowledges(p)) {
        streams_end_reliable(p, NET_ERR_CLOSED); /* it does not offer any more what they need */
    }
    COUNT(p->shard, sessions_confirmed);
    if (!secure)
        COUNT(p->shard, compat_sessions);
    peer_report(p, PEER_CONNECTED, restarted, false);
    membership_on_session(p, restarted || !secure || first);
    append_producer_on_session(p);
    append_taker_on_session(p);
    peer_wants_tx(p);
}

void peer_on_session(struct shard *s, const struct msg_session *m)
{
    struct peer *p = peer_get(s, m->params.peer_node_id);
    if (!p || map_get(&s->sessions, m->params.rx_id)) {
        COUNT(s, drop_session_id); /* no memory, or an id in use: the initiator tries again with another */
        return;
    }
    uint64_t before[3], after[3];
    bool promoted;
    ids_of(p, before);
    if (!link_install(&p->link, s->crypto, &m->params, s->now, &promoted))
        return;
    ids_of(p, after);
    if (map_put(&s->sessions, m->params.rx_id, p) != NET_OK)
        COUNT(s, drop_no_memory);
    announce_id(s, m->params.rx_id, true);
    sync_ids(p, before, after);
    if (m->rtt_ns)
        p->rtt_ns = m->rtt_ns;
    p->next_addr = m->addr;
    p->next_relayed = m->relayed;
    if (promoted || !p->link.current.used) { /* an unconfirmed session does not move a peer that is in use */
        set_path(p, &m->addr, m->relayed);
    }
    p->rx_window = m->rx_window;
    p->contact = m->contact;
    if (promoted)
        on_promoted(p);
    peer_schedule(p);
}

static void move_to(struct peer *p, const struct io_addr *from, bool relayed)
{
    p->moved |= !io_addr_equal(&p->addr, from);
    set_path(p, from, relayed);
}

void peer_on_authenticated(struct peer *p, struct session *session, const struct wire_header *h,
                           const struct io_addr *from, bool routed)
{
    struct shard *s = p->shard;
    /* Roaming (X1): the address follows the newest authenticated packet; a relayed peer is where it is. */
    bool newest = session == &p->link.current.session && session->replay.next == h->counter + 1;
    bool confirms = session == &p->link.next.session;
    bool was_silent = link_silent(&p->link, s->now);
    uint64_t before[3], after[3];
    if (confirms)
        ids_of(p, before);
    enum link_event event = link_on_authenticated(&p->link, s->crypto, session, s->now);
    if (confirms || (newest && routed == p->relayed))
        move_to(p, from, confirms ? p->next_relayed : p->relayed);
    if (confirms) {
        ids_of(p, after);
        sync_ids(p, before, after);
    }
    if (event == LINK_PROMOTED)
        on_promoted(p);
    else if (event == LINK_RECOVERED || !p->reported_connected ||
             (p->moved && s->now - p->reported_at >= MOVE_REPORT_NS))
        peer_report(p, PEER_CONNECTED, false, false);
    if (event != LINK_NOTHING || was_silent || p->link.answer) {
        peer_wants_tx(p);
        peer_schedule(p);
    }
}

bool peer_usable(const struct peer *p)
{
    return p->link.current.used && !link_silent(&p->link, p->shard->now);
}

void peer_wants_tx(struct peer *p)
{
    if (!list_linked(&p->tx) && !p->pulling)
        list_push_back(&p->shard->tx_peers, &p->tx);
}

void peer_schedule(struct peer *p)
{
    uint64_t at = timer_earlier(link_deadline(&p->link), timer_earlier(streams_deadline(p), membership_deadline(p)));
    at = timer_earlier(at, timer_earlier(fragments_deadline(p), followers_deadline(p)));
    if (at == UINT64_MAX)
        timer_cancel(&p->shard->timers, &p->timer);
    else if (!timer_armed(&p->timer) || p->timer.deadline != at)
        timer_arm(&p->shard->timers, &p->timer, at);
}

/* channels.md 13: it may not have noticed anything; its next Subscribe brings it back (membership.c asks every minute).
 */
static void on_failed(struct peer *p)
{
    COUNT(p->shard, peers_lost);
    leave_rosters(p);
    peer_report(p, PEER_DOWN, false, true);
}

static void on_timer(struct timer *t, uint64_t now)
{
    struct peer *p = container_of(t, struct peer, timer);
    uint64_t before[3], after[3];
    bool unconfirmed = p->link.next.used && !p->link.current.used;
    ids_of(p, before);
    unsigned want = link_on_tick(&p->link, p->shard->crypto, now);
    ids_of(p, after);
    sync_ids(p, before, after);
    if (unconfirmed && !p->link.next.used) {
        COUNT(p->shard, peers_lost);
        peer_report(p, PEER_DOWN, false, true);
    }
    if (p->moved && p->reported_connected)
        peer_report(p, PEER_CONNECTED, false, false);
    p->heartbeat_due |= (want & LINK_WANT_HEARTBEAT) != 0;
    p->confirm_due |= (want & LINK_WANT_CONFIRM) != 0;
    if (want & LINK_WANT_REDIAL) {
        if (link_silent(&p->link, now) && p->reported_connected)
            peer_report(p, PEER_CONNECTING, false, false);
        mailbox_send(p->shard, 0, MSG_REDIAL, 0, p->node_id, NULL, 0);
    }
    if (want & LINK_WANT_FAIL)
        on_failed(p);
    streams_tick(p, now);
    fragments_tick(p, now);
    user_streams_tick(p, now);
    membership_tick(p, now);
    followers_tick(p, now);
    peer_wants_tx(p);
    peer_schedule(p);
}

void peer_forget(struct peer *p)
{
    struct shard *s = p->shard;
    uint64_t before[3], none[3] = {0};
    ids_of(p, before);
    leave_rosters(p);
    sync_ids(p, before, none);
    membership_free(p);
    p->leaving = true; /* whoever hears of the end of a stream opens no other */
    followers_free(p);
    transport_on_session(p);
    streams_free(p);
    append_producer_free(p);
    append_taker_free(p);
    fragments_reset(p);
    transport_deinit(p);
    link_deinit(&p->link, s->crypto);
    timer_cancel(&s->timers, &p->timer);
    if (list_linked(&p->tx))
        list_remove(&p->tx);
    list_remove(&p->in_shard);
    map_remove(&s->peers, p->node_id);
    secure_wipe(p, sizeof *p);
    free(p);
}
