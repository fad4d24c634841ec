/* What strangers can make us compute is bounded: extensions.md X0, session.md 16.9, 16.10. */
#include <criterion/criterion.h>

#include "shards/config/config_internal.h"
#include "shards/peers/guard.h"

#define SECOND UINT64_C(1000000000)

static struct guard guard;

static void draw(struct io *io, void *out, size_t len)
{
    (void)io;
    memset(out, 0x5a, len);
}

static void setup(void)
{
    static const struct io_ops ops = {.random = draw};
    struct io io = {.ops = &ops};
    cr_assert_eq(guard_init(&guard, &io, 4), 0);
}

static void teardown(void)
{
    guard_deinit(&guard);
}

TestSuite(guard, .init = setup, .fini = teardown);

static uint32_t passed(uint64_t now, const struct io_addr *from, uint32_t per_second, uint32_t tries)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < tries; i++)
        count += guard_source_ok(&guard, now, from, per_second);
    return count;
}

Test(guard, so_many_of_a_source_in_a_second)
{
    const struct io_addr from = {.ip = {[15] = 1}, .port = 7};
    cr_assert_eq(passed(5 * SECOND, &from, 5, 100), 5);
    cr_assert_eq(passed(6 * SECOND - 1, &from, 5, 100), 0);
    cr_assert_eq(passed(6 * SECOND, &from, 5, 100), 5);
}

/* The counters hold what the configuration allows. */
Test(guard, the_largest_limit_is_one)
{
    const struct io_addr from = {.ip = {[15] = 1}, .port = 7};
    const struct config_key *key = config_key_find("limits.handshakes_per_source");
    cr_assert_eq(passed(5 * SECOND, &from, (uint32_t)key->max, (uint32_t)key->max + 100000), key->max);
}

Test(guard, so_many_under_way)
{
    for (uint64_t i = 0; i < 4; i++)
        cr_assert(guard_pending_ok(&guard, SECOND + i, SECOND));
    cr_assert_not(guard_pending_ok(&guard, SECOND + 4, SECOND));
    guard_confirmed(&guard);
    cr_assert(guard_pending_ok(&guard, SECOND + 5, SECOND));
    cr_assert_not(guard_pending_ok(&guard, 2 * SECOND, SECOND), "the oldest left is of 1 ns later");
    cr_assert(guard_pending_ok(&guard, 2 * SECOND + 1, SECOND));
}

Test(guard, an_ephemeral_is_known_again)
{
    const uint8_t one[32] = {1}, other[32] = {2};
    cr_assert_not(guard_ephemeral_seen(&guard, one));
    guard_ephemeral_remember(&guard, one);
    cr_assert(guard_ephemeral_seen(&guard, one));
    cr_assert_not(guard_ephemeral_seen(&guard, other));
}
