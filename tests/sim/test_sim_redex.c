/*
 * RedEX against a model, over thousands of seeds: random appends, flushes, syncs and retention, ended by kills, power
 * cuts, failing disks and clean stops at any moment, recovery included. Every single point of it:
 * test_sim_crash_redex.c.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "core/base/err.h"
#include "storage/redex/redex_internal.h"
#include "tests/sim/mesh/redex_logger.h"

/* Something goes wrong with the disk, at some operation from now. */
static void spoil_disk(struct logger *l)
{
    static const uint32_t kinds[] = {1u << IO_WRITE,
                                     1u << IO_FDATASYNC,
                                     1u << IO_FDATASYNC | 1u << IO_FSYNC,
                                     1u << IO_OPEN | 1u << IO_MKDIR,
                                     1u << IO_RENAME | 1u << IO_UNLINK,
                                     0};
    uint64_t which = sim_random_below(l->sim, 6);
    struct sim_fault fault = {.kinds = kinds[which],
                              .error = sim_random_below(l->sim, 2) ? EIO : ENOSPC,
                              .after = (uint32_t)sim_random_below(l->sim, which < 3 || which == 5 ? 40 : 6),
                              .times = which < 5 ? 1 + (uint32_t)sim_random_below(l->sim, 3) : UINT32_MAX};
    sim_disk_fault(l->host, &fault);
    l->tolerant = true;
}

static void one_life(struct logger *l, bool faults)
{
    if (faults && sim_random_below(l->sim, 4) == 0)
        spoil_disk(l);
    if (logger_start(l))
        sim_run_for(l->sim, sim_random_below(l->sim, 40) * SIM_MS);
    uint64_t end = sim_random_below(l->sim, 8);
    /* A failed sync lets the page cache claim what is not on the disk: only losing it tells the truth. */
    if (l->tolerant || end < 4)
        logger_cut_power(l);
    else if (end < 6)
        logger_kill(l);
    else
        logger_stop(l);
    sim_disk_clear_faults(l->host);
    l->tolerant = false;
}

static uint64_t run_seed(uint64_t seed, unsigned lives, bool faults, uint64_t *generations)
{
    struct logger l;
    logger_init(&l, seed);
    if (sim_random_below(l.sim, 4))
        logger_draw_policy(&l);
    for (unsigned i = 0; i < lives; i++)
        one_life(&l, faults);
    check(&l, logger_start(&l));
    sim_run_for(l.sim, 5 * SIM_MS);
    logger_stop(&l);
    check(&l, l.close_err == 0);
    uint64_t hash = sim_trace_hash(l.sim);
    if (generations)
        *generations += counter_get(&l.stats.generations);
    logger_deinit(&l);
    return hash;
}

Test(redex, survives_kills_and_power_cuts)
{
    uint64_t generations = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++)
        run_seed(seed, 4, false, &generations);
    cr_assert_gt(generations, 1000);
}

Test(redex, survives_failing_disks)
{
    for (uint64_t seed = 1; seed <= 1000; seed++)
        run_seed(UINT64_C(1) << 32 | seed, 6, true, NULL);
}

Test(redex, runs_alike_for_one_seed)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        uint64_t hash = run_seed(seed, 3, true, NULL);
        cr_assert_eq(run_seed(seed, 3, true, NULL), hash);
        cr_assert_neq(run_seed(seed + 1000, 3, true, NULL), hash);
    }
}

static bool not_poisoned(void *ctx)
{
    const struct logger *l = ctx;
    return redex_error(l->log) != NET_ERR_POISONED;
}

/* Killed after a failed sync, started again in the same boot, where the page cache claims to hold everything: what the
 * log says then is true, and outlasts a power cut. */
Test(redex, says_no_more_than_the_truth_after_a_failed_sync)
{
    static const char *const parts[] = {"/dat", "/idx", "/ts"};
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct logger l;
        logger_init(&l, seed);
        check(&l, logger_start(&l));
        sim_run_for(l.sim, sim_random_below(l.sim, 5) * SIM_MS);
        l.tolerant = true;
        struct sim_fault fault = {.kinds = 1u << IO_FDATASYNC, .suffix = parts[seed % 3], .error = EIO, .times = 1};
        sim_disk_fault(l.host, &fault);
        bool poisoned = sim_run_while(l.sim, not_poisoned, &l, 100 * SIM_MS);
        check(&l, poisoned || counter_get(&l.stats.generation_failures) == 1);
        sim_run_for(l.sim, 5 * SIM_MS);
        logger_kill(&l);
        l.tolerant = false;
        check(&l, logger_start(&l));
        check(&l, l.model.synced == redex_next_seq(l.log));
        sim_run_for(l.sim, sim_random_below(l.sim, 2) * SIM_MS);
        logger_cut_power(&l);
        check(&l, logger_start(&l));
        logger_stop(&l);
        logger_deinit(&l);
    }
}
