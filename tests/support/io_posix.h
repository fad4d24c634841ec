/*
 * The I/O seam on plain POSIX calls, for files only: what a storage test needs, without a ring and without a
 * simulator. Operations wait in a queue until io_posix_run() or io_posix_step() performs them, oldest first, so a test
 * decides when a write completes. Faults are injected by count. fsync and fdatasync reach the disk only if
 * `sync_for_real` is set.
 */
#ifndef NM_TESTS_SUPPORT_IO_POSIX_H
#define NM_TESTS_SUPPORT_IO_POSIX_H

#include "core/io/io.h"

/* The `after`-th operation of the kind from now on (0 = the next one), and the `times` - 1 after it. */
struct io_posix_fault {
    unsigned after, times;
    int err;        /* positive errno: the operation fails with it and does nothing */
    size_t at_most; /* if err is 0: the write does only so many bytes */
};

struct io_posix {
    struct io io;          /* first: what the code under test is given */
    struct io_plain plain; /* `io` points here: a test may put a function of its own in a place */
    struct list queue;
    unsigned waiting;                           /* operations in the queue */
    unsigned writes, syncs, max_waiting_writes; /* how many were performed; most writes that waited at once */
    struct io_posix_fault write_fault, sync_fault, plain_write_fault, plain_sync_fault;
    struct io_posix_fault
        name_fault; /* of operations but writes and fdatasyncs, of the kinds whose bits are set here: */
    uint32_t name_kinds;
    bool sync_for_real;
    uint8_t boot[16];
    uint64_t random; /* seed of what io_random() gives */
};

void io_posix_init(struct io_posix *);
/* Performs the oldest operation and calls its `done`; false if there is none. */
bool io_posix_step(struct io_posix *);
/* Steps until nothing waits, what the callbacks submit included. Returns how many were performed. */
unsigned io_posix_run(struct io_posix *);

#endif
