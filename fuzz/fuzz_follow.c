/* Messages and records of followed channels: what decodes, encodes to the same bytes. The first byte chooses which. */
#include <assert.h>

#include "core/channel/follow.h"

static void message(struct cspan in)
{
    uint8_t again[FOLLOW_MESSAGE_MAX];
    struct follow_message m;
    if (follow_message_decode(in, &m) != 0)
        return;
    assert(follow_status_text(m.status) != NULL);
    assert(follow_message_encode(&m, again) == in.len);
    assert(memcmp(again, in.data, in.len) == 0);
}

static void events(const struct follow_record *r, struct cspan in)
{
    uint8_t head[FOLLOW_EVENTS_HEAD];
    uint64_t count = 0;
    for (uint32_t i = 0; i < r->run_count; i++)
        count += follow_run_count(r->runs.data + (size_t)i * FOLLOW_RUN);
    assert(count == r->next - r->first && count > 0);
    follow_events_encode(r->first, (uint32_t)count, (uint16_t)r->run_count, r->apart, head);
    assert(memcmp(head, in.data, sizeof head) == 0);
}

static void record(struct cspan in)
{
    uint8_t again[FOLLOW_RECORD_SHORT];
    struct follow_record r;
    if (follow_record_decode(in, &r) != 0)
        return;
    if (r.type == FOLLOW_EVENTS) {
        events(&r, in);
        return;
    }
    follow_record_encode(&r, again);
    assert(in.len == sizeof again && memcmp(again, in.data, in.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct cspan in = {data + 1, size - 1};
    if (data[0] & 1)
        message(in);
    else
        record(in);
    return 0;
}
