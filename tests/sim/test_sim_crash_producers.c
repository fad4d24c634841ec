/*
 * A log and its producers in one process (extensions.md X8, storage/README.md "producers") that dies before and after
 * every single operation of its disk, and each of them fails: who asks again what has no answer finds every append in
 * the log once, in the order of its producer, and none that was answered lost. Three producers and a publisher without
 * a number share the log.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "core/base/err.h"
#include "storage/producers/producers_internal.h"
#include "tests/sim/mesh/crash_points.h"
#include "tests/sim/mesh/log_files.h"
#include "tests/sim/mesh/redex_logger.h" /* check() */

#define ROOT "/node/redex/a"
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
    bool stopping;                  /* in order */
    bool closing, closed, tolerant; /* tolerant: the disk fails, and an open may */
    bool full_file;                 /* producers~ begins as long as one that is to be written anew soon */
    const char *where;
};

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

static int open_log(struct world *w)
{
    struct producers_options po = {.root = ROOT,
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
    if (!err && (err = producers_begin(w->producers, w->log)) != NET_OK)
        redex_abandon(w->log);
    if (err)
        producers_free(w->producers);
    return err;
}

static void *create(void *ctx, struct io *const *ios, unsigned shards)
{
    struct world *w = ctx;
    (void)shards;
    w->io = ios[0];
    w->closing = w->closed = w->stopping = false;
    list_init(&w->dirty);
    list_init(&w->dirty_producers);
    timer_wheel_init(&w->timers, io_now(w->io));
    redex_syncs_init(&w->syncs, 8);
    for (int i = 0; i < PRODUCERS; i++)
        memset(w->clients[i].pipe, 0, sizeof w->clients[i].pipe);
    int err = open_log(w);
    check(w, !err || w->tolerant);
    return err ? NULL : w;
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

/* One before it was not appended in this life. */
static bool is_behind_refused(const struct client *c, uint64_t sequence)
{
    bool refused = false;
    for (uint64_t s = c->answered; s < sequence; s++)
        refused = refused || !c->pipe[s % PIPE].open;
    return refused;
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
    if ((verdict == PRODUCERS_GAP || verdict == PRODUCERS_TOO_OLD) && is_behind_refused(c, sequence))
        return;
    if (verdict > 1)
        fprintf(stderr, "V %d p %u seq %d answered %d next %d tol %d\n", verdict, producer, (int)sequence,
                (int)c->answered, (int)c->next, w->tolerant);
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
    check(w, err == NET_OK || w->tolerant || !w->stopping);
    w->closed = true;
    w->log = NULL;
}

static void on_producers_closed(void *ctx)
{
    struct world *w = ctx;
    w->producers = NULL;
    redex_close(w->log, on_log_closed, w);
}

static void begin_close(struct world *w)
{
    if (w->closing)
        return;
    w->closing = true;
    producers_close(w->producers, on_producers_closed, w);
}

/* The process is dead: nothing of this reaches the disk. */
static bool halt(void *node)
{
    struct world *w = node;
    begin_close(w);
    return w->closed;
}

static void destroy(void *node)
{
    struct world *w = node;
    w->producers = NULL;
    w->log = NULL;
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

/* What was answered is still known, and the answer the same. */
static void check_known(struct world *w)
{
    for (unsigned i = 0; i < PRODUCERS; i++)
        for (uint64_t sequence = 0; sequence < APPENDS; sequence++) {
            struct producers_append a = {
                .id = {(uint8_t)(i + 1)}, .sequence = sequence, .sum = sequence, .count = count_of(i, sequence)};
            struct producers_answer where = {0};
            check(w, producers_look(w->producers, &a, &where) == PRODUCERS_KNOWN);
            check(w, where.first_seq == w->clients[i].first[sequence]);
        }
}

/* ---- the parts of a scenario ---- */

static bool start(struct world *w)
{
    return sim_host_start(w->host, &ops, w);
}

static bool not_closed(void *ctx)
{
    return !((struct world *)ctx)->closed;
}

static void stop(struct world *w)
{
    w->stopping = true;
    begin_close(w);
    check(w, sim_run_while(w->sim, not_closed, w, 10 * SIM_S));
    sim_host_kill(w->host);
}

/* As if many appends had been made and forgotten. */
static void lengthen_file(struct world *w)
{
    static uint8_t bytes[(64 << 10) - 16 * INTENT_SIZE];
    struct intent mark = {.kind = INTENT_MARK};
    check(w, start(w));
    stop(w);
    for (size_t at = 0; at < sizeof bytes; at += INTENT_SIZE)
        intent_encode(&mark, bytes + at);
    sim_disk_put(w->host, ROOT "/producers~", (struct cspan){bytes, sizeof bytes});
}

static struct sim_host *begin_empty(void *ctx, uint64_t seed, const char *where)
{
    struct world *w = ctx;
    *w = (struct world){
        .seed = seed, .durable = w->durable, .full_file = w->full_file, .sim = sim_create(seed), .where = where};
    w->host = sim_add_host(w->sim, 1);
    sim_disk_put(w->host, "/node/node.yaml", (struct cspan){0}); /* the node's directory is there for good */
    if (w->full_file)
        lengthen_file(w);
    w->tolerant = true;
    return w->host;
}

static struct sim_host *begin_killed(void *ctx, uint64_t seed, const char *where)
{
    struct world *w = ctx;
    begin_empty(ctx, seed, where);
    check(w, start(w));
    sim_run_for(w->sim, 6 * SIM_MS);
    check(w, goes_on(w));
    sim_host_kill(w->host);
    return w->host;
}

static bool lives_and_goes_on(void *ctx)
{
    struct world *w = ctx;
    return sim_host_node(w->host) && goes_on(w);
}

/* All appends, and the stop. */
static void append_all(void *ctx)
{
    struct world *w = ctx;
    if (start(w))
        sim_run_while(w->sim, lives_and_goes_on, w, 40 * SIM_MS);
    if (sim_host_node(w->host))
        stop(w);
}

static void life(void *ctx)
{
    struct world *w = ctx;
    if (start(w))
        sim_run_for(w->sim, SIM_MS);
    if (sim_host_node(w->host))
        stop(w);
}

static void died(void *ctx, bool power)
{
    (void)ctx;
    (void)power;
}

static void recover(void *ctx)
{
    struct world *w = ctx;
    w->tolerant = false;
    check(w, start(w));
    check(w, sim_run_while(w->sim, goes_on, w, 10 * SIM_S));
    check_log(w);
    check_known(w);
    stop(w);
    uint64_t hash = log_files_hash(w->host, ROOT, w->where);
    check(w, start(w));
    check_known(w);
    stop(w);
    check(w, log_files_hash(w->host, ROOT, w->where) == hash);
    sim_disk_settings(w->host)->crash_keep = sim_disk_settings(w->host)->crash_tear = 0;
    sim_host_crash(w->host);
    check(w, start(w));
    check_log(w);
    check_known(w);
    stop(w);
}

static void end(void *ctx)
{
    sim_destroy(((struct world *)ctx)->sim);
}

static struct crash_scenario scenario(const char *name, struct sim_host *(*begin)(void *, uint64_t, const char *),
                                      void (*work)(void *))
{
    return (struct crash_scenario){
        .name = name, .begin = begin, .work = work, .again = life, .died = died, .recover = recover, .end = end};
}

/* Without a word of durability an answer holds through a kill. */
enum {
    KILLS = 1 << CRASH_KILL | 1 << CRASH_EIO_KILL | 1 << CRASH_ENOSPC_KILL | 1 << CRASH_FULL_KILL,
};

static const struct crash_op appends[] = {
    {IO_OPEN, "/producers~new"},      {IO_WRITE, "/producers~new"}, {IO_RENAME, "/producers~new"},
    {IO_FDATASYNC, "/producers~new"}, {IO_WRITE, "/idx"},           {IO_FSYNC, "/a"}};

/* ---- the scenarios ---- */

Test(crash_producers, acknowledged_appends, .timeout = 100)
{
    struct crash_scenario s = scenario("acknowledged appends", begin_empty, append_all);
    memcpy(s.must, appends, sizeof appends);
    for (uint64_t seed = 1; seed <= 2; seed++)
        crash_points(&s, &(struct world){0}, seed, KILLS);
}

Test(crash_producers, durable_appends, .timeout = 100)
{
    struct crash_scenario s = scenario("durable appends", begin_empty, append_all);
    memcpy(s.must, appends, sizeof appends);
    for (uint64_t seed = 1; seed <= 2; seed++)
        crash_points(&s, &(struct world){.durable = true}, seed, CRASH_ALL);
}

Test(crash_producers, a_file_that_is_written_anew, .timeout = 100)
{
    struct crash_scenario s = scenario("producers written anew", begin_empty, append_all);
    memcpy(s.must, appends, sizeof appends);
    crash_points(&s, &(struct world){.durable = true, .full_file = true}, 1, CRASH_ALL);
}

Test(crash_producers, recovery, .timeout = 100)
{
    struct crash_scenario s = scenario("recovery of producers", begin_killed, life);
    const struct crash_op must[] = {{IO_READ, "/producers~"},
                                    {IO_READ, "/idx"},
                                    {IO_WRITE, "/producers~new"},
                                    {IO_FSYNC, "/producers~new"},
                                    {IO_RENAME, "/producers~new"}};
    memcpy(s.must, must, sizeof must);
    for (uint64_t seed = 1; seed <= 2; seed++) {
        crash_points(&s, &(struct world){0}, seed, KILLS);
        crash_points(&s, &(struct world){.durable = true}, seed, CRASH_ALL);
    }
}

Test(crash_producers, recovery_of_each_death, .timeout = 100)
{
    struct crash_scenario s = scenario("recovery of appends that died", begin_empty, append_all);
    crash_points_again(&s, &(struct world){.durable = true}, 1, CRASH_FATE(POWER_DRAWN) | CRASH_FATE(KILL),
                       CRASH_FATE(POWER_DRAWN) | CRASH_FATE(EIO_KILL), 31);
}
