#include "shards/admin/json.h"

#include <inttypes.h>
#include <string.h>

#include "core/base/text.h"

static void escape_one(struct buffer *b, uint8_t byte)
{
    static const char hex[] = "0123456789abcdef";
    switch (byte) {
    case '"':
        buffer_put(b, "\\\"", 2);
        break;
    case '\\':
        buffer_put(b, "\\\\", 2);
        break;
    case '\n':
        buffer_put(b, "\\n", 2);
        break;
    case '\r':
        buffer_put(b, "\\r", 2);
        break;
    case '\t':
        buffer_put(b, "\\t", 2);
        break;
    default:
        buffer_put(b, (char[]){'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]}, 6);
    }
}

void json_escape(struct buffer *b, const uint8_t *data, size_t len)
{
    size_t plain = 0;
    for (size_t i = 0; i < len; i++) {
        if (data[i] >= 0x20 && data[i] != '"' && data[i] != '\\')
            continue;
        buffer_put(b, data + plain, i - plain);
        escape_one(b, data[i]);
        plain = i + 1;
    }
    buffer_put(b, data + plain, len - plain);
}

/* The comma belongs before every value that is not the first: then the last byte written is not an opening one. */
static void begin_value(struct buffer *b, const char *key)
{
    char last = b->len ? b->data[b->len - 1] : '[';
    if (last != '[' && last != '{')
        buffer_put(b, ",", 1);
    if (!key)
        return;
    buffer_put(b, "\"", 1);
    buffer_str(b, key);
    buffer_put(b, "\":", 2);
}

void json_open(struct buffer *b, const char *key, char bracket)
{
    begin_value(b, key);
    buffer_put(b, &bracket, 1);
}

void json_close(struct buffer *b, char bracket)
{
    buffer_put(b, &bracket, 1);
}

void json_str(struct buffer *b, const char *key, const char *value)
{
    if (!value) {
        json_null(b, key);
        return;
    }
    const uint8_t *data = (const uint8_t *)value;
    size_t len = strlen(value);
    begin_value(b, key);
    buffer_put(b, "\"", 1);
    if (utf8_valid(data, len)) {
        json_escape(b, data, len);
    } else {
        for (size_t i = 0; i < len; i++) {
            if (data[i] < 0x80)
                json_escape(b, data + i, 1);
            else
                buffer_str(b, "\\ufffd");
        }
    }
    buffer_put(b, "\"", 1);
}

void json_u64(struct buffer *b, const char *key, uint64_t v)
{
    begin_value(b, key);
    buffer_u64(b, v);
}

void json_flag(struct buffer *b, const char *key, bool v)
{
    begin_value(b, key);
    buffer_str(b, v ? "true" : "false");
}

void json_null(struct buffer *b, const char *key)
{
    begin_value(b, key);
    buffer_str(b, "null");
}

void json_id(struct buffer *b, const char *key, uint64_t id)
{
    char text[24];
    text_format(text, sizeof text, "0x%016" PRIx64, id);
    json_str(b, key, text);
}

void json_hex(struct buffer *b, const char *key, const uint8_t *data, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    begin_value(b, key);
    buffer_put(b, "\"", 1);
    for (size_t i = 0; i < len; i++)
        buffer_put(b, (char[]){hex[data[i] >> 4], hex[data[i] & 15]}, 2);
    buffer_put(b, "\"", 1);
}
