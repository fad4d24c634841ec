/* Connections: one end is a handle of shard 0, the other the test's. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/sim/world/sim_internal.h"

struct sim_stream {
    struct list link, waiting;
    struct sim_host *host;
    struct sim_shard *shard; /* that accepted it; NULL before and when the node's end is gone */
    struct bytes to_node, to_test;
    struct io_op *recv, *send;
    bool finished, test_gone, node_gone, reset;
};

static void free_if_gone(struct sim_stream *st)
{
    if (!st->test_gone || !st->node_gone)
        return;
    list_remove(&st->link);
    list_remove(&st->waiting);
    bytes_deinit(&st->to_node);
    bytes_deinit(&st->to_test);
    free(st);
}

struct sim_stream *sim_connect(struct sim_host *h)
{
    struct sim_stream *st = calloc(1, sizeof *st);
    assert(st);
    st->host = h;
    st->node_gone = st->reset = !h->shards;
    list_push_back(&h->streams, &st->link);
    list_init(&st->waiting);
    if (h->shards) {
        list_push_back(&h->backlog, &st->waiting);
        sim_shard_wake(&h->shards[0]);
    }
    return st;
}

static bool can_go_on(const struct sim_stream *st, const struct io_op *op)
{
    if (op->kind == IO_RECV)
        return st->to_node.len > 0 || st->finished;
    return st->to_test.len < SIM_STREAM_WINDOW || st->test_gone;
}

static void go_on(struct sim_stream *st, struct io_op *op)
{
    struct sim *sim = st->host->sim;
    if (op && can_go_on(st, op))
        sim_op_schedule(st->shard, op, sim->now + sim_draw(sim, sim->settings.stream));
}

void sim_stream_start(struct sim_shard *s, struct io_op *op)
{
    struct sim_stream *st = sim_handle(s, op->handle, HANDLE_STREAM)->stream;
    struct io_op **slot = op->kind == IO_RECV ? &st->recv : &st->send;
    assert(!*slot); /* one at a time in each direction */
    *slot = op;
    go_on(st, op);
}

/* Some of it, or all. */
static size_t piece(struct sim *sim, size_t len, size_t room)
{
    size_t most = len < room ? len : room;
    return most > 1 && sim_chance(sim, SIM_ALWAYS / 2) ? 1 + (size_t)sim_random_below(sim, most) : most;
}

int32_t sim_stream_run(struct sim_shard *s, struct io_op *op)
{
    struct sim_stream *st = sim_handle(s, op->handle, HANDLE_STREAM)->stream;
    if (op->kind == IO_RECV) {
        size_t n = piece(s->host->sim, st->to_node.len, op->buf.len);
        bytes_take(&st->to_node, op->buf.data, n);
        return (int32_t)n;
    }
    if (st->test_gone)
        return -EPIPE;
    size_t n = piece(s->host->sim, op->buf.len, SIM_STREAM_WINDOW - st->to_test.len);
    bytes_write(&st->to_test, st->to_test.len, op->buf.data, n);
    return (int32_t)n;
}

void sim_stream_op_gone(struct sim_shard *s, struct io_op *op)
{
    struct sim_stream *st = sim_handle(s, op->handle, HANDLE_STREAM)->stream;
    if (st && st->recv == op)
        st->recv = NULL;
    if (st && st->send == op)
        st->send = NULL;
}

void sim_stream_accept(struct sim_shard *s)
{
    struct sim *sim = s->host->sim;
    while (s->accept && !list_empty(&s->host->backlog)) {
        struct sim_stream *st = container_of(list_pop(&s->host->backlog), struct sim_stream, waiting);
        struct handle *h = sim_handle_open(s, HANDLE_STREAM);
        h->stream = st;
        st->shard = s;
        sim_op_deliver(s, s->accept, h->number, !sim_chance(sim, sim->settings.multishot_end));
    }
}

void sim_stream_node_closed(struct sim_stream *st)
{
    st->node_gone = true;
    st->shard = NULL;
    free_if_gone(st);
}

void sim_stream_reset_all(struct sim_host *h)
{
    for (unsigned i = 0; i < h->shard_count; i++) {
        for (size_t n = 0; n < h->shards[i].handle_count; n++)
            h->shards[i].handles[n]->stream = NULL;
    }
    for (struct list *l = h->streams.next, *next; l != &h->streams; l = next) {
        next = l->next;
        struct sim_stream *st = container_of(l, struct sim_stream, link);
        list_remove(&st->waiting);
        st->reset |= !st->node_gone;
        st->node_gone = true;
        st->shard = NULL;
        st->recv = st->send = NULL;
        free_if_gone(st);
    }
}

void sim_stream_free_all(struct sim_host *h)
{
    for (struct list *l; (l = list_first(&h->streams));) {
        struct sim_stream *st = container_of(l, struct sim_stream, link);
        st->test_gone = st->node_gone = true;
        free_if_gone(st);
    }
}

void sim_stream_send(struct sim_stream *st, struct cspan bytes)
{
    assert(!st->finished);
    if (st->node_gone)
        return;
    bytes_write(&st->to_node, st->to_node.len, bytes.data, bytes.len);
    go_on(st, st->recv);
}

void sim_stream_finish(struct sim_stream *st)
{
    st->finished = true;
    go_on(st, st->recv);
}

ssize_t sim_stream_recv(struct sim_stream *st, void *out, size_t room)
{
    if (st->reset)
        return -ECONNRESET;
    if (st->to_test.len == 0)
        return st->node_gone ? 0 : -EAGAIN;
    size_t n = st->to_test.len < room ? st->to_test.len : room;
    bytes_take(&st->to_test, out, n);
    go_on(st, st->send);
    return (ssize_t)n;
}

void sim_stream_close(struct sim_stream *st)
{
    st->finished = st->test_gone = true;
    go_on(st, st->recv);
    go_on(st, st->send);
    free_if_gone(st);
}
