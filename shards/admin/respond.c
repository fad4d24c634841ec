/* Answers: heads, errors, and bodies from memory or in pieces. */
#include <assert.h>
#include <string.h>
#include <time.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/admin/admin_internal.h"

static struct buffer *filling(struct connection *c)
{
    return &c->out[c->fill];
}

static const char *reason(unsigned status)
{
    return http_status_str((enum http_status)status);
}

/* RFC 9110 5.6.7, in no locale. */
static void put_date(struct connection *c, struct buffer *b)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = (time_t)(io_wall(c->admin->io) / UINT64_C(1000000000));
    struct tm tm;
    char line[48];
    gmtime_r(&now, &tm);
    text_format(line, sizeof line, "Date: %.3s, %02d %.3s %d %02d:%02d:%02d GMT\r\n", days + 3 * tm.tm_wday, tm.tm_mday,
                months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    buffer_str(b, line);
}

/* Status line and the headers every answer has; the caller adds what frames the body and the empty line. */
static struct buffer *head_begin(struct connection *c, unsigned status, const char *type)
{
    struct buffer *b = filling(c);
    if (!c->request.complete)
        c->close_after = true; /* what follows the head is not worth reading */
    buffer_str(b, "HTTP/1.1 ");
    buffer_u64(b, status);
    buffer_str(b, " ");
    buffer_str(b, reason(status));
    buffer_str(b, "\r\nContent-Type: ");
    buffer_str(b, type);
    buffer_str(b, "\r\n");
    put_date(c, b);
    if (c->close_after)
        buffer_str(b, "Connection: close\r\n");
    else if (c->parser.http_minor == 0)
        buffer_str(b, "Connection: keep-alive\r\n");
    return b;
}

struct buffer *reply_begin(struct connection *c)
{
    buffer_clear(&c->reply);
    return &c->reply;
}

static void respond_with(struct connection *c, unsigned status, const char *type, const char *headers)
{
    assert(c->state < CONN_FLUSH && !c->streaming);
    if (c->reply.failed) {
        buffer_clear(&c->reply);
        status = 507;
        buffer_str(&c->reply,
                   "{\"error\":{\"code\":\"no_memory\",\"message\":\"the answer does not fit into memory\"}}\n");
    }
    if (status >= 400 && status < 500 && status != 401)
        c->admin->stats.bad_requests++;
    struct buffer *b = head_begin(c, status, type);
    buffer_str(b, headers);
    buffer_str(b, "Content-Length: ");
    buffer_u64(b, c->reply.len);
    buffer_str(b, "\r\n\r\n");
    assert(!b->failed);
    c->reply_ready = !c->request.head_only && c->reply.len > 0;
    if (c->reply_ready && c->reply.len <= b->cap - b->len) {
        buffer_put(b, c->reply.data, c->reply.len);
        c->reply_ready = false;
    }
    c->exchange = NULL;
    c->piece_len = 0;
    c->state = CONN_FLUSH;
    connection_wait(c, WAIT_IDLE);
}

void respond(struct connection *c, unsigned status, const char *type)
{
    respond_with(c, status, type, "");
}

void respond_json(struct connection *c, unsigned status)
{
    buffer_put(&c->reply, "\n", 1);
    respond(c, status, "application/json");
}

void respond_error_object(struct buffer *b, const char *code, const char *message, const uint64_t *event)
{
    json_open(b, "error", '{');
    json_str(b, "code", code);
    json_str(b, "message", message);
    if (event)
        json_u64(b, "event", *event);
    json_close(b, '}');
}

void respond_refusal(struct connection *c, unsigned status, const char *code, const char *message, const char *headers)
{
    struct buffer *b = reply_begin(c);
    json_open(b, NULL, '{');
    respond_error_object(b, code, message, NULL);
    json_close(b, '}');
    buffer_put(b, "\n", 1);
    respond_with(c, status, "application/json", headers);
}

void respond_error(struct connection *c, int err, const char *message)
{
    respond_refusal(c, (unsigned)net_err_http(err), net_err_code(err),
                    message && *message ? message : net_err_text(err), "");
}

void respond_continue(struct connection *c)
{
    buffer_str(filling(c), "HTTP/1.1 100 Continue\r\n\r\n");
}

void respond_until_close(struct connection *c)
{
    c->close_after = true;
    struct buffer *b = head_begin(c, 200, "application/json");
    buffer_str(b, "\r\n");
    if (!c->request.head_only)
        buffer_put(b, c->reply.data, c->reply.len);
    assert(!b->failed);
    c->state = CONN_PARKED;
    connection_wait(c, WAIT_NONE);
}

void stream_begin(struct connection *c, const char *type)
{
    c->chunked = c->parser.http_minor > 0;
    if (!c->chunked)
        c->close_after = true;
    struct buffer *b = head_begin(c, 200, type);
    buffer_str(b, c->chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
    assert(!b->failed);
    c->streaming = true;
    c->chunk_at = SIZE_MAX;
    c->state = CONN_RUN;
    connection_wait(c, WAIT_NONE);
}

static const char chunk_size_room[] = "00000000\r\n"; /* leading zeros are fine: RFC 9112 7.1 */

struct buffer *stream_row(struct connection *c, size_t *mark)
{
    struct buffer *b = filling(c);
    *mark = b->len;
    if (c->chunked && c->chunk_at == SIZE_MAX) {
        c->chunk_at = b->len;
        buffer_str(b, chunk_size_room);
    }
    return b;
}

bool stream_row_end(struct connection *c, size_t mark)
{
    struct buffer *b = filling(c);
    if (!b->failed)
        return true;
    buffer_rewind(b, mark);
    if (c->chunk_at == mark)
        c->chunk_at = SIZE_MAX;
    return false;
}

/* Into the reserve of the half: no check of room. */
static void put_reserved(struct buffer *b, const char *s)
{
    size_t len = strlen(s);
    memcpy(b->data + b->len, s, len);
    b->len += len;
}

static void chunk_close(struct connection *c)
{
    static const char hex[] = "0123456789abcdef";
    struct buffer *b = filling(c);
    if (c->chunk_at == SIZE_MAX)
        return;
    size_t size = b->len - c->chunk_at - (sizeof chunk_size_room - 1);
    for (size_t i = 0; i < 8; i++)
        b->data[c->chunk_at + i] = hex[size >> (28 - 4 * i) & 15];
    put_reserved(b, "\r\n");
    c->chunk_at = SIZE_MAX;
}

void stream_end(struct connection *c, bool whole)
{
    chunk_close(c);
    if (!whole)
        c->close_after = true;
    else if (c->chunked && !c->request.head_only)
        put_reserved(filling(c), "0\r\n\r\n");
    c->streaming = false;
    c->exchange = NULL;
    c->state = CONN_FLUSH;
    connection_wait(c, WAIT_IDLE);
}

bool out_empty(const struct connection *c)
{
    return !c->send.pending && !c->out[c->fill].len && !c->reply_ready;
}

/* Sends the half being filled, then the reply; fills the other half meanwhile. */
void out_send(struct connection *c)
{
    struct buffer *b = filling(c);
    if (c->send.pending)
        return;
    if (b->len) {
        chunk_close(c);
        c->send.buf.data = b->data;
        c->send.buf.len = b->len;
        c->fill = !c->fill;
    } else if (c->reply_ready) {
        c->send.buf.data = c->reply.data;
        c->send.buf.len = c->reply.len;
        c->sending_reply = true;
    } else {
        return;
    }
    io_submit(c->admin->io, &c->send);
}

bool out_on_sent(struct connection *c, size_t n)
{
    if (n < c->send.buf.len) {
        c->send.buf.data = (char *)c->send.buf.data + n;
        c->send.buf.len -= n;
        io_submit(c->admin->io, &c->send);
        return false;
    }
    if (c->sending_reply) {
        c->sending_reply = c->reply_ready = false;
        buffer_deinit(&c->reply);
        buffer_init_heap(&c->reply, REPLY_BYTES);
    } else {
        buffer_clear(&c->out[!c->fill]);
    }
    out_send(c);
    return true;
}
