/* Telling UTF-8 from other bytes. */
#ifndef NM_CORE_BASE_UTF8_H
#define NM_CORE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the well-formed sequence at p (RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF), of which
 * `left` > 0 bytes are there; 0 when there is none. */
size_t utf8_sequence(const uint8_t *p, size_t left);
/* Nothing but such sequences. NUL is a character like others. */
bool utf8_valid(const uint8_t *data, size_t len);

#endif
