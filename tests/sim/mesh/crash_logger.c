#include "tests/sim/mesh/crash_logger.h"

#include <criterion/criterion.h>

#include "storage/redex/redex_internal.h"
#include "tests/sim/mesh/log_files.h"

/* ---- begin ---- */

struct sim_host *crash_logger_empty(void *ctx, uint64_t seed, const char *where)
{
    struct crash_logger *c = ctx;
    logger_init(&c->l, seed);
    c->l.where = where;
    c->l.policy = c->policy;
    if (c->max_bytes)
        c->l.max_bytes = c->max_bytes;
    if (c->draw_policy)
        logger_draw_policy(&c->l);
    sim_disk_put(c->l.host, "/node/node.yaml", (struct cspan){0}); /* the node's directory is there for good */
    c->l.tolerant = true;                                          /* the work ends in the midst of things */
    return c->l.host;
}

struct sim_host *crash_logger_started(void *ctx, uint64_t seed, const char *where)
{
    struct logger *l = &((struct crash_logger *)ctx)->l;
    crash_logger_empty(ctx, seed, where);
    check(l, logger_start(l));
    return l->host;
}

struct sim_host *crash_logger_running(void *ctx, uint64_t seed, const char *where)
{
    crash_logger_started(ctx, seed, where);
    sim_run_for(((struct crash_logger *)ctx)->l.sim, 5 * SIM_MS);
    return ((struct crash_logger *)ctx)->l.host;
}

struct sim_host *crash_logger_cut(void *ctx, uint64_t seed, const char *where)
{
    crash_logger_running(ctx, seed, where);
    sim_run_for(((struct crash_logger *)ctx)->l.sim, 5 * SIM_MS);
    logger_cut_power(&((struct crash_logger *)ctx)->l);
    return ((struct crash_logger *)ctx)->l.host;
}

struct sim_host *crash_logger_killed(void *ctx, uint64_t seed, const char *where)
{
    crash_logger_running(ctx, seed, where);
    sim_run_for(((struct crash_logger *)ctx)->l.sim, 5 * SIM_MS);
    logger_kill(&((struct crash_logger *)ctx)->l);
    return ((struct crash_logger *)ctx)->l.host;
}

/* ---- work ---- */

void crash_logger_append(void *ctx)
{
    sim_run_for(((struct crash_logger *)ctx)->l.sim, 10 * SIM_MS);
}

static bool compacting(void *ctx)
{
    struct logger *l = ctx;
    return sim_host_node(l->host) && (counter_get(&l->stats.generations) < 1 || l->log->compaction);
}

void crash_logger_compact(void *ctx)
{
    struct logger *l = &((struct crash_logger *)ctx)->l;
    sim_run_while(l->sim, compacting, l, 100 * SIM_MS);
    sim_run_for(l->sim, SIM_MS);
}

void crash_logger_life(void *ctx)
{
    struct logger *l = &((struct crash_logger *)ctx)->l;
    if (logger_start(l))
        sim_run_for(l->sim, SIM_MS);
    if (sim_host_node(l->host))
        logger_stop(l);
}

void crash_logger_settle(void *ctx)
{
    sim_run_for(((struct crash_logger *)ctx)->l.sim, 12 * SIM_MS);
}

void crash_logger_died(void *ctx, bool power)
{
    ((struct crash_logger *)ctx)->l.model.cut |= power;
}

/* ---- recover ---- */

static void start(struct logger *l, uint64_t next, uint64_t count)
{
    check(l, logger_start(l));
    check(l, redex_next_seq(l->log) == next);
    check(l, redex_count(l->log) == count || l->policy.retain_age_ns);
}

struct goal {
    struct logger *l;
    uint64_t next;
};

static bool no_further(void *ctx) /* a full log waits for its compaction */
{
    const struct goal *g = ctx;
    return redex_next_seq(g->l->log) <= g->next;
}

static void check_power_takes_nothing(struct logger *l)
{
    sim_disk_settings(l->host)->crash_keep = sim_disk_settings(l->host)->crash_tear = 0;
    logger_cut_power(l);
}

void crash_logger_recover(void *ctx)
{
    struct crash_logger *c = ctx;
    struct logger *l = &c->l;
    l->tolerant = false;
    check(l, logger_start(l));
    uint64_t next = redex_next_seq(l->log);
    sim_run_for(l->sim, 3 * SIM_MS);
    sim_run_while(l->sim, no_further, &(struct goal){l, next}, 20 * SIM_MS);
    check(l, redex_next_seq(l->log) > next || redex_bytes(l->log) > l->max_bytes / 2);
    logger_stop(l);
    uint64_t hash = log_files_hash(l->host, CRASH_LOGGER_ROOT, l->where);
    check(l, logger_start(l));
    next = redex_next_seq(l->log);
    uint64_t count = redex_count(l->log);
    logger_stop(l);
    check(l, log_files_hash(l->host, CRASH_LOGGER_ROOT, l->where) == hash || l->policy.retain_age_ns);
    check_power_takes_nothing(l);
    start(l, next, count);
    sim_host_kill(l->host);
    start(l, next, count);
    logger_stop(l);
}

void crash_logger_end(void *ctx)
{
    struct crash_logger *c = ctx;
    c->refused_full += c->l.refused_full;
    logger_deinit(&c->l);
}
