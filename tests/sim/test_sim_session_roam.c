/* Addresses that change under a session: of either side, of both, of the NAT in between, which also forgets. The other
 * end follows the newest packet that authenticates (extensions X1); where nobody can know, an address that is listed
 * brings them together again. */
#include <criterion/criterion.h>

#include "shards/peers/peer.h"
#include "tests/support/talk.h"

static struct talk talk;
static struct sim_nat *nat; /* node 1 stands behind it, or NULL */

static void end(void)
{
    talk_deinit(&talk);
}

TestSuite(sim_session_roam, .fini = end, .timeout = 280);

static void make(uint64_t seed, bool first, enum talk_dials dials)
{
    if (!first)
        end();
    nat = NULL;
    talk_init(&talk, seed, 1 + (unsigned)(seed & 1), 1 + (unsigned)(seed >> 1 & 1), dials);
}

static struct io_addr move(int who)
{
    static const unsigned base = 20037;
    struct io_addr old = sim_host_addr(talk.node[who]->host), addr = old;
    do {
        addr.ip[14] = (uint8_t)(100 + who);
        addr.ip[15] = (uint8_t)sim_random_below(talk.mesh.sim, 256);
        addr.port = (uint16_t)(base + sim_random_below(talk.mesh.sim, 100));
    } while (io_addr_equal(&addr, &old));
    sim_host_set_addr(talk.node[who]->host, &addr);
    return old;
}

/* Nobody was missed and nobody dialled since. */
struct calm {
    uint64_t dials, lost;
};

static struct calm calm_now(void)
{
    struct calm c = {0};
    for (int i = 0; i < 2; i++) {
        c.dials += MESH_COUNT(talk.node[i], handshakes_started);
        c.lost += MESH_COUNT(talk.node[i], peers_lost);
    }
    return c;
}

static void expect_calm(struct calm before)
{
    struct calm now = calm_now();
    cr_assert(now.dials == before.dials && now.lost == before.lost, "seed %lu: it took a new session", talk.seed);
}

static void expect_known(int who, struct io_addr addr)
{
    struct io_addr known = mesh_peer(talk.node[!who], talk.node[who])->addr;
    cr_assert(io_addr_equal(&known, &addr), "seed %lu: node %d is not where node %d thinks", talk.seed, who, !who);
}

/* ---- in the open ---- */

Test(sim_session_roam, one_after_the_other_under_traffic)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        make(seed, seed == 1, (enum talk_dials)(seed & 1));
        talk_start(&talk);
        talk_for(&talk, SIM_S);
        struct calm before = calm_now();
        for (int i = 0; i < 40; i++) {
            int who = (int)sim_random_below(talk.mesh.sim, 2);
            move(who);
            talk_tell(&talk, who, 3); /* so that it is heard from there before the other moves */
            sim_run_for(talk.mesh.sim, 10 * SIM_MS);
            expect_known(who, sim_host_addr(talk.node[who]->host));
            talk_for(&talk, sim_random_below(talk.mesh.sim, 3 * SIM_S));
        }
        expect_calm(before);
        talk_expect_heard(&talk, 30 * SIM_S);
    }
}

/* What was measured is forgotten with the path, and kept when only the port is another one. */
Test(sim_session_roam, another_host_is_another_path)
{
    for (uint64_t seed = 21; seed < 27; seed++) {
        make(seed, seed == 21, (enum talk_dials)(seed & 1));
        talk_start(&talk);
        talk_for(&talk, 5 * SIM_S);
        struct recovery *r = &mesh_peer(talk.node[0], talk.node[1])->transport.recovery;
        cr_assert(r->rtt.measured && r->rtt.min < 50 * SIM_MS, "seed %lu: %lu", seed, r->rtt.min);
        struct io_addr addr = sim_host_addr(talk.node[1]->host);
        addr.port++;
        sim_host_set_addr(talk.node[1]->host, &addr);
        talk_link(&talk, 0)->delay = (struct sim_range){50 * SIM_MS, 60 * SIM_MS};
        talk_for(&talk, 5 * SIM_S);
        expect_known(1, addr);
        cr_assert_lt(r->rtt.min, 50 * SIM_MS, "seed %lu: %lu", seed, r->rtt.min);
        addr.ip[15] ^= 1;
        sim_host_set_addr(talk.node[1]->host, &addr);
        talk_for(&talk, 5 * SIM_S);
        expect_known(1, addr);
        cr_assert(r->rtt.measured && r->rtt.min >= 50 * SIM_MS, "seed %lu: %lu", seed, r->rtt.min);
        talk_expect_heard(&talk, 30 * SIM_S);
    }
}

/* Nothing to say: a heartbeat tells where it went. */
Test(sim_session_roam, a_silent_move_is_known_with_the_next_heartbeat)
{
    for (uint64_t seed = 30; seed < 40; seed++) {
        make(seed, seed == 30, TALK_BOTH_DIAL);
        talk_start(&talk);
        sim_run_for(talk.mesh.sim, 12 * SIM_S);
        struct calm before = calm_now();
        for (int i = 0; i < 10; i++) {
            int who = i & 1;
            move(who);
            sim_run_for(talk.mesh.sim, 5 * SIM_S + 100 * SIM_MS);
            expect_known(who, sim_host_addr(talk.node[who]->host));
        }
        expect_calm(before);
        talk_for(&talk, 5 * SIM_S);
        talk_expect_heard(&talk, 30 * SIM_S);
    }
}

/* Both at once: neither can know of the other, until one is again where the other has it listed. */
Test(sim_session_roam, both_at_the_same_instant)
{
    for (uint64_t seed = 50; seed < 66; seed++) {
        make(seed, seed == 50, TALK_BOTH_DIAL);
        talk_start(&talk);
        talk_for(&talk, 5 * SIM_S);
        int who = (int)(seed & 1);
        struct io_addr listed = move(who);
        move(!who);
        talk_for(&talk, seed % 3 ? 60 * SIM_S : 10 * SIM_S);
        if (seed % 3)
            cr_assert(!mesh_connected(talk.node[0], talk.node[1]) && !mesh_connected(talk.node[1], talk.node[0]));
        sim_host_set_addr(talk.node[who]->host, &listed);
        talk_until_connected(&talk, 25 * SIM_S); /* three silent intervals, and an attempt */
        talk_for(&talk, 5 * SIM_S);
        talk_expect_heard(&talk, 60 * SIM_S);
        talk_expect_one_session(&talk);
    }
}

static bool moves(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span d)
{
    unsigned *left = ctx;
    (void)from, (void)to, (void)d;
    if (*left > 0 && --*left == 0)
        move(1);
    return true;
}

Test(sim_session_roam, in_the_middle_of_a_handshake)
{
    for (uint64_t seed = 70; seed < 82; seed++) {
        unsigned left = 1 + (unsigned)(seed - 70);
        make(seed, seed == 70, TALK_B_DIALS);
        sim_set_tap(talk.mesh.sim, moves, &left); /* after msg1, msg2, a heartbeat, ... */
        talk_start(&talk);
        sim_set_tap(talk.mesh.sim, NULL, NULL);
        talk_for(&talk, 10 * SIM_S);
        talk_expect_heard(&talk, 30 * SIM_S);
        talk_expect_one_session(&talk);
    }
}

/* ---- behind a NAT ---- */

static void make_behind(uint64_t seed, bool first, uint64_t timeout_ns)
{
    make(seed, first, TALK_B_DIALS);
    nat = sim_add_nat(talk.mesh.sim, (enum sim_nat_kind)(seed % 4), timeout_ns);
    sim_host_behind(talk.node[1]->host, nat);
}

Test(sim_session_roam, a_nat_that_remembers_longer_than_a_heartbeat_is_not_noticed)
{
    for (uint64_t seed = 100; seed < 112; seed++) {
        make_behind(seed, seed == 100, 20 * SIM_S);
        talk_start(&talk);
        struct calm before = calm_now();
        for (int i = 0; i < 5; i++) {
            sim_run_for(talk.mesh.sim, 120 * SIM_S);
            uint64_t heard = MESH_COUNT(talk.node[1], rx_events);
            talk_tell(&talk, 0, 5);
            sim_run_for(talk.mesh.sim, SIM_S);
            cr_assert_geq(MESH_COUNT(talk.node[1], rx_events), heard + 5, "seed %lu: it lets in what comes live", seed);
        }
        talk_expect_heard(&talk, SIM_S);
        expect_calm(before);
        cr_assert(nat->mapped == 1 && nat->refused == 0, "seed %lu", seed);
    }
}

/* It gives another port whenever the node behind it speaks again (followers do so more often than heartbeats come), and
 * what is sent in between finds no way in: it comes after the next. */
Test(sim_session_roam, a_nat_that_forgets_at_once)
{
    for (uint64_t seed = 120; seed < 132; seed++) {
        make_behind(seed, seed == 120, 300 * SIM_MS);
        talk_start(&talk);
        struct calm before = calm_now();
        for (int i = 0; i < 30; i++) {
            sim_run_for(talk.mesh.sim, 2 * SIM_S + sim_random_below(talk.mesh.sim, 20 * SIM_S));
            talk_tell(&talk, (int)sim_random_below(talk.mesh.sim, 4) == 0, 10);
        }
        sim_run_for(talk.mesh.sim, 20 * SIM_S);
        expect_calm(before);
        cr_assert(nat->mapped > 20 && nat->refused > 0, "seed %lu: %lu ports", seed, nat->mapped);
        nat->timeout = SIM_NEVER;
        talk_expect_heard(&talk, 30 * SIM_S);
        expect_calm(before);
    }
}

Test(sim_session_roam, a_nat_that_restarts_and_moves_under_traffic)
{
    for (uint64_t seed = 140; seed < 156; seed++) {
        make_behind(seed, seed == 140, 60 * SIM_S);
        talk_start(&talk);
        struct calm before = calm_now();
        for (int i = 0; i < 30; i++) {
            if (sim_random_below(talk.mesh.sim, 2))
                sim_nat_restart(nat);
            else
                sim_nat_roam(nat);
            talk_for(&talk, sim_random_below(talk.mesh.sim, 6 * SIM_S));
        }
        sim_run_for(talk.mesh.sim, 6 * SIM_S);
        struct io_addr known = mesh_peer(talk.node[0], talk.node[1])->addr, outer = sim_nat_addr(nat);
        cr_assert_arr_eq(known.ip, outer.ip, sizeof outer.ip);
        expect_calm(before);
        talk_expect_heard(&talk, 30 * SIM_S);
    }
}

/* The side in the open moves. A full cone lets its packets in from anywhere; any other NAT keeps the one behind it from
 * hearing of the move, until it dials where the other is listed and has come back to. */
Test(sim_session_roam, whoever_is_in_the_open_moves_and_a_nat_refuses_it)
{
    for (uint64_t seed = 160; seed < 176; seed++) {
        make_behind(seed, seed == 160, 60 * SIM_S);
        talk_start(&talk);
        talk_for(&talk, 5 * SIM_S);
        struct calm before = calm_now();
        struct io_addr listed = move(0);
        talk_for(&talk, 40 * SIM_S);
        if (nat->kind == SIM_NAT_FULL_CONE) {
            expect_known(0, sim_host_addr(talk.node[0]->host));
            expect_calm(before);
        } else {
            cr_assert_not(mesh_connected(talk.node[1], talk.node[0]), "seed %lu", seed);
            cr_assert_gt(nat->refused, 0);
            sim_host_set_addr(talk.node[0]->host, &listed);
        }
        talk_until_connected(&talk, 15 * SIM_S);
        talk_for(&talk, 5 * SIM_S);
        talk_expect_heard(&talk, 60 * SIM_S);
    }
}

Test(sim_session_roam, whoever_is_behind_a_nat_restarts)
{
    for (uint64_t seed = 180; seed < 196; seed++) {
        make_behind(seed, seed == 180, 30 * SIM_S);
        talk_start(&talk);
        for (int i = 0; i < 6; i++) {
            int who = (int)sim_random_below(talk.mesh.sim, 2);
            talk_for(&talk, sim_random_below(talk.mesh.sim, 10 * SIM_S));
            mesh_kill(talk.node[who]);
            talk_for(&talk, sim_random_below(talk.mesh.sim, 40 * SIM_S));
            mesh_start(talk.node[who]);
            talk_until_connected(&talk, 25 * SIM_S);
        }
        talk_for(&talk, 5 * SIM_S);
        talk_expect_heard(&talk, 60 * SIM_S);
        talk_expect_one_session(&talk);
    }
}
