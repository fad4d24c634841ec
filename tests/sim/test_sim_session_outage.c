/* Lines that are cut: for seconds or days, one way or both, again and again. Whatever was told meanwhile is heard
 * afterwards, nobody dials faster than it should, and both are back soon after the line is. */
#include <criterion/criterion.h>

#include "tests/support/talk.h"

static struct talk talk;

static void end(void)
{
    talk_deinit(&talk);
}

TestSuite(sim_session_outage, .fini = end, .timeout = 280);

static const uint64_t MINUTE = 60 * SIM_S, HOUR = 3600 * SIM_S;

static void begin(uint64_t seed, uint64_t first)
{
    if (seed > first)
        end();
    talk_init(&talk, seed, 1 + (unsigned)(seed & 1), 1 + (unsigned)(seed >> 1 & 1), (enum talk_dials)(seed & 1));
    talk_start(&talk);
    talk_for(&talk, 10 * SIM_S);
}

/* How often each has dialled so far, and when that was. */
struct dials {
    uint64_t of[2], at;
};

static struct dials dials_now(void)
{
    return (struct dials){{MESH_COUNT(talk.node[0], handshakes_started), MESH_COUNT(talk.node[1], handshakes_started)},
                          sim_now(talk.mesh.sim)};
}

/* An attempt waits for handshake_timeout before the next one; the first ones after each of `times` are shorter. */
static void expect_patience(struct dials before, uint64_t times)
{
    struct dials now = dials_now();
    for (int i = 0; i < 2; i++)
        cr_assert_leq(now.of[i] - before.of[i], (now.at - before.at) / (5 * SIM_S) + 6 * times,
                      "seed %lu: node %d dialled %lu times in %lu s", talk.seed, i, now.of[i] - before.of[i],
                      (now.at - before.at) / SIM_S);
}

static void expect_back(uint64_t limit_ns)
{
    talk_until_connected(&talk, limit_ns);
    talk_for(&talk, 5 * SIM_S);
    talk_expect_heard(&talk, MINUTE);
    talk_expect_one_session(&talk);
}

Test(sim_session_outage, seconds_to_days_both_ways)
{
    static const uint64_t lengths[] = {4 * SIM_S, 14 * SIM_S, 31 * SIM_S, 95 * SIM_S, 10 * MINUTE, 2 * HOUR, 26 * HOUR};
    for (uint64_t seed = 1; seed <= 14; seed++) {
        uint64_t length = lengths[seed % 7];
        begin(seed, 1);
        struct dials before = dials_now();
        talk_cut(&talk, true);
        talk_for(&talk, length);
        expect_patience(before, 1);
        if (length > 35 * SIM_S) /* three silent intervals, and the one they began in; X1 */
            cr_assert(!mesh_connected(talk.node[0], talk.node[1]) && !mesh_connected(talk.node[1], talk.node[0]));
        talk_cut(&talk, false);
        expect_back(12 * SIM_S);
    }
}

/* Node `deaf` hears nothing, and is heard. */
Test(sim_session_outage, minutes_to_hours_one_way)
{
    static const uint64_t lengths[] = {20 * SIM_S, 100 * SIM_S, 20 * MINUTE, HOUR};
    for (uint64_t seed = 40; seed < 56; seed++) {
        uint64_t length = lengths[seed % 4], most = 0;
        int deaf = (int)(seed >> 2 & 1);
        begin(seed, 40);
        struct dials before = dials_now();
        talk_link(&talk, !deaf)->down = true;
        for (uint64_t t = 0; t < length; t += length / 10) {
            talk_for(&talk, length / 10);
            for (int i = 0; i < 2; i++) {
                uint64_t sessions = MESH_COUNT(talk.node[i], gauge_sessions);
                most = sessions > most ? sessions : most;
            }
        }
        expect_patience(before, 1);
        cr_assert_leq(most, 3, "seed %lu: what is dialled in vain does not pile up", seed);
        if (length > 35 * SIM_S)
            cr_assert_not(mesh_connected(talk.node[deaf], talk.node[!deaf]), "seed %lu: it hears nothing", seed);
        talk_link(&talk, !deaf)->down = false;
        expect_back(12 * SIM_S);
    }
}

static bool toggles; /* false: no more */
static uint64_t toggled;

static void toggle(void *ctx)
{
    struct sim *sim = talk.mesh.sim;
    struct sim_link *l = talk_link(&talk, (int)sim_random_below(sim, 2));
    (void)ctx;
    if (!toggles)
        return;
    l->down = !l->down;
    toggled++;
    sim_call_at(sim,
                sim_now(sim) + 50 * SIM_MS + sim_random_below(sim, sim_random_below(sim, 3) ? 2 * SIM_S : 20 * SIM_S),
                toggle, NULL);
}

Test(sim_session_outage, a_line_that_comes_and_goes)
{
    for (uint64_t seed = 60; seed < 76; seed++) {
        begin(seed, 60);
        struct dials before = dials_now();
        toggled = 0;
        toggles = true;
        toggle(NULL);
        talk_for(&talk, 5 * MINUTE);
        toggles = false;
        talk_cut(&talk, false);
        expect_patience(before, toggled); /* whenever it was there patience may have begun anew */
        expect_back(12 * SIM_S);
    }
}

/* Both ways in turn, without a moment in which an answer could pass: nothing is settled, and nothing breaks. */
Test(sim_session_outage, only_one_way_at_a_time)
{
    for (uint64_t seed = 80; seed < 88; seed++) {
        begin(seed, 80);
        for (unsigned i = 0; i < 40; i++) {
            talk_link(&talk, (int)(i & 1))->down = true;
            talk_link(&talk, (int)(~i & 1))->down = false;
            talk_for(&talk, SIM_S + sim_random_below(talk.mesh.sim, 8 * SIM_S));
        }
        talk_cut(&talk, false);
        expect_back(12 * SIM_S);
    }
}
