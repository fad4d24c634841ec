/*
 * Everything that one seed of a swarm run draws before it runs: who there is, what each is configured to do, what is
 * published and who reads it, which kinds of faults there are at all, and the script of acts. A plan is data: it can be
 * printed, cut to its first acts, and run again. The world draws for itself, from the same seed.
 */
#ifndef NM_TESTS_SIM_PLAN_H
#define NM_TESTS_SIM_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "shards/config/config.h"
#include "tests/sim/world/rng.h"
#include "tests/sim/world/sim.h"

/* What a number draws follows from plan.c, plan_acts.c and the acts: whoever changes what they draw adds one here and
 * to what `seeds.txt` says. */
enum { PLAN_VERSION = 5 };
enum { PLAN_NODES = 8, PLAN_CHANNELS = 4, PLAN_FEEDS = 12, PLAN_WANTS = 24, PLAN_ACTS = 128 };
enum { PLAN_HERE = 0xff }; /* in the place of a node: the feed's own log */

/* One thing that happens. Which of the fields mean something, and what, is its kind's affair (acts.h). */
struct act {
    uint64_t at;    /* ns of the world's clock */
    uint64_t lasts; /* ns until it is undone; 0: it is over at once */
    unsigned kind;  /* index of act_kinds */
    unsigned node, other;
    uint64_t amount, more;
};

struct plan_node {
    unsigned shards;
    struct config config;
    uint64_t start_at;
    enum sim_names names; /* of its disk */
};

/* A publisher: batches of `batch` events every `every` ns while it runs, each a publish of its own. */
struct plan_feed {
    unsigned node, to; /* to: PLAN_HERE, or by acknowledged append into the log of that node */
    unsigned channel;
    bool durable;
    uint64_t every;
    uint32_t batch;
    uint32_t burst; /* ppm of batches that are a hundred times as large */
};

/* A subscription. */
struct plan_want {
    unsigned node, from, channel;
    enum subscription_mode mode;
    enum subscription_start start;
    uint64_t sequence;
    bool asked; /* at run time, at `at`; else it stands in peers.yaml */
    uint64_t at;
};

struct plan {
    uint64_t seed, ends; /* ns of the world's clock: then everything is healed and judged */
    unsigned nodes, channels, feeds, wants, acts;
    bool knows[PLAN_NODES][PLAN_NODES]; /* has an entry of */
    unsigned behind;                    /* nodes of this number and above are behind one NAT; nodes: there is none */
    enum sim_nat_kind nat;
    uint64_t nat_timeout;
    uint64_t delay, jitter; /* ns, of every link in peace: from delay to delay + jitter */
    struct plan_node node[PLAN_NODES];
    struct plan_feed feed[PLAN_FEEDS];
    struct plan_want want[PLAN_WANTS];
    uint64_t kinds;            /* bits of act_kinds that this seed has switched on */
    struct act act[PLAN_ACTS]; /* by time */
};

/* What is not left to the seed; 0: it is. */
struct plan_limits {
    unsigned nodes, shards; /* exactly so many */
    uint64_t seconds;
};

void plan_draw(struct plan *, uint64_t seed, const struct plan_limits *);
void plan_draw_acts(struct plan *, struct rng *); /* plan_acts.c: the last of plan_draw() */

const char *plan_channel(unsigned channel);
/* Whether the two come to have a session in peace: one knows the other, who lets it in. */
bool plan_meets(const struct plan *, unsigned a, unsigned b);
/* Only the first `acts` acts, without those whose bit in `without` (NULL: none) is set. */
void plan_cut(struct plan *, unsigned acts, const bool *without);

/* plan_text.c, as a person reads it: the world a line for each node, feed and want, and the acts. */
void plan_print(const struct plan *, FILE *);
void plan_print_act(const struct plan *, const struct act *, FILE *); /* with its end of line */

#endif
