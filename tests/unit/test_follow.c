/* Messages and records of followed channels: bytes as core/channel/follow.h lays them out, put together by hand.
 * extensions.md X7 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/channel/follow.h"
#include "tests/support/vectors.h"

#define LOG_HEX "000102030405060708090a0b0c0d0e0f"
#define NO_LOG_HEX "00000000000000000000000000000000"
static const uint8_t log_id[LOG_ID] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* From memory of exactly the message's size, so that a sanitizer sees a step beyond it. */
static int decode(const char *hex, struct follow_message *out)
{
    uint8_t bytes[512];
    size_t len = unhex(hex, bytes, sizeof bytes);
    uint8_t *copy = malloc(len ? len : 1);
    memcpy(copy, bytes, len);
    int err = follow_message_decode((struct cspan){copy, len}, out);
    free(copy);
    return err;
}

static int decode_record(const char *hex, struct follow_record *out, uint8_t bytes[512])
{
    return follow_record_decode((struct cspan){bytes, unhex(hex, bytes, 512)}, out);
}

static void check_bytes(const uint8_t *got, size_t len, const char *hex)
{
    uint8_t want[512];
    cr_assert_eq(unhex(hex, want, sizeof want), len);
    cr_assert_arr_eq(got, want, len);
}

static struct channel_name name_of(const char *text)
{
    struct channel_name name;
    cr_assert_eq(channel_name_parse(text, strlen(text), &name), CHANNEL_NAME_OK);
    return name;
}

/* ---- control messages ---- */

static const char ask_resume[] = "00" /* FOLLOW */
                                 "03" /* resume */
                                 "0000"
                                 "00004000"         /* window: 4 MiB */
                                 "efcdab8967450000" /* number 0x0000456789abcdef */
    LOG_HEX "1500cd5b07000000"                      /* sequence 0x075bcd0015 */
                                 "03"
                                 "612f62"; /* a/b */

Test(follow, asks_to_go_on_where_it_was)
{
    struct follow_message m;
    cr_assert_eq(decode(ask_resume, &m), NET_OK);
    cr_expect_eq(m.type, FOLLOW_ASK);
    cr_expect_eq(m.start, FOLLOW_RESUME);
    cr_expect_eq(m.window, 4u << 20);
    cr_expect_eq(m.number, UINT64_C(0x0000456789abcdef));
    cr_expect_arr_eq(m.log_id, log_id, LOG_ID);
    cr_expect_eq(m.sequence, UINT64_C(0x075bcd0015));
    cr_expect_str_eq(m.channel.text, "a/b");
    uint8_t out[FOLLOW_MESSAGE_MAX];
    check_bytes(out, follow_message_encode(&m, out), ask_resume);
    cr_expect_eq(follow_stream_id(m.number), UINT64_C(0x4e58456789abcdef));
}

Test(follow, asks_for_any_start)
{
    static const struct {
        enum follow_start start;
        uint64_t sequence;
        const char *hex;
    } cases[] = {
        {FOLLOW_EARLIEST, 0, "00000000000001000100000000000000" NO_LOG_HEX "00000000000000000178"},
        {FOLLOW_LATEST, 0, "00010000000001000100000000000000" NO_LOG_HEX "00000000000000000178"},
        {FOLLOW_SEQUENCE, 258, "00020000000001000100000000000000" NO_LOG_HEX "02010000000000000178"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct follow_message m = {
            .type = FOLLOW_ASK,
            .number = 1,
            .start = cases[i].start,
            .window = 65536,
            .channel = name_of("x"),
            .sequence = cases[i].sequence,
        };
        uint8_t out[FOLLOW_MESSAGE_MAX];
        check_bytes(out, follow_message_encode(&m, out), cases[i].hex);
        struct follow_message back;
        cr_assert_eq(decode(cases[i].hex, &back), NET_OK);
        cr_expect_eq(back.start, cases[i].start);
        cr_expect_eq(back.sequence, cases[i].sequence);
    }
}

Test(follow, the_longest_name_fits)
{
    struct follow_message m = {.type = FOLLOW_ASK, .number = FOLLOW_NUMBER_MAX}, back;
    char text[CHANNEL_NAME_MAX + 1];
    memset(text, 'n', CHANNEL_NAME_MAX);
    text[CHANNEL_NAME_MAX] = '\0';
    m.channel = name_of(text);
    uint8_t out[FOLLOW_MESSAGE_MAX];
    size_t len = follow_message_encode(&m, out);
    cr_expect_eq(len, FOLLOW_MESSAGE_MAX);
    cr_assert_eq(follow_message_decode((struct cspan){out, len}, &back), NET_OK);
    cr_expect(channel_name_equal(&back.channel, &m.channel));
}

Test(follow, ends)
{
    struct follow_message m;
    cr_assert_eq(decode("0100000000000000"
                        "0200000000000000",
                        &m),
                 NET_OK);
    cr_expect_eq(m.type, FOLLOW_END);
    cr_expect_eq(m.number, 2);
    uint8_t out[FOLLOW_MESSAGE_MAX];
    check_bytes(out, follow_message_encode(&m, out), "01000000000000000200000000000000");
}

static const char granted[] = "0200000000000000"
                              "0300000000000000" LOG_HEX "0a00000000000000" /* first 10 */
                              "00010000000000000c00000000000000";           /* next 256, from 12 */

Test(follow, answers)
{
    struct follow_message m;
    cr_assert_eq(decode(granted, &m), NET_OK);
    cr_expect_eq(m.type, FOLLOW_ANSWER);
    cr_expect_eq(m.status, FOLLOW_GRANTED);
    cr_expect_eq(m.number, 3);
    cr_expect_arr_eq(m.log_id, log_id, LOG_ID);
    cr_expect_eq(m.first, 10);
    cr_expect_eq(m.next, 256);
    cr_expect_eq(m.sequence, 12);
    uint8_t out[FOLLOW_MESSAGE_MAX];
    check_bytes(out, follow_message_encode(&m, out), granted);
}

#define REFUSED(status, id)                                                                                            \
    "02" status "000000000000"                                                                                         \
    "0300000000000000" id "000000000000000000000000000000000000000000000000"

Test(follow, refuses)
{
    static const struct {
        enum follow_status status;
        const char *hex;
    } cases[] = {
        {FOLLOW_UNAUTHORIZED, REFUSED("01", NO_LOG_HEX)}, {FOLLOW_UNKNOWN_CHANNEL, REFUSED("02", NO_LOG_HEX)},
        {FOLLOW_RATE_LIMITED, REFUSED("03", NO_LOG_HEX)}, {FOLLOW_TOO_MANY_CHANNELS, REFUSED("04", NO_LOG_HEX)},
        {FOLLOW_WAITING, REFUSED("05", NO_LOG_HEX)},      {FOLLOW_NO_LOG, REFUSED("06", NO_LOG_HEX)},
        {FOLLOW_OTHER_LOG, REFUSED("07", LOG_HEX)},       {FOLLOW_NOT_NOW, REFUSED("08", NO_LOG_HEX)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct follow_message m;
        cr_assert_eq(decode(cases[i].hex, &m), NET_OK);
        cr_expect_eq(m.status, cases[i].status);
        cr_expect_gt(strlen(follow_status_text(m.status)), 0);
        uint8_t out[FOLLOW_MESSAGE_MAX];
        check_bytes(out, follow_message_encode(&m, out), cases[i].hex);
    }
}

Test(follow, takes_no_message_that_is_cut_short)
{
    static const char *const whole[] = {ask_resume, "01000000000000000200000000000000", granted};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        char text[512];
        for (size_t len = 0; len < strlen(whole[i]); len += 2) {
            struct follow_message m;
            memcpy(text, whole[i], len);
            text[len] = '\0';
            cr_expect_neq(decode(text, &m), NET_OK, "%s", text);
        }
        struct follow_message m;
        snprintf(text, sizeof text, "%s00", whole[i]);
        cr_expect_eq(decode(text, &m), NET_ERR_FORMAT, "%s", text);
    }
}

Test(follow, takes_no_value_out_of_range)
{
    static const struct {
        int err;
        const char *hex;
    } cases[] = {
        {NET_ERR_FORMAT, "03000000000000000200000000000000"},                                    /* type */
        {NET_ERR_FORMAT, "01000000000000000200000000000100"},                                    /* number */
        {NET_ERR_FORMAT, "01010000000000000200000000000000"},                                    /* reserved */
        {NET_ERR_FORMAT, "00040000000001000100000000000000" NO_LOG_HEX "00000000000000000178"},  /* start */
        {NET_ERR_FORMAT, "00000100000001000100000000000000" NO_LOG_HEX "00000000000000000178"},  /* reserved */
        {NET_ERR_FORMAT, "00000000000001000100000000000000" LOG_HEX "00000000000000000178"},     /* id, earliest */
        {NET_ERR_FORMAT, "00000000000001000100000000000000" NO_LOG_HEX "01000000000000000178"},  /* sequence */
        {NET_ERR_INVALID, "00000000000001000100000000000000" NO_LOG_HEX "00000000000000000120"}, /* name: space */
        {NET_ERR_INVALID, "00000000000001000100000000000000" NO_LOG_HEX "000000000000000000"},   /* name: none */
        {NET_ERR_FORMAT, REFUSED("09", NO_LOG_HEX)},                                             /* status */
        {NET_ERR_FORMAT, REFUSED("01", LOG_HEX)},                                                /* id */
        {NET_ERR_FORMAT, "02010000000000000300000000000000" NO_LOG_HEX
                         "000000000000000000000000000000000100000000000000"}, /* a start, refused */
        {NET_ERR_FORMAT,
         "02000001000000000300000000000000" LOG_HEX "000000000000000000000000000000000000000000000000"}, /* reserved */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct follow_message m;
        cr_expect_eq(decode(cases[i].hex, &m), cases[i].err, "case %zu", i);
    }
}

/* ---- records ---- */

static const char three_events[] = "00000200"                           /* events, two runs */
                                   "03000000"                           /* three of them */
                                   "0001000000000000"                   /* from 256 */
                                   "01000000"                           /* one */
                                   "0088776655443322"                   /* at 0x2233445566778800 */
                                   "02000000"                           /* two */
                                   "0188776655443322" /* a ns later */; /* two */

Test(follow, records_events)
{
    struct follow_record r;
    uint8_t bytes[512], head[FOLLOW_EVENTS_HEAD + 2 * FOLLOW_RUN];
    cr_assert_eq(decode_record(three_events, &r, bytes), NET_OK);
    cr_expect_eq(r.type, FOLLOW_EVENTS);
    cr_expect_eq(r.first, 256);
    cr_expect_eq(r.next, 259);
    cr_expect_not(r.apart);
    cr_assert_eq(r.run_count, 2);
    cr_expect_eq(follow_run_time(r.runs.data), UINT64_C(0x2233445566778800));
    cr_expect_eq(follow_run_count(r.runs.data), 1);
    cr_expect_eq(follow_run_time(r.runs.data + FOLLOW_RUN), UINT64_C(0x2233445566778801));
    cr_expect_eq(follow_run_count(r.runs.data + FOLLOW_RUN), 2);
    follow_events_encode(256, 3, 2, false, head);
    follow_run_encode(UINT64_C(0x2233445566778800), 1, head + FOLLOW_EVENTS_HEAD);
    follow_run_encode(UINT64_C(0x2233445566778801), 2, head + FOLLOW_EVENTS_HEAD + FOLLOW_RUN);
    check_bytes(head, sizeof head, three_events);
}

Test(follow, announces_a_large_event)
{
    struct follow_record r;
    uint8_t bytes[512], head[FOLLOW_EVENTS_HEAD];
    cr_assert_eq(decode_record("00010100010000000700000000000000010000000100000000000000", &r, bytes), NET_OK);
    cr_expect(r.apart);
    cr_expect_eq(r.first, 7);
    cr_expect_eq(r.next, 8);
    follow_events_encode(7, 1, 1, true, head);
    check_bytes(head, sizeof head, "00010100010000000700000000000000");
}

Test(follow, records_gaps_and_positions)
{
    static const struct {
        struct follow_record r;
        const char *hex;
    } cases[] = {
        {{.type = FOLLOW_GAP, .why = FOLLOW_TRIMMED, .first = 1, .next = 513},
         "010000000000000001000000000000000102000000000000"},
        {{.type = FOLLOW_GAP, .why = FOLLOW_HOLE, .first = 0, .next = UINT64_MAX},
         "01010000000000000000000000000000ffffffffffffffff"},
        {{.type = FOLLOW_POSITION, .first = 3, .next = 4}, "020000000000000003000000000000000400000000000000"},
        {{.type = FOLLOW_POSITION}, "020000000000000000000000000000000000000000000000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct follow_record r;
        uint8_t bytes[512], out[FOLLOW_RECORD_SHORT];
        cr_assert_eq(decode_record(cases[i].hex, &r, bytes), NET_OK);
        cr_expect_eq(r.type, cases[i].r.type);
        cr_expect_eq(r.why, cases[i].r.why);
        cr_expect_eq(r.first, cases[i].r.first);
        cr_expect_eq(r.next, cases[i].r.next);
        follow_record_encode(&cases[i].r, out);
        check_bytes(out, sizeof out, cases[i].hex);
    }
}

Test(follow, takes_no_record_that_lies)
{
    static const struct {
        int err;
        const char *hex;
    } cases[] = {
        {NET_ERR_TRUNCATED, ""},
        {NET_ERR_TRUNCATED, "0100000000000000010000000000000001020000000000"},
        {NET_ERR_FORMAT, "030000000000000001000000000000000102000000000000"},            /* type */
        {NET_ERR_FORMAT, "010200000000000001000000000000000102000000000000"},            /* why */
        {NET_ERR_FORMAT, "010000000000010001000000000000000102000000000000"},            /* reserved */
        {NET_ERR_FORMAT, "01000000000000000100000000000000010200000000000000"},          /* too long */
        {NET_ERR_FORMAT, "010000000000000001000000000000000100000000000000"},            /* a gap of nothing */
        {NET_ERR_FORMAT, "010000000000000002000000000000000100000000000000"},            /* backwards */
        {NET_ERR_FORMAT, "020000000000000002000000000000000100000000000000"},            /* backwards */
        {NET_ERR_FORMAT, "020100000000000001000000000000000100000000000000"},            /* reserved */
        {NET_ERR_TRUNCATED, "000001000100000007000000000000000100000000000000"},         /* a run cut short */
        {NET_ERR_TRUNCATED, "00000200010000000700000000000000010000000100000000000000"}, /* the second is missing */
        {NET_ERR_FORMAT, "0000010001000000070000000000000001000000010000000000000000"},  /* bytes behind it */
        {NET_ERR_FORMAT, "00020100010000000700000000000000010000000100000000000000"},    /* flags */
        {NET_ERR_FORMAT, "00010100020000000700000000000000020000000100000000000000"},    /* two events apart */
        {NET_ERR_FORMAT, "00000100000000000700000000000000000000000100000000000000"},    /* no events */
        {NET_ERR_FORMAT, "00000100020000000700000000000000010000000100000000000000"},    /* one has no time */
        {NET_ERR_FORMAT, "00000100010000000700000000000000020000000100000000000000"},    /* one time too many */
        {NET_ERR_FORMAT, "0000020001000000070000000000000000000000010000000000000001000000010000000000"
                         "0000"},                                                     /* an empty run */
        {NET_ERR_FORMAT, "0000010001000000ffffffffffffffff010000000100000000000000"}, /* beyond 2^64 */
        {NET_ERR_FORMAT, "00000200010000000700000000000000ffffffff010000000000000002000000010000000000"
                         "0000"}, /* a sum that would wrap */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct follow_record r;
        uint8_t bytes[512];
        cr_expect_eq(decode_record(cases[i].hex, &r, bytes), cases[i].err, "case %zu", i);
    }
}
