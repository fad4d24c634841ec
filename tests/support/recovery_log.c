#include "tests/support/recovery_log.h"

#include <criterion/criterion.h>
#include <string.h>

#include "core/base/err.h"

const char recovery_log_kept[RECOVERY_LOG];

static void append(uint64_t list[RECOVERY_LOG], size_t *count, uint64_t counter)
{
    cr_assert_lt(*count, RECOVERY_LOG);
    list[(*count)++] = counter;
}

static void on_acked(void *ctx, const struct sent *sent)
{
    struct recovery_log *log = ctx;
    append(log->acked, &log->acked_count, sent->counter);
}

static void on_lost(void *ctx, const struct sent *sent)
{
    struct recovery_log *log = ctx;
    append(log->lost, &log->lost_count, sent->counter);
    log->last_lost = sent->what;
    log->last_cost = sent->cost;
}

static void on_spurious(void *ctx, const struct sent *sent)
{
    struct recovery_log *log = ctx;
    cr_assert_null(sent->what);
    append(log->spurious, &log->spurious_count, sent->counter);
}

void recovery_log_init(struct recovery_log *log, uint64_t rtt_guess_ns, uint32_t limit, uint64_t now)
{
    memset(log, 0, sizeof *log);
    recovery_init(&log->r, rtt_guess_ns, limit, now);
    log->events = (struct recovery_events){log, on_acked, on_lost, on_spurious};
}

void recovery_log_deinit(struct recovery_log *log, uint64_t now)
{
    recovery_log_clear(log);
    recovery_abandon(&log->r, now, &log->events);
    cr_assert_eq(log->r.congestion.in_flight, 0);
    recovery_deinit(&log->r);
}

void recovery_log_clear(struct recovery_log *log)
{
    log->acked_count = log->lost_count = log->spurious_count = 0;
}

void recovery_log_send(struct recovery_log *log, uint64_t first, uint64_t last, uint64_t now)
{
    for (uint64_t c = first; c <= last; c++) {
        struct sent sent = {.counter = c,
                            .what = (void *)(uintptr_t)&recovery_log_kept[c % RECOVERY_LOG],
                            .bytes = 1000,
                            .cost = 980,
                            .flags = SENT_ELICITING | SENT_KEPT};
        cr_assert_eq(recovery_reserve(&log->r, now), NET_OK);
        recovery_on_sent(&log->r, &sent, now);
    }
}

void recovery_log_send_loose(struct recovery_log *log, uint64_t counter, uint64_t now)
{
    struct sent sent = {.counter = counter, .bytes = 1000, .cost = 900, .flags = SENT_ELICITING};
    cr_assert_eq(recovery_reserve(&log->r, now), NET_OK);
    recovery_on_sent(&log->r, &sent, now);
}

int recovery_log_ack(struct recovery_log *log, uint64_t now, uint64_t delay_ns, size_t count,
                     const struct range *ranges)
{
    struct ack ack = {.delay_ns = delay_ns, .count = (uint32_t)count};
    memcpy(ack.ranges, ranges, count * sizeof *ranges);
    return recovery_on_ack(&log->r, &ack, now, &log->events);
}
