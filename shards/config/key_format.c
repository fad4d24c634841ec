/* A key's value, and what it takes, as text. */
#include <assert.h>
#include <string.h>

#include "shards/config/config_internal.h"
#include "shards/config/units.h"

static void format_value(const struct config_key *key, uint64_t value, char *out)
{
    static const struct {
        uint64_t unit;
        const char *name;
    } sizes[] = {{GIB, "GiB"}, {MIB, "MiB"}, {KIB, "KiB"}, {1, ""}},
      durations[] = {{DAY, "d"}, {HOUR, "h"}, {MIN, "m"}, {S, "s"}, {MS, "ms"}, {1000, "us"}, {1, "ns"}};
    size_t i = 0;
    if (key->type == KEY_DURATION) {
        while (value % durations[i].unit != 0 || (value == 0 && durations[i].unit != S))
            i++;
        snprintf(out, 32, "%llu%s", (unsigned long long)(value / durations[i].unit), durations[i].name);
    } else if (key->type == KEY_SIZE) {
        while (value % sizes[i].unit != 0)
            i++;
        snprintf(out, 32, "%llu%s", (unsigned long long)(value / sizes[i].unit), sizes[i].name);
    } else
        snprintf(out, 32, "%llu", (unsigned long long)value);
}

static uint64_t load(const struct config_key *key, const void *field)
{
    switch (key->size) {
    case sizeof(uint16_t):
        return *(const uint16_t *)field;
    case sizeof(uint32_t):
        return *(const uint32_t *)field;
    default:
        assert(key->size == sizeof(uint64_t));
        return *(const uint64_t *)field;
    }
}

static void format_field(const struct config_key *key, const void *field, char out[CONFIG_VALUE_MAX])
{
    if (key->type == KEY_BOOL) {
        strcpy(out, *(const bool *)field ? "true" : "false");
        return;
    }
    uint64_t value = load(key, field);
    if (key->type == KEY_WORD)
        strcpy(out, key->words[value]);
    else if (value == 0 && key->zero)
        strcpy(out, key->zero);
    else
        format_value(key, value, out);
}

static void format_cpus(const struct config *c, char out[CONFIG_VALUE_MAX])
{
    _Static_assert(CONFIG_MAX_CPUS * sizeof "65535, " < CONFIG_VALUE_MAX, "every CPU fits");
    size_t n = 0;
    out[n++] = '[';
    for (uint32_t i = 0; i < c->cpu_count; i++)
        n += (size_t)snprintf(out + n, CONFIG_VALUE_MAX - n, "%s%u", i ? ", " : "", c->cpus[i]);
    strcpy(out + n, "]");
}

void config_key_format(const struct config_key *key, const struct config *c, char out[CONFIG_VALUE_MAX])
{
    switch (key->type) {
    case KEY_LISTEN:
        config_format_addr(&c->listen, out);
        break;
    case KEY_ADMIN:
        if (c->admin.is_unix)
            snprintf(out, CONFIG_VALUE_MAX, "unix:%s", c->admin.path);
        else
            config_format_addr(&c->admin.addr, out);
        break;
    case KEY_PATH: {
        const char *path = (const char *)c + key->offset;
        snprintf(out, CONFIG_VALUE_MAX, "%s", *path ? path : key->zero);
        break;
    }
    case KEY_CPUS:
        format_cpus(c, out);
        break;
    case KEY_CIPHERS:
        snprintf(out, CONFIG_VALUE_MAX, "[%s%s%s]", c->cipher_aes_gcm ? "aes-256-gcm" : "",
                 c->cipher_aes_gcm && c->cipher_chacha ? ", " : "", c->cipher_chacha ? "chacha20-poly1305" : "");
        break;
    case KEY_RULES:
        snprintf(out, CONFIG_VALUE_MAX, "%u prefix%s", c->rule_count, c->rule_count == 1 ? "" : "es");
        break;
    default:
        format_field(key, (const char *)c + key->offset, out);
    }
}

void config_key_format_channel(const struct config_key *key, const struct channel_settings *settings,
                               char out[CONFIG_VALUE_MAX])
{
    format_field(key, (const char *)settings + (key->offset - offsetof(struct config, channel)), out);
}

bool config_key_equal(const struct config_key *key, const struct config *a, const struct config *b)
{
    char texts[2][CONFIG_VALUE_MAX];
    if (key->type == KEY_RULES)
        return rules_equal(a, b);
    config_key_format(key, a, texts[0]);
    config_key_format(key, b, texts[1]);
    return strcmp(texts[0], texts[1]) == 0;
}

/* Of the keys a reload can change: one field, or the rules. */
void config_key_copy(const struct config_key *key, struct config *to, const struct config *from)
{
    if (key->type == KEY_RULES) {
        memcpy(to->rules, from->rules, sizeof to->rules);
        to->rule_count = from->rule_count;
        return;
    }
    assert(key->size != 0);
    memcpy((char *)to + key->offset, (const char *)from + key->offset, key->size);
}

static void allowed_words(const struct config_key *key, char out[CONFIG_TEXT_MAX])
{
    size_t n = 0;
    for (size_t i = 0; key->words[i]; i++)
        n += (size_t)snprintf(out + n, CONFIG_TEXT_MAX - n, "%s%s",
                              i == 0              ? ""
                              : key->words[i + 1] ? ", "
                                                  : " or ",
                              key->words[i]);
}

void config_key_allowed(const struct config_key *key, char out[CONFIG_TEXT_MAX])
{
    char low[32], high[32];
    switch (key->type) {
    case KEY_BOOL:
        strcpy(out, "true or false");
        return;
    case KEY_WORD:
        allowed_words(key, out);
        return;
    case KEY_LISTEN:
        strcpy(out, "ADDRESS:PORT or [IPV6]:PORT, port 1..65535");
        return;
    case KEY_ADMIN:
        strcpy(out, "ADDRESS:PORT, [IPV6]:PORT (port 1..65535), or unix:PATH (at most 107 bytes)");
        return;
    case KEY_PATH:
        snprintf(out, CONFIG_TEXT_MAX, "%s, or a path of at most %zu bytes with a slash in it, as in ./NAME", key->zero,
                 key->size - 1);
        return;
    case KEY_CPUS:
        snprintf(out, CONFIG_TEXT_MAX, "a list of at most %d CPU numbers, each once", CONFIG_MAX_CPUS);
        return;
    case KEY_CIPHERS:
        strcpy(out, "a list of one or both of aes-256-gcm, chacha20-poly1305");
        return;
    case KEY_RULES:
        snprintf(out, CONFIG_TEXT_MAX, "a mapping of at most %d prefixes of channel names to settings",
                 CONFIG_MAX_RULES);
        return;
    default:
        format_value(key, key->min, low);
        format_value(key, key->max, high);
        snprintf(out, CONFIG_TEXT_MAX, "%s%s%s%s..%s%s", key->type == KEY_DURATION ? "a duration, " : "",
                 key->zero ? key->zero : "", key->zero ? " or " : "", low, high,
                 key->power_of_two ? ", a power of two" : "");
    }
}
