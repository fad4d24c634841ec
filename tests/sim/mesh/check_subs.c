/* Who reads which channel of whom, as the nodes say; and a mesh that converges. */
#include <stdio.h>

#include "shards/logs/view.h"
#include "shards/peers/membership.h"
#include "tests/sim/mesh/check_subs.h"

struct walk {
    struct check *c;
    struct mesh_node *m;
    bool (*each)(struct check *, const struct reading_place *, void *ctx);
    void *ctx;
    bool good;
};

static void on_row(void *ctx, const struct subscription_row *row)
{
    struct walk *w = ctx;
    struct mesh_node *from = check_by_id(w->c, row->peer);
    if (!w->good || !from)
        return;
    struct reading_place r = {.reader = w->m,
                              .from = from,
                              .channel = row->channel,
                              .hash = channel_hash(row->channel, strlen(row->channel)),
                              .followed = row->mode == SUBSCRIBE_FOLLOW,
                              .active = row->active,
                              .note = row->note};
    w->good = w->each(w->c, &r, w->ctx);
}

bool check_each_reader(struct check *c, bool (*each)(struct check *, const struct reading_place *, void *ctx),
                       void *ctx)
{
    for (unsigned i = 0; i < c->own->node_count; i++) {
        struct walk w = {.c = c, .m = c->own->nodes[i].m, .each = each, .ctx = ctx, .good = true};
        if (w.m->node)
            node_each_subscription(w.m->node, on_row, &w);
        if (!w.good)
            return false;
    }
    return true;
}

struct log *check_own_log(struct mesh_node *m, uint64_t hash)
{
    return log_find(node_shard(m->node, log_owner(m->node, hash)), (struct log_key){0, hash, 0});
}

struct log *check_mirror(const struct reading_place *r)
{
    return log_followed(node_shard(r->reader->node, log_owner(r->reader->node, r->hash)), r->from->node_id, r->hash);
}

/* ---- converging ---- */

struct unsettled { /* what is waited for */
    char text[400];
};

#define WAITS(u, ...) (snprintf((u)->text, sizeof(u)->text, __VA_ARGS__), false)

static bool follows_to_the_end(const struct reading_place *r, struct unsettled *u)
{
    struct log *own = check_own_log(r->from, r->hash), *mirror = check_mirror(r);
    struct redex_event next;
    uint8_t a[LOG_ID_SIZE], b[LOG_ID_SIZE];
    if (!own || !own->open)
        return true; /* nothing was published */
    if (!mirror || !mirror->open)
        return WAITS(u, "node %u has no log of %s at node %u yet", r->reader->number, r->channel, r->from->number);
    log_id(own, a);
    log_id(mirror, b);
    if (memcmp(a, b, sizeof a) != 0)
        return WAITS(u, "node %u follows a log of %s that node %u has no more", r->reader->number, r->channel,
                     r->from->number);
    struct log_heads heads;
    log_heads(mirror, &heads);
    uint64_t seq = heads.live;
    if (log_read(own, &seq, UINT64_MAX, &next, 1) > 0)
        return WAITS(u, "node %u has %s of node %u up to %lu, not %lu", r->reader->number, r->channel, r->from->number,
                     heads.live, next.seq);
    return redex_written_seq(mirror->redex) == heads.live
               ? true
               : WAITS(u, "node %u has not written %s of node %u", r->reader->number, r->channel, r->from->number);
}

static bool is_sent_all(const struct reading_place *r, struct unsettled *u)
{
    struct peer *p = mesh_peer(r->from, r->reader);
    for (struct list *n = p ? p->cursors.next : NULL; p && n != &p->cursors; n = n->next) {
        struct cursor *cursor = container_of(n, struct cursor, in_peer);
        if (cursor->view->key.hash != r->hash)
            continue;
        return cursor->next >= cursor->view->heads.live
                   ? true
                   : WAITS(u, "node %u has sent node %u %s up to %lu, not %lu", r->from->number, r->reader->number,
                           r->channel, cursor->next, cursor->view->heads.live);
    }
    return WAITS(u, "node %u believes that node %u sends it %s, which it does not", r->reader->number, r->from->number,
                 r->channel);
}

/* X7.2: a log that is not the one that was followed is refused, and the application decides. */
static bool is_made_anew(struct check *c, const struct reading_place *r)
{
    struct log *own = check_own_log(r->from, r->hash), *mirror = check_mirror(r);
    uint8_t a[LOG_ID_SIZE], b[LOG_ID_SIZE];
    bool may_be = config_channel(&r->from->config, r->channel)->log != LOG_DISK || sim_host_boots(r->from->host) > 0 ||
                  check_node(c, r->from)->excused;
    if (!r->followed || !own || !mirror)
        return false;
    log_id(own, a);
    log_id(mirror, b);
    return may_be && memcmp(a, b, sizeof a) != 0;
}

/* security.peers */
static bool lets_in(const struct mesh_node *m, const struct mesh_node *who)
{
    bool listed = m->config.peers == PEERS_ANY;
    for (size_t i = 0; i < m->peer_count; i++)
        listed = listed || m->peers[i].node_id == who->node_id;
    return listed;
}

static bool is_settled(struct check *c, const struct reading_place *r, void *ctx)
{
    struct unsettled *u = ctx;
    if (!r->from->node || (!r->active && (!lets_in(r->from, r->reader) || is_made_anew(c, r))))
        return true;
    if (!r->active)
        return WAITS(u, "node %u does not get %s from node %u; %s", r->reader->number, r->channel, r->from->number,
                     r->note[0] ? r->note : "no answer");
    return r->followed ? follows_to_the_end(r, u) : is_sent_all(r, u);
}

/* Both ends of every entry, where both run and the other one lets it in. */
static bool all_connected(struct check *c, struct unsettled *u)
{
    for (unsigned i = 0; i < c->own->node_count; i++) {
        struct mesh_node *m = c->own->nodes[i].m;
        for (size_t k = 0; m->node && k < m->peer_count; k++) {
            struct mesh_node *other = check_by_id(c, m->peers[k].node_id);
            if (!other || !other->node || !lets_in(other, m))
                continue;
            if (!mesh_connected(m, other) || !mesh_connected(other, m))
                return WAITS(u, "node %u is %sconnected to node %u, and that one is %sconnected to it", m->number,
                             mesh_connected(m, other) ? "" : "not ", other->number,
                             mesh_connected(other, m) ? "" : "not ");
        }
    }
    return true;
}

/* What the next start would ask for is asked for. */
static bool all_asked_for(struct check *c, struct unsettled *u)
{
    for (unsigned i = 0; i < c->own->node_count; i++) {
        struct mesh_node *m = c->own->nodes[i].m;
        for (size_t k = 0; m->node && k < m->subscription_count; k++) {
            const struct subscription_entry *e = &m->subscriptions[k];
            struct peer *p = check_by_id(c, e->peer) ? mesh_peer(m, check_by_id(c, e->peer)) : NULL;
            uint64_t hash = channel_hash(e->channel, strlen(e->channel));
            bool there = p == NULL; /* never met: nothing can have been asked */
            for (struct list *n = p ? p->subscriptions.next : NULL; p && n != &p->subscriptions; n = n->next)
                there = there || container_of(n, struct subscription, in_peer)->hash == hash;
            if (!there)
                return WAITS(u, "node %u does not ask for %s any more", m->number, e->channel);
        }
    }
    return true;
}

bool check_converges(struct check *c, uint64_t limit_ns)
{
    enum { STEPS = 400 };
    struct unsettled u = {""};
    for (int step = 0; step <= STEPS && !c->what[0]; step++) {
        if (all_connected(c, &u) && all_asked_for(c, &u) && check_each_reader(c, is_settled, &u))
            return true;
        sim_run_for(c->mesh->sim, limit_ns / STEPS);
    }
    return check_fail(c, "after %lu ms of peace %s", limit_ns / SIM_MS, u.text);
}
