/* Packet protection: wire.md 3 and 13, session.md 9, extensions X1 and X6. */
#include <criterion/criterion.h>
#include <glob.h>

#include "core/base/err.h"
#include "core/session/session.h"
#include "tests/support/alloc_count.h"
#include "tests/support/vectors.h"

static struct crypto *crypto;
static struct session sender, receiver;
static uint8_t packet[WIRE_MAX_PACKET + 64];

enum { EPOCH = 1 << SESSION_EPOCH_SHIFT };

static void open_pair(uint64_t features)
{
    struct session_params a = {
        .rx_id = 0x1111, .tx_id = UINT64_C(0x2222000033330000), .features = features, .initiator = true};
    memset(a.tx_key, 0x51, 32);
    memset(a.rx_key, 0x52, 32);
    if (!features)
        a.rx_id = a.tx_id;
    struct session_params b = a;
    b.rx_id = a.tx_id;
    b.tx_id = a.rx_id;
    memcpy(b.rx_key, a.tx_key, 32);
    memcpy(b.tx_key, a.rx_key, 32);
    session_deinit(&sender, crypto); /* of an earlier pair; none is all zeros */
    session_deinit(&receiver, crypto);
    session_init(&sender, &a);
    session_init(&receiver, &b);
}

static void set_up(void)
{
    cr_assert_eq(crypto_init(&crypto, NULL), NET_OK);
    open_pair(FEATURE_SECURE | FEATURE_EPOCHS);
}

static void tear_down(void)
{
    session_deinit(&sender, crypto);
    session_deinit(&receiver, crypto);
    crypto_deinit(crypto);
}

TestSuite(session, .init = set_up, .fini = tear_down);

static int decode_and_open(struct session *s, uint8_t *p, size_t len)
{
    struct wire_header h;
    int err = wire_header_decode((struct cspan){p, len}, &h);
    return err ? err : session_open(s, crypto, &h, p, len);
}

/* Seals a text of len bytes into p; returns the packet's length. */
static size_t seal(uint8_t *p, size_t len)
{
    struct wire_header h = {.flags = WIRE_RELIABLE, .stream_id = 7, .payload_len = (uint16_t)len, .event_count = 1};
    memset(p + WIRE_HEADER, 0xE7, len);
    cr_assert_eq(session_seal(&sender, crypto, &h, p), NET_OK);
    return WIRE_OVERHEAD + len;
}

static size_t seal_at(uint64_t counter, uint8_t *p)
{
    sender.tx_counter = counter;
    return seal(p, 20);
}

/* Seals with that counter (in the sender's epoch or a later one) and opens. */
static int carry(uint64_t counter)
{
    size_t len = seal_at(counter, packet);
    return decode_and_open(&receiver, packet, len);
}

/* ---- golden packets ---- */

static struct wire_header header_of(struct json_object *v)
{
    struct json_object *h = vectors_member(v, "header");
    return (struct wire_header){.flags = (uint8_t)vectors_u64_or_0(h, "flags"),
                                .subprotocol = (uint16_t)vectors_u64_or_0(h, "subprotocol"),
                                .channel_hash = (uint16_t)vectors_u64_or_0(h, "channel_hash"),
                                .stream_id = vectors_u64_or_0(h, "stream_id"),
                                .sequence = vectors_u64_or_0(h, "sequence"),
                                .subnet_id = (uint32_t)vectors_u64_or_0(h, "subnet_id"),
                                .origin_hash = (uint32_t)vectors_u64_or_0(h, "origin_hash"),
                                .payload_len = (uint16_t)vectors_u64_or_0(h, "payload_len"),
                                .event_count = (uint16_t)vectors_u64_or_0(h, "event_count")};
}

static struct session golden(const uint8_t key[32], uint64_t id)
{
    struct session_params p = {.rx_id = id, .tx_id = id};
    struct session s;
    memcpy(p.tx_key, key, 32);
    memcpy(p.rx_key, key, 32);
    session_init(&s, &p);
    return s;
}

/* Seals the vector's text and compares; opens the vector's packet with `opener` and compares. */
static void both_ways(struct json_object *v, const uint8_t key[32], const uint8_t *wanted, size_t len,
                      struct session *opener)
{
    uint8_t text[WIRE_MAX_PLAINTEXT], copy[WIRE_MAX_PACKET];
    struct wire_header h = header_of(v);
    size_t text_len = json_object_object_get_ex(v, "plaintext", NULL) ? vectors_blob(v, "plaintext", text, sizeof text)
                                                                      : 0; /* heartbeats */
    struct session s = golden(key, opener->p.rx_id);
    s.tx_counter = vectors_u64(v, "counter");
    memcpy(packet + WIRE_HEADER, text, text_len);
    cr_assert_eq(len, WIRE_OVERHEAD + text_len);
    cr_assert_eq(session_seal(&s, crypto, &h, packet), NET_OK);
    cr_expect_arr_eq(packet, wanted, len);
    session_deinit(&s, crypto);
    memcpy(copy, wanted, len);
    cr_expect_eq(decode_and_open(opener, copy, len), NET_OK);
    cr_expect_arr_eq(copy + WIRE_HEADER, text, text_len);
}

Test(session, vectors)
{
    struct json_object *root = vectors_load(TEST_DATA "/session/packet.json"), *all = vectors_member(root, "vectors");
    cr_assert_gt(json_object_array_length(all), 8);
    for (size_t i = 0; i < json_object_array_length(all); i++) {
        struct json_object *v = json_object_array_get_idx(all, i);
        uint8_t key[32], wanted[WIRE_MAX_PACKET];
        vectors_bytes(v, "key", key, 32);
        struct session opener = golden(key, vectors_u64(vectors_member(v, "header"), "session_id"));
        both_ways(v, key, wanted, vectors_blob(v, "packet", wanted, sizeof wanted), &opener);
        session_deinit(&opener, crypto);
    }
    json_object_put(root);
}

static size_t replay_recording(struct json_object *root)
{
    struct json_object *derived = vectors_member(root, "derived"), *datagrams = vectors_member(root, "datagrams");
    const char *names[] = {"k_i2r", "k_r2i"};
    uint8_t keys[2][32], wanted[WIRE_MAX_DATAGRAM];
    struct session openers[2];
    size_t packets = 0;
    for (size_t k = 0; k < 2; k++) {
        vectors_bytes(derived, names[k], keys[k], 32);
        openers[k] = golden(keys[k], vectors_u64(derived, "session_id"));
    }
    for (size_t i = 0; i < json_object_array_length(datagrams); i++) {
        struct json_object *v = json_object_array_get_idx(datagrams, i);
        if (!json_object_object_get_ex(v, "key", NULL))
            continue; /* handshakes, pingwaves */
        size_t k = strcmp(vectors_text(v, "key"), "k_r2i") == 0;
        size_t len = vectors_blob(v, "bytes", wanted, sizeof wanted);
        size_t skip = json_object_object_get_ex(v, "route", NULL) ? WIRE_ROUTE : 0;
        both_ways(v, keys[k], wanted + skip, len - skip, &openers[k]);
        packets++;
    }
    for (size_t k = 0; k < 2; k++)
        session_deinit(&openers[k], crypto);
    return packets;
}

/* Every packet that reference nodes and an independent peer exchanged, sealed and opened in order of arrival. */
Test(session, recordings)
{
    glob_t files;
    cr_assert_eq(glob(TEST_DATA "/session/live/*.json", 0, NULL, &files), 0);
    cr_assert_eq(files.gl_pathc, 15u);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        struct json_object *root = vectors_load(files.gl_pathv[i]);
        cr_expect_gt(replay_recording(root), 2u, "%s", files.gl_pathv[i]);
        json_object_put(root);
    }
    globfree(&files);
}

/* ---- what breaks a packet, wire.md 14 ---- */

/* 10 to 12: all of the header is protected but the hop count and the nonce prefix. */
Test(session, every_header_byte_counts)
{
    uint8_t sealed[200];
    size_t len = seal(sealed, 20);
    cr_expect_eq(load_le32(sealed + 12), 0x33330000u ^ 0x22220000u, "the prefix is written all the same");
    for (size_t i = 0; i < WIRE_HEADER; i++) {
        if (i == 6 || (i >= 12 && i < 16))
            continue;
        memcpy(packet, sealed, len);
        packet[i] ^= 1;
        cr_expect_neq(decode_and_open(&receiver, packet, len), NET_OK, "byte %zu", i);
    }
    memcpy(packet, sealed, len);
    packet[6] = 9;
    memset(packet + 12, 0xff, 4);
    cr_expect_eq(decode_and_open(&receiver, packet, len), NET_OK);
}

/* 6 to 8: lengths are looked at before anything else, and change nothing. */
Test(session, length_gate)
{
    size_t len = seal(packet, 20);
    struct session before = receiver;
    cr_expect_eq(decode_and_open(&receiver, packet, len + 1), NET_ERR_FORMAT);
    cr_expect_eq(decode_and_open(&receiver, packet, len - 1), NET_ERR_FORMAT);
    struct wire_header h = {.flags = WIRE_HEARTBEAT};
    cr_assert_eq(session_seal(&sender, crypto, &h, packet), NET_OK);
    for (size_t area = 0; area < 40; area++)
        if (area != WIRE_TAG)
            cr_expect_eq(decode_and_open(&receiver, packet, WIRE_HEADER + area), NET_ERR_FORMAT);
    cr_expect_arr_eq(&receiver, &before, sizeof before);
    cr_expect_eq(decode_and_open(&receiver, packet, WIRE_OVERHEAD), NET_OK);
    h = (struct wire_header){.flags = WIRE_HEARTBEAT, .payload_len = 5};
    cr_assert_eq(session_seal(&sender, crypto, &h, packet), NET_OK);
    cr_expect_eq(decode_and_open(&receiver, packet, WIRE_OVERHEAD + 5), NET_ERR_FORMAT, "a heartbeat has no text");
}

Test(session, largest_packet)
{
    size_t len = seal(packet, WIRE_MAX_PLAINTEXT);
    cr_expect_eq(len, (size_t)WIRE_MAX_PACKET);
    cr_expect_eq(decode_and_open(&receiver, packet, len), NET_OK);
    for (size_t i = 0; i < WIRE_MAX_PLAINTEXT; i++)
        cr_assert_eq(packet[WIRE_HEADER + i], 0xE7);
}

/* session.md 20.28, 20.33, 20.34 */
Test(session, replays_and_forgeries)
{
    uint8_t copy[100];
    struct wire_header h = {.flags = WIRE_HEARTBEAT};
    size_t len = seal(packet, 20);
    memcpy(copy, packet, len);
    cr_expect_eq(decode_and_open(&receiver, packet, len), NET_OK);
    cr_expect_eq(decode_and_open(&receiver, copy, len), NET_ERR_REPLAY);
    cr_assert_eq(session_seal(&sender, crypto, &h, packet), NET_OK);
    memset(packet + WIRE_HEADER, 0, WIRE_TAG);
    cr_expect_eq(decode_and_open(&receiver, packet, WIRE_OVERHEAD), NET_ERR_AUTH);
    cr_expect_eq(receiver.open_failures, 1u);
    cr_expect_eq(receiver.replay.next, 1u, "a forgery does not move the window");
}

/* 20.32 and wire.md 14.14: one counter for all kinds, from 0, each once. */
/* What was sealed and what was opened, and nothing of what was refused. */
Test(session, counts_packets_and_bytes)
{
    size_t len = seal(packet, 20);
    uint8_t copy[WIRE_MAX_PACKET];
    memcpy(copy, packet, len);
    cr_assert_eq(decode_and_open(&receiver, packet, len), NET_OK);
    cr_assert_eq(decode_and_open(&receiver, copy, len), NET_ERR_REPLAY);
    len = seal(packet, 0);
    memcpy(copy, packet, len);
    copy[len - 1] ^= 1;
    cr_assert_eq(decode_and_open(&receiver, copy, len), NET_ERR_AUTH);
    cr_assert_eq(decode_and_open(&receiver, packet, len), NET_OK);
    cr_assert_eq(sender.tx_counter, 2);
    cr_assert_eq(sender.tx_bytes, 2 * WIRE_OVERHEAD + 20);
    cr_assert_eq(receiver.rx_packets, 2);
    cr_assert_eq(receiver.rx_bytes, 2 * WIRE_OVERHEAD + 20);
    cr_assert_eq(receiver.tx_bytes + receiver.tx_counter + sender.rx_packets + sender.rx_bytes, 0);
}

Test(session, one_counter)
{
    for (uint64_t i = 0; i < 10; i++) {
        struct wire_header h = {.flags = i % 2 ? WIRE_HEARTBEAT : 0};
        cr_assert_eq(session_seal(&sender, crypto, &h, packet), NET_OK);
        cr_expect_eq(load_le64(packet + 16), i);
    }
}

/* X1: the id in a packet is its receiver's. */
Test(session, ids_by_direction)
{
    size_t len = seal(packet, 1);
    cr_expect_eq(load_le64(packet + 24), receiver.p.rx_id);
    cr_assert_eq(decode_and_open(&receiver, packet, len), NET_OK);
    struct wire_header h = {.flags = WIRE_HEARTBEAT};
    cr_assert_eq(session_seal(&receiver, crypto, &h, packet), NET_OK);
    cr_expect_eq(load_le64(packet + 24), sender.p.rx_id);
    cr_expect_eq(decode_and_open(&sender, packet, WIRE_OVERHEAD), NET_OK);
}

Test(session, forward_jumps)
{
    cr_expect_eq(carry(0), NET_OK);
    cr_expect_eq(carry(1000000), NET_OK, "any jump within the epoch");
    open_pair(0);
    cr_expect_eq(carry(1025), NET_ERR_REPLAY, "v0.19.0: at most 1024");
    cr_expect_eq(carry(1024), NET_OK);
}

Test(session, counters_end)
{
    struct wire_header h = {.flags = WIRE_HEARTBEAT};
    open_pair(FEATURE_SECURE);
    cr_expect_eq(carry((UINT64_C(1) << 48) - 1), NET_OK);
    cr_expect_eq(session_seal(&sender, crypto, &h, packet), NET_ERR_LIMIT);
    h.counter = UINT64_C(1) << 48;
    cr_expect_eq(session_open(&receiver, crypto, &h, packet, WIRE_OVERHEAD), NET_ERR_REPLAY);
    open_pair(0);
    sender.tx_counter = UINT64_MAX - 1;
    cr_expect_eq(session_seal(&sender, crypto, &h, packet), NET_OK);
    cr_expect_eq(session_seal(&sender, crypto, &h, packet), NET_ERR_LIMIT);
}

/* ---- epochs, X6 ---- */

/* key(e+1) = keyed BLAKE2s-256(key(e), "net-mesh epoch" || LE64(e+1)) */
static void expected_key(uint8_t key[32], uint64_t epochs)
{
    memset(key, 0x51, 32);
    for (uint64_t e = 1; e <= epochs; e++) {
        uint8_t number[8], next[32];
        struct cspan parts[] = {{(const uint8_t *)"net-mesh epoch", 14}, {number, 8}};
        store_le64(number, e);
        blake2s(crypto, key, 32, parts, 2, next);
        memcpy(key, next, 32);
    }
}

Test(session, keys_change_at_the_epoch)
{
    uint8_t key[32];
    for (uint64_t e = 1; e <= 3; e++) {
        cr_expect_eq(carry(e * EPOCH - 1), NET_OK);
        expected_key(key, e - 1);
        cr_expect_arr_eq(sender.p.tx_key, key, 32);
        cr_expect_eq(carry(e * EPOCH), NET_OK);
        expected_key(key, e);
        cr_expect_arr_eq(sender.p.tx_key, key, 32, "the sender keeps the new key only");
        cr_expect_arr_eq(receiver.p.rx_key, key, 32);
        cr_expect_eq(receiver.rx_epoch, e);
    }
}

/* Without bit 5 the key stays for life. */
Test(session, no_epochs_without_the_feature)
{
    uint8_t key[32];
    open_pair(FEATURE_SECURE);
    cr_expect_eq(carry(5 * (uint64_t)EPOCH), NET_OK);
    expected_key(key, 0);
    cr_expect_arr_eq(sender.p.tx_key, key, 32);
    cr_expect_arr_eq(receiver.p.rx_key, key, 32);
}

Test(session, stragglers_of_the_previous_epoch)
{
    static const uint8_t zero[32];
    uint8_t old[3][100], key[32];
    size_t len = 0;
    for (size_t i = 0; i < 3; i++)
        len = seal_at(EPOCH - 3 + i, old[i]);
    cr_expect_eq(carry(EPOCH + 5), NET_OK);
    cr_expect_eq(decode_and_open(&receiver, old[0], len), NET_OK, "the window still reaches there");
    expected_key(key, 0);
    cr_expect(receiver.rx_previous_valid);
    cr_expect_arr_eq(receiver.rx_previous_key, key, 32);
    cr_expect_eq(carry(EPOCH + REPLAY_WINDOW - 2), NET_OK);
    cr_expect(receiver.rx_previous_valid, "counter 2^24 - 1 is the last that fits");
    cr_expect_eq(decode_and_open(&receiver, old[1], len), NET_ERR_REPLAY);
    cr_expect_eq(decode_and_open(&receiver, old[2], len), NET_OK);
    cr_expect_eq(carry(EPOCH + REPLAY_WINDOW - 1), NET_OK);
    cr_expect_not(receiver.rx_previous_valid);
    cr_expect_null(receiver.rx_previous_aead);
    cr_expect_arr_eq(receiver.rx_previous_key, zero, 32, "and is wiped when nothing can use it");
}

/* Epochs without a key are dropped before any cipher work. */
Test(session, epochs_out_of_reach)
{
    cr_expect_eq(carry(0), NET_OK);
    cr_expect_eq(carry(2 * (uint64_t)EPOCH), NET_ERR_REPLAY, "two ahead");
    cr_expect_not(receiver.rx_next_valid);
    cr_expect_eq(receiver.open_failures, 0u);
}

/* A forged packet of the next epoch makes the key be derived, once, and nothing else; the real one then moves on. */
Test(session, next_epoch_on_trial)
{
    uint8_t key[32], kept[100];
    size_t len = seal_at(EPOCH - 1, kept);
    cr_expect_eq(carry(EPOCH - 2), NET_OK);
    for (int i = 0; i < 3; i++) {
        seal_at(EPOCH + 3, packet);
        packet[WIRE_HEADER] ^= 1;
        cr_expect_eq(decode_and_open(&receiver, packet, len), NET_ERR_AUTH);
        cr_expect(receiver.rx_next_valid && receiver.rx_epoch == 0);
        cr_expect_eq(receiver.replay.next, (uint64_t)EPOCH - 1);
    }
    expected_key(key, 1);
    cr_expect_arr_eq(receiver.rx_next_key, key, 32, "derived from key(0) once, not three times");
    cr_expect_eq(decode_and_open(&receiver, kept, len), NET_OK, "epoch 0 goes on");
    cr_expect_eq(carry(EPOCH + 3), NET_OK);
    cr_expect(receiver.rx_epoch == 1 && !receiver.rx_next_valid);
    cr_expect_arr_eq(receiver.p.rx_key, key, 32);
}

/* Two moves within one window: the epoch before the previous one is gone. */
Test(session, a_jump_over_a_whole_epoch)
{
    uint8_t old[100];
    size_t len = seal_at(EPOCH - 1, old);
    cr_expect_eq(carry(EPOCH), NET_OK);
    cr_expect_eq(carry(2 * (uint64_t)EPOCH), NET_OK);
    cr_expect_eq(receiver.rx_epoch, 2u);
    cr_expect_eq(decode_and_open(&receiver, old, len), NET_ERR_REPLAY);
    cr_expect_eq(carry(2 * (uint64_t)EPOCH + 1), NET_OK);
}

/* ---- the fast cipher, contexts, wiping ---- */

Test(session, aes_gcm_between_both_makes)
{
    const struct crypto_options options = {.no_ipsec_mb = true};
    struct crypto *plain;
    cr_assert_eq(crypto_init(&plain, &options), NET_OK);
    open_pair(FEATURE_SECURE | FEATURE_EPOCHS | FEATURE_AES_GCM);
    cr_expect_eq(sender.suite, AEAD_AES_256_GCM);
    for (uint64_t e = 0; e < 2; e++) {
        struct wire_header h;
        size_t len = seal_at(e * EPOCH + 1, packet);
        cr_assert_eq(wire_header_decode((struct cspan){packet, len}, &h), NET_OK);
        cr_expect_eq(session_open(&receiver, plain, &h, packet, len), NET_OK);
        cr_expect_eq(packet[WIRE_HEADER + 19], 0xE7);
    }
    session_deinit(&receiver, plain);
    crypto_deinit(plain);
}

Test(session, cooled_sessions_go_on)
{
    for (uint64_t i = 0; i < 4; i++) {
        cr_expect_eq(carry(EPOCH - 2 + i), NET_OK);
        session_cool(&sender, crypto);
        session_cool(&receiver, crypto);
        cr_expect(!sender.tx_aead && !receiver.rx_aead && !receiver.rx_previous_aead);
    }
}

/* session.md 20.48 */
Test(session, deinit_leaves_no_key)
{
    static const struct session zero;
    cr_expect_eq(carry(0), NET_OK);
    cr_expect_eq(carry(EPOCH), NET_OK);
    seal_at(2 * (uint64_t)EPOCH, packet);
    packet[WIRE_HEADER] ^= 1;
    cr_expect_eq(decode_and_open(&receiver, packet, WIRE_OVERHEAD + 20), NET_ERR_AUTH);
    cr_expect(receiver.rx_previous_valid && receiver.rx_next_valid, "all kinds of keys are there");
    session_deinit(&receiver, crypto);
    session_deinit(&sender, crypto);
    cr_expect_arr_eq(&receiver, &zero, sizeof zero);
    cr_expect_arr_eq(&sender, &zero, sizeof zero);
}

Test(session, wants_rekey)
{
    cr_expect_not(session_wants_rekey(&sender));
    sender.tx_counter = (UINT64_C(1) << 48) - (UINT64_C(1) << 39);
    cr_expect(session_wants_rekey(&sender));
    receiver.replay.next = (UINT64_C(1) << 48) - 1;
    cr_expect(session_wants_rekey(&receiver));
    open_pair(0);
    receiver.replay.next = (UINT64_C(1) << 48) - 1;
    cr_expect_not(session_wants_rekey(&receiver), "v0.19.0 counts to 2^64");
    receiver.open_failures = UINT64_C(1) << 35;
    cr_expect(session_wants_rekey(&receiver));
}

static void carry_thousand(void)
{
    for (uint64_t i = 0; i < 1000; i++) { /* over an epoch, forged packets, a rest */
        size_t len = seal_at(EPOCH - 500 + i, packet);
        if (i % 100 == 99)
            packet[len - 1] ^= 1;
        cr_assert_eq(decode_and_open(&receiver, packet, len), i % 100 == 99 ? NET_ERR_AUTH : NET_OK);
        if (i % 250 == 0) {
            session_cool(&sender, crypto);
            session_cool(&receiver, crypto);
        }
    }
}

Test(session, packets_do_not_allocate)
{
    if (!alloc_count_works())
        cr_skip_test("the sanitizer has the allocator");
    const uint64_t suites[] = {0, FEATURE_AES_GCM};
    for (size_t i = 0; i < 2; i++) {
        open_pair(FEATURE_SECURE | FEATURE_EPOCHS | suites[i]);
        carry_thousand(); /* fills the pool */
        open_pair(FEATURE_SECURE | FEATURE_EPOCHS | suites[i]);
        uint64_t before = alloc_count();
        carry_thousand();
        cr_expect_eq(alloc_count(), before);
    }
}
