/* What retention gives up: the arithmetic of redex.md 13 and its examples, 24 items 47 and 48; gaps G1, G7, G17. */
#include <criterion/criterion.h>
#include <sys/mman.h>

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

TestSuite(redex_retain, .init = setup, .fini = teardown);

static void open_log(struct redex_policy policy)
{
    s.options.policy = policy;
    cr_assert_eq(redex_store_open(&s), NET_OK);
}

static void append(uint64_t ts, size_t len)
{
    static const uint8_t zeros[256];
    uint64_t seq;
    cr_assert_eq(redex_append(s.log, ts, (struct cspan){zeros, len}, &seq), NET_OK);
}

static void append_inline(uint64_t ts)
{
    uint64_t seq;
    cr_assert_eq(redex_append_inline(s.log, ts, (const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff", &seq), NET_OK);
}

static void expect(uint64_t first, uint64_t next)
{
    cr_assert_eq(redex_first_seq(s.log), first, "first is %llu", (unsigned long long)redex_first_seq(s.log));
    cr_assert_eq(redex_next_seq(s.log), next);
    cr_assert_eq(redex_count(s.log), next - first);
}

Test(redex_retain, by_count)
{
    open_log((struct redex_policy){.retain_events = 10});
    for (int i = 0; i < 10; i++)
        append(1, 5);
    redex_store_flush(&s);
    expect(0, 10);
    append(1, 5);
    expect(0, 11);
    redex_store_flush(&s);
    expect(1, 11);
    cr_assert_eq(redex_bytes(s.log), 50);
    for (int i = 0; i < 100; i++)
        append(1, 1);
    redex_store_flush(&s);
    expect(101, 111);
    cr_assert(counter_get(&s.stats.retired_events) == 101 && counter_get(&s.stats.retired_bytes) == 11 * 5 + 90);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    expect(101, 111);
    cr_assert_eq(counter_get(&s.stats.retired_events), 101, "what an open gives up again is not counted again");
}

Test(redex_retain, by_bytes) /* item 47 */
{
    open_log((struct redex_policy){.retain_bytes = 480});
    for (int i = 0; i < 100; i++)
        append(1, 16);
    redex_store_flush(&s);
    expect(87, 100);
}

Test(redex_retain, by_bytes_inline) /* item 47; G7: their payload is no length */
{
    open_log((struct redex_policy){.retain_bytes = 100});
    for (int i = 0; i < 10; i++)
        append_inline(1);
    redex_store_flush(&s);
    expect(5, 10);
    cr_assert_eq(redex_bytes(s.log), 40);
}

Test(redex_retain, bytes_that_just_fit) /* item 47: acc == M */
{
    open_log((struct redex_policy){.retain_bytes = 72});
    append(1, 16), append(1, 16);
    redex_store_flush(&s);
    expect(0, 2);
    append(1, 17);
    redex_store_flush(&s);
    expect(2, 3);
}

Test(redex_retain, an_event_larger_than_the_limit)
{
    open_log((struct redex_policy){.retain_bytes = 100});
    append(1, 10), append(1, 81);
    redex_store_flush(&s);
    expect(2, 2);
    append(1, 80);
    redex_store_flush(&s);
    expect(2, 3);
}

Test(redex_retain, by_age) /* item 47: ts == cutoff is retained */
{
    s.disk.io.wall = 10;
    open_log((struct redex_policy){.retain_age_ns = 5});
    append(10, 1), append(15, 1), append(20, 1);
    s.disk.io.wall = 20;
    redex_store_flush(&s);
    expect(1, 3);
}

Test(redex_retain, by_age_before_there_was_such_an_age)
{
    s.disk.io.wall = 3;
    open_log((struct redex_policy){.retain_age_ns = 5});
    append(0, 1), append(1, 1);
    redex_store_flush(&s);
    expect(0, 2);
}

Test(redex_retain, a_clock_that_goes_back_shields_older_events)
{
    s.disk.io.wall = 20;
    open_log((struct redex_policy){.retain_age_ns = 5});
    append(18, 1), append(3, 1), append(19, 1);
    redex_store_flush(&s);
    expect(0, 3);
    s.disk.io.wall = 24;
    append(24, 1);
    redex_store_flush(&s);
    expect(2, 4);
}

Test(redex_retain, the_larger_count_goes) /* item 48 */
{
    open_log((struct redex_policy){.retain_events = 50, .retain_bytes = 480});
    for (int i = 0; i < 100; i++)
        append(1, 16);
    redex_store_flush(&s);
    expect(87, 100);
    redex_set_policy(s.log, &(struct redex_policy){.retain_events = 5, .retain_bytes = 480});
    redex_store_flush(&s);
    expect(95, 100);
}

static void pass(uint64_t ns)
{
    s.disk.io.now += ns;
    s.disk.io.wall += ns;
    timer_wheel_advance(&s.timers, s.disk.io.now);
    redex_store_flush(&s);
}

/* By itself, without appends, and without a turn while nothing is due. */
Test(redex_retain, age_has_a_timer)
{
    const uint64_t second = 1000000000;
    s.disk.io.wall = 1000 * second;
    open_log((struct redex_policy){.retain_age_ns = 64 * second});
    append(s.disk.io.wall, 1);
    redex_store_flush(&s);
    cr_assert(list_empty(&s.dirty));
    pass(second);
    append(s.disk.io.wall, 1);
    redex_store_flush(&s);
    cr_assert(list_empty(&s.dirty));
    cr_assert_leq(timer_wheel_next(&s.timers), s.disk.io.now + 64 * second);
    pass(62 * second);
    cr_assert_eq(redex_first_seq(s.log), 0);
    pass(2 * second);
    cr_assert_eq(redex_first_seq(s.log), 1);
    pass(2 * second);
    expect(2, 2);
    cr_assert_eq(timer_wheel_next(&s.timers), UINT64_MAX);
}

Test(redex_retain, memory_mode)
{
    s.options.mode = REDEX_MEMORY;
    open_log((struct redex_policy){.retain_events = 7});
    redex_store_fill(&s, 0, 1000);
    cr_assert_not(list_empty(&s.dirty));
    redex_store_flush(&s);
    redex_store_check(&s, 993, 1000);
    redex_store_fill(&s, 1000, 1);
    redex_store_flush(&s);
    redex_store_check(&s, 994, 1001);
    cr_assert(list_empty(&s.dirty));
}

/* With memory.lock the kernel refuses to take pages back in the usual way. */
Test(redex_retain, locked_memory_is_given_back)
{
    enum { EVENTS = 40000 };
    unsigned char resident = 1;
    open_log((struct redex_policy){0});
    redex_store_fill(&s, 0, EVENTS);
    redex_store_flush(&s);
    uint8_t *ts = s.log->file[PART_TS].memory.base;
    if (mlock(ts, EVENTS * STAMP_SIZE) != 0)
        cr_skip_test("this process may not lock memory");
    redex_set_policy(s.log, &(struct redex_policy){.retain_events = 10});
    for (int turns = 0; turns < 1000 && redex_first_seq(s.log) != EVENTS - 10; turns++)
        redex_flush_all(&s.dirty);
    cr_assert_eq(redex_first_seq(s.log), EVENTS - 10);
    cr_assert_eq(mincore(ts, 4096, &resident), 0);
    cr_assert_eq(resident & 1, 0);
    redex_store_flush(&s);
    redex_store_check(&s, EVENTS - 10, EVENTS);
}

Test(redex_retain, reading_begins_at_the_first)
{
    struct redex_event e[4];
    uint64_t seq = 0;
    open_log((struct redex_policy){.retain_events = 3});
    redex_store_fill(&s, 0, 10);
    redex_store_flush(&s);
    cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, e, 2), 2);
    cr_assert(e[0].seq == 7 && e[1].seq == 8 && seq == 9);
    seq = 2;
    cr_assert_eq(redex_read(s.log, &seq, 7, e, 4), 0);
    cr_assert_eq(seq, 7, "nothing is there");
}

/* What was given up is in the files still; the same rules hold at the next open, or new ones. */
Test(redex_retain, reopening)
{
    open_log((struct redex_policy){.retain_events = 10});
    redex_store_fill(&s, 0, 100);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_size(&s, STORE_IDX), 100 * RECORD_SIZE);
    open_log((struct redex_policy){.retain_events = 10});
    redex_store_check(&s, 90, 100);
    cr_assert_eq(s.report.first_seq, 90);
    redex_store_fill(&s, 100, 5);
    redex_store_flush(&s);
    redex_store_check(&s, 95, 105);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    open_log((struct redex_policy){.retain_events = 20});
    redex_store_check(&s, 85, 105);
}

/* G1: everything went of age; no sequence is used again, whatever comes. */
Test(redex_retain, giving_up_everything)
{
    s.disk.io.wall = 1000;
    open_log((struct redex_policy){.retain_age_ns = 5});
    redex_store_fill(&s, 0, 10);
    s.disk.io.wall = 2000000;
    redex_store_flush(&s);
    expect(10, 10);
    redex_store_kill(&s);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    expect(10, 10);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_eq(redex_store_open(&s), NET_OK);
    expect(10, 10);
}

/* Many at once are given up in several turns. */
Test(redex_retain, a_new_limit_is_applied_in_steps)
{
    open_log((struct redex_policy){0});
    for (int i = 0; i < 200000; i++)
        append_inline(1);
    redex_store_flush(&s);
    redex_set_policy(s.log, &(struct redex_policy){.retain_events = 3});
    cr_assert(redex_flush_all(&s.dirty), "wants another turn at once");
    cr_assert_gt(redex_first_seq(s.log), 0);
    cr_assert_lt(redex_first_seq(s.log), 199997);
    for (int i = 0; i < 4; i++)
        redex_store_flush(&s);
    expect(199997, 200000);
}

static void open_and_read(struct redex_event *events, size_t count)
{
    uint64_t seq = 0;
    cr_assert_eq(redex_store_open(&s), NET_OK);
    cr_assert_eq(redex_read(s.log, &seq, UINT64_MAX, events, count), count);
}

/* G17: a stamp with a wrong bit, wherever it stands, would keep older events for ever, or give up its own too early. */
Test(redex_retain, a_wrong_bit_in_a_stamp)
{
    struct redex_event events[12];
    uint8_t ts[12 * 8], seen[12 * 8];
    redex_store_make(&s, 12);
    s.disk.io.wall = 1000011;
    cr_assert_eq(redex_store_read(&s, STORE_TS, ts, sizeof ts), sizeof ts);
    for (size_t i = 0; i < 12; i++)
        for (unsigned bit = 4; bit < 64; bit += 3) {
            redex_store_flip(&s, STORE_TS, i * 8 + bit / 8, bit % 8);
            open_and_read(events, 12);
            cr_assert(i == 0 || events[i].ts_ns == 1000000 + i, "stamp %zu, bit %u: %llu", i, bit,
                      (unsigned long long)events[i].ts_ns);
            cr_assert_leq(events[i].ts_ns, 1000000 + i);
            cr_assert_eq(redex_store_close(&s), NET_OK);
            cr_assert_eq(redex_store_read(&s, STORE_TS, seen, sizeof seen), sizeof seen);
            cr_assert_eq(load_le64(seen + i * 8), events[i].ts_ns, "on disk too");
            redex_store_write(&s, STORE_TS, ts, sizeof ts);
        }
}

/* Clocks are set back, and events may have one stamp: that is no damage. */
Test(redex_retain, stamps_that_do_not_ascend)
{
    static const uint64_t stamps[] = {50, 100, 60, 61, 61, 40, 41, 42};
    struct redex_event events[8];
    uint64_t seq;
    cr_assert_eq(redex_store_open(&s), NET_OK);
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(redex_append(s.log, stamps[i], (struct cspan){(const uint8_t *)"x", 1}, &seq), NET_OK);
    cr_assert_eq(redex_store_close(&s), NET_OK);
    open_and_read(events, 8);
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(events[i].ts_ns, stamps[i], "%zu", i);
}
