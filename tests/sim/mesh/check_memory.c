/* Memory within what the configuration allows, place by place. */
#include "shards/node/mailbox.h"
#include "shards/peers/contacts.h"
#include "shards/peers/peer.h"
#include "tests/sim/mesh/check_internal.h"

/* Every log on disk has redex's default, and a mirror as much for what finds no room (log_follow.c). */
enum { MAX_DIRTY = 64 << 20, UNSTORED = 64 << 20, REFERENCED = MAILBOX_REFERENCED + FRAGMENT_MAX_MESSAGE };

struct bound {
    struct check *c;
    const struct mesh_node *m;
    const struct shard *s;
};

static bool within(const struct bound *b, const char *what, const char *of, uint64_t is, uint64_t most)
{
    return is <= most ? true
                      : check_fail(b->c, "node %u, shard %u: %s%s%s is %lu, and %lu at most are allowed", b->m->number,
                                   b->s->index, what, of[0] ? " of " : "", of, is, most);
}

static bool check_shard(const struct bound *b)
{
    const struct shard *s = b->s;
    const struct config *config = s->config;
    const struct node *node = s->node;
    uint64_t before = b->m->config.max_unacknowledged; /* slabs stay when a reload lowers it */
    uint64_t unacknowledged = before > config->max_unacknowledged ? before : config->max_unacknowledged;
    size_t referenced = 0;
    for (unsigned i = 0; i < node->shard_count; i++) {
        size_t bytes = atomic_load_explicit(&node->referenced[i * node->shard_count + s->index], memory_order_relaxed);
        referenced = bytes > referenced ? bytes : referenced;
    }
    return within(b, "memory of packets (limits.unacknowledged)", "", s->packets.taken, unacknowledged) &&
           within(b, "use of that", "", s->packets.used, s->packets.taken) &&
           within(b, "reassembly (limits.reassembly)", "", s->reassembly.used, config->reassembly_total) &&
           within(b, "what messages refer to", "", referenced, REFERENCED) &&
           within(b, "logs (limits.channels)", "", s->logs.count, config->max_channels);
}

static bool check_peer(const struct bound *b, const struct peer *p)
{
    const struct config *config = b->s->config;
    return within(b, "streams (limits.streams_per_peer)", "a peer", p->streams.count, config->max_streams) &&
           within(b, "queued control messages", "a peer", p->control_count, CONTROL_QUEUE) &&
           (!p->reassembly || within(b, "reassembly (limits.reassembly_per_peer)", "a peer", p->reassembly->own.used,
                                     config->reassembly_peer));
}

static bool check_log(const struct bound *b, const struct log *log)
{
    if (!log->open)
        return true;
    const char *name = log->name.text;
    if (log->kind == LOG_NONE)
        return within(b, "the ring (channels.none_bytes)", name, log->ring.size, b->s->config->log_none_bytes);
    return within(b, "what is not written", name, redex_unwritten_bytes(log->redex), MAX_DIRTY) &&
           within(b, "what waits for room", name, log->unstored_bytes, UNSTORED) &&
           (!log->producers || within(b, "producers (channels.producers)", name, producers_count(log->producers),
                                      b->s->config->max_producers));
}

bool check_memory(struct check *c, struct check_node *n)
{
    check_each_shard(n->m, s)
    {
        struct bound b = {c, n->m, s};
        if (!check_shard(&b))
            return false;
        for (struct list *at = s->peer_list.next; at != &s->peer_list; at = at->next)
            if (!check_peer(&b, container_of(at, struct peer, in_shard)))
                return false;
        for (struct list *at = s->log_list.next; at != &s->log_list; at = at->next)
            if (!check_log(&b, container_of(at, struct log, in_shard)))
                return false;
        if (s->contacts && !within(&b, "peers (limits.peers)", "", s->contacts->by_id.count, s->config->max_peers))
            return false;
    }
    return true;
}
