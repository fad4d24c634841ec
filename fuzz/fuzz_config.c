/* node.yaml from anyone, and what people write on command lines. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "shards/config/config.h"

static void count(void *ctx, const struct config_row *row)
{
    assert(row->key[0] && row->value && row->applies && row->line >= CONFIG_LINE_SET);
    ++*(unsigned *)ctx;
}

/* What was taken is whole: rules have their channels, every key a value, and a reload of the same changes nothing. */
static void use(const struct config *c)
{
    static struct config merged, defaults;
    struct config_changes changes;
    unsigned rows = 0;
    assert(c->rule_count <= CONFIG_MAX_RULES);
    for (uint32_t i = 0; i < c->rule_count; i++) {
        const struct channel_settings *s = config_channel(c, c->rules[i].prefix);
        assert(s == &c->rules[i].settings && s->fsync_events > 0 && s->fsync_interval_ns > 0);
    }
    config_each(c, NULL, NULL, count, &rows);
    config_merge(c, c, c, &merged, &changes);
    assert(changes.applied_count == 0 && changes.restart_count == 0);
    config_defaults(&defaults);
    config_merge(&defaults, &defaults, c, &merged, &changes);
    assert(changes.applied_count + changes.restart_count <= rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config c;
    struct config_error e = {{0}};
    struct io_addr addr;
    uint64_t value;
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';

    int err = config_parse(text, size, "node.yaml", NULL, 0, &c, &e);
    assert(err == NET_OK || e.text[0] != '\0');
    assert(err != NET_OK || c.session_timeout_ns > c.heartbeat_interval_ns);
    if (err == NET_OK)
        use(&c);
    const char *override = text;
    err = config_parse("", 0, "node.yaml", &override, 1, &c, &e);
    assert(err == NET_OK || e.text[0] != '\0');
    if (config_parse_addr(text, &addr) == NET_OK) {
        struct io_addr back;
        char again[64];
        config_format_addr(&addr, again);
        assert(config_parse_addr(again, &back) == NET_OK && memcmp(&addr, &back, sizeof addr) == 0);
    }
    (void)config_parse_id(text, &value);
    (void)config_parse_size(text, &value);
    (void)config_parse_duration(text, &value);
    free(text);
    return 0;
}
