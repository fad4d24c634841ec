/* How a log begins: directories, lock, reservation, generation, files into memory, scan, repair. redex.md 7 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/channel/channel.h"
#include "storage/redex/redex_internal.h"

enum { DEFAULT_MAX_DIRTY = 64 << 20, DEFAULT_MIN_DEAD = 1 << 20, HEADROOM = 1 << 20 };
/* No record can point further (32-bit offset and length). */
#define DAT_LIMIT (UINT64_C(1) << 33)

static int reserve_part(struct redex *r, enum redex_part part, uint64_t found)
{
    size_t want = (size_t)redex_part_space(r, part);
    int err = redex_memory_reserve(&r->file[part].memory, want, (size_t)found + HEADROOM);
    return err == NET_OK ? redex_memory_commit(&r->file[part].memory, found) : err;
}

static int reserve_memory(struct redex *r, const uint64_t found[PARTS])
{
    int err = reserve_part(r, PART_DAT, found[PART_DAT]);
    if (err == NET_OK)
        err = reserve_part(r, PART_IDX, found[PART_IDX]);
    if (err == NET_OK)
        err = reserve_part(r, PART_TS, found[PART_IDX] / RECORD_SIZE * STAMP_SIZE);
    return err;
}

static bool retains(const struct redex_policy *p)
{
    return p->retain_events > 0 || p->retain_bytes > 0 || p->retain_age_ns > 0;
}

static void on_turn_timer(struct timer *t, uint64_t now_ns)
{
    (void)now_ns;
    redex_mark_dirty(container_of(t, struct redex, turn_timer));
}

static struct redex *create(struct io *io, const struct redex_options *o)
{
    struct redex *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->io = io;
    r->mode = o->mode;
    r->max_dirty = o->max_dirty ? o->max_dirty : DEFAULT_MAX_DIRTY;
    r->max_bytes = o->max_bytes && o->max_bytes < REDEX_MAX_BYTES ? o->max_bytes : REDEX_MAX_BYTES;
    r->min_dead = o->min_dead ? o->min_dead : DEFAULT_MIN_DEAD;
    r->dat_limit = r->max_bytes + r->max_bytes / 3 < UINT32_MAX ? r->max_bytes + r->max_bytes / 3 : UINT32_MAX;
    r->patient = o->patient;
    r->mirror = o->mirror;
    r->ascending = true;
    r->hold = UINT64_MAX;
    r->policy = o->policy;
    r->retains = retains(&o->policy);
    assert(o->dirty && o->timers && o->syncs && o->stats);
    r->dirty = o->dirty;
    r->timers = o->timers;
    r->sync_places = o->syncs;
    r->stats = o->stats;
    timer_init(&r->sync_timer, redex_on_sync_timer);
    timer_init(&r->turn_timer, on_turn_timer);
    r->sync_request.start = redex_on_sync_place;
    list_init(&r->sync_request.link);
    r->progress = o->progress;
    r->ctx = o->ctx;
    r->lock = r->reservation.handle = IO_NO_HANDLE;
    list_init(&r->link);
    for (int i = 0; i < PARTS; i++) {
        r->file[i].log = r;
        r->file[i].handle = IO_NO_HANDLE;
    }
    return r;
}

/* Gap G2: a name that would lie inside another log's layout is refused. */
static int set_paths(struct redex *r, const struct redex_options *o)
{
    struct channel_name name;
    size_t room = strlen(o->base) + strlen(o->name) + sizeof "/~4294967295";
    if (channel_name_parse(o->name, strlen(o->name), &name) != CHANNEL_NAME_OK || !channel_name_storable(&name))
        return NET_ERR_INVALID;
    r->base = strdup(o->base);
    r->root = malloc(room);
    if (!r->base || !r->root)
        return NET_ERR_NO_MEMORY;
    if (o->number)
        snprintf(r->root, room, "%s/%s~%u", o->base, o->name, o->number);
    else
        snprintf(r->root, room, "%s/%s", o->base, o->name);
    return NET_OK;
}

/* Gap G6. The lock goes with the handle, so a killed process leaves none behind. */
static int take_lock(struct redex *r)
{
    struct redex_path path;
    if (!redex_path(&path, r, 0, "lock~"))
        return NET_ERR_INVALID;
    int err = r->io->plain->open(r->io, path.text, O_RDWR | O_CREAT, 0600, &r->lock);
    if (err < 0) {
        r->lock = IO_NO_HANDLE;
        return net_err_from_errno(-err);
    }
    err = r->io->plain->lock(r->io, r->lock);
    return err == -EWOULDBLOCK ? NET_ERR_BUSY : err < 0 ? net_err_from_errno(-err) : NET_OK;
}

static int load_part(struct redex *r, enum redex_part part, uint64_t len)
{
    ssize_t n = r->io->plain->read(r->io, r->file[part].handle, r->file[part].memory.base, (size_t)len, 0);
    return n < 0 ? net_err_from_errno((int)-n) : (uint64_t)n == len ? NET_OK : NET_ERR_IO;
}

static int load(struct redex *r, uint64_t len[PARTS])
{
    for (int i = 0; i < PARTS; i++) {
        int64_t size = r->io->plain->size(r->io, r->file[i].handle);
        if (size < 0)
            return net_err_from_errno((int)-size);
        len[i] = (uint64_t)size;
    }
    if (len[PART_DAT] > DAT_LIMIT || len[PART_IDX] > REDEX_MAX_RECORDS * RECORD_SIZE)
        return NET_ERR_TOO_LARGE;
    int err = reserve_memory(r, len);
    uint64_t stamps = len[PART_IDX] / RECORD_SIZE * STAMP_SIZE;
    if (err == NET_OK)
        err = load_part(r, PART_DAT, len[PART_DAT]);
    if (err == NET_OK)
        err = load_part(r, PART_IDX, len[PART_IDX]);
    return err == NET_OK ? load_part(r, PART_TS, len[PART_TS] < stamps ? len[PART_TS] : stamps) : err;
}

/* The names of all files on stable storage (gap G5). The reservation is written last: once there is one, this was done.
 */
static int sync_names(struct redex *r, const struct redex_seq_state *state, size_t created_from)
{
    struct redex_path path;
    if (!redex_path(&path, r, r->generation, ""))
        return NET_ERR_INVALID;
    int err = r->io->plain->sync_dir(r->io, path.text);
    if (err < 0)
        return net_err_from_errno(-err);
    return state->known && created_from == SIZE_MAX ? NET_OK : redex_layout_sync(r, created_from);
}

/* The scan has closed up the records in memory; the rest of the log follows from them. */
static void adopt(struct redex *r, const struct redex_scan *scan)
{
    uint64_t end = 0; /* of the last payload */
    r->count = scan->kept;
    r->damaged = scan->dropped;
    r->file[PART_DAT].len = scan->dat_end;
    r->file[PART_IDX].len = scan->kept * RECORD_SIZE;
    r->file[PART_TS].len = scan->kept * STAMP_SIZE;
    for (uint64_t i = 0; i < r->count; i++) {
        struct record rec = record_load(r->file[PART_IDX].memory.base + i * RECORD_SIZE);
        r->payload_bytes += record_payload_len(rec);
        if (record_is_inline(rec))
            continue;
        r->ascending = r->ascending && rec.offset >= end;
        r->heap_bytes += rec.len;
        end = (uint64_t)rec.offset + rec.len;
    }
    for (int i = 0; i < PARTS; i++)
        r->file[i].written = r->file[i].synced = r->file[i].len;
    r->written_seq = r->synced_seq = r->triggered_seq = r->next_seq;
}

static void fill_report(const struct redex *r, const struct redex_scan *scan, const struct redex_seq_state *state,
                        const uint64_t len[PARTS], bool migrated, struct redex_report *out)
{
    uint64_t used = scan->last > state->next_seq ? scan->last : state->next_seq;
    *out = (struct redex_report){
        .events = r->count,
        .first_seq = redex_first_seq(r),
        .next_seq = r->next_seq,
        .dropped_events = scan->dropped,
        .repaired_fields = scan->repaired,
        .trimmed_bytes = len[PART_DAT] - scan->dat_end,
        .torn = len[PART_IDX] % RECORD_SIZE != 0 || len[PART_DAT] != scan->dat_end ||
                len[PART_TS] != scan->records * STAMP_SIZE,
        .timestamps_lost = scan->stamps_lost,
        .migrated = migrated,
        .unclean = !r->mirror && r->next_seq > used,
    };
}

/* The log's name, of which `known` says that it stands in the channel root. */
static int open_identity(struct redex *r, const struct redex_options *o, bool *known)
{
    int err = redex_identity_read(r, known);
    if (err != NET_OK)
        return err;
    if (r->mirror && *known != !o->id)
        return *known ? NET_ERR_EXISTS : NET_ERR_NOT_FOUND;
    if (!*known && o->id)
        memcpy(r->id, o->id, sizeof r->id);
    else if (!*known)
        io_random(r->io, r->id, sizeof r->id);
    return NET_OK;
}

static int open_memory(struct redex *r, const struct redex_options *o)
{
    if (r->mirror && !o->id)
        return NET_ERR_NOT_FOUND;
    if (o->id)
        memcpy(r->id, o->id, sizeof r->id);
    else
        io_random(r->io, r->id, sizeof r->id);
    if (r->mirror)
        r->next_seq = r->written_seq = r->synced_seq = o->start;
    return NET_OK;
}

/* Where the log goes on. A mirror that is made finds at most what an attempt before left, which has no events. */
static int settle_next(struct redex *r, const struct redex_options *o, bool named, const struct redex_seq_state *state,
                       const struct redex_scan *scan)
{
    if (r->mirror && !named && scan->records > 0)
        return NET_ERR_EXISTS;
    r->next_seq = !r->mirror ? redex_reservation_next(state, scan->last)
                  : named    ? redex_mirror_next(state, scan->end)
                             : o->start;
    return NET_OK;
}

/* What the owner says came only in part. */
static void leave_out(struct redex *r, const struct redex_options *o, const struct redex_seq_state *state,
                      struct redex_scan *scan)
{
    struct redex_found found = {.idx = r->file[PART_IDX].memory.base};
    struct redex_range range;
    if (!o->torn || (state->known && state->clean))
        return;
    if (scan->front)
        found.first = record_load(found.idx).seq;
    for (found.records = scan->kept; o->torn(o->torn_ctx, &found, &range); found.records = scan->kept)
        redex_scan_exclude(r, scan, range);
}

/* Everything up to the scan only reads and creates; what it found is reserved before anything is cut. */
static int open_disk(struct redex *r, const struct redex_options *o, struct redex_report *report)
{
    struct redex_seq_state state;
    struct redex_scan scan;
    uint64_t len[PARTS] = {0};
    size_t created_from = 0;
    bool migrated = false, by_manifest = false, named = false;

    int err = open_identity(r, o, &named);
    if (err == NET_OK)
        err = redex_layout_make(r, &created_from);
    if (err == NET_OK)
        err = take_lock(r);
    if (err == NET_OK)
        err = redex_reservation_open(r, &state);
    if (err == NET_OK)
        err = redex_generation_find(r, &migrated, &by_manifest);
    if (err == NET_OK)
        err = redex_generation_open(r, 0);
    if (err == NET_OK)
        err = load(r, len);
    if (err != NET_OK)
        return err;
    redex_scan(r, len[PART_IDX], len[PART_DAT], len[PART_TS], io_wall(r->io), &state, &scan);
    leave_out(r, o, &state, &scan);
    scan.unsure = state.known && state.sync_failed && state.same_boot;
    err = settle_next(r, o, named, &state, &scan);
    if (err != NET_OK)
        return err;
    adopt(r, &scan);
    err = sync_names(r, &state, created_from);
    if (err == NET_OK && !r->mirror)
        err = redex_reservation_begin(r, &state, scan.end);
    if (err == NET_OK)
        err = redex_repair(r, &scan, &state, len);
    if (err == NET_OK && r->mirror) /* it says that all there is is synced */
        err = redex_reservation_begin(r, &state, scan.end);
    if (err == NET_OK && !by_manifest && !scan.moved && !scan.unsure)
        err = redex_manifest_write(r, r->generation);
    if (err == NET_OK && !named) /* last: what has a name is complete */
        err = redex_identity_write(r);
    /* The manifest names what we go on with, but does it on stable storage? Its rename may be ours, or of a process
     * that was killed before it came to this. If a power cut took it back once more was written, the old generation
     * would win. */
    if (err == NET_OK)
        err = redex_root_sync(r);
    if (err == NET_OK && state.sync_failed)
        err = redex_reservation_trust(r);
    if (err != NET_OK)
        return err;
    redex_generation_sweep(r, by_manifest);
    redex_retain_all(r); /* what was given up before is in the files still */
    if (redex_compaction_due(r))
        redex_mark_dirty(r);
    fill_report(r, &scan, &state, len, migrated, report);
    return NET_OK;
}

int redex_open(struct redex **out, struct io *io, const struct redex_options *options, struct redex_report *report)
{
    static const uint64_t nothing[PARTS];
    struct redex_report ignored;
    struct redex *r = create(io, options);

    if (!report)
        report = &ignored;
    *out = NULL;
    *report = (struct redex_report){0};
    if (!r)
        return NET_ERR_NO_MEMORY;
    int err = options->mode == REDEX_MEMORY ? reserve_memory(r, nothing) : set_paths(r, options);
    if (err == NET_OK && options->mode == REDEX_DISK)
        err = open_disk(r, options, report);
    else if (err == NET_OK)
        err = open_memory(r, options);
    if (err != NET_OK) {
        redex_free(r);
        return err;
    }
    *out = r;
    return NET_OK;
}

void redex_set_policy(struct redex *r, const struct redex_policy *p)
{
    r->policy = *p;
    r->retains = retains(p);
    redex_mark_dirty(r); /* its next turn retains */
    timer_cancel(r->timers, &r->sync_timer);
    if (r->mode == REDEX_DISK)
        redex_sync_by_policy(r); /* of what is written already */
}
