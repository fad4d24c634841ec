/* peer add, ls, rm. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "core/base/err.h"
#include "shards/config/config.h"

enum { INFO_MAX = 16 << 10 };

/* Who the peer is: from options, or from what its own `node info` printed. */
struct description {
    struct json_object *info; /* NULL: --info was not given */
    const char *addr, *id, *key;
};

static bool is_any(const char *text)
{
    struct io_addr addr;
    static const uint8_t any[16], any_v4[16] = {[10] = 0xff, [11] = 0xff};
    return config_parse_addr(text, &addr) == NET_OK &&
           (memcmp(addr.ip, any, sizeof any) == 0 || memcmp(addr.ip, any_v4, sizeof any) == 0);
}

static int load_info(const char *path, struct json_object **out)
{
    char text[INFO_MAX + 1];
    bool from_stdin = strcmp(path, "-") == 0;
    FILE *file = from_stdin ? stdin : fopen(path, "re");
    if (!file)
        return cli_error(CLI_FAILURE, "%s: %s", path, strerror(errno));
    size_t len = fread(text, 1, INFO_MAX, file);
    bool whole = feof(file) && !ferror(file);
    if (!from_stdin)
        fclose(file);
    text[len] = '\0';
    *out = whole ? json_tokener_parse(text) : NULL;
    if (json_object_is_type(*out, json_type_object))
        return CLI_OK;
    return cli_error(CLI_USAGE, "--info: %s is not what net-mesh node info prints as JSON", path);
}

/* An option comes before what --info says. */
static const char *choose(const struct cli_args *args, enum cli_option option, const struct description *d,
                          const char *key)
{
    struct json_object *value = d->info ? json_object_object_get(d->info, key) : NULL;
    if (cli_has(args, option) || !json_object_is_type(value, json_type_string))
        return args->value[option];
    return json_object_get_string(value);
}

/* CLI_OK, or an exit code (said). json_object_put(d->info) in any case. */
static int describe(const struct cli_args *args, struct description *d)
{
    int code = CLI_OK;
    memset(d, 0, sizeof *d);
    if (cli_has(args, OPTION_INFO))
        code = load_info(args->value[OPTION_INFO], &d->info);
    d->addr = choose(args, OPTION_ADDR, d, "listen");
    d->id = choose(args, OPTION_NODE_ID, d, "node_id");
    d->key = choose(args, OPTION_PUBLIC_KEY, d, "public_key");
    if (code == CLI_OK && d->addr && !cli_has(args, OPTION_ADDR) && is_any(d->addr))
        return cli_error(CLI_USAGE, "peer add: %s listens on all its addresses; say with --addr which to use",
                         args->words[0]);
    return code;
}

/* The entry as the node will check it, so that a slip is told before anything is sent. */
static int read_entry(const struct cli_args *args, const struct description *d, struct peer_entry *e)
{
    const char *addr = d->addr, *id = d->id, *key = d->key;
    const char *compat = args->value[OPTION_COMPAT], *mode = args->value[OPTION_MODE];
    memset(e, 0, sizeof *e);
    if (strlen(args->words[0]) > PEER_NAME_MAX)
        return cli_error(CLI_USAGE, "name: found %zu characters, allowed: at most %d", strlen(args->words[0]),
                         PEER_NAME_MAX);
    strcpy(e->name, args->words[0]);
    if (!id)
        return cli_error(CLI_USAGE,
                         "peer add: --node-id is missing; net-mesh node info shows it, and --info takes it from there");
    if (config_parse_id(id, &e->node_id) != NET_OK)
        return cli_bad_value(OPTION_NODE_ID, id, "0x and hex digits, or decimal digits");
    e->has_addr = addr != NULL;
    if (addr && config_parse_addr(addr, &e->addr) != NET_OK)
        return cli_bad_value(OPTION_ADDR, addr, CLI_ADDRESS);
    e->has_key = key != NULL;
    if (key && config_parse_key(key, e->public_key) != NET_OK)
        return cli_bad_value(OPTION_PUBLIC_KEY, key, "64 hex digits");
    if (compat && strcmp(compat, "v0.19") != 0)
        return cli_bad_value(OPTION_COMPAT, compat, "v0.19");
    e->compat = compat ? PEER_V019 : PEER_OURS;
    if (mode && strcmp(mode, "direct") != 0 && strcmp(mode, "routed") != 0)
        return cli_bad_value(OPTION_MODE, mode, "direct or routed");
    if (mode && !compat)
        return cli_bad_value(OPTION_MODE, mode, "only with --compat v0.19");
    e->mode = mode && strcmp(mode, "direct") == 0 ? PEER_MODE_DIRECT : PEER_MODE_ROUTED;
    if (!compat && (!addr || !key))
        return cli_error(CLI_USAGE, "peer add: --%s is missing; only a peer with --compat v0.19 may go without",
                         cli_options[addr ? OPTION_PUBLIC_KEY : OPTION_ADDR].name);
    return CLI_OK;
}

static void add_text(struct json_object *o, const char *key, const char *text)
{
    if (text)
        json_object_object_add(o, key, json_object_new_string(text));
}

static int add_peer(const struct cli_args *args, const struct description *d)
{
    struct peer_entry e;
    struct config_error error;
    char id[32];
    int code = read_entry(args, d, &e);
    if (code != CLI_OK)
        return code;
    if (peer_entry_check(&e, &error) != NET_OK)
        return cli_error(CLI_USAGE, "peer add: %s", error.text);
    struct json_object *body = json_object_new_object();
    snprintf(id, sizeof id, "0x%016" PRIx64, e.node_id);
    add_text(body, "name", e.name);
    add_text(body, "node_id", id);
    add_text(body, "addr", d->addr);
    add_text(body, "public_key", d->key);
    add_text(body, "compat", args->value[OPTION_COMPAT]);
    add_text(body, "mode", args->value[OPTION_MODE]);
    code = client_run(args, "POST", "/v1/peers", body);
    json_object_put(body);
    return code;
}

int command_peer_add(const struct cli_args *args)
{
    struct description d;
    int code = describe(args, &d);
    if (code == CLI_OK)
        code = add_peer(args, &d);
    json_object_put(d.info);
    return code;
}

int command_peer_ls(const struct cli_args *args)
{
    return client_list(args, "/v1/peers", "name node_id addr state compat rtt_us");
}

int command_peer_rm(const struct cli_args *args)
{
    char target[TARGET_MAX];
    int code = client_target(target, "/v1/peers/", args->words[0], "");
    return code == CLI_OK ? client_run(args, "DELETE", target, NULL) : code;
}
