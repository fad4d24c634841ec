/* Sessions as whole nodes keep them: session.md 20 and extensions X1, with a peer that does not behave. Numbers are
 * those of session.md 20. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "shards/node/shard.h"
#include "tests/sim/mesh/scripted.h"

static const char CHANNEL[] = "sensors/lidar";

static struct mesh mesh;
static struct mesh_node *node;
static struct scripted peer;

/* A node, and a peer it knows nothing of. Start it with mesh_start(node). */
static void make(uint64_t seed, bool compat)
{
    mesh_init(&mesh, seed);
    node = mesh_add(&mesh, 2);
    scripted_init(&peer, &mesh, node, compat);
}

static void end(void)
{
    scripted_deinit(&peer);
    mesh_deinit(&mesh);
}

TestSuite(sim_session, .fini = end, .timeout = 120);

static void settle(void)
{
    sim_run_for(mesh.sim, 5 * SIM_MS);
}

static void ask(enum membership_type type, uint64_t nonce)
{
    uint8_t text[MESSAGE_FRAME];
    scripted_send(&peer, membership_header, message_frame(type, CHANNEL, nonce, text));
    settle();
}

/* The sequence of the next packet of events heard, after one event was published; UINT64_MAX: none came. */
static uint64_t publish_and_hear(void)
{
    size_t at = peer.heard_count;
    cr_assert_eq(mesh_publish_size(node, CHANNEL, 10), NET_OK);
    sim_run_for(mesh.sim, 20 * SIM_MS);
    const struct heard *h = scripted_next(&peer, &at, heard_events);
    return h ? h->header.sequence : UINT64_MAX;
}

/* ---- confirmation, X1; heartbeats, 39 ---- */

Test(sim_session, a_responder_is_silent_until_it_is_confirmed)
{
    make(9, false);
    mesh_start(node);
    cr_assert(scripted_dial(&peer, HANDSHAKE_ROUTED));
    sim_run_for(mesh.sim, 4 * SIM_S);
    cr_assert(peer.heard_count == 0 && !scripted_connected(&peer) && MESH_COUNT(node, gauge_sessions) == 1);
    uint64_t before = sim_now(mesh.sim);
    scripted_heartbeat(&peer);
    settle();
    cr_assert(scripted_connected(&peer) && peer.heard_count == 1 && heard_heartbeat(&peer.heard[0]));
    cr_assert_leq(peer.heard[0].at - before, SIM_MS);
}

Test(sim_session, a_session_nobody_confirms_is_given_up)
{
    make(10, false);
    mesh_start(node);
    cr_assert(scripted_dial(&peer, HANDSHAKE_ROUTED));
    sim_run_for(mesh.sim, 6 * SIM_S);
    cr_assert_eq(MESH_COUNT(node, gauge_sessions), 0);
    scripted_heartbeat(&peer);
    settle();
    cr_assert(!scripted_connected(&peer) && MESH_COUNT(node, drop_session) == 1);
}

Test(sim_session, an_initiator_confirms_at_once_and_every_250_ms_and_then_keeps_the_interval)
{
    make(11, false);
    scripted_list(&peer, false);
    peer.answers = true;
    mesh_start(node);
    sim_run_for(mesh.sim, 1100 * SIM_MS);
    cr_assert_eq(scripted_count(&peer, 0, heard_heartbeat), 5, "at 0, 250, 500, 750 and 1000 ms");
    cr_assert_eq(peer.handshakes, 1);
    cr_assert_not(scripted_connected(&peer));
    scripted_heartbeat(&peer);
    settle();
    cr_assert(scripted_connected(&peer));
    size_t from = peer.heard_count;
    for (int i = 0; i < 30; i++) {
        sim_run_for(mesh.sim, SIM_S);
        scripted_heartbeat(&peer);
    }
    cr_assert_eq(scripted_count(&peer, from, heard_heartbeat), 6);
    cr_assert_eq(peer.heard_count, from + 6, "and nothing else");
}

/* ---- liveness: 33 to 38, wire.md 14.42 ---- */

/* What somebody on the line can do who recorded packets and knows the session's id, for `seconds`. */
static void forge_for(unsigned seconds, struct cspan recorded)
{
    uint8_t d[WIRE_OVERHEAD + 20];
    struct wire_header h = {.flags = WIRE_HEARTBEAT, .session_id = peer.session.p.tx_id, .counter = 500};
    for (unsigned i = 0; i < seconds; i++) {
        memset(d, 0, sizeof d);
        wire_header_encode(&h, d);
        scripted_inject(&peer, (struct cspan){d, (size_t)WIRE_OVERHEAD + h.payload_len});
        h.flags ^= WIRE_HEARTBEAT;
        h.payload_len = (uint16_t)(20 - h.payload_len);
        memcpy(d, recorded.data, recorded.len);
        scripted_inject(&peer, (struct cspan){d, recorded.len});
        sim_run_for(mesh.sim, SIM_S);
    }
}

Test(sim_session, replayed_and_forged_packets_keep_nobody_alive)
{
    uint8_t heartbeat[WIRE_OVERHEAD];
    make(12, false);
    scripted_list(&peer, true)->compat = PEER_OURS;
    mesh_start(node);
    scripted_connect(&peer);
    struct cspan recorded =
        scripted_seal(&peer, (struct wire_header){.flags = WIRE_HEARTBEAT}, (struct cspan){0}, heartbeat);
    uint8_t copy[WIRE_OVERHEAD];
    memcpy(copy, heartbeat, sizeof copy);
    scripted_inject(&peer, recorded);
    settle();
    forge_for(14, (struct cspan){copy, sizeof copy});
    cr_assert(scripted_connected(&peer));
    forge_for(10, (struct cspan){copy, sizeof copy});
    cr_assert_not(scripted_connected(&peer), "three intervals of silence are noticed all the same");
    cr_assert_geq(MESH_COUNT(node, drop_auth), 24);
    cr_assert_geq(MESH_COUNT(node, drop_replay), 24);
    scripted_heartbeat(&peer);
    settle();
    cr_assert(scripted_connected(&peer), "the real one is welcome");
}

/* 35 as X1 has it: what authenticates keeps a peer alive, heartbeat or not. */
Test(sim_session, data_alone_keeps_a_peer_alive)
{
    make(13, false);
    mesh_start(node);
    scripted_connect(&peer);
    for (uint64_t i = 0; i < 30; i++) {
        sim_run_for(mesh.sim, 4 * SIM_S);
        cr_assert(scripted_connected(&peer));
        ask(MEMBERSHIP_UNSUBSCRIBE, i);
    }
}

/* 36, 37, channels.md 18.50: after 90 s of silence a peer has left our channels, and has to ask for them again. */
Test(sim_session, a_failed_peer_recovers_without_its_subscriptions)
{
    make(14, false);
    scripted_list(&peer, true)->compat = PEER_OURS;
    mesh_start(node);
    scripted_connect(&peer);
    ask(MEMBERSHIP_SUBSCRIBE, 1);
    cr_assert_eq(publish_and_hear(), 0);
    sim_run_for(mesh.sim, 60 * SIM_S);
    scripted_heartbeat(&peer);
    settle();
    cr_assert(scripted_connected(&peer));
    cr_assert_eq(publish_and_hear(), 1, "60 s were not enough");
    sim_run_for(mesh.sim, 100 * SIM_S);
    cr_assert_eq(publish_and_hear(), UINT64_MAX);
    scripted_heartbeat(&peer);
    settle();
    cr_assert(scripted_connected(&peer), "one heartbeat, no handshake");
    cr_assert_eq(publish_and_hear(), UINT64_MAX, "the subscription does not come back with it");
    ask(MEMBERSHIP_SUBSCRIBE, 2);
    cr_assert_eq(publish_and_hear(), 2, "the stream goes on where it was");
}

/* 38, sooner: a guest without an entry that failed is forgotten, and its next handshake starts clean. */
Test(sim_session, a_failed_guest_is_forgotten)
{
    bool known;
    make(15, false);
    mesh_start(node);
    scripted_connect(&peer);
    ask(MEMBERSHIP_SUBSCRIBE, 1);
    cr_assert_eq(publish_and_hear(), 0);
    sim_run_for(mesh.sim, 100 * SIM_S);
    scripted_state(&peer, &known);
    cr_assert(!known && MESH_COUNT(node, gauge_peers) == 0 && MESH_COUNT(node, gauge_sessions) == 0);
    scripted_connect(&peer);
    ask(MEMBERSHIP_SUBSCRIBE, 2);
    cr_assert_eq(publish_and_hear(), 0);
}

/* ---- what a new session changes: 41, 42, X1's INSTANCE ---- */

Test(sim_session, the_old_session_ends_three_seconds_after_the_new_one_is_confirmed) /* 41 */
{
    make(16, false);
    mesh_start(node);
    scripted_connect(&peer);
    struct session old = peer.session;
    peer.has_session = false; /* kept here */
    scripted_connect(&peer);
    for (int late = 0; late < 2; late++) {
        uint8_t d[WIRE_OVERHEAD];
        struct wire_header h = {.flags = WIRE_HEARTBEAT};
        uint64_t taken = MESH_COUNT(node, rx_packets), dropped = MESH_COUNT(node, drop_session);
        cr_assert_eq(session_seal(&old, peer.crypto, &h, d), NET_OK);
        scripted_inject(&peer, (struct cspan){d, sizeof d});
        settle();
        cr_assert_eq(MESH_COUNT(node, rx_packets) - taken, !late);
        cr_assert_eq(MESH_COUNT(node, drop_session) - dropped, late);
        sim_run_for(mesh.sim, 4 * SIM_S);
    }
    session_deinit(&old, peer.crypto);
}

/* 21, X1: a handshake that is not confirmed, wherever it comes from, takes nothing from the session that is. */
static void unconfirmed_changes_nothing(uint64_t seed, bool compat)
{
    uint8_t msg1[HANDSHAKE_MAX_DATAGRAM];
    make(seed, compat);
    if (compat)
        scripted_list(&peer, true);
    mesh_start(node);
    struct io_addr to = sim_host_addr(node->host), from = {.ip = {[10] = 0xff, 0xff, 10, 1, 1, 1}, .port = 9};
    scripted_connect(&peer);
    ask(MEMBERSHIP_SUBSCRIBE, 1);
    cr_assert_eq(publish_and_hear(), 0);
    sim_inject(mesh.sim, &from, &to, scripted_msg1(&peer, HANDSHAKE_ROUTED, msg1));
    settle();
    cr_assert(MESH_COUNT(node, handshakes_answered) == 2 && MESH_COUNT(node, gauge_sessions) == 2);
    cr_assert_eq(publish_and_hear(), 1, "to where it was, under the old keys");
    scripted_heartbeat(&peer);
    sim_run_for(mesh.sim, 6 * SIM_S);
    cr_assert_eq(MESH_COUNT(node, gauge_sessions), 1);
    cr_assert_eq(publish_and_hear(), 2);
}

Test(sim_session, an_unconfirmed_handshake_changes_nothing_between_our_own)
{
    unconfirmed_changes_nothing(22, false);
}

Test(sim_session, an_unconfirmed_handshake_changes_nothing_with_v019)
{
    unconfirmed_changes_nothing(23, true);
}

Test(sim_session, streams_go_on_with_the_same_instance_and_end_with_another)
{
    make(17, false);
    mesh_start(node);
    scripted_connect(&peer);
    ask(MEMBERSHIP_SUBSCRIBE, 1);
    cr_assert_eq(publish_and_hear(), 0);
    scripted_connect(&peer);
    cr_assert_eq(publish_and_hear(), 1, "streams belong to the pair of nodes");
    peer.offer.instance++;
    scripted_connect(&peer);
    cr_assert_eq(publish_and_hear(), UINT64_MAX, "it lost its state, and its subscriptions with it");
    ask(MEMBERSHIP_SUBSCRIBE, 2);
    cr_assert_eq(publish_and_hear(), 0);
}

Test(sim_session, a_v019_session_begins_its_streams_anew_and_keeps_its_subscriptions) /* 42, session.md 8 */
{
    make(18, true);
    scripted_list(&peer, true);
    mesh_start(node);
    scripted_connect(&peer);
    ask(MEMBERSHIP_SUBSCRIBE, 1);
    cr_assert_eq(publish_and_hear(), 0);
    cr_assert_eq(publish_and_hear(), 1);
    scripted_connect(&peer);
    cr_assert_eq(publish_and_hear(), 0);
}

/* ---- roaming, X1: only the newest packet that authenticated moves a peer ---- */

static unsigned sent_elsewhere;
static bool not_to_the_peer(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span d)
{
    struct io_addr home = sim_host_addr(peer.host);
    (void)ctx, (void)from, (void)d;
    sent_elsewhere += to->port != home.port || memcmp(to->ip, home.ip, 16) != 0;
    return true;
}

Test(sim_session, an_old_or_forged_packet_moves_nobody)
{
    uint8_t old[WIRE_OVERHEAD], forged[WIRE_OVERHEAD], fresh[WIRE_OVERHEAD];
    const struct wire_header h = {.flags = WIRE_HEARTBEAT};
    make(19, false);
    struct io_addr to = sim_host_addr(node->host), from = {.ip = {[10] = 0xff, 0xff, 10, 1, 1, 1}, .port = 9};
    mesh_start(node);
    scripted_connect(&peer);
    ask(MEMBERSHIP_SUBSCRIBE, 1);
    sim_set_tap(mesh.sim, not_to_the_peer, NULL);
    sent_elsewhere = 0;
    struct cspan delayed = scripted_seal(&peer, h, (struct cspan){0}, old);
    scripted_heartbeat(&peer);
    settle();
    uint64_t taken = MESH_COUNT(node, rx_packets);
    sim_inject(mesh.sim, &from, &to, delayed);
    struct cspan damaged = scripted_seal(&peer, h, (struct cspan){0}, forged);
    forged[WIRE_OVERHEAD - 1] ^= 1;
    sim_inject(mesh.sim, &from, &to, damaged);
    settle();
    cr_assert_eq(MESH_COUNT(node, rx_packets), taken + 1, "the late one is authentic");
    cr_assert(publish_and_hear() == 0 && sent_elsewhere == 0);
    sim_inject(mesh.sim, &from, &to, scripted_seal(&peer, h, (struct cspan){0}, fresh));
    settle();
    cr_assert(publish_and_hear() == UINT64_MAX && sent_elsewhere == 1, "the newest one does");
    sim_set_tap(mesh.sim, NULL, NULL);
}

/* ---- 40: a stop says nothing to anybody ---- */

Test(sim_session, a_stop_sends_no_datagram)
{
    make(20, false);
    mesh_start(node);
    scripted_connect(&peer);
    size_t heard = peer.heard_count;
    cr_assert(mesh_stop(node, 10 * SIM_S));
    sim_run_for(mesh.sim, SIM_S);
    cr_assert(peer.heard_count == heard && peer.unopened == 0);
}
