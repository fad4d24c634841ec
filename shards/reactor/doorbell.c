/*
 * Doorbells between the shards of a node: a message from ring to ring, sent only to a shard that said it goes to sleep.
 * Both sides change the flag by an atomic exchange, and exchanges of one variable have one order: either the ringer
 * sees "sleeping", or the sleeper, which comes later, sees all that the ringer wrote before (it looks at its rings once
 * more).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "shards/reactor/reactor_internal.h"

static struct bell *own_bell(struct reactor *r)
{
    return &r->group->bells[r->io.shard];
}

int doorbell_init(struct reactor *r)
{
    assert(own_bell(r)->ring < 0); /* a shard's ring is made once in the life of its group */
    int fd = fcntl(r->ring.ring_fd, F_DUPFD_CLOEXEC, 0);
    own_bell(r)->ring = fd;
    return fd < 0 ? -errno : 0;
}

void doorbell_deinit(struct reactor *r)
{
    atomic_store_explicit(&own_bell(r)->sleeping, 0, memory_order_relaxed);
}

void doorbell_ring(struct io *io, unsigned shard)
{
    struct reactor *r = reactor_of(io);
    struct bell *bell = &r->group->bells[shard];
    if (atomic_exchange_explicit(&bell->sleeping, 0, memory_order_acq_rel) == 0)
        return;
    /* Ignored by both sides when it completes; a full CQ over there means that nobody sleeps. */
    struct io_uring_sqe *sqe = ring_sqe(r, NULL);
    io_uring_prep_msg_ring(sqe, bell->ring, 0, 0, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    counter_add(&r->stats.doorbells, 1);
}

bool doorbell_fall_asleep(struct reactor *r, bool (*idle)(void *), void *ctx)
{
    atomic_exchange_explicit(&own_bell(r)->sleeping, 1, memory_order_acq_rel);
    return idle(ctx);
}

/* Also by an exchange: a plain store would stand between the ringer's exchange and our next one, which then would see
 * "not sleeping" but not what the ringer wrote. */
void doorbell_wake_up(struct reactor *r)
{
    atomic_exchange_explicit(&own_bell(r)->sleeping, 0, memory_order_acq_rel);
}
