/* Appends of this node's publishers at a peer, on its home shard: sent, sent again when it lost its state, answered. */
#include <stdlib.h>

#include "core/channel/append.h"
#include "shards/channels/append.h"
#include "shards/channels/append_stream.h"
#include "shards/node/mailbox.h"

struct pending { /* an append without an answer; a publisher's window bounds them */
    struct list link;
    uint64_t hash, sequence;
    uint32_t publisher, count;
    uint64_t bytes; /* of payload */
    uint8_t producer[PRODUCER_ID_SIZE];
    size_t len;
    uint8_t message[]; /* APPEND, encoded */
};

struct append_producer {
    struct append_stream out;
    struct list sent, unsent; /* in the order of their submission */
};

static void answer(struct shard *s, uint32_t publisher, uint32_t count, uint64_t first, uint64_t bytes, int err)
{
    struct msg_published m = {publisher, count, first, bytes, err, false};
    if (err)
        metrics_publish_failed(s, err);
    mailbox_send(s, 0, MSG_PUBLISHED, 0, 0, &m, sizeof m);
}

static void settle(struct shard *s, struct pending *a, uint64_t first, int err)
{
    answer(s, a->publisher, a->count, err ? 0 : first, a->bytes, err);
    list_remove(&a->link);
    free(a);
}

/* One message; those that no packet to this peer can carry are refused. */
static bool fill(struct stream_source *source, struct peer *p, struct stream *st)
{
    struct append_producer *ap = container_of(source, struct append_producer, out.source);
    struct list *n;
    (void)st;
    while ((n = list_first(&ap->unsent))) {
        struct pending *a = container_of(n, struct pending, link);
        int err = stream_send_message(p, ap->out.id, ap->out.id, (struct cspan){a->message, a->len});
        if (err == NET_OK) {
            COUNT(p->shard, appends_sent);
            list_remove(n);
            list_push_back(&ap->sent, n);
            return true;
        }
        if (err != NET_ERR_TOO_LARGE)
            return false;
        settle(p->shard, a, 0, err);
    }
    return false;
}

/* Whether it took those without an answer nobody knows: they are asked again, and it appends nothing twice. */
static void send_again(struct append_producer *ap)
{
    struct list *n;
    while (!list_empty(&ap->sent)) {
        n = ap->sent.prev;
        list_remove(n);
        list_push_back(ap->unsent.next, n);
    }
    if (!list_empty(&ap->unsent))
        append_stream_retry(&ap->out);
}

static void on_ended(struct stream_source *source, struct peer *p, struct stream *st, int why)
{
    (void)p;
    (void)st;
    (void)why;
    send_again(container_of(source, struct append_producer, out.source));
}

static struct append_producer *producer_get(struct peer *p)
{
    if (!p->append_producer && (p->append_producer = calloc(1, sizeof *p->append_producer))) {
        append_stream_init(&p->append_producer->out, p, SUBPROTO_APPEND, fill, on_ended);
        list_init(&p->append_producer->sent);
        list_init(&p->append_producer->unsent);
    }
    return p->append_producer;
}

static struct pending *encode(const struct msg_append_submit *m, struct cspan frames)
{
    size_t len = APPEND_HEAD + (size_t)m->channel.len + frames.len;
    struct pending *a = malloc(sizeof *a + len);
    if (!a)
        return NULL;
    *a = (struct pending){.hash = channel_hash(m->channel.text, m->channel.len),
                          .sequence = m->sequence,
                          .publisher = m->publisher,
                          .count = m->count,
                          .bytes = frames.len - 4 * (uint64_t)m->count,
                          .len = len};
    memcpy(a->producer, m->producer, PRODUCER_ID_SIZE);
    struct append message = {
        .durable = m->durable, .count = m->count, .sequence = m->sequence, .channel = m->channel, .frames = frames};
    memcpy(message.producer, m->producer, PRODUCER_ID_SIZE);
    append_encode(&message, a->message, len);
    list_init(&a->link);
    return a;
}

void append_on_submit(struct shard *s, const struct msg_append_submit *m, struct cspan frames)
{
    struct peer *p = peer_find(s, m->node_id);
    int err = !p ? NET_ERR_UNREACHABLE : p->features & FEATURE_APPEND ? NET_OK : NET_ERR_UNSUPPORTED;
    struct append_producer *ap = err ? NULL : producer_get(p);
    struct pending *a = ap ? encode(m, frames) : NULL;
    if (!err && !a)
        err = NET_ERR_NO_MEMORY;
    if (err) {
        answer(s, m->publisher, m->count, 0, 0, err);
        return;
    }
    list_push_back(&ap->unsent, &a->link);
    append_stream_kick(&ap->out);
}

static void cancel_in(struct list *all, uint32_t publisher)
{
    for (struct list *n = all->next, *next; n != all; n = next) {
        struct pending *a = container_of(n, struct pending, link);
        next = n->next;
        if (a->publisher != publisher)
            continue;
        list_remove(n);
        free(a);
    }
}

void append_on_cancel(struct shard *s, const struct msg_append_cancel *m)
{
    struct peer *p = peer_find(s, m->node_id);
    if (!p || !p->append_producer)
        return;
    cancel_in(&p->append_producer->sent, m->publisher);
    cancel_in(&p->append_producer->unsent, m->publisher);
}

/* Several publishers may use one producer, and ask for one sequence: each gets the answer. */
static void on_answer(struct peer *p, const struct append_answer *got)
{
    struct append_producer *ap = p->append_producer;
    bool known = false;
    for (struct list *n = ap ? ap->sent.next : NULL, *next; n && n != &ap->sent; n = next) {
        struct pending *a = container_of(n, struct pending, link);
        next = n->next;
        if (a->sequence != got->sequence || a->hash != got->channel_hash ||
            memcmp(a->producer, got->producer, PRODUCER_ID_SIZE) != 0)
            continue;
        int err = append_status_err(got->status);
        settle(p->shard, a, got->first_seq, !err && got->count != a->count ? NET_ERR_FORMAT : err);
        known = true;
        break;
    }
    if (!known)
        COUNT(p->shard, append_answers_late); /* of an append that was given up, or asked twice */
}

bool append_on_answers(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    struct wire_frames walk = wire_frames(plaintext, h->event_count);
    struct cspan event;
    if (st->ended) {
        if (p->append_producer)
            send_again(p->append_producer);
        return true;
    }
    while (wire_frames_next(&walk, &event)) {
        struct append_answer got;
        if (append_answer_decode(event, &got) == NET_OK)
            on_answer(p, &got);
        else
            COUNT(p->shard, drop_append_answer);
    }
    stream_consumed(p, st, h->payload_len + (uint32_t)WIRE_OVERHEAD);
    return true;
}

void append_producer_on_session(struct peer *p)
{
    if (p->append_producer && !list_empty(&p->append_producer->unsent))
        append_stream_kick(&p->append_producer->out);
}

void append_producer_free(struct peer *p)
{
    struct append_producer *ap = p->append_producer;
    struct list *n;
    if (!ap)
        return;
    while ((n = list_first(&ap->sent)) || (n = list_first(&ap->unsent)))
        settle(p->shard, container_of(n, struct pending, link), 0, NET_ERR_UNREACHABLE);
    append_stream_deinit(&ap->out);
    free(ap);
    p->append_producer = NULL;
}
