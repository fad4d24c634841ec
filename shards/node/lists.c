/* Lists of what all shards know, asked of each by message: logs, sessions, streams, subscribers; and which logs share a
 * channel's name. */
#include <stdlib.h>

#include "shards/peers/contacts.h"
#include "shards/node/mailbox.h"

/* How far the slowest reader of each channel is behind, as the shards have said. */
struct lag_list {
    size_t count, room;
    struct scrape_lag rows[];
};

static void lags_free(struct listing *l)
{
    free(l->lags);
    l->lags = NULL;
}

/* `only` NULL: all rows; else those of channels with that hash, of that peer. */
static void start(struct node *node, struct listing *l, enum list_kind kind, const uint64_t *only)
{
    struct contacts *cs = node->shards[0]->contacts;
    l->id = ++cs->next_id;
    l->waiting = node->shard_count;
    list_push_back(&cs->lists, &l->link);
    for (unsigned i = 0; i < node->shard_count; i++)
        mailbox_send(node->shards[0], i, MSG_LIST, (uint16_t)kind, l->id, only, only ? sizeof *only : 0);
}

static struct listing *find(struct contacts *cs, uint64_t id)
{
    for (struct list *n = cs->lists.next; n != &cs->lists; n = n->next) {
        struct listing *l = container_of(n, struct listing, link);
        if (l->id == id)
            return l;
    }
    return NULL;
}

void contacts_on_list_row(struct shard *s, uint64_t request, const void *body)
{
    struct listing *l = find(s->contacts, request);
    if (l) /* else its client went away */
        l->row(l, body);
}

void contacts_on_list_end(struct shard *s, uint64_t request)
{
    struct listing *l = find(s->contacts, request);
    if (!l || --l->waiting)
        return;
    list_remove(&l->link);
    l->done(l);
}

void node_list_cancel(struct node *node, struct listing *l)
{
    (void)node;
    list_remove(&l->link);
    lags_free(l);
}

/* ---- channels ---- */

/* Without memory for it a lag is left out. */
static void on_lag(struct listing *l, const void *body)
{
    struct lag_list *lags = l->lags;
    if (!lags || lags->count == lags->room) {
        size_t room = lags ? 2 * lags->room : 64;
        lags = realloc(lags, sizeof *lags + room * sizeof lags->rows[0]);
        if (!lags)
            return;
        lags->count = l->lags ? lags->count : 0;
        lags->room = room;
        l->lags = lags;
    }
    memcpy(&lags->rows[lags->count++], body, sizeof lags->rows[0]);
}

static uint64_t lag_of(const struct lag_list *lags, uint64_t hash)
{
    uint64_t lag = 0;
    for (size_t i = 0; lags && i < lags->count; i++)
        if (lags->rows[i].hash == hash && lags->rows[i].lag > lag)
            lag = lags->rows[i].lag;
    return lag;
}

static void on_channel(struct listing *base, const void *body)
{
    struct channel_list *l = container_of(base, struct channel_list, node);
    const struct msg_list_row *m = body;
    struct channel_row row = {
        .channel = m->channel.text,
        .self = m->origin == 0,
        .origin = m->origin,
        .edition = m->edition,
        .followed = m->followed,
        .log = m->log,
        .first_seq = m->first_seq,
        .next_seq = m->next_seq,
        .bytes = m->bytes,
        .appended_events = m->appended_events,
        .appended_bytes = m->appended_bytes,
        .subscribers = m->subscribers,
        .exists = m->exists,
        .error = m->error,
    };
    if (row.subscribers)
        row.lag = lag_of(base->lags, channel_hash(m->channel.text, m->channel.len));
    l->row(l, &row);
}

static void on_channels_end(struct listing *base)
{
    struct channel_list *l = container_of(base, struct channel_list, node);
    lags_free(base);
    l->done(l);
}

static void list_channels(struct node *node, struct channel_list *l, const uint64_t *hash)
{
    l->node = (struct listing){.row = on_channel, .done = on_channels_end};
    start(node, &l->node, LIST_CHANNELS, hash);
}

static void on_lags_end(struct listing *base)
{
    base->row = on_channel;
    base->done = on_channels_end;
    start(base->node, base, LIST_CHANNELS, NULL);
}

void node_list_channels(struct node *node, struct channel_list *l)
{
    l->node = (struct listing){.row = on_lag, .done = on_lags_end, .node = node};
    start(node, &l->node, LIST_LAGS, NULL);
}

/* ---- sessions ---- */

static void on_session(struct listing *base, const void *body)
{
    struct session_list *l = container_of(base, struct session_list, node);
    l->row(l, body);
}

static void on_sessions_end(struct listing *base)
{
    struct session_list *l = container_of(base, struct session_list, node);
    l->done(l);
}

void node_list_sessions(struct node *node, struct session_list *l)
{
    l->node = (struct listing){.row = on_session, .done = on_sessions_end};
    start(node, &l->node, LIST_SESSIONS, NULL);
}

/* ---- streams ---- */

static void on_stream(struct listing *base, const void *body)
{
    struct stream_list *l = container_of(base, struct stream_list, node);
    l->row(l, body);
}

static void on_streams_end(struct listing *base)
{
    struct stream_list *l = container_of(base, struct stream_list, node);
    l->done(l);
}

void node_list_streams(struct node *node, struct stream_list *l, const uint64_t *peer)
{
    l->node = (struct listing){.row = on_stream, .done = on_streams_end};
    start(node, &l->node, LIST_STREAMS, peer);
}

/* ---- subscribers ---- */

static void on_subscriber(struct listing *base, const void *body)
{
    struct subscriber_list *l = container_of(base, struct subscriber_list, node);
    l->row(l, body);
}

static void on_subscribers_end(struct listing *base)
{
    struct subscriber_list *l = container_of(base, struct subscriber_list, node);
    l->done(l);
}

void node_list_subscribers(struct node *node, struct subscriber_list *l)
{
    l->node = (struct listing){.row = on_subscriber, .done = on_subscribers_end};
    start(node, &l->node, LIST_SUBSCRIBERS, NULL);
}

/* ---- which log ---- */

static bool is_meant(const struct log_choice *c, const struct channel_row *row)
{
    if (!c->any_origin && (row->self != c->self || (!row->self && row->origin != c->origin)))
        return false;
    switch (c->kind) {
    case LOG_LIVE:
        return row->edition == 0;
    case LOG_FOLLOWED:
        return row->followed;
    case LOG_EDITION:
        return row->edition == c->edition;
    default:
        return row->edition == 0 || row->followed;
    }
}

static void on_lookup_row(struct channel_list *l, const struct channel_row *row)
{
    struct log_lookup *k = container_of(l, struct log_lookup, node.list);
    if (!row->exists || strcmp(row->channel, k->node.channel.text) != 0 || !is_meant(&k->node.choice, row))
        return;
    if (k->node.found && (k->node.self != row->self || k->node.origin != row->origin)) {
        k->node.found = 2;
        return;
    }
    if (k->node.found == 0 || row->followed)
        k->node.edition = row->edition;
    k->node.found = k->node.found ? k->node.found : 1;
    k->node.self = row->self;
    k->node.origin = row->origin;
}

static void on_lookup_done(struct channel_list *l)
{
    struct log_lookup *k = container_of(l, struct log_lookup, node.list);
    k->done(k, k->node.found, k->node.self, k->node.origin, k->node.edition);
}

void node_find_log(struct node *node, const struct channel_name *channel, const struct log_choice *choice,
                   struct log_lookup *k)
{
    memset(&k->node, 0, sizeof k->node);
    k->node.channel = *channel;
    k->node.choice = *choice;
    k->node.list.row = on_lookup_row;
    k->node.list.done = on_lookup_done;
    uint64_t hash =
        channel_hash(channel->text, channel->len); /* a reader that waits for its log asks again and again */
    list_channels(node, &k->node.list, &hash);
}

void node_find_log_cancel(struct node *node, struct log_lookup *k)
{
    node_list_cancel(node, &k->node.list.node);
}
