/* When a log is synced, and how many at once: redex.md 8.3 and 24, items 35 to 38 and 40. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

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

TestSuite(redex_sync, .init = setup, .fini = teardown);

static void open_log(struct redex_policy policy)
{
    s.options.policy = policy;
    cr_assert_eq(redex_store_open(&s), NET_OK);
}

/* Appends and flushes `count` events, one by one. */
static void append_one_by_one(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        redex_store_fill(&s, redex_next_seq(s.log), 1);
        redex_store_flush(&s);
    }
}

static void advance(uint64_t ns)
{
    s.disk.io.now += ns;
    timer_wheel_advance(&s.timers, s.disk.io.now);
    io_posix_run(&s.disk);
}

Test(redex_sync, never)
{
    open_log((struct redex_policy){0});
    append_one_by_one(50);
    advance(UINT64_C(3600000000000));
    cr_assert(s.disk.syncs == 0 && redex_synced_seq(s.log) == 0);
    cr_assert_eq(timer_wheel_next(&s.timers), UINT64_MAX, "and wants no turn for it");
    cr_assert_eq(redex_store_close(&s), NET_OK);
    cr_assert_geq(s.disk.syncs, 3, "item 39: the close syncs under every policy");
}

Test(redex_sync, each_write)
{
    open_log((struct redex_policy){.sync_each = true});
    append_one_by_one(5);
    cr_assert(redex_synced_seq(s.log) == 5 && s.disk.syncs == 15);
    redex_store_fill(&s, 5, 100);
    redex_store_flush(&s);
    cr_assert(redex_synced_seq(s.log) == 105 && s.disk.syncs == 18, "what is written together is synced together");
}

Test(redex_sync, every_n) /* item 35 */
{
    open_log((struct redex_policy){.sync_events = 4});
    append_one_by_one(3);
    cr_assert_eq(s.disk.syncs, 0);
    append_one_by_one(5);
    cr_assert_eq(s.disk.syncs, 6);
    cr_assert_eq(redex_synced_seq(s.log), 8);
    redex_store_fill(&s, 8, 11);
    redex_store_flush(&s);
    cr_assert_eq(s.disk.syncs, 9, "a batch fires once");
    append_one_by_one(3);
    cr_assert_eq(s.disk.syncs, 9, "and the count begins again");
}

Test(redex_sync, every_one) /* item 35 */
{
    open_log((struct redex_policy){.sync_events = 1});
    append_one_by_one(3);
    cr_assert_eq(redex_synced_seq(s.log), 3);
}

Test(redex_sync, interval)
{
    open_log((struct redex_policy){.sync_interval_ns = 1000000000});
    append_one_by_one(2);
    advance(500000000);
    append_one_by_one(2);
    cr_assert_eq(s.disk.syncs, 0);
    advance(500000000);
    cr_assert_eq(redex_synced_seq(s.log), 4, "an interval after the first of them");
    cr_assert_eq(timer_wheel_next(&s.timers), UINT64_MAX, "an idle log wants no turn");
    advance(UINT64_C(3600000000000));
    cr_assert_eq(s.disk.syncs, 3);
    append_one_by_one(1);
    cr_assert_eq(s.disk.syncs, 3);
    advance(1000000000);
    cr_assert_eq(redex_synced_seq(s.log), 5);
}

/* What is written while the sync of an interval runs has the next one, without another append. */
Test(redex_sync, interval_goes_on)
{
    open_log((struct redex_policy){.sync_interval_ns = 1000000000});
    append_one_by_one(1);
    s.disk.io.now += 1000000000;
    timer_wheel_advance(&s.timers, s.disk.io.now);
    cr_assert_eq(s.disk.waiting, 3);
    redex_store_fill(&s, 1, 1);
    redex_flush_all(&s.dirty);
    io_posix_run(&s.disk);
    cr_assert(redex_synced_seq(s.log) == 1 && redex_written_seq(s.log) == 2);
    advance(1000000000);
    cr_assert_eq(redex_synced_seq(s.log), 2);
}

Test(redex_sync, bytes) /* items 37, 38 */
{
    uint64_t seq;
    open_log((struct redex_policy){.sync_bytes = 10 * 28});
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(s.disk.syncs, 0);
        cr_assert_eq(redex_append_inline(s.log, 1, (const uint8_t *)"12345678", &seq), NET_OK);
        redex_store_flush(&s);
    }
    cr_assert_eq(redex_synced_seq(s.log), 10, "28 bytes for each inline event");
    cr_assert_eq(timer_wheel_next(&s.timers), UINT64_MAX, "no interval, no timer");
}

/* A sync for the bytes restarts the interval. */
Test(redex_sync, bytes_or_interval)
{
    open_log((struct redex_policy){.sync_bytes = 1000, .sync_interval_ns = 1000000000});
    append_one_by_one(1);
    advance(900000000);
    redex_store_fill(&s, 1, 60);
    redex_store_flush(&s);
    cr_assert_eq(redex_synced_seq(s.log), 61);
    append_one_by_one(1);
    advance(900000000);
    cr_assert_eq(redex_synced_seq(s.log), 61);
    advance(100000000);
    cr_assert_eq(redex_synced_seq(s.log), 62);
}

Test(redex_sync, a_policy_can_change)
{
    open_log((struct redex_policy){0});
    append_one_by_one(7);
    redex_set_policy(s.log, &(struct redex_policy){.sync_events = 7});
    io_posix_run(&s.disk);
    cr_assert_eq(redex_synced_seq(s.log), 7);
    redex_set_policy(s.log, &(struct redex_policy){.sync_interval_ns = 1000000000});
    append_one_by_one(1);
    redex_set_policy(s.log, &(struct redex_policy){0});
    advance(2000000000);
    cr_assert_eq(redex_synced_seq(s.log), 7);
}

/* Item 40. All at once, since a log's recovery takes them in any state; submitted in this order. */
Test(redex_sync, order)
{
    open_log((struct redex_policy){.sync_each = true});
    redex_store_fill(&s, 0, 1);
    redex_flush_all(&s.dirty);
    io_posix_step(&s.disk), io_posix_step(&s.disk), io_posix_step(&s.disk);
    cr_assert_eq(s.disk.waiting, 3);
    struct list *at = s.disk.queue.next;
    for (int i = 0; i < PARTS; i++, at = at->next) {
        const struct io_op *op = container_of(at, struct io_op, backend.link);
        cr_assert(op->kind == IO_FDATASYNC && op->handle == s.log->file[i].handle, "part %d", i);
    }
}

Test(redex_sync, statistics)
{
    open_log((struct redex_policy){.sync_each = true});
    redex_store_fill(&s, 0, 1);
    redex_flush_all(&s.dirty);
    s.disk.io.now += 5;
    io_posix_step(&s.disk), io_posix_step(&s.disk), io_posix_step(&s.disk);
    s.disk.io.now += 2000;
    s.disk.sync_fault = (struct io_posix_fault){.after = 2, .times = 1, .err = EIO};
    io_posix_run(&s.disk);
    cr_assert(counter_get(&s.stats.writes) == 1 && counter_get(&s.stats.write_ns) == 5);
    cr_assert(counter_get(&s.stats.syncs) == 3 && counter_get(&s.stats.sync_failures) == 1);
    cr_assert(counter_get(&s.stats.sync_ns.sum) == 6000 && counter_get(&s.stats.sync_ns.bucket[1]) == 3);
    cr_assert_eq(s.syncs.in_flight, 0);
}

/* ---- several logs of a shard ---- */

enum { LOGS = 5 };

static void on_closed(void *ctx, int err)
{
    *(int *)ctx = err;
}

static void open_logs(struct redex *logs[LOGS])
{
    char name[16];
    struct redex_options options = s.options;
    options.progress = NULL;
    options.name = name;
    for (int i = 0; i < LOGS; i++) {
        snprintf(name, sizeof name, "log%d", i);
        cr_assert_eq(redex_open(&logs[i], &s.disk.io, &options, NULL), NET_OK);
    }
}

static void append_to(struct redex *log)
{
    uint64_t seq;
    cr_assert_eq(redex_append(log, 1, (struct cspan){(const uint8_t *)"event", 5}, &seq), NET_OK);
    redex_flush_all(&s.dirty);
    io_posix_step(&s.disk), io_posix_step(&s.disk), io_posix_step(&s.disk);
}

/* No more syncs in flight than there are places, and each log has its turn: one that wants a sync all the time does not
 * go before those that wait. */
Test(redex_sync, places_are_taken_in_turn)
{
    struct redex *logs[LOGS];
    int err = -1;
    open_logs(logs);
    for (int i = 0; i < LOGS; i++)
        append_to(logs[i]);
    cr_assert_eq(s.disk.waiting, 0);
    for (int i = 0; i < LOGS; i++)
        redex_want_sync(logs[i], 1);
    cr_assert_eq(s.disk.waiting, 6, "two logs, and no room for three files more");
    append_to(logs[0]); /* its write is behind the syncs: performs those of log 0 */
    redex_want_sync(logs[0], 2);
    cr_assert_eq(redex_synced_seq(logs[0]), 1);
    int order[LOGS], n = 0;
    do {
        cr_assert_leq(s.syncs.in_flight, s.syncs.max);
        for (int i = 1; i < LOGS; i++) {
            bool seen = redex_synced_seq(logs[i]) == 0;
            for (int k = 0; k < n; k++)
                seen = seen || order[k] == i;
            if (!seen)
                order[n++] = i;
        }
        cr_assert(n == LOGS - 1 || redex_synced_seq(logs[0]) == 1, "log 0 waits for its turn");
    } while (io_posix_step(&s.disk));
    cr_assert_eq(n, LOGS - 1);
    for (int i = 0; i < n; i++)
        cr_assert_eq(order[i], i + 1);
    cr_assert(redex_synced_seq(logs[0]) == 2 && s.syncs.in_flight == 0);
    for (int i = 0; i < LOGS; i++) {
        redex_close(logs[i], on_closed, &err);
        io_posix_run(&s.disk);
        cr_assert_eq(err, NET_OK);
        err = -1;
    }
    cr_assert(redex_store_open(&s) == NET_OK);
}

/* A log that is closed, or was poisoned, while it waits for its turn. */
Test(redex_sync, closing_while_waiting)
{
    struct redex *logs[LOGS];
    int err[LOGS];
    open_logs(logs);
    for (int i = 0; i < LOGS; i++)
        append_to(logs[i]);
    for (int i = 0; i < LOGS; i++) {
        err[i] = 1;
        redex_want_sync(logs[i], 1);
    }
    s.disk.sync_fault = (struct io_posix_fault){.times = 1, .err = EIO};
    for (int i = 0; i < LOGS; i++)
        redex_close(logs[i], on_closed, &err[i]);
    io_posix_run(&s.disk);
    cr_assert_eq(err[0], NET_ERR_POISONED);
    for (int i = 1; i < LOGS; i++)
        cr_assert_eq(err[i], NET_OK);
    cr_assert(s.syncs.in_flight == 0 && list_empty(&s.syncs.waiting));
    cr_assert(redex_store_open(&s) == NET_OK);
}
