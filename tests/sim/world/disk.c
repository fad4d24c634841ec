/* The tree of files and what each call does to it. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world/disk.h"

static struct inode *inode_create(struct disk *d, bool is_dir)
{
    struct inode *i = calloc(1, sizeof *i);
    assert(i);
    i->is_dir = is_dir;
    if (d->inode_count == d->inode_room) {
        d->inode_room = d->inode_room ? d->inode_room * 2 : 16;
        d->inodes = realloc(d->inodes, d->inode_room * sizeof(struct inode *));
        assert(d->inodes);
    }
    d->inodes[d->inode_count++] = i;
    return i;
}

void disk_free_inode(struct inode *i)
{
    for (size_t w = 0; w < i->write_count; w++)
        free(i->writes[w].data);
    free(i->writes);
    free(i->bad);
    bytes_deinit(&i->now);
    bytes_deinit(&i->stable);
    names_deinit(&i->names);
    names_deinit(&i->stable_names);
    free(i);
}

void disk_init(struct disk *d)
{
    *d = (struct disk){.settings = {.crash_keep = SIM_DRAWN, .crash_tear = SIM_DRAWN}};
    inode_create(d, true);
}

void disk_deinit(struct disk *d)
{
    for (size_t i = 0; i < d->change_count; i++) {
        free(d->changes[i].add_name);
        free(d->changes[i].remove_name);
    }
    for (size_t i = 0; i < d->inode_count; i++)
        disk_free_inode(d->inodes[i]);
    free(d->changes);
    free(d->inodes);
    free(d->faults);
    *d = (struct disk){0};
}

/* Walks to the directory that holds the last part of the path: *name is that part, "" for the root itself. */
static int walk(const struct disk *d, const char *path, struct inode **dir, const char **name)
{
    struct inode *at = d->inodes[0];
    path += strspn(path, "/");
    for (;;) {
        size_t len = strcspn(path, "/"), skip = strspn(path + len, "/");
        if (path[len + skip] == 0) {
            *dir = at;
            *name = path;
            return 0;
        }
        if (len != 1 || path[0] != '.')
            at = names_find(&at->names, path, len);
        if (!at)
            return -ENOENT;
        if (!at->is_dir)
            return -ENOTDIR;
        path += len + skip;
    }
}

/* Finds what a path names: 0 with *inode, which is NULL when only the last part is missing. */
static int look_up(const struct disk *d, const char *path, struct inode **dir, char name[256], struct inode **inode)
{
    const char *last;
    int err = walk(d, path, dir, &last);
    if (err)
        return err;
    size_t len = strcspn(last, "/");
    if (len > 255)
        return -ENAMETOOLONG;
    memcpy(name, last, len);
    name[len] = 0;
    bool self = len == 0 || strcmp(name, ".") == 0;
    *inode = self ? *dir : names_find(&(*dir)->names, name, len);
    return 0;
}

struct inode *disk_find(struct disk *d, const char *path)
{
    struct inode *dir, *inode;
    char name[256];
    return look_up(d, path, &dir, name, &inode) ? NULL : inode;
}

static void add_name(struct disk *d, struct inode *dir, char *name, struct inode *inode)
{
    disk_change_names(d, &(struct name_change){.target = inode, .add_dir = dir, .add_name = name});
}

static void remove_name(struct disk *d, struct inode *dir, char *name, struct inode *inode)
{
    disk_change_names(d, &(struct name_change){.target = inode, .remove_dir = dir, .remove_name = name});
}

int disk_open(struct disk *d, const char *path, int flags, struct inode **out)
{
    assert(!(flags & O_APPEND)); /* offsets are always given */
    struct inode *dir, *inode;
    char name[256];
    int err = look_up(d, path, &dir, name, &inode);
    if (err)
        return err;
    if (inode && flags & O_CREAT && flags & O_EXCL)
        return -EEXIST;
    if (!inode && !(flags & O_CREAT))
        return -ENOENT;
    if (inode && inode->is_dir && (flags & O_ACCMODE) != O_RDONLY)
        return -EISDIR;
    if (inode && !inode->is_dir && flags & O_DIRECTORY)
        return -ENOTDIR;
    if (!inode) {
        inode = inode_create(d, false);
        add_name(d, dir, name, inode);
    }
    if (flags & O_TRUNC && inode->now.len > 0)
        disk_truncate(d, inode, 0);
    inode->handles++;
    *out = inode;
    return 0;
}

void disk_close(struct inode *i)
{
    assert(i->handles > 0);
    i->handles--;
}

int disk_mkdir(struct disk *d, const char *path)
{
    struct inode *dir, *inode;
    char name[256];
    int err = look_up(d, path, &dir, name, &inode);
    if (err)
        return err;
    if (inode)
        return -EEXIST;
    add_name(d, dir, name, inode_create(d, true));
    return 0;
}

static int remove_path(struct disk *d, const char *path, bool is_dir)
{
    struct inode *dir, *inode;
    char name[256];
    int err = look_up(d, path, &dir, name, &inode);
    if (err)
        return err;
    if (!inode)
        return -ENOENT;
    if (inode->is_dir != is_dir)
        return is_dir ? -ENOTDIR : -EISDIR;
    if (inode == dir)
        return -EBUSY;
    if (inode->names.count > 0)
        return -ENOTEMPTY;
    remove_name(d, dir, name, inode);
    return 0;
}

int disk_rmdir(struct disk *d, const char *path)
{
    return remove_path(d, path, true);
}

int disk_unlink(struct disk *d, const char *path)
{
    return remove_path(d, path, false);
}

int disk_rename(struct disk *d, const char *from, const char *to)
{
    struct inode *from_dir, *to_dir, *inode, *replaced;
    char from_name[256], to_name[256];
    int err = look_up(d, from, &from_dir, from_name, &inode);
    if (!err)
        err = look_up(d, to, &to_dir, to_name, &replaced);
    if (err)
        return err;
    if (!inode)
        return -ENOENT;
    if (replaced == inode)
        return 0;
    if (replaced && replaced->is_dir != inode->is_dir)
        return inode->is_dir ? -ENOTDIR : -EISDIR;
    if (replaced && replaced->names.count > 0)
        return -ENOTEMPTY;
    disk_change_names(d, &(struct name_change){.target = inode,
                                               .add_dir = to_dir,
                                               .remove_dir = from_dir,
                                               .add_name = to_name,
                                               .remove_name = from_name,
                                               .brings_data = replaced && !inode->is_dir});
    return 0;
}

ssize_t disk_read(const struct inode *i, void *out, size_t len, uint64_t offset)
{
    if (i->is_dir)
        return -EISDIR;
    if (offset >= i->now.len || len == 0)
        return 0;
    size_t left = i->now.len - offset;
    size_t n = len < left ? len : left;
    if (disk_is_bad(i, offset, n))
        return -EIO;
    memcpy(out, i->now.data + offset, n);
    return (ssize_t)n;
}

static struct unsynced *add_unsynced(struct disk *d, struct inode *i, uint64_t offset, size_t len)
{
    if (i->write_count == i->write_room) {
        i->write_room = i->write_room ? i->write_room * 2 : 16;
        i->writes = realloc(i->writes, i->write_room * sizeof *i->writes);
        assert(i->writes);
    }
    struct unsynced *w = &i->writes[i->write_count++];
    *w = (struct unsynced){.number = d->number++, .offset = offset, .len = len};
    return w;
}

static uint64_t used(const struct disk *d)
{
    uint64_t sum = 0;
    disk_mark(d);
    for (size_t n = 0; n < d->inode_count; n++) {
        struct inode *i = d->inodes[n];
        if (i->marked || i->handles > 0)
            sum += i->now.len;
        i->marked = false;
    }
    return sum;
}

/* How many of the bytes the quota has room for. */
static size_t within_quota(const struct disk *d, const struct inode *i, size_t len, uint64_t offset)
{
    uint64_t end = offset + len;
    if (d->settings.quota == 0 || end <= i->now.len)
        return len;
    uint64_t others = used(d) - i->now.len;
    uint64_t limit = others < d->settings.quota ? d->settings.quota - others : 0;
    if (limit < i->now.len)
        limit = i->now.len; /* what is there may be overwritten */
    if (end <= limit)
        return len;
    return limit > offset ? (size_t)(limit - offset) : 0;
}

ssize_t disk_write(struct disk *d, struct inode *i, const uint8_t *data, size_t len, uint64_t offset)
{
    assert(!i->is_dir);
    if (len == 0)
        return 0;
    size_t n = within_quota(d, i, len, offset);
    if (n == 0)
        return -ENOSPC;
    bytes_write(&i->now, offset, data, n);
    disk_remap(i, offset, n);
    struct unsynced *w = add_unsynced(d, i, offset, n);
    w->data = malloc(n);
    assert(w->data);
    memcpy(w->data, data, n);
    return (ssize_t)n;
}

int disk_truncate(struct disk *d, struct inode *i, uint64_t len)
{
    assert(!i->is_dir);
    if (len > i->now.len && within_quota(d, i, (size_t)len, 0) < len)
        return -ENOSPC;
    bytes_resize(&i->now, (size_t)len);
    add_unsynced(d, i, len, 0);
    return 0;
}
