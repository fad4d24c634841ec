/* What arrived, as ranges. RFC 9000 13.2.3, extensions X2.3. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/stream/ranges.h"
#include "tests/support/splitmix.h"

static void expect(const struct ranges *r, uint32_t count, const struct range *list)
{
    cr_assert_eq(r->count, count);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(r->list[i].first, list[i].first);
        cr_assert_eq(r->list[i].last, list[i].last);
    }
}

Test(ranges, in_order_is_one_range)
{
    struct ranges r;
    ranges_init(&r);
    cr_assert(!ranges_contain(&r, 0));
    for (uint64_t c = 0; c < 1000; c++)
        cr_assert(ranges_add(&r, c));
    expect(&r, 1, (struct range[]){{0, 999}});
    cr_assert_eq(ranges_largest(&r), 999);
    cr_assert(!ranges_add(&r, 0));
    cr_assert(!ranges_add(&r, 500));
    cr_assert(!ranges_add(&r, 999));
}

Test(ranges, gaps_open_and_close)
{
    struct ranges r;
    ranges_init(&r);
    cr_assert(ranges_add(&r, 10));
    cr_assert(ranges_add(&r, 14));
    expect(&r, 2, (struct range[]){{14, 14}, {10, 10}});
    cr_assert(ranges_add(&r, 12));
    expect(&r, 3, (struct range[]){{14, 14}, {12, 12}, {10, 10}});
    cr_assert(ranges_add(&r, 11)); /* joins two */
    expect(&r, 2, (struct range[]){{14, 14}, {10, 12}});
    cr_assert(ranges_add(&r, 9)); /* grows downwards */
    cr_assert(ranges_add(&r, 15));
    cr_assert(ranges_add(&r, 13));
    expect(&r, 1, (struct range[]){{9, 15}});
    cr_assert(ranges_add(&r, 0));
    cr_assert(ranges_add(&r, UINT64_MAX));
    expect(&r, 3, (struct range[]){{UINT64_MAX, UINT64_MAX}, {9, 15}, {0, 0}});
}

Test(ranges, the_oldest_is_forgotten_when_there_are_too_many)
{
    struct ranges r;
    ranges_init(&r);
    for (uint64_t i = 0; i < RANGES_MAX + 3; i++)
        cr_assert(ranges_add(&r, 100 + 2 * i));
    cr_assert_eq(r.count, RANGES_MAX);
    cr_assert_eq(ranges_largest(&r), 100 + 2 * (RANGES_MAX + 2));
    cr_assert_eq(r.list[RANGES_MAX - 1].first, 106);
    cr_assert(!ranges_add(&r, 102), "below all of a full set");
    cr_assert(ranges_add(&r, 105), "but what joins a range has a place");
    cr_assert(ranges_contain(&r, 105));
    cr_assert(ranges_add(&r, 107));
    cr_assert_eq(r.count, RANGES_MAX - 1);
    cr_assert(ranges_add(&r, 102), "and now there is room");
}

/* Against a plain array of what arrived. */
Test(ranges, random_arrivals_match_a_bitmap)
{
    enum { COUNTERS = 4096 };
    static bool model[COUNTERS];
    uint64_t seed = 7;
    for (int round = 0; round < 50; round++) {
        struct ranges r;
        ranges_init(&r);
        memset(model, 0, sizeof model);
        for (uint64_t i = 0; i < COUNTERS; i++) {
            uint64_t c = i + splitmix_below(&seed, 40) < COUNTERS ? i + splitmix_below(&seed, 40) : i;
            c = c < COUNTERS ? c : COUNTERS - 1;
            bool added = ranges_add(&r, c);
            cr_assert(!added || !model[c]);
            model[c] = true;
            for (uint32_t k = 0; k < r.count; k++) {
                cr_assert_leq(r.list[k].first, r.list[k].last);
                cr_assert(k == 0 || r.list[k].last + 1 < r.list[k - 1].first);
            }
        }
        uint64_t floor = r.list[r.count - 1].first;
        for (uint64_t c = 0; c < COUNTERS; c++)
            cr_assert_eq(ranges_contain(&r, c), c >= floor && model[c], "counter %lu", c);
    }
}
