/*
 * Fragmented messages of one peer: fragments arrive, whole messages leave. Extensions X3.
 *
 * The header of a packet that is a fragment has frag_flags bit 0 set on all but the last, its index in fragment_offset
 * and the low 16 bits of the sequence of the first in fragment_id; its plaintext is one event frame with its slice.
 * A packet with neither the bit nor an index is no fragment.
 *
 * Nothing announces how long a message becomes. Memory follows the bytes that came: at most twice those and
 * FRAGMENT_SPREAD, and all of it counts in two budgets, the peer's and the shard's. Times are the shard's monotonic ns.
 */
#ifndef NM_CORE_STREAM_FRAGMENT_H
#define NM_CORE_STREAM_FRAGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/list.h"
#include "core/base/span.h"

enum {
    FRAGMENT_MORE = 0x01, /* frag_flags: another one follows */
    FRAGMENT_MAX_EVENT = 16 << 20,
    FRAGMENT_ENVELOPE = 4096, /* bytes that a message on a reliable stream may have beside an event */
    FRAGMENT_MAX_MESSAGE = FRAGMENT_MAX_EVENT + FRAGMENT_ENVELOPE,
    FRAGMENT_MIN_SLICE = 512,  /* bytes: fewer than 65536 of them make the largest message */
    FRAGMENT_MESSAGES = 64,    /* of a peer under way at a time */
    FRAGMENT_SPREAD = 1 << 20, /* bytes, what reordering may amount to: a fragment further ahead is refused */
    FRAGMENT_REMEMBERED = 16,  /* messages that ended: what comes late of them is known */
    FRAGMENT_FRAME_HEAD = 4,   /* bytes: the u32 length before a message */
};
#define FRAGMENT_REORDER_NS UINT64_C(200000000) /* a hole for so long: the message is given up */
#define FRAGMENT_IDLE_NS UINT64_C(10000000000)  /* likewise when nothing came for so long */

struct fragment {
    uint64_t stream, sequence;
    uint16_t id, index; /* fragment_id and fragment_offset as they came */
    bool more;
    bool reliable;      /* its stream brings all in order: no time limits */
    struct cspan slice; /* the event of its frame */
};

/* A message as one event frame: u32 LE length and the bytes. `frame` is the taker's, for free(). */
struct fragment_message {
    uint8_t *frame; /* NULL: none is complete */
    size_t len;     /* with the length */
};

struct fragment_budget { /* bytes of memory */
    uint64_t limit, used;
};

struct reassembly {
    struct list messages; /* under way */
    uint32_t count;
    uint32_t max_message; /* bytes */
    struct fragment_budget own;
    struct fragment_budget *total; /* the shard's */
    struct {
        uint64_t stream, first;
    } ended[FRAGMENT_REMEMBERED];
    uint32_t ended_at, ended_count;
};

/* `limit` is the peer's budget; `total` outlives it. It stays where it was initialised. */
void reassembly_init(struct reassembly *, uint32_t max_message, uint64_t limit, struct fragment_budget *total);
void reassembly_deinit(struct reassembly *); /* frees what is under way */

/*
 * Takes one fragment; *out has the message when it was the last that was missing. 0, or NET_ERR_EXISTS (it was here
 * before, or its message is over): nothing changed. Else the message is given up as a whole and what comes of it later
 * is NET_ERR_EXISTS: NET_ERR_FORMAT (fragments that contradict each other, or a reliable one out of order),
 * NET_ERR_TOO_LARGE (max_message), NET_ERR_LIMIT (a budget, FRAGMENT_MESSAGES or FRAGMENT_SPREAD), NET_ERR_NO_MEMORY.
 */
int reassembly_add(struct reassembly *, const struct fragment *, uint64_t now, struct fragment_message *out);
/* When reassembly_tick() may have something to give up; UINT64_MAX: not by time. */
uint64_t reassembly_deadline(const struct reassembly *);
uint32_t reassembly_tick(struct reassembly *, uint64_t now); /* how many were given up */
/* The stream ended: what is under way on it goes. Returns how many that were. */
uint32_t reassembly_end_stream(struct reassembly *, uint64_t stream);
uint32_t reassembly_end_all(struct reassembly *);

/* Bytes of every slice but the last, so that frame and slice fit `plaintext` bytes (at least FRAGMENT_MIN_SLICE + 4).
 */
static inline uint32_t fragment_slice(uint32_t plaintext)
{
    return plaintext - FRAGMENT_FRAME_HEAD;
}

#endif
