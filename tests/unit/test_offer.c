/* The extension block of X0, byte by byte. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/session/offer.h"
#include "core/session/session.h"
#include "tests/support/vectors.h"

/* Written down from the table of X0. */
#define FEATURES                                                                                                       \
    "01000800"                                                                                                         \
    "6300000000000000"
#define DATAGRAM                                                                                                       \
    "02000200"                                                                                                         \
    "1220"
#define WINDOW                                                                                                         \
    "03000400"                                                                                                         \
    "00001000"
#define RECEIVE                                                                                                        \
    "05000800"                                                                                                         \
    "8877665544332211"
#define INSTANCE                                                                                                       \
    "06000800"                                                                                                         \
    "0807060504030201"
#define ENTITY32 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define SIGNATURE ENTITY32 ENTITY32
#define ENTITY "04806000" ENTITY32 SIGNATURE
#define ALL FEATURES DATAGRAM WINDOW RECEIVE INSTANCE ENTITY

static const struct offer sample = {.features = 0x63,
                                    .receive_id = UINT64_C(0x1122334455667788),
                                    .instance = UINT64_C(0x0102030405060708),
                                    .window = 1 << 20,
                                    .max_datagram = 8210};

Test(offer, encodes_the_table)
{
    uint8_t payload[OFFER_MAX_PAYLOAD], wanted[OFFER_MAX_PAYLOAD], entity[96];
    size_t entity_at, hashed;
    size_t wanted_len = unhex("fffffffffffffff0"
                              "4e585431"
                              "9600" ALL,
                              wanted, sizeof wanted);
    unhex("fffffffffffffff0", payload, 8);
    cr_assert_eq(offer_encode(payload, 8, &sample, &entity_at, &hashed), wanted_len);
    cr_expect_eq(entity_at, wanted_len - 96);
    cr_expect_eq(hashed, entity_at - 4);
    unhex(ENTITY32 SIGNATURE, entity, 96);
    memcpy(payload + entity_at, entity, 96);
    cr_expect_arr_eq(payload, wanted, wanted_len);
}

static uint8_t block[1024];

/* Magic and length before the TLVs, and what follows the area behind it. */
static int decode_with(const char *tlvs, const char *after, size_t base, struct offer *out)
{
    size_t len = unhex(tlvs, block + 6, sizeof block - 6);
    memcpy(block, "NXT1", 4);
    store_le16(block + 4, (uint16_t)len);
    len += 6 + unhex(after, block + 6 + len, sizeof block - 6 - len);
    return offer_decode((struct cspan){block, len}, base, out);
}

static int decode(const char *tlvs)
{
    struct offer o;
    return decode_with(tlvs, "", 8, &o);
}

Test(offer, decodes_the_table)
{
    struct offer o;
    cr_assert_eq(decode_with(ALL, "", 8, &o), NET_OK);
    cr_expect(o.present);
    cr_expect_eq(o.features, sample.features);
    cr_expect_eq(o.receive_id, sample.receive_id);
    cr_expect_eq(o.instance, sample.instance);
    cr_expect_eq(o.window, sample.window);
    cr_expect_eq(o.max_datagram, sample.max_datagram);
    cr_expect_eq(o.entity_tlv_at, 8u + 6 + 12 + 6 + 8 + 12 + 12);
    cr_expect_eq(o.entity, block + 6 + 50 + 4);
    cr_expect_eq(o.signature, o.entity + 32);
}

/* v0.19.0: payloads that end before a block, or hold something else. */
Test(offer, absent)
{
    struct offer o;
    uint8_t other[] = "NXT2\xff\xff\xff";
    for (size_t len = 0; len < sizeof other; len++) {
        cr_expect_eq(offer_decode((struct cspan){other, len}, 8, &o), NET_OK);
        cr_expect_not(o.present);
        cr_expect_eq(o.features, 0u);
    }
    cr_expect_eq(offer_decode((struct cspan){(const uint8_t *)"NXT", 3}, 8, &o), NET_OK);
    cr_expect_not(o.present);
}

Test(offer, what_is_tolerated)
{
    struct offer o;
    cr_expect_eq(decode_with(ALL, "aabbcc", 8, &o), NET_OK, "bytes after the area are ignored");
    cr_expect_eq(decode("34120300aabbcc" ALL), NET_OK, "unknown types are ignored");
    cr_expect_eq(decode(INSTANCE RECEIVE WINDOW DATAGRAM FEATURES ENTITY), NET_OK, "in any order");
    cr_expect_eq(decode(""), NET_OK, "an empty block");
    cr_assert_eq(decode_with(FEATURES RECEIVE INSTANCE ENTITY, "", 8, &o), NET_OK, "what need not be there");
    cr_expect_eq(o.window, 65536u);
    cr_expect_eq(o.max_datagram, 1200u);
}

Test(offer, must_reject)
{
    const struct {
        const char *tlvs, *why;
    } cases[] = {
        {ALL "34120000", "ENTITY is not last"},
        {FEATURES FEATURES DATAGRAM WINDOW RECEIVE INSTANCE ENTITY, "a type twice"},
        {"34120000"
         "34120000" ALL,
         "an unknown type twice"},
        {"3492"
         "0000" ALL,
         "an unknown critical type"},
        {FEATURES DATAGRAM WINDOW RECEIVE INSTANCE, "bit 0 without ENTITY"},
        {FEATURES DATAGRAM WINDOW INSTANCE ENTITY, "bit 0 without RECEIVE_ID"},
        {FEATURES DATAGRAM WINDOW RECEIVE ENTITY, "bit 0 without INSTANCE"},
        {"01000700"
         "63000000000000",
         "FEATURES too short"},
        {"01000900"
         "630000000000000000",
         "FEATURES too long"},
        {"02000100"
         "ff",
         "MAX_DATAGRAM too short"},
        {"02000200"
         "af04",
         "MAX_DATAGRAM 1199"},
        {"02000200"
         "1320",
         "MAX_DATAGRAM 8211"},
        {"03000400"
         "ffff0000",
         "WINDOW 65535"},
        {"03000400"
         "01000040",
         "WINDOW 2^30 + 1"},
        {"03000300"
         "000010",
         "WINDOW too short"},
        {"05000800"
         "0000000000000000",
         "RECEIVE_ID 0"},
        {"05000400"
         "01000000",
         "RECEIVE_ID too short"},
        {"06000000", "INSTANCE empty"},
        {"04800000", "ENTITY empty"},
        {"04806100" ENTITY32 SIGNATURE "00", "ENTITY too long"},
        {"010008", "a TLV head cut off"},
        {"34120400"
         "aabbcc",
         "a TLV overruns the area"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_eq(decode(cases[i].tlvs), NET_ERR_FORMAT, "%s", cases[i].why);
}

Test(offer, limits_that_are_allowed)
{
    struct offer o;
    cr_expect_eq(decode_with("02000200"
                             "b004"
                             "03000400"
                             "00000100",
                             "", 8, &o),
                 NET_OK);
    cr_expect(o.max_datagram == 1200 && o.window == 65536);
    cr_expect_eq(decode_with("02000200"
                             "1220"
                             "03000400"
                             "00000040",
                             "", 8, &o),
                 NET_OK);
    cr_expect(o.max_datagram == 8210 && o.window == UINT32_C(1) << 30);
}

/* The area must lie in the block, and the whole payload in 512 bytes. */
Test(offer, lengths)
{
    struct offer o;
    memset(block, 0, sizeof block);
    memcpy(block, "NXT1\x05\x00", 6);
    cr_expect_eq(offer_decode((struct cspan){block, 4}, 8, &o), NET_ERR_FORMAT);
    cr_expect_eq(offer_decode((struct cspan){block, 10}, 8, &o), NET_ERR_FORMAT);
    memcpy(block, "NXT1\x00\x00", 6);
    cr_expect_eq(offer_decode((struct cspan){block, 504}, 8, &o), NET_OK);
    cr_expect_eq(offer_decode((struct cspan){block, 505}, 8, &o), NET_ERR_FORMAT);
    cr_expect_eq(offer_decode((struct cspan){block, 512}, 0, &o), NET_OK);
}
