/* Who we know: the table of contacts on shard 0, and what homes report of them. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "shards/peers/contacts.h"
#include "shards/peers/key_log.h"
#include "shards/node/mailbox.h"
#include "shards/node/reload.h"
#include "shards/report/say.h"

struct contact *contact_find(struct contacts *cs, uint64_t node_id)
{
    return map_get(&cs->by_id, node_id);
}

struct contact *contact_by_name(struct contacts *cs, const char *name)
{
    for (struct list *n = cs->all.next; n != &cs->all; n = n->next) {
        struct contact *c = container_of(n, struct contact, in_all);
        if (c->entry && strcmp(c->entry->name, name) == 0)
            return c;
    }
    return NULL;
}

/* The shard with the fewest peers: they stay there as long as they are known. */
static unsigned choose_home(struct contacts *cs)
{
    unsigned n = cs->shard->node->shard_count, best = 0;
    uint32_t load[CONFIG_MAX_SHARDS] = {0};
    for (struct list *l = cs->all.next; l != &cs->all; l = l->next)
        load[container_of(l, struct contact, in_all)->home]++;
    for (unsigned i = 1; i < n; i++)
        if (load[i] < load[best])
            best = i;
    return best;
}

struct contact *contact_get(struct contacts *cs, uint64_t node_id, int *err)
{
    struct contact *c = contact_find(cs, node_id);
    if (c)
        return c;
    *err = NET_ERR_LIMIT;
    if (cs->by_id.count >= cs->shard->config->max_peers)
        return NULL;
    *err = NET_ERR_NO_MEMORY;
    c = calloc(1, sizeof *c);
    if (!c || map_put(&cs->by_id, node_id, c) != NET_OK) {
        free(c);
        return NULL;
    }
    *err = NET_OK;
    c->node_id = node_id;
    c->owner = cs;
    c->home = choose_home(cs);
    while (c->instance == 0)
        io_random(cs->shard->io, &c->instance, sizeof c->instance);
    list_init(&c->in_all);
    list_init(&c->wanted);
    dial_init(c);
    list_push_back(&cs->all, &c->in_all);
    return c;
}

void contact_remove(struct contacts *cs, struct contact *c)
{
    struct shard *s = cs->shard;
    mailbox_send(s, c->home, MSG_FORGET_PEER, 0, c->node_id, NULL, 0);
    struct msg_route route = {.node_id = c->node_id};
    for (unsigned i = 0; i < s->node->shard_count; i++)
        mailbox_send(s, i, MSG_ROUTE, 0, 0, &route, sizeof route);
    while (!list_empty(&c->wanted))
        wanted_free(container_of(list_first(&c->wanted), struct wanted, in_contact));
    dial_stop(c);
    list_remove(&c->in_all);
    map_remove(&cs->by_id, c->node_id);
    if (c->entry)
        cs->entries--;
    free(c->entry);
    secure_wipe(c, sizeof *c);
    free(c);
}

bool contact_is_compat(const struct contact *c)
{
    return c->entry && c->entry->compat == PEER_V019;
}

bool cipher_allowed(const struct node *n, uint64_t features)
{
    const uint64_t aes = FEATURE_SECURE | FEATURE_EPOCHS | FEATURE_AES_GCM;
    return n->config->cipher_chacha || (features & n->local.features & aes) == aes;
}

/* All windows together stay below half of the socket buffer that was got (X4). What is subscribed to later shares from
 * the next handshake on. */
static uint32_t window_to_offer(const struct contacts *cs)
{
    enum { WINDOW_MIN = 65536 };
    const struct node *n = cs->shard->node;
    uint32_t half = n->options.socket_buffer ? n->options.socket_buffer / 2 : UINT32_MAX;
    uint32_t share = half / (cs->wanted_count > 2 ? cs->wanted_count : 2);
    uint32_t window = n->config->window < share ? n->config->window : share;
    return window < WINDOW_MIN ? WINDOW_MIN : window;
}

void contact_offer(struct contact *c, struct handshake_offer *offer)
{
    struct node *n = c->owner->shard->node;
    c->window = window_to_offer(c->owner);
    *offer = (struct handshake_offer){
        .instance = c->instance,
        .window = c->window,
        .max_datagram = WIRE_MAX_DATAGRAM,
    };
    /* An id that steers to the peer's home; a clash with one in use is refused there and the handshake tried again. */
    do
        io_random(c->owner->shard->io, &offer->receive_id, sizeof offer->receive_id);
    while (offer->receive_id == 0 || wire_steer_id(offer->receive_id, n->shard_count) != c->home);
}

void contact_session(struct contact *c, const struct session_params *params, const struct io_addr *addr, bool relayed,
                     uint64_t rtt_ns)
{
    struct shard *s = c->owner->shard;
    struct msg_session m = {
        .params = *params,
        .addr = *addr,
        .rtt_ns = rtt_ns,
        .contact = c->instance,
        .rx_window = c->window,
        .relayed = relayed,
    };
    if (c->owner->key_log && !key_log_add(c->owner->key_log, s->node->identity.ids.node_id, params))
        shard_say(s, LEVEL_WARN, "security.key_log: cannot write to %s: sessions will be missing there",
                  s->config->key_log);
    mailbox_send(s, c->home, MSG_SESSION, 0, 0, &m, sizeof m);
    secure_wipe(&m, sizeof m);
}

void contacts_on_handshake(struct shard *s, struct cspan datagram, const struct io_addr *from)
{
    struct contacts *cs = s->contacts;
    if (cs->phase != STOP_NONE) {
        COUNT(s, drop_stopping);
        return;
    }
    if (!dial_on_datagram(cs, datagram, from))
        answer_on_datagram(cs, datagram, from);
}

static void broadcast_route(struct contacts *cs, const struct contact *c, bool up)
{
    struct msg_route m = {c->node_id, c->addr, up};
    for (unsigned i = 0; i < cs->shard->node->shard_count; i++)
        mailbox_send(cs->shard, i, MSG_ROUTE, 0, 0, &m, sizeof m);
}

static void say_state(const struct contact *c, const char *what)
{
    shard_say_about(c->owner->shard, LEVEL_INFO, (struct say_about){.peer = c->node_id, .addr = &c->addr}, "%s %s",
                    c->entry ? c->entry->name : "a peer without an entry", what);
}

void contacts_on_peer_state(struct shard *s, unsigned home, const struct msg_peer_state *m)
{
    struct contacts *cs = s->contacts;
    struct contact *c = contact_find(cs, m->node_id);
    if (!c || c->home != home || c->instance != m->contact)
        return; /* removed meanwhile */
    if (m->failed && !c->entry && list_empty(&c->wanted)) {
        contact_remove(cs, c); /* an uninvited guest that left, or never came: nothing of it stays */
        return;
    }
    if (m->failed && c->state != PEER_CONNECTED && timer_armed(&c->dial.timer))
        return; /* an attempt that was not confirmed: the next one is under way */
    bool was_connected = c->state == PEER_CONNECTED;
    c->state = m->state;
    c->features = m->features;
    c->compat_session = m->features == 0;
    c->rtt_ns = m->rtt_ns;
    c->addr = m->addr;
    c->has_addr = true;
    for (struct list *n = c->wanted.next; m->restarted && n != &c->wanted; n = n->next)
        container_of(n, struct wanted, in_contact)->active = false; /* until it answers again */
    if (was_connected != (m->state == PEER_CONNECTED))
        say_state(c, was_connected ? "is down" : "is connected");
    else if (m->restarted)
        say_state(c, "was restarted");
    if (m->state == PEER_CONNECTED) {
        dial_stop(c);
        if (!was_connected)
            guard_confirmed(&cs->guard);
        if (!m->relayed)
            broadcast_route(cs, c, true);
        return;
    }
    broadcast_route(cs, c, false);
}

void contacts_on_redial(struct shard *s, uint64_t node_id)
{
    struct contact *c = contact_find(s->contacts, node_id);
    if (c && s->contacts->phase == STOP_NONE)
        dial_start(c);
}

void contacts_on_subscribed(struct shard *s, const struct msg_subscribed *a)
{
    struct contact *c = contact_find(s->contacts, a->node_id);
    if (!c)
        return;
    for (struct list *n = c->wanted.next; n != &c->wanted; n = n->next) {
        struct wanted *w = container_of(n, struct wanted, in_contact);
        bool overtaken = a->subscribe && a->number != w->number; /* its home is told of another wish, or will be */
        if (w->hash == a->hash && w->leaving == !a->subscribe && !overtaken) {
            request_answered(s->contacts, w, a);
            return;
        }
    }
}

static int add_from_file(struct contacts *cs, const struct peers_file *file)
{
    int err = NET_OK;
    for (size_t i = 0; i < file->peer_count && !err; i++) {
        struct contact *c = contact_get(cs, file->peers[i].node_id, &err);
        if (!c)
            return err;
        c->entry = malloc(sizeof *c->entry);
        if (!c->entry)
            return NET_ERR_NO_MEMORY;
        *c->entry = file->peers[i];
        cs->entries++;
    }
    for (size_t i = 0; i < file->subscription_count; i++) {
        const struct subscription_entry *e = &file->subscriptions[i];
        struct subscribe_ask ask = {.peer = e->peer, .mode = e->mode, .start = e->start, .sequence = e->sequence};
        if (channel_name_parse(e->channel, strlen(e->channel), &ask.channel) != CHANNEL_NAME_OK)
            continue; /* the file was checked when it was read */
        struct contact *c = contact_get(cs, e->peer, &err);
        struct wanted *w;
        if (!c || (err = wanted_add(c, &ask, &w)) != NET_OK)
            return err;
        w->anew = e->anew;
        wanted_tell_home(w, true);
    }
    return NET_OK;
}

int contacts_init(struct shard *s, struct config_error *error)
{
    struct contacts *cs = calloc(1, sizeof *cs);
    if (!cs)
        return NET_ERR_NO_MEMORY;
    s->contacts = cs;
    cs->shard = s;
    uint64_t seed[2];
    io_random(s->io, seed, sizeof seed);
    map_init(&cs->by_id, seed[0]);
    map_init(&cs->publishers, seed[1]);
    list_init(&cs->all);
    list_init(&cs->publisher_list);
    list_init(&cs->lists);
    list_init(&cs->scrapes);
    list_init(&cs->woken_tails);
    store_init(cs);
    int err = reload_init(cs);
    if (err)
        return err;
    requests_init(cs);
    timer_init(&cs->publish_timer, publishers_on_timer);
    timer_init(&cs->stop_timer, stop_on_timer);
    err = guard_init(&cs->guard, s->io, s->config->max_pending_handshakes);
    if (err)
        return err;
    if (*s->config->key_log && !(cs->key_log = key_log_new(s->io, s->config->key_log)))
        return NET_ERR_NO_MEMORY;
    err = add_from_file(cs, &s->node->peers);
    if (err) {
        text_format(error->text, sizeof error->text, "%s/peers.yaml: cannot take every entry: %s%s", s->node->dir,
                    net_err_text(err),
                    err == NET_ERR_LIMIT    ? " (limits.peers)"
                    : err == NET_ERR_EXISTS ? " (two channels of one peer have the same hash)"
                                            : "");
        return err;
    }
    for (struct list *n = cs->all.next; n != &cs->all; n = n->next)
        dial_start(container_of(n, struct contact, in_all));
    return NET_OK;
}

void contacts_deinit(struct shard *s)
{
    struct contacts *cs = s->contacts;
    if (!cs)
        return;
    while (!list_empty(&cs->all)) {
        struct contact *c = container_of(list_first(&cs->all), struct contact, in_all);
        while (!list_empty(&c->wanted))
            wanted_free(container_of(list_first(&c->wanted), struct wanted, in_contact));
        dial_stop(c);
        list_remove(&c->in_all);
        free(c->entry);
        secure_wipe(c, sizeof *c);
        free(c);
    }
    requests_deinit(cs);
    reload_deinit(cs);
    timer_cancel(&s->timers, &cs->publish_timer);
    timer_cancel(&s->timers, &cs->stop_timer);
    map_deinit(&cs->by_id);
    map_deinit(&cs->publishers);
    guard_deinit(&cs->guard);
    key_log_free(cs->key_log);
    free(cs->store.text);
    free(cs);
    s->contacts = NULL;
}
