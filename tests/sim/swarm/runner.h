/* A run while it runs: what the acts, the workload and the trace of one share. */
#ifndef NM_TESTS_SIM_RUNNER_H
#define NM_TESTS_SIM_RUNNER_H

#include "tests/sim/mesh/check.h"
#include "tests/sim/swarm/acts.h"
#include "tests/sim/swarm/run.h"
#include "tests/sim/swarm/feeds.h"

struct life {
    unsigned holds;         /* acts that keep it down */
    uint64_t start_at;      /* down and not held: when it is started */
    uint64_t stopping_till; /* an orderly stop is under way and has to be over then; 0: none */
    bool disk_failing;      /* its disk failed at something in this life: it may need another start */
    bool disk_failed, clock_stepped, index_rotted; /* ever */
    struct run *run;
    bool dying, power; /* it dies of an operation of its disk, with its power or not */
    uint64_t dies_at;  /* twice the operation's number, and 1: after its effect */
};

struct run {
    const struct plan *plan;
    struct mesh mesh;
    struct check check;
    struct life lives[PLAN_NODES];
    struct feeds feeds;
    struct sim_nat *nat;                  /* NULL: none */
    bool begun[PLAN_WANTS];               /* it was said where the followed log begins */
    const struct act *lasting[PLAN_ACTS]; /* begun, not undone */
    unsigned lasting_count, next_act;
    FILE *trace;       /* NULL: none */
    bool packets;      /* it tells every datagram, too */
    struct seen *seen; /* the trace's: what it has told */
    struct outcome *outcome;
};

/* The first failure is the run's. What the checks found is one, and comes by itself. */
void run_fail(struct run *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line of the trace. trace.c */
void run_note(struct run *, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool run_over(const struct run *); /* it failed */

/* run.c */
void run_step(struct run *, uint64_t until); /* the world, and what is due in it but acts */
void run_end_all(struct run *);              /* undoes every act that lasts */

/* lives.c */
enum downfall { DOWN_KILL, DOWN_POWER, DOWN_STOP };
struct mesh_node *life_up(struct run *, unsigned node); /* NULL: it does not run, or is about to stop */
void life_take_down(struct run *, unsigned node, enum downfall);
void life_hold(struct run *, unsigned node, enum downfall); /* down until life_release() */
void life_release(struct run *, unsigned node);
void lives_tick(struct run *);
bool life_read_peers(struct run *, unsigned node); /* what peers.yaml says becomes what its entries are */
bool lives_all_up(const struct run *);

/* wishes.c: who knows whom and who reads what, asked for while it runs. */
void wish_want(struct run *, const struct plan_want *, bool wanted); /* one of the plan's */
/* There, whatever was before. False: it cannot be asked now. */
bool wish_begin(struct run *, const struct plan_want *, enum subscription_start);
void wish_know(struct run *, unsigned node, unsigned other, bool known);
void wishes_forget(struct run *, unsigned node); /* it is gone, and all that was asked of it */

#endif
