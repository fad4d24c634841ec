/* Datagrams as they come from the socket: class, steering, routing header, Net header, pingwave, keep-alive. */
#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/wire/wire.h"

/* Decoded and encoded again: the same bytes. */
static void header(struct cspan packet)
{
    struct wire_header h;
    uint8_t again[WIRE_HEADER], aad[WIRE_AAD], nonce[WIRE_NONCE];
    if (wire_header_decode(packet, &h) != NET_OK)
        return;
    wire_header_encode(&h, again);
    assert(memcmp(again, packet.data, WIRE_HEADER) == 0);
    if (wire_length_ok(&h, packet.len))
        assert(packet.len == WIRE_HEADER + (size_t)h.payload_len + WIRE_TAG && packet.len <= WIRE_MAX_PACKET);
    wire_aad(packet.data, aad);
    wire_nonce(h.session_id, h.counter, nonce);
    assert(memcmp(aad, packet.data, 6) == 0 && memcmp(nonce + 4, packet.data + 16, 8) == 0);
}

static void routed(struct cspan d)
{
    struct wire_route r, next;
    uint8_t again[WIRE_ROUTE], *copy = malloc(d.len);
    assert(copy != NULL);
    assert(wire_route_decode(d, &r) == NET_OK);
    wire_route_encode(&r, again);
    assert(memcmp(again, d.data, 4) == 0 && memcmp(again + 5, d.data + 5, WIRE_ROUTE - 5) == 0);
    memcpy(copy, d.data, d.len);
    int err = wire_route_forward(copy, d.len);
    assert(wire_route_decode((struct cspan){copy, d.len}, &next) == NET_OK);
    assert(err == NET_OK ? next.ttl == r.ttl - 1 : r.ttl == 0 && next.ttl == 0);
    assert(memcmp(copy + WIRE_ROUTE, d.data + WIRE_ROUTE, d.len - WIRE_ROUTE) == 0);
    free(copy);
    header((struct cspan){d.data + WIRE_ROUTE, d.len - WIRE_ROUTE});
}

static void pingwave(struct cspan d)
{
    struct wire_pingwave w;
    uint8_t again[WIRE_PINGWAVE];
    assert(wire_pingwave_decode(d, &w) == NET_OK);
    wire_pingwave_encode(&w, again);
    assert(memcmp(again, d.data, 8) == 0 && memcmp(again + 32, d.data + 32, WIRE_PINGWAVE - 32) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cspan d = {data, size};
    struct wire_pingwave w;
    uint64_t node;
    uint32_t punch;
    enum wire_class class = wire_classify(d);
    int shard = wire_steer(d, 7);
    assert(shard >= 0 && shard < 7);
    assert((wire_pingwave_decode(d, &w) == NET_OK) == (class == WIRE_CLASS_PINGWAVE));
    assert((wire_keepalive_decode(d, &node, &punch) == NET_OK) == (class == WIRE_CLASS_KEEPALIVE));
    if (class == WIRE_CLASS_ROUTED)
        routed(d);
    if (class == WIRE_CLASS_PINGWAVE)
        pingwave(d);
    header(d);
    return 0;
}
