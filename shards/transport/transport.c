#include "shards/transport/transport.h"

#include <assert.h>

#include "shards/peers/peer.h"
#include "shards/transport/transmit.h"

/* A quantum is one GSO batch; a peer has a few in a pull, then it is the next one's turn. */
enum { QUANTUM = 65536, BYTES_PER_PULL = 4 * QUANTUM };
enum { IN_FLIGHT_MAX = 65536 }; /* packets of a session that are remembered */
enum { PROBES = 2 };            /* RFC 9002 6.2.4 */

void transport_init(struct peer *p)
{
    recovery_init(&p->transport.recovery, 0, IN_FLIGHT_MAX, p->shard->now);
    ack_init(&p->transport.acks);
    schedule_init(&p->transport.schedule, QUANTUM);
}

void transport_deinit(struct peer *p)
{
    recovery_deinit(&p->transport.recovery);
}

bool transport_acknowledges(const struct peer *p)
{
    return p->link.current.used && (p->link.current.session.p.features & FEATURE_ACK);
}

/* ---- what becomes of what was sent ---- */

static void on_acked(void *ctx, const struct sent *sent)
{
    if (sent->flags & SENT_KEPT && sent->what)
        stream_on_acked(ctx, sent->what);
}

static void on_lost(void *ctx, const struct sent *sent)
{
    struct peer *p = ctx;
    COUNT(p->shard, packets_lost);
    if (sent->flags & SENT_KEPT && sent->what)
        stream_on_lost(p, sent->what);
    else if (sent->stream == UINT64_MAX)
        stream_grants_lost(p, sent->counter);
    else if (sent->cost)
        stream_credit_lost(p, sent->stream, sent->cost);
}

static void on_spurious(void *ctx, const struct sent *sent)
{
    struct peer *p = ctx;
    COUNT(p->shard, packets_spurious);
    if (!(sent->flags & SENT_KEPT) && sent->cost)
        stream_credit_found(p, sent->stream, sent->cost);
}

static struct recovery_events events_of(struct peer *p)
{
    return (struct recovery_events){.ctx = p, .acked = on_acked, .lost = on_lost, .spurious = on_spurious};
}

void transport_on_session(struct peer *p)
{
    struct transport *t = &p->transport;
    struct recovery_events events = events_of(p);
    recovery_abandon(&t->recovery, p->shard->now, &events);
    recovery_guess_rtt(&t->recovery, p->rtt_ns, p->shard->now);
    ack_init(&t->acks);
    t->probes = 0;
    uint64_t sent = p->link.current.session.tx_counter; /* heartbeats, while it waited for confirmation */
    if (sent)
        recovery_on_sent(&t->recovery, &(struct sent){.counter = sent - 1}, p->shard->now);
}

void transport_on_path(struct peer *p)
{
    recovery_on_path(&p->transport.recovery, p->shard->now);
}

/* ---- acknowledgements ---- */

void transport_on_packet(struct peer *p, const struct wire_header *h, bool eliciting)
{
    const struct link_slot *current = &p->link.current;
    if (!transport_acknowledges(p) || h->session_id != current->session.p.rx_id)
        return; /* a straggler: it is sent again under the new session */
    ack_on_packet(&p->transport.acks, h->counter, eliciting, p->shard->now);
    if (ack_due(&p->transport.acks, p->shard->now))
        peer_wants_tx(p);
    else if (eliciting && p->transport.acks.eliciting == 1)
        peer_schedule(p);
}

void transport_on_ack(struct peer *p, struct cspan block)
{
    struct transport *t = &p->transport;
    struct recovery_events events = events_of(p);
    struct ack ack;
    if (ack_decode(block, &ack) != NET_OK || recovery_on_ack(&t->recovery, &ack, p->shard->now, &events) != NET_OK) {
        COUNT(p->shard, drop_ack_block);
        return;
    }
    COUNT(p->shard, acks_received);
    if (t->recovery.rtt.measured)
        p->rtt_ns = t->recovery.rtt.smoothed;
    peer_wants_tx(p);
}

/* ---- sending ---- */

bool transport_notices_loss(struct peer *p)
{
    return !transport_acknowledges(p) || recovery_reserve(&p->transport.recovery, p->shard->now) == NET_OK;
}

bool transport_may_send(struct peer *p)
{
    struct transport *t = &p->transport;
    return !transport_acknowledges(p) ||
           (recovery_may_send(&t->recovery, p->shard->now, t->reliable_waiting > 0) && transport_notices_loss(p));
}

size_t transport_seal(struct peer *p, struct wire_header *h, const struct sent *how, uint8_t *at)
{
    struct recovery *r = &p->transport.recovery;
    bool recorded = transport_acknowledges(p);
    struct sent sent = *how;
    if (recorded && sent.flags && recovery_reserve(r, p->shard->now) != NET_OK) { /* too much in flight, or memory */
        if (sent.flags & SENT_KEPT)
            return 0;
        sent.flags = 0; /* nobody misses it */
    }
    size_t len = transmit_seal(p, &p->link.current.session, h, at);
    if (len && recorded) {
        sent.counter = h->counter;
        sent.bytes = (uint16_t)len;
        recovery_on_sent(r, &sent, p->shard->now);
    }
    return len;
}

void sender_init(struct sender *x, uint8_t weight, bool priority, bool reliable,
                 enum pull_result (*pull)(struct sender *, uint64_t, uint64_t *))
{
    flow_init(&x->flow, weight, priority);
    x->reliable = reliable;
    x->pull = pull;
}

void sender_wake(struct peer *p, struct sender *x)
{
    if (!list_linked(&x->flow.link))
        p->transport.reliable_waiting += x->reliable;
    schedule_wake(&p->transport.schedule, &x->flow);
    peer_wants_tx(p);
}

void sender_sleep(struct peer *p, struct sender *x)
{
    if (list_linked(&x->flow.link))
        p->transport.reliable_waiting -= x->reliable;
    schedule_sleep(&p->transport.schedule, &x->flow);
}

bool transport_pull(struct peer *p)
{
    struct schedule *schedule = &p->transport.schedule;
    struct flow *flow;
    for (uint64_t total = 0, allowance; (flow = schedule_next(schedule, &allowance));) {
        struct sender *x = container_of(flow, struct sender, flow);
        uint64_t spent = 0;
        if (total >= BYTES_PER_PULL)
            return true;
        if (schedule_alone(schedule, flow)) /* nobody waits for the end of its turn */
            allowance = BYTES_PER_PULL - total;
        if (!transport_may_send(p))
            return false; /* an acknowledgement, or the pacer's moment, brings it back */
        enum pull_result result = x->pull(x, allowance, &spent);
        if (result == PULL_IDLE)
            sender_sleep(p, x);
        schedule_spent(schedule, flow, spent);
        total += spent;
        if (result == PULL_NO_BUFFER)
            return true;
    }
    if (transport_acknowledges(p))
        recovery_on_idle(&p->transport.recovery);
    return false;
}

uint64_t transport_deadline(const struct peer *p)
{
    const struct transport *t = &p->transport;
    if (!transport_acknowledges(p))
        return UINT64_MAX;
    uint64_t at = timer_earlier(recovery_deadline(&t->recovery), t->acks.due_ns);
    bool waiting = !list_empty(&t->schedule.lanes[0]) || !list_empty(&t->schedule.lanes[1]);
    uint64_t paced = pacer_deadline(&t->recovery.pacer);
    return waiting && paced > p->shard->now ? timer_earlier(at, paced) : at;
}

void transport_tick(struct peer *p, uint64_t now)
{
    struct recovery_events events = events_of(p);
    if (transport_acknowledges(p) && recovery_on_tick(&p->transport.recovery, now, &events))
        p->transport.probes = PROBES;
}
