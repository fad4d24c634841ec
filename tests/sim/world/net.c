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

static void arrive(struct sim *sim, struct sim_event *e)
{
    struct datagram *d = container_of(e, struct datagram, event);
    list_remove(&d->link);
    struct sim_host *h = sim_host_at(sim, &d->to);
    if (d->over && d->over->down) {
        d->over->lost++;
        free(d);
    } else if (!h || !h->shards) {
        sim->stats.unreachable++;
        free(d);
    } else {
        if (d->over)
            d->over->delivered++;
        receive(sim, h, d);
    }
}

static void launch(struct sim *sim, struct sim_link *over, const struct io_addr *from, const struct io_addr *to,
                   struct cspan bytes, uint64_t delay)
{
    struct datagram *d = malloc(sizeof *d + bytes.len);
    assert(d);
    *d = (struct datagram){.event.run = arrive, .over = over, .from = *from, .to = *to, .len = bytes.len};
    if (bytes.len)
        memcpy(d->data, bytes.data, bytes.len);
    list_push_back(&sim->flying, &d->link);
    sim_queue_put(&sim->queue, &d->event, sim->now + delay);
}

void sim_inject(struct sim *sim, const struct io_addr *from, const struct io_addr *to, struct cspan datagram)
{
    launch(sim, NULL, from, to, datagram, 0);
}

/* `train` is the delay of the send it belongs to. */
static void transmit(struct sim_host *h, const struct io_addr *to, struct span bytes, uint64_t train)
{
    struct sim *sim = h->sim;
    const struct sim_host *far = sim_host_at(sim, to);
    struct cspan sent = {bytes.data, bytes.len};
    bool passed = !sim->tap || sim->tap(sim->tap_ctx, &h->addr, to, bytes);
    sim_trace(sim, TRACE_SEND, h, 0, far ? far->number : UINT64_MAX, passed, sent);
    sim->stats.datagrams++;
    if (!far) {
        sim->stats.unreachable++;
        return;
    }
    struct sim_link *l = sim_link(sim, h, far);
    l->sent++;
    if (!passed || l->down || sim_chance(sim, l->loss)) {
        l->lost++;
        sim_trace(sim, TRACE_LOST, h, 0, far->number, 0, (struct cspan){0});
        return;
    }
    launch(sim, l, &h->addr, to, sent, sim_chance(sim, l->reorder) ? sim_draw(sim, l->delay) : train);
    if (sim_chance(sim, l->duplicate)) {
        l->duplicated++;
        launch(sim, l, &h->addr, to, sent, sim_draw(sim, l->delay));
    }
}

int32_t sim_net_send(struct sim_shard *s, struct io_op *op)
{
    struct sim *sim = s->host->sim;
    const struct io_addr *to = &op->udp.to;
    if (sim_chance(sim, sim->settings.send_again))
        return -EAGAIN;
    struct bytes all = {0};
    for (unsigned i = 0; i < op->udp.iov_count; i++)
        bytes_write(&all, all.len, op->udp.iov[i].iov_base, op->udp.iov[i].iov_len);
    size_t segment = op->udp.segment ? op->udp.segment : all.len;
    assert(all.len <= SIM_GSO_MAX && (op->udp.segment == 0 || all.len <= segment * SIM_GSO_SEGMENTS));
    const struct sim_host *far = sim_host_at(sim, to);
    uint64_t train = far ? sim_draw(sim, sim_link(sim, s->host, far)->delay) : 0;
    size_t at = 0;
    do {
        size_t len = all.len - at < segment ? all.len - at : segment;
        transmit(s->host, to, (struct span){all.data ? all.data + at : NULL, len}, train);
        at += len;
    } while (at < all.len);
    int32_t res = (int32_t)all.len;
    bytes_deinit(&all);
    return res;
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
