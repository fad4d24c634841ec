/* What every log of every node holds at the end, as runs of sequences. */
#include "core/base/map.h"
#include "shards/node/shard.h"
#include "tests/sim/mesh/check_internal.h"
#include "tests/sim/swarm/runner.h"
#include "tests/sim/swarm/trace.h"

static void print_runs(const struct holding *h, FILE *out)
{
    for (size_t i = 0, from = 0; i < h->count; i++) {
        if (i + 1 < h->count && h->all[i + 1].seq == h->all[i].seq + 1)
            continue;
        fprintf(out, " %llu-%llu", (unsigned long long)h->all[from].seq, (unsigned long long)h->all[i].seq);
        from = i + 1;
    }
}

static void tell_log(struct run *r, const struct mesh_node *m, struct log *log)
{
    const struct mesh_node *from = log->key.origin ? check_by_id(&r->check, log->key.origin) : NULL;
    struct holding h;
    fprintf(r->trace, "  node %u, %s", m->number, log->name.text);
    if (from)
        fprintf(r->trace, " of node %u", from->number);
    if (log->key.edition)
        fprintf(r->trace, ", followed, edition %u", log->key.edition);
    if (!holding_of(log, &h)) {
        fprintf(r->trace, ": not open, or keeps nothing\n");
        return;
    }
    fprintf(r->trace, ": id %02x%02x%02x%02x, up to %llu:", h.id[0], h.id[1], h.id[2], h.id[3],
            (unsigned long long)h.next);
    print_runs(&h, r->trace);
    fputc('\n', r->trace);
    holding_free(&h);
}

void trace_logs(struct run *r)
{
    if (!r->trace)
        return;
    fprintf(r->trace, "what the logs hold:\n");
    for (unsigned i = 0; i < r->plan->nodes; i++) {
        struct mesh_node *m = &r->mesh.nodes[i];
        check_each_shard(m, s)
        {
            map_each(&s->logs, slot)
            {
                tell_log(r, m, slot->value);
            }
        }
    }
}
