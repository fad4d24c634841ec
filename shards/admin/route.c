/* Which request is whose: paths, methods, parameters. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/admin/admin_internal.h"

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

/* The path matches; *param is what stands for its "{name}". */
static bool matches(const char *pattern, const char *path, size_t len, struct cspan *param)
{
    const char *end = path + len;
    for (; *pattern; pattern++) {
        if (*pattern == '{') {
            const char *slash = memchr(path, '/', (size_t)(end - path));
            const char *stop = slash ? slash : end;
            *param = (struct cspan){(const uint8_t *)path, (size_t)(stop - path)};
            path = stop;
            pattern = strchr(pattern, '}');
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
    for (size_t i = 0; i < route_count; i++) {
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
    for (size_t i = 0; i < route_count; i++) {
        if (!matches(routes[i].path, path, len, param))
            continue;
        *known = true;
        if (routes[i].method == method)
            return &routes[i];
    }
    return NULL;
}

static const struct route_param *find_param(const struct route *r, const char *name, size_t len)
{
    for (const struct route_param *p = r->params; p < r->params + ROUTE_PARAMS && p->name; p++)
        if (strlen(p->name) == len && memcmp(p->name, name, len) == 0)
            return p;
    return NULL;
}

static bool take_u64(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

static bool refuse_param(struct connection *c, const struct route_param *p, const char *value, const char *allowed)
{
    char message[200];
    text_format(message, sizeof message, "%s=%.40s is not valid, allowed: %s", p->name, value, allowed);
    return refuse(c, NET_ERR_INVALID, message);
}

static bool is_choice(const struct schema *s, const char *value)
{
    const char *const *choice = s->choices;
    while (*choice && strcmp(*choice, value) != 0)
        choice++;
    return *choice != NULL;
}

static bool check_param(struct connection *c, const struct route_param *p, const char *value)
{
    uint64_t number;
    switch (p->schema->kind) {
    case SCHEMA_FLAG:
        return strcmp(value, "true") == 0 || strcmp(value, "false") == 0 || refuse_param(c, p, value, "true or false");
    case SCHEMA_U64:
        return (take_u64(value, &number) && (!p->max || number <= p->max)) ||
               refuse_param(c, p, value, "a decimal number in its range");
    case SCHEMA_POSITION:
        return strcmp(value, "earliest") == 0 || strcmp(value, "latest") == 0 || take_u64(value, &number) ||
               refuse_param(c, p, value, "earliest, latest or a sequence");
    case SCHEMA_ENUM:
        return is_choice(p->schema, value) || refuse_param(c, p, value, p->about);
    default:
        return true;
    }
}

static bool take_param(struct connection *c, const char *at, size_t len, size_t *used)
{
    struct request *r = &c->request;
    const char *equal = memchr(at, '=', len);
    size_t key = equal ? (size_t)(equal - at) : len;
    size_t size = 0;
    const struct route_param *p = find_param(r->route, at, key);
    if (!p || !equal)
        return refuse(c, NET_ERR_INVALID, "a parameter of the query is unknown to this path or has no value");
    if (route_param(c, p->name))
        return refuse(c, NET_ERR_INVALID, "a parameter of the query stands twice");
    const char *value = decode(r, used, equal + 1, len - key - 1, &size);
    if (!value)
        return refuse(c, NET_ERR_FORMAT, "the query is not well-formed percent-encoding");
    assert(r->param_count < ROUTE_PARAMS);
    r->params[r->param_count++] = (struct param){p->name, value};
    return check_param(c, p, value);
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

static bool check_required(struct connection *c)
{
    char message[80];
    for (const struct route_param *p = c->request.route->params; p < c->request.route->params + ROUTE_PARAMS && p->name;
         p++) {
        if (!p->required || route_param(c, p->name))
            continue;
        text_format(message, sizeof message, "the parameter %s of the query is missing", p->name);
        return refuse(c, NET_ERR_INVALID, message);
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
    if (!strstr(r->route->path, "{channel}"))
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
    if (!access_check_token(c, r->route ? r->route->access : ACCESS_READ))
        return false;
    if (!r->route && known)
        return refuse_method(c, r->target, path);
    if (!r->route) {
        respond_refusal(c, 404, "route", "there is no such path", "");
        return false;
    }
    if (!take_path(c, param, &used))
        return false;
    return (!query || take_params(c, query + 1, r->target_len - path - 1, used)) && check_required(c);
}

const char *route_param(const struct connection *c, const char *key)
{
    for (size_t i = 0; i < c->request.param_count; i++)
        if (strcmp(c->request.params[i].key, key) == 0)
            return c->request.params[i].value;
    return NULL;
}

bool route_param_flag(const struct connection *c, const char *key)
{
    const char *text = route_param(c, key);
    return text && strcmp(text, "true") == 0;
}

uint64_t route_param_u64(const struct connection *c, const char *key, uint64_t absent)
{
    const char *text = route_param(c, key);
    return text ? strtoull(text, NULL, 10) : absent;
}

bool route_param_peer(struct connection *c, const char *text, bool unknown)
{
    uint64_t *peer = &c->request.peer;
    if (node_resolve_peer(c->admin->node, text, peer) == 0)
        return true;
    return (unknown && config_parse_id(text, peer) == 0) || refuse(c, NET_ERR_NOT_FOUND, "there is no such peer");
}
