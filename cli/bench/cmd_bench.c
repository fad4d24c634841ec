/* bench: which figures are taken, in which order, and how they are shown. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/bench/bench.h"
#include "cli/output.h"
#include "core/base/err.h"
#include "core/wire/wire.h"

#define GIB (UINT64_C(1) << 30)
#define SECOND UINT64_C(1000000000)

static volatile sig_atomic_t interrupted; /* by this signal */

static void on_signal(int number)
{
    interrupted = number;
}

bool bench_interrupted(void)
{
    return interrupted != 0;
}

void bench_say(const struct bench *b, const char *format, ...)
{
    va_list args;
    if (!b->progress)
        return;
    bool terminal = isatty(STDERR_FILENO);
    va_start(args, format);
    fputs(terminal ? "\r\033[K" : "net-mesh: bench: ", stderr);
    vfprintf(stderr, format, args);
    if (!terminal)
        fputc('\n', stderr);
    va_end(args);
}

static int order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

struct bench_latency bench_latency_of(uint32_t *samples, uint32_t count)
{
    if (count == 0)
        return (struct bench_latency){0};
    qsort(samples, count, sizeof *samples, order);
    return (struct bench_latency){count, samples[count / 2] / 1e3, samples[(uint64_t)count * 99 / 100] / 1e3};
}

/* ---- what is asked ---- */

static int read_sizes(struct bench *b, const char *text)
{
    char item[16];
    uint64_t size;
    while (text) {
        const char *comma = strchrnul(text, ',');
        size_t len = (size_t)(comma - text);
        snprintf(item, sizeof item, "%.*s", (int)len, text);
        if (len >= sizeof item || config_parse_number(item, &size) != NET_OK || size == 0 || size > WIRE_MAX_EVENT ||
            b->size_count == BENCH_MAX_SIZES)
            return cli_error(CLI_USAGE, "--size: found %s, allowed: up to %d numbers from 1 to %d with commas between",
                             text, BENCH_MAX_SIZES, WIRE_MAX_EVENT);
        b->sizes[b->size_count++] = (uint32_t)size;
        text = *comma ? comma + 1 : NULL;
    }
    return CLI_OK;
}

static int read_options(struct bench *b, const struct cli_args *args)
{
    bool quick = cli_has(args, OPTION_QUICK);
    const char *duration = args->value[OPTION_DURATION], *sizes = args->value[OPTION_SIZE];
    b->progress = !cli_has(args, OPTION_QUIET);
    b->duration_ns = quick ? SECOND / 2 : 5 * SECOND;
    if (duration && (config_parse_duration(duration, &b->duration_ns) != NET_OK || b->duration_ns < SECOND / 100 ||
                     b->duration_ns > 600 * SECOND))
        return cli_bad_value(OPTION_DURATION, duration, "a duration from 10ms to 10m");
    return read_sizes(b, sizes ? sizes : quick ? "64,1024" : "64,256,1024,4096");
}

/* ---- room ---- */

/* A log of the figures takes as much again in memory, in both nodes: at most an eighth of what is free of either. */
static int make_room(struct bench *b, const struct cli_args *args)
{
    const char *dir = args->value[OPTION_DIR] ? args->value[OPTION_DIR] : getenv("TMPDIR");
    struct statvfs fs;
    uint64_t memory = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (!dir || !*dir)
        dir = "/var/tmp"; /* a disk, where /tmp may be memory */
    if ((size_t)snprintf(b->root, sizeof b->root, "%s/net-mesh-bench-XXXXXX", dir) >= sizeof b->root)
        return cli_error(CLI_USAGE, "--dir: the path is too long");
    if (statvfs(dir, &fs) != 0 || !mkdtemp(b->root)) {
        b->root[0] = '\0';
        return cli_error(CLI_FAILURE, "%s: cannot make a directory there: %s", dir, strerror(errno));
    }
    uint64_t disk = (uint64_t)fs.f_bavail * fs.f_frsize;
    b->budget = (disk < memory ? disk : memory) / 8;
    if (b->budget > GIB)
        b->budget = GIB;
    b->shared = mmap(NULL, sizeof *b->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (b->shared == MAP_FAILED) {
        b->shared = NULL;
        return cli_error(CLI_FAILURE, "out of memory");
    }
    return CLI_OK;
}

static void leave_nothing(struct bench *b)
{
    if (*b->root)
        rmdir(b->root);
    if (b->shared)
        munmap(b->shared, sizeof *b->shared);
    if (b->progress && isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

/* ---- figures ---- */

static void put(struct json_object *o, const char *key, double value, int digits)
{
    char text[64];
    snprintf(text, sizeof text, "%.*f", digits, value);
    json_object_object_add(o, key, json_object_new_double_s(value, text));
}

static int take_machine(struct bench *b, struct bench_machine *m, struct json_object *all)
{
    struct json_object *o = json_object_new_object();
    json_object_object_add(all, "machine", o);
    bench_say(b, "the cipher and the disk alone");
    int code = bench_measure_machine(b, m);
    json_object_object_add(o, "cipher", json_object_new_string(m->cipher ? m->cipher : ""));
    put(o, "cipher_gbyte_per_s", m->aead_bytes_per_s / 1e9, 2);
    put(o, "disk_commits_per_s", m->commits_per_s, 0);
    return code;
}

static int take_rate(struct bench *b, const struct bench_machine *m, uint32_t size, bool log, struct json_object *list)
{
    struct bench_rate rate;
    bench_say(b, "events of %u bytes, log %s", size, log ? "disk" : "none");
    int code = bench_measure_rate(b, size, log, &rate);
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "size", json_object_new_int64(size));
    json_object_object_add(o, "log", json_object_new_string(log ? "disk" : "none"));
    put(o, "events_per_s", rate.events_per_s, 0);
    put(o, "gbit_per_s", rate.events_per_s * size * 8 / 1e9, 3);
    json_object_object_add(o, "lost", json_object_new_uint64(rate.lost));
    put(o, "of_cipher", m->aead_bytes_per_s > 0 ? rate.events_per_s * size / m->aead_bytes_per_s : 0, 3);
    json_object_array_add(list, o);
    return code;
}

static int take_rates(struct bench *b, const struct bench_machine *m, struct json_object *all)
{
    struct json_object *list = json_object_new_array();
    int code = CLI_OK;
    json_object_object_add(all, "throughput", list);
    for (size_t i = 0; code == CLI_OK && i < b->size_count; i++)
        for (int log = 0; code == CLI_OK && log < 2; log++)
            code = take_rate(b, m, b->sizes[i], log, list);
    return code;
}

static int take_latency(struct bench *b, struct json_object *all, const char *name,
                        int (*measure)(struct bench *, struct bench_latency *))
{
    struct bench_latency latency = {0};
    struct json_object *o = json_object_new_object();
    json_object_object_add(all, name, o);
    bench_say(b, "latency: %s", name);
    int code = measure(b, &latency);
    json_object_object_add(o, "count", json_object_new_int64(latency.count));
    put(o, "p50_us", latency.p50_us, 1);
    put(o, "p99_us", latency.p99_us, 1);
    return code;
}

static int take_durable(struct bench *b, const struct bench_machine *m, unsigned writers, struct json_object *list)
{
    double rate;
    struct json_object *o = json_object_new_object();
    bench_say(b, "durable publishing, writers: %u", writers);
    int code = bench_measure_durable(b, writers, &rate);
    json_object_object_add(o, "writers", json_object_new_int64(writers));
    put(o, "events_per_s", rate, 0);
    put(o, "of_disk", m->commits_per_s > 0 ? rate / m->commits_per_s : 0, 2);
    json_object_array_add(list, o);
    return code;
}

static int take_all(struct bench *b, struct json_object *all)
{
    struct bench_machine m = {0};
    struct json_object *durable = json_object_new_array();
    int code = take_machine(b, &m, all);
    if (code == CLI_OK)
        code = take_rates(b, &m, all);
    if (code == CLI_OK)
        code = take_latency(b, all, "round_trip", bench_measure_round_trip);
    if (code == CLI_OK)
        code = take_latency(b, all, "publish_to_tail", bench_measure_tail);
    json_object_object_add(all, "durable", durable);
    if (code == CLI_OK)
        code = take_durable(b, &m, 1, durable);
    return code == CLI_OK ? take_durable(b, &m, BENCH_MAX_WRITERS, durable) : code;
}

/* ---- for people ---- */

static double number(struct json_object *o, const char *key)
{
    return json_object_get_double(json_object_object_get(o, key));
}

static const char *text_of(struct json_object *o, const char *key)
{
    return json_object_get_string(json_object_object_get(o, key));
}

static int print_lines(struct json_object *all)
{
    struct json_object *m = json_object_object_get(all, "machine");
    struct json_object *rates = json_object_object_get(all, "throughput");
    struct json_object *durable = json_object_object_get(all, "durable");
    printf("The machine alone: %s %.2f GB/s on one core, %.0f commits/s to the disk.\n\n", text_of(m, "cipher"),
           number(m, "cipher_gbyte_per_s"), number(m, "disk_commits_per_s"));
    printf("%6s  %-4s  %12s  %8s  %8s  %s\n", "BYTES", "LOG", "EVENTS/S", "GBIT/S", "LOST", "OF THE CIPHER");
    for (size_t i = 0; i < json_object_array_length(rates); i++) {
        struct json_object *r = json_object_array_get_idx(rates, i);
        printf("%6.0f  %-4s  %12.0f  %8.3f  %8.0f  %.0f %%\n", number(r, "size"), text_of(r, "log"),
               number(r, "events_per_s"), number(r, "gbit_per_s"), number(r, "lost"), 100 * number(r, "of_cipher"));
    }
    struct json_object *trip = json_object_object_get(all, "round_trip");
    struct json_object *tail = json_object_object_get(all, "publish_to_tail");
    printf("\nRound trip of 64 bytes between applications: p50 %.1f us, p99 %.1f us.\n", number(trip, "p50_us"),
           number(trip, "p99_us"));
    printf("From a publish over HTTP at one node to the row of a tail at the other: p50 %.1f us, p99 %.1f us.\n",
           number(tail, "p50_us"), number(tail, "p99_us"));
    for (size_t i = 0; i < json_object_array_length(durable); i++) {
        struct json_object *d = json_object_array_get_idx(durable, i);
        printf("Durable publishing over HTTP, writers: %.0f: %.0f events/s, %.2f of the disk alone.\n",
               number(d, "writers"), number(d, "events_per_s"), number(d, "of_disk"));
    }
    return output_flush();
}

int command_bench(const struct cli_args *args)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct bench *b = calloc(1, sizeof *b);
    struct json_object *all = json_object_new_object();
    if (!b || !all)
        return cli_error(CLI_FAILURE, "out of memory");
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    int code = read_options(b, args);
    if (code == CLI_OK)
        code = make_room(b, args);
    if (code == CLI_OK)
        code = take_all(b, all);
    leave_nothing(b);
    if (code == CLI_OK)
        code = output_one_shot(args) == OUTPUT_TABLE ? print_lines(all) : output_value(args, all);
    json_object_put(all);
    free(b);
    if (interrupted) { /* nothing is left: end as who asked expects */
        signal(interrupted, SIG_DFL);
        raise(interrupted);
    }
    return code;
}
