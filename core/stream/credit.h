/*
 * Credit of one stream, both directions, in bytes: payload + 80 per packet (streams.md 9.2). streams.md 9 and 13.4,
 * extensions X0 WINDOW and X4 first paragraph. Times are the shard's monotonic nanoseconds.
 */
#ifndef NM_CORE_STREAM_CREDIT_H
#define NM_CORE_STREAM_CREDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/span.h"

struct credit_tx {
    uint32_t window; /* 0 = unlimited */
    uint32_t remaining;
    uint64_t sent;          /* admitted minus refunded */
    uint64_t max_consumed;  /* highest total seen, clamped, with what was written off */
    uint64_t written_off;   /* taken as lost, and not seen to have arrived since */
    uint64_t arrived;       /* of what was taken as lost: a grant told, no credit_tx_found() yet */
    uint64_t last_grant_ns; /* of the last grant that brought anything */
    uint64_t exhausted_ns;  /* first refusal since then; UINT64_MAX: none */
    uint64_t refusals;      /* for want of credit */
    uint64_t grants;        /* received, stale ones included */
};

/* `window` is what the peer granted from the start (session_params.peer_window). */
void credit_tx_init(struct credit_tx *, uint32_t window, uint64_t now);
/* That much was wanted and is not there: backpressure. */
void credit_tx_refuse(struct credit_tx *, uint64_t now);
/* False: backpressure; nothing is taken, and no sequence may be. More than the whole window is refused for ever. */
bool credit_tx_acquire(struct credit_tx *, uint32_t bytes, uint64_t now);
/* Refused, and nothing came since that could change it: no use in preparing a packet. */
static inline bool credit_tx_blocked(const struct credit_tx *c)
{
    return c->exhausted_ns != UINT64_MAX;
}
void credit_tx_refund(struct credit_tx *, uint32_t bytes); /* the packet never left */
/* X4: a fire-and-forget packet was declared lost: its bytes are written off. It has arrived after all: the opposite, as
 * far as they were not used since. */
void credit_tx_lost(struct credit_tx *, uint32_t bytes);
void credit_tx_found(struct credit_tx *, uint32_t bytes);
/*
 * streams.md 9.3, clamped. Bytes that were written off never enter the receiver's total, so they are added to it; else
 * each grant after a recovery would take the restored credit away again. A total that leaves no room for so much loss
 * (the silence was a pause) takes the excess back out.
 */
void credit_tx_grant(struct credit_tx *, uint64_t total, uint64_t now);
/* streams.md 13.4: refused, and nothing granted for max(4 x rtt, 200 ms): the unreported bytes are lost, the window is
 * whole again. True if it acted; not before credit_tx_deadline(), UINT64_MAX when nothing was refused. */
bool credit_tx_recover(struct credit_tx *, uint64_t now, uint64_t rtt_ns);
uint64_t credit_tx_deadline(const struct credit_tx *, uint64_t rtt_ns);

struct credit_rx {
    uint32_t window;   /* what the sender may have unreported; 0 = never grant */
    uint64_t consumed; /* accepted bytes, payload + 80 per packet */
    uint64_t granted;  /* last total sent */
    uint64_t due_ns;   /* when a grant must leave at the latest; UINT64_MAX none */
    uint64_t grants;   /* sent */
};

void credit_rx_init(struct credit_rx *, uint32_t window);
void credit_rx_consume(struct credit_rx *, uint32_t bytes, uint64_t now, uint64_t max_delay_ns);
/* A quarter of the window is unreported, or the delay passed. */
bool credit_rx_due(const struct credit_rx *, uint64_t now);
void credit_rx_granted(struct credit_rx *); /* a grant with total = consumed was put into a packet */

/* The one event of a packet of SUBPROTO_CREDIT: streams.md 9.1. */
enum { CREDIT_MESSAGE = 16 }; /* bytes */
void credit_encode(uint64_t stream_id, uint64_t total, uint8_t out[CREDIT_MESSAGE]);
int credit_decode(struct cspan event, uint64_t *stream_id, uint64_t *total); /* NET_ERR_FORMAT unless 16 bytes */

#endif
