#include "shards/report/say.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "shards/node/mailbox.h"

static const uint64_t RETRY_NS = 100000000; /* stderr took nothing */

static bool is_wanted(const struct node *n, enum config_level level)
{
    return n->options.say && level <= node_log_level(n);
}

/* ---- the writer ---- */

#define LOST "%" PRIu64 " lines before this one were lost: stderr did not take them"

int say_init(struct shard *s)
{
    say_rate_init(&s->say);
    if (s->io->err == IO_NO_HANDLE || !s->node->options.say)
        return NET_OK;
    s->writer = calloc(1, sizeof *s->writer);
    if (!s->writer)
        return NET_ERR_NO_MEMORY;
    s->writer->shard = s;
    return NET_OK;
}

void say_deinit(struct shard *s)
{
    free(s->writer);
}

static bool add(struct say_writer *w, const char *line, size_t len)
{
    if (len > sizeof w->buffer - w->len)
        return false;
    memcpy(w->buffer + w->len, line, len);
    w->len += (uint32_t)len;
    return true;
}

/* Of no kind: it comes at most once for each time that the buffer was full. */
static void add_lost(struct say_writer *w)
{
    char message[96], line[SAY_LINE_MAX];
    snprintf(message, sizeof message, LOST, w->lost);
    struct say_line say = {io_wall(w->shard->io), LEVEL_WARN, (int)w->shard->index, 0, NULL, NULL, message};
    if (add(w, line, say_format(line, w->shard->node->options.say_style, &say)))
        w->lost = 0;
}

static void take(struct shard *s, const char *line, size_t len)
{
    struct say_writer *w = s->writer;
    if (!w) {
        s->node->options.say(line, len);
        return;
    }
    if (w->lost)
        add_lost(w);
    if (w->lost || !add(w, line, len)) {
        w->lost++;
        COUNT(s, drop_say);
    }
}

void say_on_message(struct shard *s, const struct spsc_record *r)
{
    take(s, (const char *)r->body, r->len);
}

/* A closed pipe, a full disk, a non-blocking terminal: what is there waits, and what comes may find no room. */
static void on_written(struct io_op *op, int32_t res)
{
    struct say_writer *w = container_of(op, struct say_writer, op);
    if (res <= 0) {
        w->retry_at = w->shard->now + RETRY_NS;
        return;
    }
    w->len -= (uint32_t)res;
    memmove(w->buffer, w->buffer + res, w->len);
}

static void writer_turn(struct say_writer *w)
{
    if (w->op.pending || w->len == 0 || w->shard->now < w->retry_at)
        return;
    w->iov = (struct iovec){w->buffer, w->len};
    w->op = (struct io_op){.kind = IO_WRITE, .handle = w->shard->io->err, .done = on_written};
    w->op.write.iov = &w->iov;
    w->op.write.iov_count = 1;
    w->op.write.offset = IO_AT_POSITION;
    io_submit(w->shard->io, &w->op);
}

void say_finish(struct node *n)
{
    struct say_writer *w = n->shards[0]->writer;
    if (!w)
        return;
    n->options.say(w->buffer, w->len);
    w->len = 0;
    if (w->lost)
        node_say(n, LEVEL_WARN, LOST, w->lost);
    w->lost = 0;
}

/* ---- saying ---- */

/* To stderr by way of shard 0, or at once while there is no shard 0 that would write it. */
static void hand_on(struct shard *s, const char *line, size_t len)
{
    struct node *n = s->node;
    if (s->index == 0)
        take(s, line, len);
    else if (shard_done(s) || !atomic_load_explicit(&n->running, memory_order_relaxed))
        n->options.say(line, len);
    else if (!mailbox_try(s, 0, MSG_SAY, 0, 0, line, len, NULL, 0))
        COUNT(s, drop_say);
}

static void say_message(struct shard *s, enum config_level level, struct say_about about, const char *message)
{
    char line[SAY_LINE_MAX];
    struct say_line say = {io_wall(s->io), level, (int)s->index, about.peer, about.channel, about.addr, message};
    hand_on(s, line, say_format(line, s->node->options.say_style, &say));
}

static void say_v(struct shard *s, enum config_level level, struct say_about about, const char *format, va_list args)
{
    char message[SAY_MESSAGE_MAX];
    struct say_kind *kind;
    if (!is_wanted(s->node, level))
        return;
    if (!say_rate_take(&s->say, format, s->now, s->config->log_rate, &kind)) {
        COUNT(s, say_suppressed);
        return;
    }
    vsnprintf(message, sizeof message, format, args);
    say_rate_sample(kind, level, message);
    say_message(s, level, about, message);
}

void shard_say(struct shard *s, enum config_level level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_v(s, level, (struct say_about){0}, format, args);
    va_end(args);
}

void shard_say_about(struct shard *s, enum config_level level, struct say_about about, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_v(s, level, about, format, args);
    va_end(args);
}

void node_say(const struct node *n, enum config_level level, const char *format, ...)
{
    char line[SAY_LINE_MAX];
    va_list args;
    if (!is_wanted(n, level))
        return;
    va_start(args, format);
    size_t len = say_format_now(line, n->options.say_style, level, format, args);
    va_end(args);
    n->options.say(line, len);
}

/* ---- a turn ---- */

static void summarize(struct shard *s)
{
    struct say_summary summary;
    char message[SAY_MESSAGE_MAX];
    while (say_rate_summary(&s->say, s->now, &summary)) {
        snprintf(message, sizeof message, "%" PRIu32 " more lines like this one were suppressed: %s",
                 summary.suppressed, summary.sample);
        say_message(s, summary.level, (struct say_about){0}, message);
    }
}

void say_turn(struct shard *s)
{
    if (s->now >= s->say.due)
        summarize(s);
    if (s->writer)
        writer_turn(s->writer);
}

uint64_t say_deadline(const struct shard *s)
{
    const struct say_writer *w = s->writer;
    uint64_t retry = w && w->len && !w->op.pending ? w->retry_at : UINT64_MAX;
    return retry < s->say.due ? retry : s->say.due;
}
