/* Text for a person: nothing in it moves the cursor or rings the bell. */
#include <ctype.h>
#include <stdarg.h>

#include "cli/cli.h"

int cli_error(enum cli_exit code, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *p = text; *p; p++)
        if (iscntrl((unsigned char)*p))
            *p = ' ';
    fprintf(stderr, "net-mesh: %s\n", text);
    return (int)code;
}

void cli_plain(FILE *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
    }
}
