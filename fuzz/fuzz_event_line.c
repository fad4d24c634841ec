/* A line of an NDJSON publish, beside what json-c makes of it. */
#include <assert.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "shards/admin/event_line.h"
#include "shards/admin/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The one member of the object, if it is a string. Caller puts *root. */
static struct json_object *parse(const char *text, size_t len, const char *key, struct json_object **root)
{
    struct json_object *value = NULL;
    struct json_tokener *tokener = json_tokener_new_ex(2);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    *root = json_tokener_parse_ex(tokener, text, (int)len);
    json_tokener_free(tokener);
    bool one = json_object_is_type(*root, json_type_object) && json_object_object_length(*root) == 1;
    if (one)
        json_object_object_get_ex(*root, key, &value);
    return json_object_is_type(value, json_type_string) ? value : NULL;
}

/* What was taken for text is what json-c reads there, and base64 is the base64 of what came out. */
static void check(const char *line, size_t len, const uint8_t *event, size_t event_len)
{
    struct json_object *root, *other;
    struct json_object *value = parse(line, len, "data", &root);
    if (value) {
        assert((size_t)json_object_get_string_len(value) == event_len);
        assert(memcmp(json_object_get_string(value), event, event_len) == 0);
    } else {
        value = parse(line, len, "data_base64", &other);
        assert(value);
        struct buffer b;
        buffer_init_heap(&b, 1 << 20);
        buffer_base64(&b, event, event_len);
        assert(b.len == (size_t)json_object_get_string_len(value));
        assert(b.len == 0 || memcmp(b.data, json_object_get_string(value), b.len) == 0);
        buffer_deinit(&b);
        json_object_put(other);
    }
    json_object_put(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t event_len;
    if (size > 100000 || memchr(data, '\n', size))
        return 0;
    char *line = malloc(size + 1); /* json-c knows that a document is complete by its NUL */
    uint8_t *copy = malloc(size ? size : 1);
    assert(line && copy);
    memcpy(line, data, size);
    line[size] = '\0';
    memcpy(copy, data, size);
    bool blank = event_line_blank(copy, size);
    if (event_line_decode(copy, size, &event_len)) {
        assert(!blank && event_len <= size);
        check(line, size + 1, copy, event_len);
    }
    free(line);
    free(copy);
    return 0;
}
