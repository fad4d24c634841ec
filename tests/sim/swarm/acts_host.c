/* What happens to machines, and to the processes on them. */
#include "tests/sim/swarm/runner.h"

/* How long it stays down: usually as long as a supervisor takes. */
static bool draw_down(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->lasts = rng_below(rng, 4) ? 1 + rng_below(rng, SIM_S) : act_draw_while(rng);
    return true;
}

static void kill_it(struct run *r, const struct act *a)
{
    life_hold(r, a->node, DOWN_KILL);
}

static void cut_power(struct run *r, const struct act *a)
{
    life_hold(r, a->node, DOWN_POWER);
}

static void stop(struct run *r, const struct act *a)
{
    life_hold(r, a->node, DOWN_STOP);
}

static void start(struct run *r, const struct act *a)
{
    life_release(r, a->node);
}

static bool draw_wall(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->amount = rng_below(rng, (uint64_t[]){SIM_S, 3600 * SIM_S, 400 * 86400 * SIM_S}[rng_below(rng, 3)]);
    a->more = rng_below(rng, 2);
    a->lasts = rng_below(rng, 2) ? 0 : act_draw_while(rng);
    return true;
}

static void tell_wall(const struct act *a, const struct plan *p, FILE *out)
{
    act_tell_node(a, p, out);
    fprintf(out, " by %s%.3f s", a->more ? "-" : "+", (double)a->amount / 1e9);
}

static void set_wall(struct run *r, const struct act *a)
{
    r->lives[a->node].clock_stepped = r->check.clocks_step = true;
    sim_host_set_wall(r->mesh.nodes[a->node].host, a->more ? -(int64_t)a->amount : (int64_t)a->amount);
}

static void right_wall(struct run *r, const struct act *a)
{
    sim_host_set_wall(r->mesh.nodes[a->node].host, 0);
}

static const struct act_kind rows[] = {
    {"kill", 500000, 10, draw_down, act_tell_node, kill_it, start},
    {"power cut", 500000, 10, draw_down, act_tell_node, cut_power, start},
    {"stop", 300000, 5, draw_down, act_tell_node, stop, start},
    {"clock step", 200000, 3, draw_wall, tell_wall, set_wall, right_wall},
};
const struct act_table acts_host = {rows, sizeof rows / sizeof rows[0]};
