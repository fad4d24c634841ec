/* What is asked of nodes while they run, and not waited for. */
#include <string.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "tests/sim/swarm/runner.h"

static void on_answer(struct control_request *c, int err, const char *message)
{
    (void)err;
    (void)message;
    ((struct request *)c)->open = false;
}

/* NULL: too many are open. */
static struct control_request *new_request(struct run *r, unsigned node)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        struct request *q = &r->feeds.requests[i];
        if (q->open)
            continue;
        *q = (struct request){.request.done = on_answer, .node = node, .open = true};
        sim_host_poke(r->mesh.nodes[node].host, 0);
        return &q->request;
    }
    return NULL;
}

static struct channel_name name_of(const struct plan_want *w)
{
    struct channel_name name;
    const char *text = plan_channel(w->channel);
    channel_name_parse(text, strlen(text), &name);
    return name;
}

/* Where a followed log begins is said once: who is asked again goes on where it ended. */
static enum subscription_start start_of(struct run *r, const struct plan_want *w)
{
    bool *begun = &r->begun[w - r->plan->want];
    enum subscription_start start = *begun || w->mode != SUBSCRIBE_FOLLOW ? START_DEFAULT : w->start;
    *begun = true;
    return start;
}

static void subscribe(struct run *r, const struct plan_want *w, enum subscription_start start)
{
    struct mesh_node *m = life_up(r, w->node);
    struct control_request *q = m ? new_request(r, w->node) : NULL;
    struct subscribe_ask ask = {.channel = name_of(w),
                                .peer = r->mesh.nodes[w->from].node_id,
                                .mode = w->mode,
                                .start = start,
                                .sequence = start == START_SEQUENCE ? w->sequence : 0};
    if (q)
        node_subscribe(m->node, &ask, 10 * SIM_S, q);
}

void wish_begin_anew(struct run *r, const struct plan_want *w)
{
    subscribe(r, w, START_EARLIEST);
}

void wish_want(struct run *r, const struct plan_want *w, bool wanted)
{
    struct mesh_node *m = life_up(r, w->node);
    if (!m)
        return;
    if (wanted) {
        subscribe(r, w, start_of(r, w));
        return;
    }
    struct control_request *q = new_request(r, w->node);
    struct channel_name name = name_of(w);
    if (q)
        node_unsubscribe(m->node, &name, r->mesh.nodes[w->from].node_id, 10 * SIM_S, q);
}

/* Where it lives: a move (acts_net.c) comes to an end. */
enum { HOME_PORT = 20037 };

static void make_entry(struct run *r, unsigned other, struct peer_entry *e)
{
    const struct mesh_node *m = &r->mesh.nodes[other];
    *e = (struct peer_entry){.node_id = m->node_id, .has_addr = true, .addr = sim_host_addr(m->host), .has_key = true};
    e->addr.port = HOME_PORT;
    text_format(e->name, sizeof e->name, "node-%u", other);
    memcpy(e->public_key, m->public_key, sizeof e->public_key);
}

void wish_know(struct run *r, unsigned node, unsigned other, bool known)
{
    struct mesh_node *m = life_up(r, node);
    struct control_request *q = m ? new_request(r, node) : NULL;
    struct peer_entry e;
    if (!q)
        return;
    make_entry(r, other, &e);
    if (known)
        node_peer_add(m->node, &e, q);
    else
        node_peer_remove(m->node, e.name, q);
}

void wishes_forget(struct run *r, unsigned node)
{
    for (size_t i = 0; i < REQUESTS; i++)
        if (r->feeds.requests[i].node == node)
            r->feeds.requests[i].open = false;
}
