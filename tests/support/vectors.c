#include "tests/support/vectors.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdlib.h>

struct json_object *vectors_load(const char *path)
{
    struct json_object *root = json_object_from_file(path);
    cr_assert_not_null(root, "%s: %s", path, json_util_get_last_err());
    return root;
}

struct json_object *vectors_member(struct json_object *object, const char *name)
{
    struct json_object *member;
    cr_assert(json_object_object_get_ex(object, name, &member), "no member %s", name);
    return member;
}

const char *vectors_text(struct json_object *object, const char *name)
{
    return json_object_get_string(vectors_member(object, name));
}

uint64_t vectors_u64(struct json_object *object, const char *name)
{
    struct json_object *member = vectors_member(object, name);
    if (json_object_is_type(member, json_type_int))
        return json_object_get_uint64(member);
    char *end;
    uint64_t value = strtoull(json_object_get_string(member), &end, 16);
    cr_assert_eq(*end, '\0', "%s is no number", name);
    return value;
}

uint64_t vectors_u64_or_0(struct json_object *object, const char *name)
{
    return json_object_object_get_ex(object, name, NULL) ? vectors_u64(object, name) : 0;
}

size_t unhex(const char *text, uint8_t *out, size_t room)
{
    size_t len = strlen(text) / 2;
    cr_assert(strlen(text) % 2 == 0 && len <= room, "hex of %zu digits for %zu bytes", strlen(text), room);
    for (size_t i = 0; i < len; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        cr_assert(isxdigit((unsigned char)digits[0]) && isxdigit((unsigned char)digits[1]));
        out[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return len;
}

size_t vectors_blob(struct json_object *object, const char *name, uint8_t *out, size_t room)
{
    return unhex(vectors_text(object, name), out, room);
}

void vectors_bytes(struct json_object *object, const char *name, uint8_t *out, size_t len)
{
    cr_assert_eq(vectors_blob(object, name, out, len), len, "%s is not %zu bytes", name, len);
}
