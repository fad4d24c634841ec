/* What people do to a node that runs. */
#include "tests/sim/swarm/runner.h"

static bool draw_want(struct act *a, const struct plan *p, struct rng *rng)
{
    if (p->wants == 0)
        return false;
    a->amount = rng_below(rng, p->wants);
    a->lasts = act_draw_while(rng);
    return true;
}

static void tell_want(const struct act *a, const struct plan *p, FILE *out)
{
    const struct plan_want *w = &p->want[a->amount];
    fprintf(out, "node %u from %s of node %u", w->node, plan_channel(w->channel), w->from);
}

static void unsubscribe(struct run *r, const struct act *a)
{
    check_interrupted(&r->check, &r->mesh.nodes[r->plan->want[a->amount].node]);
    wish_want(r, &r->plan->want[a->amount], false);
}

static void subscribe(struct run *r, const struct act *a)
{
    check_interrupted(&r->check, &r->mesh.nodes[r->plan->want[a->amount].node]);
    wish_want(r, &r->plan->want[a->amount], true);
}

static bool draw_entry(struct act *a, const struct plan *p, struct rng *rng)
{
    act_draw_pair(a, p, rng);
    a->lasts = act_draw_while(rng);
    return p->knows[a->node][a->other];
}

static void tell_entry(const struct act *a, const struct plan *p, FILE *out)
{
    (void)p;
    fprintf(out, "node %u removes its entry of node %u", a->node, a->other);
}

static void forget(struct run *r, const struct act *a)
{
    check_interrupted(&r->check, &r->mesh.nodes[a->node]);
    wish_know(r, a->node, a->other, false);
}

static void know(struct run *r, const struct act *a)
{
    check_interrupted(&r->check, &r->mesh.nodes[a->node]);
    wish_know(r, a->node, a->other, true);
}

static const struct act_kind rows[] = {
    {"unsubscribe", 300000, 5, draw_want, tell_want, unsubscribe, subscribe},
    {"forget", 200000, 3, draw_entry, tell_entry, forget, know},
};
const struct act_table acts_user = {rows, sizeof rows / sizeof rows[0]};
