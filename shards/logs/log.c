/* The logs of the channels this shard owns: opening, appending, telling readers how far they are. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "shards/channels/append.h"
#include "shards/node/mailbox.h"
#include "shards/report/say.h"
#include "shards/logs/view.h"

struct log *log_find(struct shard *s, struct log_key key)
{
    struct log *log = map_get(&s->logs, log_map_key(key));
    return log && log_key_equal(log->key, key) ? log : NULL;
}

static void on_redex_progress(void *ctx, struct redex *redex)
{
    struct log *log = ctx;
    (void)redex;
    log->shard->now = io_now(log->shard->io); /* completions come before the turn */
    log_on_compaction(log);
    log_on_progress(log);
}

static struct log *log_create(struct shard *s, struct log_key key, const struct channel_name *name)
{
    struct log *log = calloc(1, sizeof *log);
    if (!log)
        return NULL;
    log->readers = calloc(s->node->shard_count, sizeof *log->readers);
    if (!log->readers || map_put(&s->logs, log_map_key(key), log) != NET_OK) {
        free(log->readers);
        free(log);
        return NULL;
    }
    log->key = key;
    log->name = *name;
    log->shard = s;
    log->made_at = s->now;
    log->kind = config_channel(s->config, name->text)->log;
    list_init(&log->growing);
    list_init(&log->starving);
    list_init(&log->pending);
    list_init(&log->pending_durable);
    list_init(&log->publishers);
    list_init(&log->appends);
    list_init(&log->appends_durable);
    list_init(&log->appends_waiting);
    list_init(&log->unstored);
    list_push_back(&s->log_list, &log->in_shard);
    log->view = view_find(s, key);
    if (log->view)
        log->view->log = log;
    return log;
}

static void log_free(struct log *log)
{
    map_remove(&log->shard->logs, log_map_key(log->key));
    log_follow_forget(log);
    list_remove(&log->in_shard);
    if (list_linked(&log->growing))
        list_remove(&log->growing);
    if (list_linked(&log->starving))
        list_remove(&log->starving);
    if (log->view)
        log->view->log = NULL;
    log_set_error(log, NET_OK);
    append_deinit(log);
    event_ring_deinit(&log->ring);
    free(log->readers);
    free(log);
}

void log_release(struct log *log)
{
    if (!log->open && !log->closing && !log->receives && log->watchers == 0 && !log->view && !log_readers(log))
        log_free(log);
}

void log_abandon_all(struct shard *s)
{
    for (struct list *n = s->log_list.next; n != &s->log_list; n = n->next) {
        struct log *log = container_of(n, struct log, in_shard);
        if (log->open && log->kind != LOG_NONE)
            redex_abandon(log->redex);
        append_deinit(log);
        log->open = log->open && log->kind == LOG_NONE;
    }
}

void log_free_all(struct shard *s)
{
    while (!list_empty(&s->log_list))
        log_free(container_of(list_first(&s->log_list), struct log, in_shard));
}

/* The first of two names with one hash has it; likewise the first of two keys that the maps do not tell apart. */
static bool is_taken(struct shard *s, struct log_key key, const struct channel_name *name)
{
    const struct log *log = map_get(&s->logs, log_map_key(key));
    const struct log_view *view = map_get(&s->views, log_map_key(key));
    return (log && !(log_key_equal(log->key, key) && channel_name_equal(&log->name, name))) ||
           (view && !(log_key_equal(view->key, key) && channel_name_equal(&view->name, name)));
}

int log_touch(struct shard *s, struct log_key key, const struct channel_name *name, struct log **out)
{
    if (is_taken(s, key, name))
        return NET_ERR_EXISTS;
    struct log *log = log_find(s, key);
    if (!log && s->logs.count >= s->config->max_channels)
        return NET_ERR_LIMIT;
    if (!log && !(log = log_create(s, key, name)))
        return NET_ERR_NO_MEMORY;
    *out = log;
    return NET_OK;
}

void log_mark_grown(struct log *log)
{
    if (!list_linked(&log->growing))
        list_push_back(&log->shard->grown_logs, &log->growing);
}

void log_directory(const struct node *n, struct log_key key, char *out, size_t size)
{
    if (key.origin == 0)
        text_format(out, size, "%s/redex", n->dir);
    else
        text_format(out, size, "%s/redex-%s/0x%016" PRIx64, n->dir, key.edition ? "follow" : "from", key.origin);
}

static void say_damage(const struct log *log, const char *base, const struct redex_report *r)
{
    shard_say_about(log->shard, LEVEL_WARN, (struct say_about){.channel = log->name.text},
                    "%s/%s: repaired: %" PRIu64 " events lost, %" PRIu64 " records mended, %" PRIu64
                    " bytes cut off%s; what was there is kept beside it",
                    base, log->name.text, r->dropped_events, r->repaired_fields, r->trimmed_bytes,
                    r->timestamps_lost ? ", times lost" : "");
}

void log_root(const struct log *log, char *out, size_t size)
{
    char base[CONFIG_PATH_MAX + 64];
    log_directory(log->shard->node, log->key, base, sizeof base);
    text_format(out, size, "%s/%s", base, log->name.text);
}

static int open_redex(struct log *log, const struct log_begin *begin);

/* Its producers say which events came only in part, and it says which of their appends came true. */
static int open_with_producers(struct log *log, const struct log_begin *begin)
{
    int err = log->kind == LOG_DISK && log->key.origin == 0 ? append_open(log) : NET_OK;
    if (!err)
        err = open_redex(log, begin);
    if (!err && log->producers) {
        err = producers_begin(log->producers, log->redex);
        if (err)
            redex_abandon(log->redex);
    }
    if (err) {
        producers_free(log->producers);
        log->producers = NULL;
        log->redex = NULL;
    }
    return err;
}

static int open_redex(struct log *log, const struct log_begin *begin)
{
    struct shard *s = log->shard;
    char base[CONFIG_PATH_MAX + 64];
    log_directory(s->node, log->key, base, sizeof base);
    struct redex_options options = {
        .mode = log->kind == LOG_DISK ? REDEX_DISK : REDEX_MEMORY,
        .base = base,
        .name = log->name.text,
        .number = log->key.edition ? log->key.edition - 1 : 0,
        .mirror = log->key.edition > 0,
        .id = begin ? begin->id : NULL,
        .start = begin ? begin->next_seq : 0,
        .patient = log->key.origin != 0, /* what comes from a peer is not sent again; the peer waits for credit */
        .policy = log_policy(config_channel(s->config, log->name.text)),
        .torn = log->producers ? producers_torn : NULL,
        .torn_ctx = log->producers,
        .dirty = &s->dirty_logs,
        .timers = &s->timers,
        .syncs = &s->redex_syncs,
        .stats = &s->redex_stats,
        .progress = on_redex_progress,
        .ctx = log,
    };
    struct redex_report report;
    int err = redex_open(&log->redex, s->io, &options, &report);
    if (!err && (report.dropped_events || report.repaired_fields || report.trimmed_bytes || report.timestamps_lost))
        say_damage(log, base, &report);
    return err;
}

static int open_storage(struct log *log, const struct log_begin *begin)
{
    if (log->kind == LOG_NONE)
        return event_ring_init(&log->ring, log->shard->config->log_none_bytes);
    int err = open_with_producers(log, begin);
    if (err || !log->key.edition)
        return err;
    err = log_follow_opened(log);
    if (err) {
        redex_abandon(log->redex);
        log->redex = NULL;
    }
    return err;
}

int log_open(struct shard *s, struct log_key key, const struct channel_name *name, struct log **out)
{
    return log_open_at(s, key, name, NULL, out);
}

int log_open_at(struct shard *s, struct log_key key, const struct channel_name *name, const struct log_begin *begin,
                struct log **out)
{
    const struct log *there = log_find(s, key);
    enum config_log kind = there && there->open ? there->kind : config_channel(s->config, name->text)->log;
    if (kind == LOG_DISK && !channel_name_storable(name))
        return NET_ERR_INVALID;
    if (s->stopping >= STOP_LOGS)
        return NET_ERR_STATE; /* nobody would close it */
    struct log *log;
    int err = log_touch(s, key, name, &log);
    if (err)
        return err;
    if (!log->open) {
        log->kind = kind;
        err = open_storage(log, begin);
        log->open = err == NET_OK;
        if (err) {
            log_on_open_error(log, err);
            log_release(log);
            return err;
        }
        log_on_error(log, NET_OK);
        log->fsync_each = config_channel(s->config, name->text)->fsync == FSYNC_EACH;
        log_mark_grown(log); /* whoever waits for it to exist */
    }
    *out = log;
    return NET_OK;
}

void log_heads(const struct log *log, struct log_heads *out)
{
    *out = (struct log_heads){.exists = log->open};
    if (!log->open)
        return;
    out->none = log->kind == LOG_NONE;
    if (log->kind == LOG_NONE) {
        out->first = log->ring.first_seq;
        out->live = out->written = log->ring.next_seq;
    } else {
        out->first = redex_first_seq(log->redex);
        out->live = redex_next_seq(log->redex);
        out->written = redex_written_seq(log->redex);
    }
}

size_t log_read(struct log *log, uint64_t *seq, uint64_t end, struct redex_event *out, size_t max)
{
    if (!log->open)
        return 0;
    if (log->kind == LOG_NONE)
        return event_ring_read(&log->ring, seq, end, out, max);
    return redex_read(log->redex, seq, end, out, max);
}

/* The oldest sequence that a reader still moves towards. Readers at the end are noted as moving now. */
static uint64_t ring_keep(struct log *log)
{
    uint64_t now = log->shard->now, live = log->ring.next_seq;
    uint64_t keep = log->view ? view_keep(log->view, live) : live;
    for (unsigned i = 0; i < log->shard->node->shard_count; i++) {
        struct log_reader *r = &log->readers[i];
        if (!(log->watchers >> i & 1))
            continue;
        if (r->next >= live)
            r->at = now;
        else if (r->next < keep && now - r->at < READER_STALL_NS)
            keep = r->next;
    }
    return keep;
}

/* A `none` channel keeps what readers still need: without a reader, nothing. */
static int append_to_ring(struct log *log, struct cspan frames, uint32_t count, uint64_t *first)
{
    if (log->watchers || log->view)
        return event_ring_append(&log->ring, io_wall(log->shard->io), frames, count, ring_keep(log), first);
    *first = event_ring_skip(&log->ring, count);
    return NET_OK;
}

int log_append(struct log *log, struct cspan frames, uint32_t count, uint64_t *first)
{
    struct shard *s = log->shard;
    if (!log->open || log->closing)
        return NET_ERR_CLOSED;
    int err;
    if (log->kind == LOG_NONE)
        err = append_to_ring(log, frames, count, first);
    else
        err = redex_append_frames(log->redex, io_wall(s->io), frames, count, first);
    if (err == NET_OK) {
        log->appended_events += count;
        log->appended_bytes += frames.len - count * sizeof(uint32_t) /* of their lengths */;
        log_mark_grown(log);
    }
    return err;
}

bool log_congested(const struct log *log)
{
    return log->open && log->kind == LOG_DISK &&
           (redex_error(log->redex) || redex_unwritten_bytes(log->redex) > UINT64_C(32) << 20);
}

void log_starve(struct log *log)
{
    if (!list_linked(&log->starving))
        list_push_back(&log->shard->starved_logs, &log->starving);
}

/* Publishers of a channel without a log, reads and credit that wait for a ring: no completion tells of their room. */
void log_retry(struct shard *s)
{
    struct list starved, *n;
    list_init(&starved);
    while ((n = list_pop(&s->starved_logs)))
        list_push_back(&starved, n);
    while ((n = list_pop(&starved))) {
        struct log *log = container_of(n, struct log, starving);
        if (log->kind == LOG_NONE) {
            log_append_waiting(log);
            append_on_progress(log);
        }
        log_follow_store(log);
        log_return_credit(log);
        if (!log_serve_waiting(log) ||
            (log->kind == LOG_NONE && (!list_empty(&log->publishers) || append_is_waiting(log))))
            log_starve(log);
    }
}

static void tell(struct log *log, unsigned to)
{
    struct msg_head m = {.key = log->key};
    log_heads(log, &m.heads);
    if (!mailbox_try(log->shard, to, MSG_HEAD, 0, 0, &m, sizeof m, NULL, 0)) {
        log_mark_grown(log); /* the next turn says it, and more */
        log->shard->busy = true;
    }
}

void log_tell(struct shard *s)
{
    struct list grown;
    list_init(&grown);
    struct list *n;
    while ((n = list_pop(&s->grown_logs)))
        list_push_back(&grown, n);
    while ((n = list_pop(&grown))) {
        struct log *log = container_of(n, struct log, growing);
        for (unsigned i = 0; log->watchers && i < s->node->shard_count; i++)
            if (log->watchers >> i & 1)
                tell(log, i);
        if (log->view) {
            struct log_heads heads;
            log_heads(log, &heads);
            view_on_heads(log->view, &heads); /* last: the log may go with the view's last reader */
        }
    }
}

static void on_closed(void *ctx, int err)
{
    struct log *log = ctx;
    /* Publishers were promised nothing that is not safe. A peer was: it has credit for what only memory held. */
    if (err)
        shard_say_about(log->shard, LEVEL_ERROR, (struct say_about){.channel = log->name.text},
                        "closed the log of %s with an error, its last events may be missing: %s",
                        log->key.origin ? "a peer" : "this node", net_err_text(err));
    if (err && log->key.origin && !log->key.edition) /* what is followed is asked for again */
        atomic_store_explicit(&log->shard->node->stop_incomplete, true, memory_order_relaxed);
    log->redex = NULL;
    log->open = false;
    log_set_error(log, NET_OK);
    stop_log_closed(log->shard);
}

static void close_redex(void *ctx)
{
    struct log *log = ctx;
    log->producers = NULL;
    redex_close(log->redex, on_closed, log);
}

void log_close_all(struct shard *s)
{
    s->logs_closing = 1; /* this call itself: closes may answer at once */
    for (struct list *n = s->log_list.next; n != &s->log_list; n = n->next) {
        struct log *log = container_of(n, struct log, in_shard);
        log->closing = true;
        if (log->open && log->kind != LOG_NONE) {
            s->logs_closing++;
            if (log->producers)
                producers_close(log->producers, close_redex, log);
            else
                close_redex(log);
        }
    }
    stop_log_closed(s);
}
