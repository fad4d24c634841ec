/* What the admin port bounds: sizes, connections, time. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

TestSuite(admin_limits, .init = set_up, .fini = tear_down);

Test(admin_limits, header_bytes)
{
    char *text = malloc(70000);
    int at = sprintf(text, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Filler: ");
    memset(text + at, 'a', 70000 - (size_t)at);
    text[69999] = '\0';
    expect_error(world_ask(&w, text), 431, "header_too_large");
    sprintf(text + 16384 - 4, "\r\n\r\n"); /* exactly the limit */
    expect_status(world_ask(&w, text), 200);
    text[16384 - 4] = 'a';
    sprintf(text + 16384 - 3, "\r\n\r\n");
    expect_error(world_ask(&w, text), 431, "header_too_large");
    free(text);
}

Test(admin_limits, one_header_of_ours_is_at_most_255_bytes)
{
    char text[800];
    char headers[600] = WORLD_HEAD "Content-Type: ";
    memset(headers + strlen(headers), 'a', 256);
    strcat(headers, "\r\n");
    snprintf(text, sizeof text, "GET /v1/node HTTP/1.1\r\n%s\r\n", headers);
    expect_error(world_ask(&w, text), 431, "header_too_large");
}

Test(admin_limits, target_length)
{
    char target[2100] = "/healthz?";
    memset(target + 9, '&', 2047 - 9);
    target[2047] = '\0';
    char text[2300];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);
    expect_status(world_ask(&w, text), 200);
    strcat(target, "&");
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);
    expect_error(world_ask(&w, text), 414, "too_large");
}

Test(admin_limits, body_of_at_most_64_kib)
{
    static char body[65537];
    struct response r = {0};
    memset(body, ' ', sizeof body);
    world_request(&w, "POST", "/v1/peers", "", body, 65536, &r);
    expect_response_error(&r, 400, "invalid"); /* read, and no object */
    world_request(&w, "POST", "/v1/peers", "", body, 65537, &r);
    expect_response_error(&r, 413, "too_large");
    response_free(&r);
    /* chunked: known only when it is too much */
    int client = stream_connect(&w.stream);
    world_say(&w, client, "POST /v1/peers HTTP/1.1\r\n" WORLD_HEAD "Transfer-Encoding: chunked\r\n\r\n10001\r\n");
    cr_assert_str_empty(world_heard(&w, client));
    stream_write(&w.stream, client, body, 65537);
    world_run(&w);
    expect_error(world_heard(&w, client), 413, "too_large");
}

Test(admin_limits, after_a_refusal_the_body_is_read_over_for_a_while)
{
    static char body[300000];
    int client = stream_connect(&w.stream);
    world_say(&w, client, "POST /v1/peers HTTP/1.1\r\n" WORLD_HEAD "Content-Length: 300000\r\n\r\n");
    expect_error(world_heard(&w, client), 413, "too_large");
    cr_assert_not_null(strstr(world_heard(&w, client), "Connection: close\r\n"));
    stream_write(&w.stream, client, body, sizeof body);
    world_run(&w);
    cr_assert_eq(w.stream.ends[client].taken, w.stream.ends[client].to_server.len);
    cr_assert(!world_closed(&w, client));
    world_sleep(&w, 1999);
    cr_assert(!world_closed(&w, client));
    world_sleep(&w, 1);
    cr_assert(world_closed(&w, client));
}

#define NODE "GET /v1/node HTTP/1.1\r\n" WORLD_HEAD "\r\n"

Test(admin_limits, connections)
{
    const char *heard;
    for (int i = 0; i < 8; i++)
        expect_status(world_ask(&w, NODE), 200);
    heard = world_ask(&w, "");
    expect_error(heard, 503, "limit");
    cr_assert(world_closed(&w, 8));
    cr_assert_eq(admin_get_stats(w.admin)->refused, 1);
    cr_assert_eq(admin_get_stats(w.admin)->open, 8);
    w.stream.ends[3].shut = true;
    world_run(&w);
    cr_assert(world_closed(&w, 3));
    expect_status(world_ask(&w, WORLD_HEALTHZ), 200);
}

/* Who shows no token cannot keep out who has one. */
Test(admin_limits, strangers_make_room)
{
    int known = stream_connect(&w.stream);
    world_say(&w, known, NODE);
    for (int i = 1; i < 8; i++)
        world_ask(&w, i % 2 ? "" : "GET /v1/node HT");
    for (int i = 8; i < 12; i++)
        expect_status(world_ask(&w, NODE), 200);
    cr_assert_eq(admin_get_stats(w.admin)->evicted, 4);
    cr_assert_eq(admin_get_stats(w.admin)->refused, 0);
    cr_assert_eq(admin_get_stats(w.admin)->open, 8);
    cr_assert(!world_closed(&w, known), "it has shown a token");
    for (int i = 1; i < 8; i++)
        cr_assert_eq(world_closed(&w, i), i < 5, "%d: the longest quiet go first", i);
}

Test(admin_limits, of_strangers_the_longest_quiet_goes)
{
    for (int i = 0; i < 8; i++)
        world_ask(&w, WORLD_HEALTHZ);
    for (int i = 0; i < 8; i++)
        if (i != 5)
            world_say(&w, i, WORLD_HEALTHZ);
    world_ask(&w, WORLD_HEALTHZ);
    for (int i = 0; i < 9; i++)
        cr_assert_eq(world_closed(&w, i), i == 5, "%d", i);
}

/* An answer nobody takes, a body nobody sends: no reason to keep the place. */
Test(admin_limits, a_stranger_makes_room_whatever_it_waits_for)
{
    for (int i = 0; i < 8; i++) {
        int client = stream_connect(&w.stream);
        w.stream.ends[client].room = 0;
        world_say(&w, client,
                  i % 2 ? WORLD_HEALTHZ WORLD_HEALTHZ : "POST /v1/peers HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    for (int i = 0; i < 8; i++)
        expect_status(world_ask(&w, NODE), 200);
    for (int i = 0; i < 8; i++)
        cr_assert(world_closed(&w, i), "%d", i);
    expect_error(world_ask(&w, ""), 503, "limit");
}

Test(admin_limits, who_has_shown_a_token_stays_known)
{
    for (int i = 0; i < 8; i++)
        world_ask(&w, NODE WORLD_HEALTHZ); /* the last request has none */
    expect_error(world_ask(&w, ""), 503, "limit");
}

Test(admin_limits, refused_connections_that_read_nothing_hold_nothing)
{
    for (int i = 0; i < 8; i++)
        world_ask(&w, NODE);
    for (int i = 0; i < 20; i++) {
        int client = stream_connect(&w.stream);
        w.stream.ends[client].room = 0;
    }
    world_run(&w);
    cr_assert_eq(w.stream.plain_closes, 4); /* 16 are being told */
    cr_assert(!world_closed(&w, 8));
    world_sleep(&w, 2000);
    for (int i = 8; i < 28; i++)
        cr_assert(world_closed(&w, i), "%d", i);
}

Test(admin_limits, accepting_goes_on_after_an_error)
{
    w.stream.accept_error = -EMFILE;
    int client = stream_connect(&w.stream);
    world_say(&w, client, WORLD_HEALTHZ);
    cr_assert_str_empty(world_heard(&w, client));
    world_sleep(&w, 99);
    cr_assert_str_empty(world_heard(&w, client));
    world_sleep(&w, 1);
    expect_status(world_heard(&w, client), 200);
}

/* Fewer files than connections: strangers keep nobody out there, either. */
Test(admin_limits, a_stranger_makes_room_when_accepting_fails)
{
    world_ask(&w, WORLD_HEALTHZ);
    world_ask(&w, NODE);
    w.stream.accept_error = -EMFILE;
    int client = stream_connect(&w.stream);
    world_say(&w, client, NODE);
    cr_assert(world_closed(&w, 0));
    cr_assert(!world_closed(&w, 1));
    world_sleep(&w, 100);
    expect_status(world_heard(&w, client), 200);
}

Test(admin_limits, accepting_goes_on_when_the_multishot_ends)
{
    w.stream.accept_once = true;
    for (int i = 0; i < 5; i++)
        expect_status(world_ask(&w, WORLD_HEALTHZ), 200);
}

/* Time */

Test(admin_limits, an_idle_connection_ends)
{
    world_ask(&w, WORLD_HEALTHZ);
    int silent = stream_connect(&w.stream);
    world_run(&w);
    world_sleep(&w, 59999);
    cr_assert(!world_closed(&w, 0) && !world_closed(&w, silent));
    world_sleep(&w, 1);
    cr_assert(world_closed(&w, 0) && world_closed(&w, silent));
    cr_assert_str_empty(world_heard(&w, silent));
}

Test(admin_limits, a_slow_head_ends_in_bounded_time)
{
    int client = stream_connect(&w.stream);
    const char *head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
    for (int i = 0; i < 10; i++) {
        stream_write(&w.stream, client, head + i, 1);
        world_run(&w);
        world_sleep(&w, 999);
    }
    cr_assert_str_empty(world_heard(&w, client));
    world_sleep(&w, 10);
    expect_error(world_heard(&w, client), 408, "timeout");
    world_sleep(&w, 2000);
    cr_assert(world_closed(&w, client));
}

Test(admin_limits, a_slow_second_head_too)
{
    int client = stream_connect(&w.stream);
    world_say(&w, client, NODE "GET /hea");
    world_forget(&w, client);
    world_sleep(&w, 10000);
    expect_error(world_heard(&w, client), 408, "timeout");
}

Test(admin_limits, a_slow_body_ends_in_bounded_time)
{
    int client = stream_connect(&w.stream);
    world_say(&w, client, "POST /v1/peers HTTP/1.1\r\n" WORLD_HEAD "Content-Length: 10\r\n\r\n{");
    world_sleep(&w, 10000);
    expect_error(world_heard(&w, client), 408, "timeout");
}

Test(admin_limits, an_answer_nobody_takes_ends)
{
    int client = stream_connect(&w.stream);
    w.stream.ends[client].room = 10;
    world_say(&w, client, WORLD_HEALTHZ);
    world_sleep(&w, 59999);
    cr_assert(!world_closed(&w, client));
    world_sleep(&w, 1);
    cr_assert(world_closed(&w, client));
}
