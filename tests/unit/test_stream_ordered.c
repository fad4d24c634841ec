/* Packets in order, each once. extensions X2.2; streams.md 7.2 and 19 (27, 28, 50), with a window of ours. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/stream/ordered.h"
#include "tests/support/splitmix.h"

static struct ordered o;
static int items[4096];

static void end(void)
{
    while (ordered_take_any(&o)) {
    }
    ordered_deinit(&o);
}

TestSuite(ordered, .fini = end);

/* As a receiver does; returns how many were delivered. */
static uint64_t arrive(uint64_t sequence)
{
    uint64_t before = o.next;
    switch (ordered_place(&o, sequence)) {
    case ORDERED_NEXT:
        ordered_advance(&o);
        break;
    case ORDERED_LATER:
        cr_assert_eq(ordered_hold(&o, sequence, &items[sequence]), NET_OK);
        break;
    default:
        return 0;
    }
    for (int *item; (item = ordered_first(&o)); ordered_advance(&o))
        cr_assert_eq(item, &items[o.next]);
    return o.next - before;
}

Test(ordered, the_table_of_streams_7_2)
{
    ordered_init(&o, 100);
    cr_assert(arrive(0) == 1 && arrive(1) == 1 && arrive(2) == 1);
    cr_assert_eq(ordered_place(&o, 1), ORDERED_DUPLICATE);
    cr_assert_eq(ordered_place(&o, 2), ORDERED_DUPLICATE);
    cr_assert(arrive(4) == 0 && arrive(5) == 0);
    cr_assert_eq(ordered_place(&o, 4), ORDERED_DUPLICATE);
    cr_assert_eq(arrive(3), 3);
    cr_assert(o.next == 6 && o.held == 0);
}

Test(ordered, first_a_later_one) /* 28 */
{
    ordered_init(&o, 100);
    cr_assert_eq(arrive(1), 0);
    cr_assert(o.next == 0 && o.held == 1);
    cr_assert_eq(arrive(0), 2);
}

Test(ordered, beyond_the_limit_nothing_is_taken)
{
    ordered_init(&o, 3);
    cr_assert_eq(ordered_place(&o, 2), ORDERED_LATER);
    cr_assert_eq(ordered_place(&o, 3), ORDERED_BEYOND);
    cr_assert_eq(ordered_place(&o, UINT64_MAX), ORDERED_BEYOND);
    cr_assert_eq(o.capacity, 0, "nothing was allocated for that");
    arrive(0);
    cr_assert_eq(ordered_place(&o, 3), ORDERED_LATER);
}

Test(ordered, what_is_next_may_be_held_too)
{
    ordered_init(&o, 10);
    cr_assert_eq(ordered_hold(&o, 0, &items[0]), NET_OK);
    cr_assert_eq(ordered_place(&o, 0), ORDERED_DUPLICATE);
    cr_assert_eq(ordered_first(&o), &items[0]);
    ordered_advance(&o);
    cr_assert_null(ordered_first(&o));
    cr_assert_eq(o.held, 0);
}

Test(ordered, any_order_is_put_in_order)
{
    uint64_t random = 7;
    for (int round = 0; round < 50; round++) {
        end();
        ordered_init(&o, 1024);
        uint64_t delivered = 0;
        while (o.next < 3000) {
            uint64_t ahead = splitmix(&random) % 1200, sequence = o.next > 100 ? o.next - 100 + ahead : ahead;
            delivered += arrive(splitmix(&random) % 4 ? o.next + ahead % 20 : sequence);
            cr_assert_leq(o.held, 1024);
        }
        cr_assert_eq(delivered, o.next);
    }
}

Test(ordered, taken_back_in_order)
{
    ordered_init(&o, 1000);
    arrive(0);
    arrive(500);
    arrive(3);
    arrive(70);
    cr_assert_eq(ordered_take_any(&o), &items[3]);
    cr_assert_eq(ordered_take_any(&o), &items[70]);
    cr_assert_eq(ordered_take_any(&o), &items[500]);
    cr_assert_null(ordered_take_any(&o));
}
