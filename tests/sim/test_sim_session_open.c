/* Both dial at the same instant: at the start, for new keys, after an outage; over lines of any kind one session comes
 * of it, both mean the same one, and it stays. session.md 20.23, extensions X1. */
#include <criterion/criterion.h>

#include "tests/support/talk.h"

static struct talk talk;

static void end(void)
{
    talk_deinit(&talk);
}

TestSuite(sim_session_open, .fini = end, .timeout = 280);

static void make(uint64_t seed, uint64_t first)
{
    if (seed > first)
        end();
    talk_init(&talk, seed, 1 + (unsigned)(seed % 3), 1 + (unsigned)(seed / 3 % 3), TALK_BOTH_DIAL);
}

/* Each direction is a line of its own. */
static void draw_links(uint32_t most_loss)
{
    struct sim *sim = talk.mesh.sim;
    for (int i = 0; i < 2; i++) {
        struct sim_link *l = talk_link(&talk, i);
        uint64_t least = 10 * SIM_US + sim_random_below(sim, sim_random_below(sim, 2) ? SIM_MS : 400 * SIM_MS);
        l->delay = (struct sim_range){least, least + sim_random_below(sim, least)};
        l->loss = most_loss ? (uint32_t)sim_random_below(sim, most_loss) : 0;
        l->duplicate = (uint32_t)sim_random_below(sim, SIM_ALWAYS / 5);
    }
}

static void calm_links(void)
{
    for (int i = 0; i < 2; i++) {
        struct sim_link *l = talk_link(&talk, i);
        l->loss = l->duplicate = 0;
        l->delay = (struct sim_range){SIM_MS, SIM_MS};
    }
}

static uint64_t all_dials(void)
{
    return MESH_COUNT(talk.node[0], handshakes_started) + MESH_COUNT(talk.node[1], handshakes_started);
}

/* The session that there is serves both, and nobody wants another. */
static void expect_settled(void)
{
    struct sim *sim = talk.mesh.sim;
    sim_run_for(sim, 10 * SIM_S); /* what went before has ended */
    uint64_t dials = all_dials();
    talk_expect_one_session(&talk);
    for (int i = 0; i < 2; i++)
        talk_tell(&talk, i, 20);
    sim_run_for(sim, 30 * SIM_S);
    talk_expect_one_session(&talk);
    cr_assert_eq(all_dials(), dials, "seed %lu", talk.seed);
    calm_links();
    talk_expect_heard(&talk, 30 * SIM_S);
}

Test(sim_session_open, at_the_start_over_any_line)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        make(seed, 1);
        draw_links(0);
        for (int i = 0; i < 2; i++)
            mesh_start(talk.node[i]);
        talk_until_connected(&talk, 12 * SIM_S);
        expect_settled();
    }
}

Test(sim_session_open, at_the_start_over_lines_that_lose)
{
    for (uint64_t seed = 300; seed < 500; seed++) {
        make(seed, 300);
        draw_links(SIM_ALWAYS / 2);
        for (int i = 0; i < 2; i++)
            mesh_start(talk.node[i]);
        sim_run_for(talk.mesh.sim, sim_random_below(talk.mesh.sim, 10 * SIM_S));
        calm_links();
        talk_until_connected(&talk, 15 * SIM_S);
        expect_settled();
    }
}

static bool rotated(void)
{
    return MESH_COUNT(talk.node[0], sessions_confirmed) > 5 && MESH_COUNT(talk.node[1], sessions_confirmed) > 5;
}

/* Both keep time from the same confirmation, a round trip apart at most: they want new keys together every time. */
Test(sim_session_open, for_new_keys_every_time)
{
    for (uint64_t seed = 500; seed < 540; seed++) {
        make(seed, 500);
        for (int i = 0; i < 2; i++)
            talk.node[i]->config.rekey_interval_ns = 4 * SIM_S;
        draw_links(seed & 1 ? SIM_ALWAYS / 10 : 0);
        for (int i = 0; i < 2; i++)
            mesh_start(talk.node[i]);
        talk_until_connected(&talk, 30 * SIM_S);
        talk_for(&talk, 120 * SIM_S);
        cr_assert(rotated(), "seed %lu: it did rotate", seed);
        if (!(seed & 1)) /* nothing was lost, so neither ever missed the other */
            cr_assert(MESH_COUNT(talk.node[0], peers_lost) == 0 && MESH_COUNT(talk.node[1], peers_lost) == 0);
        for (int i = 0; i < 2; i++)
            cr_assert_leq(MESH_COUNT(talk.node[i], gauge_sessions), 3);
        calm_links();
        talk_expect_heard(&talk, 60 * SIM_S);
    }
}

Test(sim_session_open, after_an_outage)
{
    for (uint64_t seed = 600; seed < 640; seed++) {
        make(seed, 600);
        draw_links(0);
        for (int i = 0; i < 2; i++)
            mesh_start(talk.node[i]);
        talk_until_connected(&talk, 12 * SIM_S);
        talk_cut(&talk, true);
        sim_run_for(talk.mesh.sim, 20 * SIM_S + sim_random_below(talk.mesh.sim, 60 * SIM_S));
        talk_cut(&talk, false);
        talk_until_connected(&talk, 15 * SIM_S);
        expect_settled();
    }
}
