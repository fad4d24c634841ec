#include "tests/sim/swarm/trace.h"

#include <stdarg.h>
#include <stdlib.h>

#include "tests/sim/swarm/runner.h"

struct seen {
    bool connected[PLAN_NODES][PLAN_NODES];
};

static void begin_line(struct run *r)
{
    fprintf(r->trace, "%10.3f s  ", (double)sim_now(r->mesh.sim) / 1e9);
}

void run_note(struct run *r, const char *format, ...)
{
    va_list args;
    if (!r->trace)
        return;
    begin_line(r);
    va_start(args, format);
    vfprintf(r->trace, format, args);
    va_end(args);
    fputc('\n', r->trace);
}

void trace_act(struct run *r, const struct act *a, bool begins)
{
    if (!r->trace)
        return;
    begin_line(r);
    fprintf(r->trace, "%s%s ", begins ? "" : "end of ", act_kind(a->kind)->name);
    act_kind(a->kind)->tell(a, r->plan, r->trace);
    fputc('\n', r->trace);
}

static void tell_sessions(struct run *r, unsigned i, unsigned k)
{
    struct mesh_node *nodes = r->mesh.nodes;
    bool *before = &r->seen->connected[i][k], now = i != k && mesh_connected(&nodes[i], &nodes[k]);
    if (now != *before)
        run_note(r, "node %u %s node %u", i, now ? "has a session with" : "has lost", k);
    *before = now;
}

void trace_begin(struct run *r)
{
    if (r->trace)
        r->seen = calloc(1, sizeof *r->seen);
}

void trace_tick(struct run *r)
{
    if (!r->trace)
        return;
    for (unsigned i = 0; i < r->plan->nodes; i++)
        for (unsigned k = 0; k < r->plan->nodes; k++)
            tell_sessions(r, i, k);
}

void trace_end(struct run *r)
{
    free(r->seen);
}
