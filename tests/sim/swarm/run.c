#include "tests/sim/swarm/run.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/sim/swarm/peace.h"
#include "tests/sim/swarm/runner.h"
#include "tests/sim/swarm/trace.h"

enum { SLICE_MS = 50 };

void run_fail(struct run *r, const char *format, ...)
{
    struct outcome *o = r->outcome;
    va_list args;
    if (o->failed)
        return;
    o->failed = true;
    o->at = sim_now(r->mesh.sim);
    va_start(args, format);
    vsnprintf(o->what, sizeof o->what, format, args);
    va_end(args);
    run_note(r, "FAILED: %s", o->what);
}

bool run_over(const struct run *r)
{
    return r->outcome->failed;
}

/* ---- the world ---- */

static void put_peers(struct mesh_node *m)
{
    struct peers_file file = {m->peers, m->peer_count, m->subscriptions, m->subscription_count};
    size_t len;
    char *text = peers_file_render(&file, &len);
    sim_disk_put(m->host, "/node/peers.yaml", (struct cspan){(const uint8_t *)text, len});
    free(text);
}

static void add_want(struct run *r, const struct plan_want *w)
{
    struct mesh_node *m = &r->mesh.nodes[w->node], *from = &r->mesh.nodes[w->from];
    if (w->mode == SUBSCRIBE_LIVE) {
        mesh_subscribe(m, plan_channel(w->channel), from);
        return;
    }
    mesh_follow(m, plan_channel(w->channel), from);
    struct subscription_entry *e = &m->subscriptions[m->subscription_count - 1];
    e->start = w->start;
    e->sequence = w->start == START_SEQUENCE ? w->sequence : 0;
}

static void make_world(struct run *r)
{
    const struct plan *p = r->plan;
    mesh_init(&r->mesh, p->seed);
    sim_settings(r->mesh.sim)->link.delay = (struct sim_range){p->delay, p->delay + p->jitter};
    for (unsigned i = 0; i < p->nodes; i++) {
        struct mesh_node *m = mesh_add(&r->mesh, p->node[i].shards);
        m->config = p->node[i].config;
        m->config.shards = p->node[i].shards;
        r->lives[i].start_at = p->node[i].start_at;
        r->lives[i].run = r;
        sim_disk_settings(m->host)->names = p->node[i].names;
        sim_disk_settings(m->host)->crash_zeros = p->node[i].names == SIM_NAMES_EXT4 ? SIM_ALWAYS / 2 : 0;
    }
    for (unsigned i = 0; i < p->nodes; i++)
        for (unsigned k = 0; k < p->nodes; k++)
            if (p->knows[i][k])
                mesh_know(&r->mesh.nodes[i], &r->mesh.nodes[k]);
    for (unsigned i = 0; i < p->wants; i++) {
        r->begun[i] = !p->want[i].asked;
        if (!p->want[i].asked)
            add_want(r, &p->want[i]);
    }
    for (unsigned i = 0; i < p->nodes; i++)
        put_peers(&r->mesh.nodes[i]);
    check_init(&r->check, &r->mesh);
    r->check.asked_again = true;
    feeds_init(r);
}

/* ---- acts ---- */

static void begin_act(struct run *r, const struct act *a)
{
    const struct act_kind *kind = act_kind(a->kind);
    trace_act(r, a, true);
    r->outcome->acts[a->kind]++;
    kind->begin(r, a);
    if (kind->end && a->lasts)
        r->lasting[r->lasting_count++] = a;
}

static void end_act(struct run *r, unsigned i)
{
    const struct act *a = r->lasting[i];
    r->lasting_count--;
    memmove(&r->lasting[i], &r->lasting[i + 1], (r->lasting_count - i) * sizeof r->lasting[0]);
    trace_act(r, a, false);
    act_kind(a->kind)->end(r, a);
}

void run_end_all(struct run *r)
{
    while (r->lasting_count > 0)
        end_act(r, 0);
}

/* Those whose time has come, ends first; then when the next one comes. */
static uint64_t acts_tick(struct run *r)
{
    const struct plan *p = r->plan;
    uint64_t now = sim_now(r->mesh.sim), next = UINT64_MAX;
    for (unsigned i = 0; i < r->lasting_count;) {
        const struct act *a = r->lasting[i];
        if (a->at + a->lasts <= now) {
            end_act(r, i);
            continue;
        }
        next = a->at + a->lasts < next ? a->at + a->lasts : next;
        i++;
    }
    for (; r->next_act < p->acts && p->act[r->next_act].at <= now; r->next_act++)
        begin_act(r, &p->act[r->next_act]);
    for (unsigned i = 0; i < r->lasting_count; i++)
        if (r->lasting[i]->at + r->lasting[i]->lasts < next)
            next = r->lasting[i]->at + r->lasting[i]->lasts;
    if (r->next_act < p->acts && p->act[r->next_act].at < next)
        next = p->act[r->next_act].at;
    return next;
}

static void ask_wants(struct run *r, uint64_t before)
{
    for (unsigned i = 0; i < r->plan->wants; i++) {
        const struct plan_want *w = &r->plan->want[i];
        if (w->asked && w->at > before && w->at <= sim_now(r->mesh.sim))
            wish_want(r, w, true);
    }
}

/* ---- a run ---- */

void run_step(struct run *r, uint64_t until)
{
    uint64_t before = sim_now(r->mesh.sim);
    sim_run_until(r->mesh.sim, until);
    lives_tick(r);
    ask_wants(r, before);
    feeds_tick(r);
    trace_tick(r);
    if (!check_step(&r->check))
        run_fail(r, "%s", r->check.what);
}

static void storm(struct run *r)
{
    while (!run_over(r) && sim_now(r->mesh.sim) < r->plan->ends) {
        uint64_t next = acts_tick(r), slice = sim_now(r->mesh.sim) + SLICE_MS * SIM_MS;
        next = next < slice ? next : slice;
        run_step(r, next < r->plan->ends ? next : r->plan->ends);
    }
}

static void sum_up(struct run *r)
{
    struct outcome *o = r->outcome;
    const struct plan *p = r->plan;
    o->trace = sim_trace_hash(r->mesh.sim);
    o->simulated_ns = sim_now(r->mesh.sim) - SIM_S;
    o->nodes = p->nodes;
    o->datagrams = sim_stats(r->mesh.sim)->datagrams;
    for (unsigned i = 0; i < p->nodes; i++)
        for (unsigned k = 0; k < p->nodes; k++)
            o->lost += sim_link(r->mesh.sim, r->mesh.nodes[i].host, r->mesh.nodes[k].host)->lost;
}

void run_plan(const struct plan *p, FILE *trace, struct outcome *o)
{
    struct run *r = calloc(1, sizeof *r);
    *o = (struct outcome){0};
    r->plan = p;
    r->trace = trace;
    r->outcome = o;
    make_world(r);
    trace_begin(r);
    storm(r);
    if (!run_over(r))
        make_peace(r);
    sum_up(r);
    mesh_deinit(&r->mesh);
    check_deinit(&r->check);
    trace_end(r);
    free(r);
}
