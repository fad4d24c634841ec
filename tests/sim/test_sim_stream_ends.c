/* How reliable streams end where that is not simple: in the middle of what is delivered, with a full table, under an id
 * that something else goes by too, and at the hands of a peer that means ill. */
#include "tests/sim/numbers.h"

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
