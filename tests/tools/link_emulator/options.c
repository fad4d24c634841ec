#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tools/link_emulator/options.h"

static const char help[] =
    "usage: link_emulator [OPTION...] A B [-- COMMAND...]\n"
    "\n"
    "Joins the network namespaces A and B by a link with the faults asked for: a TUN device in each, and this program\n"
    "between them, so that whatever goes by IP goes through it. Namespaces that do not exist are made, and removed at "
    "the\n"
    "end. `ip netns exec A ...` runs something in one of them. A is 10.77.0.1 and fd77::1, B 10.77.0.2 and fd77::2.\n"
    "\n"
    "  --delay TIME         one way                                            default 0\n"
    "  --jitter TIME        delay +- so much, uniform; overtakes nothing       default 0\n"
    "  --loss P             of packets on the wire                             default 0\n"
    "  --duplicate P        arrive twice                                       default 0\n"
    "  --corrupt P          arrive with one bit changed, anywhere              default 0\n"
    "  --reorder P          take longer, so that later ones overtake them      default 0\n"
    "  --reorder-by TIME    ... so much longer                                 default 2ms\n"
    "  --rate RATE          of IP packets                                      default none\n"
    "  --queue BYTES        that wait for the rate; what comes on top is lost  default 256KiB\n"
    "  --seed N             the same faults for the same packets               default 1\n"
    "  --mtu BYTES                                                             default 1500\n"
    "\n"
    "A value is for both directions, or two with a comma between: A to B, B to A (--loss 1%,0). TIME is 500us, 10ms, "
    "1.5s;\n"
    "P is 0.01 or 1%; RATE is 500kbit, 200Mbit, 1Gbit, per second; BYTES may end in KiB or MiB. Packets wait in the "
    "queue,\n"
    "go out at the rate, are lost, changed or doubled on the wire, and then take their time. Multicast is not "
    "carried.\n"
    "\n"
    "With COMMAND, runs it in A and ends with it, and with its status; otherwise at SIGINT or SIGTERM. Says\n"
    "{\"event\":\"ready\",...} when the link is up; prints what it counted at the end and at SIGUSR1, one line of "
    "JSON\n"
    "with \"event\":\"statistics\". These lines go to stdout; to stderr if there is a COMMAND. In the statistics,\n"
    "device_dropped is what this program was too slow to take, and late_* how long after its time a packet was "
    "delivered:\n"
    "when they are not small, the figures are the machine's and not the link's.\n"
    "\n"
    "Exit status: 0 done; 1 it failed; 2 wrong arguments; 3 not permitted here, or this kernel has no TUN device or "
    "network\n"
    "namespaces; wants root (CAP_SYS_ADMIN and CAP_NET_ADMIN) and ip, of iproute2.\n";

enum kind { TIME, PROBABILITY, RATE, BYTES };

static const struct unit {
    const char *suffix;
    enum kind kind;
    double factor;
} units[] = {
    {"ns", TIME, 1},      {"us", TIME, 1e3},       {"ms", TIME, 1e6},    {"s", TIME, 1e9},
    {"", PROBABILITY, 1}, {"%", PROBABILITY, .01}, {"kbit", RATE, 1e3},  {"Mbit", RATE, 1e6},
    {"Gbit", RATE, 1e9},  {"", BYTES, 1},          {"KiB", BYTES, 1024}, {"MiB", BYTES, 1 << 20},
};

static const struct setting {
    const char *name;
    enum kind kind;
    size_t offset; /* in struct line_settings */
    double max;
    const char *allowed;
} settings[] = {
    {"delay", TIME, offsetof(struct line_settings, delay_ns), 60e9, "up to 60s, as in 10ms"},
    {"jitter", TIME, offsetof(struct line_settings, jitter_ns), 60e9, "up to 60s, as in 1ms"},
    {"loss", PROBABILITY, offsetof(struct line_settings, loss), 1, "0 to 100%"},
    {"duplicate", PROBABILITY, offsetof(struct line_settings, duplicate), 1, "0 to 100%"},
    {"corrupt", PROBABILITY, offsetof(struct line_settings, corrupt), 1, "0 to 100%"},
    {"reorder", PROBABILITY, offsetof(struct line_settings, reorder), 1, "0 to 100%"},
    {"reorder-by", TIME, offsetof(struct line_settings, reorder_ns), 60e9, "up to 60s, as in 2ms"},
    {"rate", RATE, offsetof(struct line_settings, rate), 100e9, "up to 100Gbit, as in 200Mbit"},
    {"queue", BYTES, offsetof(struct line_settings, queue_bytes), 1 << 30, "up to 1024MiB, as in 64KiB"},
};
enum { SETTINGS = sizeof settings / sizeof settings[0], SEED = SETTINGS, MTU, HELP };

static _Noreturn void refuse(const char *name, const char *found, const char *allowed)
{
    fprintf(stderr, "link_emulator: --%s: found %s, allowed: %s\n", name, found, allowed);
    exit(2);
}

/* A number with its unit, which ends at `end`. */
static bool parse_value(const char *text, const char *end, enum kind kind, double *value)
{
    char *suffix;
    *value = strtod(text, &suffix);
    if (suffix == text || suffix > end || !(*value >= 0))
        return false;
    if (*value == 0 && suffix == end)
        return true;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (units[i].kind == kind && strlen(units[i].suffix) == (size_t)(end - suffix) &&
            strncmp(units[i].suffix, suffix, (size_t)(end - suffix)) == 0) {
            *value *= units[i].factor;
            return true;
        }
    return false;
}

static void store(struct line_settings *line, const struct setting *setting, double value)
{
    void *place = (char *)line + setting->offset;
    if (setting->kind == TIME || setting->kind == BYTES)
        *(uint64_t *)place = (uint64_t)value;
    else
        *(double *)place = value;
}

static void parse_setting(struct options *options, const struct setting *setting, const char *text)
{
    const char *comma = strchr(text, ','), *parts[2] = {text, comma ? comma + 1 : text};
    for (int direction = 0; direction < 2; direction++) {
        const char *end = direction == 0 && comma ? comma : text + strlen(text);
        double value;
        if (!parse_value(parts[direction], end, setting->kind, &value) || value > setting->max)
            refuse(setting->name, text, setting->allowed);
        store(&options->lines[direction], setting, value);
    }
}

static uint64_t parse_number(const char *name, const char *text, uint64_t min, uint64_t max, const char *allowed)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (end == text || *end || *text == '-' || value < min || value > max)
        refuse(name, text, allowed);
    return value;
}

static void parse_option(struct options *options, int index, const char *text)
{
    if (index < SETTINGS)
        parse_setting(options, &settings[index], text);
    else if (index == SEED)
        options->seed = parse_number("seed", text, 0, UINT64_MAX, "a number");
    else
        options->mtu = (unsigned)parse_number("mtu", text, 1280, 65535, "1280 to 65535");
}

static void parse_names(struct options *options, int argc, char **argv, int at)
{
    for (int side = 0; side < 2; side++, at++) {
        if (at >= argc || strcmp(argv[at], "--") == 0 || argv[at][0] == 0 || strchr(argv[at], '/')) {
            fputs("link_emulator: wants the names of two namespaces; see --help\n", stderr);
            exit(2);
        }
        options->names[side] = argv[at];
    }
    if (at < argc && strcmp(argv[at], "--") == 0 && argv[at + 1]) {
        options->command = argv + at + 1;
    } else if (at < argc || strcmp(options->names[0], options->names[1]) == 0) {
        fputs("link_emulator: wants two different names, then -- and a command, or nothing; see --help\n", stderr);
        exit(2);
    }
}

void options_parse(struct options *options, int argc, char **argv)
{
    struct option known[HELP + 2] = {[SEED] = {"seed", required_argument, NULL, SEED},
                                     [MTU] = {"mtu", required_argument, NULL, MTU},
                                     [HELP] = {"help", no_argument, NULL, HELP}};
    for (int i = 0; i < SETTINGS; i++)
        known[i] = (struct option){settings[i].name, required_argument, NULL, i};
    const struct line_settings defaults = {.reorder_ns = 2000000, .queue_bytes = 256 << 10};
    *options = (struct options){.lines = {defaults, defaults}, .seed = 1, .mtu = 1500};
    for (int found; (found = getopt_long(argc, argv, "+h", known, NULL)) != -1;) {
        if (found == '?')
            exit(2);
        if (found == HELP || found == 'h') {
            fputs(help, stdout);
            exit(0);
        }
        parse_option(options, found, optarg);
    }
    parse_names(options, argc, argv, optind);
}
