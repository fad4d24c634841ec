/* publish: what becomes an event, how it is sent, and what a refusal says. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/span.h"
#include "tests/support/cli_fixture.h"

#define OK_BODY "{\"channel\":\"c\",\"events\":0,\"bytes\":0,\"first_seq\":null,\"last_seq\":null}"
#define EXPECTED_HEAD(query)                                                                                           \
    "POST /v1/channels/c/publish" query " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " FAKE_TOKEN            \
    "\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

static struct fake_node node;

static void start(const struct fake_script *script)
{
    fake_node_start(&node, script);
    setenv("NET_MESH_ENDPOINT", node.dir, 1);
    cr_assert_eq(chdir(node.dir), 0);
}

static void begin(void)
{
    start(&(struct fake_script){.status = "200 OK", .body = OK_BODY});
}

static void finish(struct cli_run *run)
{
    cli_run_free(run);
    fake_node_end(&node);
}

static void expect_body(const char *frames, size_t len)
{
    size_t have;
    char *body = fake_node_body(&node, &have);
    cr_expect_eq(have, len);
    cr_expect(have == len && memcmp(body, frames, len) == 0, "other frames than expected");
    free(body);
}
#define EXPECT_BODY(frames) expect_body(frames, sizeof(frames) - 1)

Test(cli_publish, a_line_is_an_event)
{
    begin();
    struct cli_run run = CLI_INPUT("one\r\n\n\xff\0z\nlast", "publish", "c", "--output", "ndjson");
    fake_node_join(&node);
    cr_expect_eq(run.code, 0, "%s", run.err);
    cr_expect_eq(strncmp(node.request, EXPECTED_HEAD(""), strlen(EXPECTED_HEAD(""))), 0, "%s", node.request);
    EXPECT_BODY("\4\0\0\0one\r\0\0\0\0\3\0\0\0\xff\0z\4\0\0\0last");
    cr_expect_str_eq(run.out, OK_BODY "\n");
    cr_expect_str_eq(run.err, "");
    finish(&run);
}

Test(cli_publish, no_input_is_no_event)
{
    begin();
    struct cli_run run = CLI_INPUT("", "publish", "c", "--durable");
    fake_node_join(&node);
    cr_expect_eq(run.code, 0, "%s", run.err);
    cr_expect_str_eq(node.request, EXPECTED_HEAD("?durable=true") "0\r\n\r\n");
    finish(&run);
}

Test(cli_publish, files_in_order_each_ending_its_last_line)
{
    begin();
    free(scratch_file(node.dir, "1", "a\nb", 3, 0600));
    free(scratch_file(node.dir, "2", "", 0, 0600));
    free(scratch_file(node.dir, "3", "\nc\n", 3, 0600));
    struct cli_run run = CLI_INPUT("in", "publish", "c", "1", "2", "-", "3");
    fake_node_join(&node);
    cr_expect_eq(run.code, 0, "%s", run.err);
    EXPECT_BODY("\1\0\0\0a\1\0\0\0b\2\0\0\0in\0\0\0\0\1\0\0\0c");
    finish(&run);
}

Test(cli_publish, records_are_checked_and_passed_on)
{
    begin();
    struct cli_run run = CLI_INPUT("\2\0\0\0a\n\0\0\0\0\1\0\0\0b", "publish", "c", "--binary");
    fake_node_join(&node);
    cr_expect_eq(run.code, 0, "%s", run.err);
    EXPECT_BODY("\2\0\0\0a\n\0\0\0\0\1\0\0\0b");
    finish(&run);
}

Test(cli_publish, a_record_cut_off)
{
    begin();
    free(scratch_file(node.dir, "f", "\1\0\0\0a", 5, 0600));
    free(scratch_file(node.dir, "g", "\1\0\0\0b\5\0\0\0c", 10, 0600));
    struct cli_run run = CLI("publish", "c", "f", "g", "--binary");
    fake_node_join(&node);
    cr_expect_eq(run.code, 1);
    cr_expect_str_eq(run.err, "net-mesh: g: the record at offset 5 is cut off\n");
    cr_expect(strstr(run.out, "\"events\": 0"), "the numbers are shown: %s", run.out);
    EXPECT_BODY("\1\0\0\0a\1\0\0\0b");
    finish(&run);
}

Test(cli_publish, a_record_too_long)
{
    begin();
    struct cli_run run = CLI_INPUT("\0\0\0\0\1\0\0\1", "publish", "c", "--binary");
    fake_node_join(&node);
    cr_expect_eq(run.code, 1);
    cr_expect_str_eq(run.err, "net-mesh: stdin: the record at offset 4 is longer than 16 MiB\n");
    EXPECT_BODY("\0\0\0\0");
    finish(&run);
}

Test(cli_publish, a_line_too_long_for_the_program)
{
    enum { LIMIT = 16 << 20 };
    char *text = malloc(LIMIT + 16);
    memset(text, 'x', LIMIT + 16);
    memcpy(text, "a\n", 2);
    text[2 + LIMIT] = '\n'; /* exactly the limit, and a line feed */
    begin();
    struct cli_run run = cli_run(NET_MESH_PROGRAM, text, 2 + LIMIT + 1, (const char *const[]){"publish", "c", NULL});
    fake_node_join(&node);
    cr_expect_eq(run.code, 0, "%s", run.err);
    size_t len;
    char *body = fake_node_body(&node, &len);
    cr_expect_eq(len, 5 + 4 + (size_t)LIMIT);
    cr_expect_eq(load_le32((uint8_t *)body + 5), LIMIT);
    free(body);
    finish(&run);

    text[2 + LIMIT] = 'x';
    begin();
    run = cli_run(NET_MESH_PROGRAM, text, LIMIT + 16, (const char *const[]){"publish", "c", NULL});
    fake_node_join(&node);
    cr_expect_eq(run.code, 1);
    cr_expect_str_eq(run.err, "net-mesh: stdin:2: the line is longer than 16 MiB\n");
    EXPECT_BODY("\1\0\0\0a");
    finish(&run);
    free(text);
}

/* Lines of all lengths, over every boundary of the buffers. */
Test(cli_publish, many_lines)
{
    enum { LINES = 200000 };
    char *text = malloc(LINES * 64), *p = text;
    size_t payload = 0;
    for (unsigned i = 0; i < LINES; i++) {
        unsigned n = i * 7 % 61;
        memset(p, 'a' + (int)(i % 26), n);
        p[n] = '\n';
        p += n + 1;
        payload += n;
    }
    begin();
    struct cli_run run =
        cli_run(NET_MESH_PROGRAM, text, (size_t)(p - text), (const char *const[]){"publish", "c", NULL});
    fake_node_join(&node);
    cr_expect_eq(run.code, 0, "%s", run.err);
    size_t len, at = 0;
    char *body = fake_node_body(&node, &len);
    cr_assert_eq(len, payload + 4 * (size_t)LINES);
    for (unsigned i = 0; i < LINES; i++) {
        cr_assert_eq(load_le32((uint8_t *)body + at), i * 7 % 61, "line %u", i);
        at += 4 + i * 7 % 61;
        cr_assert(i * 7 % 61 == 0 || body[at - 1] == 'a' + (int)(i % 26));
    }
    free(body);
    free(text);
    finish(&run);
}

#define REFUSED(event)                                                                                                 \
    .status = "413 Payload Too Large",                                                                                 \
    .body = "{\"error\":{\"code\":\"too_large\",\"message\":\"the event is larger than the "                           \
            "limit\",\"event\":" event "},\"channel\":\"c\",\"events\":2,\"bytes\":2,"                                 \
            "\"first_seq\":7,\"last_seq\":8}"

Test(cli_publish, a_refusal_names_file_and_line)
{
    start(&(struct fake_script){REFUSED("2")});
    free(scratch_file(node.dir, "one", "a\n", 2, 0600));
    free(scratch_file(node.dir, "two", "b\nc\n", 4, 0600));
    struct cli_run run = CLI("publish", "c", "one", "two", "--output", "ndjson");
    fake_node_join(&node);
    cr_expect_eq(run.code, 1);
    cr_expect_str_eq(run.err, "net-mesh: two:2: the event is larger than the limit\n");
    cr_expect_str_eq(run.out, "{\"channel\":\"c\",\"events\":2,\"bytes\":2,\"first_seq\":7,\"last_seq\":8}\n");
    finish(&run);

    start(&(struct fake_script){REFUSED("0")});
    run = CLI_INPUT("\1\0\0\0a", "publish", "c", "--binary");
    fake_node_join(&node);
    cr_expect_eq(run.code, 1);
    cr_expect_str_eq(run.err, "net-mesh: stdin: record 1: the event is larger than the limit\n");
    finish(&run);
}

/* The answer comes while the program still sends, which it notices and ends. */
Test(cli_publish, an_early_answer_ends_it)
{
    size_t len = 64 << 20;
    char *text = malloc(len);
    memset(text, 'y', len);
    for (size_t i = 999; i < len; i += 1000)
        text[i] = '\n';
    start(&(struct fake_script){REFUSED("2"), .early = 100000, .reset = true, .hold_ms = 300});
    struct cli_run run = cli_run(NET_MESH_PROGRAM, text, len, (const char *const[]){"publish", "c", NULL});
    fake_node_join(&node);
    cr_expect_eq(run.code, 1, "%s", run.err);
    cr_expect_str_eq(run.err, "net-mesh: stdin:3: the event is larger than the limit\n");
    free(text);
    finish(&run);
}

/* What comes slowly goes at once, and an answer is noticed while waiting for input. */
Test(cli_publish, input_that_trickles)
{
    start(&(struct fake_script){REFUSED("1"), .early = strlen(EXPECTED_HEAD("")) + 17 + 1});
    struct cli_process p = cli_spawn(NET_MESH_PROGRAM, (const char *const[]){"publish", "c", NULL});
    cr_assert_eq(write(p.in, "a\nb", 3), 3);
    usleep(200000); /* the first line is on its way now, the second is not a line yet */
    cr_assert_eq(write(p.in, "\n", 1), 1);
    char out[512];
    ssize_t n = read(p.out, out, sizeof out - 1);
    cr_assert(n > 0);
    out[n] = '\0';
    cr_expect(strstr(out, "\"first_seq\": 7"), "%s", out);
    int code = cli_wait(&p); /* its stdin is still open until here */
    cr_expect_eq(code, 1);
    fake_node_join(&node);
    cr_expect(strstr(node.request, "\r\n\r\n00000005\r\n\1"), "one chunk for the first line");
    fake_node_end(&node);
}

/* cli.md 15.28: Ctrl-C ends the input; whole lines are published and counted, the one being typed is not. */
Test(cli_publish, interrupted_while_waiting_for_input)
{
    begin();
    struct cli_process p = cli_spawn(NET_MESH_PROGRAM, (const char *const[]){"publish", "c", "-", "/dev/zero", NULL});
    cr_assert_eq(write(p.in, "one\ntwo\nthr", 11), 11);
    usleep(300000); /* it has read that, and waits */
    cr_assert_eq(kill(p.pid, SIGINT), 0);
    fake_node_join(&node);
    int code = cli_wait(&p);
    cr_expect_eq(code, 0);
    EXPECT_BODY("\3\0\0\0one\3\0\0\0two");
    fake_node_end(&node);
}

/* On a terminal of 12 columns, no line of the progress takes more than 11, so that none wraps. */
Test(cli_publish, progress_does_not_wrap)
{
    begin();
    setenv("PROGRAM", NET_MESH_PROGRAM, 1);
    char *out = cli_on_terminal(
        "/bin/sh",
        (const char *const[]){"-c", "stty cols 12 <&1; { echo x; sleep 0.7; } | \"$PROGRAM\" publish c 2>&1", NULL});
    unsigned lines = 0;
    for (const char *p = strchr(out, '\r'); p; p = strchr(p + 1, '\r')) {
        size_t columns = strcspn(p + 1, "\033");
        cr_expect(columns <= 11, "%zu columns", columns);
        lines += columns > 0;
    }
    cr_expect(lines > 0, "%s", out);
    free(out);
    fake_node_join(&node);
    fake_node_end(&node);
}

Test(cli_publish, files_are_looked_at_first)
{
    setenv("NET_MESH_ENDPOINT", "unix:/nonexistent", 1);
    struct cli_run run = CLI("publish", "c", "/nonexistent/file");
    cr_expect_eq(run.code, 1);
    cr_expect_str_eq(run.err, "net-mesh: /nonexistent/file: cannot open: No such file or directory\n");
    cli_run_free(&run);
    begin();
    run = CLI("publish", "c", "/");
    fake_node_join(&node);
    cr_expect_eq(run.code, 1);
    cr_expect_str_eq(run.err, "net-mesh: /: cannot read: Is a directory\n");
    finish(&run);
}

Test(cli_publish, no_room_in_time_is_7)
{
    start(&(struct fake_script){
        .status = "504 Gateway Timeout",
        .body = "{\"error\":{\"code\":\"timeout\",\"message\":\"timed out\","
                "\"event\":1},\"channel\":\"c\",\"events\":1,\"bytes\":1,\"first_seq\":1,\"last_seq\":1}"});
    struct cli_run run = CLI_INPUT("a\nb\n", "publish", "c");
    fake_node_join(&node);
    cr_expect_eq(run.code, 7);
    cr_expect_str_eq(run.err, "net-mesh: stdin:2: timed out\n");
    finish(&run);
}

Test(cli_publish, other_errors)
{
    start(&(struct fake_script){.status = "401 Unauthorized",
                                .body = "{\"error\":{\"code\":\"unauthorized\",\"message\":\"bad token\"}}"});
    struct cli_run run = CLI_INPUT("a\n", "publish", "c");
    fake_node_join(&node);
    cr_expect_eq(run.code, 6);
    cr_expect_str_eq(run.out, "");
    finish(&run);
}
