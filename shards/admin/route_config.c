/* What the node is set to, and reading node.yaml again. */
#include "core/base/err.h"
#include "shards/admin/admin_internal.h"

static void put_setting(void *ctx, const struct config_row *row)
{
    struct buffer *b = ctx;
    json_open(b, NULL, '{');
    json_str(b, "key", row->key);
    json_str(b, "value", row->value);
    json_str(b, "source", config_source(row));
    if (row->line > 0)
        json_u64(b, "line", (uint64_t)row->line);
    else
        json_null(b, "line");
    json_str(b, "applies", row->applies);
    json_str(b, "pending", row->pending);
    json_close(b, '}');
}

void config_get(struct connection *c)
{
    struct buffer *b = reply_begin(c);
    json_open(b, NULL, '[');
    node_each_setting(c->admin->node, put_setting, b);
    json_close(b, ']');
    respond_json(c, 200);
}

static void reload_cancel(struct connection *c)
{
    node_reload_cancel(c->admin->node, &c->reload);
}

static void reload_stop(struct connection *c)
{
    reload_cancel(c);
    respond_error(c, NET_ERR_CANCELED, "the node is stopping");
}

static const struct exchange reload_exchange = {reload_cancel, reload_stop};

static void put_names(struct buffer *b, const char *key, const char *const *names, size_t count)
{
    json_open(b, key, '[');
    for (size_t i = 0; i < count; i++)
        json_str(b, NULL, names[i]);
    json_close(b, ']');
}

static void on_reloaded(struct reload_request *r, int err, const char *message, const struct config_changes *changes)
{
    struct connection *c = container_of(r, struct connection, reload);
    if (!err) {
        struct buffer *b = reply_begin(c);
        json_open(b, NULL, '{');
        put_names(b, "applied", changes->applied, changes->applied_count);
        put_names(b, "restart_needed", changes->restart, changes->restart_count);
        json_close(b, '}');
    }
    control_answer(c, 200, err, message);
}

void reload_post(struct connection *c)
{
    c->reload = (struct reload_request){.done = on_reloaded};
    c->exchange = &reload_exchange;
    node_reload(c->admin->node, &c->reload);
}
