/* Ends: clients that go in the middle of anything, and the orderly stop. world_deinit() checks that nothing is left. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/support/admin/world.h"

static struct world w;

static void set_up(void)
{
    world_init(&w);
    w.node.origins = 1;
    w.node.origin_self = true;
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xb};
    w.node.peer_count = 1;
    world_start(&w);
}

static void tear_down(void)
{
    world_deinit(&w);
}

static const char *const requests[] = {
    "",
    "GET /heal",
    "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /v1/channels HTTP/1.1\r\n" WORLD_HEAD "\r\n",
    "POST /v1/peers HTTP/1.1\r\n" WORLD_HEAD "Content-Length: 10\r\n\r\n{",
    "POST /v1/peers HTTP/1.1\r\n" WORLD_HEAD "Content-Length: 48\r\n\r\n"
    "{\"name\":\"b\",\"node_id\":\"1\",\"compat\":\"v0.19\"}     ",
    "DELETE /v1/peers/lidar HTTP/1.1\r\n" WORLD_HEAD "\r\n",
    "POST /v1/channels/a/subscribe?from=lidar HTTP/1.1\r\n" WORLD_HEAD "\r\n",
    "POST /v1/channels/a/publish HTTP/1.1\r\n" WORLD_HEAD "Content-Type: text/plain\r\nContent-Length: 10\r\n\r\na\nb",
    "POST /v1/channels/a/publish HTTP/1.1\r\n" WORLD_HEAD "Content-Type: text/plain\r\nContent-Length: 4\r\n\r\na\nb\n",
    "GET /v1/channels/a/events HTTP/1.1\r\n" WORLD_HEAD "\r\n",
    "GET /v1/channels/a/events?follow=true HTTP/1.1\r\n" WORLD_HEAD "\r\n",
    "GET /v1/channels/a/events?origin=self&follow=true HTTP/1.1\r\n" WORLD_HEAD "\r\n",
    "GET /v1/nothing HTTP/1.1\r\nContent-Length: 5\r\n" WORLD_HEAD "\r\n",
    "POST /v1/shutdown HTTP/1.1\r\n" WORLD_HEAD "\r\n",
    "bad",
    "POST /v1/reload HTTP/1.1\r\n" WORLD_HEAD "\r\n",
};

enum { REQUESTS = sizeof requests / sizeof requests[0] };

enum leaving { SHUT, RESET, STOP };

/* The request, this many turns of the world, then the client leaves (or the port stops); everything must end. */
static void leave(const char *request, enum leaving how, int turns, bool hold, size_t room)
{
    set_up();
    for (uint64_t i = 0; i < 200; i++)
        fake_node_add(&w.node, (struct fake_event){.seq = i + 1, .data = (const uint8_t *)request, .len = 40});
    w.node.hold = hold;
    w.node.room = hold ? 0 : UINT32_MAX;
    int client = stream_connect(&w.stream);
    struct stream_end *end = &w.stream.ends[client];
    end->room = room;
    stream_write(&w.stream, client, request, strlen(request));
    for (int i = 0; i < turns; i++) {
        io_stream_turn(&w.stream);
        fake_node_turn(&w.node);
    }
    end->shut = how == SHUT;
    end->reset = how == RESET;
    if (how != STOP) {
        end->room = SIZE_MAX;
        world_run(&w);
        w.node.hold = false;
        w.node.room = UINT32_MAX;
        world_run(&w);
        world_sleep(&w, 15000);
        cr_assert(end->closed, "%s, %d turns", request, turns);
        cr_assert(fake_node_idle(&w.node));
    }
    tear_down();
}

static void leave_everywhere(enum leaving how)
{
    for (int request = 0; request < REQUESTS; request++)
        for (int turns = 0; turns < 12; turns++)
            for (int hold = 0; hold < 2; hold++)
                for (size_t room = 0; room < 400; room += 150)
                    leave(requests[request], how, turns, hold, room);
}

Test(admin_leave, clients_that_close, .timeout = 120)
{
    leave_everywhere(SHUT);
}

Test(admin_leave, clients_that_reset, .timeout = 120)
{
    leave_everywhere(RESET);
}

Test(admin_leave, the_port_stops, .timeout = 120)
{
    leave_everywhere(STOP);
}

TestSuite(admin_stop, .init = set_up);

static void on_stopped(void *ctx)
{
    *(bool *)ctx = true;
}

static bool stopped;

static void stop(void)
{
    admin_stop(w.admin, on_stopped, &stopped);
    world_run(&w);
}

static void finish(void)
{
    cr_assert(stopped);
    admin_deinit(w.admin);
    w.admin = NULL;
    fake_node_deinit(&w.node);
    io_stream_deinit(&w.stream);
}

static int say(const char *text)
{
    int client = stream_connect(&w.stream);
    world_say(&w, client, text);
    return client;
}

Test(admin_stop, idle_connections_close)
{
    int idle = say(requests[2]);
    int silent = say("");
    stop();
    cr_assert(w.stream.ends[idle].closed && w.stream.ends[silent].closed);
    finish();
}

Test(admin_stop, nobody_is_accepted_any_more)
{
    admin_stop(w.admin, on_stopped, &stopped);
    int late = stream_connect(&w.stream);
    world_run(&w);
    cr_assert(!w.stream.ends[late].accepted || w.stream.ends[late].closed);
    cr_assert_str_empty(world_heard(&w, late));
    finish();
}

/* Whoever copies a log must see that these are not all rows. */
Test(admin_stop, rows_that_are_cut_off_do_not_look_whole)
{
    static const uint8_t byte = 'x';
    for (uint64_t i = 1; i < 20000; i++)
        fake_node_add(&w.node, (struct fake_event){.seq = i, .data = &byte, .len = 1});
    int client = stream_connect(&w.stream);
    w.stream.ends[client].room = 0;
    world_say(&w, client, requests[10]);
    admin_stop(w.admin, on_stopped, &stopped);
    w.stream.ends[client].room = SIZE_MAX;
    world_run(&w);
    struct response r;
    response_parse(world_heard(&w, client), w.stream.ends[client].from_server.len, &r);
    cr_assert_eq(r.status, 200);
    cr_assert_not_null(strstr(r.body, "\"seq\":1,"));
    cr_assert_null(strstr(r.body, "\"seq\":19999,"));
    cr_assert(!r.complete);
    cr_assert(w.stream.ends[client].closed);
    response_free(&r);
    finish();
}

/* It gets what was ready, and can tell the stop from the end of what it asked for. */
Test(admin_stop, a_follower_is_cut_off)
{
    fake_node_add(&w.node, (struct fake_event){.seq = 1, .data = (const uint8_t *)"x", .len = 1});
    int client = say(requests[12]);
    stop();
    struct response r;
    response_parse(world_heard(&w, client), w.stream.ends[client].from_server.len, &r);
    cr_assert_not_null(strstr(r.body, "\"seq\":1,"));
    cr_assert(!r.complete);
    cr_assert(w.stream.ends[client].closed);
    response_free(&r);
    finish();
}

Test(admin_stop, a_publish_is_told_what_is_safe)
{
    int client = say(requests[8]);
    stop();
    struct response r;
    response_parse(world_heard(&w, client), w.stream.ends[client].from_server.len, &r);
    cr_assert_eq(r.status, 503);
    cr_assert_str_eq(r.body, "{\"error\":{\"code\":\"canceled\",\"message\":\"the node is stopping\",\"event\":1},"
                             "\"channel\":\"a\",\"events\":1,\"bytes\":1,\"first_seq\":1,\"last_seq\":1}\n");
    response_free(&r);
    cr_assert(!w.stream.ends[client].closed); /* the rest of its body may still be on its way */
    world_sleep(&w, 1000);
    cr_assert(w.stream.ends[client].closed);
    finish();
}

Test(admin_stop, a_request_is_told)
{
    w.node.hold = true;
    int subscribe = say(requests[7]);
    int list = say(requests[3]);
    stop();
    cr_assert_not_null(strstr(world_heard(&w, subscribe), "503 Service Unavailable"));
    cr_assert_not_null(strstr(world_heard(&w, subscribe), "\"code\":\"canceled\""));
    cr_assert_not_null(strstr(world_heard(&w, list), "\"code\":\"canceled\""));
    finish();
}

Test(admin_stop, who_asked_for_it_stays_to_the_end)
{
    int client = say(requests[14]);
    stop();
    world_sleep(&w, 5000);
    cr_assert(!w.stream.ends[client].closed);
    cr_assert_not_null(strstr(world_heard(&w, client), "\"stopping\":true"));
    finish();
}

Test(admin_stop, a_client_that_takes_nothing_does_not_hold_it)
{
    int client = stream_connect(&w.stream);
    w.stream.ends[client].room = 0;
    world_say(&w, client, requests[2]);
    int asker = stream_connect(&w.stream);
    w.stream.ends[asker].room = 0;
    world_say(&w, asker, requests[14]);
    stop();
    cr_assert(!stopped);
    world_sleep(&w, 999);
    cr_assert(!stopped);
    world_sleep(&w, 1);
    cr_assert(w.stream.ends[client].closed);
    finish();
}

Test(admin_stop, while_accepting_is_paused)
{
    w.stream.accept_error = -EMFILE;
    world_run(&w);
    admin_stop(w.admin, on_stopped, &stopped);
    cr_assert(stopped); /* nothing was pending */
    finish();
}

static void deinit_at_once(void *ctx)
{
    struct world *world = ctx;
    admin_deinit(world->admin);
    world->admin = NULL;
    stopped = true;
}

Test(admin_stop, the_port_may_go_from_inside_stopped)
{
    say(requests[2]);
    say(requests[14]);
    admin_stop(w.admin, deinit_at_once, &w);
    world_run(&w);
    cr_assert(stopped && !w.admin);
    fake_node_deinit(&w.node);
    io_stream_deinit(&w.stream);
}
