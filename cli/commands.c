/* Every command: what it takes, what it does, how it is used. */
#include <string.h>

#include "cli/cli.h"

#define BIT(option) (UINT64_C(1) << (option))

enum { MANY = 1 << 20 };

const struct cli_command cli_commands[] = {
    {"init", "DIR [--listen A:P] [--admin A:P|unix:PATH] [--psk-from DIR|--psk-file F] [--set KEY=VALUE]... [--force]",
     1, 1,
     CLI_LOCAL | BIT(OPTION_LISTEN) | BIT(OPTION_ADMIN) | BIT(OPTION_PSK_FROM) | BIT(OPTION_PSK_FILE) |
         BIT(OPTION_SET) | BIT(OPTION_FORCE),
     command_init, "make a node's directory",
     "Makes DIR with a commented node.yaml, the node's keys and an admin token, and shows who the node is.\n"
     "The nodes of one mesh share one psk: make it with the first, take it over with --psk-from.\n",
     "  net-mesh init a\n"
     "  net-mesh init b --listen '[::]:20047' --admin 127.0.0.1:20048 --psk-from a\n"
     "  net-mesh init a --set shards.count=2 --force\n"},
    {"node run", "DIR [--set KEY=VALUE]...", 1, 1, CLI_LOCAL | BIT(OPTION_SET), command_node_run,
     "run a node in the foreground",
     "Prints one JSON line when the node serves, {\"event\":\"ready\",...}, and what a person should know on stderr.\n"
     "SIGINT, SIGTERM and `net-mesh shutdown` stop it in good order. -q and -v set logging.level to error and debug.\n",
     "  net-mesh node run a\n"
     "  net-mesh node run a --set logging.level=debug\n"},
    {"node info", "DIR", 1, 1, CLI_LOCAL, command_node_info, "show who a node is, from its files alone",
     "Shows node_id, entity_id, public_key, listen and admin. The node need not run.\n", "  net-mesh node info a\n"},
    {"node log-level", "[error|warn|info|debug]", 0, 1, 0, command_node_log_level,
     "show or change how much a running node says", "The change lasts until the node ends; node.yaml stays as it is.\n",
     "  net-mesh --endpoint a node log-level\n"
     "  net-mesh --endpoint a node log-level debug\n"},
    {"config check", "DIR [--set KEY=VALUE]...", 1, 1, CLI_LOCAL | BIT(OPTION_SET), command_config_check,
     "check the files of a node's directory",
     "Reads all that a node reads at its start. Prints what is wrong, with file and line, and what is legal but "
     "rarely\n"
     "meant, or ok. Exit 3: node.yaml or peers.yaml; exit 2: a secret; warnings alone: 0.\n",
     "  net-mesh config check a\n"
     "  net-mesh config check a --set security.sessions=compat\n"},
    {"config show", "DIR [--set KEY=VALUE]... | DIR --effective", 0, 1, BIT(OPTION_SET) | BIT(OPTION_EFFECTIVE),
     command_config_show, "show every setting and where it is from",
     "Of DIR's files; or, with --effective or --endpoint, of the running node: the values in use, and as PENDING what "
     "the\n"
     "file says since the last reload that only the next start brings.\n",
     "  net-mesh config show a\n"
     "  net-mesh config show a --effective\n"
     "  net-mesh --endpoint a config show --output yaml\n"},
    {"reload", "", 0, 0, 0, command_reload, "make the node read node.yaml again",
     "Shows which keys have changed and are in use, and which need a restart. A mistake in the file changes nothing, "
     "is\n"
     "shown with its line, and gives exit 3. SIGHUP does the same and says so in the log. --set of the start counts "
     "on.\n",
     "  net-mesh --endpoint a reload\n"},
    {"peer add",
     "NAME --info FILE [--addr A:P] | NAME --node-id ID --addr A:P --public-key HEX | NAME --node-id ID --compat v0.19 "
     "[--mode direct|routed] [--addr A:P --public-key HEX]",
     1, 1,
     BIT(OPTION_INFO) | BIT(OPTION_ADDR) | BIT(OPTION_NODE_ID) | BIT(OPTION_PUBLIC_KEY) | BIT(OPTION_COMPAT) |
         BIT(OPTION_MODE),
     command_peer_add, "make a peer known to the node",
     "A v0.19 peer without an address may connect to us; we do not connect to it.\n",
     "  ssh beta net-mesh node info b | net-mesh --endpoint a peer add beta --info - --addr 10.0.0.2:20037\n"
     "  net-mesh --endpoint a peer add gamma --addr 10.0.0.3:20037 --node-id 0xbd826a5d0a6394f5 --public-key "
     "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f\n"
     "  net-mesh --endpoint a peer add old --node-id 0xe93c7424f25e8ada --compat v0.19\n"},
    {"peer ls", "", 0, 0, 0, command_peer_ls, "list the peers of the node", "", "  net-mesh --endpoint a peer ls\n"},
    {"peer rm", "NAME", 1, 1, 0, command_peer_rm, "forget a peer and the subscriptions to it", "",
     "  net-mesh --endpoint a peer rm beta\n"},
    {"publish", "CHANNEL [FILE...] [--binary|--whole] [--durable] [--to PEER [--producer FILE]]", 1, MANY,
     BIT(OPTION_BINARY) | BIT(OPTION_WHOLE) | BIT(OPTION_DURABLE) | BIT(OPTION_TO) | BIT(OPTION_PRODUCER),
     command_publish, "publish lines, records or files to a channel",
     "Every line of the FILEs, in order, or of stdin (also '-') is an event, without its line feed; an empty line is "
     "an empty\n"
     "event. With --whole every FILE is one event, an empty one too. An event has at most as many bytes as "
     "limits.event_bytes\n"
     "of the node says (1 MiB, and no more than 16). An event the node refuses ends the command with exit 1; what went "
     "before stays.\n"
     "\n"
     "With --to the events go into the log of that channel at the peer, which this node must be connected to; the "
     "sequences\n"
     "shown are the peer's, and what was sent on the way is sent again, and appended once, through a restart of the "
     "peer.\n"
     "With --producer as well, a run that was cut off (killed, a node restarted, a timeout) is taken up by the same "
     "command\n"
     "on the same input: what was appended is passed over. FILE is made when it is not there. It holds an id that the "
     "peer\n"
     "knows, the number of the next append, and of an unfinished run how many events of its input are appended, and "
     "how many\n"
     "were sent without an answer. A run that was finished begins anew; other input than that of an unfinished one is "
     "refused.\n"
     "A peer that has forgotten the producer (channels.producers, channels.producer_age) refuses, too: then only a "
     "look at its\n"
     "log tells what it has, and another FILE begins anew.\n",
     "  net-mesh --endpoint a publish logs/app app.log\n"
     "  journalctl -f | net-mesh --endpoint a publish logs/journal\n"
     "  net-mesh --endpoint a publish sensors/lidar --binary --durable scan.bin\n"
     "  net-mesh --endpoint b publish orders/new --to alpha --durable --producer orders.producer app.log\n"},
    {"subscribe", "CHANNEL --from PEER [--start WHERE] [--live]", 1, 1,
     BIT(OPTION_FROM) | BIT(OPTION_START) | BIT(OPTION_LIVE), command_subscribe,
     "subscribe the node to a channel of a peer",
     "The node follows the peer's log of the channel: it takes every event once and in order, through restarts and "
     "outages\n"
     "of either side, from where its own log of it ends, the first time from the earliest event there is. With --start "
     "it\n"
     "begins a new log there; the one before stays readable. With --live, and where the peer keeps no log, it gets "
     "what "
     "is\n"
     "published while they are connected. Returns when the peer has agreed.\n",
     "  net-mesh --endpoint b subscribe logs/app --from alpha\n"
     "  net-mesh --endpoint b subscribe logs/app --from alpha --start latest\n"
     "  net-mesh --endpoint b subscribe sensors/lidar --from alpha --live\n"},
    {"unsubscribe", "CHANNEL --from PEER", 1, 1, BIT(OPTION_FROM), command_unsubscribe, "end a subscription", "",
     "  net-mesh --endpoint b unsubscribe logs/app --from alpha\n"},
    {"tail",
     "CHANNEL [--origin self|PEER] [--log followed|live|N] [--start earliest|latest|SEQ] [--follow] [--count N] "
     "[--raw]",
     1, 1,
     BIT(OPTION_ORIGIN) | BIT(OPTION_LOG) | BIT(OPTION_START) | BIT(OPTION_FOLLOW) | BIT(OPTION_COUNT) |
         BIT(OPTION_RAW),
     command_tail, "show the events of a channel's log",
     "From the start given (earliest) to the end of the log, or on and on with --follow, which also waits for a "
     "channel that is "
     "not there\n"
     "yet. Ctrl-C ends it with exit 0. Of a peer's channel it is the log that is followed if there is one, else what "
     "came "
     "live;\n"
     "`channel ls` shows which there are.\n",
     "  net-mesh --endpoint b tail logs/app --origin alpha --follow\n"
     "  net-mesh --endpoint b tail logs/app --origin alpha --log followed\n"
     "  net-mesh --endpoint b tail logs/app --raw > app.log\n"
     "  net-mesh --endpoint b tail logs/app --start 1000 --count 10 --output json\n"},
    {"channel ls", "", 0, 0, 0, command_channel_ls, "list the channels of the node and their logs",
     "A channel has a log for each source: own, what a peer published live, what is followed of a peer's log, and what "
     "was\n"
     "followed earlier; `tail --log` takes the edition of the last two.\n",
     "  net-mesh --endpoint a channel ls\n"},
    {"subscription ls", "", 0, 0, 0, command_subscription_ls, "list what the node subscribes to",
     "Active is a subscription that the peer has agreed to in the session there is now. LAG: events of a followed log "
     "that\n"
     "are written there and not yet here; NOTE: why it is not active, or live though it was to be followed.\n",
     "  net-mesh --endpoint b subscription ls\n"},
    {"subscriber ls", "", 0, 0, 0, command_subscriber_ls, "list who reads the node's channels, and how far behind", "",
     "  net-mesh --endpoint a subscriber ls\n"},
    {"session ls", "", 0, 0, 0, command_session_ls, "list the sessions with peers: cipher, age, traffic", "",
     "  net-mesh --endpoint a session ls\n"},
    {"stream ls", "[--peer PEER]", 0, 0, BIT(OPTION_PEER), command_stream_ls,
     "list the streams to and from peers: sequences, credit, how long they rest",
     "Every channel that a peer reads here, or the node reads there, has a stream; membership has one, too. Bytes are\n"
     "those of credit, payload and 80 a packet. --output json shows all there is.\n",
     "  net-mesh --endpoint a stream ls\n"
     "  net-mesh --endpoint a stream ls --peer beta --output json\n"},
    {"shard ls", "", 0, 0, 0, command_shard_ls, "list the shards and what they have done since the start", "",
     "  net-mesh --endpoint a shard ls\n"},
    {"status", "", 0, 0, 0, command_status, "show how the node is", "", "  net-mesh --endpoint a status\n"},
    {"metrics", "", 0, 0, 0, command_metrics, "show all counters, as Prometheus reads them", "",
     "  net-mesh --endpoint a metrics | grep drops\n"},
    {"top", "[--interval DURATION] [--sort COLUMN] [--once]", 0, 0,
     BIT(OPTION_INTERVAL) | BIT(OPTION_ONCE) | BIT(OPTION_SORT), command_top,
     "watch the node: its shards, peers, channels and drops",
     "A screen that is drawn anew every interval; h shows the keys, q ends it. With --once two looks, an interval "
     "apart, "
     "are one\n"
     "text, or data with --output json, ndjson or yaml.\n",
     "  net-mesh --endpoint a top\n"
     "  net-mesh --endpoint a top --once --sort channels.bytes_per_s\n"
     "  net-mesh --endpoint a --output json top --once --interval 5s\n"},
    {"shutdown", "", 0, 0, 0, command_shutdown, "stop the node in good order; returns when its process is gone", "",
     "  net-mesh --endpoint a shutdown\n"},
    {"doctor", "[DIR]", 0, 1, CLI_LOCAL, command_doctor, "check whether this machine, and DIR, are fit for a node",
     "Looks at the kernel's features and limits, clock, CPUs and memory; with DIR at its files, its disk (200 syncs of "
     "4 "
     "KiB in\n"
     "a file that is gone at once), its ports, the paths to its peers, and the node that runs there. Nothing is "
     "changed.\n"
     "Each check is ok, warn or fail, with what to do about it. Exit 1 when one fails.\n",
     "  net-mesh doctor\n"
     "  net-mesh doctor a\n"
     "  net-mesh doctor a --output json\n"},
    {"bench", "[--duration DURATION] [--size N[,N]...] [--dir DIR] [--quick]", 0, 0,
     CLI_LOCAL | BIT(OPTION_DURATION) | BIT(OPTION_SIZE) | BIT(OPTION_DIR) | BIT(OPTION_QUICK), command_bench,
     "measure what two nodes do on this machine",
     "Runs two nodes over loopback, with directories of their own that are gone afterwards: events per second, "
     "without\n"
     "and with logs, latencies, and publishing that waits for the disk, beside what the machine's cipher and disk do\n"
     "alone. Logs take at most 1 GiB a node, and an eighth of the memory and disk that are free.\n",
     "  net-mesh bench --quick\n"
     "  net-mesh bench --duration 2s --size 256 --dir /srv --output json\n"},
    {"completion", "bash|zsh|fish", 1, MANY, CLI_LOCAL, command_completion,
     "print what a shell needs to complete commands",
     "Commands, options, their words, and the channels and peers of the node that the line names. Installed with the\n"
     "program; these load it by hand.\n",
     "  source <(net-mesh completion bash)\n"
     "  net-mesh completion zsh > ~/.zfunc/_net-mesh\n"
     "  net-mesh completion fish > ~/.config/fish/completions/net-mesh.fish\n"},
    {"man", "[COMMAND...|node.yaml]", 0, 2, CLI_LOCAL, command_man, "print a manual page",
     "The page of all commands, of one, or of the keys of node.yaml, as source for man.\n",
     "  net-mesh man | man -l -\n"
     "  net-mesh man tail | man -l -\n"
     "  net-mesh man node.yaml > net-mesh.yaml.5\n"},
    {"version", "", 0, 0, CLI_LOCAL, command_version, "show the version of this program", "", "  net-mesh version\n"},
    {"help", "[COMMAND...]", 0, 2, CLI_LOCAL, command_help, "show help", "", "  net-mesh help peer add\n"},
};

const size_t cli_command_count = sizeof cli_commands / sizeof cli_commands[0];

/* How many of the words name `command`; 0: they do not. */
static size_t match(const struct cli_command *command, const char *const *words, size_t count)
{
    const char *space = strchr(command->name, ' ');
    size_t first = space ? (size_t)(space - command->name) : strlen(command->name);
    if (count < 1 || strlen(words[0]) != first || memcmp(words[0], command->name, first) != 0)
        return 0;
    if (!space)
        return 1;
    return count >= 2 && strcmp(words[1], space + 1) == 0 ? 2 : 0;
}

const struct cli_command *cli_find_command(const char *const *words, size_t count, size_t *used)
{
    for (size_t i = 0; i < cli_command_count; i++)
        if ((*used = match(&cli_commands[i], words, count)) > 0)
            return &cli_commands[i];
    return NULL;
}
