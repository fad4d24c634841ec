/* top: how the node is, again and again, on a whole screen; or once, as text or data. */
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/top/fetch.h"
#include "cli/top/screen.h"
#include "cli/top/text.h"
#include "core/base/err.h"
#include "shards/config/config.h"

#define INTERVAL_DEFAULT_NS (UINT64_C(1) * 1000000000)

struct top {
    struct client client;
    struct top_state state;
    struct top_screen screen;
    struct top_look look; /* the newest; valid once a fetch succeeded */
    char trouble[TOP_TROUBLE_MAX];
    char title[256]; /* which node it is */
};

/* A new look at the node takes the place of the old one. CLI_OK or an exit code; then the old one stays. */
static int refresh_look(struct top *t, const struct http_watch *watch)
{
    struct top_look now;
    char trouble[TOP_TROUBLE_MAX];
    int code;
    top_look_init(&now, http_now());
    if (!top_fetch(&t->client, watch, &now, trouble, &code)) {
        top_look_deinit(&now);
        memcpy(t->trouble, trouble, sizeof t->trouble);
        t->state.trouble = t->trouble;
        return code;
    }
    top_look_compare(&now, t->look.at_ns ? &t->look : NULL);
    top_look_deinit(&t->look);
    t->look = now;
    t->state.trouble = NULL;
    return CLI_OK;
}

/* ---- once ---- */

struct lines {
    FILE *out;
    unsigned row, column;
};

/* A canvas that is a text: what is put comes from top to bottom and from left to right. Blanks wait for what follows.
 */
static void put_text(void *ctx, unsigned row, unsigned column, enum top_style style, const char *text)
{
    struct lines *l = ctx;
    size_t lead = strspn(text, " ");
    (void)style;
    if (!text[lead])
        return;
    for (; l->row < row; l->row++, l->column = 0)
        fputc('\n', l->out);
    unsigned gap = column - l->column;
    fprintf(l->out, "%*s%s", (int)gap, "", text);
    l->column = column + top_text_width(text);
}

static int print_text(struct top *t)
{
    char *text = NULL;
    size_t len = 0;
    struct lines l = {.out = open_memstream(&text, &len)};
    const struct top_canvas canvas = {.rows = 4 * TOP_ROWS_MAX, .columns = 4096, .put = put_text, .ctx = &l};
    if (l.out) {
        top_draw(&canvas, &t->state, &t->look);
        fputc('\n', l.out);
    }
    if (!l.out || fclose(l.out) != 0) {
        free(text);
        return cli_error(CLI_FAILURE, "out of memory");
    }
    int error = output_bytes(text, len);
    free(text);
    return output_error(error);
}

static void sort_tables(struct top *t)
{
    for (unsigned p = 0; p < TOP_PANES; p++)
        t->look.worth[p] = top_table_sort(&t->look.tables[p], t->state.panes[p].sort, t->state.panes[p].descending);
}

static int print_data(struct top *t, const struct cli_args *args)
{
    sort_tables(t);
    struct json_object *value = top_look_json(&t->look);
    int code = output_value(args, value);
    json_object_put(value);
    return code;
}

/* Rates need two looks. */
static int show_once(struct top *t, const struct cli_args *args)
{
    const struct http_watch nothing = {.fd = -1};
    int code = refresh_look(t, &nothing);
    if (code == CLI_OK) {
        uint64_t until = t->look.at_ns + t->state.interval_ns;
        while (http_now() < until)
            poll(NULL, 0, http_poll_ms(until, HTTP_FOREVER));
        code = refresh_look(t, &nothing);
    }
    if (code != CLI_OK)
        return cli_error((enum cli_exit)code, "%s", t->trouble);
    bool text = args->output == OUTPUT_DEFAULT || args->output == OUTPUT_TABLE || args->output == OUTPUT_TEXT;
    return text ? print_text(t) : print_data(t, args);
}

/* ---- on a screen ---- */

/* Also while a fetch waits. False: the user wants to go. */
static bool on_input(void *ctx)
{
    struct top *t = ctx;
    for (int key; (key = top_screen_key(&t->screen)) != 0;)
        top_state_key(&t->state, &t->look, key);
    if (t->screen.ended)
        t->state.quit = true;
    if (!t->state.quit)
        top_screen_draw(&t->screen, &t->state, &t->look);
    return !t->state.quit;
}

static void watch_node(struct top *t)
{
    const struct http_watch watch = {.fd = t->screen.input, .ready = on_input, .ctx = t};
    uint64_t last = t->look.at_ns;
    while (!t->state.quit) {
        uint64_t next = t->state.paused ? UINT64_MAX : last + t->state.interval_ns;
        if (http_now() >= next) {
            last = http_now();
            refresh_look(t, &watch);
            if (!t->state.quit)
                top_screen_draw(&t->screen, &t->state, &t->look);
            continue;
        }
        struct pollfd p = {.fd = t->screen.input, .events = POLLIN};
        if (poll(&p, 1, http_poll_ms(next, HTTP_FOREVER)) > 0)
            on_input(t);
    }
}

static int show_screen(struct top *t)
{
    const struct http_watch nothing = {.fd = -1};
    int code = refresh_look(t, &nothing);
    if (code != CLI_OK)
        return cli_error((enum cli_exit)code, "%s", t->trouble);
    t->state.interactive = true;
    setlocale(LC_CTYPE, ""); /* curses has to know what characters the terminal takes */
    if (top_screen_open(&t->screen, cli_colored(STDOUT_FILENO))) {
        top_screen_draw(&t->screen, &t->state, &t->look);
        watch_node(t);
    } else
        code = CLI_FAILURE;
    top_screen_close(&t->screen);
    return code;
}

static int check(const struct cli_args *args, struct top *t)
{
    const char *interval = args->value[OPTION_INTERVAL], *sort = args->value[OPTION_SORT];
    uint64_t ns = INTERVAL_DEFAULT_NS;
    if (interval && (config_parse_duration(interval, &ns) != NET_OK || ns < TOP_INTERVAL_MIN || ns > TOP_INTERVAL_MAX))
        return cli_bad_value(OPTION_INTERVAL, interval, "100ms to 1h");
    top_state_init(&t->state, NULL, ns);
    if (sort && !top_state_sort(&t->state, sort))
        return cli_bad_value(OPTION_SORT, sort, "a column as --once --output json names it");
    if (!cli_has(args, OPTION_ONCE) && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
        return cli_error(CLI_USAGE, "top: needs a terminal; --once shows how the node is without one");
    return CLI_OK;
}

int command_top(const struct cli_args *args)
{
    struct top *t = calloc(1, sizeof *t);
    if (!t)
        return cli_error(CLI_FAILURE, "out of memory");
    int code = check(args, t);
    if (code == CLI_OK)
        code = client_resolve(&t->client, args);
    const struct endpoint *e = &t->client.endpoint;
    snprintf(t->title, sizeof t->title, "%s%s%s", e->name, *e->name ? " " : "", e->shown);
    t->state.endpoint = t->title;
    if (code == CLI_OK)
        code = cli_has(args, OPTION_ONCE) ? show_once(t, args) : show_screen(t);
    client_close(&t->client);
    top_look_deinit(&t->look);
    free(t);
    return code;
}
