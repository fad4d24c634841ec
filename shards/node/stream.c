/* The streams of a peer: sequences and credit in both directions. streams.md 3, 9; extensions X0 WINDOW, X4. */
#include <stdlib.h>

#include "shards/node/view.h"

enum { V019_WINDOW = 65536 };
static const uint64_t GRANT_DELAY_NS = 1000000; /* X4: at the latest 1 ms after something was consumed */

static uint32_t tx_window(const struct peer *p)
{
    const struct session *s = &p->link.current.session;
    return session_secure(s) && s->p.peer_window ? s->p.peer_window : V019_WINDOW;
}

static uint32_t rx_window(const struct peer *p)
{
    return session_secure(&p->link.current.session) ? p->rx_window : V019_WINDOW;
}

struct stream *stream_get(struct peer *p, uint64_t id)
{
    struct stream *st = map_get(&p->streams, id);
    if (st || !p->link.current.used)
        return st;
    if (p->streams.count >= p->shard->config->max_streams)
        return NULL;
    st = calloc(1, sizeof *st);
    if (!st)
        return NULL;
    st->id = id;
    list_init(&st->grant);
    credit_tx_init(&st->tx, tx_window(p), p->shard->now);
    credit_rx_init(&st->rx, rx_window(p));
    st->last_active = p->shard->now;
    if (map_put(&p->streams, id, st) != NET_OK) {
        free(st);
        return NULL;
    }
    return st;
}

static void reset_tx(struct peer *p, struct stream *st)
{
    st->tx_seq = 0;
    credit_tx_init(&st->tx, tx_window(p), p->shard->now);
}

static void reset_rx(struct peer *p, struct stream *st)
{
    st->rx_next = 0;
    credit_rx_init(&st->rx, rx_window(p));
    if (list_linked(&st->grant))
        list_remove(&st->grant);
}

/* The other end starts at sequence 0 and with a full window: so do we, both ways. */
void streams_reset(struct peer *p)
{
    map_each(&p->streams, slot)
    {
        reset_tx(p, slot->value);
        reset_rx(p, slot->value);
    }
    p->control_seq = 0;
}

/* Whether the other end forgets the stream too. A v0.19.0 node keeps it as long as the session lives; a peer that we
 * took for dead may go on where it was. */
static bool may_end(const struct peer *p)
{
    return p->link.current.used && session_secure(&p->link.current.session) && !p->link.failed;
}

static void free_unused(struct peer *p, struct stream *st)
{
    if (st->cursors || st->subscription)
        return;
    if (list_linked(&st->grant))
        list_remove(&st->grant);
    map_remove(&p->streams, st->id);
    free(st);
}

void stream_end_tx(struct peer *p, struct stream *st)
{
    if (--st->cursors || !may_end(p))
        return;
    reset_tx(p, st);
    free_unused(p, st);
}

void stream_end_rx(struct peer *p, struct stream *st)
{
    st->subscription = NULL;
    if (!may_end(p))
        return;
    reset_rx(p, st);
    free_unused(p, st);
}

void streams_free(struct peer *p)
{
    map_each(&p->streams, slot) free(slot->value);
    map_deinit(&p->streams);
}

void stream_consumed(struct peer *p, struct stream *st, uint32_t bytes)
{
    credit_rx_consume(&st->rx, bytes, p->shard->now, GRANT_DELAY_NS);
    if (st->rx.window && !list_linked(&st->grant)) {
        list_push_back(&p->grants, &st->grant);
        peer_schedule(p);
    }
    if (credit_rx_due(&st->rx, p->shard->now))
        peer_wants_tx(p);
}

void stream_on_credit(struct peer *p, struct cspan plaintext, uint32_t count)
{
    struct wire_frames walk = wire_frames(plaintext, count);
    struct cspan event;
    while (wire_frames_next(&walk, &event)) {
        uint64_t id, total;
        if (credit_decode(event, &id, &total) != NET_OK) {
            COUNT(p->shard, drop_credit);
            continue;
        }
        COUNT(p->shard, grants_received);
        struct stream *st = map_get(&p->streams, id);
        if (st)
            credit_tx_grant(&st->tx, total, p->shard->now);
        else
            COUNT(p->shard, drop_credit_stream);
    }
    peer_wants_tx(p);
}

uint64_t streams_deadline(const struct peer *p)
{
    uint64_t at = UINT64_MAX;
    if (!peer_usable(p))
        return at; /* whatever is due leaves when it answers again */
    for (const struct list *n = p->grants.next; n != &p->grants; n = n->next) {
        const struct stream *st = container_of(n, struct stream, grant);
        if (st->rx.due_ns < at)
            at = st->rx.due_ns;
    }
    for (const struct list *n = p->cursors.next; n != &p->cursors; n = n->next) {
        const struct cursor *c = container_of(n, struct cursor, in_peer);
        uint64_t recover = c->stream ? credit_tx_deadline(&c->stream->tx, p->rtt_ns) : UINT64_MAX;
        if (recover < at)
            at = recover;
    }
    return at;
}

/* What a quiet receiver never granted is taken as lost (streams.md 13.4); held while the peer does not answer at all.
 */
void streams_tick(struct peer *p, uint64_t now)
{
    if (!peer_usable(p))
        return;
    for (struct list *n = p->cursors.next; n != &p->cursors; n = n->next) {
        struct cursor *c = container_of(n, struct cursor, in_peer);
        if (!c->stream)
            continue;
        uint64_t before = c->stream->tx.written_off;
        if (credit_tx_recover(&c->stream->tx, now, p->rtt_ns))
            COUNT_N(p->shard, credit_written_off, c->stream->tx.written_off - before);
    }
}
