/*
 * Configuration: node.yaml, the files of a node's directory, and --set overrides. Checked once, immutable afterwards: a
 * reload makes another one. Every key stands in one table (config_keys.c) that drives parsing, messages, defaults, what
 * a reload may change, and the generated, commented file.
 */
#ifndef NM_SHARDS_CONFIG_CONFIG_H
#define NM_SHARDS_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/io/io.h"

enum { CONFIG_PATH_MAX = 4096, CONFIG_MAX_CPUS = 256, CONFIG_MAX_SHARDS = 64, CONFIG_MAX_RULES = 64 };
enum { CONFIG_KEY_MAX = 96 }; /* keys there may be; a few dozen are used */
enum {
    CONFIG_MAX_YAML = 64 << 10
}; /* bytes of node.yaml: ours has 9 KB, and libyaml takes time in the square of the depth */
enum { CONFIG_LINE_SET = -1 }; /* in place of a line of node.yaml: given by --set */

enum config_sessions { SESSIONS_SECURE, SESSIONS_COMPAT };
enum config_peers { PEERS_ANY, PEERS_LISTED };
enum config_log { LOG_DISK, LOG_MEMORY, LOG_NONE };
enum config_logging { LOGGING_AUTO, LOGGING_TEXT, LOGGING_JSON };
enum config_fsync { FSYNC_NEVER, FSYNC_EACH, FSYNC_EVERY, FSYNC_INTERVAL };
enum config_level { LEVEL_ERROR, LEVEL_WARN, LEVEL_INFO, LEVEL_DEBUG };

/* How the log of a channel is kept, this node's own and the copies of what peers publish alike. */
struct channel_settings {
    enum config_log log;        /* channels.log: disk | memory | none */
    enum config_fsync fsync;    /* channels.fsync: never | each (batch: answered when synced) | every | interval */
    uint64_t fsync_events;      /* channels.fsync_events: 1000, for `every` */
    uint64_t fsync_interval_ns; /* channels.fsync_interval: 1s, for `interval` */
    uint64_t retention_events;  /* channels.retention_events: none = 0 */
    uint64_t retention_bytes;   /* channels.retention_bytes: none = 0; payload and 20 an event */
    uint64_t retention_age_ns;  /* channels.retention_age: none = 0 */
    uint64_t max_lag;           /* channels.max_lag: 0 = what the log retains, else events */
    bool append;                /* channels.append: true */
};
enum { CHANNEL_SETTINGS = 9 };
/* channels.prefixes.PREFIX, resolved: what a rule does not say is what channels.* says. */
struct channel_rule {
    char prefix[256];
    struct channel_settings settings;
    int32_t lines[CHANNEL_SETTINGS]; /* of node.yaml, where it says each, in the order above; 0: it does not */
};

struct config {
    struct io_addr listen; /* listen: "[::]:20037"; port 0 refused */
    struct {               /* admin.listen: "127.0.0.1:20038" or "unix:PATH" (relative to the node's directory) */
        bool is_unix;
        struct io_addr addr;
        char path[108];
    } admin;
    uint32_t admin_connections;     /* admin.connections: 256, 1..65536 */
    uint64_t admin_idle_timeout_ns; /* admin.idle_timeout: 60s */
    uint32_t admin_header_bytes;    /* admin.header_bytes: 16384 */

    uint32_t shards;                /* shards.count: auto (one per CPU of the mask) = 0, or 1..64 */
    uint16_t cpus[CONFIG_MAX_CPUS]; /* shards.cpus: [] = the affinity mask */
    uint32_t cpu_count;
    bool pin;            /* shards.pin: false */
    uint64_t spin_ns;    /* shards.spin: 0s: how long a shard looks for work before it sleeps */
    uint32_t ring_bytes; /* shards.ring_bytes: 4MiB, power of two, between each ordered pair */
    bool core_dumps;     /* memory.core_dumps: false */
    bool memory_lock;    /* memory.lock: false (mlock what can be; never fatal) */

    enum config_sessions sessions;      /* security.sessions: secure | compat */
    enum config_peers peers;            /* security.peers: any | listed */
    bool cipher_aes_gcm, cipher_chacha; /* security.ciphers: [aes-256-gcm, chacha20-poly1305] */
    char key_log[256]; /* security.key_log: none = "", or a path, ./NAME being relative to the node's directory */

    uint16_t max_datagram;  /* transport.max_datagram: auto = 0, or 1200..8210 */
    uint32_t window;        /* transport.window: 1MiB, 64KiB..1GiB: credit per stream we grant our peers */
    uint32_t follow_window; /* transport.follow_window: 4MiB, 64KiB..1GiB: the same, of what we follow */
    uint32_t socket_buffer; /* transport.socket_buffer: 4MiB */
    bool gso, gro;          /* transport.gso, transport.gro: true */

    uint64_t heartbeat_interval_ns; /* session.heartbeat_interval: 5s, 10ms.. */
    uint64_t session_timeout_ns;    /* session.session_timeout: 30s, > heartbeat_interval */
    uint64_t handshake_timeout_ns;  /* session.handshake_timeout: 5s */
    uint32_t handshake_retries;     /* session.handshake_retries: 3, 0..1024 (0 acts as 1) */
    uint64_t rekey_interval_ns;     /* session.rekey_interval: 24h */

    uint32_t max_peers;                 /* limits.peers: 4096 */
    uint32_t max_pending_handshakes;    /* limits.pending_handshakes: 256 */
    uint32_t max_handshakes_per_source; /* limits.handshakes_per_source: 5 per second */
    uint32_t max_streams;               /* limits.streams_per_peer: 4096 */
    uint64_t stream_idle_ns;            /* limits.stream_idle: 5m */
    uint64_t max_unacknowledged;        /* limits.unacknowledged: 64MiB, on each shard */
    uint32_t max_channels;              /* limits.channels: 4096 logs open */
    uint32_t max_channels_per_peer;     /* limits.channels_per_peer: 1024 */
    uint32_t event_bytes;               /* limits.event_bytes: 1MiB, 1KiB..16MiB: the largest event */
    uint64_t reassembly_peer;           /* limits.reassembly_per_peer: 32MiB, from 17MiB: holds the largest event */
    uint64_t reassembly_total;          /* limits.reassembly: 128MiB on each shard */

    struct channel_settings channel; /* channels.*, of every channel without a rule: read it with config_channel() */
    struct channel_rule rules[CONFIG_MAX_RULES]; /* channels.prefixes, as they stand in the file */
    uint32_t rule_count;
    uint32_t
        log_none_bytes; /* channels.none_bytes: 2MiB, power of two from 512KiB: what a channel with log none keeps */
    uint64_t ack_timeout_ns;     /* channels.ack_timeout: 5s */
    uint32_t max_producers;      /* channels.producers: 4096, of one channel */
    uint64_t producer_age_ns;    /* channels.producer_age: 24h; none = 0 */
    uint64_t publish_timeout_ns; /* channels.publish_timeout: 30s: how long a publish waits for room */

    uint32_t metrics_channels, metrics_peers; /* metrics.channels, metrics.peers: 200, 0..65536 rows in /metrics */

    uint64_t stop_timeout_ns; /* stop.timeout: 30s */

    enum config_level log_level;    /* logging.level: info */
    enum config_logging log_format; /* logging.format: auto | text | json */
    uint32_t log_rate;              /* logging.rate: 10 lines of a kind per second and shard; none = 0 */

    int32_t lines[CONFIG_KEY_MAX]; /* by number of the key, where it was given: a line, CONFIG_LINE_SET; 0: nowhere */
};

/* Where something is wrong and how: "node.yaml:12: shards.count: found \"many\", allowed: auto or 1..64". */
struct config_error {
    char text[1024];
};

void config_defaults(struct config *);
/* What holds for a channel: the rule of the longest prefix that is the name or ends before a slash of it ("sensors" has
 * "sensors" and "sensors/x", not "sensors2"), else the settings of channels.*. */
const struct channel_settings *config_channel(const struct config *, const char *name);
/* Reads DIR/node.yaml, then applies `count` "key=value" overrides. 0 or NET_ERR_INVALID / NET_ERR_NOT_FOUND /
 * NET_ERR_IO with *error filled. Unknown key, duplicate key, wrong type, value out of range are all errors. */
int config_load(const char *dir, const char *const *overrides, size_t count, struct config *, struct config_error *);
/* The same from memory; `file` is the name messages give. */
int config_parse(const char *text, size_t len, const char *file, const char *const *overrides, size_t count,
                 struct config *, struct config_error *);
/* The generated, commented node.yaml with `overrides` in place. Caller frees. NULL with *error on a bad override. */
char *config_render(const char *const *overrides, size_t count, struct config_error *);

/* Every key and what it is here, in the order of node.yaml, and after channels.prefixes each setting that a rule states
 * ("channels.prefixes.sensors.fsync"). */
struct config_row {
    const char *key;
    const char *value;   /* as node.yaml has it: 16KiB, 60s, [0, 2] */
    int32_t line;        /* as in struct config */
    const char *applies; /* what a reload does with it: "at once on reload", "at the next start", ... */
    bool live;           /* a reload changes it */
    const char *pending; /* of a running node: what the file says now and the next start brings, or NULL */
};
/* "default", "node.yaml" or "--set": where the value is from. */
const char *config_source(const struct config_row *);
/* `started` and `read` as for config_merge(), or NULL when there is no running node. */
void config_each(const struct config *, const struct config *started, const struct config *read,
                 void (*row)(void *ctx, const struct config_row *), void *ctx);

/* What a reload does. `read` is what the files say now and `started` what they said at the start, of which `running`
 * has the values in use: *out takes from `read` what can change at run time. */
struct config_changes { /* names of keys, static */
    const char *applied[CONFIG_KEY_MAX];
    const char *restart[CONFIG_KEY_MAX]; /* changed, but only a start brings it */
    size_t applied_count, restart_count;
};
void config_merge(const struct config *running, const struct config *started, const struct config *read,
                  struct config *out, struct config_changes *);
/* What a key of node.yaml is, for manuals. */
struct config_doc {
    const char *name, *initial; /* the default, as text; of a list: its items, "" for none */
    const char *text;           /* sentences, a line each */
    char allowed[256];          /* "auto or 1..64" */
    bool of_channels;           /* also for the channels of a prefix */
};
/* The key at `index`, in the order of the file; false: there are no more. */
bool config_describe(size_t index, struct config_doc *out);

/* admin.listen: unix:PATH and security.key_log are relative to the node's directory. NET_ERR_INVALID: too long then,
 * for a socket or for the field. */
int config_resolve_paths(struct config *, const char *dir, struct config_error *);

/* Texts as people write them. Each parser returns 0 or NET_ERR_INVALID. */
/* "A:P", "[v6]:P"; port 0 and names are refused. */
int config_parse_addr(const char *text, struct io_addr *out);
void config_format_addr(const struct io_addr *, char out[64]); /* v4-mapped as plain IPv4 */
int config_parse_number(const char *text, uint64_t *out);      /* decimal digits alone */
int config_parse_id(const char *text, uint64_t *out);          /* 0x hex or decimal, cli.md 2.2 */
int config_parse_key(const char *text, uint8_t out[32]);       /* 64 hex digits */
int config_parse_duration(const char *text, uint64_t *out_ns); /* cli.md 2.1 */
int config_parse_size(const char *text, uint64_t *out);        /* 65536, 64KiB, 4MiB, 1GiB */

/* The node's directory. Secrets are 64 hex digits in files of mode 0600; node_secrets_wipe() when done. */
struct node_tokens {   /* of the admin port, as text */
    char admin[65];    /* admin.token: for everything */
    char readonly[65]; /* readonly.token: may only read; "": there is none */
};
struct node_secrets {
    uint8_t seed[32];          /* identity */
    uint8_t static_secret[32]; /* noise.key */
    uint8_t psk[32];           /* psk */
    struct node_tokens tokens;
};
/* Both tokens; DIR/readonly.token may be missing. Errors as node_dir_load_secrets(). The caller wipes them. */
int node_dir_load_tokens(const char *dir, struct node_tokens *, struct config_error *);
/* A token alone, of a node's directory or NET_MESH_TOKEN_FILE. As below. */
int admin_token_load(const char *path, char token[65], struct config_error *);
/* NET_ERR_NOT_FOUND, NET_ERR_IO; NET_ERR_INVALID for a file that others may read or that is not 64 hex digits. */
int node_dir_load_secrets(const char *dir, struct node_secrets *, struct config_error *);
void node_secrets_wipe(struct node_secrets *);

struct node_dir_init {
    const char *dir;
    const char *psk_file;         /* --psk-file, or DIR/psk of --psk-from; NULL: make one */
    const char *const *overrides; /* listen=, admin.listen=, --set */
    size_t override_count;
    bool force; /* rewrite node.yaml only */
};
/* Creates DIR (0700) with node.yaml and secrets; never replaces keys or logs. NET_ERR_EXISTS for a node's directory
 * without force and for any other that is not empty, NET_ERR_INVALID (an override), NET_ERR_IO and others of files,
 * with *error filled. */
int node_dir_create(const struct node_dir_init *, struct config_error *);

/* Everything a node reads at its start: `found` is called for what is wrong, and for what is legal but rarely meant. */
enum check_kind {
    CHECK_CONFIG, /* node.yaml, --set or peers.yaml: no start */
    CHECK_SECRET, /* missing, malformed, or open to others: no start */
    CHECK_WARNING,
};
void node_dir_check(const char *dir, const char *const *overrides, size_t count,
                    void (*found)(void *ctx, enum check_kind, const char *text), void *ctx);

/* peers.yaml: peers and subscriptions. */
enum { PEER_NAME_MAX = 63, CONFIG_MAX_PEERS_YAML = 65536 };
enum peer_compat { PEER_OURS, PEER_V019 };
enum peer_mode { PEER_MODE_ROUTED, PEER_MODE_DIRECT };
struct peer_entry {
    char name[PEER_NAME_MAX + 1]; /* [A-Za-z0-9._-]{1,63}, not starting with 0x or a digit-only name, not "self" */
    uint64_t node_id;
    bool has_addr; /* false: inbound only (compat) */
    struct io_addr addr;
    bool has_key;
    uint8_t public_key[32]; /* X25519 */
    enum peer_compat compat;
    enum peer_mode mode;
};
/* X7: a followed channel's log is mirrored from a place on; live: what is published while we are connected. */
enum subscription_mode { SUBSCRIBE_FOLLOW, SUBSCRIBE_LIVE };
/* Where a follow begins that goes on from no log of an earlier one. */
enum subscription_start { START_DEFAULT /* earliest */, START_EARLIEST, START_LATEST, START_SEQUENCE };
struct subscription_entry {
    char channel[256];
    uint64_t peer; /* node id */
    enum subscription_mode mode;
    enum subscription_start start; /* of follow */
    uint64_t sequence;             /* of START_SEQUENCE */
    bool anew;                     /* it counts, whatever log there is of an earlier follow */
};
struct peers_file {
    struct peer_entry *peers;
    size_t peer_count;
    struct subscription_entry *subscriptions;
    size_t subscription_count;
};
/* DIR/peers.yaml, or a text that messages call `file`. 0 and what peers_file_free() frees, or NET_ERR_INVALID,
 * NET_ERR_IO, NET_ERR_TOO_LARGE, NET_ERR_NO_MEMORY with *error filled and nothing to free. No file: empty. */
int peers_file_load(const char *dir, struct peers_file *, struct config_error *);
int peers_file_parse(const char *text, size_t len, const char *file, struct peers_file *, struct config_error *);
void peers_file_free(struct peers_file *);
/* The file's text of *len bytes, which the caller frees; NULL: no memory. */
char *peers_file_render(const struct peers_file *, size_t *len);
/* "earliest", "latest" or a decimal sequence. 0 or NET_ERR_INVALID. */
int subscription_start_parse(const char *text, enum subscription_start *, uint64_t *sequence);
/* Checks one entry as the file and `peer add` do; text says what is wrong. 0 or NET_ERR_INVALID. */
int peer_entry_check(const struct peer_entry *, struct config_error *);

#endif
