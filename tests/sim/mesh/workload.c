#include "tests/sim/mesh/workload.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "tests/sim/mesh/check_internal.h"

enum { PIPE = 4, BATCH_MAX = 64, MISSING_MAX = 3 };

enum batch_state {
    BATCH_FREE,
    BATCH_DUE,   /* an append that has to be asked for, again */
    BATCH_OPEN,  /* the node has not taken its events yet */
    BATCH_ASKED, /* it has, and owes an answer */
    BATCH_ANSWERED
};

struct batch {
    struct publisher publisher;
    struct workload *flow;
    enum batch_state state;
    unsigned life; /* of the node that was asked */
    unsigned log_life;
    uint64_t log_boot; /* of the log's node, when it was asked: an answer may come after its end */
    uint64_t from, sequence;
    uint32_t count;
    int err;
};

struct workload {
    struct workload *next; /* of the check's */
    struct check *check;
    struct mesh_node *node;
    struct workload_settings settings;
    struct workload_stats stats;
    struct channel_name channel;
    struct batch pipe[PIPE];
    uint64_t number; /* of the next event */
    /* at a peer: */
    uint8_t producer[16];
    uint64_t oldest, sequence; /* appends: without a good answer; next */
    unsigned missing;          /* times that the oldest was refused because one before it is missing */
    unsigned peer_life;        /* when this producer began, */
    uint64_t peer_boot;
    bool ticking;
};

static const struct mesh_node *log_node(const struct workload *f)
{
    return f->settings.to ? f->settings.to : f->node;
}

static struct batch *at(struct workload *f, uint64_t sequence)
{
    return &f->pipe[sequence % PIPE];
}

/* ---- one batch ---- */

static void refuse(struct batch *b)
{
    b->flow->stats.refused += b->count;
    b->state = BATCH_FREE;
}

static size_t make_frames(const struct batch *b, uint8_t *out)
{
    size_t len = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        size_t n = mesh_event(b->flow->stats.tag, b->from + i, out + len + 4);
        store_le32(out + len, (uint32_t)n);
        len += 4 + n;
    }
    return len;
}

static void put(struct batch *b)
{
    struct node *node = b->flow->node->node;
    uint8_t frames[BATCH_MAX * 260];
    size_t len = make_frames(b, frames);
    b->err = node_publish_put(node, &b->publisher, (struct cspan){frames, len}, b->count);
    if (b->err == NET_ERR_AGAIN)
        return;
    b->state = BATCH_ASKED;
    node_publish_finish(node, &b->publisher);
}

static void on_writable(struct publisher *p)
{
    struct batch *b = container_of(p, struct batch, publisher);
    if (b->state == BATCH_OPEN)
        put(b);
}

static void on_done(struct publisher *p, int err)
{
    struct batch *b = container_of(p, struct batch, publisher);
    struct workload *f = b->flow;
    bool all = p->events == b->count, in_a_row = p->events > 0 && p->last_seq - p->first_seq + 1 == p->events;
    if (!err && b->err)
        err = b->err;
    if (err == NET_OK && !all) {
        check_fail(f->check, "node %u answered a publish on %s with %lu of %u events and no error", f->node->number,
                   f->channel.text, p->events, b->count);
        err = NET_ERR_STATE;
    }
    b->err = err;
    b->state = BATCH_ANSWERED;
    if (!f->settings.to || err == NET_OK) {
        ledger_acked(f->check, ledger_source(f->check, f->stats.tag),
                     &(struct acked){b->from, p->events, in_a_row ? p->first_seq : CHECK_SEQ, f->settings.durable,
                                     b->log_life, b->log_boot});
        f->stats.acked += p->events;
    }
}

/* False: refused at once, with b->err. */
static bool ask(struct batch *b)
{
    struct workload *f = b->flow;
    struct node *node = f->node->node;
    b->publisher = (struct publisher){.writable = on_writable, .done = on_done};
    b->life = f->node->lives;
    b->log_life = log_node(f)->lives;
    b->log_boot = sim_host_boots(log_node(f)->host);
    sim_host_poke(f->node->host, 0);
    b->err = f->settings.to ? node_publish_open_to(node, &b->publisher, &f->channel, f->settings.durable,
                                                   f->settings.to->node_id, f->producer, b->sequence)
                            : node_publish_open(node, &b->publisher, &f->channel, f->settings.durable);
    if (b->err)
        return false;
    b->state = BATCH_OPEN;
    put(b);
    return true;
}

static void make(struct workload *f, struct batch *b, uint64_t sequence)
{
    uint64_t left = f->settings.events ? f->settings.events - f->number : UINT64_MAX;
    *b = (struct batch){.flow = f, .state = BATCH_DUE, .from = f->number, .sequence = sequence};
    b->count = left < f->settings.batch ? (uint32_t)left : f->settings.batch;
    f->number += b->count;
    f->stats.handed += b->count;
    check_handed(f->check, log_node(f), f->channel.text, f->stats.tag, b->from, b->count);
    struct source *s = ledger_source(f->check, f->stats.tag);
    s->retries = f->settings.to != NULL;
    s->synced = f->settings.durable;
}

static bool has_more(const struct workload *f)
{
    return !f->check->own->stopped && (!f->settings.events || f->number < f->settings.events);
}

/* The node that was asked is gone, and with it the answer. */
static bool is_void(const struct batch *b)
{
    return (b->state == BATCH_OPEN || b->state == BATCH_ASKED) &&
           (!b->flow->node->node || b->life != b->flow->node->lives);
}

/* ---- at home: one at a time, never twice ---- */

static void publish(struct workload *f)
{
    struct batch *b = at(f, 0);
    if (is_void(b))
        refuse(b);
    else if (b->state == BATCH_ANSWERED) {
        f->stats.refused += b->count - b->publisher.events;
        b->state = BATCH_FREE;
    }
    if (b->state != BATCH_FREE || !f->node->node || !has_more(f))
        return;
    make(f, b, 0);
    if (!ask(b))
        refuse(b);
}

/* ---- at a peer: in order, until answered ---- */

static void new_producer(struct workload *f)
{
    for (size_t i = 0; i < sizeof f->producer; i++)
        f->producer[i] = (uint8_t)(sim_random(f->check->mesh->sim) >> 32);
    f->oldest = f->sequence = 0;
    f->missing = 0;
    f->peer_life = f->settings.to->lives;
    f->peer_boot = sim_host_boots(f->settings.to->host);
}

/* What a log's node remembers of producers outlives kills where there is a log on disk, and power cuts where it was
 * durable. */
static bool may_have_forgotten(const struct workload *f)
{
    const struct mesh_node *to = f->settings.to;
    if (config_channel(&to->config, f->channel.text)->log != LOG_DISK)
        return to->lives != f->peer_life;
    return check_node(f->check, to)->excused || (!f->settings.durable && sim_host_boots(to->host) != f->peer_boot);
}

static void give_up(struct workload *f, int err)
{
    for (uint64_t s = f->oldest; s < f->sequence; s++) {
        struct batch *b = at(f, s);
        if ((b->state == BATCH_OPEN || b->state == BATCH_ASKED) && !is_void(b))
            node_publish_cancel(f->node->node, &b->publisher);
        if (b->state == BATCH_ANSWERED && b->err == NET_OK)
            b->state = BATCH_FREE;
        else
            refuse(b);
    }
    if (!may_have_forgotten(f)) {
        check_fail(f->check, "node %u forgot the producer of %u on %s: %s, at append %lu", f->settings.to->number,
                   f->stats.tag, f->channel.text, net_err_name(err), f->oldest);
        f->stats.err = err;
    }
    new_producer(f);
}

static bool mends(int err)
{
    return err == NET_ERR_UNREACHABLE || err == NET_ERR_TIMEOUT || err == NET_ERR_AGAIN || err == NET_ERR_STATE ||
           err == NET_ERR_CLOSED || err == NET_ERR_NO_SPACE || err == NET_ERR_IO || err == NET_ERR_POISONED ||
           err == NET_ERR_READ_ONLY || err == NET_ERR_FULL || err == NET_ERR_LIMIT || err == NET_ERR_UNSUPPORTED;
}

/* What became of the batches that were asked for. False: this producer is over. */
static bool collect(struct workload *f)
{
    for (; f->oldest < f->sequence && at(f, f->oldest)->state == BATCH_ANSWERED && at(f, f->oldest)->err == NET_OK;
         f->oldest++) {
        at(f, f->oldest)->state = BATCH_FREE;
        f->missing = 0;
    }
    for (uint64_t s = f->oldest; s < f->sequence; s++) {
        struct batch *b = at(f, s);
        if (is_void(b))
            b->state = BATCH_DUE;
        if (b->state != BATCH_ANSWERED || b->err == NET_OK)
            continue;
        if (s == f->oldest && b->err == NET_ERR_STATE && ++f->missing >= MISSING_MAX) {
            give_up(f, b->err);
            return false;
        }
        if (!mends(b->err)) {
            give_up(f, b->err);
            return false;
        }
        b->state = BATCH_DUE;
    }
    return true;
}

static void append(struct workload *f)
{
    if (!collect(f) || f->stats.err || !f->node->node)
        return;
    if (f->sequence - f->oldest < PIPE && has_more(f)) {
        make(f, at(f, f->sequence), f->sequence);
        f->sequence++;
    }
    for (uint64_t s = f->oldest; s < f->sequence; s++) {
        struct batch *b = at(f, s);
        if (b->state == BATCH_DUE && !ask(b))
            return; /* in order: those behind it wait */
    }
}

/* ---- all of them ---- */

static bool unanswered(const struct workload *f)
{
    for (size_t i = 0; i < PIPE; i++)
        if (f->pipe[i].state != BATCH_FREE)
            return true;
    return false;
}

static void tick(void *ctx)
{
    struct workload *f = ctx;
    if (f->settings.to)
        append(f);
    else
        publish(f);
    f->stats.unanswered = 0;
    for (size_t i = 0; i < PIPE; i++)
        f->stats.unanswered += f->pipe[i].state != BATCH_FREE;
    f->ticking = has_more(f) || unanswered(f);
    if (f->ticking)
        sim_call_at(f->check->mesh->sim, sim_now(f->check->mesh->sim) + f->settings.interval, tick, f);
}

struct workload *workload_publish(struct check *c, struct mesh_node *m, const struct workload_settings *settings)
{
    struct workload *f = calloc(1, sizeof *f);
    assert(f && settings->batch >= 1 && settings->batch <= BATCH_MAX && settings->interval > 0);
    *f = (struct workload){.next = c->own->workloads, .check = c, .node = m, .settings = *settings, .ticking = true};
    f->stats.tag = c->own->next_tag++;
    enum channel_name_error valid = channel_name_parse(settings->channel, strlen(settings->channel), &f->channel);
    assert(valid == CHANNEL_NAME_OK);
    if (settings->to)
        new_producer(f);
    c->own->workloads = f;
    sim_call_at(c->mesh->sim, sim_now(c->mesh->sim), tick, f);
    return f;
}

struct workload_stats workload_look(const struct workload *f)
{
    return f->stats;
}

struct workload_stats workload_sum(const struct check *c)
{
    struct workload_stats sum = {0};
    for (const struct workload *f = c->own->workloads; f; f = f->next) {
        sum.handed += f->stats.handed;
        sum.acked += f->stats.acked;
        sum.refused += f->stats.refused;
        sum.unanswered += f->stats.unanswered;
        sum.err = f->stats.err ? f->stats.err : sum.err;
    }
    return sum;
}

void workload_stop(struct check *c)
{
    c->own->stopped = true;
}

static struct workload *first_ticking(struct check *c)
{
    struct workload *f = c->own->workloads;
    while (f && !f->ticking)
        f = f->next;
    return f;
}

static bool any_ticking(void *ctx)
{
    return first_ticking(ctx) != NULL;
}

bool workload_finish(struct check *c, uint64_t limit_ns)
{
    if (sim_run_while(c->mesh->sim, any_ticking, c, limit_ns))
        return c->what[0] == 0;
    const struct workload *f = first_ticking(c);
    const struct batch *b = f->settings.to ? &f->pipe[f->oldest % PIPE] : &f->pipe[0];
    return check_fail(c, "node %u has no answer from node %u about event %lu of %u on %s: %s", f->node->number,
                      log_node(f)->number, b->from, f->stats.tag, f->channel.text,
                      b->err ? net_err_name(b->err) : "silence");
}

void workload_free(struct check *c)
{
    for (struct workload *f; (f = c->own->workloads);) {
        c->own->workloads = f->next;
        free(f);
    }
}
