/*
 * The beginning of a log's producers: which intents came true?
 *
 * One whose events are all there did, or all behind those that retention has given up. The events of one that has only
 * some were never acknowledged, and are left out of the log; so are those of later ones of its producer, for a
 * producer's appends come in its order. A mark says up to where all events had been written, or synced: what is missing
 * from before was lost or given up later, and its intent stays true. The rest is forgotten before anything else can get
 * its sequences.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/producers/producers_internal.h"

void producers_free(struct producers *p)
{
    if (!p)
        return;
    assert(!p->op.pending);
    timer_cancel(p->timers, &p->timer);
    list_remove(&p->link);
    list_remove(&p->sync_request.link);
    producers_forget_all(p);
    map_deinit(&p->by_key);
    const io_handle handles[] = {p->handle, p->fresh, p->dir};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++)
        if (handles[i] != IO_NO_HANDLE)
            p->io->plain->close(p->io, handles[i]);
    free(p->collecting.bytes);
    free(p->under_way.bytes);
    free(p->image);
    free(p->found);
    free(p->path_new);
    free(p->path);
    free(p->root);
    free(p);
}

static int set_paths(struct producers *p, const char *root)
{
    p->root = strdup(root);
    if (!p->root || asprintf(&p->path, "%s/producers~", root) < 0) {
        p->path = NULL;
        return NET_ERR_NO_MEMORY;
    }
    if (asprintf(&p->path_new, "%s/producers~new", root) < 0) {
        p->path_new = NULL;
        return NET_ERR_NO_MEMORY;
    }
    return NET_OK;
}

static void find_intents(struct producers *p, const uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at + INTENT_SIZE <= len; at += INTENT_SIZE) {
        if (intent_decode(bytes + at, &p->found[p->found_count]))
            p->found_count++;
        else
            p->file_spoiled = true;
    }
    p->file_spoiled = p->file_spoiled || len % INTENT_SIZE != 0;
}

static int read_file(struct producers *p)
{
    const struct io_plain *plain = p->io->plain;
    int err = plain->open(p->io, p->path, O_RDWR, 0, &p->handle);
    if (err < 0) {
        p->handle = IO_NO_HANDLE;
        return err == -ENOENT || err == -ENOTDIR ? NET_OK : net_err_from_errno(-err);
    }
    int64_t size = plain->size(p->io, p->handle);
    if (size < 0)
        return net_err_from_errno((int)-size);
    size_t len = (size_t)size;
    uint8_t *bytes = malloc(len + 1);
    p->found = calloc(len / INTENT_SIZE + 1, sizeof *p->found);
    ssize_t n = bytes && p->found ? plain->read(p->io, p->handle, bytes, len, 0) : -ENOMEM;
    if (n >= 0)
        find_intents(p, bytes, (size_t)n);
    free(bytes);
    p->file_len = len;
    p->rewrite_len = producers_rewrite_len(len / 2);
    return n < 0 ? net_err_from_errno((int)-n) : NET_OK;
}

int producers_open(struct producers **out, struct io *io, const struct producers_options *o)
{
    struct producers *p = calloc(1, sizeof *p);
    *out = NULL;
    if (!p)
        return NET_ERR_NO_MEMORY;
    assert(o->max > 0 && o->dirty && o->timers && o->syncs && o->stats && o->progress);
    p->io = io;
    p->max = o->max;
    p->age_ns = o->age_ns;
    p->strict = o->root != NULL;
    p->dirty = o->dirty;
    p->timers = o->timers;
    p->syncs = o->syncs;
    p->stats = o->stats;
    p->progress = o->progress;
    p->ctx = o->ctx;
    p->handle = p->fresh = p->dir = IO_NO_HANDLE;
    p->next_number = p->stored = p->synced = 1;
    p->sync_request.start = producers_on_sync_place;
    io->plain->boot_id(io, p->boot);
    uint64_t map_seed;
    io_random(io, &p->seed, sizeof p->seed);
    io_random(io, &map_seed, sizeof map_seed);
    map_init(&p->by_key, map_seed);
    list_init(&p->by_use);
    list_init(&p->link);
    list_init(&p->sync_request.link);
    timer_init(&p->timer, producers_on_timer);
    int err = o->root ? set_paths(p, o->root) : NET_OK;
    if (err == NET_OK && o->root)
        err = read_file(p);
    if (err == NET_OK)
        *out = p;
    else
        producers_free(p);
    return err;
}

/* ---- which came true ---- */

static struct redex_range range_of(const struct intent *in)
{
    return (struct redex_range){in->first_seq, in->first_seq + in->append.count};
}

/* All events below were there at some time. What was only written a power cut may have taken since: the boot tells, and
 * not the log, which has noted a new one when an open that failed began to recover it. */
static uint64_t settled(const struct producers *p)
{
    static const uint8_t unknown[PRODUCERS_ID_SIZE];
    bool known = memcmp(p->boot, unknown, sizeof unknown) != 0;
    uint64_t end = 0;
    for (size_t i = 0; i < p->found_count; i++) {
        const struct intent *in = &p->found[i];
        bool same_boot = known && memcmp(in->append.id, p->boot, sizeof p->boot) == 0;
        uint64_t says = same_boot ? in->first_seq : in->append.sequence;
        if (in->kind == INTENT_MARK && says > end)
            end = says;
    }
    return end;
}

/* It, or a later one of its producer. */
static bool is_from_on(const struct intent *in, const struct intent *first)
{
    return in->kind == INTENT_APPEND && in->append.sequence >= first->append.sequence &&
           memcmp(in->append.id, first->append.id, PRODUCERS_ID_SIZE) == 0;
}

static void disbelieve(struct producers *p, size_t i)
{
    const struct intent *first = &p->found[i];
    for (; i < p->found_count; i++)
        if (is_from_on(&p->found[i], first))
            p->found[i].untrue = true;
}

/* Those before the first event in the files. What an open left out of them looks the same, but then nothing of a later
 * append of that producer is there. */
static bool was_given_up(struct producers *p, const struct redex_found *found, size_t i)
{
    const struct intent *first = &p->found[i];
    bool later = false;
    for (size_t k = i; k < p->found_count && !later; k++)
        later = is_from_on(&p->found[k], first) && redex_found_count(found, range_of(&p->found[k])) > 0;
    for (size_t k = i; k < p->found_count && later; k++)
        if (is_from_on(&p->found[k], first))
            p->found[k].given_up = range_of(&p->found[k]).end <= found->first;
    return later;
}

static bool came_true(struct producers *p, const struct redex_found *found, size_t i)
{
    struct redex_range range = range_of(&p->found[i]);
    if (p->found[i].given_up)
        return true;
    if (range.from < range.end && range.end <= found->first)
        return was_given_up(p, found, i);
    uint64_t from = range.from < found->first && found->first < range.end ? found->first : range.from;
    return redex_found_count(found, range) >= range.end - from;
}

bool producers_torn(void *ctx, const struct redex_found *found, struct redex_range *out)
{
    struct producers *p = ctx;
    uint64_t end = settled(p);
    p->file_spoiled = p->file_spoiled || p->found_count > 0; /* the log was not closed: say anew what is true */
    for (; p->torn_next < p->found_count; p->torn_next++) {
        const struct intent *in = &p->found[p->torn_next];
        struct redex_range range = range_of(in);
        if (in->kind != INTENT_APPEND || (range.end <= end && !in->untrue))
            continue;
        if (!in->untrue && !came_true(p, found, p->torn_next))
            disbelieve(p, p->torn_next);
        if (in->untrue && redex_found_count(found, range) > 0) {
            *out = range;
            return true;
        }
    }
    return false;
}

/* ---- what is remembered ---- */

/* NET_OK also for what is not taken. */
static int adopt(struct producers *p, const struct intent *in)
{
    struct producer *pr = producers_find(p, in->append.id);
    uint64_t sequence = in->append.sequence, wall = io_wall(p->io);
    /* An append of nothing has no events to tell: it is true if the ones before it are. */
    bool astray = pr && sequence > pr->next && in->append.count == 0;
    if (in->untrue || astray || (p->age_ns && wall > p->age_ns && in->wall_ns < wall - p->age_ns)) {
        p->file_spoiled = true;
        return NET_OK;
    }
    if (pr && sequence < pr->next) { /* it was written again, after a failure; or is older than what is remembered */
        p->file_spoiled = p->file_spoiled || pr->next - sequence > pr->kept;
        return NET_OK;
    }
    int err = NET_OK;
    if (!pr) {
        pr = producer_create();
        err = pr ? producers_enter(p, pr, in->append.id, sequence) : NET_ERR_NO_MEMORY;
        if (err != NET_OK) {
            producer_free(pr);
            return err;
        }
    } else if (sequence > pr->next) { /* intents between are lost: they are too old now, and those before */
        p->file_spoiled = true;
        pr->kept = 0;
        pr->next = sequence;
    }
    err = producers_reserve_answer(pr);
    if (err == NET_OK)
        producer_remember(p, pr, in, 0);
    return err;
}

static int write_new(struct producers *p, const uint8_t *image, size_t len)
{
    const struct io_plain *plain = p->io->plain;
    int err = plain->open(p->io, p->path_new, O_RDWR | O_CREAT | O_TRUNC, 0600, &p->fresh);
    if (err < 0) {
        p->fresh = IO_NO_HANDLE;
        return err;
    }
    err = plain->write(p->io, p->fresh, image, len, 0);
    if (err >= 0)
        err = plain->sync(p->io, p->fresh);
    if (err >= 0)
        err = plain->rename(p->io, p->path_new, p->path);
    return err < 0 ? err : plain->sync_dir(p->io, p->root);
}

static int rewrite(struct producers *p)
{
    size_t len;
    uint8_t *image = producers_image(p, &len);
    int err = image ? write_new(p, image, len) : -ENOMEM;
    free(image);
    if (err < 0)
        return net_err_from_errno(-err);
    p->io->plain->close(p->io, p->handle);
    p->handle = p->fresh;
    p->fresh = IO_NO_HANDLE;
    p->file_len = len;
    p->rewrite_len = producers_rewrite_len(len);
    return NET_OK;
}

int producers_begin(struct producers *p, struct redex *redex)
{
    int err = NET_OK;
    p->redex = p->root ? redex : NULL;
    for (size_t i = 0; i < p->found_count && err == NET_OK; i++)
        if (p->found[i].kind == INTENT_APPEND)
            err = adopt(p, &p->found[i]);
    free(p->found);
    p->found = NULL;
    if (err != NET_OK)
        return err;
    producers_set_limits(p, p->max, p->age_ns);
    if (p->file_spoiled)
        return rewrite(p);
    if (p->redex && p->handle != IO_NO_HANDLE) { /* all of it is true: a mark shall say so */
        p->synced = 0;                           /* but a close that failed may not have synced it */
        p->last_end = redex_next_seq(p->redex);
        producers_mark_dirty(p);
    }
    return NET_OK;
}
