/* Reading a log from a position and on, for the admin port (shard 0): through a view, local or of another shard's log.
 */
#include <assert.h>

#include "core/base/utf8.h"
#include "shards/peers/contacts.h"
#include "shards/logs/view.h"

enum { TAIL_BATCH = 64 };

static void finish(struct tail *t, int err)
{
    struct log_view *v = t->node.p;
    list_remove(&t->node.link);
    if (list_linked(&t->node.woken))
        list_remove(&t->node.woken);
    t->node.p = NULL;
    t->done(t, err);
    view_unused(v);
}

/* An event that comes in pieces, or its part that is here. False: the reader is full. */
static bool deliver_piece(struct tail *t, const struct redex_event *e, const struct log_part *part)
{
    uint32_t ahead = t->node.offset - part->offset; /* of the part, what was taken before */
    struct cspan rest = {e->data.data + ahead, e->data.len - ahead};
    if (t->node.offset == 0)
        t->node.text = part->text == PART_TEXT;
    struct tail_piece piece = {{e->seq, e->ts_ns, rest}, t->node.offset, part->total, t->node.text};
    size_t taken = t->piece(t, &piece);
    t->node.offset += (uint32_t)taken;
    return taken == rest.len;
}

/* One event that is in memory as a whole. */
static bool deliver_whole(struct tail *t, const struct redex_event *e)
{
    struct tail_event event = {e->seq, e->ts_ns, e->data};
    if (e->data.len <= TAIL_WHOLE_MAX)
        return t->event(t, &event);
    struct log_part part = {.total = (uint32_t)e->data.len};
    if (t->node.offset == 0)
        part.text = utf8_valid(e->data.data, e->data.len) ? PART_TEXT : PART_BINARY;
    return deliver_piece(t, e, &part);
}

/* The event at e->seq is with the reader. */
static void taken(struct tail *t, uint64_t seq)
{
    t->node.next = seq + 1;
    t->node.offset = 0;
    if (t->node.counted)
        t->node.left--;
}

/* Hands events over, holes first. False: the reader is full (or the tail ended). */
static bool deliver(struct tail *t, const struct redex_event *events, size_t n, uint64_t next)
{
    for (size_t i = 0; i <= n; i++) {
        uint64_t seq = i < n ? events[i].seq : next;
        if (seq > t->node.end)
            seq = t->node.end;
        if (seq > t->node.next) {
            if (!t->gap(t, t->node.next, seq - 1))
                return false;
            t->node.next = seq;
            t->node.offset = 0;
        }
        if (i == n || t->node.next >= t->node.end)
            break;
        if (seq < t->node.next)
            continue;
        if (!deliver_whole(t, &events[i]))
            return false;
        taken(t, seq);
        if (t->node.counted && t->node.left == 0)
            return true;
    }
    return true;
}

static bool at_end(const struct tail *t)
{
    return (t->node.counted && t->node.left == 0) || t->node.next >= t->node.end;
}

/* The log is there and how far it is is known: settles where this tail starts and ends. */
static void settle(struct tail *t, const struct log_heads *heads)
{
    t->node.end_known = true;
    if (!t->node.follow)
        t->node.end = heads->written;
    if (t->node.from_latest)
        t->node.next = heads->written;
    if (t->node.next < heads->first && !t->node.exact)
        t->node.next = heads->first;
}

/* One tail as far as it goes now. False when it ended (and may be freed). */
static bool step(struct log_view *v, struct tail *t)
{
    if (!t->node.end_known) {
        if (!v->heads.exists) {
            if (v->heads_known && !t->node.follow) {
                finish(t, NET_ERR_NOT_FOUND);
                return false;
            }
            return true;
        }
        settle(t, &v->heads);
    }
    while (!t->node.paused && !at_end(t) && t->node.next < v->heads.written) {
        uint64_t end = v->heads.written < t->node.end ? v->heads.written : t->node.end;
        if (!v->log) {
            view_read(v, t->node.next, end, t->node.offset);
            return true;
        }
        struct redex_event events[TAIL_BATCH];
        uint64_t next = t->node.next;
        size_t n = log_read(v->log, &next, end, events, TAIL_BATCH);
        t->node.paused = !deliver(t, events, n, next);
    }
    if (at_end(t)) {
        finish(t, NET_OK);
        return false;
    }
    return true;
}

void tail_advance(struct log_view *v)
{
    for (struct list *n = v->tails.next, *next; n != &v->tails; n = next) {
        next = n->next;
        bool last = next == &v->tails;
        step(v, container_of(n, struct tail, node.link));
        if (last)
            return; /* the view may be gone with its last reader */
    }
}

/* False: the reader is full. */
static bool deliver_part(struct tail *t, const struct redex_event *e, const struct log_part *part)
{
    if (part->offset == 0 && part->text == PART_NOT_JUDGED)
        return true; /* asked for by a cursor: it is asked for again */
    if (!deliver_piece(t, e, part))
        return false;
    if (t->node.offset == part->total)
        taken(t, e->seq);
    return true;
}

void tail_on_data(struct log_view *v, const struct msg_data *m, const struct redex_event *events, size_t n)
{
    for (struct list *l = v->tails.next; l != &v->tails; l = l->next) {
        struct tail *t = container_of(l, struct tail, node.link);
        if (!t->node.end_known || t->node.paused || t->node.next != m->from || t->node.offset != m->asked ||
            m->next > v->heads.written || m->from >= v->heads.written)
            continue;
        t->node.paused = !(m->part.total ? deliver_part(t, events, &m->part) : deliver(t, events, n, m->next));
    }
}

int node_tail_open(struct node *node, struct tail *t, const struct tail_request *r)
{
    struct shard *s = node->shards[0];
    if (s->contacts->phase != STOP_NONE)
        return NET_ERR_STATE;
    struct log_key key = {r->self ? 0 : r->origin, channel_hash(r->channel.text, r->channel.len), r->edition};
    struct log_view *v;
    int err = view_open(s, key, &r->channel, &v);
    if (err)
        return err;
    memset(&t->node, 0, sizeof t->node);
    t->node.p = v;
    t->node.follow = r->follow;
    t->node.counted = r->counted;
    t->node.left = r->count;
    t->node.end = UINT64_MAX;
    t->node.from_latest = r->start == TAIL_LATEST;
    t->node.exact = r->start == TAIL_SEQ;
    t->node.next = r->start == TAIL_SEQ ? r->seq : 0;
    list_init(&t->node.woken);
    list_push_back(&v->tails, &t->node.link);
    list_push_back(&s->contacts->woken_tails, &t->node.woken); /* the first step comes from the turn, not from here */
    return NET_OK;
}

void node_tail_resume(struct node *node, struct tail *t)
{
    t->node.paused = false;
    if (!list_linked(&t->node.woken))
        list_push_back(&node->shards[0]->contacts->woken_tails, &t->node.woken);
}

void node_tail_cancel(struct node *node, struct tail *t)
{
    (void)node;
    struct log_view *v = t->node.p;
    if (!v)
        return;
    if (list_linked(&t->node.woken))
        list_remove(&t->node.woken);
    list_remove(&t->node.link);
    t->node.p = NULL;
    view_unused(v);
}

void tails_wake(struct contacts *cs)
{
    struct list woken, *n;
    list_init(&woken);
    while ((n = list_pop(&cs->woken_tails)))
        list_push_back(&woken, n);
    while ((n = list_pop(&woken))) {
        struct tail *t = container_of(n, struct tail, node.woken);
        step(t->node.p, t);
    }
}
