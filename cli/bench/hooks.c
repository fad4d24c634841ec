/* Figures taken inside the nodes: events per second from one to the other, and the round trip between applications. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench/bench.h"
#include "cli/http.h"
#include "core/base/err.h"
#include "core/base/span.h"
#include "shards/netmesh.h"

enum {
    BATCH_BYTES = 60000, /* of frames, published at a time */
    BATCH_EVENTS = 2028,
    BATCHES = 4,           /* a turn */
    LEAD_BYTES = 16 << 20, /* that the sender is ahead of the receiver, at most */
    LEAD_EVENTS = 65536,
    PING_BYTES = 64,
};
static const uint64_t PROBE_NS = 1000000, STALLED_NS = 20000000, CONNECT_NS = 20000000000, DRAIN_NS = 300000000;

/* ---- the sender ---- */

struct sender {
    struct bench_shared *shared;
    uint64_t budget; /* bytes; 0: none */
    uint32_t size, batch_count;
    size_t batch_len;
    uint8_t *batch;
    uint64_t probed_at;     /* until something arrives */
    uint64_t seen, seen_at; /* what had been received, and since when */
    uint64_t missing;       /* published and given up: what was lost must not count as under way */
};

static bool sender_init(struct sender *s, struct bench *b, uint32_t size, bool log)
{
    uint32_t count = BATCH_BYTES / (size + 4);
    *s = (struct sender){.shared = b->shared, .budget = log ? b->budget : 0, .size = size};
    s->batch_count = count > BATCH_EVENTS ? BATCH_EVENTS : count;
    s->batch_len = (size_t)s->batch_count * (size + 4);
    s->batch = malloc(s->batch_len);
    for (uint32_t i = 0; s->batch && i < s->batch_count; i++) {
        uint8_t *frame = s->batch + (size_t)i * (size + 4);
        store_le32(frame, size);
        memset(frame + 4, (int)('a' + i % 26), size);
    }
    return s->batch != NULL;
}

static void add(_Atomic uint64_t *counter, uint64_t n) /* one writer */
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static bool publish(struct sender *s, struct netmesh_shard *face, uint32_t count)
{
    if (netmesh_publish(face, BENCH_FORTH, s->batch, (size_t)count * (s->size + 4), count) != 0)
        return false;
    add(&s->shared->published, count);
    return true;
}

/* The subscription takes some time; until it stands, one event a millisecond finds out. */
static bool probe(struct sender *s, struct netmesh_shard *face)
{
    uint64_t now = http_now();
    if (now - s->probed_at >= PROBE_NS) {
        publish(s, face, 1);
        s->probed_at = now;
    }
    return true;
}

/* How far the receiver is behind. What has not come in a while never will. */
static uint64_t lead(struct sender *s, uint64_t received)
{
    uint64_t published = atomic_load_explicit(&s->shared->published, memory_order_relaxed), now = http_now();
    if (received != s->seen || s->seen_at == 0) {
        s->seen = received;
        s->seen_at = now;
    } else if (now - s->seen_at > STALLED_NS) {
        s->missing = published - received;
        s->seen_at = now;
    }
    uint64_t away = published - received;
    return away > s->missing ? away - s->missing : 0;
}

static bool send_turn(void *ctx, struct netmesh_shard *face)
{
    struct sender *s = ctx;
    struct bench_shared *shared = s->shared;
    uint64_t received = atomic_load_explicit(&shared->received, memory_order_relaxed);
    if (atomic_load_explicit(&shared->stop, memory_order_relaxed))
        return false;
    if (received == 0)
        return probe(s, face);
    if (s->budget && atomic_load_explicit(&shared->published, memory_order_relaxed) * s->size > s->budget) {
        atomic_store(&shared->spent, true);
        return false;
    }
    uint64_t ahead = lead(s, received);
    bool published = false;
    for (int i = 0; i < BATCHES && ahead < LEAD_EVENTS && ahead * s->size < LEAD_BYTES; i++) {
        if (!publish(s, face, s->batch_count))
            break;
        ahead += s->batch_count;
        published = true;
    }
    return published;
}

static void count_events(void *ctx, struct netmesh_shard *face, const struct netmesh_events *e)
{
    struct bench_shared *shared = ctx;
    (void)face;
    add(&shared->received, e->count);
}

static int wait_for_first(struct bench *b)
{
    uint64_t until = http_now() + CONNECT_NS;
    while (atomic_load(&b->shared->received) == 0) {
        if (!bench_pair_lives(b))
            return CLI_FAILURE;
        if (http_now() > until)
            return cli_error(CLI_TIMEOUT, "bench: nothing arrives");
        usleep(1000);
    }
    return CLI_OK;
}

/* What the receiver counts between two moments, once the stream runs; then what was under way has time to come. */
static int take_rate(struct bench *b, struct bench_rate *rate)
{
    struct bench_shared *s = b->shared;
    int code = wait_for_first(b);
    uint64_t warm = b->duration_ns / 10 < 200000000 ? b->duration_ns / 10 : 200000000;
    usleep((useconds_t)(warm / 1000));
    uint64_t published = atomic_load(&s->published), from = atomic_load(&s->received), start = http_now(), to = from;
    uint64_t end = start;
    while (code == CLI_OK && http_now() - start < b->duration_ns && !atomic_load(&s->spent)) {
        if (!bench_pair_lives(b))
            code = CLI_FAILURE;
        usleep(1000);
        to = atomic_load(&s->received);
        end = http_now();
    }
    atomic_store(&s->stop, true);
    usleep((useconds_t)(DRAIN_NS / 1000));
    uint64_t sent = atomic_load(&s->published) - published, came = atomic_load(&s->received) - from;
    rate->seconds = (double)(end - start) / 1e9;
    rate->events_per_s = end > start ? (double)(to - from) / rate->seconds : 0;
    rate->lost = sent > came ? sent - came : 0;
    return code;
}

int bench_measure_rate(struct bench *b, uint32_t size, bool log, struct bench_rate *rate)
{
    struct sender s;
    struct netmesh_hooks sender = {.ctx = &s, .on_turn = send_turn};
    struct netmesh_hooks receiver = {.ctx = b->shared, .on_events = count_events};
    *rate = (struct bench_rate){0};
    if (!sender_init(&s, b, size, log))
        return cli_error(CLI_FAILURE, "out of memory");
    int code = bench_pair_start(b, false, log ? "disk" : "none", &sender, &receiver);
    if (code == CLI_OK)
        code = take_rate(b, rate);
    int end = bench_pair_end(b);
    free(s.batch);
    return code != CLI_OK ? code : end;
}

/* ---- round trips ---- */

struct ping {
    struct bench_shared *shared;
    bool answers; /* the receiver sends back what comes */
    uint64_t sent_at, probed_at;
    uint8_t frame[4 + PING_BYTES];
};

static void send_ping(struct ping *p, struct netmesh_shard *face)
{
    p->sent_at = http_now();
    if (netmesh_publish(face, BENCH_FORTH, p->frame, sizeof p->frame, 1) != 0)
        p->sent_at = 0;
}

/* Until one comes back, one a millisecond; also when one is lost. */
static bool ping_turn(void *ctx, struct netmesh_shard *face)
{
    struct ping *p = ctx;
    uint64_t now = http_now();
    bool going = atomic_load_explicit(&p->shared->sample_count, memory_order_relaxed) > 0;
    if (atomic_load_explicit(&p->shared->stop, memory_order_relaxed))
        return false;
    if (now - p->sent_at > (going ? STALLED_NS : PROBE_NS))
        send_ping(p, face);
    return !going;
}

static void on_ping(void *ctx, struct netmesh_shard *face, const struct netmesh_events *e)
{
    struct ping *p = ctx;
    if (p->answers) {
        (void)netmesh_publish(face, BENCH_BACK, e->frames, e->len, e->count); /* without room it counts as lost */
        return;
    }
    uint32_t n = atomic_load_explicit(&p->shared->sample_count, memory_order_relaxed);
    if (n < BENCH_SAMPLES && p->sent_at) {
        p->shared->samples[n] = (uint32_t)(http_now() - p->sent_at);
        atomic_store(&p->shared->sample_count, n + 1);
    }
    if (!atomic_load_explicit(&p->shared->stop, memory_order_relaxed) && n + 1 < BENCH_SAMPLES)
        send_ping(p, face);
}

static void ping_init(struct ping *p, struct bench *b, bool answers)
{
    *p = (struct ping){.shared = b->shared, .answers = answers};
    store_le32(p->frame, PING_BYTES);
    memset(p->frame + 4, 'p', PING_BYTES);
}

int bench_measure_round_trip(struct bench *b, struct bench_latency *out)
{
    struct ping ping, pong;
    ping_init(&ping, b, false);
    ping_init(&pong, b, true);
    struct netmesh_hooks sender = {.ctx = &ping, .on_turn = ping_turn, .on_events = on_ping};
    struct netmesh_hooks receiver = {.ctx = &pong, .on_events = on_ping};
    struct bench_shared *s = b->shared;
    int code = bench_pair_start(b, true, "none", &sender, &receiver);
    uint64_t until = http_now() + CONNECT_NS;
    while (code == CLI_OK && atomic_load(&s->sample_count) == 0) {
        if (!bench_pair_lives(b))
            code = CLI_FAILURE;
        else if (http_now() > until)
            code = cli_error(CLI_TIMEOUT, "bench: nothing comes back");
        usleep(1000);
    }
    uint32_t first = atomic_load(&s->sample_count);
    until = http_now() + b->duration_ns;
    while (code == CLI_OK && http_now() < until && atomic_load(&s->sample_count) < BENCH_SAMPLES) {
        if (!bench_pair_lives(b))
            code = CLI_FAILURE;
        usleep(1000);
    }
    atomic_store(&s->stop, true);
    int end = bench_pair_end(b);
    *out = bench_latency_of(s->samples + first, atomic_load(&s->sample_count) - first);
    return code != CLI_OK ? code : end;
}
