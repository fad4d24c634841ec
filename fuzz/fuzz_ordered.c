/* A hostile sender's sequences against a plain model, and its resets. A script of 9-byte records: a distance from what
 * is next, and what to do with it. */
#include <assert.h>
#include <stdbool.h>

#include "core/base/err.h"
#include "core/base/span.h"
#include "core/stream/ordered.h"
#include "core/stream/reset.h"

enum { RECORD = 9, LIMIT = 200 };

static void step(struct ordered *o, bool model[LIMIT], uint64_t sequence, bool hold)
{
    static int item;
    uint64_t next = o->next, ahead = sequence - next;
    enum ordered_place place = ordered_place(o, sequence);
    if (sequence < next)
        assert(place == ORDERED_DUPLICATE);
    else if (ahead >= LIMIT)
        assert(place == ORDERED_BEYOND);
    else
        assert(place == (model[ahead] ? ORDERED_DUPLICATE : ahead ? ORDERED_LATER : ORDERED_NEXT));
    if (place == ORDERED_LATER || (place == ORDERED_NEXT && hold)) {
        assert(ordered_hold(o, sequence, &item) == NET_OK);
        model[ahead] = true;
    } else if (place == ORDERED_NEXT || (place == ORDERED_DUPLICATE && !hold && ordered_first(o))) {
        ordered_advance(o);
        memmove(model, model + 1, (LIMIT - 1) * sizeof *model);
        model[LIMIT - 1] = false;
    }
    assert((ordered_first(o) != NULL) == model[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t id;
    uint32_t code;
    if (reset_decode((struct cspan){data, size}, &id, &code) == NET_OK) {
        uint8_t again[RESET_MESSAGE];
        reset_encode(id, code, again);
        assert(memcmp(again, data, sizeof again) == 0);
    }
    struct ordered o;
    bool model[LIMIT] = {false};
    ordered_init(&o, LIMIT);
    for (; size >= RECORD; data += RECORD, size -= RECORD) {
        uint64_t by = load_le64(data + 1);
        step(&o, model, data[0] & 2 ? by : o.next + by % (LIMIT + 2), data[0] & 1);
    }
    while (ordered_take_any(&o)) {
    }
    ordered_deinit(&o);
    return 0;
}
