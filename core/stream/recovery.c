#include "core/stream/recovery.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/stream/sent_internal.h"

#define NEVER UINT64_MAX
#define MAX_PTO_NS UINT64_C(2000000000)

enum {
    PACKET_THRESHOLD = 3, /* kPacketThreshold; RFC 9002 6.1.1 lets it grow with the reordering that is seen */
    MAX_THRESHOLD = 1024,
    TIME_SHIFT = 3,      /* kTimeThreshold: 9/8 */
    PERSISTENT_PTOS = 3, /* kPersistentCongestionThreshold */
    REMEMBER_PTOS = 4,   /* how long after its departure a lost packet may still turn up */
    PROBES = 2,          /* RFC 9002 6.2.4 */
    MIN_LIMIT = 64,
};

void recovery_init(struct recovery *r, uint64_t rtt_guess_ns, uint32_t limit, uint64_t now)
{
    assert(limit >= MIN_LIMIT && (limit & (limit - 1)) == 0);
    *r = (struct recovery){.limit = limit, .reorder_packets = PACKET_THRESHOLD, .reorder_shift = TIME_SHIFT};
    rtt_init(&r->rtt, rtt_guess_ns);
    congestion_init(&r->congestion, rtt_guess_ns, now);
    pacer_init(&r->pacer, now);
    pacer_set_rate(&r->pacer, r->congestion.rate, now);
}

void recovery_guess_rtt(struct recovery *r, uint64_t guess_ns, uint64_t now)
{
    if (r->rtt.measured || guess_ns == 0)
        return;
    assert(r->flying == 0);
    rtt_init(&r->rtt, guess_ns);
    congestion_init(&r->congestion, guess_ns, now);
    pacer_set_rate(&r->pacer, r->congestion.rate, now);
}

void recovery_deinit(struct recovery *r)
{
    assert(r->kept == 0);
    free(r->ring);
    r->ring = NULL;
}

void recovery_on_path(struct recovery *r, uint64_t now)
{
    uint64_t guess = r->rtt.smoothed;
    if (!r->rtt.measured)
        return;
    r->path_counter = r->next_counter;
    rtt_init(&r->rtt, guess);
    congestion_on_path(&r->congestion, guess, now);
    pacer_set_rate(&r->pacer, r->congestion.rate, now);
}

static void trim(struct recovery *r, uint64_t now)
{
    uint64_t remember = REMEMBER_PTOS * rtt_pto(&r->rtt, ACK_MAX_DELAY_NS);
    if (r->capacity)
        sent_trim(r, now > remember ? now - remember : 0);
}

/* Grows for what is in flight, not for what was lost: the ring is four times as long as that at most. */
int recovery_reserve(struct recovery *r, uint64_t now)
{
    if (r->tail - r->head < r->capacity)
        return NET_OK;
    trim(r, now);
    r->scan = sent_next(r, r->in_flight, NULL, r->scan, r->tail);
    if (r->capacity && ((r->tail - r->scan) * 2 <= r->capacity || r->capacity == r->limit))
        sent_trim(r, NEVER);
    return sent_grow(r);
}

void recovery_on_sent(struct recovery *r, const struct sent *sent, uint64_t now)
{
    assert(sent->counter >= r->next_counter);
    r->next_counter = sent->counter + 1;
    bool eliciting = sent->flags & SENT_ELICITING, room = r->tail - r->head < r->capacity;
    if (!eliciting && (!room || r->flying == 0)) /* only the time it left would be of use */
        return;
    assert(room);
    uint64_t place = r->tail++;
    struct sent *entry = sent_at(r, place);
    *entry = *sent;
    entry->sent_ns = now;
    if (!eliciting)
        return;
    entry->mark = congestion_on_sent(&r->congestion, sent->bytes, now);
    pacer_spend(&r->pacer, sent->bytes, now);
    sent_set(r, r->in_flight, place);
    r->flying++;
    r->kept += (sent->flags & SENT_KEPT) != 0;
    r->last_eliciting_ns = now;
}

void recovery_on_idle(struct recovery *r)
{
    congestion_on_idle(&r->congestion);
}

/* The entry names its content no more. */
static void release(struct recovery *r, struct sent *entry)
{
    r->kept -= (entry->flags & SENT_KEPT) != 0;
    entry->flags &= (uint8_t)~SENT_KEPT;
    entry->what = NULL;
}

static bool of_this_path(const struct recovery *r, const struct sent *sent)
{
    return sent->counter >= r->path_counter;
}

/* The entry leaves what is in flight. Returns it as it was, for the callbacks. */
static struct sent land(struct recovery *r, uint64_t place)
{
    struct sent *entry = sent_at(r, place), copy = *entry;
    sent_clear(r, r->in_flight, place);
    r->flying--;
    release(r, entry);
    return copy;
}

static void declare_lost(struct recovery *r, uint64_t place, const struct recovery_events *events)
{
    struct sent copy = land(r, place);
    sent_set(r, r->lost, place);
    r->packets_lost++;
    events->lost(events->ctx, &copy);
}

/* Overtaken, and late: whoever reorders so much will do so again (RFC 9002 6.1.1, 6.1.2). `r->largest` is still that of
 * the blocks before. */
static void adapt(struct recovery *r, uint64_t counter)
{
    uint64_t distance = r->largest - counter + 1;
    if (distance > r->reorder_packets)
        r->reorder_packets = distance < MAX_THRESHOLD ? (uint32_t)distance : MAX_THRESHOLD;
    else if (r->reorder_shift > 0)
        r->reorder_shift--;
}

static void on_spurious(struct recovery *r, uint64_t place, const struct recovery_events *events)
{
    struct sent copy = *sent_at(r, place);
    adapt(r, copy.counter);
    sent_clear(r, r->lost, place);
    r->packets_spurious++;
    if (of_this_path(r, &copy))
        congestion_on_spurious(&r->congestion, copy.bytes);
    events->spurious(events->ctx, &copy);
}

/* All of one range that were not acknowledged before. True: there were some. */
static bool on_range(struct recovery *r, struct range range, uint64_t arrived, const struct recovery_events *events)
{
    bool any = false;
    uint64_t place = sent_find(r, range.first), end = sent_find(r, range.last + 1);
    while ((place = sent_next(r, r->in_flight, r->lost, place, end)) < end) {
        if (sent_bit(r, r->in_flight, place)) {
            struct sent copy = land(r, place);
            if (of_this_path(r, &copy))
                congestion_on_acked(&r->congestion, &copy.mark, copy.sent_ns, copy.bytes, arrived);
            else
                congestion_forget(&r->congestion, copy.bytes);
            events->acked(events->ctx, &copy);
        } else {
            on_spurious(r, place, events);
        }
        place++;
        any = true;
    }
    return any;
}

/* Acknowledged means: counts in flight once, and neither flies nor is lost now. */
static bool any_acked_between(const struct recovery *r, uint64_t from, uint64_t to)
{
    for (uint64_t p = from; p < to; p++)
        if ((sent_at(r, p)->flags & SENT_ELICITING) && !sent_bit(r, r->in_flight, p) && !sent_bit(r, r->lost, p))
            return true;
    return false;
}

/* Lost in a row, for RFC 9002 7.6. */
struct run {
    uint64_t last, first_ns;
    bool any, persistent;
};

static void run_extend(const struct recovery *r, struct run *run, uint64_t place)
{
    uint64_t sent_ns = sent_at(r, place)->sent_ns;
    if (!run->any || any_acked_between(r, run->last + 1, place))
        *run = (struct run){.first_ns = sent_ns, .any = true, .persistent = run->persistent};
    run->last = place;
    if (sent_ns - run->first_ns > PERSISTENT_PTOS * rtt_pto(&r->rtt, ACK_MAX_DELAY_NS))
        run->persistent = true;
}

/* RFC 9002 A.10, and B.8 for persistent congestion. Departures ascend, so the first that is not lost ends the search.
 */
static void detect_lost(struct recovery *r, uint64_t now, const struct recovery_events *events)
{
    uint64_t longest = r->rtt.latest > r->rtt.smoothed ? r->rtt.latest : r->rtt.smoothed;
    uint64_t delay = longest + (longest >> r->reorder_shift);
    struct run run = {0};
    if (delay < RTT_GRANULARITY_NS)
        delay = RTT_GRANULARITY_NS;
    r->loss_ns = 0;
    while ((r->scan = sent_next(r, r->in_flight, NULL, r->scan, r->tail)) < r->tail) {
        const struct sent *entry = sent_at(r, r->scan);
        if (entry->counter >= r->largest)
            break;
        if (r->largest - entry->counter < r->reorder_packets && now < entry->sent_ns + delay) {
            r->loss_ns = entry->sent_ns + delay;
            break;
        }
        if (!of_this_path(r, entry)) {
            congestion_forget(&r->congestion, entry->bytes);
        } else {
            congestion_on_lost(&r->congestion, entry->bytes);
            if (r->rtt.measured)
                run_extend(r, &run, r->scan);
        }
        declare_lost(r, r->scan, events);
    }
    if (run.persistent)
        congestion_on_persistent(&r->congestion, r->rtt.smoothed, now);
}

/* RFC 9002 5.1: of the largest, if it is acknowledged for the first time. 0: none. */
static uint64_t rtt_sample(const struct recovery *r, uint64_t largest, uint64_t now)
{
    uint64_t place = sent_find(r, largest);
    if (place == r->tail || sent_at(r, place)->counter != largest || (r->any_acked && largest <= r->largest))
        return 0;
    if (!of_this_path(r, sent_at(r, place)))
        return 0;
    uint64_t sample = now - sent_at(r, place)->sent_ns;
    return sample ? sample : 1;
}

int recovery_on_ack(struct recovery *r, const struct ack *ack, uint64_t now, const struct recovery_events *events)
{
    uint64_t largest = ack->ranges[0].last;
    if (largest >= r->next_counter) {
        r->acks_invalid++;
        return NET_ERR_INVALID;
    }
    if (r->capacity == 0)
        return NET_OK;
    uint64_t sample = rtt_sample(r, largest, now);
    uint64_t delay = ack->delay_ns < ACK_MAX_DELAY_NS ? ack->delay_ns : ACK_MAX_DELAY_NS;
    bool any = false;
    for (uint32_t i = ack->count; i-- > 0;)
        any |= on_range(r, ack->ranges[i], now > delay ? now - delay : 0, events);
    if (!r->any_acked || largest > r->largest)
        r->largest = largest;
    r->any_acked = true;
    if (!any)
        return NET_OK;
    if (sample)
        rtt_update(&r->rtt, sample, delay);
    r->backoff = 0;
    detect_lost(r, now, events);
    congestion_update(&r->congestion, &r->rtt, sample, now);
    pacer_set_rate(&r->pacer, r->congestion.rate, now);
    trim(r, now);
    return NET_OK;
}

uint64_t recovery_deadline(const struct recovery *r)
{
    if (r->flying == 0)
        return NEVER;
    if (r->loss_ns)
        return r->loss_ns;
    uint64_t pto = rtt_pto(&r->rtt, ACK_MAX_DELAY_NS), most = pto > MAX_PTO_NS ? pto : MAX_PTO_NS;
    uint64_t wait = r->backoff < 32 ? pto << r->backoff : most;
    return r->last_eliciting_ns + (wait < most ? wait : most);
}

/* So many are remembered that there is no place for a probe: the oldest give way, with no verdict on the path. */
static void make_room(struct recovery *r, const struct recovery_events *events)
{
    for (sent_trim(r, NEVER); r->tail - r->head + PROBES > r->limit; sent_trim(r, NEVER)) {
        congestion_forget(&r->congestion, sent_at(r, r->head)->bytes);
        declare_lost(r, r->head, events);
    }
}

bool recovery_on_tick(struct recovery *r, uint64_t now, const struct recovery_events *events)
{
    if (now < recovery_deadline(r))
        return false;
    if (r->loss_ns) {
        detect_lost(r, now, events);
        return false;
    }
    if (r->tail - r->head + PROBES > r->limit)
        make_room(r, events);
    r->backoff++;
    r->probes++;
    return true;
}

void *recovery_probe(struct recovery *r)
{
    for (uint64_t place = r->scan; (place = sent_next(r, r->in_flight, NULL, place, r->tail)) < r->tail; place++) {
        struct sent *entry = sent_at(r, place);
        if (!(entry->flags & SENT_KEPT))
            continue;
        void *what = entry->what;
        release(r, entry);
        entry->cost = 0;
        return what;
    }
    return NULL;
}

void recovery_abandon(struct recovery *r, uint64_t now, const struct recovery_events *events)
{
    for (uint64_t place = r->scan; (place = sent_next(r, r->in_flight, NULL, place, r->tail)) < r->tail; place++) {
        congestion_forget(&r->congestion, sent_at(r, place)->bytes);
        struct sent copy = land(r, place);
        events->lost(events->ctx, &copy);
    }
    if (r->capacity) {
        sent_trim(r, NEVER);
        r->head = r->scan = r->tail;
    }
    r->next_counter = r->path_counter = r->largest = 0;
    r->any_acked = false;
    r->backoff = 0;
    r->loss_ns = 0;
    pacer_set_rate(&r->pacer, r->congestion.rate, now);
}
