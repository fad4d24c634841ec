/* Directories: sorted names, and the changes to them that are not stable yet. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world/disk.h"

/* Where the name is, or belongs. */
static size_t place_of(const struct names *n, const char *text, size_t len, bool *found)
{
    size_t low = 0, high = n->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strncmp(n->all[middle].text, text, len);
        if (order == 0)
            order = n->all[middle].text[len] != 0;
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

struct inode *names_find(const struct names *n, const char *text, size_t len)
{
    bool found;
    size_t place = place_of(n, text, len, &found);
    return found ? n->all[place].inode : NULL;
}

void names_set(struct names *n, const char *text, struct inode *inode)
{
    bool found;
    size_t place = place_of(n, text, strlen(text), &found);
    if (found) {
        n->all[place].inode = inode;
        return;
    }
    if (n->count == n->room) {
        n->room = n->room ? n->room * 2 : 8;
        n->all = realloc(n->all, n->room * sizeof *n->all);
        assert(n->all);
    }
    memmove(n->all + place + 1, n->all + place, (n->count - place) * sizeof *n->all);
    n->all[place] = (struct name){strdup(text), inode};
    assert(n->all[place].text);
    n->count++;
}

void names_erase(struct names *n, const char *text)
{
    bool found;
    size_t place = place_of(n, text, strlen(text), &found);
    if (!found)
        return;
    free(n->all[place].text);
    n->count--;
    memmove(n->all + place, n->all + place + 1, (n->count - place) * sizeof *n->all);
}

void names_copy(struct names *to, const struct names *from)
{
    names_deinit(to);
    for (size_t i = 0; i < from->count; i++)
        names_set(to, from->all[i].text, from->all[i].inode);
}

void names_deinit(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->all[i].text);
    free(n->all);
    *n = (struct names){0};
}

static void apply(const struct name_change *c, bool stable)
{
    if (c->add_dir)
        names_set(stable ? &c->add_dir->stable_names : &c->add_dir->names, c->add_name, c->target);
    if (!c->remove_dir)
        return;
    struct names *from = stable ? &c->remove_dir->stable_names : &c->remove_dir->names;
    /* On stable storage the name may never have arrived, or be another file's by now. */
    if (names_find(from, c->remove_name, strlen(c->remove_name)) == c->target)
        names_erase(from, c->remove_name);
}

static void change_deinit(struct name_change *c)
{
    free(c->add_name);
    free(c->remove_name);
}

void disk_change_names(struct disk *d, const struct name_change *change)
{
    struct name_change c = *change;
    c.number = d->number++;
    apply(&c, false);
    if (d->settings.names_durable) {
        apply(&c, true);
        return;
    }
    c.add_name = c.add_dir ? strdup(c.add_name) : NULL;
    c.remove_name = c.remove_dir ? strdup(c.remove_name) : NULL;
    if (d->change_count == d->change_room) {
        d->change_room = d->change_room ? d->change_room * 2 : 16;
        d->changes = realloc(d->changes, d->change_room * sizeof *d->changes);
        assert(d->changes);
    }
    d->changes[d->change_count++] = c;
}

static bool same_name(const struct inode *a_dir, const char *a, const struct inode *b_dir, const char *b)
{
    return a_dir && a_dir == b_dir && strcmp(a, b) == 0;
}

static bool share_a_name(const struct name_change *a, const struct name_change *b)
{
    return same_name(a->add_dir, a->add_name, b->add_dir, b->add_name) ||
           same_name(a->add_dir, a->add_name, b->remove_dir, b->remove_name) ||
           same_name(a->remove_dir, a->remove_name, b->add_dir, b->add_name) ||
           same_name(a->remove_dir, a->remove_name, b->remove_dir, b->remove_name);
}

/* The first `count` changes become stable, in order: a journal. */
static void commit_first(struct disk *d, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct name_change *c = &d->changes[i];
        if (c->brings_data)
            disk_sync_writes(c->target, c->number);
        apply(c, true);
        change_deinit(c);
    }
    d->change_count -= count;
    memmove(d->changes, d->changes + count, d->change_count * sizeof *d->changes);
}

static bool concerns(const struct name_change *c, const struct inode *i)
{
    return c->target == i || c->add_dir == i || c->remove_dir == i;
}

void disk_commit_names(struct disk *d, const struct inode *inode, uint64_t horizon, bool all)
{
    size_t count = 0;
    for (size_t i = 0; i < d->change_count && d->changes[i].number < horizon; i++) {
        if (all || concerns(&d->changes[i], inode))
            count = i + 1;
    }
    commit_first(d, count);
}

/* A rename between directories is one change, so with it goes what came before it under either name, lest a name that
 * is gone come back. */
void disk_sync_names(struct disk *d, const struct inode *dir, uint64_t horizon)
{
    size_t count = d->change_count, kept = 0;
    bool *chosen = calloc(count + 1, sizeof *chosen);
    assert(chosen);
    for (size_t i = count; i-- > 0;) {
        const struct name_change *c = &d->changes[i];
        chosen[i] = c->number < horizon && (c->add_dir == dir || c->remove_dir == dir);
        for (size_t j = i + 1; j < count && !chosen[i]; j++)
            chosen[i] = chosen[j] && share_a_name(&d->changes[i], &d->changes[j]);
    }
    for (size_t i = 0; i < count; i++) {
        if (chosen[i]) {
            apply(&d->changes[i], true);
            change_deinit(&d->changes[i]);
        } else {
            d->changes[kept++] = d->changes[i];
        }
    }
    d->change_count = kept;
    free(chosen);
}

void disk_crash_names(struct disk *d, struct rng *rng, uint32_t keep)
{
    if (d->settings.names == SIM_NAMES_EXT4 && d->change_count > 0)
        commit_first(d, keep == SIM_ALWAYS ? d->change_count : keep ? rng_below(rng, d->change_count + 1) : 0);
    for (size_t i = 0; i < d->change_count; i++) {
        if (d->settings.names == SIM_NAMES_ANY && rng_chance(rng, keep))
            apply(&d->changes[i], true);
        change_deinit(&d->changes[i]);
    }
    d->change_count = 0;
    for (size_t i = 0; i < d->inode_count; i++)
        names_copy(&d->inodes[i]->names, &d->inodes[i]->stable_names);
}
