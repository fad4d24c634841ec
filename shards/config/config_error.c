/* Error texts of the configuration. */
#include <stdarg.h>
#include <string.h>

#include "core/base/err.h"
#include "shards/config/config_internal.h"

int config_fail(struct config_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return NET_ERR_INVALID;
}

void config_quote(const char *text, char out[CONFIG_TEXT_MAX])
{
    enum { SHOWN = 100 };
    size_t n = 0;
    out[n++] = '"';
    for (size_t i = 0; text[i] && i < SHOWN; i++) {
        unsigned char c = (unsigned char)text[i];
        out[n++] = c < 0x20 || c == 0x7f ? '?' : text[i];
    }
    if (strlen(text) > SHOWN)
        n = (size_t)(stpcpy(out + n, "...") - out);
    out[n++] = '"';
    out[n] = '\0';
}
