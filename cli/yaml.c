/*
 * YAML, written by libyaml. A text stands plain where every reader takes it for a text, YAML 1.1 and 1.2 alike, and in
 * double quotes elsewhere ("yes", "0x1", "12:30", what has line feeds).
 */
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "cli/output.h"

/* A letter, then letters, digits and _ - . /, but no word that YAML 1.1 has for true, false or null. */
static bool is_plain(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./";
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
    if (!*text || !strchr(letters, *text) || text[strspn(text, rest)])
        return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasecmp(text, words[i]) == 0)
            return false;
    return true;
}

static bool emit(yaml_emitter_t *e, yaml_event_t *event, int made)
{
    return made && yaml_emitter_emit(e, event);
}

static bool put_scalar(yaml_emitter_t *e, const char *text, size_t len, bool plain)
{
    yaml_event_t event;
    return emit(e, &event,
                yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text, (int)len, plain, !plain,
                                             plain ? YAML_PLAIN_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE));
}

static bool put_text(yaml_emitter_t *e, const char *text, size_t len)
{
    return put_scalar(e, text, len, strlen(text) == len && is_plain(text));
}

/* YAML 1.1 wants a point in a float, and a sign in its exponent: 1e5 becomes 1.0e+5. */
static bool put_double(yaml_emitter_t *e, const char *text)
{
    char out[64];
    size_t mantissa = strcspn(text, "eE");
    bool point = memchr(text, '.', mantissa) != NULL, sign = text[mantissa] && strchr("+-", text[mantissa + 1]);
    int n = snprintf(out, sizeof out, "%.*s%s%s%s%s", (int)mantissa, text, point ? "" : ".0", text[mantissa] ? "e" : "",
                     text[mantissa] && !sign ? "+" : "", text[mantissa] ? text + mantissa + 1 : "");
    return (size_t)n < sizeof out ? put_scalar(e, out, (size_t)n, true) : put_scalar(e, text, strlen(text), true);
}

static bool put_value(yaml_emitter_t *e, struct json_object *value);

static bool put_mapping(yaml_emitter_t *e, struct json_object *value)
{
    yaml_event_t event;
    bool empty = json_object_object_length(value) == 0;
    if (!emit(e, &event,
              yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
                                                  empty ? YAML_FLOW_MAPPING_STYLE : YAML_BLOCK_MAPPING_STYLE)))
        return false;
    json_object_object_foreach(value, key, member)
    {
        if (!put_text(e, key, strlen(key)) || !put_value(e, member))
            return false;
    }
    return emit(e, &event, yaml_mapping_end_event_initialize(&event));
}

static bool put_sequence(yaml_emitter_t *e, struct json_object *value)
{
    yaml_event_t event;
    size_t n = json_object_array_length(value);
    if (!emit(e, &event,
              yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                                   n == 0 ? YAML_FLOW_SEQUENCE_STYLE : YAML_BLOCK_SEQUENCE_STYLE)))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!put_value(e, json_object_array_get_idx(value, i)))
            return false;
    return emit(e, &event, yaml_sequence_end_event_initialize(&event));
}

static bool put_value(yaml_emitter_t *e, struct json_object *value)
{
    const char *text = value ? json_object_get_string(value) : "null";
    switch (json_object_get_type(value)) {
    case json_type_object:
        return put_mapping(e, value);
    case json_type_array:
        return put_sequence(e, value);
    case json_type_string:
        return put_text(e, text, (size_t)json_object_get_string_len(value));
    case json_type_double:
        return put_double(e, text);
    default:
        return put_scalar(e, text, strlen(text), true);
    }
}

static int write_to_file(void *out, unsigned char *data, size_t len)
{
    return fwrite(data, 1, len, out) == len;
}

bool output_yaml(FILE *out, struct json_object *value, bool of_many)
{
    yaml_emitter_t e;
    yaml_event_t event;
    if (!yaml_emitter_initialize(&e))
        return false;
    yaml_emitter_set_output(&e, write_to_file, out);
    yaml_emitter_set_unicode(&e, 1);
    yaml_emitter_set_width(&e, -1);
    bool ok = emit(&e, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING)) &&
              emit(&e, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, !of_many)) &&
              put_value(&e, value) && emit(&e, &event, yaml_document_end_event_initialize(&event, 1)) &&
              emit(&e, &event, yaml_stream_end_event_initialize(&event));
    yaml_emitter_delete(&e);
    return ok;
}
