/* node run: a node in the foreground, until it is told to stop. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/endpoint.h"
#include "core/base/err.h"
#include "shards/config/config.h"
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

/* A descriptor of the node's own must not become 0, 1 or 2, where others write. */
static void keep_standard_descriptors(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && fd <= STDERR_FILENO)
        ;
    if (fd >= 0)
        close(fd);
}

/* --set in order, after what -q, -v and NET_MESH_LOG say: an explicit logging.level is the later one. */
static const char **overrides_of(const struct cli_args *args, size_t *count)
{
    static const char *const levels[] = {"logging.level=error", "logging.level=warn", "logging.level=info",
                                         "logging.level=debug", "logging.level=debug"};
    const char **overrides = calloc(args->set_count + 1, sizeof *overrides);
    *count = 0;
    if (!overrides)
        return NULL;
    if (args->level_from_log)
        overrides[(*count)++] = levels[args->level];
    else if (args->level != SAY_WARN) /* info is what a node says anyhow: -v is for more */
        overrides[(*count)++] = levels[args->level == SAY_ERROR ? SAY_ERROR : SAY_DEBUG];
    for (size_t i = 0; i < args->set_count; i++)
        overrides[(*count)++] = args->sets[i];
    return overrides;
}

/* The library has one error for all files of the directory; the exit code depends on which it was. */
static int open_failed(const char *dir, const char *const *overrides, size_t count, int err, const char *text)
{
    struct config c;
    struct config_error error;
    struct node_secrets secrets;
    if (config_load(dir, NULL, 0, &c, &error) != NET_OK)
        return cli_error(CLI_CONFIG, "%s", text);
    if (config_load(dir, overrides, count, &c, &error) != NET_OK)
        return cli_error(CLI_USAGE, "%s", text);
    int secret_err = node_dir_load_secrets(dir, &secrets, &error);
    node_secrets_wipe(&secrets);
    if (secret_err)
        return endpoint_secret_error(secret_err, &error);
    return cli_error(err == NET_ERR_INVALID ? CLI_CONFIG : CLI_FAILURE, "%s", text); /* peers.yaml */
}

static void say_ready(void *ctx, const char *json_line)
{
    (void)ctx;
    printf("%s\n", json_line);
    fflush(stdout);
}

int command_node_run(const struct cli_args *args)
{
    struct netmesh *nm = NULL;
    const char *dir = args->words[0];
    char error[1200] = "";
    size_t count;
    const char **overrides = overrides_of(args, &count);
    keep_standard_descriptors();
    if (!overrides)
        return cli_error(CLI_FAILURE, "out of memory");
    int code = CLI_OK;
    int err = netmesh_open(&nm, dir, overrides, count, NULL, error, sizeof error);
    if (err)
        code = open_failed(dir, overrides, count, err, error);
    free(overrides);
    if (code != CLI_OK)
        return code;
    raise_descriptor_limit();
    netmesh_tell_service_manager(nm);
    if (netmesh_run(nm, true, say_ready, NULL, error, sizeof error) != 0)
        code = cli_error(CLI_FAILURE, "%s", error);
    netmesh_close(nm);
    return code;
}
