/* node.yaml, --set, and what people write on command lines. cli.md 2.1, 2.2, 15.10, 15.11 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "shards/config/config_internal.h"

#define MS UINT64_C(1000000)
#define S (1000 * MS)

static int parse(const char *text, struct config *c, struct config_error *e)
{
    memset(e, 0, sizeof *e);
    return config_parse(text, strlen(text), "D/node.yaml", NULL, 0, c, e);
}

static void refuses(const char *text, const char *message)
{
    struct config c;
    struct config_error e;
    cr_expect_eq(parse(text, &c, &e), NET_ERR_INVALID, "accepted: %s", text);
    cr_expect_str_eq(e.text, message);
}

static int set(const char *override, struct config *c, struct config_error *e)
{
    memset(e, 0, sizeof *e);
    return config_parse("", 0, "D/node.yaml", &override, 1, c, e);
}

/* The defaults of config.h, one by one. */
Test(config, defaults)
{
    struct config c;
    char text[64];
    config_defaults(&c);
    config_format_addr(&c.listen, text);
    cr_expect_str_eq(text, "[::]:20037");
    cr_expect(!c.admin.is_unix);
    config_format_addr(&c.admin.addr, text);
    cr_expect_str_eq(text, "127.0.0.1:20038");
    cr_expect_eq(c.admin_connections, 256);
    cr_expect_eq(c.admin_idle_timeout_ns, 60 * S);
    cr_expect_eq(c.admin_header_bytes, 16384);
    cr_expect_eq(c.shards, 0);
    cr_expect_eq(c.cpu_count, 0);
    cr_expect(!c.pin);
    cr_expect_eq(c.spin_ns, 0);
    cr_expect_eq(c.ring_bytes, 4u << 20);
    cr_expect(!c.memory_lock);
    cr_expect_eq(c.sessions, SESSIONS_SECURE);
    cr_expect_eq(c.peers, PEERS_ANY);
    cr_expect(c.cipher_aes_gcm && c.cipher_chacha);
    cr_expect_eq(c.max_datagram, 0);
    cr_expect_eq(c.window, 1u << 20);
    cr_expect_eq(c.socket_buffer, 4u << 20);
    cr_expect(c.gso && c.gro);
    cr_expect_eq(c.heartbeat_interval_ns, 5 * S);
    cr_expect_eq(c.session_timeout_ns, 30 * S);
    cr_expect_eq(c.handshake_timeout_ns, 5 * S);
    cr_expect_eq(c.handshake_retries, 3);
    cr_expect_eq(c.rekey_interval_ns, 24 * 3600 * S);
    cr_expect_eq(c.max_peers, 4096);
    cr_expect_eq(c.max_pending_handshakes, 256);
    cr_expect_eq(c.max_handshakes_per_source, 5);
    cr_expect_eq(c.max_streams, 4096);
    cr_expect_eq(c.max_channels, 4096);
    cr_expect_eq(c.max_channels_per_peer, 1024);
    cr_expect_eq(c.event_bytes, 1 << 20);
    cr_expect_eq(c.reassembly_peer, 32 << 20);
    cr_expect_eq(c.reassembly_total, 128 << 20);
    cr_expect_eq(c.channel.log, LOG_DISK);
    cr_expect_eq(c.channel.fsync, FSYNC_NEVER);
    cr_expect_eq(c.channel.fsync_events, 1000);
    cr_expect_eq(c.channel.fsync_interval_ns, S);
    cr_expect_eq(c.channel.retention_events, 0);
    cr_expect_eq(c.channel.retention_bytes, 0);
    cr_expect_eq(c.channel.retention_age_ns, 0);
    cr_expect_eq(c.rule_count, 0);
    cr_expect_eq(c.log_none_bytes, 2u << 20);
    cr_expect_eq(c.channel.max_lag, 0);
    cr_expect(c.channel.append);
    cr_expect(c.max_producers == 4096 && c.producer_age_ns == UINT64_C(86400000000000));
    cr_expect_eq(c.ack_timeout_ns, 5 * S);
    cr_expect_eq(c.publish_timeout_ns, 30 * S);
    cr_expect_eq(c.log_level, LEVEL_INFO);
}

Test(config, an_empty_file_is_all_defaults)
{
    static const char *const empty[] = {"", "# only a comment\n", "---\n", "admin:\nshards:\n  # count: 4\n"};
    struct config defaults, c;
    struct config_error e;
    config_defaults(&defaults);
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        cr_expect_eq(parse(empty[i], &c, &e), NET_OK, "%s", e.text);
        cr_expect_eq(memcmp(&c, &defaults, offsetof(struct config, lines)), 0);
    }
}

Test(config, every_type_is_read)
{
    struct config c;
    struct config_error e;
    char text[64];
    cr_assert_eq(parse("listen: 10.0.0.1:7000\n"
                       "admin: {listen: 'unix:run/admin.sock', header_bytes: 8192, idle_timeout: 1m 30s}\n"
                       "shards:\n  count: 4\n  cpus: [0, 2, 3]\n  pin: true\n  spin: 50us\n  ring_bytes: 1MiB\n"
                       "security: {sessions: compat, peers: listed, ciphers: [chacha20-poly1305]}\n"
                       "transport: {max_datagram: 1400, gso: false}\n"
                       "channels:\n  log: none\n  max_lag: 9223372036854775807\n  append: false\n  producers: 1\n  "
                       "producer_age: none\n",
                       &c, &e),
                 NET_OK, "%s", e.text);
    config_format_addr(&c.listen, text);
    cr_expect_str_eq(text, "10.0.0.1:7000");
    cr_expect(c.admin.is_unix);
    cr_expect_str_eq(c.admin.path, "run/admin.sock");
    cr_expect_eq(c.admin_header_bytes, 8192);
    cr_expect_eq(c.admin_idle_timeout_ns, 90 * S);
    cr_expect_eq(c.shards, 4);
    cr_expect_eq(c.cpu_count, 3);
    cr_expect(c.cpus[0] == 0 && c.cpus[1] == 2 && c.cpus[2] == 3);
    cr_expect(c.pin);
    cr_expect_eq(c.spin_ns, 50000);
    cr_expect_eq(c.ring_bytes, 1u << 20);
    cr_expect_eq(c.sessions, SESSIONS_COMPAT);
    cr_expect_eq(c.peers, PEERS_LISTED);
    cr_expect(!c.cipher_aes_gcm && c.cipher_chacha);
    cr_expect_eq(c.max_datagram, 1400);
    cr_expect(!c.gso && c.gro);
    cr_expect_eq(c.channel.log, LOG_NONE);
    cr_expect_eq(c.channel.max_lag, INT64_MAX);
    cr_expect(!c.channel.append && c.max_producers == 1 && c.producer_age_ns == 0);
}

Test(config, errors_name_file_line_key_found_and_allowed)
{
    refuses("listen: \"[::]:20037\"\nshards:\n  count: many\n",
            "D/node.yaml:3: shards.count: found \"many\", allowed: auto or 1..64");
    refuses("shards: {count: 0}", "D/node.yaml:1: shards.count: found \"0\", allowed: auto or 1..64");
    refuses("shards: {count: 65}", "D/node.yaml:1: shards.count: found \"65\", allowed: auto or 1..64");
    refuses("shards: {count: '4'}", "D/node.yaml:1: shards.count: found \"4\" (a text), allowed: auto or 1..64");
    refuses("shards: {count: -1}", "D/node.yaml:1: shards.count: found \"-1\", allowed: auto or 1..64");
    refuses("shards:\n  count: [1]\n", "D/node.yaml:2: shards.count: found a list, allowed: auto or 1..64");
    refuses("shards:\n  count: {a: 1}\n", "D/node.yaml:2: shards.count: found a mapping, allowed: auto or 1..64");
    refuses("shards:\n  count:\n", "D/node.yaml:2: shards.count: found nothing, allowed: auto or 1..64");
    refuses("shards: {pin: yes}", "D/node.yaml:1: shards.pin: found \"yes\", allowed: true or false");
    refuses("shards: {pin: 'true'}", "D/node.yaml:1: shards.pin: found \"true\" (a text), allowed: true or false");
    refuses("shards: {ring_bytes: 3MiB}",
            "D/node.yaml:1: shards.ring_bytes: found \"3MiB\", allowed: 1MiB..1GiB, a power of two");
    refuses("session: {heartbeat_interval: 5}\nlogging: {level: loud}",
            "D/node.yaml:2: logging.level: found \"loud\", allowed: error, warn, info or debug");
    refuses("session: {heartbeat_interval: 1ms}",
            "D/node.yaml:1: session.heartbeat_interval: found \"1ms\", allowed: a duration, 10ms..1h");
    refuses("transport: {max_datagram: 1199}",
            "D/node.yaml:1: transport.max_datagram: found \"1199\", allowed: auto or 1200..8210");
    refuses("listen: 127.0.0.1:0\n",
            "D/node.yaml:1: listen: found \"127.0.0.1:0\", allowed: ADDRESS:PORT or [IPV6]:PORT, port 1..65535");
    refuses("security: {ciphers: []}", "D/node.yaml:1: security.ciphers: found a list, allowed: a list of one or both "
                                       "of aes-256-gcm, chacha20-poly1305");
    refuses("security: {ciphers: aes-256-gcm}",
            "D/node.yaml:1: security.ciphers: found \"aes-256-gcm\", allowed: a list of one or "
            "both of aes-256-gcm, chacha20-poly1305");
    refuses("shards: {cpus: [1, 1]}",
            "D/node.yaml:1: shards.cpus: found a list, allowed: a list of at most 256 CPU numbers, each once");
}

Test(config, unknown_and_duplicate_keys)
{
    refuses("shards:\n  cuont: 1\n",
            "D/node.yaml:2: shards: found the unknown key \"cuont\", allowed: count, cpus, pin, spin, ring_bytes");
    refuses("\nlisten_addr: x\n",
            "D/node.yaml:2: found the unknown key \"listen_addr\", allowed: listen, admin, shards, memory, "
            "security, transport, session, limits, channels, metrics, stop, logging");
    refuses("shards.count: 1\n",
            "D/node.yaml:1: found the unknown key \"shards.count\", allowed: listen, admin, shards, memory, "
            "security, transport, session, limits, channels, metrics, stop, logging");
    refuses("shards:\n  count: 1\n  pin: true\n  count: 2\n",
            "D/node.yaml:4: shards.count: found twice (first in line 2), allowed: once");
    refuses("shards: {count: 1}\nshards: {pin: true}\n",
            "D/node.yaml:2: shards: found twice (first in line 1), allowed: once");
    refuses("shards: 4\n", "D/node.yaml:1: shards: found \"4\", allowed: a mapping of keys to values");
    refuses("- a\n", "D/node.yaml:1: found a list, allowed: a mapping of keys to values");
    refuses("listen: 1.2.3.4:5\n---\nlisten: 1.2.3.4:6\n", "D/node.yaml:3: found a second document, allowed: one");
    refuses("? [a]\n: 1\n", "D/node.yaml:1: found a list, allowed: keys that are words");
}

Test(config, a_mapping_of_too_many_keys)
{
    char text[257 * 16], *at = text;
    for (int i = 0; i < 257; i++)
        at += snprintf(at, 16, "k%d: 1\n", i);
    refuses(text, "D/node.yaml:1: found 257 keys, allowed: at most 256");
}

Test(config, text_that_is_not_yaml)
{
    struct config c;
    struct config_error e;
    cr_expect_eq(parse("listen: \"x\nshards: {\n", &c, &e), NET_ERR_INVALID);
    cr_expect(strncmp(e.text, "D/node.yaml:", 12) == 0 && strstr(e.text, "not YAML"), "%s", e.text);
    cr_expect_eq(config_parse("shards: {count: \"1\\0\"}", 22, "f", NULL, 0, &c, &e), NET_ERR_INVALID);
    cr_expect_str_eq(e.text, "f:1: shards.count: found a text with a NUL byte, allowed: auto or 1..64");
}

Test(config, session_timeout_exceeds_heartbeat_interval)
{
    struct config c;
    struct config_error e;
    refuses("session:\n  session_timeout: 5s\n",
            "D/node.yaml:2: session.session_timeout: found 5000ms, allowed: more than "
            "session.heartbeat_interval (5000ms)");
    refuses("session:\n  heartbeat_interval: 1m\n",
            "D/node.yaml:2: session.session_timeout: found 30000ms, allowed: more than "
            "session.heartbeat_interval (60000ms)");
    cr_expect_eq(parse("session: {heartbeat_interval: 1m, session_timeout: 61s}", &c, &e), NET_OK);
    cr_expect_eq(set("session.session_timeout=1s", &c, &e), NET_ERR_INVALID);
    cr_expect_str_eq(e.text,
                     "--set: session.session_timeout: found 1000ms, allowed: more than session.heartbeat_interval "
                     "(5000ms)");
}

Test(config, overrides)
{
    struct config c;
    struct config_error e;
    static const char *const two[] = {"shards.count=2", "shards.count=3"};
    cr_expect_eq(config_parse("shards: {count: 1, pin: true}", 29, "f", two, 2, &c, &e), NET_OK);
    cr_expect_eq(c.shards, 3, "the last --set counts");
    cr_expect(c.pin);
    cr_expect_eq(set("shards.cpus=[0, 2]", &c, &e), NET_OK, "%s", e.text);
    cr_expect(c.cpu_count == 2 && c.cpus[1] == 2);
    cr_expect_eq(set("shards.cpus=1,3", &c, &e), NET_OK, "%s", e.text);
    cr_expect(c.cpu_count == 2 && c.cpus[1] == 3);
    cr_expect_eq(set("shards.cpus=[]", &c, &e), NET_OK, "%s", e.text);
    cr_expect_eq(set("listen=[::1]:4000", &c, &e), NET_OK, "%s", e.text);
    cr_expect_eq(c.listen.port, 4000);
    cr_expect_eq(set("shards.count=many", &c, &e), NET_ERR_INVALID);
    cr_expect_str_eq(e.text, "--set: shards.count: found \"many\", allowed: auto or 1..64");
    cr_expect_eq(set("shards.count", &c, &e), NET_ERR_INVALID);
    cr_expect_str_eq(e.text, "--set: found \"shards.count\", allowed: KEY=VALUE");
    cr_expect_eq(set("shards=2", &c, &e), NET_ERR_INVALID);
    cr_expect_str_eq(e.text,
                     "--set: found the unknown key \"shards\", allowed: the keys of node.yaml, as in shards.count=2");
}

Test(config, the_generated_file_reads_back)
{
    static const char *const overrides[] = {"listen=[fe80::1]:7", "admin.listen=unix:a \"b\"\\c", "shards.cpus=4,5",
                                            "session.session_timeout=1h 30m", "channels.log=memory"};
    struct config defaults, c, expected;
    struct config_error e;
    char *text = config_render(NULL, 0, &e);
    cr_assert_not_null(text);
    config_defaults(&defaults);
    cr_expect_eq(parse(text, &c, &e), NET_OK, "%s", e.text);
    cr_expect_eq(memcmp(&c, &defaults, offsetof(struct config, lines)), 0);
    cr_expect_not_null(strstr(text, "listen: \"[::]:20037\"\n"));
    cr_expect_not_null(
        strstr(text, "  # Default: auto. Allowed: auto or 1..64.\n  # Applies: at the next start.\n  count: auto\n"));
    free(text);

    text = config_render(overrides, 5, &e);
    cr_assert_not_null(text, "%s", e.text);
    cr_expect_eq(config_parse("", 0, "f", overrides, 5, &expected, &e), NET_OK);
    cr_expect_eq(parse(text, &c, &e), NET_OK, "%s", e.text);
    cr_expect_eq(memcmp(&c, &expected, offsetof(struct config, lines)), 0);
    free(text);
    cr_expect_null(config_render((const char *const[]){"admin.listen=unix:a\nb"}, 1, &e));
}

/* Every key of the generated file has a comment, its default and what is allowed right above it. */
Test(config, every_generated_key_is_explained)
{
    struct config_error e;
    unsigned keys = 0;
    char *text = config_render(NULL, 0, &e), *save = NULL, *above[2] = {NULL};
    for (char *line = strtok_r(text, "\n", &save); line;
         above[0] = above[1], above[1] = line, line = strtok_r(NULL, "\n", &save)) {
        const char *bare = line + strspn(line, " ");
        if (*bare == '#' || line[strlen(line) - 1] == ':')
            continue;
        keys++;
        cr_expect(above[0] && strstr(above[0], "# Default: ") && strstr(above[0], "Allowed: "), "%s", line);
        cr_expect(above[1] && strstr(above[1], "# Applies: "), "%s", line);
    }
    cr_expect_eq(keys, config_key_count);
    free(text);
}

Test(config, durations)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"30", 30 * S},
                {"500ms", 500 * MS},
                {"2m", 120 * S},
                {"1h30m", 5400 * S},
                {"1h 30m", 5400 * S},
                {" 5s ", 5 * S},
                {"7ns", 7},
                {"3us", 3000},
                {"3\xc2\xb5s", 3000},
                {"1sec", S},
                {"2secs", 2 * S},
                {"1min", 60 * S},
                {"2mins", 120 * S},
                {"1hr", 3600 * S},
                {"2hrs", 7200 * S},
                {"1day", 86400 * S},
                {"2days", 172800 * S},
                {"1d  1h", 90000 * S},
                {"0", 0}};
    static const char *const bad[] = {"",  "abc", "10x", "1m5", "10 5s", "999999999999999d",     "1.5s", "-1s", "+1s",
                                      " ", "s",   "1 s", "1S",  "5s,",   "99999999999999999999", "1h30"};
    uint64_t ns;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_expect_eq(config_parse_duration(good[i].text, &ns), NET_OK, "%s", good[i].text);
        cr_expect_eq(ns, good[i].ns, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(config_parse_duration(bad[i], &ns), NET_ERR_INVALID, "%s", bad[i]);
}

Test(config, ids)
{
    static const char *const bad[] = {"0xzz", "abc", "", "0x", "0x10000000000000000", "18446744073709551616",
                                      "1 2",  "-1"};
    uint64_t id;
    cr_expect(config_parse_id("0xabcd", &id) == NET_OK && id == 0xabcd);
    cr_expect(config_parse_id("0XABCD", &id) == NET_OK && id == 0xabcd);
    cr_expect(config_parse_id("42", &id) == NET_OK && id == 42);
    cr_expect(config_parse_id(" 0x10 ", &id) == NET_OK && id == 16);
    cr_expect(config_parse_id("0xffffffffffffffff", &id) == NET_OK && id == UINT64_MAX);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(config_parse_id(bad[i], &id), NET_ERR_INVALID, "%s", bad[i]);
}

Test(config, sizes)
{
    static const char *const bad[] = {"", "KiB", "1kib", "1 KiB", "1KB", "17179869184GiB", "-1"};
    uint64_t size;
    cr_expect(config_parse_size("65536", &size) == NET_OK && size == 65536);
    cr_expect(config_parse_size("64KiB", &size) == NET_OK && size == 65536);
    cr_expect(config_parse_size("4MiB", &size) == NET_OK && size == 4u << 20);
    cr_expect(config_parse_size("1GiB", &size) == NET_OK && size == 1u << 30);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(config_parse_size(bad[i], &size), NET_ERR_INVALID, "%s", bad[i]);
}

Test(config, addresses)
{
    static const char *const same[] = {"127.0.0.1:1",   "255.255.255.255:65535",
                                       "[::]:20037",    "[2001:db8::1]:80",
                                       "[fe80::1%1]:9", "[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535"};
    static const char *const bad[] = {
        "",           "127.0.0.1",  "127.0.0.1:0", "127.0.0.1:65536", "localhost:1",        ":1",
        "::1:1",      "[::1]",      "[::1]1",      "[::1:1",          "[127.0.0.1]:1",      "1.2.3:4",
        "1.2.3.4: 5", "1.2.3.4:5 ", "[::1%]:1",    "[::1%0]:1",       "[::1%no-such-if]:1", "1.2.3.4%1:5"};
    static const uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
    struct io_addr a;
    char text[64];
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        cr_expect_eq(config_parse_addr(same[i], &a), NET_OK, "%s", same[i]);
        config_format_addr(&a, text);
        cr_expect_str_eq(text, same[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(config_parse_addr(bad[i], &a), NET_ERR_INVALID, "%s", bad[i]);
    cr_expect_eq(config_parse_addr("127.0.0.1:1", &a), NET_OK);
    cr_expect_eq(memcmp(a.ip, mapped, sizeof mapped), 0, "IPv4 is kept v4-mapped");
}
