/* Grants from a hostile receiver between sends and silences: a script of 17-byte records, an operation and a message.
 */
#include <assert.h>

#include "core/stream/credit.h"

enum { RECORD = 1 + CREDIT_MESSAGE, WINDOW = 65536 };

static void step(struct credit_tx *c, unsigned op, uint64_t a, uint64_t total, uint64_t *now)
{
    uint64_t sent = c->sent;
    uint32_t bytes = (uint32_t)a;
    *now += a >> 40; /* less than a month each */
    switch (op % 5) {
    case 0:
        assert(credit_tx_acquire(c, bytes, *now) == (c->sent != sent || bytes == 0));
        break;
    case 1:
        credit_tx_grant(c, total, *now);
        assert(c->sent == sent);
        break;
    case 2:
        credit_tx_lost(c, bytes);
        break;
    case 3:
        credit_tx_found(c, bytes);
        break;
    default:
        assert(!credit_tx_recover(c, *now, total) || c->remaining == WINDOW);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct credit_tx c;
    uint64_t now = 0, a, total;
    credit_tx_init(&c, WINDOW, now);
    assert(size == CREDIT_MESSAGE || credit_decode((struct cspan){data, size}, &a, &total) != 0);
    for (; size >= RECORD; data += RECORD, size -= RECORD) {
        assert(credit_decode((struct cspan){data + 1, CREDIT_MESSAGE}, &a, &total) == 0);
        step(&c, data[0], a, total, &now);
        assert(c.max_consumed <= c.sent && c.remaining <= WINDOW && c.written_off <= c.sent);
        assert(c.remaining + (c.sent - c.max_consumed) == WINDOW);
    }
    return 0;
}
