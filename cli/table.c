/* Tables for people. */
#include "cli/table.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { COLUMNS_MAX = 48, DEPTH_MAX = 4, NAME_MAX_LEN = 128 };

struct column {
    const char *path[DEPTH_MAX]; /* keys, from the row's own on */
    size_t depth;
    const char *otherwise;   /* the row's key that stands in where the path leads to null; NULL: none */
    char name[NAME_MAX_LEN]; /* "ring.used" */
    int width;
};

struct columns {
    struct column column[COLUMNS_MAX];
    size_t count;
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
        {"state", "connected", STYLE_GOOD},  {"state", "connecting", STYLE_WARNING}, {"state", "down", STYLE_BAD},
        {"state", "active", STYLE_GOOD},     {"active", "true", STYLE_GOOD},         {"active", "false", STYLE_WARNING},
        {"stopping", "true", STYLE_WARNING},
    };
    if (value && strcmp(key, "error") == 0)
        return STYLE_BAD;
    for (size_t i = 0; value && i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].key, key) == 0 && strcmp(known[i].value, json_object_get_string(value)) == 0)
            return known[i].style;
    return STYLE_NONE;
}

static void put_cell(FILE *out, const char *key, struct json_object *value, const struct table_style *style)
{
    enum cli_style look = style->colored ? style_of(key, value) : STYLE_NONE;
    if (look != STYLE_NONE)
        fputs(cli_style_code(look), out);
    put_text(out, value);
    if (look != STYLE_NONE)
        fputs(cli_style_code(STYLE_NONE), out);
}

static void put_padding(FILE *out, int n)
{
    fprintf(out, "%*s", n, "");
}

/* ---- a list of objects ---- */

static struct json_object *value_at(struct json_object *row, const struct column *c)
{
    struct json_object *value = row;
    for (size_t i = 0; i < c->depth; i++)
        value = json_object_is_type(value, json_type_object) ? json_object_object_get(value, c->path[i]) : NULL;
    return value || !c->otherwise ? value : json_object_object_get(row, c->otherwise);
}

/* The keys of `object`, which stands in a row under the keys of `outer`. */
static void add_columns(struct columns *cs, struct json_object *object, const struct column *outer)
{
    json_object_object_foreach(object, key, value)
    {
        struct column c = *outer;
        int len = snprintf(c.name, sizeof c.name, "%s%s%s", outer->name, outer->depth ? "." : "", key);
        if (cs->count == COLUMNS_MAX || (size_t)len >= sizeof c.name)
            return;
        c.path[c.depth++] = key;
        if (json_object_is_type(value, json_type_object) && c.depth < DEPTH_MAX)
            add_columns(cs, value, &c);
        else
            cs->column[cs->count++] = c;
    }
}

/* The object's own copy of a key; NULL: it has none. */
static const char *find_key(struct json_object *object, const char *text, size_t len)
{
    json_object_object_foreach(object, key, value)
    {
        (void)value;
        if (strlen(key) == len && memcmp(key, text, len) == 0)
            return key;
    }
    return NULL;
}

static bool is_known(struct json_object *list, const struct column *c)
{
    bool known = false;
    for (size_t i = 0; i < json_object_array_length(list); i++)
        known |= value_at(json_object_array_get_idx(list, i), c) != NULL;
    return known;
}

/* One word of table_style.columns. */
static void choose_column(struct columns *cs, struct json_object *list, const char *word, size_t len)
{
    struct json_object *row = json_object_array_get_idx(list, 0);
    bool rare = word[len - 1] == '?';
    len -= rare;
    const char *bar = memchr(word, '|', len), *last = bar ? bar + 1 : word;
    struct column *c = &cs->column[cs->count];
    *c = (struct column){.depth = 1, .path = {find_key(row, last, len - (size_t)(last - word))}};
    if (bar && c->path[0] && find_key(row, word, (size_t)(bar - word))) {
        c->otherwise = c->path[0];
        c->path[0] = find_key(row, word, (size_t)(bar - word));
    }
    snprintf(c->name, sizeof c->name, "%.*s", (int)(len - (size_t)(last - word)), last);
    if (c->path[0] && (!rare || is_known(list, c)))
        cs->count++;
}

static void choose_columns(struct columns *cs, struct json_object *list, const char *wanted)
{
    for (size_t len; *wanted && cs->count < COLUMNS_MAX; wanted += len + strspn(wanted + len, " ")) {
        len = strcspn(wanted, " ");
        choose_column(cs, list, wanted, len);
    }
}

/* How wide all of them are together. */
static int measure(struct columns *cs, struct json_object *list)
{
    int total = 0;
    for (size_t i = 0; i < cs->count; i++) {
        struct column *c = &cs->column[i];
        c->width = (int)strlen(c->name);
        for (size_t row = 0; row < json_object_array_length(list); row++) {
            int width = width_of(value_at(json_object_array_get_idx(list, row), c));
            c->width = width > c->width ? width : c->width;
        }
        total += c->width + (i ? 2 : 0);
    }
    return total;
}

static void put_header(FILE *out, const struct columns *cs, const struct table_style *style)
{
    fputs(style->colored ? cli_style_code(STYLE_HEADING) : "", out);
    for (size_t i = 0; i < cs->count; i++) {
        const struct column *c = &cs->column[i];
        char name[NAME_MAX_LEN];
        size_t len = strlen(c->name);
        for (size_t at = 0; at <= len; at++)
            name[at] = (char)toupper((unsigned char)c->name[at]);
        cli_plain(out, name, len);
        if (i + 1 < cs->count)
            put_padding(out, c->width - (int)len + 2);
    }
    fprintf(out, "%s\n", style->colored ? cli_style_code(STYLE_NONE) : "");
}

static void put_row(FILE *out, struct json_object *row, const struct columns *cs, const struct table_style *style)
{
    for (size_t i = 0; i < cs->count; i++) {
        const struct column *c = &cs->column[i];
        struct json_object *value = value_at(row, c);
        put_cell(out, c->path[c->depth - 1], value, style);
        if (i + 1 < cs->count && style->aligned)
            put_padding(out, c->width - width_of(value) + 2);
        else
            fputc(i + 1 < cs->count ? '\t' : '\n', out);
    }
}

/* A line for each column. */
static void put_block(FILE *out, struct json_object *row, const struct columns *cs, const struct table_style *style)
{
    int widest = 0;
    for (size_t i = 0; i < cs->count; i++) {
        int len = (int)strlen(cs->column[i].name);
        widest = len > widest ? len : widest;
    }
    for (size_t i = 0; i < cs->count; i++) {
        const struct column *c = &cs->column[i];
        cli_plain(out, c->name, strlen(c->name));
        if (style->aligned)
            put_padding(out, widest - (int)strlen(c->name) + 2);
        else
            fputc('\t', out);
        put_cell(out, c->path[c->depth - 1], value_at(row, c), style);
        fputc('\n', out);
    }
}

static void put_list(FILE *out, struct json_object *list, struct columns *cs, const struct table_style *style)
{
    int width = style->aligned ? measure(cs, list) : 0;
    bool blocks = style->width && width > style->width;
    if (style->aligned && !blocks)
        put_header(out, cs, style);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *row = json_object_array_get_idx(list, i);
        if (blocks && i)
            fputc('\n', out);
        if (blocks)
            put_block(out, row, cs, style);
        else
            put_row(out, row, cs, style);
    }
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

void table_print(FILE *out, struct json_object *value, const struct table_style *style)
{
    static const struct column row_itself;
    struct columns cs = {.count = 0};
    if (is_list_of_objects(value)) {
        if (style->columns)
            choose_columns(&cs, value, style->columns);
        else
            add_columns(&cs, json_object_array_get_idx(value, 0), &row_itself);
        put_list(out, value, &cs, style);
    } else if (json_object_is_type(value, json_type_object)) {
        add_columns(&cs, value, &row_itself);
        put_block(out, value, &cs, style);
    } else if (!json_object_is_type(value, json_type_array) || json_object_array_length(value) > 0) {
        put_text(out, value);
        fputc('\n', out);
    } else if (style->aligned)
        fputs("(none)\n", out);
}
