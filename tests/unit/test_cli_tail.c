/* tail: what is asked, and every format of what comes back. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/cli_fixture.h"

#define STREAM "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
#define ROWS                                                                                                           \
    "{\"seq\":1,\"ts_ns\":1700000000123456789,\"origin\":\"self\",\"data\":\"one\\u0007\"}\n"                          \
    "{\"gap\":[2,18446744073709551615]}\n"                                                                             \
    "{\"seq\":12345678901,\"ts_ns\":0,\"origin\":\"0xbd826a5d0a6394f5\",\"data_base64\":\"/w==\"}\n"

static struct fake_node node;

static void start(const struct fake_script *script)
{
    fake_node_start(&node, script);
    setenv("NET_MESH_ENDPOINT", node.dir, 1);
}

static void expect(struct cli_run run, const char *target, int code, const char *out, size_t out_len, const char *err)
{
    char request[512];
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " FAKE_TOKEN "\r\n\r\n", target);
    fake_node_join(&node);
    cr_expect_str_eq(node.request, request);
    cr_expect_eq(run.code, code, "exit %d, stderr: %s", run.code, run.err);
    cr_expect_eq(run.out_len, out_len);
    cr_expect(run.out_len == out_len && memcmp(run.out, out, out_len) == 0, "found: %s", run.out);
    cr_expect(strstr(run.err, err), "%s is not in: %s", err, run.err);
    cli_run_free(&run);
    fake_node_end(&node);
}
#define EXPECT(run, target, out) expect(run, target, 0, out, sizeof(out) - 1, "")

Test(cli_tail, rows_pass_as_they_are)
{
    start(&(struct fake_script){.answer = STREAM ROWS});
    EXPECT(CLI("tail", "a/b"), "/v1/channels/a%2Fb/events?from=earliest", ROWS);
    start(&(struct fake_script){.answer = STREAM ROWS, .piece = 7});
    EXPECT(CLI("tail", "a", "--output", "json"), "/v1/channels/a/events?from=earliest", ROWS);
    start(&(struct fake_script){.answer = STREAM});
    EXPECT(CLI("tail", "a"), "/v1/channels/a/events?from=earliest", "");
}

Test(cli_tail, all_arguments)
{
    start(&(struct fake_script){.answer = STREAM ROWS});
    EXPECT(CLI("tail", "a", "-n", "3", "--start", "latest", "-f", "--origin", "self"),
           "/v1/channels/a/events?from=latest&limit=3&follow=true&origin=self", ROWS);
    start(&(struct fake_script){.answer = STREAM});
    EXPECT(CLI("tail", "a", "--count=0", "--start", "18446744073709551615", "--origin", "be ta"),
           "/v1/channels/a/events?from=18446744073709551615&limit=0&origin=be%20ta", "");
}

Test(cli_tail, raw_is_payload_and_line_feed)
{
    static const char answer[] = STREAM "\3\0\0\0one\0\0\0\0\2\0\0\0\n\0\4\0\0\0last";
    for (unsigned piece = 0; piece < 8; piece++) {
        start(&(struct fake_script){.answer = answer, .answer_len = sizeof answer - 1, .piece = piece});
        EXPECT(CLI("tail", "a", "--raw"), "/v1/channels/a/events?from=earliest&format=binary", "one\n\n\n\0\nlast\n");
    }
}

Test(cli_tail, raw_cut_off_is_an_error)
{
    static const char answer[] = STREAM "\3\0\0\0on";
    start(&(struct fake_script){.answer = answer, .answer_len = sizeof answer - 1});
    expect(CLI("tail", "a", "--raw"), "/v1/channels/a/events?from=earliest&format=binary", 1, "on", 2,
           "the answer is malformed");
}

Test(cli_tail, tables_are_for_people)
{
    for (unsigned piece = 0; piece < 20; piece += 9) {
        start(&(struct fake_script){.answer = STREAM ROWS, .piece = piece});
        EXPECT(CLI("tail", "a", "--output", "table"), "/v1/channels/a/events?from=earliest",
               "SEQ         TIME                         ORIGIN              DATA\n"
               "1           2023-11-14T22:13:20.123456Z  self                one?\n"
               "gap 2..18446744073709551615\n"
               "12345678901  1970-01-01T00:00:00.000000Z  0xbd826a5d0a6394f5  base64:/w==\n");
    }
    start(&(struct fake_script){.answer = STREAM ROWS});
    EXPECT(CLI("tail", "a", "--output", "text"), "/v1/channels/a/events?from=earliest",
           "1  2023-11-14T22:13:20.123456Z  one?\n"
           "gap 2..18446744073709551615\n"
           "12345678901  1970-01-01T00:00:00.000000Z  base64:/w==\n");
    start(&(struct fake_script){.answer = STREAM "{\"seq\":1,\"data\":\"a: b\"}\n{\"gap\":[2,3]}\n"});
    EXPECT(CLI("tail", "a", "--output", "yaml"), "/v1/channels/a/events?from=earliest",
           "---\nseq: 1\ndata: \"a: b\"\n---\ngap:\n- 2\n- 3\n");
}

Test(cli_tail, rows_on_a_terminal_are_text)
{
    setenv("TERM", "xterm", 1); /* not what the one has that runs the tests */
    unsetenv("NO_COLOR");
    start(&(struct fake_script){.answer = STREAM ROWS});
    char *out = cli_on_terminal(NET_MESH_PROGRAM, (const char *const[]){"tail", "a", NULL});
    fake_node_join(&node);
    cr_expect_str_eq(out, "1  2023-11-14T22:13:20.123456Z  one?\n"
                          "\033[33mgap 2..18446744073709551615\033[0m\n"
                          "12345678901  1970-01-01T00:00:00.000000Z  base64:/w==\n");
    free(out);
    fake_node_end(&node);
}

/* U+0080..U+009F are controls, too: xterm takes U+009B for ESC [. */
Test(cli_tail, controls_of_two_bytes_do_not_reach_a_terminal)
{
    start(&(struct fake_script){.answer = STREAM "{\"seq\":1,\"ts_ns\":0,\"origin\":\"self\",\"data\":"
                                                 "\"\xc2\x9b"
                                                 "31m \xc2\x80\xc2\x9f\xc2\xa0\xc3\x9b\"}\n"});
    EXPECT(CLI("tail", "a", "--output", "text"), "/v1/channels/a/events?from=earliest",
           "1  1970-01-01T00:00:00.000000Z  ?31m ??\xc2\xa0\xc3\x9b\n");
    start(&(struct fake_script){.status = "404 Not Found",
                                .body = "{\"error\":{\"code\":\"not_found\",\"message\":\"\xc2\x9b"
                                        "31m no\"}}"});
    expect(CLI("tail", "a"), "/v1/channels/a/events?from=earliest", 1, "", 0, "net-mesh: a:   31m no\n");
}

Test(cli_tail, rows_that_are_not_json)
{
    start(&(struct fake_script){.answer = STREAM "nonsense\n"});
    expect(CLI("tail", "a", "--output", "text"), "/v1/channels/a/events?from=earliest", 1, "", 0,
           "the answer is malformed");
}

Test(cli_tail, unknown_channel)
{
    start(&(struct fake_script){.status = "404 Not Found",
                                .body = "{\"error\":{\"code\":\"not_found\",\"message\":\"no such channel\"}}"});
    expect(CLI("tail", "a"), "/v1/channels/a/events?from=earliest", 1, "", 0, "net-mesh: a: no such channel\n");
}

Test(cli_tail, a_stream_cut_off_is_6)
{
    start(&(struct fake_script){.answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n"});
    expect(CLI("tail", "a", "--follow"), "/v1/channels/a/events?from=earliest&follow=true", 6, "{}\n", 3,
           "ended the connection before its answer was complete");
}

/* --timeout is for the first answer: a stream may then be silent for longer. */
Test(cli_tail, the_timeout_ends_with_the_head)
{
    start(&(struct fake_script){.answer = STREAM, .hold_ms = 700});
    EXPECT(CLI("tail", "a", "-f", "--timeout", "200ms"), "/v1/channels/a/events?from=earliest&follow=true", "");
    start(&(struct fake_script){.hold_ms = 700});
    expect(CLI("tail", "a", "-f", "--timeout", "200ms"), "/v1/channels/a/events?from=earliest&follow=true", 7, "", 0,
           "no answer within --timeout");
}

/* Rows are there as soon as the node has sent them, and Ctrl-C is a good end. */
Test(cli_tail, following_and_interrupting)
{
    start(&(struct fake_script){.answer = STREAM "{\"seq\":1}\n", .hold_ms = 1000});
    struct cli_process p = cli_spawn(NET_MESH_PROGRAM, (const char *const[]){"tail", "a", "--follow", NULL});
    char row[64] = "";
    cr_expect_eq(read(p.out, row, sizeof row - 1), 10);
    cr_expect_str_eq(row, "{\"seq\":1}\n");
    cr_expect_eq(kill(p.pid, SIGINT), 0);
    cr_expect_eq(cli_wait(&p), 0);
    fake_node_join(&node);
    fake_node_end(&node);
}

/* A reader that stalls does not keep Ctrl-C away (cli.md G9), one that leaves ends the program quietly. */
Test(cli_tail, readers_that_stall_or_leave)
{
    size_t len = strlen(STREAM) + (4 << 20);
    char *answer = malloc(len);
    memset(answer, '\n', len);
    memcpy(answer, STREAM, strlen(STREAM));
    start(&(struct fake_script){.answer = answer, .answer_len = len});
    struct cli_process p = cli_spawn(NET_MESH_PROGRAM, (const char *const[]){"tail", "a", NULL});
    usleep(300000); /* the pipe is full now */
    cr_expect_eq(kill(p.pid, SIGINT), 0);
    cr_expect_eq(cli_wait(&p), 0);
    fake_node_join(&node);
    fake_node_end(&node);

    start(&(struct fake_script){.answer = answer, .answer_len = len});
    p = cli_spawn(NET_MESH_PROGRAM, (const char *const[]){"tail", "a", NULL});
    close(p.out);
    p.out = -1;
    cr_expect_eq(cli_wait(&p), 1);
    fake_node_join(&node);
    fake_node_end(&node);
    free(answer);
}
