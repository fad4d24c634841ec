#include "core/stream/schedule.h"

#include <assert.h>

void schedule_init(struct schedule *s, uint32_t quantum)
{
    assert(quantum > 0);
    list_init(&s->lanes[0]);
    list_init(&s->lanes[1]);
    s->quantum = quantum;
}

void flow_init(struct flow *f, uint8_t weight, bool priority)
{
    *f = (struct flow){.weight = weight ? weight : 1, .priority = priority};
    list_init(&f->link);
}

static struct list *lane(struct schedule *s, const struct flow *f)
{
    return &s->lanes[f->priority ? 0 : 1];
}

void schedule_wake(struct schedule *s, struct flow *f)
{
    if (list_linked(&f->link))
        return;
    f->served = false;
    list_push_back(lane(s, f), &f->link);
}

void schedule_sleep(struct schedule *s, struct flow *f)
{
    (void)s;
    if (list_linked(&f->link))
        list_remove(&f->link);
    if (f->deficit > 0)
        f->deficit = 0;
}

static void to_the_end(struct schedule *s, struct flow *f)
{
    list_remove(&f->link);
    list_push_back(lane(s, f), &f->link);
    f->served = false;
}

/* Terminates: each round of a lane adds to every deficit. */
static struct flow *next_of(struct schedule *s, struct list *flows)
{
    for (struct list *n; (n = list_first(flows));) {
        struct flow *f = container_of(n, struct flow, link);
        if (!f->served) {
            f->served = true;
            f->deficit += (int64_t)s->quantum * f->weight;
        }
        if (f->deficit > 0)
            return f;
        to_the_end(s, f);
    }
    return NULL;
}

struct flow *schedule_next(struct schedule *s, uint64_t *allowance)
{
    struct flow *f = next_of(s, &s->lanes[0]);
    if (!f)
        f = next_of(s, &s->lanes[1]);
    if (f)
        *allowance = (uint64_t)f->deficit;
    return f;
}

bool schedule_alone(const struct schedule *s, const struct flow *f)
{
    const struct list *mine = &s->lanes[f->priority ? 0 : 1], *other = &s->lanes[f->priority ? 1 : 0];
    return mine->next == &f->link && mine->prev == &f->link && other->next == other;
}

void schedule_spent(struct schedule *s, struct flow *f, uint64_t bytes)
{
    f->deficit -= (int64_t)bytes;
    if (f->deficit <= 0 && list_linked(&f->link))
        to_the_end(s, f);
}
