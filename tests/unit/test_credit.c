/* Credit of a stream. streams.md 9, 13.4 and 19; numbers in comments are those of its checklist. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/stream/credit.h"
#include "tests/support/splitmix.h"
#include "tests/support/vectors.h"

#define MS UINT64_C(1000000)

/* 13 to 17 */
static void run_script(struct json_object *v)
{
    struct credit_tx c;
    struct json_object *steps = vectors_member(v, "steps");
    uint64_t refused = 0, granted = 0; /* stale grants count, too */
    credit_tx_init(&c, (uint32_t)vectors_u64(v, "window"), 0);
    for (size_t i = 0; i < json_object_array_length(steps); i++) {
        struct json_object *s = json_object_array_get_idx(steps, i);
        uint64_t arg = vectors_u64(s, "arg");
        bool ok = json_object_get_boolean(vectors_member(s, "ok"));
        if (strcmp(vectors_text(s, "op"), "acquire") == 0)
            cr_assert_eq(credit_tx_acquire(&c, (uint32_t)arg, i), ok);
        else
            credit_tx_grant(&c, arg, i);
        cr_assert_eq(c.remaining, vectors_u64(s, "remaining"));
        cr_assert_eq(c.sent, vectors_u64(s, "sent"));
        cr_assert_eq(c.max_consumed, vectors_u64(s, "max_consumed"));
        refused += !ok && strcmp(vectors_text(s, "op"), "acquire") == 0;
        granted += strcmp(vectors_text(s, "op"), "acquire") != 0;
        cr_assert(c.refusals == refused && c.grants == granted);
    }
}

Test(credit, vectors)
{
    struct json_object *root = vectors_load(TEST_DATA "/wire/credit.json"), *list = vectors_member(root, "vectors");
    for (size_t i = 0; i < json_object_array_length(list); i++)
        run_script(json_object_array_get_idx(list, i));
    json_object_put(root);
}

/* 3 */
Test(credit, refund)
{
    struct credit_tx c;
    credit_tx_init(&c, 100, 0);
    cr_assert(credit_tx_acquire(&c, 60, 0));
    credit_tx_refund(&c, 60);
    cr_assert_eq(c.remaining, 100);
    cr_assert_eq(c.sent, 0);
    credit_tx_refund(&c, 10); /* not clamped to the window, sent saturates */
    cr_assert_eq(c.remaining, 110);
    cr_assert_eq(c.sent, 0);
    credit_tx_refund(&c, UINT32_MAX);
    cr_assert_eq(c.remaining, UINT32_MAX);
    credit_tx_init(&c, 0, 0);
    credit_tx_refund(&c, 10);
    cr_assert_eq(c.remaining, 0);
}

/* A receiver that loses some packets and reports totals, honest, old and bogus ones, to a sender. */
struct link {
    struct credit_tx tx;
    uint64_t consumed, lost, in_flight, seed, now;
};

static void link_step(struct link *l, unsigned loss)
{
    uint32_t bytes = 80 + (uint32_t)splitmix_below(&l->seed, 1392);
    l->now += MS / 10;
    switch (splitmix_below(&l->seed, 4)) {
    case 0:
    case 1:
        if (credit_tx_acquire(&l->tx, bytes, l->now)) {
            if (splitmix_below(&l->seed, 100) < loss)
                l->lost += bytes;
            else
                l->in_flight += bytes;
        }
        break;
    case 2: {
        uint64_t arrived = splitmix_below(&l->seed, l->in_flight + 1);
        l->in_flight -= arrived;
        l->consumed += arrived;
        break;
    }
    default:
        credit_tx_grant(&l->tx, splitmix_below(&l->seed, 4) ? l->consumed : splitmix_below(&l->seed, l->consumed + 1),
                        l->now);
    }
}

/* 18 */
Test(credit, invariant)
{
    struct link l = {.seed = 1};
    credit_tx_init(&l.tx, 65536, 0);
    for (int i = 0; i < 200000; i++) {
        link_step(&l, 0);
        cr_assert_eq(l.tx.remaining + (l.tx.sent - l.tx.max_consumed), 65536);
        cr_assert_leq(l.tx.max_consumed, l.consumed);
        cr_assert_leq(l.in_flight, 65536, "the receiver is never overrun");
        cr_assert(!credit_tx_recover(&l.tx, l.now, MS) || l.tx.remaining == 65536);
    }
    cr_assert_gt(l.consumed, 65536 * 10, "and the stream moved on");
}

/* 51 */
Test(credit, an_exhausted_window_recovers_after_loss)
{
    struct credit_tx c;
    credit_tx_init(&c, 1000, 0);
    cr_assert_eq(credit_tx_deadline(&c, MS), UINT64_MAX);
    cr_assert(credit_tx_acquire(&c, 1000, 5 * MS));
    cr_assert_eq(credit_tx_deadline(&c, MS), UINT64_MAX, "nobody was refused yet");
    cr_assert(!credit_tx_acquire(&c, 100, 10 * MS));
    cr_assert(!credit_tx_acquire(&c, 100, 90 * MS));
    cr_assert_eq(credit_tx_deadline(&c, MS), 210 * MS);
    cr_assert_eq(credit_tx_deadline(&c, 100 * MS), 410 * MS, "four round trips, when those are longer");
    cr_assert_eq(credit_tx_deadline(&c, UINT64_MAX / 5), 10 * MS + UINT64_MAX / 5 * 4);
    cr_assert(!credit_tx_recover(&c, 209 * MS, MS));
    cr_assert(credit_tx_recover(&c, 210 * MS, MS));
    cr_assert_eq(c.remaining, 1000);
    cr_assert_eq(c.max_consumed, c.sent);
    cr_assert_eq(c.written_off, 1000);
    cr_assert_eq(credit_tx_deadline(&c, MS), UINT64_MAX);
    cr_assert(!credit_tx_recover(&c, UINT64_MAX, MS), "once per interval");
}

Test(credit, a_grant_in_time_restarts_the_wait)
{
    struct credit_tx c;
    credit_tx_init(&c, 1000, 0);
    cr_assert(credit_tx_acquire(&c, 1000, 0));
    cr_assert(!credit_tx_acquire(&c, 100, 0));
    credit_tx_grant(&c, 0, 100 * MS); /* says nothing new */
    cr_assert_eq(credit_tx_deadline(&c, 0), 200 * MS);
    credit_tx_grant(&c, 50, 150 * MS);
    cr_assert_eq(credit_tx_deadline(&c, 0), UINT64_MAX);
    cr_assert(!credit_tx_acquire(&c, 100, 160 * MS));
    cr_assert_eq(credit_tx_deadline(&c, 0), 360 * MS);
}

Test(credit, what_was_lost_once_is_not_lost_again)
{
    struct credit_tx c;
    credit_tx_init(&c, 1000, 0);
    cr_assert(credit_tx_acquire(&c, 1000, 0)); /* all lost */
    cr_assert(!credit_tx_acquire(&c, 1, 0));
    cr_assert(credit_tx_recover(&c, 200 * MS, 0));
    for (uint64_t total = 500, now = 201 * MS; total < 100000; total += 500, now += MS) {
        cr_assert(credit_tx_acquire(&c, 500, now), "stuck at %lu", total);
        credit_tx_grant(&c, total, now);
        cr_assert_eq(c.remaining, 1000);
        cr_assert_eq(c.written_off, 1000);
    }
}

Test(credit, a_pause_that_was_taken_for_loss_is_put_right)
{
    struct credit_tx c;
    credit_tx_init(&c, 1000, 0);
    cr_assert(credit_tx_acquire(&c, 1000, 0));
    cr_assert(!credit_tx_acquire(&c, 1, 0));
    cr_assert(credit_tx_recover(&c, 200 * MS, 0));
    cr_assert(credit_tx_acquire(&c, 600, 201 * MS));
    credit_tx_grant(&c, 1600, 202 * MS); /* everything had arrived */
    cr_assert_eq(c.written_off, 0);
    cr_assert_eq(c.remaining, 1000);
    cr_assert(credit_tx_acquire(&c, 1000, 203 * MS));
    cr_assert(!credit_tx_acquire(&c, 1, 203 * MS), "the window is what it was");
    credit_tx_grant(&c, 1700, 204 * MS);
    cr_assert_eq(c.remaining, 100);
}

Test(credit, a_lossy_stream_never_stops_for_long)
{
    struct link l = {.seed = 2};
    uint64_t since = 0, before = 0;
    credit_tx_init(&l.tx, 65536, 0);
    for (int i = 0; i < 500000; i++) {
        link_step(&l, 5);
        credit_tx_recover(&l.tx, l.now, MS);
        if (l.consumed != before) {
            before = l.consumed;
            since = l.now;
        }
        cr_assert_lt(l.now - since, 250 * MS);
        cr_assert_leq(l.tx.remaining, 65536);
        cr_assert_leq(l.tx.max_consumed, l.tx.sent);
    }
    cr_assert_gt(l.lost, 65536 * 10);
}

Test(credit, larger_than_the_window_is_refused_for_ever)
{
    struct credit_tx c;
    credit_tx_init(&c, 100, 0);
    cr_assert(!credit_tx_acquire(&c, 101, 0));
    cr_assert_eq(credit_tx_deadline(&c, 0), UINT64_MAX, "there is nothing to recover");
    cr_assert(!credit_tx_recover(&c, UINT64_MAX, 0));
}

/* A grant may tell of a packet that was taken as lost before its acknowledgement does: it is not counted twice. */
Test(credit, what_a_grant_told_is_not_found_again)
{
    struct credit_tx c;
    credit_tx_init(&c, 1000, 0);
    cr_assert(credit_tx_acquire(&c, 300, 0));
    cr_assert(credit_tx_acquire(&c, 500, 0));
    credit_tx_lost(&c, 300);
    credit_tx_lost(&c, 500);
    cr_assert_eq(c.remaining, 1000);
    credit_tx_grant(&c, 300, 0); /* it had arrived */
    credit_tx_found(&c, 300);
    cr_assert(c.remaining == 1000 && c.written_off == 500 && c.max_consumed == c.sent);
    credit_tx_found(&c, 500);
    cr_assert(c.remaining == 500 && c.written_off == 0, "the other one: until its grant comes");
    credit_tx_grant(&c, 800, 0);
    cr_assert_eq(c.remaining, 1000);
}

/* 12, 23, 26 */
Test(credit, receiver)
{
    struct credit_rx c;
    credit_rx_init(&c, 65536);
    cr_assert(!credit_rx_due(&c, UINT64_MAX));
    credit_rx_consume(&c, 80 + 19, 10 * MS, MS);
    credit_rx_consume(&c, 80, 10 * MS + 5, MS);
    cr_assert_eq(c.consumed, 179);
    cr_assert_eq(c.due_ns, 11 * MS, "counted from the first unreported packet");
    cr_assert(!credit_rx_due(&c, 11 * MS - 1));
    cr_assert(credit_rx_due(&c, 11 * MS));
    credit_rx_granted(&c);
    cr_assert(c.granted == 179 && c.grants == 1);
    cr_assert(!credit_rx_due(&c, UINT64_MAX));

    credit_rx_consume(&c, 16383, 20 * MS, MS);
    cr_assert(!credit_rx_due(&c, 20 * MS));
    credit_rx_consume(&c, 1, 20 * MS, MS);
    cr_assert(credit_rx_due(&c, 20 * MS), "a quarter of the window");
}

Test(credit, window_zero_is_never_granted)
{
    struct credit_rx c;
    credit_rx_init(&c, 0);
    credit_rx_consume(&c, 100000, 0, MS);
    cr_assert_eq(c.due_ns, UINT64_MAX);
    cr_assert(!credit_rx_due(&c, UINT64_MAX));
}

/* 21, 22, and wire.md 14 (38) */
Test(credit, message_bytes)
{
    struct json_object *root = vectors_load(TEST_DATA "/wire/control.json"), *list = vectors_member(root, "grants");
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *v = json_object_array_get_idx(list, i);
        uint8_t want[CREDIT_MESSAGE + 1] = {0}, got[CREDIT_MESSAGE];
        uint64_t stream, total;
        vectors_bytes(v, "bytes", want, CREDIT_MESSAGE);
        credit_encode(vectors_u64(v, "stream_id"), vectors_u64(v, "total"), got);
        cr_assert_arr_eq(got, want, CREDIT_MESSAGE);
        cr_assert_eq(credit_decode((struct cspan){want, CREDIT_MESSAGE}, &stream, &total), NET_OK);
        cr_assert_eq(stream, vectors_u64(v, "stream_id"));
        cr_assert_eq(total, vectors_u64(v, "total"));
        cr_assert_eq(credit_decode((struct cspan){want, 15}, &stream, &total), NET_ERR_FORMAT);
        cr_assert_eq(credit_decode((struct cspan){want, 17}, &stream, &total), NET_ERR_FORMAT);
        cr_assert_eq(credit_decode((struct cspan){want, 0}, &stream, &total), NET_ERR_FORMAT);
    }
    json_object_put(root);
}

/* X4: the bytes of lost fire-and-forget packets come back, and go again when one had arrived after all. */
Test(credit, lost_bytes_come_back_once)
{
    struct credit_tx c;
    credit_tx_init(&c, 1000, 0);
    cr_assert(credit_tx_acquire(&c, 600, 0) && credit_tx_acquire(&c, 400, 0) && !credit_tx_acquire(&c, 1, 0));
    credit_tx_lost(&c, 600);
    cr_assert_eq(c.remaining, 600);
    cr_assert(!credit_tx_blocked(&c));
    credit_tx_grant(&c, 400, 0); /* all that arrived */
    cr_assert(c.remaining == 1000 && c.max_consumed == 1000);
    credit_tx_lost(&c, 600);
    cr_assert(c.remaining == 1000 && c.written_off == 600, "nothing is outstanding");
}

Test(credit, found_bytes_are_taken_back)
{
    struct credit_tx c;
    credit_tx_init(&c, 1000, 0);
    cr_assert(credit_tx_acquire(&c, 600, 0) && credit_tx_acquire(&c, 400, 0));
    credit_tx_lost(&c, 600);
    credit_tx_found(&c, 600);
    cr_assert(c.remaining == 0 && c.written_off == 0 && c.max_consumed == 0);
    credit_tx_grant(&c, 1000, 0);
    cr_assert_eq(c.remaining, 1000);
    cr_assert(credit_tx_acquire(&c, 500, 0));
    credit_tx_lost(&c, 500);
    cr_assert(credit_tx_acquire(&c, 800, 0)); /* used meanwhile */
    credit_tx_found(&c, 500);
    cr_assert(c.remaining == 0 && c.remaining + (c.sent - c.max_consumed) == 1000);
}
