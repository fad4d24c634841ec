/* /metrics: what every shard counts, and the node and its process as a whole. Channels and peers: metrics_rows.c. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>

#include "shards/peers/contacts.h"
#include "shards/report/metrics_internal.h"

struct row {
    size_t offset;
    const char *name, *labels, *help; /* labels: "" or one as it is written, key="value" */
};

#define X(field, name, labels, help) {offsetof(struct shard_metrics, field), name, labels, help},
static const struct row counters[] = {SHARD_COUNTERS(X)};
static const struct row gauges[] = {SHARD_GAUGES(X)};
static const struct row histograms[] = {SHARD_HISTOGRAMS(X)};
#undef X

#define R(field) offsetof(struct reactor_stats, field)
static const struct row reactor_counters[] = {
    {R(enters), "io_enters_total", "", "Calls of io_uring_enter"},
    {R(sqes), "io_submissions_total", "", "Operations submitted"},
    {R(cqes), "io_completions_total", "", "Completions taken"},
    {R(recv_batches), "io_receive_batches_total", "", "Arrivals, several datagrams each with GRO"},
    {R(send_batches), "io_send_batches_total", "", "Sends, several datagrams each with GSO"},
    {R(gso_fallbacks), "io_gso_fallbacks_total", "", "Sends the kernel would not segment"},
    {R(no_buffers), "io_no_buffers_total", "", "Times the receive pool was empty"},
    {R(doorbells), "io_doorbells_total", "", "Sleeping shards woken"},
    {R(socket_overflows), "socket_overflow_datagrams_total", "",
     "Datagrams the kernel dropped for want of socket buffer"},
};
static const struct row reactor_histograms[] = {
    {R(turn_ns), "turn_seconds", "", "Work of one turn of the shard's loop, without the wait"},
};
#undef R

#define R(field) offsetof(struct redex_stats, field)
static const struct row redex_counters[] = {
    {R(writes), "log_writes_total", "", "Writes of what was appended to a log"},
    {R(write_failures), "log_write_failures_total", "", "Those that did not succeed at the first attempt"},
    {R(generations), "log_compactions_total", "", "Logs whose files were written anew without what retention gave up"},
    {R(generation_failures), "log_compaction_failures_total", "", "Attempts at it that failed; they are repeated"},
    {R(retired_events), "log_retired_events_total", "", "Events given up by retention"},
    {R(retired_bytes), "log_retired_bytes_total", "", "Payload of those events"},
    {R(sync_failures), "log_sync_failures_total", "", "Syncs that failed: their log refuses appends for good"},
};
static const struct row redex_seconds[] = {
    {R(write_ns), "log_write_seconds_total", "", "Time between submission and completion of those writes"},
};
static const struct row redex_histograms[] = {
    {R(sync_ns), "log_sync_seconds", "", "fdatasync of one file of a log"},
};
#undef R

#define R(field) offsetof(struct msg_scrape_shard, field)
static const struct row cpu_figure = {R(cpu_ns), "cpu_seconds_total", "",
                                      "CPU time of the shard's thread, without the kernel's workers for files"};
static const struct row shard_figures[] = {
    {R(log_bytes), "log_bytes", "", "Payload that the shard's logs hold, in memory too"},
    {R(unwritten_bytes), "log_unwritten_bytes", "", "Bytes appended to logs and not yet written to their files"},
    {R(streams), "streams", "", "Streams of the shard's peers"},
    {R(timers), "timers", "", "Timers armed"},
    {R(parked_messages), "ring_parked_messages", "", "Messages to other shards that wait for room in a ring"},
    {R(fullest_ring_bytes), "ring_fullest_bytes", "", "Bytes in the fullest of the rings to other shards"},
};
#undef R

/* The label of a row, split at its '='; the quotes are the format's. */
struct fixed_label {
    char name[16], value[32];
};

static void parse_label(const char *text, struct fixed_label *out)
{
    if (sscanf(text, "%15[^=]=\"%31[^\"]\"", out->name, out->value) != 2)
        out->name[0] = '\0';
}

static const void *at(const void *base, size_t offset)
{
    return (const char *)base + offset;
}

enum kind { KIND_COUNTER, KIND_SECONDS, KIND_GAUGE, KIND_HISTOGRAM };
static const char *const kinds[] = {"counter", "counter", "gauge", "histogram"};

static void put_value(struct exposition *e, enum kind kind, const void *value)
{
    if (kind == KIND_HISTOGRAM)
        exposition_histogram(e, value);
    else if (kind == KIND_SECONDS)
        exposition_ns(e, counter_get(value));
    else
        exposition_u64(e, counter_get(value));
}

/* Rows of one name stand together in their table; the first has the help. */
static void put_rows(struct exposition *e, struct node *n, const struct row *rows, size_t count, enum kind kind,
                     const void *(*base)(const struct shard *))
{
    for (size_t i = 0; i < count; i++) {
        struct fixed_label label;
        parse_label(rows[i].labels, &label);
        if (rows[i].help[0])
            exposition_family(e, rows[i].name, kinds[kind], rows[i].help);
        for (unsigned s = 0; s < n->shard_count; s++) {
            char shard[12];
            if (!base(n->shards[s]))
                continue;
            snprintf(shard, sizeof shard, "%u", s);
            exposition_no_labels(e);
            exposition_label(e, "shard", shard);
            if (label.name[0])
                exposition_label(e, label.name, label.value);
            put_value(e, kind, at(base(n->shards[s]), rows[i].offset));
        }
    }
}

static const void *of_shard(const struct shard *s)
{
    return &s->metrics;
}

static const void *of_redex(const struct shard *s)
{
    return &s->redex_stats;
}

static const void *of_reactor(const struct shard *s)
{
    return s->reactor_stats;
}

#define PUT(e, n, table, kind, base) put_rows(e, n, table, sizeof table / sizeof table[0], kind, base)

static void put_figures(struct exposition *e, struct node *n, const struct scrape_rows *rows, const struct row *r,
                        enum kind kind)
{
    exposition_family(e, r->name, kinds[kind], r->help);
    for (unsigned s = 0; s < n->shard_count; s++) {
        char shard[12];
        if (!rows->answered[s])
            continue;
        snprintf(shard, sizeof shard, "%u", s);
        exposition_no_labels(e);
        exposition_label(e, "shard", shard);
        uint64_t value = *(const uint64_t *)at(&rows->shards[s], r->offset);
        if (kind == KIND_SECONDS)
            exposition_ns(e, value);
        else
            exposition_u64(e, value);
    }
}

static void put_gauge(struct exposition *e, const char *name, const char *help, uint64_t value)
{
    exposition_family(e, name, "gauge", help);
    exposition_u64(e, value);
}

static void count_problem(void *ctx, const struct problem_row *row)
{
    (void)row;
    ++*(uint64_t *)ctx;
}

static void put_node(struct exposition *e, struct node *n, const struct scrape_rows *rows)
{
    struct shard *s = n->shards[0];
    uint64_t problems = 0, missing = 0;
    node_each_problem(n, count_problem, &problems);
    for (unsigned i = 0; i < n->shard_count; i++)
        missing += !rows->answered[i];
    exposition_family(e, "build_info", "gauge", "What runs; the value is always 1");
    exposition_label(e, "version", NM_VERSION);
    exposition_label(e, "compiler", __VERSION__);
    exposition_u64(e, 1);
    exposition_family(e, "uptime_seconds", "gauge", "Since the node was ready");
    exposition_ns(e, s->now - n->started_ns);
    exposition_family(e, "wall_clock_seconds", "gauge", "The clock that stamps events, as Unix time");
    exposition_ns(e, io_wall(s->io));
    put_gauge(e, "ready", "1 when /readyz has no problems", problems == 0);
    put_gauge(e, "shards", "Shards of the node", n->shard_count);
    put_gauge(e, "socket_buffer_bytes", "Receive buffer the kernel gave each socket", n->options.socket_buffer);
    put_gauge(e, "scrape_missing_shards", "Shards that did not answer this scrape within a second", missing);
    put_gauge(e, "scrape_incomplete", "1 when this scrape lacks rows for want of memory", rows->no_memory);
}

static uint64_t ns_of(struct timeval t)
{
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_usec * 1000;
}

/* As Prometheus' client libraries have it, as far as it is had without reading /proc: no file is read on a scrape. */
static void put_process(struct exposition *e, struct node *n)
{
    struct rusage usage;
    struct rlimit files;
    exposition_family(e, "process_start_time_seconds", "gauge", "When the node began to serve, as Unix time");
    exposition_ns(e, n->started_wall);
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        exposition_family(e, "process_cpu_seconds_total", "counter", "CPU time of the process, user and system");
        exposition_ns(e, ns_of(usage.ru_utime) + ns_of(usage.ru_stime));
        exposition_family(e, "process_resident_memory_max_bytes", "gauge", "The most memory the process ever held");
        exposition_u64(e, (uint64_t)usage.ru_maxrss * 1024);
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        exposition_family(e, "process_max_fds", "gauge", "Limit of open file descriptors");
        exposition_double(e, (double)files.rlim_cur);
    }
}

static void put_scrape(void *ctx, const char *text, size_t len)
{
    struct metrics_scrape *m = ctx;
    m->put(m, text, len);
}

void metrics_render(struct node *n, struct metrics_scrape *m)
{
    struct exposition e;
    exposition_init(&e, put_scrape, m);
    put_node(&e, n, m->node.rows);
    put_process(&e, n);
    PUT(&e, n, counters, KIND_COUNTER, of_shard);
    PUT(&e, n, gauges, KIND_GAUGE, of_shard);
    put_figures(&e, n, m->node.rows, &cpu_figure, KIND_SECONDS);
    for (size_t i = 0; i < sizeof shard_figures / sizeof shard_figures[0]; i++)
        put_figures(&e, n, m->node.rows, &shard_figures[i], KIND_GAUGE);
    PUT(&e, n, histograms, KIND_HISTOGRAM, of_shard);
    PUT(&e, n, redex_counters, KIND_COUNTER, of_redex);
    PUT(&e, n, redex_seconds, KIND_SECONDS, of_redex);
    PUT(&e, n, redex_histograms, KIND_HISTOGRAM, of_redex);
    PUT(&e, n, reactor_counters, KIND_COUNTER, of_reactor);
    PUT(&e, n, reactor_histograms, KIND_HISTOGRAM, of_reactor);
    metrics_put_channels(&e, m->node.rows);
    metrics_put_peers(&e, n, m->node.rows);
}

void metrics_publish_failed(struct shard *s, int err)
{
    switch (err) {
    case NET_ERR_NO_SPACE:
        COUNT(s, publish_no_space);
        break;
    case NET_ERR_IO:
    case NET_ERR_READ_ONLY:
        COUNT(s, publish_io);
        break;
    case NET_ERR_POISONED:
        COUNT(s, publish_poisoned);
        break;
    case NET_ERR_TOO_LARGE:
        COUNT(s, publish_too_large);
        break;
    case NET_ERR_LIMIT:
        COUNT(s, publish_limit);
        break;
    case NET_ERR_TIMEOUT:
        COUNT(s, publish_timeout);
        break;
    case NET_ERR_INVALID:
    case NET_ERR_FORMAT:
        COUNT(s, publish_invalid);
        break;
    case NET_ERR_STATE:
    case NET_ERR_CLOSED:
        COUNT(s, publish_closed);
        break;
    case NET_ERR_NO_MEMORY:
        COUNT(s, publish_no_memory);
        break;
    default:
        COUNT(s, publish_other);
    }
}
