/* Datagrams: from a send to the links, to the right shard, to an arrival. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/wire/wire.h"
#include "tests/sim/world/sim_internal.h"

static void receive(struct sim *sim, struct sim_host *h, struct datagram *d)
{
    struct cspan bytes = {d->data, d->len};
    int steered = wire_steer(bytes, h->shard_count);
    unsigned shard = steered < 0 ? 0 : (unsigned)steered;
    if (h->shard_count > 1 && sim_chance(sim, sim->settings.missteer)) {
        shard = (shard + 1 + (unsigned)sim_random_below(sim, h->shard_count - 1)) % h->shard_count;
        sim->stats.missteered++;
    }
    struct sim_shard *s = &h->shards[shard];
    if (s->waiting_bytes + d->len > sim->settings.socket_buffer) {
        sim->stats.overflows++;
        free(d);
        return;
    }
    sim_trace(sim, TRACE_DELIVER, h, shard, d->from.port, 0, bytes);
    list_push_back(&s->waiting, &d->link);
    s->waiting_bytes += d->len;
    sim_shard_wake(s);
}

/* Who has the address now, through a NAT if need be; NULL: nobody, *why tells. */
static struct sim_host *far_end(struct sim *sim, const struct datagram *d, enum sim_loss *why)
{
    struct sim_host *h = sim_host_at(sim, &d->to);
    struct nat *nat = h || !sim->nats ? NULL : sim_nat_at(sim, &d->to);
    if (nat)
        h = sim_nat_in(nat, &d->from, d->to.port);
    *why = nat && !h ? SIM_LOST_NAT : SIM_LOST_NOBODY;
    return h && h->shards ? h : NULL;
}

static void arrive(struct sim *sim, struct sim_event *e)
{
    struct datagram *d = container_of(e, struct datagram, event);
    struct sim_link *over = d->over;
    list_remove(&d->link);
    if (over)
        over->flying--;
    if (over && over->down) {
        sim_link_lost(over, SIM_LOST_DOWN);
        free(d);
        return;
    }
    enum sim_loss why;
    struct sim_host *h = far_end(sim, d, &why);
    if (!h) {
        sim->stats.unreachable++;
        if (over)
            sim_link_lost(over, why);
        free(d);
        return;
    }
    if (over)
        over->delivered++;
    receive(sim, h, d);
}

static struct datagram *launch(struct sim *sim, struct sim_link *over, const struct io_addr *from,
                               const struct io_addr *to, struct cspan bytes, uint64_t delay)
{
    struct datagram *d = malloc(sizeof *d + bytes.len);
    assert(d);
    *d = (struct datagram){.event.run = arrive, .over = over, .from = *from, .to = *to, .len = bytes.len};
    if (bytes.len)
        memcpy(d->data, bytes.data, bytes.len);
    if (over)
        over->flying++;
    list_push_back(&sim->flying, &d->link);
    sim_queue_put(&sim->queue, &d->event, sim->now + delay);
    return d;
}

void sim_inject(struct sim *sim, const struct io_addr *from, const struct io_addr *to, struct cspan datagram)
{
    launch(sim, NULL, from, to, datagram, 0);
}

/* Where a send goes. */
struct route {
    struct sim_host *near, *far; /* far NULL: nobody's address */
    struct sim_link *over;       /* NULL with it */
    struct io_addr from, to;     /* from: as the far end sees it */
};

static struct route route_to(struct sim_host *near, const struct io_addr *to)
{
    struct sim *sim = near->sim;
    struct route r = {.near = near, .from = near->addr, .to = *to};
    r.far = sim->nats ? sim_nat_route(near, to) : sim_host_at(sim, to);
    if (r.far)
        r.over = sim_link(sim, near, r.far);
    return r;
}

static void fly(struct sim *sim, const struct route *r, struct cspan bytes, uint64_t delay)
{
    sim_link_corrupt(sim, r->over, launch(sim, r->over, &r->from, &r->to, bytes, delay));
}

/* `train` is the delay of the send it belongs to. */
static void transmit(struct sim *sim, const struct route *r, struct span bytes, uint64_t train)
{
    struct sim_host *h = r->near;
    struct sim_link *l = r->over;
    struct cspan sent = {bytes.data, bytes.len};
    bool passed = !sim->tap || sim->tap(sim->tap_ctx, &h->addr, &r->to, bytes);
    uint64_t wait;
    sim_trace(sim, TRACE_SEND, h, 0, r->far ? r->far->number : UINT64_MAX, passed, sent);
    sim->stats.datagrams++;
    h->traffic.sent++;
    if (!l) {
        sim->stats.unreachable++;
        return;
    }
    l->sent++;
    if (!passed)
        sim_link_lost(l, SIM_LOST_TAP);
    if (!passed || !sim_link_take(sim, l, sent.len, &wait)) {
        sim_trace(sim, TRACE_LOST, h, 0, r->far->number, 0, (struct cspan){0});
        return;
    }
    fly(sim, r, sent, wait + (sim_chance(sim, l->reorder) ? sim_link_delay(sim, l) : train));
    if (sim_chance(sim, l->duplicate)) {
        l->duplicated++;
        fly(sim, r, sent, wait + sim_link_delay(sim, l));
    }
}

/* What keeps a send from leaving at all: an errno, positive, or 0. */
static int send_error(struct sim *sim, const struct route *r)
{
    if (sim_chance(sim, sim->settings.send_again))
        return EAGAIN;
    if (sim_chance(sim, sim->settings.send_enobufs))
        return ENOBUFS;
    if (r->near->send_error)
        return r->near->send_error;
    return r->over ? r->over->error : 0;
}

/* How many bytes of a send of several datagrams leave. */
static size_t part_of(struct sim *sim, size_t len, size_t segment)
{
    if (len <= segment || !sim_chance(sim, sim->settings.send_part))
        return len;
    return segment * (size_t)(1 + sim_random_below(sim, (len - 1) / segment));
}

static int32_t send_all(struct sim *sim, struct route *r, struct span all, size_t segment)
{
    uint64_t train = r->over ? sim_link_delay(sim, r->over) : 0;
    size_t most = sim->settings.send_whole && r->over && r->over->mtu ? r->over->mtu : SIZE_MAX, at = 0, sent = 0;
    if (r->near->nat && !sim_nat_out(r->near, &r->to, &r->from)) {
        r->far = NULL;
        r->over = NULL;
    }
    do {
        size_t len = all.len - at < segment ? all.len - at : segment;
        if (len <= most) {
            transmit(sim, r, (struct span){all.data ? all.data + at : NULL, len}, train);
            sent += len;
        }
        at += len;
    } while (at < all.len);
    return sent == 0 && all.len > 0 ? -EMSGSIZE : (int32_t)sent;
}

int32_t sim_net_send(struct sim_shard *s, struct io_op *op)
{
    struct sim *sim = s->host->sim;
    struct route r = route_to(s->host, &op->udp.to);
    int error = send_error(sim, &r);
    if (error)
        return -error;
    struct bytes all = {0};
    for (unsigned i = 0; i < op->udp.iov_count; i++)
        bytes_write(&all, all.len, op->udp.iov[i].iov_base, op->udp.iov[i].iov_len);
    size_t segment = op->udp.segment ? op->udp.segment : all.len;
    assert(all.len <= SIM_GSO_MAX && (op->udp.segment == 0 || all.len <= segment * SIM_GSO_SEGMENTS));
    int32_t res = send_all(sim, &r, (struct span){all.data, part_of(sim, all.len, segment)}, segment);
    bytes_deinit(&all);
    return res;
}

int sim_net_path_payload(struct sim_host *h, const struct io_addr *to)
{
    const struct sim_link *l = route_to(h, to).over;
    int known = h->sim->settings.path_payload;
    return l && l->mtu && !l->mtu_silent && l->mtu < (uint32_t)known ? (int)l->mtu : known;
}

bool sim_net_can_take(const struct sim_shard *s)
{
    return s->udp_recv && s->waiting.next != &s->waiting && s->buffer_count < s->host->sim->settings.recv_buffers;
}

static struct datagram *first_waiting(struct sim_shard *s)
{
    struct list *l = list_first(&s->waiting);
    return l ? container_of(l, struct datagram, link) : NULL;
}

/* How many of those that wait make one arrival: equal length, the last may be shorter, one source. */
static size_t train_len(struct sim_shard *s, bool coalesce)
{
    struct datagram *first = first_waiting(s);
    size_t len = first->len, count = 1;
    for (struct list *l = first->link.next; coalesce && l != &s->waiting && count < SIM_GSO_SEGMENTS; l = l->next) {
        const struct datagram *d = container_of(l, struct datagram, link);
        if (d->len > first->len || d->len == 0 || len + d->len > SIM_GSO_MAX || !io_addr_equal(&d->from, &first->from))
            break;
        len += d->len;
        count++;
        if (d->len < first->len)
            break;
    }
    return len;
}

static struct buffer *fill_buffer(struct sim_shard *s, struct io_arrival *a)
{
    size_t len = train_len(s, sim_chance(s->host->sim, s->host->sim->settings.coalesce)), at = 0;
    struct buffer *b = malloc(sizeof *b + len); /* its own, and of this length: a sanitizer sees who goes astray */
    assert(b);
    b->number = ++s->last_buffer;
    b->refs = 1;
    list_push_back(&s->buffers, &b->link);
    s->buffer_count++;
    *a = (struct io_arrival){.data = b->data, .len = len, .segment = first_waiting(s)->len, .buffer = b->number};
    do {
        struct datagram *d = first_waiting(s);
        memcpy(b->data + at, d->data, d->len);
        at += d->len;
        a->from = d->from;
        s->waiting_bytes -= d->len;
        s->host->traffic.taken++;
        list_remove(&d->link);
        free(d);
    } while (at < len);
    return b;
}

void sim_net_take(struct sim_shard *s)
{
    struct sim *sim = s->host->sim;
    for (uint32_t n = 0; n < sim->settings.recv_buffers && sim_net_can_take(s); n++) {
        struct io_op *op = s->udp_recv;
        const struct buffer *b = fill_buffer(s, &op->arrival);
        uint32_t number = b->number;
        sim->stats.arrivals++;
        sim_op_deliver(s, op, (int32_t)op->arrival.len, !sim_chance(sim, sim->settings.multishot_end));
        sim_net_release(&s->io, number);
    }
}

static struct buffer *buffer_at(struct sim_shard *s, uint32_t number)
{
    for (struct list *l = s->buffers.next; l != &s->buffers; l = l->next) {
        struct buffer *b = container_of(l, struct buffer, link);
        if (b->number == number)
            return b;
    }
    assert(!"a buffer that is in hand");
    return NULL;
}

void sim_net_hold(struct io *io, uint32_t buffer)
{
    buffer_at(shard_of(io), buffer)->refs++;
}

void sim_net_release(struct io *io, uint32_t buffer)
{
    struct sim_shard *s = shard_of(io);
    struct buffer *b = buffer_at(s, buffer);
    if (--b->refs > 0)
        return;
    list_remove(&b->link);
    free(b);
    s->buffer_count--;
    if (sim_net_can_take(s))
        sim_shard_wake(s);
}

void sim_net_drop(struct list *datagrams)
{
    for (struct list *l; (l = list_pop(datagrams));)
        free(container_of(l, struct datagram, link));
}

void sim_set_tap(struct sim *sim, sim_tap_fn *tap, void *ctx)
{
    sim->tap = tap;
    sim->tap_ctx = ctx;
}
