/* The way out: transmit buffers, sealing, sends, and what the socket had no room for. */
#include <errno.h>
#include <stdlib.h>

#include "shards/peers/peer.h"
#include "shards/transport/transmit.h"

enum { TX_LARGE = 64960, TX_SMALL = 2048, TX_LARGE_COUNT = 16, TX_SMALL_COUNT = 64 }; /* bytes, buffers */

int transmit_init(struct shard *s)
{
    enum { COUNT_ALL = TX_LARGE_COUNT + TX_SMALL_COUNT };
    list_init(&s->tx_large);
    list_init(&s->tx_small);
    list_init(&s->tx_blocked);
    s->tx_buffers = calloc(COUNT_ALL, sizeof *s->tx_buffers);
    s->tx_memory = malloc((size_t)TX_LARGE_COUNT * TX_LARGE + (size_t)TX_SMALL_COUNT * TX_SMALL);
    if (!s->tx_buffers || !s->tx_memory)
        return NET_ERR_NO_MEMORY;
    uint8_t *memory = s->tx_memory;
    for (int i = 0; i < COUNT_ALL; i++) {
        struct tx_buffer *b = &s->tx_buffers[i];
        bool large = i < TX_LARGE_COUNT;
        b->shard = s;
        b->size = large ? TX_LARGE : TX_SMALL;
        b->data = memory;
        b->held = -1;
        memory += b->size;
        list_init(&b->link);
        list_push_back(large ? &s->tx_large : &s->tx_small, &b->link);
    }
    return NET_OK;
}

void transmit_deinit(struct shard *s)
{
    free(s->tx_buffers);
    free(s->tx_memory);
}

struct tx_buffer *transmit_get(struct shard *s, bool large)
{
    struct list *first = list_pop(large ? &s->tx_large : &s->tx_small);
    if (!first)
        return NULL;
    struct tx_buffer *b = container_of(first, struct tx_buffer, link);
    b->iov.iov_base = b->data;
    return b;
}

void transmit_release(struct shard *s, struct tx_buffer *b)
{
    if (b->held >= 0)
        s->io->ops->udp_release(s->io, (uint32_t)b->held);
    b->held = -1;
    /* First out again: it is the one that is still in a cache, and the rest of the pool may stay untouched. */
    list_push_front(b->size == TX_LARGE ? &s->tx_large : &s->tx_small, &b->link);
}

static void submit(struct shard *s, struct tx_buffer *b)
{
    s->tx_in_flight++;
    io_submit(s->io, &b->op);
}

static void on_sent(struct io_op *op, int32_t res)
{
    struct tx_buffer *b = container_of(op, struct tx_buffer, op);
    struct shard *s = b->shard;
    s->tx_in_flight--;
    if ((res == -EAGAIN || res == -ENOBUFS) && s->stopping < STOP_IO) {
        list_push_back(&s->tx_blocked, &b->link); /* the socket is full: the same bytes again next turn, in order */
        return;
    }
    /* Of several datagrams some may have left: those are whole, all of `segment` bytes but the last. */
    uint32_t segment = b->op.udp.segment, sent = b->packets;
    if (res < 0)
        sent = 0;
    else if ((size_t)res < b->iov.iov_len && segment)
        sent = ((uint32_t)res + segment - 1) / segment;
    COUNT_N(s, drop_send, b->packets - sent);
    COUNT_N(s, tx_datagrams, sent);
    COUNT_N(s, tx_bytes, res < 0 ? 0 : (uint32_t)res);
    transmit_release(s, b);
}

void transmit_send(struct shard *s, struct tx_buffer *b, const struct io_addr *to, size_t len, size_t segment,
                   uint32_t packets)
{
    b->iov.iov_len = len;
    b->packets = packets;
    b->op = (struct io_op){.kind = IO_UDP_SEND, .done = on_sent, .handle = s->io->udp};
    b->op.udp.to = *to;
    b->op.udp.iov = &b->iov;
    b->op.udp.iov_count = 1;
    b->op.udp.segment = (uint16_t)segment;
    submit(s, b);
}

void transmit_retry(struct shard *s)
{
    struct list blocked;
    list_init(&blocked);
    struct list *node;
    while ((node = list_pop(&s->tx_blocked)))
        list_push_back(&blocked, node);
    while ((node = list_pop(&blocked)))
        submit(s, container_of(node, struct tx_buffer, link));
}

size_t transmit_seal(struct peer *p, struct session *session, struct wire_header *h, uint8_t *at)
{
    size_t offset = 0;
    if (p->relayed) {
        struct wire_route route = {
            .ttl = WIRE_TTL_DATA,
            .src_id = (uint32_t)p->shard->node->identity.ids.node_id,
            .dest_id = p->node_id,
        };
        wire_route_encode(&route, at);
        offset = WIRE_ROUTE;
    }
    if (session_seal(session, p->shard->crypto, h, at + offset) != NET_OK)
        return 0;
    return offset + WIRE_OVERHEAD + h->payload_len;
}
