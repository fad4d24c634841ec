/* libnetmesh: a directory becomes a running node: threads, reactors, shards, the admin port. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/process/machine.h"
#include "shards/process/netmesh_internal.h"
#include "shards/report/say.h"
#include "shards/process/stderr.h"

int netmesh_fail(char *error, size_t len, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error && len)
        vsnprintf(error, len, format, args);
    va_end(args);
    return NET_ERR_IO;
}

/* As node_say(), before there is a node. */
__attribute__((format(printf, 3, 4))) static void say(const struct netmesh *nm, enum config_level level,
                                                      const char *format, ...)
{
    char line[SAY_LINE_MAX];
    va_list args;
    if (level > nm->config.log_level)
        return;
    va_start(args, format);
    size_t len = say_format_now(line, stderr_style(nm->config.log_format), level, format, args);
    va_end(args);
    stderr_write(line, len);
}

/* ---- open ---- */

static int load(struct netmesh *nm, char *error, size_t len)
{
    struct config_error e = {{0}};
    int err = config_load(nm->dir, (const char *const *)nm->overrides, nm->override_count, &nm->config, &e);
    if (!err && !nm->config.core_dumps)
        machine_forbid_core_dumps(); /* before there is anything to hide */
    if (!err)
        err = node_dir_load_secrets(nm->dir, &nm->secrets, &e);
    if (!err)
        err = peers_file_load(nm->dir, &nm->peers, &e);
    nm->read = nm->config;
    if (!err)
        err = config_resolve_paths(&nm->config, nm->dir, &e);
    if (err) {
        netmesh_fail(error, len, "%s", e.text);
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
        netmesh_fail(error, error_len, "out of memory");
        return NET_ERR_NO_MEMORY;
    }
    nm->lock_fd = -1;
    service_none(&nm->service);
    if (hooks)
        nm->hooks = *hooks;
    int err = NET_OK;
    if (strlen(dir) >= sizeof nm->dir) {
        netmesh_fail(error, error_len, "the name of the directory is too long");
        err = NET_ERR_INVALID;
    } else {
        memcpy(nm->dir, dir, strlen(dir) + 1);
        err = copy_overrides(nm, overrides, count);
        if (err)
            netmesh_fail(error, error_len, "out of memory");
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
    if (nm->stuck)
        return;
    for (size_t i = 0; i < nm->override_count; i++)
        free(nm->overrides[i]);
    free(nm->overrides);
    if (!nm->peers_taken)
        peers_file_free(&nm->peers);
    if (nm->lock_fd >= 0)
        close(nm->lock_fd);
    service_deinit(&nm->service);
    free(nm);
}

/* ---- run ---- */

static int lock_directory(struct netmesh *nm, char *error, size_t len)
{
    char path[CONFIG_PATH_MAX + 8];
    text_format(path, sizeof path, "%s/lock", nm->dir);
    nm->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (nm->lock_fd < 0)
        return netmesh_fail(error, len, "%s: cannot open: %s", path, strerror(errno));
    if (flock(nm->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return NET_OK;
    netmesh_fail(error, len, "%s: another node runs in this directory", nm->dir);
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
        return netmesh_fail(error, len, "security.key_log: %s: cannot open: %s", path, strerror(errno));
    bool good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) == 0 && st.st_uid == geteuid();
    close(fd);
    if (!good) {
        netmesh_fail(error, len,
                     "security.key_log: %s: others may read it, or it is no file; allowed: a file of mode 0600 of the "
                     "node's user",
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
        .say = stderr_write,
        .say_style = stderr_style(nm->config.log_format),
    };
    nm->peers_taken = true;
    int err = node_create(&nm->node, &options, &e);
    if (err)
        netmesh_fail(error, len, "%s", e.text);
    return err;
}

static int run_shards(struct netmesh *nm, void (*ready)(void *, const char *), void *ctx, char *error, size_t len)
{
    nm->workers = calloc(nm->config.shards, sizeof *nm->workers);
    if (!nm->workers || sem_init(&nm->started, 0, 0) != 0)
        return netmesh_fail(error, len, "out of memory");
    int err = workers_start(nm, error, len);
    if (!err)
        err = serve(nm, ready, ctx, error, len);
    if (err)
        workers_abandon(nm);
    workers_join(nm);
    if (nm->stuck)
        return err;
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
    if (!err && node_stop_incomplete(nm->node))
        err = netmesh_fail(error, error_len, "the node stopped, but could not write all that its peers had sent");
    if (!err)
        node_say(nm->node, LEVEL_INFO, "stopped");
    if (nm->stuck)
        return err; /* the caller ends the process, or lives with what is lost */
    node_destroy(nm->node);
    nm->node = NULL;
    if (nm->group)
        reactor_group_destroy(nm->group);
    if (handle_signals)
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

void netmesh_tell_service_manager(struct netmesh *nm)
{
    service_deinit(&nm->service);
    service_init(&nm->service);
}

void netmesh_stop(struct netmesh *nm)
{
    atomic_store_explicit(&nm->stop, true, memory_order_relaxed);
}

const char *netmesh_error_text(int err)
{
    return net_err_text(err);
}
