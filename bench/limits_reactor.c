/* The ends of bench_limits on the reactor of a shard. */
#include <errno.h>

#include "bench/limits.h"

enum { SENDS_IN_FLIGHT = 4 };

static const struct io_addr loopback = {.ip = {[10] = 0xff, 0xff, 127, 0, 0, 1}};

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
        end_count(d->end, op->arrival.len, op->arrival.segment, &d->first);
}

/* One function for both ends: the pinging one measures, both send again. */
static void on_ball(struct io_op *op, int32_t res)
{
    struct driver *d = (struct driver *)(void *)op;
    if (res < 0)
        return;
    if (d->end->samples) {
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
    end_begin(e);
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

static void *reactor_flood(void *arg)
{
    struct end *e = arg;
    static uint8_t payload[LIMITS_GSO_BYTES];
    struct driver d = {0};
    struct reactor *r = start_reactor(e, &d, payload, e->size, batch_bytes(e->size));
    while (!end_stopped(e)) {
        for (unsigned i = 0; i < SENDS_IN_FLIGHT; i++)
            send_one(&d, i);
        check(reactor_turn(r, 0, NULL, NULL) >= 0, "reactor turn");
    }
    end_reactor(r);
    return NULL;
}

static void receive(struct end *e, io_done_fn *on_arrival)
{
    uint8_t payload[LIMITS_PING] = {0};
    struct driver d = {0};
    struct reactor *r = start_reactor(e, &d, payload, 0, LIMITS_PING);
    d.recv = (struct io_op){.kind = IO_UDP_RECV, .done = on_arrival, .handle = d.io->udp};
    io_submit(d.io, &d.recv);
    if (e->samples) {
        reactor_turn(r, now_ns() + NS_PER_S / 20, NULL, NULL); /* let the other end begin to listen */
        d.started = now_ns();
        send_one(&d, 0);
    }
    while (!end_stopped(e))
        check(reactor_turn(r, io_now(d.io) + NS_PER_S / 20, always_idle, NULL) >= 0, "reactor turn");
    end_reactor(r);
}

static void *reactor_drain(void *end)
{
    receive(end, on_flood);
    return NULL;
}

static void *reactor_ball(void *end)
{
    receive(end, on_ball);
    return NULL;
}

static struct reactor_group *make_group(struct io_addr *at)
{
    struct reactor_group_options o = {
        .listen = loopback, .shards = 1, .socket_buffer = LIMITS_SOCKET, .gso = true, .gro = true, .no_admin = true};
    struct reactor_features f;
    struct reactor_group *g;
    char why[256] = "";
    check(reactor_group_create(&g, &o, why, sizeof why) == 0, why);
    reactor_group_features(g, &f);
    *at = f.listen;
    return g;
}

static void reactor_open(struct pair *p)
{
    p->a.group = make_group(&p->b.peer);
    p->b.group = make_group(&p->a.peer);
}

static void reactor_close(struct pair *p)
{
    reactor_group_destroy(p->a.group);
    reactor_group_destroy(p->b.group);
}

const struct way way_reactor = {.open = reactor_open,
                                .close = reactor_close,
                                .flood = reactor_flood,
                                .drain = reactor_drain,
                                .ping = reactor_ball,
                                .pong = reactor_ball};
