/* The handles of one shard. */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/world/sim_internal.h"

static struct handle *free_slot(struct sim_shard *s)
{
    struct handle *h = s->free_handle;
    if (h) {
        s->free_handle = h->next_free;
        return h;
    }
    assert(s->handle_count < SIM_HANDLES);
    if (s->handle_count == s->handle_room) {
        s->handle_room = s->handle_room ? s->handle_room * 2 : 8;
        s->handles = realloc(s->handles, s->handle_room * sizeof(struct handle *));
    }
    h = calloc(1, sizeof *h);
    assert(s->handles && h);
    h->number = (io_handle)s->handle_count;
    s->handles[s->handle_count++] = h;
    return h;
}

struct handle *sim_handle_open(struct sim_shard *s, enum handle_kind kind)
{
    struct handle *h = free_slot(s);
    assert(h->number <= INT32_MAX - SIM_HANDLES);
    *h = (struct handle){.kind = kind, .number = h->number + SIM_HANDLES};
    return h;
}

struct handle *sim_handle_any(struct sim_shard *s, io_handle number)
{
    assert(number >= 0);
    size_t slot = (size_t)number % SIM_HANDLES;
    assert(slot < s->handle_count);
    struct handle *h = s->handles[slot];
    assert(h->number == number && h->kind != HANDLE_FREE); /* else it was closed */
    return h;
}

struct handle *sim_handle(struct sim_shard *s, io_handle number, enum handle_kind kind)
{
    struct handle *h = sim_handle_any(s, number);
    assert(h->kind == kind);
    return h;
}

void sim_handle_close(struct sim_shard *s, struct handle *h)
{
    assert(h->pending == 0); /* cancel and await its operations first */
    if (h->kind == HANDLE_FILE) {
        if (h->inode->lock == h)
            h->inode->lock = NULL;
        disk_close(h->inode);
        free(h->path);
    }
    if (h->kind == HANDLE_STREAM && h->stream)
        sim_stream_node_closed(h->stream);
    h->kind = HANDLE_FREE;
    h->next_free = s->free_handle;
    s->free_handle = h;
}
