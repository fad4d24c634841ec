/* Reading a log as a stream of rows, written straight into the connection's buffers. */
#include <inttypes.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/admin/admin_internal.h"

enum { PIECE_BYTES = 8106 }; /* a multiple of 3: base64 goes on from piece to piece */

/* The head goes out with the first row: until then the request can still fail with a status. */
static struct buffer *row_begin(struct connection *c, size_t *mark)
{
    if (!c->streaming)
        stream_begin(c, rows_type(c->tailing.format));
    return stream_row(c, mark);
}

static bool row_end(struct connection *c, size_t mark)
{
    bool fits = stream_row_end(c, mark);
    c->tailing.paused = !fits;
    out_send(c);
    return fits;
}

static bool on_event(struct tail *tail, const struct tail_event *e)
{
    struct connection *c = container_of(tail, struct connection, tailing.tail);
    size_t mark;
    struct buffer *b = row_begin(c, &mark);
    rows_put_event(b, c->tailing.format, c->tailing.origin, e);
    return row_end(c, mark);
}

/* A large event: as many pieces of its row as there is room for. */
static size_t on_piece(struct tail *tail, const struct tail_piece *p)
{
    struct connection *c = container_of(tail, struct connection, tailing.tail);
    struct tailing *t = &c->tailing;
    size_t len = p->event.data.len, at = 0, mark;
    while (at < len) {
        struct tail_piece piece = *p;
        piece.offset += (uint32_t)at;
        piece.event.data.data += at;
        piece.event.data.len = len - at < PIECE_BYTES ? len - at : PIECE_BYTES;
        struct buffer *b = row_begin(c, &mark);
        rows_put_piece(b, t->format, t->origin, &piece);
        if (!row_end(c, mark))
            break;
        at += piece.event.data.len;
    }
    t->in_row = p->offset + at > 0 && p->offset + at < p->total;
    return at;
}

static bool on_gap(struct tail *tail, uint64_t from, uint64_t to)
{
    struct connection *c = container_of(tail, struct connection, tailing.tail);
    size_t mark;
    if (c->tailing.in_row) { /* not ended inside this callback */
        c->tailing.torn = c->tailing.paused = true;
        connection_wait(c, WAIT_LOG);
        return false;
    }
    if (c->tailing.format == ROWS_BINARY)
        return true;
    struct buffer *b = row_begin(c, &mark);
    rows_put_gap(b, c->tailing.format, from, to);
    return row_end(c, mark);
}

/* The end of the rows, or of what there is of them. */
static void end(struct connection *c, int err)
{
    if (err && !c->streaming) {
        respond_error(c, err, err == NET_ERR_NOT_FOUND ? "there is no log of this channel" : NULL);
        return;
    }
    if (!c->streaming)
        stream_begin(c, rows_type(c->tailing.format));
    stream_end(c, err == 0);
}

static void on_done(struct tail *tail, int err)
{
    struct connection *c = container_of(tail, struct connection, tailing.tail);
    c->tailing.open = false;
    end(c, err);
    connection_run(c);
}

static void cancel(struct connection *c)
{
    struct tailing *t = &c->tailing;
    if (t->open)
        node_tail_cancel(c->admin->node, &t->tail);
    if (t->looking)
        node_find_log_cancel(c->admin->node, &t->lookup);
    t->open = t->looking = false;
}

static void stop(struct connection *c)
{
    cancel(c);
    end(c, NET_ERR_CANCELED);
}

static const struct exchange events_exchange = {cancel, stop};

static void set_origin(struct connection *c, bool self, uint64_t origin)
{
    struct tailing *t = &c->tailing;
    t->request.self = self;
    t->request.origin = origin;
    if (self)
        text_format(t->origin, sizeof t->origin, "self");
    else
        text_format(t->origin, sizeof t->origin, "0x%016" PRIx64, origin);
}

/* A comment now and then tells the client, and what is between, that the stream lives; one that stalls needs none. */
static void say_alive(struct connection *c)
{
    struct tailing *t = &c->tailing;
    size_t mark;
    if (t->format != ROWS_SSE || t->in_row || io_now(c->admin->io) < t->alive_at)
        return;
    t->alive_at = io_now(c->admin->io) + c->admin->timeout[WAIT_ALIVE];
    if (!out_empty(c))
        return;
    buffer_str(stream_row(c, &mark), ": keep-alive\n\n");
    stream_row_end(c, mark);
    out_send(c);
}

static void stream_follow(struct connection *c)
{
    struct tailing *t = &c->tailing;
    if (!c->streaming) { /* it may be long until the first row */
        stream_begin(c, rows_type(t->format));
        t->alive_at = io_now(c->admin->io) + c->admin->timeout[WAIT_ALIVE];
    }
}

static void open_tail(struct connection *c)
{
    struct tailing *t = &c->tailing;
    t->tail = (struct tail){.event = on_event, .piece = on_piece, .gap = on_gap, .done = on_done};
    int err = node_tail_open(c->admin->node, &t->tail, &t->request);
    t->open = !err;
    if (err) {
        end(c, err);
    } else if (t->request.follow) {
        stream_follow(c);
        connection_wait(c, t->format == ROWS_SSE ? WAIT_ALIVE : WAIT_NONE);
    }
}

static void on_log(struct log_lookup *l, int origins, bool self, uint64_t origin, uint32_t edition)
{
    struct connection *c = container_of(l, struct connection, tailing.lookup);
    c->tailing.looking = false;
    if (origins == 1) {
        set_origin(c, self, origin);
        c->tailing.request.edition = edition;
        open_tail(c);
    } else if (origins > 1 && !c->streaming) {
        respond_error(c, NET_ERR_INVALID, "several logs have that name: say origin=self or origin=PEER");
    } else if (origins > 1) {
        end(c, NET_ERR_INVALID);
    } else if (!c->tailing.request.follow) {
        end(c, NET_ERR_NOT_FOUND);
    } else {
        stream_follow(c);
        connection_wait(c, WAIT_LOG);
    }
    connection_run(c);
}

static void look(struct connection *c)
{
    struct tailing *t = &c->tailing;
    t->lookup = (struct log_lookup){.done = on_log};
    t->looking = true;
    node_find_log(c->admin->node, &c->request.channel, &t->choice, &t->lookup);
}

void events_on_wait(struct connection *c)
{
    if (c->tailing.torn) {
        cancel(c);
        end(c, NET_ERR_CORRUPT);
        return;
    }
    say_alive(c);
    if (c->tailing.open)
        connection_wait(c, WAIT_ALIVE);
    else
        look(c);
}

void events_on_room(struct connection *c)
{
    struct tailing *t = &c->tailing;
    if (!t->paused || !t->open || t->torn)
        return;
    t->paused = false;
    node_tail_resume(c->admin->node, &t->tail);
}

static void take_start(struct connection *c)
{
    struct tail_request *r = &c->tailing.request;
    const char *from = route_param(c, "from");
    r->start = !from || strcmp(from, "earliest") == 0 ? TAIL_EARLIEST
               : strcmp(from, "latest") == 0          ? TAIL_LATEST
                                                      : TAIL_SEQ;
    if (r->start == TAIL_SEQ)
        r->seq = route_param_u64(c, "from", 0);
}

/* WHATWG HTML 9.2: a client that lost its stream asks again with the last id it saw. */
static bool take_last_event_id(struct connection *c)
{
    const struct header_value *last = &c->request.headers[HEADER_LAST_EVENT_ID];
    struct tail_request *r = &c->tailing.request;
    uint64_t seq;
    if (c->tailing.format != ROWS_SSE || !last->len)
        return true;
    if (config_parse_number(last->text, &seq) != NET_OK || seq == UINT64_MAX) {
        respond_error(c, NET_ERR_INVALID, "Last-Event-ID must be the sequence of an event");
        return false;
    }
    r->start = TAIL_SEQ;
    r->seq = seq + 1;
    return true;
}

/* RFC 9110 12.5.1, as far as it concerns us: a client that names this type wants it. */
static bool accepts_sse(const struct connection *c)
{
    static const char type[] = "text/event-stream";
    const char *at = strcasestr(c->request.headers[HEADER_ACCEPT].text, type);
    return at && strchr(",; \t", at[sizeof type - 1]); /* or the end: strchr() finds the NUL, too */
}

static enum row_format take_format(const struct connection *c)
{
    const char *format = route_param(c, "format");
    if (!format)
        return accepts_sse(c) ? ROWS_SSE : ROWS_NDJSON;
    return strcmp(format, "sse") == 0 ? ROWS_SSE : strcmp(format, "binary") == 0 ? ROWS_BINARY : ROWS_NDJSON;
}

static bool take_origin(struct connection *c)
{
    const char *origin = route_param(c, "origin");
    struct log_choice *choice = &c->tailing.choice;
    choice->any_origin = !origin;
    if (!origin)
        return true;
    choice->self = strcmp(origin, "self") == 0;
    if (!choice->self && !route_param_peer(c, origin, true))
        return false;
    choice->origin = choice->self ? 0 : c->request.peer;
    set_origin(c, choice->self, choice->origin);
    return true;
}

static bool take_log(struct connection *c)
{
    const char *log = route_param(c, "log");
    struct log_choice *choice = &c->tailing.choice;
    uint64_t edition = 0;
    if (!log)
        choice->kind = LOG_ANY_KIND;
    else if (strcmp(log, "live") == 0)
        choice->kind = LOG_LIVE;
    else if (strcmp(log, "followed") == 0)
        choice->kind = LOG_FOLLOWED;
    else if (config_parse_number(log, &edition) == NET_OK && edition >= 1 && edition <= UINT32_MAX)
        choice->kind = LOG_EDITION;
    else
        respond_error(c, NET_ERR_INVALID, "log must be live, followed or the number of an edition");
    choice->edition = (uint32_t)edition;
    return !log || choice->kind != LOG_ANY_KIND;
}

/* There is at most one such log, known without asking: it may also be waited for. */
static bool is_certain(const struct log_choice *choice)
{
    return !choice->any_origin && (choice->kind == LOG_LIVE || (choice->self && choice->kind == LOG_ANY_KIND));
}

void events_get(struct connection *c)
{
    struct tailing *t = &c->tailing;
    *t = (struct tailing){.request = {.channel = c->request.channel, .counted = route_param(c, "limit") != NULL}};
    t->format = take_format(c);
    t->request.follow = route_param_flag(c, "follow");
    t->request.count = c->request.head_only ? 0 : route_param_u64(c, "limit", 0);
    take_start(c);
    if (!take_last_event_id(c) || !take_origin(c) || !take_log(c))
        return;
    if (c->request.head_only)
        t->request.counted = true; /* and none: whether there is such a log shows all the same */
    if (t->request.counted && !t->request.count && t->request.follow) {
        end(c, 0); /* nothing to wait for */
        return;
    }
    c->exchange = &events_exchange;
    if (is_certain(&t->choice))
        open_tail(c);
    else
        look(c);
}
