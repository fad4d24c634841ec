#include "shards/transport/fragments.h"

#include <assert.h>
#include <stdlib.h>

#include "shards/transport/transmit.h"

bool fragments_on(const struct peer *p)
{
    return (p->features & FEATURE_FRAGMENT) != 0;
}

/* ---- sending ---- */

enum { GSO_SEGMENTS = 60 };

/* Fragments of one event in one transmit buffer: all but the last of one size, so that GSO carries them. */
struct flight {
    struct cursor *cursor;
    const struct large_event *event;
    struct tx_buffer *buffer;
    size_t len; /* bytes in the buffer */
    uint32_t packets;
    uint64_t allowance;
};

static size_t packet_len(const struct peer *p, uint32_t slice)
{
    size_t route = p->relayed ? WIRE_ROUTE : 0;
    return route + WIRE_OVERHEAD + FRAGMENT_FRAME_HEAD + slice;
}

/* What the path carries, and a stream with a small window may have unreported. */
static uint32_t choose_slice(const struct peer *p, const struct stream *st)
{
    uint32_t most = st->tx.window > WIRE_OVERHEAD ? st->tx.window - WIRE_OVERHEAD : p->plaintext_path;
    return fragment_slice(most < p->plaintext_path ? most : p->plaintext_path);
}

/* Fragments take consecutive sequences: when they do not go on, the stream began anew, and so does the event. */
static void begin_or_go_on(struct large_sent *sent, const struct peer *p, const struct stream *st)
{
    if (sent->offset && st->tx_seq == sent->first + sent->offset / sent->slice)
        return;
    *sent = (struct large_sent){.first = st->tx_seq, .slice = choose_slice(p, st)};
}

/* The slice that is next; 0: not all of it is here. */
static uint32_t next_slice(const struct large_sent *sent, const struct large_event *e, bool *last)
{
    uint32_t rest = e->total - sent->offset;
    *last = rest <= sent->slice;
    uint32_t slice = *last ? rest : sent->slice;
    bool here = sent->offset >= e->offset && e->offset + (uint32_t)e->data.len - sent->offset >= slice;
    return here ? slice : 0;
}

static const uint8_t *slice_at(const struct large_sent *sent, const struct large_event *e)
{
    return e->data.data + (sent->offset - e->offset);
}

static struct wire_header header_of(const struct cursor *c, uint32_t slice, bool last)
{
    const struct stream *st = c->stream;
    return (struct wire_header){
        .frag_flags = last ? 0 : FRAGMENT_MORE,
        .channel_hash = channel_wire_hash(c->view->key.hash),
        .stream_id = st->id,
        .sequence = st->tx_seq,
        .origin_hash = (uint32_t)c->peer->shard->node->identity.ids.origin_hash,
        .fragment_id = (uint16_t)c->sent.first,
        .fragment_offset = (uint16_t)(st->tx_seq - c->sent.first),
        .payload_len = (uint16_t)(FRAGMENT_FRAME_HEAD + slice),
        .event_count = 1,
    };
}

/* Seals the next fragment behind the others. False: no credit, or nothing can be sealed. */
static bool put_fragment(struct flight *f, uint32_t slice, bool last)
{
    struct cursor *c = f->cursor;
    struct peer *p = c->peer;
    uint32_t cost = FRAGMENT_FRAME_HEAD + slice + WIRE_OVERHEAD;
    if (!credit_tx_acquire(&c->stream->tx, cost, p->shard->now))
        return false;
    uint8_t *packet = f->buffer->data + f->len, *frame = packet + (p->relayed ? WIRE_ROUTE : 0) + WIRE_HEADER;
    store_le32(frame, slice);
    memcpy(frame + FRAGMENT_FRAME_HEAD, slice_at(&c->sent, f->event), slice);
    struct wire_header h = header_of(c, slice, last);
    struct sent how = {.stream = c->stream->id, .cost = (uint16_t)cost, .flags = SENT_ELICITING};
    size_t len = transport_seal(p, &h, &how, packet);
    if (len == 0) {
        credit_tx_refund(&c->stream->tx, cost);
        COUNT(p->shard, drop_send);
        return false;
    }
    c->stream->tx_seq++;
    c->sent.offset += slice;
    f->len += len;
    f->packets++;
    return true;
}

/* When the path shrank under an event, IP fragments the rest of it: GSO would refuse that. */
static bool full(const struct flight *f)
{
    const struct peer *p = f->cursor->peer;
    uint32_t slice = f->cursor->sent.slice;
    uint32_t most = FRAGMENT_FRAME_HEAD + slice <= p->plaintext_path ? GSO_SEGMENTS : 1;
    return f->packets == most || f->len + packet_len(p, slice) > f->buffer->size;
}

/* Fills the buffer as far as there is data, credit and room. */
static enum fragments_sent fill(struct flight *f)
{
    struct cursor *c = f->cursor;
    const struct large_event *e = f->event;
    while (!full(f)) {
        bool last;
        uint32_t slice = next_slice(&c->sent, e, &last);
        if (!slice)
            return FRAGMENTS_READ;
        if (!put_fragment(f, slice, last))
            return FRAGMENTS_NO_CREDIT;
        if (last)
            return FRAGMENTS_ALL;
        if (f->len >= f->allowance || !transport_may_send(c->peer))
            break;
    }
    return FRAGMENTS_SOME;
}

static void depart(struct flight *f, bool whole)
{
    struct peer *p = f->cursor->peer;
    struct shard *s = p->shard;
    if (f->packets == 0) {
        transmit_release(s, f->buffer);
        return;
    }
    if (whole) {
        uint64_t wall = io_wall(s->io), ts = f->event->ts_ns;
        COUNT(s, tx_events);
        p->tx_events++;
        histogram_add_many(&s->metrics.delivered, wall > ts ? wall - ts : 0, 1);
    }
    COUNT_N(s, tx_fragments, f->packets);
    size_t segment = f->packets > 1 ? packet_len(p, f->cursor->sent.slice) : 0;
    transmit_send(s, f->buffer, &p->addr, f->len, segment, f->packets);
    link_on_sent(&p->link, s->now);
    f->cursor->moved_at = f->cursor->stream->last_active = s->now;
}

enum fragments_sent fragments_send(struct cursor *c, const struct large_event *e, uint64_t allowance, uint64_t *spent)
{
    bool last;
    begin_or_go_on(&c->sent, c->peer, c->stream);
    if (!next_slice(&c->sent, e, &last))
        return FRAGMENTS_READ;
    struct flight f = {.cursor = c, .event = e, .buffer = transmit_get(c->peer->shard, true), .allowance = allowance};
    if (!f.buffer)
        return FRAGMENTS_NO_BUFFER;
    enum fragments_sent result = fill(&f);
    depart(&f, result == FRAGMENTS_ALL);
    *spent += f.len;
    if (result == FRAGMENTS_ALL)
        c->sent.offset = 0;
    return result;
}

/* ---- reliable streams ---- */

/* Of a shard's messages that wait to be sent, and those to one peer, who may have fallen silent. */
enum { MESSAGES_BYTES = 64 << 20, MESSAGES_TO_A_PEER = MESSAGES_BYTES / 4 };

enum fragments_sent fragments_commit(struct peer *p, struct stream *st, uint16_t subprotocol, struct large_sent *sent,
                                     const struct large_event *e)
{
    bool last;
    begin_or_go_on(sent, p, st);
    uint32_t slice = next_slice(sent, e, &last);
    if (!slice)
        return FRAGMENTS_READ;
    struct packet *k = stream_packet_of(p, st, FRAGMENT_FRAME_HEAD + slice); /* all are of the size that fitted once */
    if (!k)
        return FRAGMENTS_NO_CREDIT;
    store_le32(k->data, slice);
    memcpy(k->data + FRAGMENT_FRAME_HEAD, slice_at(sent, e), slice);
    k->len = (uint16_t)(FRAGMENT_FRAME_HEAD + slice);
    k->count = 1;
    k->subprotocol = subprotocol;
    k->frag_flags = last ? 0 : FRAGMENT_MORE;
    k->fragment_id = (uint16_t)sent->first;
    k->fragment_offset = (uint16_t)(st->tx_seq - sent->first);
    sent->offset += slice;
    stream_commit(p, st, k);
    COUNT(p->shard, tx_fragments);
    if (last)
        sent->offset = 0;
    return last ? FRAGMENTS_ALL : FRAGMENTS_SOME;
}

static void commit_while_room(struct peer *p, struct stream *st)
{
    for (uint64_t before = UINT64_MAX; st->message.data && st->message.sent.offset != before;) {
        before = st->message.sent.offset;
        fragments_commit_message(p, st);
    }
}

/* One message always finds its place. */
static bool message_waits(const struct peer *p, size_t len)
{
    const struct shard *s = p->shard;
    return (s->message_bytes && s->message_bytes + len > MESSAGES_BYTES) ||
           (p->message_bytes && p->message_bytes + len > MESSAGES_TO_A_PEER);
}

int fragments_send_message(struct peer *p, struct stream *st, uint16_t subprotocol, struct cspan message)
{
    struct shard *s = p->shard;
    if (!fragments_on(p) || message.len > FRAGMENT_MAX_MESSAGE)
        return NET_ERR_TOO_LARGE;
    if (message_waits(p, message.len)) {
        if (!list_linked(&st->starved))
            list_push_back(&s->starved_streams, &st->starved); /* asked again in the next turn */
        return NET_ERR_AGAIN;
    }
    uint8_t *data = malloc(message.len);
    if (!data)
        return NET_ERR_NO_MEMORY;
    memcpy(data, message.data, message.len);
    st->message.data = data;
    st->message.len = (uint32_t)message.len;
    st->message.subprotocol = subprotocol;
    st->message.sent.offset = 0;
    s->message_bytes += message.len;
    p->message_bytes += message.len;
    sender_wake(p, &st->sender);
    if (message.len <= WIRE_MAX_PLAINTEXT) /* a few packets: the next message need not wait for them */
        commit_while_room(p, st);
    return NET_OK;
}

void fragments_drop_message(struct stream *st)
{
    if (!st->message.data)
        return;
    st->peer->shard->message_bytes -= st->message.len;
    st->peer->message_bytes -= st->message.len;
    free(st->message.data);
    st->message.data = NULL;
}

void fragments_commit_message(struct peer *p, struct stream *st)
{
    struct large_event e = {.data = {st->message.data, st->message.len}, .total = st->message.len};
    if (fragments_commit(p, st, st->message.subprotocol, &st->message.sent, &e) == FRAGMENTS_ALL)
        fragments_drop_message(st);
}

/* ---- receiving ---- */

bool fragments_carried(const struct peer *p, const struct wire_header *h)
{
    return fragments_on(p) && ((h->frag_flags & FRAGMENT_MORE) || h->fragment_offset > 0);
}

/* Limits are those of the configuration in use. */
static struct reassembly *reassembly_of(struct peer *p, bool reliable)
{
    const struct config *c = p->shard->config;
    if (!p->reassembly) {
        p->reassembly = malloc(sizeof *p->reassembly);
        if (!p->reassembly)
            return NULL;
        reassembly_init(p->reassembly, c->event_bytes, c->reassembly_peer, &p->shard->reassembly);
    }
    /* What a reliable stream brings its handler judges, and answers: the stream goes on. */
    p->reassembly->max_message = reliable ? FRAGMENT_MAX_MESSAGE : c->event_bytes;
    p->reassembly->own.limit = c->reassembly_peer;
    p->shard->reassembly.limit = c->reassembly_total;
    return p->reassembly;
}

static void count_refused(struct shard *s, int err)
{
    if (err == NET_ERR_LIMIT)
        COUNT(s, drop_reassembly);
    else if (err == NET_ERR_TOO_LARGE)
        COUNT(s, drop_event_bytes);
    else if (err == NET_ERR_EXISTS)
        COUNT(s, drop_fragment_late);
    else if (err == NET_ERR_NO_MEMORY)
        COUNT(s, drop_no_memory);
    else
        COUNT(s, drop_fragment);
}

static int take(struct peer *p, const struct wire_header *h, struct cspan plaintext, struct fragment_message *out)
{
    struct shard *s = p->shard;
    struct wire_frames walk = wire_frames(plaintext, h->event_count);
    struct fragment f = {
        .stream = h->stream_id,
        .sequence = h->sequence,
        .id = h->fragment_id,
        .index = h->fragment_offset,
        .more = (h->frag_flags & FRAGMENT_MORE) != 0,
        .reliable = (h->flags & WIRE_RELIABLE) != 0,
    };
    *out = (struct fragment_message){NULL, 0};
    int err = NET_ERR_FORMAT;
    if (h->event_count == 1 && wire_frames_next(&walk, &f.slice)) {
        struct reassembly *r = reassembly_of(p, f.reliable);
        err = r ? reassembly_add(r, &f, s->now, out) : NET_ERR_NO_MEMORY;
    }
    if (err)
        count_refused(s, err);
    else
        COUNT(s, rx_fragments);
    return err;
}

bool fragments_take(struct peer *p, const struct wire_header *h, struct cspan plaintext, struct fragment_message *out)
{
    int err = take(p, h, plaintext, out);
    return err != NET_ERR_LIMIT && err != NET_ERR_NO_MEMORY; /* without room, its sender slows down */
}

/* A message that waits for its handler counts as if it were not whole. */
static void charge(struct peer *p, size_t len)
{
    p->reassembly->own.used += len;
    p->shard->reassembly.used += len;
}

static void discharge(struct peer *p, size_t len)
{
    p->shard->reassembly.used -= len;
    if (p->reassembly)
        p->reassembly->own.used -= len;
}

int fragments_collect(struct peer *p, const struct wire_header *h, struct cspan plaintext, struct fragment_message *out)
{
    if ((h->flags & WIRE_FIN) && (h->frag_flags & FRAGMENT_MORE))
        return NET_ERR_FORMAT; /* the rest would never come */
    int err = take(p, h, plaintext, out);
    if (out->frame)
        charge(p, out->len);
    return err == NET_ERR_EXISTS ? NET_ERR_FORMAT : err;
}

void fragments_done(struct stream *st)
{
    if (st->whole.len)
        discharge(st->peer, st->whole.len);
    free(st->whole.frame);
    st->whole = (struct fragment_message){NULL, 0};
}

uint8_t *stream_take_message(struct stream *st)
{
    uint8_t *frame = st->whole.frame;
    st->whole.frame = NULL;
    return frame;
}

void fragments_end_stream(struct stream *st)
{
    struct peer *p = st->peer;
    fragments_done(st);
    if (p->reassembly)
        COUNT_N(p->shard, drop_incomplete, reassembly_end_stream(p->reassembly, st->id));
}

uint64_t fragments_deadline(const struct peer *p)
{
    return p->reassembly ? reassembly_deadline(p->reassembly) : UINT64_MAX;
}

void fragments_tick(struct peer *p, uint64_t now)
{
    if (p->reassembly)
        COUNT_N(p->shard, drop_incomplete, reassembly_tick(p->reassembly, now));
}

void fragments_reset(struct peer *p)
{
    if (!p->reassembly)
        return;
    COUNT_N(p->shard, drop_incomplete, reassembly_end_all(p->reassembly));
    free(p->reassembly);
    p->reassembly = NULL;
}
