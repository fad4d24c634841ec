/* The files of a log that was stopped in order. */
#ifndef NM_TESTS_SIM_MESH_LOG_FILES_H
#define NM_TESTS_SIM_MESH_LOG_FILES_H

#include "tests/sim/world/sim.h"

/* Asserts that nothing is in the channel root but what a log has need of, one generation and what recoveries set aside;
 * `where` is said when there is. Returns a hash over all its events. */
uint64_t log_files_hash(struct sim_host *, const char *root, const char *where);

#endif
