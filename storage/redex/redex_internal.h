/* What the files of this folder share. Read redex.h first, then open.c (the order of a log's life). */
#ifndef NM_STORAGE_REDEX_REDEX_INTERNAL_H
#define NM_STORAGE_REDEX_REDEX_INTERNAL_H

#include "core/base/err.h"
#include "storage/redex/record.h"
#include "storage/redex/redex.h"

/* redex.md 9: no more payload than this in one generation, so that every offset fits 32 bits. */
#define REDEX_MAX_BYTES (UINT64_C(3) << 30)
/* Address space of the index in records; stamps have as many. 268 M events, 7.5 GiB of addresses, no memory. */
#define REDEX_MAX_RECORDS (UINT64_C(1) << 28)
/* Logs of a shard that write a new generation at the same time. */
enum { REDEX_COMPACTIONS = 2 };

/* ---- memory.c: address space whose front is committed; pointers into it never move ---- */

struct redex_memory {
    uint8_t *base;           /* of byte 0 */
    size_t committed, space; /* bytes from `base` on */
    uint8_t *map;            /* the whole of it, from before `base` on */
    size_t map_size, discarded;
};

/* Reserves `want` bytes of addresses, or less where they are scarce, but at least `need`. NET_ERR_NO_MEMORY. */
int redex_memory_reserve(struct redex_memory *, size_t want, size_t need);
/* Makes the first `size` bytes usable. NET_ERR_FULL beyond the space, NET_ERR_NO_MEMORY. */
int redex_memory_grow(struct redex_memory *, size_t size);
/* The first `size` bytes are not needed any more: most of their pages go back to the system, some of them now. True:
 * there are more to go. */
bool redex_memory_discard(struct redex_memory *, size_t size);
/* What was byte `size` is byte 0 from now on; it stays where it is. */
void redex_memory_advance(struct redex_memory *, size_t size);
/* Releases some of it, from the front; all is lost from the first call on. False: nothing is left. */
bool redex_memory_release_some(struct redex_memory *, size_t size);
void redex_memory_release(struct redex_memory *);

static inline int redex_memory_commit(struct redex_memory *m, uint64_t size)
{
    return size <= m->committed ? NET_OK : redex_memory_grow(m, size);
}

/* ---- the log ---- */

enum redex_part { PART_DAT, PART_IDX, PART_TS, PARTS };

/* One of the three files. Memory holds [0, len), the page cache [0, written), the disk [0, synced). */
struct redex_file {
    struct redex *log;
    struct redex_memory memory;
    uint64_t len, written, synced;
    uint64_t write_end; /* of the flush in flight */
    uint64_t sync_end;  /* of the sync in flight */
    io_handle handle;
    struct iovec iov;
    struct io_op write, sync;
};

enum { SEQ_SLOT_SIZE = 64 };

/* The `seq~` file: how far sequences may be given away. reserve.c */
struct redex_reservation {
    uint64_t reserved;   /* on stable storage: sequences below it may be used */
    uint64_t requested;  /* an append that was refused needs this much */
    uint64_t pending;    /* what the record in flight reserves */
    uint64_t version;    /* of the newest good record */
    uint64_t start, end; /* next_seq and end of the state at open, repeated in every record of this run */
    unsigned slot;       /* where the next record goes; the other slot holds the newest good one */
    bool busy, clean;    /* an operation is in flight; the file says the stop was clean */
    bool marking_clean;  /* the record in flight is the last one */
    bool skipping;       /* ... is that of a mirror's hole */
    bool sync_failed;    /* what is in the page cache may not be on the disk: records say so */
    bool say_failed;     /* ... and one has to be written for it */
    uint8_t boot[16];
    uint8_t record[SEQ_SLOT_SIZE];
    size_t done; /* bytes of `record` written */
    io_handle handle;
    struct iovec iov;
    struct io_op op;
};

struct redex_compaction;

struct redex {
    struct io *io;
    enum redex_mode mode;
    uint64_t next_seq, written_seq, synced_seq;
    /* Of what is retained. The files, and memory, begin with `head` records that are not. */
    uint64_t head, count, payload_bytes, heap_bytes;
    uint64_t dat_head; /* no retained payload begins before */
    uint64_t damaged;
    uint64_t max_dirty, max_bytes, min_dead, dat_limit;
    struct redex_file file[PARTS];
    struct redex_policy policy;
    int error; /* what redex_error() says */
    bool patient, mirror;
    bool closing;    /* redex_close() was called */
    bool retains;    /* the policy has a limit */
    bool ascending;  /* each payload begins where the one before ends, or behind: all but in logs that were damaged */
    bool paused;     /* a compaction is about to change over: no write or sync begins */
    bool tell_owner; /* the first sequence moved, or room came back */

    struct redex_compaction *compaction; /* under way, or NULL */
    uint64_t compact_at;                 /* not before this io_now() */
    int compact_error;                   /* why the last one failed */
    struct timer turn_timer;             /* brings the log into the dirty list */

    uint64_t hold;           /* what has this sequence or a higher one is not written yet; UINT64_MAX: all may be */
    uint64_t flush_seq;      /* the flush in flight covers what is below */
    uint64_t sync_seq;       /* written_seq when the sync in flight was submitted */
    uint64_t want_low, want; /* a sync is wanted of everything below `want`; somebody waits for `want_low` alone */
    uint64_t retry_at;       /* after a failed write: not before this io_now() */
    unsigned writes, syncs;  /* operations in flight */
    int write_error;         /* net_err of the flush in flight */
    int sync_error;          /* of the sync in flight */
    uint64_t write_at;       /* when the flush in flight was submitted */
    uint64_t sync_at;        /* when the sync in flight was */
    uint64_t written_bytes;  /* of all three files, by this run */
    /* What the policy counts from: where written_seq and written_bytes were when it last fired or a sync began. */
    uint64_t triggered_seq, triggered_bytes;
    struct redex_sync_request sync_request;
    struct timer sync_timer; /* of sync_interval_ns */

    struct redex_reservation reservation;
    uint64_t skip_to; /* a mirror: above next_seq while it waits to go on there */
    uint8_t id[REDEX_ID_SIZE];

    struct list link; /* in `dirty` */
    struct list *dirty;
    struct timer_wheel *timers;
    struct redex_syncs *sync_places;
    struct redex_stats *stats;
    void (*progress)(void *ctx, struct redex *);
    void *ctx;
    void (*closed)(void *ctx, int err);
    void *closed_ctx;

    char *root, *base; /* channel root and base directory; NULL in memory mode */
    uint32_t generation;
    io_handle lock;
};

/* Puts the log in its owner's dirty list. */
static inline void redex_mark_dirty(struct redex *r)
{
    if (!list_linked(&r->link))
        list_push_back(r->dirty, &r->link);
}
/* A sync failed: nothing more is acknowledged, and the next open is told. reserve.c */
void redex_poison(struct redex *);
/* What redex_error() says from now on. Poison stays: nothing that succeeds later brings back what a sync has lost. */
static inline void redex_set_error(struct redex *r, int err)
{
    if (r->error != NET_ERR_POISONED)
        r->error = err;
}
/* After a failed write: try again in a while. */
static inline void redex_retry_later(struct redex *r)
{
    r->retry_at = io_now(r->io) + UINT64_C(100000000);
    redex_mark_dirty(r);
}
/* Records in memory, and in the files when everything is written; those before `head` are no longer retained. */
static inline uint64_t redex_records(const struct redex *r)
{
    return r->file[PART_IDX].len / RECORD_SIZE;
}
/* There is at least one record. */
static inline uint64_t redex_last_seq(const struct redex *r)
{
    return load_le64(r->file[PART_IDX].memory.base + (redex_records(r) - 1) * RECORD_SIZE);
}
/* The first of `records` records with this sequence or a higher one; `records`: none. read.c */
uint64_t redex_search(const uint8_t *idx, uint64_t records, uint64_t seq);
/* Lets the log have a flush at this io_now(), if there is none before. */
static inline void redex_turn_at(struct redex *r, uint64_t at)
{
    if (!timer_armed(&r->turn_timer) || r->turn_timer.deadline > at)
        timer_arm(r->timers, &r->turn_timer, at);
}
/* What a write that did not succeed means: `res` <= 0. flush.c */
int redex_write_err(int32_t res);
/* Up to where the files may be written: to the end, or to the first event that is held. flush.c */
struct redex_end {
    uint64_t seq, offset[PARTS];
};
struct redex_end redex_end(const struct redex *);
/* Starts to write whatever is not written and may be, in spite of an error. False: there is nothing, or it must wait.
 * flush.c */
bool redex_write_start(struct redex *);
/* Starts a sync if one is wanted and possible. sync.c */
void redex_sync_start(struct redex *);
/* A flush has completed: does the policy want a sync? sync.c */
void redex_sync_by_policy(struct redex *);
void redex_on_sync_timer(struct timer *, uint64_t now_ns);
unsigned redex_on_sync_place(struct redex_sync_request *);
/* The last act of every completion: goes on closing, or tells the owner. The log may be gone afterwards. close.c */
void redex_settled(struct redex *);
/* Releases everything at once; no operation may be in flight. close.c */
void redex_free(struct redex *);

/* ---- retain.c ---- */

/* Up to where the files may be cut. */
struct redex_front {
    uint64_t record, dat;
};
struct redex_front redex_front(const struct redex *);
uint64_t redex_front_offset(struct redex_front, enum redex_part);
/* Bytes that a part can have, and addresses that one is given for it. */
uint64_t redex_part_limit(const struct redex *, enum redex_part);
uint64_t redex_part_space(const struct redex *, enum redex_part);
bool redex_over_limit(const struct redex *);
bool redex_compaction_due(const struct redex *);
/* Gives up what the policy does not keep, some of it (a turn's worth, or all). True: there is more to do at once. */
bool redex_retain_turn(struct redex *);
void redex_retain_all(struct redex *);

/* ---- compact.c, compact_files.c ---- */

/* Begins a compaction if it is due and possible, or goes on with one. True: wants another turn at once. */
bool redex_compact_turn(struct redex *);
/* The log's own operations have completed. */
void redex_compact_on_settled(struct redex *);
/* The log closes: the compaction ends as soon as it can; it may be gone at once. */
void redex_compact_cancel(struct redex *);
/* Releases one at once; none of its operations may be in flight. */
void redex_compact_free(struct redex *);

/* ---- reserve.c ---- */

/* Sequences are reserved in blocks of this many. */
#define REDEX_BLOCK (UINT64_C(1) << 20)

struct redex_seq_state {
    bool known;        /* a record was found */
    bool clean;        /* ... of a clean stop */
    bool same_boot;    /* ... of this boot of the machine */
    bool sync_failed;  /* ... after which a sync failed, or one of the open itself */
    bool damaged;      /* a record cannot be read; it may have been the newer one */
    uint64_t reserved; /* no sequence from here on was used */
    uint64_t next_seq; /* where the log went on then; never go on below */
    uint64_t end;      /* the sequence after the last event the files held then */
};
/* Opens root/seq~ and reads it. Negative net_err. */
int redex_reservation_open(struct redex *, struct redex_seq_state *);
/* Where the log goes on; `used` is the sequence after the last that the files show in use. */
uint64_t redex_reservation_next(const struct redex_seq_state *, uint64_t used);
/* Reserves, with plain calls, a block from the log's next_seq on; `end` is that of the files now. */
int redex_reservation_begin(struct redex *, const struct redex_seq_state *, uint64_t end);
/* A sync of the files failed while the log was opened: with plain calls, tells the next open of this boot. */
void redex_reservation_distrust(struct redex *, const struct redex_seq_state *);
/* The files are on stable storage again, after a failed sync: with plain calls, takes the word of it back. */
int redex_reservation_trust(struct redex *);
/* Submits the next block if it is time. */
void redex_reservation_extend(struct redex *);
/* Submits the record of a clean stop. */
void redex_reservation_end(struct redex *);

/* A mirror: submits the record of a hole that ends at skip_to; all before is synced. */
void redex_reservation_skip(struct redex *);

/* ---- mirror.c, identity.c ---- */

/* Where a mirror goes on whose files hold events up to `end`. */
uint64_t redex_mirror_next(const struct redex_seq_state *, uint64_t end);
/* From this sequence on, what an open finds may not have come to the disk as a whole; UINT64_MAX: all has. */
uint64_t redex_mirror_unsure(const struct redex *, const struct redex_seq_state *);
/* Goes on with a skip that waits, if it can. */
void redex_mirror_step(struct redex *);
/* root/log.id into r->id; *known: it is there. */
int redex_identity_read(struct redex *, bool *known);
int redex_identity_write(struct redex *);

/* ---- layout.c, generation.c: directories and manifest. redex.md 1-3, 7.1, 7.2 ---- */

enum { REDEX_PATH_MAX = 4096, MANIFEST_SIZE = 16, SET_ASIDE_KEEP = 4 };

struct redex_path {
    char text[REDEX_PATH_MAX];
};
extern const char *const redex_part_name[PARTS];

void manifest_encode(uint8_t out[MANIFEST_SIZE], uint32_t generation);
uint32_t manifest_decode(const uint8_t *data, size_t len); /* 0 = no manifest */

/* root/<file>, or root/v<generation>/<file>; `file` may be "". NULL when it does not fit. */
const char *redex_path(struct redex_path *, const struct redex *, uint32_t generation, const char *file);
/* Makes the channel root and what leads to it; *created_from = length of the first path created, or SIZE_MAX. */
int redex_layout_make(struct redex *, size_t *created_from);
/* Syncs the channel root and the directories above it, up to the one that holds what was created first. */
int redex_layout_sync(struct redex *, size_t created_from);
/* Puts the names in the channel root, as they are now, on stable storage. */
int redex_root_sync(struct redex *);
/* Copies [from, end) of a live file to root/<part>~1; older copies move up, the oldest goes. */
int redex_set_aside(struct redex *, enum redex_part, uint64_t from);
int redex_manifest_write(struct redex *, uint32_t generation);

/* Finds the live generation, migrates the flat layout, makes generation 1 of a new channel. An error, and nothing was
 * changed, when a file may be there that cannot be looked at. */
int redex_generation_find(struct redex *, bool *migrated, bool *by_manifest);
/* Opens (creates) the three files of the live generation; `flags` besides O_RDWR | O_CREAT. */
int redex_generation_open(struct redex *, int flags);
void redex_generation_close(struct redex *);
/* Deletes the other generations and manifest.tmp; what may hold records is moved aside unless the manifest ruled. */
void redex_generation_sweep(struct redex *, bool by_manifest);
/* True if the directory of this number is a channel of the reference (gap G2), so that it cannot be used. False as well
 * when that cannot be told, which sets *err. */
bool redex_generation_taken(struct redex *, uint32_t generation, int *err);
/* Deletes the files of a generation and its directory; leaves what is not ours. */
void redex_generation_delete(struct redex *, uint32_t generation);

/* ---- scan.c, repair.c: recovery. redex.md 7.3 ---- */

/* What the walk over the loaded files found. Memory holds the kept events, closed up. */
struct redex_scan {
    size_t records; /* whole ones that idx holds */
    size_t kept;
    size_t stamps;    /* of ts that are right as they stand, from the first on */
    uint64_t dat_end; /* of the last kept payload */
    uint64_t dropped, repaired;
    uint64_t last; /* the sequence after the highest that was seen in use */
    uint64_t end;  /* the sequence after the last kept */
    bool front;    /* the first record is kept */
    bool moved;    /* kept records are no prefix of idx, or were changed: idx has to be written anew */
    bool unsure;   /* a sync failed in this boot: what was read may not be on the disk, and is written anew */
    bool stamps_lost;
};
/* `idx_len`, `dat_len`, `ts_len` are the files' lengths, loaded into memory; `now` stamps what has no stamp. */
void redex_scan(struct redex *, uint64_t idx_len, uint64_t dat_len, uint64_t ts_len, uint64_t now,
                const struct redex_seq_state *, struct redex_scan *);
/* Takes a range out of what the scan kept, in memory. */
void redex_scan_exclude(struct redex *, struct redex_scan *, struct redex_range);
/* Makes the files what memory is. `len` = lengths found on disk. */
int redex_repair(struct redex *, const struct redex_scan *, const struct redex_seq_state *, const uint64_t len[PARTS]);

#endif
