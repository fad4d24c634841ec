/* GET /v1/channels/CHANNEL/events: rows, parameters, back-pressure. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/span.h"
#include "core/base/utf8.h"
#include "shards/admin/buffer.h"
#include "shards/admin/json.h"
#include "tests/support/admin/expect.h"
#include "tests/support/alloc_count.h"

static struct world w;
static struct response r;

static void set_up(void)
{
    world_init(&w);
    world_start(&w);
    w.node.origins = 1;
    w.node.origin_self = true;
}

static void tear_down(void)
{
    response_free(&r);
    world_deinit(&w);
}

TestSuite(admin_events, .init = set_up, .fini = tear_down);

static void add(uint64_t seq, const char *data, size_t len)
{
    fake_node_add(&w.node,
                  (struct fake_event){.seq = seq, .ts_ns = seq * 10, .data = (const uint8_t *)data, .len = len});
}

static void add_gap(uint64_t from, uint64_t to)
{
    fake_node_add(&w.node, (struct fake_event){.seq = from, .gap_to = to});
}

static void get(const char *query)
{
    char target[256];
    snprintf(target, sizeof target, "/v1/channels/a%%2Fb/events%s", query);
    world_get(&w, target, &r);
}

static int follow(const char *query)
{
    char head[512];
    int client = stream_connect(&w.stream);
    snprintf(head, sizeof head, "GET /v1/channels/a/events?follow=true%s HTTP/1.1\r\n" WORLD_HEAD "\r\n", query);
    world_say(&w, client, head);
    return client;
}

static void hear(int client)
{
    response_free(&r);
    const char *heard = world_heard(&w, client);
    response_parse(heard, w.stream.ends[client].from_server.len, &r);
}

Test(admin_events, rows)
{
    char type[256];
    add(1, "plain", 5);
    add(2, "", 0);
    add(3, "a\0b", 3);
    add(4, "q\"b\\n\nr\rt\t\x01\x1f\x7f", 13);
    add(5, "\xc3\xa4\xe2\x80\xa8", 5);
    add(6, "\xff\xfe", 2);
    add_gap(7, 9);
    add(UINT64_MAX, "x", 1);
    get("");
    cr_assert_eq(r.status, 200);
    cr_assert(r.complete);
    cr_assert_str_eq(response_header(&r, "Content-Type", type), "application/x-ndjson");
    cr_assert_str_eq(
        r.body, "{\"seq\":1,\"ts_ns\":10,\"origin\":\"self\",\"data\":\"plain\"}\n"
                "{\"seq\":2,\"ts_ns\":20,\"origin\":\"self\",\"data\":\"\"}\n"
                "{\"seq\":3,\"ts_ns\":30,\"origin\":\"self\",\"data\":\"a\\u0000b\"}\n"
                "{\"seq\":4,\"ts_ns\":40,\"origin\":\"self\",\"data\":\"q\\\"b\\\\n\\nr\\rt\\t\\u0001\\u001f\x7f\"}\n"
                "{\"seq\":5,\"ts_ns\":50,\"origin\":\"self\",\"data\":\"\xc3\xa4\xe2\x80\xa8\"}\n"
                "{\"seq\":6,\"ts_ns\":60,\"origin\":\"self\",\"data_base64\":\"//4=\"}\n"
                "{\"gap\":[7,9]}\n"
                "{\"seq\":18446744073709551615,\"ts_ns\":18446744073709551606,\"origin\":\"self\",\"data\":\"x\"}\n");
    cr_assert_str_eq(w.node.tail.channel.text, "a/b");
}

Test(admin_events, binary)
{
    add(1, "ab", 2);
    add_gap(2, 3);
    add(4, "", 0);
    add(5, "\xff", 1);
    get("?format=binary");
    cr_assert_eq(r.body_len, 6 + 4 + 5);
    cr_assert_arr_eq(r.body, "\2\0\0\0ab\0\0\0\0\1\0\0\0\xff", 15);
    char type[256];
    cr_assert_str_eq(response_header(&r, "Content-Type", type), "application/octet-stream");
}

Test(admin_events, an_empty_log_and_none)
{
    get("");
    cr_assert_eq(r.status, 200);
    cr_assert(r.complete);
    cr_assert_eq(r.body_len, 0);
    w.node.origins = 0;
    get("");
    expect_response_error(&r, 404, "not_found");
    w.node.tail_err = NET_ERR_NOT_FOUND;
    get("?origin=self");
    cr_assert_eq(r.status, 404);
    w.node.tail_open_err = NET_ERR_STATE;
    get("?origin=self");
    cr_assert_eq(r.status, 409);
}

Test(admin_events, start)
{
    get("");
    cr_assert_eq(w.node.tail.start, TAIL_EARLIEST);
    cr_assert(!w.node.tail.follow && !w.node.tail.counted);
    get("?from=earliest");
    cr_assert_eq(w.node.tail.start, TAIL_EARLIEST);
    get("?from=latest");
    cr_assert_eq(w.node.tail.start, TAIL_LATEST);
    get("?from=18446744073709551615&limit=7");
    cr_assert_eq(w.node.tail.start, TAIL_SEQ);
    cr_assert_eq(w.node.tail.seq, UINT64_MAX);
    cr_assert(w.node.tail.counted);
    cr_assert_eq(w.node.tail.count, 7);
    static const char *const bad[] = {
        "?from=x",        "?from=-1",   "?from=",      "?from=1x", "?from=18446744073709551616",
        "?limit=+1",      "?follow=1",  "?format=xml", "?from",    "?form=1",
        "?from=1&from=2", "?limit=%zz", "?limit= 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        get(bad[i]);
        cr_assert_eq(r.status, 400, "%s", bad[i]);
    }
}

Test(admin_events, limit)
{
    add(1, "a", 1);
    add_gap(2, 2);
    add(3, "b", 1);
    add(4, "c", 1);
    get("?limit=2");
    cr_assert_str_eq(r.body, "{\"seq\":1,\"ts_ns\":10,\"origin\":\"self\",\"data\":\"a\"}\n{\"gap\":[2,2]}\n"
                             "{\"seq\":3,\"ts_ns\":30,\"origin\":\"self\",\"data\":\"b\"}\n");
    get("?limit=0");
    cr_assert_eq(r.status, 200);
    cr_assert(r.complete);
    cr_assert_eq(r.body_len, 0);
    int client = follow("&limit=3");
    hear(client);
    cr_assert(r.complete);
}

Test(admin_events, origin)
{
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xabc};
    w.node.peer_count = 1;
    add(1, "a", 1);
    get("?origin=lidar");
    cr_assert(!w.node.tail.self);
    cr_assert_eq(w.node.tail.origin, 0xabc);
    cr_assert_not_null(strstr(r.body, "\"origin\":\"0x0000000000000abc\""));
    get("?origin=self");
    cr_assert(w.node.tail.self);
    get("?origin=0xdef"); /* a peer that was removed may have left its log */
    cr_assert_eq(w.node.tail.origin, 0xdef);
    get("?origin=nobody");
    cr_assert_eq(r.status, 404);
    w.node.origin_self = false;
    w.node.origin = 0x77;
    get("");
    cr_assert_eq(w.node.tail.origin, 0x77);
    cr_assert_not_null(strstr(r.body, "\"origin\":\"0x0000000000000077\""));
    w.node.origins = 2;
    get("");
    cr_assert_eq(r.status, 400);
    cr_assert_not_null(strstr(r.body, "say origin="));
}

/* Of a peer's channel there may be several logs; which is meant is asked for, unless only one can be. */
Test(admin_events, which_log)
{
    static const struct {
        const char *query;
        enum log_kind kind;
        uint32_t edition;
    } asked[] = {{"", LOG_ANY_KIND, 0},
                 {"?log=live", LOG_LIVE, 0},
                 {"?origin=0xdef", LOG_ANY_KIND, 0},
                 {"?origin=0xdef&log=followed", LOG_FOLLOWED, 0},
                 {"?origin=0xdef&log=4294967295", LOG_EDITION, UINT32_MAX},
                 {"?origin=self&log=2", LOG_EDITION, 2}};
    static const char *const certain[] = {"?origin=self", "?origin=self&log=live", "?origin=0xdef&log=live"};
    static const char *const wrong[] = {"?log=", "?log=0", "?log=x", "?log=4294967296", "?log=-1"};
    add(1, "a", 1);
    w.node.edition = 7;
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        w.node.choice = (struct log_choice){.kind = LOG_ANY_KIND, .edition = 99};
        get(asked[i].query);
        cr_assert_eq(r.status, 200);
        cr_assert_eq(w.node.choice.kind, asked[i].kind, "%s", asked[i].query);
        cr_assert_eq(w.node.choice.edition, asked[i].edition, "%s", asked[i].query);
        cr_assert_eq(w.node.tail.edition, 7);
    }
    for (size_t i = 0; i < sizeof certain / sizeof certain[0]; i++) {
        get(certain[i]);
        cr_assert_eq(w.node.tail.edition, 0, "%s", certain[i]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        get(wrong[i]);
        cr_assert_eq(r.status, 400, "%s", wrong[i]);
    }
    w.node.origins = 0;
    get("?origin=0xdef&log=followed");
    cr_assert_eq(r.status, 404);
}

Test(admin_events, follow_goes_on)
{
    add(1, "a", 1);
    int client = follow("");
    hear(client);
    cr_assert_eq(r.status, 200);
    cr_assert(!r.complete);
    cr_assert_str_eq(r.body, "{\"seq\":1,\"ts_ns\":10,\"origin\":\"self\",\"data\":\"a\"}\n");
    cr_assert(w.node.tail.follow);
    world_sleep(&w, 3600000);
    add(2, "b", 1);
    world_run(&w);
    hear(client);
    cr_assert_not_null(strstr(r.body, "\"data\":\"b\"}\n"));
    cr_assert(!r.complete);
    w.stream.ends[client].shut = true; /* the client leaves */
    world_run(&w);
    cr_assert(w.stream.ends[client].closed);
    cr_assert_eq(w.node.cancels, 1);
}

Test(admin_events, follow_says_at_once_that_it_listens)
{
    int client = follow("&origin=self");
    hear(client);
    cr_assert_eq(r.status, 200);
}

Test(admin_events, follow_waits_for_a_log)
{
    w.node.origins = 0;
    int client = follow("");
    hear(client);
    cr_assert_eq(r.status, 200);
    world_sleep(&w, 1000);
    w.node.origins = 1;
    add(1, "a", 1);
    world_sleep(&w, 99);
    world_sleep(&w, 1);
    hear(client);
    cr_assert_not_null(strstr(r.body, "\"seq\":1,"));
    cr_assert(!r.complete);
}

Test(admin_events, the_client_leaves_while_there_is_no_log)
{
    w.node.origins = 0;
    int client = follow("");
    world_sleep(&w, 150);
    w.stream.ends[client].shut = true;
    world_run(&w);
    cr_assert(w.stream.ends[client].closed);
    cr_assert_eq(admin_deadline(w.admin), UINT64_MAX);
}

Test(admin_events, what_fails_on_the_way_is_no_end)
{
    add(1, "a", 1);
    w.node.tail_err = NET_ERR_CORRUPT;
    get("");
    cr_assert_eq(r.status, 200);
    cr_assert(!r.complete);
    cr_assert_not_null(strstr(r.body, "\"seq\":1,"));
}

Test(admin_events, http_1_0_has_no_chunks)
{
    add(1, "a", 1);
    const char *heard = world_ask(&w, "GET /v1/channels/a/events HTTP/1.0\r\n" WORLD_HEAD "\r\n");
    cr_assert_null(strstr(heard, "chunked"));
    cr_assert_not_null(strstr(heard, "\r\n\r\n{\"seq\":1,\"ts_ns\":10,\"origin\":\"self\",\"data\":\"a\"}\n"));
    cr_assert(w.stream.ends[0].closed);
}

Test(admin_events, a_client_that_half_closes_still_gets_all)
{
    add(1, "a", 1);
    int client = stream_connect(&w.stream);
    w.node.hold = true;
    world_say(&w, client, "GET /v1/channels/a/events HTTP/1.1\r\n" WORLD_HEAD "\r\n");
    w.stream.ends[client].shut = true;
    world_run(&w);
    w.node.hold = false;
    world_run(&w);
    hear(client);
    cr_assert(r.complete);
    cr_assert_not_null(strstr(r.body, "\"seq\":1,"));
}

Test(admin_events, requests_behind_a_stream_wait)
{
    add(1, "a", 1);
    const char *heard = world_ask(&w, "GET /v1/channels/a/events HTTP/1.1\r\n" WORLD_HEAD "\r\n"
                                      "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    response_parse(heard, strlen(heard), &r);
    cr_assert(r.complete);
    cr_assert_eq(strncmp(r.next, "HTTP/1.1 200 OK\r\nContent-Type: text/plain", 41), 0);
}

/* Back-pressure */

static void expect_sequence(size_t count)
{
    const char *at = r.body;
    for (size_t i = 1; i <= count; i++) {
        char expected[64];
        int n = snprintf(expected, sizeof expected, "{\"seq\":%zu,", i);
        cr_assert_eq(strncmp(at, expected, (size_t)n), 0, "%zu", i);
        at = strchr(at, '\n') + 1;
    }
    cr_assert_str_empty(at);
}

Test(admin_events, a_client_that_does_not_read_stops_the_log)
{
    static char data[1000];
    memset(data, 'x', sizeof data);
    for (uint64_t i = 1; i <= 1000; i++)
        add(i, data, sizeof data);
    int client = stream_connect(&w.stream);
    w.stream.ends[client].room = 100;
    world_say(&w, client, "GET /v1/channels/a/events HTTP/1.1\r\n" WORLD_HEAD "\r\n");
    cr_assert_eq(w.node.refused_rows, 1);
    world_sleep(&w, 3600000); /* it may take its time */
    cr_assert_eq(w.node.refused_rows, 1);
    cr_assert_eq(w.node.resumes, 0);
    while (w.stream.ends[client].from_server.len < 1000 * sizeof data && w.stream.ends[client].room == 0) {
        w.stream.ends[client].room = 777;
        world_run(&w);
    }
    w.stream.ends[client].room = SIZE_MAX;
    world_run(&w);
    hear(client);
    cr_assert(r.complete);
    expect_sequence(1000);
    cr_assert_geq(w.node.resumes, 1000 * 1050 / (64 << 10) - 2);
}

/* The largest event of all control characters: six bytes for each. */
Test(admin_events, the_largest_rows_fit)
{
    static char control[8108], high[8108];
    memset(control, 1, sizeof control);
    memset(high, 0xff, sizeof high);
    for (uint64_t i = 1; i <= 6; i++)
        add(i, i % 2 ? control : high, 8108);
    get("");
    cr_assert(r.complete);
    expect_sequence(6);
}

/* What an event of `len` bytes becomes as the row with sequence `seq`, in memory of its own. */
static char *expected_row(uint64_t seq, const uint8_t *data, size_t len, const char *format)
{
    char *row = malloc(6 * len + 200);
    struct buffer b;
    buffer_init_fixed(&b, row, 6 * len + 200);
    cr_assert_not_null(row);
    if (strcmp(format, "sse") == 0) {
        buffer_str(&b, "id: ");
        buffer_u64(&b, seq);
        buffer_str(&b, "\ndata: ");
    }
    buffer_str(&b, "{\"seq\":");
    buffer_u64(&b, seq);
    buffer_str(&b, ",\"ts_ns\":");
    buffer_u64(&b, seq * 10);
    buffer_str(&b, ",\"origin\":\"self\",");
    buffer_str(&b, utf8_valid(data, len) ? "\"data\":\"" : "\"data_base64\":\"");
    if (utf8_valid(data, len))
        json_escape(&b, data, len);
    else
        buffer_base64(&b, data, len);
    buffer_str(&b, strcmp(format, "sse") == 0 ? "\"}\n\n" : "\"}\n");
    buffer_put(&b, "", 1);
    cr_assert(!b.failed);
    return row;
}

/* Bytes of every kind: characters of 1 to 4 bytes that end in any piece, what JSON escapes, or no text at all. */
static void fill_large(uint8_t *out, size_t len, int kind)
{
    static const char *const units[] = {"x", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\x01\"\n", "\xff\x00\x80"};
    size_t unit = strlen(units[kind]) ? strlen(units[kind]) : 1;
    if (kind == 3)
        unit = 3;
    for (size_t i = 0; i < len; i++)
        out[i] = i / unit * unit + unit <= len ? (uint8_t)units[kind][i % unit] : 'z';
}

/* Larger than all buffers: the row goes out in pieces, and is the same row. */
Test(admin_events, large_events_in_every_format)
{
    static uint8_t data[700001];
    static const size_t lens[] = {8109, 8110, 8111, 65536, 700001}, pieces[] = {0, 65535, 9000};
    static const char *const formats[] = {"ndjson", "sse"};
    for (size_t i = 0; i < 5; i++)
        for (int kind = 0; kind < 4; kind++)
            for (size_t f = 0; f < 2; f++) {
                fill_large(data, lens[i], kind);
                w.node.event_count = 0;
                w.node.piece_bytes = pieces[(i + f) % 3];
                add(7, (const char *)data, lens[i]);
                add(8, "after", 5);
                get(f ? "?format=sse" : "?format=ndjson");
                char *first = expected_row(7, data, lens[i], formats[f]);
                char *second = expected_row(8, (const uint8_t *)"after", 5, formats[f]);
                cr_assert(r.complete);
                cr_assert_eq(r.body_len, strlen(first) + strlen(second), "%zu bytes, kind %d", lens[i], kind);
                cr_assert_eq(strncmp(r.body, first, strlen(first)), 0, "%zu bytes, kind %d", lens[i], kind);
                cr_assert_str_eq(r.body + strlen(first), second);
                free(first);
                free(second);
            }
}

Test(admin_events, a_large_event_as_binary)
{
    static uint8_t data[300000];
    fill_large(data, sizeof data, 3);
    add(1, (const char *)data, sizeof data);
    get("?format=binary&limit=1");
    cr_assert(r.complete);
    cr_assert_eq(r.body_len, 4 + sizeof data);
    cr_assert_eq(load_le32((const uint8_t *)r.body), sizeof data);
    cr_assert_eq(memcmp(r.body + 4, data, sizeof data), 0);
}

/* Half of its row is out when retention takes the event: the client sees that the answer is not whole. */
Test(admin_events, a_large_event_that_is_given_up_ends_the_stream)
{
    static uint8_t data[700000];
    fill_large(data, sizeof data, 0);
    fake_node_add(&w.node,
                  (struct fake_event){.seq = 1, .ts_ns = 10, .data = data, .len = sizeof data, .lost_after = 350000});
    w.node.piece_bytes = 9000;
    int client = follow("");
    world_sleep(&w, 200);
    hear(client);
    cr_assert(!r.complete);
    cr_assert(w.stream.ends[client].closed);
    cr_assert_eq(w.node.cancels, 1);
}

Test(admin_events, no_allocation_per_event)
{
    if (!alloc_count_works())
        cr_skip_test("the sanitizer has the allocator");
    int client = follow("");
    w.stream.ends[client].from_server.data = realloc(w.stream.ends[client].from_server.data, 1 << 20);
    w.stream.ends[client].from_server.cap = 1 << 20;
    add(1, "a", 1);
    world_run(&w);
    uint64_t allocations = 0;
    for (uint64_t i = 2; i <= 1000; i++) {
        add(i, "hello", 5);
        uint64_t before = alloc_count();
        world_run(&w);
        allocations += alloc_count() - before;
    }
    cr_assert_eq(allocations, 999, "the stream's own copy of each send, and nothing else");
    hear(client);
    expect_sequence(1000);
}
