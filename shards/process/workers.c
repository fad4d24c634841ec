/* The threads of a node, and the reactor of each. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/err.h"
#include "shards/process/machine.h"
#include "shards/process/netmesh_internal.h"
#include "shards/report/say.h"

static const uint64_t ENDING_NS = UINT64_C(2000000000);    /* what cancelled operations get to complete */
static const uint64_t ENDING_TURN_NS = UINT64_C(10000000); /* and how long until they are cancelled again */
enum { JOIN_S = 5 };                                       /* and a thread of a stop that was given up, to end */

int shard_run(struct netmesh *nm, unsigned index, struct reactor **r, struct config_error *error)
{
    struct reactor_options options = {
        .shard = index,
        .signals = index == 0 && nm->handle_signals ? &nm->signals : NULL,
        .spin_ns = nm->config.spin_ns,
    };
    if (nm->config.pin && !machine_pin(&nm->config, index))
        node_say(nm->node, LEVEL_WARN, "shards.pin: cannot pin shard %u (%s)", index, strerror(errno));
    int err = reactor_create(r, nm->group, &options, error->text, sizeof error->text);
    if (err)
        return err;
    shard_set_reactor_stats(node_shard(nm->node, index), reactor_get_stats(*r));
    err = shard_start(nm->node, index, reactor_io(*r), error);
    return err;
}

bool reactor_end(struct reactor *r, struct shard *s)
{
    struct io *io = reactor_io(r);
    uint64_t until = io->ops->clock(io) + ENDING_NS;
    while (reactor_busy(r)) {
        uint64_t now = io->ops->clock(io);
        reactor_cancel_all(r); /* at each pass: a completion may have submitted another operation */
        if (now > until || reactor_turn(r, now + ENDING_TURN_NS, NULL, NULL) < 0)
            return false;
    }
    shard_end(s);
    reactor_destroy(r);
    return true;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct reactor *r = NULL;
    w->err = shard_run(w->nm, w->index, &r, &w->error);
    sem_post(&w->nm->started);
    struct shard *s = node_shard(w->nm->node, w->index);
    while (w->err == NET_OK) {
        uint64_t deadline = shard_turn(s);
        if (shard_done(s))
            break;
        if (reactor_turn(r, deadline, shard_idle, s) < 0)
            w->err = NET_ERR_IO;
    }
    if (w->err == NET_OK && node_gave_up(w->nm->node))
        shard_tell_unfinished(s);
    w->stuck = r && !reactor_end(r, s);
    return NULL;
}

int workers_start(struct netmesh *nm, char *error, size_t len)
{
    unsigned n = nm->config.shards;
    for (unsigned i = 1; i < n; i++) {
        nm->workers[i] = (struct worker){.nm = nm, .index = i};
        int res = pthread_create(&nm->workers[i].thread, NULL, worker_main, &nm->workers[i]);
        if (res)
            return netmesh_fail(error, len, "cannot start a thread for shard %u: %s", i, strerror(res));
        nm->workers[i].started = true;
        while (sem_wait(&nm->started) != 0)
            ;
        if (nm->workers[i].err) {
            netmesh_fail(error, len, "%s", nm->workers[i].error.text);
            return nm->workers[i].err;
        }
    }
    return NET_OK;
}

void workers_abandon(struct netmesh *nm)
{
    for (unsigned i = 1; i < nm->config.shards; i++)
        if (nm->workers[i].started)
            shard_abandon(node_shard(nm->node, i));
}

/* One that gave up may hang in a system call for as long as the disk does. */
void workers_join(struct netmesh *nm)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += JOIN_S;
    for (unsigned i = 1; i < nm->config.shards; i++) {
        struct worker *w = &nm->workers[i];
        if (!w->started)
            continue;
        if (!node_gave_up(nm->node))
            pthread_join(w->thread, NULL);
        else if (pthread_clockjoin_np(w->thread, NULL, CLOCK_MONOTONIC, &until) != 0) {
            nm->stuck = true;
            continue;
        }
        nm->stuck |= w->stuck;
    }
}
