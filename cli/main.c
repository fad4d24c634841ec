/* The net-mesh program: a command line in, an exit code out. */
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/*
 * Whoever closed one of 0, 1, 2 must not find a socket or a log under that number: what is written to stdout would go
 * there. The stand-ins are opened the wrong way round, so that using them is an error, as it is with a closed one.
 */
static bool occupy_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    return true;
}

/* Colours are off before anything is said about the rest of the line. */
static void heed_no_color(char **argv)
{
    for (char **a = argv + 1; *a && strcmp(*a, "--") != 0; a++)
        if (strcmp(*a, "--no-color") == 0)
            setenv("NO_COLOR", "1", 1);
}

int main(int argc, char **argv)
{
    size_t room = (size_t)argc + 1;
    struct cli_args args = {.words = calloc(room, sizeof *args.words), .sets = calloc(room, sizeof *args.sets)};
    if (!occupy_standard_descriptors())
        return CLI_FAILURE; /* there is nowhere to say so */
    if (!args.words || !args.sets)
        return cli_error(CLI_FAILURE, "out of memory");
    heed_no_color(argv);
    setlocale(LC_CTYPE, "C.UTF-8"); /* for the width of characters */
    signal(SIGPIPE, SIG_IGN);       /* a closed stdout is an error of its write */
    int code = cli_parse(&args, argc, argv);
    if (code == CLI_OK)
        code = args.command->run(&args);
    free(args.words);
    free(args.sets);
    return code;
}
