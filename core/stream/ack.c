#include "core/stream/ack.h"

#include <string.h>

#include "core/base/err.h"

#define NEVER UINT64_MAX
#define NS_PER_US 1000

void ack_init(struct ack_state *a)
{
    ranges_init(&a->ranges);
    a->largest_ns = 0;
    a->due_ns = NEVER;
    a->eliciting = 0;
}

void ack_on_packet(struct ack_state *a, uint64_t counter, bool eliciting, uint64_t now)
{
    bool first = a->ranges.count == 0, newest = first || counter > ranges_largest(&a->ranges);
    bool in_order = first || counter - ranges_largest(&a->ranges) == 1;
    ranges_add(&a->ranges, counter);
    if (newest)
        a->largest_ns = now;
    if (!eliciting)
        return;
    a->eliciting++;
    if (!in_order || a->eliciting >= ACK_EVERY)
        a->due_ns = now;
    else if (a->due_ns == NEVER)
        a->due_ns = now + ACK_MAX_DELAY_NS;
}

void ack_hurry(struct ack_state *a, uint64_t now)
{
    if (now < a->due_ns && a->ranges.count > 0)
        a->due_ns = now;
}

void ack_on_sent(struct ack_state *a)
{
    a->due_ns = NEVER;
    a->eliciting = 0;
}

static uint32_t delay_us(const struct ack_state *a, uint64_t now)
{
    uint64_t us = now > a->largest_ns ? (now - a->largest_ns) / NS_PER_US : 0;
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

size_t ack_encode(const struct ack_state *a, uint64_t now, uint8_t *out, size_t room)
{
    if (a->ranges.count == 0 || room < ACK_HEAD)
        return 0;
    const struct range *r = a->ranges.list;
    uint64_t below = r[0].last - r[0].first;
    size_t most = (room - ACK_HEAD) / ACK_RANGE, n = 0;
    store_le64(out, r[0].last);
    store_le32(out + 8, delay_us(a, now));
    store_le16(out + 14, 0);
    store_le32(out + 16, below < UINT32_MAX ? (uint32_t)below : UINT32_MAX);
    /* What 32 bits cannot say is so long ago that it was said often enough. */
    for (; n < most && n + 1 < a->ranges.count && below <= UINT32_MAX; n++) {
        uint64_t gap = r[n].first - r[n + 1].last - 2;
        below = r[n + 1].last - r[n + 1].first;
        if (gap > UINT32_MAX)
            break;
        store_le32(out + ACK_HEAD + n * ACK_RANGE, (uint32_t)gap);
        store_le32(out + ACK_HEAD + n * ACK_RANGE + 4, below < UINT32_MAX ? (uint32_t)below : UINT32_MAX);
    }
    store_le16(out + 12, (uint16_t)n);
    return ACK_HEAD + n * ACK_RANGE;
}

int ack_decode(struct cspan block, struct ack *a)
{
    if (block.len < ACK_HEAD || load_le16(block.data + 14) != 0)
        return NET_ERR_FORMAT;
    uint32_t further = load_le16(block.data + 12), below = load_le32(block.data + 16);
    uint64_t largest = load_le64(block.data);
    if (further > ACK_FURTHER || block.len != ACK_HEAD + (size_t)further * ACK_RANGE || below > largest)
        return NET_ERR_FORMAT;
    a->delay_ns = (uint64_t)load_le32(block.data + 8) * NS_PER_US;
    a->count = further + 1;
    a->ranges[0] = (struct range){largest - below, largest};
    for (uint32_t i = 0; i < further; i++) {
        const uint8_t *p = block.data + ACK_HEAD + i * ACK_RANGE;
        uint64_t gap = (uint64_t)load_le32(p) + 2, length = load_le32(p + 4);
        if (a->ranges[i].first < gap + length)
            return NET_ERR_FORMAT;
        uint64_t last = a->ranges[i].first - gap;
        a->ranges[i + 1] = (struct range){last - length, last};
    }
    return NET_OK;
}
