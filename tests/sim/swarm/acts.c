#include "tests/sim/swarm/acts.h"

#include <assert.h>

#include "tests/sim/world/sim.h"

/* New tables at the end, for the same reason as new rows. */
static const struct act_table *const tables[] = {&acts_net, &acts_host, &acts_disk, &acts_seam, &acts_user};
enum { TABLES = sizeof tables / sizeof tables[0] };

unsigned act_kinds(void)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < TABLES; i++)
        sum += tables[i]->count;
    return sum;
}

const struct act_kind *act_kind(unsigned kind)
{
    unsigned table = 0;
    for (; kind >= tables[table]->count; table++) {
        kind -= tables[table]->count;
        assert(table + 1 < TABLES);
    }
    return &tables[table]->rows[kind];
}

void act_draw_pair(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->other = (a->node + 1 + (unsigned)rng_below(rng, p->nodes - 1)) % p->nodes;
}

uint64_t act_draw_while(struct rng *rng)
{
    switch (rng_below(rng, 8)) {
    case 0:
        return 1 + rng_below(rng, 100 * SIM_MS);
    case 1:
        return 10 * SIM_S + rng_below(rng, 30 * SIM_S);
    case 2:
    case 3:
        return SIM_S + rng_below(rng, 10 * SIM_S);
    default:
        return 100 * SIM_MS + rng_below(rng, 3 * SIM_S);
    }
}

void act_tell_pair(const struct act *a, const struct plan *p, FILE *out)
{
    (void)p;
    fprintf(out, "node %u -> node %u", a->node, a->other);
}

void act_tell_node(const struct act *a, const struct plan *p, FILE *out)
{
    (void)p;
    fprintf(out, "node %u", a->node);
}

void act_tell_share(const struct act *a, FILE *out)
{
    fprintf(out, " %.2f %%", (double)a->amount / 1e4);
}
