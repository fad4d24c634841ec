/* Formatting into a buffer of fixed size, for messages to people and for paths. */
#ifndef NM_CORE_BASE_TEXT_H
#define NM_CORE_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Always terminated. False: it did not fit and was cut; fine for a message, never for a path. */
__attribute__((format(printf, 3, 4))) bool text_format(char *out, size_t size, const char *format, ...);

#endif
