/* A reader of small TOML files, a line at a time. */
#include "cli/toml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shards/admin/json.h"

/* A key with its tables: the parts one after the other in `text`, a NUL behind each. */
struct path {
    char text[TOML_KEY_MAX];
    size_t len, depth;
    const char *part[TOML_DEPTH_MAX];
};

/* What stands in the file already, so that nothing stands there twice. */
struct seen {
    char *path;
    size_t len, table_len; /* of the path, and of the table it was written under */
    bool is_table;
};

struct reader {
    const char *p, *end; /* the line's rest */
    struct toml_error *error;
    struct path table;
    struct seen seen[TOML_KEYS_MAX];
    size_t seen_count;
    char string[TOML_SIZE_MAX + 1]; /* the value */
};

static bool fail(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct reader *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->error->text, sizeof r->error->text, format, args);
    va_end(args);
    return false;
}

static bool at(const struct reader *r, char c)
{
    return r->p < r->end && *r->p == c;
}

static bool take(struct reader *r, char c)
{
    bool there = at(r, c);
    r->p += there;
    return there;
}

static void skip_blanks(struct reader *r)
{
    while (at(r, ' ') || at(r, '\t'))
        r->p++;
}

static bool is_bare(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* ---- strings ---- */

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

/* \uXXXX and \UXXXXXXXX; `digits` of them. */
static bool take_code(struct reader *r, unsigned digits, char *out, size_t *n)
{
    char hex[9] = "";
    if ((size_t)(r->end - r->p) < digits)
        return fail(r, "a string ends within \\u");
    memcpy(hex, r->p, digits);
    if (strspn(hex, "0123456789abcdefABCDEF") != digits)
        return fail(r, "found \\u%.*s, allowed: %u hex digits", (int)strcspn(hex, "\""), hex, digits);
    uint32_t c = (uint32_t)strtoul(hex, NULL, 16);
    if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return fail(r, "found the character U+%X, which no text has", (unsigned)c);
    r->p += digits;
    *n += put_utf8(out + *n, c);
    return true;
}

static bool take_escape(struct reader *r, char *out, size_t *n)
{
    static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
    char c = r->p < r->end ? *r->p++ : '\0';
    const char *known = c ? strchr(from, c) : NULL;
    if (known) {
        out[(*n)++] = to[known - from];
        return true;
    }
    if (c == 'u' || c == 'U')
        return take_code(r, c == 'u' ? 4 : 8, out, n);
    return fail(r, "found an unknown escape in a string, allowed: \\b \\t \\n \\f \\r \\\" \\\\ \\u \\U");
}

/* "basic" or 'literal', up to its closing quote; `out` holds as much as the line. An escape is never shorter than what
 * it stands for. */
static bool take_string(struct reader *r, char *out)
{
    size_t n = 0;
    char quote = *r->p++;
    while (r->p < r->end && *r->p != quote) {
        unsigned char c = (unsigned char)*r->p++;
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return fail(r, "found a control character in a string");
        if (c == '\\' && quote == '"') {
            if (!take_escape(r, out, &n))
                return false;
        } else
            out[n++] = (char)c;
    }
    out[n] = '\0';
    return take(r, quote) || fail(r, "a string does not end on its line");
}

/* ---- keys ---- */

static bool add_part(struct reader *r, struct path *path, const char *text, size_t len)
{
    if (path->depth == TOML_DEPTH_MAX)
        return fail(r, "found a key in more than %d tables", TOML_DEPTH_MAX - 1);
    if (len >= sizeof path->text - path->len)
        return fail(r, "found a key of more than %d characters", TOML_KEY_MAX);
    path->part[path->depth++] = memcpy(path->text + path->len, text, len);
    path->text[path->len + len] = '\0';
    path->len += len + 1;
    return true;
}

static bool take_part(struct reader *r, struct path *path)
{
    if (at(r, '"') || at(r, '\''))
        return take_string(r, r->string) && add_part(r, path, r->string, strlen(r->string));
    const char *start = r->p;
    while (r->p < r->end && is_bare(*r->p))
        r->p++;
    return r->p == start ? fail(r, "found no key, allowed: letters, digits, - and _, or text in quotes")
                         : add_part(r, path, start, (size_t)(r->p - start));
}

/* a.b."c d", blanks around the dots. */
static bool take_path(struct reader *r, struct path *path)
{
    do {
        skip_blanks(r);
        if (!take_part(r, path))
            return false;
        skip_blanks(r);
    } while (take(r, '.'));
    return true;
}

/* Is `a` the beginning of `b`, by whole parts (each ends with its NUL)? */
static bool begins(const char *b, size_t b_len, const char *a, size_t a_len)
{
    return a_len <= b_len && memcmp(a, b, a_len) == 0;
}

/* A key stands once; a table's header stands once, and neither a key nor dotted keys define the same table. */
static bool collides(const struct seen *s, const struct path *path, bool is_table)
{
    bool below = begins(path->text, path->len, s->path, s->len), above = begins(s->path, s->len, path->text, path->len);
    if (is_table)
        return (below && (!s->is_table || above)) || (above && !s->is_table && s->table_len < path->len);
    return (below && !s->is_table) || above;
}

static bool note(struct reader *r, const struct path *path, bool is_table)
{
    for (size_t i = 0; i < r->seen_count; i++)
        if (collides(&r->seen[i], path, is_table))
            return fail(r, "%s is there twice", path->part[path->depth - 1]);
    if (r->seen_count == TOML_KEYS_MAX)
        return fail(r, "found more than %d keys", TOML_KEYS_MAX);
    char *copy = malloc(path->len);
    if (!copy)
        return fail(r, "out of memory");
    memcpy(copy, path->text, path->len);
    r->seen[r->seen_count++] = (struct seen){copy, path->len, is_table ? path->len : r->table.len, is_table};
    return true;
}

/* ---- values ---- */

/* Decimal with a sign, 0x, 0o, 0b; underscores between digits. */
static bool parse_integer(const char *text, int64_t *out)
{
    char digits[72];
    size_t n = 0;
    bool sign = *text == '+' || *text == '-', negative = *text == '-';
    text += sign;
    int base = text[0] != '0' ? 10 : text[1] == 'x' ? 16 : text[1] == 'o' ? 8 : text[1] == 'b' ? 2 : 10;
    if (base != 10 && sign)
        return false;
    text += base == 10 ? 0 : 2;
    if (base == 10 && text[0] == '0' && text[1])
        return false;
    if (negative)
        digits[n++] = '-';
    for (const char *p = text; *p; p++) {
        if (*p == '_' ? p == text || p[-1] == '_' || !p[1] : !strchr("0123456789abcdefABCDEF", *p) || n > 66)
            return false;
        if (*p != '_')
            digits[n++] = *p;
    }
    digits[n] = '\0';
    char *end;
    errno = 0;
    *out = strtoll(digits, &end, base);
    return errno == 0 && *text && *end == '\0';
}

static bool take_word(struct reader *r, struct toml_item *item)
{
    char word[80];
    const char *start = r->p;
    while (r->p < r->end && !strchr(" \t#", *r->p))
        r->p++;
    size_t len = (size_t)(r->p - start);
    if (len == 0)
        return fail(r, "found no value");
    snprintf(word, sizeof word, "%.*s", len < sizeof word ? (int)len : (int)sizeof word - 1, start);
    item->boolean = strcmp(word, "true") == 0;
    item->type = item->boolean || strcmp(word, "false") == 0 ? TOML_BOOLEAN : TOML_INTEGER;
    if (item->type == TOML_BOOLEAN || (len < sizeof word && parse_integer(word, &item->integer)))
        return true;
    return fail(r, "found %s, allowed: text in quotes, an integer, true or false", word);
}

static bool take_value(struct reader *r, struct toml_item *item)
{
    if (!at(r, '"') && !at(r, '\''))
        return take_word(r, item);
    if (r->end - r->p >= 3 && r->p[1] == r->p[0] && r->p[2] == r->p[0])
        return fail(r, "found a string over several lines, allowed: one in \"...\" or '...'");
    item->type = TOML_STRING;
    item->text = r->string;
    return take_string(r, r->string);
}

/* ---- lines ---- */

static bool take_header(struct reader *r)
{
    r->table = (struct path){0};
    if (at(r, '['))
        return fail(r, "found an array of tables, allowed: [table]");
    if (!take_path(r, &r->table))
        return false;
    return take(r, ']') ? note(r, &r->table, true) : fail(r, "found no ] behind the name of a table");
}

static bool take_pair(struct reader *r, struct path *path, struct toml_item *item)
{
    *path = (struct path){0};
    for (size_t i = 0; i < r->table.depth; i++)
        if (!add_part(r, path, r->table.part[i], strlen(r->table.part[i])))
            return false;
    if (!take_path(r, path) || !note(r, path, false))
        return false;
    if (!take(r, '='))
        return fail(r, "found no = behind %s", path->part[path->depth - 1]);
    skip_blanks(r);
    return take_value(r, item);
}

/* Only blanks and a comment may follow. */
static bool end_line(struct reader *r)
{
    skip_blanks(r);
    if (r->p < r->end && *r->p != '#')
        return fail(r, "found more behind the end of a value or a table's name");
    for (const char *p = r->p; p < r->end; p++)
        if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f)
            return fail(r, "found a control character in a comment");
    return true;
}

static bool read_line(struct reader *r, toml_fn *fn, void *ctx)
{
    struct path path;
    struct toml_item item = {.line = r->error->line};
    skip_blanks(r);
    if (r->p == r->end || *r->p == '#')
        return end_line(r);
    bool is_table = take(r, '[');
    if (!(is_table ? take_header(r) : take_pair(r, &path, &item)) || !end_line(r))
        return false;
    const struct path *whole = is_table ? &r->table : &path;
    item.path = whole->part;
    item.depth = whole->depth;
    return fn(ctx, &item, r->error);
}

static bool read_lines(struct reader *r, const char *text, size_t len, toml_fn *fn, void *ctx)
{
    for (unsigned line = 1; len > 0; line++) {
        const char *lf = memchr(text, '\n', len);
        size_t n = lf ? (size_t)(lf - text) : len, taken = lf ? n + 1 : n;
        r->p = text;
        r->error->line = line;
        if (lf && n > 0 && text[n - 1] == '\r')
            n--;
        r->end = text + n;
        if (memchr(text, '\0', n))
            return fail(r, "found a NUL byte");
        text += taken;
        len -= taken;
        if (!read_line(r, fn, ctx))
            return false;
    }
    return true;
}

bool toml_read(const char *text, size_t len, toml_fn *fn, void *ctx, struct toml_error *error)
{
    *error = (struct toml_error){0};
    struct reader *r = calloc(1, sizeof *r);
    if (!r || len > TOML_SIZE_MAX) {
        snprintf(error->text, sizeof error->text, r ? "the file is larger than %d bytes" : "out of memory",
                 TOML_SIZE_MAX);
        free(r);
        return false;
    }
    r->error = error;
    bool ok =
        utf8_valid((const uint8_t *)text, len) ? read_lines(r, text, len, fn, ctx) : fail(r, "the file is not UTF-8");
    for (size_t i = 0; i < r->seen_count; i++)
        free(r->seen[i].path);
    free(r);
    return ok;
}
