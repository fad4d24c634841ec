/*
 * Every key of node.yaml. The table drives defaults, parsing, messages and the generated file: a new key is a field in
 * struct config and a row here.
 */
#include <string.h>

#include "shards/config/config_internal.h"
#include "shards/config/units.h"

static const char *const words_sessions[] = {"secure", "compat", NULL};
static const char *const words_peers[] = {"any", "listed", NULL};
static const char *const words_log[] = {"disk", "memory", "none", NULL};
static const char *const words_logging[] = {"auto", "text", "json", NULL};
static const char *const words_fsync[] = {"never", "each", "every", "interval", NULL};
static const char *const words_level[] = {"error", "warn", "info", "debug", NULL};

#define FIELD(member) .offset = offsetof(struct config, member), .size = sizeof(((struct config *)NULL)->member)
#define CHANNEL(member) FIELD(channel.member), .channel = true
#define RANGE(lo, hi) .min = (lo), .max = (hi)

/* .live: how a reload applies a key, as a person reads it. */
#define AT_ONCE "at once on reload"
#define NEW_SESSIONS "on reload, to new sessions"
#define NEW_LOGS "on reload, to channels whose log is not open yet"

// clang-format off
const struct config_key config_keys[] = {
    {"listen", KEY_LISTEN, "[::]:20037", FIELD(listen),
     .doc = "UDP address of the mesh. [::] serves IPv4, too."},

    {"admin.listen", KEY_ADMIN, "127.0.0.1:20038", FIELD(admin),
     .doc = "Where the admin port (HTTP) listens: a TCP address, or a unix socket of mode 0600.\n"
            "A relative PATH is relative to this directory."},
    {"admin.connections", KEY_NUMBER, "256", FIELD(admin_connections), RANGE(1, 65536),
     .live = AT_ONCE,
     .doc = "How many connections the admin port has open at a time."},
    {"admin.idle_timeout", KEY_DURATION, "60s", FIELD(admin_idle_timeout_ns), RANGE(1 * S, DAY),
     .live = AT_ONCE,
     .doc = "An admin connection on which nothing happens for so long is closed."},
    {"admin.header_bytes", KEY_SIZE, "16KiB", FIELD(admin_header_bytes), RANGE(1 * KIB, 64 * KIB),
     .live = AT_ONCE,
     .doc = "Longest head of an HTTP request, in bytes."},

    {"shards.count", KEY_NUMBER, "auto", FIELD(shards), RANGE(1, CONFIG_MAX_SHARDS), .zero = "auto",
     .doc = "How many shards (threads) the node has; auto is one per CPU."},
    {"shards.cpus", KEY_CPUS, "", .max = UINT16_MAX,
     .doc = "The CPUs shards run on, as in [0, 2]; [] is every CPU the process may use."},
    {"shards.pin", KEY_BOOL, "false", FIELD(pin),
     .doc = "Whether each shard stays on one CPU."},
    {"shards.spin", KEY_DURATION, "0s", FIELD(spin_ns), RANGE(0, 1 * S),
     .doc = "How long a shard looks for work before it sleeps. More is less latency for more CPU time."},
    {"shards.ring_bytes", KEY_SIZE, "4MiB", FIELD(ring_bytes), RANGE(1024 * KIB, 1 * GIB), .power_of_two = true,
     .doc = "Size of the ring between each ordered pair of shards, in bytes."},

    {"memory.lock", KEY_BOOL, "false", FIELD(memory_lock),
     .doc = "Whether to keep memory from being swapped out. Where the system refuses, the node goes on without."},

    {"memory.core_dumps", KEY_BOOL, "false", FIELD(core_dumps),
     .doc = "Whether a crash may leave a core dump. It would hold the keys of the node and of its sessions.\n"
            "While it may not, debuggers and tracers need root, too."},

    {"security.sessions", KEY_WORD, "secure", FIELD(sessions), .words = words_sessions,
     .live = NEW_SESSIONS,
     .doc = "secure: only peers that prove their entity get in, and v0.19 peers that peers.yaml names.\n"
            "compat: v0.19 peers that nothing names get in, too."},
    {"security.peers", KEY_WORD, "any", FIELD(peers), .words = words_peers,
     .live = NEW_SESSIONS,
     .doc = "any: who holds the psk and proves an entity gets in. listed: only the peers of peers.yaml."},
    {"security.ciphers", KEY_CIPHERS, "aes-256-gcm, chacha20-poly1305",
     .doc = "What this node offers and accepts to encrypt packets. Peers of v0.19 know chacha20-poly1305 alone."},
    {"security.key_log", KEY_PATH, "none", FIELD(key_log), .zero = "none",
     .doc = "File to which the keys of all sessions are appended, so that Wireshark can show what captured packets\n"
            "carry (deploy/wireshark). Whoever reads it reads the traffic. ./NAME is relative to this directory."},

    {"transport.max_datagram", KEY_NUMBER, "auto", FIELD(max_datagram), RANGE(1200, 8210), .zero = "auto",
     .live = NEW_SESSIONS,
     .doc = "Largest UDP payload sent, in bytes; auto takes what the path to each peer carries in one piece."},
    {"transport.window", KEY_SIZE, "1MiB", FIELD(window), RANGE(64 * KIB, 1 * GIB),
     .live = NEW_SESSIONS,
     .doc = "How many bytes a peer may send on one stream before we have taken any; less\n"
            "when that many for each subscription would be more than half of the socket buffer."},
    {"transport.follow_window", KEY_SIZE, "4MiB", FIELD(follow_window), RANGE(64 * KIB, 1 * GIB), .live = NEW_SESSIONS,
     .doc = "The same for the log of a channel that is followed: what may be on its way to our own log of it."},
    {"transport.socket_buffer", KEY_SIZE, "4MiB", FIELD(socket_buffer), RANGE(64 * KIB, 1 * GIB),
     .doc = "Socket buffer asked of the kernel, each way, in bytes. net.core.rmem_max and wmem_max cap it."},
    {"transport.gso", KEY_BOOL, "true", FIELD(gso),
     .doc = "Whether to send many datagrams with one call, where the kernel can."},
    {"transport.gro", KEY_BOOL, "true", FIELD(gro),
     .doc = "Whether to receive many datagrams with one call, where the kernel can."},

    {"session.heartbeat_interval", KEY_DURATION, "5s", FIELD(heartbeat_interval_ns), RANGE(10 * MS, HOUR),
     .live = AT_ONCE,
     .doc = "How often a heartbeat goes to each peer."},
    {"session.session_timeout", KEY_DURATION, "30s", FIELD(session_timeout_ns), RANGE(20 * MS, DAY),
     .live = AT_ONCE,
     .doc = "A peer that is silent for so long is down. Longer than heartbeat_interval."},
    {"session.handshake_timeout", KEY_DURATION, "5s", FIELD(handshake_timeout_ns), RANGE(10 * MS, HOUR),
     .live = AT_ONCE,
     .doc = "How long one attempt of a handshake waits for its answer."},
    {"session.handshake_retries", KEY_NUMBER, "3", FIELD(handshake_retries), RANGE(0, 1024),
     .live = AT_ONCE,
     .doc = "Attempts of a handshake before it counts as failed; 0 acts as 1."},
    {"session.rekey_interval", KEY_DURATION, "24h", FIELD(rekey_interval_ns), RANGE(1 * S, 30 * DAY),
     .live = AT_ONCE,
     .doc = "How often a session gets new keys."},

    {"limits.peers", KEY_NUMBER, "4096", FIELD(max_peers), RANGE(1, 1048576),
     .live = AT_ONCE,
     .doc = "How many peers the node knows at a time."},
    {"limits.pending_handshakes", KEY_NUMBER, "256", FIELD(max_pending_handshakes), RANGE(1, 65536),
     .doc = "How many handshakes are under way at a time."},
    {"limits.handshakes_per_source", KEY_NUMBER, "5", FIELD(max_handshakes_per_source), RANGE(1, UINT16_MAX),
     .live = AT_ONCE,
     .doc = "Handshakes answered for one source address, per second."},
    {"limits.streams_per_peer", KEY_NUMBER, "4096", FIELD(max_streams), RANGE(1, 65536),
     .live = AT_ONCE,
     .doc = "Streams open with one peer."},
    {"limits.stream_idle", KEY_DURATION, "5m", FIELD(stream_idle_ns), RANGE(1 * S, DAY),
     .live = AT_ONCE,
     .doc = "How long nothing moves on a fire-and-forget stream of an application until it is forgotten."},
    {"limits.unacknowledged", KEY_SIZE, "64MiB", FIELD(max_unacknowledged), RANGE(1 * MIB, 64 * GIB),
     .live = AT_ONCE,
     .doc = "Memory, on each shard, for packets of reliable streams: not acknowledged yet, or arrived before their turn."},
    {"limits.channels", KEY_NUMBER, "4096", FIELD(max_channels), RANGE(1, 65536),
     .live = AT_ONCE,
     .doc = "Logs open at a time, on each shard. Half of them may be of channels that only peers asked for."},
    {"limits.channels_per_peer", KEY_NUMBER, "1024", FIELD(max_channels_per_peer), RANGE(1, 65536),
     .live = AT_ONCE,
     .doc = "Channels one peer may subscribe to, on each shard."},
    {"limits.event_bytes", KEY_SIZE, "1MiB", FIELD(event_bytes), RANGE(1 * KIB, 16384 * KIB),
     .live = AT_ONCE,
     .doc = "The largest event that is published here, appended by peers, received live, or on a stream of an application,\n"
            "in bytes. What exceeds a packet goes in fragments, to peers that take them: not to those of v0.19."},
    {"limits.reassembly_per_peer", KEY_SIZE, "32MiB", FIELD(reassembly_peer), RANGE(17 * 1024 * KIB, 1 * GIB),
     .live = AT_ONCE,
     .doc = "Memory that events which one peer sends in fragments take until they are whole, in bytes."},
    {"limits.reassembly", KEY_SIZE, "128MiB", FIELD(reassembly_total), RANGE(17 * 1024 * KIB, 64 * GIB),
     .live = AT_ONCE,
     .doc = "The same of all peers together, on each shard."},

    {"channels.log", KEY_WORD, "disk", CHANNEL(log), .words = words_log,
     .live = NEW_LOGS,
     .doc = "Where events are kept: disk, memory, or none (only what subscribers have still to get)."},
    {"channels.fsync", KEY_WORD, "never", CHANNEL(fsync), .words = words_fsync,
     .live = AT_ONCE,
     .doc = "When a log on disk is synced: never (the system writes in its own time; --durable syncs what it publishes),\n"
            "each (a publish is answered when it is synced), every fsync_events, or every fsync_interval."},
    {"channels.fsync_events", KEY_NUMBER, "1000", CHANNEL(fsync_events), RANGE(1, UINT32_MAX),
     .live = AT_ONCE,
     .doc = "With fsync: every, the events after which a log is synced."},
    {"channels.fsync_interval", KEY_DURATION, "1s", CHANNEL(fsync_interval_ns), RANGE(1 * MS, HOUR),
     .live = AT_ONCE,
     .doc = "With fsync: interval, the time after which what was written is synced."},
    {"channels.retention_events", KEY_NUMBER, "none", CHANNEL(retention_events), RANGE(1, 100000000), .zero = "none",
     .live = AT_ONCE,
     .doc = "A log keeps the newest so many events; none is no limit. Whichever limit is met first counts."},
    {"channels.retention_bytes", KEY_SIZE, "none", CHANNEL(retention_bytes), RANGE(64 * KIB, 2 * GIB), .zero = "none",
     .live = AT_ONCE,
     .doc = "A log keeps the newest events of so many bytes together; each counts its payload and 20. Its files take up to\n"
            "about twice as much, and another copy of what is kept while they are written anew. Without a limit a log\n"
            "takes 3 GiB of payload or 268 million events, then it is full."},
    {"channels.retention_age", KEY_DURATION, "none", CHANNEL(retention_age_ns), RANGE(1 * S, 36500 * DAY), .zero = "none",
     .live = AT_ONCE,
     .doc = "A log keeps events for so long, and up to a 64th longer."},
    {"channels.max_lag", KEY_NUMBER, "0", CHANNEL(max_lag), RANGE(0, INT64_MAX),
     .live = AT_ONCE,
     .doc = "A subscriber further behind than so many events skips ahead; 0 is as far as the log reaches."},
    {"channels.append", KEY_BOOL, "true", CHANNEL(append),
     .live = AT_ONCE,
     .doc = "Whether peers may append to this node's channels (publish --to)."},
    {"channels.prefixes", KEY_RULES, "",
     .live = AT_ONCE ", but for log",
     .doc = "Settings of the channels below a prefix, where they differ from those above. The longest prefix that is the\n"
            "channel's name or ends before a slash of it has the word: sensors is sensors and sensors/x, not sensors2.\n"
            "Each takes log, fsync, fsync_events, fsync_interval, retention_events, retention_bytes, retention_age,\n"
            "max_lag and append. An example:\n"
            "  prefixes:\n"
            "    sensors: {retention_age: 1h, fsync: each}\n"
            "    \"logs/debug\": {log: none}"},
    {"channels.none_bytes", KEY_SIZE, "2MiB", FIELD(log_none_bytes), RANGE(512 * KIB, 1 * GIB), .power_of_two = true,
     .live = NEW_LOGS,
     .doc = "What a channel keeps at most with log: none, in bytes."},
    {"channels.producers", KEY_NUMBER, "4096", FIELD(max_producers), RANGE(1, 1000000),
     .live = AT_ONCE,
     .doc = "Producers (publish --to) that a channel remembers; for another one, that which appended longest ago is\n"
            "forgotten, and what it sends then is refused."},
    {"channels.producer_age", KEY_DURATION, "24h", FIELD(producer_age_ns), RANGE(1 * S, 36500 * DAY), .zero = "none",
     .live = AT_ONCE,
     .doc = "A producer is forgotten so long after its last append; none: when there is need."},
    {"channels.ack_timeout", KEY_DURATION, "5s", FIELD(ack_timeout_ns), RANGE(10 * MS, HOUR),
     .live = AT_ONCE,
     .doc = "How long a subscribe request waits for the peer's answer."},
    {"channels.publish_timeout", KEY_DURATION, "30s", FIELD(publish_timeout_ns), RANGE(1 * MS, DAY),
     .live = AT_ONCE,
     .doc = "How long a publish waits when the node has no room."},

    {"metrics.channels", KEY_NUMBER, "200", FIELD(metrics_channels), RANGE(0, 65536),
     .live = AT_ONCE,
     .doc = "How many channels have figures of their own in /metrics, the longest open first.\n"
            "The others share one row, channel=\"_other\"."},
    {"metrics.peers", KEY_NUMBER, "200", FIELD(metrics_peers), RANGE(0, 65536),
     .live = AT_ONCE,
     .doc = "How many peers have figures of their own in /metrics; the others share peer=\"_other\"."},

    {"stop.timeout", KEY_DURATION, "30s", FIELD(stop_timeout_ns), RANGE(100 * MS, HOUR),
     .live = AT_ONCE,
     .doc = "How long a stop takes at most: publishers get their answers, logs are written, synced and closed.\n"
            "Then the node ends all the same, says what was left undone, and its exit code is 1."},

    {"logging.level", KEY_WORD, "info", FIELD(log_level), .words = words_level,
     .live = AT_ONCE,
     .doc = "What goes to stderr."},
    {"logging.format", KEY_WORD, "auto", FIELD(log_format), .words = words_logging,
     .doc = "text: lines for people. json: an object a line. auto: lines for the systemd journal\n"
            "where stderr is its, else text."},
    {"logging.rate", KEY_NUMBER, "10", FIELD(log_rate), RANGE(1, 1000000), .zero = "none",
     .live = AT_ONCE,
     .doc = "How many lines of one kind a shard says in a second; one line tells how many more there were.\n"
            "While they go on to come, the second becomes longer, up to a minute."},
};
// clang-format on

const size_t config_key_count = sizeof config_keys / sizeof config_keys[0];
_Static_assert(sizeof config_keys / sizeof config_keys[0] <= CONFIG_KEY_MAX, "room for what was given of each key");

const struct config_key *config_key_find(const char *name)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (strcmp(config_keys[i].name, name) == 0)
            return &config_keys[i];
    return NULL;
}

bool config_key_is_list(const struct config_key *key)
{
    return key->type == KEY_CPUS || key->type == KEY_CIPHERS;
}

const char *config_key_applies(const struct config_key *key)
{
    return key->live ? key->live : "at the next start";
}

bool config_describe(size_t index, struct config_doc *out)
{
    _Static_assert(sizeof out->allowed == CONFIG_TEXT_MAX, "what config_key_allowed() fills");
    if (index >= config_key_count)
        return false;
    const struct config_key *key = &config_keys[index];
    *out =
        (struct config_doc){.name = key->name, .initial = key->initial, .text = key->doc, .of_channels = key->channel};
    config_key_allowed(key, out->allowed);
    return true;
}
