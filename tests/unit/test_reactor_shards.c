/* Reactors in threads: doorbells, sleep, spinning; signals; deadlines. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "core/base/err.h"
#include "tests/support/reactor_fixture.h"

enum { SHARDS = 2, HOPS = 2000 };
#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u

/* Two shards that hand a number to and fro, each sleeping until its doorbell rings. `to` stands for the SPSC rings. */
struct hall {
    struct reactor_group *group;
    atomic_uint to[SHARDS];
    atomic_uint ready;
    uint64_t spin_ns;
    unsigned rounds;
    int errors[SHARDS];
    uint64_t doorbells[SHARDS], enters[SHARDS], timeouts[SHARDS];
};
struct place {
    struct hall *hall;
    unsigned shard;
    unsigned seen;
};

static bool nothing_new(void *ctx)
{
    struct place *p = ctx;
    return atomic_load_explicit(&p->hall->to[p->shard], memory_order_acquire) == p->seen;
}

static void hop(struct place *p, struct io *io)
{
    unsigned other = 1 - p->shard;
    p->seen++;
    atomic_fetch_add_explicit(&p->hall->to[other], 1, memory_order_release);
    io_doorbell(io, other);
}

static void *run_shard(void *arg)
{
    struct place *p = arg;
    struct hall *h = p->hall;
    struct reactor *r;
    char why[256];
    struct reactor_options o = {.shard = p->shard, .spin_ns = h->spin_ns};
    if ((h->errors[p->shard] = reactor_create(&r, h->group, &o, why, sizeof why)) != 0)
        return NULL;
    struct io *io = reactor_io(r);
    atomic_fetch_add(&h->ready, 1);
    while (atomic_load(&h->ready) < SHARDS)
        usleep(100);
    if (p->shard == 0)
        atomic_fetch_add(&h->to[0], 1); /* shard 0 begins */
    while (p->seen < h->rounds) {
        uint64_t deadline = io->ops->clock(io) + 5ull * NS_PER_S;
        int n = reactor_turn(r, deadline, nothing_new, p);
        h->errors[p->shard] |= n < 0 ? n : 0;
        h->timeouts[p->shard] += io_now(io) >= deadline;
        if (!nothing_new(p))
            hop(p, io);
    }
    reactor_turn(r, 0, NULL, NULL); /* the last doorbell goes out */
    h->doorbells[p->shard] = counter_get(&reactor_get_stats(r)->doorbells);
    h->enters[p->shard] = counter_get(&reactor_get_stats(r)->enters);
    /* Rings are made and ended by their own threads, whoever is still at work. */
    reactor_destroy(r);
    return NULL;
}

static void run_hall(struct hall *h, uint64_t spin_ns, unsigned rounds)
{
    struct reactor_group_options g = {
        .listen = loopback_v4, .shards = SHARDS, .gso = true, .gro = true, .no_admin = true};
    char why[256] = "";
    memset(h, 0, sizeof *h);
    h->spin_ns = spin_ns;
    h->rounds = rounds;
    cr_assert_eq(reactor_group_create(&h->group, &g, why, sizeof why), 0, "%s", why);
    struct place places[SHARDS] = {{.hall = h, .shard = 0}, {.hall = h, .shard = 1}};
    pthread_t threads[SHARDS];
    for (unsigned i = 0; i < SHARDS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, run_shard, &places[i]), 0);
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_join(threads[i], NULL);
    reactor_group_destroy(h->group);
    for (unsigned i = 0; i < SHARDS; i++) {
        cr_expect_eq(h->errors[i], 0);
        cr_expect_eq(places[i].seen, rounds);
        cr_expect_eq(h->timeouts[i], 0, "a doorbell was lost: shard %u slept on", i);
    }
}

Test(reactor_shards, a_doorbell_wakes_a_sleeper)
{
    struct hall h;
    run_hall(&h, 0, HOPS);
    cr_expect_geq(h.doorbells[0] + h.doorbells[1], HOPS / 4, "it slept most of the time");
    cr_expect_leq(h.doorbells[0], HOPS);
}

Test(reactor_shards, a_spinning_shard_needs_no_doorbell)
{
    struct hall h;
    run_hall(&h, 100 * NS_PER_MS, HOPS);
    /* Two shards on two busy processors: now and then one is not scheduled for longer than it spins. */
    cr_expect_leq(h.doorbells[0] + h.doorbells[1], HOPS / 10);
    cr_expect_leq(h.enters[0] + h.enters[1], HOPS / 2);
}

Test(reactor_shards, a_doorbell_before_the_other_ring_exists_is_nothing)
{
    struct reactor_group_options g = {.listen = loopback_v4, .shards = 2, .no_admin = true};
    struct reactor_group *group;
    struct reactor *r;
    char why[256] = "";
    cr_assert_eq(reactor_group_create(&group, &g, why, sizeof why), 0, "%s", why);
    cr_assert_eq(reactor_create(&r, group, &(struct reactor_options){.shard = 0}, why, sizeof why), 0, "%s", why);
    io_doorbell(reactor_io(r), 1);
    cr_expect_eq(reactor_turn(r, 0, NULL, NULL), 0);
    cr_expect_eq(counter_get(&reactor_get_stats(r)->doorbells), 0);
    reactor_destroy(r);
    reactor_group_destroy(group);
}

static bool is_idle(void *ctx)
{
    (void)ctx;
    return true;
}

static bool is_not_idle(void *ctx)
{
    ++*(unsigned *)ctx;
    return false;
}

Test(reactor_shards, deadlines_and_idle)
{
    struct fixture f;
    unsigned asked = 0;
    fixture_open(&f, 1, &loopback_v4);
    struct io *io = f.io[0];
    uint64_t start = io->ops->clock(io);
    cr_expect_eq(reactor_turn(f.reactor[0], start + 20 * NS_PER_MS, is_idle, NULL), 0);
    cr_expect_geq(io_now(io), start + 20 * NS_PER_MS, "never early");
    cr_expect_leq(io_now(io), start + 2000u * NS_PER_MS);
    start = io->ops->clock(io);
    cr_expect_eq(reactor_turn(f.reactor[0], start + 5ull * NS_PER_S, is_not_idle, &asked), 0);
    cr_expect_eq(asked, 1);
    cr_expect_leq(io_now(io), start + NS_PER_S, "what is not idle does not sleep");
    cr_expect_eq(reactor_turn(f.reactor[0], 1, is_idle, NULL), 0, "a deadline that is past");
    cr_expect_geq(io_wall(io), 1600000000ull * NS_PER_S);
    fixture_close(&f);
}

/* An operation submitted before the wait ends it; the longest deadline there is does not overflow. */
Test(reactor_shards, a_completion_ends_the_wait)
{
    struct reactor_options o = {.spin_ns = 0};
    for (int spin = 0; spin < 2; spin++) {
        struct reactor_group_options g = {.listen = loopback_v4, .shards = 1, .no_admin = true};
        struct fixture f;
        char byte = 0;
        struct iovec iov = {&byte, 1};
        o.spin_ns = spin ? 50 * NS_PER_MS : 0;
        fixture_open_with(&f, &g, &o);
        struct tracked t = {.op = {.kind = IO_UDP_SEND,
                                   .done = tracked_done,
                                   .handle = f.io[0]->udp,
                                   .udp = {.to = f.features.listen, .iov = &iov, .iov_count = 1}}};
        io_submit(f.io[0], &t.op);
        cr_expect_eq(t.completions, 0);
        cr_expect_eq(reactor_turn(f.reactor[0], UINT64_MAX, is_idle, NULL), 1);
        cr_expect_eq(t.completions, 1);
        cr_expect_eq(t.res, 1);
        fixture_close(&f);
    }
}

static void on_signal(struct io_op *op, int32_t res)
{
    tracked_done(op, res);
    cr_expect(op->more || res < 0);
}

Test(reactor_shards, signals_are_completions)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR1);
    cr_assert_eq(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    struct reactor_group_options g = {.listen = loopback_v4, .shards = 1, .no_admin = true};
    struct reactor_options o = {.signals = &set};
    struct fixture f;
    fixture_open_with(&f, &g, &o);
    struct tracked t = {.op = {.kind = IO_SIGNAL, .done = on_signal, .handle = IO_NO_HANDLE}};
    io_submit(f.io[0], &t.op);
    turn_for(f.reactor[0], NS_PER_MS);
    cr_expect_eq(t.completions, 0);
    for (unsigned i = 0; i < 10; i++) {
        kill(getpid(), i % 2 ? SIGTERM : SIGUSR1);
        turn_until(f.reactor[0], &t.completions, i + 1);
        cr_expect_eq(t.res, i % 2 ? SIGTERM : SIGUSR1);
    }
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGUSR1);
    turn_until(f.reactor[0], &t.completions, 12);
    uint64_t enters = counter_get(&reactor_get_stats(f.reactor[0])->enters);
    turn_for(f.reactor[0], 20 * NS_PER_MS);
    cr_expect_leq(counter_get(&reactor_get_stats(f.reactor[0])->enters) - enters, 5, "it sleeps between signals");
    io_cancel(f.io[0], &t.op);
    turn_until(f.reactor[0], &t.completions, 13);
    cr_expect_eq(t.res, -ECANCELED);
    cr_expect_not(t.op.pending);
    fixture_close(&f);
}

Test(reactor_shards, several_nodes_in_one_process)
{
    struct fixture f[3];
    for (unsigned i = 0; i < 3; i++)
        fixture_open(&f[i], 2, &loopback_v4);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned k = 0; k < 2; k++)
            cr_expect_eq(reactor_turn(f[i].reactor[k], 0, NULL, NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        fixture_close(&f[i]);
}

Test(reactor_shards, more_buffers_than_can_be_is_refused)
{
    struct reactor_group_options g = {.listen = loopback_v4, .shards = 1, .no_admin = true};
    struct reactor_group *group;
    struct reactor *r = NULL;
    char why[256] = "";
    cr_assert_eq(reactor_group_create(&group, &g, why, sizeof why), 0, "%s", why);
    cr_expect_eq(reactor_create(&r, group, &(struct reactor_options){.recv_buffers = 5000}, why, sizeof why),
                 NET_ERR_INVALID);
    cr_expect_null(r);
    cr_expect_neq(why[0], 0);
    reactor_group_destroy(group);
}
