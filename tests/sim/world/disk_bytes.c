/* Growing runs of bytes: file contents and stream buffers. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world/disk.h"

void bytes_resize(struct bytes *b, size_t len)
{
    if (len > b->room) {
        b->room = len * 2;
        b->data = realloc(b->data, b->room);
        assert(b->data);
    }
    if (len > b->len)
        memset(b->data + b->len, 0, len - b->len);
    b->len = len;
}

void bytes_write(struct bytes *b, uint64_t offset, const uint8_t *data, size_t len)
{
    if (len == 0)
        return;
    if (offset + len > b->len)
        bytes_resize(b, offset + len);
    memcpy(b->data + offset, data, len);
}

void bytes_copy(struct bytes *to, const struct bytes *from)
{
    bytes_resize(to, from->len);
    if (from->len)
        memcpy(to->data, from->data, from->len);
}

void bytes_take(struct bytes *b, void *out, size_t len)
{
    if (len == 0)
        return;
    memcpy(out, b->data, len);
    memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
}

void bytes_deinit(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}
