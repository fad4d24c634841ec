/* Subscribing from both ends, and what comes of it: channels.md 18 and wire.md 14.38, with a peer whose every packet
 * the test decides. Numbers are those of channels.md 18; the codec is tests/unit/test_membership.c's. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "core/stream/credit.h"
#include "shards/node/shard.h"
#include "tests/sim/mesh/scripted.h"

static const char CHANNEL[] = "sensors/lidar";
static const char OTHER[] = "control/estop";

static struct mesh mesh;
static struct mesh_node *node;
static struct scripted peer;

static void make_with(uint64_t seed, unsigned shards, bool compat)
{
    mesh_init(&mesh, seed);
    node = mesh_add(&mesh, shards);
    scripted_init(&peer, &mesh, node, compat);
    scripted_list(&peer, true)->compat = compat ? PEER_V019 : PEER_OURS;
}

static void make(uint64_t seed, bool compat)
{
    make_with(seed, 3, compat);
}

static void end(void)
{
    scripted_deinit(&peer);
    mesh_deinit(&mesh);
}

TestSuite(sim_membership, .fini = end, .timeout = 120);

static void settle(void)
{
    sim_run_for(mesh.sim, 5 * SIM_MS);
}

/* Sends one message as it stands, and returns the Ack that came: what follows its type byte; NULL: none came. */
static const uint8_t *answer_to(struct cspan message)
{
    uint8_t text[4 + 1024];
    size_t at = peer.heard_count;
    cr_assert_leq(message.len, 1024);
    store_le32(text, (uint32_t)message.len);
    memcpy(text + 4, message.data, message.len);
    scripted_send(&peer, membership_header, (struct cspan){text, 4 + message.len});
    settle();
    const struct heard *h = scripted_next(&peer, &at, heard_membership);
    cr_assert_null(scripted_next(&peer, &at, heard_membership), "one at most");
    if (!h)
        return NULL;
    cr_assert(h->header.event_count == 1 && h->text_len == 15 && load_le32(h->text) == 11 && h->text[4] == 2);
    return h->text + 5;
}

static const uint8_t *ask(enum membership_type type, const char *channel, uint64_t nonce)
{
    uint8_t text[MESSAGE_FRAME];
    struct cspan frame = message_frame(type, channel, nonce, text);
    return answer_to((struct cspan){frame.data + 4, frame.len - 4});
}

/* How many packets of events come when one is published on `channel`. */
static size_t heard_of(const char *channel)
{
    size_t from = peer.heard_count;
    cr_assert_eq(mesh_publish_size(node, channel, 10), NET_OK);
    sim_run_for(mesh.sim, 20 * SIM_MS);
    return scripted_count(&peer, from, heard_events);
}

/* ---- the publisher: 6.5's bytes, 10, 12, 21, 23, 31 ---- */

Test(sim_membership, the_examples_are_answered_byte_for_byte)
{
    static const uint8_t subscribe[] = "\0\x63\0\0\0\0\0\0\0\x0dsensors/lidar\0\0";
    static const uint8_t legacy[] = "\0\x2a\0\0\0\0\0\0\0\x05lab/x";
    make(1, false);
    mesh_start(node);
    scripted_connect(&peer);
    size_t from = peer.heard_count;
    const uint8_t *ack = answer_to((struct cspan){subscribe, sizeof subscribe - 1});
    cr_assert_not_null(ack, "no registry: any valid name");
    cr_assert_arr_eq(ack, "\x63\0\0\0\0\0\0\0\x01\0", 10);
    const struct heard *h = scripted_next(&peer, &from, heard_membership);
    cr_assert(h->header.flags == 0 && h->header.sequence == 0 && h->header.stream_id == 0x0A00);
    ack = answer_to((struct cspan){legacy, sizeof legacy - 1});
    cr_assert_arr_eq(ack, "\x2a\0\0\0\0\0\0\0\x01\0", 10, "the form without a token length");
    h = scripted_next(&peer, &from, heard_membership);
    cr_assert_eq(h->header.sequence, 1, "of the stream's own counter");
    cr_assert(heard_of(CHANNEL) == 1 && heard_of("lab/x") == 1 && heard_of(OTHER) == 0);
}

Test(sim_membership, unsubscribing_is_always_accepted) /* 31 */
{
    make(2, false);
    mesh_start(node);
    scripted_connect(&peer);
    cr_assert_arr_eq(ask(MEMBERSHIP_UNSUBSCRIBE, CHANNEL, 7), "\7\0\0\0\0\0\0\0\x01\0", 10);
    cr_assert_arr_eq(ask(MEMBERSHIP_SUBSCRIBE, CHANNEL, 8), "\x08\0\0\0\0\0\0\0\x01\0", 10);
    cr_assert_arr_eq(ask(MEMBERSHIP_SUBSCRIBE, CHANNEL, 9), "\x09\0\0\0\0\0\0\0\x01\0", 10);
    cr_assert_eq(heard_of(CHANNEL), 1, "twice asked is once subscribed");
    cr_assert_arr_eq(ask(MEMBERSHIP_UNSUBSCRIBE, CHANNEL, 10), "\x0a\0\0\0\0\0\0\0\x01\0", 10);
    cr_assert_eq(heard_of(CHANNEL), 0);
}

/* A token says nothing until tokens exist; a member of a group must not get what others get, and is refused. */
Test(sim_membership, tokens_are_carried_and_groups_refused)
{
    static uint8_t token[169];
    uint8_t text[1024];
    struct membership m = {.type = MEMBERSHIP_SUBSCRIBE, .nonce = 3, .token = {token, sizeof token}};
    make(3, false);
    mesh_start(node);
    scripted_connect(&peer);
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &m.channel), CHANNEL_NAME_OK);
    m.queue_group = (struct cspan){(const uint8_t *)"workers", 7};
    const uint8_t *ack = answer_to((struct cspan){text, (size_t)membership_encode(&m, text, sizeof text)});
    cr_assert_arr_eq(ack, "\3\0\0\0\0\0\0\0\0\0", 10);
    cr_assert_eq(heard_of(CHANNEL), 0);
    m.queue_group.len = 0;
    ack = answer_to((struct cspan){text, (size_t)membership_encode(&m, text, sizeof text)});
    cr_assert_arr_eq(ack, "\3\0\0\0\0\0\0\0\x01\0", 10);
    cr_assert_eq(heard_of(CHANNEL), 1);
}

Test(sim_membership, what_cannot_be_decoded_gets_no_answer) /* 11, 13 to 16 */
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {{"", 0},
               {"\x03\7\0\0\0\0\0\0\0\x01z", 11},
               {"\0\7\0\0\0\0\0\0\0\x01", 10},
               {"\0\7\0\0\0\0\0\0\0\x04z//a", 14},
               {"\0\7\0\0\0\0\0\0\0\x01z\0", 12},
               {"\0\7\0\0\0\0\0\0\0\x01z\0\0\xc8group", 19},
               {"\x01\7\0\0\0\0\0\0\0\x01z\0", 12},
               {"\x02\7\0\0\0\0\0\0\0\xff\0", 11},
               {"\x02\7\0\0\0\0\0\0\0\0\5", 11}};
    make(4, false);
    mesh_start(node);
    scripted_connect(&peer);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_null(answer_to((struct cspan){(const uint8_t *)bad[i].bytes, bad[i].len}), "case %zu", i);
        cr_assert_eq(MESH_COUNT(node, drop_membership), i + 1, "case %zu", i);
    }
}

Test(sim_membership, channels_per_peer_are_capped) /* 23 */
{
    make_with(5, 1, false); /* the cap is each shard's, as the roster is */
    node->config.max_channels_per_peer = 2;
    mesh_start(node);
    scripted_connect(&peer);
    cr_assert_eq(ask(MEMBERSHIP_SUBSCRIBE, "a", 1)[8], 1);
    cr_assert_eq(ask(MEMBERSHIP_SUBSCRIBE, "b", 2)[8], 1);
    cr_assert_arr_eq(ask(MEMBERSHIP_SUBSCRIBE, "c", 3), "\3\0\0\0\0\0\0\0\0\4", 10, "TooManyChannels");
    cr_assert_eq(ask(MEMBERSHIP_SUBSCRIBE, "a", 4)[8], 1, "what it holds it may ask for again");
    cr_assert_eq(ask(MEMBERSHIP_UNSUBSCRIBE, "a", 5)[8], 1);
    cr_assert_eq(ask(MEMBERSHIP_SUBSCRIBE, "c", 6)[8], 1);
}

/* ---- the requester: 18 to 20 ---- */

static void want(const char *channel)
{
    struct subscription_entry *e = mesh_add_subscription(node);
    *e = (struct subscription_entry){.peer = peer.identity.ids.node_id, .mode = SUBSCRIBE_LIVE};
    text_format(e->channel, sizeof e->channel, "%s", channel);
}

static struct membership heard_message(size_t *at)
{
    struct membership m;
    const struct heard *h = scripted_next(&peer, at, heard_membership);
    cr_assert(h && membership_decode((struct cspan){h->text + 4, h->text_len - 4}, &m) == NET_OK);
    return m;
}

static void ack(struct scripted *from, uint64_t nonce)
{
    uint8_t text[15] = {11, 0, 0, 0, MEMBERSHIP_ACK};
    store_le64(text + 5, nonce);
    text[13] = 1;
    scripted_send(from, membership_header, (struct cspan){text, sizeof text});
    settle();
}

static bool active(const char *channel)
{
    return mesh_subscribed(node, channel, 1);
}

static bool heard_subscribe(const struct heard *h)
{
    return heard_membership(h) && h->text_len > 4 && h->text[4] == MEMBERSHIP_SUBSCRIBE;
}

Test(sim_membership, a_subscribe_is_the_references_bytes_with_a_nonce_nobody_guesses) /* 9, 20 */
{
    size_t at = 0;
    make(6, false);
    want(CHANNEL);
    want(OTHER);
    mesh_start(node);
    scripted_connect(&peer);
    settle();
    cr_assert_eq(scripted_count(&peer, 0, heard_subscribe), 2);
    const struct heard *h = scripted_next(&peer, &at, heard_membership);
    cr_assert_eq(h->text_len, 4 + 25);
    cr_assert_arr_eq(h->text, "\x19\0\0\0\0", 5);
    cr_assert_arr_eq(h->text + 13, "\x0dsensors/lidar\0\0", 16);
    uint64_t first = load_le64(h->text + 5), second = heard_message(&at).nonce;
    uint64_t distance = first > second ? first - second : second - first;
    cr_assert_gt(distance, UINT64_C(1) << 32);
    ack(&peer, second);
    cr_assert(active(OTHER) && !active(CHANNEL));
    ack(&peer, first);
    cr_assert(active(CHANNEL));
}

Test(sim_membership, only_the_asked_peers_ack_counts) /* 18 */
{
    static struct scripted other;
    size_t at = 0;
    make(7, false);
    want(CHANNEL);
    scripted_init(&other, &mesh, node, false);
    mesh_start(node);
    scripted_connect(&other);
    scripted_connect(&peer);
    settle();
    uint64_t nonce = heard_message(&at).nonce;
    ack(&other, nonce);
    ack(&peer, nonce + 1);
    cr_assert_not(active(CHANNEL));
    ack(&peer, nonce);
    cr_assert(active(CHANNEL));
    scripted_deinit(&other);
}

Test(sim_membership, an_unanswered_subscribe_is_asked_again_and_a_late_ack_ignored) /* 19 */
{
    size_t at = 0;
    make(8, false);
    want(CHANNEL);
    mesh_start(node);
    scripted_connect(&peer);
    settle();
    uint64_t asked = sim_now(mesh.sim), late = heard_message(&at).nonce;
    while (scripted_count(&peer, 0, heard_subscribe) == 1) {
        sim_run_for(mesh.sim, 10 * SIM_MS);
        if (sim_now(mesh.sim) % (2 * SIM_S) < 10 * SIM_MS)
            scripted_heartbeat(&peer);
    }
    cr_assert(sim_now(mesh.sim) - asked > 4900 * SIM_MS && sim_now(mesh.sim) - asked < 5100 * SIM_MS);
    uint64_t nonce = heard_message(&at).nonce;
    cr_assert_neq(nonce, late);
    ack(&peer, late);
    cr_assert_not(active(CHANNEL));
    ack(&peer, nonce);
    cr_assert(active(CHANNEL));
    ack(&peer, nonce); /* once more changes nothing */
    cr_assert(active(CHANNEL));
}

static bool has_left;

static void on_left(struct control_request *r, int err, const char *message)
{
    (void)r;
    (void)message;
    has_left = err == NET_OK;
}

static bool heard_unsubscribe(const struct heard *h)
{
    return heard_membership(h) && h->text_len > 4 && h->text[4] == MEMBERSHIP_UNSUBSCRIBE;
}

/* Left while the peer is silent: the Ack of the Subscribe before, when it comes after all, is no answer to that. */
Test(sim_membership, a_late_ack_of_a_subscribe_does_not_end_an_unsubscribe)
{
    struct control_request left = {.done = on_left};
    struct channel_name name;
    size_t at = 0;
    make(9, false);
    want(CHANNEL);
    mesh_start(node);
    scripted_connect(&peer);
    settle();
    sim_run_until(mesh.sim, 20 * SIM_S);
    uint64_t late = 0;
    for (const struct heard *h; (h = scripted_next(&peer, &at, heard_subscribe));)
        late = load_le64(h->text + 5);
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &name), CHANNEL_NAME_OK);
    node_unsubscribe(node->node, &name, peer.identity.ids.node_id, SIM_S, &left);
    sim_host_poke(node->host, 0);
    sim_run_for(mesh.sim, 100 * SIM_MS);
    cr_assert(has_left, "nobody waits for a peer that is silent");
    ack(&peer, late);
    cr_assert_eq(scripted_count(&peer, 0, heard_unsubscribe), 1);
    ack(&peer, late);
    sim_run_for(mesh.sim, 6 * SIM_S);
    cr_assert_eq(scripted_count(&peer, 0, heard_unsubscribe), 2, "it is said until it is answered");
}

/* ---- what arrives: channels.md 12.4, 14.13; wire.md 14.26, 14.38; streams.md 9 ---- */

static void inject_events(const char *channel, const char *hash_of, uint64_t sequence, uint16_t count,
                          struct cspan text)
{
    scripted_send(&peer,
                  (struct wire_header){.channel_hash = channel_wire_hash(channel_hash(hash_of, strlen(hash_of))),
                                       .stream_id = channel_stream_id(channel_hash(channel, strlen(channel))),
                                       .sequence = sequence,
                                       .event_count = count},
                  text);
}

static void send_events(const char *channel, const char *hash_of, uint64_t sequence, uint16_t count, struct cspan text)
{
    inject_events(channel, hash_of, sequence, count, text);
    settle();
}

static void subscribed(uint64_t seed, bool compat)
{
    size_t at = 0;
    make(seed, compat);
    want(CHANNEL);
    mesh_start(node);
    scripted_connect(&peer);
    settle();
    ack(&peer, heard_message(&at).nonce);
    cr_assert(active(CHANNEL));
}

/* The wire hash is a hint: a stream id decides, and only a subscription of ours to that peer takes anything. */
Test(sim_membership, what_matches_no_subscription_is_dropped_and_counted)
{
    static const uint8_t hello[] = "\5\0\0\0hello";
    struct cspan text = {hello, sizeof hello - 1};
    subscribed(9, false);
    send_events(OTHER, OTHER, 0, 1, text);
    send_events(OTHER, CHANNEL, 1, 1, text);
    cr_assert_eq(MESH_COUNT(node, drop_unsubscribed), 2);
    send_events(CHANNEL, OTHER, 0, 1, text);
    cr_assert(MESH_COUNT(node, drop_unsubscribed) == 2 && MESH_COUNT(node, stored_events) == 1);
    cr_assert_eq(MESH_COUNT(node, gauge_logs), 1, "nothing was made for the other channel");
}

Test(sim_membership, damaged_frames_cost_only_themselves)
{
    static const uint8_t text[] = "\5\0\0\0hello\xff\0\0\0world";
    subscribed(10, false);
    send_events(CHANNEL, CHANNEL, 0, 2, (struct cspan){text, sizeof text - 1});
    cr_assert(MESH_COUNT(node, stored_events) == 1 && MESH_COUNT(node, drop_frames) == 1);
    send_events(CHANNEL, CHANNEL, 1, 2028, (struct cspan){text, sizeof text - 1});
    cr_assert_eq(MESH_COUNT(node, stored_events), 2);
    send_events(CHANNEL, CHANNEL, 5, 0, (struct cspan){text, sizeof text - 1});
    cr_assert(MESH_COUNT(node, stored_events) == 2 && MESH_COUNT(node, drop_lost) == 3);
}

static void grants(uint64_t seed, bool compat)
{
    static const uint8_t text[] = "\5\0\0\0hello\6\0\0\0world!"; /* wire.md 13.9: 19 + 80 = 99 bytes */
    subscribed(seed, compat);
    size_t at = peer.heard_count;
    for (uint64_t i = 0; i < 3; i++) {
        uint64_t stream, total;
        send_events(CHANNEL, CHANNEL, i, 2, (struct cspan){text, sizeof text - 1});
        const struct heard *h = scripted_next(&peer, &at, heard_credit);
        cr_assert_not_null(h, "at the latest a millisecond after");
        cr_assert(h->header.stream_id == UINT64_MAX && h->header.sequence == i && h->header.event_count == 1);
        cr_assert(h->header.flags == 0 && h->text_len == 20 && load_le32(h->text) == 16);
        cr_assert_eq(credit_decode((struct cspan){h->text + 4, 16}, &stream, &total), NET_OK);
        cr_assert_eq(stream, channel_stream_id(channel_hash(CHANNEL, strlen(CHANNEL))));
        cr_assert_eq(total, 99 * (i + 1), "the total since the stream began");
    }
    /* A quarter of 65536 bytes is granted at once; of what we grant our own it is far from a quarter. */
    uint8_t event[8004] = {0};
    store_le32(event, 8000);
    uint64_t now = sim_now(mesh.sim);
    for (uint64_t i = 3; i < 6; i++)
        inject_events(CHANNEL, CHANNEL, i, 1, (struct cspan){event, sizeof event});
    settle();
    const struct heard *h = scripted_next(&peer, &at, heard_credit);
    cr_assert_not_null(h);
    cr_assert_eq(h->at - now < SIM_MS, compat, "after %lu ns", h->at - now);
}

Test(sim_membership, grants_to_our_own)
{
    grants(11, false);
}

Test(sim_membership, grants_to_v019)
{
    grants(12, true);
}

/* A sender without grants stops at the window of the peer: 65536 bytes, as the reference's, or as X0 offered. */
static void stops_at_the_window(uint64_t seed, bool compat, uint32_t offered)
{
    uint64_t charged = 0;
    size_t at = 0;
    make(seed, compat);
    peer.offer.window = offered;
    mesh_start(node);
    scripted_connect(&peer);
    cr_assert_eq(ask(MEMBERSHIP_SUBSCRIBE, CHANNEL, 1)[8], 1);
    for (int i = 0; i < 400; i++)
        cr_assert_eq(mesh_publish_size(node, CHANNEL, 1000), NET_OK);
    sim_run_for(mesh.sim, 100 * SIM_MS);
    for (const struct heard *h; (h = scripted_next(&peer, &at, heard_events));)
        charged += h->text_len + WIRE_OVERHEAD;
    uint32_t window = compat ? 65536 : offered;
    cr_assert(charged <= window && charged > window - 2000, "%lu of %u bytes", charged, window);
    uint8_t grant[4 + CREDIT_MESSAGE];
    store_le32(grant, CREDIT_MESSAGE);
    credit_encode(channel_stream_id(channel_hash(CHANNEL, strlen(CHANNEL))), charged, grant + 4);
    scripted_send(&peer,
                  (struct wire_header){.subprotocol = SUBPROTO_CREDIT, .stream_id = UINT64_MAX, .event_count = 1},
                  (struct cspan){grant, sizeof grant});
    sim_run_for(mesh.sim, 100 * SIM_MS);
    cr_assert_gt(scripted_count(&peer, at, heard_events), 0, "a grant of all lets it go on");
}

Test(sim_membership, a_sender_stops_at_the_window_our_own_offered)
{
    stops_at_the_window(13, false, 200000);
}

Test(sim_membership, a_sender_stops_at_the_window_of_v019)
{
    stops_at_the_window(14, true, 200000);
}
