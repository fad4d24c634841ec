/*
 * Followed channels: what a follower and a publisher say to each other. extensions.md X7; the bytes are ours and stand
 * here. All integers are little-endian, reserved bytes are zero and refused otherwise.
 *
 * Control messages: subprotocol 0x0A01 on the reliable stream 0x0A01, both ways, one message an event.
 *
 *   FOLLOW    0  u8    0
 *             1  u8    start: 0 earliest, 1 latest, 2 sequence, 3 resume
 *             2  u16   reserved
 *             4  u32   window: bytes of credit the follower grants on the stream of this follow from the start
 *             8  u64   follow number, below 2^48, drawn at random for each FOLLOW
 *            16  [16]  log id (resume; else zeros)
 *            32  u64   sequence (sequence, resume; else 0): the first one wanted
 *            40  u8    length of the channel's name, then the name: the message ends with it
 *   UNFOLLOW  0  u8    1
 *             1  [7]   reserved
 *             8  u64   follow number
 *   ANSWER    0  u8    2
 *             1  u8    status: 0 granted, else enum follow_status
 *             2  [6]   reserved
 *             8  u64   follow number; waiting is followed by another answer when the channel has a log
 *            16  [16]  log id (granted, other log; else zeros)
 *            32  u64   first retained sequence
 *            40  u64   next sequence: all below it are written
 *            48  u64   start: the first sequence that will be sent, or told to be missing (granted; else 0)
 *
 * The stream of a follow: subprotocol 0x0A02 on the reliable stream 0x4E58000000000000 | follow number, from the
 * publisher. The first event frame of each packet is a record; behind EVENTS follow `count` event frames.
 *
 *   EVENTS    0  u8    0
 *             1  u8    flags: bit 0: the one event is a message of its own, the next on this stream (X3)
 *             2  u16   n: number of time runs, at least 1
 *             4  u32   count: events, at least 1; their sequences are first, first + 1, ...
 *             8  u64   first sequence
 *            16  n x { u32 events, at least 1; u64 the time of their append in ns since 1970 }: count in all
 *   GAP       0  u8    1
 *             1  u8    why: 0 trimmed by retention, 1 hole: never there
 *             2  [6]   reserved
 *             8  u64   from
 *            16  u64   to, exclusive: what comes next; above from
 *   POSITION  0  u8    2
 *             1  [7]   reserved
 *             8  u64   first retained sequence
 *            16  u64   next sequence: all below it are written; not below first
 */
#ifndef NM_CORE_CHANNEL_FOLLOW_H
#define NM_CORE_CHANNEL_FOLLOW_H

#include "core/channel/channel.h"

enum { SUBPROTO_FOLLOW = 0x0A01, SUBPROTO_FOLLOWED = 0x0A02 }; /* subprotocols; the first is a stream's id too */
enum { LOG_ID = 16 };                                          /* bytes of a log's identity */

#define FOLLOW_NUMBER_MAX UINT64_C(0x0000ffffffffffff)
static inline uint64_t follow_stream_id(uint64_t number)
{
    return UINT64_C(0x4E58000000000000) | number;
}

enum follow_type { FOLLOW_ASK, FOLLOW_END, FOLLOW_ANSWER };
enum follow_start { FOLLOW_EARLIEST, FOLLOW_LATEST, FOLLOW_SEQUENCE, FOLLOW_RESUME };
enum follow_status {
    FOLLOW_GRANTED,
    FOLLOW_UNAUTHORIZED,
    FOLLOW_UNKNOWN_CHANNEL,
    FOLLOW_RATE_LIMITED,
    FOLLOW_TOO_MANY_CHANNELS, /* so far as in enum membership_reason */
    FOLLOW_WAITING,           /* agreed, but nothing was ever published: another answer comes when there is a log */
    FOLLOW_NO_LOG,            /* the channel keeps none: subscribe to what is live */
    FOLLOW_OTHER_LOG,         /* resume: the log was made anew, and has the id of the answer */
    FOLLOW_NOT_NOW,           /* the log cannot be read, or memory is short: ask again later */
};

struct follow_message {
    enum follow_type type;
    uint64_t number;
    enum follow_start start;     /* ask */
    uint32_t window;             /* ask; bytes */
    struct channel_name channel; /* ask */
    uint8_t log_id[LOG_ID];      /* ask, answer */
    uint64_t sequence;           /* ask: wanted; answer: granted */
    enum follow_status status;   /* answer */
    uint64_t first, next;        /* answer */
};

enum { FOLLOW_MESSAGE_MAX = 41 + CHANNEL_NAME_MAX, FOLLOW_ANSWER_SIZE = 56 }; /* bytes */

/* Returns bytes written. The message is one that follow_message_decode() would take, of at most FOLLOW_MESSAGE_MAX. */
size_t follow_message_encode(const struct follow_message *, uint8_t out[FOLLOW_MESSAGE_MAX]);
/* NET_ERR_TRUNCATED, NET_ERR_FORMAT (type, a value or a reserved byte out of its range, bytes behind the end),
 * NET_ERR_INVALID (bad name). */
int follow_message_decode(struct cspan event, struct follow_message *out);
/* For a person, never NULL: why a follow was refused. */
const char *follow_status_text(enum follow_status);

enum follow_record_type { FOLLOW_EVENTS, FOLLOW_GAP, FOLLOW_POSITION };
enum follow_gap_why { FOLLOW_TRIMMED, FOLLOW_HOLE };

struct follow_record {
    enum follow_record_type type;
    uint64_t first, next;    /* events: of these sequences; gap: from and to; position: retained; `next` is exclusive */
    enum follow_gap_why why; /* gap */
    bool apart;              /* events: the one event is the next message of the stream */
    uint32_t run_count;      /* events: time runs, */
    struct cspan runs;       /* in the input, FOLLOW_RUN bytes each */
};

enum { FOLLOW_EVENTS_HEAD = 16, FOLLOW_RUN = 12, FOLLOW_RECORD_SHORT = 24 }; /* bytes; SHORT: of gap and position */

/* NET_ERR_TRUNCATED, NET_ERR_FORMAT (as above, and a sequence that would pass 2^64). */
int follow_record_decode(struct cspan frame, struct follow_record *out);
/* A gap or a position. */
void follow_record_encode(const struct follow_record *, uint8_t out[FOLLOW_RECORD_SHORT]);
/* The head of an events record; its runs stand behind it. */
void follow_events_encode(uint64_t first, uint32_t count, uint16_t runs, bool apart, uint8_t out[FOLLOW_EVENTS_HEAD]);

static inline void follow_run_encode(uint64_t ts_ns, uint32_t count, uint8_t out[FOLLOW_RUN])
{
    store_le32(out, count);
    store_le64(out + 4, ts_ns);
}
static inline uint64_t follow_run_time(const uint8_t run[FOLLOW_RUN])
{
    return load_le64(run + 4);
}
static inline uint32_t follow_run_count(const uint8_t run[FOLLOW_RUN])
{
    return load_le32(run);
}

#endif
