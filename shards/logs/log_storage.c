/* What a channel's settings mean for its log on disk, and what the node says of a log that cannot be written. */
#include <inttypes.h>

#include "core/base/text.h"
#include "shards/logs/log.h"
#include "shards/report/say.h"

struct redex_policy log_policy(const struct channel_settings *c)
{
    return (struct redex_policy){
        .sync_each = c->fsync == FSYNC_EACH,
        .sync_events = c->fsync == FSYNC_EVERY ? c->fsync_events : 0,
        .sync_interval_ns = c->fsync == FSYNC_INTERVAL ? c->fsync_interval_ns : 0,
        .retain_events = c->retention_events,
        .retain_bytes = c->retention_bytes,
        .retain_age_ns = c->retention_age_ns,
    };
}

static void apply_settings(struct log *log, const struct channel_settings *settings)
{
    log->fsync_each = settings->fsync == FSYNC_EACH;
    if (!log->open)
        log->kind = settings->log;
    if (log->producers)
        producers_set_limits(log->producers, log->shard->config->max_producers, log->shard->config->producer_age_ns);
    if (log->redex && !log->closing) {
        struct redex_policy policy = log_policy(settings);
        redex_set_policy(log->redex, &policy);
    }
}

uint64_t log_apply_settings(struct shard *s)
{
    uint64_t kept = 0;
    for (struct list *n = s->log_list.next; n != &s->log_list; n = n->next) {
        struct log *log = container_of(n, struct log, in_shard);
        const struct channel_settings *settings = config_channel(s->config, log->name.text);
        apply_settings(log, settings);
        kept += log->kind != settings->log;
    }
    return kept;
}

static counter *gauge_of(struct shard *s, int err)
{
    switch (err) {
    case NET_ERR_NO_SPACE:
        return &s->metrics.gauge_logs_no_space;
    case NET_ERR_POISONED:
        return &s->metrics.gauge_logs_poisoned;
    default:
        return &s->metrics.gauge_logs_io_error;
    }
}

/* Of a peer, the log's origin, or of this node. */
static struct say_about about(const struct log *log)
{
    return (struct say_about){.peer = log->key.origin, .channel = log->name.text};
}

void log_set_error(struct log *log, int err)
{
    struct shard *s = log->shard;
    if (err == log->error)
        return;
    if (log->error)
        counter_set(gauge_of(s, log->error), counter_get(gauge_of(s, log->error)) - 1);
    if (err)
        counter_add(gauge_of(s, err), 1);
    log->error = err;
}

int log_fault(const struct log *log)
{
    int err = log->open && log->redex ? redex_error(log->redex) : NET_OK;
    return err || !log->producers ? err : producers_error(log->producers);
}

void log_on_error(struct log *log, int err)
{
    if (err == log->error)
        return;
    if (!err)
        shard_say_about(log->shard, LEVEL_INFO, about(log), "the log is written again");
    else if (err == NET_ERR_POISONED)
        shard_say_about(log->shard, LEVEL_ERROR, about(log),
                        "a sync failed: the log refuses appends until the node is started again");
    else
        shard_say_about(log->shard, LEVEL_ERROR, about(log), "the log cannot be written: %s", net_err_text(err));
    log_set_error(log, err);
}

void log_on_open_error(struct log *log, int err)
{
    bool running = atomic_load_explicit(&log->shard->node->running, memory_order_relaxed);
    if (err != log->error && running) /* else the start fails with it, and says so */
        shard_say_about(log->shard, LEVEL_ERROR, about(log), "the log cannot be opened: %s", net_err_text(err));
    log_set_error(log, err);
}

void log_on_compaction(struct log *log)
{
    int err = redex_compaction_error(log->redex);
    if (err && err != log->compaction_error)
        shard_say_about(log->shard, LEVEL_WARN, about(log),
                        "what the log no longer retains cannot be freed on disk: %s; tried again", net_err_text(err));
    log->compaction_error = err;
}
