/* What each path answers. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/err.h"
#include "core/session/session.h"
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

TestSuite(admin_routes, .init = set_up, .fini = tear_down);

static void get(const char *target)
{
    world_get(&w, target, &r);
}

static void ask(const char *method, const char *target, const char *body)
{
    world_request(&w, method, target, "", body, strlen(body), &r);
}

static void expect(int status, const char *body)
{
    cr_assert_eq(r.status, status, "%d: %s", r.status, r.body);
    cr_assert_str_eq(r.body, body);
    cr_assert(r.complete);
}

static struct io_addr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port)
{
    return (struct io_addr){.ip = {[10] = 0xff, 0xff, a, b, c, d}, .port = port};
}

Test(admin_routes, healthz)
{
    get("/healthz");
    expect(200, "ok");
    w.node.info.stopping = true;
    get("/healthz");
    expect(503, "stopping");
}

Test(admin_routes, readyz)
{
    get("/readyz");
    expect(200, "{\"ready\":true,\"problems\":[]}\n");
    w.node.problems[0] = (struct problem_row){"disk_full", "no space for a/\"b"};
    w.node.problems[1] = (struct problem_row){"stopping", "the node is stopping"};
    w.node.problem_count = 2;
    get("/readyz");
    expect(503, "{\"ready\":false,\"problems\":[{\"code\":\"disk_full\",\"text\":\"no space for a/\\\"b\"},"
                "{\"code\":\"stopping\",\"text\":\"the node is stopping\"}]}\n");
    get("/v1/node");
    cr_assert_eq(r.status, 200, "what it is can be asked also when it is not ready");
    cr_assert_not_null(strstr(r.body, ",\"problems\":[{\"code\":\"disk_full\",\"text\":\"no space"));
}

/* A probe has no token: it learns what kind of problem there is, and nothing of names. */
static void ask_readyz(const char *headers)
{
    char request[256];
    int client = stream_connect(&w.stream);
    snprintf(request, sizeof request, "GET /readyz HTTP/1.1\r\n%s\r\n", headers);
    world_say(&w, client, request);
    const char *heard = world_heard(&w, client);
    response_free(&r);
    response_parse(heard, w.stream.ends[client].from_server.len, &r);
}

Test(admin_routes, readyz_without_a_token_tells_codes_alone)
{
    w.node.problems[0] = (struct problem_row){"disk_full", "no space for a/secret"};
    w.node.problem_count = 1;
    static const char *const strangers[] = {"Host: localhost\r\n", "Host: localhost\r\nAuthorization: Bearer wrong\r\n",
                                            "Host: localhost\r\nAuthorization: Basic dTpw\r\n"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        ask_readyz(strangers[i]);
        expect(503, "{\"ready\":false,\"problems\":[{\"code\":\"disk_full\"}]}\n");
    }
    ask_readyz("Host: evil.example\r\n");
    expect_response_error(&r, 403, "policy");
    ask_readyz("Host: localhost\r\nOrigin: http://evil.example\r\n");
    expect_response_error(&r, 403, "policy");
    get("/metrics");
    cr_assert_not_null(strstr(r.body, "\nnetmesh_admin_unauthorized_total 0\n"), "none was needed");
}

Test(admin_routes, node)
{
    char expected[1024];
    w.node.info.uptime_ns = UINT64_C(1234567890);
    w.node.info.entity[0] = 0xaa;
    w.node.info.public_key[31] = 0xbb;
    w.node.info.socket_buffer = 4194304;
    w.node.info.gso = true;
    w.node.info.fast_cipher = true;
    get("/v1/node");
    snprintf(expected, sizeof expected,
             "{\"node_id\":\"0x0123456789abcdef\","
             "\"entity_id\":\"aa00000000000000000000000000000000000000000000000000000000000000\","
             "\"public_key\":\"00000000000000000000000000000000000000000000000000000000000000bb\","
             "\"listen\":\"[::]:20037\",\"admin\":\"127.0.0.1:20038\",\"version\":\"" NM_VERSION
             "\",\"pid\":%d,\"shards\":2,"
             "\"uptime_ms\":1234,\"stopping\":false,"
             "\"security\":{\"sessions\":\"secure\",\"peers\":\"any\",\"cipher\":\"aes-256-gcm\"},"
             "\"transport\":{\"socket_buffer\":4194304,\"gso\":true,\"gro\":false,\"ipsec_mb\":false},"
             "\"problems\":[]}\n",
             (int)getpid());
    expect(200, expected);
    w.node.config.admin.is_unix = true;
    strcpy(w.node.config.admin.path, "admin.sock");
    w.node.config.sessions = SESSIONS_COMPAT;
    w.node.config.peers = PEERS_LISTED;
    w.node.info.fast_cipher = false;
    get("/v1/node");
    cr_assert_not_null(strstr(r.body, "\"admin\":\"unix:admin.sock\""));
    cr_assert_not_null(
        strstr(r.body, "{\"sessions\":\"compat\",\"peers\":\"listed\",\"cipher\":\"chacha20-poly1305\"}"));
}

Test(admin_routes, peers)
{
    get("/v1/peers");
    expect(200, "[]\n");
    w.node.peers[0] = (struct peer_row){.name = "lidar",
                                        .node_id = 1,
                                        .has_addr = true,
                                        .addr = v4(192, 0, 2, 7, 20037),
                                        .state = PEER_CONNECTED,
                                        .features = FEATURE_SECURE | FEATURE_ACK | FEATURE_AES_GCM,
                                        .has_rtt = true,
                                        .rtt_ns = 123456};
    w.node.peers[1] = (struct peer_row){.node_id = UINT64_MAX, .compat = PEER_V019, .state = PEER_CONNECTING};
    w.node.peers[2] = (struct peer_row){.name = "far", .node_id = 3};
    w.node.peer_count = 3;
    get("/v1/peers");
    expect(
        200,
        "[{\"name\":\"lidar\",\"node_id\":\"0x0000000000000001\",\"addr\":\"192.0.2.7:20037\",\"state\":\"connected\","
        "\"compat\":null,\"features\":[\"secure\",\"ack\",\"aes_gcm\"],\"rtt_us\":123},"
        "{\"name\":null,\"node_id\":\"0xffffffffffffffff\",\"addr\":null,\"state\":\"connecting\",\"compat\":\"v0.19\","
        "\"features\":[],\"rtt_us\":null},"
        "{\"name\":\"far\",\"node_id\":\"0x0000000000000003\",\"addr\":null,\"state\":\"down\",\"compat\":null,"
        "\"features\":[],\"rtt_us\":null}]\n");
}

#define KEY "00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff"

Test(admin_routes, add_peer)
{
    ask("POST", "/v1/peers",
        "{\"name\":\"b\",\"node_id\":\"0x1f\",\"addr\":\"[2001:db8::1]:7\",\"public_key\":\"" KEY "\"}");
    expect(201,
           "{\"name\":\"b\",\"node_id\":\"0x000000000000001f\",\"addr\":\"[2001:db8::1]:7\",\"public_key\":"
           "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\",\"compat\":null,\"mode\":null}\n");
    cr_assert_str_eq(w.node.asked, "add b");
    cr_assert_eq(w.node.added.node_id, 0x1f);
    cr_assert_eq(w.node.added.addr.port, 7);
    cr_assert(w.node.added.has_addr && w.node.added.has_key);
    cr_assert_eq(w.node.added.public_key[31], 0xff);
    ask("POST", "/v1/peers",
        " {\"name\":\"old\",\"node_id\":\"12\",\"compat\":\"v0.19\",\"mode\":\"direct\",\"addr\":null} \n");
    expect(201, "{\"name\":\"old\",\"node_id\":\"0x000000000000000c\",\"addr\":null,\"public_key\":null,"
                "\"compat\":\"v0.19\",\"mode\":\"direct\"}\n");
    cr_assert_eq(w.node.added.compat, PEER_V019);
    cr_assert_eq(w.node.added.mode, PEER_MODE_DIRECT);
    cr_assert(!w.node.added.has_addr);
}

Test(admin_routes, add_peer_that_the_node_refuses)
{
    w.node.err = NET_ERR_EXISTS;
    w.node.message = "the peer \"b\" has that node id";
    ask("POST", "/v1/peers",
        "{\"name\":\"b\",\"node_id\":\"0x1f\",\"addr\":\"[2001:db8::1]:7\",\"public_key\":\"" KEY "\"}");
    expect(409, "{\"error\":{\"code\":\"exists\",\"message\":\"the peer \\\"b\\\" has that node id\"}}\n");
    w.node.message = "";
    ask("POST", "/v1/peers",
        "{\"name\":\"b\",\"node_id\":\"0x1f\",\"addr\":\"[2001:db8::1]:7\",\"public_key\":\"" KEY "\"}");
    expect(409, "{\"error\":{\"code\":\"exists\",\"message\":\"exists already\"}}\n");
}

Test(admin_routes, add_peer_that_is_malformed)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "7",
        "{} {}",
        "{\"name\":\"b\"}",
        "{\"node_id\":\"1\"}",
        "{\"name\":7,\"node_id\":\"1\",\"compat\":\"v0.19\"}",
        "{\"name\":\"b\",\"node_id\":\"x\",\"compat\":\"v0.19\"}",
        "{\"name\":\"b\",\"node_id\":1,\"compat\":\"v0.19\"}",
        "{\"name\":\"b\",\"node_id\":\"1\",\"compat\":\"v0.18\"}",
        "{\"name\":\"b\",\"node_id\":\"1\",\"compat\":\"v0.19\",\"mode\":\"both\"}",
        "{\"name\":\"b\",\"node_id\":\"1\",\"compat\":\"v0.19\",\"extra\":1}",
        "{\"name\":\"b\",\"node_id\":\"1\",\"addr\":\"example.org:1\",\"public_key\":\"" KEY "\"}",
        "{\"name\":\"b\",\"node_id\":\"1\",\"addr\":\"127.0.0.1:0\",\"public_key\":\"" KEY "\"}",
        "{\"name\":\"b\",\"node_id\":\"1\",\"addr\":\"127.0.0.1:9\",\"public_key\":\"" KEY "0\"}",
        "{\"name\":\"b\",\"node_id\":\"1\",\"addr\":\"127.0.0.1:9\",\"public_key\":\"zz\"}",
        "{\"name\":\"a/b\",\"node_id\":\"1\",\"compat\":\"v0.19\"}",
        "{\"name\":\"self\",\"node_id\":\"1\",\"compat\":\"v0.19\"}",
        "{\"name\":\"b\\u0000c\",\"node_id\":\"1\",\"compat\":\"v0.19\"}",
        "{\"name\":\"b\xff\",\"node_id\":\"1\",\"compat\":\"v0.19\"}",
        "{\"name\":\"b234567890123456789012345678901234567890123456789012345678901234\",\"node_id\":\"1\",\"compat\":"
        "\"v0.19\"}",
        "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ask("POST", "/v1/peers", bad[i]);
        cr_assert_eq(r.status, 400, "%s: %s", bad[i], r.body);
        expect_response_error(&r, 400, "invalid");
    }
    world_request(&w, "POST", "/v1/peers", "", "{}\0{}", 5, &r);
    expect_response_error(&r, 400, "invalid");
    cr_assert_str_empty(w.node.asked);
}

Test(admin_routes, remove_peer)
{
    ask("DELETE", "/v1/peers/lidar%2D1", "");
    expect(200, "{\"removed\":\"lidar-1\"}\n");
    cr_assert_str_eq(w.node.asked, "remove lidar-1");
    w.node.err = NET_ERR_NOT_FOUND;
    w.node.message = "there is no peer of that name";
    ask("DELETE", "/v1/peers/x", "");
    expect(404, "{\"error\":{\"code\":\"not_found\",\"message\":\"there is no peer of that name\"}}\n");
}

Test(admin_routes, channels)
{
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xb};
    w.node.peer_count = 1;
    w.node.channels[0] = (struct channel_row){.channel = "a/b",
                                              .self = true,
                                              .log = LOG_DISK,
                                              .next_seq = UINT64_MAX,
                                              .first_seq = 5,
                                              .bytes = 77,
                                              .subscribers = 2,
                                              .lag = 9};
    w.node.channels[1] =
        (struct channel_row){.channel = "c", .origin = 0xb, .log = LOG_MEMORY, .error = NET_ERR_POISONED};
    w.node.channels[2] = (struct channel_row){.channel = "c", .origin = 0xd, .log = LOG_NONE};
    w.node.channels[3] = (struct channel_row){.channel = "c", .origin = 0xb, .edition = 1};
    w.node.channels[4] = (struct channel_row){.channel = "c", .origin = 0xb, .edition = 2, .followed = true};
    w.node.channel_count = 5;
    get("/v1/channels");
    expect(200, "[{\"channel\":\"a/b\",\"origin\":\"self\",\"origin_name\":null,\"source\":\"own\",\"edition\":null,"
                "\"log\":\"disk\",\"first_seq\":5,\"next_seq\":18446744073709551615,\"bytes\":77,\"appended_events\":0,"
                "\"appended_bytes\":0,"
                "\"subscribers\":2,\"lag\":9,\"error\":null},"
                "{\"channel\":\"c\",\"origin\":\"0x000000000000000b\",\"origin_name\":\"lidar\","
                "\"source\":\"live\",\"edition\":null,\"log\":\"memory\","
                "\"first_seq\":0,\"next_seq\":0,\"bytes\":0,\"appended_events\":0,\"appended_bytes\":0,\"subscribers\":"
                "0,\"lag\":0,\"error\":\"poisoned\"},"
                "{\"channel\":\"c\",\"origin\":\"0x000000000000000d\",\"origin_name\":null,"
                "\"source\":\"live\",\"edition\":null,\"log\":\"none\","
                "\"first_seq\":0,\"next_seq\":0,\"bytes\":0,\"appended_events\":0,\"appended_bytes\":0,\"subscribers\":"
                "0,\"lag\":0,\"error\":null},"
                "{\"channel\":\"c\",\"origin\":\"0x000000000000000b\",\"origin_name\":\"lidar\","
                "\"source\":\"earlier\",\"edition\":1,\"log\":\"disk\","
                "\"first_seq\":0,\"next_seq\":0,\"bytes\":0,\"appended_events\":0,\"appended_bytes\":0,\"subscribers\":"
                "0,\"lag\":0,\"error\":null},"
                "{\"channel\":\"c\",\"origin\":\"0x000000000000000b\",\"origin_name\":\"lidar\","
                "\"source\":\"followed\",\"edition\":2,\"log\":\"disk\","
                "\"first_seq\":0,\"next_seq\":0,\"bytes\":0,\"appended_events\":0,\"appended_bytes\":0,\"subscribers\":"
                "0,\"lag\":0,\"error\":null}]\n");
}

Test(admin_routes, subscriptions)
{
    get("/v1/subscriptions");
    expect(200, "[]\n");
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xb};
    w.node.peer_count = 1;
    w.node.subscriptions[0] = (struct subscription_row){"a/b", 0xb, true, SUBSCRIBE_FOLLOW, "", 7};
    w.node.subscriptions[1] = (struct subscription_row){"c", 0xd, false, SUBSCRIBE_LIVE, "no log there", 0};
    w.node.subscription_count = 2;
    get("/v1/subscriptions");
    expect(200, "[{\"channel\":\"a/b\",\"from\":\"0x000000000000000b\",\"from_name\":\"lidar\",\"active\":true,"
                "\"mode\":\"follow\",\"lag\":7,\"note\":null},"
                "{\"channel\":\"c\",\"from\":\"0x000000000000000d\",\"from_name\":null,\"active\":false,"
                "\"mode\":\"live\",\"lag\":null,\"note\":\"no log there\"}]\n");
}

Test(admin_routes, subscribe)
{
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xb};
    w.node.peer_count = 1;
    ask("POST", "/v1/channels/a%2Fb/subscribe?from=lidar&timeout_ms=250", "");
    expect(200, "{\"channel\":\"a/b\",\"from\":\"0x000000000000000b\",\"active\":true,\"mode\":\"follow\"}\n");
    cr_assert_str_eq(w.node.asked, "subscribe a/b b 250000000 follow default 0");
    ask("POST", "/v1/channels/a/subscribe?from=0x000000000000000b", "{}");
    cr_assert_str_eq(w.node.asked, "subscribe a b 30000000000 follow default 0");
    ask("POST", "/v1/channels/a/unsubscribe?from=lidar", "");
    expect(200, "{\"channel\":\"a\",\"from\":\"0x000000000000000b\",\"active\":false}\n");
    cr_assert_str_eq(w.node.asked, "unsubscribe a b 30000000000");
    ask("POST", "/v1/channels/a/subscribe?from=nobody", "");
    expect_response_error(&r, 404, "not_found");
    ask("POST", "/v1/channels/a/subscribe", "");
    expect_response_error(&r, 400, "invalid");
    ask("POST", "/v1/channels/a/subscribe?from=lidar&timeout_ms=3600001", "");
    expect_response_error(&r, 400, "invalid");
    ask("POST", "/v1/channels/%2Fa/subscribe?from=lidar", "");
    expect_response_error(&r, 400, "invalid");
}

Test(admin_routes, how_to_subscribe)
{
    static const struct {
        const char *query, *asked;
    } cases[] = {
        {"&mode=follow", "subscribe a b 30000000000 follow default 0"},
        {"&mode=live", "subscribe a b 30000000000 live default 0"},
        {"&start=earliest", "subscribe a b 30000000000 follow earliest 0"},
        {"&start=latest&mode=follow", "subscribe a b 30000000000 follow latest 0"},
        {"&start=18446744073709551615", "subscribe a b 30000000000 follow at 18446744073709551615"},
    };
    static const char *const wrong[] = {
        "&mode=all", "&mode=", "&start=", "&start=-1", "&start=1.5", "&start=first", "&start=earliest&mode=live"};
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xb};
    w.node.peer_count = 1;
    char path[256];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(path, sizeof path, "/v1/channels/a/subscribe?from=lidar%s", cases[i].query);
        ask("POST", path, "");
        cr_expect_str_eq(w.node.asked, cases[i].asked);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(path, sizeof path, "/v1/channels/a/subscribe?from=lidar%s", wrong[i]);
        ask("POST", path, "");
        expect_response_error(&r, 400, "invalid");
    }
}

Test(admin_routes, a_subscription_says_what_will_come)
{
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xb};
    w.node.peer_count = 1;
    w.node.live = true;
    w.node.message = "the channel keeps no log there";
    ask("POST", "/v1/channels/a/subscribe?from=lidar", "");
    expect(200, "{\"channel\":\"a\",\"from\":\"0x000000000000000b\",\"active\":true,\"mode\":\"live\","
                "\"note\":\"the channel keeps no log there\"}\n");
}

Test(admin_routes, what_a_subscription_may_be_answered)
{
    static const struct {
        int err, status;
        const char *code;
    } cases[] = {
        {NET_ERR_POLICY, 403, "policy"}, {NET_ERR_TIMEOUT, 504, "timeout"}, {NET_ERR_UNREACHABLE, 503, "unreachable"}};
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xb};
    w.node.peer_count = 1;
    for (size_t i = 0; i < 3; i++) {
        w.node.err = cases[i].err;
        ask("POST", "/v1/channels/a/subscribe?from=lidar", "");
        expect_response_error(&r, cases[i].status, cases[i].code);
    }
}

Test(admin_routes, metrics)
{
    char type[256];
    w.node.metrics = "# HELP netmesh_x X.\n# TYPE netmesh_x gauge\nnetmesh_x 1\n";
    get("/nothing");
    get("/metrics");
    cr_assert_eq(r.status, 200);
    cr_assert_str_eq(response_header(&r, "Content-Type", type), "text/plain; version=0.0.4; charset=utf-8");
    cr_assert_eq(strncmp(r.body, w.node.metrics, strlen(w.node.metrics)), 0);
    cr_assert_not_null(strstr(r.body, "\n# HELP netmesh_admin_requests_total Admin requests whose head was read.\n"
                                      "# TYPE netmesh_admin_requests_total counter\nnetmesh_admin_requests_total 2\n"));
    cr_assert_not_null(strstr(r.body, "\nnetmesh_admin_bad_requests_total 1\n"));
    cr_assert_not_null(strstr(r.body, "\n# TYPE netmesh_admin_connections gauge\nnetmesh_admin_connections 1\n"));
    cr_assert_eq(r.body[r.body_len - 1], '\n');
}

Test(admin_routes, metrics_without_memory_or_client)
{
    w.node.err = NET_ERR_NO_MEMORY;
    get("/metrics");
    expect_response_error(&r, 507, "no_memory");
    w.node.err = 0;
    w.node.hold = true;
    int client = stream_connect(&w.stream);
    world_say(&w, client, "GET /metrics HTTP/1.1\r\n" WORLD_HEAD "\r\n");
    cr_assert(!list_empty(&w.node.scrapes));
    w.stream.ends[client].reset = true;
    world_run(&w);
    cr_assert(list_empty(&w.node.scrapes) && w.node.cancels == 1);
}

Test(admin_routes, an_answer_larger_than_the_buffers)
{
    size_t len = 3000000;
    char *metrics = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        metrics[i] = i % 100 == 99 ? '\n' : (char)('a' + i % 26);
    metrics[len] = '\0';
    w.node.metrics = metrics;
    int client = stream_connect(&w.stream);
    w.stream.ends[client].send_most = 5000;
    world_say(&w, client,
              "GET /metrics HTTP/1.1\r\n" WORLD_HEAD "\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const char *heard = world_heard(&w, client);
    response_parse(heard, w.stream.ends[client].from_server.len, &r);
    cr_assert(r.complete);
    cr_assert_gt(r.body_len, len);
    cr_assert(memcmp(r.body, metrics, len) == 0);
    cr_assert_not_null(strstr(r.next, "\r\n\r\nok"));
    response_free(&r);
    response_parse(r.next, strlen(r.next), &r);
    cr_assert_eq(r.status, 200);
    free(metrics);
}

Test(admin_routes, shutdown_keeps_the_connection)
{
    char expected[64];
    int client = stream_connect(&w.stream);
    world_say(&w, client, "POST /v1/shutdown HTTP/1.1\r\n" WORLD_HEAD "\r\n");
    const char *heard = world_heard(&w, client);
    cr_assert_eq(w.node.shutdowns, 1);
    cr_assert_null(strstr(heard, "Content-Length"));
    cr_assert_not_null(strstr(heard, "Connection: close\r\n"));
    snprintf(expected, sizeof expected, "\r\n\r\n{\"stopping\":true,\"pid\":%d}\n", (int)getpid());
    cr_assert_str_eq(strstr(heard, "\r\n\r\n"), expected);
    world_sleep(&w, 3600000);
    cr_assert(!w.stream.ends[client].closed);
    get("/healthz");
    expect(503, "stopping");
}

Test(admin_routes, shards)
{
    w.node.shards[0] = (struct shard_row){.turns = 1,
                                          .peers = 2,
                                          .sessions = 3,
                                          .logs = 4,
                                          .rx_datagrams = 5,
                                          .rx_bytes = 6,
                                          .rx_events = 7,
                                          .tx_datagrams = 8,
                                          .tx_bytes = 9,
                                          .tx_events = 10,
                                          .published_events = 11,
                                          .stored_events = 12,
                                          .drops = 13,
                                          .ring_bytes = 4096,
                                          .ring_used = 14};
    w.node.shards[1] = (struct shard_row){.index = 1, .pinned = true, .cpu = 7, .turns = UINT64_MAX};
    w.node.shard_count = 2;
    get("/v1/shards");
    expect(200,
           "[{\"shard\":0,\"cpu\":null,\"turns\":1,\"peers\":2,\"sessions\":3,\"logs\":4,\"rx_datagrams\":5,\"rx_"
           "bytes\":6,"
           "\"rx_events\":7,\"tx_datagrams\":8,\"tx_bytes\":9,\"tx_events\":10,\"published_events\":11,\"stored_"
           "events\":12,"
           "\"drops\":13,\"ring\":{\"bytes\":4096,\"used\":14}},"
           "{\"shard\":1,\"cpu\":7,\"turns\":18446744073709551615,\"peers\":0,\"sessions\":0,\"logs\":0,\"rx_"
           "datagrams\":0,"
           "\"rx_bytes\":0,\"rx_events\":0,\"tx_datagrams\":0,\"tx_bytes\":0,\"tx_events\":0,\"published_events\":0,"
           "\"stored_events\":0,\"drops\":0,\"ring\":{\"bytes\":0,\"used\":0}}]\n");
}

Test(admin_routes, sessions)
{
    get("/v1/sessions");
    expect(200, "[]\n");
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xb};
    w.node.peer_count = 1;
    w.node.sessions[0] = (struct session_row){.peer = 0xb,
                                              .id = UINT64_C(0xfedcba9876543210),
                                              .rx_id = 1,
                                              .tx_id = 2,
                                              .aes_gcm = true,
                                              .initiator = true,
                                              .features = FEATURE_SECURE | FEATURE_EPOCHS,
                                              .age_ns = UINT64_C(5123456789),
                                              .rx_packets = 3,
                                              .rx_bytes = 4,
                                              .tx_packets = 5,
                                              .tx_bytes = 6,
                                              .rtt_ns = 1999,
                                              .rx_window = 65536,
                                              .tx_window = 1048576,
                                              .shard = 1};
    w.node.sessions[1] = (struct session_row){.peer = 0xc, .state = SESSION_PREVIOUS, .silent = true};
    w.node.session_count = 2;
    get("/v1/sessions");
    expect(200, "[{\"peer\":\"0x000000000000000b\",\"peer_name\":\"lidar\",\"id\":\"0xfedcba9876543210\","
                "\"rx_id\":\"0x0000000000000001\",\"tx_id\":\"0x0000000000000002\",\"state\":\"active\","
                "\"cipher\":\"aes-256-gcm\",\"initiator\":true,\"silent\":false,\"features\":[\"secure\",\"epochs\"],"
                "\"age_ms\":5123,\"rx_packets\":3,\"rx_bytes\":4,\"tx_packets\":5,\"tx_bytes\":6,\"rtt_us\":1,"
                "\"window\":{\"rx\":65536,\"tx\":1048576},\"shard\":1},"
                "{\"peer\":\"0x000000000000000c\",\"peer_name\":null,\"id\":\"0x0000000000000000\","
                "\"rx_id\":\"0x0000000000000000\",\"tx_id\":\"0x0000000000000000\",\"state\":\"previous\","
                "\"cipher\":\"chacha20-poly1305\",\"initiator\":false,\"silent\":true,\"features\":[],\"age_ms\":0,"
                "\"rx_packets\":0,\"rx_bytes\":0,\"tx_packets\":0,\"tx_bytes\":0,\"rtt_us\":null,"
                "\"window\":{\"rx\":0,\"tx\":0},\"shard\":0}]\n");
}

Test(admin_routes, streams)
{
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xb};
    w.node.peer_count = 1;
    w.node.streams[0] = (struct stream_row){.peer = 0xb,
                                            .id = UINT64_C(0xfedcba9876543210),
                                            .tx_reliable = true,
                                            .tx_seq = 1,
                                            .rx_seq = 2,
                                            .inbound_pending = 11,
                                            .retransmitted = 12,
                                            .tx_bytes = 3,
                                            .rx_bytes = 4,
                                            .tx_window = 65536,
                                            .rx_window = 1048576,
                                            .tx_credit_remaining = 5,
                                            .written_off = 6,
                                            .backpressure_events = 7,
                                            .credit_grants_received = 8,
                                            .credit_grants_sent = 9,
                                            .idle_ns = UINT64_C(10999999),
                                            .shard = 1};
    channel_name_parse("a/b", 3, &w.node.streams[0].channel);
    w.node.streams[1] = (struct stream_row){.peer = 0xc, .id = UINT64_MAX};
    w.node.stream_count = 2;
    get("/v1/streams");
    cr_assert_eq(w.node.streams_of, 0);
    expect(200,
           "[{\"peer\":\"0x000000000000000b\",\"peer_name\":\"lidar\",\"id\":\"0xfedcba9876543210\","
           "\"channel\":\"a/"
           "b\",\"tx_reliable\":true,\"rx_reliable\":false,\"tx_seq\":1,\"rx_seq\":2,\"tx_bytes\":3,\"rx_bytes\":4,"
           "\"tx_window\":65536,\"rx_window\":1048576,\"tx_credit_remaining\":5,\"inbound_pending\":11,"
           "\"retransmitted\":12,\"written_off_bytes\":6,"
           "\"backpressure_events\":7,\"credit_grants_received\":8,\"credit_grants_sent\":9,\"idle_ms\":10,"
           "\"shard\":1},"
           "{\"peer\":\"0x000000000000000c\",\"peer_name\":null,\"id\":\"0xffffffffffffffff\","
           "\"channel\":null,\"tx_reliable\":false,\"rx_reliable\":false,\"tx_seq\":0,\"rx_seq\":0,\"tx_bytes\":0,\"rx_"
           "bytes\":0,\"tx_window\":0,"
           "\"rx_window\":0,\"tx_credit_remaining\":0,\"inbound_pending\":0,\"retransmitted\":0,\"written_off_bytes\":"
           "0,\"backpressure_events\":0,"
           "\"credit_grants_received\":0,\"credit_grants_sent\":0,\"idle_ms\":0,\"shard\":0}]\n");
    get("/v1/streams?peer=lidar");
    cr_assert_eq(w.node.streams_of, 0xb);
    get("/v1/streams?peer=0xc");
    cr_assert_eq(w.node.streams_of, 0xc);
    get("/v1/streams?peer=nobody");
    expect_response_error(&r, 404, "not_found");
}

Test(admin_routes, subscribers)
{
    w.node.peers[0] = (struct peer_row){.name = "lidar", .node_id = 0xb};
    w.node.peer_count = 1;
    w.node.subscribers[0] = (struct subscriber_row){.peer = 0xb, .mode = SUBSCRIBE_LIVE, .next_seq = 7, .lag = 3};
    channel_name_parse("a/b", 3, &w.node.subscribers[0].channel);
    w.node.subscriber_count = 1;
    get("/v1/subscribers");
    expect(
        200,
        "[{\"channel\":\"a/"
        "b\",\"peer\":\"0x000000000000000b\",\"peer_name\":\"lidar\",\"mode\":\"live\",\"next_seq\":7,\"lag\":3}]\n");
}

/* Whoever leaves before all shards have answered is forgotten. */
Test(admin_routes, a_list_whose_client_leaves)
{
    static const char *const lists[] = {"channels", "sessions", "streams", "subscribers"};
    char text[256];
    w.node.hold = true;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        int client = stream_connect(&w.stream);
        snprintf(text, sizeof text, "GET /v1/%s HTTP/1.1\r\n" WORLD_HEAD "\r\n", lists[i]);
        world_say(&w, client, text);
        w.stream.ends[client].reset = true;
        world_run(&w);
        cr_assert(world_closed(&w, client));
        cr_assert_eq(w.node.cancels, i + 1);
    }
}

Test(admin_routes, log_level)
{
    static const char *const wrong[] = {"",
                                        "{}",
                                        "debug",
                                        "\"debug\"",
                                        "{\"level\":3}",
                                        "{\"level\":null}",
                                        "{\"level\":\"Debug\"}",
                                        "{\"level\":\"trace\"}",
                                        "{\"level\":\"debug\",\"more\":1}",
                                        "[{\"level\":\"debug\"}]"};
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    char body[64];
    w.node.log_level = LEVEL_WARN;
    get("/v1/log-level");
    expect(200, "{\"level\":\"warn\"}\n");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ask("PUT", "/v1/log-level", wrong[i]);
        expect_response_error(&r, 400, "invalid");
        cr_assert_eq(w.node.log_level, LEVEL_WARN);
    }
    for (size_t i = 0; i < 4; i++) {
        snprintf(body, sizeof body, "{\"level\":\"%s\"}", levels[i]);
        ask("PUT", "/v1/log-level", body);
        cr_assert_eq(r.status, 200);
        cr_assert_eq(strncmp(r.body, body, strlen(body)), 0);
        cr_assert_eq((size_t)w.node.log_level, i);
    }
}
