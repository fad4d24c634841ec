/* The command line itself, and the commands that need no node. cli.md 2-4, 15.1-4, 15.10, 15.11, 15.30, 15.33 */
#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cli_fixture.h"

static char base[64];

static void set_up(void)
{
    scratch_make(base);
    cr_assert_eq(chdir(base), 0);
    unsetenv("NET_MESH_ENDPOINT");
    unsetenv("NET_MESH_TOKEN_FILE");
    setenv("NET_MESH_CONFIG", "none.toml", 1);
    unsetenv("NET_MESH_PROFILE");
    unsetenv("NET_MESH_LOG");
    unsetenv("NO_COLOR");
}

static void tear_down(void)
{
    scratch_remove(base);
}

TestSuite(cli_args, .init = set_up, .fini = tear_down);

static void expect(struct cli_run run, int code, const char *out, const char *err)
{
    cr_expect_eq(run.code, code, "exit %d, stderr: %s", run.code, run.err);
    if (out)
        cr_expect_str_eq(run.out, out);
    if (err)
        cr_expect_str_eq(run.err, err);
    cli_run_free(&run);
}

static void expect_part(struct cli_run run, int code, const char *in_out, const char *in_err)
{
    cr_expect_eq(run.code, code, "exit %d, stderr: %s", run.code, run.err);
    cr_expect(strstr(run.out, in_out), "%s is not in: %s", in_out, run.out);
    cr_expect(strstr(run.err, in_err), "%s is not in: %s", in_err, run.err);
    cli_run_free(&run);
}

static char *text_of(struct json_object *o, const char *key)
{
    return strdup(json_object_get_string(json_object_object_get(o, key)));
}

Test(cli_args, version)
{
    struct cli_run run = CLI("version");
    struct json_object *o = json_tokener_parse(run.out);
    cr_expect_eq(run.code, 0);
    cr_expect(json_object_object_get_ex(o, "cli_version", NULL) && json_object_object_get_ex(o, "sdk_version", NULL) &&
              json_object_object_get_ex(o, "git_revision", NULL));
    json_object_put(o);
    cli_run_free(&run);
    expect(CLI("--version"), 0, "net-mesh " NM_VERSION "\n", "");
    expect(CLI("-V"), 0, "net-mesh " NM_VERSION "\n", "");
}

Test(cli_args, help_at_each_level)
{
    expect_part(CLI("--help"), 0, "Commands:\n  init ", "");
    expect_part(CLI("help"), 0, "Examples:\n", "");
    expect_part(CLI("peer", "-h"), 0, "  peer rm ", "");
    expect_part(CLI("help", "peer", "add"), 0, "Usage: net-mesh peer add NAME", "");
    expect_part(CLI("publish", "--help"), 0, "Examples:\n", "");
    expect_part(CLI("tail", "x", "y", "z", "-h"), 0, "--follow", "");
    expect_part(CLI("help", "nothing"), 2, "", "net-mesh: unknown command nothing");
}

Test(cli_args, parser_errors_are_2)
{
    expect_part(CLI("--bogus"), 2, "", "net-mesh: unknown option --bogus");
    expect_part(CLI("-x"), 2, "", "net-mesh: unknown option -x");
    expect_part(CLI("bogus"), 2, "", "net-mesh: unknown command bogus");
    expect_part(CLI("peer", "bogus"), 2, "", "net-mesh: unknown command peer bogus");
    expect_part(CLI("peer"), 2, "", "net-mesh: which command of peer?");
    expect_part(cli_run(NET_MESH_PROGRAM, "", 0, (const char *const[]){NULL}), 2, "", "net-mesh: which command?");
    expect_part(CLI("status", "more"), 2, "", "net-mesh: status: too many arguments; usage: net-mesh status\n");
    expect_part(CLI("publish"), 2, "", "net-mesh: publish: an argument is missing; usage: net-mesh publish CHANNEL");
    expect_part(CLI("status", "--follow"), 2, "", "net-mesh: status takes no --follow");
    expect_part(CLI("status", "--quiet=1"), 2, "", "net-mesh: --quiet takes no value");
    expect_part(CLI("status", "--output"), 2, "", "net-mesh: --output needs a value: FORMAT");
    expect_part(CLI("status", "--output", "xml"), 2, "",
                "--output: found xml, allowed: json, ndjson, yaml, table or text");
    expect_part(CLI("status", "--output=json", "--output=json"), 2, "", "net-mesh: --output is given twice");
    expect_part(CLI("tail", "a", "-n", "x", "--endpoint", "."), 2, "", "--count: found x, allowed: a number");
    expect_part(CLI("tail", "a", "--start", "-1", "--endpoint", "."), 2, "", "--start: found -1");
    expect_part(CLI("tail", "Upper", "--endpoint", "."), 2, "", "channel Upper: ");
    expect_part(CLI("subscribe", "a"), 2, "", "subscribe: --from PEER is missing");
}

Test(cli_args, slips_get_a_hint)
{
    expect(CLI("pubish"), 2, "", "net-mesh: unknown command pubish; did you mean publish?\n");
    expect(CLI("tial", "x"), 2, "", "net-mesh: unknown command tial; did you mean tail?\n");
    expect(CLI("peer", "lss"), 2, "", "net-mesh: unknown command peer lss; did you mean peer ls?\n");
    expect(CLI("pear", "ls"), 2, "", "net-mesh: unknown command pear; did you mean peer ls?\n");
    expect(CLI("status", "--ouput", "json"), 2, "", "net-mesh: unknown option --ouput; did you mean --output?\n");
    expect(CLI("status", "--ouput=json"), 2, "", "net-mesh: unknown option --ouput; did you mean --output?\n");
    expect(CLI("xyz"), 2, "", "net-mesh: unknown command xyz; net-mesh --help shows what there is\n");
    expect(CLI("--a-name-that-is-longer-than-any-other-there-is"), 2, "",
           "net-mesh: unknown option --a-name-that-is-longer-than-any-other-there-is; net-mesh --help shows what there "
           "is\n");
}

/* `line` in a shell, where $PROGRAM is the program. Its exit code. */
static int shell(const char *line)
{
    setenv("PROGRAM", NET_MESH_PROGRAM, 1);
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* cli.md 3: what cannot be written is an error, in every command. */
Test(cli_args, a_stdout_that_takes_nothing)
{
    static const char *const commands[] = {"version", "--version", "help", "--help", "peer --help", "init a"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        char line[128];
        snprintf(line, sizeof line, "\"$PROGRAM\" %s >/dev/full 2>&1", commands[i]);
        cr_expect_eq(shell(line), 1, "%s", line);
        snprintf(line, sizeof line, "rm -rf a; \"$PROGRAM\" %s >&- 2>&-", commands[i]);
        cr_expect_eq(shell(line), 1, "%s", line);
    }
}

/* A socket or a log must never become the stdin, stdout or stderr that the caller has closed. */
Test(cli_args, closed_descriptors_are_not_reused)
{
    struct fake_node node;
    fake_node_start(&node, &(struct fake_script){.status = "200 OK", .body = "{\"pid\":1}"});
    setenv("NET_MESH_ENDPOINT", node.dir, 1);
    cr_expect_eq(shell("\"$PROGRAM\" status >&-"), 1);
    fake_node_join(&node);
    cr_expect_null(strstr(node.request, "pid"), "%s", node.request);
    fake_node_end(&node);
    fake_node_start(&node, &(struct fake_script){.status = "200 OK", .body = "{\"events\":0}", .early = 1});
    setenv("NET_MESH_ENDPOINT", node.dir, 1);
    cr_expect_eq(shell("\"$PROGRAM\" publish a --timeout 2s <&- >/dev/null"), 1);
    fake_node_join(&node);
    fake_node_end(&node);
}

Test(cli_args, timeouts_are_durations)
{
    static const char *const bad[] = {"", "abc", "10x", "1m5", "10 5s", "999999999999999d", "0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_part(CLI("version", "--timeout", bad[i]), 2, "", "net-mesh: --timeout: found");
    expect(CLI("version", "--timeout", "1h 30m", "--output", "ndjson"), 0,
           "{\"cli_version\":\"" NM_VERSION "\",\"sdk_version\":\"" NM_VERSION "\",\"git_revision\":null}\n", "");
}

Test(cli_args, no_color_of_any_value)
{
    static const char *const values[] = {"1", "", "true", "anything"};
    for (size_t i = 0; i < 4; i++) {
        setenv("NO_COLOR", values[i], 1);
        expect(CLI("--no-color", "-V"), 0, "net-mesh " NM_VERSION "\n", "");
    }
}

Test(cli_args, output_formats)
{
    expect(CLI("version", "--output", "json"), 0,
           "{\n  \"cli_version\": \"" NM_VERSION "\",\n  \"sdk_version\": \"" NM_VERSION
           "\",\n  \"git_revision\": null\n}\n",
           "");
    expect(CLI("--output=yaml", "version"), 0,
           "cli_version: \"" NM_VERSION "\"\nsdk_version: \"" NM_VERSION "\"\ngit_revision: null\n", "");
    expect(CLI("version", "--output", "table"), 0,
           "cli_version   " NM_VERSION "\nsdk_version   " NM_VERSION "\ngit_revision  -\n", "");
    expect(CLI("version", "--output", "text"), 0,
           "cli_version\t" NM_VERSION "\nsdk_version\t" NM_VERSION "\ngit_revision\t-\n", "");
}

/* cli.md 3, 15.25: a table for a person, JSON for a program; --output beats both. */
Test(cli_args, output_follows_the_terminal)
{
    const char *const plain[] = {"version", NULL}, *const chosen[] = {"version", "--output", "ndjson", NULL};
    char *table = cli_on_terminal(NET_MESH_PROGRAM, plain), *json = cli_on_terminal(NET_MESH_PROGRAM, chosen);
    cr_expect_str_eq(table, "cli_version   " NM_VERSION "\nsdk_version   " NM_VERSION "\ngit_revision  -\n");
    cr_expect(strncmp(json, "{\"cli_version\":", 15) == 0, "%s", json);
    expect_part(CLI("version"), 0, "{\n  \"cli_version\": ", "");
    free(table);
    free(json);
}

Test(cli_args, init_and_info)
{
    struct cli_run init =
        CLI("init", "a", "--listen", "127.0.0.1:4001", "--admin", "unix:s.sock", "--set", "shards.count=2");
    cr_assert_eq(init.code, 0, "%s", init.err);
    struct json_object *o = json_tokener_parse(init.out);
    char *id = text_of(o, "node_id"), *entity = text_of(o, "entity_id"), *key = text_of(o, "public_key");
    cr_expect_eq(strlen(id), 18);
    cr_expect(strncmp(id, "0x", 2) == 0 && strspn(id + 2, "0123456789abcdef") == 16);
    cr_expect_eq(strlen(entity), 64);
    cr_expect_eq(strlen(key), 64);
    cr_expect_str_eq(json_object_get_string(json_object_object_get(o, "listen")), "127.0.0.1:4001");
    cr_expect_str_eq(json_object_get_string(json_object_object_get(o, "admin")), "unix:a/s.sock");
    expect(CLI("node", "info", "a"), 0, init.out, "");
    expect_part(CLI("init", "a"), 2, "", "net-mesh: a: is a node's directory already");
    expect_part(CLI("init", "a", "--force"), 0, id, "");
    expect_part(CLI("node", "info", "a"), 0, "\"listen\": \"[::]:20037\",\n  \"admin\": \"127.0.0.1:20038\"", "");
    free(id);
    free(entity);
    free(key);
    json_object_put(o);
    cli_run_free(&init);
}

/* A slip of the pen must not strew keys among other things. */
Test(cli_args, init_wants_a_place_of_its_own)
{
    expect_part(CLI("init", "/"), 2, "", "net-mesh: /: is neither empty nor a node's directory");
    cr_assert_eq(mkdir("full", 0700), 0);
    free(scratch_file("full", "thesis", "", 0, 0600));
    expect_part(CLI("init", "full"), 2, "", "net-mesh: full: is neither empty nor a node's directory; give a new");
    expect_part(CLI("init", "full", "--force"), 2, "", "net-mesh: full: is neither empty");
    cr_expect_eq(system("test \"$(ls full)\" = thesis"), 0);
    cr_assert_eq(system("mkdir -p disk/lost+found"), 0);
    expect_part(CLI("init", "disk"), 0, "node_id", "");
}

/* identity.md 2.2 and RFC 7748 6.1: seeds and keys with known public halves. */
Test(cli_args, info_of_known_keys)
{
    struct cli_run init = CLI("init", "a");
    cr_assert_eq(init.code, 0);
    cli_run_free(&init);
    free(scratch_file("a", "identity", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", 65, 0600));
    free(
        scratch_file("a", "noise.key", "77076d0a7318a57d3c16c17251b26645c6ea7a2c4e0a0fbb04f6bfa9c9c55d2c\n", 65, 0600));
    struct cli_run run = CLI("node", "info", "a");
    struct json_object *o = json_tokener_parse(run.out);
    cr_expect_str_eq(json_object_get_string(json_object_object_get(o, "node_id")), "0xbd826a5d0a6394f5");
    cr_expect_str_eq(json_object_get_string(json_object_object_get(o, "entity_id")),
                     "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8");
    json_object_put(o);
    cli_run_free(&run);
    free(
        scratch_file("a", "noise.key", "77076d0a7318a57d3c16c17251b26645df4c2f92ebc099ac4a38a5c9e1d5b7b4\n", 65, 0600));
    cr_assert_eq(chmod("a/psk", 0644), 0);
    expect_part(CLI("node", "info", "a"), 2, "", "a/psk: found mode 0644");
    cr_assert_eq(unlink("a/psk"), 0);
    expect_part(CLI("node", "info", "a"), 1, "", "a/psk: cannot open: No such file or directory");
    free(scratch_file("a", "node.yaml", "shards: {count: many}\n", 22, 0600));
    expect_part(CLI("node", "info", "a"), 3, "", "a/node.yaml:1: shards.count: found \"many\", allowed: auto or 1..64");
}

Test(cli_args, init_arguments)
{
    expect_part(CLI("init", "a"), 0, "node_id", "");
    expect_part(CLI("init", "b", "--psk-from", "a"), 0, "node_id", "");
    expect_part(CLI("init", "c", "--psk-file", "a/psk"), 0, "node_id", "");
    expect_part(CLI("init", "d", "--psk-file", "a/psk", "--psk-from", "a"), 2, "",
                "found --psk-from and --psk-file, allowed: one of them");
    expect_part(CLI("init", "d", "--psk-from", "none"), 1, "", "none/psk: cannot open");
    expect_part(CLI("init", "d", "--listen", "127.0.0.1:0"), 2, "",
                "net-mesh: --listen: found 127.0.0.1:0, allowed: ADDRESS:PORT");
    expect_part(CLI("init", "d", "--admin", "x"), 2, "", "net-mesh: --admin: found x, allowed: ADDRESS:PORT");
    expect_part(CLI("init", "d", "--set", "no.such=1"), 2, "", "--set: found the unknown key \"no.such\"");
    cr_expect_neq(access("d", F_OK), 0);
    cr_expect_eq(system("cmp -s a/psk b/psk && cmp -s a/psk c/psk"), 0);
    cr_expect_neq(system("cmp -s a/identity b/identity"), 0);
}

Test(cli_args, endpoints)
{
    expect_part(CLI("status"), 2, "", "net-mesh: which node? give --endpoint DIR");
    expect_part(CLI("status", "--endpoint", "none"), 3, "", "none/node.yaml: cannot open");
    expect_part(CLI("status", "--endpoint", "tcp://x"), 2, "",
                "endpoint: found tcp://x, allowed: http://HOST:PORT, ADDRESS:PORT, unix:PATH");
    expect_part(CLI("status", "--endpoint", "https://127.0.0.1:1"), 2, "", "endpoint: found https://127.0.0.1:1");
    expect_part(CLI("status", "--endpoint", "http://127.0.0.1"), 2, "", "allowed: HOST:PORT");
    expect_part(CLI("status", "--endpoint", "http://127.0.0.1:1/v1"), 2, "", "endpoint: found http://127.0.0.1:1/v1");
    expect_part(CLI("status", "--endpoint", "http://127.0.0.1:1"), 2, "", "set NET_MESH_TOKEN_FILE");
    free(scratch_file(base, "token", FAKE_TOKEN "\n", 65, 0600));
    setenv("NET_MESH_TOKEN_FILE", "token", 1);
    expect_part(CLI("status", "--endpoint", "http://127.0.0.1:1"), 6, "",
                "127.0.0.1:1: cannot reach the node: Connection refused");
    /* as `node info` shows it */
    expect_part(CLI("status", "--endpoint", "127.0.0.1:1"), 6, "", "127.0.0.1:1: cannot reach the node");
    expect_part(CLI("status", "--endpoint", "[::1]:1"), 6, "", "[::1]:1: cannot reach the node");
    expect_part(CLI("status", "--endpoint", "127.0.0.1"), 3, "", "127.0.0.1/node.yaml: cannot open");
    expect_part(CLI("status", "--endpoint", "unix:none.sock"), 6, "",
                "unix:none.sock: cannot reach the node: No such file");
    setenv("NET_MESH_ENDPOINT", "unix:other.sock", 1);
    expect_part(CLI("status"), 6, "", "unix:other.sock: cannot reach the node");
    expect_part(CLI("status", "--endpoint", "unix:first.sock"), 6, "", "unix:first.sock: cannot reach the node");
    cr_assert_eq(chmod("token", 0644), 0);
    expect_part(CLI("status"), 2, "", "token: found mode 0644");
    setenv("NET_MESH_TOKEN_FILE", "none", 1);
    expect_part(CLI("status"), 1, "", "none: cannot open");
    expect_part(CLI("init", "a"), 0, "node_id", "");
    free(scratch_file("a", "node.yaml", "admin: {listen: 5}\n", 19, 0600));
    expect_part(CLI("status", "--endpoint", "a"), 3, "", "a/node.yaml:1: admin.listen: found \"5\"");
}

Test(cli_args, node_run_says_what_is_wrong)
{
    expect_part(CLI("node", "run", "none"), 3, "", "none/node.yaml: cannot open");
    expect_part(CLI("init", "a", "--listen", "127.0.0.1:4001"), 0, "node_id", "");
    expect_part(CLI("node", "run", "a", "--set", "shards.count=many"), 2, "", "--set: shards.count: found \"many\"");
    free(scratch_file("a", "peers.yaml", "peers: 4\n", 9, 0600));
    expect_part(CLI("node", "run", "a"), 3, "", "a/peers.yaml:1: peers: found \"4\", allowed: a list");
    cr_assert_eq(chmod("a/identity", 0640), 0);
    expect_part(CLI("node", "run", "a"), 2, "", "a/identity: found mode 0640");
    cr_assert_eq(unlink("a/identity"), 0);
    expect_part(CLI("node", "run", "a"), 1, "", "a/identity: cannot open");
    free(scratch_file("a", "node.yaml", "listen: 127.0.0.1:0\n", 20, 0600));
    expect_part(CLI("node", "run", "a"), 3, "", "a/node.yaml:1: listen: found \"127.0.0.1:0\"");
}

/* Nothing of a peer's is sent that its file could not hold. */
Test(cli_args, peer_add_checks_before_it_sends)
{
    setenv("NET_MESH_ENDPOINT", "unix:none.sock", 1);
    expect_part(CLI("peer", "add", "b"), 2, "", "peer add: --node-id is missing");
    expect_part(CLI("peer", "add", "b", "--node-id", "x"), 2, "", "--node-id: found x, allowed: 0x and hex digits");
    expect_part(CLI("peer", "add", "b", "--node-id", "1"), 2, "",
                "peer add: --addr is missing; only a peer with --compat v0.19 may go without");
    expect_part(CLI("peer", "add", "b", "--node-id", "1", "--addr", "127.0.0.1:1"), 2, "",
                "peer add: --public-key is missing");
    expect_part(CLI("peer", "add", "12", "--node-id", "1", "--compat", "v0.19"), 2, "", "name: found \"12\"");
    expect_part(CLI("peer", "add", "b", "--node-id", "1", "--compat", "v0.18"), 2, "",
                "--compat: found v0.18, allowed: v0.19");
    expect_part(CLI("peer", "add", "b", "--node-id", "1", "--mode", "direct"), 2, "",
                "--mode: found direct, allowed: only with");
    expect_part(CLI("peer", "add", "b", "--node-id", "1", "--addr", "h:1"), 2, "",
                "--addr: found h:1, allowed: ADDRESS:PORT");
    expect_part(CLI("peer", "add", "b", "--node-id", "1", "--public-key", "00"), 2, "",
                "--public-key: found 00, allowed: 64 hex");
}
