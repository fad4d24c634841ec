/* A process without behaviour: the test submits operations on its struct io itself. */
#ifndef NM_TESTS_SIM_BARE_H
#define NM_TESTS_SIM_BARE_H

#include "tests/sim/world/sim.h"

/* A host with such a process; io[i] becomes shard i's, at every restart again. */
struct sim_host *bare_host(struct sim *, unsigned shards, struct io **io);

/* An operation and how it went. */
struct bare_op {
    struct io_op op; /* bare_submit sets `done` */
    bool finished;
    int32_t res;
    uint64_t at; /* io_now() of the completion */
    struct io *io;
};
void bare_submit(struct io *, struct bare_op *);
/* Submits and runs the world until it has completed; the result. */
int32_t bare_run(struct sim *, struct io *, struct bare_op *);

#endif
