/* The end of a log: write, sync, mark the stop as clean, let go. Each step starts when the one before has completed. */
#include <assert.h>
#include <stdlib.h>

#include "storage/redex/redex_internal.h"

void redex_free(struct redex *r)
{
    assert(r->writes == 0 && r->syncs == 0 && !r->reservation.busy);
    list_remove(&r->link);
    list_remove(&r->sync_request.link);
    timer_cancel(r->timers, &r->sync_timer);
    timer_cancel(r->timers, &r->turn_timer);
    redex_compact_free(r);
    redex_generation_close(r);
    for (int i = 0; i < PARTS; i++)
        redex_memory_release(&r->file[i].memory);
    if (r->reservation.handle != IO_NO_HANDLE)
        r->io->plain->close(r->io, r->reservation.handle);
    if (r->lock != IO_NO_HANDLE)
        r->io->plain->close(r->io, r->lock);
    free(r->root);
    free(r->base);
    free(r);
}

static void close_step(struct redex *r)
{
    if (r->compaction && r->mode == REDEX_DISK)
        redex_compact_cancel(r);
    if (r->writes > 0 || r->syncs > 0 || r->reservation.busy || (r->compaction && r->mode == REDEX_DISK))
        return;
    if (r->mode == REDEX_DISK && r->error == NET_OK) {
        if (redex_write_start(r))
            return;
        if (r->synced_seq < r->written_seq) {
            redex_want_sync(r, r->written_seq);
            return;
        }
        if (redex_unwritten_bytes(r) > 0) /* held, and whoever does so has not come to an end */
            redex_set_error(r, NET_ERR_IO);
        else if (!r->reservation.clean) {
            redex_reservation_end(r);
            return;
        }
    }
    int err = r->error;
    void (*closed)(void *, int) = r->closed;
    void *ctx = r->closed_ctx;
    redex_free(r);
    closed(ctx, err);
}

void redex_close(struct redex *r, void (*closed)(void *ctx, int err), void *ctx)
{
    assert(!r->closing && closed);
    r->closing = true;
    r->closed = closed;
    r->closed_ctx = ctx;
    redex_set_error(r, NET_OK); /* one more try for what could not be written */
    close_step(r);
}

void redex_abandon(struct redex *r)
{
    redex_free(r);
}

void redex_settled(struct redex *r)
{
    redex_mirror_step(r);
    redex_compact_on_settled(r);
    if (r->closing)
        close_step(r);
    else if (r->progress)
        r->progress(r->ctx, r);
}
