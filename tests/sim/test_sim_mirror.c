/*
 * A mirror against the log it copies, over thousands of seeds: every life of mesh/redex_copier.h ends by a kill, a
 * power cut, a failing disk or a clean stop at any moment, recovery included. Every single point:
 * test_sim_crash_mirror.c.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/sim/mesh/redex_copier.h"

static void spoil_disk(struct copier *c)
{
    static const uint32_t kinds[] = {1u << IO_WRITE, 1u << IO_FDATASYNC, 1u << IO_FDATASYNC | 1u << IO_FSYNC,
                                     1u << IO_OPEN | 1u << IO_MKDIR, 1u << IO_RENAME | 1u << IO_UNLINK};
    uint64_t which = sim_random_below(c->sim, 5);
    struct sim_fault fault = {.kinds = kinds[which],
                              .error = sim_random_below(c->sim, 2) ? EIO : ENOSPC,
                              .after = (uint32_t)sim_random_below(c->sim, which < 3 ? 40 : 6),
                              .times = 1 + (uint32_t)sim_random_below(c->sim, 3)};
    sim_disk_fault(c->host, &fault);
    c->tolerant = true;
}

static void one_life(struct copier *c, bool faults)
{
    if (faults && sim_random_below(c->sim, 3) == 0)
        spoil_disk(c);
    if (copier_start(c))
        sim_run_for(c->sim, sim_random_below(c->sim, 40) * SIM_MS);
    uint64_t end = sim_random_below(c->sim, 8);
    /* A failed sync lets the page cache claim what is not on the disk: only losing it tells the truth. */
    if (c->tolerant || end < 4)
        copier_cut_power(c);
    else if (end < 6)
        sim_host_kill(c->host);
    else
        copier_stop(c);
    sim_disk_clear_faults(c->host);
    c->tolerant = false;
}

static void run_seed(uint64_t seed, unsigned lives, bool faults, uint64_t *skips)
{
    struct copier c;
    copier_init(&c, seed);
    for (unsigned i = 0; i < lives; i++)
        one_life(&c, faults);
    check(&c, copier_start(&c));
    sim_run_for(c.sim, 5 * SIM_MS);
    copier_stop(&c);
    check(&c, copier_start(&c));
    copier_check_events(&c);
    copier_stop(&c);
    *skips += c.skips;
    sim_destroy(c.sim);
}

Test(mirror, survives_kills_and_power_cuts)
{
    uint64_t skips = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++)
        run_seed(seed, 5, false, &skips);
    cr_assert_gt(skips, 10000);
}

Test(mirror, survives_failing_disks)
{
    uint64_t skips = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++)
        run_seed(UINT64_C(1) << 32 | seed, 6, true, &skips);
    cr_assert_gt(skips, 10000);
}
