/* HTTP/1.1 as the admin port speaks it: requests over any split, keep-alive. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/support/admin/expect.h"

static struct world w;

static void set_up(void)
{
    world_init(&w);
    world_start(&w);
}

static void tear_down(void)
{
    world_deinit(&w);
}

TestSuite(admin_http, .init = set_up, .fini = tear_down);

/* The last connection made. */
static int last(void)
{
    int i = STREAM_CONNECTIONS - 1;
    while (!w.stream.ends[i].connected)
        i--;
    return i;
}

Test(admin_http, head_of_an_answer)
{
    cr_assert_str_eq(world_ask(&w, WORLD_HEALTHZ),
                     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                     "Content-Length: 2\r\n\r\nok");
    cr_assert(!world_closed(&w, last()));
}

Test(admin_http, pipelined_requests_are_answered_in_order)
{
    const char *heard =
        world_ask(&w, "GET /nothing HTTP/1.1\r\n" WORLD_HEAD "\r\n" WORLD_HEALTHZ WORLD_HEALTHZ WORLD_HEALTHZ);
    int statuses[] = {404, 200, 200, 200};
    for (int i = 0; i < 4; i++) {
        struct response r;
        response_parse(heard, strlen(heard), &r);
        cr_assert_eq(r.status, statuses[i]);
        cr_assert(r.complete);
        heard = r.next;
        response_free(&r);
    }
    cr_assert_str_empty(heard);
}

Test(admin_http, a_pipelined_request_waits_for_the_one_before)
{
    w.node.hold = true;
    const char *heard = world_ask(&w, "GET /v1/channels HTTP/1.1\r\n" WORLD_HEAD "\r\n" WORLD_HEALTHZ);
    cr_assert_str_empty(heard);
    w.node.hold = false;
    world_run(&w);
    heard = world_heard(&w, last());
    cr_assert_not_null(strstr(heard, "[]\n"));
    cr_assert_gt(strstr(heard, "ok"), strstr(heard, "[]"));
}

Test(admin_http, read_ahead_is_bounded)
{
    w.node.hold = true;
    int client = stream_connect(&w.stream);
    world_say(&w, client, "GET /v1/channels HTTP/1.1\r\n" WORLD_HEAD "\r\n");
    for (int i = 0; i < 4000; i++)
        world_say(&w, client, WORLD_HEALTHZ);
    cr_assert_lt(w.stream.ends[client].taken, (64 << 10) + 256);
    w.node.hold = false;
    world_run(&w);
    cr_assert_eq(w.stream.ends[client].taken, w.stream.ends[client].to_server.len);
    cr_assert_eq(admin_get_stats(w.admin)->requests, 4001);
}

static size_t answers(int client)
{
    size_t n = 0;
    for (const char *at = world_heard(&w, client); (at = strstr(at, "HTTP/1.1 ")); at++)
        n++;
    return n;
}

/* Whoever shows no token cannot keep the node busy with what costs him nothing. */
Test(admin_http, requests_a_stranger_sends_ahead_wait)
{
    int client = stream_connect(&w.stream);
    for (int i = 0; i < 50; i++)
        stream_write(&w.stream, client, WORLD_HEALTHZ, strlen(WORLD_HEALTHZ));
    stream_write(&w.stream, client, "GET /v1/node HTTP/1.1\r\n" WORLD_HEAD "\r\n",
                 strlen("GET /v1/node HTTP/1.1\r\n" WORLD_HEAD "\r\n"));
    for (int i = 0; i < 50; i++)
        stream_write(&w.stream, client, WORLD_HEALTHZ, strlen(WORLD_HEALTHZ));
    world_run(&w);
    cr_assert_eq(answers(client), 1);
    world_sleep(&w, 99);
    cr_assert_eq(answers(client), 1);
    world_sleep(&w, 1);
    cr_assert_eq(answers(client), 2);
    world_sleep(&w, 4800);
    cr_assert_eq(answers(client), 50);
    world_sleep(&w, 100); /* now it is known */
    cr_assert_eq(answers(client), 101);
}

/* One after the other is no flood. */
Test(admin_http, a_stranger_who_waits_for_answers_does_not_wait)
{
    int client = stream_connect(&w.stream);
    for (int i = 0; i < 50; i++)
        world_say(&w, client, WORLD_HEALTHZ);
    cr_assert_eq(answers(client), 50);
}

Test(admin_http, connection_close_and_http_1_0)
{
    cr_assert_not_null(strstr(world_ask(&w, "GET /healthz HTTP/1.1\r\nHost: ::\r\n\r\n"), "403"));
    const char *heard = world_ask(&w, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    cr_assert_not_null(strstr(heard, "Connection: close\r\n"));
    cr_assert(world_closed(&w, last()));
    heard = world_ask(&w, "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n");
    cr_assert_not_null(strstr(heard, "Connection: close\r\n"));
    cr_assert_not_null(strstr(heard, "\r\n\r\nok"));
    cr_assert(world_closed(&w, last()));
    heard = world_ask(&w, "GET /healthz HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
    cr_assert_not_null(strstr(heard, "Connection: keep-alive\r\n"));
    cr_assert(!world_closed(&w, last()));
}

Test(admin_http, a_client_that_ends_its_side_still_gets_its_answer)
{
    int client = stream_connect(&w.stream);
    stream_write(&w.stream, client, WORLD_HEALTHZ WORLD_HEALTHZ, 2 * strlen(WORLD_HEALTHZ));
    w.stream.ends[client].shut = true;
    world_run(&w);
    world_sleep(&w, 100);
    struct response r;
    const char *heard = world_heard(&w, client);
    response_parse(heard, strlen(heard), &r);
    expect_status(r.next, 200);
    response_free(&r);
    cr_assert(world_closed(&w, client));
}

Test(admin_http, head_is_get_without_a_body)
{
    world_ask(&w, "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" WORLD_HEALTHZ);
    world_sleep(&w, 100);
    const char *heard = world_heard(&w, last());
    const char *first_end = strstr(heard, "\r\n\r\n");
    cr_assert_not_null(strstr(heard, "Content-Length: 2\r\n"));
    cr_assert_eq(strncmp(first_end + 4, "HTTP/1.1 200", 12), 0);
    expect_error(world_ask(&w, "POST /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 401, "unauthorized");
}

/* RFC 9112 6.3: not even the last chunk, else the client takes it for the next answer. */
Test(admin_http, head_of_a_stream)
{
    w.node.origins = 1;
    w.node.origin_self = true;
    w.node.event_count = 3;
    const char *heard = world_ask(&w, "HEAD /v1/channels/a/events HTTP/1.1\r\n" WORLD_HEAD "\r\n" WORLD_HEALTHZ);
    cr_assert_eq(strncmp(heard, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n", 53), 0);
    cr_assert_not_null(strstr(heard, "Transfer-Encoding: chunked\r\n"));
    cr_assert_eq(strncmp(strstr(heard, "\r\n\r\n") + 4, "HTTP/1.1 200 OK\r\n", 17), 0);
    heard = world_ask(&w, "HEAD /v1/channels/a/events?follow=true HTTP/1.1\r\n" WORLD_HEAD "\r\n" WORLD_HEALTHZ);
    cr_assert_eq(strncmp(strstr(heard, "\r\n\r\n") + 4, "HTTP/1.1 200 OK\r\n", 17), 0);
    w.node.origins = 0;
    heard = world_ask(&w, "HEAD /v1/channels/a/events HTTP/1.1\r\n" WORLD_HEAD "\r\n");
    cr_assert_eq(strncmp(heard, "HTTP/1.1 404 ", 13), 0, "the status of GET: %s", heard);
    w.node.tail_err = NET_ERR_NOT_FOUND;
    heard = world_ask(&w, "HEAD /v1/channels/a/events?origin=self HTTP/1.1\r\n" WORLD_HEAD "\r\n");
    cr_assert_eq(strncmp(heard, "HTTP/1.1 404 ", 13), 0, "the status of GET: %s", heard);
}

Test(admin_http, unknown_path_and_wrong_method)
{
    expect_error(world_ask(&w, "GET /v2/node HTTP/1.1\r\n" WORLD_HEAD "\r\n"), 404, "route");
    expect_error(world_ask(&w, "GET / HTTP/1.1\r\n" WORLD_HEAD "\r\n"), 404, "route");
    expect_error(world_ask(&w, "GET /v1/node/ HTTP/1.1\r\n" WORLD_HEAD "\r\n"), 404, "route");
    expect_error(world_ask(&w, "GET /v1/peers/a/b HTTP/1.1\r\n" WORLD_HEAD "\r\n"), 404, "route");
    expect_error(world_ask(&w, "OPTIONS * HTTP/1.1\r\n" WORLD_HEAD "\r\n"), 404, "route");
    const char *heard = world_ask(&w, "DELETE /v1/peers HTTP/1.1\r\n" WORLD_HEAD "\r\n");
    cr_assert_not_null(strstr(heard, "\r\nAllow: GET, HEAD, POST\r\n"));
    expect_error(heard, 405, "method");
    heard = world_ask(&w, "GET /v1/channels/a/publish HTTP/1.1\r\n" WORLD_HEAD "\r\n");
    cr_assert_not_null(strstr(heard, "\r\nAllow: POST\r\n"));
    expect_error(heard, 405, "method");
    expect_error(world_ask(&w, "CONNECT localhost:1 HTTP/1.1\r\n" WORLD_HEAD "\r\n"), 404, "route");
}

Test(admin_http, what_is_not_http)
{
    expect_error(world_ask(&w, "\x16\x03\x01\x02"), 400, "format");
    expect_error(world_ask(&w, "GET /healthz\r\n\r\n"), 505, "unsupported");
    expect_error(world_ask(&w, "GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n"), 505, "unsupported");
    /* blanks before the colon: RFC 9112 5.1 */
    expect_error(world_ask(&w, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length : 9\r\n\r\n"), 400,
                 "format");
    /* values that go on in the next line: RFC 9112 5.2 */
    const char *const folded[] = {"Host: 127.0.\r\n 0.1\r\n", "Host: localhost\r\nX:\r\n\ty\r\n",
                                  " Host: localhost\r\n", "Host: localhost\r\nTransfer-Encoding:\r\n chunked\r\n"};
    for (size_t i = 0; i < sizeof folded / sizeof folded[0]; i++) {
        char request[160];
        snprintf(request, sizeof request, "GET /healthz HTTP/1.1\r\n%s\r\n", folded[i]);
        const char *heard = world_ask(&w, request);
        cr_assert_not_null(strstr(heard, "Connection: close\r\n"), "%zu", i);
        expect_error(heard, 400, "format");
    }
    /* two lengths, two framings: RFC 9112 6.3, the ways to smuggle a request */
    expect_error(world_ask(&w, "POST /v1/peers HTTP/1.1\r\n" WORLD_HEAD
                               "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"),
                 400, "format");
    expect_error(
        world_ask(&w, "POST /v1/peers HTTP/1.1\r\n" WORLD_HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\n"), 400,
        "format");
    expect_error(world_ask(&w, "POST /v1/peers HTTP/1.1\r\n" WORLD_HEAD "Transfer-Encoding: gzip\r\n\r\n"), 400,
                 "format");
    expect_error(world_ask(&w, "POST /v1/peers HTTP/1.1\r\n" WORLD_HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
                 400, "format");
    world_sleep(&w, 3000); /* the client had time to read why */
    for (int i = 0; i <= last(); i++)
        cr_assert(world_closed(&w, i), "%d", i);
}

/* RFC 9112 6.1 and RFC 9110 8.4: a body in a coding we cannot take off is not taken as it is. */
Test(admin_http, codings_are_not_ignored)
{
#define PUBLISH "POST /v1/channels/a/publish HTTP/1.1\r\n" WORLD_HEAD "Content-Type: text/plain\r\n"
    expect_error(world_ask(&w, PUBLISH "Transfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"), 501,
                 "unsupported");
    expect_error(world_ask(&w, PUBLISH "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\na"), 415, "unsupported");
    expect_error(world_ask(&w, "POST /v1/channels/a/publish HTTP/1.0\r\n" WORLD_HEAD
                               "Content-Type: text/plain\r\nConnection: keep-alive\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
                 400, "format");
    expect_status(world_ask(&w, PUBLISH "Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"), 200);
    expect_status(world_ask(&w, PUBLISH "Content-Encoding: identity\r\nContent-Length: 1\r\n\r\na"), 200);
#undef PUBLISH
}

Test(admin_http, upgrade_is_ignored)
{
    expect_status(
        world_ask(&w, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), 200);
}

/* Expect */

Test(admin_http, expect_continue)
{
    int client = stream_connect(&w.stream);
    world_say(&w, client, "POST /v1/peers HTTP/1.1\r\n" WORLD_HEAD "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    cr_assert_str_eq(world_heard(&w, client), "HTTP/1.1 100 Continue\r\n\r\n");
    world_forget(&w, client);
    world_say(&w, client, "[]");
    expect_error(world_heard(&w, client), 400, "invalid");
    expect_error(world_ask(&w, "POST /v1/peers HTTP/1.1\r\n" WORLD_HEAD "Expect: more\r\nContent-Length: 2\r\n\r\n"),
                 417, "unsupported");
    /* refused before the body is asked for */
    expect_error(world_ask(&w, "POST /v1/peers HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                               "Content-Length: 2\r\n\r\n"),
                 401, "unauthorized");
}

/* Every split */

#define PEER_BODY "{\"name\":\"b\",\"node_id\":\"0x2\",\"addr\":\"127.0.0.1:9\",\"public_key\":\"" WORLD_TOKEN "\"}"

static const char *const conversation[] = {
    "GET /v1/channels HTTP/1.1\r\nAuthorization: Bearer " WORLD_TOKEN "\r\nHost: [::1]:20038\r\n\r\n",
    WORLD_HEALTHZ,
    "POST /v1/peers HTTP/1.1\r\n" WORLD_HEAD "Content-Length: 129\r\n\r\n" PEER_BODY,
    "POST /v1/channels/a%2Fb/publish?durable=true HTTP/1.1\r\n" WORLD_HEAD
    "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    "5\r\none\nt\r\n1\r\nw\r\n3;x=y\r\no\n\n\r\n0\r\nTrailer: x\r\n\r\n",
    "POST /v1/channels/c/publish HTTP/1.1\r\n" WORLD_HEAD
    "Content-Type: application/octet-stream\r\nContent-Length: 9\r\n\r\n\5\0\0\0five!",
    "\r\nGET /nothing?a=b HTTP/1.1\r\n" WORLD_HEAD "\r\n",
};

enum { REQUESTS = sizeof conversation / sizeof conversation[0] };

static size_t conversation_text(char *out)
{
    size_t len = 0;
    for (int i = 0; i < REQUESTS; i++) {
        /* a length with NULs inside is known from its header */
        size_t n =
            i == 4 ? (size_t)(strstr(conversation[i], "\r\n\r\n") - conversation[i]) + 4 + 9 : strlen(conversation[i]);
        memcpy(out + len, conversation[i], n);
        len += n;
    }
    return len;
}

static void check_conversation(int client)
{
    static const char *const expected[REQUESTS] = {
        "[]\n",
        "ok",
        "{\"name\":\"b\",\"node_id\":\"0x0000000000000002\",\"addr\":\"127.0.0.1:9\",\"public_key\":\"" WORLD_TOKEN
        "\",\"compat\":null,\"mode\":null}\n",
        "{\"channel\":\"a/b\",\"events\":3,\"bytes\":6,\"first_seq\":1,\"last_seq\":3}\n",
        "{\"channel\":\"c\",\"events\":1,\"bytes\":5,\"first_seq\":4,\"last_seq\":4}\n",
        "{\"error\":{\"code\":\"route\",\"message\":\"there is no such path\"}}\n",
    };
    const char *heard = world_heard(&w, client);
    for (int i = 0; i < REQUESTS; i++) {
        struct response r;
        response_parse(heard, strlen(heard), &r);
        cr_assert_str_eq(r.body, expected[i]);
        cr_assert(r.complete);
        heard = r.next;
        response_free(&r);
    }
    cr_assert_str_empty(heard);
    cr_assert_eq(w.node.taken_len, 4 + 3 + 4 + 3 + 4 + 4 + 5);
    cr_assert_arr_eq(w.node.taken, "\3\0\0\0one\3\0\0\0two\0\0\0\0\5\0\0\0five!", w.node.taken_len);
    cr_assert(w.node.durable == false); /* of the second */
}

/* The conversation in two pieces, then on a fresh port: everything is the same whatever the split. */
Test(admin_http_splits, every_split_in_two, .timeout = 120)
{
    char text[4096];
    size_t len = conversation_text(text);
    for (size_t split = 0; split <= len; split++) {
        set_up();
        int client = stream_connect(&w.stream);
        stream_write(&w.stream, client, text, split);
        world_run(&w);
        stream_write(&w.stream, client, text + split, len - split);
        world_run(&w);
        check_conversation(client);
        tear_down();
    }
}

Test(admin_http, byte_by_byte_both_ways)
{
    char text[4096];
    size_t len = conversation_text(text);
    int client = stream_connect(&w.stream);
    w.stream.ends[client].recv_most = 1;
    w.stream.ends[client].send_most = 1;
    stream_write(&w.stream, client, text, len);
    world_run(&w);
    check_conversation(client);
}
