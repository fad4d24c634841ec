/*
 * Power cuts. The three files are synced in parallel, so each may be anywhere between its last completed sync and its
 * last write, or hold zeros there, whatever the others are. Recovery has to take every combination: what was reported
 * as synced is there, nothing appears that was not appended, no sequence is given away twice.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "core/base/err.h"
#include "storage/redex/redex_internal.h"
#include "tests/support/redex_store.h"
#include "tests/support/splitmix.h"

enum { EVENTS = 4096 };

struct event {
    uint64_t seq;
    size_t len;
    uint8_t data[40];
    bool is_inline;
    bool durable; /* it was reported as synced */
    bool lost;    /* a crash took it */
};

static struct event log_of[EVENTS];
static size_t appended;

static const char *path_of(uint32_t generation, int part, char out[64])
{
    snprintf(out, 64, "c/v%010u/%s", generation, redex_part_name[part]);
    return out;
}

static void append(struct redex_store *s, uint64_t *rng)
{
    struct event *e = &log_of[appended];
    uint64_t r = splitmix(rng);
    *e = (struct event){.is_inline = r % 4 == 0};
    e->len = e->is_inline ? 8 : r / 4 % 40;
    for (size_t i = 0; i < e->len; i++)
        e->data[i] = (uint8_t)(splitmix(rng) >> 8);
    int err = e->is_inline ? redex_append_inline(s->log, 7, e->data, &e->seq)
                           : redex_append(s->log, 7, (struct cspan){e->data, e->len}, &e->seq);
    cr_assert_eq(err, NET_OK);
    cr_assert(appended == 0 || e->seq > log_of[appended - 1].seq, "sequence %llu again", (unsigned long long)e->seq);
    appended++;
}

static void mark_durable(struct redex_store *s)
{
    for (size_t i = 0; i < appended && log_of[i].seq < redex_synced_seq(s->log); i++)
        log_of[i].durable = !log_of[i].lost;
}

static void check_lost(size_t k, const char *what)
{
    cr_assert_not(log_of[k].durable, "%s: event %zu is lost", what, k);
    log_of[k].lost = true;
}

/* What is left of an opened log: everything durable, in order, and nothing else but what was appended. */
static void check(struct redex_store *s, const char *what)
{
    struct redex_event e;
    uint64_t seq = 0;
    size_t k = 0;
    while (redex_read(s->log, &seq, UINT64_MAX, &e, 1) == 1) {
        for (; k < appended && log_of[k].seq != e.seq; k++)
            check_lost(k, what);
        cr_assert_lt(k, appended, "%s: event %llu was never appended", what, (unsigned long long)e.seq);
        cr_assert(log_of[k].is_inline == e.is_inline && log_of[k].len == e.data.len &&
                      memcmp(log_of[k].data, e.data.data, e.data.len) == 0,
                  "%s: event %zu is another", what, k);
        k++;
    }
    for (; k < appended; k++)
        check_lost(k, what);
    cr_assert(appended == 0 || redex_next_seq(s->log) > log_of[appended - 1].seq, "%s: next %llu", what,
              (unsigned long long)redex_next_seq(s->log));
}

/* Lengths a file may have after the cut: what is synced, what is written, and something between. */
enum { CUTS = 4 };

static void cuts_of(struct redex_store *s, int part, long out[CUTS], uint64_t *rng)
{
    char path[64];
    long synced = (long)s->log->file[part].synced;
    long written = redex_store_size(s, path_of(s->log->generation, part, path));
    out[0] = synced;
    out[1] = written;
    for (int i = 2; i < CUTS; i++)
        out[i] = synced + (long)splitmix_below(rng, (uint64_t)(written - synced + 1));
}

/* Cuts the file, or leaves its length and puts zeros where the data was not written back. */
static void cut(struct redex_store *s, const char *path, long at, bool zeros)
{
    static uint8_t bytes[1 << 20];
    size_t len = redex_store_read(s, path, bytes, sizeof bytes);
    if (zeros)
        memset(bytes + at, 0, len - (size_t)at);
    redex_store_write(s, path, bytes, zeros ? len : (size_t)at);
}

static void try_all_cuts(struct redex_store *s, uint64_t *rng)
{
    long at[PARTS][CUTS];
    for (int part = 0; part < PARTS; part++)
        cuts_of(s, part, at[part], rng);
    for (int i = 0; i < CUTS * CUTS * CUTS; i++) {
        struct redex_store crashed;
        char what[128], path[64];
        int which[PARTS] = {i % CUTS, i / CUTS % CUTS, i / CUTS / CUTS};
        bool zeros = splitmix_below(rng, 3) == 0;
        snprintf(what, sizeof what, "dat %ld idx %ld ts %ld%s", at[PART_DAT][which[PART_DAT]],
                 at[PART_IDX][which[PART_IDX]], at[PART_TS][which[PART_TS]], zeros ? " zeros" : "");
        redex_store_init_from(&crashed, s->base);
        crashed.disk.boot[5] = 1; /* another boot */
        for (int part = 0; part < PARTS; part++)
            cut(&crashed, path_of(s->log->generation, part, path), at[part][which[part]], zeros);
        for (int again = 0; again < 2; again++) {
            cr_assert_eq(redex_store_open(&crashed), NET_OK, "%s", what);
            cr_assert(again == 0 || crashed.report.dropped_events + crashed.report.trimmed_bytes == 0, "%s", what);
            check(&crashed, what);
            cr_assert_eq(redex_store_close(&crashed), NET_OK);
        }
        redex_store_deinit(&crashed);
        for (size_t k = 0; k < appended; k++)
            log_of[k].lost = false; /* it was only a might-have-been */
    }
}

/* Some turns of a node: appends, a flush, now and then a wish to sync, and not every operation completes. */
static void live(struct redex_store *s, uint64_t *rng, int turns)
{
    for (int turn = 0; turn < turns; turn++) {
        for (uint64_t n = splitmix_below(rng, 12); n > 0; n--)
            append(s, rng);
        redex_flush_all(&s->dirty);
        if (splitmix_below(rng, 3) == 0)
            redex_want_sync(s->log, redex_next_seq(s->log));
        for (uint64_t n = splitmix_below(rng, 8); n > 0; n--)
            io_posix_step(&s->disk);
        mark_durable(s);
    }
}

Test(redex_crash, every_combination_of_cuts)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct redex_store s;
        uint64_t rng = seed;
        appended = 0;
        redex_store_init(&s);
        cr_assert_eq(redex_store_open(&s), NET_OK);
        for (int i = 0; i < 4; i++) {
            live(&s, &rng, 3);
            try_all_cuts(&s, &rng);
        }
        cr_assert_eq(redex_store_close(&s), NET_OK);
        redex_store_deinit(&s);
    }
}

/* After a kill the log goes on behind what was written. What was not had been told to nobody and is forgotten. */
static void forget_unwritten(struct redex_store *s, uint64_t written)
{
    while (appended && log_of[appended - 1].seq >= redex_next_seq(s->log)) {
        cr_assert_geq(log_of[appended - 1].seq, written);
        appended--;
    }
}

/* Again and again on the same store: crash, recover, go on. A kill keeps what was written, a power cut what was synced.
 */
Test(redex_crash, a_life_of_crashes)
{
    struct redex_store s;
    uint64_t rng = 77, written = 0;
    bool power = false;
    appended = 0;
    redex_store_init(&s);
    for (int i = 0; i < 120; i++) {
        long at[PARTS][CUTS];
        char path[64];
        cr_assert_eq(redex_store_open(&s), NET_OK);
        if (!power)
            forget_unwritten(&s, written);
        check(&s, "life");
        live(&s, &rng, 2);
        for (int part = 0; part < PARTS; part++)
            cuts_of(&s, part, at[part], &rng);
        uint32_t generation = s.log->generation;
        bool zeros = splitmix_below(&rng, 4) == 0;
        power = splitmix_below(&rng, 2);
        written = redex_written_seq(s.log);
        redex_store_kill(&s);
        s.disk.boot[5] = (uint8_t)(s.disk.boot[5] + power);
        for (int part = 0; power && part < PARTS; part++)
            cut(&s, path_of(generation, part, path), at[part][2 + splitmix_below(&rng, 2)], zeros);
    }
    cr_assert_gt(appended, 500);
    redex_store_deinit(&s);
}
