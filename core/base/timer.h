/*
 * Timers of one shard: a hierarchical wheel, O(1) to arm and to cancel, intrusive, no allocation. Ticks of 1.048576 ms;
 * within a tick the deadlines are exact. Any uint64_t of nanoseconds is a deadline, centuries ahead too.
 */
#ifndef NM_CORE_BASE_TIMER_H
#define NM_CORE_BASE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/list.h"

struct timer;
typedef void timer_fn(struct timer *, uint64_t now_ns); /* `now_ns` is that of the advance */

/* Embedded in its owner, which keeps it in place while it is armed. */
struct timer {
    struct list link;
    uint64_t deadline; /* monotonic ns; meaningful while armed */
    timer_fn *fire;
};

#define TIMER_LEVELS 8
#define TIMER_SLOTS 64

struct timer_wheel {                 /* holds lists: stays where it was initialised */
    uint64_t tick;                   /* of the last advance */
    uint64_t soonest;                /* no deadline within this tick is earlier, ns */
    uint32_t count;                  /* armed timers */
    uint64_t occupied[TIMER_LEVELS]; /* bit i: slots[level][i] is not empty */
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
};

void timer_wheel_init(struct timer_wheel *, uint64_t now_ns);
void timer_init(struct timer *, timer_fn *);
/* Arms or re-arms; fires at the first advance with now >= deadline. Armed from a callback for a time already past, it
 * fires at the next advance, not in this one. */
void timer_arm(struct timer_wheel *, struct timer *, uint64_t deadline_ns);
void timer_cancel(struct timer_wheel *, struct timer *); /* no-op when not armed */
bool timer_armed(const struct timer *);
/* Fires what is due, each disarmed before its call; a callback may arm and cancel any timer. `now_ns` never goes back.
 */
void timer_wheel_advance(struct timer_wheel *, uint64_t now_ns);
/* When to advance next, ns: never later than the next deadline; earlier a few times in the life of a timer, when it
 * changes levels, never twice for nothing. UINT64_MAX when nothing is armed. O(1). */
uint64_t timer_wheel_next(const struct timer_wheel *);

static inline uint64_t timer_earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
