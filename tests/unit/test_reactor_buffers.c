/* The reactor's receive buffers: held, relayed from, exhausted; the socket's own buffers, full. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/udp_receiver.h"

Test(reactor_buffers, held_buffers_keep_their_bytes_and_the_receive_goes_on)
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

Test(reactor_buffers, relaying_sends_from_the_held_buffer)
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

Test(reactor_buffers, a_burst_larger_than_the_pool_arrives_whole)
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

Test(reactor_buffers, what_the_socket_cannot_hold_is_counted)
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

Test(reactor_buffers, cancel_ends_the_receive_armed_and_starved)
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

Test(reactor_buffers, a_full_socket_refuses_and_never_queues)
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
