/* APPEND and its answer, byte for byte. extensions.md X8; the vectors were written by hand from core/channel/append.h.
 */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/channel/append.h"
#include "tests/support/vectors.h"

/* durable, name of 6, 2 events, producer 00 11 .. ff, sequence 0x0102030405060708, "a/logs", "hi" and nothing. */
#define TWO_EVENTS                                                                                                     \
    "0106000002000000"                                                                                                 \
    "00112233445566778899aabbccddeeff"                                                                                 \
    "0807060504030201"                                                                                                 \
    "612f6c6f6773"                                                                                                     \
    "020000006869"                                                                                                     \
    "00000000"
/* Not durable, "x", no events, sequence 0. */
#define NOTHING "000100000000000000112233445566778899aabbccddeeff000000000000000078"
/* Sequence 7, hash 0xfedcba9876543210, events from log sequence 0x1122334455 on, 3 of them, stored. */
#define STORED                                                                                                         \
    "00112233445566778899aabbccddeeff"                                                                                 \
    "0700000000000000"                                                                                                 \
    "1032547698badcfe"                                                                                                 \
    "5544332211000000"                                                                                                 \
    "03000000"                                                                                                         \
    "00000000"
/* Sequence 7 is too old. */
#define TOO_OLD                                                                                                        \
    "00112233445566778899aabbccddeeff"                                                                                 \
    "0700000000000000"                                                                                                 \
    "1032547698badcfe"                                                                                                 \
    "0000000000000000"                                                                                                 \
    "00000000"                                                                                                         \
    "02000000"

static const uint8_t producer[PRODUCER_ID_SIZE] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                                   0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

static struct cspan bytes(const char *hex, uint8_t *room, size_t size)
{
    return (struct cspan){room, unhex(hex, room, size)};
}

static struct append two_events(void)
{
    static const uint8_t frames[] = {2, 0, 0, 0, 'h', 'i', 0, 0, 0, 0};
    struct append a = {.durable = true, .count = 2, .sequence = UINT64_C(0x0102030405060708)};
    memcpy(a.producer, producer, sizeof producer);
    channel_name_parse("a/logs", 6, &a.channel);
    a.frames = (struct cspan){frames, sizeof frames};
    return a;
}

Test(append, is_written_as_documented)
{
    uint8_t want[64], got[64];
    struct cspan w = bytes(TWO_EVENTS, want, sizeof want);
    struct append a = two_events();
    cr_assert_eq(append_encode(&a, got, sizeof got), (int)w.len);
    cr_assert_eq(memcmp(got, want, w.len), 0);
    cr_assert_eq(append_encode(&a, got, w.len - 1), NET_ERR_TOO_LARGE);
}

Test(append, is_read_as_documented)
{
    uint8_t room[64];
    struct append a, want = two_events();
    cr_assert_eq(append_decode(bytes(TWO_EVENTS, room, sizeof room), &a), NET_OK);
    cr_assert(a.durable);
    cr_assert_eq(a.count, 2);
    cr_assert_eq(a.sequence, want.sequence);
    cr_assert_eq(memcmp(a.producer, producer, sizeof producer), 0);
    cr_assert_str_eq(a.channel.text, "a/logs");
    cr_assert_eq(a.frames.len, want.frames.len);
    cr_assert_eq(memcmp(a.frames.data, want.frames.data, a.frames.len), 0);

    cr_assert_eq(append_decode(bytes(NOTHING, room, sizeof room), &a), NET_OK);
    cr_assert_not(a.durable);
    cr_assert_eq(a.count, 0);
    cr_assert_eq(a.frames.len, 0);
}

Test(append, takes_no_part_of_one)
{
    uint8_t room[64];
    struct append a;
    struct cspan whole = bytes(TWO_EVENTS, room, sizeof room);
    for (size_t len = 0; len < whole.len; len++)
        cr_assert_neq(append_decode((struct cspan){room, len}, &a), NET_OK, "of %zu bytes", len);
}

Test(append, refuses_what_it_does_not_know)
{
    static const struct {
        size_t at;
        uint8_t value;
        int err;
    } bad[] = {
        {0, 3, NET_ERR_FORMAT},      /* a flag */
        {2, 1, NET_ERR_FORMAT},      /* not zero */
        {3, 1, NET_ERR_FORMAT},      /* not zero */
        {1, 0, NET_ERR_INVALID},     /* no name */
        {32, '/', NET_ERR_INVALID},  /* no name for a channel */
        {4, 1, NET_ERR_FORMAT},      /* bytes behind the last event */
        {4, 3, NET_ERR_FORMAT},      /* too few events */
        {38, 3, NET_ERR_FORMAT},     /* an event that leads outside */
        {1, 255, NET_ERR_TRUNCATED}, /* so does the name */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t room[64];
        struct append a;
        struct cspan event = bytes(TWO_EVENTS, room, sizeof room);
        room[bad[i].at] = bad[i].value;
        cr_assert_eq(append_decode(event, &a), bad[i].err, "case %zu", i);
    }
}

Test(append, answers_are_written_and_read_as_documented)
{
    static const char *const hex[] = {STORED, TOO_OLD};
    const struct append_answer want[] = {
        {.sequence = 7, .channel_hash = UINT64_C(0xfedcba9876543210), .first_seq = UINT64_C(0x1122334455), .count = 3},
        {.sequence = 7, .channel_hash = UINT64_C(0xfedcba9876543210), .status = APPEND_TOO_OLD},
    };
    for (int i = 0; i < 2; i++) {
        uint8_t room[64], out[APPEND_ANSWER_SIZE];
        struct append_answer got, in = want[i];
        memcpy(in.producer, producer, sizeof producer);
        struct cspan event = bytes(hex[i], room, sizeof room);
        cr_assert_eq(event.len, APPEND_ANSWER_SIZE);
        append_answer_encode(&in, out);
        cr_assert_eq(memcmp(out, room, sizeof out), 0);
        cr_assert_eq(append_answer_decode(event, &got), NET_OK);
        cr_assert_eq(got.sequence, want[i].sequence);
        cr_assert_eq(got.channel_hash, want[i].channel_hash);
        cr_assert_eq(got.first_seq, want[i].first_seq);
        cr_assert_eq(got.count, want[i].count);
        cr_assert_eq(got.status, want[i].status);
        cr_assert_eq(memcmp(got.producer, producer, sizeof producer), 0);
        cr_assert_eq(append_answer_decode((struct cspan){room, 47}, &got), NET_ERR_TRUNCATED);
        cr_assert_eq(append_answer_decode((struct cspan){room, 49}, &got), NET_ERR_FORMAT);
    }
}

Test(append, refuses_answers_that_contradict_themselves)
{
    uint8_t room[64];
    struct append_answer got;
    struct cspan event = bytes(STORED, room, sizeof room);
    room[44] = APPEND_GAP; /* with a sequence and a count */
    cr_assert_eq(append_answer_decode(event, &got), NET_ERR_FORMAT);
    event = bytes(STORED, room, sizeof room);
    room[47] = 1;
    cr_assert_eq(append_answer_decode(event, &got), NET_ERR_FORMAT);
    event = bytes(TOO_OLD, room, sizeof room);
    room[44] = 200; /* of a version to come */
    cr_assert_eq(append_answer_decode(event, &got), NET_OK);
    cr_assert_eq(append_status_err(got.status), NET_ERR_IO);
}

Test(append, statuses_and_errors_are_two_names_of_one_thing)
{
    for (uint8_t status = APPEND_STORED; status <= APPEND_NO_MEMORY; status++)
        cr_assert_eq(append_status_of(append_status_err(status)), status);
    cr_assert_eq(append_status_of(NET_ERR_UNSUPPORTED), APPEND_IO);
    cr_assert_eq(append_status_err(APPEND_TOO_OLD), NET_ERR_REPLAY);
    cr_assert_eq(append_status_err(APPEND_NO_SPACE), NET_ERR_NO_SPACE);
}
