/* A subscriber is a cursor in a log, moved as credit and buffers allow (design "Logs"). Here packets of events are
 * made. */
#include <assert.h>
#include <stdlib.h>

#include "core/wire/packer.h"
#include "shards/transport/fragments.h"
#include "shards/transport/transmit.h"
#include "shards/logs/view.h"

enum { READ_BATCH = 256, GSO_SEGMENTS = 60 };

/* What a cursor can read right now: a ring of frames or a log on this shard, or events that another shard sent. */
struct source {
    const struct event_ring *ring;
    struct log *log;            /* read in batches into `buffer`, up to `end` */
    struct redex_event *buffer; /* READ_BATCH of them */
    uint64_t end;
    const struct redex_event *events;
    size_t count, at;
    struct log_part part; /* total != 0: the only event is this part of a large one */
};

static bool source_refill(struct source *src, struct cursor *c)
{
    if (!src->log || c->next >= src->end)
        return false;
    uint64_t next = c->next;
    src->count = log_read(src->log, &next, src->end, src->buffer, READ_BATCH);
    src->events = src->buffer;
    src->at = 0;
    if (src->count == 0)
        c->next = next; /* nothing but sequences that are not there */
    return src->count > 0;
}

static bool source_has(struct source *src, struct cursor *c)
{
    if (src->ring)
        return c->next < src->ring->next_seq;
    return src->at < src->count || source_refill(src, c);
}

static uint32_t source_peek(const struct source *src, const struct cursor *c)
{
    if (src->ring)
        return load_le32(event_ring_frames(src->ring, c->next).data);
    return src->part.total ? src->part.total : (uint32_t)src->events[src->at].data.len;
}

static uint64_t source_time(const struct source *src, const struct cursor *c)
{
    return src->ring ? event_ring_time(src->ring, c->next) : src->events[src->at].ts_ns;
}

static void fill_from_ring(const struct event_ring *ring, struct cursor *c, struct packer *packer)
{
    while (c->next < ring->next_seq) {
        struct cspan run = event_ring_frames(ring, c->next);
        size_t before = packer->len;
        c->next += packer_add_frames(packer, run, UINT32_MAX);
        if (packer->len - before < run.len)
            return; /* full; else the ring wrapped here: go on at its start */
    }
}

/* Moves whole events into the packet until it is full or the source is empty. */
static void source_fill(struct source *src, struct cursor *c, struct packer *packer)
{
    if (src->ring) {
        fill_from_ring(src->ring, c, packer);
        return;
    }
    while (source_has(src, c) && packer_add(packer, src->events[src->at].data))
        c->next = src->events[src->at++].seq + 1;
}

/* The packet was not sent: the cursor stands where it stood, and what was read ahead is forgotten. */
static void source_rewind(struct source *src, struct cursor *c, uint64_t next)
{
    c->next = next;
    src->at = src->count = 0;
    src->log = NULL;
}

static void source_skip(struct source *src, struct cursor *c)
{
    c->next = src->ring ? c->next + 1 : src->events[src->at].seq + 1;
    src->at++;
}

static struct large_event source_large(const struct source *src, const struct cursor *c)
{
    struct large_event e = {.seq = c->next, .ts_ns = source_time(src, c), .total = source_peek(src, c)};
    e.offset = src->part.offset;
    if (src->ring)
        e.data = (struct cspan){event_ring_frames(src->ring, c->next).data + WIRE_FRAME_HEAD, e.total};
    else
        e.data = src->events[src->at].data;
    return e;
}

/* Packets of one cursor in one transmit buffer: all but the last of one size, so that GSO carries them. */
struct batch {
    struct cursor *cursor;
    struct tx_buffer *buffer;
    struct packer packer;
    size_t offset;  /* of the packet under construction */
    uint16_t limit; /* plaintext bytes of every packet but the last */
    uint32_t packets, events;
    uint64_t allowance; /* bytes, as far as packets go */
    bool no_credit;     /* or the session can seal no more */
    uint64_t ts_ns;     /* of the first event, which is the oldest */
};

static size_t route_len(const struct peer *p)
{
    return p->relayed ? WIRE_ROUTE : 0;
}

static size_t segment_len(const struct batch *b)
{
    return route_len(b->cursor->peer) + WIRE_OVERHEAD + b->limit;
}

/* Takes credit for `plaintext` bytes and seals the packet that was filled. */
static bool packet_seal(struct batch *b, size_t plaintext)
{
    struct cursor *c = b->cursor;
    struct peer *p = c->peer;
    uint32_t cost = (uint32_t)plaintext + WIRE_OVERHEAD;
    if (!credit_tx_acquire(&c->stream->tx, cost, p->shard->now))
        return false;
    struct wire_header h = {
        .channel_hash = channel_wire_hash(c->view->key.hash),
        .stream_id = c->stream->id,
        .sequence = c->stream->tx_seq,
        .origin_hash = (uint32_t)p->shard->node->identity.ids.origin_hash,
        .payload_len = (uint16_t)plaintext,
        .event_count = (uint16_t)b->packer.count,
    };
    struct sent how = {.stream = c->stream->id, .cost = (uint16_t)cost, .flags = SENT_ELICITING};
    size_t len = transport_seal(p, &h, &how, b->buffer->data + b->offset);
    if (len == 0) {
        credit_tx_refund(&c->stream->tx, cost);
        COUNT(p->shard, drop_send);
        return false;
    }
    c->stream->tx_seq++;
    b->offset += len;
    b->packets++;
    b->events += b->packer.count;
    return true;
}

/*
 * How long the packet becomes when more follows it. Almost full: padded to the size of all (bytes behind the announced
 * frames are ignored by every receiver, wire.md 6.1). The first of a batch, otherwise: it sets the size of all. Any
 * other is the short last one. One that IP fragments goes alone: GSO would refuse it, and what follows would overtake
 * it. Returns true when another packet may follow.
 */
static bool packet_shape(struct batch *b, bool more, size_t *plaintext)
{
    size_t len = b->packer.len, waste = b->limit - len;
    *plaintext = len;
    if (!more || b->limit > b->cursor->peer->plaintext_path)
        return false;
    if (waste > b->limit / 16) {
        if (b->packets > 0)
            return false;
        b->limit = (uint16_t)len;
    } else {
        memset(b->packer.out + len, 0, waste);
        *plaintext = b->limit;
    }
    return true;
}

static void batch_fill(struct batch *b, struct source *src)
{
    struct cursor *c = b->cursor;
    for (bool more = true; more;) {
        uint64_t next = c->next;
        size_t plaintext;
        packer_init(&b->packer, b->buffer->data + b->offset + route_len(c->peer) + WIRE_HEADER, b->limit);
        source_fill(src, c, &b->packer);
        if (b->packer.count == 0)
            return; /* the next event fits no packet of this batch */
        more = packet_shape(b, source_has(src, c), &plaintext);
        if (!packet_seal(b, plaintext)) {
            source_rewind(src, c, next);
            b->no_credit = true;
            return;
        }
        if (b->packets >= GSO_SEGMENTS || b->offset + segment_len(b) > b->buffer->size || b->offset >= b->allowance ||
            !transport_may_send(c->peer))
            return;
    }
}

static void batch_send(struct batch *b)
{
    struct peer *p = b->cursor->peer;
    struct shard *s = p->shard;
    if (b->packets == 0) {
        transmit_release(s, b->buffer);
        return;
    }
    COUNT_N(s, tx_events, b->events);
    p->tx_events += b->events;
    uint64_t wall = io_wall(s->io);
    histogram_add_many(&s->metrics.delivered, wall > b->ts_ns ? wall - b->ts_ns : 0, b->events);
    transmit_send(s, b->buffer, &p->addr, b->offset, b->packets > 1 ? segment_len(b) : 0, b->packets);
    link_on_sent(&p->link, s->now);
    b->cursor->moved_at = b->cursor->stream->last_active = s->now;
}

/* The plaintext limit for what comes next: the path's, or for an event above it what the peer takes. */
static uint16_t choose_limit(const struct cursor *c, uint32_t event_len)
{
    const struct peer *p = c->peer;
    return event_len + 4 <= p->plaintext_path ? p->plaintext_path : p->plaintext_whole;
}

/* An event that fits no packet of this peer: in fragments, or not at all. False: no more now, for the reason in *why.
 */
static bool pump_large(struct cursor *c, struct source *src, uint64_t allowance, uint64_t *spent, enum pull_result *why)
{
    if (!fragments_on(c->peer)) {
        COUNT(c->peer->shard, drop_oversize);
        source_skip(src, c);
        return true;
    }
    if (*spent >= allowance || !transport_may_send(c->peer)) {
        *why = PULL_MORE;
        return false;
    }
    struct large_event e = source_large(src, c);
    switch (fragments_send(c, &e, allowance - *spent, spent)) {
    case FRAGMENTS_ALL:
        source_skip(src, c);
        return true;
    case FRAGMENTS_SOME:
        return true;
    case FRAGMENTS_READ:
        src->at = src->count; /* what is here is used up */
        return true;
    case FRAGMENTS_NO_CREDIT:
        *why = PULL_IDLE;
        return false;
    case FRAGMENTS_NO_BUFFER:
        *why = PULL_NO_BUFFER;
    }
    return false;
}

/* Sends from `src` until it is empty or credit is used up (idle), or the allowance is. */
static enum pull_result pump(struct cursor *c, struct source *src, uint64_t allowance, uint64_t *spent)
{
    struct peer *p = c->peer;
    enum pull_result why;
    for (*spent = 0; source_has(src, c);) {
        uint32_t len = source_peek(src, c);
        if (len + 4 > p->plaintext_whole || c->sent.offset) { /* begun in fragments it ends so, whatever fits by now */
            if (!pump_large(c, src, allowance, spent, &why))
                return why;
            continue;
        }
        if (*spent >= allowance || !transport_may_send(p))
            return PULL_MORE;
        struct batch b = {
            .cursor = c, .limit = choose_limit(c, len), .allowance = allowance - *spent, .ts_ns = source_time(src, c)};
        if (!(b.buffer = transmit_get(p->shard, true)))
            return PULL_NO_BUFFER;
        batch_fill(&b, src);
        batch_send(&b);
        *spent += b.offset;
        if (b.no_credit)
            return PULL_IDLE;
    }
    return PULL_IDLE;
}

/* What the log no longer has, or more than max_lag behind its end, is skipped and counted. */
static void skip_lag(struct cursor *c)
{
    const struct log_heads *heads = &c->view->heads;
    uint64_t lag = c->view->max_lag;
    uint64_t from = heads->first;
    if (lag && heads->live > lag && heads->live - lag > from)
        from = heads->live - lag;
    if (c->next < from) {
        COUNT_N(c->peer->shard, drop_lag, from - c->next);
        c->next = from;
        c->sent.offset = 0;
    }
}

static bool ready(struct cursor *c)
{
    if (!peer_usable(c->peer))
        return false;
    if (!c->stream && (c->stream = stream_get(c->peer, channel_stream_id(c->view->key.hash))))
        c->stream->cursors++;
    if (!c->stream)
        COUNT(c->peer->shard, drop_stream_limit);
    return c->stream != NULL;
}

void cursor_look(struct cursor *c)
{
    struct log_view *v = c->view;
    if (v->log)
        log_heads(v->log, &v->heads);
    /* Without credit: a grant, or the time to write off what is missing, wakes the peer. */
    if (c->next < v->heads.live && !(c->stream && credit_tx_blocked(&c->stream->tx)))
        sender_wake(c->peer, &c->sender);
}

static enum pull_result cursor_pull(struct sender *x, uint64_t allowance, uint64_t *spent)
{
    struct cursor *c = container_of(x, struct cursor, sender);
    struct log_view *v = c->view;
    if (!ready(c))
        return PULL_IDLE;
    skip_lag(c);
    if (c->next >= v->heads.live || credit_tx_blocked(&c->stream->tx))
        return PULL_IDLE;
    if (!v->log) {
        if (list_empty(&c->peer->shard->tx_large))
            return PULL_NO_BUFFER;
        view_read(v, c->next, v->heads.live, c->sent.offset); /* the owner sends it, and cursor_feed() goes on */
        return PULL_IDLE;
    }
    struct redex_event buffer[READ_BATCH];
    struct source src = {.end = v->heads.live, .buffer = buffer};
    if (v->log->kind == LOG_NONE)
        src.ring = &v->log->ring;
    else
        src.log = v->log;
    return pump(c, &src, allowance, spent);
}

bool cursor_feed(struct cursor *c, const struct redex_event *events, size_t n, const struct log_part *part)
{
    struct source src = {.events = events, .count = n, .part = *part};
    uint64_t spent;
    if (!ready(c))
        return false;
    enum pull_result result = pump(c, &src, UINT64_MAX, &spent);
    schedule_spent(&c->peer->transport.schedule, &c->sender.flow, spent);
    return result == PULL_IDLE && src.count == n && src.at == n;
}

void cursor_free(struct cursor *c)
{
    struct log_view *v = c->view;
    list_remove(&c->in_peer);
    list_remove(&c->in_view);
    sender_sleep(c->peer, &c->sender);
    if (c->stream)
        stream_end_tx(c->peer, c->stream);
    free(c);
    view_unused(v);
}

static struct cursor *cursor_find(struct peer *p, const struct channel_name *name)
{
    for (struct list *n = p->cursors.next; n != &p->cursors; n = n->next) {
        struct cursor *c = container_of(n, struct cursor, in_peer);
        if (channel_name_equal(&c->view->name, name))
            return c;
    }
    return NULL;
}

void cursor_on_message(struct shard *s, bool start, const struct msg_cursor *m)
{
    struct peer *p = peer_find(s, m->node_id);
    struct cursor *c = p ? cursor_find(p, &m->channel) : NULL;
    if (!start) {
        if (c)
            cursor_free(c);
        return;
    }
    if (!p || c)
        return; /* gone meanwhile, or it asked again: its place stays */
    struct log_view *v;
    int err = view_open(s, (struct log_key){0, m->hash, 0}, &m->channel, &v);
    if (err) {
        if (err == NET_ERR_EXISTS)
            COUNT(s, subscribe_name);
        else
            COUNT(s, subscribe_no_memory);
        return;
    }
    c = calloc(1, sizeof *c);
    if (!c) {
        COUNT(s, subscribe_no_memory);
        view_unused(v);
        return;
    }
    c->peer = p;
    c->view = v;
    c->next = m->from;
    c->moved_at = s->now;
    sender_init(&c->sender, 1, false, false, cursor_pull);
    list_push_back(&v->cursors, &c->in_view);
    list_push_back(&p->cursors, &c->in_peer);
    peer_wants_tx(p);
}
