/*
 * Congestion control of one session: how many bytes may be in flight, and how fast they leave. Extensions X2.5, RFC
 * 9002 7. Driven by recovery.c, which tells it what was sent, acknowledged and lost. Bytes are whole datagrams.
 */
#ifndef NM_CORE_STREAM_CONGESTION_H
#define NM_CORE_STREAM_CONGESTION_H

#include <stdbool.h>
#include <stdint.h>

struct congestion {
    uint64_t cwnd;      /* bytes that may be in flight */
    uint64_t in_flight; /* bytes sent and neither acknowledged nor lost; fire-and-forget too, so it may exceed cwnd */
    uint64_t rate;      /* bytes per second for the pacer; 0: not known yet, unlimited */
};

/* Bytes that reliable traffic may add to what is in flight. */
static inline uint64_t congestion_room(const struct congestion *c)
{
    return c->cwnd > c->in_flight ? c->cwnd - c->in_flight : 0;
}

#endif
