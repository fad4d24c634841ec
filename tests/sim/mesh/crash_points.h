/*
 * All points at which a process can die, or its disk fail: before and after every operation of the disk that a piece of
 * work makes, asynchronous or plain, one run for each. The work runs on a world of its own each time, from the same
 * seed, so that the operations up to the point are the same ones.
 */
#ifndef NM_TESTS_SIM_MESH_CRASH_POINTS_H
#define NM_TESTS_SIM_MESH_CRASH_POINTS_H

#include "tests/sim/world/sim.h"

/* What befalls the host at the point. Of what is not synced a power cut leaves nothing, everything, or what the seed
 * draws, torn sectors among it, names in any order or as ext4's journal has them. A failure is that of one operation;
 * the power is cut at the end of the work. */
enum crash_fate {
    CRASH_KILL,
    CRASH_POWER_NOTHING,
    CRASH_POWER_EVERYTHING,
    CRASH_POWER_DRAWN,
    CRASH_POWER_EXT4,
    CRASH_FAILS_EIO,
    CRASH_FAILS_ENOSPC,
    CRASH_FATES
};
extern const char *const crash_fate_names[CRASH_FATES];

/* One piece of work. `ctx` is the scenario's own; the functions assert what must hold. */
struct crash_scenario {
    const char *name;
    /* Makes the world and whatever comes before the work; `where` names the point in messages and stays valid. */
    struct sim_host *(*begin)(void *ctx, uint64_t seed, const char *where);
    /* What is enumerated. Must end when the process dies in it, and endure failing operations. */
    void (*work)(void *ctx);
    /* Again with a sound disk: starts, checks, goes on, stops in order. `power`: it was cut. Takes the process down
     * first if it still runs. */
    void (*recover)(void *ctx, bool power);
    void (*end)(void *ctx); /* frees the world */
    uint32_t must;          /* operations that the work must consist of, bits 1 << enum io_kind */
};

/* Runs the work once for each point and fate of `fates` (bits 1 << enum crash_fate). Asserts that each kind of `must`
 * was met. Returns how many points there were, over all fates. */
unsigned crash_points(const struct crash_scenario *, void *ctx, uint64_t seed, uint32_t fates);

#endif
