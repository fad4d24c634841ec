/*
 * All points at which a process can die, or its disk fail: before and after every operation of the disk that a piece of
 * work makes, asynchronous or plain, one run for each. The work runs on a world of its own each time, from the same
 * seed, so that the operations up to the point are the same ones.
 *
 *      begin  ->  work, and it befalls  ->  died  ->  recover  ->  end
 *      begin  ->  work, and it befalls  ->  died  ->  again, and it befalls again  ->  died  ->  recover  ->  end
 */
#ifndef NM_TESTS_SIM_MESH_CRASH_POINTS_H
#define NM_TESTS_SIM_MESH_CRASH_POINTS_H

#include "tests/sim/world/sim.h"

/*
 * What befalls the host at the point. Of what is not synced a power cut leaves nothing, everything, or what the seed
 * draws, torn writes among it, names in any order, or names and sizes as ext4's journal has them. Or the operation
 * fails, that one alone, or it and all that follow in this work, or those that want space; at the end of the work the
 * process is killed, or the power cut.
 */
enum crash_fate {
    CRASH_KILL,
    CRASH_POWER_NOTHING,
    CRASH_POWER_EVERYTHING,
    CRASH_POWER_DRAWN,
    CRASH_POWER_EXT4,
    CRASH_EIO_KILL, /* in the same boot the page cache claims what a failed sync has lost */
    CRASH_EIO_POWER,
    CRASH_ENOSPC_KILL,
    CRASH_ENOSPC_POWER,
    CRASH_FULL_KILL,  /* ENOSPC from there on */
    CRASH_DEAD_POWER, /* EIO from there on */
    CRASH_FATES
};
#define CRASH_FATE(f) (1u << CRASH_##f)
enum {
    CRASH_DEATHS = (1 << CRASH_EIO_KILL) - 1,
    CRASH_FAILURES = (1 << CRASH_FATES) - 1 - CRASH_DEATHS,
    CRASH_ALL = CRASH_DEATHS + CRASH_FAILURES
};

/* An operation that the work must have: of that kind, on a path with that end. */
struct crash_op {
    enum io_kind kind;
    const char *suffix; /* NULL: the end of the list */
};
enum { CRASH_MUST = 20 };

/* One piece of work. `ctx` is the scenario's own; the functions assert what must hold. */
struct crash_scenario {
    const char *name;
    /* Makes the world and whatever comes before the work; `where` names the point in messages and stays valid. */
    struct sim_host *(*begin)(void *ctx, uint64_t seed, const char *where);
    /* What is enumerated. Must end when the process dies in it, and endure failing operations. */
    void (*work)(void *ctx);
    /* Optional. After the failure of one operation, before the end: time for the process to note it in its files. */
    void (*settle)(void *ctx);
    /* It is over, the process gone, the disk sound again. `power`: it was cut. */
    void (*died)(void *ctx, bool power);
    void (*again)(void *ctx);         /* crash_points_again(): as work, from the start of the next process to its end */
    void (*recover)(void *ctx);       /* starts, checks, goes on, stops in order */
    void (*end)(void *ctx);           /* frees the world */
    struct crash_op must[CRASH_MUST]; /* what all points of a fate together have met, in the work or again */
};

/*
 * Runs the work once for each point and fate of `fates` (bits). Prints how many points there were and returns it.
 * Asserts that there was one for each fate, and that everything of `must` was met.
 */
unsigned crash_points(const struct crash_scenario *, void *ctx, uint64_t seed, uint32_t fates);

/*
 * And for each of these points also once for each point of what the next process does, that is, of its recovery; of
 * those every `stride`th, others after each death, so that over all deaths all are met; every one of them with
 * NM_CRASH_ALL in the environment (tests/run --soak). `must` is of the second process.
 */
unsigned crash_points_again(const struct crash_scenario *, void *ctx, uint64_t seed, uint32_t fates,
                            uint32_t again_fates, unsigned stride);

#endif
