/* The size of the simulated world: a thousand idle nodes meet, stay connected, say nothing but heartbeats, and fit into
 * memory. Its speed: bench/bench_sim. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "core/base/err.h"
#include "shards/node/shard.h"
#include "tests/sim/mesh/sim_node.h"
#include "tests/sim/world/sink.h"

enum { NODES = 1000 };
/* What an idle node may take, its host and disk included; a sanitizer takes as much again. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { NODE_KIB = 2048 };
#else
enum { NODE_KIB = 1024 };
#endif

static struct mesh mesh;
static unsigned degree[NODES]; /* how many others know it or are known by it */
static uint64_t heartbeats, others;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_crowd, .fini = end, .timeout = 300);

static bool classify(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span datagram)
{
    struct wire_header h;
    (void)ctx, (void)from, (void)to;
    bool decoded = wire_header_decode((struct cspan){datagram.data, datagram.len}, &h) == 0;
    if (decoded && h.flags & WIRE_HEARTBEAT)
        heartbeats++;
    else
        others++;
    return true;
}

static size_t resident_kib(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert(f && fscanf(f, "%*u %lu", &pages) == 1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

static bool knows(const struct mesh_node *m, const struct mesh_node *other)
{
    for (size_t i = 0; i < m->peer_count; i++)
        if (m->peers[i].node_id == other->node_id)
            return true;
    return false;
}

static void acquaint(struct mesh_node *m, struct mesh_node *other)
{
    if (m == other || knows(m, other) || knows(other, m))
        return;
    mesh_know(m, other);
    degree[m->number]++;
    degree[other->number]++;
}

/* A ring, and a chord from each node to any other. */
static void make_crowd(uint64_t seed)
{
    mesh_init(&mesh, seed);
    memset(degree, 0, sizeof degree);
    for (unsigned i = 0; i < NODES; i++)
        mesh_add(&mesh, 1);
    for (unsigned i = 0; i < NODES; i++) {
        acquaint(&mesh.nodes[i], &mesh.nodes[(i + 1) % NODES]);
        acquaint(&mesh.nodes[i], &mesh.nodes[sim_random_below(mesh.sim, NODES)]);
    }
}

static void count_connected(void *ctx, const struct peer_row *row)
{
    *(unsigned *)ctx += row->state == PEER_CONNECTED;
}

static unsigned connected(unsigned node)
{
    unsigned count = 0;
    node_each_peer(mesh.nodes[node].node, count_connected, &count);
    return count;
}

static void expect_all_connected(void)
{
    for (unsigned i = 0; i < NODES; i++)
        cr_assert_eq(connected(i), degree[i], "node %u: %u of %u", i, connected(i), degree[i]);
}

static uint64_t sessions(void) /* ends of them */
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < NODES; i++)
        sum += degree[i];
    return sum;
}

/* Nothing but heartbeats, one from each end of a session every five seconds. */
static void expect_quiet(uint64_t seconds)
{
    uint64_t expected = sessions() * seconds / 5;
    heartbeats = others = 0;
    sim_set_tap(mesh.sim, classify, NULL);
    sim_run_for(mesh.sim, seconds * SIM_S);
    sim_set_tap(mesh.sim, NULL, NULL);
    cr_assert_eq(others, 0);
    cr_assert(heartbeats >= expected * 9 / 10 && heartbeats <= expected * 11 / 10, "%lu heartbeats, not %lu",
              heartbeats, expected);
    cr_assert_eq(sim_stats(mesh.sim)->overflows, 0);
}

static void expect_turns(uint64_t turns, uint64_t seconds)
{
    uint64_t each = turns / NODES;
    cr_assert_leq(each, 12 * seconds, "%lu turns of a node in %lu s", each, seconds);
}

/* One loses its power for longer than its neighbours wait, and comes back. */
static void expect_one_missed(unsigned gone)
{
    struct mesh_node *m = &mesh.nodes[gone];
    mesh_crash(m);
    sim_run_for(mesh.sim, 40 * SIM_S);
    for (unsigned i = 0; i < NODES; i++) {
        if (i == gone)
            continue;
        unsigned expected = degree[i] - (knows(m, &mesh.nodes[i]) || knows(&mesh.nodes[i], m));
        cr_assert_eq(connected(i), expected, "node %u: %u of %u", i, connected(i), expected);
    }
    mesh_start(m);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    expect_all_connected();
}

Test(sim_crowd, idle_nodes_meet_stay_and_fit)
{
    size_t before = resident_kib();
    make_crowd(1);
    for (unsigned i = 0; i < NODES; i++)
        mesh_start(&mesh.nodes[i]);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    sim_run_for(mesh.sim, 10 * SIM_S); /* until nobody has anything left to say to a new neighbour */
    expect_all_connected();
    uint64_t turns = sim_stats(mesh.sim)->turns;
    expect_quiet(180);
    expect_turns(sim_stats(mesh.sim)->turns - turns, 180);
    expect_all_connected();
    expect_one_missed(NODES / 2);
    expect_quiet(20);
    size_t grown = resident_kib() - before;
    cr_assert_leq(grown, (size_t)NODES * NODE_KIB, "%zu KiB", grown);
}

/* Links are made when they are first asked for, and start as those made with their hosts did. */
Test(sim_crowd, links_start_as_the_settings_were_when_the_later_host_came)
{
    mesh_init(&mesh, 2);
    sim_settings(mesh.sim)->link.loss = 1;
    struct sim_host *a = sim_add_host(mesh.sim, 1), *b = sim_add_host(mesh.sim, 1);
    sim_settings(mesh.sim)->link.loss = 2;
    struct sim_host *c = sim_add_host(mesh.sim, 1);
    sim_settings(mesh.sim)->link.loss = 3;
    cr_assert_eq(sim_link(mesh.sim, a, b)->loss, 1);
    cr_assert_eq(sim_link(mesh.sim, b, a)->loss, 1);
    cr_assert_eq(sim_link(mesh.sim, a, c)->loss, 2);
    cr_assert_eq(sim_link(mesh.sim, c, b)->loss, 2);
    sim_link(mesh.sim, c, b)->loss = 4;
    cr_assert_eq(sim_link(mesh.sim, c, b)->loss, 4);
    cr_assert_eq(sim_link(mesh.sim, b, c)->loss, 2);
}

/* Which of two hosts a datagram to `to` reaches: 1, 2, or 0. */
static unsigned reached(struct io *from, const struct io_addr *to, struct sink sinks[2])
{
    unsigned before[2] = {sinks[0].datagrams, sinks[1].datagrams};
    sink_send_number(mesh.sim, from, to, 0, 64);
    sim_run_for(mesh.sim, SIM_S);
    return sinks[0].datagrams > before[0] ? 1 : sinks[1].datagrams > before[1] ? 2 : 0;
}

Test(sim_crowd, an_address_of_several_is_the_earliest_hosts)
{
    struct io *io[3];
    static struct sink sinks[2];
    mesh_init(&mesh, 3);
    struct sim_host *hosts[3];
    for (unsigned i = 0; i < 3; i++)
        hosts[i] = bare_host(mesh.sim, 1, &io[i]);
    sink_start(&sinks[0], io[1]);
    sink_start(&sinks[1], io[2]);
    struct io_addr first = sim_host_addr(hosts[1]), second = sim_host_addr(hosts[2]), third = second;
    third.port++;
    cr_assert_eq(reached(io[0], &first, sinks), 1);
    cr_assert_eq(reached(io[0], &second, sinks), 2);
    cr_assert_eq(reached(io[0], &third, sinks), 0);
    sim_host_set_addr(hosts[2], &first);
    cr_assert_eq(reached(io[0], &first, sinks), 1);
    cr_assert_eq(reached(io[0], &second, sinks), 0);
    sim_host_set_addr(hosts[1], &third);
    cr_assert_eq(reached(io[0], &first, sinks), 2);
    cr_assert_eq(reached(io[0], &third, sinks), 1);
    sim_host_set_addr(hosts[1], &first);
    cr_assert_eq(reached(io[0], &first, sinks), 1);
}
