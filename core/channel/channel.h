/* Channel names, their hashes, and the membership messages of subprotocol 0x0A00. channels.md 2, 3, 6 */
#ifndef NM_CORE_CHANNEL_CHANNEL_H
#define NM_CORE_CHANNEL_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/base/span.h"

enum { CHANNEL_NAME_MAX = 255, QUEUE_GROUP_MAX = 255 }; /* bytes */

enum channel_name_error {
    CHANNEL_NAME_OK,
    CHANNEL_NAME_EMPTY,
    CHANNEL_NAME_TOO_LONG,
    CHANNEL_NAME_FORMAT,
    CHANNEL_NAME_CHAR
};

struct channel_name {
    uint8_t len;
    char text[CHANNEL_NAME_MAX + 1]; /* NUL-terminated */
};

/* channels.md 2: the first failing rule decides. `out` may be NULL. */
enum channel_name_error channel_name_parse(const char *text, size_t len, struct channel_name *out);
/* One sentence for a person: what is wrong and what is allowed. */
const char *channel_name_error_text(enum channel_name_error);
/* redex.md G2: names a log on disk cannot have (a non-first segment `manifest`, `manifest.tmp`, `v` + 10 digits, or
 * `log.id` of extensions.md). The other files of ours have a `~` in their names, which no channel can have; `idx`,
 * `dat` and `ts` are names the reference stores. */
bool channel_name_storable(const struct channel_name *);
static inline bool channel_name_equal(const struct channel_name *a, const struct channel_name *b)
{
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}
unsigned channel_depth(const struct channel_name *);
/* Depth counts the segments. A prefix is the same name or one above it: "a" of "a/b", not of "ab". */
bool channel_prefix_of(const struct channel_name *prefix, const struct channel_name *name);

/* channels.md 3: XXH3-64 of the name, canonical; its low 16 bits in packet headers; the stream that carries it. */
uint64_t channel_hash(const char *text, size_t len);
static inline uint16_t channel_wire_hash(uint64_t hash)
{
    return (uint16_t)hash;
}
static inline uint64_t channel_stream_id(uint64_t hash)
{
    return hash | UINT64_C(0x0001000000000000);
}

enum membership_type { MEMBERSHIP_SUBSCRIBE, MEMBERSHIP_UNSUBSCRIBE, MEMBERSHIP_ACK };
enum membership_reason {
    REASON_NONE,
    REASON_UNAUTHORIZED,
    REASON_UNKNOWN_CHANNEL,
    REASON_RATE_LIMITED,
    REASON_TOO_MANY_CHANNELS
};

struct membership {
    enum membership_type type;
    uint64_t nonce;                  /* drawn by the subscriber, repeated in the ack */
    struct channel_name channel;     /* not for acks */
    struct cspan token, queue_group; /* subscribe; inside the input; empty = none */
    bool accepted;                   /* ack */
    enum membership_reason reason;   /* ack */
};

/* Bytes: what the format can hold, and what is sent, with a token of 169 bytes at most (6.1). */
enum { MEMBERSHIP_MAX = 1 + 8 + 1 + 255 + 2 + 65535 + 1 + 255, MEMBERSHIP_MAX_SENT = 692 };

/* Encoder rules of 6.1. Returns bytes written; NET_ERR_TOO_LARGE (group above 255, token above 65535, or above `cap`).
 */
int membership_encode(const struct membership *, uint8_t *out, size_t cap);
/* Decoder rules of 6.1-6.3. NET_ERR_TRUNCATED, NET_ERR_TOO_LARGE (Overflow), NET_ERR_FORMAT (UnknownType),
 * NET_ERR_INVALID (bad name). */
int membership_decode(struct cspan event, struct membership *out);
const char *membership_reason_text(enum membership_reason); /* for a person; never NULL */

#endif
