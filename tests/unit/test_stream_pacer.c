/* Pacing. RFC 9002 7.7. */
#include <criterion/criterion.h>

#include "core/stream/pacer.h"
#include "tests/support/splitmix.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

/* Bytes that leave from `now` until `end`, in packets of so many, asked every `every` ns. */
static uint64_t leave(struct pacer *p, uint64_t now, uint64_t end, uint32_t bytes, uint64_t every)
{
    uint64_t sum = 0;
    for (; now < end; now += every)
        for (; pacer_allow(p, now); sum += bytes)
            pacer_spend(p, bytes, now);
    return sum;
}

Test(pacer, unlimited_until_a_rate_is_set)
{
    struct pacer p;
    pacer_init(&p, SECOND);
    for (int i = 0; i < 1000; i++)
        pacer_spend(&p, 8210, SECOND);
    cr_assert(pacer_allow(&p, SECOND));
    pacer_set_rate(&p, PACER_MAX_RATE + 1, SECOND);
    pacer_spend(&p, UINT32_MAX, SECOND);
    cr_assert(pacer_allow(&p, SECOND), "nor by a rate no link has");
}

Test(pacer, rate_and_burst)
{
    static const uint64_t rates[] = {1000, 125000, 12500000, 1250000000, 10000000000};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct pacer p;
        pacer_init(&p, SECOND);
        pacer_set_rate(&p, rates[i], SECOND);
        uint64_t burst = rates[i] / 500 > PACER_MIN_BURST ? rates[i] / 500 : PACER_MIN_BURST;
        uint64_t got = leave(&p, SECOND, SECOND + 1, 1000, 1);
        cr_assert(got >= burst && got <= burst + 1000, "a burst of %lu at %lu/s", got, rates[i]);
        got = leave(&p, SECOND, 2 * SECOND, 1000, MS);
        cr_assert(got + 2000 >= rates[i] / 1000 * 999 && got <= rates[i] + 2000, "%lu at %lu/s", got, rates[i]);
        burst = leave(&p, 1000 * SECOND, 1000 * SECOND + 1, 1000, 1);
        cr_assert_leq(burst, (rates[i] / 500 > PACER_MIN_BURST ? rates[i] / 500 : PACER_MIN_BURST) + 1000,
                      "time that passed is no more than a bucket");
    }
}

Test(pacer, any_size_passes_and_is_paid_for)
{
    struct pacer p;
    pacer_init(&p, SECOND);
    pacer_set_rate(&p, 1000, SECOND);
    pacer_spend(&p, 100000, SECOND);
    cr_assert(!pacer_allow(&p, SECOND));
    uint64_t deadline = pacer_deadline(&p);
    cr_assert_eq(deadline, SECOND + (100000 - PACER_MIN_BURST) * MS + MS, "a batch, not a packet");
    cr_assert(!pacer_allow(&p, deadline - MS - 1));
    cr_assert(pacer_allow(&p, deadline - MS));
}

Test(pacer, a_new_rate_keeps_what_was_spent)
{
    struct pacer p;
    pacer_init(&p, SECOND);
    pacer_set_rate(&p, 1000000, SECOND);
    pacer_spend(&p, (uint32_t)PACER_MIN_BURST + 1000, SECOND);
    cr_assert_eq(pacer_deadline(&p), SECOND + 2 * MS);
    pacer_set_rate(&p, 2000000, SECOND);
    cr_assert_eq(pacer_deadline(&p), SECOND + MS / 2 + MS);
    pacer_set_rate(&p, 1000, SECOND);
    cr_assert_eq(pacer_deadline(&p), SECOND + 1000 * MS + MS);
    pacer_set_rate(&p, 1000000, SECOND);
    for (int i = 0; i < 1000; i++)
        pacer_spend(&p, 8210, SECOND);
    pacer_set_rate(&p, 1000, SECOND);
    cr_assert_leq(pacer_deadline(&p), SECOND + PACER_MIN_BURST * MS + MS, "but not for ever");
}

/* Rates change with every acknowledgement: that must not let more through. */
Test(pacer, changing_rates_add_up)
{
    struct pacer p;
    uint64_t seed = 3, sum = 0, now = SECOND;
    double allowed = 0;
    pacer_init(&p, now);
    for (int i = 0; i < 10000; i++) {
        uint64_t rate = 5000000 + splitmix_below(&seed, 10000000);
        pacer_set_rate(&p, rate, now);
        for (; pacer_allow(&p, now); sum += 1472)
            pacer_spend(&p, 1472, now);
        now += 100000;
        allowed += (double)rate / 10000;
    }
    cr_assert_lt((double)sum, allowed * 1.01 + 40000);
    cr_assert_gt((double)sum, allowed * 0.99);
}
