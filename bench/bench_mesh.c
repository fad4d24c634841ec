/*
 * Two nodes in two processes, one shard each, joined over loopback: encrypted events per second from one to the other,
 * counted where the receiving application takes them, and ping-pong latency. Every packet goes through handshake keys,
 * streams, credit, subscriptions and (unless off) RedEX on both sides. bench/run prints this beside the limits.
 *
 *   bench_mesh throughput SIZE off|on|durable [SECONDS]
 *   bench_mesh latency block|spin [ROUNDS]
 *
 * Prints one JSON line.
 */
#include <assert.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shards/node/view.h"
#include "tests/support/node_pair.h"

enum { BATCH_BYTES = 60000, BATCH_EVENTS = 2028 };
static const char FORTH[] = "bench/forth", BACK[] = "bench/back";

enum role { SENDER, RECEIVER };

struct shared { /* between the two processes */
    _Atomic uint64_t received, bytes, first_ns, last_ns, cpu_ns[2];
    atomic_bool subscribed, stop;
};

struct bench {
    enum role role;
    bool latency, durable;
    uint32_t size;
    double seconds, rate;
    uint32_t rounds, round;
    struct shared *shared;
    struct netmesh *nm;
    uint8_t *batch;
    size_t batch_len;
    uint32_t batch_count;
    uint64_t started, sent_at, dropped;
    uint32_t *samples;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- throughput ---- */

static void fill_batch(struct bench *b)
{
    uint32_t count = BATCH_BYTES / (b->size + 4);
    b->batch_count = count > BATCH_EVENTS ? BATCH_EVENTS : count;
    b->batch_len = (size_t)b->batch_count * (b->size + 4);
    b->batch = malloc(b->batch_len);
    for (uint32_t i = 0; i < b->batch_count; i++) {
        uint8_t *frame = b->batch + (size_t)i * (b->size + 4);
        store_le32(frame, b->size);
        memset(frame + 4, (int)('a' + i % 26), b->size);
    }
}

static bool is_subscribed(struct netmesh_shard *face)
{
    struct log *log = log_find(face->shard, (struct log_key){0, channel_hash(FORTH, strlen(FORTH))});
    return log && log->view && !list_empty(&log->view->cursors);
}

static bool send_turn(void *ctx, struct netmesh_shard *face)
{
    struct bench *b = ctx;
    if (atomic_load_explicit(&b->shared->stop, memory_order_relaxed) || !is_subscribed(face))
        return false;
    if (b->started == 0)
        b->started = now_ns();
    if (b->durable) { /* a publisher that waits for its events to be on the disk, with four batches under way */
        struct log *log = log_find(face->shard, (struct log_key){0, channel_hash(FORTH, strlen(FORTH))});
        if (log->open && redex_next_seq(log->redex) - redex_synced_seq(log->redex) > 4 * b->batch_count)
            return false;
    }
    struct log *log = log_find(face->shard, (struct log_key){0, channel_hash(FORTH, strlen(FORTH))});
    struct cursor *c = container_of(list_first(&log->view->cursors), struct cursor, in_view);
    bool published = false;
    for (int i = 0; i < 4; i++) {
        if (log->open && log->kind != LOG_NONE && redex_next_seq(log->redex) - c->next > 65536)
            break; /* the subscriber sets the pace: what is measured is delivery, not appending */
        if (netmesh_publish(face, FORTH, b->batch, b->batch_len, b->batch_count) != 0)
            break;
        published = true;
        if (b->durable && (log = log_find(face->shard, log->key))->open)
            redex_want_sync(log->redex, redex_next_seq(log->redex));
    }
    return published && !b->durable;
}

static void count_events(void *ctx, struct netmesh_shard *face, const struct netmesh_events *e)
{
    (void)face;
    struct bench *b = ctx;
    struct shared *s = b->shared;
    uint64_t now = io_now(face->shard->io);
    if (atomic_load_explicit(&s->received, memory_order_relaxed) == 0)
        atomic_store_explicit(&s->first_ns, now, memory_order_relaxed);
    atomic_store_explicit(&s->received, atomic_load_explicit(&s->received, memory_order_relaxed) + e->count,
                          memory_order_relaxed);
    atomic_store_explicit(&s->last_ns, now, memory_order_relaxed);
}

/* ---- latency ---- */

static void ping(struct bench *b, struct netmesh_shard *face)
{
    b->sent_at = now_ns();
    assert(netmesh_publish(face, FORTH, b->batch, b->size + 4, 1) == 0);
}

static bool ping_turn(void *ctx, struct netmesh_shard *face)
{
    struct bench *b = ctx;
    if (b->sent_at == 0 && is_subscribed(face) && atomic_load(&b->shared->subscribed))
        ping(b, face);
    return false;
}

static bool pong_turn(void *ctx, struct netmesh_shard *face)
{
    struct bench *b = ctx;
    struct log *log = log_find(face->shard, (struct log_key){0, channel_hash(BACK, strlen(BACK))});
    if (log && log->view && !list_empty(&log->view->cursors))
        atomic_store(&b->shared->subscribed, true);
    return false;
}

static void on_ping(void *ctx, struct netmesh_shard *face, const struct netmesh_events *e)
{
    struct bench *b = ctx;
    if (b->role == RECEIVER) {
        assert(netmesh_publish(face, BACK, e->frames, e->len, e->count) == 0);
        return;
    }
    if (b->round < b->rounds)
        b->samples[b->round] = (uint32_t)(now_ns() - b->sent_at);
    if (++b->round < b->rounds)
        ping(b, face);
    else
        atomic_store(&b->shared->stop, true);
}

/* ---- two nodes ---- */

static uint64_t cpu_ns(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000u +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000u;
}

static void compare_and_print(struct bench *b);

static void pin_to(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static int run_node(struct bench *b, const char *dir, const char *log, bool spin)
{
    char log_setting[64], error[1024], spin_setting[64];
    snprintf(log_setting, sizeof log_setting, "channels.log=%s", log);
    snprintf(spin_setting, sizeof spin_setting, "shards.spin=%s", spin ? "1s" : "0s");
    const char *overrides[] = {log_setting, "shards.count=1", spin_setting};
    struct netmesh_hooks hooks = {
        .ctx = b,
        .on_events = b->latency            ? on_ping
                     : b->role == RECEIVER ? count_events
                                           : NULL,
        .on_turn = b->latency          ? (b->role == SENDER ? ping_turn : pong_turn)
                   : b->role == SENDER ? send_turn
                                       : NULL,
    };
    pin_to(b->role == SENDER ? 0 : 1);
    int err = netmesh_open(&b->nm, dir, overrides, 3, &hooks, error, sizeof error);
    if (err == 0)
        err = netmesh_run(b->nm, true, NULL, NULL, error, sizeof error);
    if (err)
        fprintf(stderr, "bench_mesh: %s\n", error);
    netmesh_close(b->nm);
    atomic_store(&b->shared->cpu_ns[b->role], cpu_ns());
    if (b->role == SENDER && b->latency)
        compare_and_print(b);
    return err ? 1 : 0;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void compare_and_print(struct bench *b)
{
    uint32_t n = b->round < b->rounds ? b->round : b->rounds;
    qsort(b->samples, n, sizeof *b->samples, by_value);
    if (n)
        printf("{\"bench\":\"latency\",\"rounds\":%u,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f}\n", n,
               b->samples[n / 2] / 1e3, b->samples[n * 99ull / 100] / 1e3, b->samples[n * 999ull / 1000] / 1e3);
    fflush(stdout);
}

static pid_t start(struct bench *b, enum role role, const char *dir, const char *log, bool spin)
{
    pid_t pid = fork();
    if (pid == 0) {
        b->role = role;
        _exit(run_node(b, dir, log, spin));
    }
    return pid;
}

/* What the receiver counts between two moments, once the stream runs. */
static void measure_throughput(struct bench *b)
{
    struct shared *s = b->shared;
    for (int i = 0; i < 1000 && atomic_load(&s->received) == 0; i++)
        usleep(10000);
    usleep(300000); /* warm */
    uint64_t from = atomic_load(&s->received), t0 = now_ns();
    usleep((useconds_t)(b->seconds * 1e6));
    b->rate = (double)(atomic_load(&s->received) - from) * 1e9 / (double)(now_ns() - t0);
    atomic_store(&s->stop, true);
}

/* CPU time is of the whole life of each process, start included: it says what an event costs on a busy machine, too. */
static void print_throughput(const struct bench *b, const char *mode)
{
    double events = (double)atomic_load(&b->shared->received) / 1e3;
    printf("{\"bench\":\"throughput\",\"size\":%u,\"redex\":\"%s\",\"events_per_s\":%.0f,\"gbit_per_s\":%.3f,"
           "\"cpu_ns_per_event\":{\"sender\":%.0f,\"receiver\":%.0f}}\n",
           b->size, mode, b->rate, b->rate * b->size * 8 / 1e9,
           (double)atomic_load(&b->shared->cpu_ns[SENDER]) / events / 1e3,
           (double)atomic_load(&b->shared->cpu_ns[RECEIVER]) / events / 1e3);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    if (argc < 3 || (strcmp(argv[1], "throughput") == 0 && argc < 4)) {
        fprintf(stderr, "usage: bench_mesh throughput SIZE off|on|durable [SECONDS]\n"
                        "       bench_mesh latency block|spin [ROUNDS]\n");
        return 2;
    }
    b.latency = strcmp(argv[1], "latency") == 0;
    b.size = b.latency ? 64 : (uint32_t)strtoul(argv[2], NULL, 10);
    const char *mode = b.latency ? "off" : argv[3];
    b.durable = strcmp(mode, "durable") == 0;
    b.seconds = !b.latency && argc > 4 ? strtod(argv[4], NULL) : 3;
    b.rounds = b.latency && argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 20000;
    if (b.size > WIRE_MAX_EVENT || (strcmp(mode, "off") && strcmp(mode, "on") && !b.durable)) {
        fprintf(stderr, "bench_mesh: SIZE is at most %d, the mode one of off, on, durable\n", WIRE_MAX_EVENT);
        return 2;
    }
    b.shared = mmap(NULL, sizeof *b.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    b.samples = calloc(b.rounds, sizeof *b.samples);
    fill_batch(&b);

    struct node_pair pair;
    node_pair_make(&pair, FORTH, b.latency ? BACK : NULL);
    const char *log = strcmp(mode, "off") == 0 ? "none" : "disk";
    bool spin = b.latency && strcmp(argv[2], "spin") == 0;
    pid_t receiver = start(&b, RECEIVER, pair.b, log, spin), sender = start(&b, SENDER, pair.a, log, spin);
    if (b.latency)
        for (int i = 0; i < 6000 && !atomic_load(&b.shared->stop); i++)
            usleep(10000);
    else
        measure_throughput(&b);
    kill(sender, SIGTERM);
    kill(receiver, SIGTERM);
    int status_a, status_b;
    waitpid(sender, &status_a, 0);
    waitpid(receiver, &status_b, 0);
    if (!b.latency)
        print_throughput(&b, mode);
    node_pair_remove(&pair);
    return WIFEXITED(status_a) && WEXITSTATUS(status_a) == 0 && WIFEXITED(status_b) && WEXITSTATUS(status_b) == 0 ? 0
                                                                                                                  : 1;
}
