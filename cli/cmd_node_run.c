/* node run: a node in the foreground, until it is told to stop. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/cli.h"
#include "core/base/err.h"
#include "shards/netmesh.h"

/* Connections and logs need descriptors: take what the system lets this user have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            cli_error(CLI_OK, "cannot raise the limit of open files: %s", strerror(errno));
    }
}

static void say_ready(void *ctx, const char *json_line)
{
    (void)ctx;
    printf("%s\n", json_line);
    fflush(stdout);
}

int command_node_run(const struct cli_args *args)
{
    struct netmesh *nm;
    char error[1200] = "";
    int err = netmesh_open(&nm, args->words[0], args->sets, args->set_count, NULL, error, sizeof error);
    if (err)
        return cli_error(err == NET_ERR_NO_MEMORY ? CLI_FAILURE : CLI_CONFIG, "%s", error);
    raise_descriptor_limit();
    err = netmesh_run(nm, true, say_ready, NULL, error, sizeof error);
    netmesh_close(nm);
    return err ? cli_error(CLI_FAILURE, "%s", error) : CLI_OK;
}
