/*
 * The kinds of acts: how one is drawn, how it reads, what it does and how it is undone. A new fault is a row in one of
 * the files acts_*.c, at the end of its table: a plan's version counts rows.
 */
#ifndef NM_TESTS_SIM_ACTS_H
#define NM_TESTS_SIM_ACTS_H

#include "tests/sim/swarm/plan.h"

struct run;

struct act_kind {
    const char *name;  /* as the script and the totals call it */
    uint32_t switched; /* ppm of the seeds that have it at all */
    unsigned weight;   /* how often, among those that a seed has */
    /* Fills in whom and how much; `at` is set, the rest zero. False: there is nothing to do it to in this plan. */
    bool (*draw)(struct act *, const struct plan *, struct rng *);
    /* What comes behind the name: "node 2 -> node 3". Without its duration. */
    void (*tell)(const struct act *, const struct plan *, FILE *);
    void (*begin)(struct run *, const struct act *);
    void (*end)(struct run *, const struct act *); /* NULL: nothing is undone */
};

/* All of them, numbered as struct act has it. */
const struct act_kind *act_kind(unsigned kind);
unsigned act_kinds(void);

struct act_table {
    const struct act_kind *rows;
    unsigned count;
};
extern const struct act_table acts_net, acts_host, acts_disk, acts_seam, acts_user;

/* What several files draw. */
void act_draw_pair(struct act *, const struct plan *, struct rng *); /* node and other, not the same */
uint64_t act_draw_while(struct rng *); /* a duration: mostly short, now and then longer than a session lives */
void act_tell_pair(const struct act *, const struct plan *, FILE *);
void act_tell_node(const struct act *, const struct plan *, FILE *);
void act_tell_share(const struct act *, FILE *); /* `amount` ppm as percent */

#endif
