/*
 * From the page cache to stable storage: when (the policy, or somebody waits), and how many at once. A log has at most
 * one sync under way; who comes meanwhile shares the next. All logs of a shard share a few places, taken in the order
 * of asking: the kernel's workers are few, and a write behind too many syncs would wait for all of them.
 */
#include <assert.h>

#include "storage/redex/redex_internal.h"

/* ---- the places ---- */

void redex_syncs_init(struct redex_syncs *s, unsigned max)
{
    assert(max >= PARTS);
    *s = (struct redex_syncs){.max = max};
    list_init(&s->waiting);
}

static bool has_room(const struct redex_syncs *s)
{
    return s->max - s->in_flight >= PARTS;
}

void redex_syncs_ask(struct redex_syncs *s, struct redex_sync_request *q)
{
    if (list_linked(&q->link))
        return;
    list_push_back(&s->waiting, &q->link);
    if (list_first(&s->waiting) == &q->link)
        redex_syncs_serve(s);
}

void redex_syncs_serve(struct redex_syncs *s)
{
    struct list *first;
    while (has_room(s) && (first = list_pop(&s->waiting)) != NULL) {
        struct redex_sync_request *q = container_of(first, struct redex_sync_request, link);
        unsigned started = q->start(q); /* it may serve others meanwhile: not one expression with the sum */
        s->in_flight += started;
        assert(s->in_flight <= s->max);
    }
}

void redex_sync_counted(struct redex_syncs *s, struct redex_stats *stats, uint64_t ns, int32_t res)
{
    assert(s->in_flight > 0);
    s->in_flight--;
    counter_add(&stats->syncs, 1);
    if (res < 0)
        counter_add(&stats->sync_failures, 1);
    histogram_add(&stats->sync_ns, ns);
}

/* ---- one log ---- */

static void arm_interval(struct redex *r)
{
    if (r->policy.sync_interval_ns && r->written_seq > r->synced_seq && r->syncs == 0 && !timer_armed(&r->sync_timer))
        timer_arm(r->timers, &r->sync_timer, io_now(r->io) + r->policy.sync_interval_ns);
}

void redex_on_sync_timer(struct timer *t, uint64_t now_ns)
{
    struct redex *r = container_of(t, struct redex, sync_timer);
    (void)now_ns;
    redex_want_sync(r, r->written_seq);
}

static void on_sync(struct io_op *op, int32_t res)
{
    struct redex_file *f = container_of(op, struct redex_file, sync);
    struct redex *r = f->log;

    redex_sync_counted(r->sync_places, r->stats, io_now(r->io) - r->sync_at, res);
    if (res < 0) { /* the kernel has forgotten which pages were dirty: no later sync means anything */
        r->sync_error = res;
        redex_poison(r);
    } else {
        f->synced = f->sync_end;
    }
    if (--r->syncs == 0) {
        if (r->sync_error == 0) {
            r->synced_seq = r->sync_seq;
            redex_sync_start(r);
            arm_interval(r);
        }
        redex_syncs_serve(r->sync_places);
        redex_settled(r);
    } else {
        redex_syncs_serve(r->sync_places);
    }
}

/* Covers the writes that are complete now; a flush in flight goes on beside it and has its own sync later. */
unsigned redex_on_sync_place(struct redex_sync_request *q)
{
    struct redex *r = container_of(q, struct redex, sync_request);
    if (r->paused || r->error == NET_ERR_POISONED)
        return 0;
    timer_cancel(r->timers, &r->sync_timer);
    r->sync_seq = r->written_seq;
    r->want_low = r->sync_seq + 1; /* of whoever wants more: as soon as more is written */
    r->sync_error = 0;
    r->sync_at = io_now(r->io);
    r->triggered_seq = r->written_seq;
    r->triggered_bytes = r->written_bytes;
    for (int i = 0; i < PARTS; i++) {
        struct redex_file *f = &r->file[i];
        if (f->synced == f->written)
            continue;
        f->sync_end = f->written;
        f->sync.kind = IO_FDATASYNC;
        f->sync.handle = f->handle;
        f->sync.done = on_sync;
        r->syncs++;
        io_submit(r->io, &f->sync);
    }
    return r->syncs;
}

void redex_sync_start(struct redex *r)
{
    if (r->paused || r->syncs > 0 || r->error == NET_ERR_POISONED || r->want <= r->synced_seq ||
        r->written_seq < r->want_low)
        return;
    redex_syncs_ask(r->sync_places, &r->sync_request);
}

void redex_want_sync(struct redex *r, uint64_t seq)
{
    uint64_t covered = r->syncs > 0 ? r->sync_seq : r->synced_seq;

    if (seq > r->next_seq)
        seq = r->next_seq;
    if (r->mode == REDEX_MEMORY || seq <= covered)
        return;
    if (r->want <= covered || seq < r->want_low)
        r->want_low = seq;
    if (r->want < seq)
        r->want = seq;
    redex_sync_start(r);
}

void redex_sync_by_policy(struct redex *r)
{
    const struct redex_policy *p = &r->policy;
    bool due = p->sync_each || (p->sync_events && r->written_seq - r->triggered_seq >= p->sync_events) ||
               (p->sync_bytes && r->written_bytes - r->triggered_bytes >= p->sync_bytes);
    if (due) {
        r->triggered_seq = r->written_seq;
        r->triggered_bytes = r->written_bytes;
        redex_want_sync(r, r->written_seq);
    }
    arm_interval(r);
}
