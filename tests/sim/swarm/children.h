/* Runs in processes of their own, several at a time: one that asserts, is caught by a sanitizer or never ends has
 * failed, and nothing of it is left. */
#ifndef NM_TESTS_SIM_CHILDREN_H
#define NM_TESTS_SIM_CHILDREN_H

#include <sys/types.h>

#include "tests/sim/swarm/run.h"

enum { CHILDREN_MAX = 64, CHILD_CPU_S = 100, CHILD_REAL_S = 600 };

struct job {
    uint64_t seed;
    struct plan_limits limits;
    unsigned acts; /* at most */
    bool without[PLAN_ACTS];
};

/* What came of a job. */
struct result {
    struct job job;
    struct outcome outcome; /* failed also when the process ended badly; then only failed and what are set */
    char *output;           /* what it wrote to stdout and stderr; the receiver's to free */
};

struct children {
    struct child {
        pid_t pid; /* 0: none */
        int pipe, output;
        uint64_t deadline; /* ms of CLOCK_MONOTONIC */
        struct job job;
    } all[CHILDREN_MAX];
    unsigned room, running;
    void (*run)(const struct job *, struct outcome *); /* what a child does; children_init(): runs the job's plan */
};

void children_init(struct children *, unsigned at_a_time);
void children_kill(struct children *);
void children_start(struct children *, const struct job *); /* running < room */
struct result children_next(struct children *);             /* waits for one to end; running > 0 */

void job_plan(const struct job *, struct plan *);

#endif
