/* The receiving half of a reliable stream: in order, each packet once, as far as who takes it has room. Extensions X2.
 */
#include <assert.h>

#include "core/base/err.h"
#include "core/stream/reset.h"
#include "shards/transport/fragments.h"
#include "shards/transport/packets.h"
#include "shards/peers/peer.h"
#include "shards/transport/receive.h"

enum { AHEAD_MAX = 1 << 17 }; /* packets that may wait for one before them */

static void open_rx(struct peer *p, struct stream *st, uint32_t window)
{
    uint32_t ahead = window / WIRE_OVERHEAD + 1;
    st->rx_reliable = true;
    st->fin_held = false;
    st->rx_taken = 0;
    credit_rx_init(&st->rx, window);
    ordered_init(&st->arrived, ahead < AHEAD_MAX ? ahead : AHEAD_MAX);
    st->last_active = p->shard->now;
}

int stream_expect(struct peer *p, uint64_t id, uint32_t rx_window)
{
    if (!transport_acknowledges(p) || p->leaving)
        return NET_ERR_UNREACHABLE;
    struct stream *st = stream_get(p, id);
    if (!st)
        return map_get(&p->streams, id) ? NET_ERR_AGAIN : NET_ERR_LIMIT;
    if (st->rx_reliable || st->subscription)
        return NET_ERR_LIMIT;
    open_rx(p, st, rx_window);
    return NET_OK;
}

/* The pool is there for what all peers are sent, too: packets in disorder of one peer take half of it at most. */
static struct packet *held_get(struct peer *p, size_t len)
{
    struct packet_pool *pool = &p->shard->packets;
    uint64_t before = pool->used;
    struct packet *k = p->held < pool->limit / 2 ? packet_get(pool, len) : NULL;
    p->held += pool->used - before;
    return k;
}

static void held_put(struct peer *p, struct packet *k)
{
    struct packet_pool *pool = &p->shard->packets;
    uint64_t before = pool->used;
    packet_put(pool, k);
    p->held -= before - pool->used;
}

void stream_release_rx(struct stream *st)
{
    struct packet *k;
    st->released++;
    while ((k = ordered_take_any(&st->arrived)))
        held_put(st->peer, k);
    ordered_deinit(&st->arrived);
    fragments_end_stream(st);
    if (list_linked(&st->stalled))
        list_remove(&st->stalled);
}

static void hold_fin(struct stream *st, const struct wire_header *h)
{
    st->fin_held = true;
    st->fin_session = h->session_id;
    st->fin_counter = h->counter;
}

/* All before it was taken, too: now the peer may hear that it arrived. */
static void acknowledge_fin(struct peer *p, struct stream *st)
{
    struct wire_header h = {.session_id = st->fin_session, .counter = st->fin_counter};
    if (st->fin_held)
        transport_on_packet(p, &h, true);
    st->fin_held = false;
}

/* Hands a packet that is next, or a message, to its handler. False: there is no room downstream. */
static bool deliver(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    packet_handler *handler = receive_handler(p->shard, h->subprotocol);
    uint32_t before = st->released;
    st->rx_subprotocol = h->subprotocol;
    st->delivering = true;
    bool taken = handler(p, st, h, plaintext);
    st->delivering = false;
    if (!taken || st->released != before)
        return taken || st->released != before; /* over: nothing of it is offered again */
    ordered_advance(&st->arrived);
    st->rx_finished = (h->flags & WIRE_FIN) != 0;
    if (st->rx_finished) {
        st->finished_at = p->shard->now;
        acknowledge_fin(p, st);
    }
    return true;
}

/* A fragment is next. False: there is no room for the message that it completes. */
static bool take_fragment(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    if (!st->whole.frame) {
        int err = fragments_collect(p, h, plaintext, &st->whole);
        if (err) {
            stream_fail(p, st, err == NET_ERR_FORMAT ? RESET_FORMAT : RESET_LIMIT);
            return true;
        }
        if (!st->whole.frame) {
            ordered_advance(&st->arrived);
            stream_consumed(p, st, h->payload_len + (uint32_t)WIRE_OVERHEAD);
            return true;
        }
    }
    uint32_t before = st->released;
    struct wire_header whole = *h;
    whole.frag_flags = 0;
    whole.fragment_offset = 0;
    bool taken = deliver(p, st, &whole, (struct cspan){st->whole.frame, st->whole.len});
    if (taken && st->released == before)
        fragments_done(st);
    return taken;
}

static bool hand_on(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    if (fragments_carried(p, h))
        return take_fragment(p, st, h, plaintext);
    if (st->whole.frame) { /* it comes in the place of what made that whole */
        stream_fail(p, st, RESET_FORMAT);
        return true;
    }
    return deliver(p, st, h, plaintext);
}

static struct wire_header header_of(const struct stream *st, const struct packet *k)
{
    return (struct wire_header){
        .flags = (uint8_t)(WIRE_RELIABLE | k->flags),
        .frag_flags = k->frag_flags,
        .subprotocol = k->subprotocol,
        .channel_hash = k->channel_hash,
        .stream_id = st->id,
        .sequence = k->sequence,
        .fragment_id = k->fragment_id,
        .fragment_offset = k->fragment_offset,
        .payload_len = k->len,
        .event_count = k->count,
    };
}

/* What waited and is next now. */
static void drain(struct peer *p, struct stream *st)
{
    struct packet *k;
    uint32_t before = st->released;
    while (st->released == before && !st->rx_finished && (k = ordered_first(&st->arrived))) {
        struct wire_header h = header_of(st, k);
        if (!hand_on(p, st, &h, (struct cspan){k->data, k->len})) {
            if (!list_linked(&st->stalled))
                list_push_back(&p->shard->stalled_streams, &st->stalled);
            return;
        }
        if (st->released == before) /* else it went back with all others */
            held_put(p, k);
    }
    stream_settle(p, st);
}

static bool hold(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    struct packet *k = held_get(p, plaintext.len);
    if (!k) {
        COUNT(p->shard, drop_pool);
        return false;
    }
    k->sequence = h->sequence;
    k->flags = h->flags & WIRE_FIN;
    k->frag_flags = h->frag_flags;
    k->subprotocol = h->subprotocol;
    k->channel_hash = h->channel_hash;
    k->fragment_id = h->fragment_id;
    k->fragment_offset = h->fragment_offset;
    k->len = (uint16_t)plaintext.len;
    k->count = h->event_count;
    if (plaintext.len)
        memcpy(k->data, plaintext.data, plaintext.len);
    if (ordered_hold(&st->arrived, h->sequence, k) != NET_OK) {
        held_put(p, k);
        COUNT(p->shard, drop_no_memory);
        return false;
    }
    return true;
}

/* True: it has its place. */
static bool place(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    uint32_t before = st->released;
    bool waits = ordered_first(&st->arrived) != NULL; /* the handler had no room for one before */
    if (h->sequence == st->arrived.next && !waits) {
        if (hand_on(p, st, h, plaintext)) {
            if (st->released != before)
                return true;
            st->rx_taken += (uint64_t)h->payload_len + WIRE_OVERHEAD;
            drain(p, st);
            return true;
        }
        if (!hold(p, st, h, plaintext))
            return false;
        if (!list_linked(&st->stalled))
            list_push_back(&p->shard->stalled_streams, &st->stalled);
    } else if (!hold(p, st, h, plaintext)) {
        return false;
    }
    st->rx_taken += (uint64_t)h->payload_len + WIRE_OVERHEAD;
    return true;
}

/* The stream of a packet that arrived; NULL: it is dealt with, *placed says how. */
static struct stream *stream_of(struct peer *p, const struct wire_header *h, bool *placed)
{
    struct shard *s = p->shard;
    struct stream *st = map_get(&p->streams, h->stream_id);
    *placed = true;
    if (st && !st->closed_at && stream_is_forgettable(st, s->now)) { /* our own direction goes on: the peer's, anew */
        stream_release_rx(st);
        st->rx_reliable = st->rx_finished = st->rx_forgettable = false;
    }
    if (st && (st->closed_at || st->rx_finished)) {
        COUNT(s, drop_stream_closed);
        /* It repeats what was delivered; else it may be the first of a new stream of that id. */
        *placed = st->rx_reliable && st->rx_finished && !stream_is_forgettable(st, s->now);
        return NULL;
    }
    if (!receive_handler(s, h->subprotocol)) {
        COUNT(s, drop_subprotocol);
        if (st && st->rx_reliable) /* the peer forgets it: so do we, or what it sends next would be taken for this */
            stream_fail(p, st, RESET_UNKNOWN);
        else
            stream_refuse(p, h->stream_id, RESET_UNKNOWN);
        return NULL;
    }
    if (!st && !(st = stream_get(p, h->stream_id))) {
        COUNT(s, drop_stream_limit);
        stream_refuse(p, h->stream_id, RESET_LIMIT);
        return NULL;
    }
    if (!st->rx_reliable && (st->subscription || st->rx_next)) {
        COUNT(s, drop_stream_mode);
        stream_refuse(p, h->stream_id, RESET_MODE);
        return NULL;
    }
    if (!st->rx_reliable)
        open_rx(p, st, stream_rx_window(p));
    return st;
}

bool stream_on_packet(struct peer *p, const struct wire_header *h, struct cspan plaintext)
{
    struct shard *s = p->shard;
    bool placed;
    struct stream *st = stream_of(p, h, &placed);
    if (!st)
        return placed;
    st->last_active = s->now;
    switch (ordered_place(&st->arrived, h->sequence)) {
    case ORDERED_DUPLICATE:
        COUNT(s, rx_duplicates);
        ack_hurry(&p->transport.acks, s->now);
        if (!st->fin_held || !(h->flags & WIRE_FIN))
            return true;
        hold_fin(st, h); /* the sender took those before for lost */
        return false;
    case ORDERED_BEYOND:
        COUNT(s, drop_window);
        return false;
    case ORDERED_NEXT:
    case ORDERED_LATER:
        break;
    }
    /* Credit may come late, of another stream that had this id, from another shard. */
    uint64_t waiting = st->rx_taken > st->rx.consumed ? st->rx_taken - st->rx.consumed : 0;
    if (waiting + h->payload_len + WIRE_OVERHEAD > st->rx.window) {
        COUNT(s, drop_window); /* nobody within its credit sends so much */
        return false;
    }
    uint32_t before = st->released;
    bool has_place = place(p, st, h, plaintext);
    if (has_place && (h->flags & WIRE_FIN) && !st->rx_finished && st->released == before) {
        hold_fin(st, h);
        return false;
    }
    return has_place;
}

void streams_offer(struct shard *s)
{
    struct list again, *n;
    list_init(&again);
    while ((n = list_pop(&s->stalled_streams)))
        list_push_back(&again, n);
    while ((n = list_pop(&again))) {
        struct stream *st = container_of(n, struct stream, stalled);
        drain(st->peer, st);
    }
}
