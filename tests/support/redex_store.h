/* A temporary base directory with one log in it, on io_posix: what the tests, the fuzzer and the benchmark of RedEX
 * share. */
#ifndef NM_TESTS_SUPPORT_REDEX_STORE_H
#define NM_TESTS_SUPPORT_REDEX_STORE_H

#include "storage/redex/redex.h"
#include "tests/support/io_posix.h"

/* The files of its first generation. */
#define STORE_DAT "c/v0000000001/dat"
#define STORE_IDX "c/v0000000001/idx"
#define STORE_TS "c/v0000000001/ts"

struct redex_store {
    struct io_posix disk;
    char base[128];
    struct list dirty;
    struct timer_wheel timers;
    struct redex_syncs syncs;
    struct redex_stats stats;
    struct redex_options options; /* for the next open; name and base are set */
    struct redex_report report;   /* of the last open */
    struct redex *log;
    unsigned progress; /* calls so far */
    bool closed;
    int close_err;
};

/* A new empty directory and the channel "c". The clock stands at wall = 1000 until a test moves it. */
void redex_store_init(struct redex_store *);
/* As above, with a copy of the directory `from` in it. */
void redex_store_init_from(struct redex_store *, const char *from);
void redex_store_deinit(struct redex_store *); /* closes, removes */

int redex_store_open(struct redex_store *);  /* net_err */
int redex_store_close(struct redex_store *); /* runs until closed; its err */
/* As kill -9: what waits is not performed, nothing is written any more. */
void redex_store_kill(struct redex_store *);
void redex_store_flush(struct redex_store *); /* one turn: flush what is dirty, run until nothing waits */
void redex_store_sync(struct redex_store *);  /* flush, sync everything, run */

/* A payload that is told by its sequence: text of seq % 40 bytes and more. Returns its length (at most 64). */
size_t redex_store_payload(uint64_t seq, char out[64]);
/* Appends `count` such payloads, as if their sequences were first, first + 1, ... Asserts that they are. */
void redex_store_fill(struct redex_store *, uint64_t first, uint64_t count);
/* Opens, fills with [0, count), closes. */
void redex_store_make(struct redex_store *, uint64_t count);
/* Asserts that exactly the payloads of [first, end) are in the log, in order. */
void redex_store_check(struct redex_store *, uint64_t first, uint64_t end);

/* Files below the base directory; `path` as in "c/v0000000001/idx". */
void redex_store_write(struct redex_store *, const char *path, const void *data, size_t len); /* makes directories */
size_t redex_store_read(struct redex_store *, const char *path, void *out, size_t room);      /* whole file or room */
long redex_store_size(struct redex_store *, const char *path);                                /* -1: not there */
void redex_store_truncate(struct redex_store *, const char *path, long len);
void redex_store_flip(struct redex_store *, const char *path, size_t byte, unsigned bit);
void redex_store_copy(const char *from, const char *to); /* a tree of plain files */

#endif
