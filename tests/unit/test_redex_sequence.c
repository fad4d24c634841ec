/* A sequence never names two events: the reservation. design "Logs"; reserve.c; gap G1. */
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

TestSuite(redex_sequence, .init = setup, .fini = teardown);

static void open_log(void)
{
    cr_assert_eq(redex_store_open(&s), NET_OK);
}

/* The machine lost power: what is in the three files goes, and the boot id changes. */
static void lose_power(void)
{
    redex_store_kill(&s);
    redex_store_truncate(&s, STORE_DAT, 0);
    redex_store_truncate(&s, STORE_IDX, 0);
    redex_store_truncate(&s, STORE_TS, 0);
    s.disk.boot[3]++;
}

Test(redex_sequence, a_clean_stop_leaves_no_hole)
{
    for (uint64_t i = 0; i < 5; i++) {
        open_log();
        cr_assert_not(s.report.unclean);
        redex_store_fill(&s, i * 10, 10);
        cr_assert_eq(redex_store_close(&s), NET_OK);
        s.disk.boot[0]++;
    }
    open_log();
    redex_store_check(&s, 0, 50);
}

Test(redex_sequence, a_kill_goes_on_behind_what_was_written)
{
    open_log();
    redex_store_fill(&s, 0, 10);
    redex_store_flush(&s);
    redex_store_fill(&s, 10, 10); /* never written; nobody was told a sequence */
    redex_store_kill(&s);
    open_log();
    cr_assert_not(s.report.unclean);
    redex_store_check(&s, 0, 10);
    redex_store_fill(&s, 10, 5);
}

Test(redex_sequence, a_power_cut_goes_on_behind_what_may_have_been_seen)
{
    open_log();
    redex_store_fill(&s, 0, 10);
    redex_store_flush(&s);
    lose_power();
    open_log();
    cr_assert(s.report.unclean);
    cr_assert_eq(redex_next_seq(s.log), REDEX_BLOCK);
    cr_assert_eq(redex_count(s.log), 0);
    redex_store_fill(&s, REDEX_BLOCK, 3);
    lose_power();
    open_log();
    cr_assert_eq(redex_next_seq(s.log), 2 * REDEX_BLOCK, "nothing of the last run is left, and still");
    redex_store_fill(&s, 2 * REDEX_BLOCK, 3);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    s.disk.boot[3]++;
    open_log();
    redex_store_check(&s, 2 * REDEX_BLOCK, 2 * REDEX_BLOCK + 3);
}

Test(redex_sequence, an_unknown_boot_is_another_boot)
{
    memset(s.disk.boot, 0, sizeof s.disk.boot);
    open_log();
    redex_store_fill(&s, 0, 10);
    redex_store_flush(&s);
    redex_store_kill(&s);
    open_log();
    cr_assert(s.report.unclean);
    cr_assert_eq(redex_next_seq(s.log), REDEX_BLOCK);
    cr_assert_eq(redex_count(s.log), 10);
}

/* Inline events, as many as a block, in few calls. */
static int append_many(uint32_t count, uint64_t *first)
{
    static uint8_t frames[4 * (REDEX_BLOCK + 10)]; /* empty events */
    return redex_append_frames(s.log, 1, (struct cspan){frames, (size_t)count * 4}, count, first);
}

Test(redex_sequence, the_next_block_is_reserved_in_time)
{
    uint64_t first;
    open_log();
    cr_assert_eq(append_many(REDEX_BLOCK / 2 - 1, &first), NET_OK);
    redex_store_flush(&s);
    cr_assert_eq(s.disk.syncs, 0);
    cr_assert_eq(append_many(1, &first), NET_OK);
    redex_store_flush(&s);
    cr_assert_eq(s.disk.syncs, 1, "half of the block is used");
    cr_assert_eq(append_many(REDEX_BLOCK, &first), NET_OK);
    cr_assert_eq(append_many(1, &first), NET_ERR_AGAIN, "not before the record is synced");
    cr_assert_eq(redex_next_seq(s.log), REDEX_BLOCK + REDEX_BLOCK / 2);
    s.progress = 0;
    redex_store_flush(&s);
    cr_assert_gt(s.progress, 0);
    cr_assert_eq(append_many(1, &first), NET_OK);
    lose_power();
    open_log();
    cr_assert_eq(redex_next_seq(s.log), 5 * REDEX_BLOCK / 2 + 1);
}

Test(redex_sequence, more_than_a_block_at_once)
{
    uint64_t first;
    open_log();
    cr_assert_eq(append_many(REDEX_BLOCK + 1, &first), NET_ERR_AGAIN);
    cr_assert_not(list_empty(&s.dirty), "an append that was refused asks for the flush that helps");
    redex_store_flush(&s);
    cr_assert_eq(append_many(REDEX_BLOCK + 1, &first), NET_OK);
    cr_assert_eq(first, 0);
}

Test(redex_sequence, a_reservation_that_fails)
{
    uint64_t first;
    open_log();
    cr_assert_eq(append_many(REDEX_BLOCK, &first), NET_OK);
    s.disk.write_fault = (struct io_posix_fault){.times = 1, .err = EIO}; /* the record is written first */
    redex_store_flush(&s);
    cr_assert_eq(append_many(1, &first), NET_ERR_AGAIN);
    s.disk.io.now += 1000000000;
    redex_flush(s.log);
    io_posix_run(&s.disk);
    cr_assert_eq(append_many(1, &first), NET_OK);
    cr_assert_eq(append_many(REDEX_BLOCK / 2, &first), NET_OK);
    s.disk.sync_fault = (struct io_posix_fault){.times = 1, .err = EIO};
    redex_store_flush(&s);
    cr_assert_eq(redex_error(s.log), NET_ERR_POISONED);
    redex_store_kill(&s);
    s.disk.boot[0]++;
    open_log();
    cr_assert_geq(redex_next_seq(s.log), 2 * REDEX_BLOCK);
}

/* Whatever happens to the file, the log never goes on below what was reserved. */
Test(redex_sequence, every_bit_of_the_newest_record)
{
    uint8_t good[4096 + SEQ_SLOT_SIZE];
    open_log();
    redex_store_fill(&s, 0, 4);
    redex_store_kill(&s);
    open_log();
    redex_store_fill(&s, 0, 4);
    lose_power();
    cr_assert_eq(redex_store_read(&s, "c/seq~", good, sizeof good), sizeof good);
    for (size_t bit = 0; bit < SEQ_SLOT_SIZE * 8; bit++) {
        redex_store_write(&s, "c/seq~", good, sizeof good);
        redex_store_flip(&s, "c/seq~", 4096 + bit / 8, (unsigned)bit % 8);
        open_log();
        cr_assert_geq(redex_next_seq(s.log), REDEX_BLOCK, "bit %zu", bit);
        uint64_t next = redex_next_seq(s.log);
        cr_assert_eq(redex_store_close(&s), NET_OK);
        open_log();
        cr_assert_eq(redex_next_seq(s.log), next, "bit %zu: the damage is gone", bit);
        cr_assert_eq(redex_store_close(&s), NET_OK);
    }
}

/* A crash while the file was made: nothing was given away yet. */
Test(redex_sequence, an_empty_file_reserved_nothing)
{
    static uint8_t zeros[4096 + SEQ_SLOT_SIZE];
    for (size_t len = 0; len <= sizeof zeros; len += sizeof zeros / 4) {
        redex_store_write(&s, "c/seq~", zeros, len);
        open_log();
        cr_assert_eq(redex_next_seq(s.log), 0);
        cr_assert_not(s.report.unclean);
        cr_assert_eq(redex_store_close(&s), NET_OK);
    }
}

/* The reference appends to our store, ours goes on behind it. */
Test(redex_sequence, events_beyond_the_record)
{
    uint8_t seq_file[4096 + SEQ_SLOT_SIZE];
    open_log();
    redex_store_fill(&s, 0, 3);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    size_t len = redex_store_read(&s, "c/seq~", seq_file, sizeof seq_file);
    open_log();
    redex_store_fill(&s, 3, 3);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    redex_store_write(&s, "c/seq~", seq_file, len);
    open_log();
    redex_store_check(&s, 0, 6);
    cr_assert_eq(redex_next_seq(s.log), 6);
}
