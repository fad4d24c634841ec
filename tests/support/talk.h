/*
 * Two simulated nodes that talk to each other whatever happens to them: each publishes on two channels, and follows one
 * of the other's and hears the other one live. In the end nothing that was told is missing from what is followed, and
 * nothing is anywhere twice. Asserted; a failure names the seed.
 */
#ifndef NM_TESTS_SUPPORT_TALK_H
#define NM_TESTS_SUPPORT_TALK_H

#include "shards/node/shard.h"
#include "tests/sim/mesh/check.h"
#include "tests/sim/mesh/sim_node.h"

struct talk {
    struct mesh mesh;
    struct check check; /* of all that tests/sim/mesh/check.h promises: at every step, and at rest */
    uint64_t seed;
    struct mesh_node *node[2];
    uint64_t told[2]; /* events published by each, on each of its channels; their numbers go up from 0 */
};

enum talk_dials { TALK_B_DIALS, TALK_BOTH_DIAL };

/* Not started. With TALK_B_DIALS node 0 knows nothing of node 1's address, and dials nobody. */
void talk_init(struct talk *, uint64_t seed, unsigned shards_a, unsigned shards_b, enum talk_dials);
void talk_deinit(struct talk *);
/* Starts both and waits until they are connected and subscribed. */
void talk_start(struct talk *);
/* Publishes so many events on both channels of a node that runs. */
void talk_tell(struct talk *, int who, uint64_t count);
/* Runs for so long, while every node that runs publishes a few events now and then. */
void talk_for(struct talk *, uint64_t ns);
/* Both links between the two, in both directions: settings change, counters stay. */
struct sim_link *talk_link(struct talk *, int from);
void talk_cut(struct talk *, bool down);
/* Waits until both are connected, and returns how long that took in ns. */
uint64_t talk_until_connected(struct talk *, uint64_t limit_ns);
/* Each has one session with the other, and it is the same one. */
void talk_expect_one_session(struct talk *);
/* Both run and are connected within the limit, and within the same time again each has heard all that the other told.
 * Live channels may have holes. Then the mesh is at rest. */
void talk_expect_heard(struct talk *, uint64_t limit_ns);

/* Datagrams this life of the node received less those that a counter accounts for: authenticated, dropped by a reason,
 * relayed, an answered handshake. Handshakes that ended here are the rest: between 0 and those started. */
int64_t talk_unaccounted(struct mesh_node *);
/* Datagrams this life of the node dropped on their way in. */
uint64_t talk_dropped(struct mesh_node *);

#endif
