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

static bool draw_skew(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->amount = 1 + rng_below(rng, rng_below(rng, 2) ? 200 : 50000); /* ppm */
    a->more = rng_below(rng, 2);
    a->lasts = act_draw_while(rng);
    return true;
}

static void tell_skew(const struct act *a, const struct plan *p, FILE *out)
{
    act_tell_node(a, p, out);
    fprintf(out, " by %s%llu ppm", a->more ? "-" : "+", (unsigned long long)a->amount);
}

static void skew(struct run *r, const struct act *a)
{
    sim_host_set_skew(r->mesh.nodes[a->node].host, a->more ? -(int32_t)a->amount : (int32_t)a->amount);
}

static void skew_not(struct run *r, const struct act *a)
{
    sim_host_set_skew(r->mesh.nodes[a->node].host, 0);
}

static bool draw_pause(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->lasts = act_draw_while(rng);
    return true;
}

static void pause_it(struct run *r, const struct act *a)
{
    sim_host_pause(r->mesh.nodes[a->node].host, a->lasts);
}

static void go_on(struct run *r, const struct act *a)
{
    sim_host_pause(r->mesh.nodes[a->node].host, 0);
}

static bool draw_starve(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->other = (unsigned)rng_below(rng, p->node[a->node].shards);
    a->amount = 1 + rng_below(rng, rng_below(rng, 2) ? 5 * SIM_MS : 200 * SIM_MS);
    a->lasts = act_draw_while(rng);
    return true;
}

static void tell_starve(const struct act *a, const struct plan *p, FILE *out)
{
    act_tell_node(a, p, out);
    fprintf(out, " shard %u, up to %.3f ms a turn", a->other, (double)a->amount / 1e6);
}

static void starve(struct run *r, const struct act *a)
{
    sim_host_starve(r->mesh.nodes[a->node].host, a->other, (struct sim_range){0, a->amount});
}

static void starve_not(struct run *r, const struct act *a)
{
    sim_host_starve(r->mesh.nodes[a->node].host, a->other, (struct sim_range){0});
}

/* At some operation of its disk, from now on. */
static bool draw_trap(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->amount = rng_below(rng, rng_below(rng, 2) ? 20 : 1000); /* operations before it */
    a->more = rng_below(rng, 4);                               /* bit 0: after its effect, bit 1: the power goes too */
    a->lasts = act_draw_while(rng);
    return true;
}

static void tell_trap(const struct act *a, const struct plan *p, FILE *out)
{
    act_tell_node(a, p, out);
    fprintf(out, " %s the next but %llu%s", a->more & 1 ? "behind" : "before", (unsigned long long)a->amount,
            a->more & 2 ? ", without power" : "");
}

static void spring(void *ctx, const struct sim_disk_event *e)
{
    struct life *l = ctx;
    unsigned node = (unsigned)(l - l->run->lives);
    if (l->dying || e->number != l->dies_at / 2 || e->after != (l->dies_at & 1))
        return;
    l->dying = true;
    run_note(l->run, "node %u dies %s an operation of kind %d on %s", node, e->after ? "behind" : "before",
             (int)e->kind, e->path);
    feeds_gone(l->run, node);
    sim_host_crash_now(l->run->mesh.nodes[node].host, l->power);
}

static void set_trap(struct run *r, const struct act *a)
{
    struct life *l = &r->lives[a->node];
    l->dies_at = a->amount * 2 + (a->more & 1);
    l->power = a->more & 2;
    sim_disk_on_op(r->mesh.nodes[a->node].host, spring, l);
}

static void remove_trap(struct run *r, const struct act *a)
{
    sim_disk_on_op(r->mesh.nodes[a->node].host, NULL, NULL);
}

static const struct act_kind rows[] = {
    {"kill", 500000, 10, draw_down, act_tell_node, kill_it, start},
    {"power cut", 500000, 10, draw_down, act_tell_node, cut_power, start},
    {"stop", 300000, 5, draw_down, act_tell_node, stop, start},
    {"clock step", 200000, 3, draw_wall, tell_wall, set_wall, right_wall},
    {"clock skew", 200000, 3, draw_skew, tell_skew, skew, skew_not},
    {"pause", 200000, 4, draw_pause, act_tell_node, pause_it, go_on},
    {"starve", 200000, 4, draw_starve, tell_starve, starve, starve_not},
    {"die at an operation", 300000, 8, draw_trap, tell_trap, set_trap, remove_trap},
};
const struct act_table acts_host = {rows, sizeof rows / sizeof rows[0]};
