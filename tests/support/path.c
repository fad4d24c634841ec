#include "tests/support/path.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/stream/recovery.h"
#include "tests/support/splitmix.h"

#define SECOND UINT64_C(1000000000)

enum { LIMIT = 65536 };

struct event { /* something arrives */
    uint64_t at_ns, order;
    bool ack;
    uint64_t counter, number; /* of a packet, and of its content */
    struct ack block;
};

struct world {
    const struct path *path;
    uint64_t now, seed, busy_until, order, counter;
    struct event **heap;
    size_t count, room;
    struct recovery recovery;
    struct ack_state acks;
    uint64_t next_number, *again;
    size_t again_count, again_room;
    uint8_t *seen;
    size_t seen_room;
    uint64_t fresh, last_fresh_ns, waited;
    uint32_t to_probe;
    struct path_result result;
};

static bool before(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void push(struct world *w, struct event *e)
{
    if (w->count == w->room)
        w->heap = realloc(w->heap, (w->room = w->room ? 2 * w->room : 1024) * sizeof(struct event *));
    size_t i = w->count++;
    e->order = w->order++;
    for (; i > 0 && before(e, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = e;
}

static struct event *pop(struct world *w)
{
    struct event *top = w->heap[0], *last = w->heap[--w->count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->count; i = child) {
        if (child + 1 < w->count && before(w->heap[child + 1], w->heap[child]))
            child++;
        if (!before(w->heap[child], last))
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

static bool chance(struct world *w, double p)
{
    return (double)(splitmix(&w->seed) >> 11) < p * 9007199254740992.0;
}

/* Half a round trip from `at` on, with what happens on the way. */
static void travel(struct world *w, struct event e, uint64_t at)
{
    const struct path *p = w->path;
    if (chance(w, p->loss) || (at >= p->outage_ns && at < p->outage_end_ns))
        return;
    for (int copies = 1 + chance(w, p->duplicate); copies > 0; copies--) {
        struct event *copy = malloc(sizeof *copy);
        *copy = e;
        copy->at_ns = at + p->rtt_ns / 2 + (p->jitter_ns ? splitmix_below(&w->seed, p->jitter_ns) : 0);
        push(w, copy);
    }
}

static void transmit(struct world *w, uint64_t number, uint8_t flags)
{
    const struct path *p = w->path;
    struct sent sent = {.counter = w->counter++,
                        .what = (void *)(uintptr_t)(number + 1),
                        .bytes = (uint16_t)p->packet,
                        .flags = (uint8_t)(SENT_ELICITING | SENT_KEPT | flags)};
    recovery_on_sent(&w->recovery, &sent, w->now);
    w->result.sent++;
    uint64_t rate = p->slow_ns && w->now >= p->slow_ns ? p->rate / 2 : p->rate;
    uint64_t start = w->busy_until > w->now ? w->busy_until : w->now, wait = start - w->now;
    if (wait * rate / SECOND + p->packet > p->queue)
        return;
    w->busy_until = start + p->packet * SECOND / rate;
    w->waited += wait;
    travel(w, (struct event){.counter = sent.counter, .number = number}, w->busy_until);
}

static uint64_t next_content(struct world *w)
{
    return w->again_count ? w->again[--w->again_count] : w->next_number++;
}

static void send_all(struct world *w)
{
    for (; w->to_probe; w->to_probe--) {
        void *what = recovery_probe(&w->recovery);
        if (recovery_reserve(&w->recovery, w->now) == NET_OK)
            transmit(w, what ? (uint64_t)(uintptr_t)what - 1 : next_content(w), SENT_PROBE);
    }
    while (recovery_may_send(&w->recovery, w->now, !w->path->fire_and_forget) &&
           recovery_reserve(&w->recovery, w->now) == NET_OK)
        transmit(w, next_content(w), 0);
}

static void on_acked(void *ctx, const struct sent *sent)
{
    struct world *w = ctx;
    uint64_t number = (uint64_t)(uintptr_t)sent->what - 1;
    assert(!sent->what || (number < w->seen_room && w->seen[number])); /* nothing is acknowledged that did not arrive */
}

static void on_lost(void *ctx, const struct sent *sent)
{
    struct world *w = ctx;
    if (!sent->what)
        return;
    if (w->again_count == w->again_room)
        w->again = realloc(w->again, (w->again_room = w->again_room ? 2 * w->again_room : 1024) * sizeof *w->again);
    w->again[w->again_count++] = (uint64_t)(uintptr_t)sent->what - 1;
}

static void on_spurious(void *ctx, const struct sent *sent)
{
    struct world *w = ctx;
    assert(!sent->what);
    w->result.spurious++;
}

static void on_packet(struct world *w, const struct event *e)
{
    if (ranges_contain(&w->acks.ranges, e->counter)) /* the replay window would have dropped it */
        return;
    if (e->number >= w->seen_room) {
        size_t room = 2 * (e->number + 1024);
        w->seen = realloc(w->seen, room);
        memset(w->seen + w->seen_room, 0, room - w->seen_room);
        w->seen_room = room;
    }
    if (w->seen[e->number]) {
        w->result.repeated++;
        ack_hurry(&w->acks, w->now);
    } else {
        w->seen[e->number] = 1;
        w->fresh += w->path->packet;
        if (w->now - w->last_fresh_ns > w->result.longest_ns)
            w->result.longest_ns = w->now - w->last_fresh_ns;
        w->last_fresh_ns = w->now;
    }
    ack_on_packet(&w->acks, e->counter, true, w->now);
}

static void acknowledge(struct world *w)
{
    uint8_t block[ACK_MAX];
    size_t len = ack_encode(&w->acks, w->now, block, sizeof block);
    struct event e = {.ack = true};
    assert(ack_decode((struct cspan){block, len}, &e.block) == NET_OK);
    ack_on_sent(&w->acks);
    travel(w, e, w->now);
}

static uint64_t soonest(const struct world *w)
{
    uint64_t at = w->acks.due_ns, deadline = recovery_deadline(&w->recovery),
             pacer = pacer_deadline(&w->recovery.pacer);
    if (w->count && w->heap[0]->at_ns < at)
        at = w->heap[0]->at_ns;
    if (deadline < at)
        at = deadline;
    if (congestion_room(&w->recovery.congestion) > 0 && pacer < at)
        at = pacer;
    return at > w->now ? at : w->now;
}

static void step(struct world *w)
{
    const struct recovery_events events = {w, on_acked, on_lost, on_spurious};
    while (w->count && w->heap[0]->at_ns <= w->now) {
        struct event *e = pop(w);
        if (!e->ack)
            on_packet(w, e);
        else
            assert(recovery_on_ack(&w->recovery, &e->block, w->now, &events) == NET_OK);
        free(e);
    }
    if (ack_due(&w->acks, w->now))
        acknowledge(w);
    if (recovery_on_tick(&w->recovery, w->now, &events))
        w->to_probe = 2;
    send_all(w);
}

static void finish(struct world *w)
{
    const struct recovery_events events = {w, on_acked, on_lost, on_spurious};
    struct path_result *r = &w->result;
    r->goodput = (uint64_t)((double)w->fresh * 1e9 / (double)w->now);
    r->lost = w->recovery.packets_lost;
    r->probes = w->recovery.probes;
    r->queue_ns = w->waited / r->sent;
    r->cwnd = w->recovery.congestion.cwnd;
    r->smoothed_ns = w->recovery.rtt.smoothed;
    r->reorder_packets = w->recovery.reorder_packets;
    recovery_abandon(&w->recovery, w->now, &events);
    recovery_deinit(&w->recovery);
    while (w->count)
        free(pop(w));
    free(w->heap);
    free(w->again);
    free(w->seen);
}

struct path_result path_run(const struct path *path, uint64_t duration_ns)
{
    struct world w = {.path = path, .seed = path->seed, .now = SECOND, .last_fresh_ns = SECOND};
    recovery_init(&w.recovery, path->rtt_ns, LIMIT, w.now);
    ack_init(&w.acks);
    uint64_t end = w.now + duration_ns;
    for (; w.now < end; w.now = soonest(&w))
        step(&w);
    w.now -= SECOND;
    finish(&w);
    return w.result;
}
