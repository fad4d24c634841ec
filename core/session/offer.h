/* The extension block inside handshake payloads: extensions X0. */
#ifndef NM_CORE_SESSION_OFFER_H
#define NM_CORE_SESSION_OFFER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/span.h"

enum { OFFER_MAX_PAYLOAD = 512 }; /* bytes of a handshake payload, node id included */

struct offer {
    bool present;                      /* a block with the right magic was there */
    uint64_t features;                 /* FEATURE_* of session.h */
    uint64_t receive_id, instance;     /* session id to send to; a number the sender drew at its start */
    uint32_t window;                   /* bytes of credit granted per stream; 65536 when absent */
    uint16_t max_datagram;             /* bytes; 1200 when absent */
    const uint8_t *entity, *signature; /* 32 and 64 bytes inside the input; NULL when absent */
    size_t entity_tlv_at;              /* offset of the ENTITY TLV in the payload: what is hashed lies before it */
};

/* Appends the block (all but the ENTITY TLV's contents filled) at payload + used, which is 8 at most. Returns the new
 * payload length, with *entity_at the offset where the 96 ENTITY bytes go (they are the last bytes), *hashed the number
 * of payload bytes before the ENTITY TLV. */
size_t offer_encode(uint8_t payload[OFFER_MAX_PAYLOAD], size_t used, const struct offer *, size_t *entity_at,
                    size_t *hashed);
/* `block` is the payload after the node id (msg1) or the whole payload (msg2); `base` = its offset in the payload.
 * Absent or other magic: 0 with present = false. NET_ERR_FORMAT: duplicates, overrun, wrong sizes or ranges, unknown
 * critical types, ENTITY not last, FEATURES bit 0 without ENTITY, RECEIVE_ID, INSTANCE; payload above 512 bytes. */
int offer_decode(struct cspan block, size_t base, struct offer *out);

#endif
