#include "tests/sim/swarm/trace.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/channel/channel.h"
#include "shards/logs/log.h"
#include "shards/node/shard.h"
#include "tests/sim/swarm/runner.h"
#include "tests/sim/swarm/trace_packets.h"

/* What a node counts and a reader of a trace wants to know of. */
static const struct {
    const char *name;
    size_t offset;
} rows[] = {
#define X(field, name, labels, help) {#field, offsetof(struct shard_metrics, field)},
    SHARD_COUNTERS(X)
#undef X
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static const char *const losses[SIM_LOSSES] = {
    [SIM_LOST_LOSS] = "at random", [SIM_LOST_BURST] = "in a burst",   [SIM_LOST_DOWN] = "cut",
    [SIM_LOST_MTU] = "too large",  [SIM_LOST_QUEUE] = "queue full",   [SIM_LOST_TAP] = "by the test",
    [SIM_LOST_NAT] = "by a NAT",   [SIM_LOST_NOBODY] = "nobody there"};

/* What was told last. */
struct seen {
    bool connected[PLAN_NODES][PLAN_NODES], active[PLAN_WANTS];
    struct {
        uint8_t id[LOG_ID_SIZE];
        uint64_t first, next;
    } logs[PLAN_NODES][PLAN_CHANNELS];
    unsigned life[PLAN_NODES];
    uint64_t counters[PLAN_NODES][ROWS], lost[PLAN_NODES][PLAN_NODES][SIM_LOSSES];
    uint64_t next_second;
};

static void begin_line(struct run *r)
{
    fprintf(r->trace, "%10.3f s  ", (double)sim_now(r->mesh.sim) / 1e9);
}

void run_note(struct run *r, const char *format, ...)
{
    va_list args;
    if (!r->trace)
        return;
    begin_line(r);
    va_start(args, format);
    vfprintf(r->trace, format, args);
    va_end(args);
    fputc('\n', r->trace);
}

void trace_act(struct run *r, const struct act *a, bool begins)
{
    if (!r->trace)
        return;
    begin_line(r);
    fprintf(r->trace, "%s%s ", begins ? "" : "end of ", act_kind(a->kind)->name);
    act_kind(a->kind)->tell(a, r->plan, r->trace);
    fputc('\n', r->trace);
}

static void tell_sessions(struct run *r, unsigned i, unsigned k)
{
    struct mesh_node *nodes = r->mesh.nodes;
    bool *before = &r->seen->connected[i][k], now = i != k && mesh_connected(&nodes[i], &nodes[k]);
    if (now != *before)
        run_note(r, "node %u %s node %u", i, now ? "has a session with" : "has lost", k);
    *before = now;
}

/* ---- subscriptions and logs ---- */

struct look {
    const char *channel, *note;
    uint64_t peer;
    bool active;
};

static void on_subscription(void *ctx, const struct subscription_row *row)
{
    struct look *look = ctx;
    if (row->peer != look->peer || strcmp(row->channel, look->channel) != 0)
        return;
    look->active = row->active;
    look->note = row->note;
}

static void tell_want(struct run *r, unsigned i)
{
    const struct plan_want *w = &r->plan->want[i];
    struct look look = {.note = "", .channel = plan_channel(w->channel), .peer = r->mesh.nodes[w->from].node_id};
    if (r->mesh.nodes[w->node].node)
        node_each_subscription(r->mesh.nodes[w->node].node, on_subscription, &look);
    if (look.active != r->seen->active[i])
        run_note(r, "node %u %s %s of node %u%s%s", w->node, look.active ? "reads" : "does not read", look.channel,
                 w->from, look.note[0] ? ": " : "", look.note);
    r->seen->active[i] = look.active;
}

/* A log of a node's own, at the beginning of a life and when it is another. */
static void tell_log(struct run *r, unsigned node, unsigned channel, bool anew)
{
    struct mesh_node *m = &r->mesh.nodes[node];
    const char *text = plan_channel(channel);
    uint64_t hash = channel_hash(text, strlen(text));
    struct log *log =
        m->node ? log_find(node_shard(m->node, log_owner(m->node, hash)), (struct log_key){0, hash, 0}) : NULL;
    struct log_heads heads;
    uint8_t id[LOG_ID_SIZE] = {0};
    if (!log || !log->open)
        return;
    log_heads(log, &heads);
    if (log->kind != LOG_NONE)
        log_id(log, id);
    bool other = memcmp(id, r->seen->logs[node][channel].id, sizeof id) != 0;
    if (anew || other)
        run_note(r, "node %u has %s from %llu to %llu%s", node, text, (unsigned long long)heads.first,
                 (unsigned long long)heads.live, other ? ", a log made anew" : "");
    memcpy(r->seen->logs[node][channel].id, id, sizeof id);
}

/* ---- once a second: what was dropped and lost ---- */

static void tell_drops(struct run *r, unsigned node)
{
    struct mesh_node *m = &r->mesh.nodes[node];
    const char *begin = "drops";
    for (size_t i = 0; m->node && i < ROWS; i++) {
        uint64_t *before = &r->seen->counters[node][i], now = mesh_counter(m, rows[i].offset);
        bool drops = strncmp(rows[i].name, "drop_", 5) == 0;
        if (drops && now > *before) {
            if (begin[0] == 'd') {
                begin_line(r);
                fprintf(r->trace, "node %u ", node);
            }
            fprintf(r->trace, "%s %llu %s", begin, (unsigned long long)(now - *before), rows[i].name + 5);
            begin = ",";
        }
        *before = now;
    }
    if (begin[0] == ',')
        fputc('\n', r->trace);
}

static void tell_losses(struct run *r, unsigned from, unsigned to)
{
    const struct sim_link *l = sim_link(r->mesh.sim, r->mesh.nodes[from].host, r->mesh.nodes[to].host);
    for (unsigned i = 0; i < SIM_LOSSES; i++) {
        uint64_t *before = &r->seen->lost[from][to][i];
        if (l->lost_by[i] > *before)
            run_note(r, "node %u -> node %u loses %llu datagrams, %s", from, to,
                     (unsigned long long)(l->lost_by[i] - *before), losses[i]);
        *before = l->lost_by[i];
    }
}

static void tell_second(struct run *r)
{
    const struct plan *p = r->plan;
    if (sim_now(r->mesh.sim) < r->seen->next_second)
        return;
    r->seen->next_second = sim_now(r->mesh.sim) + SIM_S;
    for (unsigned i = 0; i < p->nodes; i++) {
        tell_drops(r, i);
        for (unsigned k = 0; k < p->nodes; k++)
            tell_losses(r, i, k);
    }
}

/* ---- all of it ---- */

void trace_begin(struct run *r)
{
    if (!r->trace)
        return;
    r->seen = calloc(1, sizeof *r->seen);
    assert(r->seen);
    if (r->packets)
        trace_packets(r);
}

void trace_tick(struct run *r)
{
    const struct plan *p = r->plan;
    if (!r->trace)
        return;
    for (unsigned i = 0; i < p->nodes; i++) {
        bool anew = r->seen->life[i] != r->mesh.nodes[i].lives;
        if (anew)
            memset(r->seen->counters[i], 0, sizeof r->seen->counters[i]);
        r->seen->life[i] = r->mesh.nodes[i].lives;
        for (unsigned k = 0; k < p->nodes; k++)
            tell_sessions(r, i, k);
        for (unsigned k = 0; k < p->channels; k++)
            tell_log(r, i, k, anew);
    }
    for (unsigned i = 0; i < p->wants; i++)
        tell_want(r, i);
    tell_second(r);
}

void trace_end(struct run *r)
{
    free(r->seen);
}
