/* Whether the node does what it is there for, and what is in the way. */
#include "core/base/text.h"
#include "shards/peers/contacts.h"

struct health {
    void (*row)(void *ctx, const struct problem_row *);
    void *ctx;
};

static void tell(const struct health *h, const char *code, const char *text)
{
    h->row(h->ctx, &(struct problem_row){code, text});
}

static uint64_t sum(const struct node *n, size_t offset)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < n->shard_count; i++)
        total += counter_get((const counter *)(const void *)((const char *)&n->shards[i]->metrics + offset));
    return total;
}

static const struct {
    size_t offset;
    const char *code, *what;
} log_problems[] = {
    {offsetof(struct shard_metrics, gauge_logs_no_space), "disk_full",
     "no space on the disk; publishes are refused until there is some"},
    {offsetof(struct shard_metrics, gauge_logs_io_error), "disk_error",
     "writes fail; publishes are refused until one succeeds"},
    {offsetof(struct shard_metrics, gauge_logs_poisoned), "log_poisoned",
     "a sync failed and what it covered may be lost; they refuse appends until the node is restarted"},
};

void node_each_problem(struct node *n, void (*row)(void *ctx, const struct problem_row *), void *ctx)
{
    const struct health h = {row, ctx};
    const struct contacts *cs = n->shards[0]->contacts;
    if (!atomic_load_explicit(&n->running, memory_order_relaxed))
        tell(&h, "starting", "the node is starting");
    if (cs->phase != STOP_NONE)
        tell(&h, "stopping", "the node is stopping");
    for (size_t i = 0; i < sizeof log_problems / sizeof log_problems[0]; i++) {
        char text[160];
        uint64_t logs = sum(n, log_problems[i].offset);
        if (logs == 0)
            continue;
        text_format(text, sizeof text, "%lu %s: %s", (unsigned long)logs, logs == 1 ? "log" : "logs",
                    log_problems[i].what);
        tell(&h, log_problems[i].code, text);
    }
    if (cs->store.err)
        tell(&h, "peers_not_saved", "peers.yaml could not be written: the last changes hold until the node stops");
}
