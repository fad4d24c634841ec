/* The net-mesh program: a command line in, an exit code out. */
#include <signal.h>
#include <stdlib.h>

#include "cli/cli.h"

int main(int argc, char **argv)
{
    size_t room = (size_t)argc + 1;
    struct cli_args args = {.words = calloc(room, sizeof *args.words), .sets = calloc(room, sizeof *args.sets)};
    if (!args.words || !args.sets)
        return cli_error(CLI_FAILURE, "out of memory");
    signal(SIGPIPE, SIG_IGN); /* a closed stdout is an error of its write */
    int code = cli_parse(&args, argc, argv);
    if (code == CLI_OK)
        code = args.command->run(&args);
    free(args.words);
    free(args.sets);
    return code;
}
