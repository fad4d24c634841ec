/* A peer follows a log of ours: asking and answering, and how a follow comes to an end. extensions X7.2 */
#include <stdlib.h>

#include "shards/channels/follow.h"
#include "shards/node/mailbox.h"
#include "shards/logs/view.h"

static const uint64_t POSITION_NS = UINT64_C(1000000000), ANSWER_AGAIN_NS = UINT64_C(20000000);

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
    f->source = (struct stream_source){follower_fill, ended};
    f->peer = p;
    f->ask = *ask;
    f->answered = true;
    f->tick_at = UINT64_MAX;
    f->ahead = FOLLOWER_AHEAD_MIN;
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
