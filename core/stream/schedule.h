/*
 * Whose turn it is to send: deficit round robin over the flows of one peer, by bytes and weights, with a lane of flows
 * that go first. streams.md 11, routing.md 7. A flow takes part while it has something to send; one that is saturated
 * delays another by no more than its quantum. No memory of its own: flows are embedded in what sends.
 */
#ifndef NM_CORE_STREAM_SCHEDULE_H
#define NM_CORE_STREAM_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/list.h"

struct flow {
    struct list link; /* in its schedule while it wants to send */
    int64_t deficit;  /* bytes it may still send in this round; negative: it sent more than it might */
    uint8_t weight;   /* quanta per round */
    bool priority;    /* goes before all that do not, by turns with those that do */
    bool served;      /* this round's share was added */
};

struct schedule {
    struct list lanes[2]; /* those with priority, the others */
    uint32_t quantum;     /* bytes per round and weight, > 0; may be changed at any time */
};

void schedule_init(struct schedule *, uint32_t quantum);
void flow_init(struct flow *, uint8_t weight, bool priority); /* weight 0 counts as 1 */
/* It has something to send; no-op when that was known. A flow that joins waits for its turn. */
void schedule_wake(struct schedule *, struct flow *);
/* It has nothing (or is about to be freed); no-op outside. What it might have sent is forgotten, what it owes is not.
 */
void schedule_sleep(struct schedule *, struct flow *);
/* Whose turn it is, and how much it may send, more than 0; the same again until schedule_spent() or schedule_sleep().
 * NULL: nobody wants to send. */
struct flow *schedule_next(struct schedule *, uint64_t *allowance);
/* Nobody else wants to send. */
bool schedule_alone(const struct schedule *, const struct flow *);
/* It sent `bytes`, more than its allowance maybe (packets are not cut). Also for a flow that sent outside its turn. */
void schedule_spent(struct schedule *, struct flow *, uint64_t bytes);

#endif
