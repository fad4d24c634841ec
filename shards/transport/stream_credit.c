/* The credit of streams, both directions: what is granted to the peer, and by it. streams.md 9 and 13.4, extensions X4.
 */
#include "shards/logs/view.h"

static const uint64_t GRANT_DELAY_NS = 1000000; /* X4: at the latest 1 ms after something was consumed */

static void owe_grant(struct peer *p, struct stream *st)
{
    if (list_linked(&st->grant))
        return;
    list_push_back(&p->grants, &st->grant);
    peer_schedule(p);
}

void stream_consumed(struct peer *p, struct stream *st, uint32_t bytes)
{
    credit_rx_consume(&st->rx, bytes, p->shard->now, GRANT_DELAY_NS);
    if (st->rx.window && !st->closed_at)
        owe_grant(p, st);
    if (credit_rx_due(&st->rx, p->shard->now))
        peer_wants_tx(p);
}

bool stream_grants_due(const struct peer *p)
{
    for (const struct list *n = p->grants.next; n != &p->grants; n = n->next)
        if (credit_rx_due(&container_of(n, struct stream, grant)->rx, p->shard->now))
            return true;
    return false;
}

void stream_grants_put_off(struct peer *p)
{
    for (struct list *n = p->grants.next; n != &p->grants; n = n->next)
        container_of(n, struct stream, grant)->rx.due_ns = p->shard->now + GRANT_DELAY_NS;
}

/* The newest total of each goes again. A later grant of the same stream has replaced it already. */
void stream_grants_lost(struct peer *p, uint64_t packet)
{
    map_each(&p->streams, slot)
    {
        struct stream *st = slot->value;
        if (st->grant_counter != packet || !st->rx.window || st->closed_at)
            continue;
        st->rx.due_ns = p->shard->now;
        owe_grant(p, st);
        peer_wants_tx(p);
    }
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
        struct stream *st = stream_find(p, id);
        if (!st) {
            COUNT(p->shard, drop_credit_stream);
            continue;
        }
        credit_tx_grant(&st->tx, total, p->shard->now);
        if (st->tx_open)
            stream_wants_tx(p, st);
    }
    peer_wants_tx(p);
}

void stream_credit_lost(struct peer *p, uint64_t id, uint32_t bytes)
{
    struct stream *st = stream_find(p, id);
    if (st && !st->tx_reliable)
        credit_tx_lost(&st->tx, bytes);
}

void stream_credit_found(struct peer *p, uint64_t id, uint32_t bytes)
{
    struct stream *st = stream_find(p, id);
    if (st && !st->tx_reliable)
        credit_tx_found(&st->tx, bytes);
}

/* Something is in flight: whether it arrived is found out by acknowledgements (X4), and lost bytes come back by those.
 */
static bool fate_unknown(const struct peer *p)
{
    return transport_acknowledges(p) && p->transport.recovery.flying > 0;
}

uint64_t stream_credit_deadline(const struct peer *p)
{
    uint64_t at = UINT64_MAX;
    for (const struct list *n = p->grants.next; n != &p->grants; n = n->next)
        at = timer_earlier(at, container_of(n, struct stream, grant)->rx.due_ns);
    for (const struct list *n = p->cursors.next; n != &p->cursors && !fate_unknown(p); n = n->next) {
        const struct cursor *c = container_of(n, struct cursor, in_peer);
        if (c->stream)
            at = timer_earlier(at, credit_tx_deadline(&c->stream->tx, p->rtt_ns));
    }
    return at;
}

/* What a quiet receiver never granted is taken as lost (streams.md 13.4); held while the peer does not answer at all.
 */
void stream_credit_tick(struct peer *p, uint64_t now)
{
    for (struct list *n = p->cursors.next; n != &p->cursors && !fate_unknown(p); n = n->next) {
        struct cursor *c = container_of(n, struct cursor, in_peer);
        if (!c->stream)
            continue;
        uint64_t before = c->stream->tx.written_off;
        if (credit_tx_recover(&c->stream->tx, now, p->rtt_ns))
            COUNT_N(p->shard, credit_written_off, c->stream->tx.written_off - before);
    }
}
