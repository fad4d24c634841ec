/* Help at each level, from the tables of commands and options. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"

static void print_options(uint64_t which)
{
    for (int i = 0; i < OPTION_TOTAL; i++) {
        const struct cli_option_info *o = &cli_options[i];
        char left[64], letter[5] = "";
        if (!(which >> i & 1))
            continue;
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%4s--%s%s%s", letter, o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        printf("  %-28s %s\n", left, o->help);
    }
}

static void print_globals(void)
{
    printf("\nGlobal options, before or after the command:\n");
    print_options((UINT64_C(1) << OPTION_LISTEN) - 1);
}

void help_command(const struct cli_command *c)
{
    printf("net-mesh %s: %s\n\nUsage: net-mesh %s%s%s\n", c->name, c->summary, c->name, *c->arguments ? " " : "",
           c->arguments);
    if (*c->about)
        printf("\n%s", c->about);
    if (c->options) {
        printf("\nOptions:\n");
        print_options(c->options);
    }
    print_globals();
    printf("\nExamples:\n%s", c->examples);
}

/* The commands of a group ("peer"), or all of them for "". False: there are none. */
static bool list_commands(const char *group)
{
    size_t len = strlen(group);
    bool any = false;
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        if (len && (strncmp(c->name, group, len) != 0 || c->name[len] != ' '))
            continue;
        if (!any)
            printf("Usage: net-mesh [GLOBAL OPTIONS] %s%sCOMMAND\n\nCommands:\n", group, len ? " " : "");
        printf("  %-14s %s\n", c->name, c->summary);
        any = true;
    }
    return any;
}

static void print_rest(void)
{
    print_globals();
    printf("\nA node's directory gives its address and token. For a URL the token comes from the file "
           "NET_MESH_TOKEN_FILE names.\n"
           "Exit codes: 0 success, 1 failure, 2 arguments, 3 configuration, 6 node unreachable or token refused, 7 "
           "timeout.\n"
           "\nExamples:\n"
           "  net-mesh init a && net-mesh node run a\n"
           "  net-mesh --endpoint a publish logs/app app.log\n"
           "  net-mesh help publish\n");
}

int help_words(const char *const *words, size_t count)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        const char *name = cli_commands[i].name, *space = strchr(name, ' ');
        size_t first = space ? (size_t)(space - name) : strlen(name);
        bool same = count >= 1 && strlen(words[0]) == first && memcmp(words[0], name, first) == 0;
        if (same && (!space || (count >= 2 && strcmp(words[1], space + 1) == 0))) {
            help_command(&cli_commands[i]);
            return CLI_OK;
        }
    }
    if (count == 0)
        printf("net-mesh: a latency-first encrypted mesh\n\n");
    if (count <= 1 && list_commands(count ? words[0] : "")) {
        print_rest();
        return CLI_OK;
    }
    return cli_error(CLI_USAGE, "unknown command %s%s%s; net-mesh --help shows what there is", words[0],
                     count > 1 ? " " : "", count > 1 ? words[1] : "");
}

int command_help(const struct cli_args *args)
{
    int code = help_words(args->words, args->word_count);
    return code == CLI_OK ? output_flush() : code;
}
