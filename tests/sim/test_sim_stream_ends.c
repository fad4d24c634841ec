/* How reliable streams end where that is not simple: in the middle of what is delivered, with a full table, under an id
 * that something else goes by too, and at the hands of a peer that means ill. */
#include "tests/sim/world/numbers.h"

#include "core/stream/fragment.h"

TestSuite(sim_stream_ends, .fini = end, .timeout = 120);

static struct wire_header packet_of(uint64_t id, uint64_t sequence)
{
    return (struct wire_header){.flags = WIRE_RELIABLE, .subprotocol = NUMBERS, .stream_id = id, .sequence = sequence};
}

Test(sim_stream_ends, a_reset_finds_room_in_a_full_table_without_freeing_its_own_stream)
{
    make_only(1);
    b->config.max_streams = 8;
    start(a);
    start(b);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
    struct peer *p = mesh_peer(b, a);
    for (uint64_t id = 1000; p->streams.count < 7; id++)
        give(packet_of(id, 0), "12345678", 8);
    struct wire_header h = packet_of(2000, 0);
    h.subprotocol = NUMBERS + 1; /* nobody deals with it */
    give(h, "12345678", 8);
    cr_assert_eq(MESH_COUNT(b, resets_sent), 1);
    give(packet_of(2000, 0), "12345678", 8);
    cr_assert_eq(MESH_COUNT(b, drop_stream_closed), 1, "it is known for a while");
}

/* b sends live events on the id that a then sends reliable packets on. */
static uint64_t share_an_id(void)
{
    cr_assert_eq(mesh_ask_subscribe(a, "x", b, 10 * SIM_S), NET_OK);
    cr_assert_eq(mesh_publish(b, "x", 1, 0, 10, false, 10 * SIM_S).err, NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(MESH_COUNT(a, rx_events), 10);
    return channel_stream_id(channel_hash("x", 1));
}

static void see_live_events_go_on(void)
{
    uint64_t before = MESH_COUNT(a, rx_events);
    cr_assert_eq(mesh_publish(b, "x", 1, 10, 10, false, 10 * SIM_S).err, NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(MESH_COUNT(a, rx_events), before + 10);
}

Test(sim_stream_ends, what_waited_goes_back_once_when_it_ends_an_id_that_goes_on)
{
    make(2);
    uint64_t id = share_an_id();
    struct peer *p = mesh_peer(b, a);
    struct wire_header bad = packet_of(id, 1);
    bad.flags |= WIRE_FIN;
    bad.frag_flags = FRAGMENT_MORE; /* the rest would never come */
    bad.fragment_offset = 0;
    give(bad, "12345678", 8);
    cr_assert_gt(p->shard->packets.used, 0, "it waits for the one before it");
    uint8_t number[8] = {0};
    give(packet_of(id, 0), number, 8);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(MESH_COUNT(b, resets_sent), 1);
    cr_assert_eq(p->shard->packets.used, 0);
    cr_assert_eq(heard.resets, 1);
    cr_assert_not_null(stream_find(mesh_peer(a, b), SUBPROTO_STREAM), "the reset arrived: its block is its own");
    see_live_events_go_on();
}

Test(sim_stream_ends, an_id_that_goes_on_takes_another_stream)
{
    make(3);
    uint64_t id = share_an_id();
    struct peer *p = mesh_peer(a, b);
    for (int round = 0; round < 3; round++) {
        struct stream *st;
        cr_assert_eq(stream_open(p, id, STREAM_RELIABLE, 0, 1, &st), NET_OK);
        st->source = &told.source;
        told.limit += mesh_peer(b, a)->rx_window / 1000;
        heard.next = told.next;
        stream_wants_tx(p, st);
        poke(a);
        hear_all(30 * SIM_S);
        stream_reset(p, st, RESET_ENDED);
        poke(a);
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_eq(heard.resets, (uint64_t)round + 1);
    }
    cr_assert_eq(MESH_COUNT(b, drop_window), 0);
    see_live_events_go_on();
}

Test(sim_stream_ends, a_stream_ends_with_a_packet_that_nobody_deals_with)
{
    make(4);
    uint8_t number[8] = {0};
    give(packet_of(STREAM, 0), number, 8);
    cr_assert_eq(heard.next, 1);
    struct wire_header h = packet_of(STREAM, 1);
    h.subprotocol = NUMBERS + 1;
    give(h, "12345678", 8);
    cr_assert_eq(heard.resets, 1, "who dealt with it hears that it is over");
    cr_assert_eq(MESH_COUNT(b, resets_sent), 1);
    sim_run_for(mesh.sim, 3 * SIM_S);
    see_nothing_left(b, a);
}

Test(sim_stream_ends, what_comes_within_a_message_that_waits_ends_the_stream)
{
    make(5);
    uint8_t number[8] = {0};
    struct peer *p = mesh_peer(b, a);
    struct wire_header h = packet_of(STREAM, 0);
    h.frag_flags = FRAGMENT_MORE;
    give(h, number, 8);
    heard.full = true;
    p->shard->packets.limit = 0; /* neither downstream nor in the stream */
    h = packet_of(STREAM, 1);
    h.fragment_offset = 1;
    give(h, number, 8);
    heard.full = false;
    give(packet_of(STREAM, 1), number, 8); /* no fragment, in the place of the one that made it whole */
    cr_assert_eq(heard.next, 0, "neither of them is taken for the other");
    cr_assert_eq(heard.resets, 1);
}

Test(sim_stream_ends, one_peer_in_disorder_leaves_room_for_others)
{
    make_only(8);
    b->config.max_unacknowledged = 1 << 20;
    start(a);
    start(b);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
    struct peer *p = mesh_peer(b, a);
    for (uint64_t id = 1000; id < 1010; id++)
        for (uint64_t sequence = 1; sequence <= 100; sequence++) { /* none of them has its turn */
            static const uint8_t frame[12] = {8};
            struct wire_header h = packet_of(id, sequence);
            h.event_count = 1;
            cr_assert(mesh_send_sealed(a, b, h, (struct cspan){frame, sizeof frame}));
        }
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_gt(MESH_COUNT(b, drop_pool), 0);
    cr_assert_leq(p->shard->packets.used, (1 << 19) + 8256);
    cr_assert_eq(p->held, p->shard->packets.used);
    told.event = 8; /* what is in order goes on */
    tell(1000);
    hear_all(30 * SIM_S);
}

/* Events of a channel give their credit back when its log has them: the id may be another stream's by then. */
Test(sim_stream_ends, late_credit_of_another_stream_does_no_harm)
{
    make(9);
    tell(1);
    hear_all(SIM_S);
    struct peer *p = mesh_peer(b, a);
    stream_consumed(p, stream_find(p, STREAM), 100000);
    poke(b);
    tell(5000);
    hear_all(30 * SIM_S);
    cr_assert_eq(MESH_COUNT(b, drop_window), 0);
}

/* All that was said of it was lost: the sender says it again, long after the receiver heard the end. */
Test(sim_stream_ends, an_outage_at_the_end_neither_repeats_it_nor_keeps_it_open)
{
    make(6);
    struct sim_link *back = sim_link(mesh.sim, b->host, a->host);
    back->loss = 1000000;
    tell(3);
    hear_all(SIM_S);
    stream_finish(mesh_peer(a, b), open_stream());
    poke(a);
    sim_run_for(mesh.sim, 10 * SIM_MS);
    cr_assert(heard.ends == 1 && told.ended == 0);
    sim_cut(mesh.sim, a->host, b->host, true);
    sim_run_for(mesh.sim, 10 * SIM_S);
    back->loss = 0;
    sim_cut(mesh.sim, a->host, b->host, false);
    sim_run_for(mesh.sim, 30 * SIM_S);
    cr_assert(heard.next == 3 && heard.wrong == 0 && heard.ends == 1, "heard %lu, %lu ends", heard.next, heard.ends);
    cr_assert(told.ended == 1 && told.why == NET_OK);
    see_nothing_left(a, b);
    see_nothing_left(b, a);
}

/* b opened its own direction and said nothing yet, so a knows nothing of it. */
Test(sim_stream_ends, an_id_is_used_again_while_the_other_direction_is_open)
{
    make(7);
    struct stream *other;
    cr_assert_eq(stream_open(mesh_peer(b, a), STREAM, STREAM_RELIABLE, 0, 1, &other), NET_OK);
    tell(3);
    hear_all(SIM_S);
    stream_finish(mesh_peer(a, b), open_stream());
    sim_run_for(mesh.sim, 5 * SIM_S);
    cr_assert(told.ended == 1 && heard.ends == 1);
    tell(3);
    hear_all(10 * SIM_S);
}
