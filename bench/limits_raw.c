/* The ends of bench_limits on plain system calls. */
#include <errno.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/limits.h"

static int raw_socket(struct sockaddr_in *at)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = LIMITS_SOCKET, on = 1;
    socklen_t len = sizeof *at;
    struct timeval limit = {.tv_usec = 50000};
    check(fd >= 0, "socket");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    check(setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on) == 0, "UDP_GRO");
    check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0, "SO_RCVTIMEO");
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    check(bind(fd, (struct sockaddr *)at, sizeof *at) == 0, "bind");
    check(getsockname(fd, (struct sockaddr *)at, &len) == 0, "getsockname");
    return fd;
}

static void *raw_flood(void *arg)
{
    struct end *e = arg;
    static uint8_t payload[LIMITS_GSO_BYTES];
    struct iovec iov = {payload, batch_bytes(e->size)};
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(uint16_t)), .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT}};
    memcpy(CMSG_DATA(&control.head), &e->size, sizeof e->size);
    struct msghdr msg = {.msg_name = &e->to,
                         .msg_namelen = sizeof e->to,
                         .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    end_begin(e);
    while (!end_stopped(e))
        check(sendmsg(e->fd, &msg, 0) >= 0 || errno == EAGAIN || errno == ENOBUFS, "sendmsg");
    return NULL;
}

static size_t segment_of(struct msghdr *msg)
{
    int segment = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
            memcpy(&segment, CMSG_DATA(c), sizeof segment);
    return (size_t)segment;
}

static void *raw_drain(void *arg)
{
    struct end *e = arg;
    static uint8_t payload[65536];
    char control[64];
    uint64_t first = 0;
    struct iovec iov = {payload, sizeof payload};
    end_begin(e);
    while (!end_stopped(e)) {
        struct sockaddr_in from;
        struct msghdr msg = {.msg_name = &from,
                             .msg_namelen = sizeof from,
                             .msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
        ssize_t n = recvmsg(e->fd, &msg, 0);
        if (n > 0)
            end_count(e, (size_t)n, segment_of(&msg), &first);
    }
    return NULL;
}

static bool raw_recv(struct end *e, uint8_t *buffer)
{
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    while (!end_stopped(e))
        if (recvfrom(e->fd, buffer, LIMITS_PING, e->spin ? MSG_DONTWAIT : 0, (struct sockaddr *)&from, &len) ==
            LIMITS_PING)
            return true;
    return false;
}

static void raw_send(struct end *e, const uint8_t *buffer)
{
    ssize_t n = sendto(e->fd, buffer, LIMITS_PING, 0, (struct sockaddr *)&e->to, sizeof e->to);
    check(n == LIMITS_PING, "sendto");
}

static void *raw_pong(void *arg)
{
    struct end *e = arg;
    uint8_t buffer[LIMITS_PING];
    end_begin(e);
    while (raw_recv(e, buffer))
        raw_send(e, buffer);
    return NULL;
}

static void *raw_ping(void *arg)
{
    struct end *e = arg;
    uint8_t buffer[LIMITS_PING] = {0};
    end_begin(e);
    for (unsigned i = 0; i < e->options->rounds; i++) {
        uint64_t start = now_ns();
        raw_send(e, buffer);
        if (!raw_recv(e, buffer))
            break;
        e->samples[i] = (uint32_t)(now_ns() - start);
    }
    atomic_store(e->stop, true);
    return NULL;
}

static void raw_open(struct pair *p)
{
    p->a.fd = raw_socket(&p->b.to);
    p->b.fd = raw_socket(&p->a.to);
}

static void raw_close(struct pair *p)
{
    close(p->a.fd);
    close(p->b.fd);
}

const struct way way_raw = {
    .open = raw_open, .close = raw_close, .flood = raw_flood, .drain = raw_drain, .ping = raw_ping, .pong = raw_pong};
