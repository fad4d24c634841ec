/* The io_uring back end of core/io/io.h: one reactor per shard, made and run by that shard's thread. */
#ifndef NM_SHARDS_REACTOR_REACTOR_H
#define NM_SHARDS_REACTOR_REACTOR_H

#include <signal.h>

#include "core/base/histogram.h"
#include "core/io/io.h"

struct reactor; /* `struct io *reactor_io(r)` is its public head */

/* What all shards of a node share: the reuseport group, made before the threads start, by one thread, in shard order.
 */
struct reactor_group;

struct reactor_group_options {
    struct io_addr listen;  /* UDP, of all shards; port 0: any */
    unsigned shards;        /* 1..64 */
    uint32_t socket_buffer; /* bytes asked for, with SO_*BUFFORCE first */
    bool gso, gro;          /* wanted; see reactor_group_features */
    bool admin_is_unix;     /* the admin listener, shard 0's; unix sockets get mode 0600 and replace a dead one */
    struct io_addr admin_addr;
    const char *admin_path;
    bool no_admin;
};
struct reactor_features {
    bool gso, gro, steering;      /* what the kernel gave */
    uint32_t socket_buffer;       /* SO_RCVBUF got, payload bytes (half of what getsockopt reports) */
    struct io_addr listen, admin; /* as bound, with the port the kernel chose where 0 was asked for; admin: TCP only */
};

/* Tries every kernel feature that is needed; NET_ERR_UNSUPPORTED with which and why and the remedy in `why`. Binds the
 * sockets (NET_ERR_IO with why, e.g. address in use). `why` is cut at why_len bytes; options are copied. */
int reactor_group_create(struct reactor_group **, const struct reactor_group_options *, char *why, size_t why_len);
void reactor_group_features(const struct reactor_group *, struct reactor_features *);
void reactor_group_destroy(struct reactor_group *); /* closes all sockets together; after all reactors are gone */

struct reactor_options {
    unsigned shard;          /* below the group's `shards`; each once */
    const sigset_t *signals; /* for IO_SIGNAL, shard 0's; blocked in all threads by the caller; NULL: none */
    uint64_t spin_ns;        /* look for work this long before sleeping */
    uint32_t recv_buffers;   /* 0 = 16, of 64 KiB each */
};

struct reactor_stats { /* any thread may read them */
    counter enters, sqes, cqes, datagrams_in, datagrams_out, recv_batches, send_batches,
        gso_fallbacks,        /* sends of several datagrams that went one by one */
        no_buffers,           /* times the receive paused until buffers were back; nothing is lost by that */
        doorbells,            /* rung by this shard */
        socket_overflows;     /* SO_RXQ_OVFL: dropped by the kernel for want of socket buffer */
    struct histogram turn_ns; /* from the end of one wait to the beginning of the next: the work of a turn */
};

/* Called by the shard's own thread (SINGLE_ISSUER). 0, or NET_ERR_UNSUPPORTED, NET_ERR_IO, NET_ERR_NO_MEMORY or
 * NET_ERR_INVALID with `why` filled. */
int reactor_create(struct reactor **, struct reactor_group *, const struct reactor_options *, char *why,
                   size_t why_len);
struct io *reactor_io(struct reactor *); /* both as long as the reactor */
const struct reactor_stats *reactor_get_stats(const struct reactor *);

/*
 * One turn's worth of the world: submits what was submitted, waits for completions until `deadline` (monotonic ns; 0 =
 * do not wait) unless some are there, reads the clocks, calls `done` for what completed. With `idle` non-NULL and a
 * wait ahead, the sleep protocol runs: publish "sleeping", fence, ask idle(ctx) once more (true: nothing to do), then
 * sleep; others' doorbells reach only a sleeper. Returns the number of completions, or a net_err that is fatal.
 */
int reactor_turn(struct reactor *, uint64_t deadline, bool (*idle)(void *ctx), void *ctx);

/* True while operations are pending; cancel them and turn until false before reactor_destroy. */
bool reactor_busy(const struct reactor *);
void reactor_cancel_all(struct reactor *);
void reactor_destroy(struct reactor *);

#endif
