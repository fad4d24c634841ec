/* Which shard the kernel gives a datagram to, and how many system calls a turn takes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/udp_receiver.h"

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

Test(reactor_steering, steering_by_session_id)
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

Test(reactor_steering, steady_state_is_one_enter_per_turn)
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
