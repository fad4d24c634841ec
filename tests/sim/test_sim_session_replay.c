/* Everything that was ever sent, sent again by somebody who recorded it: at once or much later, from where it came or
 * from elsewhere, after new sessions and new lives. Nothing is accepted twice, nobody is moved, and each is counted. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "shards/peers/peer.h"
#include "tests/support/talk.h"

struct recorded {
    struct io_addr from, to;
    bool handshake;
    size_t len;
    uint8_t *data;
};

static struct talk talk;
static struct {
    struct recorded *all;
    size_t count, room;
    uint64_t elsewhere; /* datagrams that went to neither of the two */
} tape;

static void erase(void)
{
    for (size_t i = 0; i < tape.count; i++)
        free(tape.all[i].data);
    free(tape.all);
    memset(&tape, 0, sizeof tape);
}

static void end(void)
{
    talk_deinit(&talk);
    erase();
}

TestSuite(sim_session_replay, .fini = end, .timeout = 280);

static struct io_addr home(int who)
{
    return sim_host_addr(talk.node[who]->host);
}

static const struct io_addr stranger = {.ip = {[10] = 0xff, 0xff, 10, 9, 9, 9}, .port = 999};

static bool is_handshake(struct cspan d)
{
    struct wire_header h;
    size_t offset = wire_classify(d) == WIRE_CLASS_ROUTED ? WIRE_ROUTE : 0;
    return d.len > offset && wire_header_decode((struct cspan){d.data + offset, d.len - offset}, &h) == NET_OK &&
           (h.flags & WIRE_HANDSHAKE);
}

static bool record(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span d)
{
    (void)ctx;
    struct io_addr a = home(0), b = home(1);
    if (!io_addr_equal(to, &a) && !io_addr_equal(to, &b)) {
        tape.elsewhere++;
        return true;
    }
    if (tape.count == tape.room) {
        tape.room = tape.room ? tape.room * 2 : 1024;
        tape.all = realloc(tape.all, tape.room * sizeof *tape.all);
        cr_assert_not_null(tape.all);
    }
    struct recorded *r = &tape.all[tape.count++];
    *r = (struct recorded){*from, *to, is_handshake((struct cspan){d.data, d.len}), d.len, malloc(d.len + 1)};
    cr_assert_not_null(r->data);
    memcpy(r->data, d.data, d.len);
    return true;
}

static void play(size_t i, bool from_elsewhere)
{
    const struct recorded *r = &tape.all[i];
    sim_inject(talk.mesh.sim, from_elsewhere ? &stranger : &r->from, &r->to, (struct cspan){r->data, r->len});
}

static void make(uint64_t seed, enum talk_dials dials)
{
    talk_init(&talk, seed, 1 + (unsigned)(seed & 1), 1 + (unsigned)(seed >> 1 & 1), dials);
    sim_set_tap(talk.mesh.sim, record, NULL);
}

static void restart(int who)
{
    mesh_kill(talk.node[who]);
    mesh_start(talk.node[who]);
    talk_until_connected(&talk, 30 * SIM_S);
}

/* ---- much later ---- */

struct count {
    uint64_t datagrams, packets, events, confirmed, dropped, answered;
};

static struct count count_of(int who)
{
    struct mesh_node *m = talk.node[who];
    return (struct count){
        MESH_COUNT(m, rx_datagrams),       MESH_COUNT(m, rx_packets), MESH_COUNT(m, rx_events),
        MESH_COUNT(m, sessions_confirmed), talk_dropped(m),           MESH_COUNT(m, handshakes_answered)};
}

/* The whole tape, from where it came or from elsewhere, to nodes that hear nothing else. */
static void play_all(bool from_elsewhere)
{
    struct count before[2] = {count_of(0), count_of(1)};
    uint64_t played[2] = {0};
    size_t length = tape.count; /* what they answer goes on tape, too */
    for (size_t i = 0; i < length; i++) {
        struct io_addr a = home(0);
        played[!io_addr_equal(&tape.all[i].to, &a)]++;
        play(i, from_elsewhere);
        if (i % 50 == 0)
            sim_run_for(talk.mesh.sim, SIM_MS);
    }
    sim_run_for(talk.mesh.sim, 10 * SIM_MS);
    for (int i = 0; i < 2; i++) {
        struct count now = count_of(i);
        struct io_addr at = mesh_peer(talk.node[i], talk.node[!i])->addr, there = home(!i);
        cr_assert_eq(now.datagrams - before[i].datagrams, played[i], "seed %lu", talk.seed);
        cr_assert(now.packets == before[i].packets && now.events == before[i].events &&
                      now.confirmed == before[i].confirmed,
                  "seed %lu: node %d took something", talk.seed, i);
        cr_assert_eq(now.dropped - before[i].dropped + now.answered - before[i].answered, played[i], "seed %lu",
                     talk.seed);
        cr_assert(io_addr_equal(&at, &there), "seed %lu: node %d followed a recording", talk.seed, i);
    }
}

Test(sim_session_replay, the_whole_tape_after_new_sessions_and_new_lives)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        if (seed > 1)
            end();
        make(seed, (enum talk_dials)(seed & 1));
        talk.node[seed >> 1 & 1]->config.rekey_interval_ns = 7 * SIM_S;
        talk_start(&talk);
        talk_for(&talk, 30 * SIM_S);
        for (int round = 0; round < 2; round++) {
            restart(round);
            talk_for(&talk, 15 * SIM_S);
        }
        sim_run_for(talk.mesh.sim, seed % 3 ? 5 * SIM_S : 3600 * SIM_S);
        cr_assert_gt(tape.count, 500);
        talk_cut(&talk, true);
        sim_run_for(talk.mesh.sim, SIM_MS);
        play_all(false);
        play_all(true);
        talk_cut(&talk, false);
        talk_for(&talk, 10 * SIM_S);
        talk_expect_heard(&talk, 60 * SIM_S);
    }
}

/* ---- soon, while both go on ---- */

struct copy {
    size_t number;
    bool from_elsewhere;
};
static uint64_t copies[2]; /* injected into each */

static void play_copy(void *ctx)
{
    struct copy *c = ctx;
    struct io_addr a = home(0);
    copies[!io_addr_equal(&tape.all[c->number].to, &a)]++;
    play(c->number, c->from_elsewhere);
    free(c);
}

/* Every other one comes again, between 1 ms (ten times the way) and half a minute later. */
static bool record_and_copy(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span d)
{
    struct sim *sim = talk.mesh.sim;
    size_t before = tape.count;
    record(ctx, from, to, d);
    if (tape.count == before || sim_random_below(sim, 2) == 0)
        return true;
    struct copy *c = malloc(sizeof *c);
    cr_assert_not_null(c);
    *c = (struct copy){before, sim_random_below(sim, 2)};
    uint64_t most = sim_random_below(sim, 2) ? 10 * SIM_MS : 30 * SIM_S;
    sim_call_at(sim, sim_now(sim) + SIM_MS + sim_random_below(sim, most), play_copy, c);
    return true;
}

Test(sim_session_replay, copies_while_traffic_goes_on)
{
    for (uint64_t seed = 20; seed < 32; seed++) {
        if (seed > 20)
            end();
        make(seed, TALK_B_DIALS);
        memset(copies, 0, sizeof copies);
        if (seed & 1)
            talk.node[0]->config.rekey_interval_ns = 5 * SIM_S;
        sim_set_tap(talk.mesh.sim, record_and_copy, NULL);
        talk_start(&talk);
        talk_for(&talk, 40 * SIM_S);
        sim_set_tap(talk.mesh.sim, record, NULL);
        sim_run_for(talk.mesh.sim, 40 * SIM_S);
        talk_expect_heard(&talk, SIM_S);
        cr_assert_eq(tape.elsewhere, 0, "seed %lu: nobody speaks to whoever replays", seed);
        for (int i = 0; i < 2; i++) {
            struct count now = count_of(i);
            uint64_t delivered = talk_link(&talk, !i)->delivered;
            int64_t rest = talk_unaccounted(talk.node[i]);
            cr_assert_gt(copies[i], 100);
            cr_assert_eq(now.datagrams, delivered + copies[i], "seed %lu", seed);
            cr_assert_leq(now.packets, delivered, "seed %lu", seed);
            cr_assert_geq(now.dropped, copies[i], "seed %lu: each copy is counted", seed);
            cr_assert(rest >= 0 && (uint64_t)rest <= MESH_COUNT(talk.node[i], handshakes_started), "seed %lu", seed);
        }
    }
}

/* ---- into the middle of a handshake ---- */

static bool pestering;

/* Answers every handshake datagram with all that were ever recorded, while there is one to pester. */
static void pester(void *ctx)
{
    (void)ctx;
    for (size_t i = 0; i < tape.count; i++) {
        if (tape.all[i].handshake) {
            play(i, false);
            play(i, true);
        }
    }
}

static bool record_and_pester(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span d)
{
    struct sim *sim = talk.mesh.sim;
    record(ctx, from, to, d);
    if (pestering && is_handshake((struct cspan){d.data, d.len}))
        sim_call_at(sim, sim_now(sim) + sim_random_below(sim, SIM_MS), pester, NULL);
    return true;
}

Test(sim_session_replay, recorded_handshakes_in_the_middle_of_new_ones)
{
    for (uint64_t seed = 40; seed < 52; seed++) {
        if (seed > 40)
            end();
        make(seed, (enum talk_dials)(seed & 1));
        pestering = false;
        talk_start(&talk);
        sim_set_tap(talk.mesh.sim, record_and_pester, NULL);
        for (int round = 0; round < 8; round++) {
            pestering = true;
            restart((int)sim_random_below(talk.mesh.sim, 2));
            pestering = false;
            talk_for(&talk, 5 * SIM_S);
        }
        talk_expect_heard(&talk, 60 * SIM_S);
    }
}
