/* A key's value from text, into its field. */
#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "core/base/err.h"
#include "shards/config/config_internal.h"

static void store(const struct config_key *key, void *field, uint64_t value)
{
    switch (key->size) {
    case sizeof(uint16_t):
        *(uint16_t *)field = (uint16_t)value;
        break;
    case sizeof(uint32_t):
        *(uint32_t *)field = (uint32_t)value;
        break;
    default:
        assert(key->size == sizeof(uint64_t));
        *(uint64_t *)field = value;
    }
}

static int set_number(const struct config_key *key, void *field, const char *text)
{
    uint64_t value = 0;
    if (key->zero && strcmp(text, key->zero) == 0) {
        store(key, field, 0);
        return NET_OK;
    }
    int err = key->type == KEY_DURATION ? config_parse_duration(text, &value)
              : key->type == KEY_SIZE   ? config_parse_size(text, &value)
                                        : config_parse_number(text, &value);
    if (err || value < key->min || value > key->max || (key->power_of_two && (value & (value - 1)) != 0))
        return NET_ERR_INVALID;
    store(key, field, value);
    return NET_OK;
}

static int set_bool(void *field, const char *text)
{
    bool on = strcmp(text, "true") == 0;
    if (!on && strcmp(text, "false") != 0)
        return NET_ERR_INVALID;
    *(bool *)field = on;
    return NET_OK;
}

static int set_word(const struct config_key *key, void *field, const char *text)
{
    _Static_assert(sizeof(enum config_log) == sizeof(uint32_t), "enums are stored as 32-bit numbers");
    for (uint32_t i = 0; key->words[i]; i++)
        if (strcmp(text, key->words[i]) == 0) {
            store(key, field, i);
            return NET_OK;
        }
    return NET_ERR_INVALID;
}

/* Only what has a slash is meant as a path: `true` would make a file of that name. */
static int set_path(const struct config_key *key, char *field, const char *text)
{
    bool none = strcmp(text, key->zero) == 0;
    size_t len = none ? 0 : strlen(text);
    if ((!none && !strchr(text, '/')) || len >= key->size)
        return NET_ERR_INVALID;
    for (size_t i = 0; i < len; i++)
        if (iscntrl((unsigned char)text[i]))
            return NET_ERR_INVALID;
    memset(field, 0, key->size);
    memcpy(field, text, len);
    return NET_OK;
}

static int set_admin(struct config *c, const char *text)
{
    static const char scheme[] = "unix:";
    if (strncmp(text, scheme, sizeof scheme - 1) != 0) {
        struct io_addr addr;
        if (config_parse_addr(text, &addr) != NET_OK)
            return NET_ERR_INVALID;
        memset(&c->admin, 0, sizeof c->admin);
        c->admin.addr = addr;
        return NET_OK;
    }
    const char *path = text + sizeof scheme - 1;
    if (*path == '\0' || strlen(path) >= sizeof c->admin.path)
        return NET_ERR_INVALID;
    for (const char *p = path; *p; p++)
        if (iscntrl((unsigned char)*p))
            return NET_ERR_INVALID;
    memset(&c->admin, 0, sizeof c->admin);
    c->admin.is_unix = true;
    memcpy(c->admin.path, path, strlen(path) + 1);
    return NET_OK;
}

/* The next item of "a, b": *text moves behind it. False at the end of the list; an empty item is "". */
static bool next_item(const char **text, char item[32])
{
    if (!*text)
        return false;
    const char *comma = strchrnul(*text, ',');
    const char *from = *text + strspn(*text, " "), *to = comma;
    while (to > from && to[-1] == ' ')
        to--;
    size_t n = to > from ? (size_t)(to - from) : 0;
    n = n < 31 ? n : 31; /* longer than anything allowed, and stays so */
    memcpy(item, from, n);
    item[n] = '\0';
    *text = *comma ? comma + 1 : NULL;
    return true;
}

static int set_cpus(const struct config_key *key, struct config *c, const char *text)
{
    uint16_t cpus[CONFIG_MAX_CPUS];
    uint32_t count = 0;
    char item[32];
    const char *rest = *text ? text : NULL;
    while (next_item(&rest, item)) {
        uint64_t cpu;
        if (config_parse_number(item, &cpu) != NET_OK || cpu > key->max || count == CONFIG_MAX_CPUS)
            return NET_ERR_INVALID;
        for (uint32_t i = 0; i < count; i++)
            if (cpus[i] == cpu)
                return NET_ERR_INVALID;
        cpus[count++] = (uint16_t)cpu;
    }
    memset(c->cpus, 0, sizeof c->cpus);
    memcpy(c->cpus, cpus, count * sizeof cpus[0]);
    c->cpu_count = count;
    return NET_OK;
}

static int set_ciphers(struct config *c, const char *text)
{
    bool aes = false, chacha = false;
    char item[32];
    while (next_item(&text, item)) {
        bool *which = strcmp(item, "aes-256-gcm") == 0 ? &aes : strcmp(item, "chacha20-poly1305") == 0 ? &chacha : NULL;
        if (!which || *which)
            return NET_ERR_INVALID;
        *which = true;
    }
    c->cipher_aes_gcm = aes;
    c->cipher_chacha = chacha;
    return NET_OK;
}

/* What is one field: a boolean, a word, or a number of some kind. */
static int set_field(const struct config_key *key, void *field, const char *text)
{
    switch (key->type) {
    case KEY_BOOL:
        return set_bool(field, text);
    case KEY_WORD:
        return set_word(key, field, text);
    default:
        return set_number(key, field, text);
    }
}

int config_key_set(const struct config_key *key, struct config *c, const char *text)
{
    switch (key->type) {
    case KEY_LISTEN:
        return config_parse_addr(text, &c->listen);
    case KEY_ADMIN:
        return set_admin(c, text);
    case KEY_PATH:
        return set_path(key, (char *)c + key->offset, text);
    case KEY_CPUS:
        return set_cpus(key, c, text);
    case KEY_CIPHERS:
        return set_ciphers(c, text);
    case KEY_RULES:
        c->rule_count = 0;
        return *text ? NET_ERR_INVALID : NET_OK;
    default:
        return set_field(key, (char *)c + key->offset, text);
    }
}

void *config_key_field(const struct config_key *key, struct channel_settings *settings)
{
    assert(key->channel);
    return (char *)settings + (key->offset - offsetof(struct config, channel));
}

int config_key_set_channel(const struct config_key *key, struct channel_settings *settings, const char *text)
{
    return set_field(key, config_key_field(key, settings), text);
}
