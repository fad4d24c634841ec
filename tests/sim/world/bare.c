#include "tests/sim/world/bare.h"

#include <assert.h>

static void *create(void *ctx, struct io *const *ios, unsigned shards)
{
    struct io **out = ctx;
    for (unsigned i = 0; i < shards; i++)
        out[i] = ios[i];
    return ctx;
}

static uint64_t turn(void *node, unsigned shard)
{
    (void)node;
    (void)shard;
    return SIM_NEVER;
}

static void destroy(void *node)
{
    (void)node;
}

static const struct sim_node_ops ops = {create, turn, NULL, destroy};

struct sim_host *bare_host(struct sim *sim, unsigned shards, struct io **io)
{
    struct sim_host *host = sim_add_host(sim, shards);
    sim_host_start(host, &ops, io);
    return host;
}

static void done(struct io_op *op, int32_t res)
{
    struct bare_op *b = container_of(op, struct bare_op, op);
    b->finished = true;
    b->res = res;
    b->at = io_now(b->io);
}

void bare_submit(struct io *io, struct bare_op *b)
{
    b->io = io;
    b->finished = false;
    b->op.done = done;
    io_submit(io, &b->op);
}

static bool unfinished(void *ctx)
{
    return !((struct bare_op *)ctx)->finished;
}

int32_t bare_run(struct sim *sim, struct io *io, struct bare_op *b)
{
    bare_submit(io, b);
    bool ended = sim_run_while(sim, unfinished, b, SIM_S);
    assert(ended);
    return b->res;
}
