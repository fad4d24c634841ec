/*
 * What may come next on a command line. It follows from the tables of commands and options: the words of an option are
 * the alternatives in lower case of its argument ("direct|routed"), the others are kinds that stand in `kinds` here.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/top/table.h"
#include "shards/config/config.h"

enum { ASK_NS = 500000000 }; /* how long a node may take to say its names */

struct line {
    struct cli_args args; /* values of options so far, as far as they are of use here */
    uint64_t given;       /* bits of enum cli_option */
    const char *words[2]; /* of the command's name */
    size_t word_count;
    const struct cli_command *command;
    size_t operands;         /* words after the command's name */
    const char *operand;     /* the first of them */
    enum cli_option pending; /* wants a value; OPTION_TOTAL: none does */
    bool only_words;
    const char *current; /* what is being typed */
    const char *before;  /* what stands before `current` in the same word: "--output=" */
    size_t before_len;
};

/* ---- reading what is there ---- */

static void note_option(struct line *l, enum cli_option option, const char *value)
{
    if (option == OPTION_TOTAL)
        return;
    l->given |= UINT64_C(1) << option;
    if (value)
        l->args.value[option] = value;
    else if (cli_options[option].argument)
        l->pending = option;
}

static void note_letters(struct line *l, const char *letters)
{
    for (; *letters; letters++) {
        enum cli_option option = cli_find_letter(*letters);
        bool takes_rest = option != OPTION_TOTAL && cli_options[option].argument && letters[1];
        note_option(l, option, takes_rest ? letters + 1 : NULL);
        if (takes_rest)
            return;
    }
}

static void note_operand(struct line *l, const char *word)
{
    size_t used;
    if (l->command || l->word_count == 2) {
        l->operand = l->operands++ ? l->operand : word;
    } else {
        l->words[l->word_count++] = word;
        l->command = cli_find_command(l->words, l->word_count, &used);
    }
}

static void note_word(struct line *l, const char *word)
{
    if (l->pending != OPTION_TOTAL) {
        if (strcmp(word, "=") == 0) /* bash cuts --output=json in three */
            return;
        l->args.value[l->pending] = word;
        l->pending = OPTION_TOTAL;
    } else if (l->only_words || word[0] != '-' || word[1] == '\0')
        note_operand(l, word);
    else if (strcmp(word, "--") == 0)
        l->only_words = true;
    else if (word[1] == '-') {
        size_t len = strcspn(word + 2, "=");
        note_option(l, cli_find_option(word + 2, len), word[2 + len] ? word + 3 + len : NULL);
    } else
        note_letters(l, word + 1);
}

/* ---- saying what fits ---- */

/* One candidate, unless what was typed is not its beginning. `text` up to `len`. */
static void offer(const struct line *l, const char *text, size_t len, const char *about)
{
    size_t typed = strlen(l->current);
    if (typed > len || memcmp(text, l->current, typed) != 0)
        return;
    printf("%.*s%.*s%s%s\n", (int)l->before_len, l->before, (int)len, text, *about ? "\t" : "", about);
}

static void offer_words(const struct line *l, const char *words)
{
    for (size_t len; *words; words += len + (words[len] != '\0')) {
        len = strcspn(words, " ");
        offer(l, words, len, "");
    }
}

/* Names come from the node: none goes into somebody's command line that a shell would read as more than a word. */
static bool is_harmless(const char *name)
{
    return *name && *name != '-' &&
           !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-")];
}

/* The texts under `key` of the list that `target` of the node is, each once. */
static void offer_from_node(const struct line *l, const char *target, const char *key)
{
    struct cli_args args = l->args;
    struct json_object *list;
    const char *before = "";
    args.level = SAY_ERROR;
    args.timeout_ns = ASK_NS;
    if (profile_load(&args) != CLI_OK)
        return;
    args.timeout_ns = ASK_NS;
    if (client_ask(&args, "GET", target, NULL, &list) != CLI_OK)
        return;
    size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
    for (size_t i = 0; i < n; i++) {
        struct json_object *text = NULL;
        json_object_object_get_ex(json_object_array_get_idx(list, i), key, &text);
        const char *name = json_object_is_type(text, json_type_string) ? json_object_get_string(text) : "";
        if (is_harmless(name) && strcmp(name, before) != 0)
            offer(l, name, strlen(name), "");
        before = name;
    }
    json_object_put(list);
}

static void offer_peers(const struct line *l)
{
    offer_from_node(l, "/v1/peers", "name");
}

static void offer_channels(const struct line *l)
{
    offer_from_node(l, "/v1/channels", "channel");
}

static void offer_profiles(const struct line *l)
{
    struct cli_args args = l->args;
    args.value[OPTION_PROFILE] = NULL;
    args.level = SAY_ERROR;
    profile_load(&args); /* what it knows stays, also when NET_MESH_PROFILE is none of them */
    for (char *rest = args.profile.known, *name; (name = strsep(&rest, ", ")) != NULL;)
        if (is_harmless(name))
            offer(l, name, strlen(name), "");
}

static void offer_formats(const struct line *l)
{
    offer_words(l, "json ndjson yaml table text");
}

static void offer_starts(const struct line *l)
{
    offer_words(l, "earliest latest");
}

static void offer_columns(const struct line *l)
{
    for (unsigned p = 0; p < TOP_PANES; p++)
        for (unsigned c = 0; c < top_panes[p].count; c++) {
            char name[64];
            int len = snprintf(name, sizeof name, "%s.%s", top_panes[p].key, top_panes[p].columns[c].key);
            offer(l, name, (size_t)len, "");
        }
}

static void offer_files(const struct line *l)
{
    (void)l;
    puts(":files");
}

static void offer_directories(const struct line *l)
{
    (void)l;
    puts(":dirs");
}

static void offer_keys(const struct line *l)
{
    struct config_doc doc;
    for (size_t i = 0; config_describe(i, &doc); i++) {
        char text[128];
        int n = snprintf(text, sizeof text, "%s=", doc.name);
        offer(l, text, (size_t)n, doc.allowed);
    }
}

/* The next word of a command's name: of the line's own, or of one that is an operand (of help). A group is offered
 * once. */
static void offer_commands(const struct line *l)
{
    const char *first = l->command ? l->operand : l->word_count ? l->words[0] : NULL;
    const char *before = "";
    size_t before_len = 0;
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        const char *word = c->name, *group = strchr(c->name, ' ');
        size_t skip = first ? strlen(first) : 0;
        if (skip && (strncmp(c->name, first, skip) != 0 || c->name[skip] != ' '))
            continue;
        word += skip ? skip + 1 : 0;
        size_t len = strcspn(word, " ");
        if (len != before_len || memcmp(word, before, len) != 0)
            offer(l, word, len, group && !skip ? "a group of commands" : c->summary);
        before = word;
        before_len = len;
    }
}

static void offer_options(const struct line *l)
{
    uint64_t allowed = CLI_GLOBAL_OPTIONS | (l->command ? l->command->options & ~CLI_LOCAL : 0);
    uint64_t again = UINT64_C(1) << OPTION_SET | UINT64_C(1) << OPTION_VERBOSE;
    for (int i = 0; i < OPTION_TOTAL; i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "--%s", cli_options[i].name);
        if (allowed >> i & 1 && (!(l->given >> i & 1) || again >> i & 1))
            offer(l, text, (size_t)n, cli_options[i].help);
    }
}

/* ---- the place that is to be filled ---- */

static const struct {
    const char *name;
    void (*offer)(const struct line *);
} kinds[] = {
    {"FORMAT", offer_formats},   {"WHERE", offer_starts},   {"DIR", offer_directories},  {"FILE", offer_files},
    {"F", offer_files},          {"PEER", offer_peers},     {"CHANNEL", offer_channels}, {"KEY=VALUE", offer_keys},
    {"COMMAND", offer_commands}, {"COLUMN", offer_columns}, {"PROFILE", offer_profiles},
};

/* One alternative of an argument, as the tables write it: "PEER", "direct", "FILE...". */
static void offer_alternative(const struct line *l, const char *text, size_t len)
{
    bool is_word = true;
    for (size_t i = 0; i < len; i++)
        is_word &= !isupper((unsigned char)text[i]);
    if (is_word)
        offer(l, text, len, "");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strlen(kinds[i].name) == len && memcmp(kinds[i].name, text, len) == 0)
            kinds[i].offer(l);
}

static void offer_argument(const struct line *l, const char *argument, size_t len)
{
    const char *end = argument + len;
    while (argument < end) {
        while (argument < end && strchr("[|", *argument))
            argument++;
        size_t n = 0;
        while (argument + n < end && *argument && !strchr("[]|", argument[n]))
            n++;
        size_t bare = n > 3 && memcmp(argument + n - 3, "...", 3) == 0 ? n - 3 : n;
        if (bare)
            offer_alternative(l, argument, bare);
        argument += n;
        while (argument < end && *argument == ']')
            argument++;
    }
}

/* The words before the first option of the usage line are the operands; the last may be repeated. */
static void offer_operand(const struct line *l)
{
    const char *usage = l->command->arguments, *last = NULL;
    size_t last_len = 0, index = 0;
    if (l->command->run == command_peer_rm) {
        offer_peers(l);
        return;
    }
    while (*usage && index <= l->operands) {
        size_t len = strcspn(usage, " ");
        if (memchr(usage, '-', len))
            break;
        last = usage;
        last_len = len;
        index++;
        usage += len + strspn(usage + len, " ");
    }
    bool repeated = last && memmem(last, last_len, "...", 3);
    if (last && (index > l->operands || repeated))
        offer_argument(l, last, last_len);
}

static void offer_value(struct line *l, enum cli_option option)
{
    offer_argument(l, cli_options[option].argument, strlen(cli_options[option].argument));
}

static void offer_long_value(struct line *l, size_t name_len)
{
    enum cli_option option = cli_find_option(l->current + 2, name_len);
    if (option == OPTION_TOTAL || !cli_options[option].argument)
        return;
    l->before = l->current;
    l->before_len = name_len + 3;
    l->current += l->before_len;
    offer_value(l, option);
}

void complete_words(const char *const *words, size_t count)
{
    struct line *l = calloc(1, sizeof *l);
    if (!l)
        return;
    l->pending = OPTION_TOTAL;
    l->before = "";
    for (size_t i = 0; i + 1 < count; i++)
        note_word(l, words[i]);
    l->current = words[count - 1];
    if (l->pending != OPTION_TOTAL) {
        if (strcmp(l->current, "=") == 0)
            l->current = "";
        offer_value(l, l->pending);
    } else if (!l->only_words && strncmp(l->current, "--", 2) == 0 && strchr(l->current, '='))
        offer_long_value(l, strcspn(l->current + 2, "="));
    else if (!l->only_words && l->current[0] == '-')
        offer_options(l);
    else if (l->command)
        offer_operand(l);
    else if (l->word_count < 2)
        offer_commands(l);
    free(l);
}
