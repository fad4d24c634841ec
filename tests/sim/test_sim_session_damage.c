/* Sessions over links that damage, lose, double, delay and overtake, and from sockets that refuse: what is followed
 * arrives once and whole, and everything that was dropped was counted. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/support/talk.h"

static struct talk talk;

static void end(void)
{
    talk_deinit(&talk);
}

TestSuite(sim_session_damage, .fini = end, .timeout = 280);

static void again(uint64_t seed, uint64_t first)
{
    if (seed > first)
        end();
    talk_init(&talk, seed, 1 + (unsigned)(seed & 1), 1 + (unsigned)(seed >> 1 & 1), (enum talk_dials)(seed >> 2 & 1));
}

/* Both directions alike; what was counted so far stays. */
static void set_links(const struct sim_link *settings)
{
    for (int i = 0; i < 2; i++) {
        struct sim_link *l = talk_link(&talk, i);
        l->loss = settings->loss;
        l->duplicate = settings->duplicate;
        l->reorder = settings->reorder;
        l->corrupt = settings->corrupt;
        l->burst_begin = settings->burst_begin;
        l->burst_end = settings->burst_end;
        l->delay = settings->delay;
        l->tail = settings->tail;
        l->tail_max = settings->tail_max;
        l->mtu = settings->mtu;
        l->rate = settings->rate;
        l->queue = settings->queue;
    }
}

static const struct sim_link calm = {.delay = {50 * SIM_US, 50 * SIM_US}};

/* Every datagram that a link delivered is in a counter of the node: none was taken that had been damaged. */
static void expect_accounts(void)
{
    for (int i = 0; i < 2; i++) {
        struct mesh_node *m = talk.node[i];
        int64_t rest = talk_unaccounted(m);
        cr_assert_eq(MESH_COUNT(m, rx_datagrams), talk_link(&talk, !i)->delivered, "seed %lu", talk.seed);
        cr_assert(rest >= 0 && (uint64_t)rest <= MESH_COUNT(m, handshakes_started),
                  "seed %lu: node %d has %ld datagrams that no counter knows of", talk.seed, i, rest);
    }
}

static void through(const struct sim_link *bad, uint64_t ns)
{
    talk_start(&talk);
    set_links(bad);
    talk_for(&talk, ns);
    set_links(&calm);
    talk_expect_heard(&talk, 90 * SIM_S);
    expect_accounts();
}

Test(sim_session_damage, a_third_of_all_datagrams_damaged)
{
    for (uint64_t seed = 1; seed <= 16; seed++) {
        again(seed, 1);
        through(&(struct sim_link){.corrupt = SIM_ALWAYS / 3, .delay = {SIM_MS, 3 * SIM_MS}}, 60 * SIM_S);
        for (int i = 0; i < 2; i++) {
            uint64_t damaged = talk_link(&talk, i)->corrupted;
            cr_assert_gt(damaged, 50);
            /* wire.md 3.3 leaves 40 bits of a header unprotected, which mean nothing: of damage to those alone, some
             * of the smallest heartbeats with one bit changed, nobody needs to know. */
            cr_assert_geq(talk_dropped(talk.node[!i]), damaged - damaged / 50, "seed %lu: no damage passes", seed);
        }
    }
}

Test(sim_session_damage, bursts_that_take_everything_for_a_while)
{
    for (uint64_t seed = 20; seed < 36; seed++) {
        again(seed, 20);
        through(&(struct sim_link){.burst_begin = 20000, .burst_end = 50000, .loss = 10000, .delay = {SIM_MS, SIM_MS}},
                60 * SIM_S);
        cr_assert_gt(talk_link(&talk, 0)->lost_by[SIM_LOST_BURST], 0);
    }
}

Test(sim_session_damage, copies_tails_and_overtaking)
{
    for (uint64_t seed = 40; seed < 56; seed++) {
        again(seed, 40);
        talk.node[seed & 1]->config.rekey_interval_ns = 7 * SIM_S;
        through(&(struct sim_link){.duplicate = SIM_ALWAYS / 2,
                                   .reorder = SIM_ALWAYS / 2,
                                   .delay = {SIM_MS, 80 * SIM_MS},
                                   .tail = SIM_ALWAYS / 5,
                                   .tail_max = 4 * SIM_S},
                60 * SIM_S);
        cr_assert_gt(MESH_COUNT(talk.node[0], drop_replay), talk_link(&talk, 1)->duplicated / 2,
                     "seed %lu: the second copy is a replay", seed);
    }
}

Test(sim_session_damage, a_thin_line_with_a_short_queue)
{
    for (uint64_t seed = 60; seed < 68; seed++) {
        again(seed, 60);
        talk_start(&talk);
        set_links(&(struct sim_link){.rate = 16000, .queue = 8000, .delay = {20 * SIM_MS, 20 * SIM_MS}});
        for (int i = 0; i < 2; i++)
            talk_tell(&talk, i, 600); /* of 100 bytes or so: four seconds of the line each, and it is not refused */
        talk_for(&talk, 40 * SIM_S);
        set_links(&calm);
        talk_expect_heard(&talk, 90 * SIM_S);
        expect_accounts();
        cr_assert_gt(talk_link(&talk, 0)->lost_by[SIM_LOST_QUEUE] + talk_link(&talk, 1)->lost_by[SIM_LOST_QUEUE], 0);
    }
}

/* A path that carries less than the interface does is told of in time, and nothing larger is sent. */
Test(sim_session_damage, a_path_of_1200_bytes)
{
    for (uint64_t seed = 70; seed < 74; seed++) {
        again(seed, 70);
        set_links(&(struct sim_link){.mtu = 1200, .delay = {SIM_MS, SIM_MS}});
        talk_start(&talk);
        for (int i = 0; i < 2; i++)
            talk_tell(&talk, i, 400);
        talk_for(&talk, 10 * SIM_S);
        talk_expect_heard(&talk, 30 * SIM_S);
        expect_accounts();
        cr_assert_eq(talk_link(&talk, 0)->lost_by[SIM_LOST_MTU] + talk_link(&talk, 1)->lost_by[SIM_LOST_MTU], 0);
    }
}

/* ---- sockets that refuse ---- */

static uint64_t refused;
static void count_lost(void)
{
    refused = 0;
    for (int i = 0; i < 2; i++)
        refused += MESH_COUNT(talk.node[i], drop_send);
}

Test(sim_session_damage, a_socket_without_memory_is_asked_again)
{
    for (uint64_t seed = 80; seed < 88; seed++) {
        again(seed, 80);
        sim_settings(talk.mesh.sim)->send_enobufs = SIM_ALWAYS / 3;
        sim_settings(talk.mesh.sim)->send_again = SIM_ALWAYS / 3;
        talk_start(&talk);
        talk_for(&talk, 30 * SIM_S);
        talk_expect_heard(&talk, 30 * SIM_S);
        count_lost();
        cr_assert_eq(refused, 0, "seed %lu: nothing is dropped for it", seed);
        expect_accounts();
    }
}

Test(sim_session_damage, a_train_that_leaves_in_part)
{
    for (uint64_t seed = 90; seed < 98; seed++) {
        again(seed, 90);
        talk_start(&talk);
        sim_settings(talk.mesh.sim)->send_part = SIM_ALWAYS / 2;
        for (int i = 0; i < 2; i++)
            talk_tell(&talk, i, 2000);
        talk_for(&talk, 20 * SIM_S);
        talk_expect_heard(&talk, 60 * SIM_S);
        count_lost();
        cr_assert_gt(refused, 0, "seed %lu: what did not leave is counted", seed);
        for (int i = 0; i < 2; i++)
            cr_assert_eq(MESH_COUNT(talk.node[i], tx_datagrams), talk_link(&talk, i)->sent,
                         "seed %lu: and what did is counted once", seed);
        expect_accounts();
    }
}

Test(sim_session_damage, a_network_that_is_not_there)
{
    static const int errors[] = {ENETUNREACH, EHOSTUNREACH, ENETDOWN, EPERM, EMSGSIZE, ENOMEM, EINVAL};
    for (uint64_t seed = 100; seed < 107; seed++) {
        again(seed, 100);
        int error = errors[seed - 100];
        sim_host_set_send_error(talk.node[0]->host, error);
        for (int i = 0; i < 2; i++)
            mesh_start(talk.node[i]);
        sim_run_for(talk.mesh.sim, 20 * SIM_S);
        cr_assert_not(mesh_connected(talk.node[0], talk.node[1]));
        sim_host_set_send_error(talk.node[0]->host, 0);
        talk_until_connected(&talk, 30 * SIM_S);
        talk_for(&talk, 10 * SIM_S);
        talk_link(&talk, 1)->error = error;
        talk_for(&talk, 40 * SIM_S);
        cr_assert_not(mesh_connected(talk.node[0], talk.node[1]), "seed %lu: nothing comes from it", seed);
        talk_link(&talk, 1)->error = 0;
        talk_expect_heard(&talk, 90 * SIM_S);
        cr_assert(MESH_COUNT(talk.node[0], drop_send) > 0 && MESH_COUNT(talk.node[1], drop_send) > 0,
                  "seed %lu: errno %d", seed, error);
        expect_accounts();
    }
}

/* The socket does not fragment, and the route does not tell of a smaller MTU: what is too large for the path is refused
 * and counted, and the session lives. */
Test(sim_session_damage, a_path_that_refuses_what_is_large)
{
    for (uint64_t seed = 110; seed < 114; seed++) {
        again(seed, 110);
        talk_start(&talk);
        sim_settings(talk.mesh.sim)->send_whole = true;
        for (int i = 0; i < 2; i++) {
            talk_link(&talk, i)->mtu = 700;
            talk_link(&talk, i)->mtu_silent = true;
        }
        for (int i = 0; i < 2; i++)
            talk_tell(&talk, i, 400);
        sim_run_for(talk.mesh.sim, 40 * SIM_S);
        cr_assert(mesh_connected(talk.node[0], talk.node[1]) && mesh_connected(talk.node[1], talk.node[0]),
                  "seed %lu: heartbeats fit", seed);
        count_lost();
        cr_assert_gt(refused, 0);
        set_links(&calm);
        talk_expect_heard(&talk, 60 * SIM_S);
        expect_accounts();
    }
}
