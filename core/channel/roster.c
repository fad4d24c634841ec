#include "core/channel/roster.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"

struct roster_channel {
    struct roster_channel *next; /* of the same hash */
    uint64_t hash;
    struct list broadcast; /* struct roster_member.in_channel */
    uint32_t count;
    struct channel_name name;
};

struct roster_peer {
    uint64_t node_id;
    struct list members; /* struct roster_member.in_peer */
    uint32_t count;
};

int roster_init(struct roster *r, uint32_t max_channels, uint32_t max_channels_per_peer, uint64_t seed)
{
    assert(max_channels > 0 && max_channels_per_peer > 0);
    *r = (struct roster){.max_channels = max_channels, .max_channels_per_peer = max_channels_per_peer};
    map_init(&r->channels, seed);
    map_init(&r->peers, seed);
    return NET_OK;
}

static struct roster_channel *find_channel(const struct roster *r, const struct channel_name *name)
{
    struct roster_channel *c = map_get(&r->channels, channel_hash(name->text, name->len));
    while (c && !channel_name_equal(&c->name, name))
        c = c->next;
    return c;
}

/* Walks what the peer holds: a bounded number, where a channel may have any number of members. */
static struct roster_member *find_member(const struct roster_peer *p, const struct roster_channel *c)
{
    if (!p || !c)
        return NULL;
    for (struct list *n = p->members.next; n != &p->members; n = n->next) {
        struct roster_member *m = container_of(n, struct roster_member, in_peer);
        if (m->channel == c)
            return m;
    }
    return NULL;
}

static struct roster_channel *make_channel(struct roster *r, const struct channel_name *name)
{
    struct roster_channel *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->hash = channel_hash(name->text, name->len);
    c->name = *name;
    c->next = map_get(&r->channels, c->hash);
    list_init(&c->broadcast);
    if (map_put(&r->channels, c->hash, c) != NET_OK) {
        free(c);
        return NULL;
    }
    r->channel_count++;
    return c;
}

static void drop_channel_if_empty(struct roster *r, struct roster_channel *c)
{
    if (!c || c->count > 0)
        return;
    struct roster_channel *first = map_get(&r->channels, c->hash);
    if (first == c) {
        map_remove(&r->channels, c->hash);
        if (c->next && map_put(&r->channels, c->hash, c->next) != NET_OK)
            assert(!"a slot was just freed");
    } else {
        while (first->next != c)
            first = first->next;
        first->next = c->next;
    }
    r->channel_count--;
    free(c);
}

static struct roster_peer *make_peer(struct roster *r, uint64_t node_id)
{
    struct roster_peer *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->node_id = node_id;
    list_init(&p->members);
    if (map_put(&r->peers, node_id, p) != NET_OK) {
        free(p);
        return NULL;
    }
    return p;
}

static void drop_peer_if_empty(struct roster *r, struct roster_peer *p)
{
    if (!p || p->count > 0)
        return;
    map_remove(&r->peers, p->node_id);
    free(p);
}

static void unlink_member(struct roster *r, struct roster_member *m)
{
    list_remove(&m->in_channel);
    list_remove(&m->in_peer);
    m->channel->count--;
    m->peer->count--;
    drop_channel_if_empty(r, m->channel);
    drop_peer_if_empty(r, m->peer);
    free(m);
}

void roster_deinit(struct roster *r)
{
    map_each(&r->peers, slot)
    {
        struct roster_peer *p = slot->value;
        for (struct list *n; (n = list_pop(&p->members));)
            free(container_of(n, struct roster_member, in_peer));
        free(p);
    }
    map_each(&r->channels, slot)
    {
        for (struct roster_channel *c = slot->value, *next; c; c = next) {
            next = c->next;
            free(c);
        }
    }
    map_deinit(&r->peers);
    map_deinit(&r->channels);
}

int roster_add(struct roster *r, const struct channel_name *name, uint64_t node_id, unsigned shard)
{
    struct roster_channel *c = find_channel(r, name);
    struct roster_peer *p = map_get(&r->peers, node_id);
    struct roster_member *m = find_member(p, c);
    if (m) {
        m->shard = shard;
        return 0;
    }
    if ((!c && r->channel_count >= r->max_channels) || (p && p->count >= r->max_channels_per_peer))
        return NET_ERR_LIMIT;
    c = c ? c : make_channel(r, name);
    p = p ? p : make_peer(r, node_id);
    m = c && p ? calloc(1, sizeof *m) : NULL;
    if (!m) {
        drop_channel_if_empty(r, c);
        drop_peer_if_empty(r, p);
        return NET_ERR_NO_MEMORY;
    }
    *m = (struct roster_member){.channel = c, .peer = p, .node_id = node_id, .shard = shard};
    list_push_back(&c->broadcast, &m->in_channel);
    list_push_back(&p->members, &m->in_peer);
    c->count++;
    p->count++;
    return 1;
}

bool roster_remove(struct roster *r, const struct channel_name *name, uint64_t node_id)
{
    struct roster_member *m = find_member(map_get(&r->peers, node_id), find_channel(r, name));
    if (m)
        unlink_member(r, m);
    return m != NULL;
}

uint32_t roster_remove_peer(struct roster *r, uint64_t node_id)
{
    struct roster_peer *p = map_get(&r->peers, node_id);
    uint32_t count = p ? p->count : 0;
    for (uint32_t left = count; left > 0; left--) /* the last one frees the peer */
        unlink_member(r, container_of(list_first(&p->members), struct roster_member, in_peer));
    return count;
}

bool roster_has(const struct roster *r, const struct channel_name *name, uint64_t node_id)
{
    return find_member(map_get(&r->peers, node_id), find_channel(r, name)) != NULL;
}

uint32_t roster_count(const struct roster *r, const struct channel_name *name)
{
    const struct roster_channel *c = find_channel(r, name);
    return c ? c->count : 0;
}

uint32_t roster_peer_channels(const struct roster *r, uint64_t node_id)
{
    const struct roster_peer *p = map_get(&r->peers, node_id);
    return p ? p->count : 0;
}

const struct roster_member *roster_next(const struct roster *r, const struct channel_name *name,
                                        const struct roster_member *after)
{
    const struct roster_channel *c = after ? after->channel : find_channel(r, name);
    if (!c)
        return NULL;
    const struct list *n = after ? after->in_channel.next : c->broadcast.next;
    return n == &c->broadcast ? NULL : container_of(n, const struct roster_member, in_channel);
}
