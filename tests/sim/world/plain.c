/* The plain calls: the same disk, at once. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world/sim_internal.h"

/* The operation is over, whatever came of it. */
static int64_t ended(struct io *io, enum io_kind kind, const char *path, int64_t result)
{
    sim_disk_op_ended(shard_of(io)->host, kind, path);
    return result;
}

/* The world is gone, or goes at this moment, or the operation fails by order: -errno, else 0 and ended() follows. */
static int refused(struct io *io, enum io_kind kind, const char *path)
{
    struct sim_shard *s = shard_of(io);
    if (s->cut_off || !sim_disk_op_begins(s->host, kind, path))
        return -EIO;
    int err = disk_fault(&s->host->disk, kind, path);
    return err ? (int)ended(io, kind, path, err) : 0;
}

static struct disk *disk_of(struct io *io)
{
    return &shard_of(io)->host->disk;
}

static int plain_open(struct io *io, const char *path, int flags, mode_t mode, io_handle *out)
{
    (void)mode;
    int err = refused(io, IO_OPEN, path);
    return err ? err : (int)ended(io, IO_OPEN, path, sim_file_open(shard_of(io), path, flags, out));
}

static int plain_close(struct io *io, io_handle handle)
{
    sim_handle_close(shard_of(io), sim_handle_any(shard_of(io), handle));
    return 0;
}

static ssize_t plain_read(struct io *io, io_handle handle, void *data, size_t len, uint64_t offset)
{
    const struct handle *h = sim_handle(shard_of(io), handle, HANDLE_FILE);
    int err = refused(io, IO_READ, h->path);
    return err ? err : ended(io, IO_READ, h->path, disk_read(h->inode, data, len, offset));
}

static int plain_write(struct io *io, io_handle handle, const void *data, size_t len, uint64_t offset)
{
    const struct handle *h = sim_handle(shard_of(io), handle, HANDLE_FILE);
    int err = refused(io, IO_WRITE, h->path);
    if (err)
        return err;
    ssize_t n = ended(io, IO_WRITE, h->path, disk_write(disk_of(io), h->inode, data, len, offset));
    return n < 0 ? (int)n : (size_t)n < len ? -ENOSPC : 0;
}

static int64_t plain_size(struct io *io, io_handle handle)
{
    return (int64_t)sim_handle(shard_of(io), handle, HANDLE_FILE)->inode->now.len;
}

static int plain_truncate(struct io *io, io_handle handle, uint64_t len)
{
    const struct handle *h = sim_handle(shard_of(io), handle, HANDLE_FILE);
    int err = refused(io, IO_WRITE, h->path);
    return err ? err : (int)ended(io, IO_WRITE, h->path, disk_truncate(disk_of(io), h->inode, len));
}

static int plain_sync(struct io *io, io_handle handle)
{
    struct sim_shard *s = shard_of(io);
    const struct handle *h = sim_handle(s, handle, HANDLE_FILE);
    if (s->cut_off || !sim_disk_op_begins(s->host, IO_FSYNC, h->path))
        return -EIO;
    int err = disk_fault(disk_of(io), IO_FSYNC, h->path);
    if (err)
        disk_sync_failed(h->inode, SIM_NEVER);
    else
        disk_sync(disk_of(io), h->inode, SIM_NEVER);
    return (int)ended(io, IO_FSYNC, h->path, err);
}

static int plain_sync_dir(struct io *io, const char *path)
{
    int err = refused(io, IO_FSYNC, path);
    if (err)
        return err;
    struct inode *dir = disk_find(disk_of(io), path);
    if (!dir || !dir->is_dir)
        return (int)ended(io, IO_FSYNC, path, dir ? -ENOTDIR : -ENOENT);
    disk_sync(disk_of(io), dir, SIM_NEVER);
    return (int)ended(io, IO_FSYNC, path, 0);
}

static int plain_lock(struct io *io, io_handle handle)
{
    struct handle *h = sim_handle(shard_of(io), handle, HANDLE_FILE);
    if (h->inode->lock && h->inode->lock != h)
        return -EWOULDBLOCK;
    h->inode->lock = h;
    return 0;
}

static int plain_mkdir(struct io *io, const char *path, mode_t mode)
{
    (void)mode;
    int err = refused(io, IO_MKDIR, path);
    return err ? err : (int)ended(io, IO_MKDIR, path, disk_mkdir(disk_of(io), path));
}

static int plain_rmdir(struct io *io, const char *path)
{
    int err = refused(io, IO_UNLINK, path);
    return err ? err : (int)ended(io, IO_UNLINK, path, disk_rmdir(disk_of(io), path));
}

static int plain_rename(struct io *io, const char *from, const char *to)
{
    int err = refused(io, IO_RENAME, from);
    return err ? err : (int)ended(io, IO_RENAME, from, disk_rename(disk_of(io), from, to));
}

static int plain_unlink(struct io *io, const char *path)
{
    int err = refused(io, IO_UNLINK, path);
    return err ? err : (int)ended(io, IO_UNLINK, path, disk_unlink(disk_of(io), path));
}

/* In any order, as a real directory is. The walk may change what it walks. */
static struct io_dirent *shuffled(struct sim *sim, const struct names *names)
{
    struct io_dirent *all = calloc(names->count + 1, sizeof *all);
    assert(all);
    for (size_t i = 0; i < names->count; i++) {
        size_t j = (size_t)sim_random_below(sim, i + 1);
        all[i] = all[j];
        strncpy(all[j].name, names->all[i].text, sizeof all[j].name - 1);
        all[j].is_dir = names->all[i].inode->is_dir;
        all[j].is_file = !all[j].is_dir;
    }
    return all;
}

static int plain_list(struct io *io, const char *path, io_dir_fn *fn, void *ctx)
{
    if (shard_of(io)->cut_off)
        return -EIO;
    const struct inode *dir = disk_find(disk_of(io), path);
    if (!dir || !dir->is_dir)
        return dir ? -ENOTDIR : -ENOENT;
    size_t count = dir->names.count;
    struct io_dirent *all = shuffled(shard_of(io)->host->sim, &dir->names);
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        result = fn(ctx, &all[i]);
    free(all);
    return result;
}

static int plain_path_payload(struct io *io, const struct io_addr *to)
{
    return sim_net_path_payload(shard_of(io)->host, to);
}

static void plain_boot_id(struct io *io, uint8_t out[16])
{
    const struct sim_host *h = shard_of(io)->host;
    struct rng rng;
    rng_init(&rng, h->sim->seed, UINT64_C(1) << 63 | (uint64_t)h->number << 40 | h->boot);
    rng_bytes(&rng, out, 16);
}

const struct io_plain sim_io_plain = {
    .open = plain_open,
    .close = plain_close,
    .read = plain_read,
    .write = plain_write,
    .size = plain_size,
    .truncate = plain_truncate,
    .sync = plain_sync,
    .sync_dir = plain_sync_dir,
    .lock = plain_lock,
    .mkdir = plain_mkdir,
    .rmdir = plain_rmdir,
    .rename = plain_rename,
    .unlink = plain_unlink,
    .list = plain_list,
    .path_payload = plain_path_payload,
    .boot_id = plain_boot_id,
};

/* Makes the directories on the way to the path's last part; false when a file is in the way. */
static void make_parents(struct disk *d, const char *path)
{
    char *prefix = strdup(path);
    assert(prefix);
    for (char *slash = strchr(prefix + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (!disk_find(d, prefix))
            assert(disk_mkdir(d, prefix) == 0);
        *slash = '/';
    }
    free(prefix);
}

void sim_disk_put(struct sim_host *h, const char *path, struct cspan bytes)
{
    struct disk *d = &h->disk;
    struct inode *inode;
    make_parents(d, path);
    assert(disk_open(d, path, O_WRONLY | O_CREAT | O_TRUNC, &inode) == 0);
    if (bytes.len)
        assert(disk_write(d, inode, bytes.data, bytes.len, 0) == (ssize_t)bytes.len);
    disk_sync_writes(inode, SIM_NEVER);
    for (size_t i = 0; i < d->inode_count; i++) {
        if (d->inodes[i]->is_dir)
            disk_sync_names(d, d->inodes[i], SIM_NEVER);
    }
    disk_close(inode);
}

struct cspan sim_disk_get(struct sim_host *h, const char *path)
{
    static const uint8_t empty[1];
    const struct inode *inode = disk_find(&h->disk, path);
    if (!inode || inode->is_dir)
        return (struct cspan){0};
    return (struct cspan){inode->now.len ? inode->now.data : empty, inode->now.len};
}
