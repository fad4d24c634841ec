/* The face every part of the program shares: exit codes, error lines, and what a command line said. cli.md 2-4 */
#ifndef NM_CLI_CLI_H
#define NM_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/profile.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILURE = 1, /* files, what the node refused, a closed stdout */
    CLI_USAGE = 2,   /* the command line, arguments the node finds invalid, permissive or malformed secrets */
    CLI_CONFIG = 3,  /* node.yaml or peers.yaml */
    CLI_UNREACHABLE = 6,
    CLI_TIMEOUT = 7,
};

enum cli_option {
    OPTION_ENDPOINT, /* global */
    OPTION_CONFIG,
    OPTION_PROFILE,
    OPTION_OUTPUT,
    OPTION_TIMEOUT,
    OPTION_QUIET,
    OPTION_VERBOSE,
    OPTION_NO_COLOR,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_LISTEN, /* of some commands */
    OPTION_ADMIN,
    OPTION_PSK_FROM,
    OPTION_PSK_FILE,
    OPTION_SET,
    OPTION_FORCE,
    OPTION_EFFECTIVE,
    OPTION_ADDR,
    OPTION_NODE_ID,
    OPTION_PUBLIC_KEY,
    OPTION_INFO,
    OPTION_COMPAT,
    OPTION_MODE,
    OPTION_BINARY,
    OPTION_WHOLE,
    OPTION_DURABLE,
    OPTION_TO,
    OPTION_PRODUCER,
    OPTION_FROM,
    OPTION_PEER,
    OPTION_ORIGIN,
    OPTION_LOG,
    OPTION_START,
    OPTION_LIVE,
    OPTION_FOLLOW,
    OPTION_COUNT,
    OPTION_RAW,
    OPTION_INTERVAL,
    OPTION_ONCE,
    OPTION_SORT,
    OPTION_DURATION,
    OPTION_SIZE,
    OPTION_DIR,
    OPTION_QUICK,
    OPTION_TOTAL,
};

_Static_assert(OPTION_TOTAL < 63, "options are bits of 64, and CLI_LOCAL is one of them");

enum output_format { OUTPUT_JSON, OUTPUT_NDJSON, OUTPUT_YAML, OUTPUT_TABLE, OUTPUT_TEXT, OUTPUT_DEFAULT };

/* How much is said on stderr: -q, nothing, -v, -vv, -vvv, or NET_MESH_LOG. */
enum cli_level { SAY_ERROR, SAY_WARN, SAY_INFO, SAY_DEBUG, SAY_TRACE };

struct cli_command;

struct cli_args {
    const struct cli_command *command;
    const char *value[OPTION_TOTAL]; /* NULL: not given; flags: "" */
    const char **sets;               /* --set, in order */
    size_t set_count;
    const char **words; /* what follows the command's name */
    size_t word_count;
    enum cli_level level;
    bool level_from_log; /* NET_MESH_LOG said it */
    enum output_format output;
    uint64_t timeout_ns;
    struct profile profile; /* all empty for a command that is CLI_LOCAL */
};

/* One of the bits of cli_command.options: asks no running node, and reads no profile. */
#define CLI_LOCAL (UINT64_C(1) << 63)

struct cli_command {
    const char *name;      /* "version", "peer add" */
    const char *arguments; /* for the usage line */
    unsigned min_words, max_words;
    uint64_t options; /* bits of enum cli_option, besides the global ones; CLI_LOCAL */
    int (*run)(const struct cli_args *);
    const char *summary;  /* one line */
    const char *about;    /* more, or "" */
    const char *examples; /* lines */
};

static inline bool cli_has(const struct cli_args *args, enum cli_option option)
{
    return args->value[option] != NULL;
}

/* ---- terminal.c ---- */

/* Prints "net-mesh: MESSAGE" as one line on stderr (control characters become blanks) and returns `code`. */
int cli_error(enum cli_exit code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for what is no error, when the command line wants to hear it. */
void cli_say(const struct cli_args *, enum cli_level, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* `text` for one line of a terminal: control characters become '?'. */
void cli_plain(FILE *, const char *text, size_t len);
/* Columns that `text` (UTF-8) takes on a terminal. */
int cli_width(const char *text, size_t len);

/* Columns of the terminal `fd`; 0: it is none, or does not say. */
int cli_terminal_width(int fd);

enum cli_style { STYLE_NONE, STYLE_GOOD, STYLE_WARNING, STYLE_BAD, STYLE_HEADING };
/* Whether what goes to descriptor `fd` is coloured: a terminal that has colours, and no NO_COLOR. --no-color sets
 * NO_COLOR. */
bool cli_colored(int fd);
/* What switches a style on; STYLE_NONE: what switches any off. */
const char *cli_style_code(enum cli_style);

/* ---- commands.c ---- */
extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;
/* The command whose name the first of `count` words are, *used of them; NULL: none. */
const struct cli_command *cli_find_command(const char *const *words, size_t count, size_t *used);

/* ---- options.c ---- */

struct cli_option_info {
    const char *name;     /* without its two dashes */
    char letter;          /* 0: none */
    const char *argument; /* NULL: a flag */
    const char *help;
};
extern const struct cli_option_info cli_options[OPTION_TOTAL];
#define CLI_GLOBAL_OPTIONS ((UINT64_C(1) << OPTION_LISTEN) - 1) /* bits, as in cli_command.options */
/* The option of this name or letter; OPTION_TOTAL: none. */
enum cli_option cli_find_option(const char *name, size_t len);
enum cli_option cli_find_letter(char letter);
/* Says that an option has a value it may not have. CLI_USAGE */
int cli_bad_value(enum cli_option option, const char *value, const char *allowed);

#define CLI_ADDRESS "ADDRESS:PORT or [IPV6]:PORT, port 1..65535" /* what an A:P may be, for cli_bad_value */
#define CLI_TIMEOUT_DEFAULT_NS (UINT64_C(30) * 1000000000)

/* Reads argv; args->words and args->sets point to room for argc each. CLI_OK or CLI_USAGE (said). A command line that
 * asks for help or the version need not be complete. */
int cli_parse(struct cli_args *args, int argc, char **argv);

/* ---- help.c ---- */
void help_command(const struct cli_command *);
/* Help for the words of a command: a command's own, its group's, or all. CLI_USAGE when there is no such command. */
int help_words(const char *const *words, size_t count);
/* What exit codes and environment variables mean; the last has no name. */
struct cli_note {
    const char *name, *text;
};
extern const struct cli_note cli_exit_codes[], cli_environment[];

/* ---- complete.c ---- */

/* Prints what may stand in the place of the last of `count` words (the command line behind "net-mesh"), a line each:
 * the word, a tab, what it is. ":files" and ":dirs" stand for paths. `count` is at least 1. */
void complete_words(const char *const *words, size_t count);

/* ---- one function per command ---- */
int command_init(const struct cli_args *);
int command_node_run(const struct cli_args *);
int command_node_info(const struct cli_args *);
int command_node_log_level(const struct cli_args *);
int command_peer_add(const struct cli_args *);
int command_peer_ls(const struct cli_args *);
int command_peer_rm(const struct cli_args *);
int command_publish(const struct cli_args *);
int command_subscribe(const struct cli_args *);
int command_unsubscribe(const struct cli_args *);
int command_tail(const struct cli_args *);
int command_channel_ls(const struct cli_args *);
int command_subscription_ls(const struct cli_args *);
int command_subscriber_ls(const struct cli_args *);
int command_session_ls(const struct cli_args *);
int command_stream_ls(const struct cli_args *);
int command_shard_ls(const struct cli_args *);
int command_status(const struct cli_args *);
int command_metrics(const struct cli_args *);
int command_top(const struct cli_args *);
int command_shutdown(const struct cli_args *);
int command_config_check(const struct cli_args *);
int command_config_show(const struct cli_args *);
int command_reload(const struct cli_args *);
int command_doctor(const struct cli_args *);
int command_completion(const struct cli_args *);
int command_man(const struct cli_args *);
int command_bench(const struct cli_args *);
int command_version(const struct cli_args *);
int command_help(const struct cli_args *);

#endif
