/*
 * From the body of a publish to event frames (u32 LE length and bytes), over any split of the input. Frames are put
 * together in memory of the caller's; an event that does not fit there gets memory of its own, as it comes.
 */
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

struct framer_memory { /* bytes that the large events of all framers take */
    size_t limit, used;
};

struct framer {
    uint8_t *data; /* FRAMER_MAX_BYTES, the caller's: `whole` bytes of frames, then `partial` of the next */
    size_t whole, partial;
    uint32_t count; /* whole frames */
    uint32_t max_event;
    uint64_t index; /* of the next event: all that were framed so far */
    uint64_t lines; /* of JSON that were taken, blank ones too */
    enum framer_input input;
    uint8_t *large; /* in place of `data`, for one event; NULL: not needed */
    size_t large_room;
    struct framer_memory *memory;
};

/* `memory` outlives the framer. */
void framer_init(struct framer *, uint8_t *data, uint32_t max_event, enum framer_input, struct framer_memory *memory);
void framer_deinit(struct framer *); /* frees what a large event took */
/* Takes what it can and says how much in *taken. 0: all; NET_ERR_AGAIN: full, take the frames first. Of the event at
 * `index`, and nothing goes on: NET_ERR_TOO_LARGE (larger than max_event, or its line of JSON than any text of such an
 * event), NET_ERR_FORMAT (no line of JSON as it must be), NET_ERR_LIMIT (`memory`), NET_ERR_NO_MEMORY. */
int framer_push(struct framer *, struct cspan input, size_t *taken);
/* The input has ended. As framer_push(), or NET_ERR_TRUNCATED: it ended inside a frame. */
int framer_end(struct framer *);
/* The whole frames (count of them): at most FRAMER_MAX_BYTES, or a single larger one. Valid until framer_taken(), which
 * makes room. */
struct cspan framer_frames(const struct framer *);
void framer_taken(struct framer *);
/* Instead of framer_taken(): a frame in memory of its own becomes the caller's, for free(). NULL: it is not. */
uint8_t *framer_release(struct framer *);

#endif
