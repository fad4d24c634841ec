/* Direct mode and v0.19.0, both roles: byte for byte against vectors and recordings. session.md 20, wire.md 13. */
#include <criterion/criterion.h>
#include <glob.h>

#include "core/base/err.h"
#include "tests/support/handshake_pair.h"
#include "tests/support/vectors.h"

TestSuite(handshake_v019, .init = hp_init, .fini = hp_deinit);

/* X0: our nodes never send it to each other, but answer it. Who it is must be guessed (session.md 13.4). */
Test(handshake_v019, direct_msg1_with_an_offer)
{
    uint8_t payload[OFFER_MAX_PAYLOAD];
    uint64_t id = hp.alice.identity.ids.node_id;
    size_t len = hp_honest_payload(&hp.alice, id, HANDSHAKE_INITIATOR, payload);
    struct cspan datagram = hp_forge_msg1((struct cspan){payload, len}, false);
    cr_expect_eq(hp_receive(datagram, 12345), NET_ERR_AUTH, "a wrong candidate");
    cr_expect_eq(hp_receive(datagram, id ^ UINT64_C(1) << 40), NET_ERR_AUTH, "right in its low half only");
    cr_assert_eq(hp_receive(datagram, id), NET_OK);
    cr_expect(hp.claim.secure && !hp.claim.routed && hp.claim.gated);
    struct cspan reply = hp_answer();
    cr_expect_eq(reply.data[0], 0x45, "answered as it came");
    hp_expect_gate(hp.msg2 + 32, (struct cspan){hp.msg2 + WIRE_HEADER, reply.len - WIRE_HEADER});
}

/* 20.7 */
Test(handshake_v019, direct_msg1_may_carry_anything)
{
    const uint8_t payload[] = "some later version";
    struct cspan datagram = hp_forge_msg1((struct cspan){payload, sizeof payload}, false);
    cr_expect_eq(hp_receive(datagram, hp.alice.identity.ids.node_id), NET_OK);
    cr_expect(!hp.claim.secure && hp.claim.features == 0);
}

Test(handshake_v019, compat_target_gets_v019)
{
    hp.target.compat = true;
    for (int mode = HANDSHAKE_ROUTED; mode <= HANDSHAKE_DIRECT; mode++) {
        hp.target.mode = (enum handshake_mode)mode;
        struct cspan datagram = hp_dial();
        cr_expect_eq(datagram.len, mode == HANDSHAKE_ROUTED ? 138u : 112u);
        cr_assert_eq(hp_receive(datagram, hp.alice.identity.ids.node_id), NET_OK);
        cr_expect(hp.hello.gate_zero && !hp.claim.secure && hp.claim.features == 0);
        struct cspan reply = hp_answer();
        cr_expect_eq(reply.len, mode == HANDSHAKE_ROUTED ? 130u : 112u);
        size_t gate = (mode == HANDSHAKE_ROUTED ? WIRE_ROUTE : 0) + 32;
        cr_expect(handshake_gate_is_zero(hp.msg2 + gate), "ungated gets ungated");
        cr_assert_eq(hp_finish(reply), NET_OK);
        hp_expect_fit();
        cr_expect(hp.ours.features == 0 && hp.ours.rx_id == hp.ours.tx_id && hp.ours.peer_instance == 0);
        cr_expect(hp.ours.peer_window == 65536 && hp.ours.peer_max_datagram == 8210);
    }
}

/* One side of a golden v0.19.0 handshake: ids are given, not derived, and the other side's secrets may be unknown. */
static void golden_side(struct side *s, struct json_object *from, const char *id, const char *ephemeral)
{
    *s = (struct side){.local = {.identity = &s->identity, .features = FEATURE_SECURE}};
    s->identity.ids.node_id = id ? vectors_u64(from, id) : 0;
    vectors_bytes(from, "psk", s->local.psk, 32);
    if (json_object_object_get_ex(from, ephemeral, NULL))
        vectors_bytes(from, ephemeral, s->ephemeral, 32);
}

static void expect_datagram(struct cspan got, struct json_object *from, const char *name)
{
    uint8_t wanted[HANDSHAKE_MAX_DATAGRAM];
    size_t len = vectors_blob(from, name, wanted, sizeof wanted);
    cr_assert_eq(got.len, len);
    cr_expect_arr_eq(got.data, wanted, len);
}

static void expect_keys(const struct session_params *p, struct json_object *from)
{
    uint8_t i2r[32], r2i[32];
    vectors_bytes(from, "k_i2r", i2r, 32);
    vectors_bytes(from, "k_r2i", r2i, 32);
    cr_expect_arr_eq(p->tx_key, p->initiator ? i2r : r2i, 32);
    cr_expect_arr_eq(p->rx_key, p->initiator ? r2i : i2r, 32);
    cr_expect_eq(p->rx_id, vectors_u64(from, "session_id"));
    cr_expect_eq(p->tx_id, p->rx_id);
    cr_expect_eq(p->features, 0u);
}

/* wire.md 13.3 to 13.6: all four datagrams, both roles. */
Test(handshake_v019, vectors_of_v019)
{
    struct json_object *root = vectors_load(TEST_DATA "/handshake/handshake.json");
    for (size_t i = 0; i < 2; i++) { /* "mesh direct", "mesh routed" */
        struct json_object *v = json_object_array_get_idx(vectors_member(root, "vectors"), i);
        golden_side(&hp.alice, v, NULL, "initiator_ephemeral_private");
        golden_side(&hp.bob, v, NULL, "responder_ephemeral_private");
        hp.alice.identity.ids.node_id = UINT64_C(0x1122334455667788);
        hp.bob.identity.ids.node_id = UINT64_C(0x99AABBCCDDEEFF00);
        vectors_bytes(v, "responder_static_private", hp.bob.local.static_secret, 32);
        handshake_local_init(&hp.bob.local, hp.crypto);
        hp.target = (struct handshake_target){.node_id = hp.bob.identity.ids.node_id, .compat = true};
        hp.target.mode = i == 0 ? HANDSHAKE_DIRECT : HANDSHAKE_ROUTED;
        vectors_bytes(v, "responder_static_public", hp.target.static_public, 32);
        cr_expect_arr_eq(hp.bob.local.static_public, hp.target.static_public, 32);
        struct cspan datagram = hp_dial();
        expect_datagram(datagram, v, "datagram1");
        cr_assert_eq(hp_receive(datagram, hp.alice.identity.ids.node_id), NET_OK);
        expect_datagram(hp_answer(), v, "datagram2");
        cr_assert_eq(hp_finish((struct cspan){hp.msg2, i == 0 ? 112 : 130}), NET_OK);
        expect_keys(&hp.ours, v);
        expect_keys(&hp.theirs, v);
    }
    json_object_put(root);
}

static void replay_recording(struct json_object *in, struct json_object *first, struct json_object *second,
                             struct json_object *derived)
{
    uint8_t received[HANDSHAKE_MAX_DATAGRAM];
    golden_side(&hp.alice, in, "initiator_id", "initiator_ephemeral_private");
    golden_side(&hp.bob, in, "responder_id", "responder_ephemeral_private");
    if (strcmp(vectors_text(in, "our_role"), "initiator") == 0) {
        hp.target = (struct handshake_target){.node_id = hp.bob.identity.ids.node_id, .compat = true};
        hp.target.mode = strcmp(vectors_text(in, "mode"), "direct") == 0 ? HANDSHAKE_DIRECT : HANDSHAKE_ROUTED;
        vectors_bytes(in, "responder_static_public", hp.target.static_public, 32);
        expect_datagram(hp_dial(), first, "bytes");
        struct cspan datagram = {received, vectors_blob(second, "bytes", received, sizeof received)};
        cr_assert_eq(hp_finish(datagram), NET_OK);
        expect_keys(&hp.ours, derived);
    } else {
        vectors_bytes(in, "responder_static_private", hp.bob.local.static_secret, 32);
        handshake_local_init(&hp.bob.local, hp.crypto);
        struct cspan datagram = {received, vectors_blob(first, "bytes", received, sizeof received)};
        cr_assert_eq(hp_receive(datagram, hp.alice.identity.ids.node_id), NET_OK);
        cr_expect_eq(hp.claim.node_id, hp.alice.identity.ids.node_id);
        expect_datagram(hp_answer(), second, "bytes");
        expect_keys(&hp.theirs, derived);
    }
}

/* Sessions that the reference took part in: our message is rebuilt, its message is read, the keys are those it used. */
Test(handshake_v019, recordings_of_v019)
{
    glob_t files;
    size_t replayed = 0;
    cr_assert_eq(glob(TEST_DATA "/session/live/*.json", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        struct json_object *root = vectors_load(files.gl_pathv[i]), *in = vectors_member(root, "inputs");
        struct json_object *datagrams = vectors_member(root, "datagrams");
        if (strcmp(vectors_text(in, "mode"), "legacy") != 0) { /* the adapter's are in test_noise.c */
            replay_recording(in, json_object_array_get_idx(datagrams, 0), json_object_array_get_idx(datagrams, 1),
                             vectors_member(root, "derived"));
            replayed++;
        }
        json_object_put(root);
    }
    cr_expect_eq(replayed, 13u);
    globfree(&files);
}
