/* What a follower is sent: its place in the log, moved as its stream takes packets. extensions X7.3, X7.5 */
#include "shards/channels/follow.h"
#include "shards/logs/view.h"
#include "shards/transport/fragments.h"

enum { READ_BATCH = 512, AHEAD_MAX = DATA_EVENTS_MAX, FEED_BYTES = 65536 };

static void put_frame_head(struct packet *pk, size_t len)
{
    store_le32(pk->data + pk->len, (uint32_t)len);
    pk->len = (uint16_t)(pk->len + 4);
    pk->count++;
}

/* A record alone. False: no credit, or no block. */
static bool put_record(struct follower *f, const struct follow_record *r)
{
    struct packet *pk = stream_packet(f->peer, f->stream, 4 + FOLLOW_RECORD_SHORT);
    if (!pk)
        return false;
    put_frame_head(pk, FOLLOW_RECORD_SHORT);
    follow_record_encode(r, pk->data + pk->len);
    pk->len = (uint16_t)(pk->len + FOLLOW_RECORD_SHORT);
    pk->subprotocol = SUBPROTO_FOLLOWED;
    stream_commit(f->peer, f->stream, pk);
    return true;
}

static bool put_position(struct follower *f)
{
    const struct log_heads *heads = &f->view->heads;
    struct follow_record r = {.type = FOLLOW_POSITION, .first = heads->first, .next = heads->written};
    f->position_due = !put_record(f, &r);
    return !f->position_due;
}

/* What is not there up to `to`: given up by retention, or never written. */
static bool put_gap(struct follower *f, uint64_t to)
{
    bool trimmed = f->next < f->view->heads.first;
    if (trimmed && to > f->view->heads.first)
        to = f->view->heads.first;
    struct follow_record r = {
        .type = FOLLOW_GAP, .why = trimmed ? FOLLOW_TRIMMED : FOLLOW_HOLE, .first = f->next, .next = to};
    if (!put_record(f, &r))
        return false;
    f->next = to;
    return true;
}

/* How many of the events, which have consecutive sequences, fit a packet of `room` bytes, and how long it becomes. */
static size_t measure(const struct redex_event *e, size_t n, size_t room, uint16_t *runs, size_t *len)
{
    size_t i = 0;
    *len = 4 + FOLLOW_EVENTS_HEAD;
    *runs = 0;
    for (; i < n && i < WIRE_MAX_EVENTS - 1 && e[i].seq == e[0].seq + i; i++) {
        bool run = i == 0 || e[i].ts_ns != e[i - 1].ts_ns;
        size_t more = 4 + e[i].data.len + (run ? FOLLOW_RUN : 0);
        if (more > room - *len)
            break;
        *len += more;
        *runs = (uint16_t)(*runs + run);
    }
    return i;
}

static void put_runs(struct packet *pk, const struct redex_event *e, size_t n)
{
    for (size_t i = 0, from = 0; i < n; i++) {
        if (i + 1 < n && e[i + 1].ts_ns == e[from].ts_ns)
            continue;
        follow_run_encode(e[from].ts_ns, (uint32_t)(i + 1 - from), pk->data + pk->len);
        pk->len = (uint16_t)(pk->len + FOLLOW_RUN);
        from = i + 1;
    }
}

static void put_event(struct packet *pk, const struct redex_event *e)
{
    put_frame_head(pk, e->data.len);
    if (e->data.len)
        memcpy(pk->data + pk->len, e->data.data, e->data.len);
    pk->len = (uint16_t)(pk->len + e->data.len);
}

static void put_head(struct packet *pk, const struct redex_event *e, size_t n, uint16_t runs, bool apart)
{
    put_frame_head(pk, FOLLOW_EVENTS_HEAD + (size_t)runs * FOLLOW_RUN);
    follow_events_encode(e->seq, (uint32_t)n, runs, apart, pk->data + pk->len);
    pk->len = (uint16_t)(pk->len + FOLLOW_EVENTS_HEAD);
    put_runs(pk, e, n);
    pk->subprotocol = SUBPROTO_FOLLOWED;
}

static void sent(struct follower *f, size_t n, uint64_t oldest_ns)
{
    struct peer *p = f->peer;
    uint64_t wall = io_wall(p->shard->io);
    histogram_add_many(&p->shard->metrics.delivered, wall > oldest_ns ? wall - oldest_ns : 0, (uint32_t)n);
    f->next += n;
    COUNT_N(p->shard, tx_events, n);
    p->tx_events += n;
}

/* The event at f->next comes alone in the packets that follow. */
static bool announce(struct follower *f, const struct redex_event *e)
{
    struct packet *pk = stream_packet(f->peer, f->stream, 4 + FOLLOW_EVENTS_HEAD + FOLLOW_RUN);
    if (!pk)
        return false;
    put_head(pk, e, 1, 1, true);
    stream_commit(f->peer, f->stream, pk);
    f->apart = true;
    f->sent.offset = 0;
    return true;
}

/* All of that event goes in one packet. */
static bool put_alone(struct follower *f, const struct redex_event *e)
{
    struct packet *pk = stream_packet(f->peer, f->stream, FRAGMENT_FRAME_HEAD + e->data.len);
    if (!pk)
        return false;
    put_event(pk, e);
    pk->subprotocol = SUBPROTO_FOLLOWED;
    stream_commit(f->peer, f->stream, pk);
    f->apart = false;
    sent(f, 1, e->ts_ns);
    return true;
}

/* The next fragment of that event (X3); `part`: what of it is here. False: no credit, no block, or what is due is not
 * here. */
static bool put_fragment(struct follower *f, const struct redex_event *e, uint32_t total, uint32_t offset)
{
    struct large_event event = {.seq = e->seq, .ts_ns = e->ts_ns, .data = e->data, .offset = offset, .total = total};
    switch (fragments_commit(f->peer, f->stream, SUBPROTO_FOLLOWED, &f->sent, &event)) {
    case FRAGMENTS_ALL:
        f->apart = false;
        sent(f, 1, e->ts_ns);
        return true;
    case FRAGMENTS_SOME:
        return true;
    case FRAGMENTS_READ:
    case FRAGMENTS_NO_CREDIT:
    case FRAGMENTS_NO_BUFFER:
        break;
    }
    return false;
}

/* An event that leaves no room for a record in its packet; `part`: what of it is here. */
static bool put_apart(struct follower *f, const struct redex_event *e, const struct log_part *part)
{
    struct peer *p = f->peer;
    uint32_t total = part->total ? part->total : (uint32_t)e->data.len;
    bool alone = FRAGMENT_FRAME_HEAD + total <= p->plaintext_whole;
    if (f->apart)
        return alone && !f->sent.offset ? put_alone(f, e) : put_fragment(f, e, total, part->offset);
    if (alone || fragments_on(p))
        return announce(f, e);
    if (!put_gap(f, f->next + 1))
        return false;
    COUNT(p->shard, drop_oversize);
    return true;
}

/* One packet of the events from f->next on. False: no credit, no block, or it is not here. */
static bool put_events(struct follower *f, const struct redex_event *e, size_t n, const struct log_part *part)
{
    struct peer *p = f->peer;
    size_t room = p->plaintext_path, len;
    uint16_t runs;
    size_t count = f->apart || part->total ? 0 : measure(e, n, room, &runs, &len);
    if (count == 0 && !f->apart && !part->total)
        count = measure(e, 1, p->plaintext_whole, &runs, &len);
    if (count == 0)
        return put_apart(f, e, part);
    struct packet *pk = stream_packet(p, f->stream, len > room ? len : room);
    if (!pk)
        return false;
    put_head(pk, e, count, runs, false);
    for (size_t i = 0; i < count; i++)
        put_event(pk, &e[i]);
    sent(f, count, e[0].ts_ns);
    stream_commit(p, f->stream, pk);
    return true;
}

/* The event that was announced comes no more, and nothing else may come in its place: the follow ends. */
static bool announced_is_gone(struct follower *f)
{
    if (!f->apart || f->next >= f->view->heads.first)
        return false;
    f->broken = true;
    f->tick_at = f->peer->shard->now;
    return true;
}

bool follower_fill(struct stream_source *source, struct peer *p, struct stream *st)
{
    struct follower *f = container_of(source, struct follower, source);
    struct log_view *v = f->view;
    (void)p, (void)st;
    if (v->log)
        log_heads(v->log, &v->heads);
    if (announced_is_gone(f))
        return false;
    if (f->position_due && !f->apart)
        return put_position(f);
    if (f->waiting || f->next >= v->heads.written)
        return false;
    if (f->next < v->heads.first)
        return put_gap(f, v->heads.first);
    if (!v->log) { /* the owner sends it, and follower_feed() goes on */
        uint64_t left = v->heads.written - f->next;
        view_read(v, f->next, f->next + (left < f->ahead ? left : f->ahead), f->sent.offset);
        return false;
    }
    struct redex_event events[READ_BATCH];
    uint64_t next = f->next;
    size_t n = log_read(v->log, &next, v->heads.written, events, READ_BATCH);
    if (n > 0 && events[0].seq == f->next)
        return put_events(f, events, n, &(struct log_part){0});
    return put_gap(f, n > 0 ? events[0].seq : next);
}

/* Not more than a share at once: what is not sent stays in the log, where it costs nothing. */
void follower_feed(struct follower *f, const struct redex_event *e, size_t n, const struct log_part *part,
                   uint64_t next)
{
    uint64_t from = f->next;
    size_t bytes = 0;
    if (announced_is_gone(f)) {
        peer_schedule(f->peer);
        return;
    }
    while (n > 0 && (bytes < FEED_BYTES || part->total)) {
        if (!(e->seq == f->next ? put_events(f, e, n, part) : put_gap(f, e->seq)))
            break;
        for (; n > 0 && e->seq < f->next; e++, n--)
            bytes += e->data.len + 4;
    }
    if (n == 0 && f->next < next)
        put_gap(f, next);
    uint64_t went = f->next - from; /* as many are asked for at once as went at once */
    if (n > 0)
        f->ahead = went > FOLLOWER_AHEAD_MIN ? (uint32_t)went : FOLLOWER_AHEAD_MIN;
    else
        f->ahead = f->ahead * 2 < AHEAD_MAX ? f->ahead * 2 : AHEAD_MAX;
    stream_wants_tx(f->peer, f->stream);
}
