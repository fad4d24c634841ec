/*
 * Datagrams out: one send for a datagram in one piece (a seventh of a microsecond cheaper than sendmsg), one sendmsg
 * for one of several pieces or, by GSO, for up to 64 of one size. Where the kernel refuses GSO (a path with a smaller
 * MTU, a device that does not compute checksums) the same bytes go as plain datagrams, which IP may fragment.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include "shards/reactor/reactor_internal.h"

enum { GSO_MAX_SEGMENTS = 64, GSO_MAX_BYTES = 65000 };
#define REFUSAL_NS 10000000000u /* a refused destination is asked again after 10 s: paths change */

/* In io_op.backend.space. */
struct send_state {
    struct msghdr msg;
    union socket_addr to;
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))];
    uint32_t len;      /* of all datagrams */
    uint32_t requests; /* in the ring: one, or one per datagram of a split send */
    uint32_t sent;
    int32_t error; /* the first one of a split send */
    bool gso, split;
};
_Static_assert(sizeof(struct send_state) <= sizeof((struct io_op *)0)->backend.space, "a send needs no allocation");

static struct send_state *state_of(struct io_op *op)
{
    return (struct send_state *)(void *)op->backend.space;
}

static struct gso_refusal *refusal_of(struct reactor *r, const struct io_addr *to)
{
    unsigned slot = (to->ip[13] ^ to->ip[14] ^ to->ip[15] ^ to->port) % SEND_REFUSALS;
    return &r->send.refusals[slot];
}

static bool gso_allowed(struct reactor *r, const struct io_op *op)
{
    if (!r->send.gso || r->io.now >= r->send.refused_until)
        return r->send.gso;
    const struct gso_refusal *f = refusal_of(r, &op->udp.to);
    return r->io.now >= f->until || op->udp.segment < f->segment || !io_addr_equal(&f->to, &op->udp.to);
}

static void remember_refusal(struct reactor *r, const struct io_op *op, int32_t res)
{
    struct gso_refusal *f = refusal_of(r, &op->udp.to);
    r->send.refused_until = r->io.now + REFUSAL_NS;
    /* EIO comes from the device whatever the size; the others mean that this size does not fit the path. */
    *f = (struct gso_refusal){
        .to = op->udp.to, .segment = res == -EIO ? 0 : op->udp.segment, .until = r->send.refused_until};
}

static void send_request(struct reactor *r, struct io_op *op, const struct msghdr *msg)
{
    struct io_uring_sqe *sqe = ring_sqe(r, op);
    io_uring_prep_sendmsg(sqe, FIXED_UDP, msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    sqe->flags |= IOSQE_FIXED_FILE;
    state_of(op)->requests++;
}

static void send_piece(struct reactor *r, struct io_op *op)
{
    struct send_state *s = state_of(op);
    struct io_uring_sqe *sqe = ring_sqe(r, op);
    io_uring_prep_send(sqe, FIXED_UDP, op->udp.iov->iov_base, op->udp.iov->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    io_uring_prep_send_set_addr(sqe, &s->to.any, (uint16_t)s->msg.msg_namelen);
    sqe->flags |= IOSQE_FIXED_FILE;
    s->requests++;
}

/* Where in the caller's iovec the next datagram begins. */
struct cursor {
    uint32_t index;
    size_t offset;
};

/* The next `len` bytes as iovecs in the scratch. False when they do not fit any more. */
static bool slice(struct udp_send *u, const struct io_op *op, struct cursor *at, size_t len, struct msghdr *msg)
{
    struct cursor c = *at;
    uint32_t used = u->iovs;
    while (len > 0) {
        const struct iovec *v = &op->udp.iov[c.index];
        size_t n = v->iov_len - c.offset < len ? v->iov_len - c.offset : len;
        if (used == SEND_SCRATCH_IOV)
            return false;
        if (n > 0)
            u->iov[used++] = (struct iovec){.iov_base = (char *)v->iov_base + c.offset, .iov_len = n};
        len -= n;
        c.offset += n;
        if (c.offset == v->iov_len)
            c = (struct cursor){.index = c.index + 1};
    }
    msg->msg_iov = &u->iov[u->iovs];
    msg->msg_iovlen = used - u->iovs;
    u->iovs = used;
    *at = c;
    return true;
}

/* One request per datagram, in order; completions are dispatched later. A whole iovec fits into the empty scratch, so
 * the loop ends. */
static void send_split(struct reactor *r, struct io_op *op)
{
    struct udp_send *u = &r->send;
    struct send_state *s = state_of(op);
    struct cursor at = {0};
    s->split = true;
    counter_add(&r->stats.gso_fallbacks, 1);
    for (size_t left = s->len; left > 0;) {
        size_t len = left < op->udp.segment ? left : op->udp.segment;
        struct msghdr msg = {.msg_name = &s->to, .msg_namelen = s->msg.msg_namelen};
        if (u->messages == SEND_SCRATCH || io_uring_sq_space_left(&r->ring) == 0 || !slice(u, op, &at, len, &msg)) {
            ring_flush(r);
            continue;
        }
        u->message[u->messages] = msg;
        send_request(r, op, &u->message[u->messages++]);
        left -= len;
    }
}

static void start(struct reactor *r, struct io_op *op)
{
    struct send_state *s = state_of(op);
    size_t len = 0;
    assert(op->handle == r->io.udp && op->udp.iov_count <= IOV_MAX);
    for (unsigned i = 0; i < op->udp.iov_count; i++)
        len += op->udp.iov[i].iov_len;
    uint16_t segment = op->udp.segment;
    assert(segment == 0 || (len <= GSO_MAX_BYTES && len <= (size_t)segment * GSO_MAX_SEGMENTS));
    memset(s, 0, sizeof *s);
    s->len = (uint32_t)len;
    s->msg = (struct msghdr){.msg_name = &s->to,
                             .msg_namelen = addr_to_sockaddr(&op->udp.to, r->group->family, &s->to),
                             .msg_iov = (struct iovec *)op->udp.iov,
                             .msg_iovlen = op->udp.iov_count};
    if (segment && len > segment) {
        if (!gso_allowed(r, op)) {
            send_split(r, op);
            return;
        }
        s->gso = true;
        s->msg.msg_control = s->control;
        s->msg.msg_controllen = sizeof s->control;
        struct cmsghdr *head = CMSG_FIRSTHDR(&s->msg);
        *head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof segment), .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT};
        memcpy(CMSG_DATA(head), &segment, sizeof segment);
    }
    if (s->gso || op->udp.iov_count != 1)
        send_request(r, op, &s->msg);
    else
        send_piece(r, op);
}

static bool refused(int32_t res)
{
    return res == -EMSGSIZE || res == -EINVAL || res == -EIO;
}

static void account(struct reactor *r, const struct io_op *op, uint32_t sent)
{
    uint32_t segment = op->udp.segment;
    counter_add(&r->stats.datagrams_out, segment ? (sent + segment - 1) / segment : 1);
    counter_add(&r->stats.send_batches, 1);
}

static void on_cqe(struct reactor *r, struct io_op *op, int32_t res, uint32_t flags)
{
    struct send_state *s = state_of(op);
    (void)flags;
    s->requests--;
    if (s->gso && !s->split && refused(res)) {
        remember_refusal(r, op, res);
        send_split(r, op);
        return;
    }
    if (res >= 0)
        s->sent += (uint32_t)res;
    else if (s->error == 0)
        s->error = res;
    if (s->requests > 0)
        return;
    if (s->sent > 0 || s->error == 0)
        account(r, op, s->sent);
    op_finish(r, op, s->sent > 0 || s->error == 0 ? (int32_t)s->sent : s->error);
}

const struct op_driver udp_send_driver = {start, on_cqe};
