/* An application whose hook does what hooks must not: shard 1 hangs for as long as the file DIR/stall exists. Told by
 * a service manager's watchdog, tests/e2e/test_service.py. */
#include <netmesh.h>
#include <stdio.h>
#include <unistd.h>

struct stall {
    char path[4096];
    struct netmesh_shard *shard;
};

static void on_start(void *ctx, struct netmesh_shard *shard, unsigned index)
{
    struct stall *stall = ctx;
    if (index == 1)
        stall->shard = shard;
}

static bool on_turn(void *ctx, struct netmesh_shard *shard)
{
    const struct stall *stall = ctx;
    while (shard == stall->shard && access(stall->path, F_OK) == 0)
        usleep(10000);
    return false;
}

static void on_ready(void *ctx, const char *json_line)
{
    (void)ctx;
    puts(json_line);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct stall stall;
    struct netmesh_hooks hooks = {.ctx = &stall, .on_start = on_start, .on_turn = on_turn};
    const char *overrides[] = {"shards.count=2"};
    struct netmesh *node;
    char error[1024] = "which directory?";
    if (argc != 2 || netmesh_open(&node, argv[1], overrides, 1, &hooks, error, sizeof error) != 0) {
        fprintf(stderr, "stall: %s\n", error);
        return 1;
    }
    snprintf(stall.path, sizeof stall.path, "%s/stall", argv[1]);
    netmesh_tell_service_manager(node);
    int err = netmesh_run(node, true, on_ready, NULL, error, sizeof error);
    if (err)
        fprintf(stderr, "stall: %s\n", error);
    netmesh_close(node);
    return err ? 1 : 0;
}
