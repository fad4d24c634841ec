/* channel ls, subscription ls, subscriber ls, subscribe, unsubscribe. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/client.h"

int command_channel_ls(const struct cli_args *args)
{
    return client_list(args, "/v1/channels",
                       "channel origin_name|origin source edition? log first_seq next_seq bytes subscribers error?");
}

int command_subscription_ls(const struct cli_args *args)
{
    return client_list(args, "/v1/subscriptions", "channel from_name|from active");
}

int command_subscriber_ls(const struct cli_args *args)
{
    return client_list(args, "/v1/subscribers", "channel peer_name|peer next_seq lag");
}

/* The node waits a little less long than we do: its answer says what it waited for. */
static uint64_t node_timeout_ms(uint64_t timeout_ns)
{
    const uint64_t second = UINT64_C(1000000000), hour = 3600 * second;
    uint64_t less = timeout_ns / 10 < second ? timeout_ns / 10 : second;
    uint64_t ns = timeout_ns - less < hour ? timeout_ns - less : hour;
    return ns < 1000000 ? 1 : ns / 1000000;
}

static int subscription(const struct cli_args *args, const char *verb)
{
    char target[TARGET_MAX], timeout[32];
    if (!cli_has(args, OPTION_FROM))
        return cli_error(CLI_USAGE, "%s: --from PEER is missing", args->command->name);
    snprintf(timeout, sizeof timeout, "%" PRIu64, node_timeout_ms(args->timeout_ns));
    int code = client_channel_target(target, args->words[0], verb);
    if (code == CLI_OK)
        code = client_param(target, "from", args->value[OPTION_FROM]);
    if (code == CLI_OK)
        code = client_param(target, "timeout_ms", timeout);
    return code == CLI_OK ? client_run(args, "POST", target, NULL) : code;
}

int command_subscribe(const struct cli_args *args)
{
    return subscription(args, "/subscribe");
}

int command_unsubscribe(const struct cli_args *args)
{
    return subscription(args, "/unsubscribe");
}
