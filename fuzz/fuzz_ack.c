/* Acknowledgement blocks from a hostile peer: what decodes is canonical, ascends and stays in its bounds, and does not
 * harm a sender that has some packets in flight. */
#include <assert.h>
#include <string.h>

#include "core/base/err.h"
#include "core/stream/recovery.h"

enum { SENT = 200, BYTES = 1000 };

static void nothing(void *ctx, const struct sent *sent)
{
    unsigned *count = ctx;
    assert(sent->counter < SENT);
    ++*count;
}

/* The encoder writes at most RANGES_MAX ranges, so a block with more is compared as far as that. */
static void same_again(const struct ack *a, struct cspan block)
{
    struct ack_state state = {.largest_ns = 0};
    uint8_t out[ACK_MAX];
    uint32_t count = a->count < RANGES_MAX ? a->count : RANGES_MAX;
    state.ranges.count = count;
    memcpy(state.ranges.list, a->ranges, count * sizeof a->ranges[0]);
    size_t len = ack_encode(&state, a->delay_ns, out, sizeof out);
    assert(len == ACK_HEAD + (count - 1) * (size_t)ACK_RANGE);
    assert(load_le16(out + 12) == count - 1);
    store_le16(out + 12, load_le16(block.data + 12));
    assert(memcmp(out, block.data, len) == 0);
}

static void receive(const struct ack *a)
{
    struct recovery r;
    unsigned seen = 0;
    const struct recovery_events events = {&seen, nothing, nothing, nothing};
    recovery_init(&r, 0, 256, 1);
    for (uint64_t c = 0; c < SENT; c++) {
        struct sent sent = {.counter = c, .bytes = BYTES, .flags = SENT_ELICITING};
        assert(recovery_reserve(&r, 1 + c) == NET_OK);
        recovery_on_sent(&r, &sent, 1 + c);
    }
    int err = recovery_on_ack(&r, a, 1000000, &events);
    assert(err == (a->ranges[0].last < SENT ? NET_OK : NET_ERR_INVALID));
    assert(r.congestion.in_flight == (SENT - seen) * (uint64_t)BYTES);
    assert(recovery_on_ack(&r, a, 1000000, &events) == err);
    assert(r.congestion.in_flight == (SENT - seen) * (uint64_t)BYTES);
    recovery_abandon(&r, 1000000, &events);
    assert(seen == SENT && r.congestion.in_flight == 0);
    recovery_deinit(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ack a;
    if (ack_decode((struct cspan){data, size}, &a) != NET_OK)
        return 0;
    assert(a.count >= 1 && a.count <= ACK_FURTHER + 1);
    for (uint32_t i = 0; i < a.count; i++) {
        assert(a.ranges[i].first <= a.ranges[i].last);
        assert(i == 0 || a.ranges[i].last < a.ranges[i - 1].first - 1);
    }
    same_again(&a, (struct cspan){data, size});
    receive(&a);
    return 0;
}
