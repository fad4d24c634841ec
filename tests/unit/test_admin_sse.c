/* GET .../events as Server-Sent Events. WHATWG HTML 9.2 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/support/admin/expect.h"

static struct world w;
static struct response r;

static void set_up(void)
{
    world_init(&w);
    w.node.config.admin_connections = 32;
    world_start(&w);
    w.node.origins = 1;
    w.node.origin_self = true;
}

static void tear_down(void)
{
    response_free(&r);
    world_deinit(&w);
}

TestSuite(admin_sse, .init = set_up, .fini = tear_down);

static void add(uint64_t seq, const char *data)
{
    fake_node_add(&w.node, (struct fake_event){
                               .seq = seq, .ts_ns = seq * 10, .data = (const uint8_t *)data, .len = strlen(data)});
}

/* A new client asks; what it heard by now is in `r`. */
static int ask(const char *query, const char *headers)
{
    char head[1024];
    int client = stream_connect(&w.stream);
    snprintf(head, sizeof head, "GET /v1/channels/a/events%s HTTP/1.1\r\n" WORLD_HEAD "%s\r\n", query, headers);
    world_say(&w, client, head);
    response_free(&r);
    const char *heard = world_heard(&w, client);
    response_parse(heard, strlen(heard), &r);
    return client;
}

#define ACCEPT "Accept: text/event-stream\r\n"
#define EVENT_5 "id: 5\ndata: {\"seq\":5,\"ts_ns\":50,\"origin\":\"self\",\"data\":\"one\\ntwo\"}\n\n"

Test(admin_sse, an_event_is_an_id_and_a_row)
{
    char type[256];
    add(5, "one\ntwo");
    fake_node_add(&w.node, (struct fake_event){.seq = 6, .gap_to = 8});
    fake_node_add(&w.node, (struct fake_event){.seq = 9, .ts_ns = 90, .data = (const uint8_t *)"\xff", .len = 1});
    ask("", ACCEPT);
    cr_assert_str_eq(response_header(&r, "Content-Type", type), "text/event-stream");
    cr_assert_str_eq(r.body, EVENT_5 "event: gap\nid: 8\ndata: {\"gap\":[6,8]}\n\n"
                                     "id: 9\ndata: {\"seq\":9,\"ts_ns\":90,\"origin\":\"self\","
                                     "\"data_base64\":\"/w==\"}\n\n");
    cr_assert(r.complete);
}

Test(admin_sse, is_asked_for_by_accept_or_format)
{
    static const struct {
        const char *query, *headers, *type;
    } cases[] = {
        {"", ACCEPT, "text/event-stream"},
        {"", "Accept: Text/Event-Stream;q=0.9\r\n", "text/event-stream"},
        {"", "Accept: application/json, text/event-stream , */*\r\n", "text/event-stream"},
        {"", "Accept: application/json\r\n" ACCEPT, "text/event-stream"},
        {"?format=sse", "", "text/event-stream"},
        {"?format=sse", "Accept: application/x-ndjson\r\n", "text/event-stream"},
        {"?format=ndjson", ACCEPT, "application/x-ndjson"},
        {"?format=binary", ACCEPT, "application/octet-stream"},
        {"", "Accept: text/event-streams\r\n", "application/x-ndjson"},
        {"", "Accept: */*\r\n", "application/x-ndjson"},
        {"", "", "application/x-ndjson"},
    };
    char type[256];
    add(5, "x");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask(cases[i].query, cases[i].headers);
        cr_assert_eq(r.status, 200, "%zu", i);
        cr_assert_str_eq(response_header(&r, "Content-Type", type), cases[i].type, "%zu: %s", i, type);
    }
    ask("?format=text", "");
    expect_response_error(&r, 400, "invalid");
}

/* Accept is a wish: however long it is, and however often it stands, nobody is refused for it. */
Test(admin_sse, an_accept_of_any_length_is_taken)
{
    char headers[700] = "Accept: ";
    memset(headers + strlen(headers), 'a', 600);
    strcat(headers, "\r\nAccept: b\r\n");
    add(5, "x");
    ask("", headers);
    cr_assert_eq(r.status, 200);
}

Test(admin_sse, last_event_id_resumes_after_it)
{
    add(5, "x");
    ask("?from=earliest", ACCEPT "Last-Event-ID: 41\r\n");
    cr_assert_eq(r.status, 200);
    cr_assert_eq(w.node.tail.start, TAIL_SEQ, "it is newer than the query, which a client repeats");
    cr_assert_eq(w.node.tail.seq, 42);
    ask("?from=7", ACCEPT);
    cr_assert_eq(w.node.tail.seq, 7);
    ask("?from=7", ACCEPT "Last-Event-ID:\r\n");
    cr_assert_eq(w.node.tail.seq, 7, "an empty id is none");
    ask("?from=7", "Last-Event-ID: 41\r\n");
    cr_assert_eq(w.node.tail.seq, 7, "not a stream of events: the header means nothing");
    ask("?from=latest&format=sse", "Last-Event-ID: 18446744073709551614\r\n");
    cr_assert_eq(w.node.tail.seq, UINT64_MAX);
}

Test(admin_sse, a_last_event_id_that_no_event_has)
{
    static const char *const wrong[] = {
        "x", "-1", "+1", "1x", "1 2", "0x10", "18446744073709551615", "99999999999999999999"};
    char headers[128];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(headers, sizeof headers, ACCEPT "Connection: close\r\nLast-Event-ID: %s\r\n", wrong[i]);
        ask("", headers);
        expect_response_error(&r, 400, "invalid");
    }
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

#define ALIVE ": keep-alive\n\n"

Test(admin_sse, a_quiet_stream_says_that_it_lives)
{
    int client = ask("?follow=true", ACCEPT);
    cr_assert_eq(r.status, 200);
    world_sleep(&w, 14999);
    cr_assert_eq(count(world_heard(&w, client), ALIVE), 0);
    world_sleep(&w, 1);
    cr_assert_eq(count(world_heard(&w, client), ALIVE), 1);
    world_sleep(&w, 45000);
    cr_assert_eq(count(world_heard(&w, client), ALIVE), 4);
    add(5, "one\ntwo");
    world_run(&w);
    cr_assert_eq(count(world_heard(&w, client), EVENT_5), 1);
    int lines = ask("?follow=true", "");
    world_sleep(&w, 60000);
    cr_assert_eq(count(world_heard(&w, lines), ALIVE), 0, "only Server-Sent Events have comments");
}

Test(admin_sse, also_while_there_is_no_log_yet)
{
    w.node.origins = 0;
    int client = ask("?follow=true", ACCEPT);
    world_sleep(&w, 30500);
    cr_assert_eq(count(world_heard(&w, client), ALIVE), 2);
    w.node.origins = 1;
    add(5, "one\ntwo");
    world_sleep(&w, 200);
    cr_assert_eq(count(world_heard(&w, client), EVENT_5), 1);
    world_sleep(&w, 30000);
    cr_assert_geq(count(world_heard(&w, client), ALIVE), 3);
}

/* Whoever does not read is not sent more to read. */
Test(admin_sse, a_stalled_reader_gets_no_comments)
{
    int client = ask("?follow=true", ACCEPT);
    w.stream.ends[client].room = 3;
    add(5, "one\ntwo");
    world_run(&w);
    world_sleep(&w, 600000);
    w.stream.ends[client].room = SIZE_MAX;
    world_run(&w);
    const char *heard = world_heard(&w, client);
    cr_assert_eq(count(heard, EVENT_5), 1);
    cr_assert_eq(count(heard, ALIVE), 0);
    world_sleep(&w, 15000);
    cr_assert_eq(count(world_heard(&w, client), ALIVE), 1);
}

Test(admin_sse, head_and_limit)
{
    char type[256];
    add(5, "one\ntwo");
    add(6, "x");
    ask("?limit=1&follow=true", ACCEPT);
    cr_assert_str_eq(r.body, EVENT_5);
    cr_assert(r.complete);
    int client = stream_connect(&w.stream);
    world_say(&w, client, "HEAD /v1/channels/a/events HTTP/1.1\r\n" WORLD_HEAD ACCEPT "\r\n");
    response_free(&r);
    const char *heard = world_heard(&w, client);
    response_parse(heard, strlen(heard), &r);
    cr_assert_str_eq(response_header(&r, "Content-Type", type), "text/event-stream");
}

Test(admin_sse, ends_with_its_client)
{
    int client = ask("?follow=true", ACCEPT);
    w.stream.ends[client].shut = true;
    world_run(&w);
    cr_assert(world_closed(&w, client));
    cr_assert(fake_node_idle(&w.node));
    world_sleep(&w, 60000);
}
