#include "core/stream/reset.h"

#include "core/base/err.h"

void reset_encode(uint64_t stream_id, uint32_t code, uint8_t out[RESET_MESSAGE])
{
    store_le64(out, stream_id);
    store_le32(out + 8, code);
    store_le32(out + 12, 0);
}

int reset_decode(struct cspan event, uint64_t *stream_id, uint32_t *code)
{
    if (event.len != RESET_MESSAGE || load_le32(event.data + 12) != 0)
        return NET_ERR_FORMAT;
    *stream_id = load_le64(event.data);
    *code = load_le32(event.data + 8);
    return NET_OK;
}
