/* Lines of a publish as NDJSON: RFC 8259, RFC 4648 4 and 10. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "shards/admin/buffer.h"
#include "shards/admin/event_line.h"
#include "shards/admin/json.h"
#include "tests/support/splitmix.h"

/* A copy of exactly the line's size, so that a sanitizer sees what reads or writes past it. */
static bool decode(const char *line, size_t len, uint8_t *out, size_t *out_len)
{
    uint8_t *copy = malloc(len ? len : 1);
    cr_assert_not_null(copy);
    memcpy(copy, line, len);
    bool ok = event_line_decode(copy, len, out_len);
    if (ok) {
        cr_assert_leq(*out_len, len);
        memcpy(out, copy, *out_len);
    }
    free(copy);
    return ok;
}

#define IS(line, event) is(line, sizeof(line) - 1, event, sizeof(event) - 1)
static void is(const char *line, size_t line_len, const char *event, size_t len)
{
    uint8_t got[256];
    size_t got_len;
    cr_assert(decode(line, line_len, got, &got_len), "%s", line);
    cr_assert_eq(got_len, len, "%s: %zu", line, got_len);
    cr_assert(memcmp(got, event, len) == 0, "%s", line);
}

#define NOT(line) is_not(line, sizeof(line) - 1)
static void is_not(const char *line, size_t len)
{
    uint8_t got[256];
    size_t got_len;
    cr_assert(!decode(line, len, got, &got_len), "%s", line);
}

Test(event_line, text)
{
    IS("{\"data\":\"\"}", "");
    IS("{\"data\":\"x\"}", "x");
    IS(" \t{ \"data\" : \"x y\" } \r", "x y");
    IS("{\"data\":\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"}", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    IS("{\"data\":\"{\\\"data\\\":\\\"x\\\"}\"}", "{\"data\":\"x\"}");
}

Test(event_line, escapes)
{
    IS("{\"data\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t");
    IS("{\"data\":\"\\u0000\\u001F\\u007f\"}", "\0\x1f\x7f");
    IS("{\"data\":\"\\u0080\\u07ff\\u0800\\uFFFF\"}", "\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf");
    IS("{\"data\":\"\\ud83d\\ude00\\uD800\\uDC00\\udbff\\udfff\"}", "\xf0\x9f\x98\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
    IS("{\"d\\u0061ta\":\"x\"}", "x"); /* two texts of one name */
    NOT("{\"data\":\"\\ud83d\"}");
    NOT("{\"data\":\"\\ud83dx\"}");
    NOT("{\"data\":\"\\ud83d\\n\"}");
    NOT("{\"data\":\"\\ud83d\\u0041\"}");
    NOT("{\"data\":\"\\ude00\"}");
    NOT("{\"data\":\"\\ude00\\ud83d\"}");
    NOT("{\"data\":\"\\u12\"}");
    NOT("{\"data\":\"\\u12g4\"}");
    NOT("{\"data\":\"\\x41\"}");
    NOT("{\"data\":\"\\\0\"}");
    NOT("{\"data\":\"\\");
    NOT("{\"data\":\"\\u");
    NOT("{\"data\":\"\\ud83d\\u");
}

/* RFC 4648 10, and what is not canonical: 3.5 */
Test(event_line, base64)
{
    IS("{\"data_base64\":\"\"}", "");
    IS("{\"data_base64\":\"Zg==\"}", "f");
    IS("{\"data_base64\":\"Zm8=\"}", "fo");
    IS("{\"data_base64\":\"Zm9v\"}", "foo");
    IS("{\"data_base64\":\"Zm9vYg==\"}", "foob");
    IS("{\"data_base64\":\"Zm9vYmE=\"}", "fooba");
    IS("{\"data_base64\":\"Zm9vYmFy\"}", "foobar");
    IS("{\"data_base64\":\"+/A=\"}", "\xfb\xf0");
    NOT("{\"data_base64\":\"Zg\"}");
    NOT("{\"data_base64\":\"Zg=\"}");
    NOT("{\"data_base64\":\"Zg===\"}");
    NOT("{\"data_base64\":\"Z===\"}");
    NOT("{\"data_base64\":\"====\"}");
    NOT("{\"data_base64\":\"=\"}");
    NOT("{\"data_base64\":\"Zh==\"}");
    NOT("{\"data_base64\":\"Zm9=\"}");
    NOT("{\"data_base64\":\"Zg==Zg==\"}");
    NOT("{\"data_base64\":\"Zm 9\"}");
    NOT("{\"data_base64\":\"_-8=\"}");
}

Test(event_line, is_one_object_with_one_member)
{
    NOT("");
    NOT("x");
    NOT("{}");
    NOT("[]");
    NOT("\"data\"");
    NOT("{\"data\"}");
    NOT("{\"data\":}");
    NOT("{\"data\":1}");
    NOT("{\"data\":null}");
    NOT("{\"data\":\"x\"");
    NOT("{\"data\":\"x");
    NOT("{\"data\" \"x\"}");
    NOT("{data:\"x\"}");
    NOT("{\"data\":\"x\",}");
    NOT("{\"data\":\"x\"}}");
    NOT("{\"data\":\"x\"}{\"data\":\"y\"}");
    NOT("{\"data\":\"x\",\"data\":\"y\"}");
    NOT("{\"data\":\"x\",\"seq\":1}");
    NOT("{\"Data\":\"x\"}");
    NOT("{\"dat\":\"x\"}");
    NOT("{\"data \":\"x\"}");
    NOT("{\"data\":\"a\nb\"}");
    NOT("{\"data\":\"a\0b\"}");
    NOT("{\"data\":\"\xff\"}");
    NOT("{\"data\":\"\xed\xa0\x80\"}");
    NOT("\xef\xbb\xbf{\"data\":\"x\"}");
}

Test(event_line, blank)
{
    cr_assert(event_line_blank((const uint8_t *)"", 0));
    cr_assert(event_line_blank((const uint8_t *)" \t\r", 3));
    cr_assert(!event_line_blank((const uint8_t *)" x", 2));
    cr_assert(!event_line_blank((const uint8_t *)"\0", 1));
}

/* What `events` shows of any bytes is what a publish takes for them. */
Test(event_line, is_the_inverse_of_what_is_shown)
{
    uint64_t seed = 4;
    for (int i = 0; i < 20000; i++) {
        uint8_t event[64], got[64 * 6 + 32];
        char line[64 * 6 + 32];
        struct buffer b;
        size_t len = splitmix(&seed) % sizeof event, got_len;
        for (size_t j = 0; j < len; j++)
            event[j] = (uint8_t)(splitmix(&seed) >> (i % 2 ? 57 : 56));
        bool text = utf8_valid(event, len);
        buffer_init_fixed(&b, line, sizeof line);
        buffer_str(&b, text ? "{\"data\":\"" : "{\"data_base64\":\"");
        if (text)
            json_escape(&b, event, len);
        else
            buffer_base64(&b, event, len);
        buffer_str(&b, "\"}");
        cr_assert(decode(line, b.len, got, &got_len), "%.*s", (int)b.len, line);
        cr_assert_eq(got_len, len);
        cr_assert(memcmp(got, event, len) == 0);
    }
}
