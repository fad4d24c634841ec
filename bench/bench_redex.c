/*
 * RedEX against what the machine can do: appends in memory, to disk unsynced and durable, and recovery. Each figure
 * stands beside plain system calls with the same sizes, measured in the same run; the ratios travel, the rates do not.
 *
 *     bench_redex [DIRECTORY]      (default: the current one; it decides which file system is measured)
 */
#include <assert.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench/measure.h"
#include "core/base/err.h"
#include "storage/redex/redex_internal.h"
#include "tests/support/redex_store.h"

enum { BATCH = 256, TOTAL = 96 << 20, DURABLE_ROUNDS = 200 };

static double now(void) /* seconds */
{
    return (double)now_ns() / NS_PER_S;
}

struct frames {
    uint8_t *bytes;
    size_t len;
    uint32_t count;
};

/* A batch as it comes from the wire: u32 length + bytes, `size` bytes each. */
static struct frames make_frames(size_t size)
{
    struct frames f = {.len = BATCH * (4 + size), .count = BATCH};
    f.bytes = malloc(f.len);
    assert(f.bytes);
    for (size_t i = 0; i < f.len; i++)
        f.bytes[i] = (uint8_t)(i * 31);
    for (size_t i = 0; i < BATCH; i++)
        store_le32(f.bytes + i * (4 + size), (uint32_t)size);
    return f;
}

static void open_store(struct redex_store *s, const char *dir, enum redex_mode mode)
{
    redex_store_init(s);
    if (dir) {
        rmdir(s->base);
        assert(snprintf(s->base, sizeof s->base, "%s/bench-redex-XXXXXX", dir) < (int)sizeof s->base &&
               mkdtemp(s->base));
    }
    s->disk.sync_for_real = true;
    s->options.mode = mode;
    assert(redex_store_open(s) == NET_OK);
}

/* Events per second; `turn` batches are appended between two flushes. */
static double append_rate(const char *dir, enum redex_mode mode, size_t size, unsigned turn, unsigned rounds,
                          bool durable)
{
    struct redex_store s;
    struct frames f = make_frames(size);
    uint64_t first;
    open_store(&s, dir, mode);
    double start = now();
    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned k = 0; k < turn; k++) {
            while (redex_append_frames(s.log, 1, (struct cspan){f.bytes, f.len}, f.count, &first) != NET_OK)
                redex_store_flush(&s);
        }
        if (durable)
            redex_store_sync(&s);
        else
            redex_store_flush(&s);
    }
    double rate = (double)rounds * turn * BATCH / (now() - start);
    redex_store_deinit(&s);
    free(f.bytes);
    return rate;
}

/* The same bytes into memory that was never touched before. */
static double memcpy_rate(size_t size, unsigned rounds)
{
    struct frames f = make_frames(size);
    size_t total = (size_t)rounds * BATCH * (size + RECORD_SIZE + STAMP_SIZE);
    struct redex_memory m;
    assert(redex_memory_reserve(&m, total, total) == NET_OK && redex_memory_grow(&m, total) == NET_OK);
    uint8_t *at = m.base;
    double start = now();
    for (unsigned i = 0; i < rounds; i++)
        for (unsigned k = 0; k < BATCH; k++, at += size + RECORD_SIZE + STAMP_SIZE)
            memcpy(at, f.bytes + k * (4 + size),
                   size + RECORD_SIZE + STAMP_SIZE > f.len - k * (4 + size) ? f.len - k * (4 + size)
                                                                            : size + RECORD_SIZE + STAMP_SIZE);
    double rate = (double)rounds * BATCH / (now() - start);
    redex_memory_release(&m);
    free(f.bytes);
    return rate;
}

/* write(2) and fdatasync(2) of the same bytes to the same three files. */
static double write_rate(const char *dir, size_t size, unsigned turn, unsigned rounds, bool durable)
{
    size_t per_event[PARTS] = {size, RECORD_SIZE, STAMP_SIZE}, len[PARTS];
    uint8_t *bytes = calloc(turn * BATCH, size + RECORD_SIZE);
    int fd[PARTS];
    char path[PARTS][256];
    assert(bytes);
    for (int i = 0; i < PARTS; i++) {
        len[i] = per_event[i] * turn * BATCH;
        snprintf(path[i], sizeof path[i], "%s/bench-write-XXXXXX", dir);
        fd[i] = mkstemp(path[i]);
        assert(fd[i] >= 0);
    }
    double start = now();
    for (unsigned k = 0; k < rounds; k++) {
        for (int i = 0; i < PARTS; i++)
            assert(write(fd[i], bytes, len[i]) == (ssize_t)len[i]);
        for (int i = 0; i < PARTS && durable; i++)
            assert(fdatasync(fd[i]) == 0);
    }
    double rate = (double)rounds * turn * BATCH / (now() - start);
    for (int i = 0; i < PARTS; i++) {
        close(fd[i]);
        unlink(path[i]);
    }
    free(bytes);
    return rate;
}

static void print(const char *what, size_t size, double ours, const char *limit, double theirs)
{
    printf("%-28s %5zu B %12.0f events/s %12.0f %-22s ratio %.2f\n", what, size, ours, theirs, limit, ours / theirs);
}

static void recovery(const char *dir, size_t size)
{
    struct redex_store s;
    struct frames f = make_frames(size);
    uint64_t first;
    unsigned rounds = (unsigned)(TOTAL / (size + RECORD_SIZE + STAMP_SIZE) / BATCH);
    open_store(&s, dir, REDEX_DISK);
    for (unsigned i = 0; i < rounds; i++) {
        while (redex_append_frames(s.log, 1, (struct cspan){f.bytes, f.len}, f.count, &first) != NET_OK)
            redex_store_flush(&s);
    }
    assert(redex_store_close(&s) == NET_OK);
    double start = now();
    assert(redex_store_open(&s) == NET_OK);
    double opened = now() - start, bytes = (double)rounds * BATCH * (double)(size + RECORD_SIZE + STAMP_SIZE);

    uint8_t *room = malloc((size_t)bytes);
    assert(room);
    start = now();
    for (int i = 0; i < PARTS; i++)
        assert(s.disk.io.plain->read(&s.disk.io, s.log->file[i].handle, room, s.log->file[i].len, 0) ==
               (ssize_t)s.log->file[i].len);
    double read = now() - start;
    free(room);
    print("recovery (cached)", size, (double)rounds * BATCH / opened, "read(2) alone", (double)rounds * BATCH / read);
    redex_store_deinit(&s);
    free(f.bytes);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {64, 256, 1024};
    const char *dir = argc > 1 ? argv[1] : ".";
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i];
        unsigned batches = (unsigned)(TOTAL / (size + RECORD_SIZE + STAMP_SIZE) / BATCH), turns = batches / 8;
        print("append, memory", size, append_rate(NULL, REDEX_MEMORY, size, 1, batches, false), "memcpy to new memory",
              memcpy_rate(size, batches));
        print("append, disk, 2048 a turn", size, append_rate(dir, REDEX_DISK, size, 8, turns, false), "write(2)",
              write_rate(dir, size, 8, turns, false));
        print("append, durable, 256 a turn", size, append_rate(dir, REDEX_DISK, size, 1, DURABLE_ROUNDS, true),
              "write(2) + fdatasync(2)", write_rate(dir, size, 1, DURABLE_ROUNDS, true));
        recovery(dir, size);
    }
    return 0;
}
