#include "tests/support/admin/fake_node.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/utf8.h"
#include "core/channel/append.h"

void fake_node_init(struct node *n)
{
    memset(n, 0, sizeof *n);
    n->config = (struct config){.admin_connections = 8,
                                .admin_idle_timeout_ns = UINT64_C(60000000000),
                                .admin_header_bytes = 16384,
                                .listen = {.port = 20037},
                                .admin = {.addr = {.port = 20038}}};
    /* ::ffff:127.0.0.1 */
    memcpy(n->config.admin.addr.ip + 10, "\xff\xff\x7f\x00\x00\x01", 6);
    n->info = (struct node_info){.node_id = UINT64_C(0x0123456789abcdef), .config = &n->config, .shards = 2};
    n->message = "";
    n->metrics = "";
    n->max_event = 8108;
    n->room = UINT32_MAX;
    n->next_seq = 1;
    list_init(&n->requests);
    list_init(&n->reloads);
    list_init(&n->lists);
    list_init(&n->lookups);
    list_init(&n->scrapes);
    list_init(&n->publishers);
    list_init(&n->tails);
}

void fake_node_add(struct node *n, struct fake_event e)
{
    n->events = realloc(n->events, (n->event_count + 1) * sizeof *n->events);
    assert(n->events);
    n->events[n->event_count++] = e;
}

bool fake_node_idle(const struct node *n)
{
    return list_empty(&n->requests) && list_empty(&n->reloads) && list_empty(&n->lists) && list_empty(&n->lookups) &&
           list_empty(&n->scrapes) && list_empty(&n->publishers) && list_empty(&n->tails);
}

void fake_node_deinit(struct node *n)
{
    assert(fake_node_idle(n));
    free(n->taken);
    free(n->events);
}

void node_get_info(struct node *n, struct node_info *out)
{
    *out = n->info;
}

void node_each_peer(struct node *n, void (*row)(void *, const struct peer_row *), void *ctx)
{
    for (size_t i = 0; i < n->peer_count; i++)
        row(ctx, &n->peers[i]);
}

int node_resolve_peer(struct node *n, const char *text, uint64_t *id)
{
    char hex[20];
    for (size_t i = 0; i < n->peer_count; i++) {
        snprintf(hex, sizeof hex, "0x%016" PRIx64, n->peers[i].node_id);
        if ((n->peers[i].name && strcmp(n->peers[i].name, text) == 0) || strcmp(hex, text) == 0) {
            *id = n->peers[i].node_id;
            return 0;
        }
    }
    return NET_ERR_NOT_FOUND;
}

const char *node_peer_name(struct node *n, uint64_t id)
{
    for (size_t i = 0; i < n->peer_count; i++)
        if (n->peers[i].node_id == id)
            return n->peers[i].name;
    return NULL;
}

static void ask(struct node *n, struct control_request *r)
{
    list_push_back(&n->requests, &r->link);
}

static void unlink_asked(struct node *n, struct list *link)
{
    assert(list_linked(link));
    list_remove(link);
    n->cancels++;
}

void node_peer_add(struct node *n, const struct peer_entry *e, struct control_request *r)
{
    n->added = *e;
    snprintf(n->asked, sizeof n->asked, "add %s", e->name);
    ask(n, r);
}

void node_peer_remove(struct node *n, const char *name, struct control_request *r)
{
    snprintf(n->asked, sizeof n->asked, "remove %s", name);
    ask(n, r);
}

void node_subscribe(struct node *n, const struct subscribe_ask *a, uint64_t timeout, struct control_request *r)
{
    static const char *const starts[] = {"default", "earliest", "latest", "at"};
    snprintf(n->asked, sizeof n->asked, "subscribe %s %" PRIx64 " %" PRIu64 " %s %s %" PRIu64, a->channel.text, a->peer,
             timeout, a->mode == SUBSCRIBE_LIVE ? "live" : "follow", starts[a->start], a->sequence);
    r->live = n->live || a->mode == SUBSCRIBE_LIVE;
    ask(n, r);
}

void node_unsubscribe(struct node *n, const struct channel_name *c, uint64_t peer, uint64_t timeout,
                      struct control_request *r)
{
    snprintf(n->asked, sizeof n->asked, "unsubscribe %s %" PRIx64 " %" PRIu64, c->text, peer, timeout);
    ask(n, r);
}

void node_request_cancel(struct node *n, struct control_request *r)
{
    unlink_asked(n, &r->link);
}

void node_reload(struct node *n, struct reload_request *r)
{
    snprintf(n->asked, sizeof n->asked, "reload");
    list_push_back(&n->reloads, &r->link);
}

void node_reload_cancel(struct node *n, struct reload_request *r)
{
    unlink_asked(n, &r->link);
}

void node_each_setting(struct node *n, void (*row)(void *, const struct config_row *), void *ctx)
{
    for (size_t i = 0; i < n->setting_count; i++)
        row(ctx, &n->settings[i]);
}

void node_each_subscription(struct node *n, void (*row)(void *, const struct subscription_row *), void *ctx)
{
    for (size_t i = 0; i < n->subscription_count; i++)
        row(ctx, &n->subscriptions[i]);
}

static void list_channels(struct listing *base, const void *body)
{
    struct node *n = (struct node *)(uintptr_t)body;
    struct channel_list *l = container_of(base, struct channel_list, node);
    for (size_t i = 0; i < n->channel_count; i++)
        l->row(l, &n->channels[i]);
    l->done(l);
}

static void list_sessions(struct listing *base, const void *body)
{
    struct node *n = (struct node *)(uintptr_t)body;
    struct session_list *l = container_of(base, struct session_list, node);
    for (size_t i = 0; i < n->session_count; i++)
        l->row(l, &n->sessions[i]);
    l->done(l);
}

static void list_streams(struct listing *base, const void *body)
{
    struct node *n = (struct node *)(uintptr_t)body;
    struct stream_list *l = container_of(base, struct stream_list, node);
    for (size_t i = 0; i < n->stream_count; i++)
        l->row(l, &n->streams[i]);
    l->done(l);
}

static void list_subscribers(struct listing *base, const void *body)
{
    struct node *n = (struct node *)(uintptr_t)body;
    struct subscriber_list *l = container_of(base, struct subscriber_list, node);
    for (size_t i = 0; i < n->subscriber_count; i++)
        l->row(l, &n->subscribers[i]);
    l->done(l);
}

/* `answer` gets the node and gives all rows and the end. */
static void start_list(struct node *n, struct listing *l, void (*answer)(struct listing *, const void *))
{
    *l = (struct listing){.row = answer};
    list_push_back(&n->lists, &l->link);
}

void node_list_channels(struct node *n, struct channel_list *l)
{
    start_list(n, &l->node, list_channels);
}

void node_list_sessions(struct node *n, struct session_list *l)
{
    start_list(n, &l->node, list_sessions);
}

void node_list_streams(struct node *n, struct stream_list *l, const uint64_t *peer)
{
    n->streams_of = peer ? *peer : 0;
    start_list(n, &l->node, list_streams);
}

void node_list_subscribers(struct node *n, struct subscriber_list *l)
{
    start_list(n, &l->node, list_subscribers);
}

void node_list_cancel(struct node *n, struct listing *l)
{
    unlink_asked(n, &l->link);
}

void node_each_shard(struct node *n, void (*row)(void *, const struct shard_row *), void *ctx)
{
    for (size_t i = 0; i < n->shard_count; i++)
        row(ctx, &n->shards[i]);
}

enum config_level node_log_level(const struct node *n)
{
    return n->log_level;
}

void node_set_log_level(struct node *n, enum config_level level)
{
    n->log_level = level;
}

int node_publish_open(struct node *n, struct publisher *p, const struct channel_name *c, bool durable)
{
    if (n->open_err)
        return n->open_err;
    snprintf(n->asked, sizeof n->asked, "publish %s", c->text);
    n->durable = durable;
    list_push_back(&n->publishers, &p->node.link);
    return 0;
}

int node_publish_open_to(struct node *n, struct publisher *p, const struct channel_name *c, bool durable, uint64_t peer,
                         const uint8_t producer[16], uint64_t sequence)
{
    if (n->open_err)
        return n->open_err;
    snprintf(n->asked, sizeof n->asked, "append %s to %llx as %02x..%02x %llu", c->text, (unsigned long long)peer,
             producer ? producer[0] : 0, producer ? producer[15] : 0, (unsigned long long)sequence);
    n->durable = durable;
    p->node.peer = peer;
    list_push_back(&n->publishers, &p->node.link);
    return 0;
}

static void assert_frames(const struct node *n, struct cspan f, uint32_t count, bool empty)
{
    size_t at = 0;
    assert((f.len <= 60000 || count == 1) && count <= 2028 && (count > 0 || empty));
    for (; count; count--) {
        assert(f.len - at >= 4);
        size_t len = load_le32(f.data + at);
        assert(len <= n->max_event && len <= f.len - at - 4);
        at += 4 + len;
    }
    assert(at == f.len);
}

int node_publish_put(struct node *n, struct publisher *p, struct cspan frames, uint32_t count)
{
    assert(list_linked(&p->node.link) && !p->node.finished && !p->node.want_writable);
    assert_frames(n, frames, count, p->node.peer != 0);
    if (n->put_err)
        return n->put_err;
    if (!n->room) {
        p->node.want_writable = true;
        return NET_ERR_AGAIN;
    }
    if (n->room != UINT32_MAX)
        n->room--;
    n->puts++;
    n->taken = realloc(n->taken, n->taken_len + frames.len + 1);
    assert(n->taken);
    if (frames.len)
        memcpy(n->taken + n->taken_len, frames.data, frames.len);
    n->taken_len += frames.len;
    n->taken_events += count;
    if (!count)
        return 0;
    if (!p->events)
        p->first_seq = n->next_seq;
    n->next_seq += count;
    p->last_seq = n->next_seq - 1;
    p->events += count;
    p->bytes += frames.len - 4 * (uint64_t)count;
    return 0;
}

int node_publish_give(struct node *n, struct publisher *p, uint8_t *frame, size_t len)
{
    assert(len > 60000);
    int err = node_publish_put(n, p, (struct cspan){frame, len}, 1);
    if (!err)
        free(frame);
    return err;
}

void node_publish_finish(struct node *n, struct publisher *p)
{
    (void)n;
    assert(list_linked(&p->node.link) && !p->node.finished);
    p->node.finished = true;
}

void node_publish_cancel(struct node *n, struct publisher *p)
{
    unlink_asked(n, &p->node.link);
}

uint32_t node_max_append(const struct node *n)
{
    (void)n;
    return APPEND_FRAMES_MAX;
}

uint32_t node_max_event(const struct node *n, const struct channel_name *c, const char **key)
{
    (void)c;
    *key = "limits.event_bytes";
    return n->max_event;
}

int node_tail_open(struct node *n, struct tail *t, const struct tail_request *r)
{
    if (n->tail_open_err)
        return n->tail_open_err;
    n->tail = *r;
    list_push_back(&n->tails, &t->node.link);
    t->node.left = r->counted ? r->count : UINT64_MAX;
    t->node.next = 0; /* an index into n->events */
    return 0;
}

void node_tail_resume(struct node *n, struct tail *t)
{
    assert(list_linked(&t->node.link) && t->node.paused);
    t->node.paused = false;
    n->resumes++;
}

void node_tail_cancel(struct node *n, struct tail *t)
{
    unlink_asked(n, &t->node.link);
}

void node_find_log(struct node *n, const struct channel_name *c, const struct log_choice *choice, struct log_lookup *l)
{
    snprintf(n->asked, sizeof n->asked, "find %s", c->text);
    n->choice = *choice;
    list_push_back(&n->lookups, &l->node.list.node.link);
}

void node_find_log_cancel(struct node *n, struct log_lookup *l)
{
    unlink_asked(n, &l->node.list.node.link);
}

int node_scrape(struct node *n, struct metrics_scrape *m)
{
    if (n->err)
        return n->err;
    list_push_back(&n->scrapes, &m->node.link);
    return 0;
}

void node_scrape_cancel(struct node *n, struct metrics_scrape *m)
{
    unlink_asked(n, &m->node.link);
}

void node_each_problem(struct node *n, void (*row)(void *, const struct problem_row *), void *ctx)
{
    for (size_t i = 0; i < n->problem_count; i++)
        row(ctx, &n->problems[i]);
}

void node_shutdown(struct node *n)
{
    n->shutdowns++;
    n->info.stopping = true;
}

static bool answer_request(struct node *n)
{
    struct list *l = list_pop(&n->requests);
    if (!l)
        return false;
    struct control_request *r = container_of(l, struct control_request, link);
    r->done(r, n->err, n->message);
    return true;
}

static bool answer_reload(struct node *n)
{
    struct list *l = list_pop(&n->reloads);
    if (!l)
        return false;
    struct reload_request *r = container_of(l, struct reload_request, link);
    r->done(r, n->err, n->message, n->err ? NULL : &n->changes);
    return true;
}

static bool answer_list(struct node *n)
{
    struct list *l = list_pop(&n->lists);
    if (!l)
        return false;
    struct listing *list = container_of(l, struct listing, link);
    list->row(list, n);
    return true;
}

static bool answer_scrape(struct node *n)
{
    struct list *l = list_pop(&n->scrapes);
    if (!l)
        return false;
    struct metrics_scrape *m = container_of(l, struct metrics_scrape, node.link);
    m->put(m, n->metrics, strlen(n->metrics));
    m->done(m);
    return true;
}

static bool answer_lookup(struct node *n)
{
    struct list *l = list_pop(&n->lookups);
    if (!l)
        return false;
    struct log_lookup *lookup = container_of(l, struct log_lookup, node.list.node.link);
    const struct log_choice *c = &n->choice;
    lookup->done(lookup, n->origins, c->any_origin ? n->origin_self : c->self, c->any_origin ? n->origin : c->origin,
                 n->edition);
    return true;
}

static bool turn_publisher(struct node *n)
{
    for (struct list *l = n->publishers.next; l != &n->publishers; l = l->next) {
        struct publisher *p = container_of(l, struct publisher, node.link);
        if (p->node.finished || n->fail_early) {
            list_remove(l);
            p->done(p, n->done_err);
            return true;
        }
        if (p->node.want_writable && n->room) {
            p->node.want_writable = false;
            p->writable(p);
            return true;
        }
    }
    return false;
}

/* A large event, as the node hands it over. False: not all of it was taken. */
static bool tail_pieces(struct node *n, struct tail *t, const struct fake_event *e)
{
    while (t->node.offset < e->len) {
        if (e->lost_after && t->node.offset >= e->lost_after)
            return t->gap(t, e->seq, e->seq);
        size_t len = e->len - t->node.offset;
        if (n->piece_bytes && len > n->piece_bytes)
            len = n->piece_bytes;
        struct tail_piece piece = {{e->seq, e->ts_ns, {e->data + t->node.offset, len}},
                                   t->node.offset,
                                   (uint32_t)e->len,
                                   utf8_valid(e->data, e->len)};
        size_t taken = t->piece(t, &piece);
        assert(taken == len || (taken < len && taken % 3 == 0));
        t->node.offset += (uint32_t)taken;
        if (taken < len)
            return false;
    }
    t->node.offset = 0;
    return true;
}

static bool tail_row(struct node *n, struct tail *t)
{
    const struct fake_event *e = &n->events[t->node.next];
    struct tail_event event = {e->seq, e->ts_ns, {e->data, e->len}};
    bool took = e->gap_to                  ? t->gap(t, e->seq, e->gap_to)
                : e->len <= TAIL_WHOLE_MAX ? t->event(t, &event)
                                           : tail_pieces(n, t, e);
    if (!took) {
        t->node.paused = true;
        n->refused_rows++;
        return false;
    }
    t->node.next++;
    t->node.left -= e->gap_to ? 0 : 1;
    return true;
}

static bool turn_tail(struct node *n)
{
    for (struct list *l = n->tails.next; l != &n->tails; l = l->next) {
        struct tail *t = container_of(l, struct tail, node.link);
        bool any = false;
        if (t->node.paused)
            continue;
        while (t->node.left && t->node.next < n->event_count && tail_row(n, t))
            any = true;
        if (t->node.paused)
            return true;
        if (!t->node.left || !n->tail.follow || n->tail_err) {
            list_remove(l);
            t->done(t, n->tail_err);
            return true;
        }
        if (any)
            return true;
    }
    return false;
}

bool fake_node_turn(struct node *n)
{
    if (n->hold)
        return false;
    return answer_request(n) || answer_reload(n) || answer_list(n) || answer_lookup(n) || answer_scrape(n) ||
           turn_publisher(n) || turn_tail(n);
}
