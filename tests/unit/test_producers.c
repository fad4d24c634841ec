/* What the owner of a log remembers of its producers, and how it outlives the process. extensions.md X8 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/err.h"
#include "storage/producers/producers_internal.h"
#include "storage/redex/record.h"
#include "tests/support/redex_store.h"

enum { DAY = 86400 };
#define SECOND UINT64_C(1000000000)

static struct redex_store s;
static struct producers *p;
static struct list dirty;
static struct producers_options options;
static char root[160];
static unsigned progress;
static bool closed;

static void on_progress(void *ctx, struct producers *who)
{
    (void)ctx;
    cr_assert_eq(who, p);
    progress++;
}

static void setup(void)
{
    redex_store_init(&s);
    list_init(&dirty);
    snprintf(root, sizeof root, "%s/c", s.base);
    progress = 0;
    options = (struct producers_options){.root = root,
                                         .max = 8,
                                         .dirty = &dirty,
                                         .timers = &s.timers,
                                         .syncs = &s.syncs,
                                         .stats = &s.stats,
                                         .progress = on_progress};
}

static void open_all(void)
{
    cr_assert_eq(producers_open(&p, &s.disk.io, &options), NET_OK);
    s.options.torn = producers_torn;
    s.options.torn_ctx = p;
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert_eq(producers_begin(p, s.log), NET_OK);
}

static void on_closed(void *ctx)
{
    (void)ctx;
    closed = true;
    p = NULL;
}

static void close_all(void)
{
    closed = false;
    producers_close(p, on_closed, NULL);
    io_posix_run(&s.disk);
    cr_assert(closed);
    cr_assert_eq(redex_store_close(&s), NET_OK);
}

/* As kill -9. */
static void kill_all(void)
{
    redex_store_kill(&s);
    p->op.pending = false;
    producers_free(p);
    p = NULL;
}

static void teardown(void)
{
    if (p)
        kill_all();
    redex_store_deinit(&s);
}

TestSuite(producers, .init = setup, .fini = teardown);

/* One turn: what is dirty is submitted, and everything waited for. */
static void run(void)
{
    for (int i = 0; i < 4; i++) {
        producers_flush_all(&dirty);
        redex_store_flush(&s);
    }
}

static struct producers_append make(uint8_t id, uint64_t sequence, uint32_t count)
{
    return (struct producers_append){.id = {id}, .sequence = sequence, .sum = sequence * 1000 + count, .count = count};
}

static enum producers_verdict look(uint8_t id, uint64_t sequence, uint32_t count)
{
    struct producers_append a = make(id, sequence, count);
    struct producers_answer answer;
    return producers_look(p, &a, &answer);
}

/* The first log sequence of what is known. */
static uint64_t known(uint8_t id, uint64_t sequence, uint32_t count)
{
    struct producers_append a = make(id, sequence, count);
    struct producers_answer answer;
    cr_assert_eq(producers_look(p, &a, &answer), PRODUCERS_KNOWN);
    return answer.first_seq;
}

static uint64_t append(uint8_t id, uint64_t sequence, uint32_t count, bool durable)
{
    static const uint8_t zeros[400];
    struct producers_append a = make(id, sequence, count);
    struct producers_answer answer;
    uint64_t first;
    cr_assert_eq(producers_look(p, &a, &answer), PRODUCERS_NEW);
    cr_assert_eq(redex_append_frames(s.log, s.disk.io.wall, (struct cspan){zeros, count * 4}, count, &first), NET_OK);
    return producers_note(p, &a, first, durable);
}

Test(producers, each_sequence_is_new_once)
{
    open_all();
    append(1, 0, 2, false);
    append(1, 1, 3, false);
    append(2, 0, 1, false);
    cr_assert_eq(known(1, 0, 2), 0);
    cr_assert_eq(known(1, 1, 3), 2);
    cr_assert_eq(known(2, 0, 1), 5);
    cr_assert_eq(look(1, 2, 1), PRODUCERS_NEW);
    cr_assert_eq(look(1, 3, 1), PRODUCERS_GAP);
    cr_assert_eq(look(1, UINT64_MAX, 1), PRODUCERS_GAP);
    cr_assert_eq(look(1, 1, 2), PRODUCERS_CONFLICT);
    cr_assert_eq(look(3, 4, 1), PRODUCERS_TOO_OLD, "nobody knows what its first ones were");
    run();
    close_all();
}

Test(producers, an_append_of_nothing_makes_a_producer_known)
{
    open_all();
    append(1, 0, 0, true);
    run();
    kill_all();
    open_all();
    cr_assert_eq(known(1, 0, 0), 0);
    cr_assert_eq(look(1, 1, 5), PRODUCERS_NEW);
    close_all();
}

Test(producers, the_last_64_answers_are_remembered)
{
    open_all();
    for (uint64_t i = 0; i < 200; i++) {
        append(1, i, 1, false);
        run();
        for (uint64_t back = i > 63 ? i - 63 : 0; back <= i; back++)
            cr_assert_eq(known(1, back, 1), back);
        cr_assert(i < 64 || look(1, i - 64, 1) == PRODUCERS_TOO_OLD);
    }
    kill_all();
    open_all();
    cr_assert_eq(known(1, 199, 1), 199);
    cr_assert_eq(known(1, 136, 1), 136);
    cr_assert_eq(look(1, 135, 1), PRODUCERS_TOO_OLD);
    cr_assert_eq(look(1, 200, 1), PRODUCERS_NEW);
    close_all();
}

Test(producers, those_used_longest_ago_are_forgotten_for_new_ones)
{
    open_all();
    for (uint8_t id = 1; id <= 8; id++) {
        append(id, 0, 1, false);
        run();
    }
    append(1, 1, 1, false);
    run();
    append(9, 0, 1, false);
    run();
    cr_assert_eq(producers_count(p), 8);
    cr_assert_eq(look(2, 1, 1), PRODUCERS_TOO_OLD, "2 went, for it was the oldest");
    cr_assert_eq(known(1, 1, 1), 8);
    cr_assert_eq(known(9, 0, 1), 9);
    close_all();
}

Test(producers, none_is_forgotten_while_its_answer_is_waited_for)
{
    open_all();
    for (uint8_t id = 1; id <= 8; id++)
        append(id, 0, 1, false);
    cr_assert_eq(look(9, 0, 1), PRODUCERS_FULL);
    run();
    cr_assert_eq(look(9, 0, 1), PRODUCERS_NEW);
    close_all();
}

Test(producers, are_forgotten_by_age)
{
    options.age_ns = DAY * SECOND;
    open_all();
    append(1, 0, 1, false);
    run();
    s.disk.io.wall += DAY * SECOND / 2;
    append(2, 0, 1, false);
    run();
    cr_assert_eq(known(1, 0, 1), 0);
    s.disk.io.wall += DAY * SECOND / 2 + 2000;
    cr_assert_eq(look(1, 1, 1), PRODUCERS_TOO_OLD);
    cr_assert_eq(known(2, 0, 1), 1);
    kill_all();
    s.disk.io.wall += DAY * SECOND;
    open_all();
    cr_assert_eq(producers_count(p), 0);
    close_all();
}

Test(producers, events_are_not_written_before_their_intents)
{
    open_all();
    redex_store_fill(&s, 0, 3);
    append(1, 0, 4, false);
    uint64_t first = redex_next_seq(s.log);
    redex_store_flush(&s); /* the log alone */
    cr_assert_eq(redex_written_seq(s.log), 3, "what came before is written");
    redex_store_flush(&s);
    cr_assert_eq(redex_written_seq(s.log), 3);
    cr_assert_eq(producers_stored(p), 1);
    producers_flush_all(&dirty);
    append(2, 0, 1, false); /* while the intent is on its way */
    redex_flush_all(&s.dirty);
    cr_assert_eq(redex_written_seq(s.log), 3);
    io_posix_run(&s.disk);
    cr_assert_eq(producers_stored(p), 2);
    redex_flush_all(&s.dirty);
    io_posix_run(&s.disk);
    cr_assert_eq(redex_written_seq(s.log), first, "up to the next one's");
    run();
    cr_assert_eq(redex_written_seq(s.log), first + 1);
    cr_assert_gt(progress, 0);
    close_all();
}

Test(producers, durable_ones_are_synced_before)
{
    open_all();
    append(1, 0, 1, false);
    run(); /* the file is made, and synced by that */
    unsigned syncs = s.disk.syncs;
    append(1, 1, 1, false);
    run();
    cr_assert_eq(s.disk.syncs, syncs);
    uint64_t number = append(1, 2, 1, true);
    producers_flush_all(&dirty);
    cr_assert(io_posix_step(&s.disk)); /* the write */
    redex_flush_all(&s.dirty);
    cr_assert_eq(redex_written_seq(s.log), 2);
    cr_assert_leq(producers_synced(p), number);
    run();
    cr_assert_eq(s.disk.syncs, syncs + 1);
    cr_assert_gt(producers_synced(p), number);
    cr_assert_eq(redex_written_seq(s.log), 3);
    close_all();
}

Test(producers, an_intent_is_synced_when_somebody_asks_later)
{
    open_all();
    append(1, 0, 1, false);
    run();
    uint64_t number = append(1, 1, 1, false);
    run();
    cr_assert_leq(producers_synced(p), number);
    producers_want_sync(p, number);
    run();
    cr_assert_gt(producers_synced(p), number);
    close_all();
}

Test(producers, what_did_not_come_true_is_new_again)
{
    open_all();
    append(1, 0, 2, true);
    run();
    append(1, 1, 2, true);
    producers_flush_all(&dirty);
    io_posix_run(&s.disk); /* the intent is there, its events are not */
    cr_assert_eq(producers_synced(p), 3);
    kill_all();
    open_all();
    cr_assert_eq(known(1, 0, 2), 0);
    cr_assert_eq(look(1, 1, 2), PRODUCERS_NEW);
    redex_store_fill(&s, 2, 2); /* somebody else's, with the sequences that were announced */
    run();
    kill_all();
    open_all();
    cr_assert_eq(look(1, 1, 2), PRODUCERS_NEW, "these are not its events");
    close_all();
}

/* The process ends when the index holds `records` of the events of an append of 3. */
static void tear(long records)
{
    open_all();
    redex_store_fill(&s, 0, 2);
    append(1, 0, 3, true);
    run();
    kill_all();
    redex_store_truncate(&s, STORE_IDX, (2 + records) * RECORD_SIZE);
    char path[200];
    snprintf(path, sizeof path, "%s/producers~", root); /* before the mark */
    cr_assert_eq(truncate(path, INTENT_SIZE), 0);
    open_all();
}

Test(producers, events_of_half_an_append_are_left_out)
{
    tear(2);
    redex_store_check(&s, 0, 2);
    cr_assert_eq(redex_next_seq(s.log), 4, "their sequences were used");
    cr_assert_eq(look(1, 0, 3), PRODUCERS_NEW);
    append(1, 0, 3, true);
    run();
    kill_all();
    open_all();
    cr_assert_eq(known(1, 0, 3), 4);
    cr_assert_eq(redex_count(s.log), 5);
    close_all();
}

Test(producers, a_whole_append_is_known_and_a_lost_one_is_new)
{
    tear(3);
    cr_assert_eq(known(1, 0, 3), 2);
    close_all();
    redex_store_deinit(&s);
    setup();
    tear(0);
    cr_assert_eq(look(1, 0, 3), PRODUCERS_NEW);
    close_all();
}

Test(producers, what_comes_behind_half_an_append_of_others_stays)
{
    open_all();
    append(1, 0, 3, true); /* 0, 1, 2 */
    append(1, 1, 1, true); /* 3: of the same producer, so it is not true either */
    append(2, 0, 2, true); /* 4, 5 */
    run();
    kill_all();
    char path[200];
    snprintf(path, sizeof path, "%s/producers~", root);
    cr_assert_eq(truncate(path, 3 * INTENT_SIZE), 0);
    static const uint8_t nothing[RECORD_SIZE];
    snprintf(path, sizeof path, "%s/%s", s.base, STORE_IDX); /* a power cut lost the record of 1 */
    int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, nothing, sizeof nothing, RECORD_SIZE), (ssize_t)sizeof nothing);
    close(fd);
    open_all();
    cr_assert_eq(known(2, 0, 2), 4);
    cr_assert_eq(look(1, 0, 3), PRODUCERS_NEW);
    cr_assert_eq(redex_first_seq(s.log), 4);
    cr_assert_eq(redex_count(s.log), 2);
    close_all();
}

Test(producers, an_event_lost_later_does_not_make_its_append_new)
{
    open_all();
    append(1, 0, 3, true);
    run();
    s.disk.io.now += 2 * SECOND;
    timer_wheel_advance(&s.timers, s.disk.io.now);
    run(); /* the mark is written */
    kill_all();
    redex_store_flip(&s, STORE_IDX, RECORD_SIZE + 19, 3); /* a checksum and its length: beyond repair */
    redex_store_flip(&s, STORE_IDX, RECORD_SIZE + 17, 1);
    redex_store_flip(&s, STORE_IDX, RECORD_SIZE + 16, 1);
    open_all();
    cr_assert_eq(redex_count(s.log), 2, "the other two stay");
    cr_assert_eq(known(1, 0, 3), 0);
    close_all();
}

Test(producers, a_spoiled_record_costs_only_itself)
{
    open_all();
    append(1, 0, 1, true);
    append(2, 0, 1, true);
    append(3, 0, 1, true);
    run();
    close_all();
    redex_store_flip(&s, "c/producers~", INTENT_SIZE + 40, 2);
    open_all();
    cr_assert_eq(known(1, 0, 1), 0);
    cr_assert_eq(known(3, 0, 1), 2);
    cr_assert_eq(look(2, 1, 1), PRODUCERS_TOO_OLD);
    close_all();
    cr_assert_eq(redex_store_size(&s, "c/producers~") % INTENT_SIZE, 0);
}

/* Intents between are missing: what is forgotten for it is not found again by the next open, which believes less. */
Test(producers, what_was_forgotten_stays_so)
{
    static const uint64_t orders[][4] = {{0, 1, 2, 9}, {9, 0, 1, 2}};
    for (int k = 0; k < 2; k++) {
        uint8_t file[4 * INTENT_SIZE];
        for (uint8_t i = 0; i < 4; i++) {
            struct intent in = {.append = make(1, orders[k][i], 1), .first_seq = orders[k][i]};
            intent_encode(&in, file + (size_t)i * INTENT_SIZE);
        }
        if (k == 0)
            redex_store_make(&s, 3);
        redex_store_write(&s, "c/producers~", file, sizeof file);
        open_all();
        cr_assert_eq(producers_records(p), 1);
        kill_all();
        open_all();
        cr_assert_leq(producers_records(p), 1, "order %d", k);
        close_all();
    }
}

Test(producers, a_torn_tail_is_cut_off)
{
    open_all();
    append(1, 0, 1, true);
    append(1, 1, 1, true);
    run();
    kill_all();
    redex_store_truncate(&s, "c/producers~", INTENT_SIZE + 17);
    open_all();
    cr_assert_eq(known(1, 0, 1), 0);
    cr_assert_eq(redex_store_size(&s, "c/producers~"), 2 * INTENT_SIZE, "an intent and a mark");
    append(2, 0, 1, true);
    run();
    kill_all();
    open_all();
    cr_assert_eq(known(2, 0, 1), 2);
    close_all();
}

Test(producers, the_file_stays_short)
{
    options.max = 2;
    open_all();
    for (uint64_t i = 0; i < 5000; i++) {
        append(1, i, 1, i % 7 == 0);
        run();
    }
    cr_assert_leq(redex_store_size(&s, "c/producers~"), 64 << 10);
    cr_assert_eq(redex_written_seq(s.log), 5000);
    kill_all();
    open_all();
    cr_assert_eq(known(1, 4999, 1), 4999);
    close_all();
}

Test(producers, a_failed_write_is_tried_again)
{
    open_all();
    append(1, 0, 1, false);
    run();
    s.disk.write_fault = (struct io_posix_fault){.times = 1, .err = ENOSPC};
    append(1, 1, 1, false);
    run();
    cr_assert_eq(producers_error(p), NET_ERR_NO_SPACE);
    cr_assert_eq(redex_written_seq(s.log), 1);
    s.disk.io.now += SECOND;
    timer_wheel_advance(&s.timers, s.disk.io.now);
    run();
    cr_assert_eq(producers_error(p), NET_OK);
    cr_assert_eq(redex_written_seq(s.log), 2);
    kill_all();
    open_all();
    cr_assert_eq(known(1, 1, 1), 1);
    close_all();
}

Test(producers, a_short_write_goes_on)
{
    open_all();
    append(1, 0, 1, false);
    run();
    s.disk.write_fault = (struct io_posix_fault){.times = 1, .at_most = 10};
    append(1, 1, 1, false);
    run();
    cr_assert_eq(redex_written_seq(s.log), 2);
    kill_all();
    open_all();
    cr_assert_eq(known(1, 1, 1), 1);
    close_all();
}

Test(producers, a_failed_sync_is_the_end_of_the_log)
{
    open_all();
    append(1, 0, 1, false);
    run();
    s.disk.sync_fault = (struct io_posix_fault){.times = 1, .err = EIO};
    append(1, 1, 1, true);
    run();
    cr_assert_eq(producers_error(p), NET_ERR_POISONED);
    cr_assert_eq(redex_error(s.log), NET_ERR_POISONED);
    cr_assert_eq(redex_written_seq(s.log), 1, "the event must not be there without its intent");
    kill_all();
    open_all();
    cr_assert_eq(look(1, 1, 1), PRODUCERS_NEW);
    close_all();
}

Test(producers, a_close_stores_what_was_noted)
{
    open_all();
    append(1, 0, 1, false);
    close_all();
    open_all();
    cr_assert_eq(known(1, 0, 1), 0);
    cr_assert_eq(redex_count(s.log), 1);
    close_all();
}

Test(producers, a_close_that_cannot_store_says_so)
{
    open_all();
    append(1, 0, 1, false);
    run();
    append(1, 1, 1, false);
    s.disk.write_fault = (struct io_posix_fault){.times = 5, .err = EIO};
    producers_close(p, on_closed, NULL);
    io_posix_run(&s.disk);
    cr_assert(closed);
    s.disk.write_fault.times = 0;
    cr_assert_eq(redex_store_close(&s), NET_ERR_IO);
    open_all();
    cr_assert_eq(redex_count(s.log), 1);
    cr_assert_eq(look(1, 1, 1), PRODUCERS_NEW);
    close_all();
}

Test(producers, a_compaction_takes_no_event_along_before_its_intent)
{
    s.options.min_dead = 1;
    s.options.policy = (struct redex_policy){.retain_events = 2};
    open_all();
    for (uint64_t i = 0; i < 50; i++) {
        append(1, i, 1, false);
        redex_store_flush(&s);
        cr_assert_eq(redex_written_seq(s.log), i);
        run();
        cr_assert_eq(redex_written_seq(s.log), i + 1);
    }
    cr_assert_gt(counter_get(&s.stats.generations), 0);
    kill_all();
    open_all();
    cr_assert_eq(known(1, 49, 1), 49);
    close_all();
}

/* Killed before a mark said that they had been written: where the files begin tells as much. */
Test(producers, events_that_retention_gave_up_came_true)
{
    s.options.min_dead = 1;
    s.options.policy = (struct redex_policy){.retain_events = 2};
    open_all();
    append(1, 0, 5, true);
    append(1, 1, 5, true);
    append(1, 2, 5, true);
    run();
    run();
    cr_assert_gt(counter_get(&s.stats.generations), 0);
    cr_assert_eq(redex_written_seq(s.log), 15);
    kill_all();
    open_all();
    cr_expect_eq(redex_count(s.log), 2);
    for (uint64_t i = 0; i < 3; i++)
        cr_expect_eq(known(1, i, 5), 5 * i);
    cr_expect_eq(look(1, 3, 1), PRODUCERS_NEW);
    close_all();
}

Test(producers, a_log_in_memory_forgets_with_the_process)
{
    options.root = NULL;
    s.options.mode = REDEX_MEMORY;
    open_all();
    cr_assert_eq(look(1, 7, 1), PRODUCERS_NEW, "in a log that is new, nothing was appended before");
    append(1, 7, 1, true);
    cr_assert_eq(known(1, 7, 1), 0);
    cr_assert_eq(producers_synced(p), 2);
    close_all();
}
