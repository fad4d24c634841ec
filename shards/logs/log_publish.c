/* The owner's side of a publish: append, or wait for room; answer when it is stored as far as the publisher wants. */
#include <assert.h>
#include <stdlib.h>

#include "shards/channels/append.h"
#include "shards/node/mailbox.h"

struct pending_publish { /* appended, not yet stored as far as the publisher wants it */
    struct list link;
    uint64_t end_seq, first_seq, bytes;
    uint64_t at; /* monotonic ns of the append */
    uint32_t publisher, count;
    bool durable;
};

struct owner_publisher { /* a publisher as the owner of its channel sees it */
    uint32_t id;
    bool durable;
    struct log *log;
    struct list waiting; /* copies of what found no room: bounded by the publisher's window */
    struct list link;    /* in log->publishers while waiting is not empty */
};

struct waiting_publish { /* found no room; bounded by the publisher's window */
    struct list link;
    struct msg_publish m;
    size_t len;
    uint8_t frames[];
};

static void answer(struct shard *s, uint32_t publisher, uint32_t count, uint64_t first, uint64_t bytes, int err)
{
    struct msg_published m = {publisher, count, first, bytes, err, false};
    if (err)
        metrics_publish_failed(s, err);
    mailbox_send(s, 0, MSG_PUBLISHED, 0, 0, &m, sizeof m);
}

/* Why there is no answer yet: the reason to give if the publisher's patience ends first. Said again at every attempt.
 */
static void tell_delay(struct shard *s, const struct list *pending, int err)
{
    for (const struct list *n = pending->next; n != pending; n = n->next) {
        struct msg_published m = {
            .publisher = container_of(n, struct pending_publish, link)->publisher, .err = err, .delayed = true};
        if (!mailbox_try(s, 0, MSG_PUBLISHED, 0, 0, &m, sizeof m, NULL, 0))
            return;
    }
}

bool log_stored(const struct log *log, uint64_t end, bool durable)
{
    if (log->kind != LOG_DISK)
        return true;
    return (durable ? redex_synced_seq(log->redex) : redex_written_seq(log->redex)) >= end;
}

/* Records of what is under way are kept for the next publish: a steady publisher allocates nothing. */
static struct pending_publish *pending_get(struct shard *s)
{
    struct list *spare = list_pop(&s->spare_pending);
    return spare ? container_of(spare, struct pending_publish, link) : malloc(sizeof(struct pending_publish));
}

static void pending_put(struct shard *s, struct pending_publish *p)
{
    list_push_back(&s->spare_pending, &p->link);
}

static void count_stored(struct shard *s, const struct pending_publish *p)
{
    uint64_t ns = s->now - p->at;
    histogram_add_many(p->durable ? &s->metrics.stored_synced : &s->metrics.stored_written, ns, p->count);
}

static void answer_stored(struct log *log, struct list *pending)
{
    struct list *n;
    while ((n = list_first(pending))) {
        struct pending_publish *p = container_of(n, struct pending_publish, link);
        int err = log_fault(log);
        bool done = log_stored(log, p->end_seq, p->durable);
        /* A write that failed is tried again; only what can never be stored is answered with the error. */
        if (!done && err != NET_ERR_POISONED && !log->closing) {
            if (err)
                tell_delay(log->shard, pending, err);
            return;
        }
        if (done && log->kind == LOG_DISK)
            count_stored(log->shard, p);
        answer(log->shard, p->publisher, p->count, p->first_seq, p->bytes, done ? NET_OK : err ? err : NET_ERR_CLOSED);
        list_remove(n);
        pending_put(log->shard, p);
    }
}

/* 0, NET_ERR_AGAIN (not taken) or another error (answered). */
static int append(struct owner_publisher *op, const struct msg_publish *m, struct cspan frames)
{
    struct log *log = op->log;
    bool durable = op->durable || log->fsync_each;
    struct shard *s = log->shard;
    uint64_t first, bytes = frames.len - 4 * (uint64_t)m->count;
    struct pending_publish *p = pending_get(s);
    int err = p ? log_append(log, frames, m->count, &first) : NET_ERR_NO_MEMORY;
    if (err) {
        if (p)
            pending_put(s, p);
        if (err == NET_ERR_AGAIN)
            return err;
        answer(s, m->publisher, m->count, 0, 0, err);
        return err;
    }
    COUNT_N(s, published_events, m->count);
    COUNT_N(s, published_bytes, bytes);
    *p = (struct pending_publish){
        .end_seq = first + m->count,
        .first_seq = first,
        .bytes = bytes,
        .at = s->now,
        .publisher = m->publisher,
        .count = m->count,
        .durable = durable,
    };
    list_init(&p->link);
    list_push_back(durable ? &log->pending_durable : &log->pending, &p->link);
    if (durable && log->kind == LOG_DISK)
        redex_want_sync(log->redex, p->end_seq);
    if (log->kind != LOG_DISK)
        answer_stored(log, durable ? &log->pending_durable : &log->pending);
    return NET_OK;
}

void log_on_hook_publish(struct log *log, uint64_t first, uint32_t count)
{
    if (log->kind != LOG_DISK)
        return;
    struct log_mark *newest = &log->marks[(log->mark_first + log->mark_count - 1) % LOG_MARKS];
    if (log->mark_count && (newest->at == log->shard->now || log->mark_count == LOG_MARKS)) {
        newest->end_seq = first + count;
        newest->count += count;
        return;
    }
    log->marks[(log->mark_first + log->mark_count++) % LOG_MARKS] =
        (struct log_mark){first + count, log->shard->now, count};
}

static void count_marks(struct log *log)
{
    struct shard *s = log->shard;
    while (log->mark_count && log->marks[log->mark_first].end_seq <= redex_written_seq(log->redex)) {
        const struct log_mark *m = &log->marks[log->mark_first];
        histogram_add_many(&s->metrics.stored_written, s->now - m->at, m->count);
        log->mark_first = (log->mark_first + 1) % LOG_MARKS;
        log->mark_count--;
    }
}

static void wait_for_room(struct owner_publisher *op, const struct msg_publish *m, struct cspan frames)
{
    struct waiting_publish *w = malloc(sizeof *w + frames.len);
    if (!w) {
        answer(op->log->shard, m->publisher, m->count, 0, 0, NET_ERR_NO_MEMORY);
        return;
    }
    w->m = *m;
    w->len = frames.len;
    memcpy(w->frames, frames.data, frames.len);
    list_push_back(&op->waiting, &w->link);
    if (!list_linked(&op->link))
        list_push_back(&op->log->publishers, &op->link);
    if (op->log->kind == LOG_NONE)
        log_starve(op->log);
    COUNT(op->log->shard, publish_refused);
}

void log_on_publish(struct shard *s, const struct msg_publish *m, struct cspan frames)
{
    struct owner_publisher *op = map_get(&s->owner_publishers, m->publisher);
    if (!op)
        return; /* refused at its opening, and answered then */
    if (!list_empty(&op->waiting) || append(op, m, frames) == NET_ERR_AGAIN)
        wait_for_room(op, m, frames);
}

/* False: still no room. */
static bool retry(struct owner_publisher *op)
{
    struct list *n;
    while ((n = list_first(&op->waiting))) {
        struct waiting_publish *w = container_of(n, struct waiting_publish, link);
        if (append(op, &w->m, (struct cspan){w->frames, w->len}) == NET_ERR_AGAIN)
            return false;
        list_remove(n);
        free(w);
    }
    return true;
}

void log_append_waiting(struct log *log)
{
    struct list *n;
    while ((n = list_first(&log->publishers))) {
        struct owner_publisher *op = container_of(n, struct owner_publisher, link);
        if (!retry(op))
            return;
        list_remove(n);
    }
}

void log_on_progress(struct log *log)
{
    if (!log->open)
        return;
    log_on_error(log, log_fault(log));
    count_marks(log);
    answer_stored(log, &log->pending);
    answer_stored(log, &log->pending_durable);
    log_append_waiting(log);
    append_on_progress(log);
    log_follow_store(log);
    log_return_credit(log);
    log_mark_grown(log); /* `written` moved */
}

static void publisher_free(struct shard *s, struct owner_publisher *op)
{
    struct list *n;
    while ((n = list_pop(&op->waiting)))
        free(container_of(n, struct waiting_publish, link));
    if (list_linked(&op->link))
        list_remove(&op->link);
    map_remove(&s->owner_publishers, op->id);
    free(op);
}

/* aux of MSG_PUBLISH_OPEN: a publisher begins. An empty channel name: it ends. */
void log_on_publish_open(struct shard *s, const struct msg_publish_open *m)
{
    struct owner_publisher *op = map_get(&s->owner_publishers, m->publisher);
    if (m->channel.len == 0) {
        if (op)
            publisher_free(s, op);
        return;
    }
    struct log *log;
    int err = log_open(s, (struct log_key){0, channel_hash(m->channel.text, m->channel.len), 0}, &m->channel, &log);
    if (err == NET_OK && !(op = calloc(1, sizeof *op)))
        err = NET_ERR_NO_MEMORY;
    if (err == NET_OK && (err = map_put(&s->owner_publishers, m->publisher, op)) != NET_OK)
        free(op);
    if (err) {
        answer(s, m->publisher, 0, 0, 0, err);
        return;
    }
    *op = (struct owner_publisher){.id = m->publisher, .durable = m->durable, .log = log};
    list_init(&op->waiting);
    list_init(&op->link);
}

void log_publishers_free(struct shard *s)
{
    while (s->owner_publishers.count) {
        struct owner_publisher *any = NULL;
        map_each(&s->owner_publishers, slot) any = slot->value;
        assert(any);
        publisher_free(s, any);
    }
    for (struct list *n = s->log_list.next; n != &s->log_list; n = n->next) {
        struct log *log = container_of(n, struct log, in_shard);
        struct list *p;
        while ((p = list_pop(&log->pending)) || (p = list_pop(&log->pending_durable)))
            pending_put(s, container_of(p, struct pending_publish, link));
    }
    struct list *spare;
    while ((spare = list_pop(&s->spare_pending)))
        free(container_of(spare, struct pending_publish, link));
}
