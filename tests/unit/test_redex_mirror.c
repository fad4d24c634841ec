/* What a log is called, and logs that copy another one: extensions.md X7.1, X7.4. Crashes: tests/sim/test_sim_mirror.c
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "storage/redex/redex_internal.h"
#include "tests/support/redex_store.h"

static struct redex_store s;
static const uint8_t other[REDEX_ID_SIZE] = {0xde, 0xad, 0xbe, 0xef};
#define OTHER_TEXT "deadbeef000000000000000000000000\n"

static void setup(void)
{
    redex_store_init(&s);
}

static void teardown(void)
{
    redex_store_deinit(&s);
}

TestSuite(redex_mirror, .init = setup, .fini = teardown);

static void open_log(void)
{
    cr_assert_eq(redex_store_open(&s), NET_OK);
}

static void close_log(void)
{
    cr_assert_eq(redex_store_close(&s), NET_OK);
}

static void id_file(char out[64])
{
    size_t len = redex_store_read(&s, "c/log.id", out, 63);
    out[len] = '\0';
}

/* ---- identity ---- */

Test(redex_mirror, a_log_has_a_name_from_its_first_open_on)
{
    char first[64], now[64];
    uint8_t id[REDEX_ID_SIZE], again[REDEX_ID_SIZE];
    open_log();
    redex_id(s.log, id);
    id_file(first);
    cr_assert_eq(strlen(first), 33);
    cr_assert_eq(strspn(first, "0123456789abcdef"), 32);
    cr_assert_eq(first[32], '\n');
    unsigned byte = 0;
    cr_assert_eq(sscanf(first, "%2x", &byte), 1);
    cr_assert_eq(byte, id[0]);
    redex_store_fill(&s, 0, 5);
    redex_store_sync(&s);
    redex_store_kill(&s);
    open_log();
    redex_id(s.log, again);
    cr_assert_arr_eq(id, again, sizeof id);
    id_file(now);
    cr_assert_str_eq(now, first);
}

Test(redex_mirror, compaction_keeps_the_name)
{
    char first[64], now[64];
    s.options.policy.retain_events = 10;
    s.options.min_dead = 1;
    open_log();
    id_file(first);
    for (uint64_t i = 0; i < 10; i++) {
        redex_store_fill(&s, i * 100, 100);
        redex_store_flush(&s);
        redex_store_flush(&s);
    }
    cr_assert_gt(counter_get(&s.stats.generations), 0);
    close_log();
    id_file(now);
    cr_assert_str_eq(now, first);
}

Test(redex_mirror, a_log_without_a_name_or_with_a_damaged_one_gets_one)
{
    char was[64], now[64];
    static const char *const damaged[] = {"", "deadbeef", "deadbeef00000000000000000000000g\n",
                                          "deadbeef000000000000000000000000\n\n", "DEADBEEF000000000000000000000000\n"};
    redex_store_make(&s, 10);
    id_file(was);
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        redex_store_write(&s, "c/log.id", damaged[i], strlen(damaged[i]));
        open_log();
        redex_store_check(&s, 0, 10);
        close_log();
        id_file(now);
        cr_assert_eq(strspn(now, "0123456789abcdef"), 32, "%s", damaged[i]);
        cr_assert_str_neq(now, was);
    }
}

Test(redex_mirror, a_log_in_memory_has_a_name_of_its_own_at_each_open)
{
    uint8_t first[REDEX_ID_SIZE], second[REDEX_ID_SIZE];
    s.options.mode = REDEX_MEMORY;
    open_log();
    redex_id(s.log, first);
    close_log();
    open_log();
    redex_id(s.log, second);
    cr_assert_arr_neq(first, second, sizeof first);
}

/* ---- mirrors ---- */

static void make(uint64_t start)
{
    s.options.mirror = true;
    s.options.id = other;
    s.options.start = start;
    open_log();
    s.options.id = NULL;
}

/* [first, first + count), two by two with one time. */
static int append_at(uint64_t first, uint32_t count)
{
    uint8_t frames[4096], runs[64 * REDEX_RUN_SIZE], *at = frames, *run = runs;
    for (uint32_t i = 0; i < count; i++) {
        size_t len = redex_store_payload(first + i, (char *)at + 4);
        store_le32(at, (uint32_t)len);
        at += 4 + len;
        bool same = i > 0 && (first + i) % 2 == 1;
        run -= same ? REDEX_RUN_SIZE : 0;
        store_le32(run, same ? 2 : 1);
        store_le64(run + 4, 5000 + (first + i) / 2);
        run += REDEX_RUN_SIZE;
    }
    return redex_append_at(s.log, first, (struct cspan){runs, (size_t)(run - runs)},
                           (struct cspan){frames, (size_t)(at - frames)}, count);
}

static void check(const uint64_t *seqs, size_t count, uint64_t next)
{
    struct redex_event e;
    char payload[64];
    uint64_t seq = 0;
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, &e, 1), 1);
        cr_assert_eq(e.seq, seqs[i], "%zu: %llu", i, (unsigned long long)e.seq);
        cr_assert_eq(e.ts_ns, 5000 + e.seq / 2);
        cr_assert_eq(e.data.len, redex_store_payload(e.seq, payload));
        cr_assert_arr_eq(e.data.data, payload, e.data.len);
    }
    cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, &e, 1), 0);
    cr_assert_eq(redex_next_seq(s.log), next);
}

/* As a follower does: what is refused for now is brought again. */
static void bring(uint64_t first, uint32_t count)
{
    int err;
    for (int i = 0; (err = append_at(first, count)) == NET_ERR_AGAIN && i < 10; i++)
        redex_store_flush(&s);
    cr_assert_eq(err, NET_OK);
}

Test(redex_mirror, has_the_sequences_and_times_of_the_other_log)
{
    char text[64];
    make(7);
    id_file(text);
    cr_assert_str_eq(text, OTHER_TEXT);
    check(NULL, 0, 7);
    bring(7, 3);
    bring(8, 4); /* two of them once more */
    bring(7, 2); /* all of them */
    bring(12, 0);
    check((const uint64_t[]){7, 8, 9, 10, 11}, 5, 12);
    for (int i = 0; i < 2; i++) {
        if (i)
            redex_store_kill(&s);
        else
            close_log();
        open_log();
        check((const uint64_t[]){7, 8, 9, 10, 11}, 5, 12);
        redex_store_sync(&s);
    }
}

Test(redex_mirror, goes_on_behind_a_hole_once_that_is_noted)
{
    make(0);
    bring(0, 4);
    cr_assert_eq(append_at(5, 1), NET_ERR_AGAIN); /* a jump of one bit, which is no flipped one */
    cr_assert_eq(append_at(4, 1), NET_ERR_AGAIN, "not while the hole is being noted");
    check((const uint64_t[]){0, 1, 2, 3}, 4, 4);
    bring(5, 1);
    redex_store_flush(&s);
    check((const uint64_t[]){0, 1, 2, 3, 5}, 5, 6);
    redex_store_kill(&s);
    s.disk.boot[1]++;
    open_log();
    check((const uint64_t[]){0, 1, 2, 3, 5}, 5, 6);
    cr_assert_eq(redex_skip_to(s.log, 100), NET_ERR_AGAIN);
    redex_store_flush(&s);
    cr_assert_eq(redex_skip_to(s.log, 100), NET_OK);
    cr_assert_eq(redex_skip_to(s.log, 50), NET_OK);
    cr_assert_eq(redex_synced_seq(s.log), 100);
    redex_store_kill(&s);
    open_log();
    check((const uint64_t[]){0, 1, 2, 3, 5}, 5, 100);
}

Test(redex_mirror, a_hole_that_cannot_be_noted_is_tried_again_after_a_while)
{
    make(0);
    bring(0, 4);
    redex_store_sync(&s);
    s.disk.write_fault = (struct io_posix_fault){.times = 1000, .err = EIO};
    unsigned writes = s.disk.writes;
    cr_assert_eq(redex_skip_to(s.log, 100), NET_ERR_AGAIN);
    redex_store_flush(&s);
    cr_assert_eq(redex_error(s.log), NET_ERR_IO);
    cr_assert_leq(s.disk.writes, writes + 2, "and not as fast as the disk can fail");
    s.disk.write_fault = (struct io_posix_fault){0};
    s.disk.io.now += 200000000;
    redex_store_flush(&s);
    cr_assert_eq(redex_skip_to(s.log, 100), NET_OK);
}

Test(redex_mirror, in_memory)
{
    s.options.mode = REDEX_MEMORY;
    make(3);
    bring(3, 2);
    cr_assert_eq(append_at(9, 1), NET_OK);
    check((const uint64_t[]){3, 4, 9}, 3, 10);
    cr_assert_eq(redex_written_seq(s.log), 10);
    close_log();
    cr_assert_eq(redex_store_open(&s), NET_ERR_NOT_FOUND);
}

Test(redex_mirror, is_made_once)
{
    s.options.mirror = true;
    cr_assert_eq(redex_store_open(&s), NET_ERR_NOT_FOUND);
    cr_assert_eq(redex_store_size(&s, "c/lock~"), -1);
    make(3);
    close_log();
    s.options.id = other;
    cr_assert_eq(redex_store_open(&s), NET_ERR_EXISTS);
    s.options.id = NULL;
    /* A damaged name: it may be read, but is the mirror of nothing anybody has. */
    redex_store_write(&s, "c/log.id", "?", 1);
    open_log();
    uint8_t id[REDEX_ID_SIZE];
    redex_id(s.log, id);
    cr_assert_arr_neq(id, other, sizeof id);
}

Test(redex_mirror, events_without_a_name_are_nobodys)
{
    redex_store_make(&s, 3);
    char path[256];
    snprintf(path, sizeof path, "%s/c/log.id", s.base);
    cr_assert_eq(remove(path), 0);
    s.options.mirror = true;
    s.options.id = other;
    cr_assert_eq(redex_store_open(&s), NET_ERR_EXISTS);
    s.options.mirror = false;
    s.options.id = NULL;
    open_log();
    redex_store_check(&s, 0, 3);
}

/* Behind the last open, a crash may leave anything: what cannot be read is where the mirror ends. */
Test(redex_mirror, what_a_crash_left_out_comes_again)
{
    make(0);
    bring(0, 10);
    redex_store_flush(&s);
    redex_store_kill(&s);
    redex_store_flip(&s, STORE_DAT, 40, 3);
    open_log();
    uint64_t next = redex_next_seq(s.log);
    cr_assert(next > 0 && next < 10);
    cr_assert_eq(redex_count(s.log), next);
    cr_assert_gt(redex_store_size(&s, "c/dat~1"), 0, "a copy is kept");
    bring(next, (uint32_t)(10 - next));
    check((const uint64_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 10, 10);
}

/* What was synced and then damaged costs one event, as in any log: the others are not asked for again. */
Test(redex_mirror, one_damaged_event_is_one)
{
    make(0);
    bring(0, 10);
    close_log();
    redex_store_flip(&s, STORE_DAT, 40, 3);
    open_log();
    cr_assert_eq(redex_next_seq(s.log), 10);
    cr_assert_eq(redex_count(s.log), 9);
    redex_store_kill(&s);
    open_log();
    cr_assert_eq(redex_next_seq(s.log), 10);
    cr_assert_eq(redex_count(s.log), 9);
}

Test(redex_mirror, the_last_event_comes_again_if_it_is_damaged)
{
    make(0);
    bring(0, 10);
    close_log();
    redex_store_flip(&s, STORE_DAT, (size_t)redex_store_size(&s, STORE_DAT) - 1, 0);
    open_log();
    cr_assert_eq(redex_next_seq(s.log), 9);
}

Test(redex_mirror, malformed_input_appends_nothing)
{
    uint8_t frames[] = {1, 0, 0, 0, 'a', 1, 0, 0, 0, 'b'}, runs[2 * REDEX_RUN_SIZE] = {2};
    struct cspan all = {frames, sizeof frames}, run = {runs, REDEX_RUN_SIZE};
    make(4);
    cr_assert_eq(redex_append_at(s.log, 4, (struct cspan){runs, 11}, all, 2), NET_ERR_FORMAT);
    cr_assert_eq(redex_append_at(s.log, 4, (struct cspan){NULL, 0}, all, 2), NET_ERR_FORMAT);
    cr_assert_eq(redex_append_at(s.log, 4, run, all, 1), NET_ERR_FORMAT);
    cr_assert_eq(redex_append_at(s.log, 4, run, all, 3), NET_ERR_FORMAT);
    cr_assert_eq(redex_append_at(s.log, 4, run, (struct cspan){frames, 9}, 2), NET_ERR_FORMAT);
    frames[5] = 200;
    cr_assert_eq(redex_append_at(s.log, 4, run, all, 2), NET_ERR_FORMAT);
    cr_assert_eq(redex_append_at(s.log, 3, run, all, 2), NET_ERR_FORMAT);
    cr_assert_eq(redex_append_at(s.log, 0, run, all, 2), NET_ERR_FORMAT);
    frames[5] = 1;
    store_le32(runs, UINT32_MAX);
    store_le32(runs + REDEX_RUN_SIZE, 3);
    cr_assert_eq(redex_append_at(s.log, 4, (struct cspan){runs, sizeof runs}, all, 2), NET_ERR_FORMAT);
    store_le32(runs, 2);
    cr_assert_eq(redex_append_at(s.log, UINT64_MAX - 1, run, all, 2), NET_ERR_FULL);
    cr_assert_eq(redex_next_seq(s.log), 4);
    cr_assert_eq(redex_append_at(s.log, 4, run, all, 2), NET_OK);
    cr_assert_eq(redex_next_seq(s.log), 6);
}
