/* Messages larger than a packet on reliable streams, between whole nodes: extensions X2 and X3 together. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/stream/reset.h"
#include "shards/peers/peer.h"
#include "shards/transport/receive.h"
#include "tests/sim/mesh/sim_node.h"

enum { MESSAGES = 0x7f02, LARGEST = FRAGMENT_MAX_MESSAGE }; /* a subprotocol of this test */
static const uint64_t STREAM = 78;

static struct mesh mesh;
static struct mesh_node *a, *b;

static uint8_t byte_of(uint64_t number, size_t i)
{
    return (uint8_t)(number * 31 + i + i / 1009);
}

/* What b heard on STREAM, and how it behaves. */
static struct {
    const uint32_t *sizes;
    uint64_t next, wrong, ends;
    bool full; /* no room downstream */
    bool keep; /* takes the memory of what came in fragments */
} heard;

static bool is_message(uint64_t number, struct cspan event)
{
    if (event.len != heard.sizes[number])
        return false;
    for (size_t i = 0; i < event.len; i++)
        if (event.data[i] != byte_of(number, i))
            return false;
    return true;
}

static bool on_messages(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    if (st->ended) {
        heard.ends++;
        return true;
    }
    if (heard.full)
        return false;
    struct wire_frames walk = wire_frames(plaintext, h->event_count);
    struct cspan event = {0};
    while (wire_frames_next(&walk, &event))
        heard.wrong += !is_message(heard.next++, event);
    heard.wrong += walk.rest.len > 0 && event.len > 60000;
    if (heard.keep) {
        uint8_t *own = stream_take_message(st);
        heard.wrong += own && (own + 4 != event.data || load_le32(own) != event.len);
        free(own);
    }
    stream_consumed(p, st, h->payload_len + (uint32_t)WIRE_OVERHEAD);
    return true;
}

/* What a has to say, one after the other. */
static struct {
    struct stream_source source;
    const uint32_t *sizes;
    uint64_t next, count, ended;
    int why, err;
} told;

static bool fill(struct stream_source *source, struct peer *p, struct stream *st)
{
    (void)source, (void)st;
    if (told.next == told.count)
        return false;
    uint32_t len = told.sizes[told.next];
    uint8_t *bytes = malloc(len + 1);
    cr_assert_not_null(bytes);
    for (uint32_t i = 0; i < len; i++)
        bytes[i] = byte_of(told.next, i);
    int err = stream_send_message(p, STREAM, MESSAGES, (struct cspan){bytes, len});
    free(bytes);
    told.next += err == NET_OK;
    told.err = err == NET_ERR_AGAIN ? told.err : err;
    return err == NET_OK;
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
        receive_handle(node_shard(m->node, i), MESSAGES, on_messages);
}

static void make(uint64_t seed)
{
    mesh_init(&mesh, seed);
    a = mesh_add(&mesh, 2);
    b = mesh_add(&mesh, 2);
    mesh_know(a, b);
    mesh_know(b, a);
    memset(&heard, 0, sizeof heard);
    memset(&told, 0, sizeof told);
    told.source = (struct stream_source){.fill = fill, .ended = on_ended};
    a->config.event_bytes = b->config.event_bytes = FRAGMENT_MAX_EVENT;
}

static void start_both(void)
{
    start(a);
    start(b);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
}

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_messages, .fini = end, .timeout = 120);

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

static void tell(const uint32_t *sizes, uint64_t count)
{
    struct stream *st;
    struct peer *p = mesh_peer(a, b);
    cr_assert_eq(stream_open(p, STREAM, STREAM_RELIABLE, 0, 1, &st), NET_OK);
    st->source = &told.source;
    told.sizes = heard.sizes = sizes;
    told.count = count;
    stream_wants_tx(p, st);
    for (unsigned i = 0; i < a->config.shards; i++)
        sim_host_poke(a->host, i);
}

static bool to_come(void *ctx)
{
    (void)ctx;
    return heard.next < told.count;
}

static void hear_all(uint64_t limit_ns)
{
    cr_assert(sim_run_while(mesh.sim, to_come, NULL, limit_ns), "%lu of %lu", heard.next, told.count);
    cr_assert_eq(heard.wrong, 0);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(mesh_peer(b, a)->shard->reassembly.used, 0);
    cr_assert_eq(mesh_peer(a, b)->shard->message_bytes, 0);
    cr_assert_eq(told.err, NET_OK);
}

static const uint32_t SIZES[] = {10, 8108, 8109, 100000, 0, 70000, 1 << 20, 3, 20000, 2500000, 5};
enum { COUNT = sizeof SIZES / sizeof SIZES[0] };

Test(sim_messages, every_size_in_order)
{
    for (uint64_t keep = 0; keep < 2; keep++) {
        if (keep)
            end();
        make(1 + keep);
        heard.keep = keep;
        start_both();
        tell(SIZES, COUNT);
        hear_all(20 * SIM_S);
    }
}

Test(sim_messages, through_loss_duplication_and_reordering)
{
    make(3);
    start_both();
    both_ways(50000, 20000, 100000, (struct sim_range){SIM_MS, 5 * SIM_MS});
    tell(SIZES, COUNT);
    hear_all(120 * SIM_S);
    cr_assert_gt(MESH_COUNT(a, packets_retransmitted), 0);
    cr_assert_eq(MESH_COUNT(b, drop_incomplete), 0);
}

/* The window is the smallest there is, the message the largest: credit comes back when a fragment enters reassembly. */
Test(sim_messages, the_largest_through_the_smallest_window)
{
    static const uint32_t sizes[] = {LARGEST, 1, LARGEST};
    make(4);
    b->config.window = 65536;
    start_both();
    tell(sizes, 3);
    hear_all(120 * SIM_S);
}

/* Its handler has no room: the whole message waits, counted in the budget, and is offered again. */
Test(sim_messages, no_room_downstream)
{
    static const uint32_t sizes[] = {500000, 500001};
    make(5);
    start_both();
    heard.full = true;
    tell(sizes, 2);
    sim_run_for(mesh.sim, 2 * SIM_S);
    cr_assert_eq(heard.next, 0);
    cr_assert_geq(mesh_peer(b, a)->shard->reassembly.used, 500004);
    cr_assert_leq(mesh_peer(b, a)->shard->reassembly.used, 500004 + 4096);
    heard.full = false;
    hear_all(20 * SIM_S);
}

/* One that exceeds the receiver's memory ends the stream at both ends; the next stream works. */
Test(sim_messages, larger_than_the_memory_for_it)
{
    static const uint32_t sizes[] = {50000, 3 << 20, 50000};
    static const uint32_t again[] = {60000, 61000};
    make(6);
    b->config.reassembly_peer = 1 << 20;
    start_both();
    tell(sizes, 3);
    sim_run_for(mesh.sim, 5 * SIM_S);
    cr_assert_eq(heard.next, 1);
    cr_assert_eq(heard.ends, 1);
    cr_assert_eq(told.ended, 1);
    cr_assert_eq(told.why, NET_ERR_CLOSED);
    cr_assert_eq(mesh_peer(b, a)->shard->reassembly.used, 0);
    cr_assert_eq(mesh_peer(a, b)->shard->message_bytes, 0);
    cr_assert_eq(MESH_COUNT(b, drop_reassembly), 1);
    heard.next = told.next = 0;
    tell(again, 2);
    hear_all(20 * SIM_S);
}

/* The receiver loses its state in the middle: both sides forget what was under way. */
Test(sim_messages, a_restart_in_the_middle)
{
    static const uint32_t sizes[] = {LARGEST};
    static const uint32_t again[] = {70000};
    make(8);
    start_both();
    both_ways(0, 0, 0, (struct sim_range){20 * SIM_MS, 20 * SIM_MS});
    tell(sizes, 1);
    sim_run_for(mesh.sim, 200 * SIM_MS);
    cr_assert_gt(MESH_COUNT(b, rx_fragments), 0);
    cr_assert_eq(heard.next, 0);
    mesh_kill(b);
    start(b);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(told.ended, 1);
    cr_assert_eq(mesh_peer(a, b)->shard->message_bytes, 0);
    heard.next = told.next = 0;
    tell(again, 1);
    hear_all(20 * SIM_S);
}
