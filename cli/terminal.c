/* Text for a person: nothing in it moves the cursor or rings the bell. */
#include <stdarg.h>
#include <string.h>

#include "cli/cli.h"

/* Bytes of the control character at `p`, 0 when it is none: C0, DEL, and C1 in UTF-8, which terminals obey, too. */
static size_t control_at(const char *p, size_t left)
{
    const unsigned char *c = (const unsigned char *)p;
    if (c[0] < 0x20 || c[0] == 0x7f)
        return 1;
    return left > 1 && c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f ? 2 : 0;
}

int cli_error(enum cli_exit code, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        memset(text + i, ' ', control_at(text + i, len - i));
    fprintf(stderr, "net-mesh: %s\n", text); /* in one piece: other processes write there, too */
    return (int)code;
}

void cli_plain(FILE *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t control = control_at(text + i, len - i);
        fputc(control ? '?' : text[i], out);
        i += control ? control : 1;
    }
}
