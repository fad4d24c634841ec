/* Congestion control, with recovery, pacing and acknowledgements over a simulated path. Extensions X2.5, RFC 9002 7. */
#include <criterion/criterion.h>

#include "core/stream/congestion.h"
#include "tests/support/path.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

/* 100 Mbit/s over 20 ms, and a queue of one bandwidth-delay product. */
static struct path usual(void)
{
    return (struct path){.rate = 12500000, .rtt_ns = 20 * MS, .queue = 250000, .packet = 1472, .seed = 1};
}

static double share(const struct path *p, const struct path_result *r)
{
    return (double)r->goodput / (double)p->rate;
}

Test(congestion, a_clean_path_is_filled_and_its_queue_is_not)
{
    static const uint64_t rtts[] = {1, 20, 100};
    for (size_t i = 0; i < sizeof rtts / sizeof rtts[0]; i++) {
        struct path p = usual();
        p.rtt_ns = rtts[i] * MS;
        p.queue = p.rate * p.rtt_ns / SECOND > 32768 ? p.rate * p.rtt_ns / SECOND : 32768;
        struct path_result r = path_run(&p, 20 * SECOND);
        cr_assert_gt(share(&p, &r), 0.95, "%.3f at %lu ms", share(&p, &r), rtts[i]);
        cr_assert_lt(r.lost, r.sent / 50);
        cr_assert_eq(r.spurious + r.repeated, 0);
        cr_assert_lt(r.queue_ns, p.queue * SECOND / p.rate);
    }
}

Test(congestion, random_loss_is_not_taken_for_a_full_path)
{
    static const double losses[] = {0.001, 0.01, 0.05, 0.1};
    static const uint64_t rtts[] = {1, 20, 100};
    for (size_t i = 0; i < sizeof rtts / sizeof rtts[0]; i++)
        for (size_t k = 0; k < sizeof losses / sizeof losses[0]; k++) {
            struct path p = usual();
            p.rtt_ns = rtts[i] * MS;
            p.loss = losses[k];
            struct path_result r = path_run(&p, 20 * SECOND);
            double least = 0.85 * (1 - losses[k]);
            cr_assert_gt(share(&p, &r), least, "%.3f at %lu ms, %g", share(&p, &r), rtts[i], losses[k]);
        }
}

Test(congestion, loss_beyond_the_bound_slows_down)
{
    struct path p = usual();
    p.loss = 0.4;
    struct path_result r = path_run(&p, 10 * SECOND);
    cr_assert_lt(share(&p, &r), 0.1);
    cr_assert_gt(share(&p, &r), 0.005, "but it goes on");
    cr_assert_lt(r.longest_ns, SECOND);
}

Test(congestion, reordering_and_duplication)
{
    struct path p = usual();
    p.jitter_ns = 5 * MS;
    p.duplicate = 0.05;
    struct path_result r = path_run(&p, 20 * SECOND);
    cr_assert_gt(share(&p, &r), 0.9);
    cr_assert_lt(r.repeated, r.sent / 50, "the thresholds grow: %lu of %lu repeated", r.repeated, r.sent);
    cr_assert_gt(r.reorder_packets, 3);
    p.loss = 0.05;
    r = path_run(&p, 20 * SECOND);
    cr_assert_gt(share(&p, &r), 0.85);
}

Test(congestion, goes_on_soon_after_an_outage)
{
    struct path p = usual();
    p.outage_ns = 3 * SECOND;
    p.outage_end_ns = 8 * SECOND;
    struct path_result r = path_run(&p, 20 * SECOND);
    cr_assert_lt(r.longest_ns, 5 * SECOND + 2100 * MS, "a probe time-out later at the latest");
    cr_assert_gt(share(&p, &r), 0.6);
}

Test(congestion, follows_a_path_that_gets_slower)
{
    struct path p = usual();
    p.slow_ns = 10 * SECOND;
    struct path_result r = path_run(&p, 20 * SECOND);
    cr_assert_gt(share(&p, &r), 0.7);
    cr_assert_lt(r.lost, r.sent / 50);
    cr_assert_lt(r.smoothed_ns, 40 * MS);
}

Test(congestion, short_queues_are_lived_with)
{
    struct path p = usual();
    p.queue = 20000;
    struct path_result r = path_run(&p, 20 * SECOND);
    cr_assert_gt(share(&p, &r), 0.9);
    cr_assert_lt(r.lost, r.sent / 20);
}

Test(congestion, deep_queues_stay_empty)
{
    struct path p = usual();
    p.queue = 25000000;
    struct path_result r = path_run(&p, 20 * SECOND);
    cr_assert_gt(share(&p, &r), 0.95);
    cr_assert_lt(r.queue_ns, 5 * MS);
    cr_assert_lt(r.smoothed_ns, 30 * MS);
}

Test(congestion, loopback_is_not_held_back_by_timers)
{
    struct path p = {.rate = 5000000000, .rtt_ns = MS / 20, .queue = 4 << 20, .packet = 8192, .seed = 1};
    struct path_result r = path_run(&p, SECOND);
    cr_assert_gt(share(&p, &r), 0.9);
}

Test(congestion, thin_links_work)
{
    struct path p = {.rate = 16000, .rtt_ns = 300 * MS, .queue = 20000, .packet = 1472, .seed = 1};
    struct path_result r = path_run(&p, 60 * SECOND);
    cr_assert_gt(share(&p, &r), 0.9);
}

/* RFC 9002 7.8: what was not used proves nothing. */
Test(congestion, a_quiet_sender_does_not_lose_what_it_knows)
{
    struct congestion c;
    struct rtt rtt;
    uint64_t now = SECOND;
    rtt_init(&rtt, 10 * MS);
    congestion_init(&c, 10 * MS, now);
    for (int i = 0; i < 100; i++) { /* 100 packets each round trip */
        struct delivery_mark mark[100];
        for (int k = 0; k < 100; k++)
            mark[k] = congestion_on_sent(&c, 1472, now + (uint64_t)k * MS / 10);
        for (int k = 0; k < 100; k++) {
            congestion_on_acked(&c, &mark[k], now + (uint64_t)k * MS / 10, 1472, now + 10 * MS + (uint64_t)k * MS / 10);
            congestion_update(&c, &rtt, 10 * MS, now + 10 * MS + (uint64_t)k * MS / 10);
        }
        now += 10 * MS;
    }
    uint64_t rate = c.rate;
    cr_assert_gt(rate, 5000000);
    for (int i = 0; i < 1000; i++) { /* and then one */
        congestion_on_idle(&c);
        struct delivery_mark mark = congestion_on_sent(&c, 1472, now);
        congestion_on_acked(&c, &mark, now, 1472, now + 10 * MS);
        congestion_update(&c, &rtt, 10 * MS, now + 10 * MS);
        now += 20 * MS;
    }
    cr_assert_geq(c.rate, rate / 2);
    cr_assert_geq(c.cwnd, 14720000 / 100);
    cr_assert_eq(c.in_flight, 0);
}

/* What is not held back by the window does not empty the path to see its round trip: it is not waited for. */
Test(congestion, fire_and_forget_keeps_its_rate)
{
    struct path p = usual();
    p.fire_and_forget = true;
    struct path_result r = path_run(&p, 60 * SECOND);
    cr_assert_gt(share(&p, &r), 0.97, "%.3f", share(&p, &r));
}
