/* man: manual pages from the tables of commands, options and configuration keys. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/roff.h"
#include "shards/config/config.h"

/* When the text of the pages last changed; a page is the same wherever it is built. */
static const char date[] = "2026-11-25";

static const char about[] = "net-mesh makes the directory of a node, runs a node, and asks a running node for "
                            "everything else over its admin port.\n"
                            "A node publishes events on named channels, keeps them in logs, and sends them, encrypted, "
                            "to the nodes that subscribed.\n";

static const char output[] = "Data goes to stdout, everything else to stderr. On a terminal the default is table, or "
                             "text for the rows of a stream;\n"
                             "elsewhere it is json, or ndjson for a stream.\n";

static const struct cli_note formats[] = {
    {"json", "indented JSON; a compact line for each row of a stream"},
    {"ndjson", "compact JSON on one line"},
    {"yaml", "a YAML document; those of a stream begin with ---"},
    {"table", "for people: under a header the columns that matter most, coloured on a terminal"},
    {"text", "for cut and awk: all columns, separated by tabs, without a header"},
    {NULL, NULL},
};

static const char words[] = "A duration is a number of seconds, or numbers with units one after the other: ns, us, ms, "
                            "s, m, h, d, as in 500ms or\n"
                            "1h 30m. An ID is 0x and hex digits, or decimal digits.\n";

static const char endpoints[] = "The node that a command asks is named by --endpoint, else by NET_MESH_ENDPOINT, else "
                                "by the profile. It is a node's\n"
                                "directory, which gives address and token; or http://HOST:PORT, ADDRESS:PORT or "
                                "unix:PATH, for which NET_MESH_TOKEN_FILE or\n"
                                "the profile names a file with the token, of mode 0600.\n";

static const char profiles[] = "[default]\n"
                               "endpoint = \"~/alice\"\n"
                               "\n"
                               "[profiles.edge7]\n"
                               "endpoint = \"http://10.0.0.7:20038\"\n"
                               "token_file = \"~/edge7.token\"\n"
                               "default_timeout_ms = 5000\n";

static void put_title(const char *name, int section)
{
    printf(".TH %s %d %s \"net\\-mesh " NM_VERSION "\"\n.SH NAME\n", name, section, date);
}

static void put_entry(const char *name, const char *text)
{
    fputs(".TP\n.B ", stdout);
    roff_put(name);
    putchar('\n');
    roff_text(text);
}

static void put_notes(const struct cli_note *notes)
{
    for (; notes->name; notes++)
        put_entry(notes->name, notes->text);
}

static void put_options(uint64_t which)
{
    for (int i = 0; i < OPTION_TOTAL; i++) {
        const struct cli_option_info *o = &cli_options[i];
        if (!(which >> i & 1))
            continue;
        fputs(".TP\n", stdout);
        if (o->letter)
            printf("\\fB\\-%c\\fR, ", o->letter);
        fputs("\\fB\\-\\-", stdout);
        roff_put(o->name);
        fputs("\\fR", stdout);
        if (o->argument) {
            fputs(" \\fI", stdout);
            roff_put(o->argument);
            fputs("\\fR", stdout);
        }
        putchar('\n');
        roff_text(o->help);
    }
}

static void put_usage(const struct cli_command *c)
{
    fputs(".B net\\-mesh ", stdout);
    roff_put(c->name);
    fputs("\n", stdout);
    if (*c->arguments)
        roff_text(c->arguments);
}

static void put_rest(void)
{
    puts(".SH GLOBAL OPTIONS\nBefore or after the command.");
    put_options(CLI_GLOBAL_OPTIONS);
    puts(".SH EXIT STATUS");
    put_notes(cli_exit_codes);
    puts(".SH ENVIRONMENT\nAn option beats the environment, which beats the profile.");
    put_notes(cli_environment);
}

static void put_command_page(const struct cli_command *c)
{
    char title[64];
    snprintf(title, sizeof title, "net-mesh-%s", c->name);
    for (char *p = title; *p; p++)
        *p = *p == ' ' ? '-' : (char)toupper((unsigned char)*p);
    put_title(title, 1);
    for (char *p = title; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    roff_put(title);
    fputs(" \\- ", stdout);
    roff_text(c->summary);
    puts(".SH SYNOPSIS");
    put_usage(c);
    puts(".SH DESCRIPTION");
    roff_text(*c->about ? c->about : c->summary);
    if (c->options & ~CLI_LOCAL) {
        puts(".SH OPTIONS");
        put_options(c->options & ~CLI_LOCAL);
    }
    put_rest();
    puts(".SH EXAMPLES");
    roff_lines(c->examples);
    puts(".SH SEE ALSO\n.BR net\\-mesh (1)");
}

static void put_all_commands(void)
{
    puts(".SH COMMANDS");
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        fputs(".SS ", stdout);
        roff_put(c->name);
        putchar('\n');
        put_usage(c);
        puts(".PP");
        roff_text(c->summary);
        if (*c->about) {
            puts(".PP");
            roff_text(c->about);
        }
        put_options(c->options & ~CLI_LOCAL);
        puts(".PP\nExamples:\n.RS 4");
        roff_lines(c->examples);
        puts(".RE");
    }
}

static void put_main_page(void)
{
    put_title("NET\\-MESH", 1);
    puts("net\\-mesh \\- a latency\\-first encrypted mesh\n.SH SYNOPSIS\n.B net\\-mesh\n[global options] command "
         "[arguments]");
    puts(".SH DESCRIPTION");
    roff_text(about);
    puts(".SH ENDPOINTS");
    roff_text(endpoints);
    put_all_commands();
    puts(".SH OUTPUT");
    roff_text(output);
    put_notes(formats);
    puts(".PP");
    roff_text(words);
    put_rest();
    puts(".SH FILES\n.TP\n.I \\(ti/.config/net\\-mesh/config.toml");
    roff_text(
        "Profiles, in TOML; below XDG_CONFIG_HOME when that is set. --profile takes one of them, [default] is for when "
        "nothing does.\n");
    puts(".IP");
    roff_lines(profiles);
    put_entry("DIR/node.yaml", "The configuration of a node.\n");
    puts(".SH SEE ALSO\n.BR net\\-mesh.yaml (5)");
}

static void put_key(const struct config_doc *doc)
{
    fputs(".TP\n.B ", stdout);
    roff_put(doc->name);
    putchar('\n');
    roff_text(doc->text);
    char line[512];
    snprintf(line, sizeof line, "Default: %s. Allowed: %s.%s\n", *doc->initial ? doc->initial : "empty", doc->allowed,
             doc->of_channels ? " Also for a prefix." : "");
    puts(".br");
    roff_text(line);
}

static void put_config_page(void)
{
    struct config_doc doc;
    put_title("NET\\-MESH.YAML", 5);
    puts("net\\-mesh.yaml, node.yaml \\- configuration of a net\\-mesh node\n.SH DESCRIPTION");
    roff_text("The file node.yaml in the directory of a node, in YAML; net-mesh init makes it, with every key and its "
              "default.\n"
              "The part of a key before its dot is a section: shards.count is count in the mapping shards. --set "
              "KEY=VALUE, of\n"
              "init and node run, takes the names given here. A mistake is refused with file, line, key, what was "
              "found and what\n"
              "is allowed.\n");
    puts(".SH KEYS");
    for (size_t i = 0; config_describe(i, &doc); i++)
        put_key(&doc);
    puts(".SH SEE ALSO\n.BR net\\-mesh (1)");
}

int command_man(const struct cli_args *args)
{
    size_t used;
    const struct cli_command *c = cli_find_command(args->words, args->word_count, &used);
    if (args->word_count == 0)
        put_main_page();
    else if (c && used == args->word_count)
        put_command_page(c);
    else if (args->word_count == 1 && strcmp(args->words[0], "node.yaml") == 0)
        put_config_page();
    else
        return cli_error(CLI_USAGE, "man: found %.100s, allowed: a command, or node.yaml",
                         args->words[args->word_count - 1]);
    return output_flush();
}
