/* The command line: options may stand anywhere, the command is the first word or two. cli.md 2 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/suggest.h"
#include "core/base/err.h"
#include "shards/config/config.h"

const struct cli_option_info cli_options[OPTION_TOTAL] = {
    [OPTION_ENDPOINT] = {"endpoint", 0, "DIR|URL",
                         "the node: its directory, http://HOST:PORT, A:P or unix:PATH (NET_MESH_ENDPOINT)"},
    [OPTION_CONFIG] = {"config", 0, "FILE", "profiles; ~/.config/net-mesh/config.toml (NET_MESH_CONFIG)"},
    [OPTION_PROFILE] = {"profile", 0, "PROFILE", "the profile of that file to use (NET_MESH_PROFILE)"},
    [OPTION_OUTPUT] = {"output", 0, "FORMAT", "json, ndjson, yaml, table or text; the default depends on the terminal"},
    [OPTION_TIMEOUT] = {"timeout", 0, "DURATION", "how long the command may take, or a stream its first answer (30s)"},
    [OPTION_QUIET] = {"quiet", 'q', NULL, "no progress, no warnings, only errors"},
    [OPTION_VERBOSE] = {"verbose", 'v', NULL, "say more on stderr: requests; -vv: details (NET_MESH_LOG)"},
    [OPTION_NO_COLOR] = {"no-color", 0, NULL, "no colours on a terminal (NO_COLOR)"},
    [OPTION_HELP] = {"help", 'h', NULL, "show help and end"},
    [OPTION_VERSION] = {"version", 'V', NULL, "show the version and end"},
    [OPTION_LISTEN] = {"listen", 0, "A:P", "UDP address of the mesh ([::]:20037)"},
    [OPTION_ADMIN] = {"admin", 0, "A:P|unix:PATH", "address of the admin port (127.0.0.1:20038)"},
    [OPTION_PSK_FROM] = {"psk-from", 0, "DIR", "take the mesh's psk from another node's directory"},
    [OPTION_PSK_FILE] = {"psk-file", 0, "FILE", "take the mesh's psk from a file"},
    [OPTION_SET] = {"set", 0, "KEY=VALUE", "set a key of node.yaml; may be repeated"},
    [OPTION_FORCE] = {"force", 0, NULL, "rewrite node.yaml of a node that exists; never its keys or logs"},
    [OPTION_EFFECTIVE] = {"effective", 0, NULL, "what the running node has in use"},
    [OPTION_ADDR] = {"addr", 0, "A:P", "UDP address of the peer"},
    [OPTION_NODE_ID] = {"node-id", 0, "ID", "node id of the peer"},
    [OPTION_PUBLIC_KEY] = {"public-key", 0, "HEX", "public key of the peer, 64 hex digits"},
    [OPTION_INFO] = {"info", 0, "FILE", "address, node id and key as the peer's `node info` printed them; - is stdin"},
    [OPTION_COMPAT] = {"compat", 0, "v0.19", "the peer is a net-mesh v0.19 node"},
    [OPTION_MODE] = {"mode", 0, "direct|routed", "how to reach a v0.19 peer (routed)"},
    [OPTION_BINARY] = {"binary", 0, NULL, "input is u32 little-endian length and bytes, again and again"},
    [OPTION_WHOLE] = {"whole", 0, NULL, "each file, or all of stdin, is one event"},
    [OPTION_DURABLE] = {"durable", 0, NULL, "succeed only when all is synced to the node's disk"},
    [OPTION_TO] = {"to", 0, "PEER", "append to the log of this peer, name or node id, and wait until it has"},
    [OPTION_PRODUCER] = {"producer", 0, "FILE", "remember in FILE what was appended: nothing is, twice"},
    [OPTION_FROM] = {"from", 0, "PEER", "name or node id of the peer"},
    [OPTION_PEER] = {"peer", 0, "PEER", "only what belongs to this peer: a name or a node id"},
    [OPTION_ORIGIN] = {"origin", 0, "self|PEER", "whose log; may be left out while only one has such"},
    [OPTION_LOG] = {"log", 0, "followed|live|N", "of a peer's channel: what is followed, what came live, or edition N"},
    [OPTION_START] = {"start", 0, "WHERE", "earliest, latest or a sequence"},
    [OPTION_LIVE] = {"live", 0, NULL, "only what is published from now on, fire and forget"},
    [OPTION_FOLLOW] = {"follow", 'f', NULL, "go on as events come"},
    [OPTION_COUNT] = {"count", 'n', "N", "end after N events"},
    [OPTION_RAW] = {"raw", 0, NULL, "write the bytes of each event and a line feed"},
    [OPTION_INTERVAL] = {"interval", 0, "DURATION", "how often to look at the node, 100ms to 1h (1s)"},
    [OPTION_ONCE] = {"once", 0, NULL, "look for one interval, print it and end; needs no terminal"},
    [OPTION_SORT] = {"sort", 0, "COLUMN", "sort by this column, as in events_per_s or peers.rtt_us"},
    [OPTION_DURATION] = {"duration", 0, "DURATION", "how long each figure is measured (5s)"},
    [OPTION_SIZE] = {"size", 0, "N[,N]...", "bytes of an event (64,256,1024,4096)"},
    [OPTION_DIR] = {"dir", 0, "DIR", "where to store: a directory on the disk to test (TMPDIR, /var/tmp)"},
    [OPTION_QUICK] = {"quick", 0, NULL, "half a second a figure, and two sizes"},
};

enum cli_option cli_find_option(const char *name, size_t len)
{
    int i = 0;
    while (i < OPTION_TOTAL && (strlen(cli_options[i].name) != len || memcmp(cli_options[i].name, name, len) != 0))
        i++;
    return (enum cli_option)i;
}

enum cli_option cli_find_letter(char letter)
{
    int i = 0;
    while (i < OPTION_TOTAL && cli_options[i].letter != letter)
        i++;
    return (enum cli_option)i;
}

int cli_bad_value(enum cli_option option, const char *value, const char *allowed)
{
    return cli_error(CLI_USAGE, "--%s: found %.300s, allowed: %s", cli_options[option].name, value, allowed);
}

static int take_option(struct cli_args *args, enum cli_option option, const char *value)
{
    if (option == OPTION_SET)
        args->sets[args->set_count++] = value;
    if (option == OPTION_VERBOSE)
        args->level = args->level < SAY_TRACE ? args->level + 1 : SAY_TRACE;
    else if (option != OPTION_SET && args->value[option])
        return cli_error(CLI_USAGE, "--%s is given twice", cli_options[option].name);
    args->value[option] = value;
    return CLI_OK;
}

static int unknown_option(const char *name, size_t len)
{
    struct suggestion s;
    suggest_begin(&s, name, len);
    for (int i = 0; i < OPTION_TOTAL; i++)
        suggest_try(&s, cli_options[i].name);
    return s.best ? cli_error(CLI_USAGE, "unknown option --%.*s; did you mean --%s?", (int)len, name, s.best)
                  : cli_error(CLI_USAGE, "unknown option --%.*s; net-mesh --help shows what there is", (int)len, name);
}

/* --name, --name=value, --name value. *i moves to the last argument used. */
static int take_long(struct cli_args *args, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    enum cli_option option = cli_find_option(name, len);
    if (option == OPTION_TOTAL)
        return unknown_option(name, len);
    if (!cli_options[option].argument)
        return equals ? cli_error(CLI_USAGE, "--%.*s takes no value", (int)len, name) : take_option(args, option, "");
    if (equals)
        return take_option(args, option, equals + 1);
    if (*i + 1 >= argc)
        return cli_error(CLI_USAGE, "--%s needs a value: %s", name, cli_options[option].argument);
    return take_option(args, option, argv[++*i]);
}

/* -f, -qv, -n 5, -n5. */
static int take_short(struct cli_args *args, int argc, char **argv, int *i)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        enum cli_option option = cli_find_letter(*p);
        int code;
        if (option == OPTION_TOTAL)
            return cli_error(CLI_USAGE, "unknown option -%c; net-mesh --help shows what there is", *p);
        if (!cli_options[option].argument) {
            if ((code = take_option(args, option, "")) != CLI_OK)
                return code;
            continue;
        }
        if (p[1])
            return take_option(args, option, p + 1);
        if (*i + 1 >= argc)
            return cli_error(CLI_USAGE, "-%c needs a value: %s", *p, cli_options[option].argument);
        return take_option(args, option, argv[++*i]);
    }
    return CLI_OK;
}

static int split(struct cli_args *args, int argc, char **argv)
{
    bool only_words = false;
    int code = CLI_OK;
    for (int i = 1; code == CLI_OK && i < argc; i++) {
        const char *a = argv[i];
        if (only_words || a[0] != '-' || a[1] == '\0')
            args->words[args->word_count++] = a;
        else if (strcmp(a, "--") == 0)
            only_words = true;
        else
            code = a[1] == '-' ? take_long(args, argc, argv, &i) : take_short(args, argc, argv, &i);
    }
    return code;
}

/* `group` when the first word is one. */
static int unknown_command(const struct cli_args *args, bool group)
{
    struct suggestion s;
    char typed[128];
    const char *second = args->word_count > 1 ? args->words[1] : "";
    snprintf(typed, sizeof typed, "%s%s%s", args->words[0], group ? " " : "", group ? second : "");
    suggest_begin(&s, typed, strlen(typed));
    for (size_t i = 0; i < cli_command_count; i++)
        suggest_try(&s, cli_commands[i].name);
    if (!s.best && !group && *second) { /* both words of a group's command, the first mistyped */
        char both[128];
        snprintf(both, sizeof both, "%s %s", args->words[0], second);
        suggest_begin(&s, both, strlen(both));
        for (size_t i = 0; i < cli_command_count; i++)
            suggest_try(&s, cli_commands[i].name);
    }
    return s.best ? cli_error(CLI_USAGE, "unknown command %s; did you mean %s?", typed, s.best)
                  : cli_error(CLI_USAGE, "unknown command %s; net-mesh --help shows what there is", typed);
}

static int find_command(struct cli_args *args)
{
    bool group = false;
    if (args->word_count == 0)
        return cli_error(CLI_USAGE, "which command? net-mesh --help shows them");
    size_t used;
    args->command = cli_find_command(args->words, args->word_count, &used);
    if (args->command) {
        args->word_count -= used;
        memmove(args->words, args->words + used, args->word_count * sizeof *args->words);
        return CLI_OK;
    }
    for (size_t i = 0; i < cli_command_count; i++) {
        size_t len = strlen(args->words[0]);
        group |= strncmp(cli_commands[i].name, args->words[0], len) == 0 && cli_commands[i].name[len] == ' ';
    }
    if (group && args->word_count == 1)
        return cli_error(CLI_USAGE, "which command of %s? net-mesh %s --help shows them", args->words[0],
                         args->words[0]);
    return unknown_command(args, group);
}

static int check_command(const struct cli_args *args)
{
    const struct cli_command *c = args->command;
    for (int i = 0; i < OPTION_TOTAL; i++)
        if (args->value[i] && !((c->options | CLI_GLOBAL_OPTIONS) >> i & 1))
            return cli_error(CLI_USAGE, "%s takes no --%s; usage: net-mesh %s%s%s", c->name, cli_options[i].name,
                             c->name, *c->arguments ? " " : "", c->arguments);
    if (args->word_count < c->min_words || args->word_count > c->max_words)
        return cli_error(CLI_USAGE, "%s: %s; usage: net-mesh %s%s%s", c->name,
                         args->word_count < c->min_words ? "an argument is missing" : "too many arguments", c->name,
                         *c->arguments ? " " : "", c->arguments);
    return CLI_OK;
}

/* -q counts unless -v is given; NET_MESH_LOG, when it is a level, replaces both. */
static void choose_level(struct cli_args *args)
{
    static const char *const levels[] = {"error", "warn", "info", "debug", "trace"};
    const char *log = getenv("NET_MESH_LOG");
    if (cli_has(args, OPTION_QUIET) && !cli_has(args, OPTION_VERBOSE))
        args->level = SAY_ERROR;
    for (unsigned i = 0; log && i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(log, levels[i]) == 0) {
            args->level = (enum cli_level)i;
            args->level_from_log = true;
        }
}

static int read_globals(struct cli_args *args)
{
    static const char *const formats[] = {"json", "ndjson", "yaml", "table", "text"};
    const char *output = args->value[OPTION_OUTPUT], *timeout = args->value[OPTION_TIMEOUT];
    args->output = OUTPUT_DEFAULT;
    args->timeout_ns = CLI_TIMEOUT_DEFAULT_NS;
    choose_level(args);
    for (unsigned i = 0; output && i < sizeof formats / sizeof formats[0]; i++)
        if (strcmp(output, formats[i]) == 0)
            args->output = (enum output_format)i;
    if (output && args->output == OUTPUT_DEFAULT)
        return cli_bad_value(OPTION_OUTPUT, output, "json, ndjson, yaml, table or text");
    if (timeout && (config_parse_duration(timeout, &args->timeout_ns) != NET_OK || args->timeout_ns == 0))
        return cli_bad_value(OPTION_TIMEOUT, timeout, "a duration as in 500ms, 30s or 1h30m");
    return CLI_OK;
}

/* -h and -V are commands of their own, whatever else the line says. */
static const struct cli_command *instead(const struct cli_args *args)
{
    static const struct cli_command help = {.name = "help", .run = command_help};
    static const struct cli_command version = {.name = "version", .run = command_version};
    return cli_has(args, OPTION_HELP) ? &help : cli_has(args, OPTION_VERSION) ? &version : NULL;
}

int cli_parse(struct cli_args *args, int argc, char **argv)
{
    args->level = SAY_WARN;
    int code = split(args, argc, argv);
    if (code == CLI_OK)
        code = read_globals(args);
    if (code != CLI_OK || (args->command = instead(args)) != NULL)
        return code;
    code = find_command(args);
    if (code == CLI_OK)
        code = check_command(args);
    return code == CLI_OK && !(args->command->options & CLI_LOCAL) ? profile_load(args) : code;
}
