/* Every drop is counted: what a node took from its socket, what it put into it, and the events that came, all went
 * somewhere that has a counter. Of the lives that go on. */
#include "shards/peers/peer.h"
#include "tests/sim/mesh/check_subs.h"

#define N(field) MESH_COUNT(m, field)

/* Every place where a datagram that was taken ends (receive.c, relay.c, answer.c). */
static uint64_t ends_of_datagrams(struct mesh_node *m)
{
    return N(rx_packets) + N(drop_class) + N(drop_header) + N(drop_pingwave) + N(drop_keepalive) +
           N(drop_routed_heartbeat) + N(drop_session) + N(drop_length) + N(drop_replay) + N(drop_auth) + N(relayed) +
           N(drop_no_route) + N(drop_ttl) + N(drop_relay_busy) + N(drop_stopping) + N(drop_handshake) + N(drop_gate) +
           N(drop_handshake_replay) + N(drop_handshake_rate) + N(drop_handshake_pending) + N(drop_handshake_policy) +
           N(drop_peer_limit) + N(handshakes_superseded) + N(handshakes_answered) + N(drop_no_memory);
}

/* An answer to a handshake of ours is the one thing that is taken without a counter; a full ring counts events, too. */
static bool check_taken(struct check *c, struct mesh_node *m)
{
    uint64_t taken = sim_host_traffic(m->host).taken, received = N(rx_datagrams), ends = ends_of_datagrams(m);
    if (N(drop_truncated) == 0 && taken != received)
        return check_fail(c, "node %u was handed %lu datagrams and counts %lu", m->number, taken, received);
    if (ends <= received && received <= ends + N(handshakes_started) + N(drop_ring_full))
        return true;
    return check_fail(c, "node %u took %lu datagrams; %lu have an end that is counted, and %lu handshakes were started",
                      m->number, received, ends, N(handshakes_started));
}

static bool all_sent_is_counted(struct mesh_node *m)
{
    uint64_t sent = sim_host_traffic(m->host).sent, counted = N(tx_datagrams);
    return sent <= counted + N(drop_send) && counted <= sent;
}

/* A datagram is counted when its send completes, a moment after it left. */
static bool check_sent(struct check *c, struct mesh_node *m)
{
    for (int tries = 0; tries < 5; tries++) {
        if (all_sent_is_counted(m))
            return true;
        sim_run_for(c->mesh->sim, SIM_MS);
    }
    return check_fail(c, "node %u counts %lu datagrams sent and %lu that failed, and %lu left", m->number,
                      N(tx_datagrams), N(drop_send), sim_host_traffic(m->host).sent);
}

/* Events that came are in a log or have a reason. Those of a mirror may come again, and are passed over. */
static bool check_stored(struct check *c, struct mesh_node *m)
{
    uint64_t came = N(rx_events), stored = N(stored_events);
    uint64_t dropped = N(drop_log_full) + N(drop_no_log) + N(drop_log_failed) + N(drop_followed);
    if (stored <= came && came <= stored + dropped + N(drop_ring_full) + N(rx_duplicates))
        return true;
    if (stored <= came && N(follows_asked_again) + N(drop_followed) > 0)
        return true; /* what was asked for again was there */
    return check_fail(c, "node %u got %lu events, stored %lu and dropped %lu", m->number, came, stored, dropped);
}
#undef N

bool check_drops(struct check *c)
{
    sim_run_for(c->mesh->sim, 50 * SIM_MS); /* what is in a ring or a socket gets its place */
    for (unsigned i = 0; i < c->own->node_count && !c->what[0]; i++) {
        struct mesh_node *m = c->own->nodes[i].m;
        if (m->node)
            (void)(check_taken(c, m) && check_sent(c, m) && check_stored(c, m));
    }
    return c->what[0] == 0;
}
