/* A row of `events`, in each of its formats. */
#include "core/base/span.h"
#include "shards/admin/admin_internal.h"

const char *rows_type(enum row_format format)
{
    static const char *const types[] = {[ROWS_NDJSON] = "application/x-ndjson",
                                        [ROWS_BINARY] = "application/octet-stream",
                                        [ROWS_SSE] = "text/event-stream"};
    return types[format];
}

static void put_json(struct buffer *b, const char *origin, const struct tail_event *e)
{
    buffer_str(b, "{\"seq\":");
    buffer_u64(b, e->seq);
    buffer_str(b, ",\"ts_ns\":");
    buffer_u64(b, e->ts_ns);
    buffer_str(b, ",\"origin\":\"");
    buffer_str(b, origin);
    if (utf8_valid(e->data.data, e->data.len)) {
        buffer_str(b, "\",\"data\":\"");
        json_escape(b, e->data.data, e->data.len);
    } else {
        buffer_str(b, "\",\"data_base64\":\"");
        buffer_base64(b, e->data.data, e->data.len);
    }
    buffer_str(b, "\"}\n");
}

static void put_binary(struct buffer *b, const struct tail_event *e)
{
    uint8_t header[FRAME_HEADER];
    store_le32(header, (uint32_t)e->data.len);
    buffer_put(b, header, sizeof header);
    buffer_put(b, e->data.data, e->data.len);
}

/* Up to the data, which is one line of JSON and its LF; the empty line after that ends the event. */
static void open_sse(struct buffer *b, const char *type, uint64_t id)
{
    if (type) {
        buffer_str(b, "event: ");
        buffer_str(b, type);
        buffer_str(b, "\n");
    }
    buffer_str(b, "id: ");
    buffer_u64(b, id);
    buffer_str(b, "\ndata: ");
}

void rows_put_event(struct buffer *b, enum row_format format, const char *origin, const struct tail_event *e)
{
    if (format == ROWS_BINARY) {
        put_binary(b, e);
        return;
    }
    if (format == ROWS_SSE)
        open_sse(b, NULL, e->seq);
    put_json(b, origin, e);
    if (format == ROWS_SSE)
        buffer_str(b, "\n");
}

void rows_put_gap(struct buffer *b, enum row_format format, uint64_t from, uint64_t to)
{
    if (format == ROWS_SSE)
        open_sse(b, "gap", to);
    buffer_str(b, "{\"gap\":[");
    buffer_u64(b, from);
    buffer_str(b, ",");
    buffer_u64(b, to);
    buffer_str(b, "]}\n");
    if (format == ROWS_SSE)
        buffer_str(b, "\n");
}
