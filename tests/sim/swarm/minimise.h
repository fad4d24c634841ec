/* What is needed of a plan that fails: the fewest first acts, and of those as few as can be. */
#ifndef NM_TESTS_SIM_MINIMISE_H
#define NM_TESTS_SIM_MINIMISE_H

#include "tests/sim/swarm/children.h"

/* Makes of a job that fails the smallest prefix of its script that fails: each shorter one was run and passes. Then
 * leaves out single acts as long as it still fails. `*runs`: how many it took. */
void minimise(struct children *, struct job *, unsigned *runs);

#endif
