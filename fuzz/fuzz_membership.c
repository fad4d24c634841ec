/* Membership messages: what decodes, encodes to the same bytes, but for the optional forms of an empty tail. */
#include <assert.h>

#include "core/channel/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t again[MEMBERSHIP_MAX];
    struct membership m;
    if (membership_decode((struct cspan){data, size}, &m) != 0)
        return 0;
    assert(size <= MEMBERSHIP_MAX);
    assert(m.type == MEMBERSHIP_ACK || channel_name_parse(m.channel.text, m.channel.len, NULL) == CHANNEL_NAME_OK);
    int len = membership_encode(&m, again, sizeof again);
    assert(len > 0);
    size_t same = (size_t)len < size ? (size_t)len : size;
    assert(memcmp(again, data, same) == 0);
    /* The legacy form lacks the token's length, a group of no bytes may be spelled out. */
    if (m.type != MEMBERSHIP_SUBSCRIBE || m.queue_group.len > 0)
        assert((size_t)len == size);
    else
        assert((size_t)len == size || (size_t)len == size + 2 || (size_t)len + 1 == size);
    return 0;
}
