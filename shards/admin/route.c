/* Which request is whose: paths, methods, parameters. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/admin/admin_internal.h"

static const char *const no_params[] = {NULL};
static const char *const subscribe_params[] = {"from", "timeout_ms", NULL};
static const char *const publish_params[] = {"durable", NULL};
static const char *const events_params[] = {"from", "limit", "follow", "origin", "format", NULL};

#define ROUTE(m, p, handler, names, ...)                                                                               \
    {                                                                                                                  \
        .method = m, .path = p, .end = handler, .params = names, ##__VA_ARGS__                                         \
    }
static const struct route routes[] = {
    ROUTE(HTTP_GET, "/healthz", healthz_get, no_params, .open = true),
    ROUTE(HTTP_GET, "/readyz", readyz_get, no_params, .open = true),
    ROUTE(HTTP_GET, "/metrics", metrics_get, no_params),
    ROUTE(HTTP_GET, "/v1/node", node_get, no_params),
    ROUTE(HTTP_GET, "/v1/peers", peers_get, no_params),
    ROUTE(HTTP_POST, "/v1/peers", peers_post, no_params),
    ROUTE(HTTP_DELETE, "/v1/peers/*", peers_delete, no_params),
    ROUTE(HTTP_GET, "/v1/channels", channels_get, no_params),
    ROUTE(HTTP_GET, "/v1/subscriptions", subscriptions_get, no_params),
    ROUTE(HTTP_POST, "/v1/channels/*/subscribe", subscribe_post, subscribe_params, .channel = true),
    ROUTE(HTTP_POST, "/v1/channels/*/unsubscribe", unsubscribe_post, subscribe_params, .channel = true),
    ROUTE(HTTP_POST, "/v1/channels/*/publish", publish_end, publish_params, .channel = true, .begin = publish_begin,
          .body = publish_body, .drained = publish_drained),
    ROUTE(HTTP_GET, "/v1/channels/*/events", events_get, events_params, .channel = true),
    ROUTE(HTTP_POST, "/v1/shutdown", shutdown_post, no_params),
};
#undef ROUTE

enum { ROUTES = sizeof routes / sizeof routes[0] };

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch = (char)(ch | 0x20);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/*
 * Decodes %XX into request.text and ends it with a NUL; NULL when malformed or with a NUL inside. The text always fits:
 * it is as large as the target, of which every value is a part, and its NUL stands for the '/' or '=' before it.
 */
static const char *decode(struct request *r, size_t *used, const char *in, size_t len, size_t *out_len)
{
    char *out = r->text + *used;
    char *at = out;
    for (size_t i = 0; i < len; i++) {
        int ch = (unsigned char)in[i];
        if (ch == '%') {
            int high = i + 2 < len ? hex_digit(in[i + 1]) : -1;
            int low = i + 2 < len ? hex_digit(in[i + 2]) : -1;
            if (high < 0 || low < 0)
                return NULL;
            ch = high << 4 | low;
            i += 2;
        }
        if (ch == '\0')
            return NULL;
        *at++ = (char)ch;
    }
    *at++ = '\0';
    *out_len = (size_t)(at - out) - 1;
    *used += (size_t)(at - out);
    assert(*used <= sizeof r->text);
    return out;
}

/* The path matches; *param is what stands for its "*". */
static bool matches(const char *pattern, const char *path, size_t len, struct cspan *param)
{
    const char *end = path + len;
    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            const char *slash = memchr(path, '/', (size_t)(end - path));
            const char *stop = slash ? slash : end;
            *param = (struct cspan){(const uint8_t *)path, (size_t)(stop - path)};
            path = stop;
        } else if (path < end && *path == *pattern) {
            path++;
        } else {
            return false;
        }
    }
    return path == end;
}

static bool refuse(struct connection *c, int err, const char *message)
{
    respond_error(c, err, message);
    return false;
}

static bool refuse_method(struct connection *c, const char *path, size_t len)
{
    char allow[64] = "Allow: ";
    struct cspan param;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!matches(routes[i].path, path, len, &param))
            continue;
        const char *name = routes[i].method == HTTP_GET ? "GET, HEAD" : http_method_str(routes[i].method);
        text_format(allow + strlen(allow), sizeof allow - strlen(allow), "%s%s", allow[7] ? ", " : "", name);
    }
    text_format(allow + strlen(allow), sizeof allow - strlen(allow), "\r\n");
    respond_refusal(c, 405, "method", "this path does not have that method", allow);
    return false;
}

/* The route of path and method. NULL: *known says whether another method would do. */
static const struct route *find(struct connection *c, const char *path, size_t len, struct cspan *param, bool *known)
{
    enum http_method method = c->request.head_only ? HTTP_GET : (enum http_method)c->parser.method;
    *known = false;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!matches(routes[i].path, path, len, param))
            continue;
        *known = true;
        if (routes[i].method == method)
            return &routes[i];
    }
    return NULL;
}

static bool take_param(struct connection *c, const char *at, size_t len, size_t *used)
{
    struct request *r = &c->request;
    const char *equal = memchr(at, '=', len);
    size_t key = equal ? (size_t)(equal - at) : len;
    size_t size = 0;
    const char *const *known = r->route->params;
    while (*known && (strlen(*known) != key || memcmp(*known, at, key) != 0))
        known++;
    if (!*known || !equal)
        return refuse(c, NET_ERR_INVALID, "a parameter of the query is unknown to this path or has no value");
    if (route_param(c, *known))
        return refuse(c, NET_ERR_INVALID, "a parameter of the query stands twice");
    const char *value = decode(r, used, equal + 1, len - key - 1, &size);
    if (!value)
        return refuse(c, NET_ERR_FORMAT, "the query is not well-formed percent-encoding");
    assert(r->param_count < PARAMS_MAX);
    r->params[r->param_count++] = (struct param){*known, value};
    return true;
}

static bool take_params(struct connection *c, const char *query, size_t len, size_t used)
{
    const char *end = query + len;
    while (query < end) {
        const char *amp = memchr(query, '&', (size_t)(end - query));
        const char *stop = amp ? amp : end;
        if (stop > query && !take_param(c, query, (size_t)(stop - query), &used))
            return false;
        query = amp ? amp + 1 : end;
    }
    return true;
}

static bool take_path(struct connection *c, struct cspan param, size_t *used)
{
    struct request *r = &c->request;
    if (!param.data)
        return true;
    r->path_param = decode(r, used, (const char *)param.data, param.len, &r->path_param_len);
    if (!r->path_param)
        return refuse(c, NET_ERR_FORMAT, "the path is not well-formed percent-encoding");
    if (!r->route->channel)
        return true;
    enum channel_name_error err = channel_name_parse(r->path_param, r->path_param_len, &r->channel);
    return err == CHANNEL_NAME_OK || refuse(c, NET_ERR_INVALID, channel_name_error_text(err));
}

bool route_find(struct connection *c)
{
    struct request *r = &c->request;
    const char *query = memchr(r->target, '?', r->target_len);
    size_t path = query ? (size_t)(query - r->target) : r->target_len;
    struct cspan param = {0};
    bool known;
    size_t used = 0;
    r->route = find(c, r->target, path, &param, &known);
    if (!(r->route && r->route->open) && !access_check_token(c))
        return false;
    if (!r->route && known)
        return refuse_method(c, r->target, path);
    if (!r->route) {
        respond_refusal(c, 404, "route", "there is no such path", "");
        return false;
    }
    if (!take_path(c, param, &used))
        return false;
    return !query || take_params(c, query + 1, r->target_len - path - 1, used);
}

const char *route_param(const struct connection *c, const char *key)
{
    for (size_t i = 0; i < c->request.param_count; i++)
        if (strcmp(c->request.params[i].key, key) == 0)
            return c->request.params[i].value;
    return NULL;
}

static bool refuse_param(struct connection *c, const char *key, const char *allowed)
{
    char message[160];
    text_format(message, sizeof message, "%s=%.40s is not valid, allowed: %s", key, route_param(c, key), allowed);
    return refuse(c, NET_ERR_INVALID, message);
}

bool route_param_bool(struct connection *c, const char *key, bool *out)
{
    const char *text = route_param(c, key);
    if (!text)
        return true;
    *out = strcmp(text, "true") == 0;
    return *out || strcmp(text, "false") == 0 || refuse_param(c, key, "true or false");
}

bool route_param_u64(struct connection *c, const char *key, uint64_t max, uint64_t *out)
{
    const char *text = route_param(c, key);
    if (!text)
        return true;
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    bool ok = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *out <= max;
    return ok || refuse_param(c, key, "a decimal number in its range");
}

bool route_param_peer(struct connection *c, const char *text, bool unknown)
{
    uint64_t *peer = &c->request.peer;
    if (node_resolve_peer(c->admin->node, text, peer) == 0)
        return true;
    return (unknown && config_parse_id(text, peer) == 0) || refuse(c, NET_ERR_NOT_FOUND, "there is no such peer");
}
