/* What the files of this folder share: table.c (who appended what), file.c (the file while the log runs), open.c
 * (recovery), intent.c (the bytes of a record). */
#ifndef NM_STORAGE_PRODUCERS_PRODUCERS_INTERNAL_H
#define NM_STORAGE_PRODUCERS_PRODUCERS_INTERNAL_H

#include "core/base/err.h"
#include "core/base/map.h"
#include "storage/producers/producers.h"

/* ---- intent.c ---- */

enum { INTENT_SIZE = 64 };

enum intent_kind {
    INTENT_APPEND,
    INTENT_MARK /* all events below `first_seq` were written, in the boot of `id`, all below `sequence` synced */
};

struct intent {
    enum intent_kind kind;
    bool untrue;                    /* it did not come true, or one before it of its producer did not */
    bool given_up;                  /* it did, and then retention left its events out of the files */
    struct producers_append append; /* a mark: sequence and id alone */
    uint64_t first_seq;
    uint64_t wall_ns; /* CLOCK_REALTIME of the append */
};

void intent_encode(const struct intent *, uint8_t out[INTENT_SIZE]);
bool intent_decode(const uint8_t in[INTENT_SIZE], struct intent *out); /* false: it is none */

/* ---- table.c ---- */

struct answer {
    uint64_t first_seq, sum, number;
    uint32_t count;
};

struct producer {
    uint8_t id[PRODUCERS_ID_SIZE];
    uint64_t key;           /* in the map */
    uint64_t used_wall;     /* of its last append */
    uint64_t next;          /* its next sequence */
    uint32_t kept, room;    /* answers that are remembered, of the sequences before `next`; places, a power of two */
    struct answer *answers; /* [sequence % room] */
    struct list used;       /* in producers.by_use, the latest last */
};

/* Records on their way to the file. */
struct batch {
    uint8_t *bytes;
    size_t count, room; /* records */
    uint64_t first_seq; /* the lowest of its events */
    bool durable;
};

enum job { JOB_NONE, JOB_APPEND, JOB_REWRITE };

struct producers {
    struct io *io;
    struct redex *redex; /* NULL: the log has no files */
    uint32_t max;
    uint64_t age_ns;
    bool strict; /* a producer that is not known may have been */

    struct map by_key;
    struct list by_use;
    uint64_t seed;
    uint8_t boot[PRODUCERS_ID_SIZE]; /* of the machine; zeros: unknown */

    /* Numbers of intents: the next, and what is in the file, and on the disk, below. */
    uint64_t next_number, stored, synced, sync_wanted;
    struct batch collecting, under_way;
    uint64_t job_number; /* `stored` when the job is done */
    enum job job;
    bool job_syncs;
    bool closing;
    int error;
    uint64_t last_end;                      /* behind the last event that an intent announced */
    uint64_t marked_written, marked_synced; /* what the newest mark says */
    uint64_t file_len;                      /* bytes of whole batches */
    uint64_t rewrite_len;                   /* a file as long is written anew */
    uint64_t retry_at, mark_at, rewrite_at; /* not before this io_now() */
    uint64_t sync_at;
    uint8_t *image;      /* the new file, while it is written */
    struct span writing; /* what is left to write, */
    uint64_t writing_at; /* and where */
    io_handle handle, fresh, dir;
    char *root, *path, *path_new;
    struct io_op op;
    struct iovec iov;
    struct redex_sync_request sync_request;
    struct redex_syncs *syncs;
    struct redex_stats *stats;
    struct timer_wheel *timers;
    struct timer timer; /* to try again, or to write a mark */
    struct list link;   /* in `dirty` */
    struct list *dirty;
    void (*progress)(void *ctx, struct producers *);
    void *ctx;
    void (*closed)(void *ctx);
    void *closed_ctx;

    /* Between producers_open() and producers_begin(): what the file says. */
    struct intent *found;
    size_t found_count;
    size_t torn_next;  /* index in `found` */
    bool file_spoiled; /* or must be written anew for another reason */
};

static inline void producers_mark_dirty(struct producers *p)
{
    if (!list_linked(&p->link))
        list_push_back(p->dirty, &p->link);
}

/* Room for the next answer of a producer. NET_ERR_NO_MEMORY. */
int producers_reserve_answer(struct producer *);
struct producer *producers_find(const struct producers *, const uint8_t id[PRODUCERS_ID_SIZE]);
struct producer *producer_create(void); /* in no list yet; NULL: no memory */
void producer_free(struct producer *);
/* Puts it into the table; its answers begin with sequence `next`. NET_ERR_NO_MEMORY. */
int producers_enter(struct producers *, struct producer *, const uint8_t id[PRODUCERS_ID_SIZE], uint64_t next);
/* Remembers an answer to the producer's next sequence; there is room. */
void producer_remember(struct producers *, struct producer *, const struct intent *, uint64_t number);
void producers_forget(struct producers *, struct producer *);
void producers_forget_all(struct producers *);
uint64_t producers_records(const struct producers *); /* intents that are remembered */
/* Writes them, the producers used longest ago first. Returns the end. */
uint8_t *producers_encode(const struct producers *, uint8_t *out);

/* ---- file.c ---- */

int producers_batch_reserve(struct batch *, size_t more); /* records. NET_ERR_NO_MEMORY */
/* All that is remembered, and a mark, as bytes to be freed; NULL: no memory. */
uint8_t *producers_image(const struct producers *, size_t *len);
void producers_on_timer(struct timer *, uint64_t now_ns);
unsigned producers_on_sync_place(struct redex_sync_request *);
/* The length at which a file of `live` bytes is written anew. */
uint64_t producers_rewrite_len(uint64_t live);

#endif
