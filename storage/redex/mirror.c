/*
 * Mirrors: logs whose sequences are another log's. extensions.md X7.4
 *
 * Whoever fills a mirror asks for what comes behind redex_next_seq(), so after a crash that has to be exactly behind
 * the last event there is: one further, and an event would never come. So a mirror reserves nothing, and what a crash
 * left behind the first event that did not come to the disk as a whole is cut off (and kept aside): it comes again.
 * That holds for what no open or hole has noted as synced. An event further in front that cannot be read was hit by
 * something else, and only that one is lost, as in any log.
 *
 * A hole of the other log is noted in `seq~` before anything behind it is appended, and when all before is synced: so
 * the next open knows it for a hole, and nothing of what is before can be missing unnoticed.
 */
#include <assert.h>

#include "storage/redex/redex_internal.h"

uint64_t redex_mirror_next(const struct redex_seq_state *s, uint64_t end)
{
    if (!s->known || end < s->end) /* ... of which the last is damaged: it comes again, and the hole behind it */
        return end;
    return end > s->next_seq ? end : s->next_seq;
}

uint64_t redex_mirror_unsure(const struct redex *r, const struct redex_seq_state *s)
{
    if (!r->mirror || (s->known && s->clean && !s->damaged))
        return UINT64_MAX;
    return s->known ? s->end : 0;
}

static bool skip_waits(const struct redex *r)
{
    return r->skip_to > r->next_seq;
}

int redex_skip_to(struct redex *r, uint64_t seq)
{
    assert(r->mirror);
    if (seq <= r->next_seq)
        return NET_OK;
    if (r->closing)
        return NET_ERR_CLOSED;
    if (r->error == NET_ERR_POISONED)
        return r->error;
    if (r->mode == REDEX_MEMORY) {
        r->next_seq = r->written_seq = r->synced_seq = seq;
        return NET_OK;
    }
    if (!r->reservation.skipping) /* else the one under way comes first, and this one is asked for again */
        r->skip_to = seq;
    redex_want_sync(r, r->next_seq);
    redex_mark_dirty(r);
    return NET_ERR_AGAIN;
}

/* One that failed is tried again as writes are, after a while: it is its own failure that comes here first. */
void redex_mirror_step(struct redex *r)
{
    if (r->error != NET_OK && io_now(r->io) < r->retry_at)
        return;
    if (!skip_waits(r) || r->paused || r->closing || r->reservation.busy || r->error == NET_ERR_POISONED ||
        r->writes > 0 || r->syncs > 0)
        return;
    if (redex_unwritten_bytes(r) == 0 && r->synced_seq == r->next_seq)
        redex_reservation_skip(r);
}

void redex_id(const struct redex *r, uint8_t out[REDEX_ID_SIZE])
{
    memcpy(out, r->id, REDEX_ID_SIZE);
}
