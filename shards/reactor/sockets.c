/* The sockets of a node: the reuseport group's members with their steering, and the admin listener. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shards/reactor/reactor_internal.h"

enum { LISTEN_BACKLOG = 1024 }; /* the kernel lowers it to net.core.somaxconn */
enum { CLIENT_SEND_BYTES = 256 << 10 };

static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

bool addr_is_v4(const struct io_addr *a)
{
    return memcmp(a->ip, v4_prefix, sizeof v4_prefix) == 0;
}

socklen_t addr_to_sockaddr(const struct io_addr *a, int family, union socket_addr *out)
{
    if (family == AF_INET && addr_is_v4(a)) {
        out->in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&out->in.sin_addr, a->ip + 12, 4);
        return sizeof out->in;
    }
    /* An IPv6 address on an IPv4 socket is for the kernel to refuse: EAFNOSUPPORT. */
    out->in6 =
        (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope_id};
    memcpy(&out->in6.sin6_addr, a->ip, 16);
    return sizeof out->in6;
}

void addr_from_sockaddr(const union socket_addr *s, struct io_addr *out)
{
    if (s->any.sa_family == AF_INET) {
        memcpy(out->ip, v4_prefix, sizeof v4_prefix);
        memcpy(out->ip + 12, &s->in.sin_addr, 4);
        out->scope_id = 0;
        out->port = ntohs(s->in.sin_port);
        return;
    }
    memcpy(out->ip, &s->in6.sin6_addr, 16);
    out->scope_id = s->in6.sin6_scope_id;
    out->port = ntohs(s->in6.sin6_port);
}

int socket_addr_of(int fd, struct io_addr *out)
{
    union socket_addr s = {0};
    socklen_t len = sizeof s;
    if (getsockname(fd, &s.any, &len) < 0)
        return -errno;
    addr_from_sockaddr(&s, out);
    return 0;
}

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

static int fail(int fd, int err)
{
    close(fd);
    return err;
}

/* [::] where the kernel has no IPv6 at all is IPv4's any address. */
static int open_socket(const struct io_addr *addr, int type, union socket_addr *out, socklen_t *len)
{
    static const uint8_t any[16];
    int family = addr_is_v4(addr) ? AF_INET : AF_INET6;
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    *len = addr_to_sockaddr(addr, family, out);
    if (fd < 0 && errno == EAFNOSUPPORT && family == AF_INET6 && memcmp(addr->ip, any, sizeof any) == 0) {
        out->in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(addr->port)};
        *len = sizeof out->in;
        fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    }
    if (fd < 0)
        return -errno;
    int err = out->any.sa_family == AF_INET6 ? set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) : 0;
    return err < 0 ? fail(fd, err) : fd;
}

/*
 * The session id's first four bytes as they are on the wire, big-endian, modulo the number of shards; a routed datagram
 * (52 54) has the packet behind its 18 bytes of routing header. All else, and a load past the end, is shard 0.
 * Offset 0 is the UDP payload.
 */
static int attach_steering(int fd, unsigned shards)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x5254, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 18 + 24),
        BPF_JUMP(BPF_JMP | BPF_JA, 3, 0, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x454e, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 24),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, shards),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) < 0 ? -errno : 0;
}

/* What was got is read back by the group; less than asked for is no error. */
static void ask_for_buffer(int fd, uint32_t bytes)
{
    int value = bytes > INT32_MAX ? INT32_MAX : (int)bytes;
    if (set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, value) < 0)
        set_option(fd, SOL_SOCKET, SO_RCVBUF, value);
    if (set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, value) < 0)
        set_option(fd, SOL_SOCKET, SO_SNDBUF, value);
}

int udp_socket_open(struct udp_options *o)
{
    union socket_addr addr;
    socklen_t len;
    int fd = open_socket(&o->addr, SOCK_DGRAM, &addr, &len);
    if (fd < 0)
        return fd;
    int err = set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    if (!err && o->reuseport)
        err = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    /* Both are optimisations: the shards pass on what reaches the wrong one, and take datagrams one by one. */
    if (o->steer_over > 1 && attach_steering(fd, o->steer_over) < 0)
        o->steer_over = 0;
    if (o->gro && set_option(fd, SOL_UDP, UDP_GRO, 1) < 0)
        o->gro = false;
    if (o->buffer)
        ask_for_buffer(fd, o->buffer);
    if (!err && bind(fd, &addr.any, len) < 0)
        err = -errno;
    return err ? fail(fd, err) : fd;
}

bool udp_gso_works(int fd)
{
    return set_option(fd, SOL_UDP, UDP_SEGMENT, 1200) == 0 && set_option(fd, SOL_UDP, UDP_SEGMENT, 0) == 0;
}

/*
 * What accepted connections inherit. A client that vanished without a word would hold its connection for ever if it
 * only waits for more (times are seconds); one that does not read would have the kernel hold megabytes for it.
 */
static int bound_clients(int fd)
{
    int err = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (!err)
        err = set_option(fd, SOL_SOCKET, SO_SNDBUF, CLIENT_SEND_BYTES);
    if (!err)
        err = set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    if (!err)
        err = set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
    return err ? err : set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 6);
}

int tcp_listener_open(const struct io_addr *a)
{
    union socket_addr addr;
    socklen_t len;
    int fd = open_socket(a, SOCK_STREAM, &addr, &len);
    if (fd < 0)
        return fd;
    int err = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!err)
        err = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* accepted connections inherit it */
    if (!err)
        err = bound_clients(fd);
    if (!err && (bind(fd, &addr.any, len) < 0 || listen(fd, LISTEN_BACKLOG) < 0))
        err = -errno;
    return err ? fail(fd, err) : fd;
}

/* A socket file that nobody listens on was left by a process that died. Anything else is not ours to remove. */
static int remove_dead_socket(const struct sockaddr_un *addr)
{
    struct stat st;
    if (lstat(addr->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int err = connect(fd, (const struct sockaddr *)addr, sizeof *addr) < 0 ? errno : 0;
    close(fd);
    if (err != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(addr->sun_path) < 0 ? -errno : 0;
}

int unix_listener_open(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof addr.sun_path)
        return -ENAMETOOLONG;
    memcpy(addr.sun_path, path, len + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* The mode of the unbound socket is the file's from its first moment; umask would be the whole process's. */
    int err = fchmod(fd, 0600) < 0 ? -errno : remove_dead_socket(&addr);
    if (!err && (bind(fd, (const struct sockaddr *)&addr, sizeof addr) < 0 || listen(fd, LISTEN_BACKLOG) < 0))
        err = -errno;
    return err ? fail(fd, err) : fd;
}
