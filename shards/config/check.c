/* `config check`: everything a node reads at its start, and what is legal there but rarely meant. */
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/crypto/crypto.h"
#include "core/identity/identity.h"
#include "shards/config/config_internal.h"

struct check {
    const char *dir;
    const struct config *config;
    void (*found)(void *ctx, enum check_kind, const char *text);
    void *ctx;
};

/* A warning about a key: "DIR/node.yaml:LINE: key: why". Only node.yaml has lines. */
__attribute__((format(printf, 4, 5))) static void warn(const struct check *k, const char *key, int32_t line,
                                                       const char *format, ...)
{
    char why[512], place[32] = "", text[CONFIG_PATH_MAX + 1024];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    if (line > 0)
        text_format(place, sizeof place, ":%d", line);
    if (line == CONFIG_LINE_SET)
        text_format(text, sizeof text, "--set: %s: %s", key, why);
    else
        text_format(text, sizeof text, "%s/node.yaml%s: %s: %s", k->dir, place, key, why);
    k->found(k->ctx, CHECK_WARNING, text);
}

static int32_t line_of(const struct check *k, const char *key)
{
    return k->config->lines[config_key_find(key) - config_keys];
}

/* ---- suspicious settings ---- */

static bool is_loopback(const struct io_addr *a)
{
    static const uint8_t v4[12] = {[10] = 0xff, 0xff}, v6[16] = {[15] = 1};
    return (memcmp(a->ip, v4, sizeof v4) == 0 && a->ip[12] == 127) || memcmp(a->ip, v6, sizeof v6) == 0;
}

static void check_security(const struct check *k)
{
    const struct config *c = k->config;
    if (!c->admin.is_unix && !is_loopback(&c->admin.addr))
        warn(k, "admin.listen", line_of(k, "admin.listen"),
             "reached from other machines, by plain HTTP: tokens and events cross the network unencrypted");
    if (c->sessions == SESSIONS_COMPAT)
        warn(k, "security.sessions", line_of(k, "security.sessions"),
             "compat lets in whoever holds the psk, without proof of who it is");
    if (c->sessions == SESSIONS_COMPAT && !c->cipher_chacha)
        warn(k, "security.ciphers", line_of(k, "security.ciphers"),
             "peers of v0.19 know chacha20-poly1305 alone and cannot connect");
    if (c->key_log[0])
        warn(k, "security.key_log", line_of(k, "security.key_log"),
             "the keys of all sessions go to a file: whoever reads it reads the traffic");
    if (c->session_timeout_ns < 2 * c->heartbeat_interval_ns)
        warn(k, "session.session_timeout", line_of(k, "session.session_timeout"),
             "less than two heartbeats: one that is lost makes a peer look silent");
}

static bool has_retention(const struct channel_settings *s)
{
    return s->retention_events || s->retention_bytes || s->retention_age_ns;
}

/* Settings that say nothing as the others are, where they stand: not those that a rule only inherits. `lines` by
 * setting, as in struct channel_rule. */
static void check_channel(const struct check *k, const struct channel_settings *s, const char *prefix,
                          const int32_t lines[CHANNEL_SETTINGS])
{
    enum { LOG, FSYNC, FSYNC_N, FSYNC_TIME, KEEP_EVENTS, KEEP_BYTES, KEEP_AGE, MAX_LAG, APPEND };
    static const char *const names[] = {
        "log",           "fsync",   "fsync_events", "fsync_interval", "retention_events", "retention_bytes",
        "retention_age", "max_lag", "append"};
    _Static_assert(APPEND + 1 == CHANNEL_SETTINGS, "a name for each");
    const uint64_t limit[] = {s->retention_events, s->retention_bytes, s->retention_age_ns};
    char keys[CHANNEL_SETTINGS][CONFIG_KEY_PATH];
    for (size_t i = 0; i < CHANNEL_SETTINGS; i++)
        text_format(keys[i], sizeof keys[i], "%s.%s", prefix, names[i]);
    if (s->fsync != FSYNC_NEVER && s->log != LOG_DISK && lines[FSYNC])
        warn(k, keys[FSYNC], lines[FSYNC], "has no effect: the log is not on disk");
    for (size_t i = KEEP_EVENTS; i <= KEEP_AGE && s->log == LOG_NONE; i++)
        if (limit[i - KEEP_EVENTS] && lines[i])
            warn(k, keys[i], lines[i], "has no effect: with log: none there is nothing to keep");
    if (s->retention_events && s->max_lag > s->retention_events)
        warn(k, keys[MAX_LAG], lines[MAX_LAG], "has no effect: the log keeps fewer events (retention_events)");
}

static void check_channels(const struct check *k)
{
    const struct config *c = k->config;
    int32_t lines[CHANNEL_SETTINGS];
    config_channel_lines(c, lines);
    check_channel(k, &c->channel, "channels", lines);
    bool grows = c->channel.log == LOG_DISK && !has_retention(&c->channel);
    if (grows)
        warn(k, "channels.log", lines[0], "disk without any retention: logs grow until the disk is full");
    for (uint32_t i = 0; i < c->rule_count; i++) {
        const struct channel_rule *rule = &c->rules[i];
        char prefix[CONFIG_KEY_PATH];
        text_format(prefix, sizeof prefix, "channels.prefixes.%s", rule->prefix);
        check_channel(k, &rule->settings, prefix, rule->lines);
        if (!grows && rule->settings.log == LOG_DISK && !has_retention(&rule->settings)) {
            int32_t line = 0;
            for (size_t n = 0; n < CHANNEL_SETTINGS && line == 0; n++)
                line = rule->lines[n];
            warn(k, prefix, line, "disk without any retention: logs grow until the disk is full");
        }
    }
}

/* ---- the files ---- */

static void check_identity(const struct check *k, const char *path, const uint8_t seed[32])
{
    struct crypto *crypto;
    struct identity id;
    char text[CONFIG_PATH_MAX + 128];
    if (crypto_init(&crypto, NULL) != NET_OK)
        return; /* nothing that the directory could help */
    int err = identity_init(&id, crypto, seed);
    crypto_deinit(crypto);
    if (err == NET_OK) {
        identity_deinit(&id);
        return;
    }
    text_format(text, sizeof text, "%s: gives a node id that no node may have; make another directory", path);
    k->found(k->ctx, CHECK_SECRET, text);
}

static void check_secrets(const struct check *k)
{
    static const char *const names[] = {"identity", "noise.key", "psk", "admin.token", "readonly.token"};
    enum { IDENTITY, READONLY = 4, SECRETS };
    for (size_t i = 0; i < SECRETS; i++) {
        struct config_error error;
        char path[CONFIG_PATH_MAX];
        uint8_t secret[32];
        int err = file_path(k->dir, names[i], path, &error);
        if (!err)
            err = secret_read(path, secret, &error);
        if (!err && i == IDENTITY)
            check_identity(k, path, secret);
        if (err && !(i == READONLY && err == NET_ERR_NOT_FOUND)) /* it may be missing */
            k->found(k->ctx, CHECK_SECRET, error.text);
        secure_wipe(secret, sizeof secret);
    }
}

static void check_mode(const struct check *k)
{
    struct stat st;
    char text[CONFIG_PATH_MAX + 128];
    if (stat(k->dir, &st) != 0 || !(st.st_mode & 022))
        return;
    text_format(text, sizeof text, "%s: mode %04o lets others replace its files; chmod 700 %s", k->dir,
                (unsigned)(st.st_mode & 07777), k->dir);
    k->found(k->ctx, CHECK_WARNING, text);
}

static void check_peers(const struct check *k, bool config_read)
{
    struct config_error error;
    struct peers_file peers;
    if (peers_file_load(k->dir, &peers, &error) != NET_OK) {
        k->found(k->ctx, CHECK_CONFIG, error.text);
        return;
    }
    if (config_read && k->config->peers == PEERS_LISTED && peers.peer_count == 0)
        warn(k, "security.peers", line_of(k, "security.peers"), "listed, but peers.yaml has no peer: nobody gets in");
    if (config_read && peers.peer_count > k->config->max_peers)
        warn(k, "limits.peers", line_of(k, "limits.peers"),
             "less than the %zu peers of peers.yaml: the node will not start", peers.peer_count);
    peers_file_free(&peers);
}

void node_dir_check(const char *dir, const char *const *overrides, size_t count,
                    void (*found)(void *ctx, enum check_kind, const char *text), void *ctx)
{
    struct config c;
    struct config_error error;
    const struct check k = {dir, &c, found, ctx};
    bool read = config_load(dir, overrides, count, &c, &error) == NET_OK;
    if (read && config_resolve_paths(&c, dir, &error) != NET_OK)
        found(ctx, CHECK_CONFIG, error.text);
    if (read) {
        check_security(&k);
        check_channels(&k);
    } else
        found(ctx, CHECK_CONFIG, error.text);
    check_secrets(&k);
    check_mode(&k);
    check_peers(&k, read);
}
