/* Requests the node answers later, once: subscribe and unsubscribe. */
#include <string.h>

#include "core/base/err.h"
#include "shards/admin/admin_internal.h"

static const uint64_t default_timeout_ms = 30000;

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

static struct buffer *begin_subscribed(struct connection *c, bool active)
{
    struct buffer *b = reply_begin(c);
    json_open(b, NULL, '{');
    json_str(b, "channel", c->request.channel.text);
    json_id(b, "from", c->request.peer);
    json_flag(b, "active", active);
    return b;
}

static void on_subscribed(struct control_request *r, int err, const char *message)
{
    struct connection *c = container_of(r, struct connection, control);
    if (!err) {
        struct buffer *b = begin_subscribed(c, true);
        json_str(b, "mode", r->live ? "live" : "follow");
        if (*message)
            json_str(b, "note", message);
        json_close(b, '}');
    }
    control_answer(c, 200, err, message);
}

static void begin_control(struct connection *c, void (*done)(struct control_request *, int, const char *))
{
    c->control = (struct control_request){.done = done};
    c->exchange = &control_exchange;
}

static uint64_t timeout_ns(const struct connection *c)
{
    return route_param_u64(c, "timeout_ms", default_timeout_ms) * 1000000;
}

void subscribe_post(struct connection *c)
{
    struct subscribe_ask ask = {.channel = c->request.channel};
    const char *mode = route_param(c, "mode"), *start = route_param(c, "start");
    if (!route_param_peer(c, route_param(c, "from"), false))
        return;
    ask.peer = c->request.peer;
    ask.mode = mode && strcmp(mode, "live") == 0 ? SUBSCRIBE_LIVE : SUBSCRIBE_FOLLOW;
    if (start && ask.mode == SUBSCRIBE_LIVE) {
        respond_error(c, NET_ERR_INVALID, "start: only what is followed has a start; live events begin now");
        return;
    }
    if (start && subscription_start_parse(start, &ask.start, &ask.sequence) != NET_OK) {
        respond_error(c, NET_ERR_INVALID, "start must be earliest, latest or a sequence");
        return;
    }
    begin_control(c, on_subscribed);
    node_subscribe(c->admin->node, &ask, timeout_ns(c), &c->control);
}

void unsubscribe_post(struct connection *c)
{
    if (!route_param_peer(c, route_param(c, "from"), true))
        return;
    json_close(begin_subscribed(c, false), '}'); /* sent when the node agrees */
    begin_control(c, on_control_done);
    node_unsubscribe(c->admin->node, &c->request.channel, c->request.peer, timeout_ns(c), &c->control);
}
