#include "tests/sim/mesh/crash_points.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "core/base/text.h"

const char *const crash_fate_names[CRASH_FATES] = {
    [CRASH_KILL] = "a kill",
    [CRASH_POWER_NOTHING] = "a power cut that takes all",
    [CRASH_POWER_EVERYTHING] = "a power cut that leaves all",
    [CRASH_POWER_DRAWN] = "a power cut",
    [CRASH_POWER_EXT4] = "a power cut on ext4",
    [CRASH_FAILS_EIO] = "EIO",
    [CRASH_FAILS_ENOSPC] = "ENOSPC",
};

struct point {
    struct sim_host *host;
    enum crash_fate fate;
    uint64_t number;
    bool after;
    bool met;
    uint32_t kinds; /* of the operations so far */
    char where[160];
};

static bool is_power(enum crash_fate fate)
{
    return fate >= CRASH_POWER_NOTHING && fate <= CRASH_POWER_EXT4;
}

static bool is_failure(enum crash_fate fate)
{
    return fate >= CRASH_FAILS_EIO;
}

static void on_op(void *ctx, const struct sim_disk_event *e)
{
    struct point *p = ctx;
    p->kinds |= 1u << e->kind;
    if (p->met || e->number != p->number || e->after != p->after)
        return;
    p->met = true;
    size_t said = strlen(p->where);
    text_format(p->where + said, sizeof p->where - said, " (kind %d, %s)", (int)e->kind, e->path);
    if (!is_failure(p->fate))
        sim_host_crash_now(p->host, is_power(p->fate));
}

static void prepare_disk(struct point *p)
{
    if (p->fate == CRASH_POWER_NOTHING || p->fate == CRASH_POWER_EVERYTHING) {
        sim_disk_settings(p->host)->crash_keep = p->fate == CRASH_POWER_EVERYTHING ? SIM_ALWAYS : 0;
        sim_disk_settings(p->host)->crash_tear = 0;
    }
    if (p->fate == CRASH_POWER_EXT4) {
        sim_disk_settings(p->host)->names = SIM_NAMES_EXT4;
        sim_disk_settings(p->host)->crash_zeros = SIM_ALWAYS / 2;
    }
    if (is_failure(p->fate)) {
        struct sim_fault fault = {
            .error = p->fate == CRASH_FAILS_EIO ? EIO : ENOSPC, .after = (uint32_t)p->number, .times = 1};
        sim_disk_fault(p->host, &fault);
    }
    sim_disk_on_op(p->host, on_op, p);
}

/* False: the work has no such point. */
static bool try_point(const struct crash_scenario *s, void *ctx, uint64_t seed, struct point *p)
{
    text_format(p->where, sizeof p->where, "%s, seed %llu: %s %s operation %llu", s->name, (unsigned long long)seed,
                crash_fate_names[p->fate], p->after ? "after" : "at", (unsigned long long)p->number);
    p->host = s->begin(ctx, seed, p->where);
    prepare_disk(p);
    s->work(ctx);
    sim_disk_on_op(p->host, NULL, NULL);
    sim_disk_clear_faults(p->host);
    if (p->met && is_failure(p->fate))
        sim_host_crash(p->host);
    if (p->met)
        s->recover(ctx, is_power(p->fate) || is_failure(p->fate));
    s->end(ctx);
    return p->met;
}

unsigned crash_points(const struct crash_scenario *s, void *ctx, uint64_t seed, uint32_t fates)
{
    unsigned points = 0;
    for (unsigned fate = 0; fate < CRASH_FATES; fate++) {
        uint32_t kinds = 0;
        bool met = fates >> fate & 1;
        for (uint64_t number = 0; met; number++) {
            for (unsigned after = 0; after < (is_failure(fate) ? 1u : 2u); after++) {
                struct point p = {.fate = fate, .number = number, .after = after};
                met = try_point(s, ctx, seed, &p);
                points += met;
                kinds |= p.kinds;
            }
        }
        cr_assert(!(fates >> fate & 1) || (kinds & s->must) == s->must, "%s: of the kinds %x it met %x", s->name,
                  (unsigned)s->must, (unsigned)kinds);
    }
    return points;
}
