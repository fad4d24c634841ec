/* File operations that take time. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world/sim_internal.h"

void sim_file_submit(struct sim_shard *s, struct io_op *op)
{
    struct sim *sim = s->host->sim;
    bool sync = op->kind == IO_FDATASYNC || op->kind == IO_FSYNC;
    if (sync)
        sim_op_of(op)->horizon = s->host->disk.number;
    uint64_t at = sim->now + sim_draw(sim, sync ? sim->settings.sync : sim->settings.file);
    const struct sim_range *slow = &s->host->disk.settings.slow;
    if (slow->max)
        at += sim_draw(sim, *slow);
    if (sim_chance(sim, sim->settings.late))
        at += sim_random_below(sim, sim->settings.late_max + 1);
    sim_op_schedule(s, op, at);
}

int sim_file_open(struct sim_shard *s, const char *path, int flags, io_handle *out)
{
    struct inode *inode;
    int err = disk_open(&s->host->disk, path, flags, &inode);
    if (err)
        return err;
    struct handle *h = sim_handle_open(s, HANDLE_FILE);
    h->inode = inode;
    h->path = strdup(path);
    assert(h->path);
    *out = h->number;
    return 0;
}

static int32_t run_open(struct sim_shard *s, const struct io_op *op)
{
    io_handle handle;
    int err = sim_file_open(s, op->path.path, op->path.flags, &handle);
    return err ? err : handle;
}

static size_t cut_short(struct sim_shard *s, size_t len)
{
    struct sim *sim = s->host->sim;
    return len > 1 && sim_chance(sim, sim->settings.short_io) ? 1 + (size_t)sim_random_below(sim, len - 1) : len;
}

static int32_t run_write(struct sim_shard *s, const struct io_op *op, struct inode *inode, uint64_t limit)
{
    struct bytes all = {0};
    for (uint32_t i = 0; i < op->write.iov_count; i++)
        bytes_write(&all, all.len, op->write.iov[i].iov_base, op->write.iov[i].iov_len);
    size_t len = cut_short(s, all.len);
    if (len > limit)
        len = (size_t)limit;
    uint64_t offset = op->write.offset == IO_AT_POSITION ? inode->now.len : op->write.offset;
    ssize_t n = disk_write(&s->host->disk, inode, all.data, len, offset);
    bytes_deinit(&all);
    return (int32_t)n;
}

static int32_t run_on_handle(struct sim_shard *s, struct io_op *op, uint64_t limit)
{
    struct disk *d = &s->host->disk;
    struct handle *h = sim_handle(s, op->handle, HANDLE_FILE);
    int err = disk_fault(d, op->kind, h->path);
    bool sync = op->kind == IO_FDATASYNC || op->kind == IO_FSYNC;
    if (err && sync)
        disk_sync_failed(h->inode, sim_op_of(op)->horizon);
    if (err)
        return err;
    if (sync) {
        disk_sync(d, h->inode, sim_op_of(op)->horizon);
        return 0;
    }
    if (op->kind == IO_WRITE)
        return run_write(s, op, h->inode, limit);
    return (int32_t)disk_read(h->inode, op->buf.data, cut_short(s, op->buf.len), op->buf.offset);
}

int32_t sim_file_run(struct sim_shard *s, struct io_op *op, uint64_t write_limit)
{
    struct disk *d = &s->host->disk;
    if (op->kind == IO_CLOSE)
        return 0;
    if (op->kind >= IO_READ && op->kind <= IO_FSYNC)
        return run_on_handle(s, op, write_limit);
    int err = disk_fault(d, op->kind, op->path.path);
    if (err)
        return err;
    switch (op->kind) {
    case IO_OPEN:
        return run_open(s, op);
    case IO_RENAME:
        return disk_rename(d, op->path.path, op->path.path2);
    case IO_UNLINK:
        return op->path.flags & AT_REMOVEDIR ? disk_rmdir(d, op->path.path) : disk_unlink(d, op->path.path);
    default:
        assert(op->kind == IO_MKDIR);
        return disk_mkdir(d, op->path.path);
    }
}

int32_t sim_file_effect(struct sim_shard *s, struct io_op *op)
{
    if (op->kind == IO_CLOSE)
        return sim_file_run(s, op, SIM_NEVER);
    bool on_handle = op->kind >= IO_READ && op->kind <= IO_FSYNC;
    const char *path = on_handle ? sim_handle(s, op->handle, HANDLE_FILE)->path : op->path.path;
    if (!sim_disk_op_begins(s->host, op->kind, path))
        return -EIO;
    int32_t res = sim_file_run(s, op, SIM_NEVER);
    sim_disk_op_ended(s->host, op->kind, path);
    return res;
}
