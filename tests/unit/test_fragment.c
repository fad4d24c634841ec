/* Reassembly of fragmented messages. extensions X3. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/stream/fragment.h"
#include "tests/support/splitmix.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

struct bench {
    struct fragment_budget total;
    struct reassembly r;
    uint64_t now;
};

static struct bench begin(uint32_t max_message, uint64_t limit)
{
    return (struct bench){.total = {.limit = limit}, .r = {.max_message = max_message, .own = {.limit = limit}}};
}

static void start(struct bench *b)
{
    reassembly_init(&b->r, b->r.max_message, b->r.own.limit, &b->total);
}

static void finish(struct bench *b)
{
    reassembly_deinit(&b->r);
    cr_assert_eq(b->r.own.used, 0);
    cr_assert_eq(b->total.used, 0);
}

/* What stands at byte i of the message that begins at sequence `first`. */
static uint8_t byte_of(uint64_t first, size_t i)
{
    return (uint8_t)(first * 7 + i + i / 251);
}

static struct fragment make(uint8_t *bytes, uint64_t first, size_t len, size_t slice, uint16_t index)
{
    size_t at = index * slice, n = len - at < slice ? len - at : slice;
    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_of(first, at + i);
    return (struct fragment){
        .stream = 5,
        .sequence = first + index,
        .id = (uint16_t)first,
        .index = index,
        .more = at + n < len,
        .slice = {bytes, n},
    };
}

static int add(struct bench *b, uint64_t first, size_t len, size_t slice, uint16_t index, struct fragment_message *out)
{
    static uint8_t bytes[64 * KIB];
    struct fragment f = make(bytes, first, len, slice, index);
    return reassembly_add(&b->r, &f, b->now, out);
}

static void check_whole(struct fragment_message *m, uint64_t first, size_t len)
{
    cr_assert_not_null(m->frame);
    cr_assert_eq(m->len, 4 + len);
    cr_assert_eq(load_le32(m->frame), len);
    for (size_t i = 0; i < len; i++)
        cr_assert_eq(m->frame[4 + i], byte_of(first, i), "byte %zu of %zu", i, len);
    free(m->frame);
}

Test(fragment, in_order)
{
    struct bench b = begin(16 * MIB, 64 * MIB);
    struct fragment_message m;
    start(&b);
    for (uint16_t i = 0; i < 10; i++) {
        cr_assert_eq(add(&b, 100, 9 * 1000 + 1, 1000, i, &m), NET_OK);
        cr_assert(i == 9 ? m.frame != NULL : m.frame == NULL);
    }
    check_whole(&m, 100, 9001);
    cr_assert_eq(b.r.count, 0);
    finish(&b);
}

/* The largest message in the smallest slices: the index has room for it. */
Test(fragment, largest)
{
    enum { COUNT = (FRAGMENT_MAX_MESSAGE + FRAGMENT_MIN_SLICE - 1) / FRAGMENT_MIN_SLICE };
    struct bench b = begin(FRAGMENT_MAX_MESSAGE, 64 * MIB);
    struct fragment_message m;
    start(&b);
    cr_assert_lt(COUNT, 65536);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(add(&b, 7, FRAGMENT_MAX_MESSAGE, FRAGMENT_MIN_SLICE, (uint16_t)i, &m), NET_OK);
        cr_assert_leq(b.r.own.used, 2 * (uint64_t)(i + 1) * FRAGMENT_MIN_SLICE + FRAGMENT_SPREAD + 16 * KIB);
    }
    check_whole(&m, 7, FRAGMENT_MAX_MESSAGE);
    finish(&b);
}

static void shuffle(uint16_t *order, uint16_t n, uint64_t *random)
{
    for (uint16_t i = n; i > 1; i--) {
        uint16_t j = (uint16_t)(splitmix(random) % i), was = order[i - 1];
        order[i - 1] = order[j];
        order[j] = was;
    }
}

/* In any order, each at its place at once, twice each: the last first, too. */
Test(fragment, any_order)
{
    struct bench b = begin(16 * MIB, 64 * MIB);
    uint64_t random = 1;
    start(&b);
    for (uint64_t round = 0; round < 500; round++) {
        size_t slice = 1 + splitmix(&random) % 1400, len = slice + 1 + splitmix(&random) % (20 * slice);
        uint16_t n = (uint16_t)((len + slice - 1) / slice), order[32];
        struct fragment_message m = {0};
        for (uint16_t i = 0; i < n; i++)
            order[i] = i;
        shuffle(order, n, &random);
        uint64_t first = round * 65536 + round;
        for (uint16_t i = 0; i < n; i++) {
            cr_assert_null(m.frame);
            cr_assert_eq(add(&b, first, len, slice, order[i], &m), NET_OK);
            struct fragment_message again;
            cr_assert_eq(add(&b, first, len, slice, order[i], &again), NET_ERR_EXISTS);
        }
        check_whole(&m, first, len);
    }
    finish(&b);
}

/* Several streams, and several messages of one, at a time; fragment_id alone would not tell them apart. */
Test(fragment, interleaved)
{
    struct bench b = begin(16 * MIB, 64 * MIB);
    static const uint64_t firsts[] = {3, 3 + 65536, 3 + 2 * 65536};
    struct fragment_message m;
    start(&b);
    for (uint16_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 3; k++) {
            cr_assert_eq(add(&b, firsts[k], 3500, 1000, i, &m), NET_OK);
            if (i == 3)
                check_whole(&m, firsts[k], 3500);
        }
    finish(&b);
}

/* A message with a hole goes as a whole after the reorder time, and what comes late of it begins nothing. */
Test(fragment, hole)
{
    struct bench b = begin(16 * MIB, 64 * MIB);
    struct fragment_message m;
    start(&b);
    cr_assert_eq(reassembly_deadline(&b.r), UINT64_MAX);
    cr_assert_eq(add(&b, 1, 5000, 1000, 0, &m), NET_OK);
    cr_assert_eq(reassembly_deadline(&b.r), FRAGMENT_IDLE_NS, "nothing is missing yet");
    b.now = 1000;
    cr_assert_eq(add(&b, 1, 5000, 1000, 2, &m), NET_OK);
    cr_assert_eq(reassembly_deadline(&b.r), FRAGMENT_REORDER_NS, "since 0 the next one is awaited");
    b.now = 2000;
    cr_assert_eq(add(&b, 1, 5000, 1000, 4, &m), NET_OK);
    cr_assert_eq(reassembly_tick(&b.r, FRAGMENT_REORDER_NS - 1), 0);
    cr_assert_eq(reassembly_tick(&b.r, FRAGMENT_REORDER_NS), 1);
    cr_assert_eq(b.total.used, 0);
    cr_assert_eq(add(&b, 1, 5000, 1000, 1, &m), NET_ERR_EXISTS);
    cr_assert_eq(b.r.count, 0);
    finish(&b);
}

Test(fragment, contradictions)
{
    static uint8_t bytes[4096];
    static const struct {
        struct fragment first, second;
        const char *what;
    } cases[] = {
        {{1, 10, 10, 0, true, false, {bytes, 100}}, {1, 11, 10, 1, true, false, {bytes, 99}}, "a shorter slice"},
        {{1, 10, 10, 0, true, false, {bytes, 100}}, {1, 11, 10, 1, false, false, {bytes, 101}}, "a longer last"},
        {{1, 12, 10, 2, false, false, {bytes, 50}}, {1, 13, 10, 3, true, false, {bytes, 100}}, "behind the last"},
        {{1, 12, 10, 2, false, false, {bytes, 50}}, {1, 13, 10, 3, false, false, {bytes, 50}}, "two ends"},
        {{1, 12, 10, 2, false, false, {bytes, 50}}, {1, 12, 10, 2, true, false, {bytes, 50}}, NULL},
        {{1, 13, 10, 3, true, false, {bytes, 50}}, {1, 12, 10, 2, false, false, {bytes, 50}}, "an end before others"},
        {{1, 12, 10, 2, false, false, {bytes, 50}}, {1, 10, 10, 0, true, false, {bytes, 49}}, "shorter than the last"},
        {{1, 10, 10, 0, true, true, {bytes, 50}}, {1, 12, 10, 2, true, true, {bytes, 50}}, "reliable, with a hole"},
        {{1, 10, 10, 0, true, true, {bytes, 50}}, {1, 11, 10, 1, true, false, {bytes, 50}}, "half reliable"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bench b = begin(16 * MIB, 64 * MIB);
        struct fragment_message m;
        start(&b);
        cr_assert_eq(reassembly_add(&b.r, &cases[i].first, 0, &m), NET_OK);
        int err = reassembly_add(&b.r, &cases[i].second, 0, &m);
        if (!cases[i].what) {
            cr_assert_eq(err, NET_ERR_EXISTS, "it is here already, whatever it says now");
        } else {
            cr_assert_eq(err, NET_ERR_FORMAT, "%s", cases[i].what);
            cr_assert_eq(b.r.count, 0, "given up whole: %s", cases[i].what);
        }
        cr_assert_null(m.frame);
        finish(&b);
    }
}

Test(fragment, makes_no_sense)
{
    static uint8_t bytes[4096];
    static const struct fragment cases[] = {
        {1, 10, 11, 0, true, false, {bytes, 100}},          /* another id */
        {1, 3, (uint16_t)-1, 4, true, false, {bytes, 100}}, /* begins before the stream */
        {1, 10, 10, 0, true, false, {bytes, 0}},            /* brings nothing */
        {1, 10, 10, 0, false, false, {bytes, 1}},           /* no fragment */
        {1, 65535, 0, 65535, true, false, {bytes, 1}},      /* the next one has no index */
    };
    struct bench b = begin(16 * MIB, 64 * MIB);
    start(&b);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fragment_message m;
        cr_assert_eq(reassembly_add(&b.r, &cases[i], 0, &m), NET_ERR_FORMAT, "%zu", i);
        cr_assert_eq(b.r.count, 0);
    }
    finish(&b);
}

/* A header can say anything: memory follows what came. */
Test(fragment, far_ahead)
{
    struct bench b = begin(16 * MIB, 64 * MIB);
    struct fragment_message m;
    start(&b);
    cr_assert_eq(add(&b, 1, 16 * MIB, 8000, 132, &m), NET_ERR_LIMIT);
    cr_assert_eq(add(&b, 1, 16 * MIB, 8000, 0, &m), NET_ERR_EXISTS, "the whole message is over");
    cr_assert_eq(add(&b, 90000, 16 * MIB, 8000, 131, &m), NET_OK);
    cr_assert_leq(b.total.used, 2 * (8000 + FRAGMENT_SPREAD));
    finish(&b);
}

Test(fragment, too_large)
{
    struct bench b = begin(10000, 64 * MIB);
    struct fragment_message m;
    start(&b);
    for (uint16_t i = 0; i < 10; i++)
        cr_assert_eq(add(&b, 1, 10001, 1000, i, &m), NET_OK);
    cr_assert_eq(add(&b, 1, 10001, 1000, 10, &m), NET_ERR_TOO_LARGE);
    for (uint16_t i = 0; i < 10; i++)
        cr_assert_eq(add(&b, 100, 10000, 1000, i, &m), NET_OK);
    check_whole(&m, 100, 10000);
    finish(&b);
}

/* Nobody takes more than a peer's share, all together not more than the total, and what went comes back. */
Test(fragment, budgets)
{
    struct bench b = begin(16 * MIB, 256 * KIB);
    struct reassembly other;
    struct fragment_message m;
    int err = NET_OK;
    start(&b);
    b.total.limit = 300 * KIB;
    reassembly_init(&other, 16 * MIB, 256 * KIB, &b.total);
    for (uint16_t i = 0; !err; i++) {
        err = add(&b, 1, MIB, 1000, i, &m);
        cr_assert_leq(b.r.own.used, 256 * KIB);
        cr_assert_lt(i, 300);
    }
    cr_assert_eq(err, NET_ERR_LIMIT);
    cr_assert_eq(b.total.used, 0, "the message that was too much is gone");

    static uint8_t bytes[1000];
    for (uint16_t i = 0; i < 150; i++)
        cr_assert_eq(add(&b, 5000, MIB, 1000, i, &m), NET_OK);
    err = NET_OK;
    for (uint16_t i = 0; !err; i++) {
        struct fragment f = make(bytes, 1, MIB, 1000, i);
        err = reassembly_add(&other, &f, 0, &m);
        cr_assert_leq(b.total.used, 300 * KIB);
        cr_assert_lt(i, 300);
    }
    cr_assert_eq(err, NET_ERR_LIMIT);
    cr_assert_eq(b.r.count, 1, "the other peer's loss alone");
    reassembly_deinit(&other);
    finish(&b);
}

Test(fragment, messages_at_a_time)
{
    struct bench b = begin(16 * MIB, 64 * MIB);
    struct fragment_message m;
    start(&b);
    for (uint64_t i = 0; i < FRAGMENT_MESSAGES; i++)
        cr_assert_eq(add(&b, 100 * i, 3000, 1000, 0, &m), NET_OK);
    cr_assert_eq(add(&b, 100 * FRAGMENT_MESSAGES, 3000, 1000, 0, &m), NET_ERR_LIMIT);
    for (uint16_t i = 1; i < 3; i++)
        cr_assert_eq(add(&b, 100, 3000, 1000, i, &m), NET_OK);
    check_whole(&m, 100, 3000);
    cr_assert_eq(add(&b, 9000, 3000, 1000, 0, &m), NET_OK);
    finish(&b);
}

/* A reliable message waits for as long as its stream lives, and goes with it; the stream's next begins anew. */
Test(fragment, stream_ends)
{
    static uint8_t bytes[1000];
    struct bench b = begin(16 * MIB, 64 * MIB);
    struct fragment_message m;
    start(&b);
    struct fragment f = make(bytes, 0, 3000, 1000, 0);
    f.reliable = true;
    cr_assert_eq(reassembly_add(&b.r, &f, 0, &m), NET_OK);
    cr_assert_eq(reassembly_deadline(&b.r), UINT64_MAX);
    cr_assert_eq(reassembly_tick(&b.r, UINT64_MAX - 1), 0);
    cr_assert_eq(reassembly_end_stream(&b.r, 6), 0);
    cr_assert_eq(reassembly_end_stream(&b.r, 5), 1);
    for (uint16_t i = 0; i < 3; i++) {
        f = make(bytes, 0, 3000, 1000, i);
        f.reliable = true;
        cr_assert_eq(reassembly_add(&b.r, &f, 0, &m), NET_OK);
    }
    check_whole(&m, 0, 3000);
    f = make(bytes, 0, 3000, 1000, 0);
    cr_assert_eq(reassembly_add(&b.r, &f, 0, &m), NET_ERR_EXISTS);
    cr_assert_eq(reassembly_end_stream(&b.r, 5), 0);
    cr_assert_eq(reassembly_add(&b.r, &f, 0, &m), NET_OK, "sequences began at 0 again");
    finish(&b);
}
