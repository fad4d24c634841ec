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

typedef void subscribe_fn(struct node *, const struct channel_name *, uint64_t, uint64_t, struct control_request *);

/* The answer is made now and sent when the node agrees. */
static void subscribe(struct connection *c, subscribe_fn *ask, bool active)
{
    uint64_t timeout = route_param_u64(c, "timeout_ms", default_timeout_ms);
    if (!route_param_peer(c, route_param(c, "from"), !active))
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
