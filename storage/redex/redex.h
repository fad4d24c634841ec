/*
 * RedEX: one append-only log, byte-compatible with the reference on disk. redex.md 1-11; design "Logs".
 *
 * A log belongs to one shard. Its three files are mirrored in memory byte for byte (address space is reserved, memory
 * committed as it grows), so an append is a copy, a read is a pointer, and a flush writes the range not yet written: at
 * most one write per file and turn. Appends are visible to readers at once; `written` and `synced` say how far the disk
 * is.
 */
#ifndef NM_STORAGE_REDEX_REDEX_H
#define NM_STORAGE_REDEX_REDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/histogram.h"
#include "core/base/list.h"
#include "core/base/span.h"
#include "core/base/timer.h"
#include "core/io/io.h"

struct redex;

enum redex_mode { REDEX_MEMORY, REDEX_DISK };

/*
 * When the disk is asked to keep what was written (redex.md 8.3); all zero: only when redex_want_sync() says so, and at
 * the close. Several may be set. A sync covers what was written before it began, and what asks meanwhile shares the
 * next.
 *
 * And what is retained (redex.md 13), 0 = no limit; of several limits the tightest holds. The first sequence moves at
 * the flush after a limit was passed; the files shrink when as much was given up as is kept.
 */
struct redex_policy {
    bool sync_each;            /* every write is followed by a sync */
    uint64_t sync_events;      /* so many events were written since the last sync began */
    uint64_t sync_bytes;       /* so many bytes of all three files were */
    uint64_t sync_interval_ns; /* this long after the first write that no sync covered */
    uint64_t retain_events;
    uint64_t retain_bytes;  /* an event costs its payload (inline: nothing) and 20 */
    uint64_t retain_age_ns; /* by CLOCK_REALTIME; the oldest events go a 64th of it late, or a minute */
};

/* What the logs of a shard did, since the start. */
struct redex_stats {
    counter writes, write_failures; /* flushes of a log, and those that did not succeed at the first attempt */
    counter write_ns;               /* between their submission and their completion, summed */
    counter syncs, sync_failures;   /* fdatasyncs of a file */
    struct histogram sync_ns;       /* ... from submission to completion */
    counter generations, generation_failures; /* compactions */
    counter retired_events, retired_bytes;    /* given up by retention; payload bytes */
};

/*
 * How many files of a shard are synced at once. A log takes its turn in the order of asking and syncs all its files in
 * it.
 */
struct redex_syncs {
    unsigned max, in_flight;
    struct list waiting;
    unsigned compactions; /* of the shard's logs, under way */
};
/* `max` >= 3. It stays where it was initialised. */
void redex_syncs_init(struct redex_syncs *, unsigned max);

enum { REDEX_ID_SIZE = 16, REDEX_RUN_SIZE = 12 }; /* bytes */
/* Somebody who wants a place: a log, or who keeps a file beside one. */
struct redex_sync_request {
    struct list link; /* in redex_syncs.waiting */
    /* There are places for 3 syncs. Returns how many it submitted. */
    unsigned (*start)(struct redex_sync_request *);
};
/* Calls `start` when it is this one's turn, now or later; once however often it is asked for meanwhile. */
void redex_syncs_ask(struct redex_syncs *, struct redex_sync_request *);
/* Counts a sync that has completed after `ns`, and gives its place back; redex_syncs_serve() lets others take it. */
void redex_sync_counted(struct redex_syncs *, struct redex_stats *, uint64_t ns, int32_t res);
void redex_syncs_serve(struct redex_syncs *);

/* What an open found in the files of a log, before it changed any of them. */
struct redex_found {
    const uint8_t *idx; /* the records of the events that are whole, ascending */
    size_t records;
    uint64_t first; /* the files begin with this one: those before are not lost, but left out. 0: nobody knows */
};
struct redex_range {
    uint64_t from, end; /* sequences, end excluded */
};
/* How many events of the range there are. */
uint64_t redex_found_count(const struct redex_found *, struct redex_range);

struct redex_options {
    enum redex_mode mode;
    const char *base;   /* directory; the log lives in base/<name>. Created as needed, parents synced */
    const char *name;   /* a storable channel name */
    uint32_t number;    /* above 0: the log lives in base/<name>~<number>, which no channel can be named */
    uint64_t max_dirty; /* bytes appended but not written before appends get NET_ERR_AGAIN; 0 = 64 MiB */
    uint64_t max_bytes; /* payload bytes retained before appends get NET_ERR_FULL; 0 = 3 GiB, the format's limit */
    uint64_t min_dead;  /* bytes of all files given up before they are written anew; 0 = 1 MiB */
    bool patient;       /* while writes fail, appends are taken all the same, up to max_dirty */
    struct redex_policy policy;
    /*
     * A mirror: a copy of another log with that one's sequences and times, and its identity. It reserves no sequences:
     * after whatever crash it goes on exactly behind the last event it has, so that nothing is missed when the other
     * log is asked for what follows; redex_append_at() and redex_skip_to() fill it. `id`: begins a new mirror of the
     * log of this identity, at the sequence `start`. NULL: opens the one that is there.
     */
    bool mirror;
    const uint8_t *id; /* REDEX_ID_SIZE bytes, used during the open only */
    uint64_t start;
    /* Of a log that was not closed in order: called by its open, again and again while it returns true, with events
     * that are left out like damaged ones, because some of those they belong to are missing. Their sequences stay used.
     * May be NULL. */
    bool (*torn)(void *ctx, const struct redex_found *, struct redex_range *);
    void *torn_ctx;
    /* What the logs of a shard have in common. All are required, and outlive the log. */
    struct list *dirty; /* the log links itself here when redex_flush has something to do */
    struct timer_wheel *timers;
    struct redex_syncs *syncs;
    struct redex_stats *stats;
    /* Called from completions, and from redex_flush, when written, synced or the first sequence advanced, room came
     * back, or the log failed. Never from append. */
    void (*progress)(void *ctx, struct redex *);
    void *ctx;
};

/* What recovery found and did; all zero for a clean open. */
struct redex_report {
    uint64_t events, first_seq, next_seq; /* what is there, as redex_count() and its neighbours say */
    uint64_t dropped_events;              /* by checksum or because their payload is missing */
    uint64_t repaired_fields;             /* of index records, told by their neighbours */
    uint64_t trimmed_bytes;               /* of dat; kept aside in the channel root */
    bool torn;                            /* a file ended inside a record, or did not fit the others */
    bool timestamps_lost;                 /* some were missing: those events have the time of the open */
    bool migrated;                        /* from the flat layout */
    bool unclean;                         /* the reservation put a gap behind the last event */
};

struct redex_event {
    uint64_t seq;
    uint64_t ts_ns; /* CLOCK_REALTIME of the append */
    bool is_inline;
    struct cspan data; /* valid until the next redex_flush(), completion or close: within the turn */
};

/*
 * Opens (creates, recovers) a log with plain calls. Takes the directory lock: NET_ERR_BUSY when another process has it.
 * NET_ERR_INVALID (name), NET_ERR_IO, NET_ERR_NO_SPACE, NET_ERR_NO_MEMORY, NET_ERR_TOO_LARGE (files beyond the format),
 * NET_ERR_CORRUPT (repair needs a new generation and their numbers are used up); of a mirror NET_ERR_NOT_FOUND (no
 * `id`, and none there, or one whose making did not come to its end), NET_ERR_EXISTS (`id`, and there is a log). What
 * recovery cuts off or rewrites is kept in the channel root, as idx~1 .. idx~4 and dat~1 .. dat~4, the newest first.
 * `report` may be NULL.
 */
int redex_open(struct redex **, struct io *, const struct redex_options *, struct redex_report *report);

/* In force from now on. */
void redex_set_policy(struct redex *, const struct redex_policy *);

/*
 * Appends all or nothing. Frames are wire event frames (u32 LE length + bytes), `count` of them filling exactly `len`
 * bytes. *first_seq gets the sequence of the first. Errors consume nothing: NET_ERR_AGAIN (max_dirty, or the next block
 * of sequences is not reserved yet, or retention has to make room; progress tells when), NET_ERR_TOO_LARGE (more than
 * max_bytes alone), NET_ERR_FULL (max_bytes, or 2^28 events, and retention gives no room), NET_ERR_NO_MEMORY,
 * NET_ERR_CLOSED, NET_ERR_FORMAT (frames do not fill len), and while redex_error() is set,
 * that (a patient log: NET_ERR_POISONED only). count 0 appends nothing: *first_seq is the next sequence.
 */
int redex_append_frames(struct redex *, uint64_t ts_ns, struct cspan frames, uint32_t count, uint64_t *first_seq);
/* One event, with the same errors; inline: its 8 bytes stand in the index record itself. */
int redex_append(struct redex *, uint64_t ts_ns, struct cspan payload, uint64_t *seq);
int redex_append_inline(struct redex *, uint64_t ts_ns, const uint8_t payload[8], uint64_t *seq);

/*
 * A mirror: the events first_seq, first_seq + 1, ... of the other log. Those below redex_next_seq() are passed over;
 * a first_seq above is a hole of the other log, and is skipped to. `runs`: how many events have the same time, as
 * REDEX_RUN_SIZE bytes each: count u32 LE, nanoseconds u64 LE; the counts add up to `count`. The errors are those of
 * redex_append_frames(), and those of redex_skip_to().
 */
int redex_append_at(struct redex *, uint64_t first_seq, struct cspan runs, struct cspan frames, uint32_t count);
/*
 * A mirror: the other log has nothing below `seq` that this one does not have. NET_OK when it goes on there, or further
 * already. NET_ERR_AGAIN: once all before is synced and that is noted, which progress tells: ask again then (appends
 * get NET_ERR_AGAIN meanwhile). NET_ERR_CLOSED, NET_ERR_POISONED.
 */
int redex_skip_to(struct redex *, uint64_t seq);
/* Extensions.md X7.1: names the log, for as long as it exists; one in memory from open to close. A mirror has the
 * other's. */
void redex_id(const struct redex *, uint8_t out[REDEX_ID_SIZE]);

uint64_t redex_first_seq(const struct redex *);   /* lowest retained; == next_seq when empty */
uint64_t redex_next_seq(const struct redex *);    /* visible to readers below this */
uint64_t redex_written_seq(const struct redex *); /* written (page cache) below this; == next_seq in memory mode */
uint64_t redex_synced_seq(const struct redex *);  /* on stable storage below this; == next_seq in memory mode */
uint64_t redex_count(const struct redex *);
uint64_t redex_bytes(const struct redex *); /* payload bytes retained */
/* 0, NET_ERR_POISONED, NET_ERR_NO_SPACE, NET_ERR_READ_ONLY or NET_ERR_IO. */
int redex_error(const struct redex *);

/* Why the files could not be written anew without what retention gave up: 0 once they were. It is tried again. */
int redex_compaction_error(const struct redex *);

/* Up to `max` events with *seq <= event.seq < end, ascending; *seq becomes where to go on. Checksums are verified at
 * open, not here: reading is a pointer. Missing sequences are simply not there. */
size_t redex_read(struct redex *, uint64_t *seq, uint64_t end, struct redex_event *out, size_t max);
/* Events that the open left out, because of their checksum or because their payload was missing. */
uint64_t redex_damaged(const struct redex *);

/* Bytes of all three files appended but not yet written: what max_dirty bounds. 0 in memory mode. */
uint64_t redex_unwritten_bytes(const struct redex *);

/* What has this sequence and those behind it is not written, and no log of the same files changes over to new ones,
 * until it is lifted: UINT64_MAX. It must be set before redex_flush() comes to what it holds, and may be raised. */
void redex_hold(struct redex *, uint64_t seq);
/* As after a failed sync: what this log cannot do without is lost. */
void redex_give_up(struct redex *);

/* A log's turn: applies retention, goes on with a new generation, submits the writes of what was appended unless writes
 * are in flight, and leaves the dirty list. After a failed write the log stays in the list and tries again 100 ms
 * (io_now) later: while the list is not empty, let turns come that often. True: it wants another turn at once. */
bool redex_flush(struct redex *);
/* The flush of every log in the list, once per turn. Logs that have to come again are in it afterwards. True: one of
 * them at once. */
bool redex_flush_all(struct list *dirty);
/* Everything below `seq` shall be synced: fdatasync of the three files in parallel after their writes completed. One
 * sync at a time: who comes meanwhile shares the next one. A failed one poisons the log for good. */
void redex_want_sync(struct redex *, uint64_t seq);

/* Flushes, syncs, marks the stop as clean, releases everything; `closed` is called last, err 0 or the reason why not
 * all of it could be done (then what was not synced may be lost, and the stop is not clean). It is called from within
 * if nothing has to be waited for (memory mode, a log that failed). No progress calls after this; appends get
 * NET_ERR_CLOSED. */
void redex_close(struct redex *, void (*closed)(void *ctx, int err), void *ctx);
/* Where that did not come to its end, or cannot be waited for: releases everything and leaves the files as they are.
 * Nothing of the log may be in flight any more, but its back end is still there; `closed` is not called. */
void redex_abandon(struct redex *);

#endif
