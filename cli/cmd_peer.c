/* peer add, ls, rm. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "core/base/err.h"
#include "shards/config/config.h"

static int bad_option(enum cli_option option, const char *value, const char *allowed)
{
    return cli_error(CLI_USAGE, "--%s: found %.300s, allowed: %s", cli_options[option].name, value, allowed);
}

/* The entry as the node will check it, so that a slip is told before anything is sent. */
static int read_entry(const struct cli_args *args, struct peer_entry *e)
{
    const char *addr = args->value[OPTION_ADDR], *id = args->value[OPTION_NODE_ID],
               *key = args->value[OPTION_PUBLIC_KEY];
    const char *compat = args->value[OPTION_COMPAT], *mode = args->value[OPTION_MODE];
    memset(e, 0, sizeof *e);
    if (strlen(args->words[0]) > PEER_NAME_MAX)
        return cli_error(CLI_USAGE, "name: found %zu characters, allowed: at most %d", strlen(args->words[0]),
                         PEER_NAME_MAX);
    strcpy(e->name, args->words[0]);
    if (!id)
        return cli_error(CLI_USAGE, "peer add: --node-id is missing (net-mesh node info shows it)");
    if (config_parse_id(id, &e->node_id) != NET_OK)
        return bad_option(OPTION_NODE_ID, id, "0x and hex digits, or decimal digits");
    e->has_addr = addr != NULL;
    if (addr && config_parse_addr(addr, &e->addr) != NET_OK)
        return bad_option(OPTION_ADDR, addr, "ADDRESS:PORT or [IPV6]:PORT, port 1..65535");
    e->has_key = key != NULL;
    if (key && config_parse_key(key, e->public_key) != NET_OK)
        return bad_option(OPTION_PUBLIC_KEY, key, "64 hex digits");
    if (compat && strcmp(compat, "v0.19") != 0)
        return bad_option(OPTION_COMPAT, compat, "v0.19");
    e->compat = compat ? PEER_V019 : PEER_OURS;
    if (mode && strcmp(mode, "direct") != 0 && strcmp(mode, "routed") != 0)
        return bad_option(OPTION_MODE, mode, "direct or routed");
    if (mode && !compat)
        return cli_error(CLI_USAGE, "--mode: found %s, allowed: only with --compat v0.19", mode);
    e->mode = mode && strcmp(mode, "direct") == 0 ? PEER_MODE_DIRECT : PEER_MODE_ROUTED;
    return CLI_OK;
}

static void add_text(struct json_object *o, const char *key, const char *text)
{
    if (text)
        json_object_object_add(o, key, json_object_new_string(text));
}

int command_peer_add(const struct cli_args *args)
{
    struct peer_entry e;
    struct config_error error;
    char id[32];
    int code = read_entry(args, &e);
    if (code != CLI_OK)
        return code;
    if (peer_entry_check(&e, &error) != NET_OK)
        return cli_error(CLI_USAGE, "peer add: %s", error.text);
    struct json_object *body = json_object_new_object();
    snprintf(id, sizeof id, "0x%016" PRIx64, e.node_id);
    add_text(body, "name", e.name);
    add_text(body, "node_id", id);
    add_text(body, "addr", args->value[OPTION_ADDR]);
    add_text(body, "public_key", args->value[OPTION_PUBLIC_KEY]);
    add_text(body, "compat", args->value[OPTION_COMPAT]);
    add_text(body, "mode", args->value[OPTION_MODE]);
    code = client_run(args, "POST", "/v1/peers", body);
    json_object_put(body);
    return code;
}

int command_peer_ls(const struct cli_args *args)
{
    return client_run(args, "GET", "/v1/peers", NULL);
}

int command_peer_rm(const struct cli_args *args)
{
    char target[TARGET_MAX];
    int code = client_target(target, "/v1/peers/", args->words[0], "");
    return code == CLI_OK ? client_run(args, "DELETE", target, NULL) : code;
}
