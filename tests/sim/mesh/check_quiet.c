/* A mesh at rest: heartbeats, positions of what is followed, new keys when they are due, and nothing else. Nothing is
 * sent again, lost, dropped, dialled, published or delivered. */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/mesh/check_subs.h"

struct rest {
    uint64_t sent; /* datagrams of the process, */
    unsigned life; /* which is this one */
    uint64_t moved[16];
};

/* Nothing of these moves; but a node that knows one that is down dials it, and what is in flight when a session gets
 * new keys counts as lost and is sent again (shards/README.md), and a follow that is refused is tried again. */
enum reason { NEVER, HANDSHAKE, REFUSAL };
static const struct {
    const char *name;
    size_t offset;
    enum reason excuse;
} still[] = {
#define X(excuse, field) {#field, offsetof(struct shard_metrics, field), excuse},
    X(NEVER, rx_events) X(NEVER, tx_events) X(NEVER, published_events) X(NEVER, stored_events)
        X(HANDSHAKE, packets_lost) X(HANDSHAKE, packets_retransmitted) X(HANDSHAKE, probes_sent)
            X(HANDSHAKE, rx_duplicates) X(HANDSHAKE, credit_written_off) X(HANDSHAKE, peers_lost)
                X(HANDSHAKE, handshakes_started) X(HANDSHAKE, handshakes_expired) X(REFUSAL, follows_asked_again)
                    X(REFUSAL, resets_sent)
#undef X
};
enum { ROWS = sizeof still / sizeof still[0] };
static_assert(ROWS < sizeof((struct rest){0}.moved) / sizeof(uint64_t), "room for each, and for drops");

static const size_t drops[] = {
#define X(field, name, labels, help) sizeof(name) == sizeof "drops_total" ? offsetof(struct shard_metrics, field) : 0,
    SHARD_COUNTERS(X)
#undef X
};

static void take(struct mesh_node *m, struct rest *r)
{
    *r = (struct rest){.sent = sim_host_traffic(m->host).sent, .life = m->lives};
    for (size_t i = 0; i < ROWS; i++)
        r->moved[i] = mesh_counter(m, still[i].offset);
    for (size_t i = 0; i < sizeof drops / sizeof drops[0]; i++)
        r->moved[ROWS] += drops[i] ? mesh_counter(m, drops[i]) : 0;
}

static bool has_handshakes(struct check *c, uint64_t ns)
{
    for (unsigned i = 0; i < c->own->node_count; i++)
        if (c->own->nodes[i].m->config.rekey_interval_ns < 2 * ns)
            return true;
    return false;
}

static bool knows_one_that_is_down(struct check *c, const struct mesh_node *m)
{
    for (size_t i = 0; i < m->peer_count; i++) {
        const struct mesh_node *other = check_by_id(c, m->peers[i].node_id);
        if (!other || !other->node)
            return true;
    }
    return false;
}

struct degree {
    const struct mesh_node *m;
    uint64_t follows; /* of its logs and by it */
    uint64_t refused; /* of those: asked for again, now and then */
};

static bool count_follows(struct check *c, const struct reading_place *r, void *ctx)
{
    struct degree *d = ctx;
    (void)c;
    if (r->reader == d->m || r->from == d->m) {
        d->follows += r->followed;
        d->refused += !r->active;
    }
    return true;
}

/* Datagrams that a node may send in `ns`. With each neighbour: a heartbeat an interval, and what acknowledges or
 * answers one; with each follow a position a second, and an acknowledgement. A handshake has two, and two to confirm.
 */
static uint64_t most_sent(struct check *c, struct mesh_node *m, const struct degree *d, uint64_t ns)
{
    uint64_t beats = ns / m->config.heartbeat_interval_ns + 2, most = 0;
    check_each_shard(m, s)
    {
        most += s->peers.count * (2 * beats + 4 * (ns / m->config.rekey_interval_ns + 1));
    }
    most += d->follows * 2 * (ns / SIM_S + 2);
    if (knows_one_that_is_down(c, m))
        most += m->peer_count * 2 * (ns / (500 * SIM_MS) + 1);
    return most;
}

static bool compare(struct check *c, struct mesh_node *m, const struct rest *before, uint64_t ns)
{
    struct rest now;
    if (!m->node || m->lives != before->life)
        return true;
    take(m, &now);
    struct degree d = {.m = m};
    check_each_reader(c, count_follows, &d);
    bool handshakes = knows_one_that_is_down(c, m) || has_handshakes(c, ns);
    for (size_t i = 0; i < ROWS; i++)
        if (now.moved[i] != before->moved[i] && !(still[i].excuse == HANDSHAKE && handshakes) &&
            !(still[i].excuse == REFUSAL && d.refused))
            return check_fail(c, "at rest, node %u: %s went from %lu to %lu", m->number, still[i].name,
                              before->moved[i], now.moved[i]);
    if (now.moved[ROWS] != before->moved[ROWS] && !handshakes)
        return check_fail(c, "at rest, node %u dropped %lu things", m->number, now.moved[ROWS] - before->moved[ROWS]);
    uint64_t sent = now.sent - before->sent, most = most_sent(c, m, &d, ns);
    return sent <= most ? true
                        : check_fail(c, "at rest, node %u sent %lu datagrams in %lu ms, where %lu would do", m->number,
                                     sent, ns / SIM_MS, most);
}

/* Three heartbeats of the slowest, if nothing else is said. */
static uint64_t long_enough(const struct check *c)
{
    uint64_t longest = SIM_S;
    for (unsigned i = 0; i < c->own->node_count; i++) {
        uint64_t interval = c->own->nodes[i].m->config.heartbeat_interval_ns;
        longest = interval > longest ? interval : longest;
    }
    return 3 * longest;
}

bool check_quiet(struct check *c, uint64_t ns)
{
    unsigned count = c->own->node_count;
    ns = ns ? ns : long_enough(c);
    struct rest *before = calloc(count + 1, sizeof *before);
    assert(before);
    for (unsigned i = 0; i < count; i++)
        if (c->own->nodes[i].m->node)
            take(c->own->nodes[i].m, &before[i]);
    sim_run_for(c->mesh->sim, ns);
    for (unsigned i = 0; i < count && !c->what[0]; i++)
        compare(c, c->own->nodes[i].m, &before[i], ns);
    free(before);
    return c->what[0] == 0;
}
