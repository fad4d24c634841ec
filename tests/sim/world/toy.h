/* A toy protocol to exercise the world: every shard asks the same shard of its peer `rounds` questions, one after the
 * other, again after 3 ms, and answers the peer's. Datagrams are Net headers in shape, so that they steer; what arrives
 * at another shard than the named one goes there by a mailbox and a doorbell. */
#ifndef NM_TESTS_SIM_TOY_H
#define NM_TESTS_SIM_TOY_H

#include "tests/sim/world/sim.h"

struct toy_shard;

struct toy {
    unsigned rounds; /* set by the test */
    /* the rest is set by toy_add_pair and the run */
    struct sim_host *host, *peer;
    unsigned shards;
    uint64_t answered, asked, bad, forwarded;
    struct toy_shard *shard;
};

extern const struct sim_node_ops toy_ops;

/* Two hosts, started, that know each other. Both toys outlive the world. */
void toy_add_pair(struct sim *, unsigned shards, struct toy *a, struct toy *b);
bool toy_finished(const struct toy *);

#endif
