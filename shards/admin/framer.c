#include "shards/admin/framer.h"

#include <assert.h>
#include <string.h>

#include "core/base/err.h"
#include "shards/admin/event_line.h"

void framer_init(struct framer *f, uint8_t *data, uint32_t max_event, enum framer_input input)
{
    assert(max_event + FRAME_HEADER <= FRAMER_MAX_BYTES);
    *f = (struct framer){.data = data, .max_event = max_event, .input = input};
}

/* True when no frame can be completed before the whole ones were taken. */
static bool full(const struct framer *f)
{
    return f->count == FRAMER_MAX_EVENTS;
}

static void complete(struct framer *f, size_t payload)
{
    store_le32(f->data + f->whole, (uint32_t)payload);
    f->whole += FRAME_HEADER + payload;
    f->partial = 0;
    f->count++;
    f->index++;
}

/* Appends to the event being put together. `at` counts from the start of its frame. */
static int append(struct framer *f, size_t at, const uint8_t *data, size_t len)
{
    if (f->whole + at + len > FRAMER_MAX_BYTES)
        return NET_ERR_AGAIN;
    if (len)
        memcpy(f->data + f->whole + at, data, len);
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
    uint8_t *line = f->data + f->whole + FRAME_HEADER;
    size_t payload;
    if (event_line_blank(line, f->partial)) {
        f->partial = 0;
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
    if (FRAME_HEADER + f->partial + len > FRAMER_MAX_BYTES)
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
    return load_le32(f->data + f->whole);
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
    return (struct cspan){f->data, f->whole};
}

void framer_taken(struct framer *f)
{
    size_t header =
        f->input == FRAMER_FRAMES ? 0 : FRAME_HEADER; /* of a line's frame: not written before the line is complete */
    if (f->partial)
        memmove(f->data, f->data + f->whole, header + f->partial);
    f->whole = 0;
    f->count = 0;
}
