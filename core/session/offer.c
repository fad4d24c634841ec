#include "core/session/offer.h"

#include <assert.h>

#include "core/base/err.h"
#include "core/session/session.h"

enum { HEAD = 6, TLV_HEAD = 4, ENTITY_LEN = 96 };
enum { /* X0 */
       TLV_FEATURES = 0x0001,
       TLV_MAX_DATAGRAM = 0x0002,
       TLV_WINDOW = 0x0003,
       TLV_RECEIVE_ID = 0x0005,
       TLV_INSTANCE = 0x0006,
       TLV_ENTITY = 0x8004,
       TLV_CRITICAL = 0x8000, /* bit: whoever does not know the type refuses */
};
static const uint8_t magic[4] = {'N', 'X', 'T', '1'};

static uint8_t *tlv(uint8_t *at, uint16_t type, uint16_t len)
{
    store_le16(at, type);
    store_le16(at + 2, len);
    return at + TLV_HEAD;
}

size_t offer_encode(uint8_t payload[OFFER_MAX_PAYLOAD], size_t used, const struct offer *o, size_t *entity_at,
                    size_t *hashed)
{
    assert(used <= 8);
    uint8_t *block = payload + used, *at = block + HEAD;
    memcpy(block, magic, sizeof magic);
    store_le64(at = tlv(at, TLV_FEATURES, 8), o->features);
    store_le16(at = tlv(at + 8, TLV_MAX_DATAGRAM, 2), o->max_datagram);
    store_le32(at = tlv(at + 2, TLV_WINDOW, 4), o->window);
    store_le64(at = tlv(at + 4, TLV_RECEIVE_ID, 8), o->receive_id);
    store_le64(at = tlv(at + 8, TLV_INSTANCE, 8), o->instance);
    at += 8;
    *hashed = (size_t)(at - payload);
    at = tlv(at, TLV_ENTITY, ENTITY_LEN);
    *entity_at = (size_t)(at - payload);
    at += ENTITY_LEN;
    store_le16(block + 4, (uint16_t)(at - block - HEAD));
    return (size_t)(at - payload);
}

/* The types of one block, to find what is twice and what is missing; 512 bytes hold at most 126. */
struct seen {
    uint16_t types[OFFER_MAX_PAYLOAD / TLV_HEAD];
    size_t count;
};

static bool has(const struct seen *s, uint16_t type)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->types[i] == type)
            return true;
    return false;
}

static bool take(struct offer *o, uint16_t type, struct cspan value)
{
    const uint8_t *v = value.data;
    switch (type) {
    case TLV_FEATURES:
        return value.len == 8 && (o->features = load_le64(v), true);
    case TLV_MAX_DATAGRAM:
        return value.len == 2 && (o->max_datagram = load_le16(v)) >= 1200 && o->max_datagram <= WIRE_MAX_DATAGRAM;
    case TLV_WINDOW:
        return value.len == 4 && (o->window = load_le32(v)) >= 65536 && o->window <= UINT32_C(1) << 30;
    case TLV_RECEIVE_ID:
        return value.len == 8 && (o->receive_id = load_le64(v)) != 0;
    case TLV_INSTANCE:
        return value.len == 8 && (o->instance = load_le64(v), true);
    case TLV_ENTITY:
        o->entity = v;
        o->signature = v + 32;
        return value.len == ENTITY_LEN;
    default:
        return !(type & TLV_CRITICAL);
    }
}

static bool take_all(struct offer *o, struct cspan area, size_t base, struct seen *seen)
{
    for (size_t at = 0; at < area.len;) {
        if (area.len - at < TLV_HEAD)
            return false;
        uint16_t type = load_le16(area.data + at), len = load_le16(area.data + at + 2);
        if (len > area.len - at - TLV_HEAD || has(seen, type) || has(seen, TLV_ENTITY))
            return false; /* overrun, twice, or something behind ENTITY */
        if (!take(o, type, (struct cspan){area.data + at + TLV_HEAD, len}))
            return false;
        if (type == TLV_ENTITY)
            o->entity_tlv_at = base + at;
        seen->types[seen->count++] = type;
        at += TLV_HEAD + (size_t)len;
    }
    return true;
}

int offer_decode(struct cspan block, size_t base, struct offer *out)
{
    struct seen seen = {.count = 0};
    /* what a sender grants that does not say: what every node of its kind can do */
    *out = (struct offer){.window = 65536, .max_datagram = 1200};
    if (block.len < sizeof magic || memcmp(block.data, magic, sizeof magic) != 0)
        return NET_OK;
    out->present = true;
    if (block.len < HEAD || base + block.len > OFFER_MAX_PAYLOAD)
        return NET_ERR_FORMAT;
    struct cspan area = {block.data + HEAD, load_le16(block.data + 4)};
    if (area.len > block.len - HEAD || !take_all(out, area, base + HEAD, &seen))
        return NET_ERR_FORMAT;
    bool complete = has(&seen, TLV_ENTITY) && has(&seen, TLV_RECEIVE_ID) && has(&seen, TLV_INSTANCE);
    return (out->features & FEATURE_SECURE) && !complete ? NET_ERR_FORMAT : NET_OK;
}
