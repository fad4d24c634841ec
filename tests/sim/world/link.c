/* Links: what each direction between two hosts does to a datagram, and what it counts. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/sim/world/sim_internal.h"

struct sim_link *sim_link(struct sim *sim, const struct sim_host *a, const struct sim_host *b)
{
    uint64_t key = (uint64_t)a->number << 32 | b->number;
    struct sim_link *l = map_get(&sim->links, key);
    if (l)
        return l;
    l = malloc(sizeof *l);
    assert(l);
    *l = (a->number > b->number ? a : b)->link_base;
    if (map_put(&sim->links, key, l) != 0)
        assert(!"memory");
    return l;
}

void sim_cut(struct sim *sim, const struct sim_host *a, const struct sim_host *b, bool down)
{
    sim_link(sim, a, b)->down = down;
    sim_link(sim, b, a)->down = down;
}

void sim_link_lost(struct sim_link *l, enum sim_loss why)
{
    l->lost++;
    l->lost_by[why]++;
}

/* One step of the chain of good and bad times; true: this datagram falls into a bad one. */
static bool burst(struct sim *sim, struct sim_link *l)
{
    if (l->burst_begin == 0)
        return l->state.bad = false;
    if (sim_chance(sim, l->state.bad ? l->burst_end : l->burst_begin))
        l->state.bad = !l->state.bad;
    return l->state.bad;
}

/* Takes its place before the link. False: the queue is full. */
static bool enqueue(const struct sim *sim, struct sim_link *l, size_t len)
{
    uint64_t begin = l->state.idle_at > sim->now ? l->state.idle_at : sim->now;
    uint64_t waiting = (uint64_t)((unsigned __int128)(begin - sim->now) * l->rate / SIM_S);
    if (l->queue && waiting > 0 && waiting + len > l->queue)
        return false;
    l->state.idle_at = begin + (uint64_t)len * SIM_S / l->rate;
    return true;
}

bool sim_link_take(struct sim *sim, struct sim_link *l, size_t len, uint64_t *wait)
{
    *wait = 0;
    if (l->down)
        sim_link_lost(l, SIM_LOST_DOWN);
    else if (l->mtu && len > l->mtu)
        sim_link_lost(l, SIM_LOST_MTU);
    else if (burst(sim, l))
        sim_link_lost(l, SIM_LOST_BURST);
    else if (sim_chance(sim, l->loss))
        sim_link_lost(l, SIM_LOST_LOSS);
    else if (l->rate && !enqueue(sim, l, len))
        sim_link_lost(l, SIM_LOST_QUEUE);
    else {
        if (l->rate)
            *wait = l->state.idle_at - sim->now;
        return true;
    }
    return false;
}

/* Close to exponential, in integers: a seed is a run on every machine. */
static uint64_t tail_of(struct sim *sim, const struct sim_link *l)
{
    enum { STEPS = 16 };
    uint64_t coins = sim_random(sim), step = l->tail_max / STEPS, steps = 0;
    while (steps < STEPS - 1 && coins >> steps & 1)
        steps++;
    return steps * step + sim_random_below(sim, step + 1);
}

uint64_t sim_link_delay(struct sim *sim, const struct sim_link *l)
{
    uint64_t delay = sim_draw(sim, l->delay);
    return sim_chance(sim, l->tail) ? delay + tail_of(sim, l) : delay;
}

void sim_link_corrupt(struct sim *sim, struct sim_link *l, struct datagram *d)
{
    enum { MAX_FLIPS = 8 };
    if (d->len == 0 || !sim_chance(sim, l->corrupt))
        return;
    l->corrupted++;
    if (sim_chance(sim, SIM_ALWAYS / 2)) {
        d->len = (size_t)sim_random_below(sim, d->len);
        return;
    }
    uint64_t flips = 1 + sim_random_below(sim, MAX_FLIPS), first = sim_random_below(sim, d->len * 8);
    for (uint64_t i = 0, bit = first; i < flips; bit = sim_random_below(sim, d->len * 8)) {
        if (i > 0 && bit == first)
            continue; /* not back to what it was */
        d->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        i++;
    }
}
