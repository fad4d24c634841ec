/* Tables for people. */
#include "cli/table.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { COLUMNS_MAX = 32 };

struct column {
    const char *key;
    int width;
};

/* A cell's text: lists with commas, null as "-". */
static void put_text(FILE *out, struct json_object *value)
{
    if (!value) {
        fputc('-', out);
    } else if (json_object_is_type(value, json_type_array)) {
        size_t n = json_object_array_length(value);
        for (size_t i = 0; i < n; i++) {
            fputs(i ? "," : "", out);
            put_text(out, json_object_array_get_idx(value, i));
        }
        if (n == 0)
            fputc('-', out);
    } else {
        const char *text = json_object_get_string(value); /* an object inside a row: its JSON */
        cli_plain(out, text, strlen(text));
    }
}

/* Columns on a terminal. */
static int width_of(struct json_object *value)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return 0;
    put_text(out, value);
    fclose(out);
    int width = cli_width(text, len);
    free(text);
    return width;
}

/* What an operator's eye should find. */
static enum cli_style style_of(const char *key, struct json_object *value)
{
    static const struct {
        const char *key, *value;
        enum cli_style style;
    } known[] = {
        {"state", "connected", STYLE_GOOD}, {"state", "connecting", STYLE_WARNING}, {"state", "down", STYLE_BAD},
        {"active", "true", STYLE_GOOD},     {"active", "false", STYLE_WARNING},     {"stopping", "true", STYLE_WARNING},
    };
    if (value && strcmp(key, "error") == 0)
        return STYLE_BAD;
    for (size_t i = 0; value && i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].key, key) == 0 && strcmp(known[i].value, json_object_get_string(value)) == 0)
            return known[i].style;
    return STYLE_NONE;
}

static void put_cell(FILE *out, const char *key, struct json_object *value, unsigned flags)
{
    enum cli_style style = flags & TABLE_COLORED ? style_of(key, value) : STYLE_NONE;
    if (style != STYLE_NONE)
        fputs(cli_style_code(style), out);
    put_text(out, value);
    if (style != STYLE_NONE)
        fputs(cli_style_code(STYLE_NONE), out);
}

static void put_padding(FILE *out, int n)
{
    fprintf(out, "%*s", n, "");
}

static size_t columns_of(struct json_object *list, struct column columns[COLUMNS_MAX])
{
    size_t n = 0;
    json_object_object_foreach(json_object_array_get_idx(list, 0), key, first)
    {
        (void)first;
        if (n == COLUMNS_MAX)
            break;
        columns[n] = (struct column){key, (int)strlen(key)};
        for (size_t i = 0; i < json_object_array_length(list); i++) {
            int width = width_of(json_object_object_get(json_object_array_get_idx(list, i), key));
            columns[n].width = width > columns[n].width ? width : columns[n].width;
        }
        n++;
    }
    return n;
}

static void put_header(FILE *out, const struct column *columns, size_t n, unsigned flags)
{
    fputs(flags & TABLE_COLORED ? cli_style_code(STYLE_HEADING) : "", out);
    for (size_t i = 0; i < n; i++) {
        char name[256];
        int len = snprintf(name, sizeof name, "%s", columns[i].key);
        for (char *p = name; *p; p++)
            *p = (char)toupper((unsigned char)*p);
        cli_plain(out, name, strlen(name));
        if (i + 1 < n)
            put_padding(out, columns[i].width - len + 2);
    }
    fprintf(out, "%s\n", flags & TABLE_COLORED ? cli_style_code(STYLE_NONE) : "");
}

static void put_rows(FILE *out, struct json_object *list, unsigned flags)
{
    struct column columns[COLUMNS_MAX];
    size_t n = columns_of(list, columns);
    bool aligned = flags & TABLE_ALIGNED;
    if (aligned)
        put_header(out, columns, n, flags);
    for (size_t row = 0; row < json_object_array_length(list); row++) {
        for (size_t i = 0; i < n; i++) {
            struct json_object *value = json_object_object_get(json_object_array_get_idx(list, row), columns[i].key);
            put_cell(out, columns[i].key, value, flags);
            if (i + 1 < n && aligned)
                put_padding(out, columns[i].width - width_of(value) + 2);
            else
                fputc(i + 1 < n ? '\t' : '\n', out);
        }
    }
}

/* Keys of an object and of the objects in it; with `out` NULL only their greatest width is wanted. */
static int put_lines(FILE *out, struct json_object *object, const char *prefix, int width, unsigned flags)
{
    int widest = 0;
    json_object_object_foreach(object, key, value)
    {
        char name[256];
        int len = snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", key);
        if (json_object_is_type(value, json_type_object)) {
            len = put_lines(out, value, name, width, flags);
        } else if (out) {
            cli_plain(out, name, strlen(name));
            if (flags & TABLE_ALIGNED)
                put_padding(out, width - len + 2);
            else
                fputc('\t', out);
            put_cell(out, key, value, flags);
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

void table_print(FILE *out, struct json_object *value, unsigned flags)
{
    if (is_list_of_objects(value))
        put_rows(out, value, flags);
    else if (json_object_is_type(value, json_type_object))
        put_lines(out, value, "", put_lines(NULL, value, "", 0, flags), flags);
    else if (!json_object_is_type(value, json_type_array) || json_object_array_length(value) > 0) {
        put_text(out, value);
        fputc('\n', out);
    } else if (flags & TABLE_ALIGNED)
        fputs("(none)\n", out);
}
