#include "tests/sim/swarm/peace.h"

#include <string.h>

#include "core/base/err.h"
#include "tests/sim/swarm/runner.h"

enum { STEP_MS = 100, START_S = 30, MEET_S = 200, ANSWER_S = 200, REST_S = 15, STOP_S = 60 };

/* Runs until it holds; false: not within the time. */
static bool wait_for(struct run *r, bool (*holds)(const struct run *), unsigned limit_s)
{
    uint64_t end = sim_now(r->mesh.sim) + limit_s * SIM_S;
    while (!run_over(r) && !holds(r)) {
        if (sim_now(r->mesh.sim) >= end)
            return false;
        run_step(r, sim_now(r->mesh.sim) + STEP_MS * SIM_MS);
    }
    return !run_over(r);
}

/* A log that failed at the disk takes nothing until its node starts again. */
static void restart_failed(struct run *r)
{
    for (unsigned i = 0; i < r->plan->nodes; i++) {
        if (r->lives[i].disk_failing && r->mesh.nodes[i].node)
            life_take_down(r, i, DOWN_KILL);
        r->lives[i].disk_failing = false;
        r->lives[i].start_at = 0;
    }
}

/* ---- who knows whom, and who reads what ---- */

struct look {
    const char *channel;
    uint64_t peer;
    bool there, active;
    const char *note;
};

static void on_subscription(void *ctx, const struct subscription_row *row)
{
    struct look *look = ctx;
    if (row->peer != look->peer || strcmp(row->channel, look->channel) != 0)
        return;
    look->there = true;
    look->active = row->active;
    look->note = row->note;
}

static struct look look_at(const struct run *r, const struct plan_want *w)
{
    struct look look = {.note = "", .channel = plan_channel(w->channel), .peer = r->mesh.nodes[w->from].node_id};
    if (r->mesh.nodes[w->node].node)
        node_each_subscription(r->mesh.nodes[w->node].node, on_subscription, &look);
    return look;
}

static bool has_entry(const struct run *r, unsigned node, unsigned other)
{
    char name[32];
    uint64_t id;
    snprintf(name, sizeof name, "node-%u", other);
    return node_resolve_peer(r->mesh.nodes[node].node, name, &id) == NET_OK;
}

static bool all_as_planned(const struct run *r)
{
    for (unsigned i = 0; i < r->plan->nodes; i++)
        for (unsigned k = 0; k < r->plan->nodes; k++)
            if (r->plan->knows[i][k] && !has_entry(r, i, k))
                return false;
    for (unsigned i = 0; i < r->plan->wants; i++)
        if (!look_at(r, &r->plan->want[i]).there)
            return false;
    return true;
}

static bool requests_answered(const struct run *r)
{
    for (size_t i = 0; i < REQUESTS; i++)
        if (r->feeds.requests[i].open)
            return false;
    return true;
}

/* What was removed comes back. */
static void ask_as_planned(struct run *r)
{
    for (unsigned i = 0; i < r->plan->nodes; i++)
        for (unsigned k = 0; k < r->plan->nodes; k++)
            if (r->plan->knows[i][k] && !has_entry(r, i, k))
                wish_know(r, i, k, true);
    wait_for(r, requests_answered, START_S);
    for (unsigned i = 0; i < r->plan->wants; i++)
        if (!look_at(r, &r->plan->want[i]).there)
            wish_want(r, &r->plan->want[i], true);
    wait_for(r, requests_answered, START_S);
}

/* A log without files is made anew at each start, and who follows it is refused until it says where to begin in the new
 * one: shards/admin/API.md, "Subscribe". */
static bool was_made_anew(const struct run *r, const struct plan_want *w)
{
    const struct config *c = &r->plan->node[w->from].config;
    return config_channel(c, plan_channel(w->channel))->log != LOG_DISK && r->mesh.nodes[w->from].lives > 1 &&
           strcmp(look_at(r, w).note, "the log was made anew") == 0;
}

static void begin_anew(struct run *r)
{
    for (unsigned i = 0; i < r->plan->wants; i++) {
        const struct plan_want *w = &r->plan->want[i];
        if (was_made_anew(r, w))
            wish_begin(r, w, START_EARLIEST);
    }
    wait_for(r, requests_answered, START_S);
}

static bool all_meet(const struct run *r)
{
    struct mesh_node *nodes = r->mesh.nodes;
    for (unsigned i = 0; i < r->plan->nodes; i++)
        for (unsigned k = 0; k < r->plan->nodes; k++)
            if (i != k && plan_meets(r->plan, i, k) && !mesh_connected(&nodes[i], &nodes[k]))
                return false;
    return true;
}

static bool all_active(const struct run *r)
{
    for (unsigned i = 0; i < r->plan->wants; i++) {
        const struct plan_want *w = &r->plan->want[i];
        if (plan_meets(r->plan, w->node, w->from) && !look_at(r, w).active && !was_made_anew(r, w))
            return false;
    }
    return true;
}

/* ---- what is not as it should be, told ---- */

static void tell_apart(struct run *r)
{
    struct mesh_node *nodes = r->mesh.nodes;
    for (unsigned i = 0; i < r->plan->nodes; i++)
        for (unsigned k = 0; k < r->plan->nodes; k++)
            if (i != k && plan_meets(r->plan, i, k) && !mesh_connected(&nodes[i], &nodes[k]))
                run_fail(r, "node %u has no session with node %u after %d s of peace", i, k, MEET_S);
}

static void tell_inactive(struct run *r)
{
    for (unsigned i = 0; i < r->plan->wants; i++) {
        const struct plan_want *w = &r->plan->want[i];
        struct look look = look_at(r, w);
        if (plan_meets(r->plan, w->node, w->from) && !look.active)
            run_fail(r, "node %u does not come to read %s of node %u in %d s of peace: %s", w->node,
                     plan_channel(w->channel), w->from, MEET_S, look.note);
    }
}

static void tell_unanswered(struct run *r)
{
    for (unsigned i = 0; i < r->plan->feeds; i++) {
        const struct feed *f = &r->feeds.all[i];
        if (f->open || f->unanswered)
            run_fail(r, "node %u has no answer to what it published to %s in %d s of peace: %llu of %llu events",
                     f->plan->node, plan_channel(f->plan->channel), ANSWER_S, (unsigned long long)f->publisher.events,
                     (unsigned long long)(f->end - f->from));
    }
}

static void stop_all(struct run *r)
{
    for (unsigned i = 0; i < r->plan->nodes && !run_over(r); i++) {
        life_hold(r, i, DOWN_STOP);
        wishes_forget(r, i);
    }
    uint64_t end = sim_now(r->mesh.sim) + STOP_S * SIM_S;
    for (unsigned up = r->plan->nodes; up > 0 && !run_over(r) && sim_now(r->mesh.sim) < end + SIM_S;) {
        run_step(r, sim_now(r->mesh.sim) + STEP_MS * SIM_MS);
        up = 0;
        for (unsigned i = 0; i < r->plan->nodes; i++)
            up += r->mesh.nodes[i].node != NULL;
    }
}

/* Not check_quiet(): keys may change every few seconds here. */
static bool all_holds(struct check *c)
{
    return check_converges(c, MEET_S * SIM_S) && check_logs(c) && check_followers(c) && check_drops(c) && check_step(c);
}

static void judge(struct run *r)
{
    for (unsigned i = 0; i < r->plan->nodes; i++)
        life_read_peers(r, i);
    run_note(r, "judgement");
    if (!run_over(r) && !all_holds(&r->check))
        run_fail(r, "%s", r->check.what);
}

void make_peace(struct run *r)
{
    run_note(r, "peace");
    run_end_all(r);
    restart_failed(r);
    if (!wait_for(r, lives_all_up, START_S + STOP_S))
        run_fail(r, "not all nodes run after %d s of peace", START_S);
    for (int i = 0; i < 10 && !run_over(r) && !all_as_planned(r); i++)
        ask_as_planned(r);
    if (!run_over(r) && !all_as_planned(r))
        run_fail(r, "entries and subscriptions do not come back");
    if (!wait_for(r, all_meet, MEET_S))
        tell_apart(r);
    for (int i = 0; i < 2 && !run_over(r); i++) {
        if (!wait_for(r, all_active, MEET_S))
            tell_inactive(r);
        begin_anew(r);
    }
    r->feeds.closing = true;
    if (!wait_for(r, feeds_idle, ANSWER_S))
        tell_unanswered(r);
    run_step(r, sim_now(r->mesh.sim) + REST_S * SIM_S);
    if (!run_over(r))
        judge(r);
    if (!run_over(r))
        stop_all(r);
}
