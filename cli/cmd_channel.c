/* channel ls, subscription ls, subscriber ls, subscribe, unsubscribe. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/client.h"

int command_channel_ls(const struct cli_args *args)
{
    return client_list(
        args, "/v1/channels",
        "channel origin_name|origin source edition? log first_seq next_seq bytes subscribers lag error?");
}

int command_subscription_ls(const struct cli_args *args)
{
    return client_list(args, "/v1/subscriptions", "channel from_name|from mode active lag note?");
}

int command_subscriber_ls(const struct cli_args *args)
{
    return client_list(args, "/v1/subscribers", "channel peer_name|peer mode next_seq lag");
}

/* The node waits a little less long than we do: its answer says what it waited for. */
static uint64_t node_timeout_ms(uint64_t timeout_ns)
{
    const uint64_t second = UINT64_C(1000000000), hour = 3600 * second;
    uint64_t less = timeout_ns / 10 < second ? timeout_ns / 10 : second;
    uint64_t ns = timeout_ns - less < hour ? timeout_ns - less : hour;
    return ns < 1000000 ? 1 : ns / 1000000;
}

static int make_target(const struct cli_args *args, const char *verb, char target[TARGET_MAX])
{
    char timeout[32];
    if (!cli_has(args, OPTION_FROM))
        return cli_error(CLI_USAGE, "%s: --from PEER is missing", args->command->name);
    snprintf(timeout, sizeof timeout, "%" PRIu64, node_timeout_ms(args->timeout_ns));
    int code = client_channel_target(target, args->words[0], verb);
    if (code == CLI_OK)
        code = client_param(target, "from", args->value[OPTION_FROM]);
    if (code == CLI_OK)
        code = client_param(target, "timeout_ms", timeout);
    return code;
}

int command_subscribe(const struct cli_args *args)
{
    char target[TARGET_MAX], sequence[POSITION_TEXT];
    const char *start = args->value[OPTION_START];
    if (start && cli_has(args, OPTION_LIVE))
        return cli_error(CLI_USAGE, "subscribe: --start goes with what is followed, not with --live");
    if (start && !(start = client_position(start, sequence)))
        return cli_bad_value(OPTION_START, args->value[OPTION_START], "earliest, latest or a sequence");
    int code = make_target(args, "/subscribe", target);
    if (code == CLI_OK && start)
        code = client_param(target, "start", start);
    if (code == CLI_OK && cli_has(args, OPTION_LIVE))
        code = client_param(target, "mode", "live");
    return code == CLI_OK ? client_run(args, "POST", target, NULL) : code;
}

int command_unsubscribe(const struct cli_args *args)
{
    char target[TARGET_MAX];
    int code = make_target(args, "/unsubscribe", target);
    return code == CLI_OK ? client_run(args, "POST", target, NULL) : code;
}
