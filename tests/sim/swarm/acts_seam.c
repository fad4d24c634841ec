/* What the kernel answers that it seldom does: settings of the whole world for a while. */
#include "tests/sim/swarm/runner.h"

static bool draw(struct act *a, const struct plan *p, struct rng *rng)
{
    (void)p;
    a->amount = 1 + rng_below(rng, (uint64_t[]){2000, 100000, 300000}[rng_below(rng, 3)]);
    a->lasts = act_draw_while(rng);
    return true;
}

static void tell(const struct act *a, const struct plan *p, FILE *out)
{
    (void)p;
    fputs("everywhere", out);
    act_tell_share(a, out);
}

static void missteer(struct run *r, const struct act *a)
{
    sim_settings(r->mesh.sim)->missteer = (uint32_t)a->amount;
}

static void missteer_not(struct run *r, const struct act *a)
{
    (void)a;
    sim_settings(r->mesh.sim)->missteer = 0;
}

static void send_again(struct run *r, const struct act *a)
{
    sim_settings(r->mesh.sim)->send_again = (uint32_t)a->amount;
}

static void send_again_not(struct run *r, const struct act *a)
{
    (void)a;
    sim_settings(r->mesh.sim)->send_again = 0;
}

static void no_buffers(struct run *r, const struct act *a)
{
    sim_settings(r->mesh.sim)->send_enobufs = (uint32_t)a->amount;
}

static void no_buffers_not(struct run *r, const struct act *a)
{
    (void)a;
    sim_settings(r->mesh.sim)->send_enobufs = 0;
}

static void send_part(struct run *r, const struct act *a)
{
    sim_settings(r->mesh.sim)->send_part = (uint32_t)a->amount;
}

static void send_part_not(struct run *r, const struct act *a)
{
    (void)a;
    sim_settings(r->mesh.sim)->send_part = 0;
}

static void short_io(struct run *r, const struct act *a)
{
    sim_settings(r->mesh.sim)->short_io = (uint32_t)a->amount;
}

static void short_io_not(struct run *r, const struct act *a)
{
    (void)a;
    sim_settings(r->mesh.sim)->short_io = 0;
}

static void end_arrivals(struct run *r, const struct act *a)
{
    sim_settings(r->mesh.sim)->multishot_end = (uint32_t)a->amount;
}

static void end_arrivals_not(struct run *r, const struct act *a)
{
    (void)a;
    sim_settings(r->mesh.sim)->multishot_end = 0;
}

static void lose_doorbells(struct run *r, const struct act *a)
{
    sim_settings(r->mesh.sim)->lost_doorbell = (uint32_t)a->amount;
}

static void lose_doorbells_not(struct run *r, const struct act *a)
{
    (void)a;
    sim_settings(r->mesh.sim)->lost_doorbell = 0;
}

static void complete_late(struct run *r, const struct act *a)
{
    sim_settings(r->mesh.sim)->late = (uint32_t)a->amount;
    sim_settings(r->mesh.sim)->late_max = 300 * SIM_MS;
}

static void complete_late_not(struct run *r, const struct act *a)
{
    (void)a;
    sim_settings(r->mesh.sim)->late = 0;
}

static const struct act_kind rows[] = {
    {"missteered", 200000, 4, draw, tell, missteer, missteer_not},
    {"sends refused", 200000, 4, draw, tell, send_again, send_again_not},
    {"no buffers to send", 200000, 4, draw, tell, no_buffers, no_buffers_not},
    {"sends in part", 200000, 4, draw, tell, send_part, send_part_not},
    {"short reads and writes", 200000, 4, draw, tell, short_io, short_io_not},
    {"receiving ends", 200000, 4, draw, tell, end_arrivals, end_arrivals_not},
    {"doorbells lost", 200000, 4, draw, tell, lose_doorbells, lose_doorbells_not},
    {"completions late", 200000, 4, draw, tell, complete_late, complete_late_not},
};
const struct act_table acts_seam = {rows, sizeof rows / sizeof rows[0]};
