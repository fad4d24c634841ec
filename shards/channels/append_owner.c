/* The owner's side of an append: is it new, append it, answer when it is stored; and what found no room waits. */
#include <assert.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/base/text.h"
#include "core/channel/append.h"
#include "shards/channels/append.h"
#include "shards/node/mailbox.h"
#include "storage/producers/producers.h"

_Static_assert((int)PRODUCER_ID_SIZE == (int)PRODUCERS_ID_SIZE, "one id");
_Static_assert((int)APPEND_REMEMBERED == (int)PRODUCERS_ANSWERS, "one number");

struct waiting_append { /* found no room; the window of its peer's stream bounds them */
    struct list link;
    struct msg_append m;
    unsigned home;
    size_t len;
    uint8_t frames[];
};

struct pending_append { /* in the log, not yet stored as far as the producer wants it */
    struct list link;
    struct msg_appended m;
    unsigned home;
    uint64_t end_seq, number;
};

static struct pending_append *pending_get(struct shard *s)
{
    struct list *spare = list_pop(&s->spare_appends);
    return spare ? container_of(spare, struct pending_append, link) : malloc(sizeof(struct pending_append));
}

static void pending_put(struct shard *s, struct pending_append *a)
{
    list_push_back(&s->spare_appends, &a->link);
}

static struct msg_appended reply_to(const struct msg_append *m, enum append_status status)
{
    struct msg_appended reply = {
        .node_id = m->node_id,
        .generation = m->generation,
        .credit = m->credit,
        .answered = true,
        .answer = {.sequence = m->sequence,
                   .channel_hash = channel_hash(m->channel.text, m->channel.len),
                   .status = (uint8_t)status},
    };
    memcpy(reply.answer.producer, m->producer, PRODUCER_ID_SIZE);
    return reply;
}

static void send_back(struct shard *s, unsigned home, const struct msg_appended *m)
{
    if (home == s->index)
        append_on_appended(s, m);
    else
        mailbox_send(s, home, MSG_APPENDED, 0, 0, m, sizeof *m);
}

static void refuse(struct shard *s, unsigned home, const struct msg_append *m, enum append_status status)
{
    struct msg_appended reply = reply_to(m, status);
    COUNT(s, appends_refused);
    send_back(s, home, &reply);
}

/* Nothing is said: this node ends, and will be asked again. */
static void give_credit_back(struct shard *s, unsigned home, const struct msg_append *m)
{
    struct msg_appended reply = reply_to(m, APPEND_STORED);
    reply.answered = false;
    send_back(s, home, &reply);
}

/* ---- the log's producers ---- */

static void on_producers(void *ctx, struct producers *p)
{
    struct log *log = ctx;
    (void)p;
    log->shard->now = io_now(log->shard->io); /* completions come before the turn */
    log_on_progress(log);
}

int append_open(struct log *log)
{
    struct shard *s = log->shard;
    char base[CONFIG_PATH_MAX + 64], root[CONFIG_PATH_MAX + 512];
    log_directory(s->node, log->key, base, sizeof base);
    text_format(root, sizeof root, "%s/%s", base, log->name.text);
    struct producers_options options = {.root = log->kind == LOG_DISK ? root : NULL,
                                        .max = s->config->max_producers,
                                        .age_ns = s->config->producer_age_ns,
                                        .dirty = &s->dirty_producers,
                                        .timers = &s->timers,
                                        .syncs = &s->redex_syncs,
                                        .stats = &s->redex_stats,
                                        .progress = on_producers,
                                        .ctx = log};
    return producers_open(&log->producers, s->io, &options);
}

/* ---- answers ---- */

static bool is_stored(const struct log *log, const struct pending_append *a, bool durable)
{
    uint64_t intents = durable ? producers_synced(log->producers) : producers_stored(log->producers);
    return log_stored(log, a->end_seq, durable) && intents > a->number;
}

static void answer_stored(struct log *log, struct list *pending, bool durable)
{
    struct list *n;
    while ((n = list_first(pending))) {
        struct pending_append *a = container_of(n, struct pending_append, link);
        if (!is_stored(log, a, durable)) {
            if (log_fault(log) != NET_ERR_POISONED)
                return; /* a write that failed is tried again */
            a->m.answer.status = APPEND_POISONED;
            a->m.answer.first_seq = a->m.answer.count = 0;
            COUNT(log->shard, appends_refused);
        }
        list_remove(n);
        send_back(log->shard, a->home, &a->m);
        pending_put(log->shard, a);
    }
}

static void await(struct log *log, struct pending_append *a, unsigned home, const struct msg_append *m,
                  struct producers_answer where)
{
    bool durable = m->durable || log->fsync_each;
    *a = (struct pending_append){
        .m = reply_to(m, APPEND_STORED), .home = home, .end_seq = where.first_seq + m->count, .number = where.number};
    a->m.answer.first_seq = where.first_seq;
    a->m.answer.count = m->count;
    list_init(&a->link);
    list_push_back(durable ? &log->appends_durable : &log->appends, &a->link);
    if (durable && log->kind == LOG_DISK) {
        producers_want_sync(log->producers, where.number);
        redex_want_sync(log->redex, a->end_seq);
    }
    answer_stored(log, durable ? &log->appends_durable : &log->appends, durable);
}

/* ---- appending ---- */

static enum append_status status_of(enum producers_verdict verdict)
{
    switch (verdict) {
    case PRODUCERS_TOO_OLD:
        return APPEND_TOO_OLD;
    case PRODUCERS_GAP:
        return APPEND_GAP;
    case PRODUCERS_CONFLICT:
        return APPEND_CONFLICT;
    case PRODUCERS_FULL:
        return APPEND_LIMIT;
    default:
        return APPEND_NO_MEMORY;
    }
}

static int append_new(struct log *log, unsigned home, const struct msg_append *m, const struct producers_append *pa,
                      struct cspan frames, struct pending_append *pending)
{
    struct shard *s = log->shard;
    struct producers_answer where;
    int err = log_append(log, frames, m->count, &where.first_seq);
    if (err)
        return err;
    COUNT_N(s, published_events, m->count);
    COUNT_N(s, published_bytes, frames.len - 4 * (uint64_t)m->count);
    where.number = producers_note(log->producers, pa, where.first_seq, m->durable || log->fsync_each);
    await(log, pending, home, m, where);
    return NET_OK;
}

/* 0, or NET_ERR_AGAIN: there is no room now. Anything else is answered. */
static int take(struct log *log, unsigned home, const struct msg_append *m, struct cspan frames)
{
    struct shard *s = log->shard;
    struct producers_append pa = {
        .sequence = m->sequence, .sum = XXH3_64bits(frames.data, frames.len), .count = m->count};
    struct producers_answer where;
    memcpy(pa.id, m->producer, PRODUCER_ID_SIZE);
    if (!log->open || log->closing) {
        give_credit_back(s, home, m);
        return NET_OK;
    }
    struct pending_append *pending = pending_get(s);
    enum producers_verdict verdict = pending ? producers_look(log->producers, &pa, &where) : PRODUCERS_NO_MEMORY;
    int err = NET_OK;
    if (verdict == PRODUCERS_KNOWN) {
        COUNT(s, appends_repeated);
        await(log, pending, home, m, where);
        return NET_OK;
    }
    if (verdict == PRODUCERS_NEW)
        err = append_new(log, home, m, &pa, frames, pending);
    if (verdict == PRODUCERS_NEW && !err)
        return NET_OK;
    if (pending)
        pending_put(s, pending);
    if (err != NET_ERR_AGAIN)
        refuse(s, home, m, err ? append_status_of(err) : status_of(verdict));
    return err == NET_ERR_AGAIN ? err : NET_OK;
}

static void wait_for_room(struct log *log, unsigned home, const struct msg_append *m, struct cspan frames)
{
    struct waiting_append *w = malloc(sizeof *w + frames.len);
    if (!w) {
        refuse(log->shard, home, m, APPEND_NO_MEMORY);
        return;
    }
    w->m = *m;
    w->home = home;
    w->len = frames.len;
    if (frames.len)
        memcpy(w->frames, frames.data, frames.len);
    list_init(&w->link);
    list_push_back(&log->appends_waiting, &w->link);
    if (log->kind == LOG_NONE)
        log_starve(log);
    COUNT(log->shard, publish_refused);
}

static int open_log(struct shard *s, const struct msg_append *m, struct log **out)
{
    struct log_key key = {.hash = channel_hash(m->channel.text, m->channel.len)};
    /* As with channels that peers subscribe to: half of the table is for what this node publishes and receives. */
    if (!log_find(s, key) && s->logs.count >= (s->config->max_channels + 1) / 2)
        return NET_ERR_LIMIT;
    int err = log_open(s, key, &m->channel, out);
    if (!err && !(*out)->producers) /* a log without files has them when somebody asks */
        err = append_open(*out);
    return err == NET_ERR_EXISTS ? NET_ERR_INVALID : err; /* another channel has this hash */
}

void append_on_message(struct shard *s, unsigned from, const struct msg_append *m, struct cspan frames)
{
    struct log *log;
    int err = open_log(s, m, &log);
    if (err == NET_ERR_STATE)
        give_credit_back(s, from, m);
    else if (err)
        refuse(s, from, m, append_status_of(err));
    else if (!list_empty(&log->appends_waiting) || take(log, from, m, frames) == NET_ERR_AGAIN)
        wait_for_room(log, from, m, frames);
}

bool append_is_waiting(const struct log *log)
{
    return !list_empty(&log->appends_waiting);
}

void append_on_progress(struct log *log)
{
    struct list *n;
    answer_stored(log, &log->appends, false);
    answer_stored(log, &log->appends_durable, true);
    while ((n = list_first(&log->appends_waiting))) {
        struct waiting_append *w = container_of(n, struct waiting_append, link);
        if (take(log, w->home, &w->m, (struct cspan){w->frames, w->len}) == NET_ERR_AGAIN)
            return;
        list_remove(n);
        free(w);
    }
}

void append_deinit(struct log *log)
{
    struct list *n;
    while ((n = list_pop(&log->appends_waiting)))
        free(container_of(n, struct waiting_append, link));
    while ((n = list_pop(&log->appends)) || (n = list_pop(&log->appends_durable)))
        pending_put(log->shard, container_of(n, struct pending_append, link));
    producers_free(log->producers);
    log->producers = NULL;
}

void append_spare_free(struct shard *s)
{
    struct list *n;
    while ((n = list_pop(&s->spare_appends)))
        free(container_of(n, struct pending_append, link));
}
