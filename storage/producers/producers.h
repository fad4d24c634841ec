/*
 * Who appended what to a log: the memory behind acknowledged append (extensions.md X8).
 *
 * A producer numbers its appends, 0, 1, 2, ...; the log's owner remembers the last 64 answers of each, and appends
 * nothing twice. For a log on disk the memory is the file `producers~` in the channel root, of intents: "this append is
 * to be these sequences". An intent is written (durable: and synced) before its events are, by holding the log's writes
 * back (redex_hold); so when the log is opened again, its events tell whether the intent came true.
 *
 * The object belongs to the log's shard. Nothing here blocks but producers_open() and producers_begin(), which are
 * parts of opening the log:
 *
 *      producers_open()  ->  redex_open() with producers_torn  ->  producers_begin()
 *      producers_look(): new  ->  redex_append_frames()  ->  producers_note()  ->  ... producers_stored(), _synced()
 *      producers_close()  ->  redex_close()
 */
#ifndef NM_STORAGE_PRODUCERS_PRODUCERS_H
#define NM_STORAGE_PRODUCERS_PRODUCERS_H

#include "storage/redex/redex.h"

struct producers;

enum { PRODUCERS_ID_SIZE = 16, PRODUCERS_ANSWERS = 64 };

struct producers_options {
    const char *root;   /* the channel root of a log on disk; NULL: nothing outlives this object */
    uint32_t max;       /* producers that are remembered, >= 1 */
    uint64_t age_ns;    /* ... for so long after their last append, by CLOCK_REALTIME; 0: for ever */
    struct list *dirty; /* it links itself here when producers_flush() has something to do */
    struct timer_wheel *timers;
    struct redex_syncs *syncs;
    struct redex_stats *stats;
    /* Called from completions: more intents are stored or synced, or producers_error() changed. */
    void (*progress)(void *ctx, struct producers *);
    void *ctx;
};

/* An append of a producer. */
struct producers_append {
    uint8_t id[PRODUCERS_ID_SIZE];
    uint64_t sequence;
    uint64_t sum; /* of its events, by which another append of that sequence is known */
    uint32_t count;
};

struct producers_answer {
    uint64_t first_seq;
    uint64_t number; /* of the intent: what producers_stored() and _synced() speak of */
};

enum producers_verdict {
    PRODUCERS_NEW,      /* append it, then producers_note(), with no call in between */
    PRODUCERS_KNOWN,    /* the answer is there */
    PRODUCERS_TOO_OLD,  /* its answer was forgotten, or its producer was */
    PRODUCERS_GAP,      /* the sequence before it never came */
    PRODUCERS_CONFLICT, /* this sequence had other events */
    PRODUCERS_FULL,     /* none of `max` can be forgotten now */
    PRODUCERS_NO_MEMORY
};

/* Reads root/producers~ if it is there. NET_ERR_NO_MEMORY, NET_ERR_INVALID (path), NET_ERR_IO and its kin; then *out is
 * NULL. A file cut off or spoiled is no error: what cannot be read is not remembered. */
int producers_open(struct producers **out, struct io *, const struct producers_options *);
/* For redex_options.torn, ctx the producers: events of an append that came only in part. */
bool producers_torn(void *ctx, const struct redex_found *, struct redex_range *);
/* The log is open, and nothing was appended to it yet: forgets, on stable storage too, what did not come true. Of a log
 * without files as well, `redex` NULL if it is none. Errors as above; then producers_free() is all that may follow. */
int producers_begin(struct producers *, struct redex *);

void producers_set_limits(struct producers *, uint32_t max, uint64_t age_ns);

/* What is to be done with an append; *answer is set for PRODUCERS_KNOWN alone. */
enum producers_verdict producers_look(struct producers *, const struct producers_append *,
                                      struct producers_answer *answer);
/* It was appended, its events beginning at first_seq. Its intent is on its way; until it is stored (durable: synced)
 * the log holds its events and what follows them. Returns the intent's number. */
uint64_t producers_note(struct producers *, const struct producers_append *, uint64_t first_seq, bool durable);

/* Intents with a number below are written, or on stable storage; then their events may be. */
uint64_t producers_stored(const struct producers *);
uint64_t producers_synced(const struct producers *);
/* The intents up to this one shall be on stable storage; progress tells. */
void producers_want_sync(struct producers *, uint64_t number);
/* Why intents are not stored: 0, NET_ERR_NO_SPACE, NET_ERR_READ_ONLY, NET_ERR_IO (tried again), NET_ERR_POISONED (for
 * good, and so is the log). */
int producers_error(const struct producers *);
uint32_t producers_count(const struct producers *);

/* Submits the intents that were noted, unless some are on their way. */
void producers_flush(struct producers *);
void producers_flush_all(struct list *dirty);

/* Stores what is noted, syncs it, then releases everything; `closed` is called last, from within if nothing has to be
 * waited for. What could not be stored is held in the log still, whose close says so. */
void producers_close(struct producers *, void (*closed)(void *ctx), void *ctx);
/* Releases everything at once; nothing of it may be in flight. */
void producers_free(struct producers *);

#endif
