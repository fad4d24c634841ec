/* Disks: what a kill keeps, what a crash may take, what fails by order; operations complete in any order. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "tests/sim/world/bare.h"

struct rig {
    struct sim *sim;
    struct sim_host *host;
    struct io *io;
};

static struct rig rig_create(uint64_t seed)
{
    struct rig r = {.sim = sim_create(seed)};
    struct io *io[1];
    r.host = bare_host(r.sim, 1, io);
    r.io = io[0];
    sim_settings(r.sim)->short_io = 0;
    return r;
}

/* Of what is not synced a crash keeps all, or nothing. */
static void keep(struct rig *r, uint32_t writes, uint32_t tears)
{
    sim_disk_settings(r->host)->crash_keep = writes;
    sim_disk_settings(r->host)->crash_tear = tears;
}

static io_handle open_file(struct rig *r, const char *path)
{
    struct bare_op op = {.op = {.kind = IO_OPEN, .path = {path, NULL, O_RDWR | O_CREAT, 0600}}};
    int32_t res = bare_run(r->sim, r->io, &op);
    cr_assert_geq(res, 0);
    return res;
}

static int32_t run_handle(struct rig *r, enum io_kind kind, io_handle handle)
{
    struct bare_op op = {.op = {.kind = kind, .handle = handle}};
    return bare_run(r->sim, r->io, &op);
}

static int32_t write_at(struct rig *r, io_handle handle, uint64_t offset, const char *text)
{
    size_t len = strlen(text), half = len / 2;
    struct iovec iov[2] = {{(void *)(uintptr_t)text, half}, {(void *)(uintptr_t)(text + half), len - half}};
    struct bare_op op = {.op = {.kind = IO_WRITE, .handle = handle, .write = {iov, 2, offset}}};
    return bare_run(r->sim, r->io, &op);
}

static int32_t run_path(struct rig *r, enum io_kind kind, const char *path, const char *path2)
{
    struct bare_op op = {.op = {.kind = kind, .path = {path, path2, 0, 0700}}};
    return bare_run(r->sim, r->io, &op);
}

static void sync_dir(struct rig *r, const char *path)
{
    cr_assert_eq(r->io->plain->sync_dir(r->io, path), 0);
}

static void check_file(struct rig *r, const char *path, const char *text)
{
    struct cspan bytes = sim_disk_get(r->host, path);
    if (!text) {
        cr_assert_null(bytes.data, "%s is there", path);
        return;
    }
    cr_assert_not_null(bytes.data, "%s is missing", path);
    cr_assert_eq(bytes.len, strlen(text));
    cr_assert_eq(memcmp(bytes.data, text, bytes.len), 0);
}

Test(disk, a_kill_keeps_what_completed)
{
    struct rig r = rig_create(1);
    keep(&r, 0, 0);
    io_handle f = open_file(&r, "file");
    cr_assert_eq(write_at(&r, f, 0, "hello"), 5);
    sim_host_kill(r.host);
    check_file(&r, "file", "hello");
    sim_host_crash(r.host); /* the machine, later */
    check_file(&r, "file", NULL);
    sim_destroy(r.sim);
}

Test(disk, a_crash_takes_what_is_not_synced_and_leaves_the_rest)
{
    struct rig r = rig_create(2);
    keep(&r, 0, 0);
    io_handle f = open_file(&r, "file"), g = open_file(&r, "unnamed");
    cr_assert_eq(write_at(&r, f, 0, "hello world"), 11);
    cr_assert_eq(run_handle(&r, IO_FDATASYNC, f), 0);
    cr_assert_eq(write_at(&r, g, 0, "synced, but its name is not"), 27);
    sync_dir(&r, "/");
    cr_assert_eq(run_path(&r, IO_RENAME, "unnamed", "renamed"), 0);
    cr_assert_eq(run_handle(&r, IO_FSYNC, g), 0);
    cr_assert_eq(write_at(&r, f, 6, "there"), 5);
    check_file(&r, "file", "hello there");
    sim_host_crash(r.host);
    check_file(&r, "file", "hello world");
    check_file(&r, "renamed", NULL);
    check_file(&r, "unnamed", "synced, but its name is not");
    sim_destroy(r.sim);
}

Test(disk, a_crash_can_keep_everything)
{
    struct rig r = rig_create(3);
    keep(&r, SIM_ALWAYS, 0);
    cr_assert_eq(run_path(&r, IO_MKDIR, "dir", NULL), 0);
    io_handle f = open_file(&r, "dir/file");
    cr_assert_eq(write_at(&r, f, 3, "abc"), 3);
    sim_host_crash(r.host);
    struct cspan bytes = sim_disk_get(r.host, "/dir/file");
    cr_assert_eq(bytes.len, 6);
    cr_assert_eq(memcmp(bytes.data, "\0\0\0abc", 6), 0);
    sim_destroy(r.sim);
}

Test(disk, a_synced_file_in_a_directory_that_is_not_is_gone)
{
    struct rig r = rig_create(4);
    keep(&r, 0, 0);
    cr_assert_eq(run_path(&r, IO_MKDIR, "dir", NULL), 0);
    io_handle f = open_file(&r, "dir/file");
    cr_assert_eq(write_at(&r, f, 0, "abc"), 3);
    cr_assert_eq(run_handle(&r, IO_FDATASYNC, f), 0);
    sync_dir(&r, "dir");
    sim_host_crash(r.host);
    check_file(&r, "dir/file", NULL);
    sim_destroy(r.sim);
}

Test(disk, names_can_be_durable_at_once)
{
    struct rig r = rig_create(5);
    keep(&r, 0, 0);
    sim_disk_settings(r.host)->names_durable = true;
    open_file(&r, "file");
    sim_host_crash(r.host);
    check_file(&r, "file", "");
    sim_destroy(r.sim);
}

Test(disk, unsynced_writes_are_kept_lost_or_torn_each_by_itself)
{
    enum { BLOCK = 4 * 512, COUNT = 400 };
    struct rig r = rig_create(6);
    keep(&r, SIM_ALWAYS / 2, SIM_ALWAYS / 2);
    static char full[BLOCK + 1];
    memset(full, 'x', BLOCK);
    io_handle f = open_file(&r, "file");
    sync_dir(&r, "/");
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert_eq(write_at(&r, f, i * BLOCK, full), BLOCK);
    sim_host_crash(r.host);
    struct cspan bytes = sim_disk_get(r.host, "file");
    unsigned kept = 0, lost = 0, torn = 0;
    for (size_t i = 0; i < COUNT; i++) {
        size_t start = i * BLOCK, len = 0;
        while (len < BLOCK && start + len < bytes.len && bytes.data[start + len] == 'x')
            len++;
        for (size_t j = len; j < BLOCK && start + j < bytes.len; j++)
            cr_assert_eq(bytes.data[start + j], 0);
        kept += len == BLOCK;
        lost += len == 0;
        torn += len > 0 && len < BLOCK;
        cr_assert(len == 0 || len == BLOCK || (start + len) % 512 == 0);
    }
    /* expected 200, 100, 100; six standard deviations */
    cr_assert(kept > 140 && kept < 260 && lost > 48 && lost < 152 && torn > 48 && torn < 152, "%u %u %u", kept, lost,
              torn);
    sim_destroy(r.sim);
}

Test(disk, how_much_a_crash_takes_is_drawn)
{
    unsigned all = 0, none = 0, some = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct rig r = rig_create(seed);
        io_handle f = open_file(&r, "file");
        sync_dir(&r, "/");
        for (unsigned i = 0; i < 8; i++)
            write_at(&r, f, i * 512, "x");
        sim_host_crash(r.host);
        struct cspan bytes = sim_disk_get(r.host, "file");
        unsigned left = 0;
        for (size_t i = 0; i < bytes.len; i++)
            left += bytes.data[i] == 'x';
        all += left == 8;
        none += left == 0;
        some += left > 0 && left < 8;
        sim_destroy(r.sim);
    }
    cr_assert(all > 20 && none > 20 && some > 60, "%u %u %u", all, none, some);
}

/* As a page cache does: whatever of a sector arrives, arrives with all that was written to it before. */
Test(disk, a_sector_arrives_as_it_was_at_some_time)
{
    enum { WRITES = 300, LEN = 40, SIZE = 4096 };
    unsigned old = 0, mixed = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        static uint8_t then[WRITES + 1][SIZE];
        struct rig r = rig_create(seed);
        keep(&r, SIM_ALWAYS / 8, SIM_ALWAYS / 2);
        io_handle f = open_file(&r, "file");
        sync_dir(&r, "/");
        memset(then[0], 0, SIZE);
        for (unsigned i = 0; i < WRITES; i++) {
            char text[LEN + 1] = {0};
            memset(text, 1 + (int)(i % 250), LEN);
            uint64_t at = sim_random_below(r.sim, SIZE - LEN);
            cr_assert_eq(write_at(&r, f, at, text), LEN);
            memcpy(then[i + 1], then[i], SIZE);
            memcpy(then[i + 1] + at, text, LEN);
        }
        sim_host_crash(r.host);
        struct cspan bytes = sim_disk_get(r.host, "file");
        uint8_t now[SIZE] = {0};
        memcpy(now, bytes.data, bytes.len);
        unsigned first = WRITES + 1;
        for (size_t sector = 0; sector < SIZE; sector += 512) {
            unsigned i = 0;
            while (i <= WRITES && memcmp(now + sector, then[i] + sector, 512) != 0)
                i++;
            cr_assert_leq(i, WRITES, "seed %lu: sector %zu never was like that", seed, sector / 512);
            old += memcmp(now + sector, then[WRITES] + sector, 512) != 0;
            first = sector == 0 ? i : first;
            mixed += i != first;
        }
        sim_destroy(r.sim);
    }
    cr_assert(old > 100 && mixed > 100, "%u %u", old, mixed);
}

Test(disk, a_sync_covers_what_completed_before_it_was_submitted)
{
    struct rig r = rig_create(7);
    keep(&r, 0, 0);
    sim_settings(r.sim)->sync = (struct sim_range){SIM_S, SIM_S};
    io_handle f = open_file(&r, "file");
    sync_dir(&r, "/");
    cr_assert_eq(write_at(&r, f, 0, "a"), 1);
    struct bare_op sync = {.op = {.kind = IO_FDATASYNC, .handle = f}};
    bare_submit(r.io, &sync);
    cr_assert_eq(write_at(&r, f, 1, "b"), 1);
    sim_run_for(r.sim, 2 * SIM_S);
    cr_assert(sync.finished && sync.res == 0);
    check_file(&r, "file", "ab");
    sim_host_crash(r.host);
    check_file(&r, "file", "a");
    sim_destroy(r.sim);
}

Test(disk, a_failed_sync_is_final)
{
    struct rig r = rig_create(8);
    keep(&r, 0, 0);
    io_handle f = open_file(&r, "file");
    sync_dir(&r, "/");
    cr_assert_eq(write_at(&r, f, 0, "a"), 1);
    sim_disk_fault(r.host, &(struct sim_fault){.kinds = 1u << IO_FDATASYNC, .error = EIO, .times = 1});
    cr_assert_eq(run_handle(&r, IO_FDATASYNC, f), -EIO);
    cr_assert_eq(write_at(&r, f, 1, "b"), 1);
    cr_assert_eq(run_handle(&r, IO_FDATASYNC, f), 0); /* says so, and does not cover the "a" */
    sim_host_crash(r.host);
    struct cspan bytes = sim_disk_get(r.host, "file");
    cr_assert_eq(bytes.len, 2);
    cr_assert_eq(memcmp(bytes.data, "\0b", 2), 0);
    sim_destroy(r.sim);
}

Test(disk, faults_choose_kind_path_and_moment)
{
    struct rig r = rig_create(9);
    struct sim_fault fault = {.kinds = 1u << IO_WRITE, .suffix = "/idx", .error = ENOSPC, .after = 2, .times = 2};
    sim_disk_put(r.host, "a/idx", (struct cspan){0});
    sim_disk_put(r.host, "a/dat", (struct cspan){0});
    io_handle idx = open_file(&r, "a/idx"), dat = open_file(&r, "a/dat");
    sim_disk_fault(r.host, &fault);
    static const int32_t expected[] = {1, 1, -ENOSPC, -ENOSPC, 1};
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(write_at(&r, dat, i, "d"), 1);
        cr_assert_eq(write_at(&r, idx, i, "i"), expected[i]);
    }
    sim_disk_fault(r.host, &(struct sim_fault){.error = EIO, .times = UINT32_MAX}); /* everything, from now on */
    cr_assert_eq(write_at(&r, dat, 0, "d"), -EIO);
    cr_assert_eq(run_path(&r, IO_MKDIR, "b", NULL), -EIO);
    cr_assert_eq(r.io->plain->mkdir(r.io, "b", 0700), -EIO);
    sim_disk_clear_faults(r.host);
    cr_assert_eq(r.io->plain->mkdir(r.io, "b", 0700), 0);
    sim_destroy(r.sim);
}

Test(disk, a_full_disk_writes_short_then_fails)
{
    struct rig r = rig_create(10);
    sim_disk_settings(r.host)->quota = 10;
    io_handle f = open_file(&r, "file"), g = open_file(&r, "other");
    cr_assert_eq(write_at(&r, f, 0, "1234567"), 7);
    cr_assert_eq(write_at(&r, g, 0, "12345"), 3);
    cr_assert_eq(write_at(&r, g, 3, "4"), -ENOSPC);
    cr_assert_eq(write_at(&r, f, 0, "abcdefg"), 7); /* over what is there */
    cr_assert_eq(run_handle(&r, IO_CLOSE, f), 0);
    cr_assert_eq(run_path(&r, IO_UNLINK, "file", NULL), 0);
    cr_assert_eq(write_at(&r, g, 3, "4"), 1);
    sim_destroy(r.sim);
}

Test(disk, completions_come_in_any_order)
{
    unsigned swapped = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct rig r = rig_create(seed);
        io_handle f = open_file(&r, "file");
        struct iovec iov = {(char[1]){'x'}, 1};
        struct bare_op a = {.op = {.kind = IO_WRITE, .handle = f, .write = {&iov, 1, 0}}}, b = a;
        bare_submit(r.io, &a);
        bare_submit(r.io, &b);
        cr_assert(!a.finished && !b.finished); /* never from the submit */
        sim_run_for(r.sim, SIM_MS);
        cr_assert(a.finished && b.finished);
        swapped += b.at < a.at;
        sim_destroy(r.sim);
    }
    cr_assert(swapped > 5 && swapped < 45, "%u", swapped);
}

Test(disk, what_is_in_flight_at_a_kill_happens_or_not_or_in_part)
{
    enum { LEN = 60000 };
    unsigned none = 0, part = 0, whole = 0, made = 0;
    static char data[LEN];
    memset(data, 'x', LEN);
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct rig r = rig_create(seed);
        io_handle f = open_file(&r, "file");
        struct iovec iov = {data, LEN};
        struct bare_op write = {.op = {.kind = IO_WRITE, .handle = f, .write = {&iov, 1, 0}}};
        struct bare_op create = {.op = {.kind = IO_OPEN, .path = {"made", NULL, O_CREAT | O_RDWR, 0600}}};
        bare_submit(r.io, &write);
        bare_submit(r.io, &create);
        sim_host_kill(r.host);
        cr_assert(!write.finished && !create.finished);
        size_t len = sim_disk_get(r.host, "file").len;
        none += len == 0;
        whole += len == LEN;
        part += len > 0 && len < LEN;
        made += sim_disk_get(r.host, "made").data != NULL;
        sim_destroy(r.sim);
    }
    cr_assert(none > 20 && whole > 8 && part > 8 && made > 20, "%u %u %u %u", none, whole, part, made);
}

Test(disk, cancel_stops_it_or_comes_too_late)
{
    unsigned canceled = 0, done = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct rig r = rig_create(seed);
        io_handle f = open_file(&r, "file");
        struct iovec iov = {(char[1]){'x'}, 1};
        struct bare_op a = {.op = {.kind = IO_WRITE, .handle = f, .write = {&iov, 1, 0}}};
        bare_submit(r.io, &a);
        io_cancel(r.io, &a.op);
        cr_assert(!a.finished && a.op.pending);
        sim_run_for(r.sim, SIM_MS);
        cr_assert(a.finished && !a.op.pending);
        cr_assert(a.res == -ECANCELED || a.res == 1);
        cr_assert_eq(sim_disk_get(r.host, "file").len, a.res == 1 ? 1 : 0);
        canceled += a.res == -ECANCELED;
        done += a.res == 1;
        sim_destroy(r.sim);
    }
    cr_assert(canceled > 10 && done > 10);
}

Test(disk, reads_and_writes_can_be_short)
{
    struct rig r = rig_create(13);
    sim_settings(r.sim)->short_io = SIM_ALWAYS;
    io_handle f = open_file(&r, "file");
    int32_t n = write_at(&r, f, 0, "0123456789");
    cr_assert(n > 0 && n < 10);
    cr_assert_eq(sim_disk_get(r.host, "file").len, (size_t)n);
    sim_settings(r.sim)->short_io = 0;
    cr_assert_eq(write_at(&r, f, 0, "0123456789"), 10);
    char out[16];
    struct bare_op read = {.op = {.kind = IO_READ, .handle = f, .buf = {out, 16, 4}}};
    cr_assert_eq(bare_run(r.sim, r.io, &read), 6); /* the file ends */
    cr_assert_eq(memcmp(out, "456789", 6), 0);
    read.op.buf.offset = 10;
    cr_assert_eq(bare_run(r.sim, r.io, &read), 0);
    sim_destroy(r.sim);
}

static int collect(void *ctx, const struct io_dirent *entry)
{
    char *text = ctx;
    strcat(text, entry->name);
    strcat(text, entry->is_dir ? "/" : entry->is_file ? "." : "?");
    return strcmp(entry->name, "stop") == 0 ? 7 : 0;
}

Test(disk, plain_calls_act_at_once)
{
    struct rig r = rig_create(14);
    const struct io_plain *plain = r.io->plain;
    io_handle f, g;
    char out[8] = "";
    cr_assert_eq(plain->open(r.io, "d/file", O_RDWR | O_CREAT, 0600, &f), -ENOENT);
    cr_assert_eq(plain->mkdir(r.io, "d", 0700), 0);
    cr_assert_eq(plain->mkdir(r.io, "d", 0700), -EEXIST);
    cr_assert_eq(plain->open(r.io, "d/file", O_RDWR | O_CREAT, 0600, &f), 0);
    cr_assert_eq(plain->open(r.io, "d/file", O_RDWR | O_CREAT | O_EXCL, 0600, &g), -EEXIST);
    cr_assert_eq(plain->open(r.io, "d/file/x", O_RDWR, 0600, &g), -ENOTDIR);
    cr_assert_eq(plain->open(r.io, "d", O_RDWR, 0, &g), -EISDIR);
    cr_assert_eq(plain->open(r.io, "d/file", O_RDONLY, 0, &g), 0);
    cr_assert_eq(plain->lock(r.io, f), 0);
    cr_assert_eq(plain->lock(r.io, g), -EWOULDBLOCK);
    cr_assert_eq(plain->write(r.io, f, "abcdef", 6, 0), 0);
    cr_assert_eq(plain->size(r.io, g), 6);
    cr_assert_eq(plain->truncate(r.io, f, 4), 0);
    cr_assert_eq(plain->read(r.io, g, out, 8, 1), 3);
    cr_assert_str_eq(out, "bcd");
    cr_assert_eq(plain->close(r.io, f), 0);
    cr_assert_eq(plain->lock(r.io, g), 0);
    cr_assert_eq(plain->close(r.io, g), 0);
    cr_assert_eq(plain->rmdir(r.io, "d"), -ENOTEMPTY);
    cr_assert_eq(plain->rename(r.io, "d/file", "moved"), 0);
    cr_assert_eq(plain->rmdir(r.io, "d"), 0);
    cr_assert_eq(plain->unlink(r.io, "d"), -ENOENT);
    check_file(&r, "./moved", "abcd");
    cr_assert_eq(plain->unlink(r.io, "moved"), 0);
    cr_assert_eq(plain->sync_dir(r.io, "nowhere"), -ENOENT);
    cr_assert_eq(plain->path_payload(r.io, &(struct io_addr){0}), sim_settings(r.sim)->path_payload);
    sim_destroy(r.sim);
}

Test(disk, truncate_and_plain_sync_follow_the_same_rules)
{
    struct rig r = rig_create(15);
    keep(&r, 0, 0);
    const struct io_plain *plain = r.io->plain;
    sim_disk_put(r.host, "/deep/down/file", (struct cspan){(const uint8_t *)"abcdef", 6});
    io_handle f;
    cr_assert_eq(plain->open(r.io, "deep/down/file", O_RDWR, 0, &f), 0);
    cr_assert_eq(plain->truncate(r.io, f, 3), 0);
    cr_assert_eq(plain->sync(r.io, f), 0);
    cr_assert_eq(plain->truncate(r.io, f, 1), 0);
    sim_host_crash(r.host);
    check_file(&r, "/deep/down/file", "abc");
    sim_destroy(r.sim);
}

Test(disk, directories_list_in_no_order)
{
    struct rig r = rig_create(16);
    unsigned orders = 0;
    char first[64] = "";
    for (const char *const *n = (const char *const[]){"l/a", "l/b", "l/c/x", NULL}; *n; n++)
        sim_disk_put(r.host, *n, (struct cspan){0});
    cr_assert_eq(r.io->plain->list(r.io, "l", collect, first), 0);
    for (unsigned i = 0; i < 20; i++) {
        char text[64] = "";
        cr_assert_eq(r.io->plain->list(r.io, "l", collect, text), 0);
        cr_assert_eq(strlen(text), 6);
        cr_assert(strstr(text, "a.") && strstr(text, "b.") && strstr(text, "c/"));
        orders += strcmp(text, first) != 0;
    }
    cr_assert_gt(orders, 5);
    sim_disk_put(r.host, "s/stop", (struct cspan){0});
    cr_assert_eq(r.io->plain->list(r.io, "s", collect, (char[64]){""}), 7);
    cr_assert_eq(r.io->plain->list(r.io, "nowhere", collect, first), -ENOENT);
    sim_destroy(r.sim);
}

Test(disk, a_rename_over_a_file_is_one_change)
{
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct rig r = rig_create(seed);
        sim_disk_put(r.host, "file", (struct cspan){(const uint8_t *)"old", 3});
        io_handle f = open_file(&r, "file.tmp");
        cr_assert_eq(write_at(&r, f, 0, "new"), 3);
        cr_assert_eq(run_handle(&r, IO_FDATASYNC, f), 0);
        cr_assert_eq(run_path(&r, IO_RENAME, "file.tmp", "file"), 0);
        if (seed % 2)
            sync_dir(&r, ".");
        sim_host_crash(r.host);
        struct cspan bytes = sim_disk_get(r.host, "file");
        cr_assert_eq(bytes.len, 3);
        cr_assert(memcmp(bytes.data, "new", 3) == 0 || (seed % 2 == 0 && memcmp(bytes.data, "old", 3) == 0));
        sim_destroy(r.sim);
    }
}

/* ---- names as ext4's journal has them ---- */

static struct rig rig_ext4(uint64_t seed)
{
    struct rig r = rig_create(seed);
    sim_disk_settings(r.host)->names = SIM_NAMES_EXT4;
    return r;
}

Test(disk, a_journal_keeps_the_first_changes_of_names)
{
    unsigned kept[5] = {0};
    for (uint64_t seed = 1; seed <= 200; seed++) {
        static const char *const names[] = {"/a", "/b", "/c", "/d"};
        struct rig r = rig_ext4(seed);
        for (unsigned i = 0; i < 4; i++)
            open_file(&r, names[i]);
        sim_disk_settings(r.host)->crash_keep = SIM_ALWAYS / 2;
        sim_host_crash(r.host);
        unsigned n = 0;
        while (n < 4 && sim_disk_get(r.host, names[n]).data)
            n++;
        kept[n]++;
        for (unsigned i = n; i < 4; i++)
            check_file(&r, names[i], NULL);
        sim_destroy(r.sim);
    }
    for (unsigned n = 0; n < 5; n++)
        cr_assert_gt(kept[n], 10, "%u names were kept %u times", n, kept[n]);
}

Test(disk, a_sync_commits_the_journal)
{
    struct rig r = rig_ext4(1);
    keep(&r, 0, 0);
    open_file(&r, "/before");
    io_handle file = open_file(&r, "/synced");
    cr_assert_eq(write_at(&r, file, 0, "text"), 4);
    cr_assert_eq(run_handle(&r, IO_FSYNC, file), 0);
    open_file(&r, "/after");
    sim_host_crash(r.host);
    check_file(&r, "/before", "");
    check_file(&r, "/synced", "text");
    check_file(&r, "/after", NULL);
    sim_destroy(r.sim);
}

Test(disk, a_sync_commits_what_concerns_it_and_what_came_before)
{
    struct rig r = rig_ext4(1);
    keep(&r, 0, 0);
    open_file(&r, "/before");
    io_handle file = open_file(&r, "/file");
    open_file(&r, "/after");
    cr_assert_eq(run_handle(&r, IO_FSYNC, file), 0);
    sim_host_crash(r.host);
    check_file(&r, "/before", "");
    check_file(&r, "/file", "");
    check_file(&r, "/after", NULL);
    sim_destroy(r.sim);
}

Test(disk, a_sync_covers_names_that_were_there_when_it_was_submitted)
{
    for (int journal = 0; journal < 2; journal++) {
        struct rig r = rig_create(1);
        sim_disk_settings(r.host)->names = journal ? SIM_NAMES_EXT4 : SIM_NAMES_ANY;
        keep(&r, 0, 0);
        struct bare_op dir = {.op = {.kind = IO_OPEN, .path = {"/", NULL, O_RDONLY | O_DIRECTORY, 0}}};
        io_handle root = bare_run(r.sim, r.io, &dir);
        open_file(&r, "/before");
        struct bare_op sync = {.op = {.kind = IO_FSYNC, .handle = root}};
        bare_submit(r.io, &sync);
        io_handle meanwhile;
        cr_assert_eq(r.io->plain->open(r.io, "/meanwhile", O_RDWR | O_CREAT, 0600, &meanwhile), 0);
        sim_run_for(r.sim, SIM_S);
        cr_assert(sync.finished && sync.res == 0);
        sim_host_crash(r.host);
        check_file(&r, "/before", "");
        check_file(&r, "/meanwhile", NULL);
        sim_destroy(r.sim);
    }
}

Test(disk, a_rename_over_a_file_brings_its_data_along)
{
    for (int journal = 0; journal < 2; journal++) {
        struct rig r = rig_ext4(1);
        sim_disk_put(r.host, "/old", (struct cspan){(const uint8_t *)"old", 3});
        io_handle file = open_file(&r, "/new"), other = open_file(&r, "/other");
        cr_assert_eq(write_at(&r, file, 0, "new"), 3);
        cr_assert_eq(run_path(&r, IO_RENAME, "/new", "/old"), 0);
        keep(&r, 0, 0);
        if (journal) {
            cr_assert_eq(write_at(&r, other, 0, "grown"), 5);
            cr_assert_eq(run_handle(&r, IO_FSYNC, other), 0);
        }
        sim_host_crash(r.host);
        check_file(&r, "/old", journal ? "new" : "old");
        sim_destroy(r.sim);
    }
}

Test(disk, a_size_may_outlast_its_data)
{
    static const char zeros[1000];
    unsigned shorter = 0, zeroed = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct rig r = rig_create(seed);
        sim_disk_put(r.host, "/a", (struct cspan){(const uint8_t *)"old", 3});
        io_handle file = open_file(&r, "/a");
        cr_assert_eq(write_at(&r, file, 1, "ew, and more"), 12);
        cr_assert_eq(r.io->plain->truncate(r.io, file, 1000), 0);
        keep(&r, 0, 0);
        sim_disk_settings(r.host)->crash_zeros = SIM_ALWAYS / 2;
        sim_host_crash(r.host);
        struct cspan bytes = sim_disk_get(r.host, "/a");
        cr_assert(bytes.len == 3 || bytes.len == 13 || bytes.len == 1000);
        cr_assert_eq(memcmp(bytes.data, "old", 3), 0, "what was there is not zeroed");
        cr_assert_eq(memcmp(bytes.data + 3, zeros, bytes.len - 3), 0);
        shorter += bytes.len == 3;
        zeroed += bytes.len == 13;
        sim_destroy(r.sim);
    }
    cr_assert(shorter > 10 && zeroed > 10, "%u, %u", shorter, zeroed);
}

/* ---- rot, bad sectors, and disks that take their time ---- */

Test(disk, a_bad_sector_fails_reads_until_it_is_written)
{
    struct rig r = rig_create(1);
    static uint8_t data[8 * 512];
    uint8_t got[sizeof data];
    sim_disk_put(r.host, "/cold", (struct cspan){data, sizeof data});
    cr_assert_eq(sim_disk_bad_sectors(r.host, "warm", 1), 0);
    cr_assert_eq(sim_disk_bad_sectors(r.host, "cold", 1), 1);
    io_handle file = open_file(&r, "/cold");
    unsigned bad = 0, which = 0;
    for (unsigned i = 0; i < 8; i++) {
        struct bare_op read = {.op = {.kind = IO_READ, .handle = file, .buf = {got, 512, i * 512}}};
        int32_t res = bare_run(r.sim, r.io, &read);
        cr_assert(res == 512 || res == -EIO);
        which = res < 0 ? i : which;
        bad += res < 0;
    }
    cr_assert_eq(bad, 1);
    cr_assert_eq(r.io->plain->read(r.io, file, got, sizeof got, 0), -EIO);
    cr_assert_eq(r.io->plain->write(r.io, file, data, 512, which * 512), 0);
    cr_assert_eq(r.io->plain->read(r.io, file, got, sizeof got, 0), sizeof got);
    cr_assert_eq(r.io->plain->sync(r.io, file), 0);
    cr_assert_eq(sim_disk_bad_sectors(r.host, NULL, 2), 2);
    sim_disk_heal(r.host);
    cr_assert_eq(r.io->plain->read(r.io, file, got, sizeof got, 0), sizeof got);
    sim_destroy(r.sim);
}

Test(disk, rot_flips_bits_of_cold_files_only)
{
    struct rig r = rig_create(1);
    static const uint8_t zeros[1000];
    sim_disk_put(r.host, "/d/cold.x", (struct cspan){zeros, sizeof zeros});
    sim_disk_put(r.host, "/d/cold.y", (struct cspan){zeros, sizeof zeros});
    io_handle warm = open_file(&r, "/warm.x");
    cr_assert_eq(write_at(&r, warm, 0, "warm"), 4);
    cr_assert_eq(sim_disk_rot(r.host, ".z", 3), 0);
    cr_assert_eq(sim_disk_rot(r.host, ".x", 3), 3);
    struct cspan x = sim_disk_get(r.host, "/d/cold.x"), y = sim_disk_get(r.host, "/d/cold.y");
    unsigned flipped = 0;
    for (size_t i = 0; i < x.len; i++)
        flipped += (unsigned)__builtin_popcount(x.data[i]);
    cr_assert(flipped == 3 || flipped == 1, "a bit may flip back: %u", flipped);
    cr_assert_eq(memcmp(y.data, zeros, sizeof zeros), 0);
    check_file(&r, "/warm.x", "warm");
    sim_destroy(r.sim);
}

Test(disk, slow_operations_and_late_ones)
{
    struct rig r = rig_create(1);
    sim_disk_settings(r.host)->slow = (struct sim_range){SIM_S / 2, SIM_S / 2};
    uint64_t began = sim_now(r.sim);
    io_handle file = open_file(&r, "/a");
    cr_assert_geq(sim_now(r.sim) - began, SIM_S / 2);
    sim_disk_settings(r.host)->slow = (struct sim_range){0};
    sim_settings(r.sim)->late = SIM_ALWAYS / 2;
    sim_settings(r.sim)->late_max = SIM_S / 2;
    unsigned late = 0;
    for (int i = 0; i < 100; i++) {
        began = sim_now(r.sim);
        cr_assert_eq(write_at(&r, file, 0, "text"), 4);
        late += sim_now(r.sim) - began > 10 * SIM_MS;
    }
    cr_assert(late > 25 && late < 75, "%u of 100", late);
    sim_destroy(r.sim);
}
