/* The reactor's datagrams: GSO and GRO, both address families, held buffers, refusals. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/reactor_fixture.h"

enum { MAX_BYTES = 65000, MAX_DATAGRAMS = 4096 };

/* Takes datagrams apart as the node does and remembers what came. */
struct receiver {
    struct io_op op; /* first */
    struct io *io;
    unsigned datagrams, batches;
    size_t bytes, len[MAX_DATAGRAMS];
    uint64_t sum;
    struct io_addr from;
    bool hold, truncated;
    uint32_t held[64];
    unsigned held_count;
    unsigned ended; /* completions without more */
    int32_t res;
};

static uint64_t sum_of(const uint8_t *p, size_t len)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum = sum * 31 + p[i];
    return sum;
}

static void received(struct io_op *op, int32_t res)
{
    struct receiver *v = (struct receiver *)(void *)op;
    v->res = res;
    if (!op->more)
        v->ended++;
    if (res < 0)
        return;
    const struct io_arrival *a = &op->arrival;
    cr_assert_eq((size_t)res, a->len);
    v->batches++;
    v->from = a->from;
    v->truncated |= a->truncated;
    for (size_t at = 0; at < a->len || (a->len == 0 && at == 0); at += a->segment ? a->segment : 1) {
        size_t n = a->len - at < a->segment ? a->len - at : a->segment;
        cr_assert_lt(v->datagrams, MAX_DATAGRAMS);
        v->len[v->datagrams++] = n;
        v->bytes += n;
        v->sum += sum_of(a->data + at, n);
    }
    if (v->hold && v->held_count < 64) {
        v->held[v->held_count++] = a->buffer;
        v->io->ops->udp_hold(v->io, a->buffer);
    }
    if (!op->more)
        io_submit(v->io, op);
}

static void receive(struct receiver *v, struct io *io)
{
    memset(v, 0, sizeof *v);
    v->io = io;
    v->op = (struct io_op){.kind = IO_UDP_RECV, .done = received, .handle = io->udp};
    io_submit(io, &v->op);
}

static uint8_t payload[MAX_BYTES];

static void fill_payload(void)
{
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 7 + i / 251);
}

static int32_t send_to(struct reactor *r, const struct io_addr *to, size_t len, uint16_t segment)
{
    struct iovec iov = {payload, len};
    struct tracked t = {.op = {.kind = IO_UDP_SEND,
                               .handle = reactor_io(r)->udp,
                               .udp = {.to = *to, .iov = &iov, .iov_count = 1, .segment = segment}}};
    return run_op(r, &t);
}

/* Datagrams of `segment` bytes, the last one of what remains, from one node to another. */
static void check_transfer(const struct io_addr *at, bool gso, bool gro, size_t len, uint16_t segment)
{
    struct reactor_group_options g = {
        .listen = *at, .shards = 1, .socket_buffer = 1 << 22, .gso = gso, .gro = gro, .no_admin = true};
    struct fixture a, b;
    static struct receiver v;
    fixture_open_with(&a, &g, NULL);
    fixture_open_with(&b, &g, NULL);
    receive(&v, b.io[0]);
    reactor_turn(b.reactor[0], 0, NULL, NULL);
    fill_payload();

    cr_assert_eq(send_to(a.reactor[0], &b.features.listen, len, segment), (int32_t)len);
    size_t size = segment ? segment : len;
    unsigned want = len ? (unsigned)((len + size - 1) / size) : 1;
    turn_until(b.reactor[0], &v.datagrams, want);

    uint64_t sum = 0;
    for (unsigned i = 0; i < want; i++) {
        size_t n = i + 1 < want ? size : len - size * (want - 1);
        cr_expect_eq(v.len[i], n);
        sum += sum_of(payload + size * i, n);
    }
    cr_expect_eq(v.sum, sum);
    cr_expect_eq(memcmp(v.from.ip, at->ip, 16), 0);
    cr_expect_eq(v.from.port, a.features.listen.port);
    cr_expect_not(v.truncated);
    if (a.features.gso && b.features.gro)
        cr_expect_eq(v.batches, 1, "GSO and GRO make one arrival");
    const struct reactor_stats *out = reactor_get_stats(a.reactor[0]), *in = reactor_get_stats(b.reactor[0]);
    cr_expect_eq(counter_get(&out->datagrams_out), want);
    cr_expect_eq(counter_get(&out->send_batches), 1);
    cr_expect_eq(counter_get(&out->gso_fallbacks), want > 1 && !a.features.gso ? 1 : 0);
    cr_expect_eq(counter_get(&in->datagrams_in), want);
    cr_expect_eq(counter_get(&in->recv_batches), v.batches);
    fixture_close(&a);
    fixture_close(&b);
}

struct transfer {
    size_t len;
    uint16_t segment;
};
static struct transfer transfers[] = {
    {0, 0},
    {1, 0},
    {64, 0},
    {1392, 0},
    {8210, 0},
    {64 * 64, 64},
    {1392 * 46, 1392},
    {1392 * 3 + 1, 1392},
    {1392, 1392},
    {100, 1392},
    {8192 * 7 + 100, 8192},
    {65000, 1200},
};

ParameterizedTestParameters(reactor_udp, v4)
{
    return cr_make_param_array(struct transfer, transfers, sizeof transfers / sizeof transfers[0]);
}
ParameterizedTest(struct transfer *t, reactor_udp, v4)
{
    check_transfer(&loopback_v4, true, true, t->len, t->segment);
}

ParameterizedTestParameters(reactor_udp, v6)
{
    return cr_make_param_array(struct transfer, transfers, sizeof transfers / sizeof transfers[0]);
}
ParameterizedTest(struct transfer *t, reactor_udp, v6)
{
    check_transfer(&loopback_v6, true, true, t->len, t->segment);
}

Test(reactor_udp, without_gso_and_without_gro)
{
    check_transfer(&loopback_v4, false, false, 1392 * 45 + 7, 1392);
    check_transfer(&loopback_v4, false, true, 1392 * 45 + 7, 1392);
    check_transfer(&loopback_v6, true, false, 1392 * 45 + 7, 1392);
}

Test(reactor_udp, dual_stack_takes_ipv4_as_mapped)
{
    struct fixture f;
    static struct receiver v;
    fixture_open(&f, 1, &any_v6);
    receive(&v, f.io[0]);
    reactor_turn(f.reactor[0], 0, NULL, NULL);
    struct io_addr to4 = with_port(loopback_v4, f.features.listen.port);
    struct io_addr to6 = with_port(loopback_v6, f.features.listen.port);
    int fd = plain_udp(&to4);
    cr_assert_eq(send(fd, "four", 4, 0), 4);
    turn_until(f.reactor[0], &v.datagrams, 1);
    cr_expect_eq(memcmp(v.from.ip, loopback_v4.ip, 16), 0);

    /* and answers there, alone and by GSO */
    struct io_addr back = v.from;
    char in[2000];
    cr_expect_eq(send_to(f.reactor[0], &back, 5, 0), 5);
    cr_expect_eq(recv(fd, in, sizeof in, 0), 5);
    cr_expect_eq(send_to(f.reactor[0], &back, 2500, 1000), 2500);
    cr_expect_eq(recv(fd, in, sizeof in, 0), 1000);
    cr_expect_eq(recv(fd, in, sizeof in, 0), 1000);
    cr_expect_eq(recv(fd, in, sizeof in, 0), 500);
    close(fd);

    fd = plain_udp(&to6);
    cr_assert_eq(send(fd, "six", 3, 0), 3);
    turn_until(f.reactor[0], &v.datagrams, 2);
    cr_expect_eq(memcmp(v.from.ip, loopback_v6.ip, 16), 0);
    close(fd);
    fixture_close(&f);
}

Test(reactor_udp, an_ipv4_socket_cannot_reach_ipv6)
{
    struct fixture f;
    fixture_open(&f, 1, &loopback_v4);
    struct io_addr to = with_port(loopback_v6, 9);
    cr_expect_eq(send_to(f.reactor[0], &to, 5, 0), -EAFNOSUPPORT);
    fixture_close(&f);
}

Test(reactor_udp, echo_of_scattered_datagrams)
{
    /* Pieces of 18 and 1000 bytes, as a relay sends them: every datagram straddles iovecs, with and without GSO. */
    for (int gso = 0; gso < 2; gso++) {
        struct reactor_group_options g = {
            .listen = loopback_v4, .shards = 1, .gso = gso, .gro = true, .no_admin = true};
        struct fixture f;
        static struct receiver v;
        fixture_open_with(&f, &g, NULL);
        receive(&v, f.io[0]);
        fill_payload();
        struct iovec iov[60];
        uint64_t sum = 0;
        for (unsigned i = 0; i < 30; i++) {
            iov[2 * i] = (struct iovec){payload + 1018 * i, 18};
            iov[2 * i + 1] = (struct iovec){payload + 1018 * i + 18, 1000};
            sum += sum_of(payload + 1018 * i, 1018);
        }
        struct tracked t = {.op = {.kind = IO_UDP_SEND,
                                   .handle = f.io[0]->udp,
                                   .udp = {.to = f.features.listen, .iov = iov, .iov_count = 60, .segment = 1018}}};
        cr_assert_eq(run_op(f.reactor[0], &t), 30 * 1018);
        turn_until(f.reactor[0], &v.datagrams, 30);
        cr_expect_eq(v.sum, sum);
        cr_expect_eq(v.bytes, 30 * 1018);
        fixture_close(&f);
    }
}

/* The node's own descriptor, found as an outsider would. */
static int find_udp_socket(uint16_t port)
{
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in a;
        socklen_t len = sizeof a;
        int type = 0;
        socklen_t type_len = sizeof type;
        if (getsockname(fd, (struct sockaddr *)&a, &len) == 0 && a.sin_port == htons(port) &&
            getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_DGRAM)
            return fd;
    }
    return -1;
}

Test(reactor_udp, a_refused_gso_send_goes_one_by_one_and_is_remembered)
{
    struct fixture f;
    static struct receiver v;
    fixture_open(&f, 1, &loopback_v4);
    receive(&v, f.io[0]);
    fill_payload();
    /* Without checksums the kernel refuses UDP_SEGMENT (EINVAL) and sends all else. */
    int on = 1, fd = find_udp_socket(f.features.listen.port);
    cr_assert_geq(fd, 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);

    const struct reactor_stats *s = reactor_get_stats(f.reactor[0]);
    cr_expect_eq(send_to(f.reactor[0], &f.features.listen, 3500, 1000), 3500);
    turn_until(f.reactor[0], &v.datagrams, 4);
    cr_expect_eq(counter_get(&s->gso_fallbacks), 1);
    uint64_t sqes = counter_get(&s->sqes);
    cr_expect_eq(send_to(f.reactor[0], &f.features.listen, 3500, 1000), 3500);
    turn_until(f.reactor[0], &v.datagrams, 8);
    cr_expect_eq(counter_get(&s->gso_fallbacks), 2);
    cr_expect_eq(counter_get(&s->sqes) - sqes, 4, "the second time it is not even tried");
    cr_expect_eq(v.len[7], 500);

    /* Another destination is another path, and a smaller segment may fit. */
    struct io_addr other = with_port(loopback_v4, (uint16_t)(f.features.listen.port ^ 1));
    sqes = counter_get(&s->sqes);
    cr_expect_eq(send_to(f.reactor[0], &other, 3500, 1000), 3500);
    cr_expect_eq(counter_get(&s->sqes) - sqes, 5, "one refused, four sent");
    on = 0;
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
    sqes = counter_get(&s->sqes);
    cr_expect_eq(send_to(f.reactor[0], &f.features.listen, 3500, 900), 3500);
    cr_expect_eq(counter_get(&s->sqes) - sqes, 1);
    fixture_close(&f);
}

Test(reactor_udp, more_split_sends_than_the_queue_holds)
{
    enum { SENDS = 20 };
    struct reactor_group_options g = {
        .listen = loopback_v4, .shards = 1, .socket_buffer = 1 << 22, .gro = true, .no_admin = true};
    struct fixture f;
    static struct receiver v;
    static struct tracked t[SENDS];
    struct iovec iov = {payload, 64 * 64};
    unsigned done = 0;
    fixture_open_with(&f, &g, NULL);
    receive(&v, f.io[0]);
    fill_payload();
    for (unsigned i = 0; i < SENDS; i++) {
        t[i] = (struct tracked){.op = {.kind = IO_UDP_SEND,
                                       .done = tracked_done,
                                       .handle = f.io[0]->udp,
                                       .udp = {.to = f.features.listen, .iov = &iov, .iov_count = 1, .segment = 64}}};
        io_submit(f.io[0], &t[i].op);
    }
    turn_until(f.reactor[0], &v.datagrams, SENDS * 64);
    for (unsigned i = 0; i < SENDS; i++)
        done += t[i].completions == 1 && t[i].res == 64 * 64;
    cr_expect_eq(done, SENDS);
    cr_expect_eq(v.bytes, SENDS * 64 * 64);
    fixture_close(&f);
}

Test(reactor_udp, held_buffers_keep_their_bytes_and_the_receive_goes_on)
{
    enum { BUFFERS = 4 };
    struct reactor_group_options g = {.listen = loopback_v4, .shards = 1, .gso = true, .no_admin = true};
    struct reactor_options o = {.recv_buffers = BUFFERS};
    struct fixture f;
    static struct receiver v;
    fixture_open_with(&f, &g, &o);
    receive(&v, f.io[0]);
    v.hold = true;
    fill_payload();
    int fd = plain_udp(&f.features.listen);

    /* As many again stand by, so twice the pool can be held before the receive stops. */
    for (unsigned i = 0; i < 2 * BUFFERS; i++) {
        cr_assert_eq(send(fd, payload + i, 100, 0), 100);
        turn_until(f.reactor[0], &v.datagrams, i + 1);
    }
    cr_assert_eq(v.held_count, 2 * BUFFERS);
    for (unsigned i = 0; i < 2 * BUFFERS; i++)
        for (unsigned k = 0; k < i; k++)
            cr_expect_neq(v.held[i], v.held[k]);

    const struct reactor_stats *s = reactor_get_stats(f.reactor[0]);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(send(fd, payload, 50, 0), 50);
    uint64_t enters = counter_get(&s->enters);
    turn_for(f.reactor[0], 50000000);
    cr_expect_eq(v.datagrams, 2 * BUFFERS, "nowhere to put them");
    cr_expect_leq(counter_get(&s->enters) - enters, 5, "it waits and does not spin");
    cr_expect_eq(v.ended, 0, "the owner is not told: it is the back end's business");

    f.io[0]->ops->udp_release(f.io[0], v.held[0]);
    v.hold = false;
    turn_until(f.reactor[0], &v.datagrams, 2 * BUFFERS + 3);
    for (unsigned i = 1; i < 2 * BUFFERS; i++)
        f.io[0]->ops->udp_release(f.io[0], v.held[i]);
    cr_expect_geq(counter_get(&s->no_buffers), 1);
    close(fd);
    fixture_close(&f);
}

/* A relay: sends from the receive buffer and gives it back when the send is done. */
struct relay {
    struct io_op recv, send; /* recv first */
    struct io *io;
    struct io_addr to;
    struct iovec iov;
    uint32_t buffer;
    unsigned relayed;
};

static void relay_sent(struct io_op *op, int32_t res)
{
    struct relay *y = container_of(op, struct relay, send);
    cr_assert_eq((size_t)res, y->iov.iov_len);
    y->io->ops->udp_release(y->io, y->buffer);
    y->relayed++;
}

static void relay_received(struct io_op *op, int32_t res)
{
    struct relay *y = container_of(op, struct relay, recv);
    if (res < 0)
        return;
    struct io_arrival a = op->arrival;
    y->io->ops->udp_hold(y->io, a.buffer);
    y->buffer = a.buffer;
    a.data[0]--; /* the hop count, in place */
    y->iov = (struct iovec){a.data, a.len};
    y->send = (struct io_op){.kind = IO_UDP_SEND,
                             .done = relay_sent,
                             .handle = y->io->udp,
                             .udp = {.to = y->to, .iov = &y->iov, .iov_count = 1, .segment = (uint16_t)a.segment}};
    io_submit(y->io, &y->send);
}

Test(reactor_udp, relaying_sends_from_the_held_buffer)
{
    struct fixture f, g;
    static struct receiver v;
    static struct relay y;
    fixture_open(&f, 1, &loopback_v4);
    fixture_open(&g, 1, &loopback_v4);
    receive(&v, g.io[0]);
    y = (struct relay){.io = f.io[0], .to = g.features.listen};
    y.recv = (struct io_op){.kind = IO_UDP_RECV, .done = relay_received, .handle = f.io[0]->udp};
    io_submit(f.io[0], &y.recv);
    fill_payload();
    uint64_t sum = sum_of(payload, 1000) + sum_of(payload + 1000, 500);
    for (unsigned i = 1; i <= 100; i++) {
        payload[0]++;
        cr_assert_eq(send_to(g.reactor[0], &f.features.listen, 1500, 1000), 1500);
        turn_until(f.reactor[0], &y.relayed, i);
        turn_until(g.reactor[0], &v.datagrams, 2 * i);
        payload[0]--;
        cr_assert_eq(v.sum, sum);
        v.sum = 0;
    }
    cr_expect_eq(counter_get(&reactor_get_stats(f.reactor[0])->no_buffers), 0);
    fixture_close(&f);
    fixture_close(&g);
}

Test(reactor_udp, a_burst_larger_than_the_pool_arrives_whole)
{
    enum { COUNT = 2000 };
    struct reactor_group_options g = {.listen = loopback_v4, .shards = 1, .socket_buffer = 1 << 22, .no_admin = true};
    struct reactor_options o = {.recv_buffers = 2};
    struct fixture f;
    static struct receiver v;
    fixture_open_with(&f, &g, &o);
    receive(&v, f.io[0]);
    fill_payload();
    int fd = plain_udp(&f.features.listen);
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert_eq(send(fd, payload, 200, 0), 200);
    turn_until(f.reactor[0], &v.datagrams, COUNT);
    cr_expect_eq(v.bytes, COUNT * 200);
    cr_expect_geq(counter_get(&reactor_get_stats(f.reactor[0])->no_buffers), COUNT / 2 - 1);
    close(fd);
    fixture_close(&f);
}

Test(reactor_udp, what_the_socket_cannot_hold_is_counted)
{
    struct reactor_group_options g = {.listen = loopback_v4, .shards = 1, .socket_buffer = 4096, .no_admin = true};
    struct fixture f;
    static struct receiver v;
    enum { COUNT = 500 };
    fixture_open_with(&f, &g, NULL);
    fill_payload();
    int fd = plain_udp(&f.features.listen);
    for (unsigned i = 0; i < COUNT; i++)
        send(fd, payload, 1000, 0);
    receive(&v, f.io[0]);
    turn_for(f.reactor[0], 20000000);
    unsigned got = v.datagrams;
    cr_assert_lt(got, COUNT);
    cr_assert_eq(send(fd, payload, 10, 0), 10); /* the kernel's count comes with the next datagram */
    turn_until(f.reactor[0], &v.datagrams, got + 1);
    cr_expect_eq(counter_get(&reactor_get_stats(f.reactor[0])->socket_overflows), COUNT - got);
    close(fd);
    fixture_close(&f);
}

Test(reactor_udp, cancel_ends_the_receive_armed_and_starved)
{
    struct reactor_group_options g = {.listen = loopback_v4, .shards = 1, .no_admin = true};
    struct reactor_options o = {.recv_buffers = 1};
    struct fixture f;
    static struct receiver v;
    fixture_open_with(&f, &g, &o);
    receive(&v, f.io[0]);
    reactor_turn(f.reactor[0], 0, NULL, NULL);
    io_cancel(f.io[0], &v.op);
    cr_expect_eq(v.ended, 0, "not from inside the call");
    turn_until(f.reactor[0], &v.ended, 1);
    cr_expect_eq(v.res, -ECANCELED);
    cr_expect_not(v.op.pending);

    receive(&v, f.io[0]);
    v.hold = true;
    int fd = plain_udp(&f.features.listen);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(send(fd, "x", 1, 0), 1);
    turn_until(f.reactor[0], &v.datagrams, 2);
    turn_for(f.reactor[0], 5000000); /* two held, one waits, none left */
    cr_assert_eq(v.datagrams, 2);
    io_cancel(f.io[0], &v.op);
    turn_until(f.reactor[0], &v.ended, 1);
    cr_expect_eq(v.res, -ECANCELED);

    /* With all held it may be submitted all the same, and begins when a buffer is back. */
    v.hold = false;
    io_submit(f.io[0], &v.op);
    turn_for(f.reactor[0], 5000000);
    cr_expect_eq(v.datagrams, 2);
    f.io[0]->ops->udp_release(f.io[0], v.held[0]);
    turn_until(f.reactor[0], &v.datagrams, 3);
    f.io[0]->ops->udp_release(f.io[0], v.held[1]);
    close(fd);
    fixture_close(&f);
}

Test(reactor_udp, a_full_socket_refuses_and_never_queues)
{
    /* A send buffer of the smallest size and 64 sends in one turn: those without room are told so. */
    enum { SENDS = 64 };
    struct reactor_group_options g = {
        .listen = loopback_v4, .shards = 1, .socket_buffer = 1, .gso = true, .no_admin = true};
    struct fixture f;
    static struct tracked t[SENDS];
    struct iovec iov = {payload, 60000};
    fixture_open_with(&f, &g, NULL);
    struct io_addr sink = with_port(loopback_v4, f.features.listen.port);
    for (unsigned i = 0; i < SENDS; i++) {
        t[i] = (struct tracked){.op = {.kind = IO_UDP_SEND,
                                       .done = tracked_done,
                                       .handle = f.io[0]->udp,
                                       .udp = {.to = sink, .iov = &iov, .iov_count = 1}}};
        io_submit(f.io[0], &t[i].op);
    }
    reactor_turn(f.reactor[0], 0, NULL, NULL);
    for (unsigned i = 0; i < SENDS; i++) {
        cr_expect_eq(t[i].completions, 1, "within the turn that submitted it");
        cr_expect(t[i].res == 60000 || t[i].res == -EAGAIN || t[i].res == -EMSGSIZE || t[i].res == -ENOBUFS, "%d",
                  t[i].res);
    }
    fixture_close(&f);
}

/* A packet of the session whose id begins, on the wire, with `word`; routed: behind 18 bytes. */
static size_t packet(uint8_t *out, bool routed, uint32_t word)
{
    size_t at = routed ? 18 : 0;
    memset(out, 0, 100);
    if (routed)
        memcpy(out, "RT", 2);
    memcpy(out + at, "EN", 2);
    for (unsigned i = 0; i < 4; i++)
        out[at + 24 + i] = (uint8_t)(word >> (24 - 8 * i));
    return at + 80;
}

static void expect_at(struct fixture *f, struct receiver *v, unsigned shard, const char *what)
{
    unsigned before[3] = {v[0].datagrams, v[1].datagrams, v[2].datagrams};
    turn_until(f->reactor[shard], &v[shard].datagrams, before[shard] + 1);
    for (unsigned i = 0; i < 3; i++) {
        reactor_turn(f->reactor[i], 0, NULL, NULL);
        cr_expect_eq(v[i].datagrams, before[i] + (i == shard), "%s, wanted shard %u, looked at %u", what, shard, i);
    }
}

static void check_steering(const struct io_addr *listen, const struct io_addr *host)
{
    struct fixture f;
    static struct receiver v[3];
    uint8_t bytes[128];
    fixture_open(&f, 3, listen);
    cr_assert(f.features.steering);
    for (unsigned i = 0; i < 3; i++) {
        receive(&v[i], f.io[i]);
        reactor_turn(f.reactor[i], 0, NULL, NULL);
    }
    struct io_addr to = with_port(*host, f.features.listen.port);
    int fd = plain_udp(&to);
    const uint32_t words[] = {0, 1, 2, 3, 4, 5, 0x01020304, 0xfffffffe, 0xffffffff, 0xdeadbeef};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (int routed = 0; routed < 2; routed++) {
            size_t len = packet(bytes, routed, words[i]);
            cr_assert_eq(send(fd, bytes, len, 0), (ssize_t)len);
            expect_at(&f, v, words[i] % 3, routed ? "routed" : "direct");
        }
    }
    /* Handshakes and all that is no packet or too short go to the control shard. */
    memset(bytes, 0xab, sizeof bytes);
    cr_assert_eq(send(fd, bytes, 72, 0), 72);
    expect_at(&f, v, 0, "pingwave");
    packet(bytes, false, 1);
    cr_assert_eq(send(fd, bytes, 26, 0), 26);
    expect_at(&f, v, 0, "too short");
    cr_assert_eq(send(fd, bytes, 1, 0), 1);
    expect_at(&f, v, 0, "a byte");
    close(fd);
    fixture_close(&f);
}

Test(reactor_udp, steering_by_session_id)
{
    check_steering(&loopback_v4, &loopback_v4);
    check_steering(&loopback_v6, &loopback_v6);
    check_steering(&any_v6, &loopback_v4);
}

static void echo(struct io_op *op, int32_t res)
{
    struct receiver *v = (struct receiver *)(void *)op;
    if (res >= 0)
        v->datagrams++;
}

Test(reactor_udp, steady_state_is_one_enter_per_turn)
{
    enum { ROUNDS = 200 };
    struct fixture a, b;
    static struct receiver va, vb;
    fixture_open(&a, 1, &loopback_v4);
    fixture_open(&b, 1, &loopback_v4);
    receive(&va, a.io[0]);
    receive(&vb, b.io[0]);
    vb.op.done = va.op.done = echo;
    turn_for(b.reactor[0], 1000000);
    turn_for(a.reactor[0], 1000000);
    const struct reactor_stats *s = reactor_get_stats(a.reactor[0]);
    uint64_t enters = counter_get(&s->enters);
    unsigned turns = 0;
    struct iovec iov = {payload, 64};
    struct tracked t = {.op = {.kind = IO_UDP_SEND,
                               .done = tracked_done,
                               .handle = a.io[0]->udp,
                               .udp = {.to = a.features.listen, .iov = &iov, .iov_count = 1}}};
    for (unsigned i = 0; i < ROUNDS; i++) {
        io_submit(a.io[0], &t.op);
        uint64_t limit = a.io[0]->ops->clock(a.io[0]) + FIXTURE_PATIENCE_NS;
        while (va.datagrams <= i || t.op.pending) {
            cr_assert_geq(reactor_turn(a.reactor[0], limit, NULL, NULL), 0);
            turns++;
        }
    }
    cr_expect_leq(counter_get(&s->enters) - enters, turns);
    cr_expect_leq(turns, 2 * ROUNDS, "a turn for the send, at most one for the arrival");

    /* Turning with nothing to do and no wait costs no system call at all. */
    enters = counter_get(&s->enters);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_eq(reactor_turn(a.reactor[0], 0, NULL, NULL), 0);
    cr_expect_leq(counter_get(&s->enters) - enters, 2);
    fixture_close(&a);
    fixture_close(&b);
}
