/* GET /openapi.json: the table of routes as an OpenAPI 3.1 document. */
#include <ctype.h>
#include <string.h>

#include "core/base/text.h"
#include "shards/admin/admin_internal.h"

static const char about[] =
    "The admin port of a net-mesh node. Every request but those without security carries Authorization: Bearer TOKEN. "
    "Requests with an Origin, with a Host that is neither an address nor localhost, "
    "or made by a browser for a page are refused.";

static void put_parameter(struct buffer *b, const char *name, const char *in, const struct schema *schema,
                          const char *text, bool required, uint64_t max)
{
    json_open(b, NULL, '{');
    json_str(b, "name", name);
    json_str(b, "in", in);
    json_flag(b, "required", required);
    if (text)
        json_str(b, "description", text);
    if (max) {
        json_open(b, "schema", '{');
        json_str(b, "type", "integer");
        json_u64(b, "minimum", 0);
        json_u64(b, "maximum", max);
        json_close(b, '}');
    } else {
        schema_put(b, "schema", schema, NULL, false);
    }
    json_close(b, '}');
}

static void put_path_parameter(struct buffer *b, const char *path)
{
    char name[32];
    const char *open = strchr(path, '{');
    if (!open)
        return;
    size_t len = strcspn(open + 1, "}");
    memcpy(name, open + 1, len);
    name[len] = '\0';
    put_parameter(b, name, "path", &schema_text, "percent-encoded, a slash too", true, 0);
}

static void put_parameters(struct buffer *b, const struct route *r)
{
    json_open(b, "parameters", '[');
    put_path_parameter(b, r->path);
    for (const struct route_param *p = r->params; p < r->params + ROUTE_PARAMS && p->name; p++)
        put_parameter(b, p->name, "query", p->schema, p->about, p->required, p->max);
    if (r->end == events_get)
        put_parameter(b, "Last-Event-ID", "header", &schema_u64, "of Server-Sent Events: resume after this sequence",
                      false, 0);
    json_close(b, ']');
}

/* Bodies: `m` and what follows it with the same status. Returns behind them. */
static const struct media *put_content(struct buffer *b, const struct media *m, const struct media *end)
{
    unsigned status = m->status;
    json_open(b, "content", '{');
    for (; m < end && m->type && m->status == status; m++) {
        json_open(b, m->type, '{');
        schema_put(b, "schema", m->schema ? m->schema : &schema_text, m->about, false);
        json_close(b, '}');
    }
    json_close(b, '}');
    return m;
}

static void put_body(struct buffer *b, const struct route *r)
{
    if (!r->takes[0].type)
        return;
    json_open(b, "requestBody", '{');
    json_flag(b, "required", true);
    put_content(b, r->takes, r->takes + ROUTE_MEDIA);
    json_close(b, '}');
}

static void put_answers(struct buffer *b, const struct route *r)
{
    const struct media *m = r->answers, *end = r->answers + ROUTE_MEDIA;
    const struct media error = {.type = "application/json", .schema = r->error ? r->error : &schema_error};
    json_open(b, "responses", '{');
    while (m < end && m->type) {
        char status[8];
        text_format(status, sizeof status, "%u", m->status);
        json_open(b, status, '{');
        json_str(b, "description", http_status_str((enum http_status)m->status));
        m = put_content(b, m, end);
        json_close(b, '}');
    }
    json_open(b, "default", '{');
    json_str(b, "description", "an error");
    put_content(b, &error, &error + 1);
    json_close(b, '}');
    json_close(b, '}');
}

static void put_security(struct buffer *b, enum access access)
{
    static const char *const schemes[] = {"admin", "readonly"};
    size_t count = access == ACCESS_OPEN ? 0 : access == ACCESS_READ ? 2 : 1;
    json_open(b, "security", '[');
    for (size_t i = 0; i < count; i++) {
        json_open(b, NULL, '{');
        json_open(b, schemes[i], '[');
        json_close(b, ']');
        json_close(b, '}');
    }
    json_close(b, ']');
}

static void put_operation(struct buffer *b, const struct route *r)
{
    char method[16];
    size_t len = 0;
    for (const char *at = http_method_str(r->method); *at; at++)
        method[len++] = (char)tolower((unsigned char)*at);
    method[len] = '\0';
    json_open(b, method, '{');
    json_str(b, "operationId", r->id);
    json_str(b, "summary", r->summary);
    put_parameters(b, r);
    put_body(b, r);
    put_answers(b, r);
    put_security(b, r->access);
    json_close(b, '}');
}

/* What goes with GET. */
static void put_head(struct buffer *b, const struct route *r)
{
    json_open(b, "head", '{');
    json_str(b, "summary", "As GET, without the body");
    put_parameters(b, r);
    json_open(b, "responses", '{');
    json_open(b, "default", '{');
    json_str(b, "description", "the status and headers of GET");
    json_close(b, '}');
    json_close(b, '}');
    put_security(b, r->access);
    json_close(b, '}');
}

static void put_paths(struct buffer *b)
{
    json_open(b, "paths", '{');
    for (size_t i = 0; i < route_count; i++) {
        if (i == 0 || strcmp(routes[i].path, routes[i - 1].path) != 0)
            json_open(b, routes[i].path, '{');
        put_operation(b, &routes[i]);
        if (routes[i].method == HTTP_GET)
            put_head(b, &routes[i]);
        if (i + 1 == route_count || strcmp(routes[i].path, routes[i + 1].path) != 0)
            json_close(b, '}');
    }
    json_close(b, '}');
}

static void put_scheme(struct buffer *b, const char *name, const char *text)
{
    json_open(b, name, '{');
    json_str(b, "type", "http");
    json_str(b, "scheme", "bearer");
    json_str(b, "description", text);
    json_close(b, '}');
}

static void put_components(struct buffer *b)
{
    json_open(b, "components", '{');
    json_open(b, "schemas", '{');
    for (const struct schema *const *s = schemas_named; *s; s++)
        schema_put_definition(b, *s);
    json_close(b, '}');
    json_open(b, "securitySchemes", '{');
    put_scheme(b, "admin", "the text of DIR/admin.token");
    put_scheme(b, "readonly", "the text of DIR/readonly.token, where there is one");
    json_close(b, '}');
    json_close(b, '}');
}

void openapi_get(struct connection *c)
{
    struct buffer *b = reply_begin(c);
    json_open(b, NULL, '{');
    json_str(b, "openapi", "3.1.0");
    json_open(b, "info", '{');
    json_str(b, "title", "net-mesh admin port");
    json_str(b, "version", NM_VERSION);
    json_str(b, "description", about);
    json_close(b, '}');
    put_paths(b);
    put_components(b);
    json_close(b, '}');
    respond_json(c, 200);
}
