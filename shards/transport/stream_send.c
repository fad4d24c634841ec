/* The sending half of a stream: packets are filled once; of a reliable one they are sent until they are acknowledged
 * (extensions X2), of another once. */
#include <assert.h>

#include "core/base/err.h"
#include "shards/transport/fragments.h"
#include "shards/transport/packets.h"
#include "shards/peers/peer.h"
#include "shards/transport/transmit.h"

enum { GSO_SEGMENTS = 60 };

static enum pull_result pull_stream(struct sender *, uint64_t allowance, uint64_t *spent);

int stream_open(struct peer *p, uint64_t id, enum stream_mode mode, uint32_t tx_window, uint8_t weight,
                struct stream **out)
{
    bool reliable = mode == STREAM_RELIABLE;
    if (!p->link.current.used || p->leaving || (reliable && !transport_acknowledges(p)))
        return NET_ERR_UNREACHABLE;
    struct stream *st = stream_get(p, id);
    if (!st)
        return map_get(&p->streams, id) ? NET_ERR_AGAIN : NET_ERR_LIMIT;
    if (st->finishing)
        return NET_ERR_STATE;
    *out = st;
    if (st->tx_open)
        return st->tx_reliable == reliable ? NET_OK : NET_ERR_LIMIT;
    if (st->cursors)
        return NET_ERR_LIMIT;
    st->tx_open = true;
    st->tx_reliable = reliable;
    st->tx_seq = 0;
    credit_tx_init(&st->tx, tx_window ? tx_window : stream_tx_window(p), p->shard->now);
    sender_init(&st->sender, weight, id == SUBPROTO_STREAM, reliable, pull_stream);
    return NET_OK;
}

struct packet *stream_packet_of(struct peer *p, struct stream *st, size_t room)
{
    struct shard *s = p->shard;
    if (st->tx.remaining < room + WIRE_OVERHEAD) {
        credit_tx_refuse(&st->tx, s->now);
        return NULL; /* the next grant wakes it */
    }
    size_t block = room < p->plaintext_path ? p->plaintext_path : room;
    struct packet *k = packet_get(&s->packets, block);
    if (!k) {
        COUNT(s, pool_dry);
        if (!list_linked(&st->starved))
            list_push_back(&s->starved_streams, &st->starved);
        return NULL;
    }
    k->room = (uint16_t)room;
    return k;
}

struct packet *stream_packet(struct peer *p, struct stream *st, size_t room)
{
    return stream_packet_of(p, st, room < p->plaintext_max ? room : p->plaintext_max);
}

void stream_discard(struct peer *p, struct packet *k)
{
    packet_put(&p->shard->packets, k);
}

/* Almost full: padded to the size of all, so that GSO carries it among others (bytes behind the announced frames are
 * ignored by every receiver, wire.md 6.1). */
static void pad(struct peer *p, const struct stream *st, struct packet *k)
{
    size_t path = p->plaintext_path;
    if (k->len >= path || path - k->len > path / 16 || st->tx.remaining < path + WIRE_OVERHEAD)
        return;
    memset(k->data + k->len, 0, path - k->len);
    k->len = (uint16_t)path;
}

void stream_commit(struct peer *p, struct stream *st, struct packet *k)
{
    assert(k->len <= k->room && st->tx_open && !st->finished);
    pad(p, st, k);
    bool credit = credit_tx_acquire(&st->tx, (uint32_t)k->len + WIRE_OVERHEAD, p->shard->now);
    assert(credit); /* stream_packet() saw it there */
    k->stream = st;
    k->sequence = st->tx_seq++;
    st->tx_subprotocol = k->subprotocol;
    st->last_active = p->shard->now;
    list_push_back(&st->unsent, &k->link);
    sender_wake(p, &st->sender);
}

int stream_send_message(struct peer *p, uint64_t stream_id, uint16_t subprotocol, struct cspan message)
{
    struct stream *st;
    int err = stream_open(p, stream_id, STREAM_RELIABLE, 0, 1, &st);
    if (err)
        return err;
    size_t len = 4 + message.len;
    if (st->message.data)
        return NET_ERR_AGAIN;
    /* What IP would fragment goes in fragments of ours: the loss of one is not the loss of all. */
    if (len > p->plaintext_whole)
        return fragments_send_message(p, st, subprotocol, message);
    struct packet *k = stream_packet(p, st, len);
    if (!k)
        return NET_ERR_AGAIN;
    k->subprotocol = subprotocol;
    store_le32(k->data, (uint32_t)message.len);
    if (message.len)
        memcpy(k->data + 4, message.data, message.len);
    k->len = (uint16_t)len;
    k->count = 1;
    stream_commit(p, st, k);
    return NET_OK;
}

void stream_wants_tx(struct peer *p, struct stream *st)
{
    if (st->tx_open)
        sender_wake(p, &st->sender);
}

void stream_finish(struct peer *p, struct stream *st)
{
    st->finishing = true;
    stream_wants_tx(p, st);
}

/* ---- what becomes of it ---- */

/* FIN is acknowledged and so is all before it; of a fire-and-forget stream it was sent. */
static void end_if_done(struct peer *p, struct stream *st)
{
    if (!st->finished || !list_empty(&st->in_flight) || !list_empty(&st->lost) || !list_empty(&st->unsent))
        return;
    struct stream_source *source = st->source;
    stream_release_tx(st);
    if (st->tx_reliable)
        stream_tell_finished(p, st);
    if (source)
        source->ended(source, p, st, NET_OK);
    stream_settle(p, st);
}

void stream_on_acked(struct peer *p, struct packet *k)
{
    struct stream *st = k->stream;
    packet_put(&p->shard->packets, k);
    if (st)
        end_if_done(p, st);
}

/* Losses are told by ascending counters, so mostly by ascending sequences. */
void stream_on_lost(struct peer *p, struct packet *k)
{
    struct stream *st = k->stream;
    if (!st) {
        packet_put(&p->shard->packets, k);
        return;
    }
    list_remove(&k->link);
    struct list *after = st->lost.prev;
    while (after != &st->lost && container_of(after, struct packet, link)->sequence > k->sequence)
        after = after->prev;
    list_push_back(after->next, &k->link);
    sender_wake(p, &st->sender);
}

void stream_release_tx(struct stream *st)
{
    struct peer *p = st->peer;
    struct list *n;
    sender_sleep(p, &st->sender);
    if (list_linked(&st->starved))
        list_remove(&st->starved);
    while ((n = list_pop(&st->lost)) || (n = list_pop(&st->unsent)))
        packet_put(&p->shard->packets, container_of(n, struct packet, link));
    while ((n = list_pop(&st->in_flight)))
        container_of(n, struct packet, link)->stream = NULL; /* put back when its fate is known */
    fragments_drop_message(st);
    st->source = NULL;
    st->tx_open = false;
}

void streams_fed(struct shard *s)
{
    struct list *n;
    bool returned = s->packets.returned;
    s->packets.returned = false;
    while (returned && (n = list_pop(&s->starved_streams))) {
        struct stream *st = container_of(n, struct stream, starved);
        stream_wants_tx(st->peer, st);
    }
}

/* ---- sending ---- */

static size_t route_len(const struct peer *p)
{
    return p->relayed ? WIRE_ROUTE : 0;
}

static struct packet *first(struct list *packets)
{
    struct list *n = list_first(packets);
    return n ? container_of(n, struct packet, link) : NULL;
}

static void commit_fin(struct peer *p, struct stream *st)
{
    if (!transport_acknowledges(p)) {
        st->finished = true; /* v0.19.0 knows no end */
        return;
    }
    struct packet *k = stream_packet(p, st, 0);
    if (!k)
        return;
    k->flags = WIRE_FIN;
    k->subprotocol = st->tx_subprotocol;
    stream_commit(p, st, k);
    st->finished = true;
}

/* What is lost goes first, then what is new. */
static struct packet *next_packet(struct peer *p, struct stream *st)
{
    struct packet *k = first(&st->lost);
    if (!k)
        k = first(&st->unsent);
    if (k)
        return k;
    if (!st->message.data && !st->finishing && st->source)
        st->source->fill(st->source, p, st);
    if (st->message.data)
        fragments_commit_message(p, st);
    else if (st->finishing && !st->finished)
        commit_fin(p, st);
    return first(&st->unsent);
}

/* Seals the packet at `at` and returns its length; 0: the session seals no more. */
static size_t seal(struct peer *p, struct packet *k, uint8_t flags, uint8_t *at)
{
    struct stream *st = k->stream;
    struct wire_header h = {
        .flags = (uint8_t)((st->tx_reliable ? WIRE_RELIABLE : 0) | k->flags),
        .frag_flags = k->frag_flags,
        .subprotocol = k->subprotocol,
        .channel_hash = k->channel_hash,
        .stream_id = st->id,
        .sequence = k->sequence,
        .origin_hash = (uint32_t)p->shard->node->identity.ids.origin_hash,
        .fragment_id = k->fragment_id,
        .fragment_offset = k->fragment_offset,
        .payload_len = k->len,
        .event_count = k->count,
    };
    if (k->len)
        memcpy(at + route_len(p) + WIRE_HEADER, k->data, k->len);
    struct sent how = {.stream = st->id, .flags = (uint8_t)(SENT_ELICITING | flags)};
    if (st->tx_reliable) {
        how.what = k;
        how.flags |= SENT_KEPT;
    } else {
        how.cost = (uint16_t)(k->len + WIRE_OVERHEAD);
    }
    size_t len = transport_seal(p, &h, &how, at);
    if (len == 0) {
        COUNT(p->shard, drop_send);
        return 0;
    }
    if (k->was_sent) {
        COUNT(p->shard, packets_retransmitted);
        st->retransmitted++;
    }
    k->was_sent = true;
    list_remove(&k->link);
    if (st->tx_reliable)
        list_push_back(&st->in_flight, &k->link);
    else
        packet_put(&p->shard->packets, k);
    return len;
}

static void send_batch(struct peer *p, struct tx_buffer *b, size_t len, size_t segment, uint32_t packets)
{
    if (packets == 0) {
        transmit_release(p->shard, b);
        return;
    }
    transmit_send(p->shard, b, &p->addr, len, packets > 1 ? segment : 0, packets);
    link_on_sent(&p->link, p->shard->now);
}

/* One GSO batch: packets of one size, the last may be shorter. One that IP fragments goes alone. */
static enum pull_result pull_stream(struct sender *x, uint64_t allowance, uint64_t *spent)
{
    struct stream *st = container_of(x, struct stream, sender);
    struct peer *p = st->peer;
    struct packet *k = next_packet(p, st);
    if (!k) {
        if (!st->tx_reliable)
            end_if_done(p, st);
        return PULL_IDLE;
    }
    struct tx_buffer *b = transmit_get(p->shard, true);
    if (!b)
        return PULL_NO_BUFFER;
    size_t offset = 0, segment = route_len(p) + WIRE_OVERHEAD + k->len;
    uint32_t packets = 0;
    bool sealed = true;
    for (bool more = true; k && more; k = more ? next_packet(p, st) : k) {
        size_t len = route_len(p) + WIRE_OVERHEAD + k->len;
        if (len > segment || offset + len > b->size)
            break;
        more = len == segment && k->len <= p->plaintext_path;
        if (!(sealed = seal(p, k, 0, b->data + offset) > 0))
            break;
        offset += len;
        packets++;
        more = more && packets < GSO_SEGMENTS && offset < allowance && transport_may_send(p);
    }
    send_batch(p, b, offset, segment, packets);
    *spent = offset;
    if (!k && !st->tx_reliable)
        end_if_done(p, st);
    return k && sealed ? PULL_MORE : PULL_IDLE;
}

static bool send_ping(struct peer *p, struct tx_buffer *b)
{
    struct wire_header h = {.subprotocol = SUBPROTO_STREAM, .stream_id = UINT64_MAX, .sequence = p->control_seq};
    struct sent how = {.flags = SENT_ELICITING | SENT_PROBE};
    size_t len = transport_seal(p, &h, &how, b->data);
    p->control_seq += len > 0;
    send_batch(p, b, len, 0, len > 0);
    return true;
}

static struct packet *waiting_packet(const struct list *lane, bool unsent)
{
    for (struct list *n = lane->next; n != lane; n = n->next) {
        struct sender *x = container_of(n, struct sender, flow.link);
        struct stream *st = x->reliable ? container_of(x, struct stream, sender) : NULL;
        struct packet *k = st ? first(&st->lost) : NULL;
        if (st && !k && unsent)
            k = first(&st->unsent);
        if (k)
            return k;
    }
    return NULL;
}

/* What a probe carries rather than what may be on its way. A reset, also a new one: two ends that gave up what the
 * other still sends acknowledge nothing until they hear it, and their windows have no room for it. Then what is known
 * to be lost: it may be all that the others wait for. */
static struct packet *urgent_packet(struct peer *p)
{
    const struct schedule *schedule = &p->transport.schedule;
    struct packet *k = waiting_packet(&schedule->lanes[0], true);
    return k ? k : waiting_packet(&schedule->lanes[1], false);
}

bool stream_probe(struct peer *p)
{
    struct tx_buffer *b = transmit_get(p->shard, true);
    if (!b)
        return false;
    COUNT(p->shard, probes_sent);
    struct packet *k = urgent_packet(p);
    while (!k && (k = recovery_probe(&p->transport.recovery)) && !k->stream) {
        packet_put(&p->shard->packets, k);
        k = NULL;
    }
    if (!k)
        return send_ping(p, b);
    bool room = recovery_reserve(&p->transport.recovery, p->shard->now) == NET_OK;
    size_t len = room ? seal(p, k, SENT_PROBE, b->data) : 0;
    if (len == 0)
        stream_on_lost(p, k);
    send_batch(p, b, len, 0, len > 0);
    return true;
}
