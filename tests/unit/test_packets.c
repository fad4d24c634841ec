/* The packet pool of a shard: limits.unacknowledged. */
#include <criterion/criterion.h>

#include "shards/transport/packets.h"
#include "tests/support/splitmix.h"

enum { LIMIT = 1 << 20, MANY = 2000 };

static struct packet_pool pool;
static struct packet *held[MANY];

Test(packets, never_more_than_the_limit_and_all_of_it_again)
{
    packet_pool_init(&pool, LIMIT);
    uint64_t first = 0;
    for (int round = 0; round < 3; round++) {
        uint64_t count = 0;
        while (count < MANY && (held[count] = packet_get(&pool, round == 1 ? WIRE_MAX_PLAINTEXT : 1392)))
            count++;
        cr_assert_leq(pool.taken, LIMIT);
        cr_assert_leq(pool.used, pool.taken);
        cr_assert_gt(count, round == 1 ? 110 : 600);
        if (round == 2)
            cr_assert_eq(count, first, "a slab serves either size");
        first = round == 0 ? count : first;
        pool.returned = false;
        while (count)
            packet_put(&pool, held[--count]);
        cr_assert(pool.used == 0 && pool.returned);
    }
    packet_pool_deinit(&pool);
}

Test(packets, blocks_do_not_overlap)
{
    packet_pool_init(&pool, LIMIT);
    uint64_t random = 3, count = 0;
    for (int i = 0; i < 20000; i++) {
        if (splitmix(&random) % 2 && count < 100) {
            size_t room = splitmix(&random) % (WIRE_MAX_PLAINTEXT + 1);
            struct packet *k = packet_get(&pool, room);
            cr_assert(k && k->len == 0 && !k->stream && k->room == room);
            memset(k->data, (int)(count & 0xff), room);
            k->len = (uint16_t)count;
            held[count++] = k;
        } else if (count) {
            struct packet *k = held[--count];
            cr_assert_eq(k->len, count);
            for (size_t at = 0; at < k->room; at++)
                cr_assert_eq(k->data[at], count & 0xff);
            packet_put(&pool, k);
        }
    }
    while (count)
        packet_put(&pool, held[--count]);
    packet_pool_deinit(&pool);
}

Test(packets, no_limit_is_none)
{
    packet_pool_init(&pool, 0);
    cr_assert_null(packet_get(&pool, 0));
    packet_pool_deinit(&pool);
}
