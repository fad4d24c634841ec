/* Schemas as JSON. */
#include "shards/admin/schema.h"

#include "core/base/err.h"

const struct schema schema_text = {.kind = SCHEMA_TEXT};
const struct schema schema_id = {.kind = SCHEMA_ID};
const struct schema schema_hex = {.kind = SCHEMA_HEX};
const struct schema schema_u64 = {.kind = SCHEMA_U64};
const struct schema schema_flag = {.kind = SCHEMA_FLAG};
const struct schema schema_position = {.kind = SCHEMA_POSITION};
const struct schema schema_any_object = {.kind = SCHEMA_ANY_OBJECT};

/* Codes that are HTTP's business and not the node's; the others are core/base/err.h's. */
static const char *const http_codes[] = {"unauthorized", "forbidden", "route", "method", "header_too_large"};

static void put_codes(struct buffer *b)
{
    static const int errors[] = {
#define X(name, value, text, http) value,
        NET_ERR_TABLE(X)
#undef X
    };
    for (size_t i = 0; i < sizeof http_codes / sizeof http_codes[0]; i++)
        json_str(b, NULL, http_codes[i]);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i] != NET_OK)
            json_str(b, NULL, net_err_code(errors[i]));
}

static void put_type(struct buffer *b, const char *type, bool nullable)
{
    if (!nullable) {
        json_str(b, "type", type);
        return;
    }
    json_open(b, "type", '[');
    json_str(b, NULL, type);
    json_str(b, NULL, "null");
    json_close(b, ']');
}

static void put_string(struct buffer *b, const char *pattern, bool nullable)
{
    put_type(b, "string", nullable);
    if (pattern)
        json_str(b, "pattern", pattern);
}

static void put_enum(struct buffer *b, const struct schema *s, bool nullable)
{
    put_type(b, "string", nullable);
    json_open(b, "enum", '[');
    if (s->kind == SCHEMA_ERROR_CODE)
        put_codes(b);
    else
        for (const char *const *at = s->choices; *at; at++)
            json_str(b, NULL, *at);
    if (nullable)
        json_null(b, NULL);
    json_close(b, ']');
}

static void put_array(struct buffer *b, const struct schema *s, bool nullable)
{
    put_type(b, "array", nullable);
    schema_put(b, "items", s->items, NULL, false);
    if (s->count) {
        json_u64(b, "minItems", s->count);
        json_u64(b, "maxItems", s->count);
    }
}

static void put_object(struct buffer *b, const struct schema *s, bool nullable)
{
    put_type(b, "object", nullable);
    json_open(b, "properties", '{');
    for (const struct member *m = s->members; m->key; m++)
        schema_put(b, m->key, m->schema, m->about, m->nullable);
    json_close(b, '}');
    json_open(b, "required", '[');
    for (const struct member *m = s->members; m->key; m++)
        if (!m->optional)
            json_str(b, NULL, m->key);
    json_close(b, ']');
    json_flag(b, "additionalProperties", false);
}

static void put_either(struct buffer *b, const struct schema *s, bool nullable)
{
    json_open(b, "oneOf", '[');
    for (const struct schema *const *at = s->either; *at; at++)
        schema_put(b, NULL, *at, NULL, false);
    if (nullable) {
        json_open(b, NULL, '{');
        json_str(b, "type", "null");
        json_close(b, '}');
    }
    json_close(b, ']');
}

/* The inside of the schema's object. */
static void put_inside(struct buffer *b, const struct schema *s, bool nullable)
{
    switch (s->kind) {
    case SCHEMA_TEXT:
        put_string(b, NULL, nullable);
        break;
    case SCHEMA_ID:
        put_string(b, "^0x[0-9a-f]{16}$", nullable);
        break;
    case SCHEMA_HEX:
        put_string(b, "^[0-9a-f]*$", nullable);
        break;
    case SCHEMA_BASE64:
        put_string(b, "^[A-Za-z0-9+/]*={0,2}$", nullable);
        break;
    case SCHEMA_POSITION:
        put_string(b, "^(earliest|latest|[0-9]+)$", nullable);
        break;
    case SCHEMA_U64:
        put_type(b, "integer", nullable);
        json_u64(b, "minimum", 0);
        json_str(b, "format", "uint64");
        break;
    case SCHEMA_FLAG:
        put_type(b, "boolean", nullable);
        break;
    case SCHEMA_ENUM:
    case SCHEMA_ERROR_CODE:
        put_enum(b, s, nullable);
        break;
    case SCHEMA_ARRAY:
        put_array(b, s, nullable);
        break;
    case SCHEMA_OBJECT:
        put_object(b, s, nullable);
        break;
    case SCHEMA_ANY_OBJECT:
        put_type(b, "object", nullable);
        break;
    case SCHEMA_EITHER:
        put_either(b, s, nullable);
        break;
    }
}

static void put_reference(struct buffer *b, const struct schema *s)
{
    char target[64];
    struct buffer t;
    buffer_init_fixed(&t, target, sizeof target - 1);
    buffer_str(&t, "#/components/schemas/");
    buffer_str(&t, s->name);
    target[t.len] = '\0';
    json_str(b, "$ref", target);
}

void schema_put(struct buffer *b, const char *key, const struct schema *s, const char *about, bool nullable)
{
    json_open(b, key, '{');
    if (s->name && nullable) {
        json_open(b, "oneOf", '[');
        schema_put(b, NULL, s, NULL, false);
        json_open(b, NULL, '{');
        json_str(b, "type", "null");
        json_close(b, '}');
        json_close(b, ']');
    } else if (s->name) {
        put_reference(b, s);
    } else {
        put_inside(b, s, nullable);
        if (!about)
            about = s->about;
    }
    if (about)
        json_str(b, "description", about);
    json_close(b, '}');
}

void schema_put_definition(struct buffer *b, const struct schema *s)
{
    json_open(b, s->name, '{');
    put_inside(b, s, false);
    if (s->about)
        json_str(b, "description", s->about);
    json_close(b, '}');
}
