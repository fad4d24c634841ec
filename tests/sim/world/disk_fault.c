/* What fails: by order of the test, and by the age of what nobody has written for long. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world/disk.h"

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

/* ---- by age ---- */

/* Stable files whose name ends in the suffix. */
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

static struct inode *draw_cold(struct disk *d, struct rng *rng, const char *suffix)
{
    struct cold cold = {.count = 0};
    find_cold(d->inodes[0], suffix, &cold);
    return cold.count > 0 ? cold.all[rng_below(rng, cold.count)] : NULL;
}

unsigned disk_rot(struct disk *d, struct rng *rng, const char *suffix, unsigned bits)
{
    for (unsigned n = 0; n < bits; n++) {
        struct inode *i = draw_cold(d, rng, suffix);
        if (!i)
            return n;
        size_t at = (size_t)rng_below(rng, i->stable.len);
        uint8_t bit = (uint8_t)(1u << rng_below(rng, 8));
        i->stable.data[at] ^= bit;
        i->now.data[at] ^= bit; /* the page was dropped long ago */
    }
    return bits;
}

unsigned disk_bad_sectors(struct disk *d, struct rng *rng, const char *suffix, unsigned sectors)
{
    for (unsigned n = 0; n < sectors; n++) {
        struct inode *i = draw_cold(d, rng, suffix);
        if (!i)
            return n;
        i->bad = realloc(i->bad, (i->bad_count + 1) * sizeof *i->bad);
        assert(i->bad);
        i->bad[i->bad_count++] = rng_below(rng, i->stable.len) / SIM_SECTOR;
    }
    return sectors;
}

static bool covers(uint64_t offset, size_t len, uint64_t sector)
{
    return len > 0 && offset / SIM_SECTOR <= sector && sector <= (offset + len - 1) / SIM_SECTOR;
}

bool disk_is_bad(const struct inode *i, uint64_t offset, size_t len)
{
    for (size_t n = 0; n < i->bad_count; n++) {
        if (covers(offset, len, i->bad[n]))
            return true;
    }
    return false;
}

void disk_remap(struct inode *i, uint64_t offset, size_t len)
{
    size_t kept = 0;
    for (size_t n = 0; n < i->bad_count; n++) {
        if (!covers(offset, len, i->bad[n]))
            i->bad[kept++] = i->bad[n];
    }
    i->bad_count = kept;
}
