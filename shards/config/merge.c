/* What a configuration holds, key by key; and what of a new one a running node can take. */
#include "shards/config/config_internal.h"

const char *config_source(const struct config_row *row)
{
    return row->line > 0 ? "node.yaml" : row->line == CONFIG_LINE_SET ? "--set" : "default";
}

void config_each(const struct config *c, const struct config *started, const struct config *read,
                 void (*row)(void *ctx, const struct config_row *), void *ctx)
{
    char value[CONFIG_VALUE_MAX], pending[CONFIG_VALUE_MAX];
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        config_key_format(key, c, value);
        bool waits = started && !key->live && !config_key_equal(key, started, read);
        if (waits)
            config_key_format(key, read, pending);
        row(ctx, &(struct config_row){key->name, value, c->lines[i], config_key_applies(key), key->live != NULL,
                                      waits ? pending : NULL});
        if (key->type == KEY_RULES)
            rules_each(c, row, ctx);
    }
}

void config_merge(const struct config *running, const struct config *started, const struct config *read,
                  struct config *out, struct config_changes *changes)
{
    *out = *running;
    *changes = (struct config_changes){.applied_count = 0};
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        bool same = config_key_equal(key, read, key->live ? running : started);
        if (key->live)
            config_key_copy(key, out, read);
        if (key->live || same)
            out->lines[i] = read->lines[i];
        if (!same && key->live)
            changes->applied[changes->applied_count++] = key->name;
        else if (!same)
            changes->restart[changes->restart_count++] = key->name;
    }
}
