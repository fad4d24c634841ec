#include "shards/admin/event_line.h"

#include <string.h>

#include "shards/admin/json.h"

struct reader {
    const uint8_t *at, *end;
};

static bool is_blank(uint8_t ch)
{
    return ch == ' ' || ch == '\t' || ch == '\r';
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && is_blank(*r->at))
        r->at++;
}

/* One character, and blanks on both sides of it. */
static bool take(struct reader *r, uint8_t ch)
{
    skip_blanks(r);
    if (r->at == r->end || *r->at != ch)
        return false;
    r->at++;
    skip_blanks(r);
    return true;
}

static int hex_digit(uint8_t ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch |= 0x20;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* The four digits of a \u. */
static bool take_unit(struct reader *r, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = r->at < r->end ? hex_digit(*r->at) : -1;
        if (digit < 0)
            return false;
        *unit = *unit << 4 | (uint32_t)digit;
        r->at++;
    }
    return true;
}

static size_t put_utf8(uint8_t *out, uint32_t point)
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {[2] = 0xc0, [3] = 0xe0, [4] = 0xf0};
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    out[0] = (uint8_t)(leads[len] | point);
    return len;
}

/* What follows \u, as UTF-8; 0 when it is malformed. Above U+FFFF it takes two of them, and neither stands alone. */
static size_t take_point(struct reader *r, uint8_t *out)
{
    uint32_t point, low;
    if (!take_unit(r, &point) || (point >= 0xdc00 && point < 0xe000))
        return 0;
    if (point < 0xd800 || point >= 0xe000)
        return put_utf8(out, point);
    if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u')
        return 0;
    r->at += 2;
    if (!take_unit(r, &low) || low < 0xdc00 || low >= 0xe000)
        return 0;
    return put_utf8(out, 0x10000 + ((point - 0xd800) << 10 | (low - 0xdc00)));
}

/* What follows a backslash. An escape is never shorter than what it stands for. */
static size_t take_escape(struct reader *r, uint8_t *out)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end)
        return 0;
    uint8_t ch = *r->at++;
    if (ch == 'u')
        return take_point(r, out);
    const char *name = ch ? strchr(names, ch) : NULL;
    if (!name)
        return 0;
    *out = (uint8_t)meanings[name - names];
    return 1;
}

/* A string up to its closing quote, written to `out`, which may be anywhere before it in the same memory. */
static bool take_string(struct reader *r, uint8_t *out, size_t *len)
{
    uint8_t *to = out;
    if (r->at == r->end || *r->at++ != '"')
        return false;
    while (r->at < r->end && *r->at >= 0x20) {
        uint8_t ch = *r->at++;
        if (ch == '"') {
            *len = (size_t)(to - out);
            return utf8_valid(out, *len);
        }
        if (ch != '\\') {
            *to++ = ch;
            continue;
        }
        size_t n = take_escape(r, to);
        if (!n)
            return false;
        to += n;
    }
    return false;
}

static int base64_digit(uint8_t ch)
{
    if (ch >= 'A' && ch <= 'Z')
        return ch - 'A';
    if (ch >= 'a' && ch <= 'z')
        return ch - 'a' + 26;
    if (ch >= '0' && ch <= '9')
        return ch - '0' + 52;
    return ch == '+' ? 62 : ch == '/' ? 63 : -1;
}

/* In place. Padded, and without bits that mean nothing: one text for one event. */
static bool decode_base64(uint8_t *text, size_t *len)
{
    size_t digits = *len, out = 0;
    uint32_t bits = 0, count = 0;
    while (digits && *len - digits < 2 && text[digits - 1] == '=')
        digits--;
    if (*len % 4 != 0 || digits % 4 == 1)
        return false;
    for (size_t i = 0; i < digits; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            text[out++] = (uint8_t)(bits >> count);
        }
    }
    *len = out;
    return (bits & ((1u << count) - 1)) == 0;
}

bool event_line_blank(const uint8_t *line, size_t len)
{
    struct reader r = {line, line + len};
    skip_blanks(&r);
    return r.at == r.end;
}

bool event_line_decode(uint8_t *line, size_t len, size_t *event_len)
{
    struct reader r = {line, line + len};
    size_t key;
    if (!take(&r, '{') || !take_string(&r, line, &key))
        return false;
    bool text = key == 4 && memcmp(line, "data", 4) == 0;
    bool base64 = key == 11 && memcmp(line, "data_base64", 11) == 0;
    if ((!text && !base64) || !take(&r, ':') || !take_string(&r, line, event_len))
        return false;
    if (!take(&r, '}') || r.at != r.end)
        return false;
    return text || decode_base64(line, event_len);
}
