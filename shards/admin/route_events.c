/* Reading a log as a stream of rows, written straight into the connection's buffers. */
#include <inttypes.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/admin/admin_internal.h"

static const char *content_type(const struct tailing *t)
{
    return t->binary ? "application/octet-stream" : "application/x-ndjson";
}

static void put_json_row(struct buffer *b, const char *origin, const struct tail_event *e)
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
    buffer_put(b, "\"}\n", 3);
}

static void put_binary_row(struct buffer *b, const struct tail_event *e)
{
    uint8_t header[FRAME_HEADER];
    store_le32(header, (uint32_t)e->data.len);
    buffer_put(b, header, sizeof header);
    buffer_put(b, e->data.data, e->data.len);
}

/* The head goes out with the first row: until then the request can still fail with a status. */
static struct buffer *row_begin(struct connection *c, size_t *mark)
{
    if (!c->streaming)
        stream_begin(c, content_type(&c->tailing));
    return stream_row(c, mark);
}

static bool row_end(struct connection *c, size_t mark)
{
    bool fits = stream_commit(c, mark);
    c->tailing.paused = !fits;
    if (!fits && mark == 0) {
        /* Larger than an empty half: no event of ours is, but a log may come from elsewhere. Not inside this callback.
         */
        c->tailing.unfit = true;
        connection_wait(c, WAIT_LOG);
    }
    out_send(c);
    return fits;
}

static bool on_event(struct tail *tail, const struct tail_event *e)
{
    struct connection *c = container_of(tail, struct connection, tailing.tail);
    size_t mark;
    struct buffer *b = row_begin(c, &mark);
    if (c->tailing.binary)
        put_binary_row(b, e);
    else
        put_json_row(b, c->tailing.origin, e);
    return row_end(c, mark);
}

static bool on_gap(struct tail *tail, uint64_t from, uint64_t to)
{
    struct connection *c = container_of(tail, struct connection, tailing.tail);
    size_t mark;
    if (c->tailing.binary)
        return true;
    struct buffer *b = row_begin(c, &mark);
    buffer_str(b, "{\"gap\":[");
    buffer_u64(b, from);
    buffer_str(b, ",");
    buffer_u64(b, to);
    buffer_str(b, "]}\n");
    return row_end(c, mark);
}

/* The end of the rows, or of what there is of them. */
static void end(struct connection *c, int err)
{
    if (err && !c->streaming) {
        respond_error(c, err, NULL);
        return;
    }
    if (!c->streaming)
        stream_begin(c, content_type(&c->tailing));
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
        node_find_origins_cancel(c->admin->node, &t->lookup);
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

static void open_tail(struct connection *c)
{
    struct tailing *t = &c->tailing;
    t->tail = (struct tail){.event = on_event, .gap = on_gap, .done = on_done};
    int err = node_tail_open(c->admin->node, &t->tail, &t->request);
    t->open = !err;
    if (err)
        end(c, err);
    else if (t->request.follow && !c->streaming)
        stream_begin(c, content_type(t)); /* it may be long until the first row */
}

static void on_origins(struct origin_lookup *l, int count, bool self, uint64_t origin)
{
    struct connection *c = container_of(l, struct connection, tailing.lookup);
    c->tailing.looking = false;
    if (count == 1) {
        set_origin(c, self, origin);
        open_tail(c);
    } else if (count > 1 && !c->streaming) {
        respond_error(c, NET_ERR_INVALID, "several logs have that name: say origin=self or origin=PEER");
    } else if (count > 1) {
        end(c, NET_ERR_INVALID);
    } else if (!c->tailing.request.follow) {
        end(c, NET_ERR_NOT_FOUND);
    } else {
        if (!c->streaming)
            stream_begin(c, content_type(&c->tailing));
        connection_wait(c, WAIT_LOG);
    }
    connection_run(c);
}

static void look(struct connection *c)
{
    struct tailing *t = &c->tailing;
    t->lookup = (struct origin_lookup){.done = on_origins};
    t->looking = true;
    node_find_origins(c->admin->node, &c->request.channel, &t->lookup);
}

void events_on_wait(struct connection *c)
{
    if (!c->tailing.unfit) {
        look(c);
        return;
    }
    cancel(c);
    end(c, NET_ERR_TOO_LARGE);
}

void events_on_room(struct connection *c)
{
    struct tailing *t = &c->tailing;
    if (!t->paused || !t->open)
        return;
    t->paused = false;
    node_tail_resume(c->admin->node, &t->tail);
}

static bool invalid(struct connection *c, const char *message)
{
    respond_error(c, NET_ERR_INVALID, message);
    return false;
}

static bool take_start(struct connection *c)
{
    struct tail_request *r = &c->tailing.request;
    const char *from = route_param(c, "from");
    if (!from || strcmp(from, "earliest") == 0) {
        r->start = TAIL_EARLIEST;
    } else if (strcmp(from, "latest") == 0) {
        r->start = TAIL_LATEST;
    } else {
        r->start = TAIL_SEQ;
        return route_param_u64(c, "from", UINT64_MAX, &r->seq);
    }
    return true;
}

static bool take_format(struct connection *c)
{
    const char *format = route_param(c, "format");
    c->tailing.binary = format && strcmp(format, "binary") == 0;
    if (format && !c->tailing.binary && strcmp(format, "ndjson") != 0)
        return invalid(c, "format must be ndjson or binary");
    return true;
}

static bool take_origin(struct connection *c, const char *origin)
{
    if (!origin)
        return true;
    bool self = strcmp(origin, "self") == 0;
    if (!self && !route_param_peer(c, origin, true))
        return false;
    set_origin(c, self, c->request.peer);
    return true;
}

void events_get(struct connection *c)
{
    const char *origin = route_param(c, "origin");
    struct tailing *t = &c->tailing;
    *t = (struct tailing){.request = {.channel = c->request.channel, .counted = route_param(c, "limit") != NULL}};
    if (!take_start(c) || !take_format(c) || !take_origin(c, origin) ||
        !route_param_bool(c, "follow", &t->request.follow) ||
        !route_param_u64(c, "limit", UINT64_MAX, &t->request.count))
        return;
    if (c->request.head_only || (t->request.counted && !t->request.count)) {
        end(c, 0);
        return;
    }
    c->exchange = &events_exchange;
    if (origin)
        open_tail(c);
    else
        look(c);
}
