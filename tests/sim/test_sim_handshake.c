/* Who is answered and who is dialled by whole nodes: session.md 20 and extensions X0, X6, with a peer that does not
 * behave. Numbers are those of session.md 20; the messages are tests/unit/test_handshake.c's. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "shards/node/shard.h"
#include "tests/sim/mesh/scripted.h"

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

TestSuite(sim_handshake, .fini = end, .timeout = 120);

static void settle(void)
{
    sim_run_for(mesh.sim, 5 * SIM_MS);
}

static enum peer_state state(void)
{
    bool known;
    return scripted_state(&peer, &known);
}

/* ---- what is answered: 6, 11, 20, 44, X0's gate and limits ---- */

Test(sim_handshake, a_recorded_msg1_is_not_answered_again) /* 20, and 17.3: not even two in turn */
{
    uint8_t recorded[2][HANDSHAKE_MAX_DATAGRAM];
    struct cspan msg1[2];
    make(1, false);
    mesh_start(node);
    for (int i = 0; i < 2; i++) {
        msg1[i] = scripted_msg1(&peer, HANDSHAKE_ROUTED, recorded[i]);
        scripted_inject(&peer, msg1[i]);
        settle();
    }
    cr_assert_eq(peer.handshakes, 2);
    scripted_connect(&peer);
    peer.handshakes = 0;
    for (int i = 0; i < 6; i++) {
        struct io_addr to = sim_host_addr(node->host), from = {.ip = {[10] = 0xff, 0xff, 10, 1, 1, 1}, .port = 9};
        scripted_inject(&peer, msg1[i % 2]);
        sim_inject(mesh.sim, &from, &to, msg1[i % 2]);
        sim_run_for(mesh.sim, SIM_S);
    }
    cr_assert_eq(peer.handshakes, 0);
    cr_assert_eq(MESH_COUNT(node, drop_handshake_replay), 12);
    uint8_t text[MESSAGE_FRAME];
    size_t heard = peer.heard_count;
    scripted_send(&peer, membership_header, message_frame(MEMBERSHIP_UNSUBSCRIBE, "a", 1, text));
    settle();
    cr_assert_eq(scripted_count(&peer, heard, heard_membership), 1, "the session lives on");
}

static unsigned answered(void)
{
    return (unsigned)MESH_COUNT(node, handshakes_answered);
}

static void flood(unsigned count, bool one_source)
{
    uint8_t msg1[HANDSHAKE_MAX_DATAGRAM];
    struct io_addr to = sim_host_addr(node->host), from = {.ip = {[10] = 0xff, 0xff, 10, 1, 1, 1}, .port = 1000};
    for (unsigned i = 0; i < count; i++) {
        from.port = (uint16_t)(from.port + !one_source);
        sim_inject(mesh.sim, &from, &to, scripted_msg1(&peer, HANDSHAKE_ROUTED, msg1));
        sim_run_for(mesh.sim, 20 * SIM_MS);
    }
}

Test(sim_handshake, five_handshakes_a_second_from_one_source) /* 44 */
{
    make(2, false);
    mesh_start(node);
    sim_run_for(mesh.sim, SIM_S);
    flood(6, true);
    cr_assert_eq(answered(), 5);
    cr_assert_eq(MESH_COUNT(node, drop_handshake_rate), 1);
    flood(1, false);
    cr_assert_eq(answered(), 6, "another source has its own");
    sim_run_for(mesh.sim, SIM_S);
    flood(6, true);
    cr_assert_eq(answered(), 11);
}

Test(sim_handshake, unconfirmed_handshakes_are_capped_in_total)
{
    make(3, false);
    node->config.max_pending_handshakes = 8;
    mesh_start(node);
    flood(20, false);
    cr_assert_eq(answered(), 8);
    cr_assert_eq(MESH_COUNT(node, drop_handshake_pending), 12);
    cr_assert_leq(MESH_COUNT(node, gauge_sessions), 1, "a retry replaces the attempt before it");
    sim_run_for(mesh.sim, 5 * SIM_S);
    flood(20, false);
    cr_assert_eq(answered(), 16, "each makes room after handshake_timeout");
}

/* X0: without a gate only where v0.19.0 is expected, by source address when the datagram names nobody. */
Test(sim_handshake, a_direct_msg1_without_a_gate_from_nowhere_is_dropped)
{
    make(4, true);
    struct peer_entry *entry = scripted_list(&peer, false);
    entry->mode = PEER_MODE_DIRECT;
    entry->has_key = false; /* never dialled, expected from its address */
    mesh_start(node);
    uint8_t msg1[HANDSHAKE_MAX_DATAGRAM];
    struct io_addr to = sim_host_addr(node->host), from = sim_host_addr(peer.host);
    from.port++;
    sim_inject(mesh.sim, &from, &to, scripted_msg1(&peer, HANDSHAKE_DIRECT, msg1));
    settle();
    cr_assert(answered() == 0 && MESH_COUNT(node, drop_gate) == 1);
    cr_assert(scripted_dial(&peer, HANDSHAKE_DIRECT), "from its own address it is answered");
}

/* X0: an entry that is not marked is never talked down, even in a mesh that lets v0.19.0 in. */
Test(sim_handshake, a_peer_of_our_kind_gets_no_v019_session)
{
    make(5, true);
    scripted_list(&peer, true)->compat = PEER_OURS;
    node->config.sessions = SESSIONS_COMPAT;
    mesh_start(node);
    cr_assert_not(scripted_dial(&peer, HANDSHAKE_ROUTED));
    cr_assert_eq(MESH_COUNT(node, drop_handshake_policy), 1);
}

Test(sim_handshake, a_direct_msg2_counts_from_the_dialled_address_only) /* 11 */
{
    make(6, true);
    scripted_list(&peer, false)->mode = PEER_MODE_DIRECT;
    mesh_start(node);
    settle();
    uint8_t msg2[HANDSHAKE_MAX_DATAGRAM];
    struct cspan answer = scripted_msg2(&peer, msg2);
    struct io_addr to = sim_host_addr(node->host), from = sim_host_addr(peer.host);
    cr_assert_eq(answer.len, 112);
    from.port++;
    sim_inject(mesh.sim, &from, &to, answer);
    settle();
    cr_assert_not(scripted_connected(&peer));
    scripted_inject(&peer, answer);
    settle();
    cr_assert(scripted_connected(&peer), "it kept waiting");
}

/* An entry that nobody answers for, at the address of one that is there: a v0.19.0 node came back with another id. */
Test(sim_handshake, two_direct_entries_with_one_address)
{
    uint8_t msg2[HANDSHAKE_MAX_DATAGRAM];
    make(21, true);
    struct peer_entry *gone = scripted_list(&peer, false);
    gone->mode = PEER_MODE_DIRECT;
    gone->node_id ^= UINT64_C(1) << 20;
    scripted_list(&peer, false)->mode = PEER_MODE_DIRECT;
    mesh_start(node);
    settle();
    cr_assert_eq(peer.handshakes, 2);
    scripted_inject(&peer, scripted_msg2(&peer, msg2)); /* the last that came is the second entry's */
    settle();
    cr_assert(scripted_connected(&peer));
}

/* X6: a cipher that security.ciphers leaves out is not used, whoever dials. The peer has no AES. */
Test(sim_handshake, a_forbidden_cipher_gives_no_session)
{
    if (!crypto_has_fast_aes())
        cr_skip_test("no AES instructions");
    for (int dials = 0; dials < 2; dials++) {
        if (dials)
            end();
        make(7, false);
        node->config.cipher_chacha = false;
        peer.answers = dials;
        scripted_list(&peer, false)->has_addr = dials;
        mesh_start(node);
        if (!dials)
            cr_assert_not(scripted_dial(&peer, HANDSHAKE_ROUTED));
        sim_run_for(mesh.sim, SIM_S);
        cr_assert(MESH_COUNT(node, drop_handshake_policy) >= 1 && MESH_COUNT(node, gauge_sessions) == 0);
    }
    peer.local.features |= FEATURE_AES_GCM;
    sim_run_for(mesh.sim, 10 * SIM_S);
    cr_assert_geq(scripted_count(&peer, 0, heard_heartbeat), 1, "with AES it gets one");
}

/* ---- dialling: 14, 15; ours begins with short attempts, 0.5 s doubling up to handshake_timeout ---- */

static void dial_nobody(uint32_t retries, uint32_t attempts_until_down)
{
    static const uint64_t waits[] = {500, 1000, 2000, 4000, 5000, 5000};
    uint8_t ephemerals[7][32];
    uint64_t last = 0;
    scripted_list(&peer, false);
    node->config.handshake_retries = retries;
    mesh_start(node);
    for (unsigned i = 0; i < 7; i++) {
        while (peer.handshakes == i)
            sim_run_for(mesh.sim, SIM_MS);
        if (i)
            cr_assert(peer.msg1_at - last >= waits[i - 1] * SIM_MS &&
                          peer.msg1_at - last <= (waits[i - 1] + 55) * SIM_MS,
                      "attempt %u after %lu ms", i, (peer.msg1_at - last) / SIM_MS);
        last = peer.msg1_at;
        memcpy(ephemerals[i], peer.last + WIRE_ROUTE + WIRE_HEADER, 32);
        for (unsigned k = 0; k < i; k++)
            cr_assert_arr_neq(ephemerals[k], ephemerals[i], 32, "a new ephemeral each time");
        cr_assert_eq(state(), i < attempts_until_down ? PEER_CONNECTING : PEER_DOWN, "attempt %u", i);
    }
}

Test(sim_handshake, a_silent_peer_is_dialled_with_growing_patience)
{
    make(7, false);
    dial_nobody(3, 3);
}

Test(sim_handshake, retries_0_acts_as_1)
{
    make(8, false);
    dial_nobody(0, 1);
}
