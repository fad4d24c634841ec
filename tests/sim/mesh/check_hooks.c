/* What nodes hand to their applications, seen as it comes: each live event once, reliable streams in order. */
#include <assert.h>
#include <stdlib.h>

#include "shards/peers/membership.h"
#include "shards/peers/peer.h"
#include "tests/sim/mesh/check_internal.h"

static struct delivered *delivered_get(struct check *c, const struct mesh_node *m, uint32_t tag, bool followed)
{
    uint64_t key = (uint64_t)m->number << 33 | (uint64_t)followed << 32 | tag;
    struct delivered *d = map_get(&c->own->delivered, key);
    if (d)
        return d;
    d = calloc(1, sizeof *d);
    assert(d);
    d->life = m->lives;
    if (map_put(&c->own->delivered, key, d) != 0)
        assert(!"memory");
    return d;
}

/* How often it has come now. */
static unsigned mark(struct delivered *d, uint64_t number)
{
    size_t at = (size_t)number;
    if (at >= d->room) {
        size_t room = (at + 1) * 2;
        d->times = realloc(d->times, room);
        assert(d->times);
        memset(d->times + d->room, 0, room - d->room);
        d->room = room;
    }
    if (d->times[at] < UINT8_MAX)
        d->times[at]++;
    if (number >= d->next)
        d->next = number + 1;
    return d->times[at];
}

static bool is_followed(struct shard *s, const struct netmesh_events *e)
{
    struct peer *p = peer_find(s, e->peer);
    for (struct list *n = p->subscriptions.next; n != &p->subscriptions; n = n->next) {
        const struct subscription *sub = container_of(n, struct subscription, in_peer);
        if (sub->hash == e->channel)
            return sub->followed;
    }
    return false;
}

/* A mirror goes on where it ends: what a power cut took from it, or a restart where it was in memory, comes again. */
static void forget_life(struct delivered *d, const struct check_node *n, bool followed)
{
    unsigned life = n->m->lives + n->interruptions;
    if (followed && d->life != life) {
        if (d->room)
            memset(d->times, 0, d->room);
        d->next = 0;
    }
    d->life = life;
}

/* How often an event may have been appended. A producer hands over again what it has no answer about, and the log may
 * have lost what it had sent already: in memory at a restart, on disk at a power cut, and what is live, which goes out
 * before it is written (followed, once it is: X7.2), at a kill. */
static unsigned times_appended(const struct source *s, bool followed)
{
    const struct mesh_node *at = s->ledger->at;
    bool on_disk = config_channel(&at->config, s->ledger->channel.text)->log == LOG_DISK;
    if (!s->retries)
        return 1;
    return 1 + (on_disk && followed ? (unsigned)sim_host_boots(at->host) : at->lives - 1);
}

static void take(struct check_node *n, const struct netmesh_events *e, struct cspan event, bool followed)
{
    struct check *c = n->check;
    const struct mesh_node *m = n->m;
    uint32_t tag;
    uint64_t number;
    const struct source *s = check_event(event, &tag, &number) ? ledger_source(c, tag) : NULL;
    if (!s) {
        check_fail(c, "node %u was brought an event of channel %016lx by node %016lx that nobody published", m->number,
                   e->channel, e->peer);
        return;
    }
    const char *channel = s->ledger->channel.text;
    if (s->ledger->at->node_id != e->peer || s->ledger->hash != e->channel || number >= s->handed)
        check_fail(c, "node %u was brought event %lu of %u, which is for %s at node %u, on channel %016lx by %016lx",
                   m->number, number, tag, channel, s->ledger->at->number, e->channel, e->peer);
    struct delivered *d = delivered_get(c, m, tag, followed);
    forget_life(d, n, followed);
    unsigned most = times_appended(s, followed);
    uint64_t expected = d->next;
    if (mark(d, number) > most)
        check_fail(c, "node %u was brought event %lu of %u on %s twice", m->number, number, tag, channel);
    else if (number < expected && most == 1 && (followed || c->live_in_order))
        check_fail(c, "node %u was brought event %lu of %u on %s after %lu", m->number, number, tag, channel,
                   expected - 1);
}

static void on_events(void *ctx, struct netmesh_shard *face, const struct netmesh_events *e)
{
    struct check_node *n = ctx;
    struct wire_frames walk = wire_frames((struct cspan){e->frames, e->len}, e->count);
    struct cspan event;
    bool followed = is_followed(face->shard, e);
    while (wire_frames_next(&walk, &event))
        take(n, e, event, followed);
    if (n->chained.on_events)
        n->chained.on_events(n->chained.ctx, face, e);
}

/* ---- streams of the application ---- */

static struct streamed *streamed_find(struct check *c, uint32_t tag)
{
    for (size_t i = 0; i < c->own->streamed_count; i++)
        if (c->own->streamed[i].tag == tag)
            return &c->own->streamed[i];
    return NULL;
}

void check_streamed(struct check *c, const struct mesh_node *from, const struct mesh_node *to, uint64_t id,
                    uint32_t tag, uint64_t count)
{
    struct check_state *own = c->own;
    struct streamed *s = streamed_find(c, tag);
    if (!s) {
        own->streamed = check_grown(own->streamed, own->streamed_count, &own->streamed_room, sizeof *own->streamed);
        s = &own->streamed[own->streamed_count++];
        *s =
            (struct streamed){.from = from->node_id, .to = to->node_id, .id = id, .tag = tag, .from_life = from->lives};
    }
    s->taken += count;
}

static void take_streamed(struct check_node *n, const struct netmesh_stream_events *e, struct cspan event)
{
    struct check *c = n->check;
    uint32_t tag;
    uint64_t number;
    struct streamed *s = check_event(event, &tag, &number) ? streamed_find(c, tag) : NULL;
    if (!s || s->from != e->peer || s->to != n->m->node_id || s->id != e->stream) {
        check_fail(c, "node %u was brought something on stream %lu of %016lx that was not sent there", n->m->number,
                   e->stream, e->peer);
        return;
    }
    if (s->to_life && s->to_life != n->m->lives)
        check_fail(c, "stream %lu of %016lx began in another life of node %u and goes on", e->stream, e->peer,
                   n->m->number);
    s->to_life = n->m->lives;
    if (number != s->came || number >= s->taken)
        check_fail(c, "node %u was brought event %lu of stream %lu (%u) of %016lx in the place of %lu; %lu were taken",
                   n->m->number, number, e->stream, tag, e->peer, s->came, s->taken);
    s->came = number + 1;
}

static bool on_stream(void *ctx, struct netmesh_shard *face, const struct netmesh_stream_events *e)
{
    struct check_node *n = ctx;
    if (n->chained.on_stream && !n->chained.on_stream(n->chained.ctx, face, e))
        return false;
    struct wire_frames walk = wire_frames((struct cspan){e->frames, e->len}, e->count);
    struct cspan event;
    while (e->mode == NETMESH_RELIABLE && wire_frames_next(&walk, &event))
        take_streamed(n, e, event);
    return true;
}

static void on_stream_end(void *ctx, struct netmesh_shard *face, const struct netmesh_stream *handle, int err)
{
    struct check_node *n = ctx;
    struct check_state *own = n->check->own;
    for (size_t i = 0; i < own->streamed_count; i++) {
        struct streamed *s = &own->streamed[i];
        if (s->from != n->m->node_id || s->to != handle->peer || s->id != handle->id || s->ended)
            continue;
        s->ended = true;
        if (err == NET_OK && s->came != s->taken)
            check_fail(n->check, "stream %lu from node %u to %016lx ended well after %lu of %lu events", handle->id,
                       n->m->number, handle->peer, s->came, s->taken);
    }
    if (n->chained.on_stream_end)
        n->chained.on_stream_end(n->chained.ctx, face, handle, err);
}

/* ---- the others go through ---- */

static void on_start(void *ctx, struct netmesh_shard *face, unsigned index)
{
    struct check_node *n = ctx;
    n->chained.on_start(n->chained.ctx, face, index);
}

static bool on_turn(void *ctx, struct netmesh_shard *face)
{
    struct check_node *n = ctx;
    return n->chained.on_turn(n->chained.ctx, face);
}

static void on_peer(void *ctx, struct netmesh_shard *face, uint64_t peer, bool connected)
{
    struct check_node *n = ctx;
    n->chained.on_peer(n->chained.ctx, face, peer, connected);
}

void check_hooks_init(struct check *c)
{
    for (unsigned i = 0; i < c->own->node_count; i++) {
        struct check_node *n = &c->own->nodes[i];
        struct netmesh_hooks *h = &n->m->hooks;
        n->chained = *h;
        *h = (struct netmesh_hooks){
            .ctx = n, .on_events = on_events, .on_stream = on_stream, .on_stream_end = on_stream_end};
        h->on_start = n->chained.on_start ? on_start : NULL;
        h->on_turn = n->chained.on_turn ? on_turn : NULL;
        h->on_peer = n->chained.on_peer ? on_peer : NULL;
    }
}

void check_hooks_free(struct check *c)
{
    map_each(&c->own->delivered, slot)
    {
        struct delivered *d = slot->value;
        free(d->times);
        free(d);
    }
    map_deinit(&c->own->delivered);
    free(c->own->streamed);
}
