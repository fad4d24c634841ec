/* Reliable streams between whole nodes: extensions X1, X2. How they bear bad paths, new sessions, restarts and want of
 * room, and how they end. */
#include "tests/sim/world/numbers.h"

TestSuite(sim_reliable, .fini = end, .timeout = 120);

Test(sim_reliable, messages_arrive_in_order)
{
    make(1);
    for (uint64_t i = 0; i < 100; i++) {
        uint8_t number[8];
        store_le64(number, i);
        cr_assert_eq(stream_send_message(mesh_peer(a, b), STREAM, NUMBERS, (struct cspan){number, 8}), NET_OK);
    }
    poke(a);
    told.limit = 100;
    hear_all(SIM_S);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(node_shard(a->node, mesh_peer(a, b)->shard->index)->packets.used, 0, "all was acknowledged");
    cr_assert_eq(MESH_COUNT(a, packets_retransmitted), 0);
}

Test(sim_reliable, everything_arrives_once_and_in_order_through_loss_duplication_and_reordering)
{
    make(2);
    both_ways(50000, 20000, 100000, (struct sim_range){SIM_MS, 5 * SIM_MS});
    tell(20000);
    hear_all(120 * SIM_S);
    both_ways(0, 0, 0, (struct sim_range){SIM_MS, SIM_MS});
    sim_run_for(mesh.sim, 2 * SIM_S);
    cr_assert_eq(heard.next, 20000);
    cr_assert(MESH_COUNT(a, packets_retransmitted) > 0 && MESH_COUNT(a, packets_lost) > 0);
    cr_assert_eq(mesh_peer(a, b)->shard->packets.used, 0);
    cr_assert_eq(mesh_peer(b, a)->shard->packets.used, 0);
}

/* ---- the session changes, or the peer does (X1) ---- */

Test(sim_reliable, streams_go_on_across_new_sessions)
{
    make_only(3);
    a->config.rekey_interval_ns = b->config.rekey_interval_ns = SIM_S;
    start(a);
    start(b);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
    both_ways(20000, 0, 0, (struct sim_range){5 * SIM_MS, 10 * SIM_MS});
    uint64_t sessions = MESH_COUNT(a, sessions_confirmed);
    for (int i = 0; i < 20; i++) {
        tell(500);
        hear_all(60 * SIM_S);
        sim_run_for(mesh.sim, 300 * SIM_MS);
    }
    cr_assert_gt(MESH_COUNT(a, sessions_confirmed), sessions + 3);
    cr_assert(told.ended == 0 && heard.resets == 0);
}

Test(sim_reliable, a_receiver_that_restarted_ends_them_and_new_ones_begin)
{
    make(4);
    tell(5000);
    sim_run_for(mesh.sim, 2 * SIM_MS);
    cr_assert(heard.next > 0 && heard.next < 5000);
    mesh_kill(b);
    heard.next = 0;
    start(b);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    sim_run_for(mesh.sim, SIM_S);
    cr_assert(told.ended == 1 && told.why == NET_ERR_CLOSED);
    cr_assert_eq(mesh_peer(a, b)->shard->packets.used, 0, "what was on its way is dropped");
    told.next = 0;
    told.limit = 0;
    tell(1000);
    hear_all(30 * SIM_S);
}

Test(sim_reliable, a_sender_that_restarted_ends_them_at_the_receiver)
{
    make(5);
    tell(5000);
    sim_run_for(mesh.sim, 2 * SIM_MS);
    cr_assert(heard.next > 0 && heard.next < 5000);
    mesh_kill(a);
    told.next = told.limit = 0;
    start(a);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    sim_run_for(mesh.sim, SIM_S);
    cr_assert(heard.resets == 1 && heard.next == 0);
    tell(1000);
    hear_all(30 * SIM_S);
}

Test(sim_reliable, silence_does_not_end_them)
{
    make(6);
    tell(3000);
    sim_run_for(mesh.sim, 2 * SIM_MS);
    cr_assert_lt(heard.next, 3000);
    sim_cut(mesh.sim, a->host, b->host, true);
    sim_run_for(mesh.sim, 120 * SIM_S);
    sim_cut(mesh.sim, a->host, b->host, false);
    hear_all(120 * SIM_S);
    cr_assert(told.ended == 0 && heard.resets == 0);
}

/* ---- no room: downstream, in the window, in the pool ---- */

Test(sim_reliable, what_finds_no_room_downstream_waits_and_holds_the_sender_back)
{
    make(7);
    heard.full = true;
    tell(5000);
    sim_run_for(mesh.sim, 5 * SIM_S);
    cr_assert_eq(heard.next, 0);
    uint64_t window = mesh_peer(b, a)->rx_window;
    cr_assert_leq(told.next * 1084, window, "no more than the window");
    cr_assert_gt(told.next * 1084, window / 2);
    cr_assert_gt(mesh_peer(b, a)->shard->packets.used, window / 2, "it is kept where it came to");
    cr_assert_eq(mesh_peer(a, b)->shard->packets.used, 0, "and acknowledged: it has its place");
    heard.full = false;
    poke(b);
    hear_all(30 * SIM_S);
    cr_assert_eq(mesh_peer(b, a)->shard->packets.used, 0);
}

Test(sim_reliable, credit_that_is_given_back_late_is_given_back)
{
    make(8);
    both_ways(100000, 0, 0, (struct sim_range){SIM_MS, SIM_MS});
    heard.keep = true;
    tell(5000);
    for (int i = 0; i < 600 && heard.next < 5000; i++) {
        sim_run_for(mesh.sim, 100 * SIM_MS);
        struct peer *p = mesh_peer(b, a);
        stream_consumed(p, stream_find(p, STREAM), (uint32_t)heard.kept);
        heard.kept = 0;
        poke(b);
    }
    cr_assert_eq(heard.next, 5000);
    cr_assert_eq(heard.wrong, 0);
}

Test(sim_reliable, tiny_windows_do)
{
    make(9);
    both_ways(50000, 10000, 0, (struct sim_range){SIM_MS, 2 * SIM_MS});
    cr_assert_eq(stream_expect(mesh_peer(b, a), STREAM, 9000), NET_OK);
    struct stream *st;
    cr_assert_eq(stream_open(mesh_peer(a, b), STREAM, STREAM_RELIABLE, 9000, 1, &st), NET_OK);
    cr_assert_eq(st->tx.window, 9000);
    tell(500);
    hear_all(60 * SIM_S);
}

Test(sim_reliable, a_pool_that_is_full_holds_back_and_is_never_exceeded)
{
    make_only(10);
    a->config.max_unacknowledged = b->config.max_unacknowledged = 1 << 20;
    start(a);
    start(b);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
    both_ways(50000, 0, 50000, (struct sim_range){10 * SIM_MS, 20 * SIM_MS});
    struct peer *p = mesh_peer(a, b);
    for (uint64_t id = 1; id <= 8; id++) /* each may have a window of its own in flight */
        for (int i = 0; i < 1000; i++) {
            static const uint8_t silence[1000];
            int err = stream_send_message(p, 1000 + id, NUMBERS + 1, (struct cspan){silence, sizeof silence});
            cr_assert(err == NET_OK || err == NET_ERR_AGAIN);
        }
    cr_assert_gt(MESH_COUNT(a, pool_dry), 0);
    cr_assert_leq(p->shard->packets.taken, 1 << 20);
    tell(3000);
    hear_all(60 * SIM_S); /* those streams were refused: nobody deals with that subprotocol */
    cr_assert_gt(MESH_COUNT(a, resets_received), 0);
    cr_assert_leq(p->shard->packets.taken, 1 << 20);
}

Test(sim_reliable, what_has_no_place_at_all_is_not_acknowledged)
{
    make(20);
    struct shard *at = mesh_peer(b, a)->shard;
    heard.full = true; /* neither downstream nor in the stream */
    at->packets.limit = 0;
    tell(20);
    sim_run_for(mesh.sim, 3 * SIM_S);
    cr_assert_gt(MESH_COUNT(b, drop_pool), 0);
    cr_assert_gt(mesh_peer(a, b)->shard->packets.used, 0, "kept by the sender");
    cr_assert_gt(MESH_COUNT(a, probes_sent), 0, "which asks");
    cr_assert_eq(at->packets.used, 0);
    heard.full = false;
    hear_all(30 * SIM_S);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(mesh_peer(a, b)->shard->packets.used, 0);
}

/* ---- how they end ---- */

Test(sim_reliable, fin_frees_both_ends_when_all_arrived)
{
    make(11);
    both_ways(100000, 50000, 100000, (struct sim_range){SIM_MS, 5 * SIM_MS});
    tell(200);
    hear_all(30 * SIM_S);
    stream_finish(mesh_peer(a, b), open_stream());
    sim_run_for(mesh.sim, 20 * SIM_S);
    cr_assert_eq(heard.ends, 1);
    cr_assert(told.ended == 1 && told.why == NET_OK);
    see_nothing_left(a, b);
    see_nothing_left(b, a);
    told.next = told.limit = heard.next = 0; /* the id may be used again, from sequence 0 */
    tell(10);
    hear_all(10 * SIM_S);
}

Test(sim_reliable, an_id_rests_for_two_seconds)
{
    make(12);
    tell(10);
    hear_all(SIM_S);
    stream_finish(mesh_peer(a, b), open_stream());
    sim_run_for(mesh.sim, SIM_S);
    struct stream *st;
    cr_assert_eq(stream_open(mesh_peer(a, b), STREAM, STREAM_RELIABLE, 0, 1, &st), NET_ERR_AGAIN);
    sim_run_for(mesh.sim, 2 * SIM_S);
    cr_assert_eq(stream_open(mesh_peer(a, b), STREAM, STREAM_RELIABLE, 0, 1, &st), NET_OK);
}

Test(sim_reliable, a_reset_of_the_sender_frees_both_ends)
{
    make(13);
    both_ways(100000, 0, SIM_ALWAYS, (struct sim_range){SIM_MS, 30 * SIM_MS});
    tell(100000);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_gt(heard.next, 0);
    stream_reset(mesh_peer(a, b), open_stream(), RESET_ENDED);
    both_ways(0, 0, 0, (struct sim_range){SIM_MS, SIM_MS});
    poke(a);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert(heard.resets == 1 && told.ended == 0, "who resets knows");
    uint64_t stragglers = MESH_COUNT(b, drop_stream_closed);
    give((struct wire_header){.flags = WIRE_RELIABLE, .subprotocol = NUMBERS, .stream_id = STREAM}, "12345678", 8);
    cr_assert_eq(MESH_COUNT(b, drop_stream_closed), stragglers + 1);
    sim_run_for(mesh.sim, 5 * SIM_S);
    see_nothing_left(a, b);
    see_nothing_left(b, a);
    cr_assert(MESH_COUNT(a, resets_sent) == 1 && MESH_COUNT(b, resets_received) == 1);
}

Test(sim_reliable, a_reset_of_the_receiver_ends_the_source)
{
    make(14);
    tell(100000);
    sim_run_for(mesh.sim, 2 * SIM_MS);
    struct peer *p = mesh_peer(b, a);
    stream_reset(p, stream_find(p, STREAM), RESET_ENDED);
    poke(b);
    sim_run_for(mesh.sim, 5 * SIM_S);
    cr_assert(told.ended == 1 && told.why == NET_ERR_CLOSED);
    see_nothing_left(a, b);
    see_nothing_left(b, a);
}

static uint64_t drawn(uint64_t below)
{
    return sim_random_below(mesh.sim, below);
}

/* Everything at once: a bad path, new sessions, a receiver that is full now and then, little memory, a small window. */
Test(sim_reliable, whatever_the_path_and_the_receiver_do)
{
    for (uint64_t seed = 100; seed < 130; seed++) {
        if (seed > 100)
            mesh_deinit(&mesh);
        make_only(seed);
        a->config.rekey_interval_ns = b->config.rekey_interval_ns = SIM_S + drawn(5 * SIM_S);
        a->config.max_unacknowledged = b->config.max_unacknowledged = 1 << 20;
        a->config.window = b->config.window = (uint32_t)(65536 + drawn(1 << 20));
        told.event = 8 + drawn(3000);
        start(a);
        start(b);
        cr_assert(mesh_settle(&mesh, 60 * SIM_S), "seed %lu", seed);
        uint64_t least = drawn(20 * SIM_MS);
        both_ways((uint32_t)drawn(200000), (uint32_t)drawn(100000), (uint32_t)drawn(SIM_ALWAYS),
                  (struct sim_range){least, least + drawn(50 * SIM_MS)});
        tell(500 + drawn(2000));
        for (int i = 0; i < 600 && heard.next < told.limit; i++) {
            heard.full = drawn(4) == 0;
            poke(b);
            sim_run_for(mesh.sim, 500 * SIM_MS);
        }
        heard.full = false;
        cr_assert_eq(heard.next, told.limit, "seed %lu: %lu of %lu", seed, heard.next, told.limit);
        cr_assert_eq(heard.wrong, 0, "seed %lu", seed);
        stream_finish(mesh_peer(a, b), open_stream());
        sim_run_for(mesh.sim, 60 * SIM_S);
        cr_assert(heard.ends == 1 && told.ended == 1 && told.why == NET_OK, "seed %lu", seed);
        both_ways(0, 0, 0, (struct sim_range){SIM_MS, SIM_MS});
        sim_run_for(mesh.sim, 5 * SIM_S);
        see_nothing_left(a, b);
        see_nothing_left(b, a);
    }
}
