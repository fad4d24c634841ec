/* Building plaintexts: streams.md 5.1 and 19 (4 to 6), wire.md 14 (33, 34). */
#include <criterion/criterion.h>

#include "core/wire/packer.h"
#include "tests/support/splitmix.h"

static uint8_t zeros[65536];

static struct cspan event(size_t len)
{
    return (struct cspan){zeros, len};
}

Test(packer, packs_until_the_plaintext_is_full)
{
    uint8_t out[WIRE_MAX_PLAINTEXT];
    struct packer p;
    packer_init(&p, out, sizeof out);
    cr_assert(packer_add(&p, event(4000)));
    cr_assert(packer_add(&p, event(4000)));
    cr_assert_eq(p.len, 8008);
    cr_assert(!packer_add(&p, event(200)));
    cr_assert_eq(p.len, 8008);
    cr_assert_eq(p.count, 2);
    cr_assert(packer_add(&p, event(100)), "exactly full");
    cr_assert_eq(p.len, WIRE_MAX_PLAINTEXT);
    cr_assert(!packer_add(&p, event(0)));
}

Test(packer, holds_2028_empty_events)
{
    uint8_t out[WIRE_MAX_PLAINTEXT];
    struct packer p;
    packer_init(&p, out, sizeof out);
    for (int i = 0; i < WIRE_MAX_EVENTS; i++)
        cr_assert(packer_add(&p, event(0)));
    cr_assert(!packer_add(&p, event(0)));
    cr_assert_eq(p.count, WIRE_MAX_EVENTS);
    packer_init(&p, out, sizeof out);
    cr_assert_eq(packer_add_frames(&p, (struct cspan){zeros, 4 * 2029}, UINT32_MAX), WIRE_MAX_EVENTS);
    cr_assert_eq(p.len, 4 * WIRE_MAX_EVENTS);
}

Test(packer, largest_events)
{
    uint8_t out[WIRE_MAX_PLAINTEXT];
    struct packer p;
    packer_init(&p, out, sizeof out);
    cr_assert(!packer_add(&p, event(WIRE_MAX_EVENT + 1)));
    cr_assert(!packer_add(&p, event(sizeof zeros)));
    cr_assert(packer_add(&p, event(WIRE_MAX_EVENT)));
    cr_assert_eq(WIRE_OVERHEAD + p.len, WIRE_MAX_PACKET);
    packer_init(&p, out, WIRE_MAX_EVENT_ROUTED + WIRE_FRAME_HEAD);
    cr_assert(!packer_add(&p, event(WIRE_MAX_EVENT_ROUTED + 1)));
    cr_assert(packer_add(&p, event(WIRE_MAX_EVENT_ROUTED)));
    cr_assert_eq(WIRE_ROUTE + WIRE_OVERHEAD + p.len, WIRE_MAX_PACKET);
}

Test(packer, an_empty_span_adds_nothing)
{
    uint8_t out[16];
    struct packer p;
    packer_init(&p, out, sizeof out);
    cr_assert_eq(packer_add_frames(&p, (struct cspan){NULL, 0}, UINT32_MAX), 0);
    cr_assert(packer_add(&p, (struct cspan){NULL, 0}));
    cr_assert_eq(p.len, 4);
}

Test(packer, damaged_or_oversize_frames_are_not_taken)
{
    uint8_t out[64];
    struct packer p;
    const uint8_t frames[] = "\1\0\0\0a\xff\xff\xff\xff"
                             "bcd";
    packer_init(&p, out, sizeof out);
    cr_assert_eq(packer_add_frames(&p, (struct cspan){frames, sizeof frames - 1}, UINT32_MAX), 1);
    cr_assert_eq(p.len, 5);
    cr_assert_eq(packer_add_frames(&p, (struct cspan){frames + 5, sizeof frames - 6}, UINT32_MAX), 0);
    cr_assert_eq(packer_add_frames(&p, (struct cspan){frames, 3}, UINT32_MAX), 0);
    cr_assert_eq(packer_add_frames(&p, (struct cspan){frames, sizeof frames - 1}, 0), 0);
    cr_assert_eq(p.len, 5);
}

/* A run of frames becomes the same packets whether added one by one or in runs, and no byte is lost or moved. */
Test(packer, runs_equal_single_events)
{
    enum { RUN = 60000 };
    uint8_t *run = malloc(RUN), one[WIRE_MAX_PLAINTEXT], all[WIRE_MAX_PLAINTEXT];
    uint64_t seed = 3;
    size_t len = 0;
    for (size_t size; len + 4 + (size = (size_t)splitmix_below(&seed, splitmix_below(&seed, 2) ? 1000 : 10)) <= RUN;) {
        store_le32(run + len, (uint32_t)size);
        for (size_t i = 0; i < size; i++)
            run[len + 4 + i] = (uint8_t)splitmix(&seed);
        len += 4 + size;
    }
    for (size_t at = 0; at < len;) {
        size_t cap = 1004 + (size_t)splitmix_below(&seed, WIRE_MAX_PLAINTEXT - 1004 + 1);
        struct packer a, b;
        packer_init(&a, one, cap);
        packer_init(&b, all, cap);
        while (at + a.len < len && packer_add(&a, (struct cspan){run + at + a.len + 4, load_le32(run + at + a.len)}))
            ;
        cr_assert_eq(packer_add_frames(&b, (struct cspan){run + at, len - at}, UINT32_MAX), a.count);
        cr_assert_eq(a.len, b.len);
        cr_assert_arr_eq(one, all, a.len);
        cr_assert_gt(a.count, 0);
        at += a.len;
    }
    free(run);
}
