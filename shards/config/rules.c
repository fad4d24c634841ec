/* channels.prefixes: settings of the channels below a prefix. */
#include <assert.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/channel/channel.h"
#include "shards/config/config_internal.h"

static const char section[] = "channels";

/* "log, fsync, ...": the keys a rule takes. */
static void list_settings(char out[CONFIG_TEXT_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < config_key_count; i++)
        if (config_keys[i].channel)
            n += (size_t)snprintf(out + n, CONFIG_TEXT_MAX - n, "%s%s", n ? ", " : "",
                                  config_keys[i].name + sizeof section);
    assert(n < CONFIG_TEXT_MAX);
}

static const struct config_key *find_setting(const char *text)
{
    char name[64];
    bool fits = snprintf(name, sizeof name, "%s.%s", section, text) < (int)sizeof name;
    const struct config_key *key = fits ? config_key_find(name) : NULL;
    return key && key->channel ? key : NULL;
}

/* Its place among the keys of a channel. */
static size_t setting_index(const struct config_key *key)
{
    size_t n = 0;
    for (const struct config_key *k = config_keys; k < key; k++)
        n += k->channel;
    assert(n < CHANNEL_SETTINGS);
    return n;
}

static int unknown_setting(struct document *d, const yaml_node_t *node, const char *path)
{
    char found[CONFIG_TEXT_MAX], allowed[CONFIG_TEXT_MAX];
    config_quote(document_text(node), found);
    list_settings(allowed);
    return config_fail(d->error, "%s:%zu: %s: found the unknown key %s, allowed: %s", d->file,
                       node->start_mark.line + 1, path, found, allowed);
}

static int take_setting(struct document *d, const struct config_key *key, const yaml_node_t *value, const char *path,
                        struct channel_settings *settings)
{
    char full[CONFIG_KEY_PATH], allowed[CONFIG_TEXT_MAX];
    const char *text = config_value_text(key, value);
    if (text && config_key_set_channel(key, settings, text) == NET_OK)
        return NET_OK;
    text_format(full, sizeof full, "%s.%s", path, key->name + sizeof section);
    config_key_allowed(key, allowed);
    return document_fail(d, value, full, allowed);
}

static int bad_prefix(struct document *d, const yaml_node_t *name, enum channel_name_error wrong)
{
    char allowed[CONFIG_TEXT_MAX];
    text_format(allowed, sizeof allowed, "the name of a channel, but %s", channel_name_error_text(wrong));
    return document_fail(d, name, "channels.prefixes", allowed);
}

static int take_rule(struct document *d, const yaml_node_t *name, const yaml_node_t *settings,
                     struct channel_rule *rule)
{
    char path[CONFIG_KEY_PATH];
    struct channel_name prefix;
    const char *text = document_text(name);
    enum channel_name_error wrong = channel_name_parse(text, strlen(text), &prefix);
    if (wrong != CHANNEL_NAME_OK)
        return bad_prefix(d, name, wrong);
    memcpy(rule->prefix, prefix.text, (size_t)prefix.len + 1);
    text_format(path, sizeof path, "channels.prefixes.%s", rule->prefix);
    int err = document_check_mapping(d, settings, path);
    for (const yaml_node_pair_t *p = settings->data.mapping.pairs.start; !err && p < settings->data.mapping.pairs.top;
         p++) {
        const yaml_node_t *key_node = document_node(d, p->key);
        const struct config_key *key = find_setting(document_text(key_node));
        if (!key)
            return unknown_setting(d, key_node, path);
        err = take_setting(d, key, document_node(d, p->value), path, &rule->settings);
        rule->lines[setting_index(key)] = (int32_t)key_node->start_mark.line + 1;
    }
    return err;
}

int rules_take(struct document *d, const yaml_node_t *node, struct config *c)
{
    int err = document_check_mapping(d, node, "channels.prefixes");
    if (err)
        return err;
    const yaml_node_pair_t *first = node->data.mapping.pairs.start, *end = node->data.mapping.pairs.top;
    if (end - first > CONFIG_MAX_RULES)
        return config_fail(d->error, "%s:%zu: channels.prefixes: found %td prefixes, allowed: at most %d", d->file,
                           node->start_mark.line + 1, end - first, CONFIG_MAX_RULES);
    for (const yaml_node_pair_t *p = first; !err && p < end; p++)
        err = take_rule(d, document_node(d, p->key), document_node(d, p->value), &c->rules[c->rule_count++]);
    return err;
}

void rules_resolve(struct config *c)
{
    for (uint32_t r = 0; r < c->rule_count; r++)
        for (size_t i = 0; i < config_key_count; i++) {
            const struct config_key *key = &config_keys[i];
            if (key->channel && !c->rules[r].lines[setting_index(key)])
                memcpy(config_key_field(key, &c->rules[r].settings), config_key_field(key, &c->channel), key->size);
        }
}

static bool rule_equal(struct channel_rule a, struct channel_rule b)
{
    if (strcmp(a.prefix, b.prefix) != 0)
        return false;
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (!key->channel)
            continue;
        size_t n = setting_index(key);
        if ((a.lines[n] == 0) != (b.lines[n] == 0))
            return false;
        if (a.lines[n] &&
            memcmp(config_key_field(key, &a.settings), config_key_field(key, &b.settings), key->size) != 0)
            return false;
    }
    return true;
}

bool rules_equal(const struct config *a, const struct config *b)
{
    bool same = a->rule_count == b->rule_count;
    for (uint32_t r = 0; same && r < a->rule_count; r++)
        same = rule_equal(a->rules[r], b->rules[r]);
    return same;
}

void config_channel_lines(const struct config *c, int32_t lines[CHANNEL_SETTINGS])
{
    for (size_t i = 0; i < config_key_count; i++)
        if (config_keys[i].channel)
            lines[setting_index(&config_keys[i])] = c->lines[i];
}

void rules_each(const struct config *c, void (*row)(void *ctx, const struct config_row *), void *ctx)
{
    char path[CONFIG_KEY_PATH], value[CONFIG_VALUE_MAX];
    for (uint32_t r = 0; r < c->rule_count; r++)
        for (size_t i = 0; i < config_key_count; i++) {
            const struct config_key *key = &config_keys[i];
            int32_t line = key->channel ? c->rules[r].lines[setting_index(key)] : 0;
            if (!line)
                continue;
            text_format(path, sizeof path, "channels.prefixes.%s.%s", c->rules[r].prefix, key->name + sizeof section);
            config_key_format_channel(key, &c->rules[r].settings, value);
            row(ctx, &(struct config_row){path, value, line, config_key_applies(key), key->live != NULL, NULL});
        }
}

const struct channel_settings *config_channel(const struct config *c, const char *name)
{
    const struct channel_settings *found = &c->channel;
    size_t longest = 0;
    for (uint32_t r = 0; r < c->rule_count; r++) {
        const char *prefix = c->rules[r].prefix;
        size_t len = strlen(prefix);
        if (len > longest && strncmp(name, prefix, len) == 0 && (name[len] == '\0' || name[len] == '/')) {
            longest = len;
            found = &c->rules[r].settings;
        }
    }
    return found;
}
