/* /metrics of the node: every counter of every shard, as Prometheus text. */
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "shards/node/metrics.h"
#include "shards/node/shard.h"

struct writer {
    void (*put)(void *ctx, const char *text, size_t len);
    void *ctx;
};

__attribute__((format(printf, 2, 3))) static void write_text(struct writer *w, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len > 0)
        w->put(w->ctx, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}

struct row {
    size_t offset;
    const char *name, *labels, *help;
};

static const struct row counters[] = {
#define X(field, name, labels, help) {offsetof(struct shard_metrics, field), name, labels, help},
    SHARD_COUNTERS(X)
#undef X
};

static const struct row gauges[] = {
    {offsetof(struct shard_metrics, gauge_peers), "peers", "", "Peers that have or had a session here"},
    {offsetof(struct shard_metrics, gauge_sessions), "sessions", "",
     "Sessions, unconfirmed and previous ones included"},
    {offsetof(struct shard_metrics, gauge_logs), "logs", "", "Logs open"},
};

static const struct row reactor_rows[] = {
    {offsetof(struct reactor_stats, enters), "io_enters_total", "", "Calls of io_uring_enter"},
    {offsetof(struct reactor_stats, sqes), "io_submissions_total", "", "Operations submitted"},
    {offsetof(struct reactor_stats, cqes), "io_completions_total", "", "Completions taken"},
    {offsetof(struct reactor_stats, recv_batches), "io_receive_batches_total", "",
     "Arrivals, several datagrams each with GRO"},
    {offsetof(struct reactor_stats, send_batches), "io_send_batches_total", "",
     "Sends, several datagrams each with GSO"},
    {offsetof(struct reactor_stats, gso_fallbacks), "io_gso_fallbacks_total", "", "Sends the kernel would not segment"},
    {offsetof(struct reactor_stats, no_buffers), "io_no_buffers_total", "", "Times the receive pool was empty"},
    {offsetof(struct reactor_stats, doorbells), "io_doorbells_total", "", "Sleeping shards woken"},
    {offsetof(struct reactor_stats, socket_overflows), "socket_overflow_datagrams_total", "",
     "Datagrams the kernel dropped for want of socket buffer"},
};

static void write_head(struct writer *w, const struct row *r, const char *type)
{
    if (r->help[0])
        write_text(w, "# HELP netmesh_%s %s\n# TYPE netmesh_%s %s\n", r->name, r->help, r->name, type);
}

static void write_value(struct writer *w, const struct row *r, unsigned shard, const void *base)
{
    const counter *c = (const counter *)(const void *)((const char *)base + r->offset);
    write_text(w, "netmesh_%s{shard=\"%u\"%s%s} %" PRIu64 "\n", r->name, shard, r->labels[0] ? "," : "", r->labels,
               counter_get(c));
}

static void write_table(struct writer *w, struct node *n, const struct row *rows, size_t count, const char *type)
{
    for (size_t i = 0; i < count; i++) {
        write_head(w, &rows[i], type);
        for (unsigned s = 0; s < n->shard_count; s++)
            write_value(w, &rows[i], s, &n->shards[s]->metrics);
    }
}

static void write_reactor(struct writer *w, struct node *n)
{
    for (size_t i = 0; i < sizeof reactor_rows / sizeof reactor_rows[0]; i++) {
        if (!n->shards[0]->reactor_stats)
            return;
        write_head(w, &reactor_rows[i], "counter");
        for (unsigned s = 0; s < n->shard_count; s++)
            if (n->shards[s]->reactor_stats)
                write_value(w, &reactor_rows[i], s, n->shards[s]->reactor_stats);
    }
}

void node_render_metrics(struct node *n, void (*put)(void *ctx, const char *text, size_t len), void *ctx)
{
    struct writer w = {put, ctx};
    write_text(
        &w,
        "# HELP netmesh_build_info What runs\n# TYPE netmesh_build_info gauge\nnetmesh_build_info{version=\"%s\"} 1\n",
        NM_VERSION);
    write_text(&w,
               "# HELP netmesh_uptime_seconds Since the node was ready\n# TYPE netmesh_uptime_seconds gauge\n"
               "netmesh_uptime_seconds %.3f\n",
               (double)(n->shards[0]->now - n->started_ns) / 1e9);
    write_text(&w,
               "# HELP netmesh_socket_buffer_bytes Receive buffer the kernel gave each socket\n"
               "# TYPE netmesh_socket_buffer_bytes gauge\nnetmesh_socket_buffer_bytes %u\n",
               n->options.socket_buffer);
    write_table(&w, n, counters, sizeof counters / sizeof counters[0], "counter");
    write_table(&w, n, gauges, sizeof gauges / sizeof gauges[0], "gauge");
    write_reactor(&w, n);
}
