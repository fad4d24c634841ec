#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "storage/ring/event_ring.h"

static uint64_t next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

/* An event's bytes follow from its sequence: what is read can be checked without keeping what was written. */
static size_t frame_of(uint64_t seq, uint8_t *out)
{
    uint64_t s = seq * 2654435761u + 1;
    uint32_t len = (uint32_t)(next(&s) % 700);
    store_le32(out, len);
    for (uint32_t i = 0; i < len; i++)
        out[4 + i] = (uint8_t)(seq + i);
    return 4 + len;
}

static size_t frames_of(uint64_t seq, uint32_t count, uint8_t *out)
{
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++)
        len += frame_of(seq + i, out + len);
    return len;
}

static void check(const struct event_ring *r)
{
    uint8_t frame[800];
    struct redex_event e[64];
    uint64_t seq = r->first_seq;
    while (seq < r->next_seq) {
        uint64_t from = seq;
        size_t n = event_ring_read(r, &seq, r->next_seq, e, 64);
        cr_assert_gt(n, 0);
        for (size_t i = 0; i < n; i++) {
            size_t len = frame_of(from + i, frame) - 4;
            cr_assert_eq(e[i].seq, from + i);
            cr_assert_eq(e[i].ts_ns, 1000 + from + i);
            cr_assert_eq(e[i].data.len, len);
            cr_assert_eq(memcmp(e[i].data.data, frame + 4, len), 0);
        }
    }
}

/* The runs of frames, joined, are the same events: what packets are made of. */
static void check_frames(const struct event_ring *r)
{
    uint8_t frame[800];
    uint64_t seq = r->first_seq;
    while (seq < r->next_seq) {
        struct cspan run = event_ring_frames(r, seq);
        cr_assert_gt(run.len, 0);
        while (run.len) {
            size_t len = frame_of(seq++, frame);
            cr_assert_leq(len, run.len);
            cr_assert_eq(memcmp(run.data, frame, len), 0);
            run.data += len;
            run.len -= len;
        }
    }
    cr_assert_eq(seq, r->next_seq);
}

Test(event_ring, keeps_the_newest_events_intact_through_many_wraps)
{
    static uint8_t frames[65536];
    struct event_ring r;
    uint64_t random = 99, first;
    cr_assert_eq(event_ring_init(&r, 65536), NET_OK);
    for (int i = 0; i < 20000; i++) {
        uint64_t at = r.next_seq;
        size_t len = frames_of(at, 1, frames);
        cr_assert_eq(event_ring_append(&r, 1000 + at, (struct cspan){frames, len}, 1, UINT64_MAX, &first), NET_OK);
        cr_assert_eq(first, at);
        if (next(&random) % 16 == 0) {
            check(&r);
            check_frames(&r);
        }
    }
    cr_assert_gt(r.next_seq - r.first_seq, 100, "about 65,536 / 354 events stay");
    event_ring_deinit(&r);
}

Test(event_ring, never_drops_what_a_reader_still_needs)
{
    static uint8_t frames[65536];
    struct event_ring r;
    uint64_t random = 5, keep = 0, first, refused = 0;
    cr_assert_eq(event_ring_init(&r, 65536), NET_OK);
    for (int i = 0; i < 50000; i++) {
        uint32_t count = (uint32_t)(1 + next(&random) % 12);
        uint64_t at = r.next_seq, first_before = r.first_seq;
        size_t len = frames_of(at, count, frames);
        int err = event_ring_append(&r, 1, (struct cspan){frames, len}, count, keep, &first);
        if (len > 65536 / 8) {
            cr_assert_eq(err, NET_ERR_TOO_LARGE);
            continue;
        }
        if (err == NET_ERR_AGAIN) {
            refused++;
            cr_assert_eq(r.next_seq, at);
            keep = keep + next(&random) % 100; /* the reader moves on */
            if (keep > r.next_seq)
                keep = r.next_seq;
            continue;
        }
        cr_assert_eq(err, NET_OK);
        cr_assert(r.first_seq <= keep || r.first_seq == first_before, "dropped %lu, needed %lu", r.first_seq, keep);
        if (i % 64 == 0)
            check_frames(&r);
    }
    cr_assert_gt(refused, 100);
    event_ring_deinit(&r);
}

Test(event_ring, refuses_frames_that_do_not_fill_their_bytes)
{
    struct event_ring r;
    uint64_t first;
    uint8_t frames[16] = {2, 0, 0, 0, 'h', 'i', 9, 0, 0, 0};
    cr_assert_eq(event_ring_init(&r, 65536), NET_OK);
    cr_assert_eq(event_ring_append(&r, 1, (struct cspan){frames, 10}, 1, 0, &first), NET_ERR_FORMAT);
    cr_assert_eq(event_ring_append(&r, 1, (struct cspan){frames, 10}, 2, 0, &first), NET_ERR_FORMAT);
    cr_assert_eq(event_ring_append(&r, 1, (struct cspan){frames, 6}, 2, 0, &first), NET_ERR_FORMAT);
    cr_assert_eq(r.next_seq, 0);
    cr_assert_eq(event_ring_append(&r, 1, (struct cspan){frames, 6}, 1, 0, &first), NET_OK);
    cr_assert_eq(r.next_seq, 1);
    event_ring_deinit(&r);
}

Test(event_ring, sequences_that_nobody_reads_pass)
{
    struct event_ring r;
    uint64_t first, seq = 0;
    uint8_t frame[] = {1, 0, 0, 0, 'x'};
    struct redex_event e;
    cr_assert_eq(event_ring_init(&r, 65536), NET_OK);
    cr_assert_eq(event_ring_append(&r, 1, (struct cspan){frame, 5}, 1, 0, &first), NET_OK);
    cr_assert_eq(event_ring_skip(&r, 10), 1);
    cr_assert_eq(r.first_seq, 11);
    cr_assert_eq(event_ring_append(&r, 1, (struct cspan){frame, 5}, 1, 11, &first), NET_OK);
    cr_assert_eq(first, 11);
    cr_assert_eq(event_ring_read(&r, &seq, 100, &e, 1), 1);
    cr_assert_eq(e.seq, 11);
    event_ring_deinit(&r);
}
