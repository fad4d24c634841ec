/* A peer follows a log of ours: a place in the log, moved as the stream takes packets. extensions X7.3, X7.5 */
#include <stdlib.h>

#include "shards/channels/follow.h"
#include "shards/transport/fragments.h"
#include "shards/node/mailbox.h"
#include "shards/logs/view.h"

enum { READ_BATCH = 512, AHEAD_MIN = 64, AHEAD_MAX = DATA_EVENTS_MAX, FEED_BYTES = 65536 };
static const uint64_t POSITION_NS = UINT64_C(1000000000), ANSWER_AGAIN_NS = UINT64_C(20000000);

static bool fill(struct stream_source *, struct peer *, struct stream *);
static void ended(struct stream_source *, struct peer *, struct stream *, int why);

/* ---- coming and going ---- */

static struct follower *follower_find(struct peer *p, const struct channel_name *name)
{
    for (struct list *n = p->followers.next; n != &p->followers; n = n->next) {
        struct follower *f = container_of(n, struct follower, in_peer);
        if (channel_name_equal(&f->ask.channel, name))
            return f;
    }
    return NULL;
}

static struct follower *follower_by_number(struct peer *p, uint64_t number)
{
    for (struct list *n = p->followers.next; n != &p->followers; n = n->next) {
        struct follower *f = container_of(n, struct follower, in_peer);
        if (f->ask.number == number)
            return f;
    }
    return NULL;
}

static struct follower *follower_new(struct peer *p, const struct follow_message *ask)
{
    struct follower *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->source = (struct stream_source){fill, ended};
    f->peer = p;
    f->ask = *ask;
    f->answered = true;
    f->tick_at = UINT64_MAX;
    f->ahead = AHEAD_MIN;
    list_init(&f->in_view);
    list_push_back(&p->followers, &f->in_peer);
    p->follower_count++;
    return f;
}

static void follower_free(struct follower *f)
{
    struct log_view *v = f->view;
    list_remove(&f->in_peer);
    f->peer->follower_count--;
    if (f->stream) {
        f->stream->source = NULL;
        stream_reset(f->peer, f->stream, 0);
    }
    if (v) {
        list_remove(&f->in_view);
        view_unused(v);
    }
    free(f);
}

static unsigned owner_of(const struct follower *f)
{
    const struct channel_name *name = &f->ask.channel;
    return log_owner(f->peer->shard->node, channel_hash(name->text, name->len));
}

/* It is over: the owner forgets it too. */
static void leave(struct follower *f)
{
    struct msg_follow m = {f->peer->node_id, f->ask};
    m.m.type = FOLLOW_END;
    mailbox_send(f->peer->shard, owner_of(f), MSG_FOLLOW_END, 0, 0, &m, sizeof m);
    follower_free(f);
}

void followers_free(struct peer *p)
{
    while (!list_empty(&p->followers))
        leave(container_of(list_first(&p->followers), struct follower, in_peer));
}

/* The peer restarted, or ended the stream: it asks again if it wants more. */
static void ended(struct stream_source *source, struct peer *p, struct stream *st, int why)
{
    (void)p, (void)st, (void)why;
    struct follower *f = container_of(source, struct follower, source);
    f->stream = NULL;
    leave(f);
}

/* ---- asking and answering ---- */

static int say(struct peer *p, const struct follow_message *m)
{
    uint8_t bytes[FOLLOW_MESSAGE_MAX];
    size_t len = follow_message_encode(m, bytes);
    return stream_send_message(p, SUBPROTO_FOLLOW, SUBPROTO_FOLLOW, (struct cspan){bytes, len});
}

/* What was refused stays until that was said. */
static void answer(struct follower *f)
{
    struct peer *p = f->peer;
    int err = say(p, &f->answer);
    f->answered = err != NET_ERR_AGAIN;
    f->tick_at = p->shard->now + (f->answered ? POSITION_NS : ANSWER_AGAIN_NS);
    if (f->answered && !f->view)
        follower_free(f);
}

static void refuse(struct follower *f, enum follow_status status)
{
    f->answer = (struct follow_message){.type = FOLLOW_ANSWER, .number = f->ask.number, .status = status};
    answer(f);
}

/* Where there is no place to remember it: if it cannot be said now, the peer asks again. */
static void refuse_at_once(struct peer *p, uint64_t number, enum follow_status status)
{
    struct follow_message m = {.type = FOLLOW_ANSWER, .number = number, .status = status};
    (void)say(p, &m);
}

/* False: no room in the ring to the owner; nothing changed, and the message comes again. */
static bool on_ask(struct peer *p, const struct follow_message *m)
{
    struct shard *s = p->shard;
    struct msg_follow body = {p->node_id, *m};
    struct follower *f = follower_find(p, &m->channel);
    if (f && f->ask.number == m->number)
        return true;
    unsigned owner = log_owner(s->node, channel_hash(m->channel.text, m->channel.len));
    if (mailbox_room(s, owner) < sizeof body)
        return false;
    if (f)
        follower_free(f); /* it asks anew: the owner has it on its list, and may keep it there */
    else if (p->follower_count >= s->config->max_channels_per_peer) {
        COUNT(s, subscribe_channels);
        refuse_at_once(p, m->number, FOLLOW_TOO_MANY_CHANNELS);
        return true;
    }
    if (!follower_new(p, m)) {
        COUNT(s, subscribe_no_memory);
        refuse_at_once(p, m->number, FOLLOW_NOT_NOW);
        return true;
    }
    mailbox_send(s, owner, MSG_FOLLOW, 0, 0, &body, sizeof body);
    return true;
}

static void on_end(struct peer *p, uint64_t number)
{
    struct follower *f = follower_by_number(p, number);
    if (f)
        leave(f);
}

/* The view and the stream of what the owner agreed to. */
static enum follow_status prepare(struct follower *f)
{
    struct peer *p = f->peer;
    const struct channel_name *name = &f->ask.channel;
    struct log_view *v;
    if (f->view)
        return FOLLOW_GRANTED;
    if (stream_open(p, follow_stream_id(f->ask.number), STREAM_RELIABLE, f->ask.window, 1, &f->stream) != NET_OK) {
        f->stream = NULL;
        return FOLLOW_NOT_NOW;
    }
    f->stream->source = &f->source;
    int err = view_open(p->shard, (struct log_key){0, channel_hash(name->text, name->len), 0}, name, &v);
    if (err)
        return err == NET_ERR_EXISTS ? FOLLOW_UNKNOWN_CHANNEL : FOLLOW_NOT_NOW;
    f->view = v;
    list_push_back(&v->followers, &f->in_view);
    return FOLLOW_GRANTED;
}

static void on_agreed(struct follower *f, const struct follow_message *m)
{
    enum follow_status status = prepare(f);
    if (status != FOLLOW_GRANTED) {
        struct msg_follow end = {f->peer->node_id, f->ask};
        mailbox_send(f->peer->shard, owner_of(f), MSG_FOLLOW_END, 0, 0, &end, sizeof end);
        refuse(f, status);
        return;
    }
    f->waiting = m->status == FOLLOW_WAITING;
    f->asked_again = false;
    f->next = m->sequence;
    f->answer = *m;
    f->position_due = true;
    answer(f);
    follower_on_heads(f); /* a log may have come meanwhile */
}

void follow_on_grant(struct shard *s, const struct msg_follow *m)
{
    struct peer *p = peer_find(s, m->node_id);
    struct follower *f = p ? follower_find(p, &m->m.channel) : NULL;
    if (m->m.type == FOLLOW_END) { /* the peer subscribed to what is live */
        if (f && f->view)
            follower_free(f);
        return;
    }
    bool agreed = m->m.status == FOLLOW_GRANTED || m->m.status == FOLLOW_WAITING;
    if (!f || f->ask.number != m->m.number)
        return; /* gone, which the owner was told, or replaced by one that the owner answers too */
    if (agreed) {
        on_agreed(f, &m->m);
    } else if (f->view) { /* what it waited for came, and is not for it */
        f->answer = m->m;
        answer(f);
        follower_free(f);
    } else {
        f->answer = m->m;
        answer(f);
    }
    peer_schedule(p);
}

/* There is a log now. Whoever asked for the latest waited for its first event. */
static void ask_again(struct follower *f)
{
    struct msg_follow m = {f->peer->node_id, f->ask};
    if (m.m.start == FOLLOW_LATEST)
        m.m.start = FOLLOW_EARLIEST;
    f->asked_again = true;
    mailbox_send(f->peer->shard, owner_of(f), MSG_FOLLOW, 0, 0, &m, sizeof m);
}

bool follow_on_control(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    struct wire_frames walk = wire_frames(plaintext, h->event_count);
    struct cspan event;
    if (st->ended)
        return true;
    while (wire_frames_next(&walk, &event)) {
        struct follow_message m;
        if (follow_message_decode(event, &m) != NET_OK)
            COUNT(p->shard, drop_follow);
        else if (m.type == FOLLOW_END)
            on_end(p, m.number);
        else if (m.type == FOLLOW_ANSWER)
            following_on_answer(p, &m);
        else if (!on_ask(p, &m))
            return false;
    }
    stream_consumed(p, st, h->payload_len + (uint32_t)WIRE_OVERHEAD);
    peer_schedule(p);
    return true;
}

/* ---- sending ---- */

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

static bool fill(struct stream_source *source, struct peer *p, struct stream *st)
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

/* ---- what other shards and time bring ---- */

void follower_on_heads(struct follower *f)
{
    if (f->waiting) {
        if (f->view->heads.exists && !f->asked_again)
            ask_again(f);
        return;
    }
    stream_wants_tx(f->peer, f->stream);
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
        f->ahead = went > AHEAD_MIN ? (uint32_t)went : AHEAD_MIN;
    else
        f->ahead = f->ahead * 2 < AHEAD_MAX ? f->ahead * 2 : AHEAD_MAX;
    stream_wants_tx(f->peer, f->stream);
}

uint64_t followers_deadline(const struct peer *p)
{
    uint64_t at = UINT64_MAX;
    if (!peer_usable(p))
        return at;
    for (const struct list *n = p->followers.next; n != &p->followers; n = n->next) {
        const struct follower *f = container_of(n, struct follower, in_peer);
        if (f->tick_at < at)
            at = f->tick_at;
    }
    return at;
}

void followers_tick(struct peer *p, uint64_t now)
{
    if (!peer_usable(p))
        return;
    for (struct list *n = p->followers.next, *next; n != &p->followers; n = next) {
        struct follower *f = container_of(n, struct follower, in_peer);
        next = n->next;
        if (now < f->tick_at)
            continue;
        if (f->broken) { /* the stream ends, and the peer asks for what is left */
            leave(f);
            continue;
        }
        if (!f->answered) {
            answer(f); /* and it may be gone */
            continue;
        }
        f->tick_at = now + POSITION_NS;
        f->position_due = true;
        stream_wants_tx(p, f->stream);
    }
}
