/* What becomes of each message (messages.h): its body, handed to who deals with it. */
#include <assert.h>
#include <string.h>

#include "core/crypto/crypto.h"
#include "shards/channels/append.h"
#include "shards/peers/contacts.h"
#include "shards/channels/follow.h"
#include "shards/logs/log.h"
#include "shards/node/mailbox.h"
#include "shards/peers/membership.h"
#include "shards/peers/peer.h"
#include "shards/transport/receive.h"
#include "shards/node/reload.h"
#include "shards/report/say.h"
#include "shards/report/scrape.h"
#include "shards/logs/view.h"

/* Bodies are copied out: the record's memory has no type of its own and is aligned to 16 only at its head. */
#define BODY(type, name)                                                                                               \
    type name;                                                                                                         \
    assert(r->len >= sizeof name);                                                                                     \
    memcpy(&name, r->body, sizeof name)

/* What all shards are asked for, on each of them. */
static void on_list(struct shard *s, unsigned from, enum list_kind kind, uint64_t request, const uint64_t *only)
{
    switch (kind) {
    case LIST_CHANNELS:
        log_on_list(s, from, request, only);
        break;
    case LIST_SESSIONS:
        peer_on_list_sessions(s, from, request);
        break;
    case LIST_STREAMS:
        peer_on_list_streams(s, from, request, only);
        break;
    case LIST_SUBSCRIBERS:
        peer_on_list_subscribers(s, from, request);
        break;
    case LIST_LAGS:
        peer_on_list_lags(s, from, request);
    }
    mailbox_send(s, from, MSG_LIST_END, 0, request, NULL, 0);
}

static void on_list_row(struct shard *s, const struct spsc_record *r)
{
    switch ((enum list_kind)r->aux) {
    case LIST_CHANNELS: {
        BODY(struct msg_list_row, m);
        contacts_on_list_row(s, r->arg, &m);
        break;
    }
    case LIST_SESSIONS: {
        BODY(struct session_row, m);
        contacts_on_list_row(s, r->arg, &m);
        break;
    }
    case LIST_LAGS: {
        BODY(struct scrape_lag, m);
        contacts_on_list_row(s, r->arg, &m);
        break;
    }
    case LIST_STREAMS: {
        BODY(struct stream_row, m);
        contacts_on_list_row(s, r->arg, &m);
        break;
    }
    case LIST_SUBSCRIBERS: {
        BODY(struct subscriber_row, m);
        contacts_on_list_row(s, r->arg, &m);
        break;
    }
    }
}

static void on_control_message(struct shard *s, unsigned from, struct spsc_record *r)
{
    switch ((enum message_kind)r->kind) {
    case MSG_PEER_STATE: {
        BODY(struct msg_peer_state, m);
        contacts_on_peer_state(s, from, &m);
        break;
    }
    case MSG_REDIAL:
        contacts_on_redial(s, r->arg);
        break;
    case MSG_SUBSCRIBED: {
        BODY(struct msg_subscribed, m);
        contacts_on_subscribed(s, &m);
        break;
    }
    case MSG_PUBLISHED: {
        BODY(struct msg_published, m);
        contacts_on_published(s, &m);
        break;
    }
    case MSG_FOLLOW_LAG: {
        BODY(struct msg_follow_lag, m);
        contacts_on_follow_lag(s, &m);
        break;
    }
    case MSG_LIST_ROW:
        on_list_row(s, r);
        break;
    case MSG_LIST_END:
        contacts_on_list_end(s, r->arg);
        break;
    case MSG_SCRAPE_CHANNEL:
    case MSG_SCRAPE_LAGS:
    case MSG_SCRAPE_PEERS:
    case MSG_SCRAPE_SHARD:
        scrape_on_row(s, from, r);
        break;
    case MSG_CONFIGURED:
        reload_on_configured(s, r->arg);
        break;
    case MSG_SAY:
        say_on_message(s, r);
        break;
    case MSG_STOPPED:
        contacts_on_stopped(s, from, (enum stop_phase)r->aux);
        break;
    default:
        assert(!"unknown message kind");
    }
}

static void on_log_message(struct shard *s, unsigned from, struct spsc_record *r)
{
    switch ((enum message_kind)r->kind) {
    case MSG_RECEIVE_OPEN: {
        BODY(struct msg_subscribe, m);
        log_on_receive_open(s, &m);
        break;
    }
    case MSG_RECEIVED: {
        BODY(struct msg_received, m);
        log_on_received(s, from, &m, mailbox_tail(r, sizeof m));
        break;
    }
    case MSG_FOLLOW_OPEN: {
        BODY(struct msg_follow_open, m);
        log_on_follow_open(s, from, &m);
        break;
    }
    case MSG_FOLLOWED: {
        BODY(struct msg_followed, m);
        size_t runs = (size_t)m.runs * TIME_RUN_SIZE; /* in the body, also when the frame stands elsewhere */
        assert(r->len - sizeof m >= runs);
        log_on_followed(s, from, &m, (struct cspan){r->body + sizeof m, runs}, mailbox_tail(r, sizeof m + runs));
        break;
    }
    case MSG_ROSTER: {
        BODY(struct msg_subscribe, m);
        log_on_roster(s, from, r->aux == 1, &m);
        break;
    }
    case MSG_FOLLOW: {
        BODY(struct msg_follow, m);
        follow_on_ask(s, from, &m);
        break;
    }
    case MSG_FOLLOW_END: {
        BODY(struct msg_follow, m);
        follow_on_end(s, &m);
        break;
    }
    case MSG_PEER_GONE:
        log_on_peer_gone(s, r->arg);
        break;
    case MSG_WATCH: {
        BODY(struct msg_watch, m);
        log_on_watch(s, from, r->aux == 1, &m);
        break;
    }
    case MSG_READ: {
        BODY(struct msg_read, m);
        log_on_read(s, from, &m);
        break;
    }
    case MSG_PLACE: {
        BODY(struct msg_place, m);
        log_on_place(s, from, &m);
        break;
    }
    case MSG_PUBLISH_OPEN: {
        BODY(struct msg_publish_open, m);
        log_on_publish_open(s, &m);
        break;
    }
    case MSG_PUBLISH: {
        BODY(struct msg_publish, m);
        log_on_publish(s, &m, mailbox_tail(r, sizeof m));
        break;
    }
    case MSG_APPEND: {
        BODY(struct msg_append, m);
        append_on_message(s, from, &m, mailbox_tail(r, sizeof m));
        break;
    }
    case MSG_LIST: {
        uint64_t only = 0;
        assert(r->len == 0 || r->len == sizeof only);
        memcpy(&only, r->body, r->len);
        on_list(s, from, (enum list_kind)r->aux, r->arg, r->len ? &only : NULL);
        break;
    }
    case MSG_SCRAPE:
        scrape_on_ask(s, from, r->arg);
        break;
    default:
        on_control_message(s, from, r);
    }
}

static void on_credit(struct shard *s, const struct msg_credit *m)
{
    struct peer *p = peer_find(s, m->node_id);
    struct stream *st = p ? map_get(&p->streams, m->stream_id) : NULL;
    if (st)
        stream_consumed(p, st, m->credit);
}

static void on_foreign_id(struct shard *s, unsigned from, uint64_t id, bool add)
{
    if (!add)
        map_remove(&s->foreign, id);
    else
        map_put(&s->foreign, id, (void *)(uintptr_t)(from + 1));
}

static void on_forwarded(struct shard *s, struct spsc_record *r)
{
    BODY(struct io_addr, from);
    receive_datagram(s, r->body + sizeof from, r->len - sizeof from, &from, true);
}

void shard_on_message(struct shard *s, unsigned from, struct spsc_record *r)
{
    switch ((enum message_kind)r->kind) {
    case MSG_SESSION: {
        BODY(struct msg_session, m);
        peer_on_session(s, &m);
        secure_wipe(&m, sizeof m);
        secure_wipe(r->body, sizeof m);
        break;
    }
    case MSG_FORGET_PEER: {
        struct peer *p = peer_find(s, r->arg);
        if (p)
            peer_forget(p);
        break;
    }
    case MSG_ROUTE: {
        BODY(struct msg_route, m);
        relay_on_route(s, &m);
        break;
    }
    case MSG_FOREIGN_ID:
        on_foreign_id(s, from, r->arg, r->aux == 1);
        break;
    case MSG_DATAGRAM:
        on_forwarded(s, r);
        break;
    case MSG_SUBSCRIBE: {
        BODY(struct msg_want, m);
        membership_on_want(s, r->aux == 1, &m);
        break;
    }
    case MSG_CREDIT: {
        BODY(struct msg_credit, m);
        on_credit(s, &m);
        break;
    }
    case MSG_ROSTER_ACK: {
        BODY(struct msg_answer, m);
        membership_on_roster_ack(s, &m);
        break;
    }
    case MSG_APPEND_SUBMIT: {
        BODY(struct msg_append_submit, m);
        append_on_submit(s, &m, mailbox_tail(r, sizeof m));
        break;
    }
    case MSG_APPEND_CANCEL: {
        BODY(struct msg_append_cancel, m);
        append_on_cancel(s, &m);
        break;
    }
    case MSG_APPENDED: {
        BODY(struct msg_appended, m);
        append_on_appended(s, &m);
        break;
    }
    case MSG_CURSOR: {
        BODY(struct msg_cursor, m);
        cursor_on_message(s, r->aux == 1, &m);
        break;
    }
    case MSG_FOLLOW_GRANT: {
        BODY(struct msg_follow, m);
        follow_on_grant(s, &m);
        break;
    }
    case MSG_FOLLOW_PLACE: {
        BODY(struct msg_follow_place, m);
        follow_on_place(s, &m);
        break;
    }
    case MSG_HEAD: {
        BODY(struct msg_head, m);
        view_on_head_message(s, &m);
        break;
    }
    case MSG_DATA:
        view_on_data(s, r);
        break;
    case MSG_CONFIG: {
        BODY(struct msg_config, m);
        reload_on_config(s, m.config);
        break;
    }
    case MSG_STOP:
        stop_on_message(s, (enum stop_phase)r->aux);
        break;
    default:
        on_log_message(s, from, r);
    }
}
