/* What bench_limits measures with: two ends that send to each other, in one of two ways. */
#ifndef NM_BENCH_LIMITS_H
#define NM_BENCH_LIMITS_H

#include <netinet/in.h>
#include <sched.h>
#include <stdatomic.h>

#include "bench/measure.h"
#include "shards/reactor/reactor.h"

enum {
    LIMITS_SIZES = 16,
    LIMITS_PING = 64,         /* bytes of what goes to and fro */
    LIMITS_GSO_BYTES = 65000, /* of one send, at most */
    LIMITS_GSO_SEGMENTS = 64, /* of one send, at most */
    LIMITS_SOCKET = 4 << 20,  /* bytes of socket buffer asked for */
};

struct options {
    bool json;
    double seconds;
    uint16_t sizes[LIMITS_SIZES];
    unsigned size_count, rounds, cpus[2];
    uint32_t recv_buffers;
};

/* One end of a measurement: a thread on its own core. The ends share nothing but the sockets and the flags. */
struct end {
    const struct options *options;
    unsigned cpu;
    int fd; /* raw; unconnected, as the socket of a node is */
    struct sockaddr_in to;
    struct reactor_group *group; /* reactor */
    struct io_addr peer;
    uint16_t size; /* bytes of a datagram, of the end that floods */
    bool spin;
    atomic_bool *stop;
    atomic_uint *ready;
    uint64_t datagrams, bytes, elapsed; /* counted where they arrive; ns from the first to the last */
    uint32_t *samples;                  /* ns of each round trip, of the end that pings; else NULL */
};

struct pair {
    struct end a, b; /* a floods or pings */
    atomic_bool stop;
    atomic_uint ready;
};

typedef void *end_fn(void *end); /* the life of an end's thread */

/* A way to the other end. `open` makes what both ends need, before their threads; `close` is for after them. */
struct way {
    void (*open)(struct pair *);
    void (*close)(struct pair *);
    end_fn *flood, *drain; /* until `stop` */
    end_fn *ping, *pong;   /* options->rounds times; ping sets `stop` */
};
extern const struct way way_raw;     /* limits_raw.c: plain system calls */
extern const struct way way_reactor; /* limits_reactor.c */

/* Both ends begin together, each on its core. */
static inline void end_begin(struct end *e)
{
    pin_to(e->cpu);
    atomic_fetch_add(e->ready, 1);
    while (atomic_load(e->ready) < 2)
        sched_yield();
}

static inline bool end_stopped(const struct end *e)
{
    return atomic_load_explicit(e->stop, memory_order_relaxed);
}

/* `len` bytes have arrived, in datagrams of `segment` bytes (0: in one). *first: when the first came, 0 before it. */
static inline void end_count(struct end *e, size_t len, size_t segment, uint64_t *first)
{
    uint64_t now = now_ns();
    if (*first == 0)
        *first = now;
    e->datagrams += segment ? (len + segment - 1) / segment : 1;
    e->bytes += len;
    e->elapsed = now - *first;
}

/* The bytes of the largest send of datagrams of `size` bytes. */
static inline size_t batch_bytes(uint16_t size)
{
    size_t n = (size_t)LIMITS_GSO_BYTES / size;
    return (n < LIMITS_GSO_SEGMENTS ? n : LIMITS_GSO_SEGMENTS) * size;
}

#endif
