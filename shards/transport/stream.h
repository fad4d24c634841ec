/*
 * The streams of a peer: numbered flows with credit in both directions, fire-and-forget or reliable (streams.md,
 * extensions X1, X2, X4). A stream belongs to the pair of nodes: it goes on across a re-handshake, and ends when the
 * peer lost its state. Everything here runs on the peer's home shard. Sizes are bytes.
 *
 * A reliable packet is filled once, into a block of the shard's pool, and stays there until it is acknowledged. Nobody
 * queues beyond that: credit bounds what a stream holds, the pool what the shard holds (limits.unacknowledged).
 */
#ifndef NM_SHARDS_NODE_STREAM_H
#define NM_SHARDS_NODE_STREAM_H

#include "core/base/list.h"
#include "core/stream/credit.h"
#include "core/stream/fragment.h"
#include "core/stream/ordered.h"
#include "shards/transport/transport.h"

struct peer;
struct shard;
struct stream;
struct subscription;

enum stream_mode { STREAM_FIRE_AND_FORGET, STREAM_RELIABLE };

/* A packet of a stream: to be sent, on its way to the peer, or arrived before its turn. */
struct packet {
    struct list link;                      /* stream: unsent, lost or in flight; pool: free */
    struct stream *stream;                 /* NULL: its stream ended while it was in flight */
    uint64_t sequence;                     /* given by stream_commit() */
    uint16_t room;                         /* bytes at data that may be filled */
    uint16_t len, count;                   /* plaintext bytes and event frames in it: set before stream_commit() */
    uint16_t subprotocol, channel_hash;    /* set by whoever fills it; 0 at first */
    uint16_t fragment_id, fragment_offset; /* X3; 0 at first */
    uint8_t frag_flags;                    /* X3; 0 at first */
    uint8_t flags;                         /* WIRE_FIN */
    bool was_sent;
    uint8_t data[]; /* event frames */
};

/* Where the packets of a stream come from; embedded in its owner, set by the opener as stream->source. */
struct stream_source {
    /* Asked while the stream has nothing unsent, and congestion, pacer and credit have room: prepares ONE packet
     * (stream_packet, stream_commit) and returns true; false: nothing now, and whoever gets something says
     * stream_wants_tx(). */
    bool (*fill)(struct stream_source *, struct peer *, struct stream *);
    /* The stream is gone when this returns. NET_ERR_CLOSED: the peer restarted, or reset it; NET_OK: all of it was
     * acknowledged, FIN included, or, fire-and-forget, sent. Not called for the owner's own stream_reset(). */
    void (*ended)(struct stream_source *, struct peer *, struct stream *, int why);
};

/* How far a large event or message is on its way to the peer in fragments (X3). */
struct large_sent {
    uint32_t offset; /* bytes sent */
    uint32_t slice;  /* bytes of each fragment but the last */
    uint64_t first;  /* sequence of the first */
};

struct stream {
    uint64_t id;
    struct peer *peer;
    uint64_t last_active;
    uint64_t tx_seq, rx_next; /* next to send; fire-and-forget: behind the highest that arrived */
    struct credit_tx tx;
    struct credit_rx rx;
    struct list grant;      /* in peer->grants while a grant is owed */
    uint64_t grant_counter; /* of the packet that carried the last one */
    struct list closed;     /* in peer->closed_streams: over, and known until `closed_at` + 2 s */
    uint64_t closed_at;
    bool was_reset;      /* by us: the peer may go on with it until it has heard */
    uint32_t reset_code; /* that the peer is to be told of */
    bool reset_owed;     /* there was no room for the message yet */

    struct subscription *subscription; /* ours, for what arrives; NULL */
    uint32_t cursors;                  /* live ones that send on it */

    /* The sending half, where stream_open() opened it. */
    bool tx_open, tx_reliable;
    bool finishing, finished; /* FIN is due; it was committed */
    uint16_t tx_subprotocol;  /* of what was committed last: FIN goes to the same handler */
    struct sender sender;
    struct stream_source *source;
    struct list unsent, lost; /* struct packet, by sequence */
    struct list in_flight;    /* sent, and neither acknowledged nor lost */
    uint64_t retransmitted;   /* packets */
    struct {
        uint8_t *data; /* NULL: none */
        uint32_t len;
        uint16_t subprotocol;
        struct large_sent sent;
    } message;           /* by stream_send_message(), larger than a packet: goes before anything else that is new */
    struct list starved; /* in shard->starved_streams: the pool was dry */

    /* The receiving half, where reliable packets came or are expected. */
    bool rx_reliable;
    bool rx_finished; /* FIN was delivered, */
    uint64_t finished_at;
    bool rx_forgettable; /* and the peer knows it: it repeats nothing of that */
    bool fin_held;       /* FIN came and waits; it is not acknowledged, so that the id is not used again: */
    uint64_t fin_session, fin_counter;
    bool delivering;               /* its handler is running: what ends meanwhile is freed afterwards */
    bool ended;                    /* by the peer, or with it */
    uint32_t released;             /* how often all that it held was dropped: an id that is shared goes on after it */
    uint16_t rx_subprotocol;       /* of what arrived last: whose handler hears of the end */
    struct ordered arrived;        /* struct packet that are not delivered yet */
    uint64_t rx_taken;             /* bytes, as credit counts them, of all that has its place */
    struct fragment_message whole; /* was put together, and its handler had no room yet; frame NULL: none */
    struct list stalled;           /* in shard->stalled_streams: its handler had no room */
};

/* ---- sending ---- */

/*
 * Opens the sending half, or finds it open (settings of the first open stay). `tx_window`: what the peer grants, 0:
 * what its session offers. `weight` 1..255, 0 counts as 1. NET_ERR_UNREACHABLE no session or, for reliable, a peer
 * without X2; NET_ERR_LIMIT max_streams, or the id is in use in the other mode; NET_ERR_AGAIN it was closed within the
 * last two seconds (streams.md 4.3); NET_ERR_NO_MEMORY.
 */
int stream_open(struct peer *, uint64_t id, enum stream_mode, uint32_t tx_window, uint8_t weight, struct stream **);
struct stream *stream_find(struct peer *, uint64_t id); /* NULL: none, or it is over */

/* A block for up to `room` bytes of event frames (at most what the path carries: see packet->room). NULL: no credit for
 * that, or the pool is dry; the source is asked again when that changes. */
struct packet *stream_packet(struct peer *, struct stream *, size_t room);
/* The same for so many bytes, though the path carries less: of what began when it carried them. */
struct packet *stream_packet_of(struct peer *, struct stream *, size_t room);
/* Takes credit and a sequence; it leaves as scheduler, pacer and congestion allow, and on a reliable stream is repeated
 * until it arrived. */
void stream_commit(struct peer *, struct stream *, struct packet *);
void stream_discard(struct peer *, struct packet *);
/*
 * One message as one event on the reliable stream of that id, opened as needed; copied. What exceeds a packet goes in
 * fragments (X3), one such message at a time; while one is on its way nobody commits packets to that stream.
 * NET_ERR_AGAIN (backpressure), NET_ERR_UNREACHABLE, NET_ERR_TOO_LARGE (for one packet, and the peer takes no
 * fragments; or for FRAGMENT_MAX_MESSAGE), NET_ERR_NO_MEMORY, and what stream_open() says.
 */
int stream_send_message(struct peer *, uint64_t stream_id, uint16_t subprotocol, struct cspan message);
void stream_wants_tx(struct peer *, struct stream *); /* its source has something */
/* FIN: nothing more is sent; what was committed still is. The source's ended() tells when the peer has it all. */
void stream_finish(struct peer *, struct stream *);
/* Both halves end here and, told by a reliable message, at the peer; what is on its way is dropped. */
void stream_reset(struct peer *, struct stream *, uint32_t code);

/* ---- receiving ---- */

/* The window that we grant on a stream that the peer is about to open: it was told by other means. As stream_open(). */
int stream_expect(struct peer *, uint64_t id, uint32_t rx_window);
/*
 * A packet of a reliable stream, in order, each once. True: taken; its credit, WIRE_OVERHEAD + payload_len, is returned
 * by stream_consumed(), now or later. False: no room downstream: it stays in the stream, acknowledged but without
 * credit, and is offered again. The last one has WIRE_FIN. A stream that ends otherwise (peer restarted, or reset) is
 * told by one more call with stream->ended and an empty plaintext; what that returns is ignored.
 */
/* What came in fragments is handed over as one plaintext of one frame, with the header, and the credit, of the last. */
typedef bool packet_handler(struct peer *, struct stream *, const struct wire_header *, struct cspan plaintext);
void stream_consumed(struct peer *, struct stream *, uint32_t bytes); /* they may be granted again */
/* Inside a handler: the memory of a plaintext that came in fragments becomes the handler's, for free(), if it returns
 * true. NULL: it came in one packet. */
uint8_t *stream_take_message(struct stream *);

/* ---- inside the transport ---- */

/* stream.c: the streams of a peer, and the credit of both directions */
void streams_init(struct peer *);
void streams_free(struct peer *);
struct stream *stream_get(struct peer *, uint64_t id); /* creates; NULL: limit, memory, or it was closed just now */
void streams_reset(struct peer *);                     /* after a restart of the peer, or a new v0.19 session */
/* Its last cursor, or its subscription, ended and both ends know: that direction begins anew if it is used again. A
 * stream of which nothing is left is freed. */
void stream_end_tx(struct peer *, struct stream *);
void stream_end_rx(struct peer *, struct stream *);
void stream_dispose(struct stream *);           /* frees one that is not in the table any more */
uint32_t stream_tx_window(const struct peer *); /* what the session offers, and what we do */
uint32_t stream_rx_window(const struct peer *);
uint64_t streams_deadline(const struct peer *);
void streams_tick(struct peer *, uint64_t now);

/* stream_credit.c */
void stream_on_credit(struct peer *, struct cspan plaintext, uint32_t count);
void stream_credit_lost(struct peer *, uint64_t id, uint32_t bytes);  /* X4: a packet of that stream was lost */
void stream_credit_found(struct peer *, uint64_t id, uint32_t bytes); /* or not, after all */
void stream_grants_lost(struct peer *, uint64_t packet);              /* the packet that carried them was */
void stream_grants_put_off(struct peer *); /* by 1 ms: the loss of one would not be noticed */
bool stream_grants_due(const struct peer *);
uint64_t stream_credit_deadline(const struct peer *);
void stream_credit_tick(struct peer *, uint64_t now);

/* stream_send.c */
void stream_on_acked(struct peer *, struct packet *);
void stream_on_lost(struct peer *, struct packet *);
bool stream_probe(struct peer *); /* sends one packet that is acknowledged, whatever the limits; false: no buffer */
void stream_release_tx(struct stream *); /* drops what it holds to send */
void streams_fed(struct shard *);        /* once a turn: the pool has blocks again */

/* stream_receive.c */
bool stream_on_packet(struct peer *, const struct wire_header *, struct cspan plaintext); /* true: it has its place */
void stream_release_rx(struct stream *); /* drops what it holds of the peer's */
void streams_offer(struct shard *);      /* once a turn: what handlers had no room for */

/* stream_end.c: FIN, resets, restarts */
/* What arrived cannot be taken: who uses the stream hears that it is over, and so does the peer. */
void stream_fail(struct peer *, struct stream *, uint32_t code);
void stream_settle(struct peer *, struct stream *); /* frees it when both halves are over */
void stream_close(struct peer *, struct stream *);  /* it is over: released, and remembered for a while */
bool stream_on_control(struct peer *, struct stream *, const struct wire_header *, struct cspan plaintext);
void stream_refuse(struct peer *, uint64_t id, uint32_t code);
void stream_retry_reset(struct peer *, struct stream *);
void stream_tell_finished(struct peer *, struct stream *); /* all that we sent was acknowledged, FIN included */
/* The peer sends nothing any more of what had FIN, and what it sent before has arrived or is lost: packets of that id
 * are those of another stream. */
bool stream_is_forgettable(const struct stream *, uint64_t now);
void streams_end_reliable(struct peer *, int why);
#endif
