/* Appends of a peer's producers, on its home shard: handed to the channel's owner, whose answers go back. */
#include <stdlib.h>

#include "core/channel/append.h"
#include "shards/channels/append.h"
#include "shards/channels/append_stream.h"
#include "shards/node/mailbox.h"

/* Credit of a request comes back when its answer has its place in a packet: nobody fills `replies` beyond the window.
 */
struct reply {
    struct list link;
    uint32_t credit;
    uint8_t bytes[APPEND_ANSWER_SIZE];
};

struct append_taker {
    struct append_stream out;
    struct list replies;
    uint32_t generation; /* of the peer's stream of requests: credit of one that ended is void */
};

static void give_credit(struct append_taker *t, uint32_t credit)
{
    struct stream *st = stream_find(t->out.peer, SUBPROTO_APPEND);
    if (st && credit)
        stream_consumed(t->out.peer, st, credit);
}

static bool fill(struct stream_source *source, struct peer *p, struct stream *st)
{
    struct append_taker *t = container_of(source, struct append_taker, out.source);
    struct list *n = list_first(&t->replies);
    (void)st;
    if (!n)
        return false;
    struct reply *r = container_of(n, struct reply, link);
    if (stream_send_message(p, t->out.id, t->out.id, (struct cspan){r->bytes, sizeof r->bytes}) != NET_OK)
        return false;
    list_remove(n);
    give_credit(t, r->credit);
    free(r);
    return true;
}

static void on_ended(struct stream_source *source, struct peer *p, struct stream *st, int why)
{
    struct append_taker *t = container_of(source, struct append_taker, out.source);
    (void)p;
    (void)st;
    (void)why;
    if (!list_empty(&t->replies))
        append_stream_retry(&t->out);
}

static struct append_taker *taker_get(struct peer *p)
{
    if (!p->append_taker && (p->append_taker = calloc(1, sizeof *p->append_taker))) {
        append_stream_init(&p->append_taker->out, p, SUBPROTO_APPEND_ANSWER, fill, on_ended);
        list_init(&p->append_taker->replies);
    }
    return p->append_taker;
}

static void reply(struct append_taker *t, const struct append_answer *a, uint32_t credit)
{
    struct reply *r = malloc(sizeof *r);
    if (!r) { /* asked again, it is known */
        COUNT(t->out.peer->shard, drop_no_memory);
        give_credit(t, credit);
        return;
    }
    r->credit = credit;
    append_answer_encode(a, r->bytes);
    list_init(&r->link);
    list_push_back(&t->replies, &r->link);
    append_stream_kick(&t->out);
}

void append_on_appended(struct shard *s, const struct msg_appended *m)
{
    struct peer *p = peer_find(s, m->node_id);
    if (!p || !p->append_taker || p->append_taker->generation != m->generation)
        return; /* it restarted, and will ask again */
    if (m->answered)
        reply(p->append_taker, &m->answer, m->credit);
    else
        give_credit(p->append_taker, m->credit);
}

static void refuse(struct append_taker *t, const struct append *a, enum append_status status, uint32_t credit)
{
    struct append_answer answer = {.sequence = a->sequence,
                                   .channel_hash = channel_hash(a->channel.text, a->channel.len),
                                   .status = (uint8_t)status};
    memcpy(answer.producer, a->producer, PRODUCER_ID_SIZE);
    reply(t, &answer, credit);
}

/* To the owner on another shard; what is large by reference. False: no room. */
static bool pass(struct shard *s, unsigned owner, const struct msg_append *m, struct cspan frames)
{
    if (frames.len <= MAILBOX_COPIED)
        return mailbox_try(s, owner, MSG_APPEND, 0, 0, m, sizeof *m, frames.data, frames.len);
    uint8_t *copy = malloc(frames.len);
    if (!copy)
        return false;
    memcpy(copy, frames.data, frames.len);
    bool passed = mailbox_give(s, owner, MSG_APPEND, 0, m, sizeof *m, copy, frames.len);
    if (!passed)
        free(copy);
    return passed;
}

/* A batch of ordinary size, or one event within the limit. */
static bool admissible(const struct config *c, const struct append *a)
{
    return a->frames.len <= MAILBOX_COPIED || (a->count == 1 && a->frames.len <= 4 + (size_t)c->event_bytes);
}

/* False: no room in the ring to the owner. */
static bool hand_over(struct append_taker *t, const struct append *a, uint32_t credit)
{
    struct peer *p = t->out.peer;
    struct shard *s = p->shard;
    if (!config_channel(s->config, a->channel.text)->append) {
        refuse(t, a, APPEND_REFUSED, credit);
        return true;
    }
    struct msg_append m = {.node_id = p->node_id,
                           .sequence = a->sequence,
                           .generation = t->generation,
                           .credit = credit,
                           .count = a->count,
                           .durable = a->durable,
                           .channel = a->channel};
    memcpy(m.producer, a->producer, PRODUCER_ID_SIZE);
    unsigned owner = log_owner(s->node, channel_hash(a->channel.text, a->channel.len));
    if (!admissible(s->config, a)) {
        refuse(t, a, APPEND_TOO_LARGE, credit);
        return true;
    }
    if (owner != s->index)
        return pass(s, owner, &m, a->frames);
    append_on_message(s, s->index, &m, a->frames);
    return true;
}

bool append_on_requests(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    struct append_taker *t = taker_get(p);
    uint32_t credit = h->payload_len + (uint32_t)WIRE_OVERHEAD;
    struct wire_frames walk = wire_frames(plaintext, h->event_count);
    struct cspan event;
    struct append a;
    if (!t)
        return st->ended; /* no memory: offered again */
    if (st->ended) {
        struct list *n;
        t->generation++;
        while ((n = list_pop(&t->replies)))
            free(container_of(n, struct reply, link));
        return true;
    }
    /* We put one into each packet; of more that a peer may send, those before one that finds no room are asked again,
     * and known. */
    while (wire_frames_next(&walk, &event)) {
        if (append_decode(event, &a) != NET_OK || !(p->features & FEATURE_APPEND)) {
            COUNT(p->shard, drop_append);
        } else if (hand_over(t, &a, credit)) {
            COUNT(p->shard, appends_received);
            credit = 0;
        } else {
            return false;
        }
    }
    give_credit(t, credit);
    return true;
}

void append_taker_on_session(struct peer *p)
{
    if (p->append_taker && !list_empty(&p->append_taker->replies))
        append_stream_kick(&p->append_taker->out);
}

void append_taker_free(struct peer *p)
{
    struct append_taker *t = p->append_taker;
    struct list *n;
    if (!t)
        return;
    while ((n = list_pop(&t->replies)))
        free(container_of(n, struct reply, link));
    append_stream_deinit(&t->out);
    free(t);
    p->append_taker = NULL;
}
