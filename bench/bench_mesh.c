/*
 * Two nodes in two processes, one shard each, joined over loopback: encrypted events per second from one to the other,
 * counted where the receiving application takes them, and ping-pong latency. Every packet goes through handshake keys,
 * streams, credit, subscriptions and (unless off) RedEX on both sides. bench/run prints this beside the limits.
 */
#include <assert.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/measure.h"
#include "shards/channels/follow.h"
#include "shards/transport/receive.h"
#include "shards/logs/view.h"
#include "tests/support/node_pair.h"

enum {
    BATCH_BYTES = 60000, /* of frames, published at a time */
    BATCH_EVENTS = 2028,
    BATCHES = 4,  /* a turn; of a durable publisher, under way */
    LEAD = 65536, /* events the publisher may be ahead of the subscriber */
    PING_BYTES = 64,
    RELIABLE = 0x7f01, /* the subprotocol, and stream, of events that are sent without a log */
};
static const char FORTH[] = "bench/forth", BACK[] = "bench/back";

enum role { SENDER, RECEIVER };

struct shared { /* between the two processes */
    _Atomic uint64_t received, cpu_ns[2];
    atomic_bool subscribed, stop;
};

struct bench {
    enum role role;
    bool latency, spin, durable, reliable, follow, logs;
    const char
        *mode; /* of RedEX: off, on, durable, follow: on, and followed; reliable: a reliable stream in its place */
    uint32_t size;
    double seconds, rate;
    uint32_t rounds, round;
    unsigned cpus[2];
    struct shared *shared;
    struct netmesh *nm;
    uint8_t *batch;
    size_t batch_len;
    uint32_t batch_count;
    struct stream_source source;
    uint64_t sent_at;
    uint32_t *samples;
};

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

/* The log of a channel of this node's own, or NULL. */
static struct log *own_log(struct netmesh_shard *face, const char *channel)
{
    return log_find(face->shard, (struct log_key){0, channel_hash(channel, strlen(channel)), 0});
}

static bool is_subscribed(struct netmesh_shard *face, const char *channel)
{
    const struct log *log = own_log(face, channel);
    return log && log->view && !(list_empty(&log->view->cursors) && list_empty(&log->view->followers));
}

/* Where the subscriber is in the log: sent up to there. */
static uint64_t place_of_subscriber(const struct log_view *v)
{
    if (!list_empty(&v->followers))
        return container_of(v->followers.next, struct follower, in_view)->next;
    return container_of(v->cursors.next, struct cursor, in_view)->next;
}

/* A durable publisher waits for its events to be on the disk, with some batches under way. */
static bool waits_for_disk(const struct bench *b, const struct log *log)
{
    return b->durable && log->open &&
           redex_next_seq(log->redex) - redex_synced_seq(log->redex) > (uint64_t)BATCHES * b->batch_count;
}

/* The subscriber sets the pace: what is measured is delivery, not appending. */
static bool leads(const struct log *log)
{
    return log->open && log->kind != LOG_NONE && redex_next_seq(log->redex) - place_of_subscriber(log->view) > LEAD;
}

static bool send_turn(void *ctx, struct netmesh_shard *face)
{
    struct bench *b = ctx;
    if (atomic_load_explicit(&b->shared->stop, memory_order_relaxed) || !is_subscribed(face, FORTH))
        return false;
    struct log *log = own_log(face, FORTH);
    if (waits_for_disk(b, log))
        return false;
    bool published = false;
    for (int i = 0; i < BATCHES && !leads(log); i++) {
        if (netmesh_publish(face, FORTH, b->batch, b->batch_len, b->batch_count) != 0)
            break;
        published = true;
        log = own_log(face, FORTH);
        if (b->durable && log->open)
            redex_want_sync(log->redex, redex_next_seq(log->redex));
    }
    return published && !b->durable;
}

static void count_events(void *ctx, struct netmesh_shard *face, const struct netmesh_events *e)
{
    (void)face;
    struct shared *s = ((struct bench *)ctx)->shared;
    atomic_store_explicit(&s->received, atomic_load_explicit(&s->received, memory_order_relaxed) + e->count,
                          memory_order_relaxed);
}

/* ---- throughput of a reliable stream ---- */

static bool fill_packet(struct stream_source *source, struct peer *p, struct stream *st)
{
    const struct bench *b = container_of(source, struct bench, source);
    if (atomic_load_explicit(&b->shared->stop, memory_order_relaxed))
        return false;
    struct packet *k = stream_packet(p, st, p->plaintext_path);
    if (!k)
        return false;
    k->subprotocol = RELIABLE;
    k->count = (uint16_t)(k->room / (b->size + 4) < b->batch_count ? k->room / (b->size + 4) : b->batch_count);
    k->len = (uint16_t)(k->count * (b->size + 4));
    memcpy(k->data, b->batch, k->len);
    stream_commit(p, st, k);
    return true;
}

static bool open_turn(void *ctx, struct netmesh_shard *face)
{
    struct bench *b = ctx;
    struct list *n = list_first(&face->shard->peer_list);
    struct peer *p = n ? container_of(n, struct peer, in_shard) : NULL;
    struct stream *st;
    if (!p || b->source.fill || stream_open(p, RELIABLE, STREAM_RELIABLE, 0, 1, &st) != 0)
        return false;
    b->source.fill = fill_packet;
    st->source = &b->source;
    stream_wants_tx(p, st);
    return false;
}

static bool take_packet(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    struct shared *s = ((struct bench *)p->shard->node->options.hooks.ctx)->shared;
    struct wire_frames walk = wire_frames(plaintext, h->event_count);
    struct cspan event;
    uint64_t received = atomic_load_explicit(&s->received, memory_order_relaxed);
    while (wire_frames_next(&walk, &event))
        received++;
    atomic_store_explicit(&s->received, received, memory_order_relaxed);
    stream_consumed(p, st, h->payload_len + (uint32_t)WIRE_OVERHEAD);
    return true;
}

static void take_packets(void *ctx, struct netmesh_shard *face, unsigned index)
{
    (void)ctx, (void)index;
    receive_handle(face->shard, RELIABLE, take_packet);
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
    if (b->sent_at == 0 && is_subscribed(face, FORTH) && atomic_load(&b->shared->subscribed))
        ping(b, face);
    return false;
}

static bool pong_turn(void *ctx, struct netmesh_shard *face)
{
    struct bench *b = ctx;
    if (is_subscribed(face, BACK))
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

static void print_latency(const struct bench *b)
{
    uint32_t n = b->round < b->rounds ? b->round : b->rounds;
    if (n == 0)
        return;
    struct latency l = latency_of(b->samples, n);
    printf("{\"bench\":\"latency\",\"rounds\":%u,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f}\n", n, l.p50, l.p99,
           l.p999);
    fflush(stdout);
}

/* ---- two nodes ---- */

static uint64_t cpu_ns(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * NS_PER_S +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000u;
}

static int run_node(struct bench *b, const char *dir)
{
    char error[1024];
    const char *overrides[] = {"shards.count=1", b->spin ? "shards.spin=1s" : "shards.spin=0s",
                               b->logs ? "channels.log=disk" : "channels.log=none"};
    struct netmesh_hooks hooks = {.ctx = b};
    if (b->latency) {
        hooks.on_events = on_ping;
        hooks.on_turn = b->role == SENDER ? ping_turn : pong_turn;
    } else if (b->reliable) {
        hooks.on_turn = b->role == SENDER ? open_turn : NULL;
        hooks.on_start = b->role == RECEIVER ? take_packets : NULL;
    } else if (b->role == SENDER) {
        hooks.on_turn = send_turn;
    } else {
        hooks.on_events = count_events;
    }
    pin_to(b->cpus[b->role]);
    int err = netmesh_open(&b->nm, dir, overrides, 3, &hooks, error, sizeof error);
    if (err == 0)
        err = netmesh_run(b->nm, true, NULL, NULL, error, sizeof error);
    if (err)
        fprintf(stderr, "bench_mesh: %s\n", error);
    netmesh_close(b->nm);
    atomic_store(&b->shared->cpu_ns[b->role], cpu_ns());
    if (b->role == SENDER && b->latency)
        print_latency(b);
    return err ? 1 : 0;
}

static pid_t start(struct bench *b, enum role role, const char *dir)
{
    pid_t pid = fork();
    if (pid == 0) {
        b->role = role;
        _exit(run_node(b, dir));
    }
    return pid;
}

static bool end(pid_t node)
{
    int status;
    kill(node, SIGTERM);
    waitpid(node, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
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
static void print_throughput(const struct bench *b)
{
    double events = (double)atomic_load(&b->shared->received) / 1e3;
    printf("{\"bench\":\"throughput\",\"size\":%u,\"redex\":\"%s\",\"events_per_s\":%.0f,\"gbit_per_s\":%.3f,"
           "\"cpu_ns_per_event\":{\"sender\":%.0f,\"receiver\":%.0f}}\n",
           b->size, b->mode, b->rate, b->rate * b->size * 8 / 1e9,
           (double)atomic_load(&b->shared->cpu_ns[SENDER]) / events / 1e3,
           (double)atomic_load(&b->shared->cpu_ns[RECEIVER]) / events / 1e3);
}

static const char help[] =
    "usage: bench_mesh throughput SIZE off|on|durable|follow|reliable [SECONDS]\n"
    "       bench_mesh latency block|spin [ROUNDS]\n"
    "\n"
    "Two nodes of one shard each, over loopback: encrypted events of SIZE bytes per second from one to the other with\n"
    "RedEX off, on, or synced before the next batches, with the receiver following the sender's log instead of taking\n"
    "live events, or on a reliable stream without RedEX (3 seconds), or the round trip of 64 bytes between shards "
    "that\n"
    "sleep or spin (20000 rounds). Prints one line of JSON.\n";

static void refuse(void)
{
    fputs(help, stderr);
    exit(2);
}

static void parse(struct bench *b, int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "--help") == 0 || strcmp(what, "-h") == 0) {
        fputs(help, stdout);
        exit(0);
    }
    b->latency = strcmp(what, "latency") == 0;
    if (b->latency ? argc < 3 || argc > 4 : strcmp(what, "throughput") != 0 || argc < 4 || argc > 5)
        refuse();
    b->spin = b->latency && strcmp(argv[2], "spin") == 0;
    if (b->latency && !b->spin && strcmp(argv[2], "block") != 0)
        refuse();
    b->size = b->latency ? PING_BYTES : (uint32_t)strtoul(argv[2], NULL, 10);
    b->mode = b->latency ? "off" : argv[3];
    b->durable = strcmp(b->mode, "durable") == 0;
    b->reliable = strcmp(b->mode, "reliable") == 0;
    b->follow = strcmp(b->mode, "follow") == 0;
    b->logs = b->durable || b->follow || strcmp(b->mode, "on") == 0;
    b->seconds = !b->latency && argc > 4 ? strtod(argv[4], NULL) : 3;
    b->rounds = b->latency && argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 20000;
    if (b->size > WIRE_MAX_EVENT || (!b->logs && !b->reliable && strcmp(b->mode, "off")))
        refuse();
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    struct node_pair pair;
    parse(&b, argc, argv);
    choose_cpus(b.cpus);
    b.shared = mmap(NULL, sizeof *b.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    b.samples = calloc(b.rounds, sizeof *b.samples);
    check(b.shared != MAP_FAILED && b.samples, "memory");
    fill_batch(&b);
    node_pair_make(&pair, FORTH, b.latency ? BACK : NULL, b.follow ? SUBSCRIBE_FOLLOW : SUBSCRIBE_LIVE);

    pid_t receiver = start(&b, RECEIVER, pair.b), sender = start(&b, SENDER, pair.a);
    if (b.latency)
        for (int i = 0; i < 6000 && !atomic_load(&b.shared->stop); i++)
            usleep(10000);
    else
        measure_throughput(&b);
    bool sent = end(sender), received = end(receiver);
    if (!b.latency)
        print_throughput(&b);
    node_pair_remove(&pair);
    return sent && received ? 0 : 1;
}
