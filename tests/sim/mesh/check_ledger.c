/* The ledger: what was handed over for a log, and what was acknowledged. */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/mesh/check_internal.h"

struct ledger *ledger_find(struct check *c, const struct mesh_node *at, uint64_t hash)
{
    for (size_t i = 0; i < c->own->ledger_count; i++) {
        struct ledger *l = c->own->ledgers[i];
        if (l->at == at && l->hash == hash)
            return l;
    }
    return NULL;
}

static struct ledger *ledger_get(struct check *c, const struct mesh_node *at, const char *channel)
{
    struct check_state *own = c->own;
    struct channel_name name;
    enum channel_name_error valid = channel_name_parse(channel, strlen(channel), &name);
    assert(valid == CHANNEL_NAME_OK);
    uint64_t hash = channel_hash(name.text, name.len);
    struct ledger *l = ledger_find(c, at, hash);
    if (l)
        return l;
    l = calloc(1, sizeof *l);
    assert(l);
    *l = (struct ledger){.at = at, .channel = name, .hash = hash};
    own->ledgers = check_grown(own->ledgers, own->ledger_count, &own->ledger_room, sizeof(struct ledger *));
    return own->ledgers[own->ledger_count++] = l;
}

struct source *ledger_source(struct check *c, uint32_t tag)
{
    return map_get(&c->own->sources, tag);
}

static struct source *source_get(struct check *c, const struct mesh_node *at, const char *channel, uint32_t tag)
{
    struct ledger *l = ledger_get(c, at, channel);
    struct source *s = ledger_source(c, tag);
    if (s) {
        assert(s->ledger == l && "a tag is for one log");
        return s;
    }
    s = calloc(1, sizeof *s);
    assert(s);
    *s = (struct source){.tag = tag, .ledger = l};
    l->sources = check_grown(l->sources, l->count, &l->room, sizeof(struct source *));
    l->sources[l->count++] = s;
    if (map_put(&c->own->sources, tag, s) != 0)
        assert(!"memory");
    return s;
}

void check_handed(struct check *c, const struct mesh_node *at, const char *channel, uint32_t tag, uint64_t from,
                  uint64_t count)
{
    struct source *s = source_get(c, at, channel, tag);
    assert(from <= s->handed && "numbers are handed over in order");
    if (from + count > s->handed)
        s->handed = from + count;
}

void ledger_acked(struct check *c, struct source *s, const struct acked *a)
{
    const struct ledger *l = s->ledger;
    if (a->count == 0)
        return;
    if (a->from + a->count > s->handed) {
        check_fail(c, "node %u acknowledged event %lu of %u on %s, which was never handed to it", l->at->number,
                   a->from + a->count - 1, s->tag, l->channel.text);
        return;
    }
    s->acked = check_grown(s->acked, s->count, &s->room, sizeof *s->acked);
    s->acked[s->count++] = *a;
}

void check_acked(struct check *c, const struct mesh_node *at, const char *channel, uint32_t tag, uint64_t from,
                 uint64_t count, uint64_t first_seq, bool durable)
{
    struct acked a = {from, count, first_seq, durable, at->lives, sim_host_boots(at->host)};
    ledger_acked(c, source_get(c, at, channel, tag), &a);
}

struct mesh_published check_publish(struct check *c, struct mesh_node *m, const char *channel, uint32_t tag,
                                    uint64_t from, uint64_t count, bool durable, uint64_t limit_ns)
{
    check_handed(c, m, channel, tag, from, count);
    struct mesh_published p = mesh_publish(m, channel, tag, from, count, durable, limit_ns);
    check_acked(c, m, channel, tag, from, p.events, CHECK_SEQ, durable);
    return p;
}

/* ---- what a log has ---- */

void holding_free(struct holding *h)
{
    free(h->all);
    *h = (struct holding){0};
}

const struct held *holding_find(const struct holding *h, uint64_t seq)
{
    size_t low = 0, high = h->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (h->all[middle].seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low < h->count && h->all[low].seq == seq ? &h->all[low] : NULL;
}

bool holding_of(struct log *log, struct holding *out)
{
    enum { BATCH = 64 };
    struct redex_event events[BATCH];
    struct log_heads heads;
    uint64_t seq = 0;
    *out = (struct holding){0};
    if (!log->open || log->kind == LOG_NONE)
        return false;
    log_heads(log, &heads);
    log_id(log, out->id);
    out->first = heads.first;
    out->next = heads.live;
    for (size_t n; (n = log_read(log, &seq, UINT64_MAX, events, BATCH)) > 0;) {
        for (size_t i = 0; i < n; i++) {
            struct held *h;
            out->all = check_grown(out->all, out->count, &out->room, sizeof *out->all);
            h = &out->all[out->count++];
            *h = (struct held){.seq = events[i].seq, .ts_ns = events[i].ts_ns, .len = (uint32_t)events[i].data.len};
            if (!check_event(events[i].data, &h->tag, &h->number))
                h->tag = UINT32_MAX;
        }
    }
    return true;
}

bool holding_read(struct mesh_node *m, struct log_key key, struct holding *out)
{
    *out = (struct holding){0};
    if (!m->node)
        return false;
    struct log *log = log_find(node_shard(m->node, log_owner(m->node, key.hash)), key);
    return log && holding_of(log, out);
}
