/*
 * Datagram classes, the 64-byte Net header, the 18-byte routing header, packet protection inputs and event frames.
 * wire.md 1-8. Pure functions over bytes; nothing here allocates.
 */
#ifndef NM_CORE_WIRE_WIRE_H
#define NM_CORE_WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/span.h"

enum {                     /* bytes, wire.md 8, unless they say otherwise */
       WIRE_HEADER = 64,   /* the Net header, 2.1 */
       WIRE_TAG = 16,      /* of the AEAD, behind the ciphertext */
       WIRE_OVERHEAD = 80, /* header + tag: what a packet costs beside its frames, also in credit */
       WIRE_ROUTE = 18,    /* the routing header before a Net packet, 4 */
       WIRE_AAD = 52,
       WIRE_NONCE = 12,
       WIRE_MAX_PACKET = 8192,       /* Net packet, without routing header */
       WIRE_MAX_DATAGRAM = 8210,     /* with it */
       WIRE_MAX_PLAINTEXT = 8112,    /* of a packet that is not routed: the frames */
       WIRE_MAX_EVENT = 8108,        /* payload of one event, alone in its packet */
       WIRE_MAX_EVENT_ROUTED = 8090, /* where the routing header has to fit into WIRE_MAX_PACKET too */
       WIRE_MAX_EVENTS = 2028,       /* events of a packet */
       WIRE_PINGWAVE = 72,
       WIRE_KEEPALIVE = 14,
       WIRE_TTL_HANDSHAKE = 16, /* hops a node sends with, 4.1 */
       WIRE_TTL_DATA = 8,
};

enum { /* flags, offset 3; 2.2 */
       WIRE_RELIABLE = 0x01,
       WIRE_NACK = 0x02,
       WIRE_PRIORITY = 0x04,
       WIRE_FIN = 0x08,
       WIRE_HANDSHAKE = 0x10,
       WIRE_HEARTBEAT = 0x20,
};

enum { /* subprotocol ids used here; wire.md 7 lists all */
       SUBPROTO_EVENTS = 0x0000,
       SUBPROTO_MEMBERSHIP = 0x0A00,
       SUBPROTO_CREDIT = 0x0B00,
       SUBPROTO_ACK = 0x0B01,    /* ours, as what follows: extensions X2 */
       SUBPROTO_STREAM = 0x0B02, /* stream control: resets; without events it only asks to be acknowledged */
};

/* wire.md 2.1, host byte order. magic and version are constants. */
struct wire_header {
    uint8_t flags, priority, hop_ttl, hop_count, frag_flags;
    uint16_t subprotocol, channel_hash; /* SUBPROTO_*; channel_wire_hash(), or 0 */
    uint8_t nonce_prefix[4];
    uint64_t counter;                         /* of the nonce: bytes 16..23 */
    uint64_t session_id, stream_id, sequence; /* `sequence` counts the packets of the stream */
    uint32_t subnet_id, origin_hash;
    uint16_t fragment_id, fragment_offset;
    uint16_t payload_len, event_count; /* bytes of plaintext, without the tag; frames in it */
};

struct wire_route { /* wire.md 4 */
    uint8_t ttl, hop_count, flags, reserved;
    uint32_t src_id;
    uint64_t dest_id;
};

struct wire_pingwave { /* wire.md 1.3 */
    uint64_t origin, seq;
    uint8_t ttl, hop_count;
    uint64_t origin_timestamp_us, capability_hash;
    uint32_t capability_version;
    uint8_t load_level, health;
    uint64_t primary_caps;
};

enum wire_class { WIRE_CLASS_KEEPALIVE, WIRE_CLASS_PINGWAVE, WIRE_CLASS_ROUTED, WIRE_CLASS_DIRECT, WIRE_CLASS_NONE };

/* wire.md 1.1 rules 2-8 by shape alone: lengths and first bytes; WIRE_CLASS_NONE is dropped. */
enum wire_class wire_classify(struct cspan datagram);

/*
 * The shard the kernel hands a datagram to, 0..shards-1: the big-endian word at +24, or at +42 behind a routing header
 * (first bytes 52 54), modulo `shards` (> 0). That word is the first four bytes of the session id. Exactly what the
 * classic BPF program computes from the magic and the word alone, loads past the end giving 0: handshakes (id 0),
 * keep-alives and anything too short go to shard 0, and so do pingwaves (zeros at +24) but for the rare origin that
 * looks like the routing magic; steering is an optimisation, so whoever gets one of those passes it on.
 */
int wire_steer(struct cspan datagram, unsigned shards);
/* The shard a session id steers to. */
unsigned wire_steer_id(uint64_t session_id, unsigned shards);

/* The encoders write every field as it stands in the struct, magic and version too, and cannot fail. */
void wire_header_encode(const struct wire_header *, uint8_t out[WIRE_HEADER]);
/* wire.md 2.3 rules 1-5: NET_ERR_TRUNCATED, NET_ERR_FORMAT (magic, version), NET_ERR_TOO_LARGE (payload_len,
 * event_count). */
int wire_header_decode(struct cspan packet, struct wire_header *out);
/* 2.3 rule 6 for a data packet or heartbeat: true iff the area after the header is exactly payload_len + 16 bytes, and,
 * in a heartbeat, payload_len is 0. So h->payload_len bytes and a tag are there to open. */
bool wire_length_ok(const struct wire_header *, size_t packet_len);

void wire_route_encode(const struct wire_route *, uint8_t out[WIRE_ROUTE]);
int wire_route_decode(struct cspan datagram, struct wire_route *out); /* TRUNCATED below 82 bytes, FORMAT */
/* wire.md 4.2 in place: ttl - 1, hop_count + 1 saturating, flag high nibble cleared; the inner packet is not touched.
 * Of a datagram that decoded. NET_ERR_LIMIT when ttl is 0, NET_ERR_TRUNCATED below 82 bytes; then nothing changed. */
int wire_route_forward(uint8_t *datagram, size_t len);

void wire_pingwave_encode(const struct wire_pingwave *, uint8_t out[WIRE_PINGWAVE]);
/* wire.md 1.3, 1.2. NET_ERR_TRUNCATED when too short, NET_ERR_FORMAT for any other datagram that is not of that class.
 */
int wire_pingwave_decode(struct cspan datagram, struct wire_pingwave *out);
int wire_keepalive_decode(struct cspan datagram, uint64_t *node_id, uint32_t *punch_id);

/* wire.md 3.3: header bytes [0..6) 00 [7..12) [24..64). */
void wire_aad(const uint8_t header[WIRE_HEADER], uint8_t out[WIRE_AAD]);
/* wire.md 3.2: prefix of the session id, then the counter. */
void wire_nonce(uint64_t session_id, uint64_t counter, uint8_t out[WIRE_NONCE]);

/* Event frames, wire.md 6.1. Reader: iterate in place; stops early at a frame that does not fit. */
struct wire_frames {
    struct cspan rest;
    uint32_t left; /* frames still announced */
};
static inline struct wire_frames wire_frames(struct cspan plaintext, uint32_t event_count)
{
    return (struct wire_frames){plaintext, event_count};
}
static inline bool wire_frames_next(struct wire_frames *f, struct cspan *event)
{
    if (f->left == 0 || f->rest.len < 4)
        return false;
    uint32_t len = load_le32(f->rest.data);
    if (len > f->rest.len - 4)
        return false;
    *event = (struct cspan){f->rest.data + 4, len};
    f->rest.data += 4 + (size_t)len;
    f->rest.len -= 4 + (size_t)len;
    f->left--;
    return true;
}

#endif
