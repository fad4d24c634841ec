/*
 * A process that keeps one log on a simulated host, and a model of what must be in it: random appends, flushes and
 * syncs under a retention policy. What must hold after a crash is in redex_logger.c, check_recovered().
 */
#ifndef NM_TESTS_SIM_REDEX_LOGGER_H
#define NM_TESTS_SIM_REDEX_LOGGER_H

#include "storage/redex/redex.h"
#include "tests/sim/world/sim.h"

/* An event as it was appended; its payload follows from `id`, which no other event has (one of a few bytes may repeat).
 */
struct appended {
    uint64_t seq, id, ts_ns, hash;
    uint32_t len;
    bool is_inline;
    bool lost;      /* a crash may have taken it: if it turns up it is this, but nobody misses it */
    bool any_stamp; /* ... or its stamp, while it was not retained */
};

struct model {
    struct appended *events; /* ascending by seq */
    size_t count, room;
    uint64_t next_id;
    uint64_t next_seq;        /* of the last process */
    uint64_t written, synced; /* the furthest that was ever reported */
    uint64_t given_up;        /* first sequence when retention was checked last: another policy may have held before */
    bool clean;               /* the last process stopped in order */
    bool cut;                 /* the power failed since */
    bool half_opened;         /* an open failed since, which may have replaced stamps that were lost */
};

struct logger {
    uint64_t seed;
    struct sim *sim;
    struct sim_host *host;
    struct io *io;
    struct redex *log;
    struct list dirty;
    struct timer_wheel timers;
    struct redex_syncs syncs;
    struct redex_stats stats;
    struct redex_policy policy;
    uint64_t max_bytes; /* struct redex_options */
    struct model model;
    bool closing, closed, tolerant; /* tolerant: the disk fails, and an open may */
    int open_err, close_err;
    unsigned refused_full; /* appends that got NET_ERR_FULL */
    const char *where;     /* said when a check fails; may be NULL */
};

extern const struct sim_node_ops logger_ops;

/* Fails the test and names the seed. */
#define check(l, condition)                                                                                            \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            cr_assert_fail("seed %llu: " #condition " %s", (unsigned long long)(l)->seed,                              \
                           (l)->where ? (l)->where : "");                                                              \
    } while (0)

void logger_init(struct logger *, uint64_t seed);
void logger_deinit(struct logger *);
bool logger_start(struct logger *);
/* Another policy, of which some limit nothing. */
void logger_draw_policy(struct logger *);
void logger_kill(struct logger *);
void logger_cut_power(struct logger *);
void logger_stop(struct logger *); /* in order */

#endif
