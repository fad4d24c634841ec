/* Runs a plan: the world, the nodes in it, what they publish and read, the acts, and the judgement. */
#ifndef NM_TESTS_SIM_RUN_H
#define NM_TESTS_SIM_RUN_H

#include "tests/sim/swarm/plan.h"

enum { RUN_KINDS = 64 };

/* What a run came to. */
struct outcome {
    bool failed;
    char what[1024];       /* failed: what does not hold, a line or several */
    uint64_t at;           /* failed: ns of the world's clock when it was noticed */
    uint64_t trace;        /* sim_trace_hash() at the end */
    uint64_t simulated_ns; /* of the world's clock, to the end of the last stop */
    unsigned nodes;
    uint64_t acts[RUN_KINDS];                    /* done, by kind; of those that found nothing to do, none */
    uint64_t published, acknowledged, delivered; /* events */
    uint64_t datagrams, lost, starts;
};

/* `trace`: where a person reads what happens (trace.h), or NULL; `packets`: every datagram as well. */
void run_plan(const struct plan *, FILE *trace, bool packets, struct outcome *);

#endif
