/*
 * The recovery of a log dies at every operation of its own, or fails at it: of logs that a kill or a power cut ended,
 * and of logs that died at each single point of their making, appends and compaction. test_sim_crash_redex.c has what
 * must hold.
 */
#include <criterion/criterion.h>

#include "tests/sim/mesh/crash_logger.h"

static struct crash_scenario scenario(const char *name, struct sim_host *(*begin)(void *, uint64_t, const char *),
                                      void (*work)(void *))
{
    return (struct crash_scenario){.name = name,
                                   .begin = begin,
                                   .work = work,
                                   .again = crash_logger_life,
                                   .settle = crash_logger_settle,
                                   .died = crash_logger_died,
                                   .recover = crash_logger_recover,
                                   .end = crash_logger_end,
                                   .must = {{IO_READ, "/idx"},
                                            {IO_READ, "/dat"},
                                            {IO_READ, "/ts"},
                                            {IO_READ, "/seq~"},
                                            {IO_WRITE, "/seq~"},
                                            {IO_FSYNC, "/seq~"},
                                            {IO_FSYNC, "/channel"}}};
}

Test(crash_recovery, of_a_log_that_lost_its_power, .timeout = 100)
{
    struct crash_scenario s = scenario("recovery after a power cut", crash_logger_cut, crash_logger_life);
    for (uint64_t seed = 1; seed <= 2; seed++)
        crash_points(&s, &(struct crash_logger){0}, seed, CRASH_ALL);
}

Test(crash_recovery, of_a_log_that_was_killed, .timeout = 100)
{
    struct crash_scenario s = scenario("recovery after a kill", crash_logger_killed, crash_logger_life);
    for (uint64_t seed = 1; seed <= 2; seed++)
        crash_points(&s, &(struct crash_logger){0}, seed, CRASH_ALL);
}

Test(crash_recovery, of_a_log_that_died_in_the_making, .timeout = 100)
{
    struct crash_scenario s = scenario("making a log again", crash_logger_empty, crash_logger_life);
    crash_points_again(&s, &(struct crash_logger){0}, 1, CRASH_FATE(POWER_DRAWN) | CRASH_FATE(KILL),
                       CRASH_FATE(POWER_DRAWN) | CRASH_FATE(POWER_EXT4) | CRASH_FATE(EIO_KILL), 13);
}

Test(crash_recovery, of_a_log_that_died_appending, .timeout = 100)
{
    struct crash_scenario s = scenario("recovery of appends", crash_logger_running, crash_logger_append);
    crash_points_again(&s, &(struct crash_logger){0}, 1,
                       CRASH_FATE(POWER_DRAWN) | CRASH_FATE(KILL) | CRASH_FATE(EIO_KILL),
                       CRASH_FATE(POWER_DRAWN) | CRASH_FATE(EIO_KILL), 61);
}

Test(crash_recovery, of_a_log_that_died_compacting, .timeout = 100)
{
    struct crash_scenario s = scenario("recovery of half a compaction", crash_logger_started, crash_logger_compact);
    crash_points_again(&s, &(struct crash_logger){.policy = {.retain_events = 40}}, 1,
                       CRASH_FATE(POWER_DRAWN) | CRASH_FATE(POWER_EXT4) | CRASH_FATE(KILL),
                       CRASH_FATE(POWER_DRAWN) | CRASH_FATE(EIO_KILL), 61);
}
