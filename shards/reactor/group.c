/* What all shards of a node share: the sockets, made and closed together, and the doorbells. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/err.h"
#include "shards/reactor/reactor_internal.h"

int explain(char *why, size_t why_len, int err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (why_len)
        vsnprintf(why, why_len, format, args);
    va_end(args);
    return err;
}

static const char *addr_text(const struct io_addr *a, char *out, size_t len)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    bool v4 = addr_is_v4(a);
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->ip + 12 : a->ip, ip, sizeof ip);
    snprintf(out, len, v4 ? "%s:%u" : "[%s]:%u", ip, (unsigned)a->port);
    return out;
}

static int cannot_listen(char *why, size_t why_len, const char *what, const struct io_addr *a, const char *path,
                         int err)
{
    char text[INET6_ADDRSTRLEN + 16];
    const char *hint = err == -EADDRINUSE      ? " (another process uses it)"
                       : err == -EACCES        ? " (ports below 1024 need CAP_NET_BIND_SERVICE; check the path's mode)"
                       : err == -EEXIST        ? " (the path exists and is no socket)"
                       : err == -EADDRNOTAVAIL ? " (no interface of this machine has that address)"
                                               : "";
    return explain(why, why_len, NET_ERR_IO, "cannot listen for %s on %s: %s%s", what,
                   path ? path : addr_text(a, text, sizeof text), strerror(-err), hint);
}

/*
 * The kernel lets go of the sockets of a killed node when it tears down its rings, which is some time after the process
 * is gone (measured: 20 to 45 ms; on a machine with far more to do than cores, seconds). A node started in its place
 * waits for that, before it says that the address is in use.
 */
static bool in_use_still(int err, unsigned tries)
{
    enum { TRIES = 9, PAUSE_NS = 10000000 }; /* doubled each time: 5 s in all, and few looks at a node that lives */
    if (err != -EADDRINUSE || tries >= TRIES)
        return false;
    uint64_t pause = (uint64_t)PAUSE_NS << tries;
    nanosleep(&(struct timespec){.tv_sec = (time_t)(pause / 1000000000), .tv_nsec = (long)(pause % 1000000000)}, NULL);
    return true;
}

/* SO_REUSEPORT would let a second node of the same user in unnoticed and share its datagrams: try without it first. */
static int check_port_is_free(const struct io_addr *addr)
{
    int fd;
    for (unsigned tries = 0; in_use_still(fd = udp_socket_open(&(struct udp_options){.addr = *addr}), tries); tries++)
        ;
    if (fd >= 0)
        close(fd);
    return fd < 0 ? fd : 0;
}

static int learn_features(struct reactor_group *g, const struct reactor_group_options *o, const struct udp_options *got)
{
    struct reactor_features *f = &g->features;
    union socket_addr addr = {0};
    socklen_t len = sizeof addr;
    int bytes = 0;
    if (getsockname(g->udp[0], &addr.any, &len) < 0)
        return -errno;
    g->family = addr.any.sa_family;
    addr_from_sockaddr(&addr, &f->listen);
    len = sizeof bytes;
    if (getsockopt(g->udp[0], SOL_SOCKET, SO_RCVBUF, &bytes, &len) < 0)
        return -errno;
    f->socket_buffer = (uint32_t)bytes / 2; /* the other half is the kernel's own overhead */
    f->gso = o->gso && udp_gso_works(g->udp[0]);
    f->gro = got->gro;
    f->steering = got->steer_over > 1;
    return 0;
}

/* In shard order: the kernel numbers the group's sockets as they are bound. */
static int open_udp(struct reactor_group *g, const struct reactor_group_options *o)
{
    struct udp_options udp = {.addr = o->listen,
                              .reuseport = g->shards > 1,
                              .gro = o->gro,
                              .steer_over = g->shards,
                              .buffer = o->socket_buffer};
    int err = o->listen.port != 0 ? check_port_is_free(&o->listen) : 0;
    for (unsigned i = 0; i < g->shards && !err; i++) {
        g->udp[i] = udp_socket_open(&udp);
        if (g->udp[i] < 0)
            return g->udp[i];
        if (i == 0)
            err = learn_features(g, o, &udp);
        udp.steer_over = 0;                      /* the program is the group's, the first socket brings it */
        udp.addr.port = g->features.listen.port; /* one port for all, also when it was the kernel's choice */
    }
    return err;
}

static int open_admin(struct reactor_group *g, const struct reactor_group_options *o)
{
    unsigned tries = 0;
    do
        g->listener = o->admin_is_unix ? unix_listener_open(o->admin_path) : tcp_listener_open(&o->admin_addr);
    while (in_use_still(g->listener, tries++));
    if (g->listener < 0)
        return g->listener;
    if (!o->admin_is_unix)
        return socket_addr_of(g->listener, &g->features.admin);
    g->unix_path = strdup(o->admin_path);
    return g->unix_path ? 0 : -ENOMEM;
}

int reactor_group_create(struct reactor_group **out, const struct reactor_group_options *o, char *why, size_t why_len)
{
    assert(o->shards >= 1 && o->shards <= REACTOR_MAX_SHARDS);
    *out = NULL;
    int err = probe_kernel(why, why_len);
    if (err)
        return err;
    struct reactor_group *g = aligned_alloc(_Alignof(struct reactor_group), sizeof *g);
    if (!g)
        return explain(why, why_len, NET_ERR_NO_MEMORY, "out of memory");
    memset(g, 0, sizeof *g);
    g->shards = o->shards;
    g->listener = IO_NO_HANDLE;
    for (unsigned i = 0; i < REACTOR_MAX_SHARDS; i++)
        g->udp[i] = g->bells[i].ring = -1;
    if ((err = open_udp(g, o)) < 0)
        err = cannot_listen(why, why_len, "datagrams", &o->listen, NULL, err);
    else if (!o->no_admin && (err = open_admin(g, o)) < 0)
        err =
            cannot_listen(why, why_len, "the admin port", &o->admin_addr, o->admin_is_unix ? o->admin_path : NULL, err);
    if (err) {
        reactor_group_destroy(g);
        return err;
    }
    *out = g;
    return 0;
}

void reactor_group_features(const struct reactor_group *g, struct reactor_features *out)
{
    *out = g->features;
}

void reactor_group_destroy(struct reactor_group *g)
{
    if (!g)
        return;
    for (unsigned i = 0; i < g->shards; i++) {
        if (g->bells[i].ring >= 0)
            close(g->bells[i].ring);
        if (g->udp[i] >= 0)
            close(g->udp[i]);
    }
    if (g->listener >= 0)
        close(g->listener);
    if (g->unix_path)
        unlink(g->unix_path);
    free(g->unix_path);
    free(g);
}
