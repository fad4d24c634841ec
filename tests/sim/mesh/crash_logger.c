#include "tests/sim/mesh/crash_logger.h"

#include <criterion/criterion.h>
#include <string.h>
#include <xxhash.h>

#include "core/base/text.h"
#include "storage/redex/redex_internal.h"

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

/* ---- what is there after a stop in order ---- */

static bool is_part(const char *name)
{
    return strcmp(name, "idx") == 0 || strcmp(name, "dat") == 0 || strcmp(name, "ts") == 0;
}

static bool is_copy(const char *name) /* of what a recovery cut off */
{
    return strlen(name) == 5 && (memcmp(name, "idx~", 4) == 0 || memcmp(name, "dat~", 4) == 0) && name[4] >= '1' &&
           name[4] <= '4';
}

static bool is_generation(const char *name)
{
    return strlen(name) == 11 && name[0] == 'v' && strspn(name + 1, "0123456789") == 10;
}

static bool is_moved_aside(const char *name) /* a generation that no manifest tells from a live one */
{
    return strlen(name) == 12 && name[0] == 'v' && strspn(name + 1, "0123456789") == 10 && name[11] == '~';
}

static bool is_known(const char *name)
{
    static const char *const known[] = {"log.id", "seq~", "lock~", "manifest"};
    bool is = is_copy(name) || is_moved_aside(name);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        is = is || strcmp(name, known[i]) == 0;
    return is;
}

struct listing {
    struct logger *l;
    unsigned parts;
    char generation[16];
};

static int on_part(void *ctx, const struct io_dirent *e)
{
    struct listing *found = ctx;
    if (!is_part(e->name))
        cr_assert_fail("%s left in the generation %s", e->name, found->l->where);
    found->parts++;
    return 0;
}

static int on_name(void *ctx, const struct io_dirent *e)
{
    struct listing *found = ctx;
    if (is_generation(e->name)) {
        check(found->l, found->generation[0] == 0);
        text_format(found->generation, sizeof found->generation, "%s", e->name);
    } else if (!is_known(e->name)) {
        cr_assert_fail("%s left %s", e->name, found->l->where);
    }
    return 0;
}

static uint64_t hash_of(struct logger *l, const char *dir, const char *part, uint64_t seed)
{
    char path[80];
    text_format(path, sizeof path, "%s/%s", dir, part);
    struct cspan bytes = sim_disk_get(l->host, path);
    check(l, bytes.data != NULL);
    return XXH3_64bits_withSeed(bytes.data, bytes.len, seed);
}

/* Nothing but what a log has; the hash of all its events. */
static uint64_t tidy_hash(struct logger *l)
{
    struct listing found = {.l = l};
    char dir[64];
    sim_disk_list(l->host, CRASH_LOGGER_ROOT, on_name, &found);
    text_format(dir, sizeof dir, "%s/%s", CRASH_LOGGER_ROOT, found.generation);
    sim_disk_list(l->host, dir, on_part, &found);
    check(l, found.parts == 3);
    return hash_of(l, dir, "idx", hash_of(l, dir, "dat", hash_of(l, dir, "ts", 0)));
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
    uint64_t hash = tidy_hash(l);
    check(l, logger_start(l));
    next = redex_next_seq(l->log);
    uint64_t count = redex_count(l->log);
    logger_stop(l);
    check(l, tidy_hash(l) == hash || l->policy.retain_age_ns);
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
