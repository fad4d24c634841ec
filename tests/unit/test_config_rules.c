/* channels.prefixes: settings by prefix, and what is wrong with a rule said with its place. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "shards/config/config.h"

#define S UINT64_C(1000000000)

static int parse(const char *text, const char *override, struct config *c, struct config_error *e)
{
    memset(e, 0, sizeof *e);
    return config_parse(text, strlen(text), "D/node.yaml", &override, override != NULL, c, e);
}

static void refuses(const char *text, const char *message)
{
    struct config c;
    struct config_error e;
    cr_expect_eq(parse(text, NULL, &c, &e), NET_ERR_INVALID, "accepted: %s", text);
    cr_expect_str_eq(e.text, message);
}

/* The line and the key of a mistake in the rule of "sensors", at line 4. */
static void refuses_setting(const char *setting, const char *message)
{
    char text[512], expected[512];
    snprintf(text, sizeof text, "channels:\n  prefixes:\n    sensors:\n      %s\n", setting);
    snprintf(expected, sizeof expected, "D/node.yaml:4: channels.prefixes.sensors%s", message);
    refuses(text, expected);
}

Test(config_rules, a_rule_says_what_differs)
{
    struct config c;
    struct config_error e;
    cr_assert_eq(
        parse("channels:\n"
              "  prefixes:\n"
              "    sensors: {retention_age: 1h, fsync: each}\n"
              "    'logs/debug': {log: none, max_lag: 7, append: false}\n"
              "    all: {log: memory, fsync: every, fsync_events: 5, fsync_interval: 2s, retention_events: 9,\n"
              "          retention_bytes: 1MiB, retention_age: none}\n"
              "  retention_age: 2h\n"
              "  fsync: interval\n",
              "channels.retention_events=44", &c, &e),
        NET_OK, "%s", e.text);
    cr_assert_eq(c.rule_count, 3);
    const struct channel_settings *s = &c.rules[0].settings;
    cr_expect_str_eq(c.rules[0].prefix, "sensors");
    cr_expect(s->log == LOG_DISK && s->fsync == FSYNC_EACH && s->retention_age_ns == 3600 * S);
    cr_expect(s->retention_events == 44 && s->fsync_events == 1000, "the rest is of channels.*, also from --set");
    s = &c.rules[1].settings;
    cr_expect(s->log == LOG_NONE && s->max_lag == 7 && !s->append && s->fsync == FSYNC_INTERVAL &&
              s->retention_age_ns == 7200 * S);
    s = &c.rules[2].settings;
    cr_expect(s->log == LOG_MEMORY && s->fsync == FSYNC_EVERY && s->fsync_events == 5);
    cr_expect(s->fsync_interval_ns == 2 * S && s->retention_events == 9 && s->retention_bytes == 1 << 20);
    cr_expect_eq(s->retention_age_ns, 0, "a rule may lift a limit");
}

Test(config_rules, the_longest_prefix_of_whole_segments_has_the_word)
{
    static const struct {
        const char *name;
        uint64_t max_lag;
    } channels[] = {{"sensors", 2},       {"sensors/x", 2},    {"sensors/x/y", 2}, {"sensors2", 1},  {"sensors/hot", 3},
                    {"sensors/hot/1", 3}, {"sensors/hot2", 2}, {"sensor", 1},      {"a/sensors", 1}, {"z", 4}};
    struct config c;
    struct config_error e;
    cr_assert_eq(parse("channels: {max_lag: 1, prefixes: {z: {max_lag: 4}, sensors/hot: {max_lag: 3}, sensors: "
                       "{max_lag: 2}}}",
                       NULL, &c, &e),
                 NET_OK, "%s", e.text);
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++)
        cr_expect_eq(config_channel(&c, channels[i].name)->max_lag, channels[i].max_lag, "%s", channels[i].name);
}

Test(config_rules, mistakes_in_a_rule)
{
    refuses_setting("retention: 1h",
                    ": found the unknown key \"retention\", allowed: log, fsync, fsync_events, "
                    "fsync_interval, retention_events, retention_bytes, retention_age, max_lag, append");
    refuses_setting("none_bytes: 1MiB",
                    ": found the unknown key \"none_bytes\", allowed: log, fsync, fsync_events, "
                    "fsync_interval, retention_events, retention_bytes, retention_age, max_lag, append");
    refuses_setting("retention_age: soon", ".retention_age: found \"soon\", allowed: a duration, none or 1s..36500d");
    refuses_setting("retention_age: 1ms", ".retention_age: found \"1ms\", allowed: a duration, none or 1s..36500d");
    refuses_setting("retention_age: [1h]", ".retention_age: found a list, allowed: a duration, none or 1s..36500d");
    refuses_setting("retention_events: '5'", ".retention_events: found \"5\" (a text), allowed: none or 1..100000000");
    refuses_setting("log: {a: b}", ".log: found a mapping, allowed: disk, memory or none");
    refuses_setting("fsync:", ".fsync: found nothing, allowed: never, each, every or interval");
    refuses("channels:\n  prefixes:\n    sensors: 5\n",
            "D/node.yaml:3: channels.prefixes.sensors: found \"5\", allowed: a mapping of keys to values");
    refuses("channels:\n  prefixes:\n    a: {log: none,\n        log: disk}\n",
            "D/node.yaml:4: channels.prefixes.a.log: found twice (first in line 3), allowed: once");
}

Test(config_rules, mistakes_in_the_prefixes)
{
    refuses("channels:\n  prefixes: [a]\n",
            "D/node.yaml:2: channels.prefixes: found a list, allowed: a mapping of keys to values");
    refuses("channels:\n  prefixes:\n    a: {log: none}\n    b: {log: none}\n    a: {log: disk}\n",
            "D/node.yaml:5: channels.prefixes.a: found twice (first in line 3), allowed: once");
    refuses("channels:\n  prefixes:\n    Sensors: {log: none}\n",
            "D/node.yaml:3: channels.prefixes: found \"Sensors\", allowed: the name of a channel, but the channel name "
            "must be "
            "lower case, its segments between \"/\" neither empty nor \".\" or \"..\"");
    refuses(
        "channels:\n  prefixes:\n    sensors/: {log: none}\n",
        "D/node.yaml:3: channels.prefixes: found \"sensors/\", allowed: the name of a channel, but the channel name "
        "must be lower case, its segments between \"/\" neither empty nor \".\" or \"..\"");
    refuses("channels: {prefixes: {[a]: {log: none}}}\n",
            "D/node.yaml:1: channels.prefixes: found a list, allowed: keys that are words");
}

Test(config_rules, at_most_64_prefixes)
{
    char text[8192];
    struct config c;
    struct config_error e;
    for (int count = 64; count <= 65; count++) {
        char *at = text + sprintf(text, "channels:\n  prefixes:\n");
        for (int i = 0; i < count; i++)
            at += sprintf(at, "    p%d: {max_lag: %d}\n", i, i);
        cr_expect_eq(parse(text, NULL, &c, &e), count == 64 ? NET_OK : NET_ERR_INVALID);
    }
    cr_expect_str_eq(e.text, "D/node.yaml:3: channels.prefixes: found 65 prefixes, allowed: at most 64");
}

Test(config_rules, set_reaches_simple_keys_only)
{
    static const char *const overrides[] = {"channels.prefixes=x",
                                            "channels.prefixes=", "channels.prefixes.a.log=none"};
    struct config c;
    struct config_error e;
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(parse("", overrides[i], &c, &e), NET_ERR_INVALID);
        cr_expect_str_eq(e.text, "--set: channels.prefixes: found settings by prefix, allowed: in node.yaml alone");
    }
}
