#include "tests/support/admin/io_stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED 1
#endif
#endif
#ifdef WATCHED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, len) ((void)(data), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(data, len) ((void)(data), (void)(len))
#endif

enum { CANCELED = 1, LISTENER = 1000 };

static struct io_stream *of(struct io *io)
{
    return container_of(io, struct io_stream, io);
}

static void append(struct stream_bytes *b, const void *data, size_t len)
{
    if (b->cap - b->len < len) {
        b->cap = (b->len + len) * 2;
        b->data = realloc(b->data, b->cap);
        assert(b->data);
    }
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
}

static struct stream_end *end_of(struct io_stream *s, io_handle handle)
{
    assert(handle >= 0 && handle < STREAM_CONNECTIONS);
    struct stream_end *e = &s->ends[handle];
    assert(e->accepted && !e->closed);
    return e;
}

static void assert_idle(struct io_stream *s, io_handle handle)
{
    for (struct list *l = s->pending.next; l != &s->pending; l = l->next)
        assert(container_of(l, struct io_op, backend.link)->handle != handle);
}

static void submit(struct io *io, struct io_op *op)
{
    struct io_stream *s = of(io);
    assert(!op->pending && op->done);
    if (op->kind != IO_ACCEPT)
        end_of(s, op->handle);
    if (op->kind == IO_CLOSE)
        assert_idle(s, op->handle);
    op->pending = true;
    op->backend.a = op->backend.b = 0;
    if (op->kind == IO_RECV)
        ASAN_POISON_MEMORY_REGION(op->buf.data, op->buf.len);
    if (op->kind == IO_SEND) {
        assert(op->buf.len > 0);
        void *copy = malloc(op->buf.len);
        assert(copy);
        memcpy(copy, op->buf.data, op->buf.len);
        op->backend.a = (uint64_t)(uintptr_t)copy;
    }
    list_push_back(&s->pending, &op->backend.link);
}

static void cancel(struct io *io, struct io_op *op)
{
    (void)io;
    if (op->pending)
        op->backend.b |= CANCELED;
}

static int plain_close(struct io *io, io_handle handle)
{
    struct io_stream *s = of(io);
    assert_idle(s, handle);
    end_of(s, handle)->closed = true;
    s->plain_closes++;
    return 0;
}

static void doorbell(struct io *io, unsigned shard)
{
    (void)io;
    (void)shard;
}

static const struct io_ops ops = {.submit = submit, .cancel = cancel, .doorbell = doorbell};
static const struct io_plain plain = {.close = plain_close};

void io_stream_init(struct io_stream *s)
{
    memset(s, 0, sizeof *s);
    s->io = (struct io){.ops = &ops,
                        .plain = &plain,
                        .shards = 1,
                        .now = UINT64_C(1000000000),
                        .wall = UINT64_C(784111777000000000), /* RFC 9110's Sun, 06 Nov 1994 08:49:37 GMT */
                        .udp = IO_NO_HANDLE,
                        .listener = LISTENER};
    list_init(&s->pending);
}

void io_stream_deinit(struct io_stream *s)
{
    assert(list_empty(&s->pending));
    for (int i = 0; i < STREAM_CONNECTIONS; i++) {
        free(s->ends[i].to_server.data);
        free(s->ends[i].from_server.data);
    }
}

int stream_connect(struct io_stream *s)
{
    int handle = 0;
    while (s->ends[handle].connected)
        handle++;
    assert(handle < STREAM_CONNECTIONS);
    s->ends[handle] =
        (struct stream_end){.connected = true, .recv_most = SIZE_MAX, .send_most = SIZE_MAX, .room = SIZE_MAX};
    return handle;
}

void stream_write(struct io_stream *s, int handle, const void *data, size_t len)
{
    append(&s->ends[handle].to_server, data, len);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Each: true and *res when the operation can complete. */
static bool try_accept(struct io_stream *s, struct io_op *op, int32_t *res)
{
    if (s->accept_error) {
        *res = s->accept_error;
        s->accept_error = 0;
        op->more = false;
        return true;
    }
    for (int i = 0; i < STREAM_CONNECTIONS; i++) {
        if (!s->ends[i].connected || s->ends[i].accepted)
            continue;
        s->ends[i].accepted = true;
        *res = i;
        op->more = !s->accept_once;
        return true;
    }
    return false;
}

static bool try_recv(struct stream_end *e, struct io_op *op, int32_t *res)
{
    size_t n = least(least(op->buf.len, e->to_server.len - e->taken), e->recv_most);
    if (!n && !e->shut && !e->reset)
        return false;
    ASAN_UNPOISON_MEMORY_REGION(op->buf.data, op->buf.len);
    *res = e->reset ? -ECONNRESET : (int32_t)n;
    if (n && !e->reset) {
        memcpy(op->buf.data, e->to_server.data + e->taken, n);
        e->taken += n;
    }
    return true;
}

static bool try_send(struct stream_end *e, struct io_op *op, int32_t *res)
{
    size_t n = least(least(op->buf.len, e->room), e->send_most);
    if (!n && !e->reset)
        return false;
    *res = e->reset ? -EPIPE : (int32_t)n;
    if (!e->reset) {
        append(&e->from_server, op->buf.data, n);
        if (e->room != SIZE_MAX)
            e->room -= n;
    }
    return true;
}

static bool try_op(struct io_stream *s, struct io_op *op, int32_t *res)
{
    if (op->backend.b & CANCELED) {
        if (op->kind == IO_RECV)
            ASAN_UNPOISON_MEMORY_REGION(op->buf.data, op->buf.len);
        *res = -ECANCELED;
        return true;
    }
    switch (op->kind) {
    case IO_ACCEPT:
        return try_accept(s, op, res);
    case IO_RECV:
        return try_recv(end_of(s, op->handle), op, res);
    case IO_SEND:
        return try_send(end_of(s, op->handle), op, res);
    case IO_CLOSE:
        end_of(s, op->handle)->closed = true;
        *res = 0;
        return true;
    default:
        abort(); /* streams have no other */
    }
}

static void complete(struct io_op *op, int32_t res)
{
    if (op->kind == IO_SEND) {
        void *copy = (void *)(uintptr_t)op->backend.a;
        assert(memcmp(copy, op->buf.data, op->buf.len) == 0);
        free(copy);
    }
    if (!op->more) {
        op->pending = false;
        list_remove(&op->backend.link);
    }
    op->done(op, res);
}

bool io_stream_turn(struct io_stream *s)
{
    bool any = false;
    struct list todo; /* what a completion submits waits for the next turn */
    list_init(&todo);
    while (!list_empty(&s->pending))
        list_push_back(&todo, list_pop(&s->pending));
    while (!list_empty(&todo)) {
        struct io_op *op = container_of(list_pop(&todo), struct io_op, backend.link);
        int32_t res = 0;
        list_push_back(&s->pending, &op->backend.link);
        op->more = false;
        if (try_op(s, op, &res)) {
            any = true;
            complete(op, res);
        }
    }
    return any;
}
