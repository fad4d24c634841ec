/* Lines and records to frames. */
#include "cli/framing.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/span.h"

enum { LENGTH = 4, ROOM_FIRST = 512 << 10 };

enum framing_input framing_of(const struct cli_args *args)
{
    return cli_has(args, OPTION_BINARY) ? FRAMING_RECORDS : cli_has(args, OPTION_WHOLE) ? FRAMING_WHOLE : FRAMING_LINES;
}

bool framing_init(struct framing *f, enum framing_input input)
{
    *f = (struct framing){.input = input, .room = ROOM_FIRST, .buffer = malloc(FRAMING_HEAD + ROOM_FIRST)};
    return f->buffer != NULL;
}

void framing_deinit(struct framing *f)
{
    free(f->buffer);
    f->buffer = NULL;
}

static bool reserve(struct framing *f, size_t more)
{
    size_t room = f->room;
    if (more <= room - f->len)
        return true;
    while (more > room - f->len)
        room *= 2;
    uint8_t *grown = realloc(f->buffer, FRAMING_HEAD + room);
    if (!grown)
        return false;
    f->buffer = grown;
    f->room = room;
    return true;
}

static enum framing_result drop(struct framing *f, enum framing_result why)
{
    f->len = f->complete;
    f->open = false;
    return why;
}

static void close_line(struct framing *f)
{
    size_t payload = f->len - f->complete - LENGTH;
    store_le32(framing_frames(f) + f->complete, (uint32_t)payload);
    f->complete = f->len;
    f->open = false;
    f->events++;
    f->bytes += payload;
}

/* Bytes of the event that is unfinished, or begins. */
static enum framing_result extend(struct framing *f, const uint8_t *data, size_t len)
{
    if (!reserve(f, len + LENGTH))
        return drop(f, FRAMING_NO_MEMORY);
    if (!f->open)
        f->len += LENGTH;
    f->open = true;
    if (f->len - f->complete - LENGTH + len > FRAMING_EVENT_MAX)
        return drop(f, FRAMING_TOO_LONG);
    if (len)
        memcpy(framing_frames(f) + f->len, data, len);
    f->len += len;
    return FRAMING_OK;
}

static enum framing_result put_lines(struct framing *f, const uint8_t *data, size_t len)
{
    const uint8_t *end = data + len;
    while (data < end) {
        const uint8_t *lf = memchr(data, '\n', (size_t)(end - data));
        size_t n = (size_t)((lf ? lf : end) - data);
        enum framing_result result = extend(f, data, n);
        if (result != FRAMING_OK)
            return result;
        data += n;
        if (lf) {
            close_line(f);
            data++;
        }
    }
    return FRAMING_OK;
}

static enum framing_result put_records(struct framing *f, const uint8_t *data, size_t len)
{
    if (!reserve(f, len))
        return drop(f, FRAMING_NO_MEMORY);
    memcpy(framing_frames(f) + f->len, data, len);
    f->len += len;
    while (f->len - f->complete >= LENGTH) {
        uint32_t payload = load_le32(framing_frames(f) + f->complete);
        if (payload > FRAMING_EVENT_MAX)
            return drop(f, FRAMING_TOO_LONG);
        if (f->len - f->complete - LENGTH < payload)
            break;
        f->complete += LENGTH + payload;
        f->offset += LENGTH + payload;
        f->events++;
        f->bytes += payload;
    }
    return FRAMING_OK;
}

enum framing_result framing_put(struct framing *f, const uint8_t *data, size_t len)
{
    return f->input == FRAMING_RECORDS ? put_records(f, data, len)
           : f->input == FRAMING_WHOLE ? extend(f, data, len)
                                       : put_lines(f, data, len);
}

enum framing_result framing_end(struct framing *f)
{
    f->offset = f->len > f->complete ? f->offset : 0;
    enum framing_result result = f->input == FRAMING_WHOLE ? extend(f, NULL, 0) : FRAMING_OK;
    if (result != FRAMING_OK)
        return result;
    if (f->open)
        close_line(f);
    return f->len > f->complete ? drop(f, FRAMING_CUT_OFF) : FRAMING_OK;
}

void framing_taken(struct framing *f)
{
    memmove(framing_frames(f), framing_frames(f) + f->complete, f->len - f->complete);
    f->len -= f->complete;
    f->complete = 0;
}
