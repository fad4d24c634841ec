/* Colours: on terminals only, and not when somebody objects. cli.md 2 (--no-color), gap G1, checklist 15.33;
 * no-color.org */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cli_fixture.h"

#define PEERS                                                                                                          \
    "[{\"name\":\"a\",\"state\":\"connected\"},{\"name\":\"b\",\"state\":\"connecting\"},"                             \
    "{\"name\":\"c\",\"state\":\"down\"}]"

static const char plain[] = "NAME  STATE\na     connected\nb     connecting\nc     down\n";
static const char colored[] =
    "\033[1mNAME  STATE\033[0m\na     \033[32mconnected\033[0m\nb     \033[33mconnecting\033[0m\n"
    "c     \033[31mdown\033[0m\n";

static void set_up(void)
{
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
}

TestSuite(cli_colors, .init = set_up);

/* What `peer ls` prints on a terminal, with this option. */
static void expect_on_terminal(const char *option, const char *expected)
{
    struct fake_node node;
    fake_node_start(&node, &(struct fake_script){.status = "200 OK", .body = PEERS});
    char *out =
        cli_on_terminal(NET_MESH_PROGRAM, (const char *const[]){"peer", "ls", "--endpoint", node.dir, option, NULL});
    cr_expect_str_eq(out, expected);
    free(out);
    fake_node_join(&node);
    fake_node_end(&node);
}

Test(cli_colors, on_a_terminal)
{
    expect_on_terminal("--quiet", colored);
    setenv("NO_COLOR", "", 1); /* empty is not set */
    expect_on_terminal("--quiet", colored);
}

Test(cli_colors, when_somebody_objects)
{
    expect_on_terminal("--no-color", plain);
    setenv("NO_COLOR", "1", 1);
    expect_on_terminal("--quiet", plain);
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    expect_on_terminal("--quiet", plain);
    setenv("TERM", "", 1);
    expect_on_terminal("--quiet", plain);
}

Test(cli_colors, elsewhere)
{
    struct fake_node node;
    fake_node_start(&node, &(struct fake_script){.status = "200 OK", .body = PEERS});
    struct cli_run run = CLI("peer", "ls", "--endpoint", node.dir, "--output", "table");
    cr_expect_str_eq(run.out, plain);
    cli_run_free(&run);
    fake_node_join(&node);
    fake_node_end(&node);
}

/* What would wrap on the terminal is shown as a block for each row, where every value is beside its name. */
Test(cli_colors, a_table_wider_than_the_terminal)
{
    static const char table[] = "NAME  STATE\na     connected\nb     connecting\nc     down\n";
    static const char blocks[] = "name   a\nstate  connected\n\nname   b\nstate  connecting\n\nname   c\nstate  down\n";
    setenv("PROGRAM", NET_MESH_PROGRAM, 1);
    setenv("NO_COLOR", "1", 1);
    for (int columns = 15; columns <= 16; columns++) { /* the table has 16 */
        struct fake_node node;
        char line[256];
        fake_node_start(&node, &(struct fake_script){.status = "200 OK", .body = PEERS});
        snprintf(line, sizeof line, "stty cols %d <&1; \"$PROGRAM\" peer ls --endpoint %s", columns, node.dir);
        char *out = cli_on_terminal("/bin/sh", (const char *const[]){"-c", line, NULL});
        cr_expect_str_eq(out, columns == 15 ? blocks : table);
        free(out);
        fake_node_join(&node);
        fake_node_end(&node);
    }
}

/* Text of a node cannot pass for a colour of ours. */
Test(cli_colors, colors_of_others_do_not_reach_the_terminal)
{
    struct fake_node node;
    fake_node_start(&node,
                    &(struct fake_script){.status = "200 OK", .body = "{\"\\u001b[31mkey\":\"\\u001b[31mtext\"}"});
    char *out = cli_on_terminal(NET_MESH_PROGRAM, (const char *const[]){"status", "--endpoint", node.dir, NULL});
    cr_expect_str_eq(out, "?[31mkey  ?[31mtext\n");
    free(out);
    fake_node_join(&node);
    fake_node_end(&node);
}

/* `command` in a shell whose stdout and stderr are one terminal, $PROGRAM being the program. */
static void expect_errors(const char *command, const char *expected)
{
    setenv("PROGRAM", NET_MESH_PROGRAM, 1);
    char line[256];
    snprintf(line, sizeof line, "{ %s; } 2>&1; true", command);
    char *out = cli_on_terminal("/bin/sh", (const char *const[]){"-c", line, NULL});
    cr_expect_str_eq(out, expected);
    free(out);
}

Test(cli_colors, of_errors)
{
    expect_errors("\"$PROGRAM\" bogus",
                  "\033[31mnet-mesh:\033[0m unknown command bogus; net-mesh --help shows what there is\n");
    expect_errors("\"$PROGRAM\" bogus --no-color",
                  "net-mesh: unknown command bogus; net-mesh --help shows what there is\n");
    expect_errors("\"$PROGRAM\" bogus 2>&1 | cat",
                  "net-mesh: unknown command bogus; net-mesh --help shows what there is\n");
}
