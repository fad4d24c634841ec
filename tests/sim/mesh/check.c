#include "tests/sim/mesh/check.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/mesh/check_internal.h"

#define SETTLE_NS (5 * SIM_S)

enum { FIRST_TAG = 0x10000 }; /* of flows: those below are the scenario's */

bool check_fail(struct check *c, const char *format, ...)
{
    if (c->what[0])
        return false;
    va_list args;
    va_start(args, format);
    vsnprintf(c->what, sizeof c->what, format, args);
    va_end(args);
    return false;
}

void *check_grown(void *all, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return all;
    *room = *room ? *room * 2 : 16;
    all = realloc(all, *room * size);
    assert(all);
    return all;
}

struct check_node *check_node(struct check *c, const struct mesh_node *m)
{
    assert(m->number < c->own->node_count);
    return &c->own->nodes[m->number];
}

struct mesh_node *check_by_id(struct check *c, uint64_t node_id)
{
    for (unsigned i = 0; i < c->own->node_count; i++)
        if (c->own->nodes[i].m->node_id == node_id)
            return c->own->nodes[i].m;
    return NULL;
}

bool check_event(struct cspan event, uint32_t *tag, uint64_t *number)
{
    uint8_t expected[256];
    if (event.len < 12)
        return false;
    *tag = load_le32(event.data);
    *number = load_le64(event.data + 4);
    return mesh_event(*tag, *number, expected) == event.len && memcmp(expected, event.data, event.len) == 0;
}

void check_init(struct check *c, struct mesh *mesh)
{
    struct check_state *own = calloc(1, sizeof *own);
    assert(own);
    *c = (struct check){.mesh = mesh, .converge_ns = 120 * SIM_S, .own = own};
    own->next_tag = FIRST_TAG;
    own->node_count = mesh->count;
    own->nodes = calloc(mesh->count + 1, sizeof *own->nodes);
    assert(own->nodes);
    map_init(&own->sources, 1);
    map_init(&own->delivered, 2);
    for (unsigned i = 0; i < mesh->count; i++)
        own->nodes[i] = (struct check_node){.check = c, .m = &mesh->nodes[i]};
    check_hooks_init(c);
}

static void free_ledger(struct ledger *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->sources[i]->acked);
        free(l->sources[i]);
    }
    free(l->sources);
    holding_free(&l->seen);
    free(l);
}

void check_deinit(struct check *c)
{
    struct check_state *own = c->own;
    for (size_t i = 0; i < own->ledger_count; i++)
        free_ledger(own->ledgers[i]);
    free(own->ledgers);
    for (unsigned i = 0; i < own->node_count; i++)
        free(own->nodes[i].counters);
    free(own->nodes);
    check_hooks_free(c);
    workload_free(c);
    map_deinit(&own->sources);
    free(own);
    c->own = NULL;
}

void check_excuse(struct check *c, const struct mesh_node *m)
{
    check_node(c, m)->excused = true;
}

void check_interrupted(struct check *c, const struct mesh_node *m)
{
    check_node(c, m)->interruptions++;
}

bool check_step(struct check *c)
{
    for (unsigned i = 0; i < c->own->node_count && !c->what[0]; i++) {
        struct check_node *n = &c->own->nodes[i];
        if (n->m->node)
            (void)(check_counters(c, n) && check_strangers(c, n) && check_memory(c, n));
    }
    return c->what[0] == 0;
}

/* What was sent last is acknowledged, or known to be lost. */
static bool check_settles(struct check *c)
{
    sim_run_for(c->mesh->sim, SETTLE_NS);
    return true;
}

bool check_rest(struct check *c)
{
    return check_step(c) && check_converges(c, c->converge_ns) && check_settles(c) && check_logs(c) &&
           check_followers(c) && check_drops(c) && check_quiet(c, 0) && check_step(c);
}
