/* Text of fixed size: formatting, for messages to people and for paths, and hexadecimal digits. */
#ifndef NM_CORE_BASE_TEXT_H
#define NM_CORE_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Always terminated. False: it did not fit and was cut; fine for a message, never for a path. */
__attribute__((format(printf, 3, 4))) bool text_format(char *out, size_t size, const char *format, ...);
/* True, with `bytes` bytes at `out`: the text is just so many pairs of hexadecimal digits, of either case. */
bool text_parse_hex(const char *text, uint8_t *out, size_t bytes);

#endif
