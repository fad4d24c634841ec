/* Bare hosts that send and hear datagrams: a receiver that notes what came, and a send that is run to its end. */
#ifndef NM_TESTS_SIM_SINK_H
#define NM_TESTS_SIM_SINK_H

#include "tests/sim/world/bare.h"

enum { SINK_MAX = 20000, SINK_HOLD = 16 };

struct sink {
    struct io_op op;
    struct io *io;
    unsigned datagrams, arrivals, largest; /* segments of one arrival */
    uint32_t first[SINK_MAX];              /* the number each begins with, little endian; 0 when shorter than that */
    uint16_t len[SINK_MAX];
    uint64_t at[SINK_MAX];
    struct io_addr from; /* of the last */
    /* Optional: sees each datagram as it comes. */
    void (*see)(void *ctx, struct cspan datagram);
    void *ctx;
    uint32_t held[SINK_HOLD];
    const uint8_t *held_data[SINK_HOLD];
    unsigned hold, holding; /* keep that many buffers */
};

/* Hears what comes to this shard, from now on. The sink stays the caller's, while the process runs. */
void sink_start(struct sink *, struct io *);
/* Sends from the shard (segment 0: one datagram) and runs the world until it is done; what the operation answered. */
int32_t sink_send(struct sim *, struct io *, const struct io_addr *to, struct cspan data, uint16_t segment);
/* One datagram of `len` bytes, at least 4, that begins with the number; all others are 0. */
int32_t sink_send_number(struct sim *, struct io *, const struct io_addr *to, uint32_t number, size_t len);

#endif
