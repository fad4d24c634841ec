/* The streams of a peer: made, found, ended. streams.md 3 and 4, extensions X1. */
#include <stdlib.h>

#include "shards/logs/view.h"

enum { V019_WINDOW = 65536 };
static const uint64_t QUARANTINE_NS = UINT64_C(2000000000); /* streams.md 4.3 */

uint32_t stream_tx_window(const struct peer *p)
{
    const struct session *s = &p->link.current.session;
    return session_secure(s) && s->p.peer_window ? s->p.peer_window : V019_WINDOW;
}

uint32_t stream_rx_window(const struct peer *p)
{
    return session_secure(&p->link.current.session) ? p->rx_window : V019_WINDOW;
}

void streams_init(struct peer *p)
{
    uint64_t seed;
    io_random(p->shard->io, &seed, sizeof seed);
    map_init(&p->streams, seed);
    list_init(&p->closed_streams);
}

void stream_dispose(struct stream *st)
{
    stream_release_tx(st);
    stream_release_rx(st);
    struct list *lists[] = {&st->grant, &st->closed, &st->starved, &st->stalled};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (list_linked(lists[i]))
            list_remove(lists[i]);
    free(st);
}

static void stream_free(struct peer *p, struct stream *st)
{
    map_remove(&p->streams, st->id);
    stream_dispose(st);
}

void streams_free(struct peer *p)
{
    streams_end_reliable(p, NET_ERR_CLOSED);
    map_each(&p->streams, slot) stream_dispose(slot->value);
    map_deinit(&p->streams);
}

/* What the peer may make of the table is bounded at arrival (streams.md 15.8). What is over makes room first; what ends
 * streams always finds some. */
static bool has_room(struct peer *p, uint64_t id)
{
    struct list *n = list_first(&p->closed_streams);
    struct stream *oldest = n ? container_of(n, struct stream, closed) : NULL;
    if (p->streams.count >= p->shard->config->max_streams && oldest && !oldest->delivering && !oldest->reset_owed)
        stream_free(p, oldest);
    return p->streams.count < p->shard->config->max_streams || id == SUBPROTO_STREAM;
}

struct stream *stream_get(struct peer *p, uint64_t id)
{
    struct stream *st = map_get(&p->streams, id);
    if (st)
        return st->closed_at ? NULL : st;
    if (!p->link.current.used || !has_room(p, id))
        return NULL;
    st = calloc(1, sizeof *st);
    if (!st)
        return NULL;
    st->id = id;
    st->peer = p;
    struct list *lists[] = {&st->grant,  &st->closed, &st->starved,  &st->stalled,
                            &st->unsent, &st->lost,   &st->in_flight};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    list_init(&st->sender.flow.link);
    st->grant_counter = UINT64_MAX;
    credit_tx_init(&st->tx, stream_tx_window(p), p->shard->now);
    credit_rx_init(&st->rx, stream_rx_window(p));
    st->last_active = p->shard->now;
    if (map_put(&p->streams, id, st) != NET_OK) {
        free(st);
        return NULL;
    }
    return st;
}

struct stream *stream_find(struct peer *p, uint64_t id)
{
    struct stream *st = map_get(&p->streams, id);
    return st && !st->closed_at ? st : NULL;
}

static void reset_tx(struct peer *p, struct stream *st)
{
    st->tx_seq = 0;
    credit_tx_init(&st->tx, stream_tx_window(p), p->shard->now);
}

static void reset_rx(struct peer *p, struct stream *st)
{
    st->rx_next = 0;
    credit_rx_init(&st->rx, stream_rx_window(p));
    if (list_linked(&st->grant))
        list_remove(&st->grant);
}

/* The other end starts at sequence 0 and with a full window: so do we, both ways. Reliable streams end. */
void streams_reset(struct peer *p)
{
    map_each(&p->streams, slot)
    {
        struct stream *st = slot->value;
        if (!st->tx_open)
            reset_tx(p, st);
        if (!st->rx_reliable)
            reset_rx(p, st);
    }
    p->control_seq = 0;
    streams_end_reliable(p, NET_ERR_CLOSED);
}

/* Whether the other end forgets the stream too. A v0.19.0 node keeps it as long as the session lives; a peer that we
 * took for dead may go on where it was. */
static bool may_end(const struct peer *p)
{
    return p->link.current.used && session_secure(&p->link.current.session) && !p->link.failed;
}

/* Something else goes on under this id: a live cursor, a subscription. */
static bool shared(const struct stream *st)
{
    return st->cursors || st->subscription;
}

/* What the peer sends on it ends with FIN, where the peer knows that; else with our own half. */
static bool unused(const struct stream *st)
{
    bool receives = st->rx_reliable || (st->rx_next && transport_acknowledges(st->peer));
    return !shared(st) && !st->tx_open && (!receives || st->rx_finished);
}

void stream_end_tx(struct peer *p, struct stream *st)
{
    if (--st->cursors || !may_end(p))
        return;
    reset_tx(p, st);
    if (unused(st))
        stream_free(p, st);
}

void stream_end_rx(struct peer *p, struct stream *st)
{
    st->subscription = NULL;
    if (!may_end(p))
        return;
    reset_rx(p, st);
    if (unused(st))
        stream_free(p, st);
}

void stream_close(struct peer *p, struct stream *st)
{
    stream_release_tx(st);
    stream_release_rx(st);
    if (list_linked(&st->grant))
        list_remove(&st->grant);
    if (shared(st)) {
        st->rx_reliable = st->rx_finished = st->rx_forgettable = false;
        st->finishing = st->finished = st->ended = false;
        return;
    }
    st->closed_at = p->shard->now;
    list_push_back(&p->closed_streams, &st->closed);
    peer_schedule(p);
}

void stream_settle(struct peer *p, struct stream *st)
{
    if (unused(st) && !st->delivering && !st->closed_at)
        stream_close(p, st);
}

static uint64_t closed_deadline(const struct peer *p)
{
    const struct list *first = p->closed_streams.next;
    return first == &p->closed_streams ? UINT64_MAX
                                       : container_of(first, struct stream, closed)->closed_at + QUARANTINE_NS;
}

bool stream_is_forgettable(const struct stream *st, uint64_t now)
{
    return st->rx_forgettable && now - st->finished_at >= QUARANTINE_NS;
}

/* The peer may not have heard of all resets yet, and send what belongs to a stream that was. */
static bool resets_on_their_way(const struct peer *p)
{
    const struct stream *st = map_get(&p->streams, SUBPROTO_STREAM);
    return st && !(list_empty(&st->unsent) && list_empty(&st->lost) && list_empty(&st->in_flight));
}

static void forget_closed(struct peer *p, uint64_t now)
{
    for (struct list *n = p->closed_streams.next; n != &p->closed_streams; n = n->next) {
        struct stream *st = container_of(n, struct stream, closed);
        if (st->reset_owed)
            stream_retry_reset(p, st);
    }
    while (closed_deadline(p) <= now) {
        struct stream *st = container_of(list_first(&p->closed_streams), struct stream, closed);
        bool may_be_repeated = st->rx_reliable && st->rx_finished && !st->rx_forgettable;
        if (st->reset_owed || may_be_repeated || (st->was_reset && resets_on_their_way(p))) { /* another two seconds */
            list_remove(&st->closed);
            st->closed_at = now;
            list_push_back(&p->closed_streams, &st->closed);
            continue;
        }
        stream_free(p, st);
    }
}

uint64_t streams_deadline(const struct peer *p)
{
    if (!peer_usable(p))
        return closed_deadline(p); /* whatever else is due leaves when it answers again */
    return timer_earlier(closed_deadline(p), timer_earlier(transport_deadline(p), stream_credit_deadline(p)));
}

void streams_tick(struct peer *p, uint64_t now)
{
    forget_closed(p, now);
    if (!peer_usable(p))
        return;
    transport_tick(p, now);
    stream_credit_tick(p, now);
}
