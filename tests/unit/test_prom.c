/* Prometheus' text format 0.0.4, https://prometheus.io/docs/instrumenting/exposition_formats */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/top/prom.h"

static struct prom_text text_of(const char *text)
{
    return (struct prom_text){text, text + strlen(text)};
}

static struct prom_sample only(const char *line)
{
    struct prom_text text = text_of(line);
    struct prom_sample s, more;
    cr_assert_eq(prom_next(&text, &s), PROM_SAMPLE, "%s", line);
    cr_assert_eq(prom_next(&text, &more), PROM_END, "%s", line);
    return s;
}

static void expect_label(const struct prom_sample *s, const char *name, const char *value)
{
    char out[64] = "";
    cr_expect(prom_label(s, name, out, sizeof out), "%s", name);
    cr_expect_str_eq(out, value);
}

/* The example of the format's description. */
Test(prom, example)
{
    struct prom_text text = text_of("# HELP http_requests_total The total number of HTTP requests.\n"
                                    "# TYPE http_requests_total counter\n"
                                    "http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n"
                                    "http_requests_total{method=\"post\",code=\"400\"}    3 1395066363000\n"
                                    "\n"
                                    "# Escaping in label values:\n"
                                    "msdos_file_access_time_seconds{path=\"C:\\\\DIR\\\\FILE.TXT\","
                                    "error=\"Cannot find file:\\n\\\"FILE.TXT\\\"\"} 1.458255915e9\n"
                                    "\n"
                                    "# Minimalistic line:\n"
                                    "metric_without_timestamp_and_labels 12.47\n"
                                    "\n"
                                    "# A weird metric from before the epoch:\n"
                                    "something_weird{problem=\"division by zero\"} +Inf -3982045\n");
    struct prom_sample s;
    cr_assert_eq(prom_next(&text, &s), PROM_SAMPLE);
    cr_expect(prom_is(s.name, "http_requests_total"));
    cr_expect_eq(s.value, 1027);
    expect_label(&s, "method", "post");
    expect_label(&s, "code", "200");
    cr_assert_eq(prom_next(&text, &s), PROM_SAMPLE);
    cr_expect_eq(s.value, 3);
    expect_label(&s, "code", "400");
    cr_assert_eq(prom_next(&text, &s), PROM_SAMPLE);
    cr_expect_eq(s.value, 1458255915);
    expect_label(&s, "path", "C:\\DIR\\FILE.TXT");
    expect_label(&s, "error", "Cannot find file:\n\"FILE.TXT\"");
    cr_assert_eq(prom_next(&text, &s), PROM_SAMPLE);
    cr_expect_eq(s.value, 12.47);
    cr_expect_eq(s.label_count, 0);
    cr_assert_eq(prom_next(&text, &s), PROM_SAMPLE);
    cr_expect(isinf(s.value) && s.value > 0);
    cr_expect_eq(prom_next(&text, &s), PROM_END);
}

Test(prom, what_else_is_allowed)
{
    cr_expect_eq(only("a 1").value, 1);
    cr_expect_eq(only("\ta\t-2.5e3 ").value, -2500);
    cr_expect(isnan(only("a NaN\n").value));
    cr_expect_eq(only("a{} 1").label_count, 0);
    cr_expect_eq(only("a { x = \"1\" , } 1").label_count, 1);
    cr_expect(prom_is(only("job:rate5m_1 1").name, "job:rate5m_1"));
    struct prom_sample s = only("a{x=\"}, y=\",z=\"\"} 1");
    expect_label(&s, "x", "}, y=");
    expect_label(&s, "z", "");
    s = only("a{x=\"\\t\\\"} 1\"} 1"); /* a backslash that escapes nothing is one */
    expect_label(&s, "x", "\\t\"} 1");
}

Test(prom, malformed_lines_are_passed_over)
{
    static const char *const bad[] = {"1a 1",
                                      "a",
                                      "a ",
                                      "a{ 1",
                                      "a{x} 1",
                                      "a{x=} 1",
                                      "a{x=1} 1",
                                      "a{x=\"1} 1",
                                      "a{x=\"1\"",
                                      "a{x=\"1\"}",
                                      "a{:=\"\"} 1",
                                      "a{,} 1",
                                      "a{x=\"1\" y=\"\"} 1",
                                      "a one",
                                      "a 1 2 3",
                                      "a 1 x",
                                      "{x=\"1\"} 1",
                                      "a{x=\"\\",
                                      "a 1\r",
                                      "\xff 1",
                                      "a{1=\"\"} 1",
                                      "a 11111111111111111111111111111111111111111111111111111111111111111111"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char both[256];
        struct prom_sample s;
        snprintf(both, sizeof both, "%s\nb 2\n", bad[i]);
        struct prom_text text = text_of(both);
        cr_expect_eq(prom_next(&text, &s), PROM_MALFORMED, "%s", bad[i]);
        cr_expect_eq(prom_next(&text, &s), PROM_SAMPLE, "behind %s", bad[i]);
        cr_expect_eq(s.value, 2);
        cr_expect_eq(prom_next(&text, &s), PROM_END);
    }
}

Test(prom, bounds)
{
    char line[1024] = "a{";
    struct prom_sample s;
    for (int i = 0; i < PROM_LABELS_MAX; i++)
        snprintf(line + strlen(line), sizeof line - strlen(line), "l%d=\"%d\",", i, i);
    strcat(line, "} 1");
    s = only(line);
    cr_expect_eq(s.label_count, PROM_LABELS_MAX);
    expect_label(&s, "l15", "15");
    strcpy(strchr(line, '}'), "m=\"\"} 1");
    struct prom_text text = text_of(line);
    cr_expect_eq(prom_next(&text, &s), PROM_MALFORMED);

    char out[4];
    s = only("a{x=\"abc\",y=\"abcd\"} 1");
    cr_expect(prom_label(&s, "x", out, sizeof out));
    cr_expect(!prom_label(&s, "y", out, sizeof out));
    cr_expect(!prom_label(&s, "z", out, sizeof out));

    static const char nul[] = "a{x=\"1\0002\"} 1\n";
    text = (struct prom_text){nul, nul + sizeof nul - 1};
    cr_assert_eq(prom_next(&text, &s), PROM_SAMPLE);
    cr_expect(!prom_label(&s, "x", out, sizeof out), "a text with a NUL in it would be cut");
}
