/* publish --to PEER --producer FILE: input as appends that are numbered, so that none is made twice. */
#ifndef NM_CLI_APPEND_H
#define NM_CLI_APPEND_H

#include "cli/cli.h"

int append_run(const struct cli_args *); /* an exit code */

#endif
