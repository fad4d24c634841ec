/* What a node counts never goes back while it lives. */
#include <stdlib.h>

#include <assert.h>

#include "tests/sim/mesh/check_internal.h"

static const struct {
    const char *name;
    size_t offset;
} rows[] = {
#define X(field, name, labels, help) {#field, offsetof(struct shard_metrics, field)},
    SHARD_COUNTERS(X)
#undef X
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static uint64_t value(const struct shard *s, size_t row)
{
    return counter_get((const counter *)(const void *)((const char *)&s->metrics + rows[row].offset));
}

bool check_counters(struct check *c, struct check_node *n)
{
    struct mesh_node *m = n->m;
    if (!n->counters)
        n->counters = calloc(m->config.shards * (size_t)ROWS, sizeof *n->counters);
    assert(n->counters);
    if (n->life != m->lives)
        memset(n->counters, 0, m->config.shards * ROWS * sizeof *n->counters);
    n->life = m->lives;
    check_each_shard(m, s)
    {
        for (size_t row = 0; row < ROWS; row++) {
            uint64_t *before = &n->counters[s->index * ROWS + row], now = value(s, row);
            if (now < *before)
                return check_fail(c, "node %u, shard %u: %s went from %lu to %lu", m->number, s->index, rows[row].name,
                                  *before, now);
            *before = now;
        }
    }
    return true;
}
