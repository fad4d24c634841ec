/* The rings between shards: sending, what waits for room, draining, doorbells. */
#include <assert.h>
#include <stdlib.h>

#include "shards/node/mailbox.h"

static struct spsc *ring_to(struct shard *s, unsigned to)
{
    return &s->node->rings[s->index * s->node->shard_count + to];
}

/* A control message waiting for room in a ring: never lost, bounded. */
struct parked_message {
    struct list link;
    struct spsc_record head;
};

/* aux of a message whose tail stands elsewhere: its body ends with a struct reference. */
enum { BY_REFERENCE = 0x8000 };
struct reference {
    uint8_t *data;
    size_t len;
};

/* Records of one turn that a shard takes from one other: nobody starves. */
enum { RECORDS_PER_RING = 1024 };

static void fill(struct spsc_record *r, enum message_kind kind, uint16_t aux, uint64_t arg)
{
    r->kind = (uint16_t)kind;
    r->aux = aux;
    r->arg = arg;
}

struct spsc_record *mailbox_reserve(struct shard *s, unsigned to, size_t len)
{
    if (!list_empty(&s->parked[to]))
        return NULL; /* order: nothing overtakes what waits */
    return spsc_reserve(ring_to(s, to), len);
}

void mailbox_commit(struct shard *s, unsigned to, struct spsc_record *r, size_t len)
{
    spsc_commit(ring_to(s, to), r, len);
    s->rung |= UINT64_C(1) << to;
}

size_t mailbox_room(struct shard *s, unsigned to)
{
    return list_empty(&s->parked[to]) ? spsc_room(ring_to(s, to)) : 0;
}

bool mailbox_try(struct shard *s, unsigned to, enum message_kind kind, uint16_t aux, uint64_t arg, const void *body,
                 size_t len, const void *tail, size_t tail_len)
{
    struct spsc_record *r = mailbox_reserve(s, to, len + tail_len);
    if (!r)
        return false;
    fill(r, kind, aux, arg);
    if (len)
        memcpy(r->body, body, len);
    if (tail_len)
        memcpy(r->body + len, tail, tail_len);
    mailbox_commit(s, to, r, len + tail_len);
    return true;
}

static atomic_size_t *referenced(const struct node *n, unsigned from, unsigned to)
{
    return &n->referenced[from * n->shard_count + to];
}

bool mailbox_give(struct shard *s, unsigned to, enum message_kind kind, uint64_t arg, const void *body, size_t len,
                  uint8_t *tail, size_t tail_len)
{
    struct reference ref = {tail, tail_len};
    atomic_size_t *bytes = referenced(s->node, s->index, to);
    size_t before = atomic_load_explicit(bytes, memory_order_relaxed);
    if (before && before + tail_len > MAILBOX_REFERENCED)
        return false;
    atomic_fetch_add_explicit(bytes, tail_len, memory_order_relaxed); /* before the other side can take it back */
    if (mailbox_try(s, to, kind, BY_REFERENCE, arg, body, len, &ref, sizeof ref))
        return true;
    atomic_fetch_sub_explicit(bytes, tail_len, memory_order_relaxed);
    return false;
}

static bool refers(const struct spsc_record *r, struct reference *ref)
{
    if (!(r->aux & BY_REFERENCE))
        return false;
    assert(r->len >= sizeof *ref);
    memcpy(ref, r->body + r->len - sizeof *ref, sizeof *ref);
    return true;
}

struct cspan mailbox_tail(const struct spsc_record *r, size_t body)
{
    struct reference ref;
    if (refers(r, &ref))
        return (struct cspan){ref.data, ref.len};
    return (struct cspan){r->body + body, r->len - body};
}

void mailbox_drop(struct spsc_record *r)
{
    struct reference ref;
    if (refers(r, &ref))
        free(ref.data);
}

static void handle(struct shard *s, unsigned from, struct spsc_record *r)
{
    struct reference ref = {NULL, 0};
    refers(r, &ref);
    shard_on_message(s, from, r);
    free(ref.data);
    if (ref.len)
        atomic_fetch_sub_explicit(referenced(s->node, from, s->index), ref.len, memory_order_relaxed);
}

void mailbox_send(struct shard *s, unsigned to, enum message_kind kind, uint16_t aux, uint64_t arg, const void *body,
                  size_t len)
{
    if (mailbox_try(s, to, kind, aux, arg, body, len, NULL, 0))
        return;
    struct parked_message *m = malloc(sizeof *m + len);
    if (!m) {
        COUNT(s, drop_no_memory);
        return;
    }
    m->head = (struct spsc_record){.len = (uint32_t)len};
    fill(&m->head, kind, aux, arg);
    if (len)
        memcpy(m + 1, body, len);
    list_push_back(&s->parked[to], &m->link);
    s->parked_count++;
}

static bool unpark(struct shard *s, unsigned to)
{
    struct list *first;
    while ((first = list_first(&s->parked[to]))) {
        struct parked_message *m = container_of(first, struct parked_message, link);
        struct spsc_record *r = spsc_reserve(ring_to(s, to), m->head.len);
        if (!r)
            return false;
        fill(r, m->head.kind, m->head.aux, m->head.arg);
        memcpy(r->body, m + 1, m->head.len);
        mailbox_commit(s, to, r, m->head.len);
        list_remove(&m->link);
        s->parked_count--;
        secure_wipe(m + 1, m->head.len); /* it may have been a session's keys */
        free(m);
    }
    return true;
}

void mailbox_flush(struct shard *s)
{
    for (unsigned to = 0; to < s->node->shard_count; to++) {
        unpark(s, to);
        bool ring = s->rung >> to & 1;
        if (ring && to != s->index)
            io_doorbell(s->io, to);
        if (ring && to == s->index)
            s->busy = true;
    }
    s->rung = 0;
}

void mailbox_drain(struct shard *s)
{
    unsigned n = s->node->shard_count;
    for (unsigned i = 0; i < n; i++) {
        unsigned from = (s->index + i) % n;
        struct spsc *ring = &s->node->rings[from * n + s->index];
        int budget = RECORDS_PER_RING;
        struct spsc_record *r;
        while (budget-- > 0 && (r = spsc_peek(ring))) {
            handle(s, from, r);
            spsc_release(ring);
        }
        if (budget < 0)
            s->busy = true;
    }
}

void mailbox_discard(struct shard *s)
{
    for (unsigned to = 0; s->parked && to < s->node->shard_count; to++) {
        struct list *n;
        while ((n = list_pop(&s->parked[to]))) {
            struct parked_message *m = container_of(n, struct parked_message, link);
            secure_wipe(m + 1, m->head.len);
            free(m);
        }
    }
}
