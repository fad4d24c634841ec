#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>

#include "core/base/err.h"
#include "core/ring/spsc.h"
#include "tests/support/splitmix.h"

enum { RING = 4096 };

Test(spsc, starts_empty_and_takes_the_largest_body)
{
    struct spsc r;
    cr_assert_eq(spsc_init(&r, RING), NET_OK);
    cr_assert(spsc_empty(&r));
    cr_assert_null(spsc_peek(&r));
    cr_assert_eq(spsc_max_body(&r), RING / 2 - 16);
    cr_assert_eq(spsc_room(&r), spsc_max_body(&r));
    cr_assert_null(spsc_reserve(&r, spsc_max_body(&r) + 1));
    cr_assert_null(spsc_reserve(&r, SIZE_MAX));

    /* From any offset of an empty ring the largest body fits. */
    for (int i = 0; i < 3 * RING / 16; i++) {
        struct spsc_record *rec = spsc_reserve(&r, spsc_max_body(&r));
        cr_assert_not_null(rec);
        memset(rec->body, i, spsc_max_body(&r));
        spsc_commit(&r, rec, spsc_max_body(&r));
        cr_assert_eq(spsc_peek(&r)->len, spsc_max_body(&r));
        spsc_release(&r);
        rec = spsc_reserve(&r, 0); /* shifts the offset by one head */
        spsc_commit(&r, rec, 0);
        cr_assert_eq(spsc_peek(&r)->len, 0);
        spsc_release(&r);
    }
    cr_assert(spsc_empty(&r));
    spsc_deinit(&r);
}

Test(spsc, used_counts_records_with_their_heads)
{
    struct spsc r;
    cr_assert_eq(spsc_init(&r, RING), NET_OK);
    cr_assert_eq(spsc_used(&r), 0);
    spsc_commit(&r, spsc_reserve(&r, 100), 100);
    cr_assert_eq(spsc_used(&r), 16 + 112); /* bodies are padded to 16 */
    spsc_commit(&r, spsc_reserve(&r, 100), 0);
    cr_assert_eq(spsc_used(&r), 16 + 112 + 16);
    spsc_peek(&r);
    spsc_release(&r);
    cr_assert_eq(spsc_used(&r), 16);
    spsc_peek(&r);
    spsc_release(&r);
    cr_assert_eq(spsc_used(&r), 0);
    spsc_deinit(&r);
}

Test(spsc, a_record_is_seen_only_when_committed_and_may_shrink)
{
    struct spsc r;
    cr_assert_eq(spsc_init(&r, RING), NET_OK);
    struct spsc_record *rec = spsc_reserve(&r, 1000);
    cr_assert_eq((uintptr_t)rec % 16, 0);
    cr_assert_null(spsc_peek(&r));
    rec->kind = 7;
    rec->aux = 8;
    rec->arg = 9;
    memcpy(rec->body, "abc", 3);
    spsc_commit(&r, rec, 3);
    cr_assert(!spsc_empty(&r));
    struct spsc_record *got = spsc_peek(&r);
    cr_assert_eq(got, spsc_peek(&r), "peeking twice is the same record");
    cr_assert_eq(got->len, 3);
    cr_assert_eq(got->kind, 7);
    cr_assert_eq(got->aux, 8);
    cr_assert_eq(got->arg, 9);
    cr_assert_arr_eq(got->body, "abc", 3);
    cr_assert(!spsc_empty(&r), "a peeked record is still there");
    spsc_release(&r);
    cr_assert(spsc_empty(&r));
    spsc_deinit(&r);
}

/* The model: lengths and numbers of the records inside, oldest first. */
struct model {
    uint32_t len[RING];
    uint64_t arg[RING];
    size_t head, tail;
};

static void fill(struct spsc_record *rec, size_t len, uint64_t arg)
{
    uint64_t s = arg;
    rec->arg = arg;
    rec->kind = (uint16_t)arg;
    for (size_t i = 0; i < len; i++)
        rec->body[i] = (uint8_t)splitmix(&s);
}

static bool intact(const struct spsc_record *rec, uint64_t arg)
{
    uint64_t s = arg;
    if (rec->arg != arg || rec->kind != (uint16_t)arg)
        return false;
    for (size_t i = 0; i < rec->len; i++)
        if (rec->body[i] != (uint8_t)splitmix(&s))
            return false;
    return true;
}

static size_t random_len(uint64_t *seed, size_t max)
{
    return (size_t)splitmix_below(seed, splitmix_below(seed, 4) ? 200 : max + 1);
}

static void push(struct spsc *r, struct model *m, uint64_t *seed, uint64_t arg)
{
    size_t room = spsc_room(r), len = random_len(seed, spsc_max_body(r));
    struct spsc_record *rec = spsc_reserve(r, len);
    cr_assert(rec || len > room || room == 0, "room promised %zu, %zu refused", room, len);
    if (!rec)
        return;
    len = splitmix_below(seed, 3) ? len : (size_t)splitmix_below(seed, len + 1);
    fill(rec, len, arg);
    spsc_commit(r, rec, len);
    m->len[m->tail % RING] = (uint32_t)len;
    m->arg[m->tail++ % RING] = arg;
}

static void pop(struct spsc *r, struct model *m)
{
    struct spsc_record *rec = spsc_peek(r);
    cr_assert_eq(rec == NULL, m->head == m->tail);
    if (!rec)
        return;
    cr_assert_eq(rec->len, m->len[m->head % RING]);
    cr_assert(intact(rec, m->arg[m->head % RING]));
    m->head++;
    spsc_release(r);
}

Test(spsc, model)
{
    struct spsc r;
    struct model *m = calloc(1, sizeof *m);
    uint64_t seed = 42;
    cr_assert_eq(spsc_init(&r, RING), NET_OK);
    for (uint64_t i = 1; i <= 200000; i++) {
        if (splitmix_below(&seed, i % 1000 < 500 ? 3 : 2)) /* now fuller, now emptier */
            push(&r, m, &seed, i);
        else
            pop(&r, m);
        cr_assert_eq(spsc_empty(&r), m->head == m->tail);
    }
    while (m->head != m->tail)
        pop(&r, m);
    cr_assert_eq(spsc_room(&r), spsc_max_body(&r));
    spsc_deinit(&r);
    free(m);
}

enum { CROSSINGS = 100000 };

static void *producer(void *arg)
{
    struct spsc *r = arg;
    uint64_t seed = 7;
    for (uint64_t i = 1; i <= CROSSINGS; i++) {
        size_t len = random_len(&seed, 1500);
        struct spsc_record *rec;
        while (!(rec = spsc_reserve(r, len)))
            sched_yield();
        fill(rec, len, i);
        spsc_commit(r, rec, len);
    }
    return NULL;
}

Test(spsc, two_threads)
{
    struct spsc r;
    pthread_t thread;
    cr_assert_eq(spsc_init(&r, RING), NET_OK);
    cr_assert_eq(pthread_create(&thread, NULL, producer, &r), 0);
    uint64_t seed = 7, bad = 0;
    for (uint64_t i = 1; i <= CROSSINGS;) {
        struct spsc_record *rec = spsc_peek(&r);
        if (!rec) {
            sched_yield();
            continue;
        }
        bad += rec->len != random_len(&seed, 1500) || !intact(rec, i);
        spsc_release(&r);
        i++;
    }
    pthread_join(thread, NULL);
    cr_assert_eq(bad, 0);
    cr_assert(spsc_empty(&r));
    spsc_deinit(&r);
}
