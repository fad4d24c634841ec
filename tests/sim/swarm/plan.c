#include "tests/sim/swarm/plan.h"

#include <assert.h>
#include <string.h>

#include "core/base/text.h"
#include "tests/sim/world/sim.h"

static const char *const channels[PLAN_CHANNELS] = {"metrics", "orders/new", "orders/old/x", "video"};

const char *plan_channel(unsigned channel)
{
    assert(channel < PLAN_CHANNELS);
    return channels[channel];
}

static bool lets_in(const struct plan *p, unsigned node, unsigned who)
{
    return p->knows[node][who] || p->node[node].config.peers == PEERS_ANY;
}

bool plan_meets(const struct plan *p, unsigned a, unsigned b)
{
    return (p->knows[a][b] && lets_in(p, b, a)) || (p->knows[b][a] && lets_in(p, a, b));
}

/* ---- what a node is configured to do ---- */

static void draw_retention(struct channel_settings *c, struct rng *rng)
{
    uint64_t which = rng_below(rng, 8);
    if (which & 4)
        return;
    if (which & 1)
        c->retention_events = 10 + rng_below(rng, 500);
    if (which & 2)
        c->retention_bytes = 65536 + rng_below(rng, 65536);
    if (which == 0)
        c->retention_age_ns = SIM_S + rng_below(rng, 30 * SIM_S);
}

static void draw_channel(struct channel_settings *c, struct rng *rng)
{
    static const enum config_log logs[] = {LOG_DISK, LOG_DISK, LOG_DISK, LOG_MEMORY, LOG_NONE};
    static const enum config_fsync syncs[] = {FSYNC_NEVER, FSYNC_NEVER, FSYNC_EACH, FSYNC_EVERY, FSYNC_INTERVAL};
    c->log = logs[rng_below(rng, 5)];
    c->fsync = syncs[rng_below(rng, 5)];
    c->fsync_events = 1 + rng_below(rng, 100);
    c->fsync_interval_ns = 10 * SIM_MS + rng_below(rng, 2 * SIM_S);
    draw_retention(c, rng);
}

static void draw_rules(struct config *c, const struct plan *p, struct rng *rng)
{
    for (unsigned i = 0; i < p->channels; i++) {
        struct channel_rule *r = &c->rules[c->rule_count++];
        text_format(r->prefix, sizeof r->prefix, "%s", channels[i]);
        r->settings = c->channel;
        draw_channel(&r->settings, rng);
    }
}

static uint64_t one_of(struct rng *rng, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t all[] = {a, b, c};
    return all[rng_below(rng, 3)];
}

static void draw_config(struct config *c, const struct plan *p, struct rng *rng)
{
    config_defaults(c);
    c->ring_bytes = (uint32_t)one_of(rng, 1 << 20, 1 << 20, 4 << 20);
    c->window = (uint32_t)one_of(rng, 65536, 65536, 1 << 20);
    c->follow_window = (uint32_t)one_of(rng, 65536, 200000, 4 << 20);
    c->rekey_interval_ns = one_of(rng, 5 * SIM_S, 20 * SIM_S, 86400 * SIM_S);
    c->session_timeout_ns = one_of(rng, 6 * SIM_S, 15 * SIM_S, 30 * SIM_S);
    c->peers = rng_below(rng, 4) ? PEERS_ANY : PEERS_LISTED;
    c->log_none_bytes = 512 << 10;
    c->max_unacknowledged = one_of(rng, 1 << 20, 4 << 20, 64 << 20);
    c->publish_timeout_ns = one_of(rng, 2 * SIM_S, 10 * SIM_S, 30 * SIM_S);
    draw_channel(&c->channel, rng);
    draw_rules(c, p, rng);
}

/* ---- who there is ---- */

enum shape { ALL_KNOW_ALL, STAR, RING, SOME };

static bool draw_knows(const struct plan *p, enum shape shape, unsigned a, unsigned b, struct rng *rng)
{
    switch (shape) {
    case STAR:
        return a == 0 || b == 0;
    case RING:
        return (a + 1) % p->nodes == b || (b + 1) % p->nodes == a;
    case SOME:
        return rng_below(rng, 2) == 0;
    case ALL_KNOW_ALL:
        break;
    }
    return true;
}

static void draw_nodes(struct plan *p, const struct plan_limits *limits, struct rng *rng)
{
    enum shape shape = (enum shape)rng_below(rng, 4);
    bool together = rng_below(rng, 2);
    /* One for all: a peer that is quiet for three of our intervals counts as silent (extensions X1). */
    uint64_t heartbeat = one_of(rng, SIM_S, 5 * SIM_S, 5 * SIM_S);
    p->nodes = limits->nodes ? limits->nodes : 2 + (unsigned)rng_below(rng, rng_below(rng, 3) ? 3 : PLAN_NODES - 1);
    p->channels = 1 + (unsigned)rng_below(rng, PLAN_CHANNELS);
    for (unsigned i = 0; i < p->nodes; i++) {
        struct plan_node *n = &p->node[i];
        n->shards = limits->shards ? limits->shards : 1 + (unsigned)rng_below(rng, 4);
        n->names = rng_below(rng, 2) ? SIM_NAMES_EXT4 : SIM_NAMES_ANY;
        n->start_at = together ? SIM_S : SIM_S + rng_below(rng, 3 * SIM_S);
        draw_config(&n->config, p, rng);
        n->config.heartbeat_interval_ns = heartbeat;
        for (unsigned k = 0; k < p->nodes; k++)
            p->knows[i][k] = i != k && draw_knows(p, shape, i, k, rng);
    }
}

/* Who is behind a NAT has to dial, so it knows all that know it. */
static void draw_nat(struct plan *p, struct rng *rng)
{
    p->behind = p->nodes;
    if (rng_below(rng, 4))
        return;
    p->behind = 1 + (unsigned)rng_below(rng, p->nodes - 1);
    p->nat = (enum sim_nat_kind)rng_below(rng, 4);
    p->nat_timeout = one_of(rng, 20 * SIM_S, 30 * SIM_S, 120 * SIM_S); /* longer than heartbeats are apart */
    for (unsigned i = 0; i < p->nodes; i++)
        for (unsigned k = p->behind; k < p->nodes; k++)
            p->knows[i][k] = p->knows[k][i] = p->knows[i][k] || p->knows[k][i];
}

/* ---- what is published, and who reads it ---- */

static void draw_feed(struct plan *p, struct rng *rng)
{
    struct plan_feed f = {.node = (unsigned)rng_below(rng, p->nodes),
                          .to = PLAN_HERE,
                          .channel = (unsigned)rng_below(rng, p->channels),
                          .durable = rng_below(rng, 3) == 0,
                          .every = 30 * SIM_MS + rng_below(rng, one_of(rng, 200, 1000, 4000) * SIM_MS),
                          .batch = 1 + (uint32_t)rng_below(rng, one_of(rng, 1, 5, 30)),
                          .burst = rng_below(rng, 4) ? 0 : SIM_ALWAYS / 100};
    unsigned to = (unsigned)rng_below(rng, p->nodes);
    if (rng_below(rng, 3) == 0 && to != f.node && plan_meets(p, f.node, to))
        f.to = to;
    p->feed[p->feeds++] = f;
}

static void draw_want(struct plan *p, struct rng *rng)
{
    struct plan_want w = {.node = (unsigned)rng_below(rng, p->nodes),
                          .from = (unsigned)rng_below(rng, p->nodes),
                          .channel = (unsigned)rng_below(rng, p->channels),
                          .mode = rng_below(rng, 3) ? SUBSCRIBE_FOLLOW : SUBSCRIBE_LIVE,
                          .start = (enum subscription_start)rng_below(rng, 4),
                          .sequence = rng_below(rng, 300),
                          .asked = rng_below(rng, 3) == 0,
                          .at = 2 * SIM_S + rng_below(rng, p->ends - 4 * SIM_S)};
    for (unsigned i = 0; i < p->wants; i++)
        if (p->want[i].node == w.node && p->want[i].from == w.from && p->want[i].channel == w.channel)
            return;
    if (w.node != w.from && p->knows[w.node][w.from])
        p->want[p->wants++] = w;
}

void plan_draw(struct plan *p, uint64_t seed, const struct plan_limits *limits)
{
    struct rng rng;
    uint64_t seconds = limits->seconds ? limits->seconds : 60;
    rng_init(&rng, seed, 0x5377 + PLAN_VERSION);
    memset(p, 0, sizeof *p);
    p->seed = seed;
    p->ends = (1 + seconds) * SIM_S;
    p->delay = 20 * SIM_US + rng_below(&rng, one_of(&rng, 50 * SIM_US, 2 * SIM_MS, 60 * SIM_MS));
    p->jitter = rng_below(&rng, 2) ? 0 : rng_below(&rng, p->delay);
    draw_nodes(p, limits, &rng);
    draw_nat(p, &rng);
    for (uint64_t n = 1 + rng_below(&rng, one_of(&rng, 2, 5, PLAN_FEEDS)); n > 0; n--)
        draw_feed(p, &rng);
    for (uint64_t n = rng_below(&rng, PLAN_WANTS); n > 0; n--)
        draw_want(p, &rng);
    plan_draw_acts(p, &rng);
}

void plan_cut(struct plan *p, unsigned acts, const bool *without)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < p->acts && i < acts; i++)
        if (!without || !without[i])
            p->act[kept++] = p->act[i];
    p->acts = kept;
}
