/*
 * A process that keeps a mirror on a simulated host: what the other log has is appended from where the mirror ends, as
 * a follower does, with repeats and with holes. Each start, and each turn now and then, checks that nothing is missing
 * or there twice: the mirror goes on exactly behind the last event it has.
 */
#ifndef NM_TESTS_SIM_REDEX_COPIER_H
#define NM_TESTS_SIM_REDEX_COPIER_H

#include "storage/redex/redex.h"
#include "tests/sim/mesh/redex_logger.h" /* check() */
#include "tests/sim/world/sim.h"

enum { COPIER_START = 5 }; /* the mirror's first sequence */

struct copier {
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
    uint64_t written, synced; /* the furthest that was ever reported */
    uint64_t opened_at, skips;
    bool made, cut, closing, closed, tolerant; /* tolerant: the disk fails, and an open may */
    int open_err, close_err;
    const char *where; /* said when a check fails; may be NULL */
};

void copier_init(struct copier *, uint64_t seed); /* the policy is drawn */
bool copier_start(struct copier *);
void copier_cut_power(struct copier *);
void copier_stop(struct copier *); /* in order */
/* Of a mirror that is open. */
void copier_check_events(struct copier *);

#endif
