/* Timers of one shard: a hierarchical wheel, O(1) to arm and to cancel, intrusive, no allocation. 1.048576 ms ticks. */
#ifndef NM_CORE_BASE_TIMER_H
#define NM_CORE_BASE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/list.h"

struct timer;
typedef void timer_fn(struct timer *, uint64_t now_ns);

struct timer {
    struct list link;
    uint64_t    deadline; /* ns; meaningful while armed */
    timer_fn   *fire;
};

#define TIMER_LEVELS 6
#define TIMER_SLOTS  64

struct timer_wheel {
    uint64_t    tick; /* of the last advance */
    uint32_t    count;
    uint64_t    occupied[TIMER_LEVELS];
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
};

void timer_wheel_init(struct timer_wheel *, uint64_t now_ns);
void timer_init(struct timer *, timer_fn *);
/* Arms or re-arms; fires at the first advance with now >= deadline (never early, at most one tick late). */
void timer_arm(struct timer_wheel *, struct timer *, uint64_t deadline_ns);
void timer_cancel(struct timer_wheel *, struct timer *); /* no-op when not armed */
bool timer_armed(const struct timer *);
/* Fires what is due, each disarmed before its call; a callback may arm and cancel any timer. */
void timer_wheel_advance(struct timer_wheel *, uint64_t now_ns);
/* A lower bound of the next deadline that is at most one tick early, or UINT64_MAX when nothing is armed. */
uint64_t timer_wheel_next(const struct timer_wheel *);

#endif
