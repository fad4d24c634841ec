/* A log as a reader's shard sees it: how far it is, who reads it here, and what is on its way from its owner. */
#include <assert.h>
#include <stdlib.h>

#include "shards/channels/follow.h"
#include "shards/node/mailbox.h"
#include "shards/logs/view.h"

uint64_t log_map_key(struct log_key key)
{
    return key.hash ^ (key.origin * UINT64_C(0x9e3779b97f4a7c15)) ^ (key.edition * UINT64_C(0xd6e8feb86659fd93));
}

static void watch(struct log_view *v, bool on)
{
    struct msg_watch m = {v->key, v->name};
    mailbox_send(v->shard, log_owner(v->shard->node, v->key.hash), MSG_WATCH, on, 0, &m, sizeof m);
}

struct log_view *view_find(struct shard *s, struct log_key key)
{
    struct log_view *v = map_get(&s->views, log_map_key(key));
    return v && log_key_equal(v->key, key) ? v : NULL;
}

/* Of a log on this shard the heads are known, also that there is none. Elsewhere the owner is asked. */
static void attach(struct log_view *v)
{
    if (log_owner(v->shard->node, v->key.hash) != v->shard->index) {
        watch(v, true);
        return;
    }
    v->heads_known = true;
    v->log = log_find(v->shard, v->key);
    if (v->log) {
        v->log->view = v;
        log_heads(v->log, &v->heads);
    }
}

int view_open(struct shard *s, struct log_key key, const struct channel_name *name, struct log_view **out)
{
    struct log_view *v = map_get(&s->views, log_map_key(key));
    if (v && !(log_key_equal(v->key, key) && channel_name_equal(&v->name, name)))
        return NET_ERR_EXISTS;
    *out = v;
    if (v)
        return NET_OK;
    const struct log *log = log_find(s, key);
    if (log && !channel_name_equal(&log->name, name))
        return NET_ERR_EXISTS;
    v = calloc(1, sizeof *v);
    if (!v || map_put(&s->views, log_map_key(key), v) != NET_OK) {
        free(v);
        return NET_ERR_NO_MEMORY;
    }
    v->key = key;
    v->name = *name;
    v->max_lag = config_channel(s->config, name->text)->max_lag;
    v->shard = s;
    list_init(&v->cursors);
    list_init(&v->tails);
    list_init(&v->followers);
    attach(v);
    *out = v;
    return NET_OK;
}

void view_unused(struct log_view *v)
{
    if (!list_empty(&v->cursors) || !list_empty(&v->tails) || !list_empty(&v->followers))
        return;
    struct log *log = v->log;
    if (log)
        log->view = NULL;
    else if (log_owner(v->shard->node, v->key.hash) != v->shard->index)
        watch(v, false);
    map_remove(&v->shard->views, log_map_key(v->key));
    free(v);
    if (log)
        log_release(log);
}

void view_read(struct log_view *v, uint64_t from, uint64_t end, uint32_t offset)
{
    if (v->reading)
        return; /* the answer moves whoever stands at its start; the others ask after it */
    struct msg_read m = {v->key, from, end, offset, !list_empty(&v->tails)};
    v->reading = true;
    mailbox_send(v->shard, log_owner(v->shard->node, v->key.hash), MSG_READ, 0, 0, &m, sizeof m);
}

uint64_t view_keep(struct log_view *v, uint64_t live)
{
    uint64_t now = v->shard->now, keep = live;
    for (struct list *n = v->cursors.next; n != &v->cursors; n = n->next) {
        struct cursor *c = container_of(n, struct cursor, in_view);
        if (c->next >= live)
            c->moved_at = now;
        else if (c->next < keep && now - c->moved_at < READER_STALL_NS && peer_usable(c->peer))
            keep = c->next;
    }
    return keep;
}

bool view_has_readers(const struct log_view *v)
{
    return !list_empty(&v->cursors) || !list_empty(&v->followers);
}

static uint64_t more(uint64_t lag, uint64_t next, uint64_t end)
{
    return next < end && end - next > lag ? end - next : lag;
}

uint64_t view_lag(const struct log_view *v)
{
    struct log_heads heads = v->heads;
    uint64_t lag = 0;
    if (v->log)
        log_heads(v->log, &heads);
    for (const struct list *n = v->cursors.next; n != &v->cursors; n = n->next)
        lag = more(lag, container_of(n, struct cursor, in_view)->next, heads.live);
    for (const struct list *n = v->followers.next; n != &v->followers; n = n->next)
        lag = more(lag, container_of(n, struct follower, in_view)->next, heads.written);
    return lag;
}

static void tell_place(struct log_view *v)
{
    struct msg_place m = {v->key, view_keep(v, v->heads.live)};
    mailbox_send(v->shard, log_owner(v->shard->node, v->key.hash), MSG_PLACE, 0, 0, &m, sizeof m);
}

void view_on_heads(struct log_view *v, const struct log_heads *heads)
{
    bool grown = heads->live != v->heads.live || heads->first != v->heads.first;
    bool written = heads->written != v->heads.written || heads->exists != v->heads.exists;
    v->heads = *heads;
    v->heads_known = true;
    if (grown)
        for (struct list *n = v->cursors.next; n != &v->cursors; n = n->next)
            peer_wants_tx(container_of(n, struct cursor, in_view)->peer);
    for (struct list *n = written ? v->followers.next : &v->followers; n != &v->followers; n = n->next)
        follower_on_heads(container_of(n, struct follower, in_view));
    tail_advance(v);
}

void view_on_head_message(struct shard *s, const struct msg_head *m)
{
    struct log_view *v = view_find(s, m->key);
    if (v)
        view_on_heads(v, &m->heads);
}

/* Rows of MSG_DATA: seq u64, ts u64, len u32, pad u32, bytes padded to 8. */
static size_t parse_rows(struct cspan rows, struct redex_event *out, size_t max)
{
    size_t n = 0;
    while (rows.len >= 24 && n < max) {
        uint32_t len = load_le32(rows.data + 16);
        size_t step = 24 + (((size_t)len + 7) & ~(size_t)7);
        assert(step <= rows.len);
        out[n++] = (struct redex_event){
            .seq = load_le64(rows.data),
            .ts_ns = load_le64(rows.data + 8),
            .data = {rows.data + 24, len},
        };
        rows.data += step;
        rows.len -= step;
    }
    return n;
}

void view_on_data(struct shard *s, const struct spsc_record *r)
{
    struct msg_data m;
    assert(r->len >= sizeof m);
    memcpy(&m, r->body, sizeof m);
    struct log_view *v = view_find(s, m.key);
    if (!v)
        return;
    v->reading = false;
    struct redex_event events[DATA_EVENTS_MAX];
    size_t n = parse_rows((struct cspan){r->body + sizeof m, r->len - sizeof m}, events, DATA_EVENTS_MAX);
    for (struct list *node = v->cursors.next; node != &v->cursors; node = node->next) {
        struct cursor *c = container_of(node, struct cursor, in_view);
        if (c->next != m.from || c->sent.offset != m.asked)
            continue;
        if (c->next < m.heads.first) { /* the log gave up what it was to read */
            COUNT_N(s, drop_lag, m.heads.first - c->next);
            c->next = m.heads.first;
            c->sent.offset = 0;
        }
        if (cursor_feed(c, events, n, &m.part) && c->next < m.next)
            c->next = m.next;
    }
    v->heads = m.heads;
    if (v->heads.none)
        tell_place(v);
    for (struct list *node = v->followers.next; node != &v->followers; node = node->next) {
        struct follower *f = container_of(node, struct follower, in_view);
        /* What a live cursor asked for may not be written yet: a follower gets that later (extensions X7.2). */
        bool written = m.next <= m.heads.written && (n == 0 || events[n - 1].seq < m.heads.written);
        if (written && f->next == m.from && f->sent.offset == m.asked)
            follower_feed(f, events, n, &m.part, m.next);
        else
            stream_wants_tx(f->peer, f->stream); /* it asks for its own */
    }
    tail_on_data(v, &m, events, n);
    for (struct list *node = v->cursors.next; node != &v->cursors; node = node->next)
        peer_wants_tx(container_of(node, struct cursor, in_view)->peer);
    view_on_heads(v, &m.heads); /* last: the view may go with its last reader */
}
