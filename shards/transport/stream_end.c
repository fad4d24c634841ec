/* How reliable streams end: FIN, resets, a peer that restarted. Extensions X1, X2.6. */
#include <stdlib.h>

#include "core/base/err.h"
#include "core/stream/reset.h"
#include "shards/peers/peer.h"
#include "shards/transport/receive.h"

/* Who uses it hears that it is over. Its handler may be running already, when a reset came on the stream it ends. */
static void tell(struct peer *p, struct stream *st, int why)
{
    bool delivering = st->delivering;
    st->ended = true;
    packet_handler *handler = receive_handler(p->shard, st->rx_subprotocol);
    if (st->rx_reliable && !st->rx_finished && handler) {
        struct wire_header h = {.flags = WIRE_RELIABLE,
                                .subprotocol = st->rx_subprotocol,
                                .stream_id = st->id,
                                .sequence = st->arrived.next};
        st->delivering = true;
        (void)handler(p, st, &h, (struct cspan){NULL, 0});
        st->delivering = delivering;
    }
    struct stream_source *source = st->source;
    st->source = NULL;
    if (source && source->ended)
        source->ended(source, p, st, why);
}

/* ---- resets ---- */

static bool send_reset(struct peer *p, uint64_t id, uint32_t code)
{
    uint8_t message[RESET_MESSAGE];
    reset_encode(id, code, message);
    int err = stream_send_message(p, SUBPROTO_STREAM, SUBPROTO_STREAM, (struct cspan){message, sizeof message});
    if (err == NET_OK && code != RESET_FINISHED)
        COUNT(p->shard, resets_sent);
    return err != NET_ERR_AGAIN;
}

/* Its place in the table stays taken for a while: stragglers of it are known as such. */
void stream_reset(struct peer *p, struct stream *st, uint32_t code)
{
    st->source = NULL;
    stream_close(p, st);
    st->was_reset = true;
    st->reset_code = code;
    st->reset_owed = true; /* it is not freed to make room for its own reset */
    st->reset_owed = !send_reset(p, st->id, code);
}

void stream_fail(struct peer *p, struct stream *st, uint32_t code)
{
    tell(p, st, NET_ERR_CLOSED);
    if (!st->closed_at)
        stream_reset(p, st, code);
}

void stream_refuse(struct peer *p, uint64_t id, uint32_t code)
{
    struct stream *st = stream_get(p, id);
    if (st && !st->cursors && !st->subscription && !st->tx_open && !st->rx_reliable)
        stream_reset(p, st, code);
    else
        (void)send_reset(p, id, code); /* if there is no room for that, the next straggler asks for it again */
}

void stream_retry_reset(struct peer *p, struct stream *st)
{
    st->reset_owed = !send_reset(p, st->id, st->reset_code);
}

void stream_tell_finished(struct peer *p, struct stream *st)
{
    st->was_reset = true;
    st->reset_code = RESET_FINISHED;
    st->reset_owed = !send_reset(p, st->id, RESET_FINISHED);
}

static void on_reset(struct peer *p, uint64_t id, uint32_t code)
{
    struct stream *st = map_get(&p->streams, id);
    if (!st || id == SUBPROTO_STREAM)
        return;
    st->rx_forgettable |= st->rx_reliable && st->rx_finished;
    if (code == RESET_FINISHED || st->closed_at || (!st->tx_open && !st->rx_reliable))
        return;
    COUNT(p->shard, resets_received);
    tell(p, st, NET_ERR_CLOSED);
    if (!st->closed_at)
        stream_close(p, st);
}

bool stream_on_control(struct peer *p, struct stream *st, const struct wire_header *h, struct cspan plaintext)
{
    struct wire_frames walk = wire_frames(plaintext, h->event_count);
    struct cspan event;
    while (wire_frames_next(&walk, &event)) {
        uint64_t id;
        uint32_t code;
        if (reset_decode(event, &id, &code) == NET_OK)
            on_reset(p, id, code);
        else
            COUNT(p->shard, drop_reset);
    }
    if (!st->ended)
        stream_consumed(p, st, h->payload_len + (uint32_t)WIRE_OVERHEAD);
    return true;
}

/* ---- restarts ---- */

static bool reliable(const struct stream *st)
{
    return st->tx_open || st->rx_reliable;
}

/* First all out of the table, so that whoever hears of the end may begin anew under the same id; but for those that a
 * live cursor or a subscription goes on with. */
void streams_end_reliable(struct peer *p, int why)
{
    struct list ending, *n;
    list_init(&ending);
    map_each(&p->streams, slot)
    {
        struct stream *st = slot->value;
        if (list_linked(&st->closed))
            list_remove(&st->closed);
        if (st->closed_at || reliable(st))
            list_push_back(&ending, &st->closed);
    }
    for (n = ending.next; n != &ending; n = n->next) {
        struct stream *st = container_of(n, struct stream, closed);
        if (!st->cursors && !st->subscription)
            map_remove(&p->streams, st->id);
    }
    while ((n = list_pop(&ending))) {
        struct stream *st = container_of(n, struct stream, closed);
        if (!st->closed_at)
            tell(p, st, why);
        if (st->cursors || st->subscription)
            stream_close(p, st);
        else
            stream_dispose(st);
    }
}
