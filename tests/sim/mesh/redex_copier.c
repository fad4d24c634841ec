#include "tests/sim/mesh/redex_copier.h"

#include <criterion/criterion.h>
#include <string.h>

#include "core/base/err.h"
#include "storage/redex/redex_internal.h"
#include "tests/sim/world/rng.h"

enum { MAX_PAYLOAD = 400, MAX_BATCH = 8 };

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
    return seq >= COPIER_START && draw(seq, 1) % 16 != 0 && draw(seq / 32, 2) % 16 != 0;
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

/* ---- what must hold ---- */

/* Every event is the other log's, none of its is missing between them, and none up to where the mirror goes on. */
void copier_check_events(struct copier *c)
{
    struct redex_event events[64];
    uint8_t payload[MAX_PAYLOAD];
    uint64_t seq = 0, due = redex_count(c->log) ? redex_first_seq(c->log) : redex_next_seq(c->log), found = 0;
    bool retains = c->policy.retain_events > 0;
    if (!retains)
        check(c, due == COPIER_START || due == next_of(COPIER_START) || redex_count(c->log) == 0);
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
    copier_check_events(c);
    c->written = c->synced = c->opened_at = redex_next_seq(c->log);
    c->cut = false;
}

static void on_progress(void *ctx, struct redex *log)
{
    struct copier *c = ctx;
    check(c, log == c->log && !c->closing);
    note(c);
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
                                  .start = COPIER_START,
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
    c->log = NULL;
    c->closing = c->closed = false;
    list_init(&c->dirty);
    timer_wheel_init(&c->timers, io_now(c->io));
    redex_syncs_init(&c->syncs, 8);
    c->open_err = open_mirror(c);
    if (c->open_err) {
        check(c, c->tolerant);
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
        copier_check_events(c);
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
    c->log = NULL;
}

static const struct sim_node_ops copier_ops = {copier_create, copier_turn, copier_halt, copier_destroy};

/* ---- what a test does with it ---- */

void copier_init(struct copier *c, uint64_t seed)
{
    *c = (struct copier){.seed = seed, .sim = sim_create(seed)};
    c->host = sim_add_host(c->sim, 1);
    sim_settings(c->sim)->short_io = 0; /* writes tear between sectors, so a time, which has no checksum, is whole */
    sim_disk_put(c->host, "/node/redex-follow/other", (struct cspan){0});
    if (sim_random_below(c->sim, 3) == 0)
        c->policy.retain_events = 5 + sim_random_below(c->sim, 60);
}

bool copier_start(struct copier *c)
{
    return sim_host_start(c->host, &copier_ops, c);
}

void copier_cut_power(struct copier *c)
{
    sim_host_crash(c->host);
    c->cut = true;
}

static bool not_closed(void *ctx)
{
    return !((struct copier *)ctx)->closed;
}

void copier_stop(struct copier *c)
{
    uint64_t next = redex_next_seq(c->log);
    begin_close(c);
    check(c, sim_run_while(c->sim, not_closed, c, 10 * SIM_S));
    check(c, c->tolerant || c->close_err == 0);
    if (c->close_err == 0)
        c->written = c->synced = next;
    sim_host_kill(c->host);
}
