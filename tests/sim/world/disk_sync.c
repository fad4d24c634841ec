/* What becomes stable, what a crash leaves, and what fails by order. */
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

void disk_sync(struct disk *d, struct inode *i, uint64_t horizon)
{
    if (i->is_dir) {
        if (d->settings.names == SIM_NAMES_EXT4)
            disk_commit_names(d);
        else
            disk_sync_names(d, i);
        return;
    }
    size_t kept = 0;
    for (size_t n = 0; n < i->write_count; n++) {
        struct unsynced w = i->writes[n];
        if (w.number < horizon && !w.forgotten) {
            apply(i, &w, w.len);
            free(w.data);
        } else {
            i->writes[kept++] = w;
        }
    }
    i->write_count = kept;
}

void disk_journal(struct disk *d)
{
    if (d->settings.names == SIM_NAMES_EXT4)
        disk_commit_names(d);
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

static void crash_file(struct inode *i, struct rng *rng, uint32_t keep, uint32_t tear)
{
    for (size_t n = 0; n < i->write_count; n++) {
        struct unsynced *w = &i->writes[n];
        if (rng_chance(rng, keep))
            apply(i, w, w->len);
        else if (w->data && rng_chance(rng, tear))
            apply(i, w, torn_len(w, rng));
        free(w->data);
    }
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
    uint32_t keep = d->settings.crash_keep, tear = d->settings.crash_tear;
    if (keep == SIM_DRAWN) /* some crashes take all, some nothing */
        keep = (uint32_t)rng_below(rng, 5) * (SIM_ALWAYS / 4);
    if (tear == SIM_DRAWN)
        tear = SIM_ALWAYS / 2;
    bool names_first = d->settings.names == SIM_NAMES_EXT4; /* they may bring data along */
    if (names_first)
        disk_crash_names(d, rng, keep);
    for (size_t n = 0; n < d->inode_count; n++) {
        assert(d->inodes[n]->handles == 0);
        crash_file(d->inodes[n], rng, keep, tear);
    }
    if (!names_first)
        disk_crash_names(d, rng, keep);
    sweep(d);
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t a = strlen(text), b = strlen(suffix);
    return a >= b && strcmp(text + a - b, suffix) == 0;
}

int disk_fault(struct disk *d, enum io_kind kind, const char *path)
{
    for (size_t n = 0; n < d->fault_count; n++) {
        struct sim_fault *f = &d->faults[n];
        if ((f->kinds && !(f->kinds & 1u << kind)) || (f->suffix && !ends_with(path, f->suffix)) || f->times == 0)
            continue;
        if (f->after > 0) {
            f->after--;
            continue;
        }
        if (f->times != UINT32_MAX)
            f->times--;
        return -f->error;
    }
    return 0;
}

/* Walks the tree; stable files whose path ends in the suffix go to `all`. */
struct cold {
    struct inode *all[256];
    size_t count;
};

static void find_cold(struct inode *dir, const char *suffix, struct cold *c)
{
    for (size_t n = 0; n < dir->names.count; n++) {
        struct inode *i = dir->names.all[n].inode;
        if (i->is_dir)
            find_cold(i, suffix, c);
        else if (i->write_count == 0 && i->stable.len > 0 && c->count < 256 &&
                 (!suffix || ends_with(dir->names.all[n].text, suffix)))
            c->all[c->count++] = i;
    }
}

unsigned disk_rot(struct disk *d, struct rng *rng, const char *suffix, unsigned bits)
{
    struct cold cold = {.count = 0};
    find_cold(d->inodes[0], suffix, &cold);
    for (unsigned n = 0; n < bits && cold.count > 0; n++) {
        struct inode *i = cold.all[rng_below(rng, cold.count)];
        size_t at = (size_t)rng_below(rng, i->stable.len);
        uint8_t bit = (uint8_t)(1u << rng_below(rng, 8));
        i->stable.data[at] ^= bit;
        i->now.data[at] ^= bit; /* the page was dropped long ago */
    }
    return cold.count > 0 ? bits : 0;
}
