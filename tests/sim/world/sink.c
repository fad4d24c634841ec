#include "tests/sim/world/sink.h"

#include <assert.h>
#include <string.h>

static void take(struct sink *s, const uint8_t *data, size_t len)
{
    assert(s->datagrams < SINK_MAX);
    s->first[s->datagrams] = len >= 4 ? load_le32(data) : 0;
    s->len[s->datagrams] = (uint16_t)len;
    s->at[s->datagrams++] = io_now(s->io);
    if (s->see)
        s->see(s->ctx, (struct cspan){data, len});
}

static unsigned take_all(struct sink *s, const struct io_arrival *a)
{
    unsigned segments = 0;
    size_t at = 0;
    do {
        size_t len = a->len - at < a->segment ? a->len - at : a->segment;
        take(s, a->data + at, len);
        at += len;
        segments++;
    } while (at < a->len);
    return segments;
}

static void done(struct io_op *op, int32_t res)
{
    struct sink *s = container_of(op, struct sink, op);
    const struct io_arrival *a = &op->arrival;
    if (res < 0)
        return;
    assert((size_t)res == a->len && !a->truncated);
    s->arrivals++;
    s->from = a->from;
    unsigned segments = take_all(s, a);
    if (segments > s->largest)
        s->largest = segments;
    if (s->holding < s->hold) {
        s->io->ops->udp_hold(s->io, a->buffer);
        s->held_data[s->holding] = a->data;
        s->held[s->holding++] = a->buffer;
    }
    if (!op->more)
        io_submit(s->io, op);
}

void sink_start(struct sink *s, struct io *io)
{
    memset(s, 0, sizeof *s);
    s->io = io;
    s->op = (struct io_op){.kind = IO_UDP_RECV, .done = done, .handle = io->udp};
    io_submit(io, &s->op);
}

int32_t sink_send(struct sim *sim, struct io *io, const struct io_addr *to, struct cspan data, uint16_t segment)
{
    struct iovec iov = {(void *)(uintptr_t)data.data, data.len};
    struct bare_op send = {.op = {.kind = IO_UDP_SEND, .handle = io->udp}};
    send.op.udp.to = *to;
    send.op.udp.iov = &iov;
    send.op.udp.iov_count = 1;
    send.op.udp.segment = segment;
    return bare_run(sim, io, &send);
}

int32_t sink_send_number(struct sim *sim, struct io *io, const struct io_addr *to, uint32_t number, size_t len)
{
    uint8_t data[9000] = {0};
    assert(len >= 4 && len <= sizeof data);
    store_le32(data, number);
    return sink_send(sim, io, to, (struct cspan){data, len}, 0);
}
