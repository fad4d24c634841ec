/*
 * Many seeds: each draws a mesh, what it does, and what is done to it (plan.h), and is run in a process of its own. The
 * first that fail are made small and told, so that a person can look into them and repeat them.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/swarm/acts.h"
#include "tests/sim/swarm/minimise.h"

enum { MINIMISED = 3 }; /* failures that are made small; more are only named */

static const char usage[] =
    "usage: swarm [--seeds N] [--minutes M] [--first SEED] [--jobs J] [--traces DIR] [--file SEEDS] [LIMITS]\n"
    "       swarm --seed SEED [--acts K] [--without I,...] [--trace FILE [--packets]] [LIMITS]\n"
    "\n"
    "The first form runs SEEDS, and then fresh seeds, N of them or for M minutes (100 seeds without either), J at a "
    "time.\n"
    "Of what fails it tells the smallest script that still does, how to repeat it, and leaves a trace in DIR.\n"
    "The second form runs one seed in this very process, for a debugger, with the first K acts of its script and "
    "without\n"
    "the acts of the numbers I (from 0), prints its plan, and writes what happens to FILE (\"-\": here), with\n"
    "--packets every datagram too.\n"
    "\n"
    "LIMITS: --seconds S of storm (60), --nodes N and --shards M (drawn from the seed)\n";

struct options {
    uint64_t seeds, minutes, first;
    bool one, bounded, packets;
    unsigned jobs;
    const char *traces, *file, *trace;
    struct job job;
};

struct totals {
    uint64_t passed, failed, simulated_ns, node_ns, acts[RUN_KINDS];
    uint64_t published, acknowledged, datagrams, lost, starts;
};

static const char *program;

static double real_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- what is told ---- */

static void add(struct totals *t, const struct outcome *o)
{
    t->passed += !o->failed;
    t->failed += o->failed;
    t->simulated_ns += o->simulated_ns;
    t->node_ns += o->simulated_ns * o->nodes;
    t->published += o->published;
    t->acknowledged += o->acknowledged;
    t->datagrams += o->datagrams;
    t->lost += o->lost;
    t->starts += o->starts;
    for (unsigned i = 0; i < act_kinds(); i++)
        t->acts[i] += o->acts[i];
}

static void print_totals(const struct totals *t, double took)
{
    double nodes = (double)t->node_ns / 1e9;
    printf("\n%.0f simulated seconds, %.0f node-seconds, %.0f of those a second\n", (double)t->simulated_ns / 1e9,
           nodes, took > 0 ? nodes / took : 0);
    printf("%" PRIu64 " starts, %" PRIu64 " datagrams, %" PRIu64 " lost, %" PRIu64 " events published, %" PRIu64
           " acknowledged\nacts:",
           t->starts, t->datagrams, t->lost, t->published, t->acknowledged);
    for (unsigned i = 0; i < act_kinds(); i++)
        printf("%s %s %" PRIu64, i ? "," : "", act_kind(i)->name, t->acts[i]);
    printf("\n%" PRIu64 " passed, %" PRIu64 " failed\n", t->passed, t->failed);
}

static void print_repeat(const struct job *job)
{
    const char *comma = " --without ";
    printf("  %s --seed %" PRIu64 " --acts %u", program, job->seed, job->acts);
    for (unsigned i = 0; i < job->acts; i++) {
        if (job->without[i])
            printf("%s%u", comma, i);
        comma = job->without[i] ? "," : comma;
    }
    if (job->limits.seconds)
        printf(" --seconds %" PRIu64, job->limits.seconds);
    if (job->limits.nodes)
        printf(" --nodes %u", job->limits.nodes);
    if (job->limits.shards)
        printf(" --shards %u", job->limits.shards);
    printf(" --trace -\n");
}

static void print_output(const char *text)
{
    size_t len = strlen(text);
    if (len > 0)
        printf("%s%s", len > 8000 ? text + len - 8000 : text, text[len - 1] == '\n' ? "" : "\n");
}

/* ---- one seed, here ---- */

static FILE *open_trace(const char *path)
{
    return strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
}

static int run_one(const struct options *o)
{
    struct plan plan;
    struct outcome outcome;
    FILE *trace = o->trace ? open_trace(o->trace) : NULL;
    if (o->trace && !trace) {
        perror(o->trace);
        return 2;
    }
    job_plan(&o->job, &plan);
    plan_print(&plan, trace && trace != stdout ? trace : stdout);
    fflush(stdout);
    run_plan(&plan, trace, o->packets, &outcome);
    if (trace && trace != stdout)
        fclose(trace);
    if (outcome.failed)
        printf("seed %" PRIu64 " failed at %.3f s: %s\n", o->job.seed, (double)outcome.at / 1e9, outcome.what);
    printf("seed %" PRIu64 " %s, trace hash %016" PRIx64 "\n", o->job.seed, outcome.failed ? "failed" : "passed",
           outcome.trace);
    return outcome.failed;
}

/* ---- many ---- */

/* In a process of its own, for it may well die of what it shows. */
static void write_trace(const struct options *o, const struct job *job)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/swarm-%" PRIu64 ".txt", o->traces, job->seed);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct options one = {.job = *job, .trace = path};
        if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
            _exit(2);
        exit(run_one(&one));
    }
    int status;
    if (pid > 0 && waitpid(pid, &status, 0) == pid)
        printf("what happens: %s\n", path);
}

static void tell_failure(struct children *c, const struct options *o, struct result *r, bool small)
{
    struct plan plan;
    unsigned runs = 0, acts;
    struct job whole = r->job, job = r->job;
    job_plan(&job, &plan);
    acts = job.acts = plan.acts;
    printf("\n---- seed %" PRIu64 " failed", job.seed);
    if (r->outcome.at)
        printf(" at %.3f s", (double)r->outcome.at / 1e9);
    printf(": %s\n", r->outcome.what);
    print_output(r->output);
    if (small) {
        minimise(c, &job, &runs);
        job_plan(&job, &plan);
        printf("the first %u of %u acts do, and of those %u (%u runs):\n", job.acts, acts, plan.acts, runs);
    }
    plan_print(&plan, stdout);
    printf("again:\n");
    print_repeat(&whole);
    if (small) {
        print_repeat(&job);
        write_trace(o, &job);
    }
    fflush(stdout);
}

static void progress(const struct totals *t, double since, bool last)
{
    static double told;
    bool terminal = isatty(STDOUT_FILENO);
    double now = real_seconds();
    if (!last && now - told < (terminal ? 0.2 : 10))
        return;
    told = now;
    printf("%s%" PRIu64 " seeds passed, %" PRIu64 " failed, %.1f a second%s", terminal ? "\r" : "", t->passed,
           t->failed, (double)(t->passed + t->failed) / (now - since), terminal && !last ? "   " : "\n");
    fflush(stdout);
}

/* The seeds that are to be run: those of the file first. */
struct source {
    uint64_t *kept, next, left;
    size_t kept_count, at;
    double until; /* 0: no end by time */
};

static bool next_seed(struct source *s, uint64_t *seed)
{
    if (s->at < s->kept_count) {
        *seed = s->kept[s->at++];
        return true;
    }
    if (s->left == 0 || (s->until > 0 && real_seconds() >= s->until))
        return false;
    s->left--;
    *seed = s->next++;
    return true;
}

/* Lines of "VERSION SEED  # what it was"; seeds of other versions run too, for what they draw now. */
static bool read_seeds(const char *path, struct source *s)
{
    char line[1024];
    FILE *f = fopen(path, "r");
    if (!f) {
        perror(path);
        return false;
    }
    while (fgets(line, sizeof line, f)) {
        uint64_t version, seed;
        if (line[0] == '#' || sscanf(line, "%" SCNu64 " %" SCNu64, &version, &seed) != 2)
            continue;
        s->kept = realloc(s->kept, (s->kept_count + 1) * sizeof *s->kept);
        s->kept[s->kept_count++] = seed;
    }
    fclose(f);
    return true;
}

static int run_many(const struct options *o)
{
    struct children children;
    struct totals totals = {0};
    double since = real_seconds();
    struct source source = {.next = o->first, .left = o->seeds};
    source.until = o->minutes ? since + (double)o->minutes * 60 : 0;
    if (o->file && !read_seeds(o->file, &source))
        return 2;
    printf("%zu seeds that failed once, then from seed %" PRIu64 " on, plan version %d\n", source.kept_count, o->first,
           PLAN_VERSION);
    children_init(&children, o->jobs);
    for (bool more = true; more || children.running > 0;) {
        struct job job = o->job;
        while (more && children.running < children.room && (more = next_seed(&source, &job.seed)))
            children_start(&children, &job);
        if (children.running == 0)
            break;
        struct result r = children_next(&children);
        add(&totals, &r.outcome);
        progress(&totals, since, false);
        if (r.outcome.failed) {
            struct children others;
            children_init(&others, o->jobs);
            tell_failure(&others, o, &r, totals.failed <= MINIMISED);
        }
        free(r.output);
    }
    progress(&totals, since, true);
    print_totals(&totals, real_seconds() - since);
    free(source.kept);
    return totals.failed > 0 || totals.passed == 0;
}

/* ---- options ---- */

static bool number(const char *text, uint64_t *out)
{
    char *end;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0';
}

static bool read_without(const char *text, struct job *job)
{
    for (char *end; *text; text = *end ? end + 1 : end) {
        unsigned long i = strtoul(text, &end, 10);
        if (end == text || i >= PLAN_ACTS || (*end && *end != ','))
            return false;
        job->without[i] = true;
    }
    return true;
}

enum {
    SEEDS,
    MINUTES,
    FIRST,
    SEED,
    ACTS,
    JOBS,
    SECONDS,
    NODES,
    SHARDS,
    NUMBERS,
    WITHOUT = NUMBERS,
    TRACE,
    TRACES,
    FILE_,
    PACKETS,
    HELP
};
static const struct option longs[] = {{"seeds", required_argument, NULL, SEEDS},
                                      {"minutes", required_argument, NULL, MINUTES},
                                      {"first", required_argument, NULL, FIRST},
                                      {"seed", required_argument, NULL, SEED},
                                      {"acts", required_argument, NULL, ACTS},
                                      {"jobs", required_argument, NULL, JOBS},
                                      {"seconds", required_argument, NULL, SECONDS},
                                      {"nodes", required_argument, NULL, NODES},
                                      {"shards", required_argument, NULL, SHARDS},
                                      {"without", required_argument, NULL, WITHOUT},
                                      {"trace", required_argument, NULL, TRACE},
                                      {"traces", required_argument, NULL, TRACES},
                                      {"file", required_argument, NULL, FILE_},
                                      {"packets", no_argument, NULL, PACKETS},
                                      {"help", no_argument, NULL, HELP},
                                      {0}};

static bool set_number(struct options *o, int which, uint64_t value)
{
    switch (which) {
    case SEEDS:
        o->seeds = value;
        o->bounded = true;
        return true;
    case MINUTES:
        o->minutes = value;
        return true;
    case FIRST:
        o->first = value;
        return true;
    case SEED:
        o->job.seed = value;
        o->one = true;
        return true;
    case ACTS:
        o->job.acts = value < PLAN_ACTS ? (unsigned)value : PLAN_ACTS;
        return true;
    case JOBS:
        o->jobs = (unsigned)value;
        return value >= 1 && value <= CHILDREN_MAX;
    case SECONDS:
        o->job.limits.seconds = value;
        return value >= 5 && value <= 100000;
    case NODES:
        o->job.limits.nodes = (unsigned)value;
        return value >= 2 && value <= PLAN_NODES;
    default:
        o->job.limits.shards = (unsigned)value;
        return value >= 1 && value <= 64;
    }
}

static bool set_option(struct options *o, int which, const char *text)
{
    uint64_t value;
    switch (which) {
    case WITHOUT:
        return read_without(text, &o->job);
    case TRACE:
        o->trace = text;
        return true;
    case PACKETS:
        o->packets = true;
        return true;
    case TRACES:
        o->traces = text;
        return true;
    case FILE_:
        o->file = text;
        return true;
    default:
        return which < NUMBERS && number(text, &value) && set_number(o, which, value);
    }
}

int main(int argc, char **argv)
{
    struct options o = {.jobs = 1, .traces = ".", .job.acts = PLAN_ACTS};
    int which;
    program = argv[0];
    if (getrandom(&o.first, sizeof o.first, 0) != (ssize_t)sizeof o.first)
        return 2;
    o.first >>= 16; /* short enough to be typed again */
    while ((which = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
        if (which == HELP) {
            fputs(usage, stdout);
            return 0;
        }
        if (!set_option(&o, which, optarg)) {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fputs(usage, stderr);
        return 2;
    }
    if (!o.bounded)
        o.seeds = o.minutes ? UINT64_MAX : 100;
    return o.one ? run_one(&o) : run_many(&o);
}
