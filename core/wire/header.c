/* The 64-byte Net header and what packet protection takes from it. wire.md 2 and 3. */
#include "core/base/err.h"
#include "core/wire/wire.h"

enum { MAGIC = 0x4E45, VERSION = 1 };

void wire_header_encode(const struct wire_header *h, uint8_t out[WIRE_HEADER])
{
    store_le16(out, MAGIC);
    out[2] = VERSION;
    out[3] = h->flags;
    out[4] = h->priority;
    out[5] = h->hop_ttl;
    out[6] = h->hop_count;
    out[7] = h->frag_flags;
    store_le16(out + 8, h->subprotocol);
    store_le16(out + 10, h->channel_hash);
    memcpy(out + 12, h->nonce_prefix, sizeof h->nonce_prefix);
    store_le64(out + 16, h->counter);
    store_le64(out + 24, h->session_id);
    store_le64(out + 32, h->stream_id);
    store_le64(out + 40, h->sequence);
    store_le32(out + 48, h->subnet_id);
    store_le32(out + 52, h->origin_hash);
    store_le16(out + 56, h->fragment_id);
    store_le16(out + 58, h->fragment_offset);
    store_le16(out + 60, h->payload_len);
    store_le16(out + 62, h->event_count);
}

int wire_header_decode(struct cspan packet, struct wire_header *out)
{
    const uint8_t *p = packet.data;
    if (packet.len < WIRE_HEADER)
        return NET_ERR_TRUNCATED;
    if (load_le16(p) != MAGIC || p[2] != VERSION)
        return NET_ERR_FORMAT;
    uint16_t payload_len = load_le16(p + 60), event_count = load_le16(p + 62);
    if (payload_len > WIRE_MAX_PLAINTEXT || event_count > WIRE_MAX_EVENTS)
        return NET_ERR_TOO_LARGE;

    out->flags = p[3];
    out->priority = p[4];
    out->hop_ttl = p[5];
    out->hop_count = p[6];
    out->frag_flags = p[7];
    out->subprotocol = load_le16(p + 8);
    out->channel_hash = load_le16(p + 10);
    memcpy(out->nonce_prefix, p + 12, sizeof out->nonce_prefix);
    out->counter = load_le64(p + 16);
    out->session_id = load_le64(p + 24);
    out->stream_id = load_le64(p + 32);
    out->sequence = load_le64(p + 40);
    out->subnet_id = load_le32(p + 48);
    out->origin_hash = load_le32(p + 52);
    out->fragment_id = load_le16(p + 56);
    out->fragment_offset = load_le16(p + 58);
    out->payload_len = payload_len;
    out->event_count = event_count;
    return NET_OK;
}

bool wire_length_ok(const struct wire_header *h, size_t packet_len)
{
    if ((h->flags & WIRE_HEARTBEAT) && h->payload_len != 0)
        return false;
    return packet_len == (size_t)WIRE_OVERHEAD + h->payload_len;
}

void wire_aad(const uint8_t header[WIRE_HEADER], uint8_t out[WIRE_AAD])
{
    memcpy(out, header, 12);
    out[6] = 0; /* hop_count may change on the way */
    memcpy(out + 12, header + 24, 40);
}

void wire_nonce(uint64_t session_id, uint64_t counter, uint8_t out[WIRE_NONCE])
{
    store_le32(out, (uint32_t)session_id ^ (uint32_t)(session_id >> 32));
    store_le64(out + 4, counter);
}
