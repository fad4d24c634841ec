/* Finding the node: a directory, a URL or a unix socket. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "cli/endpoint.h"
#include "core/base/err.h"
#include "core/crypto/crypto.h"
#include "shards/config/config.h"

static const char http_scheme[] = "http://", unix_scheme[] = "unix:";

int endpoint_secret_error(int err, const struct config_error *error)
{
    return cli_error(err == NET_ERR_INVALID ? CLI_USAGE : CLI_FAILURE, "%s", error->text);
}

bool endpoint_format_admin(const struct config *c, const char *dir, char *out, size_t room)
{
    char addr[64];
    int n;
    if (c->admin.is_unix)
        n = snprintf(out, room, "%s%s%s%s", unix_scheme, c->admin.path[0] == '/' ? "" : dir,
                     c->admin.path[0] == '/' ? "" : "/", c->admin.path);
    else {
        config_format_addr(&c->admin.addr, addr);
        n = snprintf(out, room, "%s", addr);
    }
    return (size_t)n < room;
}

static int use_unix(struct endpoint *e, const char *path)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&e->addr;
    if (!*path || strlen(path) >= sizeof un->sun_path)
        return cli_error(CLI_USAGE, "unix:%s: found a path of %zu bytes, allowed: 1 to %zu", path, strlen(path),
                         sizeof un->sun_path - 1);
    un->sun_family = AF_UNIX;
    strcpy(un->sun_path, path);
    e->addr_len = sizeof *un;
    e->local = true;
    strcpy(e->host, "localhost");
    snprintf(e->shown, sizeof e->shown, "%s%s", unix_scheme, path);
    return CLI_OK;
}

/* A node that listens on every address is reached on loopback. */
static void any_to_loopback(struct sockaddr_storage *addr)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)addr;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)addr;
    if (addr->ss_family == AF_INET && v4->sin_addr.s_addr == htonl(INADDR_ANY))
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (addr->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
        v6->sin6_addr = in6addr_loopback;
}

static bool is_loopback(const struct sockaddr_storage *addr)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)addr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)addr;
    if (addr->ss_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* `text` is HOST:PORT or [V6]:PORT; names are looked up. */
static int use_tcp(struct endpoint *e, const char *text)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[256], address[INET6_ADDRSTRLEN + 24], port[16];
    const char *colon = strrchr(text, ':');
    uint64_t number;
    bool bracketed = text[0] == '[';
    size_t len = colon ? (size_t)(colon - text) : 0;
    if (len <= (bracketed ? 2u : 0u) || len >= sizeof host || config_parse_number(colon + 1, &number) != NET_OK ||
        number == 0 || number > 65535 || (bracketed && text[len - 1] != ']'))
        return cli_error(CLI_USAGE, "endpoint: found %s, allowed: HOST:PORT or [IPV6]:PORT, port 1..65535", text);
    snprintf(host, sizeof host, "%.*s", (int)(bracketed ? len - 2 : len), text + bracketed);
    int err = getaddrinfo(host, colon + 1, &hints, &found);
    if (err)
        return cli_error(CLI_UNREACHABLE, "%s: cannot look up the host: %s", text, gai_strerror(err));
    memcpy(&e->addr, found->ai_addr, found->ai_addrlen);
    e->addr_len = found->ai_addrlen;
    freeaddrinfo(found);
    any_to_loopback(&e->addr);
    e->local = is_loopback(&e->addr);
    getnameinfo((struct sockaddr *)&e->addr, e->addr_len, address, sizeof address, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    address[strcspn(address, "%")] = '\0'; /* a zone means nothing to the server */
    snprintf(e->host, sizeof e->host, e->addr.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", address, port);
    snprintf(e->shown, sizeof e->shown, "%s", text);
    return CLI_OK;
}

static void name_directory(struct endpoint *e, const char *dir)
{
    char *whole = realpath(dir, NULL), *slash = whole ? strrchr(whole, '/') : NULL;
    snprintf(e->name, sizeof e->name, "%s", slash ? slash + 1 : "");
    free(whole);
}

static int use_directory(struct endpoint *e, const char *dir)
{
    struct config c;
    struct config_error error;
    char path[CONFIG_PATH_MAX], admin[CONFIG_PATH_MAX];
    if (config_load(dir, NULL, 0, &c, &error) != NET_OK)
        return cli_error(CLI_CONFIG, "%s", error.text);
    if (!endpoint_format_admin(&c, dir, admin, sizeof admin) ||
        (size_t)snprintf(path, sizeof path, "%s/admin.token", dir) >= sizeof path)
        return cli_error(CLI_USAGE, "%s: the path is too long", dir);
    int err = admin_token_load(path, e->token, &error);
    if (err)
        return endpoint_secret_error(err, &error);
    name_directory(e, dir);
    return c.admin.is_unix ? use_unix(e, admin + sizeof unix_scheme - 1) : use_tcp(e, admin);
}

static int use_token_file(struct endpoint *e, const char *from_profile)
{
    struct config_error error;
    const char *path = getenv("NET_MESH_TOKEN_FILE");
    if (!path || !*path)
        path = from_profile;
    if (!*path)
        return cli_error(
            CLI_USAGE,
            "an endpoint that is not a directory needs a token: set NET_MESH_TOKEN_FILE (or token_file of the "
            "profile) to the node's admin.token or readonly.token, or a copy of it");
    int err = admin_token_load(path, e->token, &error);
    return err ? endpoint_secret_error(err, &error) : CLI_OK;
}

static int use_url(struct endpoint *e, const char *text)
{
    char authority[300];
    size_t len = strlen(text);
    if (len && text[len - 1] == '/')
        len--;
    snprintf(authority, sizeof authority, "%.*s", (int)len, text);
    if (strchr(authority, '/') || strchr(authority, '@') || len >= sizeof authority)
        return cli_error(CLI_USAGE,
                         "endpoint: found %s%s, allowed: %sHOST:PORT, ADDRESS:PORT, unix:PATH, or a node's directory",
                         http_scheme, text, http_scheme);
    return use_tcp(e, authority);
}

/* What was said about the endpoint, and who said it; NULL: nobody did. */
static const char *named_endpoint(const struct cli_args *args, const char **by)
{
    const char *text = getenv("NET_MESH_ENDPOINT");
    *by = "--endpoint";
    if (args->value[OPTION_ENDPOINT])
        return args->value[OPTION_ENDPOINT];
    *by = "NET_MESH_ENDPOINT";
    if (text && *text)
        return text;
    *by = "the profile";
    return *args->profile.endpoint ? args->profile.endpoint : NULL;
}

static int use(struct endpoint *e, const char *text, const char *token_file)
{
    struct io_addr addr;
    bool http = strncmp(text, http_scheme, sizeof http_scheme - 1) == 0;
    bool socket = strncmp(text, unix_scheme, sizeof unix_scheme - 1) == 0;
    if (!http && !socket && strstr(text, "://"))
        return cli_error(CLI_USAGE,
                         "endpoint: found %s, allowed: %sHOST:PORT, ADDRESS:PORT, unix:PATH, or a node's directory",
                         text, http_scheme);
    bool address = config_parse_addr(text, &addr) == NET_OK; /* as `node info` shows it */
    if (!http && !socket && !address)
        return use_directory(e, text);
    int code = http      ? use_url(e, text + sizeof http_scheme - 1)
               : address ? use_tcp(e, text)
                         : use_unix(e, text + sizeof unix_scheme - 1);
    return code == CLI_OK ? use_token_file(e, token_file) : code;
}

int endpoint_resolve(const struct cli_args *args, struct endpoint *e)
{
    const char *by, *text = named_endpoint(args, &by);
    const struct profile *p = &args->profile;
    memset(e, 0, sizeof *e);
    if (!text || !*text)
        return cli_error(CLI_USAGE,
                         "which node? give --endpoint DIR (or http://HOST:PORT, ADDRESS:PORT, unix:PATH), or set "
                         "NET_MESH_ENDPOINT, or endpoint in a profile");
    int code = use(e, text, *p->endpoint && text != p->endpoint ? "" : p->token_file);
    if (code == CLI_OK)
        cli_say(args, SAY_INFO, "%s is the node, as %s says: %s", text, by, e->shown);
    return code;
}

void endpoint_wipe(struct endpoint *e)
{
    secure_wipe(e->token, sizeof e->token);
}
