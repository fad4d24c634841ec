/* Text for a person: nothing in it moves the cursor or rings the bell, and colours only where there are any. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/cli.h"

/* Bytes of the control character at `p`, 0 when it is none: C0, DEL, and C1 in UTF-8, which terminals obey, too. */
static size_t control_at(const char *p, size_t left)
{
    const unsigned char *c = (const unsigned char *)p;
    if (c[0] < 0x20 || c[0] == 0x7f)
        return 1;
    return left > 1 && c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f ? 2 : 0;
}

/* In one piece, since other processes write there, too. */
static void put_line(enum cli_style style, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
static void put_line(enum cli_style style, const char *format, va_list args)
{
    char text[2048];
    bool colored = style != STYLE_NONE && cli_colored(STDERR_FILENO);
    vsnprintf(text, sizeof text, format, args);
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        memset(text + i, ' ', control_at(text + i, len - i));
    fprintf(stderr, "%snet-mesh:%s %s\n", colored ? cli_style_code(style) : "",
            colored ? cli_style_code(STYLE_NONE) : "", text);
}

int cli_error(enum cli_exit code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_line(STYLE_BAD, format, args);
    va_end(args);
    return (int)code;
}

void cli_say(const struct cli_args *cli, enum cli_level level, const char *format, ...)
{
    va_list args;
    if (level > cli->level)
        return;
    va_start(args, format);
    put_line(level == SAY_WARN ? STYLE_WARNING : STYLE_NONE, format, args);
    va_end(args);
}

void cli_plain(FILE *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t control = control_at(text + i, len - i);
        fputc(control ? '?' : text[i], out);
        i += control ? control : 1;
    }
}

int cli_width(const char *text, size_t len)
{
    mbstate_t state = {0};
    int width = 0;
    for (size_t i = 0; i < len;) {
        wchar_t c;
        size_t n = mbrtowc(&c, text + i, len - i, &state);
        bool bad = n == 0 || n > len - i; /* -1 and -2, too */
        int columns = bad ? 1 : wcwidth(c);
        width += columns > 0 ? columns : 0;
        i += bad ? 1 : n;
        if (bad)
            state = (mbstate_t){0};
    }
    return width;
}

int cli_terminal_width(int fd)
{
    struct winsize size;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

bool cli_colored(int fd)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return !(no_color && *no_color) && term && *term && strcmp(term, "dumb") != 0 && isatty(fd);
}

const char *cli_style_code(enum cli_style style)
{
    static const char *const codes[] = {"\033[0m", "\033[32m", "\033[33m", "\033[31m", "\033[1m"};
    return codes[style];
}
