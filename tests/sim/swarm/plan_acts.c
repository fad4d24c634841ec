/* The script: which kinds of acts a seed has, and when what happens. */
#include <stdlib.h>

#include "tests/sim/swarm/acts.h"
#include "tests/sim/world/sim.h"

/* Each seed has only some kinds, so that no kind is always in the shadow of another: a node that is killed every
 * second never comes to what a slow leak would do. */
static void switch_on(struct plan *p, struct rng *rng)
{
    uint32_t share = (uint32_t[]){SIM_ALWAYS / 8, SIM_ALWAYS / 3, SIM_ALWAYS}[rng_below(rng, 3)];
    for (unsigned i = 0; i < act_kinds(); i++) {
        bool on = rng_chance(rng, (uint32_t)((uint64_t)act_kind(i)->switched * share / SIM_ALWAYS));
        p->kinds |= (uint64_t)on << i;
    }
}

static unsigned draw_kind(const struct plan *p, struct rng *rng)
{
    uint64_t sum = 0, at = 0;
    for (unsigned i = 0; i < act_kinds(); i++)
        sum += p->kinds >> i & 1 ? act_kind(i)->weight : 0;
    uint64_t wanted = rng_below(rng, sum);
    for (unsigned i = 0;; i++) {
        at += p->kinds >> i & 1 ? act_kind(i)->weight : 0;
        if (at > wanted)
            return i;
    }
}

static int by_time(const void *a, const void *b)
{
    const struct act *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* No two at the same time, so that the order is theirs. */
static bool taken(const struct plan *p, uint64_t at)
{
    for (unsigned i = 0; i < p->acts; i++)
        if (p->act[i].at == at)
            return true;
    return false;
}

void plan_draw_acts(struct plan *p, struct rng *rng)
{
    switch_on(p, rng);
    unsigned wanted = (unsigned[]){4, 12, 40, 100}[rng_below(rng, 4)];
    wanted = 1 + (unsigned)rng_below(rng, wanted);
    for (unsigned i = 0; i < wanted && p->kinds && p->acts < PLAN_ACTS; i++) {
        struct act a = {.at = SIM_S + rng_below(rng, p->ends - 2 * SIM_S), .kind = draw_kind(p, rng)};
        if (!taken(p, a.at) && act_kind(a.kind)->draw(&a, p, rng))
            p->act[p->acts++] = a;
    }
    qsort(p->act, p->acts, sizeof p->act[0], by_time);
}
