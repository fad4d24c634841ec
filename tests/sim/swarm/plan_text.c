#include <inttypes.h>

#include "tests/sim/swarm/acts.h"
#include "tests/sim/world/sim.h"

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static const char *const logs[] = {[LOG_DISK] = "disk", [LOG_MEMORY] = "memory", [LOG_NONE] = "none"};
static const char *const syncs[] = {
    [FSYNC_NEVER] = "never", [FSYNC_EACH] = "each", [FSYNC_EVERY] = "every", [FSYNC_INTERVAL] = "interval"};

static void print_channel(const struct channel_rule *r, FILE *out)
{
    const struct channel_settings *c = &r->settings;
    fprintf(out, "           %-12s log %s, fsync %s", r->prefix, logs[c->log], syncs[c->fsync]);
    if (c->retention_events)
        fprintf(out, ", keeps %" PRIu64 " events", c->retention_events);
    if (c->retention_bytes)
        fprintf(out, ", keeps %" PRIu64 " bytes", c->retention_bytes);
    if (c->retention_age_ns)
        fprintf(out, ", keeps %.3f s", seconds(c->retention_age_ns));
    fputc('\n', out);
}

static void print_node(const struct plan *p, unsigned i, FILE *out)
{
    const struct plan_node *n = &p->node[i];
    fprintf(out, "  node %u:  %u shards, starts at %.3f s, %s disk, %s, rekeys every %.0f s, window %u, knows", i,
            n->shards, seconds(n->start_at), n->names == SIM_NAMES_EXT4 ? "ext4" : "POSIX",
            n->config.peers == PEERS_ANY ? "lets anyone in" : "lets in whom it knows",
            seconds(n->config.rekey_interval_ns), n->config.window);
    for (unsigned k = 0; k < p->nodes; k++)
        if (p->knows[i][k])
            fprintf(out, " %u", k);
    fputc('\n', out);
    for (unsigned k = 0; k < n->config.rule_count; k++)
        print_channel(&n->config.rules[k], out);
}

static void print_nat(const struct plan *p, FILE *out)
{
    static const char *const kinds[] = {[SIM_NAT_FULL_CONE] = "full-cone",
                                        [SIM_NAT_RESTRICTED] = "restricted",
                                        [SIM_NAT_PORT_RESTRICTED] = "port-restricted",
                                        [SIM_NAT_SYMMETRIC] = "symmetric"};
    if (p->behind < p->nodes)
        fprintf(out, "  nodes from %u on are behind a %s NAT that forgets after %.0f s\n", p->behind, kinds[p->nat],
                seconds(p->nat_timeout));
}

static void print_feed(const struct plan_feed *f, FILE *out)
{
    fprintf(out, "  node %u publishes %u events to %s", f->node, f->batch, plan_channel(f->channel));
    if (f->to != PLAN_HERE)
        fprintf(out, " of node %u", f->to);
    fprintf(out, " every %.3f s%s%s\n", seconds(f->every), f->durable ? ", durably" : "",
            f->burst ? ", in bursts" : "");
}

static void print_want(const struct plan_want *w, FILE *out)
{
    static const char *const starts[] = {"", ", from the earliest", ", from the latest", ""};
    fprintf(out, "  node %u %s %s of node %u", w->node, w->mode == SUBSCRIBE_LIVE ? "hears" : "follows",
            plan_channel(w->channel), w->from);
    if (w->mode == SUBSCRIBE_FOLLOW && w->start == START_SEQUENCE)
        fprintf(out, ", from %" PRIu64, w->sequence);
    else if (w->mode == SUBSCRIBE_FOLLOW)
        fputs(starts[w->start], out);
    if (w->asked)
        fprintf(out, ", asked at %.3f s", seconds(w->at));
    fputc('\n', out);
}

void plan_print_act(const struct plan *p, const struct act *a, FILE *out)
{
    const struct act_kind *kind = act_kind(a->kind);
    fprintf(out, "%10.3f s  %s ", seconds(a->at), kind->name);
    kind->tell(a, p, out);
    if (a->lasts)
        fprintf(out, " for %.3f s", seconds(a->lasts));
    fputc('\n', out);
}

void plan_print(const struct plan *p, FILE *out)
{
    fprintf(out, "seed %" PRIu64 ": %u nodes, links of %.3f to %.3f ms, %u acts\n", p->seed, p->nodes,
            seconds(p->delay) * 1e3, seconds(p->delay + p->jitter) * 1e3, p->acts);
    for (unsigned i = 0; i < p->nodes; i++)
        print_node(p, i, out);
    print_nat(p, out);
    for (unsigned i = 0; i < p->feeds; i++)
        print_feed(&p->feed[i], out);
    for (unsigned i = 0; i < p->wants; i++)
        print_want(&p->want[i], out);
    for (unsigned i = 0; i < p->acts; i++)
        plan_print_act(p, &p->act[i], out);
}
