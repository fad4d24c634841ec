#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/base/map.h"

static uint64_t next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

Test(map, absent_keys_and_an_empty_map)
{
    struct map m;
    map_init(&m, 7);
    cr_assert_null(map_get(&m, 1));
    cr_assert_null(map_remove(&m, 1));
    cr_assert_eq(map_put(&m, 1, &m), NET_OK);
    cr_assert_null(map_get(&m, 2));
    cr_assert_eq(map_get(&m, 1), &m);
    map_deinit(&m);
}

/* Against a plain array: puts, replacements and removals over a small key space, so that runs of slots collide. */
Test(map, follows_a_model)
{
    enum { KEYS = 300, STEPS = 200000 };
    static char values[KEYS];
    void *model[KEYS] = {0};
    size_t count = 0;
    uint64_t random = 88172645463325252u;
    struct map m;
    map_init(&m, 42);
    for (int i = 0; i < STEPS; i++) {
        uint64_t r = next(&random), key = r % KEYS;
        if (r >> 32 & 1) {
            void *value = &values[(r >> 40) % KEYS];
            cr_assert_eq(map_put(&m, key, value), NET_OK);
            count += model[key] == NULL;
            model[key] = value;
        } else {
            cr_assert_eq(map_remove(&m, key), model[key]);
            count -= model[key] != NULL;
            model[key] = NULL;
        }
        cr_assert_eq(m.count, count);
        uint64_t probe = next(&random) % KEYS;
        cr_assert_eq(map_get(&m, probe), model[probe]);
    }
    size_t seen = 0;
    map_each(&m, slot)
    {
        cr_assert_eq(slot->value, model[slot->key]);
        seen++;
    }
    cr_assert_eq(seen, count);
    map_deinit(&m);
}
