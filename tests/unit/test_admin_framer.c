/* Lines and frames to events, whatever the split. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "shards/admin/framer.h"

static uint8_t room[FRAMER_MAX_BYTES];
static struct framer_memory memory = {.limit = 64 << 20};

/* Frames `input` in pieces of `step` bytes; what came out is appended to `out`. The error that ended it, or 0. */
static int frame(enum framer_input kind, uint32_t max, const char *input, size_t len, size_t step, struct span *out,
                 uint64_t *index)
{
    struct framer f;
    int err = 0;
    framer_init(&f, room, max, kind, &memory);
    out->len = 0;
    for (size_t at = 0; at < len && !err;) {
        size_t n = len - at < step ? len - at : step;
        size_t taken;
        err = framer_push(&f, (struct cspan){(const uint8_t *)input + at, n}, &taken);
        at += taken;
        if (err == NET_ERR_AGAIN) {
            cr_assert_gt(f.count, 0);
            memcpy(out->data + out->len, framer_frames(&f).data, framer_frames(&f).len);
            out->len += framer_frames(&f).len;
            framer_taken(&f);
            err = 0;
        } else if (!err) {
            cr_assert_eq(taken, n);
        }
    }
    if (!err)
        err = framer_end(&f);
    memcpy(out->data + out->len, framer_frames(&f).data, framer_frames(&f).len);
    out->len += framer_frames(&f).len;
    *index = f.index;
    return err;
}

static void expect(enum framer_input kind, uint32_t max, const char *in, size_t in_len, int err, uint64_t index,
                   const char *out, size_t out_len)
{
    uint8_t got[256];
    for (size_t step = 1; step <= in_len + 1; step++) {
        struct span s = {got, 0};
        uint64_t i;
        cr_assert_eq(frame(kind, max, in, in_len, step, &s, &i), err, "step %zu", step);
        cr_assert_eq(i, index, "step %zu", step);
        cr_assert_eq(s.len, out_len);
        cr_assert(memcmp(got, out, out_len) == 0);
    }
}

#define TEXT(max, in, err, index, out) expect(FRAMER_LINES, max, in, sizeof(in) - 1, err, index, out, sizeof(out) - 1)
#define BINARY(max, in, err, index, out)                                                                               \
    expect(FRAMER_FRAMES, max, in, sizeof(in) - 1, err, index, out, sizeof(out) - 1)

#define JSON(max, in, err, index, out) expect(FRAMER_JSON, max, in, sizeof(in) - 1, err, index, out, sizeof(out) - 1)

Test(framer, json_lines)
{
    JSON(100, "", 0, 0, "");
    JSON(100, "{\"data\":\"\"}\n", 0, 1, "\0\0\0\0");
    JSON(100, "{\"data\":\"a\\nb\"}\n{\"data_base64\":\"/w==\"}\n", 0, 2, "\3\0\0\0a\nb\1\0\0\0\xff");
    JSON(100, "{\"data\":\"a\"}", 0, 1, "\1\0\0\0a"); /* the last line may lack its LF */
    JSON(100, "\n \t\r\n{\"data\":\"a\"}\r\n\n \n ", 0, 1, "\1\0\0\0a");
    JSON(100, "{\"data\":\"a\"}\nno\n{\"data\":\"b\"}\n", NET_ERR_FORMAT, 1, "\1\0\0\0a");
    JSON(100, "{\"data\":\"a\"}\n{\"data\":\"b\"", NET_ERR_FORMAT, 1, "\1\0\0\0a");
    JSON(3, "{\"data\":\"abc\"}\n{\"data\":\"abcd\"}\n", NET_ERR_TOO_LARGE, 1, "\3\0\0\0abc");
    /* what counts is the event, not the text it is written as */
    JSON(1, "{\"data\":\"\\u0000\"}\n", 0, 1, "\1\0\0\0\0");
}

/* The largest event, each of its bytes six characters long; and a line that no event can have. */
Test(framer, long_json_lines)
{
    static char line[70000];
    static uint8_t got[2 * 8112 + 16];
    struct span s = {got, 0};
    uint64_t index;
    for (size_t step = 1; step < 70000; step *= 7) {
        size_t len = (size_t)sprintf(line, "{\"data\":\"");
        for (int i = 0; i < 8108; i++)
            len += (size_t)sprintf(line + len, "\\u0001");
        len += (size_t)sprintf(line + len, "\"}\n{\"data\":\"x\"}\n");
        cr_assert_eq(frame(FRAMER_JSON, 8108, line, len, step, &s, &index), 0);
        cr_assert_eq(index, 2);
        cr_assert_eq(s.len, 4 + 8108 + 4 + 1);
        cr_assert_eq(got[4 + 8107], 1);
        memset(line, ' ', FRAMER_MAX_BYTES);
        cr_assert_eq(frame(FRAMER_JSON, 8108, line, FRAMER_MAX_BYTES - FRAME_HEADER, step, &s, &index), 0);
        cr_assert_eq(frame(FRAMER_JSON, 8108, line, FRAMER_MAX_BYTES, step, &s, &index), NET_ERR_TOO_LARGE);
    }
}

Test(framer, lines)
{
    TEXT(8, "", 0, 0, "");
    TEXT(8, "a", 0, 1, "\1\0\0\0a");
    TEXT(8, "a\n", 0, 1, "\1\0\0\0a");
    TEXT(8, "\n", 0, 1, "\0\0\0\0");
    TEXT(8, "\n\n", 0, 2, "\0\0\0\0\0\0\0\0");
    TEXT(8, "a\r\nb", 0, 2, "\2\0\0\0a\r\1\0\0\0b");
    TEXT(8, "a\n\n\nb\n", 0, 4, "\1\0\0\0a\0\0\0\0\0\0\0\0\1\0\0\0b");
    TEXT(8, "\0\xff\n", 0, 1, "\2\0\0\0\0\xff");
}

Test(framer, a_line_of_the_limit_and_one_above)
{
    TEXT(4, "1234\n5678", 0, 2, "\4\0\0\0001234\4\0\0\0005678");
    TEXT(4, "1234\n56789\nx\n", NET_ERR_TOO_LARGE, 1, "\4\0\0\0001234");
    TEXT(4, "12345", NET_ERR_TOO_LARGE, 0, "");
}

Test(framer, frames)
{
    BINARY(8, "", 0, 0, "");
    BINARY(8, "\0\0\0\0", 0, 1, "\0\0\0\0");
    BINARY(8, "\1\0\0\0a\0\0\0\0\2\0\0\0\n\n", 0, 3, "\1\0\0\0a\0\0\0\0\2\0\0\0\n\n");
    BINARY(4, "\4\0\0\0abcd\5\0\0\0abcde", NET_ERR_TOO_LARGE, 1, "\4\0\0\0abcd");
    BINARY(4, "\xff\xff\xff\xff", NET_ERR_TOO_LARGE, 0, "");
    BINARY(4, "\1\0\0\0a\1\0\0\0", NET_ERR_TRUNCATED, 1, "\1\0\0\0a");
    BINARY(4, "\1\0\0\0a\1", NET_ERR_TRUNCATED, 1, "\1\0\0\0a");
}

/* Never more than 60,000 bytes or 2,028 events at a time, and nothing lost at the seam. */
static void fill(bool binary, size_t payload, size_t events, uint32_t max)
{
    size_t unit = payload + (binary ? 4 : 1);
    char *input = malloc(unit * events);
    uint8_t *out = malloc((payload + 4) * events);
    cr_assert(input && out);
    for (size_t i = 0; i < events; i++) {
        char *at = input + i * unit;
        if (binary) {
            store_le32((uint8_t *)at, (uint32_t)payload);
            at += 4;
        }
        memset(at, 'a' + (int)(i % 26), payload);
        if (!binary)
            at[payload] = '\n';
    }
    for (size_t step = 1000; step < 70000; step += 23456) {
        struct span s = {out, 0};
        uint64_t index;
        cr_assert_eq(frame(binary ? FRAMER_FRAMES : FRAMER_LINES, max, input, unit * events, step, &s, &index), 0);
        cr_assert_eq(index, events);
        cr_assert_eq(s.len, (payload + 4) * events);
        for (size_t i = 0; i < events; i++) {
            const uint8_t *at = out + i * (payload + 4);
            cr_assert_eq(load_le32(at), payload);
            cr_assert(payload == 0 || (at[4] == 'a' + i % 26 && at[4 + payload - 1] == 'a' + i % 26));
        }
    }
    free(input);
    free(out);
}

Test(framer, full_by_count)
{
    fill(false, 0, 5000, 8108);
    fill(true, 0, 5000, 8108);
    fill(false, 3, 5000, 8108);
    fill(true, 3, 5000, 8108);
}

Test(framer, full_by_bytes)
{
    fill(false, 8108, 30, 8108);
    fill(true, 8108, 30, 8108);
    fill(false, 59996, 3, 59996);
    fill(true, 59996, 3, 59996);
}

/* Events that the caller's memory cannot hold, between ones that it can; nothing stays behind. */
Test(framer, large_events)
{
    static const size_t lens[] = {1, 59996, 59997, 60000, 5, 250000, 250000, 1 << 20, 0, 59990, 100000};
    enum { COUNT = sizeof lens / sizeof lens[0], MAX = 1 << 20 };
    static uint8_t in[4 << 20];
    size_t len = 0;
    for (size_t i = 0; i < COUNT; i++) {
        store_le32(in + len, (uint32_t)lens[i]);
        memset(in + len + 4, 'a' + (int)i, lens[i]);
        len += 4 + lens[i];
    }
    for (size_t step = 999; step < 3 * len; step *= 5) {
        struct framer f;
        struct framer_memory m = {.limit = 2 * MAX};
        size_t at = 0, seen = 0, taken;
        framer_init(&f, room, MAX, FRAMER_FRAMES, &m);
        while (at < len) {
            int err = framer_push(&f, (struct cspan){in + at, len - at < step ? len - at : step}, &taken);
            cr_assert(err == 0 || err == NET_ERR_AGAIN);
            at += taken;
            struct cspan frames = framer_frames(&f);
            cr_assert(frames.len <= FRAMER_MAX_BYTES || f.count == 1);
            cr_assert_eq(memcmp(frames.data, in + seen, frames.len), 0);
            seen += frames.len;
            uint8_t *own = framer_release(&f);
            cr_assert(frames.len <= FRAMER_MAX_BYTES || own == frames.data);
            if (!own)
                framer_taken(&f);
            free(own);
        }
        cr_assert_eq(framer_end(&f), 0);
        cr_assert_eq(seen, len);
        cr_assert_eq(f.index, COUNT);
        cr_assert_eq(m.used, 0);
        framer_deinit(&f);
    }
}

/* Lines of text and of JSON, whose text is longer than the event. */
Test(framer, large_lines)
{
    enum { LEN = 100000 };
    static char line[6 * LEN + 100];
    struct framer f;
    struct framer_memory m = {.limit = 1 << 20};
    size_t taken, len = (size_t)sprintf(line, "{\"data\":\"");
    for (int i = 0; i < LEN; i++)
        len += (size_t)sprintf(line + len, "\\u0007");
    len += (size_t)sprintf(line + len, "\"}\n");
    framer_init(&f, room, LEN, FRAMER_JSON, &m);
    cr_assert_eq(framer_push(&f, (struct cspan){(uint8_t *)line, len}, &taken), 0);
    cr_assert_eq(f.count, 1);
    cr_assert_eq(framer_frames(&f).len, 4 + LEN);
    cr_assert_eq(m.used, 4 + LEN, "what the text took is given back");
    framer_deinit(&f);
    framer_init(&f, room, LEN - 1, FRAMER_JSON, &m);
    cr_assert_eq(framer_push(&f, (struct cspan){(uint8_t *)line, len}, &taken), NET_ERR_TOO_LARGE);
    framer_deinit(&f);
    memset(line, 'x', LEN);
    framer_init(&f, room, LEN, FRAMER_LINES, &m);
    cr_assert_eq(framer_push(&f, (struct cspan){(uint8_t *)line, LEN}, &taken), 0);
    cr_assert_eq(framer_end(&f), 0);
    cr_assert_eq(framer_frames(&f).len, 4 + LEN);
    framer_deinit(&f);
    cr_assert_eq(m.used, 0);
}

Test(framer, memory_of_large_events_has_a_limit)
{
    static uint8_t in[4 + 500000];
    struct framer a, b;
    struct framer_memory m = {.limit = 700000};
    static uint8_t other[FRAMER_MAX_BYTES];
    size_t taken;
    store_le32(in, 500000);
    framer_init(&a, room, 1 << 20, FRAMER_FRAMES, &m);
    framer_init(&b, other, 1 << 20, FRAMER_FRAMES, &m);
    cr_assert_eq(framer_push(&a, (struct cspan){in, sizeof in}, &taken), 0);
    cr_assert_eq(framer_push(&b, (struct cspan){in, sizeof in}, &taken), NET_ERR_LIMIT);
    cr_assert_leq(m.used, m.limit);
    framer_deinit(&b);
    framer_deinit(&a);
    cr_assert_eq(m.used, 0);
}

Test(framer, full_at_the_end)
{
    struct framer f;
    size_t taken;
    uint8_t lines[FRAMER_MAX_EVENTS + 1];
    memset(lines, '\n', FRAMER_MAX_EVENTS);
    lines[FRAMER_MAX_EVENTS] = 'x';
    framer_init(&f, room, 8, FRAMER_LINES, &memory);
    cr_assert_eq(framer_push(&f, (struct cspan){lines, sizeof lines}, &taken), 0);
    cr_assert_eq(taken, sizeof lines);
    cr_assert_eq(framer_end(&f), NET_ERR_AGAIN);
    framer_taken(&f);
    cr_assert_eq(framer_end(&f), 0);
    cr_assert_eq(framer_frames(&f).len, 5);
    cr_assert_arr_eq(framer_frames(&f).data, "\1\0\0\0x", 5);
    cr_assert_eq(f.index, FRAMER_MAX_EVENTS + 1);
}
