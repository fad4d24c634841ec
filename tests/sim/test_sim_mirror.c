/*
 * A mirror against the log it copies, over thousands of seeds: what the other log has is appended from where the mirror
 * ends, as a follower does, with repeats and with holes, and every life ends by a kill, a power cut, a failing disk or
 * a clean stop at any moment, recovery included; and a crash at each operation. Nothing may be missing, or be there
 * twice, whatever a crash left: the mirror goes on exactly behind the last event it has.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "storage/redex/redex_internal.h"
#include "tests/sim/world/rng.h"
#include "tests/sim/world/sim.h"

enum { MAX_PAYLOAD = 400, MAX_BATCH = 8, START = 5 };

static const uint8_t origin_id[REDEX_ID_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

/* ---- the other log: what it has under a sequence follows from the sequence ---- */

static uint64_t draw(uint64_t seq, uint64_t salt)
{
    uint64_t state = seq * 8 + salt;
    return splitmix(&state);
}

/* Holes are of one event or of many: a jump of one bit has to be told from a flipped one. */
static bool has(uint64_t seq)
{
    return seq >= START && draw(seq, 1) % 16 != 0 && draw(seq / 32, 2) % 16 != 0;
}

static uint64_t time_of(uint64_t seq)
{
    return UINT64_C(1600000000000000000) + seq / 3 * 1000;
}

static size_t event_of(uint64_t seq, uint8_t out[MAX_PAYLOAD])
{
    struct rng rng;
    size_t len = draw(seq, 3) % 4 == 0 ? 0 : draw(seq, 4) % MAX_PAYLOAD;
    rng_init(&rng, seq, 1);
    rng_bytes(&rng, out, len);
    return len;
}

static uint64_t next_of(uint64_t seq)
{
    while (!has(seq))
        seq++;
    return seq;
}

/* ---- the process that keeps the mirror ---- */

struct copier {
    uint64_t seed;
    struct sim *sim;
    struct sim_host *host;
    struct io *io;
    struct redex *log;
    struct list dirty;
    struct timer_wheel timers;
    struct redex_syncs syncs;
    struct redex_stats stats;
    struct redex_policy policy;
    uint64_t written, synced; /* the furthest that was ever reported */
    uint64_t opened_at, skips;
    bool made, cut, closing, closed, tolerant;
    int open_err, close_err;
    struct io_ops ops; /* the world's, with a submit that counts */
    const struct io_ops *world;
    unsigned submitted;
};

#define check(c, condition)                                                                                            \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            cr_assert_fail("seed %llu: " #condition, (unsigned long long)(c)->seed);                                   \
    } while (0)

/* Every event is the other log's, none of its is missing between them, and none up to where the mirror goes on. */
static void check_events(struct copier *c)
{
    struct redex_event events[64];
    uint8_t payload[MAX_PAYLOAD];
    uint64_t seq = 0, due = redex_count(c->log) ? redex_first_seq(c->log) : redex_next_seq(c->log), found = 0;
    bool retains = c->policy.retain_events > 0;
    if (!retains)
        check(c, due == START || due == next_of(START) || redex_count(c->log) == 0);
    for (size_t n; (n = redex_read(c->log, &seq, UINT64_MAX, events, 64)) > 0; found += n)
        for (size_t i = 0; i < n; i++) {
            const struct redex_event *e = &events[i];
            check(c, has(e->seq) && e->seq == next_of(due));
            check(c, e->data.len == event_of(e->seq, payload) && memcmp(e->data.data, payload, e->data.len) == 0);
            check(c, e->ts_ns == time_of(e->seq));
            due = e->seq + 1;
        }
    check(c, found == redex_count(c->log));
    check(c, redex_next_seq(c->log) <= next_of(due));
}

static void note(struct copier *c)
{
    uint64_t written = redex_written_seq(c->log), synced = redex_synced_seq(c->log);
    check(c, synced <= written && written <= redex_next_seq(c->log));
    c->written = written > c->written ? written : c->written;
    c->synced = synced > c->synced ? synced : c->synced;
}

static void check_recovered(struct copier *c)
{
    uint8_t id[REDEX_ID_SIZE];
    redex_id(c->log, id);
    check(c, memcmp(id, origin_id, sizeof id) == 0);
    check(c, redex_next_seq(c->log) >= (c->cut ? c->synced : c->written));
    check_events(c);
    c->written = c->synced = c->opened_at = redex_next_seq(c->log);
    c->cut = false;
}

static void on_progress(void *ctx, struct redex *log)
{
    struct copier *c = ctx;
    check(c, log == c->log && !c->closing);
    note(c);
}

static void counting_submit(struct io *io, struct io_op *op)
{
    struct copier *c = container_of(io->ops, struct copier, ops);
    c->submitted++;
    c->world->submit(io, op);
}

static struct redex_options options_of(struct copier *c)
{
    return (struct redex_options){.mode = REDEX_DISK,
                                  .base = "/node/redex-follow/0x0000000000000001",
                                  .name = "a/channel",
                                  .max_dirty = 16384,
                                  .min_dead = 2000,
                                  .patient = true,
                                  .mirror = true,
                                  .start = START,
                                  .policy = c->policy,
                                  .dirty = &c->dirty,
                                  .timers = &c->timers,
                                  .syncs = &c->syncs,
                                  .stats = &c->stats,
                                  .progress = on_progress,
                                  .ctx = c};
}

/* Opens the mirror, or makes it if it never came to be. */
static int open_mirror(struct copier *c)
{
    struct redex_options options = options_of(c);
    int err = redex_open(&c->log, c->io, &options, NULL);
    if (err == NET_ERR_NOT_FOUND) {
        check(c, !c->made);
        options.id = origin_id;
        err = redex_open(&c->log, c->io, &options, NULL);
    }
    c->made = c->made || err == NET_OK;
    return err;
}

static void *copier_create(void *ctx, struct io *const *ios, unsigned shards)
{
    struct copier *c = ctx;
    (void)shards;
    c->io = ios[0];
    c->world = c->io->ops;
    c->ops = *c->world;
    c->ops.submit = counting_submit;
    c->io->ops = &c->ops;
    c->log = NULL;
    c->closing = c->closed = false;
    list_init(&c->dirty);
    timer_wheel_init(&c->timers, io_now(c->io));
    redex_syncs_init(&c->syncs, 8);
    c->open_err = open_mirror(c);
    if (c->open_err) {
        check(c, c->tolerant);
        c->io->ops = c->world;
        return NULL;
    }
    check_recovered(c);
    return c;
}

/* A batch of what the other log has from `first` on, up to its next hole. */
static int append_batch(struct copier *c, uint64_t first)
{
    uint8_t frames[MAX_BATCH * (MAX_PAYLOAD + 4)], runs[MAX_BATCH * REDEX_RUN_SIZE];
    uint32_t most = 1 + (uint32_t)sim_random_below(c->sim, MAX_BATCH), count = 0;
    size_t len = 0, runs_len = 0;
    for (; count < most && has(first + count); count++) {
        uint64_t seq = first + count, at = time_of(seq);
        size_t n = event_of(seq, frames + len + 4);
        store_le32(frames + len, (uint32_t)n);
        len += 4 + n;
        bool same = runs_len > 0 && load_le64(runs + runs_len - 8) == at;
        runs_len += same ? 0 : REDEX_RUN_SIZE;
        uint8_t *run = runs + runs_len - REDEX_RUN_SIZE;
        store_le32(run, same ? load_le32(run) + 1 : 1);
        store_le64(run + 4, at);
    }
    return redex_append_at(c->log, first, (struct cspan){runs, runs_len}, (struct cspan){frames, len}, count);
}

/* What a follower gets next: what follows, some of what it has once more, or first the word of a hole. */
static void append_some(struct copier *c)
{
    uint64_t next = redex_next_seq(c->log), first = next_of(next);
    uint64_t back = sim_random_below(c->sim, 4);
    if (first == next && back && next > back && has(next - back))
        first = next - back;
    c->skips += first > next;
    int err = first > next && sim_random_below(c->sim, 2) ? redex_skip_to(c->log, first) : append_batch(c, first);
    check(c, !err || err == NET_ERR_AGAIN || err == redex_error(c->log) || err == c->log->compact_error);
}

static uint64_t copier_turn(void *node, unsigned shard)
{
    struct copier *c = node;
    bool again = false;
    (void)shard;
    if (c->closing)
        return SIM_NEVER;
    timer_wheel_advance(&c->timers, io_now(c->io));
    for (uint64_t n = sim_random_below(c->sim, 4); n > 0; n--)
        append_some(c);
    if (sim_random_below(c->sim, 3))
        again = redex_flush_all(&c->dirty);
    if (sim_random_below(c->sim, 4) == 0)
        redex_want_sync(c->log, redex_next_seq(c->log));
    note(c);
    if (sim_random_below(c->sim, 32) == 0)
        check_events(c);
    uint64_t next = io_now(c->io) + sim_random_below(c->sim, 500 * SIM_US);
    return again ? io_now(c->io) : timer_earlier(next, timer_wheel_next(&c->timers));
}

static void on_closed(void *ctx, int err)
{
    struct copier *c = ctx;
    c->closed = true;
    c->close_err = err;
    c->log = NULL;
}

static void begin_close(struct copier *c)
{
    c->closing = true;
    redex_close(c->log, on_closed, c);
}

static bool copier_halt(void *node)
{
    struct copier *c = node;
    if (!c->closing)
        begin_close(c);
    return c->closed;
}

static void copier_destroy(void *node)
{
    struct copier *c = node;
    c->io->ops = c->world;
    c->log = NULL;
}

static const struct sim_node_ops copier_ops = {copier_create, copier_turn, copier_halt, copier_destroy};

/* ---- lives ---- */

static void init(struct copier *c, uint64_t seed)
{
    *c = (struct copier){.seed = seed, .sim = sim_create(seed)};
    c->host = sim_add_host(c->sim, 1);
    sim_settings(c->sim)->short_io = 0; /* writes tear between sectors, so a time, which has no checksum, is whole */
    sim_disk_put(c->host, "/node/redex-follow/other", (struct cspan){0});
    if (sim_random_below(c->sim, 3) == 0)
        c->policy.retain_events = 5 + sim_random_below(c->sim, 60);
}

static bool start(struct copier *c)
{
    c->submitted = 0;
    return sim_host_start(c->host, &copier_ops, c);
}

static void cut_power(struct copier *c)
{
    sim_host_crash(c->host);
    c->cut = true;
}

static bool not_closed(void *ctx)
{
    return !((struct copier *)ctx)->closed;
}

static void stop(struct copier *c)
{
    uint64_t next = redex_next_seq(c->log);
    begin_close(c);
    check(c, sim_run_while(c->sim, not_closed, c, 10 * SIM_S));
    check(c, c->tolerant || c->close_err == 0);
    if (c->close_err == 0)
        c->written = c->synced = next;
    sim_host_kill(c->host);
}

static void spoil_disk(struct copier *c)
{
    static const uint32_t kinds[] = {1u << IO_WRITE, 1u << IO_FDATASYNC, 1u << IO_FDATASYNC | 1u << IO_FSYNC,
                                     1u << IO_OPEN | 1u << IO_MKDIR, 1u << IO_RENAME | 1u << IO_UNLINK};
    uint64_t which = sim_random_below(c->sim, 5);
    struct sim_fault fault = {.kinds = kinds[which],
                              .error = sim_random_below(c->sim, 2) ? EIO : ENOSPC,
                              .after = (uint32_t)sim_random_below(c->sim, which < 3 ? 40 : 6),
                              .times = 1 + (uint32_t)sim_random_below(c->sim, 3)};
    sim_disk_fault(c->host, &fault);
    c->tolerant = true;
}

static void one_life(struct copier *c, bool faults)
{
    if (faults && sim_random_below(c->sim, 3) == 0)
        spoil_disk(c);
    if (start(c))
        sim_run_for(c->sim, sim_random_below(c->sim, 40) * SIM_MS);
    uint64_t end = sim_random_below(c->sim, 8);
    /* A failed sync lets the page cache claim what is not on the disk: only losing it tells the truth. */
    if (c->tolerant || end < 4)
        cut_power(c);
    else if (end < 6)
        sim_host_kill(c->host);
    else
        stop(c);
    sim_disk_clear_faults(c->host);
    c->tolerant = false;
}

static void run_seed(uint64_t seed, unsigned lives, bool faults, uint64_t *skips)
{
    struct copier c;
    init(&c, seed);
    for (unsigned i = 0; i < lives; i++)
        one_life(&c, faults);
    check(&c, start(&c));
    sim_run_for(c.sim, 5 * SIM_MS);
    stop(&c);
    check(&c, start(&c));
    check_events(&c);
    stop(&c);
    *skips += c.skips;
    sim_destroy(c.sim);
}

Test(mirror, survives_kills_and_power_cuts)
{
    uint64_t skips = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++)
        run_seed(seed, 5, false, &skips);
    cr_assert_gt(skips, 10000);
}

Test(mirror, survives_failing_disks)
{
    uint64_t skips = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++)
        run_seed(UINT64_C(1) << 32 | seed, 6, true, &skips);
    cr_assert_gt(skips, 10000);
}

struct limit {
    struct copier *c;
    unsigned at;
};

static bool below_limit(void *ctx)
{
    const struct limit *l = ctx;
    return l->c->submitted < l->at;
}

Test(mirror, survives_a_crash_at_each_operation)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        for (unsigned at = 1; at <= 150; at++) {
            struct copier c;
            init(&c, seed);
            check(&c, start(&c));
            check(&c, sim_run_while(c.sim, below_limit, &(struct limit){&c, at}, 10 * SIM_S));
            if (at % 2)
                cut_power(&c);
            else
                sim_host_kill(c.host);
            check(&c, start(&c));
            sim_run_for(c.sim, 5 * SIM_MS);
            stop(&c);
            check(&c, start(&c));
            stop(&c);
            sim_destroy(c.sim);
        }
    }
}

/* Everything fails from the n-th operation of its making on, then the power does: it is there as it was to be, or it is
 * not there and can be made. */
Test(mirror, is_made_as_a_whole_or_not_at_all)
{
    unsigned failed = 0;
    for (uint32_t n = 0;; n++) {
        struct copier c;
        init(&c, n);
        c.tolerant = true;
        sim_disk_fault(c.host, &(struct sim_fault){.error = EIO, .after = n, .times = UINT32_MAX});
        bool made = start(&c);
        cut_power(&c);
        sim_disk_clear_faults(c.host);
        c.tolerant = false;
        failed += !made;
        check(&c, start(&c));
        check(&c, redex_next_seq(c.log) == START && redex_count(c.log) == 0);
        stop(&c);
        sim_destroy(c.sim);
        if (made)
            break;
    }
    cr_assert_gt(failed, 25);
}
