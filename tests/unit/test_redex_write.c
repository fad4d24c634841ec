/* Appends, reads, flushes, syncs, faults, close: redex.md 24, items 29 to 34, 39, 49; design "Logs", gaps G7, G8, G12.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "core/base/err.h"
#include "storage/redex/redex_internal.h"
#include "tests/support/redex_store.h"

static struct redex_store s;

static void setup(void)
{
    redex_store_init(&s);
}

static void teardown(void)
{
    redex_store_deinit(&s);
}

TestSuite(redex_write, .init = setup, .fini = teardown);

static void open_log(void)
{
    cr_assert_eq(redex_store_open(&s), NET_OK);
}

static struct cspan text(const char *t)
{
    return (struct cspan){(const uint8_t *)t, strlen(t)};
}

static size_t frame(uint8_t *at, const char *t)
{
    store_le32(at, (uint32_t)strlen(t));
    memcpy(at + 4, t, strlen(t));
    return 4 + strlen(t);
}

Test(redex_write, batches) /* items 29, 30 */
{
    uint8_t frames[64];
    uint64_t seq = 99;
    struct redex_event e[8];
    open_log();
    cr_assert_eq(redex_append_frames(s.log, 1, (struct cspan){NULL, 0}, 0, &seq), NET_OK);
    cr_assert_eq(seq, 0);
    cr_assert_eq(redex_next_seq(s.log), 0);
    cr_assert_eq(redex_append(s.log, 1, text("a"), &seq), NET_OK);
    size_t len = frame(frames, "bb");
    len += frame(frames + len, "");
    len += frame(frames + len, "dddd");
    cr_assert_eq(redex_append_frames(s.log, 42, (struct cspan){frames, len}, 3, &seq), NET_OK);
    cr_assert_eq(seq, 1);
    cr_assert_eq(redex_next_seq(s.log), 4);
    cr_assert_eq(redex_bytes(s.log), 7);
    seq = 1;
    cr_assert_eq(redex_read(s.log, &seq, 4, e, 8), 3);
    cr_assert_eq(seq, 4);
    cr_assert(e[0].data.len == 2 && e[1].data.len == 0 && e[2].data.len == 4);
    cr_assert_eq(memcmp(e[2].data.data, "dddd", 4), 0);
    cr_assert(e[0].ts_ns == 42 && e[1].ts_ns == 42 && e[2].ts_ns == 42, "one stamp for all");
}

Test(redex_write, frames_that_do_not_fill_their_length)
{
    uint8_t frames[64];
    uint64_t seq = 0;
    open_log();
    size_t len = frame(frames, "bb");
    len += frame(frames + len, "ccc");
    const struct {
        size_t len;
        uint32_t count;
    } bad[] = {{len, 1}, {len, 3}, {len - 1, 2}, {len + 1, 2}, {len, 0}, {3, 1}, {len, UINT32_MAX}, {0, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(redex_append_frames(s.log, 1, (struct cspan){frames, bad[i].len}, bad[i].count, &seq),
                     NET_ERR_FORMAT, "case %zu", i);
    store_le32(frames, UINT32_MAX);
    cr_assert_eq(redex_append_frames(s.log, 1, (struct cspan){frames, len}, 2, &seq), NET_ERR_FORMAT);
    cr_assert(redex_next_seq(s.log) == 0 && redex_count(s.log) == 0 && redex_unwritten_bytes(s.log) == 0);
    redex_store_fill(&s, 0, 5);
    redex_store_check(&s, 0, 5);
}

/* Items 33, 34: the format's limit is 3 GiB; max_bytes moves it to where a test can reach it. */
Test(redex_write, too_large)
{
    static uint8_t big[1 << 20];
    uint8_t frames[64];
    uint64_t seq;
    s.options.max_bytes = 1 << 20;
    open_log();
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){big, sizeof big - 3}, &seq), NET_OK);
    size_t len = frame(frames, "bb");
    len += frame(frames + len, "cc");
    cr_assert_eq(redex_append(s.log, 1, text("four"), &seq), NET_ERR_FULL);
    cr_assert_eq(redex_append_frames(s.log, 1, (struct cspan){frames, len}, 2, &seq), NET_ERR_FULL);
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){big, REDEX_MAX_BYTES + 1}, &seq), NET_ERR_TOO_LARGE);
    cr_assert_eq(redex_next_seq(s.log), 1);
    cr_assert_eq(redex_append(s.log, 1, text("abc"), &seq), NET_OK);
    cr_assert_eq(redex_append_inline(s.log, 1, big, &seq), NET_OK, "takes no room in dat");
    cr_assert_eq(seq, 2);
}

Test(redex_write, memory_mode)
{
    s.options.mode = REDEX_MEMORY;
    open_log();
    redex_store_fill(&s, 0, 1000);
    redex_store_check(&s, 0, 1000);
    cr_assert(redex_written_seq(s.log) == 1000 && redex_synced_seq(s.log) == 1000);
    redex_want_sync(s.log, 1000);
    redex_flush(s.log);
    cr_assert(s.disk.waiting == 0 && list_empty(&s.dirty) && redex_unwritten_bytes(s.log) == 0);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_size(&s, "c"), -1);
}

/* Growth in many steps: nothing that was read moves. */
Test(redex_write, pointers_stay)
{
    static uint8_t big[100000];
    struct redex_event first;
    uint64_t seq = 0;
    s.options.mode = REDEX_MEMORY;
    open_log();
    redex_store_fill(&s, 0, 1);
    cr_assert_eq(redex_read(s.log, &seq, 1, &first, 1), 1);
    for (int i = 0; i < 400; i++)
        cr_assert_eq(redex_append(s.log, 1, (struct cspan){big, sizeof big}, &seq), NET_OK);
    struct redex_event again;
    seq = 0;
    cr_assert_eq(redex_read(s.log, &seq, 1, &again, 1), 1);
    cr_assert_eq(again.data.data, first.data.data);
    cr_assert_eq(redex_bytes(s.log), 400 * sizeof big + first.data.len);
}

Test(redex_write, reading) /* item 49 */
{
    struct redex_event e[16];
    uint64_t seq;
    open_log();
    redex_store_fill(&s, 0, 10);
    seq = 3;
    cr_assert_eq(redex_read(s.log, &seq, 3, e, 16), 0);
    cr_assert_eq(seq, 3);
    cr_assert_eq(redex_read(s.log, &seq, 8, e, 2), 2);
    cr_assert_eq(seq, 5);
    cr_assert_eq(redex_read(s.log, &seq, 8, e, 16), 3);
    cr_assert_eq(seq, 8);
    cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, e, 16), 2);
    cr_assert_eq(seq, 10);
    cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, e, 16), 0);
    cr_assert_eq(seq, 10, "where the next event will be");
    seq = 50;
    cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, e, 16), 0);
    cr_assert_eq(seq, 50, "waits for what is further on");
    seq = 0;
    cr_assert_eq(redex_read(s.log, &seq, 10, e, 0), 0);
    cr_assert_eq(seq, 0);
}

/* At most one write per file and turn, and none while one is in flight; what came meanwhile goes with the next. */
Test(redex_write, one_flush_in_flight)
{
    open_log();
    redex_store_fill(&s, 0, 100);
    cr_assert_eq(redex_written_seq(s.log), 0);
    redex_flush_all(&s.dirty);
    cr_assert_eq(s.disk.waiting, 3);
    cr_assert(list_empty(&s.dirty));
    redex_store_fill(&s, 100, 100);
    redex_flush_all(&s.dirty);
    cr_assert_eq(s.disk.waiting, 3);
    cr_assert(io_posix_step(&s.disk) && io_posix_step(&s.disk));
    cr_assert(redex_written_seq(s.log) == 0 && s.progress == 0, "all three files, or not written");
    cr_assert(io_posix_step(&s.disk));
    cr_assert(redex_written_seq(s.log) == 100 && s.progress == 1);
    cr_assert_not(list_empty(&s.dirty), "the second hundred wants to be flushed");
    redex_store_flush(&s);
    cr_assert(redex_written_seq(s.log) == 200 && redex_synced_seq(s.log) == 0 && list_empty(&s.dirty));
    cr_assert_eq(s.disk.max_waiting_writes, 3);
    cr_assert_eq(s.disk.syncs, 0);
}

Test(redex_write, inline_events_leave_dat_alone)
{
    uint64_t seq;
    open_log();
    cr_assert_eq(redex_append_inline(s.log, 1, (const uint8_t *)"12345678", &seq), NET_OK);
    redex_flush_all(&s.dirty);
    cr_assert_eq(s.disk.waiting, 2);
    io_posix_run(&s.disk);
    redex_want_sync(s.log, 1);
    cr_assert_eq(s.disk.waiting, 2);
    io_posix_run(&s.disk);
    cr_assert_eq(redex_synced_seq(s.log), 1);
}

Test(redex_write, short_writes_are_finished)
{
    open_log();
    redex_store_fill(&s, 0, 50);
    s.disk.write_fault = (struct io_posix_fault){.times = 40, .at_most = 7};
    redex_store_flush(&s);
    cr_assert_eq(redex_written_seq(s.log), 50);
    cr_assert_geq(s.disk.writes, 43);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    open_log();
    redex_store_check(&s, 0, 50);
}

/* Item 31, as the design has it: the length stays, nothing is truncated, the next flush goes on at the same offset. */
Test(redex_write, a_failed_write_is_repeated)
{
    uint64_t seq;
    open_log();
    redex_store_fill(&s, 0, 10);
    redex_store_flush(&s);
    redex_store_fill(&s, 10, 10);
    for (unsigned file = 0; file < 3; file++) {
        s.disk.write_fault = (struct io_posix_fault){.after = file, .times = 1, .err = file ? EIO : ENOSPC};
        s.disk.io.now += 1000000000;
        redex_store_flush(&s);
        if (file > 0)
            break; /* the first round left one file to write */
        cr_assert_eq(redex_error(s.log), NET_ERR_NO_SPACE);
        cr_assert_eq(redex_append(s.log, 1, text("no"), &seq), NET_ERR_NO_SPACE);
        cr_assert_eq(redex_written_seq(s.log), 10);
        cr_assert_eq(redex_next_seq(s.log), 20, "what was appended stays");
        cr_assert_not(list_empty(&s.dirty));
        unsigned before = s.disk.writes;
        redex_store_flush(&s);
        cr_assert_eq(s.disk.writes, before, "not at once");
    }
    cr_assert_eq(redex_error(s.log), NET_OK);
    cr_assert_eq(redex_written_seq(s.log), 20);
    s.disk.write_fault.times = 0;
    redex_store_fill(&s, 20, 1);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    open_log();
    redex_store_check(&s, 0, 21);
    cr_assert_eq(s.report.dropped_events + s.report.trimmed_bytes, 0);
}

Test(redex_write, a_patient_log_takes_appends_while_writes_fail)
{
    uint64_t seq;
    s.options.patient = true;
    s.options.max_dirty = 4096;
    open_log();
    redex_store_fill(&s, 0, 10);
    s.disk.write_fault = (struct io_posix_fault){.times = 1, .err = ENOSPC};
    redex_store_flush(&s);
    cr_assert_eq(redex_error(s.log), NET_ERR_NO_SPACE);
    redex_store_fill(&s, 10, 10);
    cr_assert_eq(redex_written_seq(s.log), 0);
    int err;
    while ((err = redex_append(s.log, 1, text("more"), &seq)) == NET_OK)
        ;
    cr_assert_eq(err, NET_ERR_AGAIN);
    cr_assert_leq(redex_unwritten_bytes(s.log), 4096);
    s.disk.io.now += 1000000000;
    redex_store_flush(&s);
    cr_assert_eq(redex_error(s.log), NET_OK);
    cr_assert_eq(redex_written_seq(s.log), seq + 1);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    open_log();
    cr_assert_eq(redex_count(s.log), seq + 1);
    cr_assert_eq(s.report.dropped_events + s.report.trimmed_bytes, 0);
}

Test(redex_write, any_of_the_three_writes_may_fail)
{
    for (unsigned file = 0; file < 3; file++) {
        uint64_t from = file * 10;
        if (!s.log)
            open_log();
        redex_store_fill(&s, from, 10);
        s.disk.write_fault = (struct io_posix_fault){.after = file, .times = 1, .err = EIO};
        redex_store_flush(&s);
        cr_assert_eq(redex_error(s.log), NET_ERR_IO);
        cr_assert_eq(redex_written_seq(s.log), from);
        s.disk.io.now += 1000000000;
        redex_store_flush(&s);
        cr_assert_eq(redex_error(s.log), NET_OK);
        cr_assert_eq(redex_written_seq(s.log), from + 10);
    }
    cr_assert_eq(redex_store_close(&s), NET_OK);
    open_log();
    redex_store_check(&s, 0, 30);
}

Test(redex_write, sync_follows_the_writes)
{
    open_log();
    redex_store_fill(&s, 0, 10);
    redex_want_sync(s.log, 10);
    cr_assert_eq(s.disk.waiting, 0, "nothing is written yet");
    redex_flush_all(&s.dirty);
    io_posix_step(&s.disk), io_posix_step(&s.disk);
    cr_assert_eq(s.disk.waiting, 1, "no sync before the last write");
    io_posix_step(&s.disk);
    cr_assert_eq(s.disk.waiting, 3, "three at once");
    redex_want_sync(s.log, 5);
    cr_assert_eq(s.disk.waiting, 3, "covered by the one in flight");
    redex_store_fill(&s, 10, 10);
    redex_want_sync(s.log, 15);
    redex_flush_all(&s.dirty);
    cr_assert_eq(s.disk.waiting, 6, "writes go on beside a sync");
    io_posix_step(&s.disk), io_posix_step(&s.disk), io_posix_step(&s.disk);
    cr_assert(redex_synced_seq(s.log) == 10 && redex_written_seq(s.log) == 10);
    io_posix_run(&s.disk);
    cr_assert_eq(redex_synced_seq(s.log), 20);
    cr_assert_eq(s.disk.syncs, 6);
    redex_want_sync(s.log, UINT64_MAX);
    cr_assert_eq(s.disk.waiting, 0);
}

/* A steady stream of wishes: each is met by the next sync, not by the one after the stream has ended. */
Test(redex_write, wishes_do_not_starve)
{
    open_log();
    for (uint64_t turn = 0; turn < 20; turn++) {
        redex_store_fill(&s, turn, 1);
        redex_want_sync(s.log, turn + 1);
        redex_flush_all(&s.dirty);
        for (int i = 0; i < 6; i++)
            io_posix_step(&s.disk);
        cr_assert_geq(redex_synced_seq(s.log) + 2, turn, "turn %llu", (unsigned long long)turn);
    }
}

/* Item 32, G8: what the kernel could not sync is gone; no later sync can be believed. */
Test(redex_write, a_failed_sync_poisons)
{
    uint64_t seq;
    open_log();
    redex_store_fill(&s, 0, 10);
    redex_store_sync(&s);
    redex_store_fill(&s, 10, 10);
    s.disk.sync_fault = (struct io_posix_fault){.after = 1, .times = 1, .err = EIO};
    redex_store_sync(&s);
    cr_assert_eq(redex_error(s.log), NET_ERR_POISONED);
    cr_assert_eq(redex_synced_seq(s.log), 10);
    cr_assert_eq(redex_append(s.log, 1, text("no"), &seq), NET_ERR_POISONED);
    cr_assert_eq(redex_append_inline(s.log, 1, (const uint8_t *)"12345678", &seq), NET_ERR_POISONED);
    redex_store_check(&s, 0, 20);
    redex_store_sync(&s);
    cr_assert_eq(redex_synced_seq(s.log), 10);
    cr_assert_eq(redex_store_close(&s), NET_ERR_POISONED, "G12: and close says so");
    open_log();
    cr_assert_eq(redex_append(s.log, 1, text("yes"), &seq), NET_OK);
    cr_assert_eq(seq, 20);
}

/* What the page cache holds after a failed sync may not be on the disk, and no later sync puts it there. So what was
 * read from it is written anew, once; not so after a boot, when it was read from the disk. */
Test(redex_write, after_a_failed_sync_the_next_open_writes_anew)
{
    for (int boot = 0; boot < 2; boot++) {
        open_log();
        uint32_t before = s.log->generation;
        redex_store_fill(&s, redex_next_seq(s.log), 10);
        s.disk.sync_fault = (struct io_posix_fault){.times = 1, .err = EIO};
        redex_store_sync(&s);
        cr_assert_eq(redex_error(s.log), NET_ERR_POISONED);
        redex_store_kill(&s);
        s.disk.boot[0] = (uint8_t)(s.disk.boot[0] + boot);
        open_log();
        cr_assert_eq(s.log->generation, boot ? before : before + 1);
        cr_assert(s.report.dropped_events == 0 && redex_count(s.log) == 10 + 10 * (uint64_t)boot);
        cr_assert_eq(redex_store_size(&s, "c/idx~1"), -1, "nothing was wrong: nothing is set aside");
        before = s.log->generation;
        redex_store_kill(&s);
        open_log();
        cr_assert_eq(s.log->generation, before, "once");
        cr_assert_eq(redex_store_close(&s), NET_OK);
    }
}

/* The reservation's record is in the queue behind the syncs, and fails after them: that changes nothing. */
Test(redex_write, poison_outlasts_other_failures)
{
    static uint8_t frames[4 * (REDEX_BLOCK / 2)];
    uint64_t seq;
    open_log();
    redex_store_fill(&s, 0, 10);
    redex_store_flush(&s);
    redex_want_sync(s.log, 10);
    struct cspan half_a_block = {frames, sizeof frames};
    cr_assert_eq(redex_append_frames(s.log, 1, half_a_block, REDEX_BLOCK / 2, &seq), NET_OK);
    redex_flush_all(&s.dirty);
    s.disk.sync_fault = (struct io_posix_fault){.times = 1, .err = EIO};
    s.disk.write_fault = (struct io_posix_fault){.times = 1, .err = EIO};
    io_posix_run(&s.disk);
    cr_assert_eq(s.disk.write_fault.times, 0, "the record was written");
    cr_assert_eq(redex_error(s.log), NET_ERR_POISONED);
    s.disk.io.now += 1000000000;
    redex_store_sync(&s);
    cr_assert_eq(redex_error(s.log), NET_ERR_POISONED);
    cr_assert_eq(redex_synced_seq(s.log), 0);
}

Test(redex_write, max_dirty)
{
    static uint8_t big[5000];
    uint64_t seq;
    s.options.max_dirty = 4000;
    open_log();
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){big, sizeof big}, &seq), NET_OK, "alone, any size is let in");
    cr_assert_eq(redex_append(s.log, 1, text("x"), &seq), NET_ERR_AGAIN);
    redex_store_flush(&s);
    cr_assert_eq(s.progress, 1);
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){big, 3000}, &seq), NET_OK);
    cr_assert_eq(redex_unwritten_bytes(s.log), 3028);
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){big, 945}, &seq), NET_ERR_AGAIN);
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){big, 944}, &seq), NET_OK);
    cr_assert_eq(redex_next_seq(s.log), 3);
}

static void on_closed(void *ctx, int err)
{
    *(int *)ctx = err;
    s.log = NULL;
}

Test(redex_write, close_writes_syncs_and_lets_go) /* item 39 */
{
    int err = 1;
    uint64_t seq;
    open_log();
    redex_store_fill(&s, 0, 10);
    redex_flush_all(&s.dirty);
    redex_store_fill(&s, 10, 10);
    redex_close(s.log, on_closed, &err);
    cr_assert_eq(err, 1, "not before it is done");
    cr_assert_eq(redex_append(s.log, 1, text("late"), &seq), NET_ERR_CLOSED);
    redex_store_check(&s, 0, 20);
    unsigned progress = s.progress;
    io_posix_run(&s.disk);
    cr_assert(err == NET_OK && s.progress == progress && list_empty(&s.dirty));
    cr_assert_eq(s.disk.syncs, 4, "three files and the mark of a clean stop");
    open_log();
    redex_store_check(&s, 0, 20);
    cr_assert_not(s.report.unclean);
}

Test(redex_write, close_says_what_it_could_not_do)
{
    open_log();
    redex_store_fill(&s, 0, 10);
    redex_store_sync(&s);
    redex_store_fill(&s, 10, 10);
    s.disk.write_fault = (struct io_posix_fault){.times = 100, .err = ENOSPC};
    redex_store_flush(&s);
    cr_assert_eq(redex_error(s.log), NET_ERR_NO_SPACE);
    cr_assert_eq(redex_store_close(&s), NET_ERR_NO_SPACE);
    s.disk.write_fault.times = 0;
    open_log();
    redex_store_check(&s, 0, 10);
    cr_assert_eq(redex_store_close(&s), NET_OK);

    open_log();
    redex_store_fill(&s, 10, 10);
    s.disk.write_fault = (struct io_posix_fault){.times = 3, .err = ENOSPC};
    redex_store_flush(&s);
    s.disk.write_fault.times = 0;
    cr_assert_eq(redex_store_close(&s), NET_OK, "the last try succeeded");
    open_log();
    redex_store_check(&s, 0, 20);
}
