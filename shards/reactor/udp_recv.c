/*
 * Datagrams in: one multishot recvmsg into a ring of provided buffers. The kernel takes the buffers round-robin, so
 * their number is the cache footprint of the receive path; when they run out it ends the multishot (ENOBUFS) and the
 * datagrams wait in the socket until buffers are back.
 *
 * A shard that spins looks into the socket itself, with requests that end with EAGAIN when nothing is there. That
 * spares the waking of a waiting request, on the sender's core, and the way back of its news. A turn begins with the
 * multishot, which takes a burst as a whole; the looks that follow take one datagram, or what GRO made one of, and are
 * spared its second try. Together: a microsecond less for a round trip.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shards/reactor/reactor_internal.h"

static uint8_t *buffer_at(const struct udp_recv *u, uint32_t id)
{
    return u->memory + (size_t)id * RECV_BUFFER;
}

static void provide(struct udp_recv *u, uint16_t id)
{
    io_uring_buf_ring_add(u->ring, buffer_at(u, id), RECV_BUFFER, id, u->mask, 0);
    io_uring_buf_ring_advance(u->ring, 1);
    u->provided++;
}

static int allocate(struct udp_recv *u, uint32_t entries)
{
    u->ring_bytes = entries * sizeof(struct io_uring_buf);
    void *ring = mmap(NULL, u->ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    u->ring = ring == MAP_FAILED ? NULL : ring;
    void *memory =
        mmap(NULL, (size_t)u->total * RECV_BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    u->memory = memory == MAP_FAILED ? NULL : memory;
    u->refs = calloc(u->total, sizeof *u->refs);
    u->spare = calloc(u->total, sizeof *u->spare);
    return u->ring && u->memory && u->refs && u->spare ? 0 : -ENOMEM;
}

int udp_recv_init(struct reactor *r, uint32_t buffers)
{
    struct udp_recv *u = &r->recv;
    uint32_t entries = 1;
    while (entries < buffers)
        entries *= 2;
    u->want = buffers;
    u->total = 2 * buffers;
    u->mask = io_uring_buf_ring_mask(entries);
    u->msg = (struct msghdr){.msg_namelen = RECV_NAME, .msg_controllen = RECV_CONTROL};
    int err = allocate(u, entries);
    if (err)
        return err;
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)u->ring, .ring_entries = entries, .bgid = RECV_GROUP};
    if ((err = io_uring_register_buf_ring(&r->ring, &reg, 0)) < 0)
        return err;
    io_uring_buf_ring_init(u->ring);
    for (uint32_t id = 0; id < u->total; id++) {
        if (id < u->want)
            provide(u, (uint16_t)id);
        else
            u->spare[u->spares++] = (uint16_t)id;
    }
    return 0;
}

/* When nothing is in flight; the duplicate that doorbells use may keep the ring itself a little longer. */
void udp_recv_deinit(struct reactor *r)
{
    struct udp_recv *u = &r->recv;
    if (u->ring)
        munmap(u->ring, u->ring_bytes);
    if (u->memory)
        munmap(u->memory, (size_t)u->total * RECV_BUFFER);
    free(u->refs);
    free(u->spare);
}

static void prep_look(struct udp_recv *u, struct io_uring_sqe *sqe)
{
    u->look.msg = (struct msghdr){.msg_name = &u->look.from,
                                  .msg_namelen = sizeof u->look.from,
                                  .msg_control = u->look.control,
                                  .msg_controllen = sizeof u->look.control};
    io_uring_prep_recvmsg(sqe, FIXED_UDP, &u->look.msg, MSG_DONTWAIT);
}

static void arm(struct reactor *r, enum recv_state how)
{
    struct udp_recv *u = &r->recv;
    struct io_uring_sqe *sqe = ring_sqe(r, u->op);
    if (how == RECV_LOOKS)
        prep_look(u, sqe);
    else if (how == RECV_DRAINS)
        io_uring_prep_recvmsg_multishot(sqe, FIXED_UDP, &u->msg, MSG_DONTWAIT);
    else
        io_uring_prep_recvmsg_multishot(sqe, u->op->handle, &u->msg, 0); /* no registered file: reactor_internal.h */
    sqe->flags |= how == RECV_WAITS ? IOSQE_BUFFER_SELECT : IOSQE_BUFFER_SELECT | IOSQE_FIXED_FILE;
    sqe->buf_group = RECV_GROUP;
    u->state = how;
}

void udp_recv_arm(struct reactor *r, enum recv_state how)
{
    struct udp_recv *u = &r->recv;
    if (u->state == RECV_PAUSES && u->provided)
        arm(r, how);
    else if (u->state == RECV_WAITS && how != RECV_WAITS) {
        struct io_uring_sqe *sqe = ring_sqe(r, NULL);
        io_uring_prep_cancel(sqe, u->op, 0);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        u->state = RECV_TURNS;
    }
}

static void start(struct reactor *r, struct io_op *op)
{
    assert(r->recv.state == RECV_OFF && op->handle == r->io.udp);
    r->recv.op = op;
    r->recv.state = RECV_PAUSES; /* armed when the turn begins */
}

/* A request ended that we go on with. */
static bool pauses(struct reactor *r, const struct io_op *op, int32_t res)
{
    enum recv_state was = r->recv.state;
    bool nothing = res == -EAGAIN && (was == RECV_DRAINS || was == RECV_LOOKS);
    if (op->backend.b & OP_CANCELED)
        return false;
    if (res == -ENOBUFS)
        counter_add(&r->stats.no_buffers, 1);
    else if (!nothing && !(res == -ECANCELED && was == RECV_TURNS))
        return false;
    r->recv.state = RECV_PAUSES;
    return true;
}

/* Some kernels name a buffer also when nothing went into it. */
static void give_back(struct reactor *r, uint32_t flags)
{
    if (!(flags & IORING_CQE_F_BUFFER))
        return;
    r->recv.provided--;
    provide(&r->recv, (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT));
}

void udp_recv_absorb(struct reactor *r)
{
    while (r->recv.op && io_uring_cq_ready(&r->ring)) {
        const struct io_uring_cqe *cqe = &r->ring.cq.cqes[*r->ring.cq.khead & r->ring.cq.ring_mask];
        if (cqe->user_data != (uintptr_t)r->recv.op || cqe->res >= 0 || !pauses(r, r->recv.op, cqe->res))
            return;
        give_back(r, cqe->flags);
        io_uring_cq_advance(&r->ring, 1);
    }
}

/* The owner may submit it again from its `done`. */
static void finish(struct reactor *r, struct io_op *op, int32_t res)
{
    r->recv.state = RECV_OFF;
    r->recv.op = NULL;
    op_finish(r, op, res);
}

bool udp_recv_cancel(struct reactor *r, struct io_op *op)
{
    if (r->recv.state != RECV_PAUSES)
        return false;
    r->recv.state = RECV_OFF;
    r->recv.op = NULL;
    op_finish_later(r, op, -ECANCELED);
    return true;
}

/* GRO's segment size, and the kernel's count of datagrams that found the socket full. */
static void on_control(struct reactor *r, const struct cmsghdr *c, struct io_arrival *a)
{
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
        int segment;
        memcpy(&segment, CMSG_DATA(c), sizeof segment);
        if (segment > 0 && (size_t)segment < a->len)
            a->segment = (size_t)segment;
    } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
        uint32_t total;
        memcpy(&total, CMSG_DATA(c), sizeof total);
        counter_add(&r->stats.socket_overflows, (uint32_t)(total - r->recv.overflows));
        r->recv.overflows = total;
    }
}

static void decode_multishot(struct reactor *r, uint8_t *buffer, int32_t len, struct io_arrival *a)
{
    struct msghdr *msg = &r->recv.msg;
    struct io_uring_recvmsg_out *out = io_uring_recvmsg_validate(buffer, len, msg);
    assert(out);
    a->data = io_uring_recvmsg_payload(out, msg);
    a->len = a->segment = io_uring_recvmsg_payload_length(out, len, msg);
    a->truncated = (out->flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    union socket_addr from;
    memcpy(&from, io_uring_recvmsg_name(out), sizeof from);
    addr_from_sockaddr(&from, &a->from);
    for (struct cmsghdr *c = io_uring_recvmsg_cmsg_firsthdr(out, msg); c;
         c = io_uring_recvmsg_cmsg_nexthdr(out, msg, c))
        on_control(r, c, a);
}

static void decode_look(struct reactor *r, uint8_t *buffer, int32_t len, struct io_arrival *a)
{
    struct msghdr *msg = &r->recv.look.msg;
    a->data = buffer;
    a->len = a->segment = (size_t)len;
    a->truncated = (msg->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    addr_from_sockaddr(&r->recv.look.from, &a->from);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
        on_control(r, c, a);
}

static void on_cqe(struct reactor *r, struct io_op *op, int32_t res, uint32_t flags)
{
    bool more = (flags & IORING_CQE_F_MORE) != 0;
    if (res < 0 || !(flags & IORING_CQE_F_BUFFER)) {
        assert(!more);
        give_back(r, flags);
        if (!pauses(r, op, res))
            finish(r, op, op->backend.b & OP_CANCELED ? -ECANCELED : res);
        return;
    }
    uint32_t id = flags >> IORING_CQE_BUFFER_SHIFT;
    assert(id < r->recv.total && r->recv.provided > 0);
    r->recv.provided--;
    r->recv.refs[id] = 1;
    struct io_arrival *a = &op->arrival;
    a->buffer = id;
    if (r->recv.state == RECV_LOOKS)
        decode_look(r, buffer_at(&r->recv, id), res, a);
    else
        decode_multishot(r, buffer_at(&r->recv, id), res, a);
    counter_add(&r->stats.datagrams_in, a->segment ? (a->len + a->segment - 1) / a->segment : 1);
    counter_add(&r->stats.recv_batches, 1);
    if (r->recv.state == RECV_LOOKS && !(op->backend.b & OP_CANCELED)) {
        r->recv.state = RECV_PAUSES; /* one look ended, the receive goes on */
        more = true;
    }
    if (more)
        op_deliver(r, op, (int32_t)op->arrival.len, true);
    else
        finish(r, op, (int32_t)op->arrival.len);
    udp_release(&r->io, id);
}

void udp_hold(struct io *io, uint32_t buffer)
{
    struct udp_recv *u = &reactor_of(io)->recv;
    assert(buffer < u->total && u->refs[buffer] > 0 && u->refs[buffer] < UINT16_MAX);
    u->refs[buffer]++;
    /* A spare one takes its place, as far as they go, so that relaying does not stop the receive. */
    if (u->provided < u->want && u->spares)
        provide(u, u->spare[--u->spares]);
}

void udp_release(struct io *io, uint32_t buffer)
{
    struct udp_recv *u = &reactor_of(io)->recv;
    assert(buffer < u->total && u->refs[buffer] > 0);
    if (--u->refs[buffer] > 0)
        return;
    if (u->provided < u->want)
        provide(u, (uint16_t)buffer);
    else
        u->spare[u->spares++] = (uint16_t)buffer;
}

const struct op_driver udp_recv_driver = {start, on_cqe};
