#include "core/base/timer.h"

#include <assert.h>

/*
 * A timer stands at the level of the highest 6-bit digit in which its tick differs from the wheel's, in the slot that
 * this digit names. So every timer of a level is due before every timer of the next one, no level ever wraps around,
 * and the place of an armed timer follows from its deadline and the wheel's tick alone. The slot of the wheel's own
 * tick (level 0) holds what is due within that tick or overdue.
 */
enum { TICK_SHIFT = 20, DIGIT = 6, MASK = TIMER_SLOTS - 1 };

_Static_assert(TIMER_SLOTS == 1 << DIGIT && TIMER_SLOTS == 64, "a slot is a bit of `occupied`");
_Static_assert(TIMER_LEVELS *DIGIT + TICK_SHIFT >= 64, "every deadline has a place");

struct place {
    unsigned level, slot;
};

static unsigned digit(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (level * DIGIT)) & MASK;
}

static struct place place_of(const struct timer_wheel *w, const struct timer *t)
{
    uint64_t tick = t->deadline >> TICK_SHIFT;
    if (tick <= w->tick)
        return (struct place){0, digit(w->tick, 0)};
    unsigned level = (63u - (unsigned)__builtin_clzll(tick ^ w->tick)) / DIGIT;
    return (struct place){level, digit(tick, level)};
}

static void put(struct timer_wheel *w, struct timer *t)
{
    struct place p = place_of(w, t);
    list_push_back(&w->slots[p.level][p.slot], &t->link);
    w->occupied[p.level] |= UINT64_C(1) << p.slot;
    if (t->deadline >> TICK_SHIFT <= w->tick && t->deadline < w->soonest)
        w->soonest = t->deadline;
}

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ns)
{
    *w = (struct timer_wheel){.tick = now_ns >> TICK_SHIFT, .soonest = UINT64_MAX};
    for (unsigned level = 0; level < TIMER_LEVELS; level++)
        for (unsigned slot = 0; slot < TIMER_SLOTS; slot++)
            list_init(&w->slots[level][slot]);
}

void timer_init(struct timer *t, timer_fn *fire)
{
    *t = (struct timer){.fire = fire};
    list_init(&t->link);
}

bool timer_armed(const struct timer *t)
{
    return list_linked(&t->link);
}

void timer_arm(struct timer_wheel *w, struct timer *t, uint64_t deadline_ns)
{
    timer_cancel(w, t);
    t->deadline = deadline_ns;
    put(w, t);
    w->count++;
}

void timer_cancel(struct timer_wheel *w, struct timer *t)
{
    if (!timer_armed(t))
        return;
    struct place p = place_of(w, t);
    list_remove(&t->link);
    if (list_empty(&w->slots[p.level][p.slot]))
        w->occupied[p.level] &= ~(UINT64_C(1) << p.slot);
    w->count--;
}

/* Moves the timers of the slots in `slots` (bits) of a level to the end of `out`. */
static void take(struct timer_wheel *w, unsigned level, uint64_t slots, struct list *out)
{
    slots &= w->occupied[level];
    w->occupied[level] &= ~slots;
    for (; slots; slots &= slots - 1) {
        struct list *from = &w->slots[level][__builtin_ctzll(slots)], *n;
        while ((n = list_pop(from)))
            list_push_back(out, n);
    }
}

/* Takes every timer whose place changes when the wheel's tick becomes `to`, or which may be due there. */
static void take_passed(struct timer_wheel *w, uint64_t to, struct list *out)
{
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        uint64_t was = w->tick >> (level * DIGIT), is = to >> (level * DIGIT);
        if (level > 0 && was == is)
            break;
        bool same_block = was >> DIGIT == is >> DIGIT;
        uint64_t upto = same_block ? UINT64_MAX >> (MASK - (is & MASK)) : UINT64_MAX;
        take(w, level, upto & UINT64_MAX << (was & MASK), out);
    }
}

void timer_wheel_advance(struct timer_wheel *w, uint64_t now_ns)
{
    uint64_t tick = now_ns >> TICK_SHIFT;
    struct list passed, due, *n;
    list_init(&passed);
    list_init(&due);
    assert(tick >= w->tick); /* the clock is monotonic */
    take_passed(w, tick, &passed);
    w->tick = tick;
    w->soonest = UINT64_MAX;
    while ((n = list_pop(&passed))) {
        struct timer *t = container_of(n, struct timer, link);
        if (t->deadline <= now_ns)
            list_push_back(&due, n);
        else
            put(w, t);
    }
    /* From here on callbacks may arm and cancel what is still in `due`: cancelling needs no more than its neighbours.
     */
    while ((n = list_pop(&due))) {
        struct timer *t = container_of(n, struct timer, link);
        w->count--;
        t->fire(t, now_ns);
    }
}

uint64_t timer_wheel_next(const struct timer_wheel *w)
{
    if (w->occupied[0] >> digit(w->tick, 0) & 1)
        return w->soonest;
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        if (!w->occupied[level])
            continue;
        uint64_t block = level + 1 < TIMER_LEVELS ? w->tick >> ((level + 1) * DIGIT) : 0;
        uint64_t slot = block << DIGIT | (unsigned)__builtin_ctzll(w->occupied[level]);
        return slot << (level * DIGIT) << TICK_SHIFT;
    }
    return UINT64_MAX;
}
