/* session.md 9 and 20.27-31; extensions X1 for sessions without MAX_FORWARD. */
#include <criterion/criterion.h>

#include "core/session/replay.h"
#include "tests/support/vectors.h"

static bool arrive(struct replay *r, uint64_t counter, bool bounded)
{
    return replay_check(r, counter, bounded) && replay_commit(r, counter);
}

Test(replay, vectors)
{
    struct json_object *root = vectors_load(TEST_DATA "/session/replay.json");
    struct json_object *all = vectors_member(root, "vectors");
    cr_assert_gt(json_object_array_length(all), 3);
    for (size_t i = 0; i < json_object_array_length(all); i++) {
        struct json_object *one = json_object_array_get_idx(all, i);
        struct json_object *counters = vectors_member(one, "counters"), *accepted = vectors_member(one, "accepted");
        struct replay r;
        replay_init(&r);
        for (size_t k = 0; k < json_object_array_length(counters); k++) {
            const char *text = json_object_get_string(json_object_array_get_idx(counters, k));
            bool expected = json_object_get_boolean(json_object_array_get_idx(accepted, k));
            cr_expect_eq(arrive(&r, strtoull(text, NULL, 16), true), expected, "%s: %s", vectors_text(one, "name"),
                         text);
        }
    }
    json_object_put(root);
}

/* 27: the edges of both directions. */
Test(replay, edges)
{
    struct replay r;
    replay_init(&r);
    cr_expect(replay_check(&r, 1024, true));
    cr_expect_not(replay_check(&r, 1025, true));
    cr_expect(arrive(&r, 1000, true));
    cr_expect(arrive(&r, 2000, true));
    cr_expect(replay_check(&r, 977, true));
    cr_expect_not(replay_check(&r, 976, true));
    cr_expect(replay_check(&r, 3025, true));
    cr_expect_not(replay_check(&r, 3026, true));
}

/* 28: a copy that raced past the check is stopped by the commit. */
Test(replay, commit_finds_the_racing_copy)
{
    struct replay r;
    replay_init(&r);
    cr_expect(replay_check(&r, 5, true));
    cr_expect(replay_check(&r, 5, true));
    cr_expect(replay_commit(&r, 5));
    cr_expect_not(replay_commit(&r, 5));
    cr_expect_not(replay_check(&r, 5, true));
}

/* 29 */
Test(replay, remembers_across_a_jump)
{
    struct replay r;
    const uint64_t counters[] = {10, 20, 30, 530};
    replay_init(&r);
    for (size_t i = 0; i < 4; i++)
        cr_expect(arrive(&r, counters[i], true));
    for (size_t i = 0; i < 4; i++)
        cr_expect_not(arrive(&r, counters[i], true));
    cr_expect(arrive(&r, 25, true));
    cr_expect_not(arrive(&r, 25, true));
}

/* 30, 31 */
Test(replay, the_last_counters)
{
    struct replay r, before;
    replay_init(&r);
    cr_expect(replay_commit(&r, UINT64_MAX - 1026));
    cr_expect_eq(r.next, UINT64_MAX - 1025);
    before = r;
    cr_expect_not(arrive(&r, UINT64_MAX, false));
    cr_expect_not(replay_commit(&r, UINT64_MAX));
    cr_expect_arr_eq(&r, &before, sizeof r);
    cr_expect(arrive(&r, UINT64_MAX - 1, true));
    cr_expect_not(replay_commit(&r, 0));
}

/* X1: a jump of any length is accepted, and leaves nothing of the old window behind. */
Test(replay, unbounded_jump_clears)
{
    struct replay r;
    replay_init(&r);
    for (uint64_t c = 0; c < 1024; c++)
        cr_expect(arrive(&r, c, false));
    cr_expect_not(replay_check(&r, 100000, true));
    cr_expect(arrive(&r, 100000, false));
    for (uint64_t c = 100000 - 1023; c < 100000; c++)
        cr_expect(arrive(&r, c, false), "%lu", c);
    cr_expect_not(replay_check(&r, 100000 - 1024, false));
}

/* The window as session.md 9 writes it down, bit by bit. */
struct model {
    uint64_t next;
    bool bits[REPLAY_WINDOW];
};

static bool model_arrive(struct model *m, uint64_t c)
{
    if (c < m->next) {
        uint64_t age = m->next - 1 - c;
        if (age >= REPLAY_WINDOW || m->bits[age])
            return false;
        return m->bits[age] = true;
    }
    uint64_t shift = c - m->next + 1;
    for (size_t i = REPLAY_WINDOW; i-- > 0;)
        m->bits[i] = i >= shift ? m->bits[i - shift] : false;
    m->next = c + 1;
    return m->bits[0] = true;
}

Test(replay, does_what_the_model_does)
{
    static const uint64_t spans[] = {3, 70, 600, 1100, 3000};
    struct replay r;
    struct model m = {0};
    uint64_t random = 1;
    replay_init(&r);
    for (size_t i = 0; i < 20000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t span = spans[random >> 60 & 3] + (i % 500 == 0 ? spans[4] : 0), back = (random >> 33) % 1100;
        uint64_t counter = m.next + (random >> 20) % span;
        counter = counter > back ? counter - back : counter;
        cr_assert_eq(arrive(&r, counter, false), model_arrive(&m, counter), "step %zu, counter %lu", i, counter);
        cr_assert_eq(r.next, m.next);
    }
}
