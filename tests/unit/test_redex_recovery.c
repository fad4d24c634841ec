/* Damaged files: redex.md 24, items 11 to 18, 50, 63, 65; gaps G1, G3, G4, G12 to G15. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "shards/reactor/reactor_internal.h"
#include "storage/redex/redex_internal.h"
#include "tests/support/redex_store.h"

static struct redex_store s;
static struct redex_event events[64];
static size_t count;

static void setup(void)
{
    redex_store_init(&s);
}

static void teardown(void)
{
    redex_store_deinit(&s);
}

TestSuite(redex_recovery, .init = setup, .fini = teardown);

static void append_text(const char *text)
{
    uint64_t seq;
    struct cspan payload = {(const uint8_t *)text, strlen(text)};
    cr_assert_eq(redex_append(s.log, 1000000 + redex_next_seq(s.log), payload, &seq), NET_OK);
}

/* heap "first", inline, heap "second", inline, heap "third" */
static void make_mixed(void)
{
    uint64_t seq;
    cr_assert_eq(redex_store_open(&s), NET_OK);
    append_text("first");
    cr_assert_eq(redex_append_inline(s.log, 1000001, (const uint8_t *)"inline01", &seq), NET_OK);
    append_text("second");
    cr_assert_eq(redex_append_inline(s.log, 1000003, (const uint8_t *)"inline03", &seq), NET_OK);
    append_text("third");
    cr_assert_eq(redex_store_close(&s), NET_OK);
}

static void open_and_read(void)
{
    uint64_t seq = 0;
    cr_assert_eq(redex_store_open(&s), NET_OK);
    count = redex_read(s.log, &seq, UINT64_MAX, events, 64);
    cr_assert_eq(count, redex_count(s.log));
}

static void expect_event(size_t i, uint64_t seq, const char *text)
{
    cr_assert_lt(i, count);
    cr_assert_eq(events[i].seq, seq);
    cr_assert_eq(events[i].data.len, strlen(text), "event %zu", i);
    cr_assert_eq(memcmp(events[i].data.data, text, strlen(text)), 0, "event %zu", i);
}

Test(redex_recovery, a_torn_idx_is_cut) /* item 11 */
{
    redex_store_make(&s, 6);
    redex_store_truncate(&s, STORE_IDX, 5 * 20 + 7);
    open_and_read();
    cr_assert_eq(count, 5);
    cr_assert(s.report.torn);
    cr_assert_eq(redex_store_size(&s, STORE_IDX), 100);
    cr_assert_eq(redex_store_size(&s, STORE_TS), 40);
    cr_assert_eq(redex_store_size(&s, "c/idx~1"), 7);
    cr_assert_gt(redex_store_size(&s, "c/dat~1"), 0);
}

Test(redex_recovery, a_torn_dat_loses_only_what_it_held) /* items 12, 13, 14, and the inline events after the cut */
{
    make_mixed();
    redex_store_truncate(&s, STORE_DAT, 5 + 6 + 4);
    open_and_read();
    cr_assert_eq(count, 4);
    cr_assert_eq(redex_next_seq(s.log), 5, "the lost event's sequence is not used again");
    cr_assert_eq(redex_store_close(&s), NET_OK);

    redex_store_truncate(&s, STORE_DAT, 3);
    open_and_read();
    cr_assert_eq(count, 2);
    expect_event(0, 1, "inline01");
    expect_event(1, 3, "inline03");
    cr_assert_eq(redex_damaged(s.log), 2);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    open_and_read();
    cr_assert_eq(count, 2);
    cr_assert_eq(s.report.dropped_events, 0);
    cr_assert_eq(redex_next_seq(s.log), 5);
}

Test(redex_recovery, extra_dat_is_cut_and_kept_aside) /* item 15 */
{
    uint8_t bytes[4096];
    redex_store_make(&s, 3);
    size_t len = redex_store_read(&s, STORE_DAT, bytes, sizeof bytes);
    memcpy(bytes + len, "stray", 5);
    redex_store_write(&s, STORE_DAT, bytes, len + 5);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    redex_store_check(&s, 0, 3);
    cr_assert_eq(s.report.trimmed_bytes, 5);
    cr_assert_eq(redex_store_size(&s, STORE_DAT), (long)len);
    cr_assert_eq(redex_store_read(&s, "c/dat~1", bytes, sizeof bytes), 5);
    cr_assert_eq(memcmp(bytes, "stray", 5), 0);
}

static struct {
    bool copied, named, cut;
} order;

static int note_open(struct io *io, const char *path, int flags, mode_t mode, io_handle *out)
{
    if (strstr(path, "~1"))
        order.copied = true, order.named = false;
    return reactor_plain.open(io, path, flags, mode, out);
}

static int note_sync_dir(struct io *io, const char *path)
{
    (void)io;
    size_t root = strlen(s.base) + strlen("/c");
    if (strlen(path) == root && order.copied)
        order.named = true;
    return 0;
}

static int note_truncate(struct io *io, io_handle h, uint64_t len)
{
    cr_expect(order.copied && order.named, "cut before the copy and its name were on the disk");
    order.cut = true;
    return reactor_plain.truncate(io, h, len);
}

/* The files are synced after the cut, so a power cut may take the name of a copy, but not the cut. */
Test(redex_recovery, copies_have_their_names_before_anything_is_cut)
{
    redex_store_make(&s, 6);
    redex_store_truncate(&s, STORE_DAT, redex_store_size(&s, STORE_DAT) - 1);
    s.disk.plain.open = note_open;
    s.disk.plain.sync_dir = note_sync_dir;
    s.disk.plain.truncate = note_truncate;
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert(order.cut);
    redex_store_check(&s, 0, 5);
}

Test(redex_recovery, copies_set_aside_are_bounded)
{
    redex_store_make(&s, 3);
    for (int i = 0; i < 7; i++) {
        uint8_t bytes[4096];
        size_t len = redex_store_read(&s, STORE_DAT, bytes, sizeof bytes);
        memset(bytes + len, 'x', (size_t)i + 1);
        redex_store_write(&s, STORE_DAT, bytes, len + (size_t)i + 1);
        cr_assert_eq(redex_store_open(&s), NET_OK);
        cr_assert_eq(redex_store_close(&s), NET_OK);
    }
    cr_assert_eq(redex_store_size(&s, "c/dat~1"), 7);
    cr_assert_eq(redex_store_size(&s, "c/dat~4"), 4);
    cr_assert_eq(redex_store_size(&s, "c/dat~5"), -1);
}

Test(redex_recovery, a_flipped_payload_drops_one_event) /* items 16, 50; G3 */
{
    cr_assert_eq(redex_store_open(&s), NET_OK);
    append_text("one"), append_text("two"), append_text("three"), append_text("four");
    cr_assert_eq(redex_store_close(&s), NET_OK);
    redex_store_flip(&s, STORE_DAT, 4, 2);
    for (int again = 0; again < 3; again++) {
        open_and_read();
        cr_assert_eq(count, 3);
        expect_event(0, 0, "one");
        expect_event(1, 2, "three");
        expect_event(2, 3, "four");
        cr_assert_eq(events[0].ts_ns, 1000000);
        cr_assert_eq(events[1].ts_ns, 1000002);
        cr_assert_eq(events[2].ts_ns, 1000003);
        cr_assert_eq(s.report.dropped_events, again == 0);
        cr_assert_not(s.report.timestamps_lost);
        uint64_t seq = 1;
        cr_assert_eq(redex_read(s.log, &seq, 2, events, 1), 0);
        cr_assert_eq(redex_store_close(&s), NET_OK);
    }
    cr_assert_eq(redex_store_size(&s, "c/v0000000002/idx"), 60);
    cr_assert_eq(redex_store_size(&s, "c/v0000000001"), -1);
    cr_assert_eq(redex_store_size(&s, "c/idx~1"), 80, "the records as they were");
    cr_assert_eq(redex_store_size(&s, "c/v0000000002/dat"), 12, "and no gap");
    cr_assert_eq(redex_store_size(&s, "c/dat~1"), 12, "from the gap on");
}

Test(redex_recovery, ts_missing_short_long) /* items 17, 18; G4 */
{
    char full[256];
    redex_store_make(&s, 4);
    snprintf(full, sizeof full, "%s/%s", s.base, STORE_TS);
    cr_assert_eq(remove(full), 0);
    open_and_read();
    cr_assert(s.report.timestamps_lost);
    cr_assert_eq(count, 4);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(events[i].ts_ns, 1000);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    s.disk.io.wall = 2000;
    open_and_read();
    cr_assert_eq(events[3].ts_ns, 1000, "the times that were given stay");
    cr_assert_not(s.report.timestamps_lost);
    cr_assert_eq(redex_store_close(&s), NET_OK);

    redex_store_truncate(&s, STORE_TS, 4 * 8 + 11);
    open_and_read();
    cr_assert_eq(count, 4);
    cr_assert_eq(events[3].ts_ns, 1000);
    cr_assert_eq(redex_store_size(&s, STORE_TS), 32);
    cr_assert_eq(redex_store_close(&s), NET_OK);

    redex_store_truncate(&s, STORE_IDX, 0);
    open_and_read();
    cr_assert_eq(count, 0);
    cr_assert_eq(redex_store_size(&s, STORE_TS), 0, "or the next events would get these");
}

/* Item 63, G15: one flipped bit anywhere in idx, of heap and inline events. A checksum covers inline payloads only. */
Test(redex_recovery, one_bit_of_idx)
{
    uint8_t good[PARTS][256];
    size_t len[PARTS];
    static const char *const paths[PARTS] = {STORE_DAT, STORE_IDX, STORE_TS};
    static const char *const texts[] = {"first", "inline01", "second", "inline03", "third"};
    make_mixed();
    for (int i = 0; i < PARTS; i++)
        len[i] = redex_store_read(&s, paths[i], good[i], sizeof good[i]);

    for (size_t bit = 0; bit < len[PART_IDX] * 8; bit++) {
        struct redex_store t;
        redex_store_init(&t);
        redex_store_write(&t, "c/manifest", "", 0);
        for (int i = 0; i < PARTS; i++)
            redex_store_write(&t, paths[i], good[i], len[i]);
        redex_store_flip(&t, STORE_IDX, bit / 8, (unsigned)bit % 8);
        cr_assert_eq(redex_store_open(&t), NET_OK);

        size_t record = bit / 160, at = bit / 8 % 20, inline_payload = record % 2 == 1 && at >= 8 && at < 16;
        struct redex_event e[8];
        uint64_t seq = 0;
        size_t n = redex_read(t.log, &seq, UINT64_MAX, e, 8);
        cr_assert_eq(n, 5 - inline_payload, "bit %zu: %zu events", bit, n);
        for (size_t i = 0; i < n; i++) {
            size_t want = i + (inline_payload && i >= record);
            cr_assert_eq(e[i].seq, want, "bit %zu", bit);
            cr_assert_eq(e[i].data.len, strlen(texts[want]), "bit %zu", bit);
            cr_assert_eq(memcmp(e[i].data.data, texts[want], e[i].data.len), 0, "bit %zu", bit);
            cr_assert_eq(e[i].ts_ns, 1000000 + want, "bit %zu", bit);
        }
        cr_assert_eq(redex_next_seq(t.log), 5, "bit %zu", bit);
        cr_assert_eq(t.report.trimmed_bytes, 0);
        cr_assert_eq(redex_store_close(&t), NET_OK);
        redex_store_deinit(&t);
    }
}

Test(redex_recovery, the_last_event_dropped_is_not_replaced) /* item 65, G1 */
{
    redex_store_make(&s, 5);
    redex_store_flip(&s, STORE_DAT, (size_t)redex_store_size(&s, STORE_DAT) - 1, 0);
    for (int again = 0; again < 3; again++) {
        cr_assert_eq(redex_store_open(&s), NET_OK);
        redex_store_check(&s, 0, 4);
        cr_assert_eq(redex_next_seq(s.log), 5);
        cr_assert_eq(redex_first_seq(s.log), 0);
        if (again == 1)
            redex_store_kill(&s);
        else
            cr_assert_eq(redex_store_close(&s), NET_OK);
    }
    cr_assert_eq(redex_store_open(&s), NET_OK);
    append_text("after");
    cr_assert_eq(redex_store_close(&s), NET_OK);
    open_and_read();
    expect_event(4, 5, "after");
}

/* 5 looks like a flipped 4, and 4 was lost: the hole is ours, the seq file knows. */
Test(redex_recovery, a_hole_is_not_taken_for_a_flipped_bit)
{
    redex_store_make(&s, 5);
    redex_store_flip(&s, STORE_DAT, (size_t)redex_store_size(&s, STORE_DAT) - 1, 0);
    for (int again = 0; again < 4; again++) {
        open_and_read();
        cr_assert_eq(s.report.repaired_fields, 0);
        if (again == 0)
            append_text("after");
        else
            expect_event(4, 5, "after");
        cr_assert_eq(redex_next_seq(s.log), 6);
        if (again % 2)
            redex_store_kill(&s);
        else
            cr_assert_eq(redex_store_close(&s), NET_OK);
    }
}

/* G1: the reference dropped the last event, gave its sequence to another, and left both records in idx. */
Test(redex_recovery, a_sequence_the_reference_used_twice)
{
    uint8_t idx[128];
    cr_assert_eq(redex_store_open(&s), NET_OK);
    append_text("zero"), append_text("one"), append_text("two"), append_text("late");
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_read(&s, STORE_IDX, idx, sizeof idx), 80);
    store_le64(idx + 60, 2);
    redex_store_write(&s, STORE_IDX, idx, 80);
    redex_store_flip(&s, STORE_DAT, 7, 0);
    redex_store_write(&s, "c/seq~", "", 0);
    open_and_read();
    cr_assert_eq(count, 3);
    expect_event(2, 2, "late");
    cr_assert_eq(redex_next_seq(s.log), 3);
}

Test(redex_recovery, nothing_left_does_not_start_again_at_0) /* G1 */
{
    redex_store_make(&s, 9);
    redex_store_truncate(&s, STORE_DAT, 0);
    redex_store_truncate(&s, STORE_IDX, 0);
    redex_store_truncate(&s, STORE_TS, 0);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert_eq(redex_count(s.log), 0);
    cr_assert_eq(redex_next_seq(s.log), 9);
    cr_assert_eq(redex_first_seq(s.log), 9);
}

Test(redex_recovery, the_last_sequence_there_is) /* G13 */
{
    uint8_t idx[32];
    uint64_t seq = 0;
    cr_assert_eq(redex_store_open(&s), NET_OK);
    append_text("x");
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_read(&s, STORE_IDX, idx, sizeof idx), 20);
    store_le64(idx, UINT64_MAX);
    redex_store_write(&s, STORE_IDX, idx, 20);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert_eq(redex_next_seq(s.log), UINT64_MAX);
    cr_assert_eq(redex_append(s.log, 1, (struct cspan){(const uint8_t *)"y", 1}, &seq), NET_ERR_FULL);
    seq = 0;
    cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, events, 1), 0);
    cr_assert_eq(seq, UINT64_MAX);
}

/* Runs of damage: neighbours a few records away still decide. */
Test(redex_recovery, several_wrong_sequences)
{
    redex_store_make(&s, 12);
    redex_store_flip(&s, STORE_IDX, 5 * 20 + 6, 1);
    redex_store_flip(&s, STORE_IDX, 6 * 20 + 5, 3);
    redex_store_flip(&s, STORE_IDX, 7 * 20, 1);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    redex_store_check(&s, 0, 12);
    cr_assert_eq(s.report.repaired_fields, 3);
}

Test(redex_recovery, a_hole_of_zeros_in_idx)
{
    uint8_t idx[400] = {0}, zeros[40] = {0};
    redex_store_make(&s, 12);
    cr_assert_eq(redex_store_read(&s, STORE_IDX, idx, sizeof idx), 240);
    memcpy(idx + 80, zeros, 40);
    redex_store_write(&s, STORE_IDX, idx, 280); /* and two records of zeros at the end */
    open_and_read();
    cr_assert_eq(count, 10);
    cr_assert_eq(events[3].seq, 3);
    cr_assert_eq(events[4].seq, 6);
    cr_assert_eq(redex_next_seq(s.log), 12, "zeros were never an event");
}

/* Its checksum agrees at any offset; one that is too low would pass for payloads out of order. */
Test(redex_recovery, an_empty_event_at_a_wrong_offset)
{
    uint8_t idx[60];
    cr_assert_eq(redex_store_open(&s), NET_OK);
    append_text("before"), append_text(""), append_text("behind");
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_read(&s, STORE_IDX, idx, sizeof idx), 60);
    cr_assert_eq(load_le32(idx + 28), 6);
    store_le32(idx + 28, 0); /* redex.md 3.1: u32 offset at 8 of the record */
    redex_store_write(&s, STORE_IDX, idx, sizeof idx);
    open_and_read();
    cr_assert_eq(count, 3);
    expect_event(1, 1, "");
    expect_event(2, 2, "behind");
    cr_assert_eq(s.report.repaired_fields, 1);
    cr_assert(s.log->ascending);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_read(&s, "c/v0000000002/idx", idx, sizeof idx), 60);
    cr_assert_eq(load_le32(idx + 28), 6);
}

/* A gap of dropped events counts against no limit: there is room for as much as was lost. */
Test(redex_recovery, room_comes_back_where_events_were_dropped)
{
    char text[1001] = {0};
    uint8_t idx[200];
    memset(text, 'x', 1000);
    s.options.max_bytes = 12000; /* dat may have a third more */
    cr_assert_eq(redex_store_open(&s), NET_OK);
    for (int i = 0; i < 10; i++)
        append_text(text);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_read(&s, STORE_IDX, idx, sizeof idx), 200);
    memset(idx + 20, 0, 160);
    redex_store_write(&s, STORE_IDX, idx, sizeof idx);
    open_and_read();
    cr_assert_eq(count, 2);
    expect_event(0, 0, text);
    expect_event(1, 9, text);
    for (int i = 0; i < 10; i++)
        append_text(text);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    open_and_read();
    cr_assert_eq(count, 12);
    expect_event(11, 19, text);
}

/* A repair that has no room changes nothing and leaves nothing behind (G16). */
Test(redex_recovery, a_failed_repair_can_be_repeated)
{
    redex_store_make(&s, 6);
    redex_store_flip(&s, STORE_DAT, 0, 0);
    for (unsigned failing = 0;; failing++) {
        s.disk.plain_write_fault = (struct io_posix_fault){.after = failing, .times = 1, .err = ENOSPC};
        int err = redex_store_open(&s);
        if (err == NET_OK)
            break;
        cr_assert_eq(err, NET_ERR_NO_SPACE);
        cr_assert_eq(redex_store_size(&s, STORE_IDX), 120);
        cr_assert_eq(redex_store_size(&s, "c/v0000000002"), -1);
        cr_assert_lt(failing, 10);
    }
    s.disk.plain_write_fault.times = 0;
    cr_assert_eq(redex_count(s.log), 5);
    cr_assert_eq(redex_first_seq(s.log), 1);
    cr_assert_eq(redex_next_seq(s.log), 6);
}

/* A directory or file that cannot be synced, after the manifest's rename too (item 26): the reference goes on, we do
 * not open; and whichever generation the manifest came to name, the next open has everything. */
Test(redex_recovery, a_sync_that_fails_can_be_repeated)
{
    redex_store_make(&s, 6);
    redex_store_flip(&s, STORE_DAT, 0, 0);
    unsigned failing = 0;
    for (;; failing++) {
        s.disk.plain_sync_fault = (struct io_posix_fault){.after = failing, .times = 1, .err = EIO};
        int err = redex_store_open(&s);
        if (err == NET_OK)
            break;
        cr_assert_eq(err, NET_ERR_IO);
        cr_assert_lt(failing, 20);
    }
    cr_assert_geq(failing, 6, "three files, two directories, the manifest");
    s.disk.plain_sync_fault.times = 0;
    cr_assert_eq(redex_count(s.log), 5);
    cr_assert(redex_first_seq(s.log) == 1 && redex_next_seq(s.log) == 6);
    redex_store_fill(&s, 6, 2);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert_eq(redex_count(s.log), 7);
}

/* Nothing is to be read there, and no writer will ever come: the open must not wait for one. */
Test(redex_recovery, a_pipe_in_the_place_of_idx, .timeout = 10)
{
    char path[256];
    redex_store_make(&s, 1);
    for (enum redex_part part = PART_DAT; part <= PART_IDX; part++) {
        snprintf(path, sizeof path, "%s/%s", s.base, part == PART_IDX ? STORE_IDX : STORE_DAT);
        cr_assert_eq(unlink(path), 0);
    }
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(redex_store_open(&s), NET_ERR_INVALID);
}

/* A dat of more than 4 GiB: what lies behind 2^32 cannot be what a record with a wrong offset meant. */
Test(redex_recovery, no_repair_by_an_offset_that_no_record_can_hold)
{
    enum { LEN = 64, TAIL = 16 };
    const uint64_t start = UINT32_MAX - 15, end = start + LEN; /* of the first payload */
    struct redex r = {0};
    uint8_t idx[2 * RECORD_SIZE], ts[2 * STAMP_SIZE] = {0};
    uint8_t *dat = mmap(NULL, end + TAIL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cr_assert_neq(dat, MAP_FAILED);
    memset(dat + start, 'a', LEN);
    memset(dat + end, 'b', TAIL);
    record_store(idx, (struct record){0, (uint32_t)start, LEN, record_sum(dat + start, LEN)});
    record_store(idx + RECORD_SIZE, (struct record){1, 5, TAIL, record_sum(dat + end, TAIL)});
    r.file[PART_DAT].memory.base = dat;
    r.file[PART_IDX].memory.base = idx;
    r.file[PART_TS].memory.base = ts;
    struct redex_scan scan;
    redex_scan(&r, sizeof idx, end + TAIL, sizeof ts, 1, &(struct redex_seq_state){0}, &scan);
    cr_expect_eq(scan.kept, 1);
    cr_expect_eq(scan.dropped, 1, "not kept with another offset than the checksum was found at");
    cr_assert_eq(munmap(dat, end + TAIL), 0);
}

Test(redex_recovery, files_beyond_the_format)
{
    redex_store_make(&s, 1);
    redex_store_truncate(&s, STORE_DAT, (8L << 30) + 1);
    cr_assert_eq(redex_store_open(&s), NET_ERR_TOO_LARGE);
    cr_assert_eq(redex_store_size(&s, STORE_DAT), (8L << 30) + 1);
    redex_store_truncate(&s, STORE_DAT, 1);
}
