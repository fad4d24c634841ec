/* Acknowledgement blocks: bytes, and when one is due. Extensions X2.3; the bytes below were written from the table in
 * ack.h by hand. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/stream/ack.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define T0 (5 * MS)

static struct ack_state arrived(const uint64_t *counters, size_t count)
{
    struct ack_state a;
    ack_init(&a);
    for (size_t i = 0; i < count; i++)
        ack_on_packet(&a, counters[i], true, T0);
    return a;
}
#define ARRIVED(...) arrived((uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void expect_bytes(const struct ack_state *a, uint64_t now, const uint8_t *want, size_t len)
{
    uint8_t got[ACK_MAX];
    cr_assert_eq(ack_encode(a, now, got, sizeof got), len);
    cr_assert_arr_eq(got, want, len);
}

static const uint8_t packet_zero[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

/* 1, 2 and 5..9 arrived, 9 came 1500 us ago: one further range, 3 and 4 are missing. */
static const uint8_t one_gap[] = {0x09, 0, 0,    0, 0, 0, 0,    0, 0xdc, 0x05, 0,    0, 0x01, 0,
                                  0,    0, 0x04, 0, 0, 0, 0x01, 0, 0,    0,    0x01, 0, 0,    0};

/* 0x123456789a, 0x1234567898 and 0x1234567790..0x1234567893; the gaps are one and four wide. */
static const uint8_t two_gaps[] = {0x9a, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
                                   0x02, 0,    0,    0,    0,    0, 0, 0, 0,    0,    0,    0,
                                   0,    0,    0,    0,    0x03, 0, 0, 0, 0x03, 0x01, 0,    0};

Test(ack, bytes)
{
    struct ack_state a = ARRIVED(0);
    expect_bytes(&a, T0, packet_zero, sizeof packet_zero);
    a = ARRIVED(1, 2, 5, 6, 7, 8, 9);
    expect_bytes(&a, T0 + 1500 * US + 999, one_gap, sizeof one_gap);
    ack_init(&a);
    for (uint64_t c = 0x1234567790; c <= 0x1234567893; c++)
        ack_on_packet(&a, c, true, T0);
    ack_on_packet(&a, 0x1234567898, false, T0);
    ack_on_packet(&a, 0x123456789a, true, T0);
    expect_bytes(&a, T0 + UINT64_C(0x100000000) * US, two_gaps, sizeof two_gaps);
}

Test(ack, decoded)
{
    struct ack a;
    cr_assert_eq(ack_decode((struct cspan){packet_zero, sizeof packet_zero}, &a), NET_OK);
    cr_assert_eq(a.count, 1);
    cr_assert(a.ranges[0].first == 0 && a.ranges[0].last == 0 && a.delay_ns == 0);
    cr_assert_eq(ack_decode((struct cspan){one_gap, sizeof one_gap}, &a), NET_OK);
    cr_assert_eq(a.count, 2);
    cr_assert_eq(a.delay_ns, 1500 * US);
    cr_assert(a.ranges[0].first == 5 && a.ranges[0].last == 9);
    cr_assert(a.ranges[1].first == 1 && a.ranges[1].last == 2);
    cr_assert_eq(ack_decode((struct cspan){two_gaps, sizeof two_gaps}, &a), NET_OK);
    cr_assert_eq(a.count, 3);
    cr_assert_eq(a.delay_ns, UINT32_MAX * US);
    cr_assert(a.ranges[1].first == 0x1234567898 && a.ranges[1].last == 0x1234567898);
    cr_assert(a.ranges[2].first == 0x1234567790 && a.ranges[2].last == 0x1234567893);
}

Test(ack, malformed_blocks_are_refused)
{
    uint8_t b[ACK_MAX + ACK_RANGE] = {0};
    struct ack a;
    for (size_t len = 0; len < sizeof one_gap; len++)
        cr_assert_eq(ack_decode((struct cspan){one_gap, len}, &a), NET_ERR_FORMAT, "%zu bytes", len);
    memcpy(b, one_gap, sizeof one_gap);
    cr_assert_eq(ack_decode((struct cspan){b, sizeof one_gap + 1}, &a), NET_ERR_FORMAT, "a byte too many");
    b[14] = 1;
    cr_assert_eq(ack_decode((struct cspan){b, sizeof one_gap}, &a), NET_ERR_FORMAT, "a field that must be zero");
    b[14] = 0;
    b[16] = 10;
    cr_assert_eq(ack_decode((struct cspan){b, sizeof one_gap}, &a), NET_ERR_FORMAT, "the first range below 0");
    b[16] = 4;
    b[20] = 4; /* gap of five: the next range would end at -1 */
    cr_assert_eq(ack_decode((struct cspan){b, sizeof one_gap}, &a), NET_ERR_FORMAT);
    b[20] = 3; /* it ends at 0, and is two long */
    cr_assert_eq(ack_decode((struct cspan){b, sizeof one_gap}, &a), NET_ERR_FORMAT);
    b[24] = 0;
    cr_assert_eq(ack_decode((struct cspan){b, sizeof one_gap}, &a), NET_OK);
    cr_assert(a.ranges[1].first == 0 && a.ranges[1].last == 0);
    memset(b, 0, sizeof b);
    b[7] = 1;
    b[12] = ACK_FURTHER;
    cr_assert_eq(ack_decode((struct cspan){b, ACK_MAX}, &a), NET_OK);
    cr_assert_eq(a.count, ACK_FURTHER + 1);
    b[12] = ACK_FURTHER + 1;
    cr_assert_eq(ack_decode((struct cspan){b, ACK_MAX + ACK_RANGE}, &a), NET_ERR_FORMAT);
}

Test(ack, the_lowest_ranges_give_way)
{
    struct ack_state a = ARRIVED(1, 3, 5, 7, 9);
    uint8_t b[ACK_MAX];
    struct ack got;
    cr_assert_eq(ack_encode(&a, T0, b, ACK_HEAD - 1), 0);
    cr_assert_eq(ack_encode(&a, T0, b, ACK_HEAD + 2 * ACK_RANGE + 7), ACK_HEAD + 2 * ACK_RANGE);
    cr_assert_eq(ack_decode((struct cspan){b, ACK_HEAD + 2 * ACK_RANGE}, &got), NET_OK);
    cr_assert_eq(got.ranges[2].last, 5);
    ack_init(&a);
    cr_assert_eq(ack_encode(&a, T0, b, sizeof b), 0, "nothing arrived");
}

Test(ack, ranges_too_long_for_their_field_are_cut)
{
    struct ack_state a = ARRIVED(1);
    uint8_t b[ACK_MAX];
    struct ack got;
    ack_on_packet(&a, UINT64_C(1) << 40, true, T0);
    cr_assert_eq(ack_encode(&a, T0, b, sizeof b), ACK_HEAD, "the gap cannot be said");
    a.ranges.count = 2;
    a.ranges.list[0] = (struct range){10, UINT64_C(1) << 40};
    a.ranges.list[1] = (struct range){1, 2};
    cr_assert_eq(ack_encode(&a, T0, b, sizeof b), ACK_HEAD);
    cr_assert_eq(ack_decode((struct cspan){b, ACK_HEAD}, &got), NET_OK);
    cr_assert_eq(got.ranges[0].last - got.ranges[0].first, UINT32_MAX);
}

Test(ack, due_in_time)
{
    struct ack_state a;
    ack_init(&a);
    cr_assert(!ack_due(&a, UINT64_MAX - 1));
    ack_on_packet(&a, 0, false, T0);
    cr_assert_eq(a.due_ns, UINT64_MAX, "acknowledgements and heartbeats elicit none");
    ack_on_packet(&a, 1, true, T0);
    ack_on_packet(&a, 2, true, T0 + MS / 2);
    cr_assert_eq(a.due_ns, T0 + MS, "counted from the first");
    cr_assert(!ack_due(&a, T0 + MS - 1));
    cr_assert(ack_due(&a, T0 + MS));
    ack_on_sent(&a);
    cr_assert_eq(a.due_ns, UINT64_MAX);
    for (uint64_t c = 3; c < 3 + ACK_EVERY; c++) {
        cr_assert(!ack_due(&a, T0));
        ack_on_packet(&a, c, true, T0);
    }
    cr_assert(ack_due(&a, T0), "after 64 at the latest");
}

Test(ack, due_at_once_when_the_sender_waits_for_it)
{
    struct ack_state a;
    ack_init(&a);
    ack_hurry(&a, T0);
    cr_assert_eq(a.due_ns, UINT64_MAX, "there is nothing to say");
    ack_on_packet(&a, 5, true, T0); /* the first one is no gap */
    cr_assert(!ack_due(&a, T0));
    ack_on_packet(&a, 7, true, T0);
    cr_assert(ack_due(&a, T0), "a gap");
    ack_on_sent(&a);
    ack_on_packet(&a, 6, true, T0);
    cr_assert(ack_due(&a, T0), "and its end");
    ack_on_sent(&a);
    ack_on_packet(&a, 9, false, T0);
    cr_assert(!ack_due(&a, T0), "not for what elicits nothing");
    ack_on_packet(&a, 10, true, T0);
    cr_assert(!ack_due(&a, T0));
    ack_hurry(&a, T0);
    cr_assert(ack_due(&a, T0), "the peer repeated itself");
}
