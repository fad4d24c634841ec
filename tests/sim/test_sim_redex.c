/*
 * RedEX against a model, over thousands of seeds: random appends, flushes and syncs, ended by kills, power cuts,
 * failing disks and clean stops at any moment, recovery included. What must hold is in check_recovered().
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/base/err.h"
#include "storage/redex/redex.h"
#include "tests/sim/rng.h"
#include "tests/sim/sim.h"

enum { MAX_PAYLOAD = 3000, MAX_BATCH = 5 };

/* An event as it was appended; its payload follows from `id`, which no other event has (one of a few bytes may repeat).
 */
struct appended {
    uint64_t seq, id, ts_ns, hash;
    uint32_t len;
    bool is_inline;
};

struct model {
    struct appended *events; /* ascending by seq */
    size_t count, room;
    uint64_t next_id;
    uint64_t next_seq;        /* of the last process */
    uint64_t written, synced; /* the furthest that was ever reported */
    bool clean;               /* the last process stopped in order */
    bool cut;                 /* the power failed since */
};

struct logger {
    uint64_t seed;
    struct sim *sim;
    struct sim_host *host;
    struct io *io;
    struct redex *log;
    struct list dirty;
    struct timer_wheel timers;
    struct redex_syncs syncs;
    struct redex_stats stats;
    struct model model;
    bool closing, closed, tolerant; /* tolerant: the disk fails, and an open may */
    int open_err, close_err;
};

#define check(l, condition)                                                                                            \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            cr_assert_fail("seed %llu: " #condition, (unsigned long long)(l)->seed);                                   \
    } while (0)

static void payload(struct appended *e, uint8_t *out)
{
    struct rng rng;
    rng_init(&rng, e->id, 1);
    rng_bytes(&rng, out, e->len);
    e->hash = XXH3_64bits(out, e->len);
}

/* Stamps from `any_stamp` on are believed: they have no checksum, and a power cut may take them alone. */
static void check_event(struct logger *l, const struct redex_event *e, struct appended *a, uint64_t any_stamp)
{
    check(l, e->data.len == a->len && e->is_inline == a->is_inline);
    check(l, XXH3_64bits(e->data.data, e->data.len) == a->hash);
    if (e->seq >= any_stamp)
        a->ts_ns = e->ts_ns;
    check(l, e->ts_ns == a->ts_ns);
}

/* Checks every event the log has. Those of the model that are not there are forgotten. */
static void check_events(struct logger *l, uint64_t any_stamp)
{
    struct model *m = &l->model;
    struct redex_event events[64];
    uint64_t seq = 0;
    size_t at = 0, kept = 0;
    for (size_t n; (n = redex_read(l->log, &seq, UINT64_MAX, events, 64)) > 0;) {
        for (size_t i = 0; i < n; i++) {
            while (at < m->count && m->events[at].seq < events[i].seq)
                at++;
            check(l, at < m->count && m->events[at].seq == events[i].seq); /* ascending, and appended */
            check_event(l, &events[i], &m->events[at], any_stamp);
            m->events[kept++] = m->events[at++];
        }
    }
    check(l, kept == redex_count(l->log));
    m->count = kept;
}

static size_t appended_below(const struct model *m, uint64_t end)
{
    size_t n = 0;
    while (n < m->count && m->events[n].seq < end)
        n++;
    return n;
}

static void check_recovered(struct logger *l, const struct redex_report *report)
{
    struct model *m = &l->model;
    uint64_t next = redex_next_seq(l->log);
    /* A sequence that was shown is never used again, whatever became of its event. */
    check(l, next >= m->written && next >= m->synced);
    /* What is there is what was appended under that sequence. What is gone nobody saw, or the log goes on behind it.
     * What was synced is there, and unless the power failed, what was written. */
    uint64_t safe = m->cut || m->written < m->synced ? m->synced : m->written;
    size_t count = m->count, safe_count = appended_below(m, safe);
    check_events(l, report->timestamps_lost ? 0 : m->cut ? safe : UINT64_MAX);
    check(l, appended_below(m, safe) == safe_count);
    check(l, !m->clean || (next == m->next_seq && m->count == count));
    m->clean = m->cut = false;
}

static void note_progress(struct logger *l)
{
    struct model *m = &l->model;
    uint64_t written = redex_written_seq(l->log), synced = redex_synced_seq(l->log);
    m->next_seq = redex_next_seq(l->log);
    check(l, synced <= written && written <= m->next_seq);
    if (written > m->written)
        m->written = written;
    if (synced > m->synced)
        m->synced = synced;
}

static void on_progress(void *ctx, struct redex *log)
{
    struct logger *l = ctx;
    check(l, log == l->log && !l->closing);
    note_progress(l);
}

static void *logger_create(void *ctx, struct io *const *ios, unsigned shards)
{
    struct logger *l = ctx;
    struct redex_report report;
    (void)shards;
    l->io = ios[0];
    l->closing = l->closed = false;
    list_init(&l->dirty);
    timer_wheel_init(&l->timers, io_now(l->io));
    redex_syncs_init(&l->syncs, 8);
    struct redex_options options = {.mode = REDEX_DISK,
                                    .base = "/node/redex",
                                    .name = "a/channel",
                                    .max_dirty = 16384,
                                    .dirty = &l->dirty,
                                    .timers = &l->timers,
                                    .syncs = &l->syncs,
                                    .stats = &l->stats,
                                    .progress = on_progress,
                                    .ctx = l};
    l->open_err = redex_open(&l->log, l->io, &options, &report);
    if (l->open_err) {
        check(l, l->tolerant);
        l->model.clean = false; /* it may have come as far as to say that it runs */
        return NULL;
    }
    check_recovered(l, &report);
    note_progress(l);
    return l;
}

static void remember(struct model *m, const struct appended *e)
{
    if (m->count == m->room) {
        m->room = m->room ? m->room * 2 : 64;
        m->events = realloc(m->events, m->room * sizeof *m->events);
        cr_assert_not_null(m->events);
    }
    m->events[m->count++] = *e;
}

static struct appended draw_event(struct logger *l)
{
    bool large = sim_random_below(l->sim, 20) == 0;
    return (struct appended){.id = l->model.next_id++,
                             .ts_ns = io_wall(l->io),
                             .len = (uint32_t)sim_random_below(l->sim, large ? MAX_PAYLOAD : 100)};
}

static int append_batch(struct logger *l)
{
    uint8_t frames[MAX_BATCH * (MAX_PAYLOAD + 4)];
    struct appended events[MAX_BATCH];
    uint32_t count = 1 + (uint32_t)sim_random_below(l->sim, MAX_BATCH);
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++) {
        events[i] = draw_event(l);
        store_le32(frames + len, events[i].len);
        payload(&events[i], frames + len + 4);
        len += 4 + events[i].len;
    }
    uint64_t first;
    int err = redex_append_frames(l->log, events[0].ts_ns, (struct cspan){frames, len}, count, &first);
    for (uint32_t i = 0; i < count && !err; i++) {
        events[i].seq = first + i;
        remember(&l->model, &events[i]);
    }
    check(l, err || first >= l->model.written);
    return err;
}

static int append_inline(struct logger *l)
{
    uint8_t bytes[8];
    struct appended e = draw_event(l);
    e.len = sizeof bytes;
    e.is_inline = true;
    payload(&e, bytes);
    int err = redex_append_inline(l->log, e.ts_ns, bytes, &e.seq);
    if (!err)
        remember(&l->model, &e);
    check(l, err || e.seq >= l->model.written);
    return err;
}

static uint64_t logger_turn(void *node, unsigned shard)
{
    struct logger *l = node;
    (void)shard;
    if (l->closing)
        return SIM_NEVER;
    for (uint64_t n = sim_random_below(l->sim, 4); n > 0; n--) {
        int err = sim_random_below(l->sim, 4) ? append_batch(l) : append_inline(l);
        check(l, !err || err == NET_ERR_AGAIN || err == redex_error(l->log));
    }
    if (sim_random_below(l->sim, 3))
        redex_flush_all(&l->dirty);
    if (sim_random_below(l->sim, 3) == 0)
        redex_want_sync(l->log, redex_next_seq(l->log) - sim_random_below(l->sim, 2) * (redex_next_seq(l->log) > 0));
    note_progress(l);
    if (sim_random_below(l->sim, 32) == 0) {
        size_t count = l->model.count;
        check_events(l, UINT64_MAX);
        check(l, l->model.count == count);
    }
    return io_now(l->io) + sim_random_below(l->sim, 500 * SIM_US);
}

static void on_closed(void *ctx, int err)
{
    struct logger *l = ctx;
    l->closed = true;
    l->close_err = err;
}

static void begin_close(struct logger *l)
{
    l->closing = true;
    redex_close(l->log, on_closed, l);
}

static bool logger_halt(void *node)
{
    struct logger *l = node;
    if (!l->closing)
        begin_close(l);
    return l->closed;
}

static void logger_destroy(void *node)
{
    ((struct logger *)node)->log = NULL;
}

static const struct sim_node_ops logger_ops = {logger_create, logger_turn, logger_halt, logger_destroy};

static bool not_closed(void *ctx)
{
    return !((struct logger *)ctx)->closed;
}

static void stop_cleanly(struct logger *l)
{
    struct model *m = &l->model;
    bool failed = redex_error(l->log) != 0;
    m->next_seq = redex_next_seq(l->log);
    begin_close(l);
    check(l, sim_run_while(l->sim, not_closed, l, 10 * SIM_S));
    check(l, failed || l->tolerant || l->close_err == 0);
    if (l->close_err == 0) {
        m->clean = true;
        m->written = m->synced = m->next_seq;
    }
    sim_host_kill(l->host);
}

/* Something goes wrong with the disk, at some operation from now. */
static void spoil_disk(struct logger *l)
{
    static const uint32_t kinds[] = {1u << IO_WRITE, 1u << IO_FDATASYNC, 1u << IO_FDATASYNC | 1u << IO_FSYNC, 0};
    uint64_t which = sim_random_below(l->sim, 4);
    struct sim_fault fault = {.kinds = kinds[which],
                              .error = sim_random_below(l->sim, 2) ? EIO : ENOSPC,
                              .after = (uint32_t)sim_random_below(l->sim, 40),
                              .times = which < 3 ? 1 + (uint32_t)sim_random_below(l->sim, 3) : UINT32_MAX};
    sim_disk_fault(l->host, &fault);
    l->tolerant = true;
}

static void cut_power(struct logger *l)
{
    sim_host_crash(l->host);
    l->model.cut = true;
}

static void one_life(struct logger *l, bool faults)
{
    if (faults && sim_random_below(l->sim, 4) == 0)
        spoil_disk(l);
    bool running = sim_host_start(l->host, &logger_ops, l);
    if (running)
        sim_run_for(l->sim, sim_random_below(l->sim, 20) * SIM_MS);
    uint64_t end = sim_random_below(l->sim, 8);
    /* A failed sync lets the page cache claim what is not on the disk: only losing it tells the truth. */
    if (l->tolerant || end < 4)
        cut_power(l);
    else if (end < 6)
        sim_host_kill(l->host);
    else
        stop_cleanly(l);
    sim_disk_clear_faults(l->host);
    l->tolerant = false;
}

static uint64_t run_seed(uint64_t seed, unsigned lives, bool faults)
{
    struct logger l = {.seed = seed, .sim = sim_create(seed)};
    l.host = sim_add_host(l.sim, 1);
    for (unsigned i = 0; i < lives; i++)
        one_life(&l, faults);
    check(&l, sim_host_start(l.host, &logger_ops, &l));
    sim_run_for(l.sim, 5 * SIM_MS);
    stop_cleanly(&l);
    check(&l, l.close_err == 0);
    uint64_t hash = sim_trace_hash(l.sim);
    sim_destroy(l.sim);
    free(l.model.events);
    return hash;
}

Test(redex, survives_kills_and_power_cuts)
{
    for (uint64_t seed = 1; seed <= 1000; seed++)
        run_seed(seed, 4, false);
}

Test(redex, survives_failing_disks)
{
    for (uint64_t seed = 1; seed <= 1000; seed++)
        run_seed(UINT64_C(1) << 32 | seed, 6, true);
}

Test(redex, runs_alike_for_one_seed)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        uint64_t hash = run_seed(seed, 3, true);
        cr_assert_eq(run_seed(seed, 3, true), hash);
        cr_assert_neq(run_seed(seed + 1000, 3, true), hash);
    }
}
