/*
 * RESET: a stream is over, in both directions, whatever is still on its way. Extensions X2.6; bytes ours. One event of
 * subprotocol 0x0B02 on the reliable stream of that id, all little-endian.
 *
 * With RESET_FINISHED it ends nothing, but says what only the sender knows: all of its direction, FIN included, was
 * acknowledged. Until then the receiver must know what it took, however long an outage keeps the acknowledgements from
 * the sender; and until this is acknowledged the sender does not use the id again.
 *
 *   offset  size  field
 *        0     8  stream id
 *        8     4  code: why
 *       12     4  zero
 */
#ifndef NM_CORE_STREAM_RESET_H
#define NM_CORE_STREAM_RESET_H

#include <stdint.h>

#include "core/base/span.h"

enum { RESET_MESSAGE = 16 }; /* bytes */

enum reset_code {
    RESET_ENDED = 0,   /* whoever used it does not need it any more */
    RESET_UNKNOWN = 1, /* nobody here deals with what it carries */
    RESET_LIMIT = 2,   /* a limit of the receiver */
    RESET_MODE = 3,    /* the id is in use for something else */
    RESET_FORMAT = 4,  /* fragments that contradict each other (X3) */
    RESET_FINISHED = 5 /* the sender will repeat nothing of it: it may be forgotten */
};

void reset_encode(uint64_t stream_id, uint32_t code, uint8_t out[RESET_MESSAGE]);
int reset_decode(struct cspan event, uint64_t *stream_id, uint32_t *code); /* NET_ERR_FORMAT: length, or not zero */

#endif
