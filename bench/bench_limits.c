/*
 * What this machine's loopback can do, by plain system calls and through the reactor, measured in one run on two cores:
 * one-way datagrams per second with GSO and GRO at several sizes, and ping-pong latency of 64 bytes, blocking and
 * spinning. The right column is the reactor's price. AEAD alone: bench_aead.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <unistd.h>

#include "bench/limits.h"

enum { SLICES = 4 }; /* of the time of a measurement */

/* Both threads, until `stop`; after `seconds`, or when they say so (0). */
static void run_pair(struct pair *p, const struct way *way, end_fn *a, end_fn *b, double seconds)
{
    pthread_t threads[2];
    p->a.stop = p->b.stop = &p->stop;
    p->a.ready = p->b.ready = &p->ready;
    p->a.cpu = p->a.options->cpus[0];
    p->b.cpu = p->a.options->cpus[1];
    way->open(p);
    check(pthread_create(&threads[0], NULL, a, &p->a) == 0 && pthread_create(&threads[1], NULL, b, &p->b) == 0,
          "thread");
    if (seconds > 0) {
        usleep((useconds_t)(seconds * 1e6));
        atomic_store(&p->stop, true);
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    way->close(p);
}

struct rate {
    double datagrams, bytes, seconds;
};

static void measure_rate(struct rate *sum, const struct options *o, uint16_t size, const struct way *way)
{
    struct pair p = {.a = {.options = o, .size = size}, .b = {.options = o}};
    run_pair(&p, way, way->flood, way->drain, o->seconds / SLICES);
    sum->datagrams += (double)p.b.datagrams;
    sum->bytes += (double)p.b.bytes;
    sum->seconds += (double)p.b.elapsed / NS_PER_S;
}

/* In turns, so that both see the same neighbours on a shared machine. Per second, as received; [0] raw, [1] reactor. */
static void measure_rates(struct rate rates[2], const struct options *o, uint16_t size)
{
    memset(rates, 0, 2 * sizeof rates[0]);
    for (unsigned i = 0; i < 2 * SLICES; i++)
        measure_rate(&rates[i % 2], o, size, i % 2 ? &way_reactor : &way_raw);
    for (unsigned i = 0; i < 2; i++) {
        check(rates[i].seconds > 0, "nothing arrived");
        rates[i].datagrams /= rates[i].seconds;
        rates[i].bytes /= rates[i].seconds;
    }
}

static struct latency measure_latency(const struct options *o, const struct way *way, bool spin)
{
    uint32_t *samples = calloc(o->rounds, sizeof *samples);
    check(samples != NULL, "memory");
    struct pair p = {.a = {.options = o, .spin = spin, .samples = samples}, .b = {.options = o, .spin = spin}};
    run_pair(&p, way, way->ping, way->pong, 0);
    unsigned warm = o->rounds / 10; /* the first tenth warms up */
    struct latency l = latency_of(samples + warm, o->rounds - warm);
    free(samples);
    return l;
}

static void report_rates(const struct options *o)
{
    if (!o->json)
        printf("%-10s %14s %10s %14s %10s %7s\n", "one way", "raw dgram/s", "MB/s", "reactor dgram/s", "MB/s", "ratio");
    for (unsigned i = 0; i < o->size_count; i++) {
        struct rate rates[2], *raw = &rates[0], *own = &rates[1];
        measure_rates(rates, o, o->sizes[i]);
        double ratio = own->datagrams / raw->datagrams;
        if (o->json)
            printf("%s{\"size\":%u,\"raw_datagrams_s\":%.0f,\"raw_bytes_s\":%.0f,\"reactor_datagrams_s\":%.0f,"
                   "\"reactor_bytes_s\":%.0f,\"ratio\":%.3f}",
                   i ? "," : "{\"rates\":[", o->sizes[i], raw->datagrams, raw->bytes, own->datagrams, own->bytes,
                   ratio);
        else
            printf("%6u B   %14.0f %10.0f %14.0f %11.0f %7.2f\n", o->sizes[i], raw->datagrams, raw->bytes / 1e6,
                   own->datagrams, own->bytes / 1e6, ratio);
    }
}

static void report_latencies(const struct options *o)
{
    if (!o->json)
        printf("\n%-10s %8s %8s %8s   %8s %8s %8s %7s\n", "ping-pong", "raw p50", "p99", "p99.9", "reactor p50", "p99",
               "p99.9", "ratio");
    for (int spin = 0; spin < 2; spin++) {
        struct latency raw = measure_latency(o, &way_raw, spin), own = measure_latency(o, &way_reactor, spin);
        const char *name = spin ? "spinning" : "blocking";
        if (o->json)
            printf("%s\"%s\":{\"raw_us\":[%.2f,%.2f,%.2f],\"reactor_us\":[%.2f,%.2f,%.2f],\"ratio_p50\":%.3f}%s",
                   spin ? "," : "],\"ping_pong\":{", name, raw.p50, raw.p99, raw.p999, own.p50, own.p99, own.p999,
                   own.p50 / raw.p50, spin ? "}}\n" : "");
        else
            printf("%-10s %8.1f %8.1f %8.1f   %8.1f %8.1f %8.1f %10.2f   us\n", name, raw.p50, raw.p99, raw.p999,
                   own.p50, own.p99, own.p999, own.p50 / raw.p50);
    }
}

static void demand(bool ok, const char *what)
{
    errno = EINVAL;
    check(ok, what);
}

static void parse_sizes(struct options *o, char *text)
{
    o->size_count = 0;
    for (char *save, *s = strtok_r(text, ",", &save); s && o->size_count < LIMITS_SIZES;
         s = strtok_r(NULL, ",", &save)) {
        long size = strtol(s, NULL, 10);
        demand(size >= 1 && size <= LIMITS_GSO_BYTES, "--sizes: 1 to 65000 bytes");
        o->sizes[o->size_count++] = (uint16_t)size;
    }
}

static void parse_cpus(struct options *o, const char *text)
{
    char *end;
    o->cpus[0] = (unsigned)strtoul(text, &end, 10);
    demand(end != text && *end == ',', "--cpus A,B");
    text = end + 1;
    o->cpus[1] = (unsigned)strtoul(text, &end, 10);
    demand(end != text && *end == '\0', "--cpus A,B");
}

static const char help[] =
    "usage: bench_limits [--json] [--seconds S] [--sizes N,N,...] [--rounds N] [--cpus A,B] [--recv-buffers N]\n"
    "\n"
    "Raw UDP on loopback, by plain system calls and through the reactor: one way, and ping-pong of 64 bytes.\n"
    "\n"
    "  --json            one line of JSON in place of tables\n"
    "  --seconds S       per size and way (1)\n"
    "  --sizes N,N,...   bytes of a datagram, one way, at most 16 of them (64,256,1024,1392,4096,8192)\n"
    "  --rounds N        of ping-pong, 100 and more; the first tenth does not count (20000)\n"
    "  --cpus A,B        for the two ends (the first two this process may use)\n"
    "  --recv-buffers N  of 64 KiB each, of the reactor (16)\n";

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option names[] = {
        {"json", 0, NULL, 'j'},   {"seconds", 1, NULL, 's'},      {"sizes", 1, NULL, 'z'}, {"cpus", 1, NULL, 'c'},
        {"rounds", 1, NULL, 'r'}, {"recv-buffers", 1, NULL, 'b'}, {"help", 0, NULL, 'h'},  {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "h", names, NULL)) != -1;) {
        if (c == 'j')
            o->json = true;
        else if (c == 's')
            o->seconds = strtod(optarg, NULL);
        else if (c == 'z')
            parse_sizes(o, optarg);
        else if (c == 'c')
            parse_cpus(o, optarg);
        else if (c == 'b')
            o->recv_buffers = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'r')
            o->rounds = (unsigned)strtoul(optarg, NULL, 10);
        else {
            fputs(help, c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
    }
    demand(optind == argc, "options only");
    demand(o->seconds > 0 && o->rounds >= 100, "--seconds above 0, --rounds of 100 and more");
}

int main(int argc, char **argv)
{
    struct options o = {.seconds = 1, .sizes = {64, 256, 1024, 1392, 4096, 8192}, .size_count = 6, .rounds = 20000};
    choose_cpus(o.cpus);
    parse(&o, argc, argv);
    report_rates(&o);
    report_latencies(&o);
    return 0;
}
