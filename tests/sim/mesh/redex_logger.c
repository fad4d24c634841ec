#include "tests/sim/mesh/redex_logger.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/base/err.h"
#include "storage/redex/redex_internal.h"
#include "tests/sim/world/rng.h"

enum { MAX_PAYLOAD = 3000, MAX_BATCH = 5 };

static void payload(struct appended *e, uint8_t *out)
{
    struct rng rng;
    rng_init(&rng, e->id, 1);
    rng_bytes(&rng, out, e->len);
    e->hash = XXH3_64bits(out, e->len);
}

/* ---- what must hold ---- */

/* Stamps from `any_stamp` on are believed: they have no checksum, and a power cut may take them alone. */
static void check_event(struct logger *l, const struct redex_event *e, struct appended *a, uint64_t any_stamp)
{
    check(l, e->data.len == a->len && e->is_inline == a->is_inline);
    check(l, XXH3_64bits(e->data.data, e->data.len) == a->hash);
    if (e->seq >= any_stamp || a->lost || a->any_stamp)
        a->ts_ns = e->ts_ns;
    a->lost = a->any_stamp = false;
    check(l, e->ts_ns == a->ts_ns);
}

/* One that is not in the log. */
static void check_missing(struct logger *l, struct appended *a, uint64_t safe, uint64_t any_stamp)
{
    check(l, a->lost || a->seq >= safe || a->seq < redex_first_seq(l->log));
    a->lost = a->lost || a->seq >= safe;
    a->any_stamp = a->any_stamp || a->seq >= any_stamp;
}

/* What the log has is what was appended, each once, in order; and of what is below `safe` and was not given up, all. */
static void check_events(struct logger *l, uint64_t safe, uint64_t any_stamp)
{
    struct model *m = &l->model;
    struct redex_event events[64];
    uint64_t seq = 0, found = 0;
    size_t at = 0;
    for (size_t n; (n = redex_read(l->log, &seq, UINT64_MAX, events, 64)) > 0; found += n) {
        for (size_t i = 0; i < n; i++, at++) {
            for (; at < m->count && m->events[at].seq < events[i].seq; at++)
                check_missing(l, &m->events[at], safe, any_stamp);
            check(l, at < m->count && m->events[at].seq == events[i].seq);
            check_event(l, &events[i], &m->events[at], any_stamp);
        }
    }
    for (; at < m->count; at++)
        check_missing(l, &m->events[at], safe, any_stamp);
    check(l, found == redex_count(l->log));
}

static uint64_t cost_of(const struct appended *e)
{
    return RECORD_SIZE + (e->is_inline ? 0 : e->len);
}

/* The newest event that was given up had to be: with it, the log would exceed a limit. Those behind it that a crash may
 * have taken may as well have been there, and were given up too. */
static void check_retention(struct logger *l)
{
    const struct redex_policy *p = &l->policy;
    const struct appended *given_up = NULL;
    uint64_t kept = 0, behind = 0, first = redex_first_seq(l->log), count = redex_count(l->log);
    for (size_t i = 0; i < l->model.count; i++) {
        const struct appended *e = &l->model.events[i];
        if (e->seq >= first) {
            kept += e->lost ? 0 : cost_of(e);
        } else if (e->lost) {
            behind += cost_of(e);
            count++;
        } else if (e->seq >= l->model.given_up) {
            given_up = e;
            behind = 0;
            count = redex_count(l->log);
        }
    }
    l->model.given_up = first;
    check(l, !given_up || (p->retain_events && count + 1 > p->retain_events) ||
                 (p->retain_bytes && kept + behind + cost_of(given_up) > p->retain_bytes) ||
                 (p->retain_age_ns && given_up->ts_ns + p->retain_age_ns < io_wall(l->io)));
}

static void check_recovered(struct logger *l, const struct redex_report *report)
{
    struct model *m = &l->model;
    uint64_t next = redex_next_seq(l->log);
    /* A sequence that was shown is never used again, whatever became of its event. */
    check(l, next >= m->written && next >= m->synced);
    /* What is there is what was appended under that sequence. What is gone nobody saw, or the log goes on behind it, or
     * it was given up. What was synced is there, and unless the power failed, what was written. */
    uint64_t safe = m->cut || m->written < m->synced ? m->synced : m->written;
    bool any_stamps = report->timestamps_lost || m->half_opened;
    check_events(l, m->clean ? UINT64_MAX : safe, any_stamps ? 0 : m->cut ? safe : UINT64_MAX);
    check_retention(l);
    check(l, !redex_over_limit(l->log));
    check(l, !m->clean || next == m->next_seq);
    m->clean = m->cut = m->half_opened = false;
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

/* ---- the process ---- */

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
    l->log = NULL;
    l->closing = l->closed = false;
    list_init(&l->dirty);
    timer_wheel_init(&l->timers, io_now(l->io));
    redex_syncs_init(&l->syncs, 8);
    struct redex_options options = {.mode = REDEX_DISK,
                                    .base = "/node/redex",
                                    .name = "a/channel",
                                    .max_dirty = 16384,
                                    .max_bytes = l->max_bytes,
                                    .min_dead = 2000,
                                    .policy = l->policy,
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
        l->model.half_opened = true;
        return NULL;
    }
    check_recovered(l, &report);
    note_progress(l);
    return l;
}

/* The sequences of events that were never written are used again after a kill. */
static void remember(struct model *m, const struct appended *e)
{
    while (m->count > 0 && m->events[m->count - 1].seq >= e->seq && m->events[m->count - 1].lost)
        m->count--;
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
    int err = redex_append_frames(l->log, io_wall(l->io), (struct cspan){frames, len}, count, &first);
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

/* A third of dat may be what retention gave up; and the largest batch wants room. */
static bool is_nearly_full(const struct logger *l)
{
    uint64_t bytes = redex_bytes(l->log);
    return bytes > l->max_bytes * 6 / 10 || bytes + MAX_BATCH * MAX_PAYLOAD > l->max_bytes;
}

static bool may_refuse(const struct logger *l, int err)
{
    return err == NET_ERR_AGAIN || err == redex_error(l->log) || err == l->log->compact_error ||
           (err == NET_ERR_FULL && is_nearly_full(l));
}

static void draw_wishes(struct logger *l)
{
    if (sim_random_below(l->sim, 3) == 0)
        redex_want_sync(l->log, redex_next_seq(l->log) - sim_random_below(l->sim, 2) * (redex_next_seq(l->log) > 0));
    if (sim_random_below(l->sim, 100) == 0) {
        check_events(l, UINT64_MAX, UINT64_MAX);
        check_retention(l);
        logger_draw_policy(l);
        redex_set_policy(l->log, &l->policy);
    }
}

static uint64_t logger_turn(void *node, unsigned shard)
{
    struct logger *l = node;
    bool again = false;
    (void)shard;
    if (l->closing)
        return SIM_NEVER;
    timer_wheel_advance(&l->timers, io_now(l->io));
    for (uint64_t n = sim_random_below(l->sim, 4); n > 0; n--) {
        int err = sim_random_below(l->sim, 4) ? append_batch(l) : append_inline(l);
        check(l, !err || may_refuse(l, err));
        l->refused_full += err == NET_ERR_FULL;
    }
    if (sim_random_below(l->sim, 3))
        again = redex_flush_all(&l->dirty);
    draw_wishes(l);
    note_progress(l);
    if (sim_random_below(l->sim, 32) == 0) {
        check_events(l, UINT64_MAX, UINT64_MAX);
        check_retention(l);
    }
    uint64_t next = io_now(l->io) + sim_random_below(l->sim, 500 * SIM_US);
    return again ? io_now(l->io) : timer_earlier(next, timer_wheel_next(&l->timers));
}

static void on_closed(void *ctx, int err)
{
    struct logger *l = ctx;
    l->closed = true;
    l->close_err = err;
    l->log = NULL;
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
    struct logger *l = node;
    l->log = NULL;
}

const struct sim_node_ops logger_ops = {logger_create, logger_turn, logger_halt, logger_destroy};

/* ---- what a test does with it ---- */

void logger_init(struct logger *l, uint64_t seed)
{
    *l = (struct logger){.seed = seed, .sim = sim_create(seed), .max_bytes = 100000};
    l->host = sim_add_host(l->sim, 1);
}

void logger_deinit(struct logger *l)
{
    sim_destroy(l->sim);
    free(l->model.events);
}

bool logger_start(struct logger *l)
{
    return sim_host_start(l->host, &logger_ops, l);
}

void logger_draw_policy(struct logger *l)
{
    uint64_t kind = sim_random_below(l->sim, 8);
    l->policy = (struct redex_policy){
        .sync_each = sim_random_below(l->sim, 8) == 0,
        .sync_events = sim_random_below(l->sim, 4) ? 0 : 1 + sim_random_below(l->sim, 50),
        .sync_interval_ns = sim_random_below(l->sim, 4) ? 0 : SIM_MS + sim_random_below(l->sim, 5 * SIM_MS),
        .retain_events = kind & 1 ? 1 + sim_random_below(l->sim, 100) : 0,
        .retain_bytes = kind & 2 ? 100 + sim_random_below(l->sim, 20000) : 0,
        .retain_age_ns = kind & 4 ? 100000 + sim_random_below(l->sim, 10 * SIM_MS) : 0,
    };
}

void logger_kill(struct logger *l)
{
    sim_host_kill(l->host);
}

void logger_cut_power(struct logger *l)
{
    sim_host_crash(l->host);
    l->model.cut = true;
}

static bool not_closed(void *ctx)
{
    return !((struct logger *)ctx)->closed;
}

void logger_stop(struct logger *l)
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
