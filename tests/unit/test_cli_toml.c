/* The TOML that profiles are written in: what the specification says of it, and what is refused, with its line. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "cli/toml.h"

/* Items become lines of text: "2 a/b = \"x\"". */
static bool note(void *ctx, const struct toml_item *item, struct toml_error *error)
{
    FILE *out = ctx;
    (void)error;
    fprintf(out, "%u ", item->line);
    for (size_t i = 0; i < item->depth; i++)
        fprintf(out, "%s%s", i ? "/" : "", item->path[i]);
    if (item->type == TOML_STRING)
        fprintf(out, " = \"%s\"\n", item->text);
    else if (item->type == TOML_INTEGER)
        fprintf(out, " = %lld\n", (long long)item->integer);
    else
        fprintf(out, "%s\n", item->type == TOML_TABLE ? "" : item->boolean ? " = true" : " = false");
    return true;
}

static void reads(const char *text, const char *expected)
{
    char found[4096] = "";
    struct toml_error error;
    FILE *out = fmemopen(found, sizeof found, "w");
    cr_expect(toml_read(text, strlen(text), note, out, &error), "%s: %u: %s", text, error.line, error.text);
    fclose(out);
    cr_expect_str_eq(found, expected);
}

static void refuses(const char *text, unsigned line, const char *part)
{
    char found[4096];
    struct toml_error error;
    FILE *out = fmemopen(found, sizeof found, "w");
    cr_expect_not(toml_read(text, strlen(text), note, out, &error), "accepted: %s", text);
    fclose(out);
    cr_expect_eq(error.line, line, "%s: line %u", text, error.line);
    cr_expect(strstr(error.text, part), "%s: %s", text, error.text);
}

Test(cli_toml, tables_and_keys)
{
    reads("", "");
    reads("# nothing\n\n \t\r\n", "");
    reads("a = 1\n[t]\na=2 # more\r\n[ t . \"u v\" ]\n'' = 3", "1 a = 1\n2 t\n3 t/a = 2\n4 t/u v\n5 t/u v/ = 3\n");
    reads("a.b.c = 1\na.\"b.c\" = 2\n", "1 a/b/c = 1\n2 a/b.c = 2\n");
    reads("[a.b]\nx = 1\n[a]\nx = 2\n", "1 a/b\n2 a/b/x = 1\n3 a\n4 a/x = 2\n"); /* a super-table may come later */
    reads("1-_A = true", "1 1-_A = true\n");
}

Test(cli_toml, values)
{
    reads("a = \"\\b\\t\\n\\f\\r\\\"\\\\\\u00b5\\U0001F600\"", "1 a = \"\b\t\n\f\r\"\\\xc2\xb5\xf0\x9f\x98\x80\"\n");
    reads("a = 'C:\\new \"x\"'\nb = \"\"\nc = \"#no comment\"",
          "1 a = \"C:\\new \"x\"\"\n2 b = \"\"\n3 c = \"#no comment\"\n");
    reads("a = 1_000\nb = -17\nc = +0\nd = 0xDEAD_beef\ne = 0o755\nf = 0b1101",
          "1 a = 1000\n2 b = -17\n3 c = 0\n4 d = 3735928559\n5 e = 493\n6 f = 13\n");
    reads("a = 9223372036854775807\nb = -9223372036854775808\nc = false",
          "1 a = 9223372036854775807\n2 b = -9223372036854775808\n3 c = false\n");
}

Test(cli_toml, what_is_not_toml)
{
    refuses("a", 1, "found no = behind a");
    refuses("\n= 1", 2, "found no key");
    refuses("a = ", 1, "found no value");
    refuses("a = # 1", 1, "found no value");
    refuses("a = yes", 1, "found yes, allowed: text in quotes, an integer, true or false");
    refuses("a = True", 1, "found True");
    refuses("a = 1 2", 1, "found more behind the end");
    refuses("a = 1 b = 2", 1, "found more behind the end");
    refuses("[a", 1, "found no ]");
    refuses("[a] b = 1", 1, "found more behind the end");
    refuses("[]", 1, "found no key");
    refuses("a. = 1", 1, "found no key");
    refuses("a = \"x", 1, "does not end on its line");
    refuses("a = 'x\n'", 1, "does not end on its line");
    refuses("a = \"\\x41\"", 1, "unknown escape");
    refuses("a = \"\\ud800\"", 1, "U+D800");
    refuses("a = \"\\u0000\"", 1, "U+0");
    refuses("a = \"\\u12\"", 1, "ends within \\u");
    refuses("a = \"\\u12xy\"", 1, "found \\u12xy, allowed: 4 hex digits");
    refuses("a = \"\x01\"", 1, "control character");
    refuses("# \x7f", 1, "control character");
    refuses("a = \"\xff\"", 0, "not UTF-8");
    refuses("a = 012", 1, "found 012");
    refuses("a = 1__0", 1, "found 1__0");
    refuses("a = _1", 1, "found _1");
    refuses("a = 1_", 1, "found 1_");
    refuses("a = 0x", 1, "found 0x");
    refuses("a = -0x1", 1, "found -0x1");
    refuses("a = 9223372036854775808", 1, "found 9223372036854775808");
}

Test(cli_toml, nothing_stands_twice)
{
    refuses("a = 1\na = 2", 2, "a is there twice");
    refuses("[a]\n[a]", 2, "a is there twice");
    refuses("a = 1\n[a]", 2, "a is there twice");
    refuses("a = 1\n[a.b]", 2, "b is there twice");
    refuses("[a]\nb = 1\n[a.b]", 3, "b is there twice");
    refuses("[a.b]\n[a]\nb = 1", 3, "b is there twice");
    refuses("a.b = 1\na = 2", 2, "a is there twice");
    refuses("a = 1\na.b = 2", 2, "b is there twice");
    refuses("a.b = 1\n[a]", 2, "a is there twice"); /* dotted keys have made the table */
}

Test(cli_toml, what_toml_has_and_profiles_have_not)
{
    refuses("a = [1]", 1, "found [1], allowed");
    refuses("a = {b=1}", 1, "found {b=1}, allowed");
    refuses("a = 1.5", 1, "found 1.5, allowed");
    refuses("a = 2026-11-25", 1, "found 2026-11-25, allowed");
    refuses("a = \"\"\"x\"\"\"", 1, "over several lines");
    refuses("[[a]]", 1, "array of tables");
    refuses("a.b.c.d.e = 1", 1, "more than 3 tables");
}

Test(cli_toml, limits)
{
    static char text[TOML_SIZE_MAX + 2];
    struct toml_error error;
    FILE *out = fopen("/dev/null", "w");
    memset(text, '\n', sizeof text);
    cr_expect(toml_read(text, TOML_SIZE_MAX, note, out, &error));
    cr_expect_not(toml_read(text, TOML_SIZE_MAX + 1, note, out, &error));
    cr_expect(strstr(error.text, "larger than 65536 bytes"));
    size_t len = 0;
    for (unsigned i = 0; i < TOML_KEYS_MAX + 1; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "k%u=1\n", i);
    cr_expect_not(toml_read(text, len, note, out, &error));
    cr_expect_eq(error.line, TOML_KEYS_MAX + 1);
    memset(text, 'a', 300);
    memcpy(text + 300, "=1", 3);
    cr_expect_not(toml_read(text, 302, note, out, &error));
    cr_expect(strstr(error.text, "more than 256 characters"));
    cr_expect_not(toml_read("a=1\n\0", 5, note, out, &error));
    cr_expect(error.line == 2 && strstr(error.text, "NUL"));
    fclose(out);
}
