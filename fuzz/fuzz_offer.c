/* Any bytes as an extension block: no crash, and what is accepted is within the limits of X0. */
#include <assert.h>

#include "core/base/err.h"
#include "core/session/offer.h"
#include "core/session/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct offer o;
    int err = offer_decode((struct cspan){data, len}, 8, &o);
    assert(err == NET_OK || err == NET_ERR_FORMAT);
    if (err || !o.present)
        return 0;
    assert(o.max_datagram >= 1200 && o.max_datagram <= WIRE_MAX_DATAGRAM);
    assert(o.window >= 65536 && o.window <= UINT32_C(1) << 30);
    if (o.features & FEATURE_SECURE)
        assert(o.entity && o.receive_id);
    if (o.entity)
        assert(o.entity >= data && o.signature + 64 <= data + len && data + o.entity_tlv_at - 8 + 4 == o.entity);
    return 0;
}
