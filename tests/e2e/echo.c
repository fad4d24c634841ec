/*
 * An application with a node inside, as its makers would write it: of this repository it sees netmesh.h alone, and it
 * is linked with the shared library. What arrives on any channel it publishes again on `echo`, until SIGTERM.
 */
#include <netmesh.h>
#include <stdio.h>
#include <string.h>

enum { KEEP = 1 << 20 };

struct echo {
    uint8_t frames[KEEP];
    size_t len;
    uint32_t count;
};

static void on_events(void *ctx, struct netmesh_shard *shard, const struct netmesh_events *e)
{
    struct echo *echo = ctx;
    (void)shard;
    if (echo->len + e->len > sizeof echo->frames)
        return;
    memcpy(echo->frames + echo->len, e->frames, e->len);
    echo->len += e->len;
    echo->count += e->count;
}

static bool on_turn(void *ctx, struct netmesh_shard *shard)
{
    struct echo *echo = ctx;
    if (echo->count == 0)
        return false;
    int err = netmesh_publish(shard, "echo", echo->frames, echo->len, echo->count);
    if (err == NETMESH_AGAIN)
        return true;
    if (err)
        fprintf(stderr, "echo: %s\n", netmesh_error_text(err));
    echo->len = echo->count = 0;
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
    static struct echo echo;
    struct netmesh_hooks hooks = {.ctx = &echo, .on_events = on_events, .on_turn = on_turn};
    const char *overrides[] = {"shards.count=1"}; /* so that the one shard owns every channel */
    struct netmesh *node;
    char error[1024] = "which directory?";
    if (argc != 2 || netmesh_open(&node, argv[1], overrides, 1, &hooks, error, sizeof error) != 0) {
        fprintf(stderr, "echo: %s\n", error);
        return 1;
    }
    int err = netmesh_run(node, true, on_ready, NULL, error, sizeof error);
    if (err)
        fprintf(stderr, "echo: %s\n", error);
    netmesh_close(node);
    return err ? 1 : 0;
}
