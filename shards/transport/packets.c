#include "shards/transport/packets.h"

#include <assert.h>
#include <stdlib.h>

/* The small block holds what an Ethernet path carries, the large one the largest packet. */
enum { SLAB = 1 << 18, SMALL_BLOCK = 1536, LARGE_BLOCK = 8256 }; /* bytes */
static const uint32_t BLOCK[2] = {SMALL_BLOCK, LARGE_BLOCK};

struct slab { /* stands at a multiple of SLAB, so that a block knows its own */
    struct list link;
    struct list free;    /* struct packet, by link */
    uint32_t size;       /* 0 small, 1 large */
    uint32_t used, next; /* blocks in use; bytes that were cut into blocks */
};

static_assert(offsetof(struct packet, data) + WIRE_MAX_PLAINTEXT <= LARGE_BLOCK, "every packet fits a block");
enum { FIRST_BLOCK = 64 };
static_assert(sizeof(struct slab) <= FIRST_BLOCK && FIRST_BLOCK % _Alignof(struct packet) == 0, "room for the head");

void packet_pool_init(struct packet_pool *p, uint64_t limit)
{
    *p = (struct packet_pool){.limit = limit};
    list_init(&p->empty);
    list_init(&p->full);
    list_init(&p->partial[0]);
    list_init(&p->partial[1]);
}

void packet_pool_deinit(struct packet_pool *p)
{
    assert(p->used == 0);
    for (struct list *n; (n = list_pop(&p->empty));)
        free(container_of(n, struct slab, link));
}

static struct slab *slab_of(struct packet *k)
{
    return (struct slab *)((uintptr_t)k & ~(uintptr_t)(SLAB - 1));
}

static struct slab *slab_take(struct packet_pool *p, uint32_t size)
{
    struct list *n = list_pop(&p->empty);
    struct slab *s = n ? container_of(n, struct slab, link) : NULL;
    if (!s) {
        if (p->taken + SLAB > p->limit)
            return NULL;
        s = aligned_alloc(SLAB, SLAB);
        if (!s)
            return NULL;
        p->taken += SLAB;
    }
    *s = (struct slab){.size = size, .next = FIRST_BLOCK};
    list_init(&s->link);
    list_init(&s->free);
    list_push_back(&p->partial[size], &s->link);
    return s;
}

static bool slab_full(const struct slab *s)
{
    return list_empty(&s->free) && s->next + BLOCK[s->size] > SLAB;
}

static struct packet *slab_cut(struct slab *s)
{
    struct list *n = list_pop(&s->free);
    if (n)
        return container_of(n, struct packet, link);
    struct packet *k = (struct packet *)(void *)((uint8_t *)s + s->next);
    s->next += BLOCK[s->size];
    return k;
}

struct packet *packet_get(struct packet_pool *p, size_t room)
{
    assert(room <= WIRE_MAX_PLAINTEXT);
    uint32_t size = room > SMALL_BLOCK - offsetof(struct packet, data);
    struct list *n = list_first(&p->partial[size]);
    struct slab *s = n ? container_of(n, struct slab, link) : slab_take(p, size);
    if (!s)
        return NULL;
    struct packet *k = slab_cut(s);
    s->used++;
    p->used += BLOCK[size];
    if (slab_full(s)) {
        list_remove(&s->link);
        list_push_back(&p->full, &s->link);
    }
    *k = (struct packet){.room = (uint16_t)room};
    list_init(&k->link);
    return k;
}

void packet_put(struct packet_pool *p, struct packet *k)
{
    struct slab *s = slab_of(k);
    p->used -= BLOCK[s->size];
    s->used--;
    p->returned = true;
    if (list_linked(&k->link))
        list_remove(&k->link);
    list_push_back(&s->free, &k->link);
    list_remove(&s->link);
    list_push_back(s->used ? &p->partial[s->size] : &p->empty, &s->link);
}
