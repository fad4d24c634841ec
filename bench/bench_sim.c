/*
 * How fast the simulator is (tests/sim): whole nodes with default settings in a deterministic world, by the simulated
 * seconds of all nodes together that a second of this machine's CPU brings, and the memory of each node. One thread
 * that never sleeps: its CPU time is the time it takes on a machine with nothing else to do.
 *
 *   bench_sim [--json] [SECONDS [NODES]]      simulated seconds of the busy meshes (60), nodes of the idle one (1000)
 */
#include <sys/wait.h>
#include <unistd.h>

#include "bench/measure.h"
#include "core/base/err.h"
#include "shards/node/shard.h"
#include "tests/sim/mesh/sim_node.h"

enum { MESH_NODES = 10, IDLE_DEGREE = 3 };

static const char CHANNEL[] = "bench";

struct scene {
    const char *name;
    unsigned nodes, shards, events; /* of the whole mesh, a second */
    uint64_t seconds;
};

struct figures {
    double start_cpu, cpu; /* seconds: until all are connected, and then */
    double node_bytes;
    uint64_t turns, datagrams, events;
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double resident_bytes(void)
{
    char line[128] = "", *resident; /* all pages, then those in memory */
    FILE *f = fopen("/proc/self/statm", "r");
    check(f && fgets(line, sizeof line, f), "/proc/self/statm");
    fclose(f);
    strtoul(line, &resident, 10);
    unsigned long pages = strtoul(resident, NULL, 10);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static struct mesh_node *neighbour(struct mesh *mesh, unsigned from, unsigned distance)
{
    return &mesh->nodes[(from + distance) % mesh->count];
}

/* All know all and subscribe to all; or a ring with chords, and no channels. */
static void connect_all(struct mesh *mesh, const struct scene *s)
{
    for (unsigned i = 0; i < s->nodes; i++) {
        struct mesh_node *m = &mesh->nodes[i];
        for (unsigned k = 1; s->events && k < s->nodes; k++) {
            mesh_know(m, neighbour(mesh, i, k));
            mesh_subscribe(m, CHANNEL, neighbour(mesh, i, k));
        }
        for (unsigned k = 0, distance = 1; !s->events && k < IDLE_DEGREE; k++, distance *= 7) {
            mesh_know(m, neighbour(mesh, i, distance));
            mesh_know(neighbour(mesh, i, distance), m);
        }
    }
}

static void start(struct mesh *mesh, const struct scene *s)
{
    mesh_init(mesh, 1);
    for (unsigned i = 0; i < s->nodes; i++)
        mesh_add(mesh, s->shards);
    connect_all(mesh, s);
    for (unsigned i = 0; i < s->nodes; i++)
        mesh_start(&mesh->nodes[i]);
    sim_run_for(mesh->sim, 10 * SIM_S);
    check(mesh_settle(mesh, 60 * SIM_S), "all connected");
}

static void run(struct mesh *mesh, const struct scene *s, struct figures *f)
{
    uint64_t began = sim_now(mesh->sim);
    uint64_t count = s->events * s->seconds;
    for (; f->events < count; f->events++) {
        struct mesh_node *m = &mesh->nodes[f->events % s->nodes];
        struct mesh_published p = mesh_publish(m, CHANNEL, 1, f->events, 1, false, 10 * SIM_S);
        check(p.events == 1 && p.err == NET_OK, "publishing");
        sim_run_until(mesh->sim, began + (f->events + 1) * SIM_S / s->events);
    }
    sim_run_until(mesh->sim, began + s->seconds * SIM_S);
    check(!mesh->nodes[0].subscription_count || MESH_COUNT(&mesh->nodes[0], stored_events) > 0, "events arrive");
}

static struct figures measure(const struct scene *s)
{
    struct mesh mesh;
    struct figures f = {0};
    double before = resident_bytes(), began = cpu_seconds();
    start(&mesh, s);
    struct sim_stats then = *sim_stats(mesh.sim);
    f.start_cpu = cpu_seconds() - began;
    began = cpu_seconds();
    run(&mesh, s, &f);
    f.cpu = cpu_seconds() - began;
    f.node_bytes = (resident_bytes() - before) / s->nodes;
    f.turns = sim_stats(mesh.sim)->turns - then.turns;
    f.datagrams = sim_stats(mesh.sim)->datagrams - then.datagrams;
    mesh_deinit(&mesh);
    return f;
}

static void print(const struct scene *s, const struct figures *f, bool json)
{
    double node_seconds = (double)(s->nodes * s->seconds);
    const char *format = json ? "{\"scene\": \"%s\", \"nodes\": %u, \"shards\": %u, \"node_seconds_s\": %.0f, "
                                "\"turns\": %.1f, \"datagrams\": %.1f, \"start_ms\": %.2f, \"node_kib\": %.0f}"
                              : "%-24s %6u %6u %16.0f %8.1f %10.1f %12.2f %8.0f\n";
    printf(format, s->name, s->nodes, s->shards, node_seconds / f->cpu, (double)f->turns / node_seconds,
           (double)f->datagrams / node_seconds, f->start_cpu * 1e3 / s->nodes, f->node_bytes / 1024);
}

/* In a process of its own: in memory that nobody used before. */
static void measure_apart(const struct scene *s, bool json)
{
    fflush(stdout);
    pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
        struct figures f = measure(s);
        print(s, &f, json);
        exit(0);
    }
    int status;
    check(waitpid(child, &status, 0) == child && status == 0, s->name);
}

static unsigned number(const char *text)
{
    char *rest;
    unsigned long n = strtoul(text, &rest, 10);
    if (*rest || n < 1 || n > MESH_MAX_NODES) {
        fprintf(stderr, "bench_sim: '%s' is not a number from 1 to %d\n", text, MESH_MAX_NODES);
        exit(2);
    }
    return (unsigned)n;
}

int main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    argc -= json;
    argv += json;
    unsigned seconds = argc > 1 ? number(argv[1]) : 60, idle = argc > 2 ? number(argv[2]) : 1000;
    const struct scene scenes[] = {
        {"full mesh, 10 events/s", MESH_NODES, 1, 10, seconds},
        {"full mesh, 10 events/s", MESH_NODES, 3, 10, seconds},
        {"full mesh, 100 events/s", MESH_NODES, 1, 100, seconds},
        {"full mesh, 100 events/s", MESH_NODES, 3, 100, seconds},
        {"idle, 6 neighbours each", idle, 1, 0, seconds},
    };
    if (json)
        printf("{\"scenes\": [");
    else
        printf("%-24s %6s %6s %16s %8s %10s %12s %8s\n", "a node, a second:", "nodes", "shards", "node-seconds/s",
               "turns", "datagrams", "ms to start", "KiB");
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++) {
        if (json && i > 0)
            printf(", ");
        measure_apart(&scenes[i], json);
    }
    if (json)
        printf("]}\n");
    return 0;
}
