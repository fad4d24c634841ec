#include "core/base/map.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"

enum { FIRST_CAPACITY = 16 };

void map_init(struct map *m, uint64_t seed)
{
    *m = (struct map){.seed = seed};
}

void map_deinit(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

/* splitmix64's finaliser over the seeded key. */
static uint64_t mix(uint64_t seed, uint64_t key)
{
    uint64_t z = key ^ seed;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t home_of(const struct map *m, uint64_t key)
{
    return (size_t)mix(m->seed, key) & (m->capacity - 1);
}

/* The slot of `key`, or the free one where it would go. */
static size_t probe(const struct map *m, uint64_t key)
{
    size_t i = home_of(m, key);
    while (m->slots[i].value && m->slots[i].key != key)
        i = (i + 1) & (m->capacity - 1);
    return i;
}

void *map_get(const struct map *m, uint64_t key)
{
    return m->capacity ? m->slots[probe(m, key)].value : NULL;
}

static int grow(struct map *m)
{
    struct map old = *m;
    m->capacity = old.capacity ? old.capacity * 2 : FIRST_CAPACITY;
    m->slots = calloc(m->capacity, sizeof *m->slots);
    if (!m->slots) {
        *m = old;
        return NET_ERR_NO_MEMORY;
    }
    map_each(&old, slot) m->slots[probe(m, slot->key)] = *slot;
    free(old.slots);
    return NET_OK;
}

int map_put(struct map *m, uint64_t key, void *value)
{
    assert(value);
    bool full = (m->count + 1) * 4 > m->capacity * 3;
    if (full && !map_get(m, key)) {
        int err = grow(m);
        if (err)
            return err;
    }
    struct map_slot *slot = &m->slots[probe(m, key)];
    m->count += slot->value == NULL;
    *slot = (struct map_slot){key, value};
    return NET_OK;
}

void *map_remove(struct map *m, uint64_t key)
{
    if (m->capacity == 0)
        return NULL;
    size_t hole = probe(m, key), mask = m->capacity - 1;
    void *value = m->slots[hole].value;
    if (!value)
        return NULL;
    m->count--;
    for (size_t i = (hole + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
        size_t wanted = home_of(m, m->slots[i].key);
        /* Moves back unless its home lies behind the hole, in the cyclic range (hole, i]. */
        if (((i - wanted) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole].value = NULL;
    return value;
}
