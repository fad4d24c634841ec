#include "shards/transport/user_stream.h"

#include <stdlib.h>

#include "core/stream/reset.h"
#include "core/wire/packer.h"
#include "shards/transport/fragments.h"

static const struct netmesh_hooks *hooks_of(const struct peer *p)
{
    return &p->shard->node->options.hooks;
}

/* Nothing is told any more: the shard is taken down. */
static bool is_over(const struct shard *s)
{
    return s->stopping == STOP_DONE || atomic_load_explicit(&s->abandoned, memory_order_relaxed);
}

/* ---- sending ---- */

static bool nothing_to_fill(struct stream_source *source, struct peer *p, struct stream *st)
{
    (void)source;
    (void)p;
    (void)st;
    return false; /* the application pushes */
}

static void on_ended(struct stream_source *source, struct peer *p, struct stream *st, int why)
{
    struct user_stream *u = container_of(source, struct user_stream, source);
    struct netmesh_stream handle = {p->node_id, st->id, u->epoch};
    free(u);
    if (hooks_of(p)->on_stream_end && !is_over(p->shard))
        hooks_of(p)->on_stream_end(hooks_of(p)->ctx, p->shard->face, &handle, why);
}

static struct user_stream *of(const struct stream *st)
{
    return st && st->source && st->source->fill == nothing_to_fill
               ? container_of(st->source, struct user_stream, source)
               : NULL;
}

struct user_stream *user_stream_find(struct peer *p, uint64_t id, struct stream **out)
{
    struct stream *st = stream_find(p, id);
    struct user_stream *u = of(st);
    *out = st;
    return u && !u->closed ? u : NULL;
}

/* Ids that the node's own messages go by: 0x0A00 to 0x0BFF, and 2^64 - 1 (streams.md 2). */
static bool is_the_nodes(uint64_t id)
{
    return (id >= SUBPROTO_MEMBERSHIP && id <= (SUBPROTO_CREDIT | 0xff)) || id == UINT64_MAX;
}

int user_stream_open(struct peer *p, uint64_t id, const struct netmesh_stream_options *o, uint64_t *epoch)
{
    struct stream *st;
    struct user_stream *u = user_stream_find(p, id, &st);
    if (u) {
        *epoch = u->epoch;
        return NET_OK;
    }
    if (is_the_nodes(id) || (o->mode != NETMESH_FIRE_AND_FORGET && o->mode != NETMESH_RELIABLE))
        return NET_ERR_INVALID;
    if (of(st))
        return NET_ERR_AGAIN; /* closed, and not all of it has arrived */
    if (st && (st->cursors || st->subscription || st->source))
        return NET_ERR_EXISTS;
    u = calloc(1, sizeof *u);
    if (!u)
        return NET_ERR_NO_MEMORY;
    enum stream_mode mode = o->mode == NETMESH_RELIABLE ? STREAM_RELIABLE : STREAM_FIRE_AND_FORGET;
    uint32_t granted = stream_tx_window(p);
    int err = stream_open(p, id, mode, o->window < granted ? o->window : granted, o->weight, &st);
    if (err) {
        free(u);
        return err == NET_ERR_STATE ? NET_ERR_AGAIN : err; /* the other direction is not over yet */
    }
    u->source = (struct stream_source){nothing_to_fill, on_ended};
    u->epoch = ++p->shard->stream_epoch;
    st->source = &u->source;
    *epoch = u->epoch;
    return NET_OK;
}

uint32_t user_stream_room(const struct peer *p, const struct stream *st)
{
    uint32_t window = st->tx.window > WIRE_OVERHEAD ? st->tx.window - WIRE_OVERHEAD : 0;
    uint32_t packet = window < p->plaintext_max ? window : p->plaintext_max;
    uint32_t whole = WIRE_FRAME_HEAD + p->shard->config->event_bytes;
    bool in_fragments = st->tx_reliable && fragments_on(p) && window >= p->plaintext_path && whole > packet;
    return in_fragments ? whole : packet;
}

static size_t first_frame(struct cspan frames)
{
    return WIRE_FRAME_HEAD + (size_t)load_le32(frames.data);
}

/* What fits the path, or, for an event above it, what the peer takes: IP fragments it. */
static size_t choose_room(const struct peer *p, const struct stream *st, struct cspan frames)
{
    size_t first = first_frame(frames), most = user_stream_room(p, st);
    if (most > p->plaintext_path)
        most = p->plaintext_path;
    size_t room = frames.len < most ? frames.len : most;
    return room < first ? first : room;
}

static uint32_t count_sent(struct peer *p, uint32_t n)
{
    p->tx_events += n;
    COUNT_N(p->shard, stream_events_sent, n);
    return n;
}

/* The first event, which no packet holds: copied, and sent as credit comes (extensions X3). */
static uint32_t send_in_fragments(struct peer *p, struct stream *st, struct cspan frames, size_t *used)
{
    struct cspan event = {frames.data + WIRE_FRAME_HEAD, load_le32(frames.data)};
    if (fragments_send_message(p, st, SUBPROTO_EVENTS, event) != NET_OK)
        return 0;
    *used = first_frame(frames);
    return count_sent(p, 1);
}

uint32_t user_stream_send(struct peer *p, struct stream *st, struct cspan frames, uint32_t count, size_t *used)
{
    size_t room = choose_room(p, st, frames);
    uint64_t before = st->tx.written_off;
    if (st->message.data) { /* what is behind it waits for its last fragment */
        credit_tx_refuse(&st->tx, p->shard->now);
        return 0;
    }
    if (st->tx_reliable && first_frame(frames) > p->plaintext_whole)
        return send_in_fragments(p, st, frames, used);
    if (!st->tx_reliable && credit_tx_recover(&st->tx, p->shard->now, p->rtt_ns)) /* 13.4 */
        COUNT_N(p->shard, credit_written_off, st->tx.written_off - before);
    struct packet *packet = stream_packet(p, st, room);
    if (!packet)
        return 0;
    struct packer packer;
    packer_init(&packer, packet->data, packet->room);
    uint32_t n = packer_add_frames(&packer, frames, count);
    packet->len = (uint16_t)packer.len;
    packet->count = (uint16_t)packer.count;
    stream_commit(p, st, packet);
    *used = packer.len;
    return count_sent(p, n);
}

void user_stream_close(struct peer *p, struct stream *st)
{
    struct user_stream *u = of(st);
    u->closed = true;
    stream_finish(p, st);
}

void user_stream_reset(struct peer *p, struct stream *st)
{
    free(of(st));
    stream_reset(p, st, RESET_ENDED);
}

/* ---- receiving ---- */

/* To the application. False: no room there. Packets without events bring nothing but, maybe, the end. */
static bool offer(struct peer *p, const struct wire_header *h, struct cspan plaintext, struct netmesh_stream_events *e)
{
    struct wire_frames walk = wire_frames(plaintext, h->event_count);
    struct cspan event;
    while (wire_frames_next(&walk, &event))
        e->count++;
    e->peer = p->node_id;
    e->stream = h->stream_id;
    e->sequence = h->sequence;
    e->frames = plaintext.data;
    e->len = plaintext.len - walk.rest.len;
    bool something = e->count || e->end != NETMESH_STREAM_GOES_ON;
    if (something && !hooks_of(p)->on_stream(hooks_of(p)->ctx, p->shard->face, e))
        return false;
    if (e->count < h->event_count)
        COUNT(p->shard, drop_frames);
    p->rx_events += e->count;
    COUNT_N(p->shard, stream_events_received, e->count);
    return true;
}

bool user_stream_on_events(struct peer *p, const struct wire_header *h, struct cspan plaintext)
{
    struct shard *s = p->shard;
    bool fin = h->flags & WIRE_FIN && transport_acknowledges(p);
    struct netmesh_stream_events e = {.mode = NETMESH_FIRE_AND_FORGET,
                                      .end = fin ? NETMESH_STREAM_FINISHED : NETMESH_STREAM_GOES_ON};
    if (!hooks_of(p)->on_stream) {
        COUNT(s, drop_unsubscribed);
        return true;
    }
    struct stream *st = stream_find(p, h->stream_id);
    if ((!st && map_get(&p->streams, h->stream_id)) || (st && st->rx_finished && !st->rx_reliable)) {
        COUNT(s, drop_stream_closed); /* a straggler of one that is over; one that is not gets its credit back */
        return false;
    }
    if (!st && !(st = stream_get(p, h->stream_id))) {
        COUNT(s, drop_stream_limit);
        return false;
    }
    if (st->rx_reliable) {
        COUNT(s, drop_stream_mode);
        return true;
    }
    if (h->sequence > st->rx_next)
        COUNT_N(s, drop_lost, h->sequence - st->rx_next);
    if (h->sequence >= st->rx_next)
        st->rx_next = h->sequence + 1;
    st->last_active = s->now;
    if (!offer(p, h, plaintext, &e)) {
        COUNT_N(s, drop_not_taken, e.count); /* not acknowledged, nor its credit given back: the sender slows down */
        return false;
    }
    stream_consumed(p, st, h->payload_len + (uint32_t)WIRE_OVERHEAD);
    if (fin) {
        st->rx_finished = true;
        stream_settle(p, st);
    }
    return true;
}

/* An event that came in fragments, above what this node takes anywhere. */
static bool is_too_large(const struct peer *p, struct cspan plaintext)
{
    return plaintext.len > WIRE_MAX_PLAINTEXT &&
           plaintext.len > WIRE_FRAME_HEAD + (size_t)p->shard->config->event_bytes;
}

bool user_stream_on_packet(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    struct netmesh_stream_events e = {.mode = NETMESH_RELIABLE};
    if (!hooks_of(p)->on_stream) {
        COUNT(p->shard, drop_unsubscribed);
        stream_reset(p, st, RESET_UNKNOWN); /* nobody here will ever take it */
        return true;
    }
    if (st->ended && is_over(p->shard))
        return true;
    if (st->ended)
        e.end = NETMESH_STREAM_BROKEN;
    else if (h->flags & WIRE_FIN)
        e.end = NETMESH_STREAM_FINISHED;
    if (!st->ended && is_too_large(p, plaintext)) {
        COUNT(p->shard, drop_event_bytes);
        stream_fail(p, st, RESET_LIMIT); /* skipped, it would be missing and nobody knew */
        return true;
    }
    if (!offer(p, h, plaintext, &e))
        return false;
    if (!st->ended)
        stream_consumed(p, st, h->payload_len + (uint32_t)WIRE_OVERHEAD);
    return true;
}

/* ---- idle streams ---- */

/* Nothing of it is promised to anybody: it may be forgotten, and begins anew. */
static bool may_be_forgotten(const struct stream *st)
{
    bool ours = st->source && !of(st);
    return !st->closed_at && !st->tx_reliable && !st->rx_reliable && !st->cursors && !st->subscription && !ours &&
           !is_the_nodes(st->id);
}

static struct stream *find_idle(const struct peer *p, uint64_t now)
{
    map_each(&p->streams, slot)
    {
        struct stream *st = slot->value;
        if (may_be_forgotten(st) && now - st->last_active > p->shard->config->stream_idle_ns)
            return st;
    }
    return NULL;
}

/* Who hears of an end may open others: the table is looked through anew after each. */
void user_streams_tick(struct peer *p, uint64_t now)
{
    if (now < p->idle_round)
        return;
    p->idle_round = now + p->shard->link_config.heartbeat_interval_ns;
    for (struct stream *st; (st = find_idle(p, now));) {
        struct stream_source *source = st->source;
        COUNT(p->shard, streams_idle);
        stream_close(p, st);
        if (source)
            source->ended(source, p, st, NET_ERR_CLOSED);
    }
}
