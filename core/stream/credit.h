/* Credit of one stream, both directions. streams.md 9 and 13.4, extensions X0 WINDOW and X4 first paragraph. */
#ifndef NM_CORE_STREAM_CREDIT_H
#define NM_CORE_STREAM_CREDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/span.h"

struct credit_tx {
    uint32_t window; /* 0 = unlimited */
    uint32_t remaining;
    uint64_t sent;         /* admitted minus refunded */
    uint64_t max_consumed; /* highest clamped total seen */
    uint64_t last_grant_ns, exhausted_ns; /* for recovery of lost bytes */
    uint64_t backpressure, grants; /* statistics */
    uint64_t written_off;          /* bytes assumed lost by credit_tx_recover */
};

void credit_tx_init(struct credit_tx *, uint32_t window, uint64_t now);
bool credit_tx_acquire(struct credit_tx *, uint32_t bytes, uint64_t now); /* false: backpressure, nothing changed but counts */
void credit_tx_refund(struct credit_tx *, uint32_t bytes);
void credit_tx_grant(struct credit_tx *, uint64_t total, uint64_t now); /* streams.md 9.3, clamped */
/* streams.md 13.4: exhausted and no grant for max(4 x rtt, 200 ms): the unreported bytes are lost. True if it restored. */
bool     credit_tx_recover(struct credit_tx *, uint64_t now, uint64_t rtt_ns);
uint64_t credit_tx_deadline(const struct credit_tx *, uint64_t rtt_ns); /* when recover may act; UINT64_MAX */

struct credit_rx {
    uint32_t window;   /* what the sender may have unreported; 0 = never grant */
    uint64_t consumed; /* accepted bytes, payload + 80 per packet */
    uint64_t granted;  /* last total sent */
    uint64_t due_ns;   /* when a grant must leave at the latest; UINT64_MAX none */
};

void credit_rx_init(struct credit_rx *, uint32_t window);
void credit_rx_consume(struct credit_rx *, uint32_t bytes, uint64_t now, uint64_t max_delay_ns);
/* A quarter of the window is unreported, or the delay passed. */
bool credit_rx_due(const struct credit_rx *, uint64_t now);
void credit_rx_granted(struct credit_rx *); /* a grant with total = consumed was put into a packet */

enum { CREDIT_MESSAGE = 16 };
void credit_encode(uint64_t stream_id, uint64_t total, uint8_t out[CREDIT_MESSAGE]);
int  credit_decode(struct cspan event, uint64_t *stream_id, uint64_t *total); /* NET_ERR_FORMAT unless 16 bytes */

#endif
