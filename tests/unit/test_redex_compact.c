/* New generations: redex.md 8.4, 24 items 24 to 28; gaps G1, G2, G16. The crash points are in tests/sim. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/err.h"
#include "storage/redex/redex_internal.h"
#include "tests/support/redex_store.h"

enum { KEEP = 8000, MANY = 40000 }; /* events: MANY are more than a megabyte over what is kept */

static struct redex_store s;

static void setup(void)
{
    redex_store_init(&s);
    s.options.policy.retain_events = KEEP;
}

static void teardown(void)
{
    redex_store_deinit(&s);
}

TestSuite(redex_compact, .init = setup, .fini = teardown);

static void turn(void)
{
    redex_store_flush(&s);
}

static void settle(void)
{
    do
        turn();
    while (s.log->compaction || !list_empty(&s.dirty));
}

static void open_full(void)
{
    cr_assert_eq(redex_store_open(&s), NET_OK);
    redex_store_fill(&s, 0, MANY);
}

static bool exists(const char *path)
{
    char full[256];
    snprintf(full, sizeof full, "%s/%s", s.base, path);
    return access(full, F_OK) == 0;
}

static void reopen(uint64_t first, uint64_t end)
{
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert(s.report.dropped_events == 0 && s.report.trimmed_bytes == 0 && !s.report.torn);
    redex_store_check(&s, first, end);
}

Test(redex_compact, a_new_generation) /* items 24, 28 */
{
    uint8_t manifest[16], idx[RECORD_SIZE];
    open_full();
    settle();
    cr_assert_eq(s.log->generation, 2);
    cr_assert_not(exists("c/v0000000001"));
    cr_assert_not(exists("c/manifest.tmp"));
    cr_assert_eq(redex_store_read(&s, "c/manifest", manifest, 16), 16);
    cr_assert_eq(manifest_decode(manifest, 16), 2);
    cr_assert_eq(redex_store_size(&s, "c/v0000000002/idx"), KEEP * RECORD_SIZE);
    cr_assert_eq(redex_store_size(&s, "c/v0000000002/ts"), KEEP * STAMP_SIZE);
    cr_assert_eq(redex_store_size(&s, "c/v0000000002/dat"), (long)redex_bytes(s.log));
    cr_assert_eq(redex_store_read(&s, "c/v0000000002/idx", idx, sizeof idx), sizeof idx);
    cr_assert(record_load(idx).seq == MANY - KEEP && record_load(idx).offset == 0, "the first survivor is at 0");
    redex_store_check(&s, MANY - KEEP, MANY);
    cr_assert_eq(redex_synced_seq(s.log), MANY);
    cr_assert(counter_get(&s.stats.generations) == 1 && counter_get(&s.stats.generation_failures) == 0);
    redex_store_fill(&s, MANY, 10);
    turn();
    redex_store_check(&s, MANY + 10 - KEEP, MANY + 10);
    reopen(MANY + 10 - KEEP, MANY + 10);
}

Test(redex_compact, not_before_it_is_worth_it)
{
    cr_assert_eq(redex_store_open(&s), NET_OK);
    redex_store_fill(&s, 0, KEEP + 15000);
    settle();
    cr_assert_eq(s.log->generation, 1, "less than a megabyte was given up");
    s.options.policy = (struct redex_policy){.retain_events = 100000};
    redex_set_policy(s.log, &s.options.policy);
    redex_store_fill(&s, KEEP + 15000, 150000);
    settle();
    cr_assert_eq(s.log->generation, 1, "less than what is kept was");
    redex_store_check(&s, KEEP + 65000, KEEP + 165000);
}

/* The files never hold much more than twice what is kept, and each byte is rewritten about once. */
Test(redex_compact, the_cost_is_bounded)
{
    cr_assert_eq(redex_store_open(&s), NET_OK);
    s.options.policy.retain_events = 30000;
    redex_set_policy(s.log, &s.options.policy);
    for (uint64_t at = 0; at < 600000; at += 1000) {
        redex_store_fill(&s, at, 1000);
        turn();
        uint64_t bytes = s.log->file[0].len + s.log->file[1].len + s.log->file[2].len;
        uint64_t kept = redex_bytes(s.log) + redex_count(s.log) * (RECORD_SIZE + STAMP_SIZE);
        cr_assert_lt(bytes, 2 * kept + (2 << 20), "at %llu", (unsigned long long)at);
    }
    settle();
    cr_assert_leq(counter_get(&s.stats.generations), 600000 / 30000);
    cr_assert_geq(counter_get(&s.stats.generations), 10);
    reopen(570000, 600000);
}

/* Appends, flushes, reads and syncs at every step of it. */
Test(redex_compact, the_log_goes_on_meanwhile)
{
    uint64_t next = MANY, steps = 0;
    open_full();
    redex_flush_all(&s.dirty);
    cr_assert_not_null(s.log->compaction);
    while (s.log->compaction) {
        redex_store_fill(&s, next, 3);
        next += 3;
        if (steps % 3 == 0)
            redex_want_sync(s.log, next);
        redex_flush_all(&s.dirty);
        uint64_t first = redex_first_seq(s.log);
        redex_store_check(&s, first, next);
        cr_assert_eq(first, next - KEEP);
        io_posix_step(&s.disk);
        steps++;
    }
    cr_assert_gt(steps, 30);
    turn(); /* what is in flight */
    redex_store_sync(&s);
    cr_assert(redex_synced_seq(s.log) == next && redex_error(s.log) == NET_OK);
    reopen(next - KEEP, next);
}

/* Whatever is acknowledged at any step of it is there after a kill at that step. */
Test(redex_compact, killed_at_every_step)
{
    for (unsigned kill = 0, done = 0; !done; kill++) {
        uint64_t next = MANY;
        open_full();
        redex_store_sync(&s);
        redex_set_policy(s.log, &(struct redex_policy){.retain_events = KEEP});
        redex_flush_all(&s.dirty);
        for (unsigned step = 0; step < kill && !done; step++) {
            redex_store_fill(&s, next, 2);
            next += 2;
            redex_flush_all(&s.dirty);
            io_posix_step(&s.disk);
            done = !s.log->compaction;
        }
        uint64_t written = redex_written_seq(s.log);
        redex_store_kill(&s);
        cr_assert_eq(redex_store_open(&s), NET_OK);
        cr_assert_geq(redex_next_seq(s.log), written, "step %u", kill);
        cr_assert_eq(redex_count(s.log), KEEP);
        redex_store_check(&s, redex_next_seq(s.log) - KEEP, redex_next_seq(s.log));
        teardown();
        s.log = NULL;
        setup();
    }
}

/* Runs a compaction whose n-th operation of a kind fails. False if it had no such operation. */
static bool run_failing(enum io_kind kind, unsigned n, int err)
{
    struct io_posix_fault fault = {.after = n, .times = 1, .err = err}, *at = &s.disk.name_fault;
    if (kind == IO_WRITE)
        at = &s.disk.write_fault;
    else if (kind == IO_FDATASYNC)
        at = &s.disk.sync_fault;
    s.disk.name_kinds = 1u << kind;
    cr_assert_eq(redex_store_open(&s), NET_OK);
    s.log->compact_at = UINT64_MAX;
    redex_store_fill(&s, 0, MANY);
    redex_store_sync(&s);
    s.log->compact_at = 0;
    redex_mark_dirty(s.log);
    *at = fault;
    for (int i = 0; i < 200; i++)
        turn();
    bool struck = at->times == 0;
    *at = (struct io_posix_fault){0};
    return struck;
}

Test(redex_compact, failing_before_the_rename) /* items 25, 27; G16 */
{
    static const enum io_kind kinds[] = {IO_MKDIR, IO_OPEN, IO_WRITE, IO_FDATASYNC, IO_RENAME};
    unsigned struck = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (unsigned n = 0; run_failing(kinds[k], n, n % 2 ? EIO : ENOSPC); n++, struck++) {
            cr_assert_eq(s.log->generation, 1, "kind %d, operation %u", kinds[k], n);
            cr_assert(redex_error(s.log) == NET_OK && !s.log->compaction && !s.log->paused);
            cr_assert_eq(counter_get(&s.stats.generation_failures), 1);
            cr_assert(!exists("c/v0000000002") && !exists("c/manifest.tmp"), "kind %d, operation %u", kinds[k], n);
            redex_store_check(&s, MANY - KEEP, MANY);
            redex_store_fill(&s, MANY, 5);
            redex_store_sync(&s);
            cr_assert_eq(redex_synced_seq(s.log), MANY + 5);
            s.disk.io.now += UINT64_C(11000000000);
            timer_wheel_advance(&s.timers, s.disk.io.now);
            for (int i = 0; i < 200; i++)
                turn();
            cr_assert_eq(s.log->generation, 2, "again, later");
            reopen(MANY + 5 - KEEP, MANY + 5);
            teardown();
            s.log = NULL;
            setup();
        }
        teardown();
        s.log = NULL;
        setup();
    }
    cr_assert_gt(struck, 15);
}

/* Item 26, and further: the reference goes on in the new generation. If the name is not on stable storage a power cut
 * may bring the old one back, without what was synced since; so nothing more is acknowledged. */
Test(redex_compact, the_directory_sync_after_the_rename_fails)
{
    uint64_t seq;
    cr_assert(run_failing(IO_FSYNC, 1, EIO));
    cr_assert_eq(redex_error(s.log), NET_ERR_POISONED);
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){(const uint8_t *)"x", 1}, &seq), NET_ERR_POISONED);
    redex_store_check(&s, MANY - KEEP, MANY);
    cr_assert(exists("c/v0000000001/idx") && exists("c/v0000000002/idx"), "either may be the one");
    cr_assert_eq(redex_store_close(&s), NET_ERR_POISONED);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    redex_store_check(&s, MANY - KEEP, MANY);
    cr_assert_eq(redex_next_seq(s.log), MANY);
    reopen(MANY - KEEP, MANY);
}

/* What cannot be tidied up does no harm. */
Test(redex_compact, failing_afterwards)
{
    static const enum io_kind kinds[] = {IO_CLOSE, IO_UNLINK};
    for (size_t k = 0; k < 2; k++) {
        cr_assert(run_failing(kinds[k], 0, EIO));
        cr_assert_eq(s.log->generation, 2);
        cr_assert(redex_error(s.log) == NET_OK && !s.log->compaction);
        reopen(MANY - KEEP, MANY);
        cr_assert_not(exists("c/v0000000001"), "the next open tidies up");
        teardown();
        s.log = NULL;
        setup();
    }
}

static void start_over(void)
{
    teardown();
    s.log = NULL;
    setup();
}

/* A full log without retention, whose last sync failed. */
static void poison(void)
{
    cr_assert_eq(redex_store_open(&s), NET_OK);
    s.log->compact_at = UINT64_MAX;
    redex_store_fill(&s, 0, MANY);
    s.disk.sync_fault = (struct io_posix_fault){.times = 1, .err = EIO};
    redex_store_sync(&s);
    cr_assert_eq(redex_error(s.log), NET_ERR_POISONED);
    s.log->compact_at = 0;
}

Test(redex_compact, refused_when_poisoned)
{
    poison();
    redex_mark_dirty(s.log);
    for (int i = 0; i < 10; i++)
        turn();
    cr_assert(!s.log->compaction && s.log->generation == 1 && list_empty(&s.dirty));
    redex_store_check(&s, MANY - KEEP, MANY);
}

/* Poison that comes while it is under way, at any step, ends it. */
Test(redex_compact, poisoned_meanwhile)
{
    for (unsigned step = 0, done = 0; !done; step++) {
        open_full();
        redex_flush_all(&s.dirty);
        for (unsigned i = 0; i < step && s.log->compaction; i++) {
            io_posix_step(&s.disk);
            redex_flush_all(&s.dirty);
        }
        done = !s.log->compaction;
        redex_set_error(s.log, NET_ERR_POISONED);
        for (int i = 0; i < 100; i++)
            turn();
        cr_assert(!s.log->compaction && s.disk.waiting == 0, "step %u", step);
        redex_store_check(&s, MANY - KEEP, MANY);
        cr_assert_eq(redex_store_close(&s), NET_ERR_POISONED);
        cr_assert_eq(redex_store_open(&s), NET_OK);
        cr_assert_geq(redex_count(s.log) + KEEP, KEEP);
        start_over();
    }
}

Test(redex_compact, closed_at_every_step)
{
    for (unsigned step = 0, done = 0; !done; step++) {
        open_full();
        redex_flush_all(&s.dirty);
        for (unsigned i = 0; i < step && s.log->compaction; i++) {
            io_posix_step(&s.disk);
            redex_flush_all(&s.dirty);
        }
        done = !s.log->compaction;
        cr_assert_eq(redex_store_close(&s), NET_OK, "step %u", step);
        cr_assert(!exists("c/manifest.tmp") && exists("c/v0000000001") != exists("c/v0000000002"), "step %u", step);
        cr_assert(s.syncs.in_flight == 0 && s.syncs.compactions == 0 && list_empty(&s.syncs.waiting));
        cr_assert_eq(redex_store_open(&s), NET_OK);
        redex_store_check(&s, MANY - KEEP, MANY);
        start_over();
    }
}

/* G2: v0000000002 may be the root of somebody's channel, or what could not be deleted. */
Test(redex_compact, a_number_that_is_taken)
{
    open_full();
    redex_store_write(&s, "c/v0000000002/manifest", "theirs", 6);
    settle();
    cr_assert_eq(s.log->generation, 3);
    reopen(MANY - KEEP, MANY);
    cr_assert_eq(redex_store_size(&s, "c/v0000000002/manifest"), 6);
}

/* G1: everything is given up, but the newest event stays in the files: it says where the log goes on. */
Test(redex_compact, giving_up_everything)
{
    s.options.policy = (struct redex_policy){.retain_age_ns = 1000};
    open_full();
    redex_store_sync(&s);
    s.disk.io.wall = UINT64_C(1000000000000);
    s.disk.io.now += 2000000;
    timer_wheel_advance(&s.timers, s.disk.io.now);
    settle();
    cr_assert(redex_count(s.log) == 0 && redex_first_seq(s.log) == MANY && redex_next_seq(s.log) == MANY);
    cr_assert_eq(s.log->generation, 2);
    cr_assert_eq(redex_store_size(&s, "c/v0000000002/idx"), RECORD_SIZE);
    redex_store_kill(&s);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert(redex_count(s.log) == 0 && redex_next_seq(s.log) == MANY);
    uint64_t seq;
    cr_assert_eq(redex_append(s.log, s.disk.io.wall, (struct cspan){(const uint8_t *)"x", 1}, &seq), NET_OK);
    cr_assert_eq(seq, MANY);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert(redex_count(s.log) == 1 && redex_first_seq(s.log) == MANY);
}

Test(redex_compact, inline_events)
{
    uint64_t seq;
    cr_assert_eq(redex_store_open(&s), NET_OK);
    for (int i = 0; i < 100000; i++)
        cr_assert_eq(redex_append_inline(s.log, 1, (const uint8_t *)"\xf0\xff\xff\xff\x01\x00\x00\x80", &seq), NET_OK);
    settle();
    cr_assert_eq(s.log->generation, 2);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert(redex_count(s.log) == KEEP && redex_first_seq(s.log) == 100000 - KEEP && s.report.dropped_events == 0);
    struct redex_event e;
    seq = 0;
    cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, &e, 1), 1);
    cr_assert(e.is_inline && memcmp(e.data.data, "\xf0\xff\xff\xff\x01\x00\x00\x80", 8) == 0);
}

/* A log that goes on for ever under retention never meets the end of its format, nor of its addresses: what does not
 * fit yet waits for the room. The limit is lowered to where a test can reach it. */
static void run_for_long(void)
{
    static uint8_t big[5000];
    uint64_t seq = 0, refused = 0, expect = 0;
    s.options.max_bytes = 4 << 20;
    s.options.policy = (struct redex_policy){.retain_bytes = 3 << 20};
    cr_assert_eq(redex_store_open(&s), NET_OK);
    while (expect < 30000) {
        store_le64(big, expect);
        int err = redex_append(s.log, 1, (struct cspan){big, sizeof big}, &seq);
        cr_assert(err == NET_OK || err == NET_ERR_AGAIN, "%s after %llu", net_err_text(err),
                  (unsigned long long)expect);
        if (err == NET_OK)
            cr_assert_eq(seq, expect++);
        refused += err != NET_OK;
        if (err != NET_OK || expect % 20 == 0)
            turn();
    }
    turn();
    cr_assert_lt(refused, 3000);
    cr_assert_geq(counter_get(&s.stats.generations), 20);
    cr_assert_eq(redex_count(s.log), (3 << 20) / 5020);
    struct redex_event e;
    for (seq = redex_first_seq(s.log), expect = seq; redex_read(s.log, &seq, UINT64_MAX, &e, 1) == 1; expect++)
        cr_assert(e.seq == expect && load_le64(e.data.data) == expect && e.data.len == sizeof big);
    cr_assert_eq(expect, 30000);
}

Test(redex_compact, on_and_on)
{
    run_for_long();
}

Test(redex_compact, on_and_on_in_memory)
{
    s.options.mode = REDEX_MEMORY;
    run_for_long();
    for (int i = 0; i < PARTS; i++) {
        const struct redex_memory *m = &s.log->file[i].memory;
        cr_assert_leq((size_t)(m->base - m->map) + m->committed - m->discarded, (size_t)8 << 20);
    }
}

/* Without addresses running out, payloads stay where they are. */
Test(redex_compact, payloads_do_not_move)
{
    struct redex_event before, after;
    uint64_t seq = MANY - 1;
    open_full();
    cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, &before, 1), 1);
    settle();
    cr_assert_eq(s.log->generation, 2);
    seq = MANY - 1;
    cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, &after, 1), 1);
    cr_assert_eq(before.data.data, after.data.data);
    cr_assert_gt(s.log->file[PART_DAT].memory.discarded, (size_t)300 << 10, "and what was given up is given back");
}

/* No more than a few logs of a shard at a time; the others follow. */
Test(redex_compact, several_logs)
{
    enum { LOGS = 5 };
    struct redex *logs[LOGS];
    struct redex_options options = s.options;
    char name[16];
    cr_assert_eq(redex_store_open(&s), NET_OK);
    options.name = name;
    options.progress = NULL;
    for (int i = 0; i < LOGS; i++) {
        uint64_t seq;
        snprintf(name, sizeof name, "n%d", i);
        cr_assert_eq(redex_open(&logs[i], &s.disk.io, &options, NULL), NET_OK);
        for (int k = 0; k < MANY; k++)
            cr_assert_eq(redex_append(logs[i], 1, (struct cspan){(const uint8_t *)"twenty bytes and so on", 20}, &seq),
                         NET_OK);
    }
    bool more = true;
    while (more) {
        redex_flush_all(&s.dirty);
        cr_assert_leq(s.syncs.compactions, REDEX_COMPACTIONS);
        more = io_posix_step(&s.disk) || !list_empty(&s.dirty);
    }
    for (int i = 0; i < LOGS; i++) {
        cr_assert_eq(logs[i]->generation, 2);
        struct redex *mine = s.log;
        s.log = logs[i];
        cr_assert_eq(redex_store_close(&s), NET_OK);
        s.log = mine;
    }
}

/* A full disk where there is no room for a second copy: the log says no more than that it is full itself. */
Test(redex_compact, a_full_log_says_so)
{
    static uint8_t big[1 << 19];
    uint64_t seq;
    s.options.max_bytes = 1 << 20;
    s.options.policy = (struct redex_policy){.retain_events = 1000};
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){big, sizeof big}, &seq), NET_OK);
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){big, sizeof big}, &seq), NET_OK);
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){big, 1}, &seq), NET_ERR_FULL);
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){big, 0}, &seq), NET_OK);
}
