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

/* The request's channel and peer; NULL: it cannot be asked now. */
static struct control_request *open_want(struct run *r, const struct plan_want *w, struct subscribe_ask *ask)
{
    const char *text = plan_channel(w->channel);
    *ask = (struct subscribe_ask){.peer = r->mesh.nodes[w->from].node_id, .mode = w->mode};
    channel_name_parse(text, strlen(text), &ask->channel);
    return life_up(r, w->node) ? new_request(r, w->node) : NULL;
}

bool wish_begin(struct run *r, const struct plan_want *w, enum subscription_start start)
{
    struct subscribe_ask ask;
    struct control_request *q = open_want(r, w, &ask);
    if (!q)
        return false;
    ask.start = start;
    ask.sequence = start == START_SEQUENCE ? w->sequence : 0;
    node_subscribe(r->mesh.nodes[w->node].node, &ask, 10 * SIM_S, q);
    return true;
}

void wish_want(struct run *r, const struct plan_want *w, bool wanted)
{
    struct subscribe_ask ask;
    struct control_request *q;
    if (wanted) {
        /* Where a followed log begins is said once: who is asked again goes on where it ended. */
        bool *begun = &r->begun[w - r->plan->want];
        *begun |= wish_begin(r, w, *begun || w->mode != SUBSCRIBE_FOLLOW ? START_DEFAULT : w->start);
    } else if ((q = open_want(r, w, &ask))) {
        node_unsubscribe(r->mesh.nodes[w->node].node, &ask.channel, ask.peer, 10 * SIM_S, q);
    }
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
