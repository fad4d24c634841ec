/*
 * What the tests of reliable streams share: two nodes, packets of numbers that go up from a to b, and what b heard,
 * checked one by one. Each test file is a program of its own, with all this to itself.
 */
#ifndef NM_TESTS_SIM_NUMBERS_H
#define NM_TESTS_SIM_NUMBERS_H

#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/stream/reset.h"
#include "shards/peers/peer.h"
#include "shards/transport/receive.h"
#include "tests/sim/mesh/sim_node.h"

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

static inline bool on_numbers(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
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

static inline bool fill(struct stream_source *source, struct peer *p, struct stream *st)
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

static inline void on_ended(struct stream_source *source, struct peer *p, struct stream *st, int why)
{
    (void)source, (void)p, (void)st;
    told.ended++;
    told.why = why;
}

static inline void start(struct mesh_node *m)
{
    mesh_start(m);
    for (unsigned i = 0; i < m->config.shards; i++)
        receive_handle(node_shard(m->node, i), NUMBERS, on_numbers);
}

static inline void make_only(uint64_t seed)
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

static inline void make(uint64_t seed)
{
    make_only(seed);
    start(a);
    start(b);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
}

static inline void end(void)
{
    mesh_deinit(&mesh);
}

static inline void poke(struct mesh_node *m)
{
    for (unsigned i = 0; i < m->config.shards; i++)
        sim_host_poke(m->host, i);
}

static inline struct stream *open_stream(void)
{
    struct stream *st;
    struct peer *p = mesh_peer(a, b);
    cr_assert_eq(stream_open(p, STREAM, STREAM_RELIABLE, 0, 1, &st), NET_OK);
    st->source = &told.source;
    return st;
}

static inline void tell(uint64_t count)
{
    told.limit += count;
    stream_wants_tx(mesh_peer(a, b), open_stream());
    poke(a);
}

static inline bool to_come(void *ctx)
{
    (void)ctx;
    return heard.next < told.limit;
}

static inline void hear_all(uint64_t limit_ns)
{
    cr_assert(sim_run_while(mesh.sim, to_come, NULL, limit_ns), "%lu of %lu", heard.next, told.limit);
    cr_assert_eq(heard.wrong, 0);
}

static inline void both_ways(uint32_t loss, uint32_t duplicate, uint32_t reorder, struct sim_range delay)
{
    struct sim_link *links[] = {sim_link(mesh.sim, a->host, b->host), sim_link(mesh.sim, b->host, a->host)};
    for (int i = 0; i < 2; i++) {
        links[i]->loss = loss;
        links[i]->duplicate = duplicate;
        links[i]->reorder = reorder;
        links[i]->delay = delay;
    }
}

static inline void give(struct wire_header h, const void *bytes, size_t len)
{
    uint8_t frame[4 + 300];
    store_le32(frame, (uint32_t)len);
    memcpy(frame + 4, bytes, len);
    h.event_count = 1;
    cr_assert(mesh_send_sealed(a, b, h, (struct cspan){frame, 4 + len}));
    sim_run_for(mesh.sim, 10 * SIM_MS);
}

static inline void see_nothing_left(struct mesh_node *m, struct mesh_node *of)
{
    struct peer *p = mesh_peer(m, of);
    cr_assert_null(stream_find(p, STREAM));
    cr_assert_null(map_get(&p->streams, STREAM));
    cr_assert_eq(p->shard->packets.used, 0);
}

#endif
