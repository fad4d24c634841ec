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

/* Up to the event's bytes. */
static void open_json(struct buffer *b, const char *origin, const struct tail_event *e, bool text)
{
    buffer_str(b, "{\"seq\":");
    buffer_u64(b, e->seq);
    buffer_str(b, ",\"ts_ns\":");
    buffer_u64(b, e->ts_ns);
    buffer_str(b, ",\"origin\":\"");
    buffer_str(b, origin);
    buffer_str(b, text ? "\",\"data\":\"" : "\",\"data_base64\":\"");
}

static void open_binary(struct buffer *b, uint32_t len)
{
    uint8_t header[FRAME_HEADER];
    store_le32(header, len);
    buffer_put(b, header, sizeof header);
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

void rows_put_piece(struct buffer *b, enum row_format format, const char *origin, const struct tail_piece *p)
{
    struct cspan data = p->event.data;
    bool first = p->offset == 0, last = p->offset + data.len == p->total;
    if (first && format == ROWS_SSE)
        open_sse(b, NULL, p->event.seq);
    if (first && format != ROWS_BINARY)
        open_json(b, origin, &p->event, p->text);
    else if (first)
        open_binary(b, p->total);
    if (format == ROWS_BINARY)
        buffer_put(b, data.data, data.len);
    else if (p->text)
        json_escape(b, data.data, data.len);
    else
        buffer_base64(b, data.data, data.len);
    if (last && format != ROWS_BINARY)
        buffer_str(b, format == ROWS_SSE ? "\"}\n\n" : "\"}\n");
}

void rows_put_event(struct buffer *b, enum row_format format, const char *origin, const struct tail_event *e)
{
    struct tail_piece all = {*e, 0, (uint32_t)e->data.len, false};
    all.text = format != ROWS_BINARY && utf8_valid(e->data.data, e->data.len);
    rows_put_piece(b, format, origin, &all);
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
