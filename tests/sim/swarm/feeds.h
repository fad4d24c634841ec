/* What a plan's nodes publish, and what was said to be safe of it. */
#ifndef NM_TESTS_SIM_FEEDS_H
#define NM_TESTS_SIM_FEEDS_H

#include "shards/node/control.h"
#include "tests/sim/swarm/plan.h"

struct run;

enum { REQUESTS = 64 };

/* A publisher of the plan. Its events are those of mesh_event(), with the feed's number + 1 as their tag. */
struct feed {
    struct publisher publisher; /* first */
    struct run *run;
    const struct plan_feed *plan;
    uint32_t tag;
    bool open;              /* a publish is under way */
    bool finished;          /* and has all its events */
    bool ignored;           /* its node went down: what it still says does not count */
    uint64_t from, at, end; /* numbers of its events: [from, end), up to `at` are given */
    uint64_t next;          /* when the next batch is due */
    /* to a peer: an append that has no answer is asked for again, as long as it takes */
    bool unanswered;
    unsigned life; /* of the peer when it was asked last, */
    uint64_t boot; /* and of its machine */
    uint8_t producer[16];
    uint64_t sequence;
};

/* Something asked of a node, of which nobody waits for the answer. */
struct request {
    struct control_request request; /* first */
    unsigned node;
    bool open;
};

struct feeds {
    struct feed all[PLAN_FEEDS];
    struct request requests[REQUESTS];
    bool closing; /* nothing new is begun */
};

void feeds_init(struct run *);
void feeds_tick(struct run *);
void feeds_gone(struct run *, unsigned node); /* about to be killed: nothing it says counts any more */
bool feeds_idle(const struct run *);          /* closing, and all is answered */

#endif
