/* tail: the events of a log on stdout. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/rows.h"
#include "core/base/err.h"
#include "shards/config/config.h"

/* Ends at once, also while stdout stalls: rows not yet written were not promised to anybody. */
static void on_interrupt(int signal_number)
{
    (void)signal_number;
    _exit(CLI_OK);
}

static int make_target(const struct cli_args *args, char target[TARGET_MAX])
{
    const char *start = args->value[OPTION_START], *count = args->value[OPTION_COUNT];
    char sequence[POSITION_TEXT];
    uint64_t number;
    if (start && !(start = client_position(start, sequence)))
        return cli_bad_value(OPTION_START, args->value[OPTION_START], "earliest, latest or a sequence");
    if (count && config_parse_number(count, &number) != NET_OK)
        return cli_bad_value(OPTION_COUNT, count, "a number");
    int code = client_channel_target(target, args->words[0], "/events");
    if (code == CLI_OK)
        code = client_param(target, "from", start ? start : "earliest");
    if (code == CLI_OK && count)
        code = client_param(target, "limit", count);
    if (code == CLI_OK && cli_has(args, OPTION_FOLLOW))
        code = client_param(target, "follow", "true");
    if (code == CLI_OK && cli_has(args, OPTION_ORIGIN))
        code = client_param(target, "origin", args->value[OPTION_ORIGIN]);
    if (code == CLI_OK && cli_has(args, OPTION_LOG))
        code = client_param(target, "log", args->value[OPTION_LOG]);
    if (code == CLI_OK && cli_has(args, OPTION_RAW))
        code = client_param(target, "format", "binary");
    return code;
}

static int end(const struct client *c, struct rows *r, enum http_result result)
{
    bool whole = rows_end(r);
    if (r->error)
        return output_error(r->error);
    if (result != HTTP_DONE && result != HTTP_STOPPED)
        return client_failed(c, result);
    int code = client_check(c);
    if (code == CLI_OK && !whole)
        return cli_error(CLI_FAILURE, "%s: the answer is malformed", c->endpoint.shown);
    return code;
}

static int tail(const struct cli_args *args, struct rows *r)
{
    struct client c;
    char target[TARGET_MAX];
    int code = make_target(args, target);
    if (code != CLI_OK)
        return code;
    if ((code = client_open(&c, args)) == CLI_OK) {
        c.subject = args->words[0];
        c.http.sink = (struct http_sink){rows_put, rows_flush, r};
        c.http.stream = true;
        enum http_result result = client_send_head(&c, "GET", target, NULL, 0);
        if (result == HTTP_DONE || result == HTTP_ANSWERED)
            result = http_receive(&c.http);
        code = end(&c, r, result);
    }
    client_close(&c);
    return code;
}

int command_tail(const struct cli_args *args)
{
    struct rows *r = malloc(sizeof *r);
    int code = CLI_FAILURE;
    if (!r || !rows_init(r, output_stream(args), cli_has(args, OPTION_RAW))) {
        free(r);
        return cli_error(CLI_FAILURE, "out of memory");
    }
    signal(SIGINT, on_interrupt);
    code = tail(args, r);
    rows_deinit(r);
    free(r);
    return code;
}
