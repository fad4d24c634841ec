/* What becomes stable, and what a crash leaves. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world/disk.h"

static void apply(struct inode *i, const struct unsynced *w, size_t len)
{
    if (w->data)
        bytes_write(&i->stable, w->offset, w->data, len);
    else
        bytes_resize(&i->stable, (size_t)w->offset);
}

void disk_sync_writes(struct inode *i, uint64_t horizon)
{
    size_t kept = 0;
    for (size_t n = 0; n < i->write_count; n++) {
        struct unsynced w = i->writes[n];
        if (w.number >= horizon) {
            i->writes[kept++] = w;
            continue;
        }
        if (!w.forgotten) /* else it had its chance: it must not come to lie over what is written later */
            apply(i, &w, w.len);
        free(w.data);
    }
    i->write_count = kept;
}

/* ext4 waits for the transaction that concerns the file: where its size changes that is the one that runs. */
void disk_sync(struct disk *d, struct inode *i, uint64_t horizon)
{
    size_t len = i->stable.len;
    if (!i->is_dir)
        disk_sync_writes(i, horizon);
    if (d->settings.names == SIM_NAMES_EXT4)
        disk_commit_names(d, i, horizon, i->stable.len != len);
    else if (i->is_dir)
        disk_sync_names(d, i, horizon);
}

void disk_sync_failed(struct inode *i, uint64_t horizon)
{
    for (size_t n = 0; n < i->write_count; n++) {
        if (i->writes[n].number < horizon)
            i->writes[n].forgotten = true;
    }
}

/* How much of a write arrives that is torn: up to a sector boundary strictly inside, or nothing. */
static size_t torn_len(const struct unsynced *w, struct rng *rng)
{
    if (w->len == 0)
        return 0;
    uint64_t first = w->offset / SIM_SECTOR + 1, last = (w->offset + w->len - 1) / SIM_SECTOR;
    if (first > last)
        return 0;
    return (size_t)(rng_between(rng, first, last) * SIM_SECTOR - w->offset);
}

/* What a crash does to what is not stable: of `struct sim_disk_settings`, drawn where that says so. */
struct losses {
    uint32_t keep, tear, zeros;
};

/* How much of each write arrives by itself, from its beginning; of a truncation: 0 or 1. */
static void draw_arrivals(struct inode *i, struct rng *rng, const struct losses *l)
{
    for (size_t n = 0; n < i->write_count; n++) {
        struct unsynced *w = &i->writes[n];
        size_t whole = w->data ? w->len : 1;
        w->arrives = rng_chance(rng, l->keep) ? whole : w->data && rng_chance(rng, l->tear) ? torn_len(w, rng) : 0;
    }
}

/* A sector goes to the disk as the page cache has it: with what was written to it before. */
static void bring_along(struct inode *i, size_t n)
{
    const struct unsynced *w = &i->writes[n];
    for (size_t m = n + 1; m < i->write_count; m++) {
        const struct unsynced *later = &i->writes[m];
        if (!later->data || later->arrives == 0)
            continue;
        uint64_t from = later->offset / SIM_SECTOR * SIM_SECTOR;
        uint64_t to = (later->offset + later->arrives + SIM_SECTOR - 1) / SIM_SECTOR * SIM_SECTOR;
        if (from < w->offset)
            from = w->offset;
        if (to > w->offset + w->len)
            to = w->offset + w->len;
        if (from < to)
            bytes_write(&i->stable, from, w->data + (from - w->offset), (size_t)(to - from));
    }
}

static void crash_file(struct inode *i, struct rng *rng, const struct losses *l)
{
    draw_arrivals(i, rng, l);
    for (size_t n = 0; n < i->write_count; n++) {
        const struct unsynced *w = &i->writes[n];
        if (w->arrives)
            apply(i, w, w->arrives);
        if (w->data)
            bring_along(i, n);
        bool all = w->arrives == (w->data ? w->len : 1);
        if (!all && w->offset + w->len > i->stable.len && rng_chance(rng, l->zeros))
            bytes_resize(&i->stable, (size_t)(w->offset + w->len));
    }
    for (size_t n = 0; n < i->write_count; n++)
        free(i->writes[n].data);
    i->write_count = 0;
    bytes_copy(&i->now, &i->stable);
}

static void mark(struct inode *i)
{
    i->marked = true;
    for (size_t n = 0; n < i->names.count; n++) {
        if (!i->names.all[n].inode->marked)
            mark(i->names.all[n].inode);
    }
}

void disk_mark(const struct disk *d)
{
    mark(d->inodes[0]);
}

/* Frees what no name leads to any more. */
static void sweep(struct disk *d)
{
    size_t kept = 0;
    disk_mark(d);
    for (size_t n = 0; n < d->inode_count; n++) {
        struct inode *i = d->inodes[n];
        if (i->marked) {
            i->marked = false;
            d->inodes[kept++] = i;
        } else {
            disk_free_inode(i);
        }
    }
    d->inode_count = kept;
}

void disk_crash(struct disk *d, struct rng *rng)
{
    struct losses l = {d->settings.crash_keep, d->settings.crash_tear, d->settings.crash_zeros};
    if (l.keep == SIM_DRAWN) /* some crashes take all, some nothing */
        l.keep = (uint32_t)rng_below(rng, 5) * (SIM_ALWAYS / 4);
    if (l.tear == SIM_DRAWN)
        l.tear = SIM_ALWAYS / 2;
    bool names_first = d->settings.names == SIM_NAMES_EXT4; /* they may bring data along */
    if (names_first)
        disk_crash_names(d, rng, l.keep);
    for (size_t n = 0; n < d->inode_count; n++) {
        assert(d->inodes[n]->handles == 0);
        crash_file(d->inodes[n], rng, &l);
    }
    if (!names_first)
        disk_crash_names(d, rng, l.keep);
    sweep(d);
}
