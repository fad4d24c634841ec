/* Reliable streams beside what else goes on in a session: packets that none of ours would send, other uses of their
 * ids, live events. Extensions X2, X4. */
#include "tests/sim/world/numbers.h"

TestSuite(sim_reliable_beside, .fini = end, .timeout = 120);

/* ---- what nobody of ours would send ---- */

Test(sim_reliable_beside, what_is_malformed_or_out_of_place_is_dropped_by_its_reason)
{
    make(15);
    uint8_t bytes[300] = {0};
    give((struct wire_header){.subprotocol = SUBPROTO_ACK, .stream_id = UINT64_MAX}, bytes, 19);
    cr_assert_eq(MESH_COUNT(b, drop_ack_block), 1);
    store_le64(bytes, UINT64_C(1) << 40); /* a counter that was never used */
    give((struct wire_header){.subprotocol = SUBPROTO_ACK, .stream_id = UINT64_MAX}, bytes, 20);
    cr_assert_eq(MESH_COUNT(b, drop_ack_block), 2);

    struct wire_header control = {.flags = WIRE_RELIABLE, .subprotocol = SUBPROTO_STREAM, .stream_id = SUBPROTO_STREAM};
    give(control, bytes, 15);
    cr_assert_eq(MESH_COUNT(b, drop_reset), 1);

    struct wire_header numbers = {.flags = WIRE_RELIABLE, .subprotocol = NUMBERS, .stream_id = STREAM};
    numbers.sequence = UINT64_C(1) << 50;
    give(numbers, bytes, 8);
    cr_assert_eq(MESH_COUNT(b, drop_window), 1);
    struct stream *st = stream_find(mesh_peer(b, a), STREAM);
    st->rx.window = 100;
    numbers.sequence = 1;
    give(numbers, bytes, 100);
    cr_assert_eq(MESH_COUNT(b, drop_window), 2, "more than it was granted");

    mesh_peer(b, a)->shard->packets.limit = 0;
    give(numbers, bytes, 8);
    cr_assert_eq(MESH_COUNT(b, drop_pool), 1);
    mesh_peer(b, a)->shard->packets.limit = 1 << 20;

    numbers.subprotocol = NUMBERS + 1;
    numbers.stream_id = 99;
    uint64_t unknown = MESH_COUNT(b, drop_subprotocol);
    give(numbers, bytes, 8);
    cr_assert_eq(MESH_COUNT(b, drop_subprotocol), unknown + 1);
    cr_assert_eq(MESH_COUNT(b, resets_sent), 1);
}

Test(sim_reliable_beside, an_id_is_not_used_in_two_modes)
{
    make(16);
    cr_assert_eq(mesh_ask_subscribe(b, "x", a, 10 * SIM_S), NET_OK);
    cr_assert_eq(mesh_publish(a, "x", 1, 0, 10, false, 10 * SIM_S).err, NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    struct wire_header h = {
        .flags = WIRE_RELIABLE, .subprotocol = NUMBERS, .stream_id = channel_stream_id(channel_hash("x", 1))};
    give(h, "12345678", 8);
    cr_assert_eq(MESH_COUNT(b, drop_stream_mode), 1);
    struct stream *st;
    cr_assert_eq(stream_open(mesh_peer(a, b), h.stream_id, STREAM_RELIABLE, 0, 1, &st), NET_ERR_LIMIT);
    cr_assert_eq(mesh_publish(a, "x", 1, 10, 10, false, 10 * SIM_S).err, NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(MESH_COUNT(b, rx_events), 20, "the subscription goes on");
}

Test(sim_reliable_beside, streams_have_a_limit_at_arrival) /* streams.md 15.8 */
{
    make_only(17);
    b->config.max_streams = 8;
    start(a);
    start(b);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
    for (uint64_t id = 1; id <= 50; id++)
        give((struct wire_header){.flags = WIRE_RELIABLE, .subprotocol = NUMBERS, .stream_id = id}, "12345678", 8);
    cr_assert_leq(mesh_peer(b, a)->streams.count, 8 + 1, "and the one that resets are told on");
    cr_assert_gt(MESH_COUNT(b, drop_stream_limit), 0);
}

/* ---- beside fire-and-forget ---- */

Test(sim_reliable_beside, live_events_and_a_reliable_stream_share_a_session)
{
    make(18);
    cr_assert_eq(mesh_ask_subscribe(b, "x", a, 10 * SIM_S), NET_OK);
    both_ways(20000, 0, 0, (struct sim_range){2 * SIM_MS, 3 * SIM_MS});
    tell(5000);
    cr_assert_eq(mesh_publish(a, "x", 1, 0, 20000, false, 60 * SIM_S).err, NET_OK);
    hear_all(60 * SIM_S);
    sim_run_for(mesh.sim, 5 * SIM_S);
    uint64_t came = MESH_COUNT(b, rx_events), lost = MESH_COUNT(b, drop_lost),
             written_off = MESH_COUNT(a, credit_written_off);
    cr_assert_gt(came, 15000);
    cr_assert_gt(lost, 0);
    cr_assert_eq(written_off, 0, "lost credit came back with the loss (X4), not after a silence");
}

/* A link that takes 10 Mbit/s and loses the rest. */
static struct {
    uint64_t at, room;
} thin;

static bool thin_link(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span datagram)
{
    (void)ctx, (void)to;
    struct io_addr sender = sim_host_addr(a->host);
    uint64_t now = sim_now(mesh.sim);
    if (!io_addr_equal(from, &sender))
        return true;
    thin.room += (now - thin.at) / 800; /* ns a byte */
    thin.at = now;
    if (thin.room > 100000)
        thin.room = 100000;
    if (datagram.len > thin.room)
        return false;
    thin.room -= datagram.len;
    return true;
}

Test(sim_reliable_beside, live_events_do_not_starve_a_reliable_stream_on_a_thin_link)
{
    make(19);
    cr_assert_eq(mesh_ask_subscribe(b, "x", a, 10 * SIM_S), NET_OK);
    both_ways(0, 0, 0, (struct sim_range){5 * SIM_MS, 5 * SIM_MS});
    cr_assert_eq(mesh_publish(a, "x", 1, 0, 10, false, SIM_S).err, NET_OK);
    sim_set_tap(mesh.sim, thin_link, NULL);
    tell(4000); /* 4.3 MB: alone, 3.5 s */
    cr_assert_eq(mesh_publish(a, "x", 1, 10, 100000, false, 60 * SIM_S).err, NET_OK);
    uint64_t live = MESH_COUNT(b, rx_events);
    hear_all(14 * SIM_S);
    cr_assert_gt(MESH_COUNT(b, rx_events), live, "and is not starved by it");
    cr_assert_lt(MESH_COUNT(b, rx_events), 100000, "there was more to send all the time");
    sim_set_tap(mesh.sim, NULL, NULL);
}
