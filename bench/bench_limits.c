/*
 * What this machine's loopback can do, by plain system calls and through the reactor, measured in one run on two cores:
 * one-way datagrams per second with GSO and GRO at several sizes, and ping-pong latency of 64 bytes, blocking and
 * spinning. The right column is the reactor's price. AEAD alone: bench_aead.
 *
 *   bench_limits [--json] [--seconds S] [--sizes N,N,…] [--cpus A,B] [--recv-buffers N] [--rounds N]
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/measure.h"
#include "shards/reactor/reactor.h"

enum {
    MAX_SIZES = 16,
    PING_BYTES = 64,
    GSO_BYTES = 65000,
    GSO_SEGMENTS = 64,
    SOCKET_BUFFER = 4 << 20,
    SENDS_IN_FLIGHT = 4,
    SLICES = 4
};

static const struct io_addr loopback = {.ip = {[10] = 0xff, 0xff, 127, 0, 0, 1}};

struct options {
    bool json;
    double seconds;
    uint16_t sizes[MAX_SIZES];
    unsigned size_count, rounds, cpus[2];
    uint32_t recv_buffers;
};

/* One end of a measurement: a thread on its own core. The ends share nothing but the sockets and the flags. */
struct end {
    const struct options *options;
    unsigned cpu;
    int fd; /* raw; unconnected, as the socket of a node is */
    struct sockaddr_in to;
    struct reactor_group *group; /* reactor */
    struct io_addr peer;
    io_done_fn *on_arrival;
    uint16_t size;
    bool spin, ping;
    atomic_bool *stop;
    atomic_uint *ready;
    uint64_t datagrams, bytes, elapsed; /* counted where they arrive; ns from the first to the last */
    uint32_t *samples;                  /* ns, of the end that pings */
};

/* Both ends begin together, each on its core. */
static void begin(struct end *e)
{
    pin_to(e->cpu);
    atomic_fetch_add(e->ready, 1);
    while (atomic_load(e->ready) < 2)
        sched_yield();
}

static bool stopped(const struct end *e)
{
    return atomic_load_explicit(e->stop, memory_order_relaxed);
}

static void count(struct end *e, size_t len, size_t segment, uint64_t *first)
{
    uint64_t now = now_ns();
    if (*first == 0)
        *first = now;
    e->datagrams += segment ? (len + segment - 1) / segment : 1;
    e->bytes += len;
    e->elapsed = now - *first;
}

static size_t batch_bytes(uint16_t size)
{
    size_t n = (size_t)GSO_BYTES / size;
    return (n < GSO_SEGMENTS ? n : GSO_SEGMENTS) * size;
}

/* Raw: plain system calls. */

static int raw_socket(struct sockaddr_in *at)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = SOCKET_BUFFER, on = 1;
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

static void *raw_flood_send(void *arg)
{
    struct end *e = arg;
    static uint8_t payload[GSO_BYTES];
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
    begin(e);
    while (!stopped(e))
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

static void *raw_flood_recv(void *arg)
{
    struct end *e = arg;
    static uint8_t payload[65536];
    char control[64];
    uint64_t first = 0;
    struct iovec iov = {payload, sizeof payload};
    begin(e);
    while (!stopped(e)) {
        struct sockaddr_in from;
        struct msghdr msg = {.msg_name = &from,
                             .msg_namelen = sizeof from,
                             .msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
        ssize_t n = recvmsg(e->fd, &msg, 0);
        if (n > 0)
            count(e, (size_t)n, segment_of(&msg), &first);
    }
    return NULL;
}

static bool raw_recv(struct end *e, uint8_t *buffer)
{
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    while (!stopped(e))
        if (recvfrom(e->fd, buffer, PING_BYTES, e->spin ? MSG_DONTWAIT : 0, (struct sockaddr *)&from, &len) ==
            PING_BYTES)
            return true;
    return false;
}

static void raw_send(struct end *e, const uint8_t *buffer)
{
    ssize_t n = sendto(e->fd, buffer, PING_BYTES, 0, (struct sockaddr *)&e->to, sizeof e->to);
    check(n == PING_BYTES, "sendto");
}

static void *raw_pong(void *arg)
{
    struct end *e = arg;
    uint8_t buffer[PING_BYTES];
    begin(e);
    while (raw_recv(e, buffer))
        raw_send(e, buffer);
    return NULL;
}

static void *raw_ping(void *arg)
{
    struct end *e = arg;
    uint8_t buffer[PING_BYTES] = {0};
    begin(e);
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

/* Through the reactor. */

struct driver {
    struct io_op recv; /* first */
    struct io_op send[SENDS_IN_FLIGHT];
    struct iovec iov;
    struct io *io;
    struct end *end;
    uint64_t first, started;
    unsigned round;
};

static bool always_idle(void *ctx)
{
    (void)ctx;
    return true;
}

static void send_one(struct driver *d, unsigned slot)
{
    if (!d->send[slot].pending)
        io_submit(d->io, &d->send[slot]);
}

static void on_flood_sent(struct io_op *op, int32_t res)
{
    (void)op;
    check(res >= 0 || res == -EAGAIN || res == -ENOBUFS, "reactor send");
}

static void on_flood(struct io_op *op, int32_t res)
{
    struct driver *d = (struct driver *)(void *)op;
    if (res >= 0)
        count(d->end, op->arrival.len, op->arrival.segment, &d->first);
}

/* One function for both ends: the pinging one measures, both send again. */
static void on_ball(struct io_op *op, int32_t res)
{
    struct driver *d = (struct driver *)(void *)op;
    if (res < 0)
        return;
    if (d->end->ping) {
        uint64_t now = now_ns();
        d->end->samples[d->round++] = (uint32_t)(now - d->started);
        if (d->round == d->end->options->rounds) {
            atomic_store(d->end->stop, true);
            return;
        }
        d->started = now;
    }
    send_one(d, d->send[0].pending); /* the last one's completion may still wait in this very turn */
}

static struct reactor *start_reactor(struct end *e, struct driver *d, uint8_t *payload, uint16_t segment, size_t len)
{
    char why[256] = "";
    struct reactor *r;
    struct reactor_options o = {.spin_ns = e->spin ? NS_PER_S : 0, .recv_buffers = e->options->recv_buffers};
    begin(e);
    check(reactor_create(&r, e->group, &o, why, sizeof why) == 0, why);
    d->io = reactor_io(r);
    d->end = e;
    d->iov = (struct iovec){payload, len};
    for (unsigned i = 0; i < SENDS_IN_FLIGHT; i++)
        d->send[i] = (struct io_op){.kind = IO_UDP_SEND,
                                    .done = on_flood_sent,
                                    .handle = d->io->udp,
                                    .udp = {.to = e->peer, .iov = &d->iov, .iov_count = 1, .segment = segment}};
    return r;
}

static void end_reactor(struct reactor *r)
{
    reactor_cancel_all(r);
    while (reactor_busy(r))
        reactor_turn(r, now_ns() + NS_PER_S, NULL, NULL);
    reactor_destroy(r);
}

static void *reactor_flood_send(void *arg)
{
    struct end *e = arg;
    static uint8_t payload[GSO_BYTES];
    struct driver d = {0};
    struct reactor *r = start_reactor(e, &d, payload, e->size, batch_bytes(e->size));
    while (!stopped(e)) {
        for (unsigned i = 0; i < SENDS_IN_FLIGHT; i++)
            send_one(&d, i);
        check(reactor_turn(r, 0, NULL, NULL) >= 0, "reactor turn");
    }
    end_reactor(r);
    return NULL;
}

static void *reactor_receive(void *arg)
{
    struct end *e = arg;
    uint8_t payload[PING_BYTES] = {0};
    struct driver d = {0};
    struct reactor *r = start_reactor(e, &d, payload, 0, PING_BYTES);
    d.recv = (struct io_op){.kind = IO_UDP_RECV, .done = e->on_arrival, .handle = d.io->udp};
    io_submit(d.io, &d.recv);
    if (e->ping) {
        reactor_turn(r, now_ns() + NS_PER_S / 20, NULL, NULL); /* let the other end begin to listen */
        d.started = now_ns();
        send_one(&d, 0);
    }
    while (!stopped(e))
        check(reactor_turn(r, io_now(d.io) + NS_PER_S / 20, always_idle, NULL) >= 0, "reactor turn");
    end_reactor(r);
    return NULL;
}

/* Measurements. */

struct pair {
    struct end a, b;
    atomic_bool stop;
    atomic_uint ready;
};

static void run_pair(struct pair *p, void *(*a)(void *), void *(*b)(void *), double seconds)
{
    pthread_t threads[2];
    p->a.stop = p->b.stop = &p->stop;
    p->a.ready = p->b.ready = &p->ready;
    p->a.cpu = p->a.options->cpus[0];
    p->b.cpu = p->a.options->cpus[1];
    check(pthread_create(&threads[0], NULL, a, &p->a) == 0 && pthread_create(&threads[1], NULL, b, &p->b) == 0,
          "thread");
    if (seconds > 0) {
        usleep((useconds_t)(seconds * 1e6));
        atomic_store(&p->stop, true);
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
}

static void measure_raw(struct pair *p, void *(*a)(void *), void *(*b)(void *), double seconds)
{
    p->a.fd = raw_socket(&p->b.to);
    p->b.fd = raw_socket(&p->a.to);
    run_pair(p, a, b, seconds);
    close(p->a.fd);
    close(p->b.fd);
}

static struct reactor_group *make_group(struct io_addr *at)
{
    struct reactor_group_options o = {
        .listen = loopback, .shards = 1, .socket_buffer = SOCKET_BUFFER, .gso = true, .gro = true, .no_admin = true};
    struct reactor_features f;
    struct reactor_group *g;
    char why[256] = "";
    check(reactor_group_create(&g, &o, why, sizeof why) == 0, why);
    reactor_group_features(g, &f);
    *at = f.listen;
    return g;
}

static void measure_reactor(struct pair *p, void *(*a)(void *), void *(*b)(void *), double seconds)
{
    p->a.group = make_group(&p->b.peer);
    p->b.group = make_group(&p->a.peer);
    run_pair(p, a, b, seconds);
    reactor_group_destroy(p->a.group);
    reactor_group_destroy(p->b.group);
}

struct rate {
    double datagrams, bytes, seconds;
};

static void measure_rate(struct rate *sum, const struct options *o, uint16_t size, bool reactor)
{
    struct pair p = {.a = {.options = o, .size = size}, .b = {.options = o, .size = size, .on_arrival = on_flood}};
    if (reactor)
        measure_reactor(&p, reactor_flood_send, reactor_receive, o->seconds / SLICES);
    else
        measure_raw(&p, raw_flood_send, raw_flood_recv, o->seconds / SLICES);
    sum->datagrams += (double)p.b.datagrams;
    sum->bytes += (double)p.b.bytes;
    sum->seconds += (double)p.b.elapsed / NS_PER_S;
}

/* In turns, so that both see the same neighbours on a shared machine. Per second, as received; [0] raw, [1] reactor. */
static void measure_rates(struct rate rates[2], const struct options *o, uint16_t size)
{
    memset(rates, 0, 2 * sizeof rates[0]);
    for (unsigned i = 0; i < 2 * SLICES; i++)
        measure_rate(&rates[i % 2], o, size, i % 2);
    for (unsigned i = 0; i < 2; i++) {
        check(rates[i].seconds > 0, "nothing arrived");
        rates[i].datagrams /= rates[i].seconds;
        rates[i].bytes /= rates[i].seconds;
    }
}

static struct latency measure_latency(const struct options *o, bool reactor, bool spin)
{
    uint32_t *samples = calloc(o->rounds, sizeof *samples);
    check(samples != NULL, "memory");
    struct end end = {.options = o, .spin = spin, .on_arrival = on_ball};
    struct pair p = {.a = end, .b = end};
    p.a.ping = true;
    p.a.samples = samples;
    if (reactor)
        measure_reactor(&p, reactor_receive, reactor_receive, 0);
    else
        measure_raw(&p, raw_ping, raw_pong, 0);
    unsigned warm = o->rounds / 10; /* the first tenth warms up */
    struct latency l = latency_of(samples + warm, o->rounds - warm);
    free(samples);
    return l;
}

static void report_rates(const struct options *o)
{
    if (!o->json)
        printf("%-10s %14s %10s %14s %10s %7s\n", "one way", "raw dgram/s", "MB/s", "reactor dgram/s", "MB/s", "ratio");
    for (unsigned i = 0; i < o->size_count; i++) {
        struct rate rates[2], *raw = &rates[0], *own = &rates[1];
        measure_rates(rates, o, o->sizes[i]);
        double ratio = own->datagrams / raw->datagrams;
        if (o->json)
            printf("%s{\"size\":%u,\"raw_datagrams_s\":%.0f,\"raw_bytes_s\":%.0f,\"reactor_datagrams_s\":%.0f,"
                   "\"reactor_bytes_s\":%.0f,\"ratio\":%.3f}",
                   i ? "," : "{\"rates\":[", o->sizes[i], raw->datagrams, raw->bytes, own->datagrams, own->bytes,
                   ratio);
        else
            printf("%6u B   %14.0f %10.0f %14.0f %11.0f %7.2f\n", o->sizes[i], raw->datagrams, raw->bytes / 1e6,
                   own->datagrams, own->bytes / 1e6, ratio);
    }
}

static void report_latencies(const struct options *o)
{
    if (!o->json)
        printf("\n%-10s %8s %8s %8s   %8s %8s %8s %7s\n", "ping-pong", "raw p50", "p99", "p99.9", "reactor p50", "p99",
               "p99.9", "ratio");
    for (int spin = 0; spin < 2; spin++) {
        struct latency raw = measure_latency(o, false, spin), own = measure_latency(o, true, spin);
        const char *name = spin ? "spinning" : "blocking";
        if (o->json)
            printf("%s\"%s\":{\"raw_us\":[%.2f,%.2f,%.2f],\"reactor_us\":[%.2f,%.2f,%.2f],\"ratio_p50\":%.3f}%s",
                   spin ? "," : "],\"ping_pong\":{", name, raw.p50, raw.p99, raw.p999, own.p50, own.p99, own.p999,
                   own.p50 / raw.p50, spin ? "}}\n" : "");
        else
            printf("%-10s %8.1f %8.1f %8.1f   %8.1f %8.1f %8.1f %10.2f   us\n", name, raw.p50, raw.p99, raw.p999,
                   own.p50, own.p99, own.p999, own.p50 / raw.p50);
    }
}

static void demand(bool ok, const char *what)
{
    errno = EINVAL;
    check(ok, what);
}

static void parse_sizes(struct options *o, char *text)
{
    o->size_count = 0;
    for (char *save, *s = strtok_r(text, ",", &save); s && o->size_count < MAX_SIZES; s = strtok_r(NULL, ",", &save)) {
        long size = strtol(s, NULL, 10);
        demand(size >= 1 && size <= GSO_BYTES, "--sizes: 1 to 65000 bytes");
        o->sizes[o->size_count++] = (uint16_t)size;
    }
}

static void parse_cpus(struct options *o, const char *text)
{
    char *end;
    o->cpus[0] = (unsigned)strtoul(text, &end, 10);
    demand(end != text && *end == ',', "--cpus A,B");
    text = end + 1;
    o->cpus[1] = (unsigned)strtoul(text, &end, 10);
    demand(end != text && *end == '\0', "--cpus A,B");
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"json", 0, NULL, 'j'},         {"seconds", 1, NULL, 's'}, {"sizes", 1, NULL, 'z'}, {"cpus", 1, NULL, 'c'},
        {"recv-buffers", 1, NULL, 'b'}, {"rounds", 1, NULL, 'r'},  {NULL, 0, NULL, 0}};
    struct options o = {.seconds = 1, .sizes = {64, 256, 1024, 1392, 4096, 8192}, .size_count = 6, .rounds = 20000};
    choose_cpus(o.cpus);
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 'j')
            o.json = true;
        else if (c == 's')
            o.seconds = strtod(optarg, NULL);
        else if (c == 'z')
            parse_sizes(&o, optarg);
        else if (c == 'c')
            parse_cpus(&o, optarg);
        else if (c == 'b')
            o.recv_buffers = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'r')
            o.rounds = (unsigned)strtoul(optarg, NULL, 10);
        else
            return 2;
    }
    demand(o.seconds > 0 && o.rounds >= 100, "--seconds above 0, --rounds of 100 and more");
    report_rates(&o);
    report_latencies(&o);
    return 0;
}
