#include "tests/support/udp_receiver.h"

#include <criterion/criterion.h>
#include <string.h>

uint8_t payload[MAX_BYTES];

uint64_t sum_of(const uint8_t *p, size_t len)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum = sum * 31 + p[i];
    return sum;
}

static void received(struct io_op *op, int32_t res)
{
    struct receiver *v = (struct receiver *)(void *)op;
    v->res = res;
    if (!op->more)
        v->ended++;
    if (res < 0)
        return;
    const struct io_arrival *a = &op->arrival;
    cr_assert_eq((size_t)res, a->len);
    v->batches++;
    v->from = a->from;
    v->truncated |= a->truncated;
    for (size_t at = 0; at < a->len || (a->len == 0 && at == 0); at += a->segment ? a->segment : 1) {
        size_t n = a->len - at < a->segment ? a->len - at : a->segment;
        cr_assert_lt(v->datagrams, MAX_DATAGRAMS);
        v->len[v->datagrams++] = n;
        v->bytes += n;
        v->sum += sum_of(a->data + at, n);
    }
    if (v->hold && v->held_count < 64) {
        v->held[v->held_count++] = a->buffer;
        v->io->ops->udp_hold(v->io, a->buffer);
    }
    if (!op->more)
        io_submit(v->io, op);
}

void receive(struct receiver *v, struct io *io)
{
    memset(v, 0, sizeof *v);
    v->io = io;
    v->op = (struct io_op){.kind = IO_UDP_RECV, .done = received, .handle = io->udp};
    io_submit(io, &v->op);
}

void fill_payload(void)
{
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 7 + i / 251);
}

int32_t send_to(struct reactor *r, const struct io_addr *to, size_t len, uint16_t segment)
{
    struct iovec iov = {payload, len};
    struct tracked t = {.op = {.kind = IO_UDP_SEND,
                               .handle = reactor_io(r)->udp,
                               .udp = {.to = *to, .iov = &iov, .iov_count = 1, .segment = segment}}};
    return run_op(r, &t);
}
