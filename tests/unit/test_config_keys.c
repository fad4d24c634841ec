/* Every key of the table, one by one: what is wrong is refused with file, line, key, what was found and what is
 * allowed; what is right is taken, shown and reloaded; and the generated file explains it. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/config/config_internal.h"

enum { TEXT = 1024 };

static const char *leaf(const struct config_key *key)
{
    const char *dot = strchr(key->name, '.');
    return dot ? dot + 1 : key->name;
}

/* A node.yaml whose line 4 is "NAME: VALUE", where `key` belongs; or, for a rule, below the prefix a/b. */
static void document(const struct config_key *key, bool in_rule, const char *name, const char *value, char out[TEXT])
{
    const char *dot = strchr(key->name, '.');
    if (in_rule)
        text_format(out, TEXT, "channels:\n  prefixes:\n    a/b:\n      %s: %s\n", name, value);
    else if (dot)
        text_format(out, TEXT, "# one\n\n%.*s:\n  %s: %s\n", (int)(dot - key->name), key->name, name, value);
    else
        text_format(out, TEXT, "# one\n\n\n%s: %s\n", name, value);
}

static int parse(const char *text, struct config *c, struct config_error *e)
{
    memset(e, 0, sizeof *e);
    return config_parse(text, strlen(text), "D/node.yaml", NULL, 0, c, e);
}

static void path_of(const struct config_key *key, bool in_rule, char out[CONFIG_KEY_PATH])
{
    if (in_rule)
        text_format(out, CONFIG_KEY_PATH, "channels.prefixes.a/b.%s", leaf(key));
    else
        text_format(out, CONFIG_KEY_PATH, "%s", key->name);
}

static void refuses(const struct config_key *key, bool in_rule, const char *value, const char *found)
{
    struct config c;
    struct config_error e;
    char text[TEXT], expected[2 * TEXT], path[CONFIG_KEY_PATH], allowed[CONFIG_TEXT_MAX];
    document(key, in_rule, leaf(key), value, text);
    path_of(key, in_rule, path);
    config_key_allowed(key, allowed);
    text_format(expected, sizeof expected, "D/node.yaml:4: %s: found %s, allowed: %s", path, found,
                key->type == KEY_RULES ? "a mapping of keys to values" : allowed);
    cr_expect_eq(parse(text, &c, &e), NET_ERR_INVALID, "%s: %s", path, value);
    cr_expect_str_eq(e.text, expected);
}

/* `value` is shown in quotes, as it stands. */
static void refuses_text(const struct config_key *key, bool in_rule, const char *value)
{
    char found[CONFIG_TEXT_MAX];
    config_quote(value, found);
    refuses(key, in_rule, value, found);
}

static void refuses_number(const struct config_key *key, bool in_rule, uint64_t number)
{
    char value[32];
    text_format(value, sizeof value, "%" PRIu64 "%s", number, key->type == KEY_DURATION ? "ns" : "");
    refuses_text(key, in_rule, value);
}

static bool is_number(const struct config_key *key)
{
    return key->type == KEY_NUMBER || key->type == KEY_SIZE || key->type == KEY_DURATION;
}

static void wrong_types(const struct config_key *key, bool in_rule)
{
    bool list = config_key_is_list(key);
    refuses(key, in_rule, "[nonsense]", "a list");
    if (key->type != KEY_RULES)
        refuses(key, in_rule, "{a: b}", "a mapping");
    if (key->type != KEY_RULES)
        refuses(key, in_rule, "", "nothing");
    if (key->type == KEY_PATH) {
        char path[300];
        memset(path, '/', sizeof path);
        path[key->size] = '\0';
        refuses_text(key, in_rule, path);
    }
    refuses_text(key, in_rule, "nonsense");
    refuses_text(key, in_rule, "-1");
    refuses_text(key, in_rule, "1.5");
    if (key->type != KEY_BOOL)
        refuses_text(key, in_rule, "true");
    else
        refuses_text(key, in_rule, "yes");
    if (key->type == KEY_BOOL)
        refuses(key, in_rule, "'true'", "\"true\" (a text)");
    if (key->type == KEY_NUMBER)
        refuses(key, in_rule, "'1'", "\"1\" (a text)");
    if (list)
        refuses(key, in_rule, "'[1]'", "\"[1]\" (a text)");
}

static void wrong_ranges(const struct config_key *key, bool in_rule)
{
    if (!is_number(key))
        return;
    if (key->min > 0)
        refuses_number(key, in_rule, key->min - 1);
    if (key->max < UINT64_MAX)
        refuses_number(key, in_rule, key->max + 1);
    if (key->power_of_two)
        refuses_number(key, in_rule, key->min + 1);
    refuses_text(key, in_rule, "99999999999999999999");
    refuses_text(key, in_rule, "0x10");
}

Test(config_keys, wrong_types_and_values_out_of_range)
{
    for (size_t i = 0; i < config_key_count; i++)
        for (int in_rule = 0; in_rule <= config_keys[i].channel; in_rule++) {
            wrong_types(&config_keys[i], in_rule);
            wrong_ranges(&config_keys[i], in_rule);
        }
}

static void refuses_name(const struct config_key *key, bool in_rule, const char *name)
{
    struct config c;
    struct config_error e;
    char text[TEXT], expected[256];
    const char *dot = strchr(key->name, '.');
    document(key, in_rule, name, key->type == KEY_RULES ? "{}" : "1", text);
    if (in_rule)
        text_format(expected, sizeof expected, "D/node.yaml:4: channels.prefixes.a/b: found the unknown key \"%s\", ",
                    name);
    else
        text_format(expected, sizeof expected, "D/node.yaml:4: %.*s%sfound the unknown key \"%s\", ",
                    dot ? (int)(dot - key->name) : 0, key->name, dot ? ": " : "", name);
    cr_expect_eq(parse(text, &c, &e), NET_ERR_INVALID, "%s", text);
    cr_expect(strncmp(e.text, expected, strlen(expected)) == 0, "%s", e.text);
    const char *allowed = strstr(e.text, "allowed: ");
    cr_expect(allowed && strstr(allowed, leaf(key)), "%s: the right one is among those shown", e.text);
}

Test(config_keys, misspelt_names)
{
    for (size_t i = 0; i < config_key_count; i++)
        for (int in_rule = 0; in_rule <= config_keys[i].channel; in_rule++) {
            const struct config_key *key = &config_keys[i];
            char name[64];
            size_t len = strlen(leaf(key));
            text_format(name, sizeof name, "%sx", leaf(key)); /* one more */
            refuses_name(key, in_rule, name);
            text_format(name, sizeof name, "%.*s", (int)len - 1, leaf(key)); /* one less */
            refuses_name(key, in_rule, name);
            text_format(name, sizeof name, "%s", leaf(key)); /* another case */
            name[0] = (char)(name[0] - 'a' + 'A');
            refuses_name(key, in_rule, name);
        }
}

Test(config_keys, misspelt_sections)
{
    for (size_t i = 0; i < config_key_count; i++) {
        struct config c;
        struct config_error e;
        char text[TEXT], expected[128];
        int len = (int)strcspn(config_keys[i].name, ".");
        text_format(text, sizeof text, "\n%.*sx:\n  %s: 1\n", len, config_keys[i].name, leaf(&config_keys[i]));
        text_format(expected, sizeof expected, "D/node.yaml:2: found the unknown key \"%.*sx\", ", len,
                    config_keys[i].name);
        cr_expect_eq(parse(text, &c, &e), NET_ERR_INVALID);
        cr_expect(strncmp(e.text, expected, strlen(expected)) == 0, "%s", e.text);
    }
}

Test(config_keys, the_ends_of_a_range_are_inside_it)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        const uint64_t ends[] = {key->min, key->max};
        for (size_t n = 0; is_number(key) && n < 2; n++) {
            struct config c;
            char value[32], shown[CONFIG_VALUE_MAX];
            config_defaults(&c);
            text_format(value, sizeof value, "%" PRIu64 "%s", ends[n], key->type == KEY_DURATION ? "ns" : "");
            cr_expect_eq(config_key_set(key, &c, value), NET_OK, "%s: %s", key->name, value);
            config_key_format(key, &c, shown);
            struct config again;
            config_defaults(&again);
            cr_expect_eq(config_key_set(key, &again, shown), NET_OK, "%s: %s", key->name, shown);
            cr_expect(config_key_equal(key, &c, &again), "%s: %s", key->name, shown);
        }
    }
}

/* Two values that are not the default; the first that goes with the other defaults is taken. */
static void other_values(const struct config_key *key, char out[2][64])
{
    struct config c;
    char initial[CONFIG_VALUE_MAX];
    config_defaults(&c);
    config_key_format(key, &c, initial);
    const char *unit = key->type == KEY_DURATION ? "ns" : "";
    switch (key->type) {
    case KEY_BOOL:
        strcpy(out[0], strcmp(initial, "true") == 0 ? "false" : "true");
        strcpy(out[1], out[0]);
        break;
    case KEY_WORD:
        strcpy(out[0], strcmp(initial, key->words[0]) == 0 ? key->words[1] : key->words[0]);
        strcpy(out[1], out[0]);
        break;
    case KEY_LISTEN:
    case KEY_ADMIN:
        strcpy(out[0], "10.1.2.3:4567");
        strcpy(out[1], out[0]);
        break;
    case KEY_PATH:
        strcpy(out[0], "some/path");
        strcpy(out[1], out[0]);
        break;
    case KEY_CPUS:
        strcpy(out[0], "[5, 7]");
        strcpy(out[1], out[0]);
        break;
    case KEY_CIPHERS:
        strcpy(out[0], "[chacha20-poly1305]");
        strcpy(out[1], out[0]);
        break;
    case KEY_RULES:
        strcpy(out[0], "{a: {max_lag: 5}}");
        strcpy(out[1], out[0]);
        break;
    default:
        text_format(out[0], 64, "%" PRIu64 "%s", key->min ? key->min : key->max, unit);
        text_format(out[1], 64, "%" PRIu64 "%s", key->max, unit);
    }
}

Test(config_keys, paths)
{
    const struct config_key *key = config_key_find("security.key_log");
    struct config c;
    struct config_error e;
    char longest[300] = "/";
    config_defaults(&c);
    cr_expect_str_eq(c.key_log, "");
    memset(longest + 1, 'x', sizeof longest - 2);
    longest[sizeof c.key_log] = '\0'; /* one byte too many */
    cr_expect_eq(config_key_set(key, &c, longest), NET_ERR_INVALID);
    longest[sizeof c.key_log - 1] = '\0';
    cr_expect_eq(config_key_set(key, &c, longest), NET_OK);
    cr_expect_eq(config_key_set(key, &c, "/a\nb"), NET_ERR_INVALID);
    cr_expect_eq(config_key_set(key, &c, ""), NET_ERR_INVALID);
    cr_expect_eq(config_resolve_paths(&c, "D", &e), NET_OK);
    cr_expect_str_eq(c.key_log, longest, "absolute ones stay");
    cr_expect_eq(config_key_set(key, &c, "./keys"), NET_OK);
    cr_expect_eq(config_resolve_paths(&c, "D", &e), NET_OK);
    cr_expect_str_eq(c.key_log, "D/keys");
    cr_expect_eq(config_key_set(key, &c, longest), NET_OK);
    memmove(c.key_log, c.key_log + 1, sizeof c.key_log - 1);
    cr_expect_eq(config_resolve_paths(&c, "D", &e), NET_ERR_INVALID);
    cr_expect(strstr(e.text, "security.key_log: the path D/xxx"), "%s", e.text);
    cr_expect_eq(config_key_set(key, &c, "none"), NET_OK);
    cr_expect_str_eq(c.key_log, "");
}

Test(config_keys, a_reload_takes_the_live_ones_and_names_the_others)
{
    struct config defaults;
    config_defaults(&defaults);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        struct config read, out;
        struct config_error e;
        struct config_changes changes;
        char values[2][64], text[TEXT];
        other_values(key, values);
        document(key, false, leaf(key), values[0], text);
        if (parse(text, &read, &e) != NET_OK || config_key_equal(key, &read, &defaults)) {
            document(key, false, leaf(key), values[1], text);
            cr_assert_eq(parse(text, &read, &e), NET_OK, "%s", e.text);
        }
        cr_assert(!config_key_equal(key, &read, &defaults), "%s", key->name);
        config_merge(&defaults, &defaults, &read, &out, &changes);
        bool live = key->live != NULL;
        cr_expect_eq(changes.applied_count, live, "%s", key->name);
        cr_expect_eq(changes.restart_count, !live, "%s", key->name);
        cr_expect_str_eq(live ? changes.applied[0] : changes.restart[0], key->name);
        cr_expect(config_key_equal(key, &out, live ? &read : &defaults), "%s", key->name);
        cr_expect_eq(out.lines[i], live ? 4 : 0, "%s", key->name);
        for (size_t other = 0; other < config_key_count; other++)
            if (other != i)
                cr_expect(config_key_equal(&config_keys[other], &out, &defaults), "%s by %s", config_keys[other].name,
                          key->name);
    }
}

/* The lines right above "NAME: ..." of the section: they must be the key's own. */
Test(config_keys, the_generated_file_explains_each)
{
    struct config_error e;
    char *text = config_render(NULL, 0, &e);
    cr_assert_not_null(text);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        const char *indent = strchr(key->name, '.') ? "  " : "";
        char expected[4 * TEXT] = "", allowed[CONFIG_TEXT_MAX];
        size_t n = 0;
        for (const char *doc = key->doc; *doc;) {
            int len = (int)strcspn(doc, "\n");
            n += (size_t)snprintf(expected + n, sizeof expected - n, "%s# %.*s\n", indent, len, doc);
            doc += len + (doc[len] == '\n');
        }
        cr_expect_gt(strlen(key->doc), 10, "%s", key->name);
        n += (size_t)snprintf(expected + n, sizeof expected - n, "%s# Default: ", indent);
        const char *at = strstr(text, expected);
        cr_expect(at != NULL && strstr(at + 1, expected) == NULL, "%s stands there once", key->name);
        config_key_allowed(key, allowed);
        snprintf(expected, sizeof expected, ". Allowed: %s.\n%s# Applies: %s.\n%s%s: ", allowed, indent,
                 config_key_applies(key), indent, leaf(key));
        at = at ? strstr(at, ". Allowed: ") : NULL;
        cr_expect(at && strncmp(at, expected, strlen(expected)) == 0, "%s", key->name);
    }
    free(text);
}
