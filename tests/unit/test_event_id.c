/* Names of events. streams.md 6 and 19 (37). */
#include <criterion/criterion.h>

#include "core/stream/event_id.h"
#include "tests/support/splitmix.h"

Test(event_id, is_sequence_and_index)
{
    char id[EVENT_ID_MAX];
    event_id_format(id, 0, 0);
    cr_assert_str_eq(id, "0:0");
    event_id_format(id, 10, 7);
    cr_assert_str_eq(id, "10:7");
    event_id_format(id, UINT64_MAX, UINT32_MAX);
    cr_assert_str_eq(id, "18446744073709551615:4294967295");
}

Test(event_id, numbers_decide)
{
    cr_assert_gt(event_id_compare("10:0", "9:0"), 0);
    cr_assert_lt(event_id_compare("9:0", "10:0"), 0);
    cr_assert_gt(event_id_compare("9:10", "9:9"), 0);
    cr_assert_gt(event_id_compare("1:0", "0:4294967295"), 0);
    cr_assert_gt(event_id_compare("18446744073709551615:0", "9:0"), 0);
    cr_assert_eq(event_id_compare("007:1", "7:01"), 0);
}

/* What is no id is text: the whole of both. */
Test(event_id, text_decides_where_one_is_no_id)
{
    static const char *const texts[] = {
        "",     ":",    "1:",           ":1",   "1",     "1:2:3", "1:2 ",
        "+1:2", "-1:2", "1:4294967296", " 1:2", "1.5:2", "a:b",   "18446744073709551616:0"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cr_assert_eq(event_id_compare(texts[i], texts[i]), 0, "%s", texts[i]);
        int order = event_id_compare(texts[i], "5:0"), text = strcmp(texts[i], "5:0");
        cr_assert((order < 0) == (text < 0) && (order > 0) == (text > 0), "%s", texts[i]);
    }
    cr_assert_lt(event_id_compare("10:0", "9:x"), 0, "as text, though 10 is above 9");
}

Test(event_id, what_is_written_is_read)
{
    uint64_t seed = 5;
    for (int i = 0; i < 100000; i++) {
        uint64_t a = splitmix(&seed) >> splitmix_below(&seed, 64), b = splitmix(&seed) >> splitmix_below(&seed, 64);
        uint32_t m = (uint32_t)splitmix_below(&seed, 4), n = (uint32_t)splitmix_below(&seed, 4);
        char x[EVENT_ID_MAX], y[EVENT_ID_MAX];
        event_id_format(x, a, m);
        event_id_format(y, b, n);
        int want = a != b ? (a < b ? -1 : 1) : m < n ? -1 : m > n;
        cr_assert_eq(event_id_compare(x, y), want, "%s %s", x, y);
    }
}
