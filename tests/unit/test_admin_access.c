/* Who the admin port lets in: tokens, and what comes from web pages. */
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
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xb};
    w.node.peer_count = 1;
}

static void tear_down(void)
{
    world_deinit(&w);
}

TestSuite(admin_access, .init = set_up, .fini = tear_down);

static const char *ask_with(const char *target, const char *headers)
{
    char text[2048];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n%s\r\n", target, headers);
    return world_ask(&w, text);
}

Test(admin_access, token)
{
    static const char *const wrong[] = {
        "",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer 00112233445566778899aabbccddeeff00112233445566778899aabbccddeef0\r\n",
        "Authorization: Bearer 00112233445566778899aabbccddeeff00112233445566778899aabbccddeef\r\n",
        "Authorization: Bearer " WORLD_TOKEN "0\r\n",
        "Authorization: Basic " WORLD_TOKEN "\r\n",
        "Authorization: " WORLD_TOKEN "\r\n",
        "Authorization: Bearer " WORLD_TOKEN WORLD_TOKEN "\r\n",
        "Authorization: Bearer " WORLD_TOKEN WORLD_TOKEN WORLD_TOKEN "\r\n",
    };
    char headers[512];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(headers, sizeof headers, "Host: localhost\r\nConnection: close\r\n%s", wrong[i]);
        const char *heard = ask_with("/v1/node", headers);
        expect_error(heard, 401, "unauthorized");
        cr_assert_not_null(strstr(heard, "\r\nWWW-Authenticate: Bearer\r\n"));
        expect_error(ask_with("/nothing", headers), 401, "unauthorized");
        expect_status(ask_with("/healthz", headers), 200);
    }
    cr_assert_eq(admin_get_stats(w.admin)->unauthorized, 2 * sizeof wrong / sizeof wrong[0]);
    expect_status(ask_with("/v1/node", "Host: localhost\r\nAuthorization: bearer  " WORLD_TOKEN " \r\n"), 200);
}

#define READER "Host: localhost\r\nAuthorization: Bearer " WORLD_READONLY "\r\nConnection: close\r\n"

Test(admin_access, a_token_that_may_only_read)
{
    static const char *const reads[] = {"/healthz",      "/metrics",        "/openapi.json",     "/v1/node",
                                        "/v1/shards",    "/v1/sessions",    "/v1/peers",         "/v1/channels",
                                        "/v1/log-level", "/v1/subscribers", "/v1/subscriptions", "/v1/config",
                                        "/v1/streams"};
    static const char *const writes[] = {"POST /v1/peers",
                                         "DELETE /v1/peers/a",
                                         "POST /v1/channels/a/publish",
                                         "POST /v1/channels/a/subscribe?from=lidar",
                                         "POST /v1/channels/a/unsubscribe?from=lidar",
                                         "POST /v1/reload",
                                         "PUT /v1/log-level",
                                         "POST /v1/shutdown"};
    char text[512];
    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++) {
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" READER "\r\n", reads[i]);
        expect_status(world_ask(&w, text), 200);
    }
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        snprintf(text, sizeof text, "%s HTTP/1.1\r\n" READER "\r\n", writes[i]);
        expect_error(world_ask(&w, text), 403, "forbidden");
    }
    expect_error(world_ask(&w, "POST /v1/node HTTP/1.1\r\n" READER "\r\n"), 405, "method");
    cr_assert_eq(w.node.shutdowns, 0);
    cr_assert_str_empty(w.node.asked);
    cr_assert_eq(admin_get_stats(w.admin)->unauthorized, 0);
}

Test(admin_access, tokens_can_be_replaced)
{
    static const struct node_tokens none = {"", WORLD_TOKEN}, swapped = {WORLD_READONLY, ""};
    cr_assert_eq(admin_set_tokens(w.admin, &none), NET_ERR_INVALID);
    expect_status(ask_with("/v1/node", WORLD_HEAD "Connection: close\r\n"), 200);
    cr_assert_eq(admin_set_tokens(w.admin, &swapped), NET_OK);
    expect_error(ask_with("/v1/node", WORLD_HEAD "Connection: close\r\n"), 401, "unauthorized");
    expect_status(world_ask(&w, "POST /v1/shutdown HTTP/1.1\r\n" READER "\r\n"), 200);
    /* without a second token, no text is one */
    expect_error(ask_with("/v1/node", "Host: localhost\r\nAuthorization: Bearer \r\n"), 401, "unauthorized");
    expect_error(ask_with("/v1/node", "Host: localhost\r\nAuthorization: Bearer  a\r\n"), 401, "unauthorized");
}

Test(admin_access, token_twice_is_malformed)
{
    expect_error(ask_with("/v1/node", WORLD_HEAD "Authorization: Bearer " WORLD_TOKEN "\r\n"), 400, "format");
    expect_error(ask_with("/v1/node", WORLD_HEAD "Host: localhost\r\n"), 400, "format");
}

Test(admin_access, a_trailer_is_no_header)
{
    expect_error(world_ask(&w,
                           "POST /v1/shutdown HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
                           "Authorization: Bearer " WORLD_TOKEN "\r\n\r\n"),
                 401, "unauthorized");
    cr_assert_eq(w.node.shutdowns, 0);
}

Test(admin_access, host_must_be_an_address_or_localhost)
{
    static const char *const right[] = {"127.0.0.1", "127.0.0.1:20038", "localhost",      "LocalHost:1",
                                        "[::1]",     "[::1]:20038",     "192.0.2.7:65535"};
    static const char *const wrong[] = {"evil.example",
                                        "evil.example:20038",
                                        "localhost.evil.example",
                                        "127.0.0.1.evil.example",
                                        "[::1",
                                        "[::1]x",
                                        "127.0.0.1:99999999",
                                        "localhost:80x",
                                        "user@localhost",
                                        "::1",
                                        "[127.0.0.1]",
                                        "localhostx",
                                        "localhost.",
                                        "127.1",
                                        "2130706433",
                                        "0x7f.0.0.1",
                                        "evil.example#127.0.0.1",
                                        "127.0.0.1, evil.example",
                                        "127.0.0.1/",
                                        "localhost:80@evil.example"};
    char headers[256];
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        snprintf(headers, sizeof headers, "Host: %s\r\nConnection: close\r\n", right[i]);
        expect_status(ask_with("/healthz", headers), 200);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(headers, sizeof headers, "Host: %s\r\nConnection: close\r\n", wrong[i]);
        expect_error(ask_with("/healthz", headers), 403, "policy");
    }
    expect_error(ask_with("/healthz", ""), 400, "format");
    expect_error(ask_with("/healthz", "Host:\r\n"), 400, "format");
}

Test(admin_access, an_absolute_target_names_its_host)
{
    expect_status(ask_with("http://127.0.0.1:20038/healthz", "Host: localhost\r\n"), 200);
    expect_error(ask_with("http://evil.example/healthz", "Host: localhost\r\n"), 403, "policy");
    expect_error(ask_with("http://localhost", "Host: localhost\r\n"), 403, "policy");
}

Test(admin_access, origin_is_refused)
{
    expect_error(ask_with("/v1/node", WORLD_HEAD "Origin: http://127.0.0.1:20038\r\n"), 403, "policy");
    expect_error(ask_with("/healthz", "Host: localhost\r\nOrigin: null\r\n"), 403, "policy");
}

/* <img src="http://127.0.0.1:20038/..."> has no Origin, but browsers say what it is. */
Test(admin_access, requests_that_browsers_make_for_pages_are_refused)
{
    static const char *const pages[] = {"cross-site", "same-site", "same-origin", "", "anything"};
    char headers[512];
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        snprintf(headers, sizeof headers, "Host: localhost\r\nConnection: close\r\nSec-Fetch-Site: %s\r\n", pages[i]);
        expect_error(ask_with("/healthz", headers), 403, "policy");
        snprintf(headers, sizeof headers, WORLD_HEAD "Connection: close\r\nSec-Fetch-Site: %s\r\n", pages[i]);
        expect_error(ask_with("/v1/node", headers), 403, "policy");
    }
    expect_status(ask_with("/healthz", "Host: localhost\r\nSec-Fetch-Site: none\r\n"), 200); /* typed by a person */
    expect_error(ask_with("/healthz", "Host: localhost\r\nSec-Fetch-Site: none\r\nSec-Fetch-Site: none\r\n"), 400,
                 "format");
}

/* What a page can send without being asked leave: a form. */
Test(admin_access, a_form_of_a_page_does_nothing)
{
    expect_error(world_ask(&w, "POST /v1/shutdown HTTP/1.1\r\nHost: 127.0.0.1:20038\r\nOrigin: http://evil.example\r\n"
                               "Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n"),
                 403, "policy");
    expect_error(world_ask(&w, "OPTIONS /v1/shutdown HTTP/1.1\r\nHost: 127.0.0.1:20038\r\nOrigin: null\r\n"
                               "Access-Control-Request-Method: POST\r\n\r\n"),
                 403, "policy");
    expect_error(world_ask(&w, "POST /v1/shutdown HTTP/1.1\r\nHost: rebound.evil.example:20038\r\n"
                               "Authorization: Bearer " WORLD_TOKEN "\r\n\r\n"),
                 403, "policy");
    cr_assert_eq(w.node.shutdowns, 0);
}

Test(admin_access_unix, a_unix_socket_needs_no_host)
{
    world_init(&w);
    w.node.config.admin.is_unix = true;
    world_start(&w);
    expect_status(ask_with("/healthz", ""), 200);
    expect_status(ask_with("/healthz", "Host: localhost\r\n"), 200);
    expect_error(ask_with("/healthz", "Host: evil.example\r\n"), 403, "policy");
    tear_down();
}
