/* Profiles and what beats them. cli.md 2, 5; checklist 15.21-23; gaps G1, G2, G7, G12 */
#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/cli_fixture.h"

static char base[64];

static void set_up(void)
{
    static const char *const variables[] = {"NET_MESH_ENDPOINT", "NET_MESH_TOKEN_FILE", "NET_MESH_PROFILE",
                                            "NET_MESH_LOG", "XDG_CONFIG_HOME"};
    scratch_make(base);
    cr_assert_eq(chdir(base), 0);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    setenv("NET_MESH_CONFIG", "config.toml", 1);
    setenv("HOME", base, 1);
}

static void tear_down(void)
{
    scratch_remove(base);
}

TestSuite(cli_profiles, .init = set_up, .fini = tear_down);

static void write_config(const char *text)
{
    free(scratch_file(base, "config.toml", text, strlen(text), 0600));
}

static void expect(struct cli_run run, int code, const char *in_err)
{
    cr_expect_eq(run.code, code, "exit %d, stderr: %s", run.code, run.err);
    cr_expect(strstr(run.err, in_err), "%s is not in: %s", in_err, run.err);
    cli_run_free(&run);
}

/* Every one names another socket, where nobody listens: the message tells whose word counted. */
Test(cli_profiles, option_beats_environment_beats_profile)
{
    free(scratch_file(base, "token", FAKE_TOKEN "\n", 65, 0600));
    write_config("[default]\nendpoint = \"unix:default\"\ntoken_file = \"~/token\"\n"
                 "[profiles.edge7]\nendpoint = \"unix:edge7\"\ntoken_file = \"token\"\n"
                 "[profiles.\"edge 8\"]\nendpoint = \"unix:~/edge8\"\ntoken_file = \"token\"\n");
    expect(CLI("status"), 6, "unix:default: cannot reach");
    expect(CLI("status", "--profile", "default"), 6, "unix:default: cannot reach");
    expect(CLI("status", "--profile", "edge7"), 6, "unix:edge7: cannot reach");
    setenv("NET_MESH_PROFILE", "edge 8", 1);
    char home[128];
    snprintf(home, sizeof home, "unix:%s/edge8: cannot reach", base);
    expect(CLI("status"), 6, home);
    expect(CLI("--profile=edge7", "status"), 6, "unix:edge7: cannot reach");
    setenv("NET_MESH_TOKEN_FILE", "token", 1);
    setenv("NET_MESH_ENDPOINT", "unix:environment", 1);
    expect(CLI("status"), 6, "unix:environment: cannot reach");
    expect(CLI("status", "--endpoint", "unix:option"), 6, "unix:option: cannot reach");
}

/* A token is shown to the node it was meant for, and to no other. */
Test(cli_profiles, a_token_stays_with_its_endpoint)
{
    free(scratch_file(base, "token", FAKE_TOKEN "\n", 65, 0600));
    write_config(
        "[default]\nendpoint = \"unix:mine\"\ntoken_file = \"token\"\n[profiles.any]\ntoken_file = \"token\"\n");
    expect(CLI("status"), 6, "unix:mine: cannot reach");
    expect(CLI("status", "--endpoint", "unix:other"), 2, "needs a token");
    expect(CLI("status", "--endpoint", "unix:other", "--profile", "any"), 6, "unix:other: cannot reach");
    setenv("NET_MESH_TOKEN_FILE", "none", 1); /* the environment beats the profile */
    expect(CLI("status"), 1, "none: cannot open");
}

/* 15.23: a file that is not there is none; a profile that is not there is a mistake (G7), and the message lists what
 * is. */
Test(cli_profiles, what_is_missing)
{
    expect(CLI("status"), 2, "which node?");
    expect(CLI("status", "--config", "none.toml"), 2, "which node?");
    expect(CLI("status", "--config", "none.toml", "--profile", "x"), 2,
           "--profile: found x, but there is no file none.toml");
    write_config("[profiles.edge7]\n[profiles.core]\nendpoint = \"c\"\n");
    expect(CLI("status"), 2, "which node?");
    expect(CLI("status", "--profile", "edge"), 2,
           "--profile: found edge, allowed: default, edge7, core (of config.toml)\n");
    setenv("NET_MESH_PROFILE", "edge", 1);
    expect(CLI("status"), 2, "--profile: found edge, allowed: default, edge7, core");
    expect(CLI("version"), 0, "");
}

/* 15.22: exit 3, with file and line; commands that ask no node do not read the file. */
Test(cli_profiles, a_broken_file)
{
    static const struct {
        const char *text, *error;
    } wrong[] = {
        {"[default\n", "config.toml:1: found no ] behind the name of a table"},
        {"\n[default]\nendpoint = 5\n", "config.toml:3: endpoint: allowed: text in quotes"},
        {"[default]\ndefault_timeout_ms = \"5s\"\n", "config.toml:2: default_timeout_ms: allowed: an integer"},
        {"[default]\ndefault_timeout_ms = 0\n", "config.toml:2: default_timeout_ms: found 0, allowed: milliseconds"},
        {"[default]\nice_signature_threshold = true\n", "config.toml:2: ice_signature_threshold: allowed: an integer"},
        {"[default]\nendpoint = \"~other/a\"\n", "config.toml:2: endpoint: found ~other/a, allowed: ~ or ~/PATH"},
        {"profiles = 1\n", "config.toml:1: profiles: allowed: a table"},
        {"[profiles]\nedge = \"a\"\n", "config.toml:2: edge: allowed: a table"},
        {"[default.endpoint]\n", "config.toml:1: endpoint: allowed: text in quotes"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        write_config(wrong[i].text);
        expect(CLI("status"), 3, wrong[i].error);
        expect(CLI("version"), 0, "");
    }
    expect(CLI("status", "--config", "."), 3, ".: cannot read: Is a directory");
    expect(CLI("status", "--config", "/dev/null"), 3, "/dev/null: cannot read");
    if (geteuid() != 0) {
        cr_assert_eq(chmod("config.toml", 0), 0);
        expect(CLI("status"), 3, "config.toml: cannot read: Permission denied");
    }
}

/* cli.md 5: unknown keys are ignored, but a slip of the pen should be seen. */
Test(cli_profiles, unknown_keys_are_said)
{
    write_config(
        "[default]\nendpont = \"a\"\nidentity = \"~/id\"\nnetdb = \"/n\"\nice_signature_threshold = 2\n[other]\n");
    expect(CLI("status"), 2,
           "net-mesh: config.toml:2: there is no key endpont; it is ignored\n"
           "net-mesh: config.toml:6: other is neither [default] nor [profiles.NAME]; it is ignored\n"
           "net-mesh: which node?");
    struct cli_run run = CLI("status", "-q");
    cr_expect_null(strstr(run.err, "endpont"), "%s", run.err);
    cli_run_free(&run);
}

/* 15.21 */
Test(cli_profiles, endpoints_of_other_kinds)
{
    write_config("[default]\nendpoint = \"in-process\"\n[profiles.x]\nendpoint = \"tcp://x\"\n");
    expect(CLI("status"), 2, "which node?");
    expect(CLI("status", "--profile", "x"), 2, "endpoint: found tcp://x, allowed: http://HOST:PORT");
}

static void default_place(const char *variable, const char *dir)
{
    char path[128], text[64];
    unsetenv("NET_MESH_CONFIG");
    snprintf(path, sizeof path, "mkdir -p %s/net-mesh", dir);
    cr_assert_eq(system(path), 0);
    int n = snprintf(text, sizeof text, "[default]\nendpoint = \"unix:%s\"\n", variable);
    snprintf(path, sizeof path, "%s/net-mesh", dir);
    free(scratch_file(path, "config.toml", text, (size_t)n, 0600));
    free(scratch_file(base, "token", FAKE_TOKEN "\n", 65, 0600));
    setenv("NET_MESH_TOKEN_FILE", "token", 1);
    snprintf(text, sizeof text, "unix:%s: cannot reach", variable);
    expect(CLI("status"), 6, text);
}

Test(cli_profiles, the_users_file)
{
    char xdg[128];
    default_place("home", ".config");
    setenv("XDG_CONFIG_HOME", "relative", 1); /* counts only when absolute */
    expect(CLI("status"), 6, "unix:home: cannot reach");
    snprintf(xdg, sizeof xdg, "%s/xdg", base);
    setenv("XDG_CONFIG_HOME", xdg, 1);
    default_place("xdg", xdg);
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("HOME");
    expect(CLI("status"), 2, "which node?");
    expect(CLI("status", "--profile", "x"), 2, "neither XDG_CONFIG_HOME nor HOME says where");
    expect(CLI("status", "--config", "~/x"), 2, "--config: found ~/x, but HOME is not set");
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* G2: default_timeout_ms and --timeout, against a node that never answers; 15.30. */
Test(cli_profiles, timeouts_have_an_effect)
{
    struct fake_node node;
    char text[128];
    for (int option = 0; option < 2; option++) {
        fake_node_start(&node, &(struct fake_script){.hold_ms = 1000});
        int n = snprintf(text, sizeof text, "[default]\nendpoint = \"%s\"\ndefault_timeout_ms = %d\n", node.dir,
                         option ? 60000 : 150);
        free(scratch_file(base, "config.toml", text, (size_t)n, 0600));
        double start = seconds();
        expect(option ? CLI("status", "--timeout", "150ms") : CLI("status"), 7, "no answer within --timeout (0.15 s)");
        cr_expect(seconds() - start >= 0.15 && seconds() - start < 10);
        fake_node_join(&node);
        fake_node_end(&node);
    }
}

/* What -v, -vv and NET_MESH_LOG have the program say. */
Test(cli_profiles, verbosity)
{
    static const struct {
        const char *option, *log, *said, *not_said;
    } cases[] = {
        {"--no-color", NULL, "", "GET /v1/node"},
        {"-v", NULL, "GET /v1/node at unix:", "connecting to"},
        {"-v", NULL, "status 200 after ", "{\"pid\":1}"},
        {"-vv", NULL, "connecting to localhost, for at most 30 s", "{\"pid\":1}"},
        {"-vvv", NULL, "9 bytes: {\"pid\":1}", "warning"},
        {"-q", "info", "status 200", "connecting"},
        {"-vv", "error", "", "GET"},
        {"-v", "net=debug", "status 200", "connecting"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_node node;
        fake_node_start(&node, &(struct fake_script){.status = "200 OK", .body = "{\"pid\":1}"});
        setenv("NET_MESH_LOG", cases[i].log ? cases[i].log : "", 1);
        struct cli_run run = CLI("status", "--endpoint", node.dir, cases[i].option);
        cr_expect_eq(run.code, 0);
        cr_expect(strstr(run.err, cases[i].said), "%s: %s", cases[i].option, run.err);
        cr_expect_null(strstr(run.err, cases[i].not_said), "%s: %s", cases[i].option, run.err);
        cr_expect_null(strstr(run.err, FAKE_TOKEN));
        cli_run_free(&run);
        fake_node_join(&node);
        fake_node_end(&node);
    }
}
