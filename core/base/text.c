#include "core/base/text.h"

#include <stdarg.h>
#include <stdio.h>

bool text_format(char *out, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(out, size, format, args);
    va_end(args);
    return len >= 0 && (size_t)len < size;
}
