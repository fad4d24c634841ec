/* A compaction under way: what compact.c (memory) and compact_files.c, compact_rounds.c (disk) share. */
#ifndef NM_STORAGE_REDEX_COMPACT_H
#define NM_STORAGE_REDEX_COMPACT_H

#include "storage/redex/redex_internal.h"

/* The order of things on disk. What comes before RENAME can be given up. */
enum compact_step {
    STEP_MAKE,     /* v<next> */
    STEP_OPEN,     /* its files, one by one */
    STEP_COPY,     /* a round: a part of what there is, in slices */
    STEP_SYNC,     /* ... and another round, while much is left */
    STEP_OPEN_DIR, /* v<next>, and the root */
    STEP_SYNC_DIR,
    STEP_OPEN_TMP, /* manifest.tmp */
    STEP_WRITE_TMP,
    STEP_SYNC_TMP,
    STEP_QUIET,     /* the log's own writes and syncs come to an end, and none begins */
    STEP_COPY_REST, /* what came since the last round */
    STEP_SYNC_REST,
    STEP_RENAME,
    STEP_SYNC_ROOT, /* and the log changes over */
    /* Of the generation that was left, or given up: */
    STEP_CLOSE,
    STEP_UNLINK,
    STEP_UNLINK_TMP,
    STEP_REMOVE_DIR
};

enum { HANDLE_DIR = PARTS, HANDLE_ROOT, HANDLE_TMP, HANDLES };

struct compact_part {
    struct redex_compaction *compaction;
    uint64_t base; /* of the log's file: byte 0 of the new one */
    bool moves;    /* the new file has a mirror of its own, `fresh`; afterwards that is the old one */
    struct redex_memory fresh;
    uint64_t copied;        /* bytes of the new file in `fresh` */
    uint64_t written, goal; /* ... in the file, and those of this round */
    uint64_t slice_end;     /* of the write in flight */
    struct iovec iov;
    struct io_op op;
};

struct redex_compaction {
    struct redex *log;
    struct compact_part part[PARTS];
    bool retiring;   /* the memory in `fresh` is not needed any more */
    bool files_done; /* nothing is left to do on disk */
    int err;         /* why it was given up */

    /* compact_files.c */
    enum compact_step step;
    unsigned at, rounds, ops; /* which file or handle; rounds so far; operations in flight */
    bool canceled;            /* the log is closing */
    bool keep;                /* both generations stay: nobody knows which one the disk has */
    bool has_tmp;             /* manifest.tmp is there */
    int op_err;               /* of the operations in flight, negative errno */
    uint64_t sync_at, end_seq;
    uint32_t generation; /* the next one; when the log has changed over, the one it left */
    io_handle handle[HANDLES];
    struct redex_sync_request sync_request;
    struct redex_path path, path2;
    uint8_t manifest[MANIFEST_SIZE];
    struct iovec iov;
    struct io_op op;
};

/* compact.c */
const uint8_t *compact_source(const struct redex_compaction *, enum redex_part, uint64_t at);
uint64_t compact_len(const struct redex_compaction *, enum redex_part); /* the new file has so many bytes to hold now */
/* Copies a part's bytes below `to` into its own mirror, if it has one. NET_ERR_NO_MEMORY, NET_ERR_FULL. */
int compact_copy(struct redex_compaction *, enum redex_part, uint64_t to);
int compact_copy_all(struct redex_compaction *);
/* Everything is copied: from now on the log is the new generation, in memory. */
void compact_change_over(struct redex_compaction *);
/* The last act, after which the compaction is gone. */
void compact_end(struct redex_compaction *);

/* compact_files.c */
void compact_files_start(struct redex_compaction *);
/* Without waiting for anything. */
void compact_files_drop(struct redex_compaction *);
void compact_go(struct redex_compaction *, enum compact_step);
/* The log goes on in its old files. */
void compact_give_up(struct redex_compaction *, int err);
/* Gives up, and says so, if the log is closing or poisoned and it is not too late. */
bool compact_must_stop(struct redex_compaction *);

/* compact_rounds.c */
enum { COMPACT_ROUND = 32 << 20 }; /* bytes of a part between two syncs */
/* Sets the goals of a round: so much more of each part, or all there is. */
void compact_set_goals(struct redex_compaction *, uint64_t more);
/* Writes a slice of each part that is not at its goal; when all are, the next step follows. */
void compact_write_slices(struct redex_compaction *);
/* The new files may be synced: the next step, or another round, follows. */
unsigned compact_on_place(struct redex_sync_request *);

#endif
