#include "tests/sim/mesh/crash_points.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"

static const struct {
    const char *name;
    bool power;
    uint32_t keep; /* struct sim_disk_settings.crash_keep */
    bool ext4;
    int error; /* 0: it dies at the point */
    bool on;   /* ... and so do all that follow */
    bool full; /* ... or those that want space */
} fates[CRASH_FATES] = {
    [CRASH_KILL] = {"a kill", .keep = SIM_DRAWN},
    [CRASH_POWER_NOTHING] = {"a power cut that takes all", .power = true, .keep = 0},
    [CRASH_POWER_EVERYTHING] = {"a power cut that leaves all", .power = true, .keep = SIM_ALWAYS},
    [CRASH_POWER_DRAWN] = {"a power cut", .power = true, .keep = SIM_DRAWN},
    [CRASH_POWER_EXT4] = {"a power cut on ext4", .power = true, .keep = SIM_DRAWN, .ext4 = true},
    [CRASH_EIO_KILL] = {"EIO and a kill", .error = EIO, .keep = SIM_DRAWN},
    [CRASH_EIO_POWER] = {"EIO and a power cut", .error = EIO, .power = true, .keep = SIM_DRAWN},
    [CRASH_ENOSPC_KILL] = {"ENOSPC and a kill", .error = ENOSPC, .keep = SIM_DRAWN},
    [CRASH_ENOSPC_POWER] = {"ENOSPC and a power cut", .error = ENOSPC, .power = true, .keep = SIM_DRAWN},
    [CRASH_FULL_KILL] = {"a full disk and a kill", .full = true, .keep = SIM_DRAWN},
    [CRASH_DEAD_POWER] = {"EIO to the end and a power cut", .error = EIO, .on = true, .power = true, .keep = SIM_DRAWN},
};

/* A place in the enumeration, and what was found there. */
struct point {
    enum crash_fate fate;
    uint64_t number;
    bool after;
    bool met;
    uint32_t found; /* bits: of `must` */
};

struct run {
    const struct crash_scenario *scenario;
    struct sim_host *host;
    struct point *now;
    char where[400];
};

static const char *kind_name(enum io_kind kind)
{
    static const char *const names[] = {"open", "read", "write", "fdatasync", "fsync", "rename", "unlink", "mkdir"};
    cr_assert(kind >= IO_OPEN && kind <= IO_MKDIR);
    return names[kind - IO_OPEN];
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t a = strlen(text), b = strlen(suffix);
    return a >= b && strcmp(text + a - b, suffix) == 0;
}

static void say(struct run *run, const char *what, const char *more, uint64_t number)
{
    size_t said = strlen(run->where);
    text_format(run->where + said, sizeof run->where - said, "%s%s %llu", what, more, (unsigned long long)number);
}

static void on_op(void *ctx, const struct sim_disk_event *e)
{
    struct run *run = ctx;
    struct point *p = run->now;
    const struct crash_op *must = run->scenario->must;
    for (unsigned i = 0; i < CRASH_MUST && must[i].suffix; i++)
        if (must[i].kind == e->kind && ends_with(e->path, must[i].suffix))
            p->found |= 1u << i;
    if (p->met || e->number != p->number || e->after != p->after)
        return;
    p->met = true;
    size_t said = strlen(run->where);
    text_format(run->where + said, sizeof run->where - said, " (%s %s)", kind_name(e->kind), e->path);
    if (fates[p->fate].full)
        sim_disk_settings(run->host)->quota = 1; /* less than there is */
    else if (!fates[p->fate].error)
        sim_host_crash_now(run->host, fates[p->fate].power);
}

/* What runs from here to disarm() meets the point. */
static void arm(struct run *run, struct point *p)
{
    struct sim_disk_settings *disk = sim_disk_settings(run->host);
    disk->crash_keep = fates[p->fate].keep;
    disk->crash_tear = fates[p->fate].keep == SIM_DRAWN ? SIM_DRAWN : 0;
    disk->names = fates[p->fate].ext4 ? SIM_NAMES_EXT4 : SIM_NAMES_ANY;
    disk->crash_zeros = fates[p->fate].ext4 ? SIM_ALWAYS / 2 : 0;
    if (fates[p->fate].error) {
        struct sim_fault fault = {
            .error = fates[p->fate].error, .after = (uint32_t)p->number, .times = fates[p->fate].on ? UINT32_MAX : 1};
        sim_disk_fault(run->host, &fault);
    }
    p->met = false;
    p->found = 0;
    run->now = p;
    say(run, fates[p->fate].name, p->after ? " after operation" : " at operation", p->number);
    sim_disk_on_op(run->host, on_op, run);
}

static void disarm(struct run *run, void *ctx)
{
    const struct point *p = run->now;
    sim_disk_on_op(run->host, NULL, NULL);
    sim_disk_clear_faults(run->host);
    sim_disk_settings(run->host)->quota = 0;
    bool alive = sim_host_node(run->host) != NULL;
    if (alive && p->met && fates[p->fate].error && !fates[p->fate].on && run->scenario->settle)
        run->scenario->settle(ctx);
    if (fates[p->fate].power && (fates[p->fate].error || alive))
        sim_host_crash(run->host);
    else
        sim_host_kill(run->host);
    run->scenario->died(ctx, fates[p->fate].power);
}

/* One run. False: the work, or what comes again, has no such point. */
static bool try(const struct crash_scenario *s, void *ctx, uint64_t seed, struct point *first, struct point *second)
{
    struct run run = {.scenario = s};
    text_format(run.where, sizeof run.where, "in %s, seed %llu: ", s->name, (unsigned long long)seed);
    run.host = s->begin(ctx, seed, run.where);
    arm(&run, first);
    s->work(ctx);
    disarm(&run, ctx);
    if (first->met && second) {
        text_format(run.where + strlen(run.where), sizeof run.where - strlen(run.where), ", then ");
        arm(&run, second);
        s->again(ctx);
        disarm(&run, ctx);
    }
    bool met = first->met && (!second || second->met);
    if (met)
        s->recover(ctx);
    s->end(ctx);
    return met;
}

/* The points of one fate, in order; a failure has no `after`. */
static bool next(struct point *p)
{
    if (!p->met)
        return false;
    bool both = !fates[p->fate].error && !fates[p->fate].full;
    p->number += !both || p->after;
    p->after = both && !p->after;
    return true;
}

static void check_met(const struct crash_scenario *s, enum crash_fate fate, unsigned points, uint32_t found)
{
    cr_assert_gt(points, 0, "%s: no point for %s", s->name, fates[fate].name);
    for (unsigned i = 0; i < CRASH_MUST && s->must[i].suffix; i++)
        cr_assert(found >> i & 1, "%s: no %s of ...%s for %s", s->name, kind_name(s->must[i].kind), s->must[i].suffix,
                  fates[fate].name);
}

static unsigned of_fate(const struct crash_scenario *s, void *ctx, uint64_t seed, enum crash_fate fate)
{
    struct point p = {.fate = fate, .met = true};
    uint32_t found = 0;
    unsigned points = 0;
    do {
        points += try(s, ctx, seed, &p, NULL);
        found |= p.found;
    } while (next(&p));
    check_met(s, fate, points, found);
    return points;
}

unsigned crash_points(const struct crash_scenario *s, void *ctx, uint64_t seed, uint32_t which)
{
    unsigned points = 0;
    for (unsigned fate = 0; fate < CRASH_FATES; fate++)
        points += which >> fate & 1 ? of_fate(s, ctx, seed, fate) : 0;
    printf("%s, seed %llu: %u points\n", s->name, (unsigned long long)seed, points);
    return points;
}

struct tally {
    unsigned points[CRASH_FATES];
    uint32_t found[CRASH_FATES];
};

/* Of one death, the points of what comes after it: those whose turn it is by `offset`. */
static void after_death(const struct crash_scenario *s, void *ctx, uint64_t seed, struct point *first,
                        enum crash_fate fate, unsigned offset, unsigned stride, struct tally *t)
{
    struct point p = {.fate = fate, .met = true};
    unsigned i = offset;
    do {
        if (i++ % stride > 0)
            continue;
        t->points[fate] += try(s, ctx, seed, first, &p);
        t->found[fate] |= p.found;
    } while (first->met && next(&p));
}

static unsigned after_deaths_of(const struct crash_scenario *s, void *ctx, uint64_t seed, enum crash_fate fate,
                                uint32_t again_fates, unsigned stride, struct tally *t)
{
    struct point first = {.fate = fate, .met = true};
    unsigned deaths = 0;
    do {
        for (unsigned again = 0; again < CRASH_FATES; again++)
            if (again_fates >> again & 1)
                after_death(s, ctx, seed, &first, again, deaths, stride, t);
        deaths += first.met;
    } while (next(&first));
    return deaths;
}

unsigned crash_points_again(const struct crash_scenario *s, void *ctx, uint64_t seed, uint32_t which,
                            uint32_t again_fates, unsigned stride)
{
    struct tally t = {.points = {0}};
    unsigned points = 0, deaths = 0;
    if (getenv("NM_CRASH_ALL"))
        stride = 1;
    for (unsigned fate = 0; fate < CRASH_FATES; fate++)
        deaths += which >> fate & 1 ? after_deaths_of(s, ctx, seed, fate, again_fates, stride, &t) : 0;
    for (unsigned again = 0; again < CRASH_FATES; again++) {
        if (again_fates >> again & 1)
            check_met(s, again, t.points[again], t.found[again]);
        points += t.points[again];
    }
    printf("%s, seed %llu: %u deaths, %u points after them\n", s->name, (unsigned long long)seed, deaths, points);
    return points;
}
