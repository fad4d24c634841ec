/* Processes that end and begin again: one side, the other, both, at every datagram of a handshake and under traffic.
 * They are back soon, with one session, and nothing that was told is lost or comes twice. */
#include <criterion/criterion.h>

#include "tests/support/talk.h"

static struct talk talk;

static void end(void)
{
    talk_deinit(&talk);
}

TestSuite(sim_session_restart, .fini = end, .timeout = 280);

static void make(uint64_t seed, bool first, enum talk_dials dials)
{
    if (!first)
        end();
    talk_init(&talk, seed, 1 + (unsigned)(seed & 1), 1 + (unsigned)(seed >> 1 & 1), dials);
}

enum { NODE_0 = 1, NODE_1 = 2 };

/* Ends the processes of `who` behind the datagram number `after`, counted as they leave. */
static struct {
    unsigned who, after, seen;
    bool done;
} plan;

static void strike(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 2; i++)
        if (plan.who >> i & 1)
            mesh_kill(talk.node[i]);
    plan.done = true;
}

static bool count(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span d)
{
    struct sim *sim = talk.mesh.sim;
    (void)ctx, (void)from, (void)to, (void)d;
    if (plan.seen++ == plan.after)
        sim_call_at(sim, sim_now(sim) + sim_random_below(sim, 60 * SIM_US), strike,
                    NULL); /* in flight, or just there */
    return true;
}

static bool not_struck(void *ctx)
{
    (void)ctx;
    return !plan.done;
}

static void revive(uint64_t within)
{
    for (int i = 0; i < 2; i++) {
        if (!talk.node[i]->node) {
            sim_run_for(talk.mesh.sim, sim_random_below(talk.mesh.sim, within));
            mesh_start(talk.node[i]);
        }
    }
}

Test(sim_session_restart, at_every_datagram_of_a_handshake)
{
    uint64_t seed = 1;
    for (unsigned dials = 0; dials < 2; dials++) {
        for (unsigned who = NODE_0; who <= (NODE_0 | NODE_1); who++) {
            for (unsigned after = 0; after < 16; after++, seed++) {
                make(seed, seed == 1, (enum talk_dials)dials);
                memset(&plan, 0, sizeof plan);
                plan.who = who;
                plan.after = after;
                sim_set_tap(talk.mesh.sim, count, NULL);
                for (int i = 0; i < 2; i++)
                    mesh_start(talk.node[i]);
                cr_assert(sim_run_while(talk.mesh.sim, not_struck, NULL, 60 * SIM_S), "seed %lu", seed);
                revive(seed % 3 ? 20 * SIM_MS : 8 * SIM_S);
                /* A dialler that has a session with a life that is over notices the silence: three intervals, and
                 * dials. */
                talk_until_connected(&talk, 25 * SIM_S);
                for (int i = 0; i < 2; i++)
                    talk_tell(&talk, i, 30);
                talk_expect_heard(&talk, 60 * SIM_S);
                talk_expect_one_session(&talk);
            }
        }
    }
}

Test(sim_session_restart, either_or_both_again_and_again_under_traffic)
{
    for (uint64_t seed = 200; seed < 216; seed++) {
        make(seed, seed == 200, (enum talk_dials)(seed >> 2 & 1));
        talk_start(&talk);
        for (int round = 0; round < 12; round++) {
            unsigned who = 1 + (unsigned)sim_random_below(talk.mesh.sim, 3);
            bool orderly = sim_random_below(talk.mesh.sim, 3) == 0;
            talk_for(&talk, sim_random_below(talk.mesh.sim, round & 1 ? 10 * SIM_S : SIM_S));
            for (int i = 0; i < 2; i++) {
                if (!(who >> i & 1))
                    continue;
                if (orderly)
                    cr_assert(mesh_stop(talk.node[i], 60 * SIM_S), "seed %lu: it does not stop", seed);
                else
                    mesh_kill(talk.node[i]);
            }
            talk_for(&talk, sim_random_below(talk.mesh.sim, 20 * SIM_S)); /* what runs talks on */
            revive(SIM_S);
        }
        talk_for(&talk, 5 * SIM_S);
        talk_expect_heard(&talk, 90 * SIM_S);
        talk_expect_one_session(&talk);
    }
}

/* An answer to the life before, or from it, begins nothing: it left before the end and comes after the new start. */
Test(sim_session_restart, with_the_last_life_still_on_the_line)
{
    for (uint64_t seed = 300; seed < 330; seed++) {
        make(seed, seed == 300, TALK_BOTH_DIAL);
        for (int i = 0; i < 2; i++)
            talk_link(&talk, i)->delay = (struct sim_range){100 * SIM_MS, 400 * SIM_MS};
        for (int i = 0; i < 2; i++)
            mesh_start(talk.node[i]);
        for (int round = 0; round < 10; round++) {
            struct mesh_node *m = talk.node[sim_random_below(talk.mesh.sim, 2)];
            sim_run_for(talk.mesh.sim, sim_random_below(talk.mesh.sim, 1500 * SIM_MS));
            mesh_kill(m);
            mesh_start(m);
        }
        talk_until_connected(&talk, 30 * SIM_S);
        talk_for(&talk, 20 * SIM_S);
        for (int i = 0; i < 2; i++)
            talk_link(&talk, i)->delay = (struct sim_range){SIM_MS, SIM_MS};
        talk_expect_heard(&talk, 60 * SIM_S);
        talk_expect_one_session(&talk);
    }
}
