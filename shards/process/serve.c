/* Shard 0 of a node, and what it does besides its turns. */
#include <assert.h>
#include <inttypes.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/process/netmesh_internal.h"
#include "shards/report/say.h"
#include "shards/node/shard.h"

static void reload(struct netmesh *);

/* The node has said what came of it. */
static void on_reloaded(struct reload_request *r, int err, const char *message, const struct config_changes *changes)
{
    struct netmesh *nm = container_of(r, struct netmesh, hangup);
    (void)err;
    (void)message;
    (void)changes;
    nm->hangup_pending = false;
    if (nm->hangup_again)
        reload(nm);
    else
        service_tell(&nm->service, "READY=1");
}

/* The file may change again while it is read: a signal that comes meanwhile is another reload. */
static void reload(struct netmesh *nm)
{
    nm->hangup_again = nm->hangup_pending;
    if (nm->hangup_pending)
        return;
    nm->hangup_pending = true;
    service_tell(&nm->service, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, node_shard(nm->node, 0)->now / 1000);
    nm->hangup.done = on_reloaded;
    node_reload(nm->node, &nm->hangup);
}

static void on_signal(struct io_op *op, int32_t res)
{
    struct netmesh *nm = container_of(op, struct netmesh, signal_op);
    if (res == SIGHUP)
        reload(nm);
    else if (res > 0 && nm->stop_signals++ == 0)
        node_shutdown(nm->node);
    else if (res > 0)
        node_stop_now(nm->node);
}

/* Tokens are read again, too, so that they can be replaced: two small files, in place, since the ring cannot look at a
 * file's mode. */
static int on_reload_prepare(void *ctx, struct config_error *error)
{
    struct netmesh *nm = ctx;
    return node_dir_load_tokens(nm->dir, &nm->secrets.tokens, error);
}

/* At the start, and at every reload while it is so. */
static void say_policy(const struct netmesh *nm, const struct config *c)
{
    if (c->sessions == SESSIONS_COMPAT)
        shard_say(node_shard(nm->node, 0), LEVEL_WARN,
                  "security.sessions: compat: whoever holds the PSK is let in without proof of who it is, and can read "
                  "what such sessions carry");
}

static void on_reload_apply(void *ctx, const struct config *c)
{
    struct netmesh *nm = ctx;
    say_policy(nm, c);
    admin_apply(nm->admin, c);
    int err = admin_set_tokens(nm->admin, &nm->secrets.tokens);
    assert(err == NET_OK);
}

static void on_admin_stopped(void *ctx)
{
    struct netmesh *nm = ctx;
    nm->admin_stopped = true;
    node_admin_stopped(nm->node);
}

static void on_quiesced(void *ctx)
{
    struct netmesh *nm = ctx;
    admin_stop(nm->admin, on_admin_stopped, nm);
}

static int start_control(struct netmesh *nm, struct io *io, char *error, size_t len)
{
    int err = admin_init(&nm->admin, io, nm->node, &nm->config, &nm->secrets.tokens);
    if (err) {
        netmesh_fail(error, len, "cannot start the admin port: %s", net_err_text(err));
        return err;
    }
    node_on_quiesced(nm->node, on_quiesced, nm);
    say_policy(nm, &nm->config);
    node_on_reload(nm->node, &(struct node_reload_hooks){on_reload_prepare, on_reload_apply, nm});
    if (nm->handle_signals) {
        nm->signal_op = (struct io_op){.kind = IO_SIGNAL, .done = on_signal};
        io_submit(io, &nm->signal_op);
    }
    return NET_OK;
}

static void say_ready(struct netmesh *nm, void (*ready)(void *, const char *), void *ctx)
{
    char listen[64], admin[128], line[512];
    struct node_info info;
    config_format_addr(&nm->config.listen, listen);
    if (nm->config.admin.is_unix)
        text_format(admin, sizeof admin, "unix:%s", nm->config.admin.path);
    else
        config_format_addr(&nm->config.admin.addr, admin);
    node_get_info(nm->node, &info);
    shard_say(node_shard(nm->node, 0), LEVEL_INFO,
              "net-mesh %s: node 0x%016" PRIx64 " serves %s, admin port %s, %u shards, socket buffer %u bytes%s%s%s%s",
              NM_VERSION, info.node_id, listen, admin, info.shards, info.socket_buffer, info.gso ? ", gso" : "",
              info.gro ? ", gro" : "", info.fast_cipher ? ", aes-256-gcm" : "", info.ipsec_mb ? " by ipsec-mb" : "");
    service_tell(&nm->service, "READY=1\nSTATUS=node 0x%016" PRIx64 " serves %s, admin port %s", info.node_id, listen,
                 admin);
    if (!ready)
        return;
    text_format(line, sizeof line,
                "{\"event\":\"ready\",\"node_id\":\"0x%016" PRIx64 "\",\"listen\":\"%s\",\"admin\":\"%s\"}",
                nm->node->identity.ids.node_id, listen, admin);
    ready(ctx, line);
}

static int control_loop(struct netmesh *nm, struct reactor *r)
{
    struct shard *s = node_shard(nm->node, 0);
    struct io *io = reactor_io(r);
    bool stopping = false;
    for (;;) {
        if (atomic_load_explicit(&nm->stop, memory_order_relaxed))
            node_request_stop(nm->node);
        uint64_t deadline = shard_turn(s);
        if (shard_done(s) && !node_gave_up(nm->node))
            return NET_OK;
        if (shard_done(s)) {
            shard_tell_unfinished(s);
            return NET_ERR_TIMEOUT;
        }
        if (!stopping && node_stopping(nm->node))
            service_tell(&nm->service, "STOPPING=1\nSTATUS=stopping");
        stopping = node_stopping(nm->node);
        deadline = timer_earlier(deadline, service_watch(&nm->service, nm->node, io));
        if (!nm->admin_stopped) {
            if (io_now(io) >= admin_deadline(nm->admin))
                admin_tick(nm->admin, io_now(io));
            deadline = timer_earlier(deadline, admin_deadline(nm->admin));
        }
        int res = reactor_turn(r, deadline, shard_idle, s);
        if (res < 0)
            return res;
    }
}

int serve(struct netmesh *nm, void (*ready)(void *, const char *), void *ctx, char *error, size_t len)
{
    struct config_error e = {{0}};
    struct reactor *r = NULL;
    int err = shard_run(nm, 0, &r, &e);
    if (err)
        netmesh_fail(error, len, "%s", e.text);
    else if ((err = start_control(nm, reactor_io(r), error, len)) == NET_OK) {
        say_ready(nm, ready, ctx);
        err = control_loop(nm, r);
        if (node_gave_up(nm->node))
            netmesh_fail(error, len, "the node did not stop within stop.timeout; what it left undone was said before");
        else if (err)
            netmesh_fail(error, len, "the reactor failed: %s", net_err_text(err));
    }
    if (r && !reactor_end(r, node_shard(nm->node, 0)))
        nm->stuck = true;
    say_finish(nm->node);
    if (nm->admin && !nm->stuck)
        admin_deinit(nm->admin);
    return err;
}
