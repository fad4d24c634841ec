/* What networks do. */
#include "tests/sim/swarm/runner.h"

static struct sim_link *link_of(struct run *r, const struct act *a)
{
    return sim_link(r->mesh.sim, r->mesh.nodes[a->node].host, r->mesh.nodes[a->other].host);
}

static bool draw_link(struct act *a, const struct plan *p, struct rng *rng)
{
    act_draw_pair(a, p, rng);
    a->lasts = act_draw_while(rng);
    return true;
}

/* A share of the datagrams: small ones mostly. */
static bool draw_share(struct act *a, const struct plan *p, struct rng *rng)
{
    draw_link(a, p, rng);
    a->amount = 100 + rng_below(rng, rng_below(rng, 2) ? 20000 : 400000);
    return true;
}

static void tell_share(const struct act *a, const struct plan *p, FILE *out)
{
    act_tell_pair(a, p, out);
    act_tell_share(a, out);
}

static void cut(struct run *r, const struct act *a)
{
    link_of(r, a)->down = true;
}

static void heal(struct run *r, const struct act *a)
{
    link_of(r, a)->down = false;
}

static void island(struct run *r, const struct act *a, bool down)
{
    for (unsigned i = 0; i < r->plan->nodes; i++)
        if (i != a->node)
            sim_cut(r->mesh.sim, r->mesh.nodes[a->node].host, r->mesh.nodes[i].host, down);
}

static bool draw_island(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->lasts = act_draw_while(rng);
    return true;
}

static void cut_off(struct run *r, const struct act *a)
{
    island(r, a, true);
}

static void join(struct run *r, const struct act *a)
{
    island(r, a, false);
}

static void lose(struct run *r, const struct act *a)
{
    link_of(r, a)->loss = (uint32_t)a->amount;
}

static void lose_not(struct run *r, const struct act *a)
{
    link_of(r, a)->loss = 0;
}

static void duplicate(struct run *r, const struct act *a)
{
    link_of(r, a)->duplicate = (uint32_t)a->amount;
}

static void duplicate_not(struct run *r, const struct act *a)
{
    link_of(r, a)->duplicate = 0;
}

static void reorder(struct run *r, const struct act *a)
{
    struct sim_link *l = link_of(r, a);
    l->reorder = (uint32_t)a->amount;
    l->tail = (uint32_t)a->amount;
    l->tail_max = 50 * SIM_MS;
}

static void reorder_not(struct run *r, const struct act *a)
{
    struct sim_link *l = link_of(r, a);
    l->reorder = l->tail = 0;
}

static void corrupt(struct run *r, const struct act *a)
{
    link_of(r, a)->corrupt = (uint32_t)a->amount;
}

static void corrupt_not(struct run *r, const struct act *a)
{
    link_of(r, a)->corrupt = 0;
}

/* Mean lengths of a bad and a good time, in datagrams. */
static bool draw_bursts(struct act *a, const struct plan *p, struct rng *rng)
{
    draw_link(a, p, rng);
    a->amount = 2 + rng_below(rng, 50);
    a->more = a->amount * (2 + rng_below(rng, 50));
    return true;
}

static void tell_bursts(const struct act *a, const struct plan *p, FILE *out)
{
    act_tell_pair(a, p, out);
    fprintf(out, " of %llu in %llu datagrams", (unsigned long long)a->amount, (unsigned long long)a->more);
}

static void burst(struct run *r, const struct act *a)
{
    struct sim_link *l = link_of(r, a);
    l->burst_end = (uint32_t)(SIM_ALWAYS / a->amount);
    l->burst_begin = (uint32_t)(SIM_ALWAYS / a->more);
}

static void burst_not(struct run *r, const struct act *a)
{
    struct sim_link *l = link_of(r, a);
    l->burst_begin = l->burst_end = 0;
}

static bool draw_slow(struct act *a, const struct plan *p, struct rng *rng)
{
    draw_link(a, p, rng);
    a->amount = 5000 + rng_below(rng, 200000); /* bytes a second */
    a->more = rng_below(rng, 2) ? 0 : 3000 + rng_below(rng, 60000);
    return true;
}

static void tell_slow(const struct act *a, const struct plan *p, FILE *out)
{
    act_tell_pair(a, p, out);
    fprintf(out, " %llu bytes/s, queue %llu", (unsigned long long)a->amount, (unsigned long long)a->more);
}

static void slow(struct run *r, const struct act *a)
{
    struct sim_link *l = link_of(r, a);
    l->rate = a->amount;
    l->queue = (uint32_t)a->more;
}

static void slow_not(struct run *r, const struct act *a)
{
    struct sim_link *l = link_of(r, a);
    l->rate = l->queue = 0;
}

static bool draw_move(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->amount = 20038 + rng_below(rng, 1000);
    a->lasts = act_draw_while(rng);
    return true;
}

static void tell_move(const struct act *a, const struct plan *p, FILE *out)
{
    act_tell_node(a, p, out);
    fprintf(out, " to port %llu", (unsigned long long)a->amount);
}

static void move_to(struct run *r, const struct act *a, uint64_t port)
{
    struct sim_host *h = r->mesh.nodes[a->node].host;
    struct io_addr addr = sim_host_addr(h);
    addr.port = (uint16_t)port;
    sim_host_set_addr(h, &addr);
}

static void move(struct run *r, const struct act *a)
{
    move_to(r, a, a->amount);
}

static void move_back(struct run *r, const struct act *a)
{
    move_to(r, a, 20037);
}

static bool draw_nat(struct act *a, const struct plan *p, struct rng *rng)
{
    (void)a;
    (void)rng;
    return p->behind < p->nodes;
}

static void tell_nat(const struct act *a, const struct plan *p, FILE *out)
{
    (void)a;
    fprintf(out, "before nodes from %u on", p->behind);
}

static void restart_nat(struct run *r, const struct act *a)
{
    (void)a;
    sim_nat_restart(r->nat);
}

static void roam_nat(struct run *r, const struct act *a)
{
    (void)a;
    sim_nat_roam(r->nat);
}

static const struct act_kind rows[] = {
    {"cut", 400000, 10, draw_link, act_tell_pair, cut, heal},
    {"island", 300000, 5, draw_island, act_tell_node, cut_off, join},
    {"loss", 500000, 10, draw_share, tell_share, lose, lose_not},
    {"duplicate", 400000, 8, draw_share, tell_share, duplicate, duplicate_not},
    {"reorder", 400000, 8, draw_share, tell_share, reorder, reorder_not},
    {"corrupt", 300000, 8, draw_share, tell_share, corrupt, corrupt_not},
    {"loss in bursts", 300000, 5, draw_bursts, tell_bursts, burst, burst_not},
    {"slow link", 200000, 5, draw_slow, tell_slow, slow, slow_not},
    {"move", 200000, 3, draw_move, tell_move, move, move_back},
    {"NAT restarts", 700000, 5, draw_nat, tell_nat, restart_nat, NULL},
    {"NAT moves", 700000, 5, draw_nat, tell_nat, roam_nat, NULL},
};
const struct act_table acts_net = {rows, sizeof rows / sizeof rows[0]};
