/* config.toml from anyone: what is read can be written as plain `"a"."b" = value` lines, and reads as the same again.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/toml.h"
#include "shards/admin/json.h"

static void put_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++)
        fprintf(out, (unsigned char)*text < 0x20 || *text == '"' || *text == '\\' || *text == 0x7f ? "\\u%04X" : "%c",
                (unsigned char)*text);
    fputc('"', out);
}

static bool put_item(void *ctx, const struct toml_item *item, struct toml_error *error)
{
    FILE *out = ctx;
    (void)error;
    assert(item->depth >= 1 && item->depth <= TOML_DEPTH_MAX && item->line >= 1);
    if (item->type == TOML_TABLE)
        return true;
    for (size_t i = 0; i < item->depth; i++) {
        fputs(i ? "." : "", out);
        put_quoted(out, item->path[i]);
    }
    fputs(" = ", out);
    if (item->type == TOML_STRING) {
        assert(utf8_valid((const uint8_t *)item->text, strlen(item->text)));
        put_quoted(out, item->text);
    } else if (item->type == TOML_INTEGER)
        fprintf(out, "%lld", (long long)item->integer);
    else
        fputs(item->boolean ? "true" : "false", out);
    fputc('\n', out);
    return true;
}

/* The file written plainly; NULL: it is refused. */
static char *rewrite(const char *text, size_t len, size_t *out_len)
{
    char *out_text = NULL;
    struct toml_error error;
    FILE *out = open_memstream(&out_text, out_len);
    bool ok = toml_read(text, len, put_item, out, &error);
    assert(ok || error.text[0]);
    fclose(out);
    if (ok)
        return out_text;
    free(out_text);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cli_args args; /* 8 KiB */
    size_t len, again_len;
    char *plain = rewrite((const char *)data, size, &len);
    if (plain && len <= TOML_SIZE_MAX) {
        char *again = rewrite(plain, len, &again_len);
        assert(again && again_len == len && memcmp(plain, again, len) == 0);
        free(again);
    }
    free(plain);
    args = (struct cli_args){.level = SAY_ERROR};
    int code = profile_parse(&args, (const char *)data, size, "config.toml", size % 2 ? "default" : "x");
    assert(code == CLI_OK || code == CLI_CONFIG || code == CLI_USAGE);
    return 0;
}
