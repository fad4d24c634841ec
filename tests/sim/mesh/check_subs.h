/* Who reads which channel of whom: what checks of followers, live subscribers and convergence share. */
#ifndef NM_TESTS_SIM_MESH_CHECK_SUBS_H
#define NM_TESTS_SIM_MESH_CHECK_SUBS_H

#include "tests/sim/mesh/check_internal.h"

struct reading_place {               /* valid during the call */
    struct mesh_node *reader, *from; /* the reader runs */
    const char *channel;
    uint64_t hash;
    bool followed; /* what comes, or, not yet active, is asked for; else live */
    bool active;
    const char *note; /* why not, or live; "" */
};

/* Calls `each` for every subscription of every running node at a node of the mesh, until it returns false. */
bool check_each_reader(struct check *, bool (*each)(struct check *, const struct reading_place *, void *ctx),
                       void *ctx);
struct log *check_own_log(struct mesh_node *, uint64_t hash); /* of a running node; NULL: it has none */
struct log *check_mirror(const struct reading_place *);       /* what is followed now; NULL: nothing yet */

#endif
