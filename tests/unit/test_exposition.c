/* Prometheus' text format 0.0.4, as its own documentation describes it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shards/report/exposition.h"

static char text[16384];
static size_t len;
static struct exposition e;

static void put(void *ctx, const char *data, size_t n)
{
    (void)ctx;
    cr_assert_lt(len + n, sizeof text);
    memcpy(text + len, data, n);
    len += n;
    text[len] = '\0';
}

static void set_up(void)
{
    len = 0;
    text[0] = '\0';
    exposition_init(&e, put, NULL);
}

TestSuite(exposition, .init = set_up);

Test(exposition, a_family_has_its_head_once)
{
    exposition_family(&e, "things_total", "counter", "What there is");
    exposition_label(&e, "shard", "0");
    exposition_u64(&e, 7);
    exposition_no_labels(&e);
    exposition_label(&e, "shard", "1");
    exposition_label(&e, "kind", "x");
    exposition_u64(&e, UINT64_MAX);
    exposition_family(&e, "process_max_fds", "gauge", "Of the process");
    exposition_double(&e, 1048576);
    cr_assert_str_eq(text, "# HELP netmesh_things_total What there is\n"
                           "# TYPE netmesh_things_total counter\n"
                           "netmesh_things_total{shard=\"0\"} 7\n"
                           "netmesh_things_total{shard=\"1\",kind=\"x\"} 18446744073709551615\n"
                           "# HELP process_max_fds Of the process\n"
                           "# TYPE process_max_fds gauge\n"
                           "process_max_fds 1048576\n");
}

Test(exposition, values_of_labels_cannot_leave_their_quotes)
{
    exposition_family(&e, "x", "gauge", "X");
    len = 0;
    exposition_label(&e, "name", "a\\b\"} 1\nnetmesh_forged 2\r\t\x7f\xff\xc3\xa9");
    exposition_u64(&e, 1);
    cr_assert_str_eq(text, "netmesh_x{name=\"a\\\\b\\\"} 1\\nnetmesh_forged 2??????\"} 1\n");
    exposition_no_labels(&e);
    exposition_label(&e, "name", "");
    len = 0;
    exposition_u64(&e, 1);
    cr_assert_str_eq(text, "netmesh_x{name=\"\"} 1\n");
}

Test(exposition, durations_are_seconds_and_lose_no_digit)
{
    static const struct {
        uint64_t ns;
        const char *seconds;
    } cases[] = {{0, "0"},
                 {1, "0.000000001"},
                 {1000000000, "1"},
                 {1500000000, "1.5"},
                 {UINT64_C(1795616003813290903), "1795616003.813290903"}};
    exposition_family(&e, "x_seconds", "gauge", "X");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "netmesh_x_seconds %s\n", cases[i].seconds);
        len = 0;
        exposition_ns(&e, cases[i].ns);
        cr_assert_str_eq(text, expected);
    }
}

static uint64_t value_of(const char *series)
{
    const char *at = strstr(text, series);
    cr_assert_not_null(at, "%s in\n%s", series, text);
    return strtoull(at + strlen(series), NULL, 10);
}

Test(exposition, buckets_are_cumulative_and_the_last_is_the_count)
{
    struct histogram h = {0};
    histogram_add_many(&h, 1024, 3);          /* the first bucket holds its bound */
    histogram_add(&h, 1025);                  /* the second */
    histogram_add(&h, UINT64_C(40000000000)); /* longer than all bounds */
    exposition_family(&e, "x_seconds", "histogram", "X");
    exposition_label(&e, "kind", "k");
    exposition_histogram(&e, &h);
    cr_assert_eq(value_of("\nnetmesh_x_seconds_bucket{kind=\"k\",le=\"0.000001024\"} "), 3);
    cr_assert_eq(value_of("\nnetmesh_x_seconds_bucket{kind=\"k\",le=\"0.000002048\"} "), 4);
    cr_assert_eq(value_of("\nnetmesh_x_seconds_bucket{kind=\"k\",le=\"17.179869184\"} "), 4);
    cr_assert_eq(value_of("\nnetmesh_x_seconds_bucket{kind=\"k\",le=\"+Inf\"} "), 5);
    cr_assert_eq(value_of("\nnetmesh_x_seconds_count{kind=\"k\"} "), 5);
    cr_assert_not_null(strstr(text, "\nnetmesh_x_seconds_sum{kind=\"k\"} 40.000004097\n"));
}
