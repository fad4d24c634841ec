/* Producers, and the answers each of them got last. */
#include <assert.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "storage/producers/producers_internal.h"

enum { ROOM_AT_FIRST = 4 };
_Static_assert((PRODUCERS_ANSWERS & (PRODUCERS_ANSWERS - 1)) == 0, "places double until there are so many");

struct producer *producer_create(void)
{
    struct producer *pr = calloc(1, sizeof *pr);
    if (pr)
        list_init(&pr->used);
    return pr;
}

void producer_free(struct producer *pr)
{
    if (!pr)
        return;
    free(pr->answers);
    free(pr);
}

int producers_reserve_answer(struct producer *pr)
{
    if (pr->room == PRODUCERS_ANSWERS || pr->kept < pr->room)
        return NET_OK;
    uint32_t room = pr->room ? pr->room * 2 : ROOM_AT_FIRST;
    struct answer *more = calloc(room, sizeof *more);
    if (!more)
        return NET_ERR_NO_MEMORY;
    for (uint64_t sequence = pr->next - pr->kept; sequence < pr->next; sequence++)
        more[sequence % room] = pr->answers[sequence % pr->room];
    free(pr->answers);
    pr->answers = more;
    pr->room = room;
    return NET_OK;
}

static uint64_t key_of(const struct producers *p, const uint8_t id[PRODUCERS_ID_SIZE])
{
    return XXH3_64bits_withSeed(id, PRODUCERS_ID_SIZE, p->seed);
}

/* What has the key, be it the producer or, once in a blue moon, another one. */
static struct producer *holder(const struct producers *p, const uint8_t id[PRODUCERS_ID_SIZE])
{
    return map_get(&p->by_key, key_of(p, id));
}

static bool is_it(const struct producer *pr, const uint8_t id[PRODUCERS_ID_SIZE])
{
    return memcmp(pr->id, id, PRODUCERS_ID_SIZE) == 0;
}

struct producer *producers_find(const struct producers *p, const uint8_t id[PRODUCERS_ID_SIZE])
{
    struct producer *pr = holder(p, id);
    return pr && is_it(pr, id) ? pr : NULL;
}

int producers_enter(struct producers *p, struct producer *pr, const uint8_t id[PRODUCERS_ID_SIZE], uint64_t next)
{
    memcpy(pr->id, id, PRODUCERS_ID_SIZE);
    pr->key = key_of(p, id);
    pr->next = next;
    int err = map_put(&p->by_key, pr->key, pr);
    if (err == NET_OK)
        list_push_back(p->by_use.next, &pr->used); /* in front: until it is used, the first to be forgotten */
    return err;
}

void producers_forget(struct producers *p, struct producer *pr)
{
    p->strict = p->strict || pr->kept > 0;
    map_remove(&p->by_key, pr->key);
    list_remove(&pr->used);
    producer_free(pr);
}

void producers_forget_all(struct producers *p)
{
    struct list *n;
    while ((n = list_first(&p->by_use)))
        producers_forget(p, container_of(n, struct producer, used));
}

void producer_remember(struct producers *p, struct producer *pr, const struct intent *in, uint64_t number)
{
    assert(in->append.sequence == pr->next && (pr->kept < pr->room || pr->room == PRODUCERS_ANSWERS));
    pr->answers[pr->next % pr->room] = (struct answer){in->first_seq, in->append.sum, number, in->append.count};
    pr->next++;
    pr->kept += pr->kept < PRODUCERS_ANSWERS;
    pr->used_wall = in->wall_ns;
    list_remove(&pr->used);
    list_push_back(&p->by_use, &pr->used);
}

static const struct answer *last_answer(const struct producer *pr)
{
    return pr->kept ? &pr->answers[(pr->next - 1) % pr->room] : NULL;
}

/* An answer that is still to be given is not forgotten. */
static bool is_waited_for(const struct producers *p, const struct producer *pr)
{
    const struct answer *last = last_answer(pr);
    return last && last->number >= p->stored;
}

static bool is_too_old(const struct producers *p, const struct producer *pr)
{
    uint64_t wall = io_wall(p->io);
    return p->age_ns && wall > p->age_ns && pr->used_wall < wall - p->age_ns;
}

static struct producer *oldest(const struct producers *p)
{
    return list_empty(&p->by_use) ? NULL : container_of(p->by_use.next, struct producer, used);
}

/* By age, and by number so that `more` of them have room. False: those that could go are waited for. */
static bool make_room(struct producers *p, uint32_t more)
{
    struct producer *pr;
    while ((pr = oldest(p)) && (is_too_old(p, pr) || p->by_key.count + more > p->max)) {
        if (is_waited_for(p, pr))
            break;
        producers_forget(p, pr);
    }
    return p->by_key.count + more <= p->max;
}

void producers_set_limits(struct producers *p, uint32_t max, uint64_t age_ns)
{
    p->max = max;
    p->age_ns = age_ns;
    make_room(p, 0);
}

uint32_t producers_count(const struct producers *p)
{
    return (uint32_t)p->by_key.count;
}

/* All that a note needs: it cannot fail. */
static enum producers_verdict reserve_note(struct producers *p, struct producer *pr)
{
    int err = producers_reserve_answer(pr);
    if (err == NET_OK && p->redex)
        err = producers_batch_reserve(&p->collecting, 2); /* and a mark */
    return err == NET_OK ? PRODUCERS_NEW : PRODUCERS_NO_MEMORY;
}

/* `pr` was looked for before, and not noted; or NULL. */
static enum producers_verdict look_unknown(struct producers *p, struct producer *pr, const struct producers_append *a)
{
    if (a->sequence > 0 && p->strict)
        return PRODUCERS_TOO_OLD;
    if (!pr && (!make_room(p, 1) || holder(p, a->id)))
        return PRODUCERS_FULL;
    if (!pr && (!(pr = producer_create()) || producers_enter(p, pr, a->id, a->sequence) != NET_OK)) {
        producer_free(pr);
        return PRODUCERS_NO_MEMORY;
    }
    pr->next = a->sequence;
    return reserve_note(p, pr);
}

enum producers_verdict producers_look(struct producers *p, const struct producers_append *a,
                                      struct producers_answer *answer)
{
    make_room(p, 0);
    struct producer *pr = producers_find(p, a->id);
    if (a->sequence == UINT64_MAX)
        return PRODUCERS_GAP; /* nothing could follow it */
    if (!pr || pr->kept == 0)
        return look_unknown(p, pr, a);
    if (a->sequence > pr->next)
        return PRODUCERS_GAP;
    if (a->sequence == pr->next)
        return reserve_note(p, pr);
    if (pr->next - a->sequence > pr->kept)
        return PRODUCERS_TOO_OLD;
    const struct answer *known = &pr->answers[a->sequence % pr->room];
    if (known->count != a->count || known->sum != a->sum)
        return PRODUCERS_CONFLICT;
    *answer = (struct producers_answer){known->first_seq, known->number};
    return PRODUCERS_KNOWN;
}

uint64_t producers_note(struct producers *p, const struct producers_append *a, uint64_t first_seq, bool durable)
{
    struct intent in = {.append = *a, .first_seq = first_seq, .wall_ns = io_wall(p->io)};
    struct producer *pr = producers_find(p, a->id);
    uint64_t number = p->next_number++;
    assert(pr);
    producer_remember(p, pr, &in, number);
    if (!p->redex) {
        p->stored = p->synced = p->next_number;
        return number;
    }
    struct batch *b = &p->collecting;
    if (b->count == 0) {
        b->first_seq = first_seq;
        if (p->stored == number) /* nothing before it is on its way, which would hold this too */
            redex_hold(p->redex, first_seq);
    }
    intent_encode(&in, b->bytes + b->count++ * INTENT_SIZE);
    b->durable = b->durable || durable;
    p->last_end = first_seq + a->count;
    producers_mark_dirty(p);
    return number;
}

uint64_t producers_records(const struct producers *p)
{
    uint64_t sum = 0;
    for (const struct list *n = p->by_use.next; n != &p->by_use; n = n->next)
        sum += container_of(n, struct producer, used)->kept;
    return sum;
}

uint8_t *producers_encode(const struct producers *p, uint8_t *out)
{
    for (const struct list *n = p->by_use.next; n != &p->by_use; n = n->next) {
        const struct producer *pr = container_of(n, struct producer, used);
        for (uint64_t sequence = pr->next - pr->kept; sequence < pr->next; sequence++) {
            const struct answer *a = &pr->answers[sequence % pr->room];
            struct intent in = {.append = {.sequence = sequence, .sum = a->sum, .count = a->count},
                                .first_seq = a->first_seq,
                                .wall_ns = pr->used_wall};
            memcpy(in.append.id, pr->id, PRODUCERS_ID_SIZE);
            intent_encode(&in, out);
            out += INTENT_SIZE;
        }
    }
    return out;
}
