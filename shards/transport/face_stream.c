/* Streams, in the part of netmesh.h that hooks call on their shard. */
#include <string.h>

#include "core/stream/event_id.h"
#include "core/stream/retry.h"
#include "shards/transport/user_stream.h"

_Static_assert(NETMESH_EVENT_ID_MAX == EVENT_ID_MAX, "netmesh.h says how long a name may be");
_Static_assert(NETMESH_NOT_FOUND == NET_ERR_NOT_FOUND && NETMESH_CLOSED == NET_ERR_CLOSED &&
                   NETMESH_UNREACHABLE == NET_ERR_UNREACHABLE && NETMESH_AGAIN == NET_ERR_AGAIN,
               "netmesh.h names these");

int netmesh_stream_open(struct netmesh_shard *face, uint64_t peer, uint64_t id,
                        const struct netmesh_stream_options *options, struct netmesh_stream *out)
{
    static const struct netmesh_stream_options defaults = {NETMESH_FIRE_AND_FORGET, 65536, 1};
    struct peer *p = peer_find(face->shard, peer);
    *out = (struct netmesh_stream){peer, id, 0};
    return p ? user_stream_open(p, id, options ? options : &defaults, &out->epoch) : NET_ERR_NOT_FOUND;
}

/* The stream that the handle means; NULL with *err when there is none. */
static struct stream *resolve(struct shard *s, const struct netmesh_stream *handle, struct peer **p, int *err)
{
    struct stream *st = NULL;
    *p = peer_find(s, handle->peer);
    struct user_stream *u = *p ? user_stream_find(*p, handle->id, &st) : NULL;
    bool open = u && u->epoch == handle->epoch;
    *err = open ? NET_OK : *p ? NET_ERR_CLOSED : NET_ERR_NOT_FOUND;
    return open ? st : NULL;
}

/* Whole frames, each of which the peer takes. */
static int check_frames(uint32_t room, struct cspan frames, uint32_t count)
{
    struct wire_frames walk = wire_frames(frames, count);
    struct cspan event;
    while (wire_frames_next(&walk, &event))
        if (event.len + 4 > room)
            return NET_ERR_TOO_LARGE;
    return walk.left == 0 && walk.rest.len == 0 ? NET_OK : NET_ERR_FORMAT;
}

/* Takes events off the front of *frames as long as there is room. */
static int send_some(struct shard *s, const struct netmesh_stream *handle, struct cspan *frames, uint32_t *count)
{
    struct peer *p;
    int err;
    struct stream *st = resolve(s, handle, &p, &err);
    if (st)
        err = p->link.current.used ? check_frames(user_stream_room(p, st), *frames, *count) : NET_ERR_UNREACHABLE;
    while (!err && *count) {
        size_t used = 0;
        uint32_t n = user_stream_send(p, st, *frames, *count, &used);
        err = n ? NET_OK : NET_ERR_AGAIN;
        *count -= n;
        frames->data += used;
        frames->len -= used;
    }
    return err;
}

int netmesh_stream_send(struct netmesh_shard *face, const struct netmesh_stream *handle, const uint8_t *frames,
                        size_t len, uint32_t count, uint32_t *sent)
{
    struct cspan rest = {frames, len};
    uint32_t left = count;
    int err = send_some(face->shard, handle, &rest, &left);
    if (sent)
        *sent = count - left;
    return err;
}

int netmesh_stream_close(struct netmesh_shard *face, const struct netmesh_stream *handle)
{
    struct peer *p;
    int err;
    struct stream *st = resolve(face->shard, handle, &p, &err);
    if (st)
        user_stream_close(p, st);
    return err == NET_ERR_CLOSED ? NET_OK : err;
}

int netmesh_stream_reset(struct netmesh_shard *face, const struct netmesh_stream *handle)
{
    struct peer *p;
    int err;
    struct stream *st = resolve(face->shard, handle, &p, &err);
    if (st)
        user_stream_reset(p, st);
    return err;
}

/* ---- a send that goes on by itself ---- */

struct attempt {
    struct timer timer;
    struct netmesh_shard *face;
    uint32_t retries; /* that were made */
};
_Static_assert(sizeof(struct attempt) <= sizeof(((struct netmesh_retry *)0)->node), "netmesh.h has room for it");

static struct attempt *attempt_of(struct netmesh_retry *r)
{
    return (struct attempt *)(void *)r->node;
}

static void on_attempt(struct timer *t, uint64_t now)
{
    struct attempt *a = container_of(t, struct attempt, timer);
    struct netmesh_retry *r = (struct netmesh_retry *)(void *)((char *)a - offsetof(struct netmesh_retry, node));
    struct cspan rest = {r->frames, r->len};
    int err = send_some(a->face->shard, &r->stream, &rest, &r->count);
    r->frames = rest.data;
    r->len = rest.len;
    if (err == NET_ERR_AGAIN && a->retries < r->max_retries)
        timer_arm(&a->face->shard->timers, t, now + retry_pause_ns(a->retries++));
    else
        r->done(r, a->face, err);
}

void netmesh_stream_retry(struct netmesh_shard *face, struct netmesh_retry *r)
{
    struct attempt *a = attempt_of(r);
    *a = (struct attempt){.face = face};
    timer_init(&a->timer, on_attempt);
    timer_arm(&face->shard->timers, &a->timer, face->shard->now);
}

void netmesh_stream_retry_cancel(struct netmesh_retry *r)
{
    struct attempt *a = attempt_of(r);
    timer_cancel(&a->face->shard->timers, &a->timer);
}

/* ---- what it is like ---- */

int netmesh_stream_get_stats(struct netmesh_shard *face, uint64_t peer, uint64_t id, struct netmesh_stream_stats *out)
{
    struct peer *p = peer_find(face->shard, peer);
    struct stream *st = NULL;
    bool active = p && user_stream_find(p, id, &st);
    if (!st)
        return NET_ERR_NOT_FOUND;
    struct stream_row row;
    stream_describe(st, &row);
    *out = (struct netmesh_stream_stats){
        .tx_seq = row.tx_seq,
        .rx_seq = row.rx_seq,
        .inbound_pending = row.inbound_pending,
        .idle_ns = row.idle_ns,
        .active = active,
        .backpressure_events = row.backpressure_events,
        .tx_window = row.tx_window,
        .tx_credit_remaining = row.tx_credit_remaining,
        .credit_grants_received = row.credit_grants_received,
        .credit_grants_sent = row.credit_grants_sent,
    };
    return NET_OK;
}

void netmesh_event_id(char out[NETMESH_EVENT_ID_MAX], uint64_t sequence, uint32_t index)
{
    event_id_format(out, sequence, index);
}

int netmesh_event_id_compare(const char *a, const char *b)
{
    return event_id_compare(a, b);
}
