/*
 * What goes on as it comes (ndjson, raw) is only copied, in large writes. Rows for people are read as JSON, one by one.
 */
#include "cli/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/output.h"
#include "core/base/span.h"

bool rows_init(struct rows *r, enum output_format format, bool raw)
{
    memset(r, 0, offsetof(struct rows, out));
    r->format = format;
    r->raw = raw;
    r->colored = cli_colored(STDOUT_FILENO);
    r->tokener = json_tokener_new();
    return r->tokener != NULL;
}

void rows_deinit(struct rows *r)
{
    json_tokener_free(r->tokener);
    free(r->line);
}

static bool is_for_people(const struct rows *r)
{
    return !r->raw && (r->format == OUTPUT_TABLE || r->format == OUTPUT_TEXT || r->format == OUTPUT_YAML);
}

bool rows_flush(void *ctx)
{
    struct rows *r = ctx;
    if (!r->error)
        r->error = output_bytes(r->out, r->out_len);
    r->out_len = 0;
    if (is_for_people(r) && fflush(stdout) != 0)
        r->error = errno;
    return !r->error;
}

static bool copy(struct rows *r, const char *data, size_t len)
{
    while (len) {
        size_t n = sizeof r->out - r->out_len;
        n = n < len ? n : len;
        memcpy(r->out + r->out_len, data, n);
        r->out_len += n;
        data += n;
        len -= n;
        if (r->out_len == sizeof r->out && !rows_flush(r))
            return false;
    }
    return true;
}

static bool put_raw(struct rows *r, const char *data, size_t len)
{
    while (len) {
        if (r->length_have < sizeof r->length) {
            r->length[r->length_have++] = (uint8_t)*data++;
            len--;
            if (r->length_have == sizeof r->length)
                r->left = load_le32(r->length);
        } else {
            size_t n = r->left < len ? r->left : len;
            if (!copy(r, data, n))
                return false;
            data += n;
            len -= n;
            r->left -= (uint32_t)n;
        }
        if (r->length_have == sizeof r->length && r->left == 0) {
            r->length_have = 0;
            if (!copy(r, "\n", 1))
                return false;
        }
    }
    return true;
}

/* ---- rows for people ---- */

static void put_time(uint64_t ns)
{
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm tm;
    char text[32];
    if (gmtime_r(&seconds, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm) > 0)
        printf("%s.%06uZ", text, (unsigned)(ns % 1000000000 / 1000));
}

static uint64_t number(struct json_object *row, const char *key)
{
    return json_object_get_uint64(json_object_object_get(row, key));
}

static void put_data(struct json_object *row)
{
    struct json_object *data = json_object_object_get(row, "data"),
                       *base64 = json_object_object_get(row, "data_base64");
    if (json_object_is_type(data, json_type_string))
        cli_plain(stdout, json_object_get_string(data), (size_t)json_object_get_string_len(data));
    else if (json_object_is_type(base64, json_type_string)) {
        fputs("base64:", stdout);
        cli_plain(stdout, json_object_get_string(base64), (size_t)json_object_get_string_len(base64));
    }
    fputc('\n', stdout);
}

/* SEQ, time, in a table also the origin, data. A hole is a row of its own. */
static void put_people(struct rows *r, struct json_object *row)
{
    struct json_object *gap = json_object_object_get(row, "gap");
    const char *origin = json_object_get_string(json_object_object_get(row, "origin"));
    bool table = r->format == OUTPUT_TABLE;
    if (table && !r->header_shown)
        printf("%s%-10s  %-27s  %-18s  %s%s\n", r->colored ? cli_style_code(STYLE_HEADING) : "", "SEQ", "TIME",
               "ORIGIN", "DATA", r->colored ? cli_style_code(STYLE_NONE) : "");
    r->header_shown = true;
    if (json_object_is_type(gap, json_type_array)) {
        printf("%sgap %llu..%llu%s\n", r->colored ? cli_style_code(STYLE_WARNING) : "",
               (unsigned long long)json_object_get_uint64(json_object_array_get_idx(gap, 0)),
               (unsigned long long)json_object_get_uint64(json_object_array_get_idx(gap, 1)),
               r->colored ? cli_style_code(STYLE_NONE) : "");
        return;
    }
    printf("%-*llu  ", table ? 10 : 0, (unsigned long long)number(row, "seq"));
    put_time(number(row, "ts_ns"));
    fputs("  ", stdout);
    if (table) {
        int n = origin ? (int)strlen(origin) : 0;
        cli_plain(stdout, origin ? origin : "", (size_t)n);
        printf("%*s", n < 20 ? 20 - n : 2, "");
    }
    put_data(row);
}

static bool put_row(struct rows *r, const char *line, size_t len)
{
    json_tokener_reset(r->tokener);
    struct json_object *row = len <= INT32_MAX ? json_tokener_parse_ex(r->tokener, line, (int)len) : NULL;
    r->malformed = !json_object_is_type(row, json_type_object);
    if (!r->malformed && r->format == OUTPUT_YAML)
        r->malformed = !output_yaml(stdout, row, true);
    else if (!r->malformed)
        put_people(r, row);
    json_object_put(row);
    if (ferror(stdout))
        r->error = errno ? errno : EIO;
    return !r->malformed && !r->error;
}

/* Keeps the beginning of a line whose end has not come yet. */
static bool keep(struct rows *r, const char *data, size_t len)
{
    size_t need = r->line_len + len;
    if (need > ROWS_LINE_MAX) {
        r->malformed = true;
        return false;
    }
    if (need > r->line_room) {
        char *grown = realloc(r->line, need * 2);
        if (!grown) {
            r->error = ENOMEM;
            return false;
        }
        r->line = grown;
        r->line_room = need * 2;
    }
    memcpy(r->line + r->line_len, data, len);
    r->line_len = need;
    return true;
}

static bool put_lines(struct rows *r, const char *data, size_t len)
{
    while (len) {
        const char *lf = memchr(data, '\n', len);
        size_t n = lf ? (size_t)(lf - data) : len;
        if ((!lf || r->line_len) && !keep(r, data, n))
            return false;
        if (!lf)
            return true;
        bool ok = r->line_len ? put_row(r, r->line, r->line_len) : put_row(r, data, n);
        r->line_len = 0;
        if (!ok)
            return false;
        data += n + 1;
        len -= n + 1;
    }
    return true;
}

bool rows_put(void *ctx, const char *data, size_t len)
{
    struct rows *r = ctx;
    return r->raw ? put_raw(r, data, len) : is_for_people(r) ? put_lines(r, data, len) : copy(r, data, len);
}

bool rows_end(struct rows *r)
{
    r->malformed |= r->length_have != 0 || r->line_len != 0;
    return rows_flush(r) && !r->malformed;
}
