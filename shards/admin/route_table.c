/* What is served. */
#include "shards/admin/admin_internal.h"

#define JSON(code, what)                                                                                               \
    {                                                                                                                  \
        .status = code, .type = "application/json", .schema = what                                                     \
    }
#define TEXT(code, what)                                                                                               \
    {                                                                                                                  \
        .status = code, .type = "text/plain", .about = what                                                            \
    }

#define PARAM(n, s, what, ...)                                                                                         \
    {                                                                                                                  \
        .name = n, .schema = s, .about = what, ##__VA_ARGS__                                                           \
    }
#define SUBSCRIBE_PARAMS                                                                                               \
    PARAM("from", &schema_text, "the peer: a name or an id", .required = true),                                        \
        PARAM("timeout_ms", &schema_u64, "how long to wait for the peer's answer; 30000", .max = TIMEOUT_MS_MAX)

#define SUBSCRIPTION_MODES                                                                                             \
    PARAM("mode", &schema_subscription_mode,                                                                           \
          "follow (default): the channel's log, where the peer keeps one; live: what is published from now on"),       \
        PARAM("start", &schema_position,                                                                               \
              "of a log to follow that begins now; without it, where ours ends, or earliest")
#define ROUTE(m, p, handler, who, name, text)                                                                          \
    .method = m, .path = p, .end = handler, .access = who, .id = name, .summary = text

const struct route routes[] = {
    {ROUTE(HTTP_GET, "/healthz", healthz_get, ACCESS_OPEN, "getHealth", "Does the process run?"),
     .answers = {TEXT(200, "ok"), TEXT(503, "stopping")}},
    {ROUTE(HTTP_GET, "/readyz", readyz_get, ACCESS_OPEN, "getReadiness",
           "Does it do what it is there for? Without a token problems have no text"),
     .answers = {JSON(200, &schema_readiness), JSON(503, &schema_readiness)}},
    {ROUTE(HTTP_GET, "/metrics", metrics_get, ACCESS_READ, "getMetrics", "Prometheus text 0.0.4"),
     .answers = {TEXT(200, "exposition format")}},
    {ROUTE(HTTP_GET, "/openapi.json", openapi_get, ACCESS_READ, "getOpenapi", "This document"),
     .answers = {{200, "application/json", &schema_any_object, "OpenAPI 3.1"}}},
    {ROUTE(HTTP_GET, "/v1/node", node_get, ACCESS_READ, "getNode", "The node itself"),
     .answers = {JSON(200, &schema_node)}},
    {ROUTE(HTTP_GET, "/v1/shards", shards_get, ACCESS_READ, "listShards", "Its shards"),
     .answers = {JSON(200, &schema_shards)}},
    {ROUTE(HTTP_GET, "/v1/sessions", sessions_get, ACCESS_READ, "listSessions", "Sessions with peers"),
     .answers = {JSON(200, &schema_sessions)}},
    {ROUTE(HTTP_GET, "/v1/streams", streams_get, ACCESS_READ, "listStreams", "Streams to and from peers"),
     .params = {PARAM("peer", &schema_text, "of this peer alone: a name or an id")},
     .answers = {JSON(200, &schema_streams)}},
    {ROUTE(HTTP_GET, "/v1/peers", peers_get, ACCESS_READ, "listPeers", "Peers, connected or not"),
     .answers = {JSON(200, &schema_peers)}},
    {ROUTE(HTTP_POST, "/v1/peers", peers_post, ACCESS_ADMIN, "addPeer", "Adds a peer to peers.yaml"),
     .takes = {JSON(0, &schema_peer_entry)}, .answers = {JSON(201, &schema_peer_entry)}},
    {ROUTE(HTTP_DELETE, "/v1/peers/{name}", peers_delete, ACCESS_ADMIN, "removePeer",
           "Removes a peer and the subscriptions to it"),
     .answers = {JSON(200, &schema_removed)}},
    {ROUTE(HTTP_GET, "/v1/channels", channels_get, ACCESS_READ, "listChannels",
           "Logs of this node and of its peers' channels"),
     .answers = {JSON(200, &schema_channels)}},
    {ROUTE(HTTP_GET, "/v1/subscriptions", subscriptions_get, ACCESS_READ, "listSubscriptions",
           "What this node wants of its peers"),
     .answers = {JSON(200, &schema_subscriptions)}},
    {ROUTE(HTTP_GET, "/v1/subscribers", subscribers_get, ACCESS_READ, "listSubscribers",
           "Peers that read this node's channels"),
     .answers = {JSON(200, &schema_subscribers)}},
    {ROUTE(HTTP_POST, "/v1/channels/{channel}/subscribe", subscribe_post, ACCESS_ADMIN, "subscribe",
           "Subscribes to a peer's channel; answers when the peer has agreed"),
     .params = {SUBSCRIBE_PARAMS, SUBSCRIPTION_MODES}, .answers = {JSON(200, &schema_subscribed)}},
    {ROUTE(HTTP_POST, "/v1/channels/{channel}/unsubscribe", unsubscribe_post, ACCESS_ADMIN, "unsubscribe",
           "Ends a subscription"),
     .params = {SUBSCRIBE_PARAMS}, .answers = {JSON(200, &schema_subscribed)}},
    {ROUTE(HTTP_POST, "/v1/channels/{channel}/publish", publish_end, ACCESS_ADMIN, "publish",
           "Publishes the events of the body, as they come"),
     .params = {PARAM("durable", &schema_flag, "answer only when all is synced to the disk"),
                PARAM("to", &schema_text, "append to the log of this peer, a name or an id, and answer when it has"),
                PARAM("producer", &schema_hex, "with to: 32 digits; the body is one append of this producer"),
                PARAM("sequence", &schema_u64, "... its number: 0, 1, 2, ...; the same again appends nothing")},
     .takes = {TEXT(0, "an event a line"),
               {0, "application/x-ndjson", &schema_publish_line, "an event a line"},
               {0, "application/octet-stream", NULL, "u32 LE length and bytes, again and again"}},
     .answers = {JSON(200, &schema_published)}, .error = &schema_publish_error, .begin = publish_begin,
     .body = publish_body, .drained = publish_drained},
    {ROUTE(HTTP_GET, "/v1/channels/{channel}/events", events_get, ACCESS_READ, "readEvents", "Reads a log, and on"),
     .params = {PARAM("from", &schema_position, "earliest (default), latest or a sequence"),
                PARAM("limit", &schema_u64, "events at most"), PARAM("follow", &schema_flag, "go on as events come"),
                PARAM("origin", &schema_text,
                      "self, or the peer that published; may be left out while logs of one only have that name"),
                PARAM("log", &schema_text,
                      "of a peer's channel: followed, live or an edition; followed if there is such, else live"),
                PARAM("format", &schema_event_format, "without it: sse for Accept: text/event-stream, else ndjson")},
     .answers = {{200, "application/x-ndjson", &schema_event_row, "a row a line"},
                 {200, "application/octet-stream", NULL, "u32 LE length and bytes an event; gaps are not shown"},
                 {200, "text/event-stream", &schema_event_row,
                  "id: the sequence, data: the row; a gap is an event of type gap. Last-Event-ID resumes after it"}}},
    {ROUTE(HTTP_GET, "/v1/config", config_get, ACCESS_READ, "getConfig", "Every setting in use, and where it is from"),
     .answers = {JSON(200, &schema_settings)}},
    {ROUTE(HTTP_POST, "/v1/reload", reload_post, ACCESS_ADMIN, "reload",
           "Reads node.yaml again; a mistake in it changes nothing"),
     .answers = {JSON(200, &schema_reloaded)}},
    {ROUTE(HTTP_GET, "/v1/log-level", log_level_get, ACCESS_READ, "getLogLevel", "What the node logs"),
     .answers = {JSON(200, &schema_log_level)}},
    {ROUTE(HTTP_PUT, "/v1/log-level", log_level_put, ACCESS_ADMIN, "setLogLevel", "Changes it, until the node ends"),
     .takes = {JSON(0, &schema_log_level)}, .answers = {JSON(200, &schema_log_level)}},
    {ROUTE(HTTP_POST, "/v1/shutdown", shutdown_post, ACCESS_ADMIN, "shutdown", "Begins the orderly stop"),
     .answers = {JSON(200, &schema_stopping)}},
};

const size_t route_count = sizeof routes / sizeof routes[0];
