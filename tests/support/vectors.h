/* Reading the golden vectors: JSON files under tests/data, bytes as hex, 64-bit numbers as hex strings or plain. */
#ifndef NM_TESTS_SUPPORT_VECTORS_H
#define NM_TESTS_SUPPORT_VECTORS_H

#include <json-c/json.h>

#include "core/base/span.h"

/* Every function here fails the running test when the file, the member or its form is not as asked. */

/* TEST_DATA "/..."; the caller releases it with json_object_put. */
struct json_object *vectors_load(const char *path);
struct json_object *vectors_member(struct json_object *, const char *name);
const char *vectors_text(struct json_object *, const char *name);
/* "0x" + hex or bare hex digits; plain JSON numbers too. */
uint64_t vectors_u64(struct json_object *, const char *name);
/* Exactly len bytes. */
void vectors_bytes(struct json_object *, const char *name, uint8_t *out, size_t len);
/* At most room bytes; returns how many. */
size_t vectors_blob(struct json_object *, const char *name, uint8_t *out, size_t room);
/* The number, or 0 where the member is left out (headers of the wire vectors). */
uint64_t vectors_u64_or_0(struct json_object *, const char *name);

size_t unhex(const char *text, uint8_t *out, size_t room);

#endif
