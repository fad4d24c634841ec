/* The life of a connection: what it waits for, what it reads, when it ends. */
#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/crypto/crypto.h"
#include "shards/admin/admin_internal.h"

static void on_recv(struct io_op *op, int32_t res);
static void on_send(struct io_op *op, int32_t res);
static void on_close(struct io_op *op, int32_t res);

bool connection_open(struct admin *a, io_handle handle)
{
    struct connection *c = malloc(sizeof *c);
    if (!c)
        return false;
    memset(c, 0, offsetof(struct connection, in)); /* the buffers stay untouched until used */
    c->admin = a;
    c->handle = handle;
    c->recv = (struct io_op){.kind = IO_RECV, .done = on_recv, .handle = handle};
    c->send = (struct io_op){.kind = IO_SEND, .done = on_send, .handle = handle};
    c->close = (struct io_op){.kind = IO_CLOSE, .done = on_close, .handle = handle};
    for (int i = 0; i < 2; i++)
        buffer_init_fixed(&c->out[i], c->out_bytes[i], OUT_BYTES - OUT_RESERVE);
    buffer_init_heap(&c->reply, REPLY_BYTES);
    c->chunk_at = SIZE_MAX;
    c->wait = WAIT_NONE;
    list_init(&c->wait_link);
    list_push_back(&a->connections, &c->link);
    list_push_back(&a->strangers, &c->stranger);
    request_init(c);
    a->stats.connections++;
    a->stats.open++;
    connection_wait(c, WAIT_IDLE);
    connection_run(c);
    return true;
}

void connection_free(struct connection *c)
{
    list_remove(&c->link);
    list_remove(&c->wait_link);
    list_remove(&c->stranger);
    buffer_deinit(&c->reply);
    secure_wipe(&c->request, sizeof c->request); /* the token was in both */
    secure_wipe(c->in, c->in_used);
    c->admin->stats.open--;
    c->admin->evicting -= c->evicted;
    free(c);
}

void connection_wait(struct connection *c, enum wait_kind kind)
{
    struct admin *a = c->admin;
    if (a->stopping && kind != WAIT_STOP)
        return; /* the stop has its own, last deadline */
    list_remove(&c->wait_link);
    c->wait = kind;
    if (kind == WAIT_NONE)
        return;
    c->wait_until = io_now(a->io) + a->timeout[kind];
    list_push_back(&a->waiting[kind], &c->wait_link);
}

void connection_abort(struct connection *c)
{
    if (c->exchange)
        c->exchange->cancel(c);
    c->exchange = NULL;
    c->state = CONN_CLOSING;
    list_remove(&c->stranger);
    connection_wait(c, WAIT_NONE);
}

void connection_heard(struct connection *c)
{
    if (!list_linked(&c->stranger))
        return;
    list_remove(&c->stranger);
    list_push_back(&c->admin->strangers, &c->stranger);
}

void connection_known(struct connection *c)
{
    list_remove(&c->stranger);
}

void connection_evict(struct connection *c)
{
    c->evicted = true;
    c->admin->evicting++;
    c->admin->stats.evicted++;
    connection_abort(c);
    connection_run(c);
}

/* The answer is out: go on with the next request, or end. */
static void answered(struct connection *c)
{
    if (!c->close_after) {
        request_init(c);
        /* Requests sent ahead cost us more than whoever sends them; without a token they get little of our time. */
        bool flood = list_linked(&c->stranger) && c->in_start != c->in_end;
        c->state = flood ? CONN_PAUSE : CONN_HEAD;
        connection_wait(c, flood ? WAIT_PAUSE : WAIT_IDLE);
    } else if (c->request.complete || c->eof) {
        connection_abort(c);
    } else {
        /* Closing now would reset the connection under a client that still writes, and it might never see the answer.
         */
        c->state = CONN_LINGER;
        connection_wait(c, WAIT_LINGER);
    }
}

/* True when it changed something: look again. */
static bool step(struct connection *c)
{
    switch (c->state) {
    case CONN_HEAD:
    case CONN_BODY:
        if (request_step(c))
            return true;
        if (!c->eof || c->piece_len)
            return false;
        connection_abort(c); /* nothing will complete this request */
        return true;
    case CONN_RUN:
        if (!c->eof || !c->streaming || !c->tailing.request.follow)
            return false; /* a bounded answer is also for clients that close their side when they have asked */
        connection_abort(c);
        return true;
    case CONN_FLUSH:
        if (!out_empty(c))
            return false;
        answered(c);
        return true;
    case CONN_LINGER:
    case CONN_PARKED:
        c->in_start = c->in_end; /* not read */
        if (!c->eof)
            return false;
        connection_abort(c);
        return true;
    case CONN_PAUSE:
    case CONN_CLOSING:
        return false;
    }
    return false;
}

/* Reading goes on while an answer is made, to notice the end, but only as far as the buffer reaches. */
static void arm_recv(struct connection *c)
{
    if (c->recv.pending || c->eof || (c->admin->stopping && c->state == CONN_PARKED))
        return;
    if (!c->piece_len && c->in_start == c->in_end) {
        c->in_start = c->in_end = 0;
    } else if (!c->piece_len && c->in_end == IN_BYTES && c->in_start >= IN_BYTES / 2) { /* not for each small request */
        memmove(c->in, c->in + c->in_start, c->in_end - c->in_start);
        c->in_end -= c->in_start;
        c->in_start = 0;
    }
    if (c->in_end == IN_BYTES)
        return;
    c->recv.buf.data = c->in + c->in_end;
    c->recv.buf.len = IN_BYTES - c->in_end;
    io_submit(c->admin->io, &c->recv);
}

void connection_run(struct connection *c)
{
    struct io *io = c->admin->io;
    while (step(c))
        ;
    if (c->state != CONN_CLOSING) {
        out_send(c);
        arm_recv(c);
    } else if (c->recv.pending || c->send.pending) {
        io_cancel(io, &c->recv);
        io_cancel(io, &c->send);
    } else if (!c->close.pending) {
        io_submit(io, &c->close);
    }
}

static void on_recv(struct io_op *op, int32_t res)
{
    struct connection *c = container_of(op, struct connection, recv);
    struct admin *a = c->admin;
    if (res > 0 && c->state != CONN_CLOSING) {
        c->in_end += (size_t)res;
        if (c->in_used < c->in_end)
            c->in_used = c->in_end;
        a->stats.bytes_in += (uint64_t)res;
    } else if (res == 0) {
        c->eof = true;
    } else if (res < 0 && !(a->stopping && c->state == CONN_PARKED)) {
        connection_abort(c);
    }
    connection_run(c);
    admin_check_stopped(a);
}

static void on_send(struct io_op *op, int32_t res)
{
    struct connection *c = container_of(op, struct connection, send);
    struct admin *a = c->admin;
    if (res > 0 && c->state != CONN_CLOSING) {
        a->stats.bytes_out += (uint64_t)res;
        bool room = out_on_sent(c, (size_t)res);
        if (c->state == CONN_FLUSH)
            connection_wait(c, WAIT_IDLE); /* it takes something: new patience */
        else if (c->state == CONN_RUN && c->streaming && room)
            events_on_room(c);
    } else {
        connection_abort(c);
    }
    connection_run(c);
    admin_check_stopped(a);
}

static void on_close(struct io_op *op, int32_t res)
{
    struct connection *c = container_of(op, struct connection, close);
    struct admin *a = c->admin;
    (void)res; /* the handle is gone either way */
    connection_free(c);
    admin_check_stopped(a);
}

void connection_on_timeout(struct connection *c)
{
    enum wait_kind waited = c->wait;
    list_remove(&c->wait_link);
    c->wait = WAIT_NONE;
    if (waited == WAIT_LOG || waited == WAIT_ALIVE) {
        events_on_wait(c);
    } else if (waited == WAIT_PAUSE) {
        c->state = CONN_HEAD;
        connection_wait(c, WAIT_IDLE);
    } else if (waited == WAIT_SLOW) {
        c->close_after = true;
        respond_refusal(c, 408, "timeout", "the request did not arrive in time", "");
    } else if (c->state != CONN_PARKED || c->send.pending) {
        connection_abort(c);
    }
    connection_run(c);
}

void connection_stop(struct connection *c)
{
    c->close_after = true;
    connection_wait(c, WAIT_STOP);
    if (c->exchange)
        c->exchange->stop(c);
    else if (c->state != CONN_FLUSH && c->state != CONN_PARKED)
        connection_abort(c);
    if (c->state == CONN_PARKED)
        io_cancel(c->admin->io, &c->recv);
    connection_run(c);
}
