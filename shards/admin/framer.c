#include "shards/admin/framer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "shards/admin/event_line.h"

enum { LARGE_FIRST = 4 * FRAMER_MAX_BYTES, JSON_BYTE_MAX = 6 /* \u00XX */, JSON_FRAME_MAX = 64 };

void framer_init(struct framer *f, uint8_t *data, uint32_t max_event, enum framer_input input,
                 struct framer_memory *memory)
{
    *f = (struct framer){.data = data, .max_event = max_event, .input = input, .memory = memory};
}

void framer_deinit(struct framer *f)
{
    free(f->large);
    f->memory->used -= f->large_room;
    f->large = NULL;
    f->large_room = 0;
}

/* True when no frame can be completed before the whole ones were taken. */
static bool full(const struct framer *f)
{
    return f->count == FRAMER_MAX_EVENTS || (f->large && f->count);
}

/* Where the event being put together stands. */
static uint8_t *frame_at(const struct framer *f)
{
    return f->large && !f->count ? f->large : f->data + f->whole;
}

/* A large event goes on in what it needs: its text may have been longer. */
static void shrink(struct framer *f, size_t len)
{
    uint8_t *exact = realloc(f->large, len);
    if (!exact)
        return;
    f->memory->used -= f->large_room - len;
    f->large = exact;
    f->large_room = len;
}

static void complete(struct framer *f, size_t payload)
{
    store_le32(frame_at(f), (uint32_t)payload);
    if (f->large)
        shrink(f, FRAME_HEADER + payload);
    f->whole += FRAME_HEADER + payload;
    f->partial = 0;
    f->count++;
    f->index++;
}

/* The longest frame, or line of JSON in the place of one. */
static size_t longest(const struct framer *f)
{
    size_t json = JSON_BYTE_MAX * (size_t)f->max_event + JSON_FRAME_MAX;
    size_t len = FRAME_HEADER + (f->input == FRAMER_JSON ? json : f->max_event);
    return len > FRAMER_MAX_BYTES ? len : FRAMER_MAX_BYTES;
}

static int grow(struct framer *f, size_t need)
{
    size_t room = f->large_room ? 2 * f->large_room : LARGE_FIRST;
    if (room > longest(f))
        room = longest(f);
    if (room < need)
        room = need;
    if (f->memory->used + (room - f->large_room) > f->memory->limit)
        return NET_ERR_LIMIT;
    uint8_t *grown = realloc(f->large, room);
    if (!grown)
        return NET_ERR_NO_MEMORY;
    f->memory->used += room - f->large_room;
    f->large = grown;
    f->large_room = room;
    return 0;
}

/* Room for `end` bytes of a frame, of which `have` are there. */
static int make_room(struct framer *f, size_t have, size_t end)
{
    if (f->large)
        return end > f->large_room ? grow(f, end) : 0;
    if (f->whole + end <= FRAMER_MAX_BYTES)
        return 0;
    if (f->count)
        return NET_ERR_AGAIN;
    int err = grow(f, end);
    if (!err)
        memcpy(f->large, f->data, have);
    return err;
}

/* Appends to the event being put together. `at` counts from the start of its frame. */
static int append(struct framer *f, size_t at, const uint8_t *data, size_t len)
{
    int err = make_room(f, at, at + len);
    if (err)
        return err;
    if (len)
        memcpy(frame_at(f) + at, data, len);
    f->partial += len;
    return 0;
}

static int push_line(struct framer *f, struct cspan in, size_t *taken)
{
    const uint8_t *lf = memchr(in.data, '\n', in.len);
    size_t len = lf ? (size_t)(lf - in.data) : in.len;
    if (len > f->max_event - f->partial)
        return NET_ERR_TOO_LARGE;
    if (lf && full(f))
        return NET_ERR_AGAIN;
    int err = append(f, FRAME_HEADER + f->partial, in.data, len);
    if (err)
        return err;
    if (lf)
        complete(f, f->partial);
    *taken = len + (lf ? 1 : 0);
    return 0;
}

/* A whole line of JSON stands where its event will: decoded in place. */
static int complete_json(struct framer *f)
{
    uint8_t *line = frame_at(f) + FRAME_HEADER;
    size_t payload;
    if (event_line_blank(line, f->partial)) {
        f->partial = 0;
        framer_deinit(f);
        return 0;
    }
    if (!event_line_decode(line, f->partial, &payload))
        return NET_ERR_FORMAT;
    if (payload > f->max_event)
        return NET_ERR_TOO_LARGE;
    complete(f, payload);
    return 0;
}

static int push_json(struct framer *f, struct cspan in, size_t *taken)
{
    const uint8_t *lf = memchr(in.data, '\n', in.len);
    size_t len = lf ? (size_t)(lf - in.data) : in.len;
    if (FRAME_HEADER + f->partial + len > longest(f))
        return NET_ERR_TOO_LARGE;
    if (lf && full(f))
        return NET_ERR_AGAIN;
    int err = append(f, FRAME_HEADER + f->partial, in.data, len);
    if (!err && lf)
        err = complete_json(f);
    if (err)
        return err;
    f->lines += lf != NULL;
    *taken = len + (lf ? 1 : 0);
    return 0;
}

static size_t frame_payload(const struct framer *f)
{
    return load_le32(frame_at(f));
}

static int push_frame(struct framer *f, struct cspan in, size_t *taken)
{
    size_t want = FRAME_HEADER;
    if (f->partial >= FRAME_HEADER)
        want += frame_payload(f);
    size_t len = want - f->partial < in.len ? want - f->partial : in.len;
    if (full(f))
        return NET_ERR_AGAIN;
    int err = append(f, f->partial, in.data, len);
    if (err)
        return err;
    *taken = len;
    if (f->partial < FRAME_HEADER)
        return 0;
    if (frame_payload(f) > f->max_event)
        return NET_ERR_TOO_LARGE;
    if (f->partial == FRAME_HEADER + frame_payload(f))
        complete(f, frame_payload(f));
    return 0;
}

int framer_push(struct framer *f, struct cspan in, size_t *taken)
{
    int err = 0;
    *taken = 0;
    while (!err && *taken < in.len) {
        size_t n = 0;
        if (f->large && f->count)
            return NET_ERR_AGAIN; /* a large one goes alone */
        struct cspan rest = {in.data + *taken, in.len - *taken};
        err = f->input == FRAMER_FRAMES ? push_frame(f, rest, &n)
              : f->input == FRAMER_JSON ? push_json(f, rest, &n)
                                        : push_line(f, rest, &n);
        *taken += n;
    }
    return err;
}

int framer_end(struct framer *f)
{
    if (!f->partial)
        return 0;
    if (f->input == FRAMER_FRAMES)
        return NET_ERR_TRUNCATED;
    if (full(f))
        return NET_ERR_AGAIN;
    if (f->input == FRAMER_JSON)
        return complete_json(f);
    complete(f, f->partial);
    return 0;
}

struct cspan framer_frames(const struct framer *f)
{
    return (struct cspan){f->large && f->count ? f->large : f->data, f->whole};
}

void framer_taken(struct framer *f)
{
    size_t header =
        f->input == FRAMER_FRAMES ? 0 : FRAME_HEADER; /* of a line's frame: not written before the line is complete */
    if (f->count == 0)
        return; /* what is being put together stays where it is */
    if (f->large)
        framer_deinit(f);
    else if (f->partial)
        memmove(f->data, f->data + f->whole, header + f->partial);
    f->whole = 0;
    f->count = 0;
}

uint8_t *framer_release(struct framer *f)
{
    uint8_t *frame = f->count ? f->large : NULL;
    if (!frame)
        return NULL;
    f->large = NULL; /* its memory is no longer ours to count */
    framer_deinit(f);
    f->whole = 0;
    f->count = 0;
    return frame;
}
