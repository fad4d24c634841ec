/* What the port takes and answers, object by object; API.md says the same to people. */
#include "shards/admin/schema.h"

#define ENUM(...)                                                                                                      \
    {                                                                                                                  \
        .kind = SCHEMA_ENUM, .choices = (const char *const[])                                                          \
        {                                                                                                              \
            __VA_ARGS__, NULL                                                                                          \
        }                                                                                                              \
    }
#define OBJECT(title, text, ...)                                                                                       \
    {                                                                                                                  \
        .kind = SCHEMA_OBJECT, .name = title, .about = text, .members = (const struct member[])                        \
        {                                                                                                              \
            __VA_ARGS__,                                                                                               \
            {                                                                                                          \
                .key = NULL                                                                                            \
            }                                                                                                          \
        }                                                                                                              \
    }
#define FIELD(k, s, ...)                                                                                               \
    {                                                                                                                  \
        .key = k, .schema = s, ##__VA_ARGS__                                                                           \
    }
#define ARRAY(of, text)                                                                                                \
    {                                                                                                                  \
        .kind = SCHEMA_ARRAY, .items = of, .about = text                                                               \
    }
#define EITHER(title, text, ...)                                                                                       \
    {                                                                                                                  \
        .kind = SCHEMA_EITHER, .name = title, .about = text, .either = (const struct schema *const[])                  \
        {                                                                                                              \
            __VA_ARGS__, NULL                                                                                          \
        }                                                                                                              \
    }

static const struct schema error_code = {.kind = SCHEMA_ERROR_CODE};
static const struct schema base64 = {.kind = SCHEMA_BASE64};
static const struct schema log_kind = ENUM("disk", "memory", "none");
static const struct schema log_source = ENUM("own", "live", "followed", "earlier");
static const struct schema compat = ENUM("v0.19");
static const struct schema mode = ENUM("direct", "routed");
static const struct schema cipher = ENUM("aes-256-gcm", "chacha20-poly1305");

/* ---- errors ---- */

static const struct schema error_object =
    OBJECT(NULL, NULL, FIELD("code", &error_code, .about = "stable: for programs"),
           FIELD("message", &schema_text, .about = "for people"));
const struct schema schema_error =
    OBJECT("error", "every answer with a status of 400 or more", FIELD("error", &error_object));

#define PUBLISHED                                                                                                      \
    FIELD("channel", &schema_text), FIELD("events", &schema_u64, .about = "stored"),                                   \
        FIELD("bytes", &schema_u64, .about = "of these events"),                                                       \
        FIELD("first_seq", &schema_u64, .about = "null: no event", .nullable = true),                                  \
        FIELD("last_seq", &schema_u64, .about = "null: no event", .nullable = true),                                   \
        FIELD("to", &schema_id, .about = "the peer whose log has them", .optional = true),                             \
        FIELD("sequence", &schema_u64, .about = "of the producer", .optional = true)
static const struct schema refused_event =
    OBJECT(NULL, NULL, FIELD("code", &error_code), FIELD("message", &schema_text),
           FIELD("event", &schema_u64, .about = "index of the event refused, from 0"));
static const struct schema publish_refused = OBJECT(
    "publish_refused", "an event was refused; those before it are stored", FIELD("error", &refused_event), PUBLISHED);
const struct schema schema_publish_error =
    EITHER("publish_error", "before the first event, or with what was stored", &schema_error, &publish_refused);

/* ---- the node ---- */

static const struct schema sessions_policy = ENUM("secure", "compat");
static const struct schema peers_policy = ENUM("any", "listed");
static const struct schema security =
    OBJECT(NULL, NULL, FIELD("sessions", &sessions_policy), FIELD("peers", &peers_policy),
           FIELD("cipher", &cipher, .about = "of sessions with nodes that have it too"));
static const struct schema transport =
    OBJECT(NULL, NULL, FIELD("socket_buffer", &schema_u64, .about = "bytes the kernel gave"),
           FIELD("gso", &schema_flag), FIELD("gro", &schema_flag), FIELD("ipsec_mb", &schema_flag));
static const struct schema problem =
    OBJECT("problem", "why the node is not ready", FIELD("code", &schema_text, .about = "stable: for programs"),
           FIELD("text", &schema_text, .about = "for people who have a token", .optional = true));
static const struct schema problems = ARRAY(&problem, "none: the node is ready");
const struct schema schema_readiness =
    OBJECT("readiness", NULL, FIELD("ready", &schema_flag), FIELD("problems", &problems));
const struct schema schema_node =
    OBJECT("node", "the node itself", FIELD("node_id", &schema_id), FIELD("entity_id", &schema_hex),
           FIELD("public_key", &schema_hex), FIELD("listen", &schema_text), FIELD("admin", &schema_text),
           FIELD("version", &schema_text), FIELD("pid", &schema_u64), FIELD("shards", &schema_u64),
           FIELD("uptime_ms", &schema_u64), FIELD("stopping", &schema_flag), FIELD("security", &security),
           FIELD("transport", &transport), FIELD("problems", &problems));

static const struct schema shard_ring = OBJECT(NULL, "of the rings that bring it messages of other shards, the fullest",
                                               FIELD("bytes", &schema_u64, .about = "shards.ring_bytes"),
                                               FIELD("used", &schema_u64, .about = "at this moment"));
static const struct schema shard = OBJECT(
    "shard", "counters are since the start", FIELD("shard", &schema_u64),
    FIELD("cpu", &schema_u64, .about = "it is pinned to; null: not pinned", .nullable = true),
    FIELD("turns", &schema_u64), FIELD("peers", &schema_u64), FIELD("sessions", &schema_u64),
    FIELD("logs", &schema_u64), FIELD("rx_datagrams", &schema_u64), FIELD("rx_bytes", &schema_u64),
    FIELD("rx_events", &schema_u64), FIELD("tx_datagrams", &schema_u64), FIELD("tx_bytes", &schema_u64),
    FIELD("tx_events", &schema_u64), FIELD("published_events", &schema_u64), FIELD("stored_events", &schema_u64),
    FIELD("drops", &schema_u64, .about = "for whatever reason; /metrics has the reasons"), FIELD("ring", &shard_ring));
const struct schema schema_shards = ARRAY(&shard, NULL);

static const struct schema level = ENUM("error", "warn", "info", "debug");
const struct schema schema_log_level =
    OBJECT("log_level", "what the node logs: this and what is worse", FIELD("level", &level));

static const struct schema setting_source = ENUM("default", "node.yaml", "--set");
static const struct schema setting = OBJECT(
    "setting", "a key of node.yaml", FIELD("key", &schema_text),
    FIELD("value", &schema_text, .about = "in use, as node.yaml would have it"), FIELD("source", &setting_source),
    FIELD("line", &schema_u64, .about = "of node.yaml; null: from elsewhere", .nullable = true),
    FIELD("applies", &schema_text, .about = "when a change of it counts"),
    FIELD("pending", &schema_text, .about = "what the next start brings; null: the same", .nullable = true));
const struct schema schema_settings = ARRAY(&setting, NULL);
static const struct schema key_names = ARRAY(&schema_text, "names of keys");
const struct schema schema_reloaded =
    OBJECT("reloaded", NULL, FIELD("applied", &key_names, .about = "changed, and in use"),
           FIELD("restart_needed", &key_names, .about = "changed, but only the next start brings it"));

const struct schema schema_stopping = OBJECT("stopping", "the connection stays open until the process is gone",
                                             FIELD("stopping", &schema_flag), FIELD("pid", &schema_u64));

/* ---- peers ---- */

static const struct schema feature =
    ENUM("secure", "ack", "fragment", "credit", "relayed", "epochs", "aes_gcm", "follow", "append");
static const struct schema features = ARRAY(&feature, "of the session, both ends have them");
static const struct schema peer_state = ENUM("connected", "connecting", "down");
static const struct schema peer =
    OBJECT("peer", NULL, FIELD("name", &schema_text, .about = "null: let in without an entry", .nullable = true),
           FIELD("node_id", &schema_id), FIELD("addr", &schema_text, .nullable = true), FIELD("state", &peer_state),
           FIELD("compat", &compat, .nullable = true), FIELD("features", &features),
           FIELD("rtt_us", &schema_u64, .about = "null: not measured yet", .nullable = true));
const struct schema schema_peers = ARRAY(&peer, NULL);
const struct schema schema_removed =
    OBJECT("removed", NULL, FIELD("removed", &schema_text, .about = "the peer's name"));

/* As asked for: ids and keys in any form the node reads. As answered: the same, written out. */
const struct schema schema_peer_entry =
    OBJECT("peer_entry", "an entry of peers.yaml", FIELD("name", &schema_text, .about = "1 to 63 of A-Z a-z 0-9 . _ -"),
           FIELD("node_id", &schema_text, .about = "0x and hex digits, or decimal"),
           FIELD("addr", &schema_text, .about = "A:P or [v6]:P", .nullable = true, .optional = true),
           FIELD("public_key", &schema_text, .about = "64 hex digits", .nullable = true, .optional = true),
           FIELD("compat", &compat, .nullable = true, .optional = true),
           FIELD("mode", &mode, .about = "of a v0.19 peer", .nullable = true, .optional = true));

static const struct schema session_state = ENUM("active", "unconfirmed", "previous");
static const struct schema window = OBJECT(NULL, "bytes a stream may bring before credit is given anew",
                                           FIELD("rx", &schema_u64), FIELD("tx", &schema_u64));
static const struct schema session =
    OBJECT("session", "counters are since its handshake", FIELD("peer", &schema_id),
           FIELD("peer_name", &schema_text, .nullable = true),
           FIELD("id", &schema_id, .about = "the same at both ends; zeros for v0.19 sessions that have none"),
           FIELD("rx_id", &schema_id, .about = "as the packets carry it that come"),
           FIELD("tx_id", &schema_id, .about = "and those that go"), FIELD("state", &session_state),
           FIELD("cipher", &cipher), FIELD("initiator", &schema_flag, .about = "this node made the handshake"),
           FIELD("silent", &schema_flag, .about = "nothing came for three heartbeats though we sent"),
           FIELD("features", &features), FIELD("age_ms", &schema_u64), FIELD("rx_packets", &schema_u64),
           FIELD("rx_bytes", &schema_u64), FIELD("tx_packets", &schema_u64), FIELD("tx_bytes", &schema_u64),
           FIELD("rtt_us", &schema_u64, .about = "null: not measured yet", .nullable = true), FIELD("window", &window),
           FIELD("shard", &schema_u64, .about = "the peer's home"));
const struct schema schema_sessions = ARRAY(&session, NULL);

static const struct schema stream = OBJECT(
    "stream", "counters are since it began; bytes are payload and 80 a packet", FIELD("peer", &schema_id),
    FIELD("peer_name", &schema_text, .nullable = true), FIELD("id", &schema_id),
    FIELD("channel", &schema_text, .about = "whose events it carries; null: no channel's", .nullable = true),
    FIELD("tx_reliable", &schema_flag, .about = "what goes is repeated until it arrived"),
    FIELD("rx_reliable", &schema_flag, .about = "what comes is in order, each packet once"),
    FIELD("tx_seq", &schema_u64, .about = "of the packet that is sent next"),
    FIELD("rx_seq", &schema_u64, .about = "highest that came; 0 also when nothing did"), FIELD("tx_bytes", &schema_u64),
    FIELD("rx_bytes", &schema_u64, .about = "that have their place"),
    FIELD("tx_window", &schema_u64, .about = "bytes that may be on the way; 0: unlimited"),
    FIELD("rx_window", &schema_u64), FIELD("tx_credit_remaining", &schema_u64, .about = "bytes that may be sent now"),
    FIELD("inbound_pending", &schema_u64, .about = "packets that wait for one before them, or for room"),
    FIELD("retransmitted", &schema_u64, .about = "packets"),
    FIELD("written_off_bytes", &schema_u64, .about = "sent, and taken as lost"),
    FIELD("backpressure_events", &schema_u64, .about = "times that credit did not suffice"),
    FIELD("credit_grants_received", &schema_u64), FIELD("credit_grants_sent", &schema_u64),
    FIELD("idle_ms", &schema_u64, .about = "since anything was sent or came"),
    FIELD("shard", &schema_u64, .about = "the peer's home"));
const struct schema schema_streams = ARRAY(&stream, NULL);

/* ---- channels ---- */

static const struct schema channel = OBJECT(
    "channel", NULL, FIELD("channel", &schema_text), FIELD("origin", &schema_text, .about = "\"self\" or a node id"),
    FIELD("origin_name", &schema_text, .nullable = true),
    FIELD("source", &log_source,
          .about = "published here, received live, taken from the origin's log, or so before another log began"),
    FIELD("edition", &schema_u64, .about = "of what was followed, from 1; null: of no follow", .nullable = true),
    FIELD("log", &log_kind), FIELD("first_seq", &schema_u64), FIELD("next_seq", &schema_u64),
    FIELD("bytes", &schema_u64, .about = "retained"),
    FIELD("appended_events", &schema_u64, .about = "published here, or received and stored, since the start"),
    FIELD("appended_bytes", &schema_u64, .about = "of these events"), FIELD("subscribers", &schema_u64),
    FIELD("lag", &schema_u64, .about = "events that the slowest of these has still to get"),
    FIELD("error", &error_code, .about = "why the log takes nothing now", .nullable = true));
const struct schema schema_channels = ARRAY(&channel, NULL);

const struct schema schema_subscription_mode = ENUM("follow", "live");
static const struct schema subscription = OBJECT(
    "subscription", "a channel of a peer this node wants", FIELD("channel", &schema_text), FIELD("from", &schema_id),
    FIELD("from_name", &schema_text, .nullable = true), FIELD("active", &schema_flag, .about = "the peer has agreed"),
    FIELD("mode", &schema_subscription_mode, .about = "what comes"),
    FIELD("lag", &schema_u64, .about = "of what is followed: events written there and not yet here", .nullable = true),
    FIELD("note", &schema_text, .about = "why it is not active, or not followed", .nullable = true));
const struct schema schema_subscriptions = ARRAY(&subscription, NULL);
const struct schema schema_subscribed =
    OBJECT("subscribed", NULL, FIELD("channel", &schema_text), FIELD("from", &schema_id), FIELD("active", &schema_flag),
           FIELD("mode", &schema_subscription_mode, .about = "what comes; not when it has ended", .optional = true),
           FIELD("note", &schema_text, .about = "why that differs from what was asked for", .optional = true));

static const struct schema subscriber =
    OBJECT("subscriber", "a peer that reads a channel of this node", FIELD("channel", &schema_text),
           FIELD("peer", &schema_id), FIELD("peer_name", &schema_text, .nullable = true),
           FIELD("mode", &schema_subscription_mode), FIELD("next_seq", &schema_u64, .about = "sent to it next"),
           FIELD("lag", &schema_u64, .about = "events it is behind"));
const struct schema schema_subscribers = ARRAY(&subscriber, NULL);

const struct schema schema_published = OBJECT("published", NULL, PUBLISHED);
static const struct schema text_line = OBJECT(NULL, NULL, FIELD("data", &schema_text, .about = "UTF-8"));
static const struct schema bytes_line = OBJECT(NULL, NULL, FIELD("data_base64", &base64));
const struct schema schema_publish_line = EITHER("publish_line", "an event", &text_line, &bytes_line);

#define ROW                                                                                                            \
    FIELD("seq", &schema_u64), FIELD("ts_ns", &schema_u64, .about = "of its storing, Unix time"),                      \
        FIELD("origin", &schema_text)
static const struct schema text_row = OBJECT(NULL, NULL, ROW, FIELD("data", &schema_text));
static const struct schema bytes_row =
    OBJECT(NULL, NULL, ROW, FIELD("data_base64", &base64, .about = "of what is no UTF-8"));
static const struct schema gap_bounds = {
    .kind = SCHEMA_ARRAY, .items = &schema_u64, .count = 2, .about = "first and last that are not there"};
static const struct schema gap_row = OBJECT(NULL, NULL, FIELD("gap", &gap_bounds));
const struct schema schema_event_row = EITHER("event_row", NULL, &text_row, &bytes_row, &gap_row);
const struct schema schema_event_format = ENUM("ndjson", "binary", "sse");

const struct schema *const schemas_named[] = {
    &schema_error,
    &publish_refused,
    &schema_publish_error,
    &problem,
    &schema_readiness,
    &schema_node,
    &shard,
    &setting,
    &schema_reloaded,
    &schema_log_level,
    &schema_stopping,
    &peer,
    &schema_removed,
    &schema_peer_entry,
    &session,
    &stream,
    &channel,
    &subscription,
    &schema_subscribed,
    &subscriber,
    &schema_published,
    &schema_publish_line,
    &schema_event_row,
    NULL,
};
