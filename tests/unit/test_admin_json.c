/* What the admin port writes: buffers, JSON, UTF-8, base64. */
#include <criterion/criterion.h>
#include <json-c/json_object.h>
#include <json-c/json_tokener.h>
#include <string.h>

#include "shards/admin/json.h"

static const char *text(struct buffer *b)
{
    buffer_put(b, "", 1);
    cr_assert(!b->failed);
    return b->data;
}

static const char *base64(struct buffer *b, const char *data)
{
    buffer_clear(b);
    buffer_base64(b, (const uint8_t *)data, strlen(data));
    return text(b);
}

/* RFC 4648 10 */
Test(admin_json, base64)
{
    struct buffer b;
    buffer_init_heap(&b, 1000);
    cr_assert_str_eq(base64(&b, ""), "");
    cr_assert_str_eq(base64(&b, "f"), "Zg==");
    cr_assert_str_eq(base64(&b, "fo"), "Zm8=");
    cr_assert_str_eq(base64(&b, "foo"), "Zm9v");
    cr_assert_str_eq(base64(&b, "foob"), "Zm9vYg==");
    cr_assert_str_eq(base64(&b, "fooba"), "Zm9vYmE=");
    cr_assert_str_eq(base64(&b, "foobar"), "Zm9vYmFy");
    cr_assert_str_eq(base64(&b, "\xff\xef\xbe\xfb"), "/+++"
                                                     "+w==");
    buffer_deinit(&b);
}

static bool valid(const char *s)
{
    return utf8_valid((const uint8_t *)s, strlen(s));
}

/* Unicode 15, table 3-7: the first and last of each row, and what lies just outside. */
Test(admin_json, utf8)
{
    static const char *const good[] = {"",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xe0\xbf\xbf",
                                       "\xe1\x80\x80",
                                       "\xec\xbf\xbf",
                                       "\xed\x80\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf0\xbf\xbf\xbf",
                                       "\xf1\x80\x80\x80",
                                       "\xf3\xbf\xbf\xbf",
                                       "\xf4\x80\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "plain text of some length",
                                       "1234567\xc3\xa4",
                                       "12345678\xe2\x80\xa8"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x7f",
                                      "\xc2\xc0",
                                      "\xe0\x9f\xbf",
                                      "\xe0\xa0",
                                      "\xe1\x80",
                                      "\xe1\x80\x7f",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf0\x90\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "1234567\x80",
                                      "12345678\xe2\x80",
                                      "1234567\xe2\x80",
                                      "\xf8\x88\x80\x80\x80"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert(valid(good[i]), "%zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert(!valid(bad[i]), "%zu", i);
    cr_assert(utf8_valid((const uint8_t *)"a\0b", 3));
}

/* Whatever we escape, another implementation reads back. */
Test(admin_json, every_ascii_character_comes_back)
{
    struct buffer b;
    char all[129];
    buffer_init_heap(&b, 10000);
    for (int i = 0; i < 128; i++)
        all[i] = (char)i;
    buffer_put(&b, "\"", 1);
    json_escape(&b, (const uint8_t *)all, 128);
    json_escape(&b, (const uint8_t *)"\xe2\x80\xa8", 3);
    buffer_put(&b, "\"", 1);
    struct json_tokener *tokener = json_tokener_new();
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *back = json_tokener_parse_ex(tokener, b.data, (int)b.len);
    cr_assert_not_null(back);
    cr_assert_eq(json_object_get_string_len(back), 131);
    cr_assert_arr_eq(json_object_get_string(back), all, 128);
    cr_assert_arr_eq(json_object_get_string(back) + 128, "\xe2\x80\xa8", 3);
    cr_assert_not_null(memmem(b.data, b.len, "\xe2\x80\xa8", 3)); /* as it is */
    json_object_put(back);
    json_tokener_free(tokener);
    buffer_deinit(&b);
}

Test(admin_json, objects)
{
    struct buffer b;
    buffer_init_heap(&b, 10000);
    json_open(&b, NULL, '{');
    json_str(&b, "s", "{");
    json_str(&b, "n", NULL);
    json_u64(&b, "u", UINT64_MAX);
    json_open(&b, "a", '[');
    json_flag(&b, NULL, true);
    json_flag(&b, NULL, false);
    json_open(&b, NULL, '{');
    json_close(&b, '}');
    json_null(&b, NULL);
    json_close(&b, ']');
    json_id(&b, "id", 0xab);
    json_hex(&b, "h", (const uint8_t *)"\x0f\xf0", 2);
    json_str(&b, "bad", "a\xff\"");
    json_close(&b, '}');
    cr_assert_str_eq(text(&b), "{\"s\":\"{\",\"n\":null,\"u\":18446744073709551615,\"a\":[true,false,{},null],"
                               "\"id\":\"0x00000000000000ab\",\"h\":\"0ff0\",\"bad\":\"a\\ufffd\\\"\"}");
    buffer_deinit(&b);
}

Test(admin_json, a_full_buffer_fails_and_can_be_rewound)
{
    char room[8];
    struct buffer b;
    buffer_init_fixed(&b, room, sizeof room);
    buffer_str(&b, "1234");
    buffer_str(&b, "56789");
    cr_assert(b.failed);
    cr_assert_eq(b.len, 4);
    buffer_str(&b, "5");
    cr_assert_eq(b.len, 4); /* not written out of order */
    buffer_rewind(&b, 2);
    buffer_u64(&b, 345678);
    cr_assert(!b.failed);
    cr_assert_arr_eq(room, "12345678", 8);
    buffer_deinit(&b); /* does not free what is not its own */
}

Test(admin_json, a_heap_buffer_has_a_limit)
{
    struct buffer b;
    char block[1000] = {0};
    buffer_init_heap(&b, 5000);
    for (int i = 0; i < 5; i++)
        buffer_put(&b, block, sizeof block);
    cr_assert(!b.failed);
    buffer_put(&b, block, 1);
    cr_assert(b.failed);
    buffer_clear(&b);
    buffer_put(&b, block, 1);
    cr_assert(!b.failed);
    buffer_deinit(&b);
}
