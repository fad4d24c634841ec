/* From the body of a publish to event frames (u32 LE length and bytes), over any split of the input. No allocation. */
#ifndef NM_SHARDS_ADMIN_FRAMER_H
#define NM_SHARDS_ADMIN_FRAMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/span.h"

enum { FRAMER_MAX_BYTES = 60000, FRAMER_MAX_EVENTS = 2028, FRAME_HEADER = 4 };

enum framer_input {
    FRAMER_LINES,  /* a line is an event, LF stripped */
    FRAMER_JSON,   /* a line is an event as event_line.h has it; blank ones are none */
    FRAMER_FRAMES, /* frames, checked again */
};

struct framer {
    uint8_t *data; /* FRAMER_MAX_BYTES, the caller's: `whole` bytes of frames, then `partial` of the next */
    size_t whole, partial;
    uint32_t count; /* whole frames in `data` */
    uint32_t max_event;
    uint64_t index; /* of the next event: all that were framed so far */
    uint64_t lines; /* of JSON that were taken, blank ones too */
    enum framer_input input;
};

/* max_event + FRAME_HEADER <= FRAMER_MAX_BYTES; so is a line of JSON. */
void framer_init(struct framer *, uint8_t *data, uint32_t max_event, enum framer_input);
/* Takes what it can and says how much in *taken. 0: all; NET_ERR_AGAIN: full, take the frames first. Of the event at
 * `index`, and nothing goes on: NET_ERR_TOO_LARGE (larger than max_event, or its line than FRAMER_MAX_BYTES),
 * NET_ERR_FORMAT (no line of JSON as it must be). */
int framer_push(struct framer *, struct cspan input, size_t *taken);
/* The input has ended. As framer_push(), or NET_ERR_TRUNCATED: it ended inside a frame. */
int framer_end(struct framer *);
/* The whole frames (count of them); valid until framer_taken(), which makes room. */
struct cspan framer_frames(const struct framer *);
void framer_taken(struct framer *);

#endif
