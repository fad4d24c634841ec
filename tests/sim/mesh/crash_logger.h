/* A log that is taken down at each point of crash_points(): the parts of its scenarios, and what must hold after them,
 * beside what mesh/redex_logger.c checks at each start. `ctx` is the struct crash_logger throughout. */
#ifndef NM_TESTS_SIM_MESH_CRASH_LOGGER_H
#define NM_TESTS_SIM_MESH_CRASH_LOGGER_H

#include "tests/sim/mesh/crash_points.h"
#include "tests/sim/mesh/redex_logger.h"

struct crash_logger {
    struct logger l;
    struct redex_policy policy;
    uint64_t max_bytes; /* of the log; 0: many */
    bool draw_policy;
    unsigned refused_full; /* appends, over all runs */
};

#define CRASH_LOGGER_ROOT "/node/redex/a/channel"

/* begin: no log yet; just opened; a while later; and ended by a power cut, or a kill, after some more. */
struct sim_host *crash_logger_empty(void *ctx, uint64_t seed, const char *where);
struct sim_host *crash_logger_started(void *ctx, uint64_t seed, const char *where);
struct sim_host *crash_logger_running(void *ctx, uint64_t seed, const char *where);
struct sim_host *crash_logger_cut(void *ctx, uint64_t seed, const char *where);
struct sim_host *crash_logger_killed(void *ctx, uint64_t seed, const char *where);

/* work, or again */
void crash_logger_append(void *ctx);  /* 10 ms of appends */
void crash_logger_compact(void *ctx); /* the first compaction, to its end */
void crash_logger_life(void *ctx);    /* a start, 1 ms, and a stop in order */

void crash_logger_settle(void *ctx);
void crash_logger_died(void *ctx, bool power);
/*
 * All is there that must be, and appends go on; after a stop in order nothing is left that no log has need of; another
 * start and stop change no byte of the events, a power cut takes nothing, nor does a kill.
 */
void crash_logger_recover(void *ctx);
void crash_logger_end(void *ctx);

#endif
