#include "tests/support/reactor_fixture.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

const struct io_addr loopback_v4 = {.ip = {[10] = 0xff, 0xff, 127, 0, 0, 1}};
const struct io_addr loopback_v6 = {.ip = {[15] = 1}};
const struct io_addr any_v6 = {.port = 0};

void fixture_open_with(struct fixture *f, const struct reactor_group_options *g, const struct reactor_options *o)
{
    char why[256] = "";
    memset(f, 0, sizeof *f);
    cr_assert_eq(reactor_group_create(&f->group, g, why, sizeof why), 0, "%s", why);
    reactor_group_features(f->group, &f->features);
    f->shards = g->shards;
    for (unsigned i = 0; i < g->shards; i++) {
        struct reactor_options options = o ? *o : (struct reactor_options){0};
        options.shard = i;
        cr_assert_eq(reactor_create(&f->reactor[i], f->group, &options, why, sizeof why), 0, "%s", why);
        f->io[i] = reactor_io(f->reactor[i]);
    }
}

void fixture_open(struct fixture *f, unsigned shards, const struct io_addr *listen)
{
    struct reactor_group_options g = {
        .listen = *listen, .shards = shards, .socket_buffer = 1 << 22, .gso = true, .gro = true, .no_admin = true};
    fixture_open_with(f, &g, NULL);
}

void fixture_close(struct fixture *f)
{
    for (unsigned i = 0; i < f->shards; i++) {
        uint64_t limit = f->io[i]->ops->clock(f->io[i]) + FIXTURE_PATIENCE_NS;
        reactor_cancel_all(f->reactor[i]);
        while (reactor_busy(f->reactor[i]) && io_now(f->io[i]) < limit)
            cr_assert_geq(reactor_turn(f->reactor[i], limit, NULL, NULL), 0);
        cr_assert_not(reactor_busy(f->reactor[i]), "operations did not end after cancel_all");
        reactor_destroy(f->reactor[i]);
    }
    reactor_group_destroy(f->group);
}

void tracked_done(struct io_op *op, int32_t res)
{
    struct tracked *t = (struct tracked *)(void *)op;
    t->completions++;
    t->res = res;
}

void turn_until(struct reactor *r, const unsigned *count, unsigned value)
{
    struct io *io = reactor_io(r);
    uint64_t limit = io->ops->clock(io) + FIXTURE_PATIENCE_NS;
    while (*count < value && io_now(io) < limit)
        cr_assert_geq(reactor_turn(r, limit, NULL, NULL), 0);
    cr_assert_geq(*count, value, "waited in vain: %u of %u", *count, value);
}

void turn_until_idle(struct reactor *r, const struct io_op *op)
{
    struct io *io = reactor_io(r);
    uint64_t limit = io->ops->clock(io) + FIXTURE_PATIENCE_NS;
    while (op->pending && io_now(io) < limit)
        cr_assert_geq(reactor_turn(r, limit, NULL, NULL), 0);
    cr_assert_not(op->pending, "the operation did not complete");
}

void turn_for(struct reactor *r, uint64_t ns)
{
    struct io *io = reactor_io(r);
    for (uint64_t end = io->ops->clock(io) + ns; io_now(io) < end;)
        cr_assert_geq(reactor_turn(r, end, NULL, NULL), 0);
}

int32_t run_op(struct reactor *r, struct tracked *t)
{
    t->op.done = tracked_done;
    io_submit(reactor_io(r), &t->op);
    turn_until_idle(r, &t->op);
    return t->res;
}

struct io_addr with_port(struct io_addr a, uint16_t port)
{
    a.port = port;
    return a;
}

static int connect_to(const struct io_addr *to, int type)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(to->port)};
    struct timeval limit = {.tv_sec = 2};
    memcpy(&a.sin6_addr, to->ip, 16); /* v4-mapped reaches IPv4 sockets */
    int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

int plain_udp(const struct io_addr *to)
{
    return connect_to(to, SOCK_DGRAM);
}

int plain_connect(const struct io_addr *to)
{
    return connect_to(to, SOCK_STREAM);
}
