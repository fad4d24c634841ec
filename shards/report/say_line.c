#include "shards/report/say_line.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/utf8.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"};

static const char CUT[] = "\xe2\x80\xa6"; /* … where a line was cut */

struct line {
    char *out;
    size_t len, room; /* room: kept clear of what closes the line */
    bool cut;         /* something did not fit: nothing more is added */
};

static void put(struct line *l, const char *text, size_t len)
{
    if (l->cut)
        return;
    if (len > l->room - l->len) {
        memcpy(l->out + l->len, CUT, sizeof CUT - 1); /* room ends that much before the buffer */
        l->len += sizeof CUT - 1;
        l->cut = true;
        return;
    }
    memcpy(l->out + l->len, text, len);
    l->len += len;
}

__attribute__((format(printf, 2, 3))) static void put_format(struct line *l, const char *format, ...)
{
    char text[96];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert(len > 0 && (size_t)len < sizeof text);
    put(l, text, (size_t)len);
}

/* One character of a text from anywhere, or one byte that is none. A control would break the line, or move a terminal's
 * cursor: C0, DEL, and C1, which terminals obey in UTF-8, too. */
static size_t put_char(struct line *l, const uint8_t *p, size_t left, bool json)
{
    size_t len = utf8_sequence(p, left);
    if (len == 0)
        put_format(l, json ? "\\ufffd" : "\\x%02x", p[0]);
    else if (p[0] == '\n' || p[0] == '\t' || p[0] == '\r')
        put_format(l, "\\%c", p[0] == '\n' ? 'n' : p[0] == '\t' ? 't' : 'r');
    else if (p[0] < 0x20 || p[0] == 0x7f)
        put_format(l, json ? "\\u%04x" : "\\x%02x", p[0]);
    else if (len == 2 && p[0] == 0xc2 && p[1] <= 0x9f)
        put_format(l, "\\u%04x", p[1]);
    else if (json && (p[0] == '"' || p[0] == '\\'))
        put_format(l, "\\%c", p[0]);
    else
        put(l, (const char *)p, len);
    return len ? len : 1;
}

static void put_text(struct line *l, const char *text, bool json)
{
    size_t left = strlen(text);
    for (size_t i = 0; i < left;)
        i += put_char(l, (const uint8_t *)text + i, left - i, json);
}

static void put_time(struct line *l, uint64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / 1000000000);
    struct tm tm;
    char text[32];
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    put_format(l, "%s.%06" PRIu64 "Z", text, wall_ns % 1000000000 / 1000);
}

static void text_line(struct line *l, const struct say_line *say)
{
    char addr[64];
    if (say->shard != SAY_NO_SHARD)
        put_format(l, "shard=%d ", say->shard);
    if (say->peer)
        put_format(l, "peer=0x%016" PRIx64 " ", say->peer);
    if (say->addr) {
        config_format_addr(say->addr, addr);
        put_format(l, "addr=%s ", addr);
    }
    if (say->channel) {
        put(l, "channel=", 8);
        put_text(l, say->channel, false); /* a name holds no space (channels.md 1) */
        put(l, " ", 1);
    }
    put_text(l, say->message, false);
}

static void json_line(struct line *l, const struct say_line *say)
{
    char addr[64];
    put(l, "{\"ts\":\"", 7);
    put_time(l, say->wall_ns);
    put_format(l, "\",\"level\":\"%s\"", level_names[say->level]);
    if (say->shard != SAY_NO_SHARD)
        put_format(l, ",\"shard\":%d", say->shard);
    if (say->peer)
        put_format(l, ",\"peer\":\"0x%016" PRIx64 "\"", say->peer);
    if (say->addr) {
        config_format_addr(say->addr, addr);
        put_format(l, ",\"addr\":\"%s\"", addr);
    }
    if (say->channel) {
        put(l, ",\"channel\":\"", 12);
        put_text(l, say->channel, true);
        put(l, "\"", 1);
    }
    put(l, ",\"msg\":\"", 8);
    put_text(l, say->message, true);
}

size_t say_format(char out[SAY_LINE_MAX], enum say_style style, const struct say_line *say)
{
    static const char json_end[] = "\"}\n";
    struct line l = {.out = out, .room = SAY_LINE_MAX - (sizeof CUT - 1) - (sizeof json_end - 1)};
    assert((unsigned)say->level < sizeof level_names / sizeof level_names[0]);
    if (style == SAY_JSON) {
        json_line(&l, say);
        memcpy(out + l.len, json_end, sizeof json_end - 1);
        return l.len + sizeof json_end - 1;
    }
    if (style == SAY_JOURNAL) {
        put(&l, priorities[say->level], 3);
    } else {
        put_time(&l, say->wall_ns);
        put_format(&l, " %s ", level_names[say->level]);
    }
    text_line(&l, say);
    out[l.len] = '\n';
    return l.len + 1;
}

size_t say_format_now(char out[SAY_LINE_MAX], enum say_style style, enum config_level level, const char *format,
                      va_list args)
{
    char message[SAY_MESSAGE_MAX];
    struct timespec now;
    vsnprintf(message, sizeof message, format, args);
    clock_gettime(CLOCK_REALTIME, &now);
    struct say_line line = {.wall_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
                            .level = level,
                            .shard = SAY_NO_SHARD,
                            .message = message};
    return say_format(out, style, &line);
}
