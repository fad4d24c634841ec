/* What a sync of this disk costs: an append of 4 KiB to a file in the directory and an fdatasync, again and again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/doctor/doctor.h"
#include "cli/http.h"
#include "core/base/text.h"

enum { BLOCK = 4096 };
static const uint64_t PATIENCE_NS = 10000000000; /* a slow disk is known to be one long before */

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int sync_once(int fd, uint64_t *ns)
{
    static const uint8_t block[BLOCK];
    uint64_t from = http_now();
    ssize_t n = write(fd, block, sizeof block);
    if (n != (ssize_t)sizeof block)
        return n < 0 ? errno : ENOSPC;
    if (fdatasync(fd) != 0)
        return errno;
    *ns = http_now() - from;
    return 0;
}

void doctor_measure_sync(struct doctor_dir *d, bool quiet)
{
    char path[CONFIG_PATH_MAX + 32];
    uint64_t samples[DOCTOR_SYNCS], until = http_now() + PATIENCE_NS;
    bool show = !quiet && isatty(STDERR_FILENO);
    text_format(path, sizeof path, "%s/doctor-XXXXXX", d->dir);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        d->sync.error = errno;
        return;
    }
    unlink(path); /* nothing is left, however this ends */
    while (d->sync.count < DOCTOR_SYNCS && http_now() < until) {
        d->sync.error = sync_once(fd, &samples[d->sync.count]);
        if (d->sync.error)
            break;
        d->sync.count++;
        if (show && d->sync.count % 10 == 0)
            fprintf(stderr, "\rmeasuring fdatasync: %u of %u\033[K", d->sync.count, (unsigned)DOCTOR_SYNCS);
    }
    close(fd);
    if (show)
        fputs("\r\033[K", stderr);
    qsort(samples, d->sync.count, sizeof samples[0], by_size);
    if (d->sync.count) {
        d->sync.p50_ns = samples[d->sync.count / 2];
        d->sync.p99_ns = samples[(uint64_t)d->sync.count * 99 / 100];
    }
}
