/* Fragments of a hostile peer: a script of records (12 bytes and how many of slice) and pauses between them. Memory
 * stays within what was accepted and the budgets, and a whole message has its length. */
#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/stream/fragment.h"

enum { RECORD = 12, PEER_LIMIT = 4 << 20, MAX_MESSAGE = 2 << 20 };

static void step(struct reassembly *r, const uint8_t *at, uint64_t now, uint64_t *accepted)
{
    static uint8_t bytes[8112];
    struct fragment_message m;
    uint32_t len = load_le32(at + 8) % sizeof bytes;
    uint64_t sequence = load_le32(at + 4) >> 8;
    uint16_t index = (uint16_t)(at[1] | (at[2] & 3) << 8);
    struct fragment f = {
        .stream = at[3] & 1,
        .sequence = sequence,
        .id = (uint16_t)(sequence - index + (at[3] == 0xff)),
        .index = index,
        .more = at[0] & 1,
        .reliable = at[0] >> 1 & 1,
        .slice = {bytes, at[0] & 4 ? len : 100},
    };
    int err = reassembly_add(r, &f, now, &m);
    if (!err)
        *accepted += f.slice.len;
    assert(!m.frame || (!err && m.len == 4 + (size_t)load_le32(m.frame) && m.len <= 4 + MAX_MESSAGE));
    free(m.frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fragment_budget total = {.limit = PEER_LIMIT};
    struct reassembly r;
    uint64_t now = 0, accepted = 0;
    reassembly_init(&r, MAX_MESSAGE, PEER_LIMIT, &total);
    for (; size >= RECORD; data += RECORD, size -= RECORD) {
        if (data[0] >= 0xf0) {
            now += (uint64_t)data[1] << 26; /* up to 17 s */
            reassembly_tick(&r, now);
            assert(reassembly_deadline(&r) > now);
        } else if (data[0] == 0xef) {
            reassembly_end_stream(&r, data[1] & 1);
        } else {
            step(&r, data, now, &accepted);
        }
        assert(r.own.used == total.used && total.used <= PEER_LIMIT && r.count <= FRAGMENT_MESSAGES);
        assert(r.own.used <= 2 * accepted + (uint64_t)r.count * (2 * FRAGMENT_SPREAD + 20000));
    }
    reassembly_deinit(&r);
    assert(total.used == 0);
    return 0;
}
