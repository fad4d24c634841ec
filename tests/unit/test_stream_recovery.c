/* Loss detection. RFC 9002 5, 6 and 7.6, extensions X2.4. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "tests/support/recovery_log.h"

#define MS UINT64_C(1000000)
#define T0 (1000 * MS)
#define LIMIT 1024

#define ACK(log, now, ...)                                                                                             \
    recovery_log_ack(log, now, 0, sizeof((struct range[]){__VA_ARGS__}) / sizeof(struct range),                        \
                     (struct range[]){__VA_ARGS__})

static struct recovery_log log_;
static struct recovery_log *const l = &log_;

static void setup(void)
{
    recovery_log_init(l, 20 * MS, LIMIT, T0);
}

static void teardown(void)
{
    recovery_log_deinit(l, T0);
}

TestSuite(recovery, .init = setup, .fini = teardown);

static void expect(const uint64_t *got, size_t count, size_t want_count, const uint64_t *want)
{
    cr_assert_eq(count, want_count, "%zu, not %zu", count, want_count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(got[i], want[i], "%lu, not %lu", got[i], want[i]);
}
#define EXPECT(what, ...)                                                                                              \
    expect(l->what, l->what##_count, sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (uint64_t[]){__VA_ARGS__})

/* RFC 9002 5.3. */
Test(recovery, round_trip_time)
{
    struct rtt *rtt = &l->r.rtt;
    cr_assert(rtt->smoothed == 20 * MS && rtt->var == 10 * MS && !rtt->measured);
    recovery_log_send(l, 0, 3, T0);
    cr_assert_eq(recovery_log_ack(l, T0 + 8 * MS, MS / 2, 1, &(struct range){0, 0}), NET_OK);
    cr_assert(rtt->latest == 8 * MS && rtt->min == 8 * MS && rtt->smoothed == 8 * MS && rtt->var == 4 * MS);
    cr_assert_eq(recovery_log_ack(l, T0 + 17 * MS, 5 * MS, 1, &(struct range){0, 1}), NET_OK);
    /* 17 ms less 1 ms, which is all the peer may wait: var 3/4 * 4 + 1/4 * 8, smoothed 7/8 * 8 + 1/8 * 16 */
    cr_assert(rtt->latest == 17 * MS && rtt->min == 8 * MS && rtt->smoothed == 9 * MS && rtt->var == 5 * MS);
    ACK(l, T0 + 18 * MS, {0, 1});
    cr_assert_eq(rtt->latest, 17 * MS, "a repeated block says nothing");
    ACK(l, T0 + 25 * MS, {3, 3}, {0, 1});
    ACK(l, T0 + 26 * MS, {2, 3});
    cr_assert_eq(rtt->latest, 25 * MS, "nor does one whose largest is not new");
}

Test(recovery, round_trip_time_by_a_packet_that_elicits_nothing)
{
    recovery_log_send(l, 0, 0, T0);
    recovery_on_sent(&l->r, &(struct sent){.counter = 1, .bytes = 80}, T0 + 3 * MS);
    cr_assert_eq(l->r.congestion.in_flight, 1000);
    ACK(l, T0 + 10 * MS, {0, 1});
    cr_assert_eq(l->r.rtt.latest, 7 * MS);
    EXPECT(acked, 0);
    for (uint64_t c = 2; c < 10 * LIMIT; c++)
        recovery_on_sent(&l->r, &(struct sent){.counter = c, .bytes = 80}, T0 + 11 * MS);
    cr_assert_eq(recovery_deadline(&l->r), UINT64_MAX);
    cr_assert_eq(ACK(l, T0 + 20 * MS, {0, 10 * LIMIT - 1}), NET_OK);
    cr_assert_eq(l->r.rtt.latest, 7 * MS, "they are not remembered when nothing waits for an answer");
}

/* RFC 9002 6.1.1. */
Test(recovery, packet_threshold)
{
    recovery_log_send(l, 0, 5, T0);
    ACK(l, T0 + 10 * MS, {2, 2});
    cr_assert_eq(l->lost_count, 0);
    ACK(l, T0 + 10 * MS, {4, 4}, {2, 2});
    EXPECT(lost, 0, 1);
    EXPECT(acked, 2, 4);
    cr_assert_eq(l->last_lost, &recovery_log_kept[1]);
    cr_assert_eq(l->last_cost, 980);
    cr_assert_eq(l->r.packets_lost, 2);
    cr_assert_eq(l->r.congestion.in_flight, 2000);
}

/* RFC 9002 6.1.2. */
Test(recovery, time_threshold)
{
    recovery_log_send(l, 0, 1, T0);
    ACK(l, T0 + 8 * MS, {1, 1});
    cr_assert_eq(l->lost_count, 0);
    cr_assert_eq(recovery_deadline(&l->r), T0 + 9 * MS, "9/8 of a round trip");
    cr_assert(!recovery_on_tick(&l->r, T0 + 9 * MS - 1, &l->events));
    cr_assert_eq(l->lost_count, 0);
    cr_assert(!recovery_on_tick(&l->r, T0 + 9 * MS, &l->events));
    EXPECT(lost, 0);
    cr_assert_eq(recovery_deadline(&l->r), UINT64_MAX);
}

Test(recovery, granularity_protects_short_round_trips)
{
    recovery_log_send(l, 0, 1, T0);
    ACK(l, T0 + MS / 20, {1, 1});
    cr_assert_eq(recovery_deadline(&l->r), T0 + MS);
    recovery_on_tick(&l->r, T0 + MS, &l->events);
    EXPECT(lost, 0);
    recovery_log_send(l, 2, 2, T0 + 2 * MS);
    /* smoothed 50 us, var 25 us: the granularity, and the millisecond the peer may wait */
    cr_assert_eq(recovery_deadline(&l->r), T0 + 2 * MS + MS / 20 + MS + MS);
}

/* RFC 9002 6.2. */
Test(recovery, probe_time_out_backs_off)
{
    recovery_log_send(l, 0, 1, T0);
    uint64_t pto = 20 * MS + 4 * 10 * MS + MS, at = T0 + pto;
    cr_assert_eq(recovery_deadline(&l->r), at);
    cr_assert(!recovery_on_tick(&l->r, at - 1, &l->events));
    cr_assert(recovery_on_tick(&l->r, at, &l->events));
    cr_assert_eq(recovery_probe(&l->r), &recovery_log_kept[0]);
    cr_assert_eq(l->lost_count, 0, "a probe is no verdict");
    recovery_log_send(l, 2, 2, at);
    cr_assert_eq(recovery_deadline(&l->r), at + 2 * pto);
    at += 2 * pto;
    cr_assert(recovery_on_tick(&l->r, at, &l->events));
    cr_assert_eq(recovery_probe(&l->r), &recovery_log_kept[1], "0 was handed out already");
    recovery_log_send(l, 3, 3, at);
    cr_assert_eq(recovery_deadline(&l->r), at + 4 * pto);
    for (uint64_t c = 4; c < 80; c++) {
        at = recovery_deadline(&l->r);
        cr_assert(recovery_on_tick(&l->r, at, &l->events));
        recovery_probe(&l->r);
        recovery_log_send(l, c, c, at);
        cr_assert_leq(recovery_deadline(&l->r), at + 2000 * MS, "not more than two seconds");
    }
    ACK(l, at + 10 * MS, {79, 79});
    cr_assert_eq(l->r.backoff, 0);
    cr_assert_eq(l->r.probes, 78);
}

/* Nothing else may be done about them, but whether they arrived is asked all the same. */
Test(recovery, what_is_not_kept_is_asked_for)
{
    recovery_log_send_loose(l, 0, T0);
    recovery_log_send(l, 1, 1, T0);
    recovery_log_send_loose(l, 2, T0 + 30 * MS);
    uint64_t at = recovery_deadline(&l->r);
    cr_assert_eq(at, T0 + 30 * MS + 61 * MS);
    cr_assert(recovery_on_tick(&l->r, at, &l->events));
    cr_assert_eq(recovery_probe(&l->r), &recovery_log_kept[1]);
    cr_assert_null(recovery_probe(&l->r));
    cr_assert_eq(l->r.congestion.in_flight, 3000);
    recovery_log_send_loose(l, 3, at);
    cr_assert(recovery_on_tick(&l->r, at + 500 * MS, &l->events));
    cr_assert_eq(l->lost_count, 0, "silence alone loses nothing");
    recovery_log_send_loose(l, 4, at + 500 * MS);
    ACK(l, at + 510 * MS, {4, 4}, {2, 2});
    EXPECT(lost, 0, 1, 3);
    cr_assert_null(l->last_lost);
    cr_assert_eq(l->last_cost, 900);
    cr_assert_eq(recovery_deadline(&l->r), UINT64_MAX);
}

Test(recovery, a_probe_takes_content_and_credit_along)
{
    recovery_log_send(l, 0, 0, T0);
    cr_assert(recovery_on_tick(&l->r, T0 + 100 * MS, &l->events));
    cr_assert_eq(recovery_probe(&l->r), &recovery_log_kept[0]);
    recovery_log_send_loose(l, 1, T0 + 200 * MS);
    ACK(l, T0 + 210 * MS, {1, 1});
    EXPECT(lost, 0);
    cr_assert_null(l->last_lost);
    cr_assert_eq(l->last_cost, 0);
}

Test(recovery, late_acknowledgements_are_spurious_losses)
{
    recovery_log_send(l, 0, 9, T0);
    ACK(l, T0 + 10 * MS, {5, 5});
    EXPECT(lost, 0, 1, 2);
    ACK(l, T0 + 11 * MS, {5, 5}, {1, 1});
    EXPECT(spurious, 1);
    ACK(l, T0 + 11 * MS, {5, 5}, {0, 2});
    EXPECT(spurious, 1, 0, 2);
    ACK(l, T0 + 11 * MS, {0, 5});
    EXPECT(spurious, 1, 0, 2);
    EXPECT(acked, 5, 3, 4);
    cr_assert_eq(l->r.packets_spurious, 3);
    cr_assert_eq(l->r.congestion.in_flight, 4000);
    cr_assert_eq(l->r.reorder_packets, 6, "0 was five behind when it came, so that is no loss any more");
    recovery_log_clear(l);
    recovery_log_send(l, 10, 15, T0 + 12 * MS);
    ACK(l, T0 + 20 * MS, {15, 15}, {6, 9});
    cr_assert_eq(l->lost_count, 0);
    recovery_log_send(l, 16, 16, T0 + 20 * MS);
    ACK(l, T0 + 21 * MS, {16, 16}, {15, 15}, {6, 9});
    EXPECT(lost, 10);
}

Test(recovery, time_threshold_grows_with_reordering)
{
    recovery_log_send(l, 0, 1, T0);
    ACK(l, T0 + 8 * MS, {1, 1});
    recovery_on_tick(&l->r, T0 + 9 * MS, &l->events);
    ACK(l, T0 + 10 * MS, {0, 1});
    EXPECT(spurious, 0);
    recovery_log_send(l, 2, 3, T0 + 20 * MS);
    ACK(l, T0 + 28 * MS, {3, 3});
    cr_assert_eq(recovery_deadline(&l->r), T0 + 30 * MS, "a quarter, not an eighth");
}

Test(recovery, a_pause_is_no_loss)
{
    recovery_log_send_loose(l, 0, T0);
    cr_assert(recovery_on_tick(&l->r, T0 + 100 * MS, &l->events));
    ACK(l, T0 + 110 * MS, {0, 0});
    EXPECT(acked, 0);
    cr_assert_eq(l->r.rtt.latest, 110 * MS, "and the round trip is known now");
}

Test(recovery, losses_are_not_remembered_for_ever)
{
    recovery_log_send(l, 0, 4, T0);
    ACK(l, T0 + 10 * MS, {4, 4});
    EXPECT(lost, 0, 1);
    recovery_on_tick(&l->r, T0 + 12 * MS, &l->events);
    cr_assert_eq(l->r.tail - l->r.head, 5);
    recovery_log_send(l, 5, 5, T0 + 900 * MS);
    ACK(l, T0 + 910 * MS, {5, 5});
    cr_assert_eq(l->r.tail - l->r.head, 0);
    ACK(l, T0 + 911 * MS, {0, 5});
    cr_assert_eq(l->spurious_count, 0);
}

/* RFC 9002 7.6. */
Test(recovery, persistent_congestion)
{
    recovery_log_send(l, 0, 9, T0);
    ACK(l, T0 + 10 * MS, {0, 9});
    uint64_t pto = 10 * MS + 15 * MS + MS; /* var is 3/4 of 5 ms when 14 was acknowledged */
    recovery_log_send(l, 10, 10, T0 + 20 * MS);
    recovery_log_send(l, 11, 11, T0 + 20 * MS + 3 * pto);
    recovery_log_send(l, 12, 14, T0 + 20 * MS + 4 * pto);
    uint64_t cwnd = l->r.congestion.cwnd;
    ACK(l, T0 + 30 * MS + 4 * pto, {14, 14}, {0, 9});
    EXPECT(lost, 10, 11);
    cr_assert_geq(l->r.congestion.cwnd, cwnd, "three time-outs, not more");
    recovery_log_send(l, 15, 15, T0 + 1000 * MS);
    recovery_log_send(l, 16, 16, T0 + 1001 * MS + 3 * rtt_pto(&l->r.rtt, MS));
    recovery_log_send(l, 17, 19, T0 + 2000 * MS);
    ACK(l, T0 + 2010 * MS, {19, 19}, {12, 14}, {0, 9});
    EXPECT(lost, 10, 11, 15, 16);
    cr_assert_eq(l->r.congestion.cwnd, 4 * 1472, "the least window");
}

Test(recovery, no_persistent_congestion_when_something_arrived_between)
{
    recovery_log_send(l, 0, 0, T0);
    ACK(l, T0 + 10 * MS, {0, 0});
    recovery_log_send(l, 1, 1, T0 + 20 * MS);
    recovery_log_send(l, 2, 2, T0 + 200 * MS);
    recovery_log_send(l, 3, 3, T0 + 800 * MS);
    recovery_log_send(l, 4, 6, T0 + 900 * MS);
    ACK(l, T0 + 910 * MS, {6, 6}, {2, 2}, {0, 0});
    EXPECT(lost, 1, 3);
    cr_assert_geq(l->r.congestion.cwnd, 32768);
}

Test(recovery, what_was_never_sent_cannot_be_acknowledged)
{
    recovery_log_send(l, 0, 9, T0);
    cr_assert_eq(ACK(l, T0 + 10 * MS, {5, 10}), NET_ERR_INVALID);
    cr_assert_eq(ACK(l, T0 + 10 * MS, {0, UINT64_MAX}), NET_ERR_INVALID);
    cr_assert_eq(l->r.acks_invalid, 2);
    cr_assert_eq(l->acked_count + l->lost_count, 0);
    cr_assert_eq(l->r.congestion.in_flight, 10000);
    cr_assert(!l->r.rtt.measured);
}

Test(recovery, the_ring_has_a_limit)
{
    recovery_log_send(l, 0, LIMIT - 1, T0);
    cr_assert_eq(recovery_reserve(&l->r, T0), NET_ERR_LIMIT);
    recovery_on_sent(&l->r, &(struct sent){.counter = LIMIT, .bytes = 80}, T0); /* heartbeats go on */
    ACK(l, T0 + 10 * MS, {LIMIT - 1, LIMIT});
    cr_assert_eq(recovery_reserve(&l->r, T0 + 10 * MS), NET_OK, "rather forget what was lost than refuse");
    cr_assert_eq(l->lost_count, LIMIT - 2);
    recovery_log_send(l, LIMIT + 1, 2 * LIMIT - 2, T0 + 10 * MS);
    cr_assert_eq(recovery_reserve(&l->r, T0 + 10 * MS), NET_ERR_LIMIT);
}

/* A packet in 20 is lost, none is late: memory is for what is in flight. */
Test(recovery, the_ring_does_not_grow_with_losses)
{
    for (uint64_t c = 0; c < 100000; c += 20) {
        recovery_log_send(l, c, c + 19, T0);
        recovery_log_clear(l);
        ACK(l, T0 + 1, {c + 1, c + 19});
        cr_assert_leq(l->r.capacity, 128);
    }
}

Test(recovery, a_full_ring_has_room_for_probes)
{
    recovery_log_send_loose(l, 0, T0);
    recovery_log_send(l, 1, LIMIT - 1, T0);
    for (uint64_t c = LIMIT; c < 2 * LIMIT; c += 2) {
        uint64_t at = recovery_deadline(&l->r);
        recovery_log_clear(l);
        cr_assert(recovery_on_tick(&l->r, at, &l->events));
        EXPECT(lost, c - LIMIT, c - LIMIT + 1);
        cr_assert_eq(recovery_probe(&l->r), &recovery_log_kept[c - LIMIT + 2]);
        recovery_log_send(l, c, c + 1, at);
        cr_assert_eq(recovery_reserve(&l->r, at), NET_ERR_LIMIT);
        cr_assert_eq(l->r.congestion.in_flight, LIMIT * 1000);
    }
}

Test(recovery, a_handshake_gives_the_first_guess)
{
    recovery_guess_rtt(&l->r, 0, T0);
    cr_assert_eq(l->r.rtt.smoothed, 20 * MS);
    uint64_t rate = l->r.pacer.rate;
    recovery_guess_rtt(&l->r, 2 * MS, T0);
    cr_assert(l->r.rtt.smoothed == 2 * MS && l->r.rtt.var == MS);
    cr_assert_eq(l->r.pacer.rate, 10 * rate);
    recovery_log_send(l, 0, 0, T0);
    ACK(l, T0 + 10 * MS, {0, 0});
    recovery_guess_rtt(&l->r, 3 * MS, T0);
    cr_assert_eq(l->r.rtt.smoothed, 10 * MS, "what was measured is better");
}

Test(recovery, another_path_is_measured_anew)
{
    uint64_t rate = l->r.pacer.rate, cwnd = l->r.congestion.cwnd;
    recovery_log_send(l, 0, 9, T0);
    ACK(l, T0 + 4 * MS, {0, 5});
    cr_assert_gt(l->r.congestion.cwnd, cwnd);
    uint64_t in_flight = l->r.congestion.in_flight;
    recovery_on_path(&l->r, T0 + 5 * MS);
    cr_assert(!l->r.rtt.measured && l->r.rtt.smoothed == 4 * MS && l->r.rtt.var == 2 * MS && l->r.rtt.min == 0);
    cr_assert_eq(l->r.congestion.cwnd, cwnd);
    cr_assert_eq(l->r.pacer.rate, 5 * rate, "the window in the round trip that is guessed: a fifth of 20 ms");
    cr_assert_eq(l->r.congestion.in_flight, in_flight);
    recovery_log_clear(l);
    recovery_log_send(l, 10, 13, T0 + 10 * MS);
    ACK(l, T0 + 11 * MS, {7, 8}, {0, 5}); /* RFC 9000 9.4: what went the old way says nothing of the new one */
    cr_assert(!l->r.rtt.measured && l->r.congestion.min_rtt == 0 && l->r.congestion.bandwidth.half[0] == 0);
    ACK(l, T0 + 60 * MS, {10, 13}, {7, 8}, {0, 5});
    EXPECT(acked, 7, 8, 10, 11, 12, 13);
    EXPECT(lost, 6, 9);
    cr_assert(l->r.rtt.measured && l->r.rtt.smoothed == 50 * MS && l->r.rtt.min == 50 * MS);
    cr_assert_eq(l->r.congestion.min_rtt, 50 * MS);
    cr_assert_eq(l->r.congestion.lost, 0, "nor what was lost there");
    cr_assert_eq(l->r.congestion.in_flight, 0);
}

/* All that was on its way to where the peer was is lost: it goes again, and the new path is not taken for a bad one. */
Test(recovery, what_was_lost_on_the_old_path_is_no_congestion_of_the_new_one)
{
    uint64_t cwnd = l->r.congestion.cwnd;
    recovery_log_send(l, 0, 0, T0);
    ACK(l, T0 + 10 * MS, {0, 0});
    for (uint64_t i = 0; i < 300; i++)
        recovery_log_send(l, 1 + i, 1 + i, T0 + (11 + i) * MS);
    recovery_on_path(&l->r, T0 + 320 * MS);
    recovery_log_send(l, 301, 301, T0 + 321 * MS);
    recovery_log_clear(l);
    ACK(l, T0 + 331 * MS, {301, 301});
    cr_assert_eq(l->lost_count, 300);
    cr_assert_geq(l->r.congestion.cwnd, cwnd);
    cr_assert_not(l->r.congestion.full);
    cr_assert_eq(l->r.congestion.bound, UINT64_MAX);
}

Test(recovery, the_ring_grows_with_what_is_in_it)
{
    recovery_log_send(l, 0, 62, T0);
    ACK(l, T0 + 10 * MS, {60, 60}, {40, 50}, {0, 30});
    cr_assert_eq(l->r.capacity, 64);
    EXPECT(lost, 31, 32, 33, 34, 35, 36, 37, 38, 39, 51, 52, 53, 54, 55, 56, 57);
    recovery_log_send(l, 63, 500, T0 + 10 * MS); /* wraps, and moves */
    cr_assert_eq(l->r.capacity, 512);
    recovery_log_clear(l);
    ACK(l, T0 + 20 * MS, {35, 500});
    cr_assert_eq(l->acked_count, 4 + 438);
    EXPECT(spurious, 35, 36, 37, 38, 39, 51, 52, 53, 54, 55, 56, 57);
    cr_assert_eq(l->r.congestion.in_flight, 0);
}

Test(recovery, abandoned_with_its_session)
{
    recovery_log_send(l, 0, 5, T0);
    ACK(l, T0 + 10 * MS, {0, 1});
    uint64_t cwnd = l->r.congestion.cwnd;
    recovery_abandon(&l->r, T0 + 20 * MS, &l->events);
    EXPECT(lost, 2, 3, 4, 5);
    cr_assert_eq(l->r.packets_lost, 0, "nobody said so");
    cr_assert_eq(l->r.congestion.in_flight, 0);
    cr_assert_eq(l->r.congestion.cwnd, cwnd);
    cr_assert_eq(l->r.rtt.smoothed, 10 * MS);
    cr_assert_eq(recovery_deadline(&l->r), UINT64_MAX);
    recovery_log_clear(l);
    cr_assert_eq(ACK(l, T0 + 20 * MS, {0, 0}), NET_ERR_INVALID, "nothing was sent in the new session");
    recovery_log_send(l, 0, 1, T0 + 21 * MS);
    ACK(l, T0 + 30 * MS, {0, 1});
    EXPECT(acked, 0, 1);
}
