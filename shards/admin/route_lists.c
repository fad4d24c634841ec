/* Lists: of shards, peers' sessions and streams, channels, and who reads what. */
#include "core/base/err.h"
#include "core/session/session.h"
#include "shards/admin/admin_internal.h"

/* ---- rows that come from all shards, one by one ---- */

static void lists_cancel(struct connection *c)
{
    node_list_cancel(c->admin->node, c->lists.asked);
}

static void lists_stop(struct connection *c)
{
    lists_cancel(c);
    respond_error(c, NET_ERR_CANCELED, "the node is stopping");
}

static const struct exchange lists_exchange = {lists_cancel, lists_stop};

static void lists_begin(struct connection *c, struct listing *asked)
{
    json_open(reply_begin(c), NULL, '[');
    c->lists.asked = asked;
    c->exchange = &lists_exchange;
}

static void lists_done(struct connection *c)
{
    json_close(&c->reply, ']');
    respond_json(c, 200);
    connection_run(c);
}

static void put_name(struct connection *c, const char *key, uint64_t peer)
{
    json_str(&c->reply, key, node_peer_name(c->admin->node, peer));
}

static void put_channel(struct channel_list *l, const struct channel_row *row)
{
    static const char *const logs[] = {[LOG_DISK] = "disk", [LOG_MEMORY] = "memory", [LOG_NONE] = "none"};
    struct connection *c = container_of(l, struct connection, lists.channels);
    struct buffer *b = &c->reply;
    json_open(b, NULL, '{');
    json_str(b, "channel", row->channel);
    if (row->self) {
        json_str(b, "origin", "self");
        json_null(b, "origin_name");
    } else {
        json_id(b, "origin", row->origin);
        put_name(c, "origin_name", row->origin);
    }
    json_str(b, "source", row->self ? "own" : !row->edition ? "live" : row->followed ? "followed" : "earlier");
    if (row->edition)
        json_u64(b, "edition", row->edition);
    else
        json_null(b, "edition");
    json_str(b, "log", logs[row->log]);
    json_u64(b, "first_seq", row->first_seq);
    json_u64(b, "next_seq", row->next_seq);
    json_u64(b, "bytes", row->bytes);
    json_u64(b, "appended_events", row->appended_events);
    json_u64(b, "appended_bytes", row->appended_bytes);
    json_u64(b, "subscribers", row->subscribers);
    json_u64(b, "lag", row->lag);
    json_str(b, "error", row->error ? net_err_code(row->error) : NULL);
    json_close(b, '}');
}

static void on_channels_done(struct channel_list *l)
{
    lists_done(container_of(l, struct connection, lists.channels));
}

void channels_get(struct connection *c)
{
    struct channel_list *l = &c->lists.channels;
    *l = (struct channel_list){.row = put_channel, .done = on_channels_done};
    lists_begin(c, &l->node);
    node_list_channels(c->admin->node, l);
}

static void put_window(struct buffer *b, const struct session_row *row)
{
    json_open(b, "window", '{');
    json_u64(b, "rx", row->rx_window);
    json_u64(b, "tx", row->tx_window);
    json_close(b, '}');
}

static void put_session(struct session_list *l, const struct session_row *row)
{
    static const char *const states[] = {
        [SESSION_ACTIVE] = "active", [SESSION_UNCONFIRMED] = "unconfirmed", [SESSION_PREVIOUS] = "previous"};
    struct connection *c = container_of(l, struct connection, lists.sessions);
    struct buffer *b = &c->reply;
    json_open(b, NULL, '{');
    json_id(b, "peer", row->peer);
    put_name(c, "peer_name", row->peer);
    json_id(b, "id", row->id);
    json_id(b, "rx_id", row->rx_id);
    json_id(b, "tx_id", row->tx_id);
    json_str(b, "state", states[row->state]);
    json_str(b, "cipher", row->aes_gcm ? "aes-256-gcm" : "chacha20-poly1305");
    json_flag(b, "initiator", row->initiator);
    json_flag(b, "silent", row->silent);
    put_features(b, row->features);
    json_u64(b, "age_ms", row->age_ns / 1000000);
    json_u64(b, "rx_packets", row->rx_packets);
    json_u64(b, "rx_bytes", row->rx_bytes);
    json_u64(b, "tx_packets", row->tx_packets);
    json_u64(b, "tx_bytes", row->tx_bytes);
    put_rtt(b, row->rtt_ns != 0, row->rtt_ns);
    put_window(b, row);
    json_u64(b, "shard", row->shard);
    json_close(b, '}');
}

static void on_sessions_done(struct session_list *l)
{
    lists_done(container_of(l, struct connection, lists.sessions));
}

void sessions_get(struct connection *c)
{
    struct session_list *l = &c->lists.sessions;
    *l = (struct session_list){.row = put_session, .done = on_sessions_done};
    lists_begin(c, &l->node);
    node_list_sessions(c->admin->node, l);
}

static void put_stream(struct stream_list *l, const struct stream_row *row)
{
    struct connection *c = container_of(l, struct connection, lists.streams);
    struct buffer *b = &c->reply;
    json_open(b, NULL, '{');
    json_id(b, "peer", row->peer);
    put_name(c, "peer_name", row->peer);
    json_id(b, "id", row->id);
    json_str(b, "channel", row->channel.len ? row->channel.text : NULL);
    json_flag(b, "tx_reliable", row->tx_reliable);
    json_flag(b, "rx_reliable", row->rx_reliable);
    json_u64(b, "tx_seq", row->tx_seq);
    json_u64(b, "rx_seq", row->rx_seq);
    json_u64(b, "tx_bytes", row->tx_bytes);
    json_u64(b, "rx_bytes", row->rx_bytes);
    json_u64(b, "tx_window", row->tx_window);
    json_u64(b, "rx_window", row->rx_window);
    json_u64(b, "tx_credit_remaining", row->tx_credit_remaining);
    json_u64(b, "inbound_pending", row->inbound_pending);
    json_u64(b, "retransmitted", row->retransmitted);
    json_u64(b, "written_off_bytes", row->written_off);
    json_u64(b, "backpressure_events", row->backpressure_events);
    json_u64(b, "credit_grants_received", row->credit_grants_received);
    json_u64(b, "credit_grants_sent", row->credit_grants_sent);
    json_u64(b, "idle_ms", row->idle_ns / 1000000);
    json_u64(b, "shard", row->shard);
    json_close(b, '}');
}

static void on_streams_done(struct stream_list *l)
{
    lists_done(container_of(l, struct connection, lists.streams));
}

void streams_get(struct connection *c)
{
    struct stream_list *l = &c->lists.streams;
    const char *peer = route_param(c, "peer");
    if (peer && !route_param_peer(c, peer, true))
        return;
    *l = (struct stream_list){.row = put_stream, .done = on_streams_done};
    lists_begin(c, &l->node);
    node_list_streams(c->admin->node, l, peer ? &c->request.peer : NULL);
}

static void put_subscriber(struct subscriber_list *l, const struct subscriber_row *row)
{
    struct connection *c = container_of(l, struct connection, lists.subscribers);
    struct buffer *b = &c->reply;
    json_open(b, NULL, '{');
    json_str(b, "channel", row->channel.text);
    json_id(b, "peer", row->peer);
    put_name(c, "peer_name", row->peer);
    json_str(b, "mode", row->mode == SUBSCRIBE_LIVE ? "live" : "follow");
    json_u64(b, "next_seq", row->next_seq);
    json_u64(b, "lag", row->lag);
    json_close(b, '}');
}

static void on_subscribers_done(struct subscriber_list *l)
{
    lists_done(container_of(l, struct connection, lists.subscribers));
}

void subscribers_get(struct connection *c)
{
    struct subscriber_list *l = &c->lists.subscribers;
    *l = (struct subscriber_list){.row = put_subscriber, .done = on_subscribers_done};
    lists_begin(c, &l->node);
    node_list_subscribers(c->admin->node, l);
}

/* ---- rows that are there at once ---- */

static void put_subscription(void *ctx, const struct subscription_row *row)
{
    struct connection *c = ctx;
    struct buffer *b = &c->reply;
    json_open(b, NULL, '{');
    json_str(b, "channel", row->channel);
    json_id(b, "from", row->peer);
    put_name(c, "from_name", row->peer);
    json_flag(b, "active", row->active);
    json_str(b, "mode", row->mode == SUBSCRIBE_LIVE ? "live" : "follow");
    if (row->mode == SUBSCRIBE_FOLLOW)
        json_u64(b, "lag", row->lag);
    else
        json_null(b, "lag");
    json_str(b, "note", *row->note ? row->note : NULL);
    json_close(b, '}');
}

void subscriptions_get(struct connection *c)
{
    json_open(reply_begin(c), NULL, '[');
    node_each_subscription(c->admin->node, put_subscription, c);
    json_close(&c->reply, ']');
    respond_json(c, 200);
}

static void put_shard(void *ctx, const struct shard_row *row)
{
    struct buffer *b = ctx;
    json_open(b, NULL, '{');
    json_u64(b, "shard", row->index);
    if (row->pinned)
        json_u64(b, "cpu", row->cpu);
    else
        json_null(b, "cpu");
    json_u64(b, "turns", row->turns);
    json_u64(b, "peers", row->peers);
    json_u64(b, "sessions", row->sessions);
    json_u64(b, "logs", row->logs);
    json_u64(b, "rx_datagrams", row->rx_datagrams);
    json_u64(b, "rx_bytes", row->rx_bytes);
    json_u64(b, "rx_events", row->rx_events);
    json_u64(b, "tx_datagrams", row->tx_datagrams);
    json_u64(b, "tx_bytes", row->tx_bytes);
    json_u64(b, "tx_events", row->tx_events);
    json_u64(b, "published_events", row->published_events);
    json_u64(b, "stored_events", row->stored_events);
    json_u64(b, "drops", row->drops);
    json_open(b, "ring", '{');
    json_u64(b, "bytes", row->ring_bytes);
    json_u64(b, "used", row->ring_used);
    json_close(b, '}');
    json_close(b, '}');
}

void shards_get(struct connection *c)
{
    struct buffer *b = reply_begin(c);
    json_open(b, NULL, '[');
    node_each_shard(c->admin->node, put_shard, b);
    json_close(b, ']');
    respond_json(c, 200);
}
