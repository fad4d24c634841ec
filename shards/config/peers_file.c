/* peers.yaml: reading it with the line of every mistake, and the text the node writes. */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/channel/channel.h"
#include "shards/config/config_internal.h"

enum { PEERS_FILE_MAX = 64 << 20 };

static const char name_rule[] = "1 to 63 of A-Z a-z 0-9 . _ -, not all digits, not starting with 0x, and not \"self\"";

struct peers_loader {
    struct document document;
    struct peers_file *out;
    size_t *peer_lines, *subscription_lines;
};

/* ---- one entry ---- */

static bool name_ok(const char *name)
{
    size_t len = strlen(name), digits = strspn(name, "0123456789");
    if (len == 0 || len > PEER_NAME_MAX || digits == len || strcmp(name, "self") == 0)
        return false;
    if (name[0] == '0' && (name[1] == 'x' || name[1] == 'X'))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
            return false;
    return true;
}

static bool addr_is_host(const struct io_addr *a)
{
    static const uint8_t any6[16], any4[16] = {[10] = 0xff, [11] = 0xff};
    return a->port != 0 && memcmp(a->ip, any6, 16) != 0 && memcmp(a->ip, any4, 16) != 0;
}

int peer_entry_check(const struct peer_entry *e, struct config_error *error)
{
    static const uint8_t no_key[32];
    char found[CONFIG_TEXT_MAX], addr[64];
    if (!memchr(e->name, '\0', sizeof e->name) || !name_ok(e->name)) {
        snprintf(addr, sizeof addr, "%.63s", e->name);
        config_quote(addr, found);
        return config_fail(error, "name: found %s, allowed: %s", found, name_rule);
    }
    if (e->node_id == 0)
        return config_fail(error, "node_id: found 0, allowed: the node id of the peer (net-mesh node info shows it)");
    if (e->has_addr && !addr_is_host(&e->addr)) {
        config_format_addr(&e->addr, addr);
        return config_fail(error, "addr: found %s, allowed: the address and port of one host", addr);
    }
    if (e->has_key && memcmp(e->public_key, no_key, sizeof no_key) == 0)
        return config_fail(error,
                           "public_key: found zeros, allowed: the peer's public key (net-mesh node info shows it)");
    if (e->compat == PEER_OURS && (!e->has_addr || !e->has_key))
        return config_fail(error, "%s: found nothing, allowed: only a peer with compat: v0.19 may go without",
                           e->has_addr ? "public_key" : "addr");
    if (e->has_addr != e->has_key)
        return config_fail(error, "%s: found nothing, allowed: addr and public_key together, or neither (inbound only)",
                           e->has_addr ? "public_key" : "addr");
    if (e->compat == PEER_OURS && e->mode != PEER_MODE_ROUTED)
        return config_fail(error, "mode: found direct, allowed: a mode only with compat: v0.19");
    return NET_OK;
}

int subscription_start_parse(const char *text, enum subscription_start *start, uint64_t *sequence)
{
    *sequence = 0;
    *start = START_EARLIEST;
    if (strcmp(text, "earliest") == 0)
        return NET_OK;
    *start = START_LATEST;
    if (strcmp(text, "latest") == 0)
        return NET_OK;
    *start = START_SEQUENCE;
    return config_parse_number(text, sequence);
}

/* ---- values ---- */

static int take_name(struct peer_entry *e, const char *text)
{
    if (!name_ok(text))
        return NET_ERR_INVALID;
    strcpy(e->name, text);
    return NET_OK;
}

static int take_node_id(struct peer_entry *e, const char *text)
{
    return config_parse_id(text, &e->node_id);
}

static int take_addr(struct peer_entry *e, const char *text)
{
    e->has_addr = true;
    return config_parse_addr(text, &e->addr);
}

static int take_public_key(struct peer_entry *e, const char *text)
{
    e->has_key = true;
    return config_parse_key(text, e->public_key);
}

static int take_compat(struct peer_entry *e, const char *text)
{
    e->compat = PEER_V019;
    return strcmp(text, "v0.19") == 0 ? NET_OK : NET_ERR_INVALID;
}

static int take_mode(struct peer_entry *e, const char *text)
{
    e->mode = strcmp(text, "direct") == 0 ? PEER_MODE_DIRECT : PEER_MODE_ROUTED;
    return e->mode == PEER_MODE_DIRECT || strcmp(text, "routed") == 0 ? NET_OK : NET_ERR_INVALID;
}

static const struct peer_key {
    const char *name;
    int (*take)(struct peer_entry *, const char *text);
    const char *allowed;
} peer_keys[] = {
    {"name", take_name, name_rule},
    {"node_id", take_node_id, "0x and 16 hex digits"},
    {"addr", take_addr, "ADDRESS:PORT or [IPV6]:PORT, port 1..65535"},
    {"public_key", take_public_key, "64 hex digits"},
    {"compat", take_compat, "v0.19"},
    {"mode", take_mode, "direct or routed"},
};
enum { PEER_KEYS = sizeof peer_keys / sizeof peer_keys[0] };

static int unknown_key(struct document *d, const yaml_node_t *key, const char *allowed)
{
    char found[CONFIG_TEXT_MAX];
    config_quote(document_text(key), found);
    return config_fail(d->error, "%s:%zu: found the unknown key %s, allowed: %s", d->file, key->start_mark.line + 1,
                       found, allowed);
}

static int take_peer_key(struct document *d, struct peer_entry *e, const yaml_node_t *key, const yaml_node_t *value)
{
    for (size_t i = 0; i < PEER_KEYS; i++)
        if (strcmp(document_text(key), peer_keys[i].name) == 0) {
            const char *text = document_text(value);
            if (text && peer_keys[i].take(e, text) == NET_OK)
                return NET_OK;
            return document_fail(d, value, peer_keys[i].name, peer_keys[i].allowed);
        }
    return unknown_key(d, key, "name, node_id, addr, public_key, compat, mode");
}

static int take_peer(struct peers_loader *l, const yaml_node_t *node, size_t index)
{
    struct document *d = &l->document;
    struct peer_entry *e = &l->out->peers[index];
    struct config_error wrong;
    int err = document_check_mapping(d, node, "peers");
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start; !err && p < node->data.mapping.pairs.top; p++)
        err = take_peer_key(d, e, document_node(d, p->key), document_node(d, p->value));
    l->peer_lines[index] = node->start_mark.line + 1;
    if (!err && peer_entry_check(e, &wrong) != NET_OK)
        err = config_fail(d->error, "%s:%zu: %s", d->file, l->peer_lines[index], wrong.text);
    return err;
}

static int take_channel(struct document *d, struct subscription_entry *e, const yaml_node_t *value)
{
    const char *text = document_text(value);
    struct channel_name name;
    enum channel_name_error wrong = text ? channel_name_parse(text, strlen(text), &name) : CHANNEL_NAME_FORMAT;
    if (wrong != CHANNEL_NAME_OK)
        return document_fail(d, value, "channel", channel_name_error_text(wrong));
    memcpy(e->channel, name.text, (size_t)name.len + 1);
    return NET_OK;
}

static int take_from(struct document *d, struct subscription_entry *e, const yaml_node_t *value)
{
    const char *text = document_text(value);
    if (!text || config_parse_id(text, &e->peer) != NET_OK || e->peer == 0)
        return document_fail(d, value, "from", "the peer's node id, 0x and 16 hex digits");
    return NET_OK;
}

static int take_subscription_mode(struct document *d, struct subscription_entry *e, const yaml_node_t *value)
{
    const char *text = document_text(value);
    if (!text || (strcmp(text, "follow") != 0 && strcmp(text, "live") != 0))
        return document_fail(d, value, "mode", "follow or live");
    e->mode = strcmp(text, "live") == 0 ? SUBSCRIBE_LIVE : SUBSCRIBE_FOLLOW;
    return NET_OK;
}

static int take_start(struct document *d, struct subscription_entry *e, const yaml_node_t *value)
{
    const char *text = document_text(value);
    if (!text || subscription_start_parse(text, &e->start, &e->sequence) != NET_OK)
        return document_fail(d, value, "start", "earliest, latest or a sequence");
    return NET_OK;
}

static int take_anew(struct document *d, struct subscription_entry *e, const yaml_node_t *value)
{
    const char *text = document_text(value);
    if (!text || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))
        return document_fail(d, value, "anew", "true or false");
    e->anew = strcmp(text, "true") == 0;
    return NET_OK;
}

static const struct subscription_key {
    const char *name;
    int (*take)(struct document *, struct subscription_entry *, const yaml_node_t *value);
} subscription_keys[] = {
    {"channel", take_channel}, {"from", take_from}, {"mode", take_subscription_mode},
    {"start", take_start},     {"anew", take_anew},
};
enum { SUBSCRIPTION_KEYS = sizeof subscription_keys / sizeof subscription_keys[0] };

static int take_subscription_key(struct document *d, struct subscription_entry *e, const yaml_node_t *key,
                                 const yaml_node_t *value)
{
    for (size_t i = 0; i < SUBSCRIPTION_KEYS; i++)
        if (strcmp(document_text(key), subscription_keys[i].name) == 0)
            return subscription_keys[i].take(d, e, value);
    return unknown_key(d, key, "channel, from, mode, start, anew");
}

static int take_subscription(struct peers_loader *l, const yaml_node_t *node, size_t index)
{
    struct document *d = &l->document;
    struct subscription_entry *e = &l->out->subscriptions[index];
    int err = document_check_mapping(d, node, "subscriptions");
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start; !err && p < node->data.mapping.pairs.top; p++)
        err = take_subscription_key(d, e, document_node(d, p->key), document_node(d, p->value));
    l->subscription_lines[index] = node->start_mark.line + 1;
    if (!err && (!e->channel[0] || !e->peer))
        err = config_fail(d->error, "%s:%zu: found a subscription without %s, allowed: channel and from", d->file,
                          l->subscription_lines[index], e->channel[0] ? "from" : "channel");
    if (!err && e->mode == SUBSCRIBE_LIVE && (e->start != START_DEFAULT || e->anew))
        err = config_fail(d->error, "%s:%zu: start or anew: found beside mode: live, allowed: only with mode: follow",
                          d->file, l->subscription_lines[index]);
    return err;
}

/* ---- lists ---- */

/* The rows of a list, zeroed, and a line for each; an empty value is an empty list. */
static int open_list(struct document *d, const yaml_node_t *node, const char *key, size_t row, void **rows,
                     size_t **lines, size_t *count)
{
    if (document_is_empty(node))
        return NET_OK;
    if (node->type != YAML_SEQUENCE_NODE)
        return document_fail(d, node, key, "a list");
    size_t n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (n > CONFIG_MAX_PEERS_YAML)
        return config_fail(d->error, "%s:%zu: %s: found %zu rows, allowed: at most %d", d->file,
                           node->start_mark.line + 1, key, n, CONFIG_MAX_PEERS_YAML);
    *rows = calloc(n + 1, row);
    *lines = calloc(n + 1, sizeof **lines);
    if (!*rows || !*lines) {
        config_fail(d->error, "%s: out of memory", d->file);
        return NET_ERR_NO_MEMORY;
    }
    *count = n;
    return NET_OK;
}

static int take_peers(struct peers_loader *l, const yaml_node_t *node)
{
    void *rows = NULL;
    size_t count = 0;
    int err = open_list(&l->document, node, "peers", sizeof *l->out->peers, &rows, &l->peer_lines, &count);
    l->out->peers = rows;
    l->out->peer_count = count;
    for (size_t i = 0; !err && i < count; i++)
        err = take_peer(l, document_node(&l->document, node->data.sequence.items.start[i]), i);
    return err;
}

static int take_subscriptions(struct peers_loader *l, const yaml_node_t *node)
{
    void *rows = NULL;
    size_t count = 0;
    int err = open_list(&l->document, node, "subscriptions", sizeof *l->out->subscriptions, &rows,
                        &l->subscription_lines, &count);
    l->out->subscriptions = rows;
    l->out->subscription_count = count;
    for (size_t i = 0; !err && i < count; i++)
        err = take_subscription(l, document_node(&l->document, node->data.sequence.items.start[i]), i);
    return err;
}

/* ---- no row twice ---- */

struct row_key {
    const char *text;
    uint64_t id;
    size_t line;
};

static int compare_rows(const void *a, const void *b)
{
    const struct row_key *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : x->id < y->id ? -1 : x->id > y->id;
}

static int refuse_twice(struct document *d, struct row_key *rows, size_t count, const char *what)
{
    qsort(rows, count, sizeof *rows, compare_rows);
    for (size_t i = 1; i < count; i++)
        if (compare_rows(&rows[i - 1], &rows[i]) == 0) {
            size_t first = rows[i - 1].line, second = rows[i].line;
            return config_fail(d->error, "%s:%zu: found the %s of line %zu again, allowed: once", d->file,
                               first > second ? first : second, what, first > second ? second : first);
        }
    return NET_OK;
}

static int check_rows(struct peers_loader *l)
{
    struct peers_file *f = l->out;
    struct document *d = &l->document;
    size_t most = f->peer_count > f->subscription_count ? f->peer_count : f->subscription_count;
    struct row_key *rows = calloc(most + 1, sizeof *rows);
    if (!rows) {
        config_fail(d->error, "%s: out of memory", d->file);
        return NET_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < f->peer_count; i++)
        rows[i] = (struct row_key){f->peers[i].name, 0, l->peer_lines[i]};
    int err = refuse_twice(d, rows, f->peer_count, "name");
    for (size_t i = 0; i < f->peer_count; i++)
        rows[i] = (struct row_key){"", f->peers[i].node_id, l->peer_lines[i]};
    if (!err)
        err = refuse_twice(d, rows, f->peer_count, "node_id");
    for (size_t i = 0; i < f->subscription_count; i++)
        rows[i] = (struct row_key){f->subscriptions[i].channel, f->subscriptions[i].peer, l->subscription_lines[i]};
    if (!err)
        err = refuse_twice(d, rows, f->subscription_count, "subscription");
    free(rows);
    return err;
}

/* ---- the file ---- */

static int take_root(struct peers_loader *l, const yaml_node_t *root)
{
    struct document *d = &l->document;
    int err = document_check_mapping(d, root, "");
    for (const yaml_node_pair_t *p = root->data.mapping.pairs.start; !err && p < root->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = document_node(d, p->key), *value = document_node(d, p->value);
        if (strcmp(document_text(key), "peers") == 0)
            err = take_peers(l, value);
        else if (strcmp(document_text(key), "subscriptions") == 0)
            err = take_subscriptions(l, value);
        else
            err = unknown_key(d, key, "peers, subscriptions");
    }
    return err ? err : check_rows(l);
}

int peers_file_parse(const char *text, size_t len, const char *file, struct peers_file *out, struct config_error *error)
{
    struct peers_loader l = {.out = out};
    memset(out, 0, sizeof *out);
    int err = document_open(&l.document, text, len, file, error);
    if (err)
        return err;
    const yaml_node_t *root = document_root(&l.document);
    if (root && !document_is_empty(root))
        err = take_root(&l, root);
    document_close(&l.document);
    free(l.peer_lines);
    free(l.subscription_lines);
    if (err)
        peers_file_free(out);
    return err;
}

int peers_file_load(const char *dir, struct peers_file *out, struct config_error *error)
{
    char path[CONFIG_PATH_MAX], *text = NULL;
    size_t len = 0;
    memset(out, 0, sizeof *out);
    int err = file_path(dir, "peers.yaml", path, error);
    if (err)
        return err;
    err = file_read(path, PEERS_FILE_MAX, &text, &len, error);
    if (err == NET_ERR_NOT_FOUND)
        return NET_OK;
    if (!err)
        err = peers_file_parse(text, len, path, out, error);
    free(text);
    return err;
}

void peers_file_free(struct peers_file *f)
{
    free(f->peers);
    free(f->subscriptions);
    memset(f, 0, sizeof *f);
}

static void put_peer(FILE *out, const struct peer_entry *e)
{
    char addr[64];
    fputs("  - name: ", out);
    yaml_put_quoted(out, e->name);
    fprintf(out, "\n    node_id: \"0x%016" PRIx64 "\"\n", e->node_id);
    if (e->has_addr) {
        config_format_addr(&e->addr, addr);
        fprintf(out, "    addr: \"%s\"\n", addr);
    }
    if (e->has_key) {
        fputs("    public_key: \"", out);
        for (size_t i = 0; i < sizeof e->public_key; i++)
            fprintf(out, "%02x", e->public_key[i]);
        fputs("\"\n", out);
    }
    if (e->compat == PEER_V019)
        fprintf(out, "    compat: \"v0.19\"\n    mode: %s\n", e->mode == PEER_MODE_DIRECT ? "direct" : "routed");
}

/* What is not said is the default. */
static void put_how(FILE *out, const struct subscription_entry *e)
{
    if (e->mode == SUBSCRIBE_LIVE)
        fputs("    mode: live\n", out);
    else if (e->start == START_SEQUENCE)
        fprintf(out, "    start: %" PRIu64 "\n", e->sequence);
    else if (e->start != START_DEFAULT)
        fprintf(out, "    start: %s\n", e->start == START_LATEST ? "latest" : "earliest");
    if (e->anew)
        fputs("    anew: true\n", out);
}

char *peers_file_render(const struct peers_file *f, size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    if (!out)
        return NULL;
    fputs("# Peers and subscriptions of this node. The node replaces this file; edit it only while the node is "
          "stopped.\n",
          out);
    fputs(f->peer_count ? "peers:\n" : "peers: []\n", out);
    for (size_t i = 0; i < f->peer_count; i++)
        put_peer(out, &f->peers[i]);
    fputs(f->subscription_count ? "subscriptions:\n" : "subscriptions: []\n", out);
    for (size_t i = 0; i < f->subscription_count; i++) {
        fputs("  - channel: ", out);
        yaml_put_quoted(out, f->subscriptions[i].channel);
        fprintf(out, "\n    from: \"0x%016" PRIx64 "\"\n", f->subscriptions[i].peer);
        put_how(out, &f->subscriptions[i]);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
