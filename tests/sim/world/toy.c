#include "tests/sim/world/toy.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/wire/wire.h"

enum { LEN = 80, SENDS = 32, ASK = 1, ANSWER = 2, RETRY_MS = 3 };

struct toy_send {
    struct io_op op;
    struct iovec iov;
    uint8_t data[LEN];
    struct toy_shard *owner;
};

struct toy_shard {
    struct toy *toy;
    struct io *io;
    struct io_op recv;
    struct toy_send sends[SENDS];
    uint8_t mailbox[SENDS][LEN]; /* from other shards */
    unsigned mail_count;
    uint32_t round;
    uint64_t retry_at;
};

static void send_done(struct io_op *op, int32_t res)
{
    if (res != LEN && res != -EAGAIN && res != -ECANCELED && res != -ENETDOWN)
        container_of(op, struct toy_send, op)->owner->toy->bad++;
}

/* The session id steers to the shard; the fields after it are ours. */
static void send_message(struct toy_shard *s, unsigned shard, uint32_t kind, uint32_t round)
{
    struct toy_send *slot = s->sends;
    while (slot < s->sends + SENDS && slot->op.pending)
        slot++;
    if (slot == s->sends + SENDS)
        return; /* lost; it is asked again */
    struct wire_header header = {.session_id = 0x0100000000000000};
    while (wire_steer_id(header.session_id, s->toy->shards) != shard)
        header.session_id += 1u << 24; /* the last of the four bytes that steer */
    memset(slot->data, 0, LEN);
    header.payload_len = LEN - WIRE_HEADER - WIRE_TAG;
    wire_header_encode(&header, slot->data);
    store_le32(slot->data + 64, kind);
    store_le32(slot->data + 68, round);
    store_le32(slot->data + 72, shard);
    slot->iov = (struct iovec){slot->data, LEN};
    slot->owner = s;
    slot->op = (struct io_op){.kind = IO_UDP_SEND, .done = send_done, .handle = s->io->udp};
    slot->op.udp.to = sim_host_addr(s->toy->peer);
    slot->op.udp.iov = &slot->iov;
    slot->op.udp.iov_count = 1;
    io_submit(s->io, &slot->op);
}

static void ask(struct toy_shard *s)
{
    s->toy->asked++;
    s->retry_at = io_now(s->io) + RETRY_MS * SIM_MS;
    send_message(s, s->io->shard, ASK, s->round);
}

static void on_message(struct toy_shard *s, const uint8_t *data)
{
    uint32_t kind = load_le32(data + 64), round = load_le32(data + 68);
    if (kind == ASK) {
        send_message(s, s->io->shard, ANSWER, round);
    } else if (kind != ANSWER || round > s->round) {
        s->toy->bad++;
    } else if (round == s->round && s->round < s->toy->rounds) {
        s->toy->answered++;
        if (++s->round < s->toy->rounds)
            ask(s);
    }
}

static void on_datagram(struct toy_shard *s, const uint8_t *data, size_t len)
{
    uint32_t shard = len == LEN ? load_le32(data + 72) : UINT32_MAX;
    if (shard >= s->toy->shards) {
        s->toy->bad++;
        return;
    }
    struct toy_shard *owner = &s->toy->shard[shard];
    if (owner == s) {
        on_message(s, data);
    } else if (owner->mail_count < SENDS) {
        s->toy->forwarded++;
        memcpy(owner->mailbox[owner->mail_count++], data, LEN);
        io_doorbell(s->io, shard);
    }
}

static void recv_done(struct io_op *op, int32_t res)
{
    struct toy_shard *s = container_of(op, struct toy_shard, recv);
    const struct io_arrival *a = &op->arrival;
    for (size_t at = 0; res >= 0 && at < a->len; at += a->segment)
        on_datagram(s, a->data + at, a->len - at < a->segment ? a->len - at : a->segment);
    if (res >= 0 && !op->more)
        io_submit(s->io, op);
}

static void *create(void *ctx, struct io *const *ios, unsigned shards)
{
    struct toy *t = ctx;
    t->shards = shards;
    t->answered = 0;
    t->shard = calloc(shards, sizeof *t->shard);
    assert(t->shard);
    for (unsigned i = 0; i < shards; i++) {
        struct toy_shard *s = &t->shard[i];
        s->toy = t;
        s->io = ios[i];
        s->retry_at = io_now(ios[i]);
        s->recv = (struct io_op){.kind = IO_UDP_RECV, .done = recv_done, .handle = ios[i]->udp};
        io_submit(ios[i], &s->recv);
    }
    return t;
}

static uint64_t turn(void *node, unsigned shard)
{
    struct toy_shard *s = &((struct toy *)node)->shard[shard];
    for (unsigned i = 0; i < s->mail_count; i++)
        on_message(s, s->mailbox[i]);
    s->mail_count = 0;
    if (s->round >= s->toy->rounds)
        return SIM_NEVER;
    if (s->retry_at <= io_now(s->io))
        ask(s);
    return s->retry_at;
}

static void destroy(void *node)
{
    struct toy *t = node;
    free(t->shard);
    t->shard = NULL;
}

const struct sim_node_ops toy_ops = {create, turn, NULL, destroy};

void toy_add_pair(struct sim *sim, unsigned shards, struct toy *a, struct toy *b)
{
    a->host = b->peer = sim_add_host(sim, shards);
    b->host = a->peer = sim_add_host(sim, shards);
    assert(sim_host_start(a->host, &toy_ops, a) && sim_host_start(b->host, &toy_ops, b));
}

bool toy_finished(const struct toy *t)
{
    return t->answered == (uint64_t)t->rounds * t->shards;
}
