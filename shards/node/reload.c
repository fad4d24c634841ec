#include "shards/node/reload.h"

#include <fcntl.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "shards/peers/contacts.h"
#include "shards/logs/log.h"
#include "shards/node/mailbox.h"
#include "shards/report/say.h"
#include "shards/logs/view.h"

struct reload {
    struct contacts *owner;
    struct io_op op;
    struct timer refusal; /* who asked while the node stops is told so in the next turn */
    char path[STORE_PATH];
    io_handle file;
    char text[CONFIG_MAX_YAML + 1]; /* one more: seen to be too much */
    size_t len;
    int32_t failed;           /* negative errno of the file */
    struct config read;       /* what the files said last */
    const struct config *old; /* replaced, but not yet by all shards */
    unsigned shards_left;
    uint64_t logs_kept;
    struct config_changes changes;
    enum { RELOAD_IDLE, RELOAD_OPEN, RELOAD_READ, RELOAD_CLOSE, RELOAD_TELL } step;
    struct list waiting, running; /* struct reload_request */
};

static void start(struct reload *);

/* ---- on every shard ---- */

void shard_set_config(struct shard *s, const struct config *c)
{
    s->config = c;
    s->link_config = (struct link_config){
        .heartbeat_interval_ns = c->heartbeat_interval_ns,
        .session_timeout_ns = c->session_timeout_ns,
        .handshake_timeout_ns = c->handshake_timeout_ns,
        .rekey_interval_ns = c->rekey_interval_ns,
    };
}

static void apply_to_peers(struct shard *s)
{
    for (struct list *n = s->peer_list.next; n != &s->peer_list; n = n->next) {
        struct peer *p = container_of(n, struct peer, in_shard);
        link_on_config(&p->link, s->now);
        peer_schedule(p);
    }
}

static void apply_to_views(struct shard *s)
{
    map_each(&s->views, slot)
    {
        struct log_view *v = slot->value;
        v->max_lag = config_channel(s->config, v->name.text)->max_lag;
    }
}

void reload_on_config(struct shard *s, const struct config *c)
{
    shard_set_config(s, c);
    s->packets.limit = c->max_unacknowledged;
    s->roster.max_channels = c->max_channels;
    s->roster.max_channels_per_peer = c->max_channels_per_peer;
    s->followers.max_channels = c->max_channels;
    s->followers.max_channels_per_peer = c->max_channels_per_peer;
    apply_to_peers(s);
    apply_to_views(s);
    mailbox_send(s, 0, MSG_CONFIGURED, 0, log_apply_settings(s), NULL, 0);
}

/* ---- on shard 0: the end of a reload ---- */

static void join(const char *const *names, size_t count, char *out, size_t room)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count && n < room - 1; i++) {
        text_format(out + n, room - n, "%s%s", i ? ", " : "", names[i]);
        n += strlen(out + n);
    }
}

static void say_changes(struct shard *s, const struct config_changes *c)
{
    char applied[700], restart[250];
    join(c->applied, c->applied_count, applied, sizeof applied);
    join(c->restart, c->restart_count, restart, sizeof restart);
    shard_say(s, LEVEL_INFO, "reload: applied: %s; at the next start: %s", c->applied_count ? applied : "nothing",
              c->restart_count ? restart : "nothing");
}

static void answer(struct list *requests, int err, const char *message, const struct config_changes *changes)
{
    struct list mine, *n;
    list_init(&mine);
    while ((n = list_pop(requests))) /* a `done` may ask again */
        list_push_back(&mine, n);
    while ((n = list_pop(&mine))) {
        struct reload_request *r = container_of(n, struct reload_request, link);
        r->done(r, err, message, changes);
    }
}

static void finish(struct reload *r, int err, const char *message)
{
    struct shard *s = r->owner->shard;
    r->step = RELOAD_IDLE;
    if (err) {
        COUNT(s, reloads_refused);
        shard_say(s, LEVEL_ERROR, "reload: %s; nothing was changed", message);
    } else {
        COUNT(s, reloads_applied);
        say_changes(s, &r->changes);
    }
    answer(&r->running, err, message, err ? NULL : &r->changes);
    if (r->step == RELOAD_IDLE && !list_empty(&r->waiting))
        start(r);
}

void reload_on_configured(struct shard *s, uint64_t logs_kept)
{
    struct reload *r = s->contacts->reload;
    struct node *n = s->node;
    r->logs_kept += logs_kept;
    if (--r->shards_left)
        return;
    free((struct config *)r->old);
    r->old = NULL;
    if (r->logs_kept)
        r->changes.restart[r->changes.restart_count++] = "channels.log";
    if (n->reload_hooks.apply)
        n->reload_hooks.apply(n->reload_hooks.ctx, n->config);
    finish(r, NET_OK, "");
}

/* ---- a new configuration ---- */

static void tell_all(struct reload *r, const struct config *c)
{
    struct shard *s = r->owner->shard;
    struct msg_config m = {c};
    r->step = RELOAD_TELL;
    r->old = s->node->config;
    r->logs_kept = 0;
    r->shards_left = s->node->shard_count;
    s->node->config = c;
    node_set_log_level(s->node, c->log_level);
    for (unsigned i = 0; i < s->node->shard_count; i++)
        mailbox_send(s, i, MSG_CONFIG, 0, 0, &m, sizeof m);
}

static int parse(struct reload *r, struct config *read, struct config_error *error)
{
    const struct node_options *o = &r->owner->shard->node->options;
    if (r->failed) {
        text_format(error->text, sizeof error->text, "%s: cannot read: %s", r->path, strerror(-r->failed));
        return net_err_from_errno(-r->failed);
    }
    if (r->len > CONFIG_MAX_YAML) {
        text_format(error->text, sizeof error->text, "%s: found more than %d bytes, allowed: at most that", r->path,
                    CONFIG_MAX_YAML);
        return NET_ERR_TOO_LARGE;
    }
    return config_parse(r->text, r->len, r->path, o->overrides, o->override_count, read, error);
}

/* The file is read. */
static void take(struct reload *r)
{
    struct node *n = r->owner->shard->node;
    struct config_error error;
    struct config *next = malloc(sizeof *next), read, running = *n->config;
    running.log_level = node_log_level(n); /* it may have been changed since */
    if (!next) {
        finish(r, NET_ERR_NO_MEMORY, "out of memory");
        return;
    }
    int err = parse(r, &read, &error);
    if (!err && n->reload_hooks.prepare)
        err = n->reload_hooks.prepare(n->reload_hooks.ctx, &error);
    if (!err && r->owner->phase != STOP_NONE) {
        err = NET_ERR_STATE;
        text_format(error.text, sizeof error.text, "the node is stopping");
    }
    if (err) {
        free(next);
        finish(r, err, error.text);
        return;
    }
    r->read = read;
    config_merge(&running, &n->started, &read, next, &r->changes);
    tell_all(r, next);
}

/* ---- reading the file ---- */

static void next_step(struct io_op *op, int32_t res);

static void submit(struct reload *r, enum io_kind kind)
{
    r->op = (struct io_op){.kind = kind, .done = next_step, .handle = r->file};
    if (kind == IO_OPEN) {
        r->op.path.path = r->path;
        r->op.path.flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC; /* a pipe must not make us wait */
    } else if (kind == IO_READ) {
        r->op.buf.data = r->text + r->len;
        r->op.buf.len = CONFIG_MAX_YAML + 1 - r->len;
        r->op.buf.offset = r->len;
    }
    io_submit(r->owner->shard->io, &r->op);
}

static void on_opened(struct reload *r, int32_t res)
{
    if (res < 0) {
        r->failed = res;
        take(r);
        return;
    }
    r->file = res;
    r->step = RELOAD_READ;
    submit(r, IO_READ);
}

static void on_read(struct reload *r, int32_t res)
{
    if (res > 0)
        r->len += (size_t)res;
    r->failed = res < 0 ? res : 0;
    bool more = res > 0 && r->len <= CONFIG_MAX_YAML;
    r->step = more ? RELOAD_READ : RELOAD_CLOSE;
    submit(r, more ? IO_READ : IO_CLOSE);
}

static void next_step(struct io_op *op, int32_t res)
{
    struct reload *r = container_of(op, struct reload, op);
    switch (r->step) {
    case RELOAD_OPEN:
        on_opened(r, res);
        break;
    case RELOAD_READ:
        on_read(r, res);
        break;
    default:
        r->file = IO_NO_HANDLE;
        take(r);
    }
}

static void start(struct reload *r)
{
    struct list *n;
    while ((n = list_pop(&r->waiting)))
        list_push_back(&r->running, n);
    r->len = 0;
    r->failed = 0;
    r->file = IO_NO_HANDLE;
    r->step = RELOAD_OPEN;
    submit(r, IO_OPEN);
}

/* ---- control.h ---- */

void node_reload(struct node *node, struct reload_request *request)
{
    struct reload *r = node->shards[0]->contacts->reload;
    list_push_back(&r->waiting, &request->link);
    if (r->owner->phase != STOP_NONE)
        timer_arm(&r->owner->shard->timers, &r->refusal, r->owner->shard->now);
    else if (r->step == RELOAD_IDLE)
        start(r);
}

void node_reload_cancel(struct node *node, struct reload_request *request)
{
    (void)node;
    list_remove(&request->link);
}

void node_on_reload(struct node *node, const struct node_reload_hooks *hooks)
{
    node->reload_hooks = *hooks;
}

void node_each_setting(struct node *node, void (*row)(void *ctx, const struct config_row *), void *ctx)
{
    const struct reload *r = node->shards[0]->contacts->reload;
    struct config c = *node->config;
    c.log_level = node_log_level(node);
    config_each(&c, &node->started, &r->read, row, ctx);
}

/* ---- life ---- */

void reload_abort(struct contacts *cs)
{
    answer(&cs->reload->running, NET_ERR_STATE, "the node is stopping", NULL);
    answer(&cs->reload->waiting, NET_ERR_STATE, "the node is stopping", NULL);
}

static void on_refusal(struct timer *t, uint64_t now)
{
    (void)now;
    struct reload *r = container_of(t, struct reload, refusal);
    reload_abort(r->owner);
}

bool reload_busy(const struct contacts *cs)
{
    return cs->reload->step != RELOAD_IDLE;
}

int reload_init(struct contacts *cs)
{
    struct reload *r = calloc(1, sizeof *r);
    if (!r)
        return NET_ERR_NO_MEMORY;
    cs->reload = r;
    r->owner = cs;
    r->read = cs->shard->node->started;
    list_init(&r->waiting);
    list_init(&r->running);
    timer_init(&r->refusal, on_refusal);
    text_format(r->path, sizeof r->path, "%s/node.yaml", cs->shard->node->dir);
    return NET_OK;
}

void reload_deinit(struct contacts *cs)
{
    struct reload *r = cs->reload;
    if (!r)
        return;
    timer_cancel(&cs->shard->timers, &r->refusal);
    free((struct config *)r->old);
    free(r);
}
