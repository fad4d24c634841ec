/* The reactor's datagrams: GSO and GRO in both address families, and what happens when the kernel refuses GSO. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/udp_receiver.h"

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
