/*
 * Programs that use a mesh in the background, while the script of a scenario goes on: publishers, producers that append
 * at a peer, streams of the application. Each tells the ledger (check.h) what it handed over and what was acknowledged,
 * survives every restart of its node, and goes on when it can.
 */
#ifndef NM_TESTS_SIM_MESH_WORKLOAD_H
#define NM_TESTS_SIM_MESH_WORKLOAD_H

#include "tests/sim/mesh/check.h"

struct workload;

struct workload_settings {
    const char *channel;        /* the caller's memory, for as long as the world lives */
    const struct mesh_node *to; /* appends there, idempotent; NULL: publishes at home */
    uint64_t interval;          /* ns between batches; one that is due while too many are unanswered is left out */
    uint32_t batch;             /* events in each, 1 to 64 */
    bool durable;               /* answered when synced */
    uint64_t events;            /* so many in all; 0: until workload_stop() */
};

/* Begins at once, on a node that runs or will. The check's; valid until check_deinit(). */
struct workload *workload_publish(struct check *, struct mesh_node *, const struct workload_settings *);

struct workload_stats {
    uint32_t tag;                    /* of its events */
    uint64_t handed, acked, refused; /* events; refused: an answer that was an error, or none because its node died */
    uint64_t unanswered;             /* batches */
    int err;                         /* of the last refusal that no retry mends; NET_OK: none */
};
struct workload_stats workload_look(const struct workload *);
struct workload_stats workload_sum(const struct check *); /* of all; tag 0, err of the last that has one */

/* No flow hands over anything new; appends without an answer are asked for until they have one. */
void workload_stop(struct check *);
/* Runs until nothing is unanswered. False: not within the limit; c->what says who waits for what. */
bool workload_finish(struct check *, uint64_t limit_ns);

#endif
