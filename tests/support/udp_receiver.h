/* An IO_UDP_RECV operation that takes arrivals apart as a node does, and what is sent to it. */
#ifndef NM_TESTS_SUPPORT_UDP_RECEIVER_H
#define NM_TESTS_SUPPORT_UDP_RECEIVER_H

#include "tests/support/reactor_fixture.h"

enum { MAX_BYTES = 65000, MAX_DATAGRAMS = 4096 };

/* Takes datagrams apart as the node does and remembers what came. */
struct receiver {
    struct io_op op; /* first */
    struct io *io;
    unsigned datagrams, batches;
    size_t bytes, len[MAX_DATAGRAMS];
    uint64_t sum;
    struct io_addr from;
    bool hold, truncated;
    uint32_t held[64];
    unsigned held_count;
    unsigned ended; /* completions without more */
    int32_t res;
};

/* Zeroes the receiver and submits it; it submits itself again whenever it ends with data. */
void receive(struct receiver *, struct io *);

extern uint8_t payload[MAX_BYTES];
void fill_payload(void);
/* A position-dependent sum: datagrams add up to the same only when each has the same bytes. */
uint64_t sum_of(const uint8_t *, size_t len);
/* Sends the first `len` bytes of the payload; the result of the operation. */
int32_t send_to(struct reactor *, const struct io_addr *, size_t len, uint16_t segment);

#endif
