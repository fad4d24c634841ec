/* Reactors on loopback for tests: opened with any port, turned until something is true. */
#ifndef NM_TESTS_SUPPORT_REACTOR_FIXTURE_H
#define NM_TESTS_SUPPORT_REACTOR_FIXTURE_H

#include "shards/reactor/reactor.h"

#define FIXTURE_PATIENCE_NS 5000000000u
extern const struct io_addr loopback_v4, loopback_v6, any_v6; /* port 0 */

struct fixture {
    struct reactor_group *group;
    struct reactor_features features;
    unsigned shards;
    struct reactor *reactor[4];
    struct io *io[4];
};

/* Asserts success. gso, gro and 16 buffers unless `options` says otherwise; all reactors belong to the calling thread.
 */
void fixture_open(struct fixture *, unsigned shards, const struct io_addr *listen);
void fixture_open_with(struct fixture *, const struct reactor_group_options *, const struct reactor_options *);
/* Cancels what is pending, waits for it, destroys all. */
void fixture_close(struct fixture *);

/* An operation that remembers its completions. */
struct tracked {
    struct io_op op; /* first */
    unsigned completions;
    int32_t res; /* of the last completion */
};
void tracked_done(struct io_op *, int32_t res);
/* Submits, turns until the last completion; its result. Asserts that it comes in time. */
int32_t run_op(struct reactor *, struct tracked *);
/* Turns until `*count` reaches `value`; asserts that it does in time. */
void turn_until(struct reactor *, const unsigned *count, unsigned value);
void turn_until_idle(struct reactor *, const struct io_op *); /* until the operation is not pending */
void turn_for(struct reactor *, uint64_t ns);

struct io_addr with_port(struct io_addr, uint16_t port);
/* A plain blocking UDP socket connected to `to`, 2 s of receive timeout. */
int plain_udp(const struct io_addr *to);
int plain_connect(const struct io_addr *to); /* TCP */

#endif
