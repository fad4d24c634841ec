/*
 * A mirror dies before and after every single operation of its disk, and each of them fails (extensions.md X7.4,
 * storage/redex/mirror.c): while it is made, takes events, repeats and holes of the other log, is written anew, and
 * recovers. It is always exactly what the other log has, up to where it goes on: mesh/redex_copier.h checks that.
 */
#include <criterion/criterion.h>

#include "storage/redex/redex_internal.h"
#include "tests/sim/mesh/crash_points.h"
#include "tests/sim/mesh/log_files.h"
#include "tests/sim/mesh/redex_copier.h"

#define ROOT "/node/redex-follow/0x0000000000000001/a/channel"

struct rig {
    struct copier c;
    uint64_t retain_events;
    uint64_t skips; /* over all runs */
};

static struct sim_host *begin_empty(void *ctx, uint64_t seed, const char *where)
{
    struct rig *r = ctx;
    copier_init(&r->c, seed);
    r->c.where = where;
    r->c.policy = (struct redex_policy){.retain_events = r->retain_events};
    r->c.tolerant = true;
    return r->c.host;
}

static struct sim_host *begin_started(void *ctx, uint64_t seed, const char *where)
{
    struct rig *r = ctx;
    begin_empty(ctx, seed, where);
    check(&r->c, copier_start(&r->c));
    return r->c.host;
}

static struct sim_host *begin_running(void *ctx, uint64_t seed, const char *where)
{
    struct sim_host *h = begin_started(ctx, seed, where);
    sim_run_for(((struct rig *)ctx)->c.sim, 5 * SIM_MS);
    return h;
}

static struct sim_host *begin_killed(void *ctx, uint64_t seed, const char *where)
{
    struct sim_host *h = begin_running(ctx, seed, where);
    sim_host_kill(h);
    return h;
}

static void life(void *ctx)
{
    struct copier *c = &((struct rig *)ctx)->c;
    if (copier_start(c))
        sim_run_for(c->sim, SIM_MS);
    if (sim_host_node(c->host))
        copier_stop(c);
}

static void copy(void *ctx)
{
    sim_run_for(((struct rig *)ctx)->c.sim, 12 * SIM_MS);
}

static bool compacting(void *ctx)
{
    struct copier *c = ctx;
    return sim_host_node(c->host) && (counter_get(&c->stats.generations) < 1 || c->log->compaction);
}

static void compact(void *ctx)
{
    struct copier *c = &((struct rig *)ctx)->c;
    sim_run_while(c->sim, compacting, c, 100 * SIM_MS);
}

static void settle(void *ctx)
{
    sim_run_for(((struct rig *)ctx)->c.sim, 12 * SIM_MS);
}

static void died(void *ctx, bool power)
{
    ((struct rig *)ctx)->c.cut |= power;
}

static bool no_further(void *ctx)
{
    const struct copier *c = ctx;
    return redex_next_seq(c->log) <= c->opened_at;
}

static void recover(void *ctx)
{
    struct copier *c = &((struct rig *)ctx)->c;
    c->tolerant = false;
    check(c, copier_start(c));
    check(c, sim_run_while(c->sim, no_further, c, 50 * SIM_MS));
    copier_stop(c);
    uint64_t hash = log_files_hash(c->host, ROOT, c->where), next = c->written;
    check(c, copier_start(c));
    check(c, redex_next_seq(c->log) == next);
    copier_stop(c);
    check(c, log_files_hash(c->host, ROOT, c->where) == hash);
    sim_disk_settings(c->host)->crash_keep = sim_disk_settings(c->host)->crash_tear = 0;
    copier_cut_power(c);
    check(c, copier_start(c));
    check(c, redex_next_seq(c->log) == next);
    copier_stop(c);
}

static void end(void *ctx)
{
    struct rig *r = ctx;
    r->skips += r->c.skips;
    sim_destroy(r->c.sim);
}

static struct crash_scenario scenario(const char *name, struct sim_host *(*begin)(void *, uint64_t, const char *),
                                      void (*work)(void *))
{
    return (struct crash_scenario){.name = name,
                                   .begin = begin,
                                   .work = work,
                                   .again = life,
                                   .settle = settle,
                                   .died = died,
                                   .recover = recover,
                                   .end = end};
}

/* It is there as it was to be, or it is not there and can be made. */
Test(crash_mirror, making_a_mirror_and_stopping_it, .timeout = 100)
{
    struct crash_scenario s = scenario("making a mirror", begin_empty, life);
    const struct crash_op must[] = {{IO_MKDIR, "/a/channel"},     {IO_WRITE, "/seq~"},     {IO_FSYNC, "/seq~"},
                                    {IO_RENAME, "/manifest.tmp"}, {IO_WRITE, "/log.id~"},  {IO_FSYNC, "/log.id~"},
                                    {IO_RENAME, "/log.id~"},      {IO_FSYNC, "/a/channel"}};
    memcpy(s.must, must, sizeof must);
    crash_points(&s, &(struct rig){0}, 1, CRASH_ALL);
    crash_points_again(&s, &(struct rig){0}, 1, CRASH_FATE(POWER_DRAWN), CRASH_FATE(POWER_DRAWN), 23);
}

Test(crash_mirror, events_and_holes, .timeout = 100)
{
    struct crash_scenario s = scenario("filling a mirror", begin_running, copy);
    struct rig r = {0};
    const struct crash_op must[] = {{IO_WRITE, "/idx"},     {IO_WRITE, "/dat"},     {IO_WRITE, "/ts"},
                                    {IO_FDATASYNC, "/idx"}, {IO_FDATASYNC, "/dat"}, {IO_FDATASYNC, "/ts"},
                                    {IO_WRITE, "/seq~"},    {IO_FDATASYNC, "/seq~"}};
    memcpy(s.must, must, sizeof must);
    for (uint64_t seed = 1; seed <= 2; seed++)
        crash_points(&s, &r, seed, CRASH_ALL);
    cr_assert_gt(r.skips, 1000);
}

Test(crash_mirror, compaction, .timeout = 100)
{
    struct crash_scenario s = scenario("compaction of a mirror", begin_started, compact);
    const struct crash_op must[] = {{IO_MKDIR, "/v0000000002"},
                                    {IO_WRITE, "/v0000000002/idx"},
                                    {IO_RENAME, "/manifest.tmp"},
                                    {IO_FSYNC, "/a/channel"},
                                    {IO_UNLINK, "/v0000000001"}};
    memcpy(s.must, must, sizeof must);
    crash_points(&s, &(struct rig){.retain_events = 20}, 1, CRASH_ALL);
}

Test(crash_mirror, recovery, .timeout = 100)
{
    struct crash_scenario s = scenario("recovery of a mirror", begin_killed, life);
    const struct crash_op must[] = {
        {IO_READ, "/log.id"}, {IO_READ, "/idx"}, {IO_READ, "/seq~"}, {IO_WRITE, "/seq~"}, {IO_FSYNC, "/seq~"}};
    memcpy(s.must, must, sizeof must);
    for (uint64_t seed = 1; seed <= 2; seed++)
        crash_points(&s, &(struct rig){0}, seed, CRASH_ALL);
    s = scenario("recovery of a mirror that died", begin_running, copy);
    memcpy(s.must, must, sizeof must);
    crash_points_again(&s, &(struct rig){0}, 3, CRASH_FATE(POWER_DRAWN) | CRASH_FATE(KILL),
                       CRASH_FATE(POWER_DRAWN) | CRASH_FATE(EIO_KILL), 31);
}
