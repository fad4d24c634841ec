/* libnetmesh: a directory becomes a running node: threads, reactors, shards, the admin port. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/admin/admin.h"
#include "shards/netmesh.h"
#include "shards/node/machine.h"
#include "shards/node/say.h"
#include "shards/node/shard.h"

struct worker {
    struct netmesh *nm;
    unsigned index;
    pthread_t thread;
    bool started;
    int err;
    struct config_error error;
};

struct netmesh {
    char dir[CONFIG_PATH_MAX];
    struct config config; /* of the start: the node has its own */
    struct config read;   /* the same, before what it leaves to the machine was filled in */
    char **overrides;
    size_t override_count;
    struct node_secrets secrets;
    struct peers_file peers;
    bool peers_taken;
    struct netmesh_hooks hooks;
    struct node *node;
    struct reactor_group *group;
    struct admin *admin;
    struct worker *workers;
    sem_t started; /* a worker runs, or failed */
    int lock_fd;
    atomic_bool stop; /* netmesh_stop() was called; control_loop() looks every 100 ms */
    bool admin_stopped, handle_signals;
    struct io_op signal_op;
    struct reload_request hangup; /* SIGHUP */
    bool hangup_pending, hangup_again;
    sigset_t signals;
};

__attribute__((format(printf, 3, 4))) static int fail(char *error, size_t len, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error && len)
        vsnprintf(error, len, format, args);
    va_end(args);
    return NET_ERR_IO;
}

static void print_line(const char *line)
{
    fprintf(stderr, "net-mesh: %s\n", line);
}

/* As node_say(), before there is a node. */
__attribute__((format(printf, 3, 4))) static void say(const struct netmesh *nm, enum config_level level,
                                                      const char *format, ...)
{
    char line[512];
    va_list args;
    if (level > nm->config.log_level)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    print_line(line);
}

/* ---- open ---- */

static int load(struct netmesh *nm, char *error, size_t len)
{
    struct config_error e = {{0}};
    int err = config_load(nm->dir, (const char *const *)nm->overrides, nm->override_count, &nm->config, &e);
    if (!err)
        err = node_dir_load_secrets(nm->dir, &nm->secrets, &e);
    if (!err)
        err = peers_file_load(nm->dir, &nm->peers, &e);
    nm->read = nm->config;
    if (!err)
        err = config_resolve_paths(&nm->config, nm->dir, &e);
    if (err) {
        fail(error, len, "%s", e.text);
        return err;
    }
    machine_resolve(&nm->config);
    return NET_OK;
}

static int copy_overrides(struct netmesh *nm, const char *const *overrides, size_t count)
{
    nm->overrides = calloc(count + 1, sizeof *nm->overrides);
    while (nm->overrides && nm->override_count < count) {
        char *copy = strdup(overrides[nm->override_count]);
        if (!copy)
            return NET_ERR_NO_MEMORY;
        nm->overrides[nm->override_count++] = copy;
    }
    return nm->overrides ? NET_OK : NET_ERR_NO_MEMORY;
}

int netmesh_open(struct netmesh **out, const char *dir, const char *const *overrides, size_t count,
                 const struct netmesh_hooks *hooks, char *error, size_t error_len)
{
    struct netmesh *nm = calloc(1, sizeof *nm);
    *out = NULL;
    if (!nm) {
        fail(error, error_len, "out of memory");
        return NET_ERR_NO_MEMORY;
    }
    nm->lock_fd = -1;
    if (hooks)
        nm->hooks = *hooks;
    int err = NET_OK;
    if (strlen(dir) >= sizeof nm->dir) {
        fail(error, error_len, "the name of the directory is too long");
        err = NET_ERR_INVALID;
    } else {
        memcpy(nm->dir, dir, strlen(dir) + 1);
        err = copy_overrides(nm, overrides, count);
        if (err)
            fail(error, error_len, "out of memory");
        else
            err = load(nm, error, error_len);
    }
    if (err)
        netmesh_close(nm);
    else
        *out = nm;
    return err;
}

void netmesh_close(struct netmesh *nm)
{
    if (!nm)
        return;
    node_secrets_wipe(&nm->secrets);
    for (size_t i = 0; i < nm->override_count; i++)
        free(nm->overrides[i]);
    free(nm->overrides);
    if (!nm->peers_taken)
        peers_file_free(&nm->peers);
    if (nm->lock_fd >= 0)
        close(nm->lock_fd);
    free(nm);
}

/* ---- run ---- */

static int lock_directory(struct netmesh *nm, char *error, size_t len)
{
    char path[CONFIG_PATH_MAX + 8];
    text_format(path, sizeof path, "%s/lock", nm->dir);
    nm->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (nm->lock_fd < 0)
        return fail(error, len, "%s: cannot open: %s", path, strerror(errno));
    if (flock(nm->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return NET_OK;
    fail(error, len, "%s: another node runs in this directory", nm->dir);
    return NET_ERR_BUSY;
}

/* Shard 0 writes it; here it is seen to that nobody else may read what stands there. */
static int prepare_key_log(struct netmesh *nm, char *error, size_t len)
{
    const char *path = nm->config.key_log;
    struct stat st;
    if (*path == '\0')
        return NET_OK;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return fail(error, len, "security.key_log: %s: cannot open: %s", path, strerror(errno));
    bool good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) == 0;
    close(fd);
    if (!good) {
        fail(error, len, "security.key_log: %s: others may read it, or it is no file; allowed: a file of mode 0600",
             path);
        return NET_ERR_INVALID;
    }
    say(nm, LEVEL_WARN, "security.key_log: the keys of all sessions go to %s; whoever reads it can read the traffic",
        path);
    return NET_OK;
}

static int make_group(struct netmesh *nm, struct reactor_features *features, char *error, size_t len)
{
    const struct config *c = &nm->config;
    struct reactor_group_options options = {
        .listen = c->listen,
        .shards = c->shards,
        .socket_buffer = c->socket_buffer,
        .gso = c->gso,
        .gro = c->gro,
        .admin_is_unix = c->admin.is_unix,
        .admin_addr = c->admin.addr,
        .admin_path = c->admin.path,
    };
    int err = reactor_group_create(&nm->group, &options, error, len);
    if (err)
        return err;
    reactor_group_features(nm->group, features);
    if (features->socket_buffer < c->socket_buffer)
        say(nm, LEVEL_WARN, "the kernel gave %u of %u bytes of socket buffer; deploy/sysctl.d raises the limit",
            features->socket_buffer, c->socket_buffer);
    if (c->gso && !features->gso)
        say(nm, LEVEL_WARN, "the kernel refuses UDP segmentation offload; sending datagrams one by one");
    return NET_OK;
}

/* At the start, and at every reload while it is so. */
static void say_policy(const struct netmesh *nm, const struct config *c)
{
    if (c->sessions == SESSIONS_COMPAT)
        node_say(nm->node, LEVEL_WARN,
                 "security.sessions: compat: whoever holds the PSK is let in without proof of who it is, and can read "
                 "what such sessions carry");
}

static int make_node(struct netmesh *nm, const struct reactor_features *features, char *error, size_t len)
{
    struct config_error e = {{0}};
    struct node_options options = {
        .dir = nm->dir,
        .config = &nm->config,
        .read = &nm->read,
        .overrides = (const char *const *)nm->overrides,
        .override_count = nm->override_count,
        .secrets = &nm->secrets,
        .peers = nm->peers,
        .hooks = nm->hooks,
        .socket_buffer = features->socket_buffer,
        .gso = features->gso,
        .gro = features->gro,
        .say = print_line,
    };
    nm->peers_taken = true;
    int err = node_create(&nm->node, &options, &e);
    if (err)
        fail(error, len, "%s", e.text);
    else
        say_policy(nm, &nm->config);
    return err;
}

/* Makes the shard's reactor and starts the shard on it. */
static int start_shard(struct netmesh *nm, unsigned index, struct reactor **r, struct config_error *error)
{
    struct reactor_options options = {
        .shard = index,
        .signals = index == 0 && nm->handle_signals ? &nm->signals : NULL,
        .spin_ns = nm->config.spin_ns,
    };
    if (nm->config.pin && !machine_pin(&nm->config, index))
        node_say(nm->node, LEVEL_WARN, "shards.pin: cannot pin shard %u (%s)", index, strerror(errno));
    int err = reactor_create(r, nm->group, &options, error->text, sizeof error->text);
    if (err)
        return err;
    shard_set_reactor_stats(node_shard(nm->node, index), reactor_get_stats(*r));
    err = shard_start(nm->node, index, reactor_io(*r), error);
    return err;
}

static void end_reactor(struct reactor *r)
{
    reactor_cancel_all(r);
    while (reactor_busy(r) && reactor_turn(r, 0, NULL, NULL) >= 0)
        ;
    reactor_destroy(r);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct reactor *r = NULL;
    w->err = start_shard(w->nm, w->index, &r, &w->error);
    sem_post(&w->nm->started);
    struct shard *s = node_shard(w->nm->node, w->index);
    while (w->err == NET_OK) {
        uint64_t deadline = shard_turn(s);
        if (shard_done(s))
            break;
        if (reactor_turn(r, deadline, shard_idle, s) < 0)
            w->err = NET_ERR_IO;
    }
    if (r)
        end_reactor(r);
    return NULL;
}

static int start_workers(struct netmesh *nm, char *error, size_t len)
{
    unsigned n = nm->config.shards;
    for (unsigned i = 1; i < n; i++) {
        nm->workers[i] = (struct worker){.nm = nm, .index = i};
        int res = pthread_create(&nm->workers[i].thread, NULL, worker_main, &nm->workers[i]);
        if (res)
            return fail(error, len, "cannot start a thread for shard %u: %s", i, strerror(res));
        nm->workers[i].started = true;
        while (sem_wait(&nm->started) != 0)
            ;
        if (nm->workers[i].err) {
            fail(error, len, "%s", nm->workers[i].error.text);
            return nm->workers[i].err;
        }
    }
    return NET_OK;
}

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
}

/* The file may change again while it is read: a signal that comes meanwhile is another reload. */
static void reload(struct netmesh *nm)
{
    nm->hangup_again = nm->hangup_pending;
    if (nm->hangup_pending)
        return;
    nm->hangup_pending = true;
    nm->hangup.done = on_reloaded;
    node_reload(nm->node, &nm->hangup);
}

static void on_signal(struct io_op *op, int32_t res)
{
    struct netmesh *nm = container_of(op, struct netmesh, signal_op);
    if (res == SIGHUP)
        reload(nm);
    else if (res > 0)
        node_shutdown(nm->node);
}

/* Tokens are read again, too, so that they can be replaced: two small files, in place, since the ring cannot look at a
 * file's mode. */
static int on_reload_prepare(void *ctx, struct config_error *error)
{
    struct netmesh *nm = ctx;
    return node_dir_load_tokens(nm->dir, &nm->secrets.tokens, error);
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
        fail(error, len, "cannot start the admin port: %s", net_err_text(err));
        return err;
    }
    node_on_quiesced(nm->node, on_quiesced, nm);
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
    config_format_addr(&nm->config.listen, listen);
    if (nm->config.admin.is_unix)
        text_format(admin, sizeof admin, "unix:%s", nm->config.admin.path);
    else
        config_format_addr(&nm->config.admin.addr, admin);
    text_format(line, sizeof line,
                "{\"event\":\"ready\",\"node_id\":\"0x%016" PRIx64 "\",\"listen\":\"%s\",\"admin\":\"%s\"}",
                nm->node->identity.ids.node_id, listen, admin);
    ready(ctx, line);
}

static int control_loop(struct netmesh *nm, struct reactor *r)
{
    struct shard *s = node_shard(nm->node, 0);
    struct io *io = reactor_io(r);
    for (;;) {
        if (atomic_load_explicit(&nm->stop, memory_order_relaxed))
            node_request_stop(nm->node);
        uint64_t deadline = shard_turn(s);
        if (shard_done(s))
            return NET_OK;
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

/* Shard 0, on the calling thread: last to start, last to end. */
static int run_control(struct netmesh *nm, void (*ready)(void *, const char *), void *ctx, char *error, size_t len)
{
    struct config_error e = {{0}};
    struct reactor *r = NULL;
    int err = start_shard(nm, 0, &r, &e);
    if (err)
        fail(error, len, "%s", e.text);
    else if ((err = start_control(nm, reactor_io(r), error, len)) == NET_OK) {
        if (ready)
            say_ready(nm, ready, ctx);
        err = control_loop(nm, r);
        if (err)
            fail(error, len, "the reactor failed: %s", net_err_text(err));
    }
    if (r)
        end_reactor(r);
    if (nm->admin)
        admin_deinit(nm->admin);
    return err;
}

/* A start that failed half way: the shards that run are told to end without a control shard. */
static void abandon_workers(struct netmesh *nm)
{
    for (unsigned i = 1; i < nm->config.shards; i++)
        if (nm->workers[i].started)
            shard_abandon(node_shard(nm->node, i));
}

static void join_workers(struct netmesh *nm)
{
    for (unsigned i = 1; i < nm->config.shards; i++)
        if (nm->workers[i].started)
            pthread_join(nm->workers[i].thread, NULL);
}

static int run_shards(struct netmesh *nm, void (*ready)(void *, const char *), void *ctx, char *error, size_t len)
{
    nm->workers = calloc(nm->config.shards, sizeof *nm->workers);
    if (!nm->workers || sem_init(&nm->started, 0, 0) != 0)
        return fail(error, len, "out of memory");
    int err = start_workers(nm, error, len);
    if (!err)
        err = run_control(nm, ready, ctx, error, len);
    if (err)
        abandon_workers(nm);
    join_workers(nm);
    sem_destroy(&nm->started);
    free(nm->workers);
    return err;
}

int netmesh_run(struct netmesh *nm, bool handle_signals, void (*ready)(void *ctx, const char *json_line), void *ctx,
                char *error, size_t error_len)
{
    struct reactor_features features;
    sigset_t before;
    nm->handle_signals = handle_signals;
    sigemptyset(&nm->signals);
    sigaddset(&nm->signals, SIGINT);
    sigaddset(&nm->signals, SIGTERM);
    sigaddset(&nm->signals, SIGHUP);
    if (handle_signals)
        pthread_sigmask(SIG_BLOCK, &nm->signals, &before);
    int err = lock_directory(nm, error, error_len);
    if (!err && nm->config.memory_lock && !machine_lock_memory())
        say(nm, LEVEL_WARN, "memory.lock: cannot lock memory (%s); going on without", strerror(errno));
    if (!err)
        err = prepare_key_log(nm, error, error_len);
    if (!err)
        err = make_group(nm, &features, error, error_len);
    if (!err)
        err = make_node(nm, &features, error, error_len);
    if (!err)
        err = run_shards(nm, ready, ctx, error, error_len);
    node_destroy(nm->node);
    nm->node = NULL;
    if (nm->group)
        reactor_group_destroy(nm->group);
    if (handle_signals)
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

void netmesh_stop(struct netmesh *nm)
{
    atomic_store_explicit(&nm->stop, true, memory_order_relaxed);
}

const char *netmesh_error_text(int err)
{
    return net_err_text(err);
}
