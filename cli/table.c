/* Tables for people. */
#include "cli/table.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { COLUMNS_MAX = 32 };

/* A cell's text: lists with commas, null as "-". */
static void put_cell(FILE *out, struct json_object *value)
{
    if (!value) {
        fputc('-', out);
    } else if (json_object_is_type(value, json_type_array)) {
        size_t n = json_object_array_length(value);
        for (size_t i = 0; i < n; i++) {
            fputs(i ? "," : "", out);
            put_cell(out, json_object_array_get_idx(value, i));
        }
        if (n == 0)
            fputc('-', out);
    } else {
        const char *text = json_object_get_string(value); /* an object inside a row: its JSON */
        cli_plain(out, text, strlen(text));
    }
}

/* How wide the cell is on a terminal: characters, not bytes. */
static int cell_width(struct json_object *value)
{
    char *text = NULL;
    size_t len = 0;
    int width = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return 0;
    put_cell(out, value);
    fclose(out);
    for (size_t i = 0; i < len; i++)
        width += ((unsigned char)text[i] & 0xc0) != 0x80;
    free(text);
    return width;
}

static void put_padding(FILE *out, int n)
{
    fprintf(out, "%*s", n, "");
}

static size_t columns_of(struct json_object *list, const char *keys[COLUMNS_MAX], int widths[COLUMNS_MAX])
{
    size_t n = 0;
    json_object_object_foreach(json_object_array_get_idx(list, 0), key, first)
    {
        (void)first;
        if (n == COLUMNS_MAX)
            break;
        keys[n] = key;
        widths[n] = (int)strlen(key);
        for (size_t i = 0; i < json_object_array_length(list); i++) {
            int width = cell_width(json_object_object_get(json_object_array_get_idx(list, i), key));
            widths[n] = width > widths[n] ? width : widths[n];
        }
        n++;
    }
    return n;
}

static void put_header(FILE *out, const char *const *keys, const int *widths, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (const char *p = keys[i]; *p; p++)
            fputc(toupper((unsigned char)*p), out);
        if (i + 1 < n)
            put_padding(out, widths[i] - (int)strlen(keys[i]) + 2);
    }
    fputc('\n', out);
}

static void put_rows(FILE *out, struct json_object *list, bool aligned)
{
    const char *keys[COLUMNS_MAX];
    int widths[COLUMNS_MAX];
    size_t n = columns_of(list, keys, widths);
    if (aligned)
        put_header(out, keys, widths, n);
    for (size_t row = 0; row < json_object_array_length(list); row++) {
        for (size_t i = 0; i < n; i++) {
            struct json_object *value = json_object_object_get(json_object_array_get_idx(list, row), keys[i]);
            put_cell(out, value);
            if (i + 1 < n && aligned)
                put_padding(out, widths[i] - cell_width(value) + 2);
            else
                fputc(i + 1 < n ? '\t' : '\n', out);
        }
    }
}

/* Keys of an object and of the objects in it; with `out` NULL only their greatest width is wanted. */
static int put_lines(FILE *out, struct json_object *object, const char *prefix, int width, bool aligned)
{
    int widest = 0;
    json_object_object_foreach(object, key, value)
    {
        char name[256];
        int len = snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", key);
        if (json_object_is_type(value, json_type_object)) {
            len = put_lines(out, value, name, width, aligned);
        } else if (out) {
            fputs(name, out);
            if (aligned)
                put_padding(out, width - len + 2);
            else
                fputc('\t', out);
            put_cell(out, value);
            fputc('\n', out);
        }
        widest = len > widest ? len : widest;
    }
    return widest;
}

static bool is_list_of_objects(struct json_object *value)
{
    if (!json_object_is_type(value, json_type_array) || json_object_array_length(value) == 0)
        return false;
    for (size_t i = 0; i < json_object_array_length(value); i++)
        if (!json_object_is_type(json_object_array_get_idx(value, i), json_type_object))
            return false;
    return true;
}

void table_print(FILE *out, struct json_object *value, bool aligned)
{
    if (is_list_of_objects(value))
        put_rows(out, value, aligned);
    else if (json_object_is_type(value, json_type_object))
        put_lines(out, value, "", put_lines(NULL, value, "", 0, aligned), aligned);
    else if (!json_object_is_type(value, json_type_array) || json_object_array_length(value) > 0) {
        put_cell(out, value);
        fputc('\n', out);
    } else if (aligned)
        fputs("(none)\n", out);
}
