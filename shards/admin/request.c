/* Requests as http_parser reads them: it is paused at the end of a head with a body, at each piece of the body, and at
 * the end of the message, so that what happens then is not inside its callbacks. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "core/base/err.h"
#include "core/crypto/crypto.h"
#include "shards/admin/admin_internal.h"

static struct connection *of(http_parser *p)
{
    return p->data;
}

static int on_url(http_parser *p, const char *at, size_t len)
{
    struct request *r = &of(p)->request;
    if (len >= sizeof r->target - r->target_len) {
        r->target_overflow = true;
        return 0;
    }
    memcpy(r->target + r->target_len, at, len);
    r->target_len += len;
    return 0;
}

/* Trailers come by the same callbacks; they are read over. */
static bool in_head(const struct connection *c)
{
    return c->state == CONN_HEAD && !(c->parsed & PARSED_HEAD);
}

static int on_header_field(http_parser *p, const char *at, size_t len)
{
    struct request *r = &of(p)->request;
    if (!in_head(of(p)))
        return 0;
    if (r->in_value) {
        r->in_value = false;
        r->name_len = 0;
    }
    if (memchr(at, ' ', len))
        r->malformed = true; /* RFC 9112 5.1; the parser may have been built to let it pass */
    size_t room = sizeof r->name - r->name_len;
    if (len > room)
        len = room; /* a name that fills the room is none of ours */
    memcpy(r->name + r->name_len, at, len);
    r->name_len += len;
    return 0;
}

static int find_header(const char *name, size_t len)
{
    static const char *const names[HEADER_COUNT] = {
        [HEADER_AUTHORIZATION] = "authorization",
        [HEADER_HOST] = "host",
        [HEADER_ORIGIN] = "origin",
        [HEADER_SEC_FETCH_SITE] = "sec-fetch-site",
        [HEADER_ACCEPT] = "accept",
        [HEADER_LAST_EVENT_ID] = "last-event-id",
        [HEADER_CONTENT_TYPE] = "content-type",
        [HEADER_CONTENT_ENCODING] = "content-encoding",
        [HEADER_TRANSFER_ENCODING] = "transfer-encoding",
        [HEADER_EXPECT] = "expect",
    };
    int i = 0;
    while (i < HEADER_COUNT && (strlen(names[i]) != len || strncasecmp(names[i], name, len) != 0))
        i++;
    return i;
}

static void put_value(struct header_value *v, const char *at, size_t len)
{
    if (len >= sizeof v->text - v->len) {
        v->overflow = true;
        return;
    }
    memcpy(v->text + v->len, at, len);
    v->len = (uint16_t)(v->len + len);
}

static int on_header_value(http_parser *p, const char *at, size_t len)
{
    struct request *r = &of(p)->request;
    if (!in_head(of(p)))
        return 0;
    if (!r->in_value) {
        r->in_value = true;
        r->header = find_header(r->name, r->name_len);
        if (r->header < HEADER_COUNT && r->headers[r->header].times++)
            put_value(&r->headers[r->header], ",", 1); /* only of a list: others stand once */
    }
    if (r->header == HEADER_COUNT)
        return 0;
    put_value(&r->headers[r->header], at, len);
    return 0;
}

static int on_headers_complete(http_parser *p)
{
    struct connection *c = of(p);
    p->upgrade = 0; /* RFC 9110 7.8: a server may ignore Upgrade */
    c->request.has_body = (p->flags & F_CHUNKED) || (p->content_length && p->content_length != UINT64_MAX);
    c->parsed |= PARSED_HEAD;
    if (c->request.has_body)
        http_parser_pause(p, 1);
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
    struct connection *c = of(p);
    c->piece = (const uint8_t *)at;
    c->piece_len = len;
    c->parsed |= PARSED_BODY;
    http_parser_pause(p, 1);
    return 0;
}

static int on_message_complete(http_parser *p)
{
    struct connection *c = of(p);
    c->request.complete = true;
    c->parsed |= PARSED_END;
    http_parser_pause(p, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void request_init(struct connection *c)
{
    secure_wipe(&c->request, sizeof c->request);
    c->parsed = 0;
    c->piece_len = 0;
    http_parser_init(&c->parser, HTTP_REQUEST);
    c->parser.data = c;
}

static void trim_headers(struct request *r)
{
    for (int i = 0; i < HEADER_COUNT; i++) {
        struct header_value *v = &r->headers[i];
        while (v->len && isblank((unsigned char)v->text[v->len - 1]))
            v->len--;
        v->text[v->len] = '\0';
    }
}

static bool refuse(struct connection *c, unsigned status, const char *code, const char *message)
{
    respond_refusal(c, status, code, message, "");
    return false;
}

static bool check_form(struct connection *c)
{
    const struct request *r = &c->request;
    if (c->parser.http_major != 1)
        return refuse(c, 505, "unsupported", "this is an HTTP/1.1 server");
    if (r->target_overflow)
        return refuse(c, 414, "too_large", "the target of a request is at most 2047 bytes");
    if (r->malformed) {
        c->close_after = true; /* what it means for the framing is not to be trusted */
        return refuse(c, 400, "format", "a header's name has a blank in it, or its value goes on in a second line");
    }
    for (int i = 0; i < HEADER_COUNT; i++) {
        if (i == HEADER_ACCEPT)
            continue; /* a list, and a wish: what is too long of it is not looked at */
        if (r->headers[i].times > 1)
            return refuse(c, 400, "format", "a header that must stand once stands twice");
        if (r->headers[i].overflow || memchr(r->headers[i].text, '\0', r->headers[i].len))
            return refuse(c, 431, "header_too_large", "a header is larger than this server takes");
    }
    return true;
}

/* RFC 9112 6.1, RFC 9110 8.4: a body is taken as it is, or not at all. */
static bool check_codings(struct connection *c)
{
    const struct header_value *transfer = &c->request.headers[HEADER_TRANSFER_ENCODING];
    const struct header_value *content = &c->request.headers[HEADER_CONTENT_ENCODING];
    if (transfer->times && c->parser.http_minor == 0) {
        c->close_after = true; /* its framing is not to be trusted */
        return refuse(c, 400, "format", "HTTP/1.0 has no Transfer-Encoding");
    }
    if (transfer->times && strcasecmp(transfer->text, "chunked") != 0)
        return refuse(c, 501, "unsupported", "the only transfer coding known is chunked");
    if (content->times && strcasecmp(content->text, "identity") != 0)
        return refuse(c, 415, "unsupported", "a body with a Content-Encoding is not taken");
    return true;
}

/* RFC 9110 10.1.1: curl sends it with large bodies and waits a second for the answer. */
static bool check_expect(struct connection *c)
{
    const struct header_value *expect = &c->request.headers[HEADER_EXPECT];
    if (!expect->times || c->parser.http_minor == 0)
        return true;
    if (strcasecmp(expect->text, "100-continue") != 0)
        return refuse(c, 417, "unsupported", "the only expectation known is 100-continue");
    if (c->request.has_body)
        respond_continue(c);
    return true;
}

static bool check_body(struct connection *c)
{
    if (c->request.route->body || !c->request.has_body || (c->parser.flags & F_CHUNKED))
        return true;
    if (c->parser.content_length > BODY_BYTES)
        return refuse(c, 413, "too_large", "the body of this request is at most 65536 bytes");
    return true;
}

/* The head is complete: into the body, or refused. */
static void on_head(struct connection *c)
{
    c->admin->stats.requests++;
    connection_heard(c);
    c->close_after = c->close_after || !http_should_keep_alive(&c->parser);
    c->request.head_only = c->parser.method == HTTP_HEAD;
    trim_headers(&c->request);
    if (!check_form(c) || !access_allow(c) || !route_find(c) || !check_codings(c) || !check_body(c) || !check_expect(c))
        return;
    c->state = CONN_BODY;
    if (c->request.route->begin) {
        connection_wait(c, WAIT_NONE); /* a publish may take as long as its source does */
        c->request.route->begin(c);
    }
}

static void on_piece(struct connection *c)
{
    struct request *r = &c->request;
    size_t n = c->piece_len;
    if (r->route->body) {
        n = r->route->body(c, c->piece, c->piece_len);
    } else if (n > BODY_BYTES - r->body_len) {
        refuse(c, 413, "too_large", "the body of this request is at most 65536 bytes");
    } else {
        memcpy(c->body + r->body_len, c->piece, n);
        r->body_len += n;
    }
    if (c->state == CONN_BODY) {
        c->piece += n;
        c->piece_len -= n;
    }
}

static void on_end(struct connection *c)
{
    connection_wait(c, WAIT_NONE);
    c->state = CONN_RUN;
    if (!c->request.route->body)
        c->body[c->request.body_len] = '\0';
    c->request.route->end(c);
}

static void on_parse_error(struct connection *c)
{
    if (c->exchange)
        c->exchange->cancel(c); /* a publish whose chunks are malformed */
    c->close_after = true;
    if (HTTP_PARSER_ERRNO(&c->parser) == HPE_HEADER_OVERFLOW)
        refuse(c, 431, "header_too_large", "the header is larger than admin.header_bytes");
    else
        refuse(c, 400, "format", http_errno_description(HTTP_PARSER_ERRNO(&c->parser)));
}

/* RFC 9112 5.2: a line that begins with a blank goes on with the header before it. The parser joins them in its own
 * way, others in theirs, so such heads are refused. */
static bool has_fold(struct request *r, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (r->at_line_start && (data[i] == ' ' || data[i] == '\t'))
            return true;
        r->at_line_start = data[i] == '\n';
    }
    return false;
}

/* Lets the parser read until it pauses or needs more. False when the request was refused by its form. */
static bool parse(struct connection *c)
{
    struct request *r = &c->request;
    bool head = c->state == CONN_HEAD;
    size_t count = c->in_end - c->in_start;
    http_parser_pause(&c->parser, 0);
    size_t n = http_parser_execute(&c->parser, &settings, (const char *)c->in + c->in_start, count);
    if (head && has_fold(r, c->in + c->in_start, n))
        r->malformed = true;
    c->in_start += n;
    enum http_errno err = HTTP_PARSER_ERRNO(&c->parser);
    if (head) {
        r->head_bytes += n;
        if (r->head_bytes > c->admin->header_bytes) {
            c->close_after = true;
            return refuse(c, 431, "header_too_large", "the header is larger than admin.header_bytes");
        }
    }
    if (err != HPE_OK && err != HPE_PAUSED) {
        on_parse_error(c);
        return false;
    }
    return true;
}

bool request_step(struct connection *c)
{
    enum connection_state before = c->state;
    if (c->piece_len) {
        size_t left = c->piece_len;
        on_piece(c);
        return c->state != before || c->piece_len != left;
    }
    if (c->in_start == c->in_end) {
        if (c->state == CONN_BODY && c->request.route->drained)
            c->request.route->drained(c);
        return c->state != before;
    }
    if (c->state == CONN_HEAD && c->wait == WAIT_IDLE)
        connection_wait(c, WAIT_SLOW); /* from the first byte on, and not renewed */
    if (!parse(c))
        return true;
    unsigned parsed = c->parsed;
    c->parsed = 0;
    if (parsed & PARSED_HEAD)
        on_head(c);
    if ((parsed & PARSED_END) && c->state == CONN_BODY)
        on_end(c);
    return true;
}
