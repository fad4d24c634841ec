/* Requests the node answers later, once: subscribe, unsubscribe, and the lists that come from all shards. */
#include <string.h>

#include "core/base/err.h"
#include "shards/admin/admin_internal.h"

static const uint64_t default_timeout_ms = 30000, max_timeout_ms = 3600000;

static void control_cancel(struct connection *c)
{
    node_request_cancel(c->admin->node, &c->control);
}

static void control_stop(struct connection *c)
{
    control_cancel(c);
    respond_error(c, NET_ERR_CANCELED, "the node is stopping");
}

const struct exchange control_exchange = {control_cancel, control_stop};

void control_answer(struct connection *c, unsigned status, int err, const char *message)
{
    if (err)
        respond_error(c, err, message);
    else
        respond_json(c, status);
    connection_run(c);
}

static void on_control_done(struct control_request *r, int err, const char *message)
{
    control_answer(container_of(r, struct connection, control), 200, err, message);
}

typedef void subscribe_fn(struct node *, const struct channel_name *, uint64_t, uint64_t, struct control_request *);

/* The answer is made now and sent when the node agrees. */
static void subscribe(struct connection *c, subscribe_fn *ask, bool active)
{
    uint64_t timeout = default_timeout_ms;
    const char *from = route_param(c, "from");
    if (!from) {
        respond_error(c, NET_ERR_INVALID, "from=PEER is missing");
        return;
    }
    if (!route_param_u64(c, "timeout_ms", max_timeout_ms, &timeout) || !route_param_peer(c, from, !active))
        return;
    struct buffer *b = reply_begin(c);
    json_open(b, NULL, '{');
    json_str(b, "channel", c->request.channel.text);
    json_id(b, "from", c->request.peer);
    json_flag(b, "active", active);
    json_close(b, '}');
    c->control = (struct control_request){.done = on_control_done};
    c->exchange = &control_exchange;
    ask(c->admin->node, &c->request.channel, c->request.peer, timeout * 1000000, &c->control);
}

void subscribe_post(struct connection *c)
{
    subscribe(c, node_subscribe, true);
}

void unsubscribe_post(struct connection *c)
{
    subscribe(c, node_unsubscribe, false);
}

static void put_name(struct buffer *b, struct connection *c, const char *key, uint64_t peer)
{
    json_str(b, key, node_peer_name(c->admin->node, peer));
}

static void put_channel(struct channel_list *l, const struct channel_row *row)
{
    static const char *const logs[] = {[LOG_DISK] = "disk", [LOG_MEMORY] = "memory", [LOG_NONE] = "none"};
    struct connection *c = container_of(l, struct connection, channels);
    struct buffer *b = &c->reply;
    json_open(b, NULL, '{');
    json_str(b, "channel", row->channel);
    if (row->self) {
        json_str(b, "origin", "self");
        json_null(b, "origin_name");
    } else {
        json_id(b, "origin", row->origin);
        put_name(b, c, "origin_name", row->origin);
    }
    json_str(b, "log", logs[row->log]);
    json_u64(b, "first_seq", row->first_seq);
    json_u64(b, "next_seq", row->next_seq);
    json_u64(b, "bytes", row->bytes);
    json_u64(b, "subscribers", row->subscribers);
    json_str(b, "error", row->error ? net_err_code(row->error) : NULL);
    json_close(b, '}');
}

static void on_channels_done(struct channel_list *l)
{
    struct connection *c = container_of(l, struct connection, channels);
    json_close(&c->reply, ']');
    respond_json(c, 200);
    connection_run(c);
}

static void channels_cancel(struct connection *c)
{
    node_list_channels_cancel(c->admin->node, &c->channels);
}

static void channels_stop(struct connection *c)
{
    channels_cancel(c);
    respond_error(c, NET_ERR_CANCELED, "the node is stopping");
}

static const struct exchange channels_exchange = {channels_cancel, channels_stop};

void channels_get(struct connection *c)
{
    json_open(reply_begin(c), NULL, '[');
    c->channels = (struct channel_list){.row = put_channel, .done = on_channels_done};
    c->exchange = &channels_exchange;
    node_list_channels(c->admin->node, &c->channels);
}

static void put_subscription(void *ctx, const struct subscription_row *row)
{
    struct connection *c = ctx;
    struct buffer *b = &c->reply;
    json_open(b, NULL, '{');
    json_str(b, "channel", row->channel);
    json_id(b, "from", row->peer);
    put_name(b, c, "from_name", row->peer);
    json_flag(b, "active", row->active);
    json_close(b, '}');
}

void subscriptions_get(struct connection *c)
{
    json_open(reply_begin(c), NULL, '[');
    node_each_subscription(c->admin->node, put_subscription, c);
    json_close(&c->reply, ']');
    respond_json(c, 200);
}
