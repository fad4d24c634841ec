/* The node itself: /healthz, /readyz, /v1/node, /metrics, /v1/log-level, /v1/shutdown. */
#include <json-c/json.h>
#include <string.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/admin/admin_internal.h"

void healthz_get(struct connection *c)
{
    struct node_info info;
    node_get_info(c->admin->node, &info);
    buffer_str(reply_begin(c), info.stopping ? "stopping" : "ok");
    respond(c, info.stopping ? 503 : 200, "text/plain");
}

struct problems {
    struct buffer *buffer;
    bool text; /* they may say more than a stranger should know: for who has a token */
};

static void put_problem(void *ctx, const struct problem_row *row)
{
    struct problems *p = ctx;
    json_open(p->buffer, NULL, '{');
    json_str(p->buffer, "code", row->code);
    if (p->text)
        json_str(p->buffer, "text", row->text);
    json_close(p->buffer, '}');
}

static void put_problems(struct connection *c, bool text)
{
    struct problems p = {&c->reply, text};
    json_open(p.buffer, "problems", '[');
    node_each_problem(c->admin->node, put_problem, &p);
    json_close(p.buffer, ']');
}

static void count_problem(void *ctx, const struct problem_row *row)
{
    (void)row;
    ++*(size_t *)ctx;
}

void readyz_get(struct connection *c)
{
    size_t problems = 0;
    node_each_problem(c->admin->node, count_problem, &problems);
    json_open(reply_begin(c), NULL, '{');
    json_flag(&c->reply, "ready", problems == 0);
    put_problems(c, access_has_token(c));
    json_close(&c->reply, '}');
    respond_json(c, problems ? 503 : 200);
}

static void put_security(struct buffer *b, const struct node_info *info)
{
    json_open(b, "security", '{');
    json_str(b, "sessions", info->config->sessions == SESSIONS_SECURE ? "secure" : "compat");
    json_str(b, "peers", info->config->peers == PEERS_ANY ? "any" : "listed");
    json_str(b, "cipher", info->fast_cipher ? "aes-256-gcm" : "chacha20-poly1305");
    json_close(b, '}');
}

static void put_transport(struct buffer *b, const struct node_info *info)
{
    json_open(b, "transport", '{');
    json_u64(b, "socket_buffer", info->socket_buffer);
    json_flag(b, "gso", info->gso);
    json_flag(b, "gro", info->gro);
    json_flag(b, "ipsec_mb", info->ipsec_mb);
    json_close(b, '}');
}

void node_get(struct connection *c)
{
    struct node_info info;
    char listen[64], admin[sizeof "unix:" + sizeof info.config->admin.path];
    node_get_info(c->admin->node, &info);
    config_format_addr(&info.config->listen, listen);
    if (info.config->admin.is_unix)
        text_format(admin, sizeof admin, "unix:%s", info.config->admin.path);
    else
        config_format_addr(&info.config->admin.addr, admin);
    struct buffer *b = reply_begin(c);
    json_open(b, NULL, '{');
    json_id(b, "node_id", info.node_id);
    json_hex(b, "entity_id", info.entity, sizeof info.entity);
    json_hex(b, "public_key", info.public_key, sizeof info.public_key);
    json_str(b, "listen", listen);
    json_str(b, "admin", admin);
    json_str(b, "version", NM_VERSION);
    json_u64(b, "pid", (uint64_t)getpid());
    json_u64(b, "shards", info.shards);
    json_u64(b, "uptime_ms", info.uptime_ns / 1000000);
    json_flag(b, "stopping", info.stopping);
    put_security(b, &info);
    put_transport(b, &info);
    put_problems(c, true);
    json_close(b, '}');
    respond_json(c, 200);
}

static void put_metric(struct buffer *b, const char *name, const char *type, const char *help, uint64_t value)
{
    const char *const head[] = {"# HELP netmesh_admin_", name, " ", help, "\n# TYPE netmesh_admin_", name, " ", type,
                                "\nnetmesh_admin_",      name, " "};
    for (size_t i = 0; i < sizeof head / sizeof head[0]; i++)
        buffer_str(b, head[i]);
    buffer_u64(b, value);
    buffer_put(b, "\n", 1);
}

static void put_own_metrics(struct buffer *b, const struct admin_stats *s)
{
    put_metric(b, "connections", "gauge", "Open admin connections.", s->open);
    put_metric(b, "connections_total", "counter", "Admin connections accepted.", s->connections);
    put_metric(b, "connections_refused_total", "counter", "Admin connections turned away at a limit.", s->refused);
    put_metric(b, "connections_evicted_total", "counter",
               "Admin connections without a token that made room for new ones.", s->evicted);
    put_metric(b, "requests_total", "counter", "Admin requests whose head was read.", s->requests);
    put_metric(b, "unauthorized_total", "counter", "Admin requests without the right token.", s->unauthorized);
    put_metric(b, "bad_requests_total", "counter", "Admin requests answered 4xx, 401 apart.", s->bad_requests);
    put_metric(b, "received_bytes_total", "counter", "Bytes read from admin connections.", s->bytes_in);
    put_metric(b, "sent_bytes_total", "counter", "Bytes written to admin connections.", s->bytes_out);
}

static void on_metrics_text(struct metrics_scrape *m, const char *text, size_t len)
{
    buffer_put(&container_of(m, struct connection, scrape)->reply, text, len);
}

static void on_metrics_done(struct metrics_scrape *m)
{
    struct connection *c = container_of(m, struct connection, scrape);
    put_own_metrics(&c->reply, &c->admin->stats);
    respond(c, 200, "text/plain; version=0.0.4; charset=utf-8");
    connection_run(c);
}

static void metrics_cancel(struct connection *c)
{
    node_scrape_cancel(c->admin->node, &c->scrape);
}

static void metrics_stop(struct connection *c)
{
    metrics_cancel(c);
    respond_error(c, NET_ERR_CANCELED, "the node is stopping");
}

static const struct exchange metrics_exchange = {metrics_cancel, metrics_stop};

void metrics_get(struct connection *c)
{
    reply_begin(c);
    c->scrape = (struct metrics_scrape){.put = on_metrics_text, .done = on_metrics_done};
    int err = node_scrape(c->admin->node, &c->scrape);
    if (err)
        respond_error(c, err, NULL);
    else
        c->exchange = &metrics_exchange;
}

static const char *const levels[] = {
    [LEVEL_ERROR] = "error", [LEVEL_WARN] = "warn", [LEVEL_INFO] = "info", [LEVEL_DEBUG] = "debug"};

enum { LEVELS = sizeof levels / sizeof levels[0] };

void log_level_get(struct connection *c)
{
    struct buffer *b = reply_begin(c);
    json_open(b, NULL, '{');
    json_str(b, "level", levels[node_log_level(c->admin->node)]);
    json_close(b, '}');
    respond_json(c, 200);
}

/* {"level": one of the words}; LEVELS: it is not. */
static size_t take_level(struct json_object *body)
{
    struct json_object *level = NULL;
    size_t i = 0;
    if (!json_object_is_type(body, json_type_object) || json_object_object_length(body) != 1 ||
        !json_object_object_get_ex(body, "level", &level) || !json_object_is_type(level, json_type_string))
        return LEVELS;
    while (i < LEVELS && strcmp(levels[i], json_object_get_string(level)) != 0)
        i++;
    return i;
}

void log_level_put(struct connection *c)
{
    struct json_object *body = body_parse(c);
    size_t level = take_level(body);
    json_object_put(body);
    if (level == LEVELS) {
        respond_error(c, NET_ERR_INVALID, "the body must be {\"level\": error, warn, info or debug}");
        return;
    }
    node_set_log_level(c->admin->node, (enum config_level)level);
    log_level_get(c);
}

void shutdown_post(struct connection *c)
{
    struct buffer *b = reply_begin(c);
    json_open(b, NULL, '{');
    json_flag(b, "stopping", true);
    json_u64(b, "pid", (uint64_t)getpid());
    json_close(b, '}');
    buffer_put(b, "\n", 1);
    respond_until_close(c);
    node_shutdown(c->admin->node);
}
