/*
 * Acknowledged append between nodes, subprotocols 0x0A11 and 0x0A12 (extensions.md X8). Pure functions over bytes.
 *
 * Each message is one event of a reliable stream whose id is the subprotocol's number. All integers are little-endian.
 *
 * APPEND, subprotocol 0x0A11, from the producer's node to the node that has the log:
 *
 *      0  u8   flags: bit 0 durable; the others are zero
 *      1  u8   length n of the channel's name
 *      2  u16  zero
 *      4  u32  count of events; 0 appends nothing, and makes the producer known
 *      8  16   producer id, random
 *     24  u64  producer sequence: 0, 1, 2, ... each once, on each channel
 *     32  n    the name
 *   32+n  ...  event frames (wire.md 6.1), `count` of them, to the end
 *
 * ANSWER, subprotocol 0x0A12, the way back, 48 bytes:
 *
 *      0  16   producer id
 *     16  u64  producer sequence
 *     24  u64  canonical hash of the channel's name (channels.md 3)
 *     32  u64  log sequence of the first event; of a count of 0: the next one; 0 unless the status is 0
 *     40  u32  count of events in the log; 0 unless the status is 0
 *     44  u8   status, enum append_status
 *     45  3    zero
 */
#ifndef NM_CORE_CHANNEL_APPEND_H
#define NM_CORE_CHANNEL_APPEND_H

#include "core/channel/channel.h"
#include "core/wire/wire.h"

enum {
    SUBPROTO_APPEND = 0x0A11,
    SUBPROTO_APPEND_ANSWER = 0x0A12,
    PRODUCER_ID_SIZE = 16,
    APPEND_HEAD = 32,        /* bytes before the name */
    APPEND_ANSWER_SIZE = 48, /* bytes */
    /* Bytes of frames that our nodes put into one APPEND of several events. One event alone may be as large as the peer
     * takes; what exceeds a packet goes in fragments (X3). */
    APPEND_FRAMES_MAX = 56 << 10,
    /* Answers that our nodes remember of a producer on a channel, the last ones. Who has no more appends under way can
     * ask for all of them again, whatever happened. */
    APPEND_REMEMBERED = 64,
};

struct append {
    bool durable; /* answered when the events are on stable storage, else when they are written */
    uint32_t count;
    uint8_t producer[PRODUCER_ID_SIZE];
    uint64_t sequence;
    struct channel_name channel;
    struct cspan frames; /* event frames; decoded: inside the input */
};

/* Everything but STORED means that nothing was appended. The numbers are the wire's. */
enum append_status {
    APPEND_STORED,
    APPEND_REFUSED,     /* by policy */
    APPEND_TOO_OLD,     /* the answer is no longer remembered, or the producer is not */
    APPEND_GAP,         /* the sequence before this one never came */
    APPEND_CONFLICT,    /* the sequence was used for other events */
    APPEND_TOO_LARGE,   /* for the log */
    APPEND_LIMIT,       /* of channels or producers */
    APPEND_FULL,        /* the log takes no more */
    APPEND_NO_SPACE,    /* on the disk */
    APPEND_IO,          /* the log cannot be written */
    APPEND_POISONED,    /* ... not before that node is started again */
    APPEND_BAD_CHANNEL, /* no name for a log there */
    APPEND_NO_MEMORY,
};

struct append_answer {
    uint8_t producer[PRODUCER_ID_SIZE];
    uint64_t sequence, channel_hash, first_seq;
    uint32_t count;
    uint8_t status; /* enum append_status, or a number that a later version of the other node made up */
};

/* Bytes written, or NET_ERR_TOO_LARGE (more than `cap`). */
int append_encode(const struct append *, uint8_t *out, size_t cap);
/* NET_ERR_TRUNCATED, NET_ERR_FORMAT (flags, zeros, frames that do not fill the rest), NET_ERR_INVALID (bad name). */
int append_decode(struct cspan event, struct append *out);

void append_answer_encode(const struct append_answer *, uint8_t out[APPEND_ANSWER_SIZE]);
/* NET_ERR_TRUNCATED, NET_ERR_FORMAT (longer, zeros, a sequence or count beside an error). */
int append_answer_decode(struct cspan event, struct append_answer *out);

/* Between statuses and net_err: one that has no status of its own is APPEND_IO, an unknown status NET_ERR_IO. */
enum append_status append_status_of(int err);
int append_status_err(uint8_t status);

#endif
