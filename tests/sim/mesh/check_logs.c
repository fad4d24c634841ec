/* Own logs beside the ledger: nothing acknowledged is lost, nothing is there twice, wrong, or out of order, and
 * retention removed what it may and no more. */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/mesh/check_internal.h"

enum { RECORD = 20, EVENT_MOST = 256 }; /* bytes: of an index record, of a mesh_event() */

struct look {
    struct check *c;
    struct ledger *l;
    struct mesh_node *at;
    const struct channel_settings *settings;
    struct holding now;
    struct check_node *node;
};

/* ---- what is there ---- */

/* A power cut may leave an append that was not to be synced and forget whose it was: then it is appended again.
 * shards/admin/API.md, publish */
static bool may_come_again(const struct look *k, const struct source *s)
{
    return s->retries && !s->synced && sim_host_boots(k->at->host) > 0;
}

/* Every event was handed over for this log, and those of a producer stand in its order, each once. */
static bool check_events(struct look *k)
{
    const struct ledger *l = k->l;
    struct next {
        uint64_t number, seq;
    } *next = calloc(l->count + 1, sizeof *next);
    assert(next);
    bool good = true;
    for (size_t i = 0; i < k->now.count && good; i++) {
        const struct held *h = &k->now.all[i];
        size_t n = 0;
        while (n < l->count && l->sources[n]->tag != h->tag)
            n++;
        if (n == l->count || h->number >= l->sources[n]->handed) {
            good = check_fail(k->c, "node %u, %s: sequence %lu is an event that nobody handed over", l->at->number,
                              l->channel.text, h->seq);
        } else if (h->number < next[n].number && !may_come_again(k, l->sources[n])) {
            good = check_fail(k->c, "node %u, %s: event %lu of %u at %lu stands behind %lu at %lu", l->at->number,
                              l->channel.text, h->number, h->tag, h->seq, next[n].number - 1, next[n].seq);
        } else {
            next[n] = (struct next){h->number + 1, h->seq};
        }
    }
    free(next);
    return good;
}

static bool same(const struct held *a, const struct held *b)
{
    return a->tag == b->tag && a->number == b->number && a->len == b->len;
}

/* A sequence names one event for ever: `seen` gets what is new. */
static bool check_sequences(struct look *k)
{
    struct holding *seen = &k->l->seen, all = {0};
    if (memcmp(seen->id, k->now.id, LOG_ID_SIZE) != 0)
        holding_free(seen); /* another log */
    size_t i = 0, j = 0;
    bool good = true;
    while (good && (i < seen->count || j < k->now.count)) {
        const struct held *a = i < seen->count ? &seen->all[i] : NULL, *b = j < k->now.count ? &k->now.all[j] : NULL;
        const struct held *first = !b || (a && a->seq <= b->seq) ? a : b;
        if (a && b && a->seq == b->seq && !same(a, b))
            good = check_fail(k->c, "node %u, %s: sequence %lu was event %lu of %u and is event %lu of %u",
                              k->at->number, k->l->channel.text, a->seq, a->number, a->tag, b->number, b->tag);
        all.all = check_grown(all.all, all.count, &all.room, sizeof *all.all);
        all.all[all.count++] = *first;
        i += a && a->seq == first->seq;
        j += b && b->seq == first->seq;
    }
    memcpy(all.id, k->now.id, LOG_ID_SIZE);
    all.first = k->now.first;
    all.next = k->now.next;
    holding_free(seen);
    *seen = all;
    return good;
}

/* ---- what is missing ---- */

static bool retains_all(const struct channel_settings *s)
{
    return !s->retention_events && !s->retention_bytes && !s->retention_age_ns;
}

/* What may be missing, as far as it can be told without a sequence. */
static bool may_be_lost(const struct look *k, const struct acked *a)
{
    return k->node->excused || (!a->durable && a->boot != sim_host_boots(k->at->host));
}

/* Where the event is, by its number; NULL: nowhere. `from`: an index to begin at, which moves on. */
static const struct held *find(const struct look *k, uint32_t tag, uint64_t number, size_t *from)
{
    for (size_t tried = 0; tried < k->now.count; tried++) {
        size_t at = (*from + tried) % k->now.count;
        if (k->now.all[at].tag == tag && k->now.all[at].number == number) {
            *from = at + 1;
            return &k->now.all[at];
        }
    }
    return NULL;
}

static bool check_ack(const struct look *k, const struct source *s, const struct acked *a, size_t *from)
{
    const struct ledger *l = k->l;
    bool known = a->first_seq != CHECK_SEQ;
    if (k->settings->log != LOG_DISK && a->life != k->at->lives)
        return true; /* it was another log */
    for (uint64_t i = 0; i < a->count; i++) {
        uint64_t seq = a->first_seq + i;
        const struct held *h = known ? holding_find(&k->now, seq) : find(k, s->tag, a->from + i, from);
        if (h && (h->tag != s->tag || h->number != a->from + i))
            return check_fail(k->c, "node %u, %s: event %lu of %u was acknowledged as %lu, where event %lu of %u is",
                              l->at->number, l->channel.text, a->from + i, s->tag, seq, h->number, h->tag);
        if (h || may_be_lost(k, a) || (!retains_all(k->settings) && (!known || seq < k->now.first)))
            continue;
        return check_fail(k->c,
                          "node %u, %s: event %lu of %u is lost: acknowledged%s as %ld in life %u; the log has %lu "
                          "events from %lu to %lu in life %u, %lu power cuts, %lu at the acknowledgement",
                          l->at->number, l->channel.text, a->from + i, s->tag, a->durable ? " as synced" : "",
                          known ? (long)seq : -1, a->life, k->now.count, k->now.first, k->now.next, l->at->lives,
                          sim_host_boots(l->at->host), a->boot);
    }
    return true;
}

static bool check_acks(const struct look *k)
{
    for (size_t i = 0; i < k->l->count; i++) {
        const struct source *s = k->l->sources[i];
        size_t from = 0;
        for (size_t a = 0; a < s->count; a++)
            if (!check_ack(k, s, &s->acked[a], &from))
                return false;
    }
    return true;
}

/* ---- retention ---- */

static uint64_t kept_bytes(const struct holding *h)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < h->count; i++)
        sum += h->all[i].len + RECORD;
    return sum;
}

/* redex.md 13: the last so many, of so many bytes, not older than that; of several limits the tightest holds. */
static bool check_retention(const struct look *k)
{
    const struct channel_settings *s = k->settings;
    const struct holding *h = &k->now;
    const char *channel = k->l->channel.text;
    uint64_t bytes = kept_bytes(h);
    if (s->retention_events && h->count > s->retention_events)
        return check_fail(k->c, "node %u, %s: keeps %zu events, which are to be %lu", k->at->number, channel, h->count,
                          s->retention_events);
    if (s->retention_bytes && bytes > s->retention_bytes)
        return check_fail(k->c, "node %u, %s: keeps %lu bytes, which are to be %lu", k->at->number, channel, bytes,
                          s->retention_bytes);
    if (h->first == 0 || k->l->seen.count == 0 || k->l->seen.all[0].seq >= h->first || k->node->excused)
        return true; /* nothing that we know of was removed */
    if (retains_all(s) && sim_host_boots(k->at->host))
        return true; /* a power cut may have taken what was first; what it may not take is check_acks()' */
    if (retains_all(s))
        return check_fail(k->c, "node %u, %s: begins at %lu, and nothing was to be removed", k->at->number, channel,
                          h->first);
    if (s->retention_age_ns || (s->retention_events && h->count >= s->retention_events) ||
        (s->retention_bytes && bytes + EVENT_MOST + RECORD > s->retention_bytes))
        return true;
    return check_fail(k->c, "node %u, %s: keeps %zu events of %lu bytes, though more were to be kept", k->at->number,
                      channel, h->count, bytes);
}

static bool check_ledger(struct check *c, struct ledger *l)
{
    struct mesh_node *at = &c->mesh->nodes[l->at->number];
    struct look k = {
        .c = c, .l = l, .at = at, .settings = config_channel(&at->config, l->channel.text), .node = check_node(c, at)};
    if (!at->node || k.settings->log == LOG_NONE)
        return true;
    holding_read(at, (struct log_key){0, l->hash, 0}, &k.now); /* or nothing is there */
    bool good = check_events(&k) && check_sequences(&k) && check_acks(&k) && check_retention(&k);
    holding_free(&k.now);
    return good;
}

bool check_logs(struct check *c)
{
    for (size_t i = 0; i < c->own->ledger_count && !c->what[0]; i++)
        check_ledger(c, c->own->ledgers[i]);
    return c->what[0] == 0;
}
