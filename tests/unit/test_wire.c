/* wire.md 1 to 4: classes, headers, packet protection inputs. Checklist numbers are those of wire.md 14. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/wire/packer.h"
#include "core/wire/wire.h"
#include "tests/support/splitmix.h"
#include "tests/support/vectors.h"

static struct wire_header header_of(struct json_object *h)
{
    return (struct wire_header){
        .flags = (uint8_t)vectors_u64_or_0(h, "flags"),
        .priority = (uint8_t)vectors_u64_or_0(h, "priority"),
        .hop_ttl = (uint8_t)vectors_u64_or_0(h, "hop_ttl"),
        .frag_flags = (uint8_t)vectors_u64_or_0(h, "frag_flags"),
        .subprotocol = (uint16_t)vectors_u64_or_0(h, "subprotocol"),
        .channel_hash = (uint16_t)vectors_u64_or_0(h, "channel_hash"),
        .session_id = vectors_u64_or_0(h, "session_id"),
        .stream_id = vectors_u64_or_0(h, "stream_id"),
        .sequence = vectors_u64_or_0(h, "sequence"),
        .subnet_id = (uint32_t)vectors_u64_or_0(h, "subnet_id"),
        .origin_hash = (uint32_t)vectors_u64_or_0(h, "origin_hash"),
        .fragment_id = (uint16_t)vectors_u64_or_0(h, "fragment_id"),
        .fragment_offset = (uint16_t)vectors_u64_or_0(h, "fragment_offset"),
        .payload_len = (uint16_t)vectors_u64_or_0(h, "payload_len"),
        .event_count = (uint16_t)vectors_u64_or_0(h, "event_count"),
    };
}

static void set_nonce(struct wire_header *h, const uint8_t nonce[WIRE_NONCE])
{
    memcpy(h->nonce_prefix, nonce, 4);
    h->counter = load_le64(nonce + 4);
}

static struct cspan blob(struct json_object *o, const char *name, uint8_t *room)
{
    return (struct cspan){room, vectors_blob(o, name, room, WIRE_MAX_DATAGRAM)};
}

#define each_case(root, list, c)                                                                                       \
    for (size_t c##_i = 0; c##_i < json_object_array_length(vectors_member(root, list)); c##_i++)                      \
        for (struct json_object *c = json_object_array_get_idx(vectors_member(root, list), c##_i); c; c = NULL)

/* 1 */
Test(wire, header_example_both_ways)
{
    struct json_object *root = vectors_load(TEST_DATA "/wire/packet.json");
    struct json_object *c = json_object_array_get_idx(vectors_member(root, "headers"), 0);
    struct wire_header h = header_of(vectors_member(c, "header")), back = {0};
    uint8_t want[WIRE_HEADER], got[WIRE_HEADER], nonce[WIRE_NONCE];
    vectors_bytes(c, "bytes", want, sizeof want);
    vectors_bytes(c, "nonce", nonce, sizeof nonce);
    set_nonce(&h, nonce);
    wire_header_encode(&h, got);
    cr_assert_arr_eq(got, want, sizeof want);
    cr_assert_eq(wire_header_decode((struct cspan){want, sizeof want}, &back), NET_OK);
    wire_header_encode(&back, got);
    cr_assert_arr_eq(got, want, sizeof want);
    cr_assert_eq(back.sequence, 42);
    cr_assert_eq(back.origin_hash, 0xDEADBEEF);
    cr_assert_eq(back.counter, UINT64_C(0x4242424242424242));
    json_object_put(root);
}

/* 9 */
Test(wire, aad_example)
{
    struct json_object *root = vectors_load(TEST_DATA "/wire/packet.json");
    struct json_object *c = json_object_array_get_idx(vectors_member(root, "headers"), 1);
    struct wire_header h = header_of(vectors_member(c, "header"));
    uint8_t header[WIRE_HEADER], want[WIRE_AAD], got[WIRE_AAD];
    h.hop_count = 9;
    wire_header_encode(&h, header);
    vectors_bytes(c, "aad", want, sizeof want);
    wire_aad(header, got);
    cr_assert_arr_eq(got, want, sizeof want);
    json_object_put(root);
}

/* What the packets of section 13 and of the recorded call look like, but for the cipher. */
static void check_packet(struct json_object *c)
{
    uint8_t room[WIRE_MAX_DATAGRAM], nonce[WIRE_NONCE], aad[WIRE_AAD], got[WIRE_MAX_PACKET];
    struct wire_header h = header_of(vectors_member(c, "header")), back;
    struct cspan packet = blob(c, "packet", room);
    cr_assert_eq(wire_header_decode(packet, &back), NET_OK);
    cr_assert(wire_length_ok(&back, packet.len));
    cr_assert_eq(wire_classify(packet), WIRE_CLASS_DIRECT);

    wire_nonce(h.session_id, vectors_u64(c, "counter"), nonce);
    vectors_bytes(c, "nonce", got, WIRE_NONCE);
    cr_assert_arr_eq(nonce, got, WIRE_NONCE);
    set_nonce(&h, nonce);
    wire_header_encode(&h, got);
    cr_assert_arr_eq(got, packet.data, WIRE_HEADER);
    wire_aad(packet.data, aad);
    vectors_bytes(c, "aad", got, WIRE_AAD);
    cr_assert_arr_eq(aad, got, WIRE_AAD);
}

static void check_plaintext(struct json_object *c)
{
    uint8_t room[WIRE_MAX_DATAGRAM], out[WIRE_MAX_PLAINTEXT];
    struct packer p;
    packer_init(&p, out, sizeof out);
    each_case(c, "events", e)
    {
        size_t len = unhex(json_object_get_string(e), room, sizeof room);
        cr_assert(packer_add(&p, (struct cspan){room, len}));
    }
    struct cspan want = blob(c, "plaintext", room);
    cr_assert_eq(p.len, want.len);
    cr_assert_arr_eq(out, want.data, want.len);
}

static void check_routed(struct json_object *c)
{
    uint8_t room[WIRE_MAX_DATAGRAM], packet[WIRE_MAX_DATAGRAM], header[WIRE_ROUTE];
    struct json_object *r = vectors_member(c, "route");
    struct cspan datagram = blob(c, "datagram", room), inner = blob(c, "packet", packet);
    struct wire_route route = {.ttl = (uint8_t)vectors_u64(r, "ttl"),
                               .hop_count = (uint8_t)vectors_u64(r, "hop_count"),
                               .src_id = (uint32_t)vectors_u64(r, "src_id"),
                               .dest_id = vectors_u64(r, "dest_id")},
                      back;
    cr_assert_eq(wire_classify(datagram), WIRE_CLASS_ROUTED);
    cr_assert_eq(datagram.len, WIRE_ROUTE + inner.len);
    wire_route_encode(&route, header);
    cr_assert_arr_eq(header, datagram.data, WIRE_ROUTE);
    cr_assert_arr_eq(datagram.data + WIRE_ROUTE, inner.data, inner.len);
    cr_assert_eq(wire_route_decode(datagram, &back), NET_OK);
    cr_assert_eq(back.dest_id, route.dest_id);
    cr_assert_eq(back.src_id, route.src_id);
    cr_assert_eq(wire_steer(datagram, 64), wire_steer(inner, 64), "steered by the same session id");
}

Test(wire, packet_vectors)
{
    struct json_object *root = vectors_load(TEST_DATA "/wire/packet.json");
    size_t routed = 0;
    each_case(root, "vectors", c)
    {
        check_packet(c);
        check_plaintext(c);
        if (json_object_object_get_ex(c, "route", NULL)) {
            check_routed(c);
            routed++;
        }
    }
    cr_assert_gt(routed, 0);
    json_object_put(root);
}

/* 13, 15 */
Test(wire, nonce_prefix)
{
    uint8_t a[WIRE_NONCE], b[WIRE_NONCE];
    wire_nonce(UINT64_C(0xDEADBEEFCAFEF00D), 1, a);
    cr_assert_arr_eq(a, "\xe2\x4e\x53\x14\x01\0\0\0\0\0\0", WIRE_NONCE);
    wire_nonce(UINT64_C(0x0EADBEEFCAFEF00D), 1, b);
    cr_assert_arr_neq(a, b, 4);
}

static int decode_with(size_t at, uint8_t value)
{
    uint8_t packet[WIRE_HEADER];
    struct wire_header h = {.session_id = 1};
    wire_header_encode(&h, packet);
    packet[at] = value;
    return wire_header_decode((struct cspan){packet, sizeof packet}, &h);
}

/* 2, 3, and 2.3 rule 7 */
Test(wire, header_gates)
{
    struct wire_header h = {0};
    uint8_t packet[WIRE_HEADER], swapped[WIRE_HEADER];
    wire_header_encode(&h, packet);
    for (size_t len = 0; len < WIRE_HEADER; len++)
        cr_assert_eq(wire_header_decode((struct cspan){packet, len}, &h), NET_ERR_TRUNCATED);
    memcpy(swapped, packet, sizeof packet);
    swapped[0] = 0x4E;
    swapped[1] = 0x45;
    cr_assert_eq(wire_header_decode((struct cspan){swapped, sizeof swapped}, &h), NET_ERR_FORMAT);
    cr_assert_eq(wire_classify((struct cspan){swapped, sizeof swapped}), WIRE_CLASS_NONE);
    cr_assert_eq(decode_with(2, 0), NET_ERR_FORMAT);
    cr_assert_eq(decode_with(2, 2), NET_ERR_FORMAT);
    cr_assert_eq(decode_with(3, 0xC0), NET_OK);
    for (size_t at = 4; at < 60; at++)
        cr_assert_eq(decode_with(at, 0xFF), NET_OK);
}

/* 4, 5 */
Test(wire, header_limits)
{
    struct wire_header h = {.payload_len = 8112, .event_count = 2028};
    uint8_t packet[WIRE_HEADER];
    wire_header_encode(&h, packet);
    cr_assert_eq(wire_header_decode((struct cspan){packet, sizeof packet}, &h), NET_OK);
    store_le16(packet + 60, 8113);
    cr_assert_eq(wire_header_decode((struct cspan){packet, sizeof packet}, &h), NET_ERR_TOO_LARGE);
    store_le16(packet + 60, 8112);
    store_le16(packet + 62, 2029);
    cr_assert_eq(wire_header_decode((struct cspan){packet, sizeof packet}, &h), NET_ERR_TOO_LARGE);
    store_le16(packet + 62, 65535);
    cr_assert_eq(wire_header_decode((struct cspan){packet, sizeof packet}, &h), NET_ERR_TOO_LARGE);
}

/* 6, 7, 8, 31 */
Test(wire, length_gate)
{
    struct wire_header data = {.payload_len = 19}, heartbeat = {.flags = WIRE_HEARTBEAT},
                       nack = {.flags = WIRE_NACK, .payload_len = 19};
    cr_assert(wire_length_ok(&data, 64 + 19 + 16));
    cr_assert(!wire_length_ok(&data, 64 + 19 + 17));
    cr_assert(!wire_length_ok(&data, 64 + 19 + 15));
    cr_assert(!wire_length_ok(&data, 0));
    cr_assert(wire_length_ok(&nack, 64 + 19 + 16));
    cr_assert(wire_length_ok(&heartbeat, 80));
    cr_assert(!wire_length_ok(&heartbeat, 64));
    cr_assert(!wire_length_ok(&heartbeat, 79));
    cr_assert(!wire_length_ok(&heartbeat, 81));
    heartbeat.payload_len = 19; /* nothing there to open */
    cr_assert(!wire_length_ok(&heartbeat, 80));
    cr_assert(!wire_length_ok(&heartbeat, 99));
}

/* 10, 11, 12: a header byte is bound by the AAD or by the nonce, or it is one of those that are not. */
Test(wire, what_protection_covers)
{
    uint8_t header[WIRE_HEADER], aad[WIRE_AAD], changed[WIRE_AAD];
    for (size_t i = 0; i < sizeof header; i++)
        header[i] = (uint8_t)(i + 1);
    wire_aad(header, aad);
    for (size_t i = 0; i < sizeof header; i++) {
        header[i] ^= 0x80;
        wire_aad(header, changed);
        bool covered = memcmp(aad, changed, sizeof aad) != 0;
        cr_assert_eq(covered, i != 6 && (i < 12 || i > 23), "byte %zu", i);
        header[i] ^= 0x80;
    }
}

/* 16, 17, 22, 23, 24 */
Test(wire, classes)
{
    uint8_t d[WIRE_MAX_DATAGRAM] = {'R', 'T'};
    cr_assert_eq(wire_classify((struct cspan){d, 81}), WIRE_CLASS_NONE);
    cr_assert_eq(wire_classify((struct cspan){d, 82}), WIRE_CLASS_ROUTED);
    cr_assert_eq(wire_classify((struct cspan){d, WIRE_MAX_DATAGRAM}), WIRE_CLASS_ROUTED);
    cr_assert_eq(wire_classify((struct cspan){d, 72}), WIRE_CLASS_PINGWAVE, "whatever it starts with");
    memcpy(d, "\x45\x4e", 2);
    cr_assert_eq(wire_classify((struct cspan){d, 63}), WIRE_CLASS_NONE);
    cr_assert_eq(wire_classify((struct cspan){d, 64}), WIRE_CLASS_DIRECT);
    cr_assert_eq(wire_classify((struct cspan){d, 72}), WIRE_CLASS_DIRECT, "but never this");
    memcpy(d, "\x50\x48", 2);
    cr_assert_eq(wire_classify((struct cspan){d, 14}), WIRE_CLASS_KEEPALIVE);
    cr_assert_eq(wire_classify((struct cspan){d, 15}), WIRE_CLASS_NONE);
    cr_assert_eq(wire_classify((struct cspan){d, 72}), WIRE_CLASS_PINGWAVE);
    d[63] = 3;
    cr_assert_eq(wire_classify((struct cspan){d, 72}), WIRE_CLASS_PINGWAVE);
    d[63] = 4;
    cr_assert_eq(wire_classify((struct cspan){d, 72}), WIRE_CLASS_NONE);
    for (size_t len = 0; len < 2; len++)
        cr_assert_eq(wire_classify((struct cspan){d, len}), WIRE_CLASS_NONE);
}

/* 19, 20 */
Test(wire, forwarding)
{
    struct json_object *root = vectors_load(TEST_DATA "/wire/control.json");
    struct json_object *c = json_object_array_get_idx(vectors_member(root, "routes"), 0);
    uint8_t d[WIRE_ROUTE + WIRE_HEADER], want[WIRE_ROUTE], inner[WIRE_HEADER];
    vectors_bytes(c, "bytes", d, WIRE_ROUTE);
    vectors_bytes(c, "forwarded", want, WIRE_ROUTE);
    memset(inner, 0xA5, sizeof inner);
    memcpy(d + WIRE_ROUTE, inner, sizeof inner);
    cr_assert_eq(wire_route_forward(d, sizeof d), NET_OK);
    cr_assert_arr_eq(d, want, sizeof want);
    cr_assert_arr_eq(d + WIRE_ROUTE, inner, sizeof inner);
    cr_assert_eq(wire_route_forward(d, sizeof d - 1), NET_ERR_TRUNCATED);

    d[2] = 1;
    d[3] = 255;
    d[4] = 0xF5;
    d[5] = 0x77; /* reserved: preserved */
    cr_assert_eq(wire_route_forward(d, sizeof d), NET_OK);
    cr_assert_arr_eq(d + 2, "\x00\xff\x05\x77", 4);
    cr_assert_eq(wire_route_forward(d, sizeof d), NET_ERR_LIMIT);
    cr_assert_arr_eq(d + 2, "\x00\xff\x05\x77", 4);
    json_object_put(root);
}

Test(wire, route_decode_gates)
{
    struct wire_route r = {.ttl = 8, .flags = 0xA3, .dest_id = 7};
    uint8_t d[82] = {0};
    wire_route_encode(&r, d);
    cr_assert_eq(wire_route_decode((struct cspan){d, 81}, &r), NET_ERR_TRUNCATED);
    cr_assert_eq(wire_route_decode((struct cspan){d, 82}, &r), NET_OK);
    cr_assert_eq(r.flags, 3, "the high nibble is stripped");
    d[0] = 'r';
    cr_assert_eq(wire_route_decode((struct cspan){d, 82}, &r), NET_ERR_FORMAT);
}

Test(wire, pingwave_vectors)
{
    struct json_object *root = vectors_load(TEST_DATA "/wire/control.json");
    each_case(root, "pingwaves", c)
    {
        uint8_t want[WIRE_PINGWAVE], got[WIRE_PINGWAVE], caps[8];
        struct wire_pingwave w;
        vectors_bytes(c, "bytes", want, sizeof want);
        vectors_bytes(c, "primary_caps", caps, sizeof caps);
        cr_assert_eq(wire_pingwave_decode((struct cspan){want, sizeof want}, &w), NET_OK);
        cr_assert_eq(w.origin, vectors_u64(c, "origin"));
        cr_assert_eq(w.seq, vectors_u64(c, "seq"));
        cr_assert_eq(w.ttl, vectors_u64(c, "ttl"));
        cr_assert_eq(w.hop_count, vectors_u64(c, "hop_count"));
        cr_assert_eq(w.origin_timestamp_us, vectors_u64(c, "timestamp_us"));
        cr_assert_eq(w.capability_hash, vectors_u64(c, "capability_hash"));
        cr_assert_eq(w.capability_version, vectors_u64(c, "capability_version"));
        cr_assert_eq(w.load_level, vectors_u64(c, "load"));
        cr_assert_eq(w.health, vectors_u64(c, "health"));
        cr_assert_eq(w.primary_caps, load_le64(caps));
        wire_pingwave_encode(&w, got);
        cr_assert_arr_eq(got, want, sizeof want);
        cr_assert_eq(wire_steer((struct cspan){want, sizeof want}, 7), 0);
        cr_assert_eq(wire_pingwave_decode((struct cspan){want, sizeof want - 1}, &w), NET_ERR_TRUNCATED);
        want[63] = 4;
        cr_assert_eq(wire_pingwave_decode((struct cspan){want, sizeof want}, &w), NET_ERR_FORMAT);
    }
    json_object_put(root);
}

Test(wire, keepalive_vector)
{
    struct json_object *root = vectors_load(TEST_DATA "/wire/control.json");
    struct json_object *c = json_object_array_get_idx(vectors_member(root, "keepalives"), 0);
    uint8_t d[WIRE_KEEPALIVE];
    uint64_t node;
    uint32_t punch;
    vectors_bytes(c, "bytes", d, sizeof d);
    cr_assert_eq(wire_keepalive_decode((struct cspan){d, sizeof d}, &node, &punch), NET_OK);
    cr_assert_eq(node, vectors_u64(c, "sender"));
    cr_assert_eq(punch, vectors_u64(c, "punch_id"));
    cr_assert_eq(wire_keepalive_decode((struct cspan){d, sizeof d - 1}, &node, &punch), NET_ERR_TRUNCATED);
    d[1] = 0;
    cr_assert_eq(wire_keepalive_decode((struct cspan){d, sizeof d}, &node, &punch), NET_ERR_FORMAT);
    json_object_put(root);
}

/* The classic BPF program: A = half[0]; A = A == 0x5254 ? word[42] : word[24]; return A % shards; loads past the end
 * return 0. */
static unsigned bpf(const uint8_t *d, size_t len, unsigned shards)
{
    if (len < 2)
        return 0;
    size_t at = d[0] == 0x52 && d[1] == 0x54 ? 42 : 24;
    if (len < at + 4)
        return 0;
    return ((unsigned)d[at] << 24 | (unsigned)d[at + 1] << 16 | (unsigned)d[at + 2] << 8 | d[at + 3]) % shards;
}

Test(wire, steering_is_what_the_kernel_does)
{
    static const char magics[][3] = {"\x45\x4e", "RT", "\x50\x48", "xx"};
    uint64_t seed = 5;
    uint8_t d[128];
    for (int i = 0; i < 20000; i++) {
        for (size_t j = 0; j < sizeof d; j++)
            d[j] = (uint8_t)splitmix(&seed);
        memcpy(d, magics[splitmix_below(&seed, 4)], 2);
        size_t len = (size_t)splitmix_below(&seed, sizeof d + 1);
        unsigned shards = 1 + (unsigned)splitmix_below(&seed, 64);
        cr_assert_eq(wire_steer((struct cspan){d, len}, shards), (int)bpf(d, len, shards));
    }
}

Test(wire, steering_follows_the_session_id)
{
    uint64_t seed = 6;
    for (int i = 0; i < 1000; i++) {
        struct wire_header h = {.session_id = splitmix(&seed)};
        uint8_t d[WIRE_ROUTE + WIRE_HEADER];
        wire_header_encode(&h, d + WIRE_ROUTE);
        wire_route_encode(&(struct wire_route){.dest_id = splitmix(&seed)}, d);
        unsigned shard = wire_steer_id(h.session_id, 13);
        cr_assert_eq(wire_steer((struct cspan){d, sizeof d}, 13), (int)shard);
        cr_assert_eq(wire_steer((struct cspan){d + WIRE_ROUTE, WIRE_HEADER}, 13), (int)shard);
    }
    struct wire_header handshake = {.flags = WIRE_HANDSHAKE};
    uint8_t d[WIRE_HEADER];
    wire_header_encode(&handshake, d);
    cr_assert_eq(wire_steer((struct cspan){d, sizeof d}, 13), 0);
}
