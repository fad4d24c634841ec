#include "tests/support/redex_store.h"

#include <assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"
#include "storage/redex/redex_internal.h"

static void full_path(struct redex_store *s, const char *path, char out[4096])
{
    assert(snprintf(out, 4096, "%s/%s", s->base, path) < 4096);
}

static void on_progress(void *ctx, struct redex *log)
{
    struct redex_store *s = ctx;
    (void)log;
    s->progress++;
}

static void make_base(struct redex_store *s)
{
    const char *dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(s->base, sizeof s->base, "%s/redex-XXXXXX", dir);
    assert(mkdtemp(s->base));
}

void redex_store_init(struct redex_store *s)
{
    *s = (struct redex_store){0};
    io_posix_init(&s->disk);
    s->disk.io.wall = 1000;
    list_init(&s->dirty);
    timer_wheel_init(&s->timers, s->disk.io.now);
    redex_syncs_init(&s->syncs, 8);
    make_base(s);
    s->options = (struct redex_options){.mode = REDEX_DISK,
                                        .base = s->base,
                                        .name = "c",
                                        .dirty = &s->dirty,
                                        .timers = &s->timers,
                                        .syncs = &s->syncs,
                                        .stats = &s->stats,
                                        .progress = on_progress,
                                        .ctx = s};
}

void redex_store_init_from(struct redex_store *s, const char *from)
{
    redex_store_init(s);
    redex_store_copy(from, s->base);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

void redex_store_deinit(struct redex_store *s)
{
    if (s->log)
        redex_store_close(s);
    assert(nftw(s->base, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

int redex_store_open(struct redex_store *s)
{
    s->closed = false;
    return redex_open(&s->log, &s->disk.io, &s->options, &s->report);
}

static void on_closed(void *ctx, int err)
{
    struct redex_store *s = ctx;
    s->closed = true;
    s->close_err = err;
    s->log = NULL;
}

int redex_store_close(struct redex_store *s)
{
    redex_close(s->log, on_closed, s);
    io_posix_run(&s->disk);
    assert(s->closed && list_empty(&s->dirty));
    return s->close_err;
}

void redex_store_kill(struct redex_store *s)
{
    list_init(&s->disk.queue);
    s->disk.waiting = 0;
    s->log->writes = s->log->syncs = 0;
    s->log->reservation.busy = false;
    s->syncs.in_flight = 0;
    redex_free(s->log);
    s->log = NULL;
}

void redex_store_flush(struct redex_store *s)
{
    redex_flush_all(&s->dirty);
    io_posix_run(&s->disk);
}

void redex_store_sync(struct redex_store *s)
{
    redex_flush_all(&s->dirty);
    redex_want_sync(s->log, redex_next_seq(s->log));
    io_posix_run(&s->disk);
}

size_t redex_store_payload(uint64_t seq, char out[64])
{
    memset(out, 'a' + (int)(seq % 26), 64);
    int n = snprintf(out, 64, "%llu", (unsigned long long)seq);
    out[n] = '.';
    return (size_t)n + (size_t)(seq % 40);
}

void redex_store_fill(struct redex_store *s, uint64_t first, uint64_t count)
{
    char payload[64];
    for (uint64_t seq = first, got; seq < first + count; seq++) {
        size_t len = redex_store_payload(seq, payload);
        int err = redex_append(s->log, 1000000 + seq, (struct cspan){(uint8_t *)payload, len}, &got);
        assert(err == NET_OK && got == seq);
    }
}

void redex_store_make(struct redex_store *s, uint64_t count)
{
    int err = redex_store_open(s);
    assert(err == NET_OK);
    redex_store_fill(s, 0, count);
    err = redex_store_close(s);
    assert(err == NET_OK);
}

void redex_store_check(struct redex_store *s, uint64_t first, uint64_t end)
{
    struct redex_event e[7];
    uint64_t seq = 0, expect = first;
    char payload[64];
    for (size_t n; (n = redex_read(s->log, &seq, UINT64_MAX, e, 7)) > 0;) {
        for (size_t i = 0; i < n; i++, expect++) {
            size_t len = redex_store_payload(expect, payload);
            assert(e[i].seq == expect && e[i].data.len == len && memcmp(e[i].data.data, payload, len) == 0);
        }
    }
    assert(expect == end && redex_count(s->log) == end - first);
}

/* ---- files ---- */

void redex_store_write(struct redex_store *s, const char *path, const void *data, size_t len)
{
    char full[4096];
    full_path(s, path, full);
    for (char *p = full + strlen(s->base) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = 0;
        mkdir(full, 0700);
        *p = '/';
    }
    FILE *f = fopen(full, "wb");
    assert(f && fwrite(data, 1, len, f) == len && fclose(f) == 0);
}

size_t redex_store_read(struct redex_store *s, const char *path, void *out, size_t room)
{
    char full[4096];
    full_path(s, path, full);
    FILE *f = fopen(full, "rb");
    assert(f);
    size_t n = fread(out, 1, room, f);
    fclose(f);
    return n;
}

long redex_store_size(struct redex_store *s, const char *path)
{
    char full[4096];
    struct stat st;
    full_path(s, path, full);
    return stat(full, &st) < 0 ? -1 : (long)st.st_size;
}

void redex_store_truncate(struct redex_store *s, const char *path, long len)
{
    char full[4096];
    full_path(s, path, full);
    assert(truncate(full, len) == 0);
}

void redex_store_flip(struct redex_store *s, const char *path, size_t byte, unsigned bit)
{
    char full[4096];
    full_path(s, path, full);
    int fd = open(full, O_RDWR);
    uint8_t b = 0;
    assert(fd >= 0 && pread(fd, &b, 1, (off_t)byte) == 1);
    b ^= (uint8_t)(1u << bit);
    assert(pwrite(fd, &b, 1, (off_t)byte) == 1 && close(fd) == 0);
}

static void copy_file(const char *from, const char *to)
{
    uint8_t buffer[8192];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert(in && out);
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, in)) > 0;)
        assert(fwrite(buffer, 1, n, out) == n);
    fclose(in);
    assert(fclose(out) == 0);
}

struct copy {
    const char *from, *to;
};

static int copy_entry(void *ctx, const struct io_dirent *e)
{
    const struct copy *c = ctx;
    char from[4096], to[4096];
    assert(snprintf(from, sizeof from, "%s/%s", c->from, e->name) < 4096);
    assert(snprintf(to, sizeof to, "%s/%s", c->to, e->name) < 4096);
    if (e->is_dir)
        redex_store_copy(from, to);
    else
        copy_file(from, to);
    return 0;
}

void redex_store_copy(const char *from, const char *to)
{
    struct io_posix disk;
    struct copy c = {from, to};
    io_posix_init(&disk);
    mkdir(to, 0700);
    assert(disk.io.plain->list(&disk.io, from, copy_entry, &c) == 0);
}
