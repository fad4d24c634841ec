/* Numbers, ids, durations, sizes and addresses as people write them. cli.md 2.1, 2.2 */
#include <arpa/inet.h>
#include <ctype.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/config/config.h"

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* Digits of `base` from *p on; at least one. */
static int take_digits(const char **p, unsigned base, uint64_t *out)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t value = 0;
    const char *start = *p;
    for (;; (*p)++) {
        const char *d = **p ? memchr(digits, tolower((unsigned char)**p), base) : NULL;
        if (!d)
            break;
        if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)(d - digits), &value))
            return NET_ERR_INVALID;
    }
    *out = value;
    return *p > start ? NET_OK : NET_ERR_INVALID;
}

int config_parse_number(const char *text, uint64_t *out)
{
    uint64_t value;
    if (take_digits(&text, 10, &value) != NET_OK || *text != '\0')
        return NET_ERR_INVALID;
    *out = value;
    return NET_OK;
}

static const char *skip_blanks(const char *p)
{
    while (isspace((unsigned char)*p))
        p++;
    return p;
}

int config_parse_id(const char *text, uint64_t *out)
{
    uint64_t value;
    const char *p = skip_blanks(text);
    bool hex = p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
    if (hex)
        p += 2;
    if (take_digits(&p, hex ? 16 : 10, &value) != NET_OK || *skip_blanks(p) != '\0')
        return NET_ERR_INVALID;
    *out = value;
    return NET_OK;
}

int config_parse_key(const char *text, uint8_t out[32])
{
    return text_parse_hex(text, out, 32) ? NET_OK : NET_ERR_INVALID;
}

static uint64_t unit_of(const char *name, size_t len)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {
        {"ns", 1},
        {"us", 1000},
        {"\xc2\xb5s", 1000}, /* micro sign */
        {"ms", 1000000},
        {"s", 1000000000},
        {"sec", 1000000000},
        {"secs", 1000000000},
        {"m", 60000000000},
        {"min", 60000000000},
        {"mins", 60000000000},
        {"h", 3600000000000},
        {"hr", 3600000000000},
        {"hrs", 3600000000000},
        {"d", 86400000000000},
        {"day", 86400000000000},
        {"days", 86400000000000},
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strlen(units[i].name) == len && memcmp(units[i].name, name, len) == 0)
            return units[i].ns;
    return 0;
}

int config_parse_duration(const char *text, uint64_t *out_ns)
{
    uint64_t total = 0, value;
    const char *p = skip_blanks(text), *start = p;
    if (*p == '\0')
        return NET_ERR_INVALID;
    while (*p) {
        bool first = p == start;
        if (take_digits(&p, 10, &value) != NET_OK)
            return NET_ERR_INVALID;
        const char *unit = p;
        while (isalpha((unsigned char)*p) || (unsigned char)*p >= 0x80)
            p++;
        uint64_t ns = unit_of(unit, (size_t)(p - unit));
        if (p == unit && first && *skip_blanks(p) == '\0')
            ns = 1000000000; /* digits alone are seconds */
        if (ns == 0 || __builtin_mul_overflow(value, ns, &value) || __builtin_add_overflow(total, value, &total))
            return NET_ERR_INVALID;
        p = skip_blanks(p);
    }
    *out_ns = total;
    return NET_OK;
}

int config_parse_size(const char *text, uint64_t *out)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB"};
    uint64_t value;
    if (take_digits(&text, 10, &value) != NET_OK)
        return NET_ERR_INVALID;
    for (unsigned i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(text, units[i]) == 0)
            return __builtin_mul_overflow(value, UINT64_C(1) << (10 * i), out) ? NET_ERR_INVALID : NET_OK;
    return NET_ERR_INVALID;
}

/* "fe80::1%eth0" or "fe80::1%2": the zone is taken off `host`. */
static int take_zone(char *host, uint32_t *scope_id)
{
    char *percent = strchr(host, '%');
    uint64_t number;
    *scope_id = 0;
    if (!percent)
        return NET_OK;
    *percent = '\0';
    if (config_parse_number(percent + 1, &number) == NET_OK && number <= UINT32_MAX)
        *scope_id = (uint32_t)number;
    else
        *scope_id = if_nametoindex(percent + 1);
    return *scope_id ? NET_OK : NET_ERR_INVALID;
}

int config_parse_addr(const char *text, struct io_addr *out)
{
    char host[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
    struct io_addr addr = {0};
    uint64_t port;
    bool v6 = text[0] == '[';
    const char *end = v6 ? strchr(text, ']') : strchr(text, ':');
    const char *start = text + v6;
    if (!end || (size_t)(end - start) >= sizeof host || (v6 && end[1] != ':'))
        return NET_ERR_INVALID;
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    if (config_parse_number(end + 1 + v6, &port) != NET_OK || port == 0 || port > UINT16_MAX)
        return NET_ERR_INVALID;
    addr.port = (uint16_t)port;
    if (v6) {
        if (take_zone(host, &addr.scope_id) != NET_OK || inet_pton(AF_INET6, host, addr.ip) != 1)
            return NET_ERR_INVALID;
    } else {
        memcpy(addr.ip, v4_mapped, sizeof v4_mapped);
        if (inet_pton(AF_INET, host, addr.ip + sizeof v4_mapped) != 1)
            return NET_ERR_INVALID;
    }
    *out = addr;
    return NET_OK;
}

void config_format_addr(const struct io_addr *addr, char out[64])
{
    char host[INET6_ADDRSTRLEN], zone[12] = "";
    if (memcmp(addr->ip, v4_mapped, sizeof v4_mapped) == 0) {
        inet_ntop(AF_INET, addr->ip + sizeof v4_mapped, host, sizeof host);
        snprintf(out, 64, "%s:%u", host, addr->port);
        return;
    }
    inet_ntop(AF_INET6, addr->ip, host, sizeof host);
    if (addr->scope_id)
        snprintf(zone, sizeof zone, "%%%u", addr->scope_id);
    snprintf(out, 64, "[%.39s%s]:%u", host, zone, addr->port); /* 39: the longest that is not v4-mapped */
}
