#include "shards/channels/append_stream.h"

#include "core/base/err.h"

static const uint64_t RETRY_NS = 500000000;

static void on_retry(struct timer *t, uint64_t now_ns)
{
    (void)now_ns;
    append_stream_kick(container_of(t, struct append_stream, retry));
}

void append_stream_init(struct append_stream *a, struct peer *p, uint16_t id, append_fill_fn *fill,
                        append_ended_fn *ended)
{
    *a = (struct append_stream){.peer = p, .id = id, .source = {fill, ended}};
    timer_init(&a->retry, on_retry);
}

void append_stream_retry(struct append_stream *a)
{
    timer_arm(&a->peer->shard->timers, &a->retry, a->peer->shard->now + RETRY_NS);
}

void append_stream_kick(struct append_stream *a)
{
    struct stream *st;
    int err = stream_open(a->peer, a->id, STREAM_RELIABLE, 0, 1, &st);
    if (err == NET_OK) {
        st->source = &a->source;
        stream_wants_tx(a->peer, st);
    } else if (err != NET_ERR_UNREACHABLE) {
        append_stream_retry(a);
    }
}

void append_stream_deinit(struct append_stream *a)
{
    timer_cancel(&a->peer->shard->timers, &a->retry);
}
