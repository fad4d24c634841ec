/* Publishing: the body is cut into events as it comes and handed to the node as it has room. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/channel/append.h"
#include "shards/admin/admin_internal.h"

/* {channel, events, bytes, first_seq, last_seq, to?, sequence?}, after `error` when there was one. */
static void answer(struct connection *c, int err, const char *message, uint64_t refused)
{
    const struct publisher *p = &c->publishing.publisher;
    struct buffer *b = reply_begin(c);
    json_open(b, NULL, '{');
    if (err)
        respond_error_object(b, net_err_code(err), message ? message : net_err_text(err), &refused);
    json_str(b, "channel", c->request.channel.text);
    json_u64(b, "events", p->events);
    json_u64(b, "bytes", p->bytes);
    if (p->events) {
        json_u64(b, "first_seq", p->first_seq);
        json_u64(b, "last_seq", p->last_seq);
    } else {
        json_null(b, "first_seq");
        json_null(b, "last_seq");
    }
    if (c->publishing.to)
        json_id(b, "to", c->publishing.to);
    if (c->publishing.whole)
        json_u64(b, "sequence", c->publishing.sequence);
    json_close(b, '}');
    respond_json(c, (unsigned)net_err_http(err));
}

/* What an error means where a peer was asked; NULL: what its text says. */
static const char *reason_at_peer(int err)
{
    switch (err) {
    case NET_ERR_REPLAY:
        return "the peer does not remember this producer, or this sequence of it: whether it was appended is not known";
    case NET_ERR_STATE:
        return "the peer has not got the append before this one of the producer";
    case NET_ERR_EXISTS:
        return "this sequence of the producer was used for other events";
    case NET_ERR_POLICY:
        return "the peer does not let others append to this channel (channels.append)";
    case NET_ERR_UNREACHABLE:
        return "the peer is not connected";
    case NET_ERR_UNSUPPORTED:
        return "the peer does not know acknowledged append";
    case NET_ERR_TIMEOUT:
        return "the peer has not answered; it may have appended";
    case NET_ERR_LIMIT:
        return "the peer has no place for another channel (limits.channels) or producer (channels.producers)";
    case NET_ERR_INVALID:
        return "this channel cannot have a log at the peer";
    case NET_ERR_POISONED:
        return "a sync failed at the peer: whether it appended shows when it was started again";
    default:
        return NULL;
    }
}

static void on_done(struct publisher *p, int err)
{
    struct connection *c = container_of(p, struct connection, publishing.publisher);
    struct publishing *pu = &c->publishing;
    framer_deinit(&pu->framer);
    if (err)
        answer(c, err, pu->to ? reason_at_peer(err) : NULL, p->events); /* events are written in order: this was not */
    else
        answer(c, pu->err, pu->message, pu->refused);
    connection_run(c);
}

static void finish(struct connection *c)
{
    c->publishing.finishing = true;
    node_publish_finish(c->admin->node, &c->publishing.publisher);
}

/* No more events are taken; those before this one go on their way. */
static void fail(struct publishing *pu, int err, const char *message, uint64_t refused)
{
    pu->err = err;
    pu->message = message;
    pu->refused = refused;
}

/* The framer stopped at an event. */
static void refuse_event(struct publishing *pu, int err)
{
    const char *message = "the body ends inside an event";
    if (err == NET_ERR_TOO_LARGE) {
        text_format(pu->text, sizeof pu->text, "an event has at most %u bytes here (%s)", pu->framer.max_event,
                    pu->limit);
        message = pu->text;
    } else if (err == NET_ERR_LIMIT) {
        message = "the large events being published take all the memory there is for them: try again";
    } else if (err == NET_ERR_NO_MEMORY) {
        message = NULL;
    } else if (err == NET_ERR_FORMAT) {
        text_format(pu->text, sizeof pu->text,
                    "line %" PRIu64 " is not {\"data\":\"text\"} or {\"data_base64\":\"...\"}",
                    pu->framer.lines + 1); /* blank lines count, as in an editor, and are no events */
        message = pu->text;
    }
    fail(pu, err, message, pu->framer.index);
}

/* A body that is one append is larger than that. */
static void refuse_whole(struct connection *c)
{
    struct publishing *pu = &c->publishing;
    text_format(pu->text, sizeof pu->text,
                "one append is one event, or at most %u bytes, 4 for each event included, and %u events",
                node_max_append(c->admin->node), FRAMER_MAX_EVENTS);
    fail(pu, NET_ERR_TOO_LARGE, pu->text, pu->framer.index);
}

/* More than one append takes, which is one event of any size, or several that fit a packet together. */
static bool exceeds_append(const struct connection *c)
{
    const struct framer *f = &c->publishing.framer;
    return f->count > 1 && f->whole > node_max_append(c->admin->node);
}

/* There is something for the node: whole events, or the whole body. */
static bool is_due(const struct publishing *pu)
{
    return pu->whole ? pu->ended && !pu->put && !pu->err : pu->framer.count > 0;
}

/* A large event goes as it is, without a copy. */
static int put(struct connection *c)
{
    struct publishing *pu = &c->publishing;
    struct framer *f = &pu->framer;
    struct cspan frames = framer_frames(f);
    bool large = frames.len > FRAMER_MAX_BYTES;
    int err = large ? node_publish_give(c->admin->node, &pu->publisher, f->large, frames.len)
                    : node_publish_put(c->admin->node, &pu->publisher, frames, f->count);
    if (!err && large)
        framer_release(f);
    else if (!err)
        framer_taken(f);
    return err;
}

/* Hands what is due to the node. False: it has no room (`writable` will come), or the publish has failed. */
static bool hand_over(struct connection *c)
{
    struct publishing *pu = &c->publishing;
    struct framer *f = &pu->framer;
    if (pu->blocked)
        return false;
    if (pu->whole && exceeds_append(c))
        refuse_whole(c);
    bool due = is_due(pu);
    int err = due ? put(c) : 0;
    if (err == NET_ERR_AGAIN) {
        pu->blocked = true;
    } else if (err) {
        fail(pu, err, NULL, f->index - f->count);
        finish(c);
    } else if (due) {
        pu->put = true;
    }
    return !err;
}

/* Goes on as far as the node has room, to the end if the body has ended or an event was refused. */
static void advance(struct connection *c)
{
    struct publishing *pu = &c->publishing;
    struct framer *f = &pu->framer;
    while (!pu->finishing) {
        int err = pu->ended && !pu->err ? framer_end(f) : 0;
        if (err == NET_ERR_AGAIN && pu->whole)
            refuse_whole(c);
        else if (err && err != NET_ERR_AGAIN)
            refuse_event(pu, err);
        if (!hand_over(c) || (!pu->ended && !pu->err))
            return;
        if (err != NET_ERR_AGAIN || pu->whole)
            finish(c);
    }
}

static void on_writable(struct publisher *p)
{
    struct connection *c = container_of(p, struct connection, publishing.publisher);
    c->publishing.blocked = false;
    advance(c);
    connection_run(c);
}

static void publish_cancel(struct connection *c)
{
    node_publish_cancel(c->admin->node, &c->publishing.publisher);
    framer_deinit(&c->publishing.framer);
}

static void publish_stop(struct connection *c)
{
    publish_cancel(c);
    answer(c, NET_ERR_CANCELED, "the node is stopping", c->publishing.publisher.events);
}

static const struct exchange publish_exchange = {publish_cancel, publish_stop};

static bool is_type(const struct header_value *v, const char *type)
{
    size_t len = strlen(type);
    return strncasecmp(v->text, type, len) == 0 && (v->text[len] == '\0' || strchr("; \t", v->text[len]));
}

static bool take_type(struct connection *c, enum framer_input *input)
{
    static const char *const types[] = {[FRAMER_LINES] = "text/plain",
                                        [FRAMER_JSON] = "application/x-ndjson",
                                        [FRAMER_FRAMES] = "application/octet-stream"};
    const struct header_value *type = &c->request.headers[HEADER_CONTENT_TYPE];
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (!is_type(type, types[i]))
            continue;
        *input = (enum framer_input)i;
        return true;
    }
    respond_refusal(c, 415, "unsupported",
                    "Content-Type must be text/plain, application/x-ndjson or application/octet-stream", "");
    return false;
}

static bool take_producer(const char *text, uint8_t out[PRODUCER_ID_SIZE])
{
    return text[strspn(text, "0123456789abcdef")] == '\0' && text_parse_hex(text, out, PRODUCER_ID_SIZE);
}

/* False: answered. `producer` is for c->publishing.whole. */
static bool take_destination(struct connection *c, uint8_t producer[PRODUCER_ID_SIZE])
{
    struct publishing *pu = &c->publishing;
    const char *to = route_param(c, "to"), *id = route_param(c, "producer"), *sequence = route_param(c, "sequence");
    if ((id && !sequence) || (sequence && !id) || (id && !to)) {
        respond_error(c, NET_ERR_INVALID, "to, producer and sequence belong together");
        return false;
    }
    if (to && !route_param_peer(c, to, false))
        return false;
    if (id && !take_producer(id, producer)) {
        respond_error(c, NET_ERR_INVALID, "producer is not 32 lower-case hex digits");
        return false;
    }
    pu->to = to ? c->request.peer : 0;
    pu->whole = id != NULL;
    pu->sequence = route_param_u64(c, "sequence", 0);
    return true;
}

void publish_begin(struct connection *c)
{
    enum framer_input input;
    uint8_t producer[PRODUCER_ID_SIZE];
    bool durable = route_param_flag(c, "durable");
    struct publishing *pu = &c->publishing;
    struct node *node = c->admin->node;
    *pu = (struct publishing){.publisher = {.writable = on_writable, .done = on_done}};
    if (!take_destination(c, producer) || !take_type(c, &input))
        return;
    int err = pu->to ? node_publish_open_to(node, &pu->publisher, &c->request.channel, durable, pu->to,
                                            pu->whole ? producer : NULL, pu->sequence)
                     : node_publish_open(node, &pu->publisher, &c->request.channel, durable);
    if (err) {
        respond_error(c, err, pu->to ? reason_at_peer(err) : NULL);
        return;
    }
    uint32_t max = node_max_event(c->admin->node, &c->request.channel, &pu->limit);
    framer_init(&pu->framer, c->body, max, input, &c->admin->large_events);
    c->exchange = &publish_exchange;
}

size_t publish_body(struct connection *c, const uint8_t *data, size_t len)
{
    struct publishing *pu = &c->publishing;
    size_t taken = 0;
    while (!pu->err && taken < len) {
        size_t n;
        int err = framer_push(&pu->framer, (struct cspan){data + taken, len - taken}, &n);
        taken += n;
        if (pu->whole && (err == NET_ERR_AGAIN || exceeds_append(c))) {
            refuse_whole(c);
            advance(c);
        } else if (err == NET_ERR_AGAIN) {
            if (!hand_over(c))
                break;
        } else if (err) {
            refuse_event(pu, err);
            advance(c);
        }
    }
    return pu->err ? len : taken; /* what follows a refused event is read over until the answer is known */
}

void publish_drained(struct connection *c)
{
    advance(c);
}

void publish_end(struct connection *c)
{
    c->publishing.ended = true;
    advance(c);
}
