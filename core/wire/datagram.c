/* What a datagram is before any session is looked up, and the headers outside the Net packet. wire.md 1 and 4. */
#include <assert.h>

#include "core/base/err.h"
#include "core/wire/wire.h"

enum {
    MAGIC_DIRECT = 0x4E45,    /* wire 45 4E */
    MAGIC_ROUTED = 0x5452,    /* wire 52 54 */
    MAGIC_KEEPALIVE = 0x4850, /* wire 50 48 */
    HEALTH_AT = 63,
    HEALTH_LAST = 3,
    SESSION_ID_AT = 24,
};

enum wire_class wire_classify(struct cspan d)
{
    if (d.len < 2)
        return WIRE_CLASS_NONE;
    uint16_t magic = load_le16(d.data);
    if (d.len == WIRE_KEEPALIVE && magic == MAGIC_KEEPALIVE)
        return WIRE_CLASS_KEEPALIVE;
    if (d.len == WIRE_PINGWAVE && magic != MAGIC_DIRECT && d.data[HEALTH_AT] <= HEALTH_LAST)
        return WIRE_CLASS_PINGWAVE;
    if (magic == MAGIC_ROUTED && d.len >= WIRE_ROUTE + WIRE_HEADER)
        return WIRE_CLASS_ROUTED;
    if (magic == MAGIC_DIRECT && d.len >= WIRE_HEADER)
        return WIRE_CLASS_DIRECT;
    return WIRE_CLASS_NONE;
}

int wire_steer(struct cspan d, unsigned shards)
{
    assert(shards > 0);
    bool routed = d.len >= 2 && load_le16(d.data) == MAGIC_ROUTED;
    size_t at = routed ? WIRE_ROUTE + SESSION_ID_AT : SESSION_ID_AT;
    uint32_t word = d.len >= at + 4 ? load_be32(d.data + at) : 0;
    return (int)(word % shards);
}

unsigned wire_steer_id(uint64_t session_id, unsigned shards)
{
    assert(shards > 0);
    return __builtin_bswap32((uint32_t)session_id) % shards;
}

void wire_route_encode(const struct wire_route *r, uint8_t out[WIRE_ROUTE])
{
    store_le16(out, MAGIC_ROUTED);
    out[2] = r->ttl;
    out[3] = r->hop_count;
    out[4] = r->flags;
    out[5] = r->reserved;
    store_le32(out + 6, r->src_id);
    store_le64(out + 10, r->dest_id);
}

int wire_route_decode(struct cspan d, struct wire_route *out)
{
    if (d.len < WIRE_ROUTE + WIRE_HEADER)
        return NET_ERR_TRUNCATED;
    if (load_le16(d.data) != MAGIC_ROUTED)
        return NET_ERR_FORMAT;
    out->ttl = d.data[2];
    out->hop_count = d.data[3];
    out->flags = d.data[4] & 0x0F;
    out->reserved = d.data[5];
    out->src_id = load_le32(d.data + 6);
    out->dest_id = load_le64(d.data + 10);
    return NET_OK;
}

int wire_route_forward(uint8_t *d, size_t len)
{
    if (len < WIRE_ROUTE + WIRE_HEADER)
        return NET_ERR_TRUNCATED;
    if (d[2] == 0)
        return NET_ERR_LIMIT;
    d[2]--;
    if (d[3] < UINT8_MAX)
        d[3]++;
    d[4] &= 0x0F;
    return NET_OK;
}

void wire_pingwave_encode(const struct wire_pingwave *w, uint8_t out[WIRE_PINGWAVE])
{
    store_le64(out, w->origin);
    memset(out + 8, 0, 24);
    store_le64(out + 32, w->seq);
    out[40] = w->ttl;
    out[41] = w->hop_count;
    store_le64(out + 42, w->origin_timestamp_us);
    store_le64(out + 50, w->capability_hash);
    store_le32(out + 58, w->capability_version);
    out[62] = w->load_level;
    out[HEALTH_AT] = w->health;
    store_le64(out + 64, w->primary_caps);
}

int wire_pingwave_decode(struct cspan d, struct wire_pingwave *out)
{
    if (d.len < WIRE_PINGWAVE)
        return NET_ERR_TRUNCATED;
    if (wire_classify(d) != WIRE_CLASS_PINGWAVE)
        return NET_ERR_FORMAT;
    out->origin = load_le64(d.data);
    out->seq = load_le64(d.data + 32);
    out->ttl = d.data[40];
    out->hop_count = d.data[41];
    out->origin_timestamp_us = load_le64(d.data + 42);
    out->capability_hash = load_le64(d.data + 50);
    out->capability_version = load_le32(d.data + 58);
    out->load_level = d.data[62];
    out->health = d.data[HEALTH_AT];
    out->primary_caps = load_le64(d.data + 64);
    return NET_OK;
}

int wire_keepalive_decode(struct cspan d, uint64_t *node_id, uint32_t *punch_id)
{
    if (d.len < WIRE_KEEPALIVE)
        return NET_ERR_TRUNCATED;
    if (wire_classify(d) != WIRE_CLASS_KEEPALIVE)
        return NET_ERR_FORMAT;
    *node_id = load_le64(d.data + 2);
    *punch_id = load_le32(d.data + 10);
    return NET_OK;
}
