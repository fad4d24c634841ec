/* POST /v1/channels/CHANNEL/publish, to the byte. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/support/admin/expect.h"

static struct world w;
static struct response r;

static void set_up(void)
{
    world_init(&w);
    world_start(&w);
}

static void tear_down(void)
{
    response_free(&r);
    world_deinit(&w);
}

TestSuite(admin_publish, .init = set_up, .fini = tear_down);

#define TEXT "Content-Type: text/plain\r\n"
#define BINARY "Content-Type: application/octet-stream\r\n"

#define NDJSON "Content-Type: application/x-ndjson\r\n"

static void publish(const char *type, const char *body, size_t len)
{
    w.node.taken_len = 0;
    world_request(&w, "POST", "/v1/channels/sensors%2Flidar/publish", type, body, len, &r);
}

static void expect_taken(const char *frames, size_t len)
{
    cr_assert_eq(w.node.taken_len, len);
    cr_assert(memcmp(w.node.taken, frames, len) == 0);
}

/* An open request with the head of a chunked publish. */
static int begin(const char *type)
{
    char head[512];
    int client = stream_connect(&w.stream);
    snprintf(head, sizeof head,
             "POST /v1/channels/a/publish HTTP/1.1\r\n" WORLD_HEAD "%sTransfer-Encoding: chunked\r\n\r\n", type);
    world_say(&w, client, head);
    return client;
}

static void say_chunk(int client, const char *data, size_t len)
{
    char size[20];
    snprintf(size, sizeof size, "%zx\r\n", len);
    stream_write(&w.stream, client, size, strlen(size));
    stream_write(&w.stream, client, data, len);
    stream_write(&w.stream, client, "\r\n", 2);
    world_run(&w);
}

static void hear(int client)
{
    const char *heard = world_heard(&w, client);
    response_free(&r);
    response_parse(heard, w.stream.ends[client].from_server.len, &r);
}

Test(admin_publish, an_event_a_line)
{
    publish(TEXT, "one\r\n\nthree", 11);
    cr_assert_eq(r.status, 200);
    cr_assert_str_eq(r.body,
                     "{\"channel\":\"sensors/lidar\",\"events\":3,\"bytes\":9,\"first_seq\":1,\"last_seq\":3}\n");
    expect_taken("\4\0\0\0one\r\0\0\0\0\5\0\0\0three", 4 + 4 + 4 + 4 + 5);
    cr_assert_str_eq(w.node.asked, "publish sensors/lidar");
    cr_assert(!w.node.durable);
}

Test(admin_publish, content_type_with_parameters)
{
    publish("Content-Type: Text/Plain; charset=utf-8\r\n", "a\n", 2);
    cr_assert_eq(r.status, 200);
}

Test(admin_publish, nothing)
{
    publish(TEXT, "", 0);
    cr_assert_str_eq(r.body,
                     "{\"channel\":\"sensors/lidar\",\"events\":0,\"bytes\":0,\"first_seq\":null,\"last_seq\":null}\n");
    cr_assert_eq(w.node.puts, 0);
}

Test(admin_publish, frames)
{
    publish(BINARY, "\3\0\0\0a\nb\0\0\0\0", 11);
    cr_assert_str_eq(r.body,
                     "{\"channel\":\"sensors/lidar\",\"events\":2,\"bytes\":3,\"first_seq\":1,\"last_seq\":2}\n");
    expect_taken("\3\0\0\0a\nb\0\0\0\0", 11);
}

Test(admin_publish, durable)
{
    world_request(&w, "POST", "/v1/channels/a/publish?durable=true", TEXT, "x", 1, &r);
    cr_assert_eq(r.status, 200);
    cr_assert(w.node.durable);
    world_request(&w, "POST", "/v1/channels/a/publish?durable=false", TEXT, "x", 1, &r);
    cr_assert_eq(r.status, 200);
    cr_assert(!w.node.durable);
}

Test(admin_publish, a_line_above_the_limit)
{
    static char body[8 + 8109 + 8];
    memcpy(body, "a\nb\n", 4);
    memset(body + 4, 'x', 8108);
    body[8112] = '\n';
    publish(TEXT, body, 8113);
    cr_assert_eq(r.status, 200);
    memset(body + 4, 'x', 8109);
    memcpy(body + 8113, "\nc\n", 3);
    publish(TEXT, body, 8116);
    cr_assert_eq(r.status, 413);
    cr_assert_str_eq(r.body,
                     "{\"error\":{\"code\":\"too_large\",\"message\":\"an event has at most 8108 bytes here "
                     "(limits.event_bytes)\",\"event\":2},"
                     "\"channel\":\"sensors/lidar\",\"events\":2,\"bytes\":2,\"first_seq\":4,\"last_seq\":5}\n");
    expect_taken("\1\0\0\0a\1\0\0\0b", 10);
}

Test(admin_publish, a_line_without_end_is_refused_at_the_limit)
{
    static char body[100000];
    memset(body, 'x', sizeof body);
    int client = begin(TEXT);
    say_chunk(client, "a\n", 2);
    say_chunk(client, body, sizeof body);
    hear(client);
    cr_assert_eq(r.status, 413);
    cr_assert_not_null(strstr(r.body, "\"event\":1}"));
    cr_assert_not_null(strstr(r.body, "\"events\":1,"));
}

Test(admin_publish, a_malformed_line_is_named)
{
    static const char body[] = "{\"data\":\"a\"}\n\n \n{\"data\":1}\n{\"data\":\"b\"}\n";
    publish("Content-Type: application/x-ndjson\r\n", body, sizeof body - 1);
    cr_assert_str_eq(r.body,
                     "{\"error\":{\"code\":\"format\",\"message\":\"line 4 is not {\\\"data\\\":\\\"text\\\"} or "
                     "{\\\"data_base64\\\":\\\"...\\\"}\",\"event\":1},"
                     "\"channel\":\"sensors/lidar\",\"events\":1,\"bytes\":1,\"first_seq\":1,\"last_seq\":1}\n");
    publish("Content-Type: application/x-ndjson\r\n", "\n{\"data\":\"a\"", 12); /* no LF, no end */
    cr_assert_eq(r.status, 400);
    cr_assert_not_null(strstr(r.body, "\"message\":\"line 2 is not "));
}

Test(admin_publish, a_frame_above_the_limit)
{
    publish(BINARY, "\1\0\0\0a\xad\x1f\0\0", 9); /* 8109 */
    cr_assert_eq(r.status, 413);
    cr_assert_not_null(strstr(r.body, "\"event\":1}"));
    expect_taken("\1\0\0\0a", 5);
}

Test(admin_publish, a_body_that_ends_inside_a_frame)
{
    publish(BINARY, "\1\0\0\0a\2\0\0\0b", 10);
    cr_assert_eq(r.status, 400);
    cr_assert_str_eq(r.body,
                     "{\"error\":{\"code\":\"truncated\",\"message\":\"the body ends inside an event\",\"event\":1},"
                     "\"channel\":\"sensors/lidar\",\"events\":1,\"bytes\":1,\"first_seq\":1,\"last_seq\":1}\n");
}

Test(admin_publish, what_cannot_begin)
{
    publish("", "a", 1);
    cr_assert_eq(r.status, 415);
    publish("Content-Type: text/plainer\r\n", "a", 1);
    cr_assert_eq(r.status, 415);
    publish("Content-Type: application/x-www-form-urlencoded\r\n", "a", 1);
    cr_assert_eq(r.status, 415);
    w.node.open_err = NET_ERR_LIMIT;
    publish(TEXT, "a", 1);
    cr_assert_eq(r.status, 429);
    static const struct {
        const char *rest, *code;
    } targets[] = {{"a/publish?durable=yes", "invalid"}, {"a/publish?other=1", "invalid"}, {"a%2/publish", "format"},
                   {"a%00b/publish", "format"},          {"a%20b/publish", "invalid"},     {"/publish", "invalid"}};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        char target[64];
        snprintf(target, sizeof target, "/v1/channels/%s", targets[i].rest);
        world_request(&w, "POST", target, TEXT, "x", 1, &r);
        expect_response_error(&r, 400, targets[i].code);
    }
    cr_assert_eq(w.node.puts, 0);
}

Test(admin_publish, events_go_on_as_they_come)
{
    int client = begin(TEXT);
    say_chunk(client, "one\ntw", 6);
    expect_taken("\3\0\0\0one", 7);
    world_sleep(&w, 600000); /* a publish may take as long as its source does */
    say_chunk(client, "o\n", 2);
    expect_taken("\3\0\0\0one\3\0\0\0two", 14);
    cr_assert_str_empty(world_heard(&w, client));
    world_say(&w, client, "0\r\n\r\n");
    hear(client);
    cr_assert_not_null(strstr(r.body, "\"events\":2,"));
    cr_assert(!w.stream.ends[client].closed);
}

Test(admin_publish, a_large_body_in_full_puts)
{
    size_t len = 1 << 20;
    char *body = malloc(len);
    for (size_t i = 0; i < len; i++)
        body[i] = i % 64 == 63 ? '\n' : (char)('a' + i % 26);
    publish(TEXT, body, len);
    cr_assert_eq(r.status, 200);
    cr_assert_eq(w.node.taken_events, len / 64);
    for (size_t i = 0; i < len / 64; i++) {
        cr_assert_eq(load_le32(w.node.taken + i * 67), 63);
        cr_assert(memcmp(w.node.taken + i * 67 + 4, body + i * 64, 63) == 0);
    }
    cr_assert_leq(w.node.puts, 2 * (len * 67 / 64 / 60000 + 1));
    free(body);
}

Test(admin_publish, waits_for_room_and_stops_reading)
{
    static char lines[400000];
    memset(lines, '\n', sizeof lines);
    w.node.room = 0;
    int client = begin(TEXT);
    say_chunk(client, lines, sizeof lines);
    world_say(&w, client, "0\r\n\r\n");
    cr_assert_lt(w.stream.ends[client].taken, 70000);
    cr_assert_eq(w.node.taken_events, 0);
    cr_assert_str_empty(world_heard(&w, client));
    while (w.node.taken_events < sizeof lines) {
        uint64_t before = w.node.taken_events;
        w.node.room = 1;
        world_run(&w);
        cr_assert_gt(w.node.taken_events, before);
        cr_assert_leq(w.node.taken_events, before + 2028);
    }
    w.node.room = 1; /* the end takes none, but `writable` may be waited for */
    world_run(&w);
    hear(client);
    cr_assert_eq(r.status, 200);
    cr_assert_not_null(strstr(r.body, "\"events\":400000,"));
}

Test(admin_publish, room_comes_after_the_end_of_the_body)
{
    char lines[2029];
    memset(lines, '\n', 2028);
    lines[2028] = 'x';
    w.node.room = 0;
    int client = begin(TEXT);
    say_chunk(client, lines, sizeof lines);
    world_say(&w, client, "0\r\n\r\n");
    cr_assert_str_empty(world_heard(&w, client));
    w.node.room = 1;
    world_run(&w);
    cr_assert_eq(w.node.taken_events, 2028);
    w.node.room = 1;
    world_run(&w);
    hear(client);
    cr_assert_not_null(strstr(r.body, "\"events\":2029,\"bytes\":1,"));
}

Test(admin_publish, a_put_that_fails_ends_it)
{
    int client = begin(TEXT);
    say_chunk(client, "a\nb\n", 4);
    w.node.put_err = NET_ERR_POISONED;
    say_chunk(client, "c\nd\n", 4);
    hear(client);
    expect_response_error(&r, 500, "poisoned");
    cr_assert_not_null(
        strstr(r.body, "\"event\":2},\"channel\":\"a\",\"events\":2,\"bytes\":2,\"first_seq\":1,\"last_seq\":2}"));
}

Test(admin_publish, an_end_that_failed)
{
    w.node.done_err = NET_ERR_NO_SPACE;
    publish(TEXT, "a\nb\n", 4);
    expect_response_error(&r, 507, "no_space");
}

Test(admin_publish, a_malformed_chunk_cancels_it)
{
    int client = begin(TEXT);
    say_chunk(client, "a\n", 2);
    world_say(&w, client, "zz\r\n");
    hear(client);
    expect_response_error(&r, 400, "format");
    cr_assert_eq(w.node.cancels, 1);
    expect_taken("\1\0\0\0a", 5);
}

Test(admin_publish, a_log_that_fails_while_the_body_comes)
{
    int client = begin(TEXT);
    say_chunk(client, "a\nb\n", 4);
    w.node.done_err = NET_ERR_IO;
    w.node.fail_early = true;
    world_run(&w);
    hear(client);
    cr_assert_eq(r.status, 500);
    cr_assert_not_null(strstr(r.body, "\"event\":2},"));
    say_chunk(client, "more\n", 5); /* read over */
    world_sleep(&w, 2000);
    cr_assert(w.stream.ends[client].closed);
}

Test(admin_publish, a_refused_event_while_there_is_no_room)
{
    static char large[9000];
    memset(large, 'x', sizeof large);
    int client = begin(TEXT);
    w.node.room = 0;
    say_chunk(client, "a\n", 2);
    say_chunk(client, large, sizeof large);
    cr_assert_str_empty(world_heard(&w, client));
    w.node.room = 1;
    world_run(&w);
    hear(client);
    cr_assert_eq(r.status, 413);
    cr_assert_not_null(strstr(r.body, "\"event\":1},\"channel\":\"a\",\"events\":1,"));
}

Test(admin_publish, keeps_the_connection_when_the_body_was_read)
{
    static const char two[] = "POST /v1/channels/a/publish HTTP/1.1\r\n" WORLD_HEAD TEXT "Content-Length: 2\r\n\r\na\n"
                              "POST /v1/channels/a/publish HTTP/1.1\r\n" WORLD_HEAD BINARY "Content-Length: 1\r\n\r\nx"
                              "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const char *heard = world_ask(&w, two);
    cr_assert_not_null(strstr(heard, "\"events\":1"));
    cr_assert_not_null(strstr(heard, "\"truncated\""));
    cr_assert_not_null(strstr(heard, "\r\n\r\nok"));
}

Test(admin_publish, ndjson)
{
    static const char body[] = "{\"data\":\"a\\tb\"}\n\n{\"data_base64\":\"AP8=\"}\r\n{\"data\":\"\"}";
    publish(NDJSON, body, sizeof body - 1);
    expect_taken("\3\0\0\0a\tb\2\0\0\0\0\xff\0\0\0\0", 17);
    cr_assert_str_eq(r.body,
                     "{\"channel\":\"sensors/lidar\",\"events\":3,\"bytes\":5,\"first_seq\":1,\"last_seq\":3}\n");
}

Test(admin_publish, ndjson_that_is_refused_says_where)
{
    static const char body[] = "{\"data\":\"one\"}\n{\"seq\":1,\"data\":\"two\"}\n{\"data\":\"three\"}\n";
    publish(NDJSON, body, sizeof body - 1);
    cr_assert_eq(r.status, 400);
    cr_assert_not_null(strstr(r.body, "{\"error\":{\"code\":\"format\","));
    cr_assert_not_null(strstr(r.body, "\"event\":1}"));
    cr_assert_not_null(strstr(r.body, "\"events\":1,\"bytes\":3,"));
    expect_taken("\3\0\0\0one", 7);
    publish(NDJSON, "{\"data\":\"cut off", 16);
    cr_assert_eq(r.status, 400);
    cr_assert_not_null(strstr(r.body, "\"event\":0}"));
    cr_assert_not_null(strstr(r.body, "\"events\":0,"));
}

/* Chunks and lines are cut in different places; the node has no room now and then. */
Test(admin_publish, ndjson_with_back_pressure)
{
    int client = begin(NDJSON);
    w.node.room = 0;
    for (int i = 0; i < 10000; i++) {
        say_chunk(client, "{\"data\":\"x\"}\n{\"data\":\"", 22);
        say_chunk(client, "\"}\n", 3);
    }
    cr_assert_lt(w.stream.ends[client].taken, w.stream.ends[client].to_server.len);
    w.node.room = UINT32_MAX;
    world_run(&w);
    stream_write(&w.stream, client, "0\r\n\r\n", 5);
    world_run(&w);
    expect_status(world_heard(&w, client), 200);
    cr_assert_eq(w.node.taken_events, 20000);
}

/* ---- to a peer (extensions X8) ---- */

static const struct peer_row alpha = {.name = "alpha", .node_id = 0xa1, .state = PEER_CONNECTED};

#define PRODUCER "0123456789abcdef0123456789abcdef"

static void append(const char *query, const char *body, size_t len)
{
    char target[200];
    snprintf(target, sizeof target, "/v1/channels/a/publish?%s", query);
    w.node.peers[0] = alpha;
    w.node.peer_count = 1;
    w.node.taken_len = 0;
    world_request(&w, "POST", target, TEXT, body, len, &r);
}

static void expect_refused(const char *query, unsigned status, const char *what)
{
    append(query, "x\n", 2);
    cr_expect_eq(r.status, status, "%s: %u", query, r.status);
    cr_expect(strstr(r.body, what), "%s: %s", query, r.body);
}

Test(admin_publish, to_a_peer)
{
    append("to=alpha&durable=true", "one\ntwo\n", 8);
    cr_assert_eq(r.status, 200, "%s", r.body);
    cr_assert(strstr(w.node.asked, "append a to "), "%s", w.node.asked);
    cr_assert(w.node.durable);
    expect_taken("\3\0\0\0one\3\0\0\0two", 14);
    cr_assert(strstr(r.body, "\"to\":\"0x"), "%s", r.body);
    cr_assert(!strstr(r.body, "\"sequence\""), "%s", r.body);
}

Test(admin_publish, as_one_append_of_a_producer)
{
    append("to=alpha&sequence=7&producer=" PRODUCER, "one\ntwo", 7);
    cr_assert_eq(r.status, 200, "%s", r.body);
    cr_assert(strstr(w.node.asked, " as 01..ef 7"), "%s", w.node.asked);
    cr_assert_eq(w.node.puts, 1);
    cr_assert(strstr(r.body, "\"sequence\":7"), "%s", r.body);
    append("to=alpha&sequence=0&producer=" PRODUCER, "", 0);
    cr_assert_eq(r.status, 200, "%s", r.body);
    cr_assert_eq(w.node.puts, 2, "an append of nothing is one");
}

Test(admin_publish, one_append_is_all_or_nothing)
{
    static char body[100000];
    memset(body, '.', sizeof body);
    for (size_t i = 999; i < sizeof body; i += 1000)
        body[i] = '\n';
    append("to=alpha&sequence=1&producer=" PRODUCER, body, sizeof body);
    cr_assert_eq(r.status, 413, "%s", r.body);
    cr_assert(strstr(r.body, "one append of several events has at most 57344 bytes"), "%s", r.body);
    cr_assert_eq(w.node.puts, 0);
    append("to=alpha&sequence=1&producer=" PRODUCER, body, 58000);
    cr_assert_eq(r.status, 413, "%s", r.body);
    cr_assert_eq(w.node.puts, 0);
    append("to=alpha&sequence=1&producer=" PRODUCER, body, 57000);
    cr_assert_eq(r.status, 200, "%s", r.body);
    cr_assert_eq(w.node.puts, 1);
}

Test(admin_publish, to_nobody_or_as_nobody)
{
    expect_refused("to=stranger", 404, "there is no such peer");
    expect_refused("to=alpha&producer=" PRODUCER, 400, "belong together");
    expect_refused("to=alpha&sequence=1", 400, "belong together");
    expect_refused("sequence=1&producer=" PRODUCER, 400, "belong together");
    expect_refused("to=alpha&sequence=1&producer=0123", 400, "32 lower-case hex digits");
    expect_refused("to=alpha&sequence=1&producer=0123456789ABCDEF0123456789abcdef", 400, "32 lower-case hex digits");
    expect_refused("to=alpha&sequence=-1&producer=" PRODUCER, 400, "sequence");
    w.node.open_err = NET_ERR_UNREACHABLE;
    expect_refused("to=alpha", 503, "the peer is not connected");
    w.node.open_err = NET_ERR_UNSUPPORTED;
    expect_refused("to=alpha", 501, "does not know acknowledged append");
    w.node.open_err = 0;
    w.node.done_err = NET_ERR_REPLAY;
    expect_refused("to=alpha", 409, "whether it was appended is not known");
    w.node.done_err = NET_ERR_EXISTS;
    expect_refused("to=alpha", 409, "was used for other events");
}
