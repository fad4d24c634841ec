/* What disks do. */
#include <errno.h>
#include <string.h>

#include "tests/sim/swarm/runner.h"

static bool draw_fault(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->amount = rng_below(rng, 100); /* operations before it */
    a->more = 1 + rng_below(rng, rng_below(rng, 2) ? 1 : 20);
    a->lasts = act_draw_while(rng);
    return true;
}

static void tell_fault(const struct act *a, const struct plan *p, FILE *out)
{
    act_tell_node(a, p, out);
    fprintf(out, " after %llu operations, %llu times", (unsigned long long)a->amount, (unsigned long long)a->more);
}

static void note(struct run *r, const struct act *a)
{
    r->lives[a->node].disk_failing = r->lives[a->node].disk_failed = true;
}

static void fail(struct run *r, const struct act *a, uint32_t kinds, int error)
{
    struct sim_fault fault = {.kinds = kinds, .error = error, .after = (uint32_t)a->amount, .times = (uint32_t)a->more};
    note(r, a);
    sim_disk_fault(r->mesh.nodes[a->node].host, &fault);
}

static void fail_writes(struct run *r, const struct act *a)
{
    fail(r, a, 1u << IO_WRITE, EIO);
}

static void fail_syncs(struct run *r, const struct act *a)
{
    fail(r, a, 1u << IO_FSYNC | 1u << IO_FDATASYNC, EIO);
}

static void work_again(struct run *r, const struct act *a)
{
    sim_disk_clear_faults(r->mesh.nodes[a->node].host);
}

static bool draw_full(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->amount = 1 + rng_below(rng, rng_below(rng, 2) ? 20000 : 500000); /* bytes */
    a->lasts = act_draw_while(rng);
    return true;
}

static void tell_full(const struct act *a, const struct plan *p, FILE *out)
{
    act_tell_node(a, p, out);
    fprintf(out, " at %llu bytes", (unsigned long long)a->amount);
}

static void fill(struct run *r, const struct act *a)
{
    note(r, a);
    sim_disk_settings(r->mesh.nodes[a->node].host)->quota = a->amount;
}

static void make_room(struct run *r, const struct act *a)
{
    sim_disk_settings(r->mesh.nodes[a->node].host)->quota = 0;
}

static bool draw_slow(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->amount = 1 + rng_below(rng, rng_below(rng, 2) ? 10 * SIM_MS : SIM_S);
    a->lasts = act_draw_while(rng);
    return true;
}

static void tell_slow(const struct act *a, const struct plan *p, FILE *out)
{
    act_tell_node(a, p, out);
    fprintf(out, " up to %.3f ms an operation", (double)a->amount / 1e6);
}

static void slow(struct run *r, const struct act *a)
{
    sim_disk_settings(r->mesh.nodes[a->node].host)->slow = (struct sim_range){0, a->amount};
}

static void slow_not(struct run *r, const struct act *a)
{
    sim_disk_settings(r->mesh.nodes[a->node].host)->slow = (struct sim_range){0};
}

/* ---- by age ---- */

enum { DAT, IDX, TS, PARTS_OF_LOG };
static const char *const parts[PARTS_OF_LOG] = {"dat", "idx", "ts"};

static bool draw_age(struct act *a, const struct plan *p, struct rng *rng)
{
    a->node = (unsigned)rng_below(rng, p->nodes);
    a->more = rng_below(rng, PARTS_OF_LOG);
    a->amount = 1 + rng_below(rng, rng_below(rng, 2) ? 1 : 8);
    return true;
}

static bool draw_bad(struct act *a, const struct plan *p, struct rng *rng)
{
    a->lasts = act_draw_while(rng);
    return draw_age(a, p, rng);
}

static void tell_age(const struct act *a, const struct plan *p, FILE *out)
{
    act_tell_node(a, p, out);
    fprintf(out, ", %llu in %s", (unsigned long long)a->amount, parts[a->more]);
}

/* What a record of idx says of itself has no checksum: recovery puts one wrong bit right by its neighbours, and no more
 * is promised (storage/README.md). */
static void rot(struct run *r, const struct act *a)
{
    struct mesh_node *m = &r->mesh.nodes[a->node];
    struct life *l = &r->lives[a->node];
    unsigned bits = a->more == IDX ? !l->index_rotted : (unsigned)a->amount;
    check_excuse(&r->check, m);
    l->index_rotted |= sim_disk_rot(m->host, parts[a->more], bits) > 0 && a->more == IDX;
}

static void go_bad(struct run *r, const struct act *a)
{
    note(r, a);
    sim_disk_bad_sectors(r->mesh.nodes[a->node].host, parts[a->more], (unsigned)a->amount);
}

static void heal(struct run *r, const struct act *a)
{
    sim_disk_heal(r->mesh.nodes[a->node].host);
}

static const struct act_kind rows[] = {
    {"writes fail", 150000, 4, draw_fault, tell_fault, fail_writes, work_again},
    {"syncs fail", 150000, 4, draw_fault, tell_fault, fail_syncs, work_again},
    {"disk full", 150000, 4, draw_full, tell_full, fill, make_room},
    {"slow disk", 200000, 4, draw_slow, tell_slow, slow, slow_not},
    {"bits rot", 100000, 2, draw_age, tell_age, rot, NULL},
    {"bad sectors", 100000, 2, draw_bad, tell_age, go_bad, heal},
};
const struct act_table acts_disk = {rows, sizeof rows / sizeof rows[0]};
