/* The reactor's files and plain calls, in a directory that is removed afterwards. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/reactor_fixture.h"

static struct fixture f;
static char dir[64], path_a[80], path_b[80];

static void set_up(void)
{
    snprintf(dir, sizeof dir, "/tmp/nm-reactor-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path_a, sizeof path_a, "%s/a", dir);
    snprintf(path_b, sizeof path_b, "%s/b", dir);
    fixture_open(&f, 1, &loopback_v4);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void tear_down(void)
{
    fixture_close(&f);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(reactor_files, .init = set_up, .fini = tear_down);

static int32_t run_path(enum io_kind kind, const char *path, const char *path2, int flags, mode_t mode)
{
    struct tracked t = {.op = {.kind = kind, .path = {.path = path, .path2 = path2, .flags = flags, .mode = mode}}};
    return run_op(f.reactor[0], &t);
}

static int32_t run_handle(enum io_kind kind, io_handle h)
{
    struct tracked t = {.op = {.kind = kind, .handle = h}};
    return run_op(f.reactor[0], &t);
}

static int32_t run_write(io_handle h, const struct iovec *iov, uint32_t count, uint64_t offset)
{
    struct tracked t = {
        .op = {.kind = IO_WRITE, .handle = h, .write = {.iov = iov, .iov_count = count, .offset = offset}}};
    return run_op(f.reactor[0], &t);
}

static int32_t run_read(io_handle h, void *data, size_t len, uint64_t offset)
{
    struct tracked t = {.op = {.kind = IO_READ, .handle = h, .buf = {.data = data, .len = len, .offset = offset}}};
    return run_op(f.reactor[0], &t);
}

Test(reactor_files, gathered_write_sync_read)
{
    char one[] = "hello, ", two[] = "world", in[32] = "";
    struct iovec iov[] = {{one, 7}, {two, 5}};
    io_handle h = run_path(IO_OPEN, path_a, NULL, O_RDWR | O_CREAT | O_EXCL, 0600);
    cr_assert_geq(h, 0);
    cr_expect_eq(run_write(h, iov, 2, 0), 12);
    cr_expect_eq(run_write(h, iov + 1, 1, 4096), 5, "a hole is allowed");
    cr_expect_eq(run_handle(IO_FDATASYNC, h), 0);
    cr_expect_eq(run_handle(IO_FSYNC, h), 0);
    cr_expect_eq(run_read(h, in, sizeof in, 0), 32);
    cr_expect_eq(memcmp(in, "hello, world", 12), 0);
    cr_expect_eq(run_read(h, in, sizeof in, 4096), 5, "short at the end of the file");
    cr_expect_eq(run_read(h, in, sizeof in, 5000), 0);
    struct stat st;
    cr_assert_eq(stat(path_a, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    cr_expect_eq(st.st_size, 4101);
    cr_expect_eq(run_handle(IO_CLOSE, h), 0);
    cr_expect_eq(run_read(h, in, sizeof in, 0), -EBADF);
}

Test(reactor_files, errors_are_errno_values)
{
    char byte = 0;
    struct iovec iov = {&byte, 1};
    cr_expect_eq(run_path(IO_OPEN, path_a, NULL, O_RDWR, 0), -ENOENT);
    cr_expect_eq(run_path(IO_UNLINK, path_a, NULL, 0, 0), -ENOENT);
    cr_expect_eq(run_path(IO_RENAME, path_a, path_b, 0, 0), -ENOENT);
    cr_expect_eq(run_path(IO_MKDIR, dir, NULL, 0, 0700), -EEXIST);
    io_handle h = run_path(IO_OPEN, path_a, NULL, O_RDONLY | O_CREAT, 0600);
    cr_assert_geq(h, 0);
    cr_expect_eq(run_write(h, &iov, 1, 0), -EBADF);
    cr_expect_eq(run_handle(IO_CLOSE, h), 0);
}

Test(reactor_files, a_write_cut_by_a_limit_is_short)
{
    static char bytes[8192];
    struct iovec iov = {bytes, sizeof bytes};
    io_handle h = run_path(IO_OPEN, path_a, NULL, O_RDWR | O_CREAT, 0600);
    struct rlimit limit = {4096, RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN);
    cr_expect_eq(run_write(h, &iov, 1, 0), 4096);
    cr_expect_eq(run_write(h, &iov, 1, 4096), -EFBIG);
    cr_expect_eq(run_handle(IO_CLOSE, h), 0);
}

Test(reactor_files, rename_unlink_mkdir_and_sync_of_a_directory)
{
    char sub[96];
    snprintf(sub, sizeof sub, "%s/sub", dir);
    cr_expect_eq(run_path(IO_MKDIR, sub, NULL, 0, 0700), 0);
    io_handle h = run_path(IO_OPEN, path_a, NULL, O_WRONLY | O_CREAT, 0600);
    cr_expect_eq(run_handle(IO_CLOSE, h), 0);
    cr_expect_eq(run_path(IO_RENAME, path_a, path_b, 0, 0), 0);
    cr_expect_eq(access(path_a, F_OK), -1);
    cr_expect_eq(access(path_b, F_OK), 0);
    io_handle d = run_path(IO_OPEN, dir, NULL, O_RDONLY | O_DIRECTORY, 0);
    cr_assert_geq(d, 0);
    cr_expect_eq(run_handle(IO_FSYNC, d), 0);
    cr_expect_eq(run_handle(IO_CLOSE, d), 0);
    cr_expect_eq(run_path(IO_UNLINK, path_b, NULL, 0, 0), 0);
    cr_expect_eq(access(path_b, F_OK), -1);
}

Test(reactor_files, many_at_once_more_than_the_queue_holds)
{
    enum { COUNT = 600 };
    static struct tracked t[COUNT];
    static uint32_t numbers[COUNT], back[COUNT];
    static struct iovec iov[COUNT];
    io_handle h = run_path(IO_OPEN, path_a, NULL, O_RDWR | O_CREAT, 0600);
    for (uint32_t i = 0; i < COUNT; i++) {
        numbers[i] = i * 2654435761u;
        iov[i] = (struct iovec){&numbers[i], 4};
        t[i] = (struct tracked){.op = {.kind = IO_WRITE,
                                       .done = tracked_done,
                                       .handle = h,
                                       .write = {.iov = &iov[i], .iov_count = 1, .offset = 4u * i}}};
        io_submit(f.io[0], &t[i].op);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        turn_until_idle(f.reactor[0], &t[i].op);
        cr_expect_eq(t[i].completions, 1);
        cr_expect_eq(t[i].res, 4);
    }
    cr_expect_eq(f.io[0]->plain->read(f.io[0], h, back, sizeof back, 0), sizeof back);
    cr_expect_eq(memcmp(back, numbers, sizeof back), 0);
    cr_expect_eq(run_handle(IO_CLOSE, h), 0);
}

Test(reactor_files, destroy_while_operations_are_pending)
{
    enum { COUNT = 300 };
    static struct tracked t[COUNT + 1];
    static char block[65536];
    static struct iovec iov = {block, sizeof block};
    struct fixture own;
    fixture_open(&own, 1, &loopback_v4);
    io_handle h;
    cr_assert_eq(own.io[0]->plain->open(own.io[0], path_a, O_RDWR | O_CREAT, 0600, &h), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        t[i] = (struct tracked){.op = {.kind = i % 10 ? IO_WRITE : IO_FDATASYNC, .done = tracked_done, .handle = h}};
        t[i].op.write.iov = &iov;
        t[i].op.write.iov_count = 1;
        t[i].op.write.offset = (uint64_t)i * sizeof block;
        io_submit(own.io[0], &t[i].op);
    }
    t[COUNT] = (struct tracked){.op = {.kind = IO_UDP_RECV, .done = tracked_done, .handle = own.io[0]->udp}};
    io_submit(own.io[0], &t[COUNT].op);
    cr_expect(reactor_busy(own.reactor[0]));
    fixture_close(&own);
    for (unsigned i = 0; i <= COUNT; i++) {
        cr_expect_eq(t[i].completions, 1);
        cr_expect_not(t[i].op.pending);
    }
    cr_expect_eq(t[COUNT].res, -ECANCELED);
    cr_assert_eq(close(h), 0);
}

Test(reactor_files, plain_calls)
{
    struct io *io = f.io[0];
    const struct io_plain *p = io->plain;
    io_handle h, other;
    char in[16] = "";
    cr_expect_eq(p->open(io, path_a, O_RDWR, 0, &h), -ENOENT);
    cr_assert_eq(p->open(io, path_a, O_RDWR | O_CREAT, 0600, &h), 0);
    cr_expect_eq(p->write(io, h, "0123456789", 10, 5), 0);
    cr_expect_eq(p->size(io, h), 15);
    cr_expect_eq(p->truncate(io, h, 10), 0);
    cr_expect_eq(p->size(io, h), 10);
    cr_expect_eq(p->read(io, h, in, sizeof in, 5), 5);
    cr_expect_eq(memcmp(in, "01234", 5), 0);
    cr_expect_eq(p->sync(io, h), 0);
    cr_expect_eq(p->sync_dir(io, dir), 0);
    cr_expect_eq(p->sync_dir(io, path_a), -ENOTDIR);

    cr_expect_eq(p->lock(io, h), 0);
    cr_assert_eq(p->open(io, path_a, O_RDWR, 0, &other), 0);
    cr_expect_eq(p->lock(io, other), -EWOULDBLOCK, "held elsewhere");
    cr_expect_eq(p->close(io, h), 0);
    cr_expect_eq(p->lock(io, other), 0, "gone with its holder");
    cr_expect_eq(p->close(io, other), 0);
    cr_expect_eq(p->close(io, other), -EBADF);

    cr_expect_eq(p->rename(io, path_a, path_b), 0);
    cr_expect_eq(p->unlink(io, path_a), -ENOENT);
    cr_expect_eq(p->mkdir(io, path_a, 0700), 0);
    cr_expect_eq(p->rmdir(io, path_a), 0);
    cr_expect_eq(p->rmdir(io, path_a), -ENOENT);
}

Test(reactor_files, a_handle_serves_both_kinds_of_calls)
{
    struct io *io = f.io[0];
    char text[] = "both";
    struct iovec iov = {text, 4};
    io_handle h = run_path(IO_OPEN, path_a, NULL, O_RDWR | O_CREAT, 0600), plain;
    cr_expect_eq(run_write(h, &iov, 1, 0), 4);
    cr_expect_eq(io->plain->size(io, h), 4);
    cr_expect_eq(io->plain->truncate(io, h, 2), 0);
    cr_assert_eq(io->plain->open(io, path_a, O_RDWR, 0, &plain), 0);
    cr_expect_eq(run_write(plain, &iov, 1, 2), 4);
    cr_expect_eq(io->plain->size(io, h), 6);
    cr_expect_eq(run_handle(IO_CLOSE, plain), 0);
    cr_expect_eq(io->plain->close(io, h), 0);
}

struct listing {
    unsigned files, dirs, others;
    int stop_after;
};

static int on_entry(void *ctx, const struct io_dirent *e)
{
    struct listing *l = ctx;
    cr_expect_neq(e->name[0], '.');
    l->files += e->is_file;
    l->dirs += e->is_dir;
    l->others += !e->is_file && !e->is_dir;
    return l->stop_after && --l->stop_after == 0 ? 77 : 0;
}

Test(reactor_files, listing)
{
    struct io *io = f.io[0];
    struct listing l = {0};
    io_handle h;
    char link[96];
    snprintf(link, sizeof link, "%s/link", dir);
    cr_expect_eq(io->plain->list(io, dir, on_entry, &l), 0);
    cr_expect_eq(l.files + l.dirs + l.others, 0);
    cr_assert_eq(io->plain->open(io, path_a, O_RDWR | O_CREAT, 0600, &h), 0);
    io->plain->close(io, h);
    io->plain->mkdir(io, path_b, 0700);
    cr_assert_eq(symlink(path_a, link), 0);
    cr_expect_eq(io->plain->list(io, dir, on_entry, &l), 0);
    cr_expect_eq(l.files, 1);
    cr_expect_eq(l.dirs, 1);
    cr_expect_eq(l.others, 1);
    l.stop_after = 1;
    cr_expect_eq(io->plain->list(io, dir, on_entry, &l), 77);
    cr_expect_eq(io->plain->list(io, "/no/such/place", on_entry, &l), -ENOENT);
}

Test(reactor_files, path_payload_of_loopback)
{
    struct io *io = f.io[0];
    struct io_addr v4 = with_port(loopback_v4, 9), v6 = with_port(loopback_v6, 9);
    cr_expect_eq(io->plain->path_payload(io, &v4), 65507);
    cr_expect_eq(io->plain->path_payload(io, &v6), 65536 - 48);
    struct io_addr broadcast = {.ip = {[10] = 0xff, 0xff, 255, 255, 255, 255}, .port = 9};
    cr_expect_lt(io->plain->path_payload(io, &broadcast), 0);
}

Test(reactor_files, boot_id_is_the_kernels)
{
    uint8_t id[16];
    char text[64] = "", hex[33] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(text, sizeof text, file));
    fclose(file);
    f.io[0]->plain->boot_id(f.io[0], id);
    for (unsigned i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", id[i]);
    unsigned at = 0;
    for (const char *c = text; *c && *c != '\n'; c++)
        if (*c != '-')
            cr_expect_eq(*c, hex[at++]);
    cr_expect_eq(at, 32);
}

Test(reactor_files, randomness_in_pieces_of_every_size)
{
    static uint8_t big[10000];
    uint64_t seen[64];
    for (unsigned i = 0; i < 64; i++) {
        io_random(f.io[0], &seen[i], sizeof seen[i]);
        for (unsigned k = 0; k < i; k++)
            cr_expect_neq(seen[i], seen[k]);
    }
    /* 10,000 bytes by 4096, 1000s and ones: each value of a byte is expected some 39 times. */
    unsigned histogram[256] = {0};
    size_t at = 0;
    io_random(f.io[0], big, 5000);
    io_random(f.io[0], big + 5000, 4096);
    for (at = 9096; at < sizeof big; at++)
        io_random(f.io[0], big + at, 1);
    for (size_t i = 0; i < sizeof big; i++)
        histogram[big[i]]++;
    for (unsigned i = 0; i < 256; i++)
        cr_expect(histogram[i] > 5 && histogram[i] < 110, "byte %u came %u times", i, histogram[i]);
}
