/* Whose turn it is. streams.md 11, routing.md 7. */
#include <criterion/criterion.h>

#include "core/stream/schedule.h"
#include "tests/support/splitmix.h"

enum { QUANTUM = 1000, FLOWS = 5 };

static struct schedule schedule;
static struct flow flows[FLOWS];

static void make(const uint8_t *weights, unsigned count)
{
    schedule_init(&schedule, QUANTUM);
    for (unsigned i = 0; i < count; i++)
        flow_init(&flows[i], weights[i], false);
}

static struct flow *next(void)
{
    uint64_t allowance = 0;
    struct flow *f = schedule_next(&schedule, &allowance);
    cr_assert_eq(f != NULL, allowance > 0);
    return f;
}

/* One packet of that size by whose turn it is. */
static struct flow *send(uint64_t bytes)
{
    struct flow *f = next();
    cr_assert_not_null(f);
    schedule_spent(&schedule, f, bytes);
    return f;
}

Test(schedule, nobody_wants_to_send)
{
    make((uint8_t[]){1}, 1);
    cr_assert_null(next());
    schedule_sleep(&schedule, &flows[0]);
    cr_assert_null(next());
}

Test(schedule, a_saturated_flow_delays_another_by_no_more_than_one_quantum)
{
    for (uint64_t packet = 1; packet < 3 * QUANTUM; packet += 97) {
        make((uint8_t[]){1, 1}, 2);
        schedule_wake(&schedule, &flows[0]);
        for (int i = 0; i < 1000; i++)
            cr_assert_eq(send(packet), &flows[0]);
        schedule_wake(&schedule, &flows[1]);
        uint64_t waited = 0;
        while (send(packet) == &flows[0])
            waited += packet;
        cr_assert_lt(waited, QUANTUM + packet, "packets are not cut");
    }
}

Test(schedule, weights_hold_whatever_the_packets_are)
{
    const uint8_t weights[FLOWS] = {1, 2, 3, 10, 255};
    uint64_t sent[FLOWS] = {0}, random = 1, total = 0, sum = 1 + 2 + 3 + 10 + 255;
    make(weights, FLOWS);
    for (int i = 0; i < FLOWS; i++)
        schedule_wake(&schedule, &flows[i]);
    for (int i = 0; i < 1000000; i++) {
        uint64_t bytes = 80 + splitmix(&random) % 8112;
        sent[send(bytes) - flows] += bytes;
        total += bytes;
    }
    for (int i = 0; i < FLOWS; i++) {
        double share = (double)sent[i] / (double)total, due = (double)weights[i] / (double)sum;
        cr_assert(share > due * 0.95 && share < due * 1.05, "%d: %f for %f", i, share, due);
    }
}

Test(schedule, a_weight_of_zero_is_one)
{
    make((uint8_t[]){0}, 1);
    cr_assert_eq(flows[0].weight, 1);
}

Test(schedule, the_priority_lane_goes_first)
{
    make((uint8_t[]){1, 1, 1}, 3);
    flows[1].priority = flows[2].priority = true;
    schedule_wake(&schedule, &flows[0]);
    cr_assert_eq(send(10), &flows[0]);
    schedule_wake(&schedule, &flows[1]);
    schedule_wake(&schedule, &flows[2]);
    cr_assert(!schedule_alone(&schedule, &flows[1]));
    uint64_t sent[3] = {0};
    for (int i = 0; i < 100; i++)
        sent[send(500) - flows]++;
    cr_assert(sent[0] == 0 && sent[1] == 50 && sent[2] == 50);
    schedule_sleep(&schedule, &flows[1]);
    schedule_sleep(&schedule, &flows[2]);
    cr_assert_eq(send(10), &flows[0]);
    cr_assert(schedule_alone(&schedule, &flows[0]));
}

Test(schedule, sleep_saves_no_allowance_and_forgives_no_debt)
{
    make((uint8_t[]){1, 1}, 2);
    schedule_wake(&schedule, &flows[0]);
    cr_assert_eq(next(), &flows[0]);
    schedule_sleep(&schedule, &flows[0]);
    schedule_wake(&schedule, &flows[0]);
    uint64_t allowance;
    cr_assert_eq(schedule_next(&schedule, &allowance), &flows[0]);
    cr_assert_eq(allowance, QUANTUM);
    schedule_sleep(&schedule, &flows[0]);
    schedule_spent(&schedule, &flows[0], 10 * QUANTUM); /* outside its turn */
    schedule_wake(&schedule, &flows[0]);
    schedule_wake(&schedule, &flows[1]);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(send(QUANTUM), &flows[1]);
    uint64_t turns = 0;
    while (send(QUANTUM) == &flows[1])
        cr_assert_lt(++turns, 3);
}
