#include "core/stream/congestion.h"

#include "core/stream/ack.h"

#define SECOND UINT64_C(1000000000)
#define MIN_RTT_WINDOW (10 * SECOND)
#define PROBE_RTT_NS (SECOND / 5)
#define INITIAL_WINDOW UINT64_C(32768) /* four of our largest datagrams, or what RFC 9002 7.2 has for two paths */
#define UNBOUNDED UINT64_MAX

enum {
    MIN_PACKETS = 4,
    WINDOW_ROUNDS = 5, /* of a half of the maximum filters: they look back 5 to 10 rounds */
    FULL_ROUNDS = 3,
    PHASES = 8,
    LOSS_PACKETS = 100, /* how many make a loss rate */
    LOSS_BOUND = 8      /* one in so many lost is too much */
};

/* Gains in percent: 277 is 4 ln 2, the least that doubles delivery each round. One percent less than the path has lets
 * a standing queue go. */
enum { GAIN_STARTUP = 277, GAIN_DRAIN = 36, GAIN_CWND = 200, GAIN_MARGIN = 99 };
static const uint16_t cruise_gain[PHASES] = {125, 75, 100, 100, 100, 100, 100, 100};

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t bandwidth(const struct congestion *c)
{
    return most(c->bandwidth[0], c->bandwidth[1]);
}

static uint64_t min_cwnd(const struct congestion *c)
{
    return (uint64_t)MIN_PACKETS * c->packet;
}

/* What comes back after a round trip: the peer waits with its acknowledgement. */
static uint64_t cycle_ns(const struct congestion *c)
{
    return c->min_rtt + ACK_MAX_DELAY_NS;
}

/* Bytes in flight when the path is full and its queue is empty, by a gain in percent. */
static uint64_t target(const struct congestion *c, uint32_t gain)
{
    if (c->min_rtt == 0)
        return INITIAL_WINDOW;
    return most((uint64_t)((double)bandwidth(c) * (double)cycle_ns(c) / 1e9 * gain / 100), min_cwnd(c));
}

void congestion_init(struct congestion *c, uint64_t now)
{
    *c = (struct congestion){.cwnd = INITIAL_WINDOW,
                             .bound = UNBOUNDED,
                             .packet = 1472,
                             .min_rtt_ns = now,
                             .phase_ns = now,
                             .extra_ns = now};
}

struct delivery_mark congestion_on_sent(struct congestion *c, uint32_t bytes, uint64_t now)
{
    struct delivery_mark mark = delivery_on_sent(&c->delivery, c->in_flight == 0, now);
    c->in_flight += bytes;
    if (bytes > c->packet)
        c->packet = bytes;
    return mark;
}

void congestion_on_acked(struct congestion *c, const struct delivery_mark *mark, uint64_t sent_ns, uint32_t bytes,
                         uint64_t now)
{
    c->in_flight -= bytes;
    c->acked += bytes;
    delivery_on_acked(&c->delivery, &c->sample, mark, sent_ns, bytes, now);
}

void congestion_forget(struct congestion *c, uint32_t bytes)
{
    c->in_flight -= bytes;
}

void congestion_on_lost(struct congestion *c, uint32_t bytes)
{
    c->in_flight -= bytes;
    c->lost += bytes;
}

void congestion_on_spurious(struct congestion *c, uint32_t bytes)
{
    c->lost -= least(c->lost, bytes);
    c->delivery.delivered += bytes;
}

void congestion_on_persistent(struct congestion *c, uint64_t now)
{
    struct congestion fresh;
    congestion_init(&fresh, now);
    fresh.in_flight = c->in_flight;
    fresh.packet = c->packet;
    fresh.delivery = c->delivery;
    fresh.round_end = c->delivery.delivered;
    fresh.lost_from = c->delivery.delivered;
    fresh.cwnd = min_cwnd(c);
    *c = fresh;
}

void congestion_on_idle(struct congestion *c)
{
    delivery_on_idle(&c->delivery, c->in_flight);
}

static void update_round(struct congestion *c)
{
    c->round_start = c->sample.any && c->sample.mark.delivered >= c->round_end;
    if (!c->round_start)
        return;
    c->round_end = c->delivery.delivered;
    c->rounds++;
}

static void filter(uint64_t half[2], uint64_t *since, uint64_t rounds, uint64_t value)
{
    if (rounds - *since >= WINDOW_ROUNDS) {
        half[1] = half[0];
        half[0] = 0;
        *since = rounds;
    }
    half[0] = most(half[0], value);
}

static void update_bandwidth(struct congestion *c)
{
    if (!c->sample.any)
        return;
    uint64_t rate = delivery_rate(&c->delivery, &c->sample, c->min_rtt);
    if (rate && (!c->sample.mark.idle || rate >= bandwidth(c)))
        filter(c->bandwidth, &c->bandwidth_round, c->rounds, rate);
}

/* Acknowledgements come in bundles; what arrived of late beyond bandwidth x time shows how large they are. */
static void update_extra(struct congestion *c, uint64_t now)
{
    if (c->acked == 0 || bandwidth(c) == 0)
        return;
    uint64_t expected = (uint64_t)((double)bandwidth(c) * (double)(now - c->extra_ns) / 1e9);
    if (c->extra_acked <= expected) {
        c->extra_acked = expected = 0;
        c->extra_ns = now;
    }
    c->extra_acked += c->acked;
    uint64_t extra = least(c->extra_acked - expected, c->cwnd);
    filter(c->extra, &c->extra_round, c->rounds, least(extra, bandwidth(c) / 10));
}

/* STARTUP ends when three rounds brought less than a quarter more. */
static void update_full(struct congestion *c)
{
    if (c->full || !c->round_start || c->sample.mark.idle)
        return;
    if (bandwidth(c) >= c->full_bandwidth + c->full_bandwidth / 4) {
        c->full_bandwidth = bandwidth(c);
        c->full_rounds = 0;
    } else if (++c->full_rounds >= FULL_ROUNDS) {
        c->full = true;
    }
}

static void update_loss(struct congestion *c)
{
    if (!c->round_start)
        return;
    uint64_t delivered = c->delivery.delivered - c->lost_from, sent = delivered + c->lost;
    if (sent < (uint64_t)LOSS_PACKETS * c->packet)
        return;
    if (c->lost > sent / LOSS_BOUND) {
        c->full = true;
        c->bound = most(least(c->bound, c->cwnd) * 85 / 100, min_cwnd(c));
        c->bandwidth[1] = 0;
    }
    c->lost = 0;
    c->lost_from = c->delivery.delivered;
}

static void start_cruise(struct congestion *c, uint64_t now)
{
    c->mode = CONGESTION_CRUISE;
    c->phase = 2;
    c->phase_ns = now;
}

static void update_phase(struct congestion *c, uint64_t now)
{
    bool whole = now - c->phase_ns > cycle_ns(c);
    if (cruise_gain[c->phase] < 100 ? !whole && c->in_flight > target(c, 100) : !whole)
        return;
    if (cruise_gain[c->phase] > 100 && c->bound != UNBOUNDED) /* it went well: a little more room */
        c->bound = c->bound > 2 * target(c, GAIN_CWND) ? UNBOUNDED : c->bound + c->bound / 8;
    c->phase = (c->phase + 1) % PHASES;
    c->phase_ns = now;
}

static void update_min_rtt(struct congestion *c, uint64_t sample, uint64_t now)
{
    bool expired = now - c->min_rtt_ns > MIN_RTT_WINDOW;
    if (sample && (c->min_rtt == 0 || sample <= c->min_rtt || expired)) {
        c->min_rtt = most(sample, 1);
        c->min_rtt_ns = now;
    }
    if (expired && c->full && c->mode != CONGESTION_PROBE_RTT) {
        c->mode = CONGESTION_PROBE_RTT;
        c->probe_rtt_end = 0;
    }
}

static void update_mode(struct congestion *c, uint64_t now)
{
    if (c->mode == CONGESTION_STARTUP && c->full)
        c->mode = CONGESTION_DRAIN;
    if (c->mode == CONGESTION_DRAIN && c->in_flight <= target(c, 100))
        start_cruise(c, now);
    if (c->mode == CONGESTION_CRUISE)
        update_phase(c, now);
    if (c->mode != CONGESTION_PROBE_RTT)
        return;
    if (c->probe_rtt_end == 0 && c->in_flight <= target(c, 50))
        c->probe_rtt_end = now + PROBE_RTT_NS;
    if (c->probe_rtt_end && now >= c->probe_rtt_end) {
        c->min_rtt_ns = now;
        start_cruise(c, now);
    }
}

static void update_rate(struct congestion *c, const struct rtt *rtt)
{
    uint64_t known = bandwidth(c), gain = 100;
    if (c->mode == CONGESTION_STARTUP)
        gain = GAIN_STARTUP;
    else if (c->mode == CONGESTION_DRAIN)
        gain = GAIN_DRAIN;
    else if (c->mode == CONGESTION_CRUISE)
        gain = cruise_gain[c->phase];
    uint64_t rate = known * gain / 100 * GAIN_MARGIN / 100;
    if (!c->full) /* too little was sent yet to tell: at least the window in a round trip */
        rate = most(most(rate, c->rate), INITIAL_WINDOW * SECOND / most(rtt->smoothed, 1));
    c->rate = most(rate, min_cwnd(c));
}

static void update_cwnd(struct congestion *c)
{
    uint64_t want = target(c, GAIN_CWND) + most(c->extra[0], c->extra[1]);
    if (!c->full)
        c->cwnd += c->cwnd < most(want, 2 * INITIAL_WINDOW) ? c->acked : 0;
    else
        c->cwnd = least(c->cwnd + c->acked, want);
    c->cwnd = most(least(c->cwnd, c->bound), min_cwnd(c));
    if (c->mode == CONGESTION_PROBE_RTT)
        c->cwnd = least(c->cwnd, target(c, 50));
}

void congestion_update(struct congestion *c, const struct rtt *rtt, uint64_t rtt_sample, uint64_t now)
{
    update_round(c);
    update_bandwidth(c);
    update_extra(c, now);
    update_full(c);
    update_loss(c);
    update_min_rtt(c, rtt_sample, now);
    update_mode(c, now);
    update_rate(c, rtt);
    update_cwnd(c);
    c->sample.any = false;
    c->acked = 0;
}
