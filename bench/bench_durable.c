/*
 * RedEX on a shard's own reactor: group commit with many writers, appends that are written and not synced, recovery.
 *
 *     bench_durable commit WRITERS SIZE SECONDS [DIRECTORY]      each writer has one event of SIZE bytes under way
 *     bench_durable plain WRITERS SIZE SECONDS [DIRECTORY]       what that asks of the kernel, by three threads in step
 *     bench_durable append SIZE SECONDS [DIRECTORY]              batches of 256, as many as the log takes
 *     bench_durable recovery BYTES SIZE [DIRECTORY]              a log of BYTES of events is written, closed, opened
 *
 * One JSON object on stdout. The directory decides which disk is measured; what is made in it is removed.
 */
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/measure.h"
#include "core/base/err.h"
#include "shards/reactor/reactor.h"
#include "storage/redex/redex.h"

enum { BATCH = 256, SIZE_MAX_BYTES = 65536, SYNCS = 8 };

struct bench {
    struct reactor_group *group;
    struct reactor *reactor;
    struct io *io;
    struct list dirty;
    struct timer_wheel timers;
    struct redex_syncs syncs;
    struct redex_stats stats;
    char base[PATH_MAX];
    struct redex *log;
    bool closed;
    int close_err;
};

static void on_progress(void *ctx, struct redex *log)
{
    (void)ctx;
    (void)log;
}

static void start(struct bench *b, const char *dir)
{
    char why[256] = "";
    struct reactor_group_options group = {
        .listen = {.ip = {[10] = 0xff, 0xff, 127, 0, 0, 1}}, .shards = 1, .socket_buffer = 65536, .no_admin = true};
    unsigned cpus[2];
    choose_cpus(cpus);
    pin_to(cpus[1]); /* as shards.pin does */
    *b = (struct bench){0};
    list_init(&b->dirty);
    redex_syncs_init(&b->syncs, SYNCS);
    timer_wheel_init(&b->timers, now_ns());
    check(reactor_group_create(&b->group, &group, why, sizeof why) == 0, why);
    check(reactor_create(&b->reactor, b->group, &(struct reactor_options){0}, why, sizeof why) == 0, why);
    b->io = reactor_io(b->reactor);
    check(snprintf(b->base, sizeof b->base, "%s/bench-durable-XXXXXX", dir) < (int)sizeof b->base && mkdtemp(b->base),
          "a directory for the log");
}

static void open_log(struct bench *b)
{
    struct redex_options options = {.mode = REDEX_DISK,
                                    .base = b->base,
                                    .name = "c",
                                    .dirty = &b->dirty,
                                    .timers = &b->timers,
                                    .syncs = &b->syncs,
                                    .stats = &b->stats,
                                    .progress = on_progress};
    int err = redex_open(&b->log, b->io, &options, NULL);
    check(err == NET_OK, net_err_text(err));
}

/* Flushes what is dirty and waits for something to complete, if `wait`. */
static void turn(struct bench *b, bool wait)
{
    redex_flush_all(&b->dirty);
    int res = reactor_turn(b->reactor, wait ? now_ns() + NS_PER_S : 0, NULL, NULL);
    check(res >= 0, "the reactor");
    check(redex_error(b->log) == NET_OK, net_err_text(redex_error(b->log)));
}

static void on_closed(void *ctx, int err)
{
    struct bench *b = ctx;
    b->closed = true;
    b->close_err = err;
}

static void close_log(struct bench *b)
{
    b->closed = false;
    redex_close(b->log, on_closed, b);
    while (!b->closed)
        check(reactor_turn(b->reactor, now_ns() + NS_PER_S, NULL, NULL) >= 0, "the reactor");
    check(b->close_err == NET_OK, "closing the log");
}

static void end(struct bench *b)
{
    char command[PATH_MAX + 16];
    reactor_destroy(b->reactor);
    reactor_group_destroy(b->group);
    snprintf(command, sizeof command, "rm -rf '%s'", b->base);
    check(system(command) == 0, "removing the directory");
}

/* Writers wait for their own event to be synced before they append the next: `waits` is the end of each one's event. */
static void commit(const char *dir, unsigned writers, size_t size, double seconds)
{
    struct bench b;
    uint64_t *waits = calloc(writers, sizeof *waits), events = 0, seq;
    uint8_t *payload = calloc(1, size);
    assert(waits && payload);
    start(&b, dir);
    open_log(&b);
    uint64_t begin = now_ns(), until = begin + (uint64_t)(seconds * NS_PER_S), now;
    do {
        uint64_t synced = redex_synced_seq(b.log);
        for (unsigned i = 0; i < writers; i++) {
            if (waits[i] > synced)
                continue;
            events += waits[i] != 0;
            check(redex_append(b.log, 1, (struct cspan){payload, size}, &seq) == NET_OK, "append");
            waits[i] = seq + 1;
        }
        redex_want_sync(b.log, redex_next_seq(b.log));
        turn(&b, true);
        now = now_ns();
    } while (now < until);
    printf("{\"events_per_s\": %.1f}\n", (double)events / ((double)(now - begin) / NS_PER_S));
    close_log(&b);
    end(&b);
    free(waits);
    free(payload);
}

/* One of three threads that together do what a commit asks of the kernel: each writes its file, all sync, all wait. */
struct plain {
    pthread_barrier_t *step;
    bool *stop; /* set between two steps by the one that counts */
    int fd;
    size_t len;
    uint64_t until, steps;
};

static void *plain_main(void *arg)
{
    struct plain *p = arg;
    uint8_t *bytes = calloc(1, p->len);
    assert(bytes);
    for (off_t at = 0;; at += (off_t)p->len) {
        pthread_barrier_wait(p->step);
        if (*p->stop)
            break;
        check(pwrite(p->fd, bytes, p->len, at) == (ssize_t)p->len && fdatasync(p->fd) == 0, "write and fdatasync");
        pthread_barrier_wait(p->step);
        p->steps++;
        if (p->until && now_ns() >= p->until)
            *p->stop = true;
    }
    free(bytes);
    return NULL;
}

static void plain(const char *dir, unsigned writers, size_t size, double seconds)
{
    bool stop = false;
    const size_t len[] = {size, 20, 8}; /* redex.md 4, 6 */
    struct plain part[3];
    pthread_barrier_t step;
    pthread_t threads[3];
    uint64_t begin = now_ns();
    check(pthread_barrier_init(&step, NULL, 3) == 0, "a barrier");
    for (int i = 0; i < 3; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/bench-plain-XXXXXX", dir);
        part[i] = (struct plain){.step = &step, .stop = &stop, .fd = mkstemp(path), .len = len[i] * writers};
        check(part[i].fd >= 0 && unlink(path) == 0, path);
        part[i].until = i == 0 ? begin + (uint64_t)(seconds * NS_PER_S) : 0;
        check(pthread_create(&threads[i], NULL, plain_main, &part[i]) == 0, "a thread");
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        close(part[i].fd);
    }
    pthread_barrier_destroy(&step);
    printf("{\"events_per_s\": %.1f}\n", (double)part[0].steps * writers / ((double)(now_ns() - begin) / NS_PER_S));
}

struct frames {
    uint8_t *bytes;
    size_t len;
};

static struct frames make_frames(size_t size)
{
    struct frames f = {.len = BATCH * (4 + size)};
    f.bytes = calloc(1, f.len);
    assert(f.bytes);
    for (size_t i = 0; i < BATCH; i++)
        store_le32(f.bytes + i * (4 + size), (uint32_t)size);
    return f;
}

/* One batch, as soon as there is room. */
static void append_batch(struct bench *b, struct frames f)
{
    uint64_t first;
    int err;
    while ((err = redex_append_frames(b->log, 1, (struct cspan){f.bytes, f.len}, BATCH, &first)) == NET_ERR_AGAIN)
        turn(b, true);
    check(err == NET_OK, net_err_text(err));
}

static void append(const char *dir, size_t size, double seconds)
{
    struct bench b;
    struct frames f = make_frames(size);
    start(&b, dir);
    open_log(&b);
    uint64_t begin = now_ns(), until = begin + (uint64_t)(seconds * NS_PER_S), now;
    do {
        append_batch(&b, f);
        turn(&b, false);
        now = now_ns();
    } while (now < until && redex_bytes(b.log) < UINT64_C(2) << 30);
    uint64_t written = redex_written_seq(b.log);
    printf("{\"events_per_s\": %.1f}\n", (double)written / ((double)(now - begin) / NS_PER_S));
    close_log(&b);
    end(&b);
    free(f.bytes);
}

static double file_bytes(const struct bench *b)
{
    static const char *const names[] = {"dat", "idx", "ts"};
    char path[PATH_MAX + 64];
    struct stat st;
    double total = 0;
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/c/v0000000001/%s", b->base, names[i]);
        check(stat(path, &st) == 0, path);
        total += (double)st.st_size;
    }
    return total;
}

static void recovery(const char *dir, uint64_t bytes, size_t size)
{
    struct bench b;
    struct frames f = make_frames(size);
    start(&b, dir);
    open_log(&b);
    while (redex_bytes(b.log) < bytes) {
        append_batch(&b, f);
        turn(&b, false);
    }
    uint64_t events = redex_count(b.log);
    close_log(&b);
    uint64_t begin = now_ns();
    open_log(&b);
    double seconds = (double)(now_ns() - begin) / NS_PER_S;
    check(redex_count(b.log) == events, "all events are there");
    printf("{\"seconds\": %.3f, \"events_per_s\": %.0f, \"bytes_per_s\": %.0f}\n", seconds, (double)events / seconds,
           file_bytes(&b) / seconds);
    close_log(&b);
    end(&b);
    free(f.bytes);
}

static int usage(void)
{
    fputs("usage: bench_durable commit WRITERS SIZE SECONDS [DIRECTORY]\n"
          "       bench_durable plain WRITERS SIZE SECONDS [DIRECTORY]\n"
          "       bench_durable append SIZE SECONDS [DIRECTORY]\n"
          "       bench_durable recovery BYTES SIZE [DIRECTORY]\n"
          "SIZE 1..65536, WRITERS 1..65536, BYTES up to 2 GiB\n",
          stderr);
    return 2;
}

/* A number from 1 to `max`, or 0. */
static uint64_t number(const char *text, uint64_t max)
{
    char *rest;
    uint64_t n = strtoull(text, &rest, 10);
    return *rest || n > max ? 0 : n;
}

int main(int argc, char **argv)
{
    if (argc >= 5 && (strcmp(argv[1], "commit") == 0 || strcmp(argv[1], "plain") == 0)) {
        uint64_t writers = number(argv[2], 65536), size = number(argv[3], SIZE_MAX_BYTES);
        double seconds = strtod(argv[4], NULL);
        if (writers && size && seconds > 0) {
            (argv[1][0] == 'c' ? commit : plain)(argc > 5 ? argv[5] : ".", (unsigned)writers, size, seconds);
            return 0;
        }
    } else if (argc >= 4 && strcmp(argv[1], "append") == 0) {
        uint64_t size = number(argv[2], SIZE_MAX_BYTES);
        double seconds = strtod(argv[3], NULL);
        if (size && seconds > 0) {
            append(argc > 4 ? argv[4] : ".", size, seconds);
            return 0;
        }
    } else if (argc >= 4 && strcmp(argv[1], "recovery") == 0) {
        uint64_t bytes = number(argv[2], UINT64_C(2) << 30), size = number(argv[3], SIZE_MAX_BYTES);
        if (bytes && size) {
            recovery(argc > 4 ? argv[4] : ".", bytes, size);
            return 0;
        }
    }
    return usage();
}
