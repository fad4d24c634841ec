/* init and node info: a node's directory, without a node. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/endpoint.h"
#include "cli/output.h"
#include "core/base/err.h"
#include "core/identity/identity.h"
#include "shards/config/config.h"

static void add_hex(struct json_object *o, const char *key, const uint8_t bytes[32])
{
    char text[65];
    for (size_t i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    json_object_object_add(o, key, json_object_new_string(text));
}

static int add_identity(struct json_object *o, const struct node_secrets *secrets)
{
    struct crypto *crypto;
    struct identity id;
    uint8_t public_key[32];
    char text[32];
    int err = crypto_init(&crypto, NULL);
    if (err)
        return cli_error(CLI_FAILURE, "cannot set up libcrypto: %s", net_err_text(err));
    err = identity_init(&id, crypto, secrets->seed);
    crypto_deinit(crypto);
    if (err)
        return cli_error(CLI_USAGE,
                         "identity: gives a node id no node may have; make another directory with net-mesh init");
    x25519_public(secrets->static_secret, public_key);
    snprintf(text, sizeof text, "0x%016" PRIx64, id.ids.node_id);
    json_object_object_add(o, "node_id", json_object_new_string(text));
    add_hex(o, "entity_id", id.entity);
    add_hex(o, "public_key", public_key);
    identity_deinit(&id);
    return CLI_OK;
}

static int add_addresses(struct json_object *o, const char *dir, const struct config *c)
{
    char listen[64], admin[CONFIG_PATH_MAX];
    config_format_addr(&c->listen, listen);
    if (!endpoint_format_admin(c, dir, admin, sizeof admin))
        return cli_error(CLI_USAGE, "%s: the path is too long", dir);
    json_object_object_add(o, "listen", json_object_new_string(listen));
    json_object_object_add(o, "admin", json_object_new_string(admin));
    return CLI_OK;
}

static int print_info(const struct cli_args *args, const char *dir)
{
    struct config c;
    struct config_error error;
    struct node_secrets secrets;
    if (config_load(dir, NULL, 0, &c, &error) != NET_OK)
        return cli_error(CLI_CONFIG, "%s", error.text);
    int err = node_dir_load_secrets(dir, &secrets, &error);
    if (err)
        return endpoint_secret_error(err, &error);
    struct json_object *o = json_object_new_object();
    int code = add_identity(o, &secrets);
    node_secrets_wipe(&secrets);
    if (code == CLI_OK)
        code = add_addresses(o, dir, &c);
    if (code == CLI_OK)
        code = output_value(args, o);
    json_object_put(o);
    return code;
}

int command_node_info(const struct cli_args *args)
{
    return print_info(args, args->words[0]);
}

/* The overrides: --listen and --admin first, so that a --set of the same key is the later one. */
static int create(const struct cli_args *args, const char *psk_file)
{
    char listen[512], admin[512];
    struct config_error error;
    size_t count = 0;
    const char **overrides = calloc(args->set_count + 2, sizeof *overrides);
    if (!overrides)
        return cli_error(CLI_FAILURE, "out of memory");
    if (cli_has(args, OPTION_LISTEN)) {
        snprintf(listen, sizeof listen, "listen=%s", args->value[OPTION_LISTEN]);
        overrides[count++] = listen;
    }
    if (cli_has(args, OPTION_ADMIN)) {
        snprintf(admin, sizeof admin, "admin.listen=%s", args->value[OPTION_ADMIN]);
        overrides[count++] = admin;
    }
    for (size_t i = 0; i < args->set_count; i++)
        overrides[count++] = args->sets[i];
    struct node_dir_init init = {.dir = args->words[0],
                                 .psk_file = psk_file,
                                 .overrides = overrides,
                                 .override_count = count,
                                 .force = cli_has(args, OPTION_FORCE)};
    int err = node_dir_create(&init, &error);
    free(overrides);
    if (err)
        return cli_error(err == NET_ERR_INVALID || err == NET_ERR_EXISTS ? CLI_USAGE : CLI_FAILURE, "%s", error.text);
    return CLI_OK;
}

/* The two that have options of their own are told under their own names. */
static int check_addresses(const struct cli_args *args)
{
    const char *listen = args->value[OPTION_LISTEN], *admin = args->value[OPTION_ADMIN];
    struct io_addr addr;
    if (listen && config_parse_addr(listen, &addr) != NET_OK)
        return cli_bad_value(OPTION_LISTEN, listen, CLI_ADDRESS);
    if (admin && strncmp(admin, "unix:", 5) != 0 && config_parse_addr(admin, &addr) != NET_OK)
        return cli_bad_value(OPTION_ADMIN, admin, CLI_ADDRESS ", or unix:PATH");
    return CLI_OK;
}

int command_init(const struct cli_args *args)
{
    char path[CONFIG_PATH_MAX];
    const char *psk_file = args->value[OPTION_PSK_FILE];
    if (psk_file && cli_has(args, OPTION_PSK_FROM))
        return cli_error(CLI_USAGE, "init: found --psk-from and --psk-file, allowed: one of them");
    if (cli_has(args, OPTION_PSK_FROM)) {
        if ((size_t)snprintf(path, sizeof path, "%s/psk", args->value[OPTION_PSK_FROM]) >= sizeof path)
            return cli_error(CLI_USAGE, "--psk-from: the path is too long");
        psk_file = path;
    }
    int code = check_addresses(args);
    if (code == CLI_OK)
        code = create(args, psk_file);
    return code == CLI_OK ? print_info(args, args->words[0]) : code;
}
