/*
 * redex_tool BASE CHANNEL [COUNT [RETAIN]]: opens the log, appends COUNT events (every third inline), of which the log
 * retains the newest RETAIN, closes it cleanly and prints each event that is in it as a line: sequence, time in ns, i
 * or h, payload in hex. Exit 1 with the reason on stderr.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "storage/redex/redex.h"
#include "tests/support/io_posix.h"

static void on_closed(void *ctx, int err)
{
    *(int *)ctx = err;
}

static int append(struct redex *log, uint64_t ts_ns)
{
    char payload[32];
    uint64_t seq = redex_next_seq(log);
    int len = snprintf(payload, sizeof payload, "ours%04u", (unsigned)(seq % 10000));
    if (seq % 3 == 0)
        return redex_append_inline(log, ts_ns, (const uint8_t *)payload, &seq);
    return redex_append(log, ts_ns, (struct cspan){(const uint8_t *)payload, (size_t)len - seq % 5}, &seq);
}

static void print(struct redex *log)
{
    struct redex_event e;
    uint64_t seq = 0;
    while (redex_read(log, &seq, UINT64_MAX, &e, 1) == 1) {
        printf("%llu %llu %c ", (unsigned long long)e.seq, (unsigned long long)e.ts_ns, e.is_inline ? 'i' : 'h');
        for (size_t i = 0; i < e.data.len; i++)
            printf("%02x", e.data.data[i]);
        putchar('\n');
    }
}

int main(int argc, char **argv)
{
    struct io_posix disk;
    struct redex *log;
    if (argc < 3)
        return 2;
    io_posix_init(&disk);
    disk.io.wall = UINT64_C(1750000000000000000);
    struct list dirty;
    struct timer_wheel timers;
    struct redex_syncs syncs;
    struct redex_stats stats = {0};
    list_init(&dirty);
    timer_wheel_init(&timers, disk.io.now);
    redex_syncs_init(&syncs, 8);
    struct redex_options options = {.mode = REDEX_DISK,
                                    .base = argv[1],
                                    .name = argv[2],
                                    .policy.retain_events = argc > 4 ? (uint64_t)atoi(argv[4]) : 0,
                                    .min_dead = 1000,
                                    .dirty = &dirty,
                                    .timers = &timers,
                                    .syncs = &syncs,
                                    .stats = &stats};
    int err = redex_open(&log, &disk.io, &options, NULL);
    if (err == NET_OK) {
        for (int i = argc > 3 ? atoi(argv[3]) : 0; i > 0 && err == NET_OK; i--)
            err = append(log, disk.io.wall);
        while (redex_flush_all(&dirty) || io_posix_run(&disk) > 0 || !list_empty(&dirty))
            ;
        print(log);
        int closed = NET_OK;
        redex_close(log, on_closed, &closed);
        io_posix_run(&disk);
        err = err == NET_OK ? closed : err;
    }
    if (err != NET_OK)
        fprintf(stderr, "%s: %s\n", argv[2], net_err_text(err));
    return err == NET_OK ? 0 : 1;
}
