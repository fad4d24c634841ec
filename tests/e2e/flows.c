/*
 * An application that uses streams, as its makers would write it: it sees netmesh.h alone. With a number it sends so
 * many numbered events to the first peer that comes, on a reliable stream and, as soon as that had to wait, beside it
 * on a fire-and-forget one; without, it takes streams of others, of the reliable one nothing before the other began: so
 * the sender meets backpressure, however fast or slow the two are. Every stream that is over is a JSON line.
 */
#include <inttypes.h>
#include <netmesh.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RELIABLE = 1, PLAIN = 2, STREAMS = 3, EVENT = 100, FRAME = 4 + EVENT, BATCH = 200, PLAIN_BATCH = 50 };

struct flows {
    uint32_t count;        /* events to send on each; 0: take them */
    uint32_t next, plain;  /* of the reliable stream, to be sent next; of the other, taken */
    uint32_t backpressure; /* sends that stopped short */
    struct netmesh_stream reliable;
    struct netmesh_retry retry; /* of the fire-and-forget stream */
    bool open, waited, closed;  /* waited: the reliable stream met backpressure, and the other was opened */
    uint8_t batch[BATCH * FRAME], plain_batch[PLAIN_BATCH * FRAME];
    struct {
        uint32_t events, disorder; /* that came; of them, not above the one before */
        uint32_t above;            /* the least number that may come in order */
        char first[NETMESH_EVENT_ID_MAX], last[NETMESH_EVENT_ID_MAX];
    } in[STREAMS];
};

static uint32_t load(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void store(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

/* As many events as are left, numbered from `from` on. */
static uint32_t fill(uint8_t *frames, uint32_t most, uint32_t from, uint32_t end)
{
    uint32_t n = 0;
    for (; n < most && from + n < end; n++) {
        store(frames + n * FRAME, EVENT);
        store(frames + n * FRAME + 4, from + n);
    }
    return n;
}

/* ---- sending ---- */

static void plain_done(struct netmesh_retry *r, struct netmesh_shard *shard, int err)
{
    struct flows *f = r->ctx;
    if (err) {
        fprintf(stderr, "flows: %s\n", netmesh_error_text(err));
        return;
    }
    f->plain += fill(f->plain_batch, PLAIN_BATCH, f->plain, f->count);
    r->count = fill(f->plain_batch, PLAIN_BATCH, f->plain, f->count);
    r->frames = f->plain_batch;
    r->len = (size_t)r->count * FRAME;
    if (r->count)
        netmesh_stream_retry(shard, r);
    else
        netmesh_stream_close(shard, &r->stream);
}

/* The reliable stream met backpressure: the other begins, which makes the peer take what it holds back. */
static void open_plain(struct flows *f, struct netmesh_shard *shard)
{
    int err = netmesh_stream_open(shard, f->reliable.peer, PLAIN, NULL, &f->retry.stream);
    f->waited = true;
    if (err) {
        fprintf(stderr, "flows: %s\n", netmesh_error_text(err));
        return;
    }
    f->retry.count = fill(f->plain_batch, PLAIN_BATCH, 0, f->count);
    f->retry.frames = f->plain_batch;
    f->retry.len = (size_t)f->retry.count * FRAME;
    f->retry.max_retries = 4096;
    f->retry.done = plain_done;
    f->retry.ctx = f;
    netmesh_stream_retry(shard, &f->retry);
}

static void on_peer(void *ctx, struct netmesh_shard *shard, uint64_t peer, bool connected)
{
    struct flows *f = ctx;
    struct netmesh_stream_options reliable = {.mode = NETMESH_RELIABLE};
    if (!connected || f->open || f->count == 0)
        return;
    int err = netmesh_stream_open(shard, peer, RELIABLE, &reliable, &f->reliable);
    if (err)
        fprintf(stderr, "flows: %s\n", netmesh_error_text(err));
    f->open = err == 0;
}

static bool on_turn(void *ctx, struct netmesh_shard *shard)
{
    struct flows *f = ctx;
    uint32_t sent = 0, n = fill(f->batch, BATCH, f->next, f->count);
    if (!f->open || f->closed)
        return false;
    int err = netmesh_stream_send(shard, &f->reliable, f->batch, (size_t)n * FRAME, n, &sent);
    f->next += sent;
    f->backpressure += err == NETMESH_AGAIN;
    if (err && err != NETMESH_AGAIN)
        fprintf(stderr, "flows: %s\n", netmesh_error_text(err));
    if (err == NETMESH_AGAIN && !f->waited)
        open_plain(f, shard);
    if (f->next == f->count) {
        netmesh_stream_close(shard, &f->reliable);
        f->closed = true;
    }
    return !err && !f->closed;
}

static void on_stream_end(void *ctx, struct netmesh_shard *shard, const struct netmesh_stream *stream, int err)
{
    struct flows *f = ctx;
    (void)shard;
    printf("{\"stream\":%" PRIu64 ",\"sent\":%" PRIu32 ",\"backpressure\":%" PRIu32 ",\"error\":\"%s\"}\n", stream->id,
           f->next, f->backpressure, netmesh_error_text(err));
    fflush(stdout);
}

/* ---- receiving ---- */

static bool on_stream(void *ctx, struct netmesh_shard *shard, const struct netmesh_stream_events *e)
{
    struct flows *f = ctx;
    (void)shard;
    if (e->stream >= STREAMS || e->mode != (e->stream == RELIABLE ? NETMESH_RELIABLE : NETMESH_FIRE_AND_FORGET))
        return true;
    if (e->stream == RELIABLE && e->end != NETMESH_STREAM_BROKEN && f->in[PLAIN].events == 0)
        return false;
    const uint8_t *at = e->frames;
    for (uint32_t i = 0; i < e->count; at += 4 + load(at), i++) {
        uint32_t number = load(at + 4);
        bool in_order = e->stream == RELIABLE ? number == f->in[e->stream].above : number >= f->in[e->stream].above;
        netmesh_event_id(f->in[e->stream].last, e->sequence, i);
        if (f->in[e->stream].events++ == 0)
            memcpy(f->in[e->stream].first, f->in[e->stream].last, NETMESH_EVENT_ID_MAX);
        f->in[e->stream].disorder += !in_order;
        f->in[e->stream].above = number + 1;
    }
    if (e->end == NETMESH_STREAM_GOES_ON)
        return true;
    printf("{\"stream\":%" PRIu64 ",\"events\":%" PRIu32 ",\"disorder\":%" PRIu32
           ",\"first\":\"%s\",\"last\":\"%s\",\"ascends\":%s,\"finished\":%s}\n",
           e->stream, f->in[e->stream].events, f->in[e->stream].disorder, f->in[e->stream].first, f->in[e->stream].last,
           netmesh_event_id_compare(f->in[e->stream].first, f->in[e->stream].last) < 0 ? "true" : "false",
           e->end == NETMESH_STREAM_FINISHED ? "true" : "false");
    fflush(stdout);
    return true;
}

static void on_ready(void *ctx, const char *json_line)
{
    (void)ctx;
    puts(json_line);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct flows flows;
    struct netmesh_hooks hooks = {
        .ctx = &flows, .on_turn = on_turn, .on_peer = on_peer, .on_stream = on_stream, .on_stream_end = on_stream_end};
    const char *overrides[] = {"shards.count=1"}; /* so that one thread has all of `flows` */
    struct netmesh *node;
    char error[1024] = "which directory?";
    flows.count = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    if (argc < 2 || netmesh_open(&node, argv[1], overrides, 1, &hooks, error, sizeof error) != 0) {
        fprintf(stderr, "flows: %s\n", error);
        return 1;
    }
    int err = netmesh_run(node, true, on_ready, NULL, error, sizeof error);
    if (err)
        fprintf(stderr, "flows: %s\n", error);
    netmesh_close(node);
    return err ? 1 : 0;
}
