/* Help at each level, from the tables of commands and options. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"

const struct cli_note cli_exit_codes[] = {
    {"0", "done; also a stream ended by Ctrl-C"},
    {"1", "it failed: a file, what the node refused, a closed stdout"},
    {"2", "the command line, an argument the node finds invalid, or a secret that others may read"},
    {"3", "node.yaml, peers.yaml or the file of profiles is wrong"},
    {"6", "the node or a peer is not reachable, went away, or refused the token"},
    {"7", "--timeout elapsed"},
    {NULL, NULL},
};

const struct cli_note cli_environment[] = {
    {"NET_MESH_ENDPOINT", "the node, as --endpoint"},
    {"NET_MESH_TOKEN_FILE", "the token for an endpoint that is not a directory"},
    {"NET_MESH_CONFIG", "the file of profiles, as --config"},
    {"NET_MESH_PROFILE", "the profile, as --profile"},
    {"NET_MESH_LOG", "error, warn, info, debug or trace: replaces -q and -v"},
    {"NO_COLOR", "not empty: as --no-color"},
    {NULL, NULL},
};

static void print_notes(const char *title, const struct cli_note *notes, int width)
{
    printf("\n%s:\n", title);
    for (; notes->name; notes++)
        printf("  %-*s %s\n", width, notes->name, notes->text);
}

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
    print_options(CLI_GLOBAL_OPTIONS);
}

/* Only their names: net-mesh --help says what they do. */
static void name_globals(const struct cli_command *c)
{
    printf("\nGlobal options, as net-mesh --help describes them:\n ");
    for (int i = c->options & CLI_LOCAL ? OPTION_OUTPUT : 0; CLI_GLOBAL_OPTIONS >> i & 1; i++)
        printf(" --%s%s%s", cli_options[i].name, cli_options[i].argument ? " " : "",
               cli_options[i].argument ? cli_options[i].argument : "");
    putchar('\n');
}

/* Ways to use a command stand below each other. */
static void print_usage(const struct cli_command *c)
{
    const char *way = c->arguments, *bar;
    printf("Usage: net-mesh %s%s", c->name, *way ? " " : "");
    for (; (bar = strstr(way, " | ")) != NULL; way = bar + 3)
        printf("%.*s\n       net-mesh %s ", (int)(bar - way), way, c->name);
    printf("%s\n", way);
}

void help_command(const struct cli_command *c)
{
    printf("net-mesh %s: %s\n\n", c->name, c->summary);
    print_usage(c);
    if (*c->about)
        printf("\n%s", c->about);
    if (c->options & ~CLI_LOCAL) {
        printf("\nOptions:\n");
        print_options(c->options);
    }
    name_globals(c);
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
        printf("  %-15s  %s\n", c->name, c->summary);
        any = true;
    }
    return any;
}

static void print_rest(void)
{
    print_globals();
    printf(
        "\nAn option beats the environment, which beats the profile. A node's directory gives its address and token; "
        "any other\nendpoint needs a token file.\n");
    print_notes("Environment", cli_environment, 19);
    print_notes("Exit codes", cli_exit_codes, 1);
    printf("\nExamples:\n"
           "  net-mesh init a && net-mesh node run a\n"
           "  net-mesh --endpoint a publish logs/app app.log\n"
           "  net-mesh help publish\n");
}

int help_words(const char *const *words, size_t count)
{
    size_t used;
    const struct cli_command *command = cli_find_command(words, count, &used);
    if (command) {
        help_command(command);
        return CLI_OK;
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
