/* A shard that spins looks into the socket itself, sleeps when its time is over, and looks again when it is awake. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/udp_receiver.h"

enum { BUFFERS = 4, SPIN_NS = 2000000 };

static struct fixture f;
static struct receiver v;
static int fd;

static void set_up(void)
{
    struct reactor_group_options g = {.listen = loopback_v4, .shards = 1, .gso = true, .gro = true, .no_admin = true};
    struct reactor_options o = {.recv_buffers = BUFFERS, .spin_ns = SPIN_NS};
    fixture_open_with(&f, &g, &o);
    receive(&v, f.io[0]);
    fill_payload();
    fd = plain_udp(&f.features.listen);
}

static void tear_down(void)
{
    close(fd);
    fixture_close(&f);
}

TestSuite(reactor_spin, .init = set_up, .fini = tear_down);

/* Sends and takes `count` datagrams, all at once. */
static void check_burst(unsigned count)
{
    unsigned before = v.datagrams;
    uint64_t sum = v.sum;
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(send(fd, payload + i, 100, 0), 100);
        sum += sum_of(payload + i, 100);
    }
    turn_until(f.reactor[0], &v.datagrams, before + count);
    cr_assert_eq(v.sum, sum);
    cr_assert_eq(v.ended, 0, "the owner is not told how it is done");
}

Test(reactor_spin, takes_what_comes_one_by_one_and_in_bursts)
{
    for (unsigned i = 0; i < 50; i++)
        check_burst(1);
    for (unsigned i = 0; i < 10; i++)
        check_burst(20);
    cr_expect_eq(counter_get(&reactor_get_stats(f.reactor[0])->datagrams_in), 250);
}

Test(reactor_spin, tells_who_sent_and_how_it_was_cut)
{
    if (!f.features.gso || !f.features.gro)
        cr_skip("no segmentation offload here");
    struct io_addr self = with_port(loopback_v4, f.features.listen.port);
    uint64_t sum = 0;
    for (size_t at = 0; at < 10500; at += 1000)
        sum += sum_of(payload + at, at + 1000 < 10500 ? 1000 : 10500 - at);
    for (unsigned i = 1; i <= 20; i++) {
        cr_assert_eq(send_to(f.reactor[0], &self, 10500, 1000), 10500);
        turn_until(f.reactor[0], &v.datagrams, 11 * i);
        cr_assert_eq(v.sum, i * sum);
        cr_assert_eq(v.batches, i, "in one piece");
        cr_assert_eq(v.from.port, self.port);
        cr_assert_eq(memcmp(v.from.ip, self.ip, sizeof self.ip), 0);
        cr_assert_not(v.truncated);
    }
}

Test(reactor_spin, sleeps_when_its_time_is_over_and_looks_again)
{
    const struct reactor_stats *s = reactor_get_stats(f.reactor[0]);
    for (unsigned i = 0; i < 3; i++) {
        reactor_turn(f.reactor[0], f.io[0]->now + 2 * SPIN_NS, NULL, NULL);
        uint64_t sqes = counter_get(&s->sqes);
        uint64_t until = f.io[0]->ops->clock(f.io[0]) + 100 * SPIN_NS;
        reactor_turn(f.reactor[0], until, NULL, NULL);
        cr_expect_gt(counter_get(&s->sqes) - sqes, 10, "it looked many times");
        cr_expect_geq(f.io[0]->now, until, "and slept");
        check_burst(3);
    }
}

Test(reactor_spin, a_sleeping_receive_is_woken)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        usleep(20 * SPIN_NS / 1000);
        _exit(send(fd, "x", 1, 0) == 1 ? 0 : 1);
    }
    turn_until(f.reactor[0], &v.datagrams, 1);
    check_burst(5);
}

Test(reactor_spin, goes_on_when_buffers_are_back)
{
    v.hold = true;
    for (unsigned i = 0; i < 2 * BUFFERS + 3; i++)
        cr_assert_eq(send(fd, payload, 50, 0), 50);
    turn_until(f.reactor[0], &v.datagrams, 2 * BUFFERS);
    turn_for(f.reactor[0], 3 * SPIN_NS);
    cr_expect_eq(v.datagrams, 2 * BUFFERS, "nowhere to put them");
    v.hold = false;
    for (unsigned i = 0; i < 2 * BUFFERS; i++)
        f.io[0]->ops->udp_release(f.io[0], v.held[i]);
    turn_until(f.reactor[0], &v.datagrams, 2 * BUFFERS + 3);
    check_burst(20);
}

static void check_cancel(void)
{
    io_cancel(f.io[0], &v.op);
    cr_expect_eq(v.ended, 0, "not from inside the call");
    turn_until(f.reactor[0], &v.ended, 1);
    cr_expect_eq(v.res, -ECANCELED);
    cr_expect_not(v.op.pending);
    receive(&v, f.io[0]);
}

Test(reactor_spin, cancel_ends_it_whatever_it_does)
{
    check_cancel(); /* before its first turn */
    reactor_turn(f.reactor[0], 0, NULL, NULL);
    check_cancel(); /* looking */
    turn_for(f.reactor[0], 3 * SPIN_NS);
    check_cancel(); /* waiting */
    turn_for(f.reactor[0], 3 * SPIN_NS);
    reactor_turn(f.reactor[0], 0, NULL, NULL);
    check_cancel(); /* on its way from waiting to looking */
    check_burst(5);
}

/* A cancel that comes too late has a completion of its own, which is nobody's; there may be no receive either. */
Test(reactor_spin_alone, takes_a_cancel_that_failed_for_what_it_is)
{
    char path[] = "/tmp/nm-reactor-spin-XXXXXX";
    struct reactor_group_options g = {.listen = loopback_v4, .shards = 1, .no_admin = true};
    struct reactor_options o = {.spin_ns = SPIN_NS};
    fixture_open_with(&f, &g, &o);
    cr_assert_not_null(mkdtemp(path));
    cr_assert_eq(rmdir(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    struct tracked t = {
        .op = {.kind = IO_OPEN, .done = tracked_done, .path = {.path = path, .flags = O_RDONLY | O_CREAT}}};
    io_submit(f.io[0], &t.op); /* by a kernel thread, for O_CREAT; it waits for a writer */
    turn_for(f.reactor[0], 5 * SPIN_NS);
    cr_assert(t.op.pending);
    io_cancel(f.io[0], &t.op);
    turn_until_idle(f.reactor[0], &t.op);
    cr_expect_lt(t.res, 0);
    cr_assert_eq(unlink(path), 0);
    fixture_close(&f);
}
