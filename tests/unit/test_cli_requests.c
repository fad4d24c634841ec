/* One-shot commands against a fake node: what they send, byte for byte, what they print, and their exit codes. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/cli_fixture.h"

#define HEAD(method, target)                                                                                           \
    method " " target " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " FAKE_TOKEN "\r\n"
static struct fake_node node;

static void start(const char *answer)
{
    fake_node_start(&node, &(struct fake_script){.answer = answer});
    setenv("NET_MESH_ENDPOINT", node.dir, 1);
}

static void start_json(const char *status, const char *body)
{
    fake_node_start(&node, &(struct fake_script){.status = status, .body = body});
    setenv("NET_MESH_ENDPOINT", node.dir, 1);
}

/* The request sent, the exit code, stdout, and a part of stderr. */
static void expect(struct cli_run run, const char *request, int code, const char *out, const char *in_err)
{
    fake_node_join(&node);
    cr_expect_str_eq(node.request, request);
    cr_expect_eq(run.code, code, "exit %d, stderr: %s", run.code, run.err);
    cr_expect_str_eq(run.out, out);
    cr_expect(strstr(run.err, in_err), "%s is not in: %s", in_err, run.err);
    cli_run_free(&run);
    fake_node_end(&node);
}

Test(cli_requests, peer_ls)
{
    start_json("200 OK", "[{\"name\":\"beta\",\"rtt_us\":120,\"features\":[\"x0\",\"x6\"]},{\"name\":null,\"rtt_us\":"
                         "18446744073709551615,"
                         "\"features\":[]}]\n         ");
    expect(CLI("peer", "ls", "--output", "table"), HEAD("GET", "/v1/peers") "\r\n", 0,
           "NAME  RTT_US\n"
           "beta  120\n"
           "-     18446744073709551615\n",
           "");
    start_json("200 OK", "[]");
    expect(CLI("peer", "ls"), HEAD("GET", "/v1/peers") "\r\n", 0, "[]\n", "");
}

Test(cli_requests, peer_add)
{
    start_json("201 Created", "{\"name\":\"beta\"}");
    expect(CLI("peer", "add", "beta", "--addr", "10.0.0.2:20037", "--node-id", "0xBD826A5D0A6394F5", "--public-key",
               "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"),
           HEAD("POST", "/v1/peers") "Content-Type: application/json\r\nContent-Length: 150\r\n\r\n"
                                     "{\"name\":\"beta\",\"node_id\":\"0xbd826a5d0a6394f5\",\"addr\":\"10.0.0.2:"
                                     "20037\",\"public_key\":"
                                     "\"03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8\"}",
           0, "{\n  \"name\": \"beta\"\n}\n", "");
    start_json("201 Created", "{\"name\":\"old\"}");
    expect(CLI("peer", "add", "old", "--node-id", "12", "--compat", "v0.19", "--mode", "direct", "--output", "ndjson"),
           HEAD("POST", "/v1/peers") "Content-Type: application/json\r\nContent-Length: 78\r\n\r\n"
                                     "{\"name\":\"old\",\"node_id\":\"0x000000000000000c\",\"compat\":\"v0.19\","
                                     "\"mode\":\"direct\"}",
           0, "{\"name\":\"old\"}\n", "");
}

#define INFO(listen)                                                                                                   \
    "{\n  \"node_id\": \"0xbd826a5d0a6394f5\",\n  \"public_key\": "                                                    \
    "\"03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8\",\n  \"listen\": \"" listen "\"\n}\n"

Test(cli_requests, peer_add_takes_what_node_info_printed)
{
    static const char request[] = HEAD(
        "POST", "/v1/peers") "Content-Type: application/json\r\nContent-Length: 150\r\n\r\n"
                             "{\"name\":\"beta\",\"node_id\":\"0xbd826a5d0a6394f5\",\"addr\":\"10.0.0.2:20037\","
                             "\"public_key\":\"03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8\"}";
    char dir[64];
    scratch_make(dir);
    char *path = scratch_file(dir, "info", INFO("10.0.0.2:20037"), sizeof INFO("10.0.0.2:20037") - 1, 0644);
    start_json("201 Created", "{}");
    expect(CLI("peer", "add", "beta", "--info", path), request, 0, "{}\n", "");
    start_json("201 Created", "{}");
    expect(CLI_INPUT(INFO("[::]:20037"), "peer", "add", "beta", "--info", "-", "--addr", "10.0.0.2:20037"), request, 0,
           "{}\n", "");
    free(path);
    scratch_remove(dir);
}

static void expect_refusal(struct cli_run run, int code, const char *in_err)
{
    cr_expect_eq(run.code, code, "exit %d, stderr: %s", run.code, run.err);
    cr_expect(strstr(run.err, in_err), "%s is not in: %s", in_err, run.err);
    cli_run_free(&run);
}

Test(cli_requests, peer_add_refuses_what_is_no_info)
{
    expect_refusal(CLI_INPUT(INFO("[::]:20037"), "peer", "add", "beta", "--info", "-"), 2, "--addr");
    expect_refusal(CLI_INPUT(INFO("0.0.0.0:20037"), "peer", "add", "beta", "--info", "-"), 2, "--addr");
    expect_refusal(CLI_INPUT(INFO("nowhere"), "peer", "add", "beta", "--info", "-"), 2, "nowhere");
    expect_refusal(CLI_INPUT("node_id  0x1\n", "peer", "add", "beta", "--info", "-"), 2, "node info");
    expect_refusal(CLI_INPUT("", "peer", "add", "beta", "--info", "-"), 2, "node info");
    expect_refusal(CLI_INPUT("{}", "peer", "add", "beta", "--info", "-"), 2, "--node-id is missing");
    expect_refusal(CLI("peer", "add", "beta", "--info", "/dev/zero"), 2, "node info");
    expect_refusal(CLI("peer", "add", "beta", "--info", "/nowhere/info"), 1, "/nowhere/info: No such file");
}

Test(cli_requests, names_are_percent_encoded)
{
    start_json("404 Not Found", "{\"error\":{\"code\":\"not_found\",\"message\":\"no such peer\"}}");
    expect(CLI("peer", "rm", "a/b \xc3\xa9"), HEAD("DELETE", "/v1/peers/a%2Fb%20%C3%A9") "\r\n", 1, "",
           "net-mesh: a/b \xc3\xa9: no such peer\n");
    start_json("404 Not Found", "{\"error\":{\"code\":\"not_found\",\"message\":\"no such peer\"}}");
    expect(CLI("subscribe", "a", "--from", "b"),
           HEAD("POST", "/v1/channels/a/subscribe?from=b&timeout_ms=29000") "Content-Length: 0\r\n\r\n", 1, "",
           "net-mesh: a from b: no such peer\n");
}

Test(cli_requests, subscribe_and_unsubscribe)
{
    start_json("200 OK", "{\"active\":true}");
    expect(
        CLI("subscribe", "sensors/lidar", "--from", "alpha", "--timeout", "5s"),
        HEAD("POST", "/v1/channels/sensors%2Flidar/subscribe?from=alpha&timeout_ms=4500") "Content-Length: 0\r\n\r\n",
        0, "{\n  \"active\": true\n}\n", "");
    static const struct {
        const char *start, *query;
    } starts[] = {{"earliest", "earliest"}, {"latest", "latest"}, {"0x10", "16"}, {"7", "7"}};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        char head[256];
        snprintf(head, sizeof head, HEAD("POST", "/v1/channels/a/subscribe?from=b&timeout_ms=29000&start=%s") "%s",
                 starts[i].query, "Content-Length: 0\r\n\r\n");
        start_json("200 OK", "{\"active\":true}");
        expect(CLI("subscribe", "a", "--from", "b", "--start", starts[i].start), head, 0, "{\n  \"active\": true\n}\n",
               "");
    }
    start_json("200 OK", "{\"mode\":\"live\"}");
    expect(CLI("subscribe", "a", "--from", "b", "--live"),
           HEAD("POST", "/v1/channels/a/subscribe?from=b&timeout_ms=29000&mode=live") "Content-Length: 0\r\n\r\n", 0,
           "{\n  \"mode\": \"live\"\n}\n", "");
    expect_refusal(CLI("subscribe", "a", "--from", "b", "--live", "--start", "7"), 2, "--live");
    expect_refusal(CLI("subscribe", "a", "--from", "b", "--start", "first"), 2, "earliest, latest or a sequence");
    start_json("200 OK", "{\"active\":false}");
    expect(CLI("unsubscribe", "a", "--from", "0x1"),
           HEAD("POST", "/v1/channels/a/unsubscribe?from=0x1&timeout_ms=29000") "Content-Length: 0\r\n\r\n", 0,
           "{\n  \"active\": false\n}\n", "");
}

/* A table has what a person wants; a column that is rarely of use only when it is; text and data have all. */
Test(cli_requests, columns_of_a_list)
{
    static const char get[] = HEAD("GET", "/v1/channels") "\r\n";
    static const char quiet[] = "[{\"channel\":\"a\",\"origin\":\"self\",\"origin_name\":null,\"appended_bytes\":7,"
                                "\"bytes\":5,\"error\":null}]";
    static const char loud[] = "[{\"channel\":\"a\",\"origin\":\"0x1\",\"origin_name\":\"beta\",\"appended_bytes\":7,"
                               "\"bytes\":5,\"error\":null},"
                               "{\"channel\":\"b\",\"origin\":\"0x2\",\"origin_name\":null,\"error\":\"no_space\"}]";
    start_json("200 OK", quiet);
    expect(CLI("channel", "ls", "--output", "table"), get, 0, "CHANNEL  ORIGIN  BYTES\na        self    5\n", "");
    start_json("200 OK", quiet);
    expect(CLI("channel", "ls", "--output", "text"), get, 0, "a\tself\t-\t7\t5\t-\n", "");
    start_json("200 OK", quiet);
    expect(CLI("channel", "ls", "--output", "ndjson"), get, 0,
           "[{\"channel\":\"a\",\"origin\":\"self\",\"origin_name\":null,\"appended_bytes\":7,\"bytes\":5,"
           "\"error\":null}]\n",
           "");
    start_json("200 OK", loud);
    expect(CLI("channel", "ls", "--output", "table"), get, 0,
           "CHANNEL  ORIGIN  BYTES  ERROR\n"
           "a        beta    5      -\n"
           "b        0x2     -      no_space\n",
           "");
}

Test(cli_requests, lists_and_status)
{
    start_json("200 OK", "[]");
    expect(CLI("channel", "ls", "--output", "table"), HEAD("GET", "/v1/channels") "\r\n", 0, "(none)\n", "");
    start_json("200 OK", "{\"node_id\":\"0x1\",\"security\":{\"peers\":\"any\"}}");
    expect(CLI("status", "--output", "table"), HEAD("GET", "/v1/node") "\r\n", 0,
           "node_id         0x1\nsecurity.peers  any\n", "");
    start("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n5\r\n\":[1]\r\n1\r\n}\r\n0\r\n\r\n");
    expect(CLI("status", "--output", "yaml"), HEAD("GET", "/v1/node") "\r\n", 0, "a:\n- 1\n", "");
}

Test(cli_requests, more_lists)
{
    static const struct {
        const char *group, *request;
    } lists[] = {
        {"subscription", HEAD("GET", "/v1/subscriptions") "\r\n"},
        {"subscriber", HEAD("GET", "/v1/subscribers") "\r\n"},
        {"session", HEAD("GET", "/v1/sessions") "\r\n"},
        {"shard", HEAD("GET", "/v1/shards") "\r\n"},
        {"stream", HEAD("GET", "/v1/streams") "\r\n"},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        start_json("200 OK", "[{\"a\":1}]");
        expect(CLI(lists[i].group, "ls", "--output", "ndjson"), lists[i].request, 0, "[{\"a\":1}]\n", "");
    }
}

Test(cli_requests, streams_of_a_peer)
{
    start_json("200 OK", "[]");
    expect(CLI("stream", "ls", "--peer", "a b", "--output", "ndjson"), HEAD("GET", "/v1/streams?peer=a%20b") "\r\n", 0,
           "[]\n", "");
}

/* 15.5: a level that does not exist is 2, and no node is asked. */
Test(cli_requests, log_level)
{
    start_json("200 OK", "{\"level\":\"info\"}");
    expect(CLI("node", "log-level", "--output", "text"), HEAD("GET", "/v1/log-level") "\r\n", 0, "level\tinfo\n", "");
    start_json("200 OK", "{\"level\":\"debug\"}");
    expect(CLI("node", "log-level", "debug", "--output", "text"),
           HEAD("PUT",
                "/v1/log-level") "Content-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"level\":\"debug\"}",
           0, "level\tdebug\n", "");
    setenv("NET_MESH_ENDPOINT", "unix:/nonexistent", 1);
    struct cli_run run = CLI("node", "log-level", "loud");
    cr_expect_eq(run.code, 2);
    cr_expect_str_eq(run.err, "net-mesh: level: found loud, allowed: error, warn, info or debug\n");
    cli_run_free(&run);
}

Test(cli_requests, metrics_are_passed_on)
{
    start("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 22\r\n\r\n# TYPE a counter\na "
          "12\n");
    expect(CLI("metrics", "--output", "json"), HEAD("GET", "/metrics") "\r\n", 0, "# TYPE a counter\na 12\n", "");
}

/* A reader that leaves ends the program quietly with 1. */
Test(cli_requests, a_closed_stdout)
{
    static const char *const commands[] = {"metrics", "status"};
    enum { SIZE = 1 << 20 };
    char *body = malloc(SIZE + 1);
    memset(body, ' ', SIZE);
    memcpy(body, "[\"", 2);
    memcpy(body + SIZE - 2, "\"]", 3);
    for (size_t i = 0; i < 2; i++) {
        char err[256];
        start_json("200 OK", body);
        snprintf(err, sizeof err, "%s/err", node.dir);
        int saved = dup(STDERR_FILENO), file = open(err, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        dup2(file, STDERR_FILENO);
        struct cli_process p = cli_spawn(NET_MESH_PROGRAM, (const char *const[]){commands[i], NULL});
        dup2(saved, STDERR_FILENO);
        close(p.out);
        p.out = -1;
        cr_expect_eq(cli_wait(&p), 1);
        cr_expect_eq(lseek(file, 0, SEEK_END), 0, "%s says something", commands[i]);
        close(file);
        close(saved);
        fake_node_join(&node);
        fake_node_end(&node);
    }
    free(body);
}

Test(cli_requests, exit_codes_of_answers)
{
    static const struct {
        const char *status, *code;
        int exit_code;
    } table[] = {
        {"400 Bad Request", "invalid", 2},
        {"401 Unauthorized", "unauthorized", 6},
        {"403 Forbidden", "auth", 6},
        {"403 Forbidden", "policy", 1},
        {"404 Not Found", "not_found", 1},
        {"409 Conflict", "exists", 1},
        {"503 Service Unavailable", "again", 1},
        {"504 Gateway Timeout", "timeout", 7},
        {"507 Insufficient", "no_space", 1},
        {"503 Service Unavailable", "unreachable", 6},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char body[128];
        snprintf(body, sizeof body, "{\"error\":{\"code\":\"%s\",\"message\":\"it is so\"}}", table[i].code);
        start_json(table[i].status, body);
        expect(CLI("status"), HEAD("GET", "/v1/node") "\r\n", table[i].exit_code, "",
               table[i].exit_code == 6 && i == 1 ? "the node refuses the token\n" : "net-mesh: it is so\n");
    }
}

Test(cli_requests, answers_that_are_not_ours)
{
    start("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops");
    expect(CLI("status"), HEAD("GET", "/v1/node") "\r\n", 1, "", "the node answered with HTTP status 500");
    start("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops");
    expect(CLI("status"), HEAD("GET", "/v1/node") "\r\n", 1, "", "the answer is not JSON");
    start("SSH-2.0-OpenSSH_9.2\r\n");
    expect(CLI("status"), HEAD("GET", "/v1/node") "\r\n", 6, "", "the answer is not HTTP");
    start("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"a\":");
    expect(CLI("status"), HEAD("GET", "/v1/node") "\r\n", 6, "", "ended the connection before its answer was complete");
    start(NULL);
    expect(CLI("status"), HEAD("GET", "/v1/node") "\r\n", 6, "", "ended the connection before its answer was complete");
    start("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    expect(CLI("status"), HEAD("GET", "/v1/node") "\r\n", 0, "{}\n", "");
}

Test(cli_requests, timeout_covers_the_whole_command)
{
    fake_node_start(&node, &(struct fake_script){.hold_ms = 1500});
    setenv("NET_MESH_ENDPOINT", node.dir, 1);
    expect(CLI("status", "--timeout", "200ms"), HEAD("GET", "/v1/node") "\r\n", 7, "",
           "no answer within --timeout (0.2 s)");
    fake_node_start(&node,
                    &(struct fake_script){.answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", .hold_ms = 1500});
    setenv("NET_MESH_ENDPOINT", node.dir, 1);
    expect(CLI("status", "--timeout", "200ms"), HEAD("GET", "/v1/node") "\r\n", 7, "",
           "no answer within --timeout (0.2 s)");
}

Test(cli_requests, verbose_says_what_is_asked)
{
    start_json("200 OK", "{}");
    expect(CLI("-v", "status"), HEAD("GET", "/v1/node") "\r\n", 0, "{}\n", "net-mesh: GET /v1/node at unix:");
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The connection lasts as long as the process: shutdown returns after its end, whatever frames the answer. */
Test(cli_requests, shutdown_waits_for_the_end_of_the_connection)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"stopping\":true,\"pid\":0}",
        "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{\"stopping\":true,\"pid\":0}"};
    for (size_t i = 0; i < 2; i++) {
        fake_node_start(&node, &(struct fake_script){.answer = answers[i], .hold_ms = 300});
        setenv("NET_MESH_ENDPOINT", node.dir, 1);
        struct cli_run run = CLI("shutdown", "--output", "ndjson");
        uint64_t returned = now_ns();
        fake_node_join(&node);
        cr_expect_geq(returned, node.closed_ns);
        cr_expect_str_eq(node.request, HEAD("POST", "/v1/shutdown") "Content-Length: 0\r\n\r\n");
        cr_expect_eq(run.code, 0, "%s", run.err);
        cr_expect_str_eq(run.out, "{\"stopping\":true,\"pid\":0}\n");
        cli_run_free(&run);
        fake_node_end(&node);
    }
}

Test(cli_requests, shutdown_waits_for_the_process)
{
    char answer[128], body[64];
    pid_t child = fork();
    if (child == 0) {
        usleep(400000);
        _exit(0);
    }
    int n = snprintf(body, sizeof body, "{\"stopping\":true,\"pid\":%d}", (int)child);
    snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, body);
    uint64_t begun = now_ns();
    start(answer);
    struct cli_run run = CLI("shutdown");
    cr_expect_eq(run.code, 0, "%s", run.err);
    cr_expect_geq(now_ns() - begun, 300000000, "a process that ended is gone, though its parent has not asked yet");
    cli_run_free(&run);
    fake_node_join(&node);
    fake_node_end(&node);
    waitpid(child, NULL, 0);
}

Test(cli_requests, shutdown_is_bounded)
{
    fake_node_start(&node, &(struct fake_script){.answer = "HTTP/1.1 200 OK\r\n\r\n{\"stopping\":true,\"pid\":0}",
                                                 .hold_ms = 1500});
    setenv("NET_MESH_ENDPOINT", node.dir, 1);
    expect(CLI("shutdown", "--timeout", "200ms"), HEAD("POST", "/v1/shutdown") "Content-Length: 0\r\n\r\n", 7, "",
           "the node is stopping, but not gone within --timeout");
}

Test(cli_requests, a_url_takes_its_token_from_a_file)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    char dir[64], url[64], expected[256], got[512] = "";
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(bind(listener, (struct sockaddr *)&addr, sizeof addr) == 0 && listen(listener, 1) == 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    scratch_make(dir);
    char *token = scratch_file(dir, "token", FAKE_TOKEN, 64, 0400);
    setenv("NET_MESH_TOKEN_FILE", token, 1);
    snprintf(url, sizeof url, "http://localhost:%u/", ntohs(addr.sin_port));
    struct cli_process p = cli_spawn(NET_MESH_PROGRAM, (const char *const[]){"--endpoint", url, "status", NULL});
    int fd = accept(listener, NULL, NULL);
    size_t have = 0;
    while (!strstr(got, "\r\n\r\n")) {
        ssize_t n = recv(fd, got + have, sizeof got - 1 - have, 0);
        cr_assert(n > 0);
        have += (size_t)n;
    }
    snprintf(expected, sizeof expected,
             "GET /v1/node HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nAuthorization: Bearer " FAKE_TOKEN "\r\n\r\n",
             ntohs(addr.sin_port));
    cr_expect_str_eq(got, expected);
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    cr_expect_eq(send(fd, answer, sizeof answer - 1, 0), (ssize_t)(sizeof answer - 1));
    cr_expect_eq(cli_wait(&p), 0);
    close(fd);
    close(listener);
    free(token);
    scratch_remove(dir);
}
