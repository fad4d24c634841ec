/* Reliable streams between whole nodes: extensions X1, X2, X4. What is sent are packets of numbers that go up; what
 * arrives is checked one by one. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/stream/reset.h"
#include "shards/node/peer.h"
#include "shards/node/receive.h"
#include "tests/sim/sim_node.h"

enum { NUMBERS = 0x7f01 }; /* a subprotocol of this test */
static const uint64_t STREAM = 77;

static struct mesh mesh;
static struct mesh_node *a, *b;

/* What b heard on STREAM, and how it behaves. */
static struct {
    uint64_t next, ends, resets;
    uint64_t wrong; /* not the number that was to come */
    bool full;      /* no room downstream */
    bool keep;      /* takes, but gives no credit back: kept */
    uint64_t kept;
} heard;

static bool on_numbers(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    if (st->ended) {
        heard.resets++;
        heard.next = 0;
        return true;
    }
    if (heard.full)
        return false;
    struct wire_frames walk = wire_frames(plaintext, h->event_count);
    struct cspan event;
    while (wire_frames_next(&walk, &event))
        heard.wrong += load_le64(event.data) != heard.next++;
    heard.ends += (h->flags & WIRE_FIN) != 0;
    uint32_t credit = h->payload_len + (uint32_t)WIRE_OVERHEAD;
    if (heard.keep)
        heard.kept += credit;
    else
        stream_consumed(p, st, credit);
    return true;
}

/* Where a's numbers come from. */
static struct {
    struct stream_source source;
    uint64_t next, limit, ended;
    int why;
    size_t event; /* bytes of one */
} told;

static bool fill(struct stream_source *source, struct peer *p, struct stream *st)
{
    (void)source;
    if (told.next == told.limit)
        return false;
    size_t frame = 4 + told.event;
    struct packet *k = stream_packet(p, st, frame > p->plaintext_path ? frame : p->plaintext_path);
    if (!k)
        return false;
    k->subprotocol = NUMBERS;
    while (told.next < told.limit && k->len + frame <= k->room) {
        store_le32(k->data + k->len, (uint32_t)told.event);
        memset(k->data + k->len + 4, 0, told.event);
        store_le64(k->data + k->len + 4, told.next++);
        k->len = (uint16_t)(k->len + frame);
        k->count++;
    }
    stream_commit(p, st, k);
    return true;
}

static void on_ended(struct stream_source *source, struct peer *p, struct stream *st, int why)
{
    (void)source, (void)p, (void)st;
    told.ended++;
    told.why = why;
}

static void start(struct mesh_node *m)
{
    mesh_start(m);
    for (unsigned i = 0; i < m->config.shards; i++)
        receive_handle(node_shard(m->node, i), NUMBERS, on_numbers);
}

static void make_only(uint64_t seed)
{
    mesh_init(&mesh, seed);
    a = mesh_add(&mesh, 2);
    b = mesh_add(&mesh, 2);
    mesh_know(a, b);
    mesh_know(b, a);
    memset(&heard, 0, sizeof heard);
    memset(&told, 0, sizeof told);
    told.source = (struct stream_source){.fill = fill, .ended = on_ended};
    told.event = 1000;
}

static void make(uint64_t seed)
{
    make_only(seed);
    start(a);
    start(b);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
}

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_reliable, .fini = end, .timeout = 120);

static void poke(struct mesh_node *m)
{
    for (unsigned i = 0; i < m->config.shards; i++)
        sim_host_poke(m->host, i);
}

static struct stream *open_stream(void)
{
    struct stream *st;
    struct peer *p = mesh_peer(a, b);
    cr_assert_eq(stream_open(p, STREAM, STREAM_RELIABLE, 0, 1, &st), NET_OK);
    st->source = &told.source;
    return st;
}

static void tell(uint64_t count)
{
    told.limit += count;
    stream_wants_tx(mesh_peer(a, b), open_stream());
    poke(a);
}

static bool to_come(void *ctx)
{
    (void)ctx;
    return heard.next < told.limit;
}

static void hear_all(uint64_t limit_ns)
{
    cr_assert(sim_run_while(mesh.sim, to_come, NULL, limit_ns), "%lu of %lu", heard.next, told.limit);
    cr_assert_eq(heard.wrong, 0);
}

static void both_ways(uint32_t loss, uint32_t duplicate, uint32_t reorder, struct sim_range delay)
{
    struct sim_link *links[] = {sim_link(mesh.sim, a->host, b->host), sim_link(mesh.sim, b->host, a->host)};
    for (int i = 0; i < 2; i++) {
        links[i]->loss = loss;
        links[i]->duplicate = duplicate;
        links[i]->reorder = reorder;
        links[i]->delay = delay;
    }
}

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

static void give(struct wire_header h, const void *bytes, size_t len)
{
    uint8_t frame[4 + 300];
    store_le32(frame, (uint32_t)len);
    memcpy(frame + 4, bytes, len);
    h.event_count = 1;
    cr_assert(mesh_send_sealed(a, b, h, (struct cspan){frame, 4 + len}));
    sim_run_for(mesh.sim, 10 * SIM_MS);
}

/* ---- how they end ---- */

static void see_nothing_left(struct mesh_node *m, struct mesh_node *of)
{
    struct peer *p = mesh_peer(m, of);
    cr_assert_null(stream_find(p, STREAM));
    cr_assert_null(map_get(&p->streams, STREAM));
    cr_assert_eq(p->shard->packets.used, 0);
}

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

/* ---- what nobody of ours would send ---- */

Test(sim_reliable, what_is_malformed_or_out_of_place_is_dropped_by_its_reason)
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

Test(sim_reliable, an_id_is_not_used_in_two_modes)
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

Test(sim_reliable, streams_have_a_limit_at_arrival) /* streams.md 15.8 */
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

Test(sim_reliable, live_events_and_a_reliable_stream_share_a_session)
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

Test(sim_reliable, live_events_do_not_starve_a_reliable_stream_on_a_thin_link)
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
