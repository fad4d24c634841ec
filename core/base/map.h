/* Open-addressed map from a 64-bit key to a pointer: sessions by id, peers by node id, logs by hash. Linear probing,
 * deletion by shifting back, so no tombstones. The keys come from outside, so the hash is seeded from the shard's
 * randomness.
 */
#ifndef NM_CORE_BASE_MAP_H
#define NM_CORE_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    uint64_t key;
    void *value; /* NULL: free */
};

struct map {
    struct map_slot *slots;
    size_t capacity; /* power of two, or 0 */
    size_t count;
    uint64_t seed;
};

void map_init(struct map *, uint64_t seed);      /* allocates nothing yet */
void map_deinit(struct map *);                   /* frees the table; the values are the caller's */
void *map_get(const struct map *, uint64_t key); /* NULL: absent */
/* value is not NULL. Replaces. 0 or NET_ERR_NO_MEMORY (only when the table must grow). */
int map_put(struct map *, uint64_t key, void *value);
void *map_remove(struct map *, uint64_t key); /* what was there, or NULL */

/* Walks in table order: the same for the same seed and history. Do not add or remove meanwhile. */
#define map_each(m, slot)                                                                                              \
    for (struct map_slot *slot = (m)->slots; slot && slot < (m)->slots + (m)->capacity; slot++)                        \
        if (slot->value)

#endif
