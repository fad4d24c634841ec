/* What the admin port asks about peers and subscriptions: change, save, tell the peer's home, answer. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "shards/peers/contacts.h"
#include "shards/node/mailbox.h"

/* node.a of a control_request; node.b is its time limit, node.p its struct wanted. BEGIN: subscribe, with a start.
 * SETTLED: nobody's, the wanted's own. */
enum request_kind { REQUEST_PEER, REQUEST_SUBSCRIBE, REQUEST_BEGIN, REQUEST_UNSUBSCRIBE, REQUEST_SETTLED };

static const uint64_t WRITE_AGAIN_NS = UINT64_C(2000000000);
static const char REMOVED[] = "the peer or the subscription was removed meanwhile";

/* Refusals come through the callback too, but never from inside the call: at the next tick. */
struct refusal {
    struct list link; /* in contacts->refusals */
    struct timer timer;
    struct control_request *request;
    int err;
    char message[sizeof((struct config_error *)0)->text];
};

static void refusal_free(struct contacts *cs, struct refusal *f)
{
    timer_cancel(&cs->shard->timers, &f->timer);
    list_remove(&f->link);
    free(f);
}

static void arm(struct contacts *cs)
{
    uint64_t at = UINT64_MAX;
    for (struct list *n = cs->requests.next; n != &cs->requests; n = n->next) {
        struct control_request *r = container_of(n, struct control_request, link);
        if (r->deadline < at)
            at = r->deadline;
    }
    if (at == UINT64_MAX)
        timer_cancel(&cs->shard->timers, &cs->request_timer);
    else
        timer_arm(&cs->shard->timers, &cs->request_timer, at);
}

static struct control_request *overdue(struct contacts *cs, uint64_t now)
{
    for (struct list *n = cs->requests.next; n != &cs->requests; n = n->next) {
        struct control_request *r = container_of(n, struct control_request, link);
        if (now >= r->deadline)
            return r;
    }
    return NULL;
}

static void on_timer(struct timer *t, uint64_t now)
{
    struct contacts *cs = container_of(t, struct contacts, request_timer);
    struct control_request *r;
    while ((r = overdue(cs, now))) {
        struct wanted *w = r->node.p;
        list_remove(&r->link);
        if (r->node.a == REQUEST_UNSUBSCRIBE) {
            if (w->leaving)
                wanted_free(w);
            r->done(r, NET_OK, ""); /* it is gone here; the peer was told as often as it took */
        } else if (w->contact->state == PEER_CONNECTED) {
            r->done(r, NET_ERR_TIMEOUT,
                    "the peer did not answer in time; the subscription stays and is asked for again");
        } else {
            r->done(r, NET_ERR_UNREACHABLE,
                    "the peer is not connected; the subscription stays and is asked for when it is");
        }
    }
    arm(cs);
}

void requests_init(struct contacts *cs)
{
    list_init(&cs->requests);
    list_init(&cs->refusals);
    timer_init(&cs->request_timer, on_timer);
}

void requests_deinit(struct contacts *cs)
{
    struct list *first;
    while ((first = list_first(&cs->refusals)))
        refusal_free(cs, container_of(first, struct refusal, link));
    timer_cancel(&cs->shard->timers, &cs->request_timer);
}

void requests_abort(struct contacts *cs)
{
    struct list *n;
    while ((n = list_pop(&cs->requests))) {
        struct control_request *r = container_of(n, struct control_request, link);
        r->done(r, NET_ERR_STATE, "the node is stopping");
    }
    timer_cancel(&cs->shard->timers, &cs->request_timer);
}

/* ---- wanted subscriptions ---- */

static void on_write_again(struct timer *t, uint64_t now);

static void settle_cancel(struct wanted *w)
{
    timer_cancel(&w->contact->owner->shard->timers, &w->write_again);
    if (list_linked(&w->settled.link))
        list_remove(&w->settled.link);
}

static struct wanted *wanted_find(struct contact *c, const struct channel_name *name)
{
    for (struct list *n = c->wanted.next; n != &c->wanted; n = n->next) {
        struct wanted *w = container_of(n, struct wanted, in_contact);
        if (channel_name_equal(&w->channel, name))
            return w;
    }
    return NULL;
}

/* Another channel of that peer whose events would come on the same stream (channels.md 3). */
static bool has_twin(struct contact *c, const struct channel_name *name, uint64_t hash)
{
    for (struct list *n = c->wanted.next; n != &c->wanted; n = n->next) {
        struct wanted *w = container_of(n, struct wanted, in_contact);
        if (channel_stream_id(w->hash) == channel_stream_id(hash) && !channel_name_equal(&w->channel, name))
            return true;
    }
    return false;
}

int wanted_add(struct contact *c, const struct subscribe_ask *ask, struct wanted **out)
{
    const struct channel_name *name = &ask->channel;
    uint64_t hash = channel_hash(name->text, name->len);
    struct wanted *w = wanted_find(c, name);
    if (!w && has_twin(c, name, hash))
        return NET_ERR_EXISTS;
    if (!w) {
        w = calloc(1, sizeof *w);
        if (!w)
            return NET_ERR_NO_MEMORY;
        w->contact = c;
        w->channel = *name;
        w->hash = hash;
        w->note = "";
        w->number = ++c->owner->wishes;
        list_init(&w->requests);
        list_init(&w->settled.link);
        timer_init(&w->write_again, on_write_again);
        list_push_back(&c->wanted, &w->in_contact);
        c->owner->wanted_count++;
    }
    if (w->mode != ask->mode || ask->start != START_DEFAULT) { /* else it goes on as it was */
        w->mode = ask->mode;
        w->start = ask->start;
        w->sequence = ask->sequence;
        w->anew = false;
        w->number = ++c->owner->wishes;
        w->active = false;
    }
    w->leaving = false;
    *out = w;
    return NET_OK;
}

static bool wanted_active(const struct wanted *w)
{
    return w->active && w->contact->state == PEER_CONNECTED;
}

static void detach(struct list *requests, const struct wanted *w)
{
    for (struct list *n = requests->next; n != requests; n = n->next) {
        struct control_request *r = container_of(n, struct control_request, link);
        if (r->node.p == w)
            r->node.p = NULL;
    }
}

/* Takes the next request of `w` (or of a removed one: NULL) from the list. */
static struct control_request *take(struct contacts *cs, const struct wanted *w)
{
    for (struct list *n = cs->requests.next; n != &cs->requests; n = n->next) {
        struct control_request *r = container_of(n, struct control_request, link);
        if (r->node.p == w) {
            list_remove(&r->link);
            return r;
        }
    }
    return NULL;
}

/* Requests that still wait for it are answered: its peer, or the subscription, was removed. */
void wanted_free(struct wanted *w)
{
    struct contacts *cs = w->contact->owner;
    struct control_request *r;
    detach(&cs->store.waiting, w);
    detach(&cs->store.saving, w);
    settle_cancel(w);
    while ((r = take(cs, w)))
        r->done(r, NET_ERR_CANCELED, REMOVED);
    list_remove(&w->in_contact);
    cs->wanted_count--;
    free(w);
}

void wanted_tell_home(struct wanted *w, bool on)
{
    struct msg_want m = {
        .ask = {w->channel, w->contact->node_id, w->mode, w->start, w->sequence}, .number = w->number, .anew = w->anew};
    w->told = on;
    mailbox_send(w->contact->owner->shard, w->contact->home, MSG_SUBSCRIBE, on, 0, &m, sizeof m);
}

static void answer(struct contacts *cs, struct wanted *w, const struct msg_subscribed *a)
{
    char text[256];
    struct say_about about = {.peer = w->contact->node_id, .channel = w->channel.text};
    if (a->err)
        shard_say_about(cs->shard, LEVEL_WARN, about, "subscription refused%s: %s",
                        a->err == NET_ERR_POLICY ? " by the peer" : "", a->note);
    else if (!w->active || w->leaving || w->live != a->live)
        shard_say_about(cs->shard, LEVEL_INFO, about, "%s%s%s%s", w->leaving ? "unsubscribed" : "subscribed",
                        a->live ? ", live" : "", *a->note ? ": " : "", a->note);
    w->active = !a->err && !w->leaving;
    w->live = a->live;
    w->note = a->note;
    text_format(text, sizeof text, "%s%s", a->err == NET_ERR_POLICY ? "the peer refused: " : "", a->note);
    bool leaving = w->leaving;
    struct control_request *r;
    while ((r = take(cs, w))) {
        r->live = a->live;
        r->done(r, a->err, text);
    }
    if (leaving)
        wanted_free(w);
    arm(cs);
}

void contacts_on_follow_lag(struct shard *s, const struct msg_follow_lag *m)
{
    struct contact *c = contact_find(s->contacts, m->node_id);
    for (struct list *n = c ? c->wanted.next : NULL; n && n != &c->wanted; n = n->next) {
        struct wanted *w = container_of(n, struct wanted, in_contact);
        if (w->hash == m->hash)
            w->lag = m->lag;
    }
}

/* ---- after peers.yaml was saved ---- */

static void on_settled(struct contacts *cs, struct wanted *w, int err, const char *why)
{
    if (err && !w->answered)
        shard_say_about(
            cs->shard, LEVEL_WARN, (struct say_about){.peer = w->contact->node_id, .channel = w->channel.text},
            "cannot write peers.yaml: %s; until it is written, a restart would not know where the followed log begins",
            why);
    if (err)
        timer_arm(&cs->shard->timers, &w->write_again, cs->shard->now + WRITE_AGAIN_NS);
    bool tell = !w->answered && w->leaving == !w->answer.subscribe;
    w->answered = true;
    if (tell)
        answer(cs, w, &w->answer); /* it may be gone then */
}

/* Active may be what the home said before it heard of an unsubscribe. */
static bool stands_already(const struct wanted *w, const struct control_request *r)
{
    return wanted_active(w) && w->told && r->node.a == REQUEST_SUBSCRIBE;
}

void request_saved(struct contacts *cs, struct control_request *r, int err, const char *why)
{
    char text[512];
    struct wanted *w = r->node.p;
    if (r->node.a == REQUEST_SETTLED) {
        on_settled(cs, w, err, why);
        return;
    }
    if (err) {
        text_format(text, sizeof text, "cannot write peers.yaml: %s; the change holds until the node stops", why);
        if (w)
            wanted_tell_home(w, r->node.a != REQUEST_UNSUBSCRIBE);
        r->done(r, err, text);
        return;
    }
    if (r->node.a == REQUEST_PEER) {
        r->done(r, NET_OK, "");
        return;
    }
    if (!w) {
        r->done(r, NET_ERR_CANCELED, REMOVED);
        return;
    }
    list_push_back(&cs->requests, &r->link);
    r->deadline = cs->shard->now + r->node.b;
    arm(cs);
    if (stands_already(w, r))
        answer(cs, w, &(struct msg_subscribed){.live = w->live, .note = w->note});
    else
        wanted_tell_home(w, r->node.a != REQUEST_UNSUBSCRIBE);
}

static void save(struct contacts *cs, struct control_request *r, enum request_kind kind, uint64_t timeout,
                 struct wanted *w)
{
    list_init(&r->link);
    r->node.a = kind;
    r->node.b = timeout;
    r->node.p = w;
    store_save(cs, r);
}

/* What became of the wish. True: peers.yaml does not say so yet; asked for again after a restart, "latest" would be
 * another place, and "anew" yet another log. */
static bool note_wish(struct wanted *w, const struct msg_subscribed *a)
{
    if (!a->subscribe || (a->start == w->start && a->anew == w->anew))
        return false;
    w->start = a->start;
    w->anew = a->anew;
    return true;
}

void request_answered(struct contacts *cs, struct wanted *w, const struct msg_subscribed *a)
{
    bool held = list_linked(&w->settled.link) && !w->answered;
    if (note_wish(w, a) && cs->phase == STOP_NONE) {
        settle_cancel(w);
        w->answer = *a;
        w->answered = false;
        save(cs, &w->settled, REQUEST_SETTLED, 0, w);
    } else if (held) {
        w->answer = *a;
    } else {
        answer(cs, w, a);
    }
}

static void on_write_again(struct timer *t, uint64_t now)
{
    struct wanted *w = container_of(t, struct wanted, write_again);
    (void)now;
    if (w->contact->owner->phase == STOP_NONE)
        save(w->contact->owner, &w->settled, REQUEST_SETTLED, 0, w);
}

static void on_refusal(struct timer *t, uint64_t now)
{
    (void)now;
    struct refusal *f = container_of(t, struct refusal, timer);
    list_remove(&f->link);
    f->request->done(f->request, f->err, f->message);
    free(f);
}

static void refuse(struct contacts *cs, struct control_request *r, int err, const char *message)
{
    struct refusal *f = calloc(1, sizeof *f);
    if (!f)
        return; /* the client times out */
    list_init(&r->link);
    r->node.p = f;
    r->node.a = UINT64_MAX;
    f->request = r;
    f->err = err;
    text_format(f->message, sizeof f->message, "%s", message);
    list_push_back(&cs->refusals, &f->link);
    timer_init(&f->timer, on_refusal);
    timer_arm(&cs->shard->timers, &f->timer, cs->shard->now);
}

/* ---- control.h ---- */

void node_peer_add(struct node *node, const struct peer_entry *entry, struct control_request *r)
{
    struct contacts *cs = node->shards[0]->contacts;
    struct config_error error = {{0}};
    int err = peer_entry_check(entry, &error);
    if (err) {
        refuse(cs, r, err, error.text);
        return;
    }
    struct contact *c = contact_find(cs, entry->node_id);
    if (entry->node_id == node->identity.ids.node_id) {
        refuse(cs, r, NET_ERR_INVALID, "node_id: this is the node itself");
    } else if ((c && c->entry) || contact_by_name(cs, entry->name)) {
        refuse(cs, r, NET_ERR_EXISTS, c && c->entry ? "a peer with this node_id exists" : "a peer of this name exists");
    } else if (!(c = contact_get(cs, entry->node_id, &err)) || !(c->entry = malloc(sizeof *c->entry))) {
        refuse(cs, r, err ? err : NET_ERR_NO_MEMORY,
               err == NET_ERR_LIMIT ? "limits.peers is reached" : "out of memory");
    } else {
        *c->entry = *entry;
        cs->entries++;
        if (c->state != PEER_CONNECTED)
            dial_start(c);
        save(cs, r, REQUEST_PEER, 0, NULL);
    }
}

void node_peer_remove(struct node *node, const char *name, struct control_request *r)
{
    struct contacts *cs = node->shards[0]->contacts;
    struct contact *c = contact_by_name(cs, name);
    if (!c) {
        refuse(cs, r, NET_ERR_NOT_FOUND, "no peer of this name");
        return;
    }
    contact_remove(cs, c);
    save(cs, r, REQUEST_PEER, 0, NULL);
}

void node_subscribe(struct node *node, const struct subscribe_ask *ask, uint64_t timeout_ns, struct control_request *r)
{
    struct contacts *cs = node->shards[0]->contacts;
    const struct channel_name *name = &ask->channel;
    struct contact *c = contact_find(cs, ask->peer);
    if (!c) {
        refuse(cs, r, NET_ERR_NOT_FOUND, "no such peer");
    } else if (config_channel(node->config, name->text)->log == LOG_DISK && !channel_name_storable(name)) {
        refuse(cs, r, NET_ERR_INVALID, "this name cannot be stored: a part of it is a file name of the log itself");
    } else {
        struct wanted *w;
        int err = wanted_add(c, ask, &w);
        if (err == NET_OK)
            w->anew = w->anew || ask->start != START_DEFAULT;
        if (err == NET_OK)
            save(cs, r, ask->start == START_DEFAULT ? REQUEST_SUBSCRIBE : REQUEST_BEGIN, timeout_ns, w);
        else
            refuse(cs, r, err,
                   err == NET_ERR_EXISTS ? "another channel subscribed to at this peer has the same hash"
                                         : "out of memory");
    }
}

void node_unsubscribe(struct node *node, const struct channel_name *name, uint64_t peer, uint64_t timeout_ns,
                      struct control_request *r)
{
    struct contacts *cs = node->shards[0]->contacts;
    struct contact *c = contact_find(cs, peer);
    struct wanted *w = c ? wanted_find(c, name) : NULL;
    if (!w) {
        refuse(cs, r, NET_ERR_NOT_FOUND, c ? "not subscribed to this channel" : "no such peer");
        return;
    }
    w->leaving = true;
    w->active = false; /* who subscribes meanwhile asks the peer again */
    save(cs, r, REQUEST_UNSUBSCRIBE, timeout_ns, w);
}

static bool waits_for_peer(const struct contacts *cs, const struct control_request *r)
{
    for (const struct list *n = cs->requests.next; n != &cs->requests; n = n->next)
        if (n == &r->link)
            return true;
    return false;
}

void node_request_cancel(struct node *node, struct control_request *r)
{
    struct contacts *cs = node->shards[0]->contacts;
    if (r->node.a == UINT64_MAX) {
        refusal_free(cs, r->node.p);
        return;
    }
    if (!list_linked(&r->link))
        return;
    bool saved = waits_for_peer(cs, r);
    struct wanted *w = r->node.p; /* NULL: an entry's, or it was removed */
    list_remove(&r->link);
    if (w && !saved && cs->phase == STOP_NONE &&
        !stands_already(w, r)) /* peers.yaml will say so, though nobody waits for it */
        wanted_tell_home(w, !w->leaving);
}

void node_each_subscription(struct node *node, void (*row)(void *, const struct subscription_row *), void *ctx)
{
    struct contacts *cs = node->shards[0]->contacts;
    for (struct list *n = cs->all.next; n != &cs->all; n = n->next) {
        struct contact *c = container_of(n, struct contact, in_all);
        for (struct list *l = c->wanted.next; l != &c->wanted; l = l->next) {
            struct wanted *w = container_of(l, struct wanted, in_contact);
            struct subscription_row r = {
                .channel = w->channel.text,
                .peer = c->node_id,
                .active = wanted_active(w),
                .mode = w->live ? SUBSCRIBE_LIVE : w->mode,
                .note = w->note,
                .lag = w->lag,
            };
            row(ctx, &r);
        }
    }
}

void node_each_peer(struct node *node, void (*row)(void *, const struct peer_row *), void *ctx)
{
    struct contacts *cs = node->shards[0]->contacts;
    for (int listed = 1; listed >= 0; listed--) {
        for (struct list *n = cs->all.next; n != &cs->all; n = n->next) {
            struct contact *c = container_of(n, struct contact, in_all);
            if ((c->entry != NULL) != listed)
                continue;
            bool entry_addr = c->entry && c->entry->has_addr && !c->has_addr;
            struct peer_row r = {
                .name = c->entry ? c->entry->name : NULL,
                .node_id = c->node_id,
                .has_addr = c->has_addr || entry_addr,
                .addr = entry_addr ? c->entry->addr : c->addr,
                .state = c->state,
                .compat =
                    contact_is_compat(c) || (c->state == PEER_CONNECTED && c->compat_session) ? PEER_V019 : PEER_OURS,
                .features = c->state == PEER_CONNECTED ? c->features : 0,
                .has_rtt = c->state == PEER_CONNECTED && c->rtt_ns != 0,
                .rtt_ns = c->rtt_ns,
            };
            row(ctx, &r);
        }
    }
}

int node_resolve_peer(struct node *node, const char *text, uint64_t *node_id)
{
    struct contacts *cs = node->shards[0]->contacts;
    struct contact *c = contact_by_name(cs, text);
    if (!c && config_parse_id(text, node_id) == NET_OK)
        c = contact_find(cs, *node_id);
    if (!c)
        return NET_ERR_NOT_FOUND;
    *node_id = c->node_id;
    return NET_OK;
}

const char *node_peer_name(struct node *node, uint64_t node_id)
{
    struct contact *c = contact_find(node->shards[0]->contacts, node_id);
    return c && c->entry ? c->entry->name : NULL;
}
