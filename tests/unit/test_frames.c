/* Event frames, wire.md 6.1 and 14 (25 to 29). */
#include <criterion/criterion.h>

#include "core/wire/wire.h"

static const uint8_t example[] = "\5\0\0\0hello\6\0\0\0world!";
enum { EXAMPLE = sizeof example - 1 };

Test(frames, worked_example)
{
    struct wire_frames f = wire_frames((struct cspan){example, EXAMPLE}, 2);
    struct cspan e;
    cr_assert(wire_frames_next(&f, &e));
    cr_assert_eq(e.len, 5);
    cr_assert_arr_eq(e.data, "hello", 5);
    cr_assert(wire_frames_next(&f, &e));
    cr_assert_eq(e.len, 6);
    cr_assert_arr_eq(e.data, "world!", 6);
    cr_assert(!wire_frames_next(&f, &e));
}

static unsigned count(const void *plaintext, size_t len, uint32_t announced)
{
    struct wire_frames f = wire_frames((struct cspan){plaintext, len}, announced);
    struct cspan e;
    unsigned n = 0;
    while (wire_frames_next(&f, &e)) {
        cr_assert(e.data >= (const uint8_t *)plaintext && e.data + e.len <= (const uint8_t *)plaintext + len);
        n++;
    }
    return n;
}

Test(frames, empty_events_count)
{
    uint8_t zeros[12] = {0};
    cr_assert_eq(count(zeros, sizeof zeros, 3), 3);
    cr_assert_eq(count(zeros, sizeof zeros, 2), 2, "trailing bytes are ignored");
    cr_assert_eq(count(zeros, sizeof zeros, 0), 0);
}

Test(frames, a_frame_that_does_not_fit_ends_the_walk)
{
    for (size_t len = 0; len < EXAMPLE; len++)
        cr_assert_eq(count(example, len, 2), len >= 9 ? 1 : 0, "%zu bytes", len);
    cr_assert_eq(count("\0\0\0\0\xff\xff\xff\xff"
                       "abcd",
                       12, 3),
                 1, "earlier events are delivered");
    cr_assert_eq(count("\xff\xff\xff\x7f", 4, 1), 0);
}

Test(frames, an_announced_count_is_only_a_bound)
{
    cr_assert_eq(count(example, EXAMPLE, 65535), 2);
    cr_assert_eq(count(NULL, 0, 65535), 0);
}
