/* Who runs and who does not: nodes that acts take down, that are held down, and that come back. */
#include <assert.h>

#include "core/base/err.h"
#include "tests/sim/swarm/runner.h"

enum { STOP_LIMIT_S = 60, RETRY_MS = 1000 };

static struct mesh_node *mesh_of(struct run *r, unsigned node)
{
    return &r->mesh.nodes[node];
}

struct mesh_node *life_up(struct run *r, unsigned node)
{
    struct mesh_node *m = mesh_of(r, node);
    return m->node && !r->lives[node].stopping_till ? m : NULL;
}

static void gone(struct run *r, unsigned node)
{
    feeds_gone(r, node);
    wishes_forget(r, node);
    r->lives[node].stopping_till = 0;
}

void life_take_down(struct run *r, unsigned node, enum downfall how)
{
    struct life *l = &r->lives[node];
    struct mesh_node *m = mesh_of(r, node);
    if (how == DOWN_STOP) {
        if (!life_up(r, node))
            return;
        l->stopping_till = sim_now(r->mesh.sim) + STOP_LIMIT_S * SIM_S;
        mesh_stop_begin(m);
        return;
    }
    gone(r, node);
    if (how == DOWN_POWER)
        mesh_crash(m);
    else
        mesh_kill(m);
}

void life_hold(struct run *r, unsigned node, enum downfall how)
{
    r->lives[node].holds++;
    life_take_down(r, node, how);
}

void life_release(struct run *r, unsigned node)
{
    struct life *l = &r->lives[node];
    assert(l->holds > 0);
    l->holds--;
    l->start_at = sim_now(r->mesh.sim);
}

/* A node begins with what its last life left in peers.yaml. */
bool life_read_peers(struct run *r, unsigned node)
{
    struct mesh_node *m = mesh_of(r, node);
    struct cspan text = sim_disk_get(m->host, "/node/peers.yaml");
    struct peers_file file;
    if (!text.data || text.len == 0)
        return true; /* its first life */
    if (peers_file_parse((const char *)text.data, text.len, "peers.yaml", &file, &m->error) != NET_OK) {
        run_fail(r, "node %u: peers.yaml: %s", m->number, m->error.text);
        return false;
    }
    m->peer_count = m->subscription_count = 0;
    for (size_t i = 0; i < file.peer_count; i++)
        *mesh_add_entry(m) = file.peers[i];
    for (size_t i = 0; i < file.subscription_count; i++)
        *mesh_add_subscription(m) = file.subscriptions[i];
    peers_file_free(&file);
    return true;
}

static void start(struct run *r, unsigned node)
{
    struct mesh_node *m = mesh_of(r, node);
    if (!life_read_peers(r, node))
        return;
    if (mesh_try_start(m)) {
        r->outcome->starts++;
        run_note(r, "node %u starts, life %u", node, m->lives);
        return;
    }
    run_note(r, "node %u does not start: %s", node, m->error.text);
    r->lives[node].start_at = sim_now(r->mesh.sim) + RETRY_MS * SIM_MS;
    if (!r->lives[node].disk_failing && !r->lives[node].dying)
        run_fail(r, "node %u does not start: %s", node, m->error.text);
}

static void tick(struct run *r, unsigned node)
{
    struct life *l = &r->lives[node];
    struct mesh_node *m = mesh_of(r, node);
    if (l->dying && !m->node) {
        run_note(r, "node %u died of an operation of its disk", node);
        gone(r, node);
        l->dying = false;
    }
    if (l->stopping_till && mesh_stopped(m)) {
        run_note(r, "node %u has stopped", node);
        gone(r, node);
        mesh_kill(m);
    } else if (l->stopping_till && sim_now(r->mesh.sim) > l->stopping_till) {
        run_fail(r, "node %u does not stop within %d s", node, STOP_LIMIT_S);
    }
    if (l->disk_failing)
        check_interrupted(&r->check, m);
    if (!m->node && l->holds == 0 && l->start_at <= sim_now(r->mesh.sim))
        start(r, node);
}

void lives_tick(struct run *r)
{
    for (unsigned i = 0; i < r->plan->nodes && !run_over(r); i++)
        tick(r, i);
}

bool lives_all_up(const struct run *r)
{
    for (unsigned i = 0; i < r->plan->nodes; i++)
        if (!r->mesh.nodes[i].node || r->lives[i].stopping_till)
            return false;
    return true;
}
