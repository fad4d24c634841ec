#include <criterion/criterion.h>

#include "core/base/timer.h"
#include "tests/support/splitmix.h"

#define TICK UINT64_C(1048576)
#define HOUR (UINT64_C(3600) * 1000000000)

/* A timer and what the model, a plain array, knows of it. */
enum { TIMERS = 300 };

struct world;
struct probe {
    struct timer timer;
    struct world *world;
    bool armed;
    uint64_t fired;
};
struct world {
    struct timer_wheel wheel;
    struct probe probes[TIMERS];
    uint64_t now, seed;
    bool busy; /* callbacks arm and cancel too */
};

static uint64_t random_deadline(struct world *w)
{
    switch (splitmix_below(&w->seed, 8)) {
    case 0:
        return w->now - splitmix_below(&w->seed, w->now / 2); /* past */
    case 1:
        return w->now + splitmix_below(&w->seed, TICK);
    case 2:
        return w->now + splitmix_below(&w->seed, 64 * TICK);
    case 3:
        return w->now + splitmix_below(&w->seed, 5000 * TICK);
    case 4:
        return w->now + splitmix_below(&w->seed, HOUR);
    case 5:
        return w->now + splitmix_below(&w->seed, 1000 * HOUR);
    case 6:
        return (w->now / TICK + splitmix_below(&w->seed, 200)) * TICK; /* exactly on a tick */
    default:
        return splitmix(&w->seed) | w->now; /* anything up to the end of time */
    }
}

static void arm(struct world *w, struct probe *p)
{
    timer_arm(&w->wheel, &p->timer, random_deadline(w));
    p->armed = true;
}

static void cancel(struct world *w, struct probe *p)
{
    timer_cancel(&w->wheel, &p->timer);
    p->armed = false;
}

static void on_fire(struct timer *t, uint64_t now)
{
    struct probe *p = container_of(t, struct probe, timer);
    struct world *w = p->world;
    cr_assert(p->armed, "fired without being armed");
    cr_assert(!timer_armed(t), "disarmed before the call");
    cr_assert_geq(now, t->deadline);
    p->armed = false;
    p->fired++;
    if (!w->busy)
        return;
    if (splitmix_below(&w->seed, 2))
        arm(w, p);
    struct probe *other = &w->probes[splitmix_below(&w->seed, TIMERS)];
    if (splitmix_below(&w->seed, 3) == 0)
        cancel(w, other);
    else if (splitmix_below(&w->seed, 3) == 0)
        arm(w, other);
}

static struct world *make_world(uint64_t now, uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    w->now = now;
    w->seed = seed;
    timer_wheel_init(&w->wheel, now);
    for (int i = 0; i < TIMERS; i++) {
        w->probes[i].world = w;
        timer_init(&w->probes[i].timer, on_fire);
    }
    return w;
}

static uint64_t model_next(const struct world *w)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < TIMERS; i++)
        if (w->probes[i].armed && w->probes[i].timer.deadline < next)
            next = w->probes[i].timer.deadline;
    return next;
}

static void check(const struct world *w)
{
    uint32_t armed = 0;
    for (int i = 0; i < TIMERS; i++) {
        cr_assert_eq(timer_armed(&w->probes[i].timer), w->probes[i].armed);
        armed += w->probes[i].armed;
    }
    cr_assert_eq(w->wheel.count, armed);
    cr_assert_leq(timer_wheel_next(&w->wheel), model_next(w));
    cr_assert_eq(timer_wheel_next(&w->wheel) == UINT64_MAX, model_next(w) == UINT64_MAX);
}

static void random_step(struct world *w)
{
    static const uint64_t steps[] = {1000, TICK / 3, TICK, 70 * TICK, 5000 * TICK, HOUR, 400 * HOUR};
    for (uint64_t n = splitmix_below(&w->seed, 6); n; n--) {
        struct probe *p = &w->probes[splitmix_below(&w->seed, TIMERS)];
        splitmix_below(&w->seed, 4) ? arm(w, p) : cancel(w, p);
    }
    check(w);
    uint64_t next = timer_wheel_next(&w->wheel);
    if (splitmix_below(&w->seed, 2) && next != UINT64_MAX)
        w->now = next > w->now ? next : w->now;
    else
        w->now += splitmix_below(&w->seed, steps[splitmix_below(&w->seed, 7)]);
    timer_wheel_advance(&w->wheel, w->now);
    check(w);
}

Test(timer, model_exact)
{
    struct world *w = make_world(123456789, 1);
    for (int i = 0; i < 20000; i++) {
        random_step(w);
        cr_assert_gt(model_next(w), w->now, "something due did not fire");
    }
    free(w);
}

Test(timer, model_callbacks)
{
    struct world *w = make_world(77, 2);
    w->now = 100 * TICK;
    w->busy = true;
    for (int i = 0; i < 20000; i++)
        random_step(w);
    w->busy = false; /* what callbacks armed for the past fires at the next advance */
    timer_wheel_advance(&w->wheel, w->now);
    cr_assert_gt(model_next(w), w->now);
    free(w);
}

Test(timer, following_next_reaches_every_deadline_in_few_steps)
{
    static const uint64_t deadlines[] = {1,    TICK - 1,    TICK,      5 * TICK + 3, 64 * TICK, 5000 * TICK + 7,
                                         HOUR, 1000 * HOUR, UINT64_MAX};
    for (size_t i = 0; i < sizeof deadlines / sizeof *deadlines; i++) {
        struct world *w = make_world(0, 3);
        struct probe *p = &w->probes[0];
        p->armed = true;
        timer_arm(&w->wheel, &p->timer, deadlines[i]);
        unsigned steps = 0;
        for (; !p->fired; steps++) {
            uint64_t next = timer_wheel_next(&w->wheel);
            cr_assert(steps == 0 || next > w->now, "woken twice for nothing");
            w->now = next;
            timer_wheel_advance(&w->wheel, w->now);
        }
        cr_assert_eq(w->now, deadlines[i], "neither early nor late");
        cr_assert_leq(steps, TIMER_LEVELS + 1);
        free(w);
    }
}

static void fire_then_rearm_now(struct timer *t, uint64_t now)
{
    struct probe *p = container_of(t, struct probe, timer);
    p->fired++;
    timer_arm(&p->world->wheel, t, now);
}

Test(timer, rearmed_for_now_waits_for_the_next_advance)
{
    struct world *w = make_world(0, 4);
    struct probe *p = &w->probes[0];
    timer_init(&p->timer, fire_then_rearm_now);
    timer_arm(&w->wheel, &p->timer, 10);
    timer_wheel_advance(&w->wheel, 9);
    cr_assert_eq(p->fired, 0);
    timer_wheel_advance(&w->wheel, 10);
    cr_assert_eq(p->fired, 1);
    timer_wheel_advance(&w->wheel, 10);
    cr_assert_eq(p->fired, 2);
    cr_assert_leq(timer_wheel_next(&w->wheel), 10);
    free(w);
}

Test(timer, a_cancelled_deadline_costs_at_most_one_wakeup)
{
    struct world *w = make_world(0, 5);
    struct probe *a = &w->probes[0], *b = &w->probes[1];
    a->armed = b->armed = true;
    timer_arm(&w->wheel, &a->timer, 100);
    timer_arm(&w->wheel, &b->timer, 200);
    cancel(w, a);
    timer_cancel(&w->wheel, &a->timer); /* twice is a no-op */
    timer_wheel_advance(&w->wheel, 100);
    cr_assert_eq(timer_wheel_next(&w->wheel), 200);
    cancel(w, b);
    cr_assert_eq(timer_wheel_next(&w->wheel), UINT64_MAX);
    free(w);
}
