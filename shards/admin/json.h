/* JSON written into a buffer. */
#ifndef NM_SHARDS_ADMIN_JSON_H
#define NM_SHARDS_ADMIN_JSON_H

#include "core/base/utf8.h"
#include "shards/admin/buffer.h"

/*
 * JSON values, each with its key in an object or key NULL in an array; the comma comes by itself. Strings need not be
 * UTF-8: if they are not, bytes above 0x7f become U+FFFD.
 */
void json_open(struct buffer *, const char *key, char bracket);     /* '{' or '[' */
void json_close(struct buffer *, char bracket);                     /* '}' or ']' */
void json_str(struct buffer *, const char *key, const char *value); /* NULL: null */
void json_u64(struct buffer *, const char *key, uint64_t);
void json_flag(struct buffer *, const char *key, bool);
void json_null(struct buffer *, const char *key);
void json_id(struct buffer *, const char *key, uint64_t);                         /* "0x" and 16 hex digits */
void json_hex(struct buffer *, const char *key, const uint8_t *data, size_t len); /* lower-case digits */
/* The inside of a JSON string, without quotes; `data` is valid UTF-8. Escapes what RFC 8259 7 demands and nothing else.
 */
void json_escape(struct buffer *, const uint8_t *data, size_t len);

#endif
