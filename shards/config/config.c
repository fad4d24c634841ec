/* node.yaml and --set: reading, defaults, and the generated file. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "shards/config/config_internal.h"

struct loader {
    struct config *config;
    struct document document;
    struct config_error *error;
    const char *texts[CONFIG_KEY_MAX]; /* --set values, for rendering */
};

void config_defaults(struct config *c)
{
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < config_key_count; i++) {
        int err = config_key_set(&config_keys[i], c, config_keys[i].initial);
        assert(err == NET_OK);
    }
}

/* ---- node.yaml ---- */

/* The items of a list as one text, separated by commas. */
static int join_items(struct document *d, const yaml_node_t *list, char out[4096])
{
    size_t n = 0;
    out[0] = '\0';
    for (const yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
        const char *text = document_text(document_node(d, *i));
        if (!text || strpbrk(text, ", ") || n + strlen(text) + 2 > 4096)
            return NET_ERR_INVALID;
        n += (size_t)snprintf(out + n, 4096 - n, "%s%s", n ? "," : "", *text ? text : "?");
    }
    return NET_OK;
}

const char *config_value_text(const struct config_key *key, const yaml_node_t *node)
{
    bool bare = key->type == KEY_BOOL || key->type == KEY_NUMBER;
    return bare && document_is_quoted(node) ? NULL : document_text(node);
}

static int take_value(struct loader *l, const struct config_key *key, size_t line, const yaml_node_t *node)
{
    char allowed[CONFIG_TEXT_MAX], items[4096];
    const char *text = config_value_text(key, node);
    int err = NET_ERR_INVALID;
    l->config->lines[key - config_keys] = (int32_t)line + 1;
    if (key->type == KEY_RULES)
        return document_is_empty(node) ? NET_OK : rules_take(&l->document, node, l->config);
    if (config_key_is_list(key)) {
        if (node->type == YAML_SEQUENCE_NODE && join_items(&l->document, node, items) == NET_OK)
            err = config_key_set(key, l->config, items);
    } else if (text)
        err = config_key_set(key, l->config, text);
    if (err == NET_OK)
        return NET_OK;
    config_key_allowed(key, allowed);
    return document_fail(&l->document, node, key->name, allowed);
}

/* What may stand in `section` ("" is the top), for messages. */
static void list_names(const char *section, char out[512])
{
    size_t n = 0, len = strlen(section);
    char last[64] = "";
    out[0] = '\0';
    for (size_t i = 0; i < config_key_count; i++) {
        const char *name = config_keys[i].name;
        if (len) {
            if (strncmp(name, section, len) != 0 || name[len] != '.')
                continue;
            name += len + 1;
        }
        int end = (int)strcspn(name, ".");
        if ((int)strlen(last) == end && strncmp(last, name, (size_t)end) == 0)
            continue;
        snprintf(last, sizeof last, "%.*s", end, name);
        n += (size_t)snprintf(out + n, 512 - n, "%s%s", n ? ", " : "", last);
        assert(n < 512);
    }
}

static bool is_section(const char *name)
{
    char names[512];
    list_names(name, names);
    return names[0] != '\0';
}

static int unknown_key(struct loader *l, const yaml_node_t *key, const char *section)
{
    char names[512], found[CONFIG_TEXT_MAX];
    list_names(section, names);
    config_quote(document_text(key), found);
    return config_fail(l->error, "%s:%zu: %s%sfound the unknown key %s, allowed: %s", l->document.file,
                       key->start_mark.line + 1, section, *section ? ": " : "", found, names);
}

static int take_mapping(struct loader *l, const yaml_node_t *mapping, const char *section)
{
    struct document *d = &l->document;
    int err = document_check_mapping(d, mapping, section);
    for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; !err && p < mapping->data.mapping.pairs.top;
         p++) {
        const yaml_node_t *key_node = document_node(d, p->key), *value = document_node(d, p->value);
        const char *text = document_text(key_node);
        char name[64];
        bool fits = snprintf(name, sizeof name, "%s%s%s", section, *section ? "." : "", text) < (int)sizeof name;
        const struct config_key *key = fits ? config_key_find(name) : NULL;
        if (key && (*section || !strchr(text, '.')))
            err = take_value(l, key, key_node->start_mark.line, value);
        else if (*section || !fits || strchr(text, '.') || !is_section(text))
            err = unknown_key(l, key_node, section);
        else if (!document_is_empty(value)) /* a section whose keys are all commented out is empty */
            err = take_mapping(l, value, text);
    }
    return err;
}

static int take_text(struct loader *l, const char *text, size_t len, const char *file)
{
    int err = document_open(&l->document, text, len, file, l->error);
    if (err)
        return err;
    const yaml_node_t *root = document_root(&l->document);
    if (root && !document_is_empty(root))
        err = take_mapping(l, root, "");
    document_close(&l->document);
    return err;
}

/* ---- --set ---- */

static int take_override(struct loader *l, const char *text)
{
    static const char rules[] = "channels.prefixes";
    char name[64], found[CONFIG_TEXT_MAX], allowed[CONFIG_TEXT_MAX], value[4096];
    const char *equals = strchr(text, '=');
    config_quote(text, found);
    if (!equals)
        return config_fail(l->error, "--set: found %s, allowed: KEY=VALUE", found);
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    if (strncmp(name, rules, sizeof rules - 1) == 0 && (!name[sizeof rules - 1] || name[sizeof rules - 1] == '.'))
        return config_fail(l->error, "--set: %s: found settings by prefix, allowed: in node.yaml alone", rules);
    const struct config_key *key = equals - text < (long)sizeof name ? config_key_find(name) : NULL;
    if (!key) {
        config_quote(name, found);
        return config_fail(
            l->error, "--set: found the unknown key %s, allowed: the keys of node.yaml, as in shards.count=2", found);
    }
    bool fits = strlen(equals + 1) < sizeof value;
    size_t n = (size_t)snprintf(value, sizeof value, "%s", equals + 1);
    char *bare = value;
    if (fits && config_key_is_list(key) && value[0] == '[' && value[n - 1] == ']') { /* [a, b] as in the file */
        value[n - 1] = '\0';
        bare++;
    }
    if (fits && config_key_set(key, l->config, bare) == NET_OK) {
        l->config->lines[key - config_keys] = CONFIG_LINE_SET;
        l->texts[key - config_keys] = equals + 1;
        return NET_OK;
    }
    config_quote(equals + 1, found);
    config_key_allowed(key, allowed);
    return config_fail(l->error, "--set: %s: found %s, allowed: %s", name, found, allowed);
}

/* ---- what one key alone cannot tell ---- */

static int check_together(struct loader *l, const char *file)
{
    const struct config_key *timeout = config_key_find("session.session_timeout");
    const struct config_key *interval = config_key_find("session.heartbeat_interval");
    const struct config *c = l->config;
    char place[CONFIG_PATH_MAX + 32] = "--set";
    if (c->session_timeout_ns > c->heartbeat_interval_ns)
        return NET_OK;
    int32_t line = c->lines[timeout - config_keys] ? c->lines[timeout - config_keys] : c->lines[interval - config_keys];
    if (line != CONFIG_LINE_SET)
        snprintf(place, sizeof place, "%s:%d", file, line);
    return config_fail(l->error, "%s: %s: found %llums, allowed: more than %s (%llums)", place, timeout->name,
                       (unsigned long long)c->session_timeout_ns / 1000000, interval->name,
                       (unsigned long long)c->heartbeat_interval_ns / 1000000);
}

static int take_overrides(struct loader *l, const char *const *overrides, size_t count, const char *file)
{
    int err = NET_OK;
    for (size_t i = 0; !err && i < count; i++)
        err = take_override(l, overrides[i]);
    rules_resolve(l->config);
    return err ? err : check_together(l, file);
}

int config_parse(const char *text, size_t len, const char *file, const char *const *overrides, size_t count,
                 struct config *c, struct config_error *error)
{
    struct loader l = {.config = c, .error = error};
    config_defaults(c);
    int err = take_text(&l, text, len, file);
    return err ? err : take_overrides(&l, overrides, count, file);
}

int config_load(const char *dir, const char *const *overrides, size_t count, struct config *c,
                struct config_error *error)
{
    char path[CONFIG_PATH_MAX], *text = NULL;
    size_t len = 0;
    int err = file_path(dir, "node.yaml", path, error);
    if (!err)
        err = file_read(path, CONFIG_MAX_YAML, &text, &len, error);
    if (!err)
        err = config_parse(text, len, path, overrides, count, c, error);
    free(text);
    return err;
}

/* `field` of `size` bytes, which hold a path of the key, "" being none. */
static int resolve_path(const char *key, char *field, size_t size, const char *dir, struct config_error *error)
{
    char path[2 * CONFIG_PATH_MAX];
    if (field[0] == '/' || field[0] == '\0')
        return NET_OK;
    snprintf(path, sizeof path, "%s/%s", dir, strncmp(field, "./", 2) == 0 ? field + 2 : field);
    if (strlen(path) >= size)
        return config_fail(error, "%s: the path %.512s is longer than the %zu bytes allowed", key, path, size - 1);
    memcpy(field, path, strlen(path) + 1);
    return NET_OK;
}

int config_resolve_paths(struct config *c, const char *dir, struct config_error *error)
{
    int err = c->admin.is_unix ? resolve_path("admin.listen", c->admin.path, sizeof c->admin.path, dir, error) : NET_OK;
    return err ? err : resolve_path("security.key_log", c->key_log, sizeof c->key_log, dir, error);
}

/* ---- the generated file ---- */

static bool is_plain(const char *text)
{
    return *text && text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")] == '\0';
}

static void put_comment(FILE *out, const char *indent, const char *doc)
{
    while (*doc) {
        int n = (int)strcspn(doc, "\n");
        fprintf(out, "%s# %.*s\n", indent, n, doc);
        doc += n + (doc[n] == '\n');
    }
}

static void put_value(FILE *out, const struct config_key *key, const char *text)
{
    if (key->type == KEY_RULES)
        fputs("{}", out);
    else if (config_key_is_list(key))
        fprintf(out, text[0] == '[' ? "%s" : "[%s]", text);
    else if (is_plain(text))
        fputs(text, out);
    else
        yaml_put_quoted(out, text);
}

static void put_key(FILE *out, const struct config_key *key, const char *indent, const char *text)
{
    const char *dot = strchr(key->name, '.');
    char allowed[CONFIG_TEXT_MAX];
    config_key_allowed(key, allowed);
    put_comment(out, indent, key->doc);
    fprintf(out, "%s# Default: ", indent);
    put_value(out, key, key->initial);
    fprintf(out, ". Allowed: %s.\n%s# Applies: %s.\n%s%s: ", allowed, indent, config_key_applies(key), indent,
            dot ? dot + 1 : key->name);
    put_value(out, key, text);
    fputc('\n', out);
}

static void put_file(FILE *out, const struct loader *l)
{
    char section[64] = "";
    fputs("# net-mesh node configuration: read when the node starts and when it is told to reload (`net-mesh reload`, "
          "or\n"
          "# SIGHUP), never written by it. `net-mesh config check` says whether it is right; `net-mesh init --force` "
          "makes\n"
          "# it anew. Durations are numbers with ns, us, ms, s, m, h or d, as in 1h30m; sizes take KiB, MiB and GiB.\n",
          out);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        const char *dot = strchr(key->name, '.');
        size_t len = dot ? (size_t)(dot - key->name) : 0;
        fputc('\n', out);
        if (strlen(section) != len || strncmp(section, key->name, len) != 0) {
            snprintf(section, sizeof section, "%.*s", (int)len, key->name);
            fprintf(out, "%s:\n", section);
        }
        put_key(out, key, dot ? "  " : "", l->texts[i] ? l->texts[i] : key->initial);
    }
}

char *config_render(const char *const *overrides, size_t count, struct config_error *error)
{
    struct config c;
    struct loader l = {.config = &c, .error = error};
    config_defaults(&c);
    if (take_overrides(&l, overrides, count, "node.yaml") != NET_OK)
        return NULL;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out)
        put_file(out, &l);
    if (!out || fclose(out) != 0) {
        config_fail(error, "out of memory");
        free(text);
        return NULL;
    }
    return text;
}
