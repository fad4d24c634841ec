/* Lines for the operator: their formats, hostile text in them, and the bound on how many there are. */
#include <criterion/criterion.h>
#include <json-c/json_object.h>
#include <json-c/json_tokener.h>
#include <stdio.h>
#include <string.h>

#include "core/base/utf8.h"
#include "shards/report/say_line.h"
#include "shards/report/say_rate.h"

static const uint64_t S = 1000000000;

/* 2026-11-25T12:00:00.123456Z */
static const uint64_t WALL = UINT64_C(1795608000123456789);

static const char *format(enum say_style style, const struct say_line *line)
{
    static char out[SAY_LINE_MAX + 1];
    size_t len = say_format(out, style, line);
    cr_assert_leq(len, SAY_LINE_MAX);
    out[len] = '\0';
    cr_assert_eq(strlen(out), len, "no NUL inside");
    cr_assert_eq(strchr(out, '\n'), out + len - 1, "one line: %s", out);
    cr_assert(utf8_valid((const uint8_t *)out, len), "UTF-8: %s", out);
    return out;
}

Test(say, text)
{
    struct io_addr addr = {.ip = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7}, .port = 20037};
    struct say_line line = {WALL, LEVEL_WARN, 1, 0, NULL, NULL, "what happened"};
    cr_expect_str_eq(format(SAY_TEXT, &line), "2026-11-25T12:00:00.123456Z warn shard=1 what happened\n");
    line = (struct say_line){WALL, LEVEL_INFO, 0, 0x0b416fce7022f88c, "sensors/lidar", &addr, "subscribed"};
    cr_expect_str_eq(format(SAY_TEXT, &line), "2026-11-25T12:00:00.123456Z info shard=0 peer=0x0b416fce7022f88c "
                                              "addr=192.0.2.7:20037 channel=sensors/lidar subscribed\n");
    line = (struct say_line){0, LEVEL_DEBUG, SAY_NO_SHARD, 0, NULL, NULL, ""};
    cr_expect_str_eq(format(SAY_TEXT, &line), "1970-01-01T00:00:00.000000Z debug \n");
}

Test(say, journal) /* sd-daemon(3): SD_ERR "<3>", SD_WARNING "<4>", SD_INFO "<6>", SD_DEBUG "<7>" */
{
    struct say_line line = {WALL, LEVEL_ERROR, 1, 0, "a/b", NULL, "disk"};
    cr_expect_str_eq(format(SAY_JOURNAL, &line), "<3>shard=1 channel=a/b disk\n");
    line = (struct say_line){WALL, LEVEL_WARN, SAY_NO_SHARD, 0, NULL, NULL, "x"};
    cr_expect_str_eq(format(SAY_JOURNAL, &line), "<4>x\n");
    line.level = LEVEL_INFO;
    cr_expect_str_eq(format(SAY_JOURNAL, &line), "<6>x\n");
    line.level = LEVEL_DEBUG;
    cr_expect_str_eq(format(SAY_JOURNAL, &line), "<7>x\n");
}

static const char *field(struct json_object *o, const char *name)
{
    struct json_object *value = NULL;
    return json_object_object_get_ex(o, name, &value) ? json_object_get_string(value) : NULL;
}

Test(say, json)
{
    struct io_addr addr = {.ip = {[15] = 1}, .port = 1};
    struct say_line line = {WALL, LEVEL_WARN, 3, 0x0b416fce7022f88c, "a/b", &addr, "quote \" and \\ and \x01\n"};
    struct json_object *o = json_tokener_parse(format(SAY_JSON, &line));
    cr_assert(o);
    cr_expect_str_eq(field(o, "ts"), "2026-11-25T12:00:00.123456Z");
    cr_expect_str_eq(field(o, "level"), "warn");
    cr_expect_str_eq(field(o, "shard"), "3");
    cr_expect_str_eq(field(o, "peer"), "0x0b416fce7022f88c");
    cr_expect_str_eq(field(o, "addr"), "[::1]:1");
    cr_expect_str_eq(field(o, "channel"), "a/b");
    cr_expect_str_eq(field(o, "msg"), "quote \" and \\ and \x01\n");
    json_object_put(o);
    line = (struct say_line){WALL, LEVEL_ERROR, SAY_NO_SHARD, 0, NULL, NULL, ""};
    cr_expect_str_eq(format(SAY_JSON, &line),
                     "{\"ts\":\"2026-11-25T12:00:00.123456Z\",\"level\":\"error\",\"msg\":\"\"}\n");
}

/* A text that would start a line of its own, move the cursor, or is no text at all. */
Test(say, hostile_text)
{
    struct say_line line = {WALL,
                            LEVEL_INFO,
                            SAY_NO_SHARD,
                            0,
                            NULL,
                            NULL,
                            "a\n<0>forged\r\t\x1b[2J\x7f\xc2\x9b"
                            "31m \xff\xc0\x80\xe2\x82 \xe2\x82\xac"};
    cr_expect_str_eq(format(SAY_JOURNAL, &line),
                     "<6>a\\n<0>forged\\r\\t\\x1b[2J\\x7f\\u009b31m \\xff\\xc0\\x80\\xe2\\x82 \xe2\x82\xac\n");
    struct json_object *o = json_tokener_parse(format(SAY_JSON, &line));
    cr_assert(o);
    cr_expect_str_eq(field(o, "msg"), "a\n<0>forged\r\t\x1b[2J\x7f\xc2\x9b"
                                      "31m \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xe2\x82\xac");
    json_object_put(o);
    cr_expect_null(strchr(format(SAY_JSON, &line), '\x1b'), "escaped in the bytes");
}

/* Whatever has to be cut, a line is a line and an object an object. */
Test(say, long_text)
{
    static const char *const units[] = {"a", "\xff", "\x01", "\xe2\x82\xac", "\""};
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        for (size_t count = 300; count < 2200; count += 7) {
            char message[3 * 2200 + 1] = "";
            size_t len = strlen(units[u]);
            for (size_t i = 0; i < count; i++)
                memcpy(message + i * len, units[u], len + 1);
            struct say_line line = {WALL, LEVEL_INFO, 1, 1, "a/b", NULL, message};
            const char *text = format(SAY_TEXT, &line);
            cr_assert(strlen(message) < SAY_LINE_MAX || strstr(text, "\xe2\x80\xa6\n"), "the cut is shown");
            struct json_object *o = json_tokener_parse(format(SAY_JSON, &line));
            cr_assert(o, "unit %zu, %zu of them", u, count);
            cr_assert_str_eq(field(o, "channel"), "a/b");
            json_object_put(o);
        }
    }
}

/* ---- how many ---- */

static const char KIND_A[] = "kind %d", KIND_B[] = "another kind";

static unsigned say_many(struct say_rate *r, const char *kind, uint64_t now, unsigned count, uint32_t limit)
{
    unsigned said = 0;
    for (unsigned i = 0; i < count; i++) {
        struct say_kind *k;
        if (!say_rate_take(r, kind, now, limit, &k))
            continue;
        say_rate_sample(k, LEVEL_WARN, kind);
        said++;
    }
    return said;
}

Test(say_rate, no_bound)
{
    struct say_rate r;
    say_rate_init(&r);
    cr_expect_eq(say_many(&r, KIND_A, S, 100000, 0), 100000);
    cr_expect_eq(r.due, UINT64_MAX);
}

Test(say_rate, suppressed_and_summed_up)
{
    struct say_rate r;
    struct say_summary summary;
    say_rate_init(&r);
    cr_expect_eq(say_many(&r, KIND_A, S, 25, 10), 10);
    cr_expect_eq(say_many(&r, KIND_B, S, 3, 10), 3, "another kind is not held back");
    cr_expect_eq(r.due, 2 * S);
    cr_expect_not(say_rate_summary(&r, 2 * S - 1, &summary));
    cr_assert(say_rate_summary(&r, 2 * S, &summary));
    cr_expect_eq(summary.suppressed, 15);
    cr_expect_eq(summary.level, LEVEL_WARN);
    cr_expect_str_eq(summary.sample, KIND_A);
    cr_expect_not(say_rate_summary(&r, 2 * S, &summary), "once");
    cr_expect_eq(r.due, UINT64_MAX);
    cr_expect_eq(say_many(&r, KIND_A, 5 * S, 25, 10), 10, "and says again");
}

/* A flood of one kind for an hour, a hundred a second. */
Test(say_rate, a_flood_that_lasts)
{
    struct say_rate r;
    struct say_summary summary;
    uint64_t said = 0, summaries = 0, told = 0, last = 0, longest = 0;
    say_rate_init(&r);
    for (uint64_t i = 0; i < 360000; i++) {
        uint64_t now = S + i * (S / 100);
        said += say_many(&r, KIND_A, now, 1, 10);
        while (now >= r.due && say_rate_summary(&r, now, &summary)) {
            summaries++;
            told += summary.suppressed;
            longest = last && now - last > longest ? now - last : longest;
            last = now;
        }
    }
    cr_expect_leq(said, 10 * (summaries + 1));
    cr_expect_leq(summaries, 6 + 60, "%lu", (unsigned long)summaries);
    cr_expect_geq(summaries, 60);
    cr_expect_leq(longest, 60 * S + S / 100);
    cr_expect_geq(said + told, 360000 - 6000, "all but the last minute's are accounted for");
}

Test(say_rate, more_kinds_than_places)
{
    static const char kinds[3 * SAY_KINDS][2];
    struct say_rate r;
    struct say_summary summary;
    uint64_t said = 0, told = 0;
    say_rate_init(&r);
    for (int round = 0; round < 5; round++)
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
            said += say_many(&r, kinds[i], S, 4, 3);
    while (say_rate_summary(&r, 10 * S, &summary))
        told += summary.suppressed;
    cr_expect_eq(said + told, 5 * 3 * SAY_KINDS * 4, "none is forgotten");
    cr_expect_eq(said, (uint64_t)SAY_KINDS * 3);
    cr_expect_eq(say_many(&r, KIND_A, 100 * S, 4, 3), 3, "places are free again");
}
