#include "shards/admin/buffer.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_HEAP_BYTES = 4096 };

void buffer_init_fixed(struct buffer *b, void *data, size_t cap)
{
    *b = (struct buffer){.data = data, .cap = cap};
}

void buffer_init_heap(struct buffer *b, size_t limit)
{
    *b = (struct buffer){.limit = limit};
}

void buffer_deinit(struct buffer *b)
{
    if (b->limit)
        free(b->data);
    *b = (struct buffer){0};
}

void buffer_clear(struct buffer *b)
{
    buffer_rewind(b, 0);
}

void buffer_rewind(struct buffer *b, size_t len)
{
    b->len = len;
    b->failed = false;
}

static bool grow(struct buffer *b, size_t need)
{
    if (need > b->limit)
        return false;
    size_t cap = b->cap ? b->cap : FIRST_HEAP_BYTES;
    while (cap < need)
        cap *= 2;
    if (cap > b->limit)
        cap = b->limit;
    char *data = realloc(b->data, cap);
    if (!data)
        return false;
    b->data = data;
    b->cap = cap;
    return true;
}

/* Room for `len` more bytes; NULL: there is nothing to write, or the text has failed. */
static char *reserve(struct buffer *b, size_t len)
{
    if (b->failed || len == 0) /* an empty buffer has no memory to point into */
        return NULL;
    if (len > b->cap - b->len && !grow(b, b->len + len)) {
        b->failed = true;
        return NULL;
    }
    return b->data + b->len;
}

void buffer_put(struct buffer *b, const void *data, size_t len)
{
    char *at = reserve(b, len);
    if (!at)
        return;
    memcpy(at, data, len);
    b->len += len;
}

void buffer_str(struct buffer *b, const char *s)
{
    buffer_put(b, s, strlen(s));
}

void buffer_u64(struct buffer *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buffer_put(b, digits + at, sizeof digits - at);
}

void buffer_base64(struct buffer *b, const uint8_t *data, size_t len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t size = (len + 2) / 3 * 4;
    char *out = reserve(b, size);
    if (!out)
        return;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t v =
            (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) | (left > 2 ? data[i + 2] : 0u);
        *out++ = alphabet[v >> 18];
        *out++ = alphabet[v >> 12 & 63];
        *out++ = left > 1 ? alphabet[v >> 6 & 63] : '=';
        *out++ = left > 2 ? alphabet[v & 63] : '=';
    }
    b->len += size;
}
