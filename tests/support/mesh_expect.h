/* What simulated nodes publish and hold, asserted. */
#ifndef NM_TESTS_SUPPORT_MESH_EXPECT_H
#define NM_TESTS_SUPPORT_MESH_EXPECT_H

#include "tests/sim/mesh/sim_node.h"

/* mesh_publish() of all of [from, from + count), within a minute. */
void expect_published(struct mesh_node *, const char *channel, uint32_t tag, uint64_t from, uint64_t count,
                      bool durable);
/* What the node holds of the other's channel: ascending numbers, at least `least` of them, ending with `last`. */
void expect_ascending(struct mesh_node *, const char *channel, const struct mesh_node *origin, size_t least,
                      uint64_t last);

#endif
