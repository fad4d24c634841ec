/*
 * A log and its producers in one process, taken down at each operation of its disk, by a kill and by a power cut: who
 * asks again what has no answer finds every append in the log once, in the order of its producer, and none that was
 * answered lost. Three producers and a publisher without a number share the log.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "storage/producers/producers.h"
#include "tests/sim/world/sim.h"

enum { PRODUCERS = 3, APPENDS = 14, PIPE = 3, EVENT = 24, MOST = 3 };

struct asked { /* an append on its way */
    bool open; /* asked in this life */
    uint64_t number, end_seq;
};

struct client {
    uint64_t answered, next; /* sequences: those in between were asked, or will be again */
    struct asked pipe[PIPE];
    uint64_t first[APPENDS]; /* what was answered; again the same */
};

struct world {
    uint64_t seed;
    bool durable;
    struct sim *sim;
    struct sim_host *host;
    struct io *io;
    struct redex *log;
    struct producers *producers;
    struct list dirty, dirty_producers;
    struct timer_wheel timers;
    struct redex_syncs syncs;
    struct redex_stats stats;
    struct client clients[PRODUCERS];
    uint64_t plain;
    struct io_ops ops; /* the world's, with a submit that counts */
    const struct io_ops *real;
    unsigned submitted;
    bool closing;
};

#define check(w, condition)                                                                                            \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            cr_assert_fail("seed %llu: " #condition, (unsigned long long)(w)->seed);                                   \
    } while (0)

/* ---- what is appended ---- */

static uint32_t count_of(unsigned producer, uint64_t sequence)
{
    return (uint32_t)(producer * 7 + sequence * 5) % (MOST + 1); /* sometimes nothing */
}

static void put_event(uint8_t *out, unsigned producer, uint64_t sequence, uint32_t index)
{
    store_le64(out, producer);
    store_le64(out + 8, sequence);
    store_le64(out + 16, index);
}

static size_t make_frames(unsigned producer, uint64_t sequence, uint32_t count, uint8_t *out)
{
    for (uint32_t i = 0; i < count; i++) {
        store_le32(out + i * (4 + EVENT), EVENT);
        put_event(out + i * (4 + EVENT) + 4, producer, sequence, i);
    }
    return count * (4 + EVENT);
}

/* ---- the process ---- */

static void on_log(void *ctx, struct redex *log)
{
    (void)ctx;
    (void)log;
}

static void on_producers(void *ctx, struct producers *p)
{
    (void)ctx;
    (void)p;
}

static void counting_submit(struct io *io, struct io_op *op)
{
    struct world *w = container_of(io->ops, struct world, ops);
    w->submitted++;
    w->real->submit(io, op);
}

static int open_log(struct world *w)
{
    struct producers_options po = {.root = "/node/redex/a",
                                   .max = 8,
                                   .dirty = &w->dirty_producers,
                                   .timers = &w->timers,
                                   .syncs = &w->syncs,
                                   .stats = &w->stats,
                                   .progress = on_producers,
                                   .ctx = w};
    int err = producers_open(&w->producers, w->io, &po);
    if (err)
        return err;
    struct redex_options o = {.mode = REDEX_DISK,
                              .base = "/node/redex",
                              .name = "a",
                              .torn = producers_torn,
                              .torn_ctx = w->producers,
                              .dirty = &w->dirty,
                              .timers = &w->timers,
                              .syncs = &w->syncs,
                              .stats = &w->stats,
                              .progress = on_log,
                              .ctx = w};
    err = redex_open(&w->log, w->io, &o, NULL);
    return err ? err : producers_begin(w->producers, w->log);
}

static void *create(void *ctx, struct io *const *ios, unsigned shards)
{
    struct world *w = ctx;
    (void)shards;
    w->io = ios[0];
    w->real = w->io->ops;
    w->ops = *w->real;
    w->ops.submit = counting_submit;
    w->io->ops = &w->ops;
    w->closing = false;
    list_init(&w->dirty);
    list_init(&w->dirty_producers);
    timer_wheel_init(&w->timers, io_now(w->io));
    redex_syncs_init(&w->syncs, 8);
    for (int i = 0; i < PRODUCERS; i++)
        memset(w->clients[i].pipe, 0, sizeof w->clients[i].pipe);
    check(w, open_log(w) == NET_OK);
    return w;
}

static bool is_stored(const struct world *w, const struct asked *a)
{
    return a->open && (w->durable ? producers_synced(w->producers) : producers_stored(w->producers)) > a->number &&
           (w->durable ? redex_synced_seq(w->log) : redex_written_seq(w->log)) >= a->end_seq;
}

static void settle(struct world *w, struct client *c)
{
    while (c->answered < c->next && is_stored(w, &c->pipe[c->answered % PIPE])) {
        c->pipe[c->answered % PIPE].open = false;
        c->answered++;
    }
}

/* Asks for `sequence`, which it may have asked for in another life. */
static void ask(struct world *w, unsigned producer, uint64_t sequence)
{
    struct client *c = &w->clients[producer];
    uint32_t count = count_of(producer, sequence);
    uint8_t frames[MOST * (4 + EVENT)];
    struct producers_append a = {
        .id = {(uint8_t)(producer + 1)}, .sequence = sequence, .sum = sequence, .count = count};
    struct producers_answer where = {0};
    enum producers_verdict verdict = producers_look(w->producers, &a, &where);
    check(w, verdict == PRODUCERS_NEW || verdict == PRODUCERS_KNOWN);
    if (verdict == PRODUCERS_NEW) {
        check(w, sequence >= c->answered);
        size_t len = make_frames(producer, sequence, count, frames);
        if (redex_append_frames(w->log, io_wall(w->io), (struct cspan){frames, len}, count, &where.first_seq) != NET_OK)
            return;
        where.number = producers_note(w->producers, &a, where.first_seq, w->durable);
    }
    c->first[sequence] = where.first_seq;
    c->pipe[sequence % PIPE] = (struct asked){true, where.number, where.first_seq + count};
    if (w->durable) {
        producers_want_sync(w->producers, where.number);
        redex_want_sync(w->log, where.first_seq + count);
    }
}

static void drive(struct world *w, unsigned producer)
{
    struct client *c = &w->clients[producer];
    settle(w, c);
    for (uint64_t sequence = c->answered; sequence < c->next; sequence++)
        if (!c->pipe[sequence % PIPE].open)
            ask(w, producer, sequence);
    if (c->next < APPENDS && c->next - c->answered < PIPE && sim_random_below(w->sim, 3) == 0)
        ask(w, producer, c->next++);
}

static uint64_t turn(void *node, unsigned shard)
{
    struct world *w = node;
    uint8_t frame[4 + EVENT];
    uint64_t first;
    (void)shard;
    if (w->closing)
        return SIM_NEVER;
    timer_wheel_advance(&w->timers, io_now(w->io));
    for (unsigned i = 0; i < PRODUCERS; i++)
        drive(w, i);
    if (sim_random_below(w->sim, 6) == 0) {
        make_frames(PRODUCERS, w->plain++, 1, frame);
        (void)redex_append_frames(w->log, io_wall(w->io), (struct cspan){frame, sizeof frame}, 1, &first);
    }
    producers_flush_all(&w->dirty_producers);
    bool again = redex_flush_all(&w->dirty);
    uint64_t next = io_now(w->io) + sim_random_below(w->sim, 300 * SIM_US);
    return again ? io_now(w->io) : timer_earlier(next, timer_wheel_next(&w->timers));
}

static void on_log_closed(void *ctx, int err)
{
    struct world *w = ctx;
    (void)err; /* it is cut off from its disk */
    w->log = NULL;
}

static void on_producers_closed(void *ctx)
{
    struct world *w = ctx;
    w->producers = NULL;
    redex_close(w->log, on_log_closed, w);
}

/* The process is dead: nothing of this reaches the disk. */
static bool halt(void *node)
{
    struct world *w = node;
    if (!w->closing)
        producers_close(w->producers, on_producers_closed, w);
    w->closing = true;
    return w->log == NULL;
}

static void destroy(void *node)
{
    struct world *w = node;
    w->io->ops = w->real;
}

static const struct sim_node_ops ops = {create, turn, halt, destroy};

/* ---- what must hold ---- */

static bool goes_on(void *ctx)
{
    const struct world *w = ctx;
    for (int i = 0; i < PRODUCERS; i++)
        if (w->clients[i].answered < APPENDS)
            return true;
    return false;
}

/* Of each producer all events, each once, in its order, at the sequences that were answered. */
static void check_log(struct world *w)
{
    struct redex_event e;
    uint64_t at[PRODUCERS] = {0}, index[PRODUCERS] = {0}, seq = 0;
    while (redex_read(w->log, &seq, UINT64_MAX, &e, 1) == 1) {
        check(w, e.data.len == EVENT);
        uint64_t p = load_le64(e.data.data), sequence = load_le64(e.data.data + 8), i = load_le64(e.data.data + 16);
        if (p == PRODUCERS)
            continue; /* the publisher's */
        while (at[p] < APPENDS && index[p] == count_of((unsigned)p, at[p])) {
            at[p]++;
            index[p] = 0;
        }
        check(w, p < PRODUCERS && sequence == at[p] && i == index[p]);
        check(w, e.seq == w->clients[p].first[sequence] + i);
        index[p]++;
    }
    for (int p = 0; p < PRODUCERS; p++) {
        while (at[p] < APPENDS && index[p] == count_of((unsigned)p, at[p])) {
            at[p]++;
            index[p] = 0;
        }
        check(w, at[p] == APPENDS);
    }
}

struct stop {
    struct world *w;
    unsigned at;
};

static bool before(void *ctx)
{
    const struct stop *s = ctx;
    return s->w->submitted < s->at && goes_on(s->w);
}

/* False: it was done before so many operations were submitted. */
static bool crash_at(uint64_t seed, unsigned at, bool power, unsigned again)
{
    struct world w = {.seed = seed, .durable = power || seed % 2, .sim = sim_create(seed)};
    w.host = sim_add_host(w.sim, 1);
    check(&w, sim_host_start(w.host, &ops, &w));
    struct stop stop = {&w, at};
    check(&w, sim_run_while(w.sim, before, &stop, 10 * SIM_S));
    bool reached = goes_on(&w);
    for (unsigned i = 0; reached && i < again; i++) { /* and once more, soon after it came back */
        if (power)
            sim_host_crash(w.host);
        else
            sim_host_kill(w.host);
        check(&w, sim_host_start(w.host, &ops, &w));
        sim_run_for(w.sim, sim_random_below(w.sim, 3) * SIM_MS);
    }
    check(&w, sim_run_while(w.sim, goes_on, &w, 10 * SIM_S));
    check_log(&w);
    sim_destroy(w.sim);
    return reached;
}

static unsigned crash_everywhere(bool power, unsigned again)
{
    unsigned most = 0;
    for (uint64_t seed = 1; seed <= 30; seed++)
        for (unsigned at = 1; crash_at(seed, at, power, again); at++)
            most = at > most ? at : most;
    return most;
}

Test(sim_producers, survive_a_kill_at_each_operation, .timeout = 280)
{
    cr_assert_gt(crash_everywhere(false, 1), 40);
}

Test(sim_producers, survive_a_power_cut_at_each_operation, .timeout = 280)
{
    cr_assert_gt(crash_everywhere(true, 1), 60);
}

Test(sim_producers, survive_power_cuts_in_a_row, .timeout = 280)
{
    cr_assert_gt(crash_everywhere(true, 3), 60);
}
