/* One direction of the emulated link, without a clock: times and shares are exact here. tests/e2e/test_link_emulator.py
 * has the rest, on real sockets. */
#include <criterion/criterion.h>

#include "tests/tools/link_emulator/line.h"

#define MS UINT64_C(1000000)

static void offer(struct line *line, uint32_t number, size_t len, uint64_t now_ns)
{
    uint8_t bytes[1500] = {0};
    memcpy(bytes, &number, sizeof number);
    line_offer(line, bytes, len, now_ns);
}

/* The number of the packet that leaves at this time and not a nanosecond before; -1: none does. */
static int64_t pull_at(struct line *line, uint64_t at_ns)
{
    if (line_deadline(line) != at_ns)
        return -1;
    cr_assert_null(line_pull(line, at_ns - 1));
    struct line_packet *packet = line_pull(line, at_ns);
    uint32_t number;
    memcpy(&number, packet->bytes, sizeof number);
    free(packet);
    return number;
}

Test(link_line, delay)
{
    struct line line;
    line_init(&line, &(struct line_settings){.delay_ns = 10 * MS}, 1, 0);
    cr_assert_eq(line_deadline(&line), UINT64_MAX);
    offer(&line, 1, 100, 5 * MS);
    offer(&line, 2, 1500, 5 * MS);
    offer(&line, 3, 40, 7 * MS);
    cr_assert_eq(pull_at(&line, 15 * MS), 1);
    cr_assert_eq(pull_at(&line, 15 * MS), 2);
    cr_assert_eq(pull_at(&line, 17 * MS), 3);
    cr_assert_eq(line_deadline(&line), UINT64_MAX);
    cr_assert_eq(line.counts.delivered_bytes, 1640);
    line_deinit(&line);
}

/* 8 Mbit/s: a byte takes a microsecond. The queue takes 3000 bytes, those on their way through the bottleneck included.
 */
Test(link_line, rate_and_queue)
{
    struct line line;
    line_init(&line, &(struct line_settings){.delay_ns = 10 * MS, .rate = 8e6, .queue_bytes = 3000}, 1, 0);
    for (uint32_t number = 0; number < 5; number++)
        offer(&line, number, 1000, 0);
    cr_assert_eq(line.counts.queue_dropped, 2);
    cr_assert_eq(line.counts.queue_peak, 3000);
    offer(&line, 5, 1000, MS - 1000);
    cr_assert_eq(line.counts.queue_dropped, 3, "1001 bytes are still to go");
    offer(&line, 6, 1000, MS);
    cr_assert_eq(line.counts.queue_dropped, 3);
    offer(&line, 7, 500, 20 * MS);
    for (uint32_t number = 0; number < 3; number++)
        cr_assert_eq(pull_at(&line, (11 + number) * MS), number);
    cr_assert_eq(pull_at(&line, 14 * MS), 6);
    cr_assert_eq(pull_at(&line, 30 * MS + MS / 2), 7, "an idle bottleneck starts at once");
    line_deinit(&line);
}

Test(link_line, overtaken_packets_take_longer)
{
    struct line line;
    line_init(&line, &(struct line_settings){.delay_ns = MS, .reorder = 1, .reorder_ns = 5 * MS}, 1, 0);
    offer(&line, 1, 100, 0);
    line.settings.reorder = 0;
    offer(&line, 2, 100, MS);
    cr_assert_eq(pull_at(&line, 2 * MS), 2);
    cr_assert_eq(pull_at(&line, 6 * MS), 1);
    cr_assert_eq(line.counts.reordered, 1);
    line_deinit(&line);
}

Test(link_line, jitter_keeps_order)
{
    struct line line;
    line_init(&line, &(struct line_settings){.delay_ns = 2 * MS, .jitter_ns = 5 * MS}, 1, 0);
    for (uint32_t number = 0; number < 1000; number++)
        offer(&line, number, 100, MS + number * 1000);
    for (uint32_t number = 0; number < 1000; number++) {
        uint64_t due = line_deadline(&line);
        cr_assert(due >= MS + number * 1000 && due <= 8 * MS + 1000 * 1000);
        cr_assert_eq(pull_at(&line, due), number);
    }
    line_deinit(&line);
}

Test(link_line, always)
{
    struct line line;
    line_init(&line, &(struct line_settings){.loss = 1}, 1, 0);
    offer(&line, 1, 100, 0);
    line.settings = (struct line_settings){.duplicate = 1, .corrupt = 1};
    offer(&line, 2, 100, 0);
    cr_assert_eq(line.counts.lost, 1);
    cr_assert_eq(line.counts.duplicated, 1);
    cr_assert_eq(line.counts.corrupted, 1);
    struct line_packet *one = line_pull(&line, 0), *two = line_pull(&line, 0);
    cr_assert(one && two && one->len == 100 && memcmp(one->bytes, two->bytes, 100) == 0, "both as they were changed");
    int bits = 0;
    for (int i = 0; i < 100; i++)
        bits += __builtin_popcount(one->bytes[i] ^ (i == 0 ? 2 : 0));
    cr_assert_eq(bits, 1);
    free(one);
    free(two);
    line_deinit(&line);
}

/* What befalls a packet is the seed's, whatever else is asked for; directions have nothing in common. */
Test(link_line, seed)
{
    struct line lines[3];
    uint64_t lost[3][16] = {0};
    line_init(&lines[0], &(struct line_settings){.loss = 0.25}, 9, 0);
    line_init(&lines[1], &(struct line_settings){.loss = 0.25, .duplicate = 0.5, .jitter_ns = MS, .delay_ns = MS}, 9,
              0);
    line_init(&lines[2], &(struct line_settings){.loss = 0.25}, 9, 1);
    for (uint32_t which = 0; which < 3; which++) {
        for (uint32_t number = 0; number < 1024; number++) {
            uint64_t before = lines[which].counts.lost;
            offer(&lines[which], number, 100, 0);
            lost[which][number / 64] |= (lines[which].counts.lost - before) << number % 64;
        }
        line_deinit(&lines[which]);
    }
    cr_assert_arr_eq(lost[0], lost[1], sizeof lost[0]);
    int both = 0;
    for (int i = 0; i < 16; i++)
        both += __builtin_popcountll(lost[0][i] & lost[2][i]);
    cr_assert_leq(both, 105, "1024 / 16, and five standard deviations");
}

Test(link_line, memory_is_bounded)
{
    struct line line;
    static uint8_t bytes[LINE_MAX_PACKET];
    line_init(&line, &(struct line_settings){.delay_ns = 1000 * MS}, 1, 0);
    for (size_t i = 0; i < LINE_FLIGHT_BYTES / sizeof bytes + 10; i++)
        line_offer(&line, bytes, sizeof bytes, 0);
    cr_assert_eq(line.counts.overflowed, 10);
    cr_assert_leq(line.flight_bytes, LINE_FLIGHT_BYTES);
    line_deinit(&line);
    cr_assert_eq(line_deadline(&line), UINT64_MAX);
}
