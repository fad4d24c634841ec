#include "core/stream/congestion.h"

#include "core/stream/ack.h"

#define SECOND UINT64_C(1000000000)
#define MIN_RTT_WINDOW (10 * SECOND)
#define WINDOW_NS (SECOND / 10) /* and so long twice: a stall of either host is no change of the path */
#define PROBE_RTT_NS (SECOND / 5)
#define INITIAL_WINDOW UINT64_C(32768) /* four of our largest datagrams, or what RFC 9002 7.2 has for two paths */
#define UNKNOWN_RTT_NS (SECOND / 100)  /* kInitialRtt is for timers: it would stop a LAN for a third of a second */
#define UNBOUNDED UINT64_MAX

enum {
    MIN_PACKETS = 4,
    WINDOW_ROUNDS = 5, /* of a half of the maximum filters: they look back 5 to 10 rounds, */
    FULL_ROUNDS = 3,
    PHASES = 8,
    LOSS_PACKETS = 100, /* how many make a loss rate */
    LOSS_BOUND = 5      /* one in so many lost is too much */
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
    return most(c->bandwidth.half[0], c->bandwidth.half[1]);
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

/* Nothing was measured yet: the window in a round trip, and room to double it. */
static uint64_t initial_rate(uint64_t rtt_ns)
{
    return INITIAL_WINDOW * GAIN_STARTUP / 100 * SECOND / (rtt_ns ? rtt_ns : UNKNOWN_RTT_NS);
}

void congestion_init(struct congestion *c, uint64_t rtt_ns, uint64_t now)
{
    *c = (struct congestion){.cwnd = INITIAL_WINDOW,
                             .rate = initial_rate(rtt_ns),
                             .packet = 1472,
                             .bandwidth.since_ns = now,
                             .min_rtt_ns = now,
                             .phase_ns = now,
                             .extra.since_ns = now,
                             .extra_ns = now,
                             .bound = UNBOUNDED};
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
                         uint64_t arrived)
{
    c->in_flight -= bytes;
    c->acked += bytes;
    delivery_on_acked(&c->delivery, &c->sample, mark, sent_ns, bytes, arrived);
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

/* What was measured counts no more; what is in flight does. */
static void begin_anew(struct congestion *c, uint64_t cwnd, uint64_t rtt_ns, uint64_t now)
{
    struct congestion fresh;
    congestion_init(&fresh, rtt_ns, now);
    fresh.in_flight = c->in_flight;
    fresh.packet = c->packet;
    fresh.delivery = c->delivery;
    fresh.round_end = c->delivery.delivered;
    fresh.lost_from = c->delivery.delivered;
    fresh.cwnd = cwnd;
    *c = fresh;
}

void congestion_on_persistent(struct congestion *c, uint64_t rtt_ns, uint64_t now)
{
    begin_anew(c, min_cwnd(c), rtt_ns, now);
}

void congestion_on_path(struct congestion *c, uint64_t rtt_ns, uint64_t now)
{
    begin_anew(c, INITIAL_WINDOW, rtt_ns, now);
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

static void learn(struct congestion *c, struct congestion_most *m, uint64_t value, uint64_t now)
{
    if (c->rounds - m->round >= WINDOW_ROUNDS && now - m->since_ns >= WINDOW_NS)
        *m = (struct congestion_most){.half = {0, m->half[0]}, .round = c->rounds, .since_ns = now};
    m->half[0] = most(m->half[0], value);
}

static void update_bandwidth(struct congestion *c, uint64_t now)
{
    if (!c->sample.any)
        return;
    uint64_t rate = delivery_rate(&c->delivery, &c->sample, c->min_rtt);
    if (rate && (!c->sample.mark.idle || rate >= bandwidth(c)))
        learn(c, &c->bandwidth, rate, now);
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
    learn(c, &c->extra, least(extra, bandwidth(c) / 10), now);
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
        c->bound = most(least(c->bound, c->cwnd) * 85 / 100, target(c, 50));
        c->bandwidth.half[1] = 0;
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
        c->phase_ns = now;
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
    /* What is fire-and-forget does not mind the window: it is not waited for. */
    if (c->probe_rtt_end == 0 && (c->in_flight <= target(c, 50) || now - c->phase_ns > PROBE_RTT_NS + 2 * cycle_ns(c)))
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
    if (!c->full) /* too little was sent yet to tell */
        rate = most(rate, initial_rate(rtt->smoothed));
    c->rate = most(rate, min_cwnd(c));
}

static void update_cwnd(struct congestion *c)
{
    uint64_t want = target(c, GAIN_CWND) + most(c->extra.half[0], c->extra.half[1]);
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
    update_bandwidth(c, now);
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
