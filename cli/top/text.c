/* Figures and names as a person reads them. */
#include "cli/top/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "core/base/utf8.h"

/* The character at `text`, which is not at its end: bytes it takes, 0 when there is none. The NUL ends a sequence, too.
 */
static size_t decode(const char *text, wchar_t *out)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t len = utf8_sequence(p, 4);
    unsigned code = len == 1 ? p[0] : p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (p[i] & 0x3f);
    *out = (wchar_t)code;
    return len;
}

/* Zero-width and direction marks print nothing, and make a name look like another. */
static bool is_deceptive(wchar_t c)
{
    return (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
           c == 0xfeff || c == 0x61c || c >= 0xe0000;
}

/* The next character, made harmless: its bytes in `out` and its width. Returns the bytes taken from `text`. */
static size_t next(const char *text, const char **out, size_t *len, unsigned *width)
{
    wchar_t c = 0;
    size_t taken = decode(text, &c);
    int columns = taken && !is_deceptive(c) ? wcwidth(c) : -1;
    bool good = columns >= 0;
    *out = good ? text : "?";
    *len = good ? taken : 1;
    *width = good ? (unsigned)columns : 1;
    return taken ? taken : 1;
}

unsigned top_text_width(const char *text)
{
    unsigned all = 0, width;
    const char *piece;
    size_t len;
    while (*text) {
        text += next(text, &piece, &len, &width);
        all += width;
    }
    return all;
}

unsigned top_text_fit(const char *text, unsigned columns, char out[TOP_TEXT_MAX])
{
    unsigned used = 0, width;
    size_t n = 0, len;
    const char *piece;
    size_t cut = 0; /* where a '~' would go, and the columns before it */
    unsigned cut_used = 0;
    while (*text) {
        text += next(text, &piece, &len, &width);
        if (used + width > columns || n + len + 2 > TOP_TEXT_MAX) {
            if (columns == 0)
                break;
            out[cut] = '~';
            out[cut + 1] = '\0';
            return cut_used + 1;
        }
        memcpy(out + n, piece, len);
        n += len;
        used += width;
        if (used < columns) {
            cut = n;
            cut_used = used;
        }
    }
    out[n] = '\0';
    return used;
}

/* Three digits and a unit. */
static void scaled(double number, double base, const char *const *units, size_t unit_count, char out[32])
{
    size_t unit = 0;
    while (unit + 1 < unit_count && fabs(number) >= base - 0.5) {
        number /= base;
        unit++;
    }
    int decimals = unit == 0 && number == (double)(long)number ? 0
                   : fabs(number) < 9.995                      ? 2
                   : fabs(number) < 99.95                      ? 1
                                                               : 0;
    snprintf(out, 32, "%.*f%s", decimals, number, units[unit]);
}

void top_number_text(enum top_kind kind, double number, char out[32])
{
    static const char *const counts[] = {"", "k", "M", "G", "T", "P"};
    static const char *const bytes[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    static const char *const times[] = {"us", "ms", "s"};
    if (!isfinite(number))
        strcpy(out, "-");
    else if (kind == TOP_EXACT && fabs(number) < 1e15)
        snprintf(out, 32, "%.0f", number);
    else if (fabs(number) >= 1e18)
        snprintf(out, 32, "%.0e", number);
    else if (kind == TOP_SHARE)
        snprintf(out, 32, "%.0f%%", number < 999 ? number * 100 : 99900);
    else if (kind == TOP_BYTES)
        scaled(number, 1024, bytes, sizeof bytes / sizeof bytes[0], out);
    else if (kind == TOP_MICROSECONDS)
        scaled(number, 1000, times, sizeof times / sizeof times[0], out);
    else
        scaled(number, 1000, counts, sizeof counts / sizeof counts[0], out);
}

void top_uptime_text(double ms, char out[32])
{
    if (!isfinite(ms) || ms < 0 || ms > 1e15) {
        strcpy(out, "-");
        return;
    }
    unsigned long long s = (unsigned long long)(ms / 1000);
    if (s < 60)
        snprintf(out, 32, "%llus", s);
    else if (s < 3600)
        snprintf(out, 32, "%llum %02llus", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, 32, "%lluh %02llum", s / 3600, s / 60 % 60);
    else
        snprintf(out, 32, "%llud %02lluh", s / 86400, s / 3600 % 24);
}
