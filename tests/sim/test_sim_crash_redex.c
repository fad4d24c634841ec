/*
 * A log dies before and after every single operation of its disk (redex.md, storage/README.md "redex"): while it is
 * made, appends, gives up events, is written anew and changes over, ends, and while it recovers from having died. And
 * every operation fails once. What must hold afterwards is check_recovered() of mesh/redex_logger.c.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "storage/redex/redex_internal.h"
#include "tests/sim/mesh/crash_points.h"
#include "tests/sim/mesh/redex_logger.h"

#define KIND(k) (1u << IO_##k)
enum { CRASHES = 1u << CRASH_FAILS_EIO, ALL = 1u << CRASH_FATES };
#define EVERY_CRASH (CRASHES - 1)
#define EVERY_FATE (ALL - 1)

struct rig {
    struct logger l;
    struct redex_policy policy;
    bool draw_policy;
    uint64_t until; /* an operation of the first compaction at which the log dies before the work begins */
    bool reached;   /* ... if it has so many */
};

/* ---- what is there after a clean stop ---- */

struct listing {
    unsigned generations, leftovers;
};

static int on_name(void *ctx, const struct io_dirent *e)
{
    struct listing *l = ctx;
    size_t len = strlen(e->name);
    bool generation = e->is_dir && len == 11 && e->name[0] == 'v' && strspn(e->name + 1, "0123456789") == 10;
    l->generations += generation;
    l->leftovers += strcmp(e->name, "manifest.tmp") == 0 || strcmp(e->name, "log.id~") == 0;
    return 0;
}

static void check_tidy(struct logger *l)
{
    struct listing found = {0};
    check(l, l->io->plain->list(l->io, "/node/redex/a/channel", on_name, &found) == 0);
    check(l, found.generations <= 1 && found.leftovers == 0);
}

/* ---- what all scenarios share ---- */

static struct sim_host *begin_empty(void *ctx, uint64_t seed, const char *where)
{
    struct rig *r = ctx;
    logger_init(&r->l, seed);
    r->l.where = where;
    r->l.policy = r->policy;
    if (r->draw_policy)
        logger_draw_policy(&r->l);
    r->l.tolerant = true; /* the work ends in the midst of things */
    return r->l.host;
}

static struct sim_host *begin_started(void *ctx, uint64_t seed, const char *where)
{
    struct rig *r = ctx;
    begin_empty(ctx, seed, where);
    check(&r->l, logger_start(&r->l));
    return r->l.host;
}

static struct sim_host *begin_running(void *ctx, uint64_t seed, const char *where)
{
    struct rig *r = ctx;
    begin_started(ctx, seed, where);
    sim_run_for(r->l.sim, 5 * SIM_MS);
    return r->l.host;
}

static void recover(void *ctx, bool power)
{
    struct logger *l = &((struct rig *)ctx)->l;
    logger_kill(l);
    l->model.cut |= power;
    l->tolerant = false;
    check(l, logger_start(l));
    sim_run_for(l->sim, 3 * SIM_MS);
    logger_stop(l);
    check(l, logger_start(l));
    check_tidy(l);
    uint64_t count = redex_count(l->log), next = redex_next_seq(l->log);
    sim_host_kill(l->host);
    check(l, logger_start(l));
    check(l, redex_next_seq(l->log) == next && (redex_count(l->log) == count || l->policy.retain_age_ns));
    logger_stop(l);
}

static void end(void *ctx)
{
    logger_deinit(&((struct rig *)ctx)->l);
}

static void run_in_order(struct rig *r, uint64_t ns)
{
    if (logger_start(&r->l))
        sim_run_for(r->l.sim, ns);
    if (sim_host_node(r->l.host))
        logger_stop(&r->l);
}

static void report(const char *what, unsigned points)
{
    printf("%s: %u points\n", what, points);
    cr_assert_gt(points, 100);
}

static unsigned enumerate(struct rig *r, struct crash_scenario s, unsigned seeds, uint32_t fates)
{
    unsigned points = 0;
    s.recover = recover;
    s.end = end;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        points += crash_points(&s, r, seed, fates);
    return points;
}

/* ---- a log that is made, and a stop in order ---- */

static void make_and_stop(void *ctx)
{
    run_in_order(ctx, SIM_MS);
}

Test(crash_redex, making_a_log_and_stopping_it)
{
    struct crash_scenario s = {.name = "making a log",
                               .begin = begin_empty,
                               .work = make_and_stop,
                               .must = KIND(OPEN) | KIND(WRITE) | KIND(FDATASYNC) | KIND(FSYNC) | KIND(MKDIR)};
    report(s.name, enumerate(&(struct rig){0}, s, 4, EVERY_FATE));
}

/* ---- appends ---- */

static void append(void *ctx)
{
    sim_run_for(((struct rig *)ctx)->l.sim, 10 * SIM_MS);
}

Test(crash_redex, appends)
{
    struct crash_scenario s = {
        .name = "appends", .begin = begin_running, .work = append, .must = KIND(WRITE) | KIND(FDATASYNC)};
    report(s.name, enumerate(&(struct rig){0}, s, 2, EVERY_FATE));
    s.name = "appends, each synced";
    report(s.name, enumerate(&(struct rig){.policy = {.sync_each = true}}, s, 2, EVERY_FATE));
    s.name = "appends, policies drawn";
    report(s.name, enumerate(&(struct rig){.draw_policy = true}, s, 4, 1u << CRASH_POWER_DRAWN | 1u << CRASH_KILL));
}

/* ---- retention, compaction, and the change of the manifest ---- */

static bool compacting(void *ctx)
{
    struct logger *l = ctx;
    return sim_host_node(l->host) && counter_get(&l->stats.generations) < 1;
}

static void compact(void *ctx)
{
    struct logger *l = &((struct rig *)ctx)->l;
    sim_run_while(l->sim, compacting, l, 200 * SIM_MS);
    sim_run_for(l->sim, SIM_MS);
}

#define COMPACTION                                                                                                     \
    (KIND(OPEN) | KIND(WRITE) | KIND(FDATASYNC) | KIND(FSYNC) | KIND(RENAME) | KIND(UNLINK) | KIND(MKDIR))

Test(crash_redex, retention_compaction_and_change_of_generation)
{
    struct crash_scenario s = {.name = "compaction", .begin = begin_started, .work = compact, .must = COMPACTION};
    report(s.name, enumerate(&(struct rig){.policy = {.retain_events = 40}}, s, 1, EVERY_FATE));
    s.name = "compaction by bytes, each append synced";
    report(s.name, enumerate(&(struct rig){.policy = {.retain_bytes = 6000, .sync_each = true}}, s, 1, EVERY_CRASH));
    s.name = "compaction by age";
    report(s.name, enumerate(&(struct rig){.policy = {.retain_age_ns = 4 * SIM_MS}}, s, 1, EVERY_CRASH));
}

/* ---- recovery ---- */

static struct sim_host *begin_crashed(void *ctx, uint64_t seed, const char *where)
{
    struct rig *r = ctx;
    begin_running(ctx, seed, where);
    sim_run_for(r->l.sim, 5 * SIM_MS);
    logger_cut_power(&r->l);
    return r->l.host;
}

Test(crash_redex, recovery_of_appends)
{
    struct crash_scenario s = {.name = "recovery",
                               .begin = begin_crashed,
                               .work = make_and_stop,
                               .must = KIND(OPEN) | KIND(READ) | KIND(WRITE) | KIND(FSYNC)};
    report(s.name, enumerate(&(struct rig){0}, s, 3, EVERY_FATE));
}

/* Dies at one operation of its first compaction. */
static void until(void *ctx, const struct sim_disk_event *e)
{
    struct rig *r = ctx;
    if (e->number != r->until || !e->after)
        return;
    r->reached = true;
    sim_host_crash_now(r->l.host, true);
}

static bool not_compacting(void *ctx)
{
    return !((struct logger *)ctx)->log->compaction;
}

static struct sim_host *begin_half_compacted(void *ctx, uint64_t seed, const char *where)
{
    struct rig *r = ctx;
    begin_running(ctx, seed, where);
    check(&r->l, sim_run_while(r->l.sim, not_compacting, &r->l, 200 * SIM_MS));
    r->reached = false;
    sim_disk_on_op(r->l.host, until, r);
    compact(r);
    sim_disk_on_op(r->l.host, NULL, NULL);
    if (r->reached)
        r->l.model.cut = true;
    else
        logger_cut_power(&r->l);
    return r->l.host;
}

/* Of a compaction that died at any of its operations, the recovery dies at any of its own. */
Test(crash_redex, recovery_of_half_a_compaction)
{
    struct crash_scenario s = {.name = "recovery of half a compaction",
                               .begin = begin_half_compacted,
                               .work = make_and_stop,
                               .must = KIND(OPEN) | KIND(READ) | KIND(WRITE)};
    struct rig r = {.policy = {.retain_events = 40}, .reached = true};
    unsigned points = 0;
    for (; r.reached; r.until++)
        points += enumerate(&r, s, 1, 1u << CRASH_POWER_DRAWN);
    cr_assert_gt(r.until, 40);
    report(s.name, points);
}
