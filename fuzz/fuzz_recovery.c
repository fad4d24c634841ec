/*
 * Any order of sending, acknowledging, waiting and probing, against a plain table of what became of each packet: a
 * script of 4-byte records, an operation and three arguments.
 */
#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "core/base/err.h"
#include "core/stream/recovery.h"

enum { PACKETS = 1024, RECORD = 4, LIMIT = 64 };
enum fate { UNSENT, FLYING, KEPT, ACKED, LOST, SPURIOUS };

struct model {
    struct recovery r;
    enum fate fate[PACKETS];
    uint64_t next, now, in_flight;
};

static void on_acked(void *ctx, const struct sent *sent)
{
    struct model *m = ctx;
    assert(m->fate[sent->counter] == (sent->what ? KEPT : FLYING));
    m->fate[sent->counter] = ACKED;
    m->in_flight -= sent->bytes;
}

static void on_lost(void *ctx, const struct sent *sent)
{
    struct model *m = ctx;
    assert(m->fate[sent->counter] == (sent->what ? KEPT : FLYING));
    m->fate[sent->counter] = LOST;
    m->in_flight -= sent->bytes;
}

static void on_spurious(void *ctx, const struct sent *sent)
{
    struct model *m = ctx;
    assert(m->fate[sent->counter] == LOST && !sent->what);
    m->fate[sent->counter] = SPURIOUS;
}

static void send_some(struct model *m, unsigned count, unsigned flags)
{
    for (; count > 0 && m->next < PACKETS; count--) {
        bool eliciting = flags & 1, kept = eliciting && (flags & 2);
        if (eliciting && recovery_reserve(&m->r, m->now) != NET_OK)
            return;
        struct sent sent = {.counter = m->next,
                            .what = kept ? &m->fate[m->next] : NULL,
                            .bytes = (uint16_t)(80 + (flags >> 2) * 100),
                            .flags = (uint8_t)((eliciting ? SENT_ELICITING : 0) | (kept ? SENT_KEPT : 0))};
        recovery_on_sent(&m->r, &sent, m->now);
        if (eliciting) {
            m->fate[m->next] = kept ? KEPT : FLYING;
            m->in_flight += sent.bytes;
        }
        m->next += 1 + (flags >> 7);
    }
}

static void acknowledge(struct model *m, const uint8_t *args, const struct recovery_events *events)
{
    struct ack a = {.delay_ns = args[2] * UINT64_C(50000), .count = 1};
    uint64_t last = m->next > args[0] ? m->next - args[0] : 0, length = args[1] & 15, gap = 2 + (args[1] >> 4);
    a.ranges[0] = (struct range){last > length ? last - length : 0, last};
    while (a.count <= (args[2] & 7) && a.ranges[a.count - 1].first >= gap) {
        uint64_t end = a.ranges[a.count - 1].first - gap;
        a.ranges[a.count++] = (struct range){end > length ? end - length : 0, end};
    }
    int err = recovery_on_ack(&m->r, &a, m->now, events);
    assert(last < m->next || err == NET_ERR_INVALID);
    for (uint32_t i = 0; err == NET_OK && i < a.count; i++)
        for (uint64_t c = a.ranges[i].first; c <= a.ranges[i].last && c < PACKETS; c++)
            assert(m->fate[c] != FLYING && m->fate[c] != KEPT);
}

static void tick(struct model *m, const struct recovery_events *events)
{
    if (!recovery_on_tick(&m->r, m->now, events))
        return;
    bool any = m->r.kept > 0;
    enum fate *probe = recovery_probe(&m->r);
    assert(any ? probe && *probe == KEPT : !probe);
    if (probe)
        *probe = FLYING;
    assert(recovery_reserve(&m->r, m->now) == NET_OK);
}

static void check(const struct model *m)
{
    const struct recovery *r = &m->r;
    assert(r->congestion.in_flight == m->in_flight);
    assert((r->flying == 0) == (m->in_flight == 0));
    assert((recovery_deadline(r) == UINT64_MAX) == (r->flying == 0));
    assert(r->kept <= r->flying && r->tail - r->head <= LIMIT && r->scan >= r->head && r->scan <= r->tail);
    assert(r->congestion.cwnd > 0 && r->congestion.rate > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model m;
    const struct recovery_events events = {&m, on_acked, on_lost, on_spurious};
    memset(&m, 0, sizeof m);
    m.now = 1000000;
    recovery_init(&m.r, 0, LIMIT, m.now);
    for (; size >= RECORD; data += RECORD, size -= RECORD) {
        switch (data[0] & 3) {
        case 0:
            send_some(&m, data[1] & 31, data[2]);
            break;
        case 1:
            acknowledge(&m, data + 1, &events);
            break;
        case 2:
            m.now += (uint64_t)data[1] << (data[2] & 31);
            break;
        default:
            tick(&m, &events);
        }
        check(&m);
    }
    recovery_abandon(&m.r, m.now, &events);
    assert(m.in_flight == 0 && m.r.kept == 0);
    recovery_deinit(&m.r);
    return 0;
}
