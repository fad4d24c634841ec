/*
 * Input of publish, cut into events: lines, records or whole files become frames (u32 little-endian length and bytes)
 * in one buffer, with room in front of them for the head of an HTTP chunk.
 */
#ifndef NM_CLI_FRAMING_H
#define NM_CLI_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

enum {
    FRAMING_EVENT_MAX = 16 << 20, /* a longer event is refused here, whatever the node allows */
    FRAMING_HEAD = 12,            /* CR LF of the chunk before, 8 hex digits, CR LF */
};

enum framing_input {
    FRAMING_LINES,
    FRAMING_RECORDS, /* u32 little-endian length and bytes */
    FRAMING_WHOLE,   /* a file is an event, an empty one too */
};

enum framing_result { FRAMING_OK, FRAMING_TOO_LONG, FRAMING_CUT_OFF, FRAMING_NO_MEMORY };

struct framing {
    uint8_t *buffer;
    size_t room;
    size_t len;      /* bytes of frames, the last perhaps unfinished */
    size_t complete; /* bytes of finished frames */
    enum framing_input input;
    bool open;              /* lines and files: the last frame is unfinished */
    uint64_t events, bytes; /* finished so far, and their payload */
    uint64_t offset;        /* records: where in the file the first unfinished frame begins */
};

enum framing_input framing_of(const struct cli_args *); /* --binary, --whole, or neither */
/* False: no memory. */
bool framing_init(struct framing *, enum framing_input);
void framing_deinit(struct framing *);
/* Takes all bytes; the results other than FRAMING_OK are about the first unfinished event, which is dropped. */
enum framing_result framing_put(struct framing *, const uint8_t *data, size_t len);
/* The file ends: so does its last event. */
enum framing_result framing_end(struct framing *);
/* The finished frames, FRAMING_HEAD bytes of room before them. */
static inline uint8_t *framing_frames(struct framing *f)
{
    return f->buffer + FRAMING_HEAD;
}
void framing_taken(struct framing *); /* the finished frames were sent */

#endif
