#include "tests/sim/world/queue.h"

#include <assert.h>
#include <stdlib.h>

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->serial < b->serial;
}

static void set(struct sim_queue *q, size_t place, struct sim_event *e)
{
    q->heap[place] = e;
    e->place = place;
}

static void sift_up(struct sim_queue *q, struct sim_event *e, size_t place)
{
    for (; place > 1 && before(e, q->heap[place / 2]); place /= 2)
        set(q, place, q->heap[place / 2]);
    set(q, place, e);
}

static void sift_down(struct sim_queue *q, struct sim_event *e, size_t place)
{
    for (size_t child; (child = place * 2) <= q->count; place = child) {
        if (child < q->count && before(q->heap[child + 1], q->heap[child]))
            child++;
        if (before(e, q->heap[child]))
            break;
        set(q, place, q->heap[child]);
    }
    set(q, place, e);
}

void sim_queue_deinit(struct sim_queue *q)
{
    free(q->heap);
    *q = (struct sim_queue){0};
}

void sim_queue_put(struct sim_queue *q, struct sim_event *e, uint64_t at)
{
    assert(e->place == 0);
    if (q->count + 1 >= q->room) {
        q->room = q->room ? q->room * 2 : 64;
        q->heap = realloc(q->heap, q->room * sizeof *q->heap);
        assert(q->heap);
    }
    e->at = at;
    e->serial = q->serial++;
    sift_up(q, e, ++q->count);
}

void sim_queue_remove(struct sim_queue *q, struct sim_event *e)
{
    if (e->place == 0)
        return;
    size_t place = e->place;
    struct sim_event *last = q->heap[q->count--];
    e->place = 0;
    if (last == e)
        return;
    if (place > 1 && before(last, q->heap[place / 2]))
        sift_up(q, last, place);
    else
        sift_down(q, last, place);
}

struct sim_event *sim_queue_first(const struct sim_queue *q)
{
    return q->count ? q->heap[1] : NULL;
}
