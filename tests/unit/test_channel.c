/* Channel names and hashes. channels.md 2, 3 and 18 (1 to 4). */
#include <criterion/criterion.h>

#include "core/channel/channel.h"
#include "tests/support/splitmix.h"
#include "tests/support/vectors.h"

static enum channel_name_error parse(const char *text)
{
    return channel_name_parse(text, strlen(text), NULL);
}

static struct channel_name name_of(const char *text)
{
    struct channel_name name;
    cr_assert_eq(channel_name_parse(text, strlen(text), &name), CHANNEL_NAME_OK, "%s", text);
    return name;
}

static enum channel_name_error expected(const char *result)
{
    static const struct {
        const char *prefix;
        enum channel_name_error err;
    } kinds[] = {{"ok", CHANNEL_NAME_OK},
                 {"Empty", CHANNEL_NAME_EMPTY},
                 {"TooLong", CHANNEL_NAME_TOO_LONG},
                 {"InvalidFormat", CHANNEL_NAME_FORMAT},
                 {"InvalidChar", CHANNEL_NAME_CHAR}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(result, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
            return kinds[i].err;
    cr_assert(false, "%s", result);
    return CHANNEL_NAME_OK;
}

static void check_name(struct json_object *c)
{
    uint8_t text[1024];
    size_t len = vectors_blob(c, "name_hex", text, sizeof text);
    struct channel_name name;
    enum channel_name_error err = expected(vectors_text(c, "result"));
    cr_assert_eq(channel_name_parse((char *)text, len, &name), err, "%s", vectors_text(c, "name"));
    if (err)
        return;
    uint64_t hash = channel_hash(name.text, name.len);
    cr_assert_eq(name.len, len);
    cr_assert_arr_eq(name.text, text, len);
    cr_assert_eq(name.text[len], '\0');
    cr_assert_eq(hash, vectors_u64(c, "canonical_hash"));
    cr_assert_eq(channel_wire_hash(hash), vectors_u64(c, "wire_hash"));
    cr_assert_eq(channel_depth(&name), vectors_u64(c, "depth"));
}

Test(channel, name_vectors)
{
    struct json_object *root = vectors_load(TEST_DATA "/channels/names.json"), *cases = vectors_member(root, "cases");
    for (size_t i = 0; i < json_object_array_length(cases); i++)
        check_name(json_object_array_get_idx(cases, i));
    cr_assert_gt(json_object_array_length(cases), 100);
    json_object_put(root);
}

Test(channel, the_c_abi_agrees)
{
    struct json_object *root = vectors_load(TEST_DATA "/channels/cabi_hash.json"),
                       *cases = vectors_member(root, "cases");
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        struct json_object *c = json_object_array_get_idx(cases, i);
        const char *name = vectors_text(c, "name");
        bool ok = json_object_get_int(vectors_member(c, "rc")) == 0;
        cr_assert_eq(parse(name) == CHANNEL_NAME_OK, ok, "%s", name);
        if (ok)
            cr_assert_eq(channel_hash(name, strlen(name)), vectors_u64(c, "hash"));
    }
    json_object_put(root);
}

Test(channel, hash_of_every_length_class)
{
    struct json_object *root = vectors_load(TEST_DATA "/channels/hash_any.json"),
                       *cases = vectors_member(root, "cases");
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        struct json_object *c = json_object_array_get_idx(cases, i), *text = vectors_member(c, "text");
        uint64_t hash = channel_hash(json_object_get_string(text), (size_t)json_object_get_string_len(text));
        cr_assert_eq(hash, vectors_u64(c, "hash"));
        cr_assert_eq(channel_wire_hash(hash), vectors_u64(c, "wire"));
    }
    json_object_put(root);
}

Test(channel, stream_ids)
{
    struct json_object *root = vectors_load(TEST_DATA "/wire/identity.json"), *cases = vectors_member(root, "channels");
    for (size_t i = 0; i < json_object_array_length(cases); i++) {
        struct json_object *c = json_object_array_get_idx(cases, i);
        const char *name = vectors_text(c, "name");
        uint64_t hash = channel_hash(name, strlen(name));
        cr_assert_eq(hash, vectors_u64(c, "canonical"));
        cr_assert_eq(channel_stream_id(hash), vectors_u64(c, "stream_id"));
    }
    json_object_put(root);
}

Test(channel, first_failing_rule_decides)
{
    char longest[257];
    memset(longest, 'a', sizeof longest);
    cr_assert_eq(channel_name_parse(longest, 255, NULL), CHANNEL_NAME_OK);
    cr_assert_eq(channel_name_parse(longest, 256, NULL), CHANNEL_NAME_TOO_LONG);
    cr_assert_eq(channel_name_parse(longest, SIZE_MAX, NULL), CHANNEL_NAME_TOO_LONG);
    cr_assert_eq(channel_name_parse("a\0b", 3, NULL), CHANNEL_NAME_CHAR);
    cr_assert_eq(parse("a-b_c.d/v2/0"), CHANNEL_NAME_OK);
    cr_assert_eq(parse("a@b"), CHANNEL_NAME_CHAR);
    cr_assert_eq(parse("A"), CHANNEL_NAME_FORMAT);
    cr_assert_eq(parse("A@"), CHANNEL_NAME_FORMAT);
    cr_assert_eq(parse("@A"), CHANNEL_NAME_CHAR);
    cr_assert_eq(parse("a@//b"), CHANNEL_NAME_FORMAT, "rule 4 comes before rule 6");
    cr_assert_eq(parse("../@"), CHANNEL_NAME_CHAR, "rule 6 comes before rule 7");
    cr_assert_eq(parse("a/../b"), CHANNEL_NAME_FORMAT);
}

Test(channel, prefix)
{
    struct channel_name sensors = name_of("sensors"), lidar = name_of("sensors/lidar"), other = name_of("sensors2");
    cr_assert(channel_prefix_of(&sensors, &lidar));
    cr_assert(channel_prefix_of(&sensors, &sensors));
    cr_assert(!channel_prefix_of(&sensors, &other));
    cr_assert(!channel_prefix_of(&lidar, &sensors));
}

Test(channel, names_that_no_log_can_have)
{
    static const char *const stored[] = {"a",
                                         "seq",
                                         "manifest/a",
                                         "v0000000001/a",
                                         "a/v000000001",
                                         "a/v00000000011",
                                         "a/w0000000001",
                                         "a/v000000000a",
                                         "a/manifest2",
                                         "a/logs",
                                         "lock",
                                         "a/dat.1",
                                         "a/seq",
                                         "a/lock/b",
                                         "a/idx",
                                         "a/dat/ts"};
    static const char *const refused[] = {"a/manifest", "a/manifest.tmp", "a/b/v0000000001", "a/v9999999999/b",
                                          "a/log.id"};
    for (size_t i = 0; i < sizeof stored / sizeof *stored; i++) {
        struct channel_name name = name_of(stored[i]);
        cr_assert(channel_name_storable(&name), "%s", stored[i]);
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct channel_name name = name_of(refused[i]);
        cr_assert(!channel_name_storable(&name), "%s", refused[i]);
    }
}

Test(channel, every_error_has_a_text)
{
    for (enum channel_name_error a = CHANNEL_NAME_OK; a <= CHANNEL_NAME_CHAR; a++)
        for (enum channel_name_error b = CHANNEL_NAME_OK; b < a; b++)
            cr_assert_str_neq(channel_name_error_text(a), channel_name_error_text(b));
}
