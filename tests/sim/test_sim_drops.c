/* What is refused or dropped is counted by its reason: here those that no other test of the simulation provokes. */
#include <criterion/criterion.h>
#include <errno.h>

#include "core/base/err.h"
#include "core/stream/credit.h"
#include "shards/logs/log.h"
#include "shards/node/mailbox.h"
#include "shards/report/say.h"
#include "tests/sim/mesh/scripted.h"

static struct mesh mesh;
static struct mesh_node *a, *b;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_drops, .fini = end, .timeout = 120);

/* Two nodes that do not run yet; b knows a. */
static void make(uint64_t seed, unsigned shards)
{
    mesh_init(&mesh, seed);
    a = mesh_add(&mesh, shards);
    b = mesh_add(&mesh, 1);
    mesh_know(b, a);
}

static void start(void)
{
    mesh_start(a);
    mesh_start(b);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
}

static int publish(const char *channel, uint64_t count, bool durable)
{
    return mesh_publish(a, channel, 1, 0, count, durable, 60 * SIM_S).err;
}

/* A packet of `frames` from b to a on the stream of a subprotocol. */
static void give(uint16_t subprotocol, struct cspan frames, uint16_t count)
{
    struct wire_header h = {.subprotocol = subprotocol, .stream_id = subprotocol, .event_count = count};
    cr_assert(mesh_send_sealed(b, a, h, frames));
    sim_run_for(mesh.sim, 100 * SIM_MS);
}

Test(sim_drops, credit_that_is_malformed_or_for_no_stream)
{
    make(1, 2);
    start();
    uint8_t frame[4 + CREDIT_MESSAGE] = {CREDIT_MESSAGE - 1};
    give(SUBPROTO_CREDIT, (struct cspan){frame, 4 + CREDIT_MESSAGE - 1}, 1);
    cr_assert(MESH_COUNT(a, drop_credit) == 1 && MESH_COUNT(a, drop_credit_stream) == 0);
    frame[0] = CREDIT_MESSAGE;
    credit_encode(12345, 1000, frame + 4);
    give(SUBPROTO_CREDIT, (struct cspan){frame, sizeof frame}, 1);
    cr_assert(MESH_COUNT(a, drop_credit) == 1 && MESH_COUNT(a, drop_credit_stream) == 1);
}

static size_t put_message(uint8_t *out, struct membership *m, const char *channel)
{
    cr_assert_eq(channel_name_parse(channel, strlen(channel), &m->channel), CHANNEL_NAME_OK);
    int len = membership_encode(m, out + 4, MEMBERSHIP_MAX_SENT);
    cr_assert_gt(len, 0);
    store_le32(out, (uint32_t)len);
    return 4 + (size_t)len;
}

Test(sim_drops, messages_about_subscriptions)
{
    make(2, 1);
    start();
    uint8_t frames[8000];
    size_t len = put_message(frames, &(struct membership){.type = MEMBERSHIP_ACK, .nonce = 77, .accepted = true}, "x");
    give(SUBPROTO_MEMBERSHIP, (struct cspan){frames, len}, 1);
    cr_assert_eq(MESH_COUNT(a, drop_ack), 1);
    len = 0;
    for (uint64_t i = 0; i < 40; i++)
        len += put_message(frames + len, &(struct membership){.type = MEMBERSHIP_SUBSCRIBE, .nonce = i}, "y");
    give(SUBPROTO_MEMBERSHIP, (struct cspan){frames, len}, 40);
    cr_assert_geq(MESH_COUNT(a, drop_control_full), 1);
    cr_assert_lt(MESH_COUNT(a, drop_control_full), 40);
    struct membership group = {.type = MEMBERSHIP_SUBSCRIBE, .queue_group = {(const uint8_t *)"g", 1}};
    len = put_message(frames, &group, "z");
    give(SUBPROTO_MEMBERSHIP, (struct cspan){frames, len}, 1);
    cr_assert_eq(MESH_COUNT(a, subscribe_group), 1);
}

Test(sim_drops, limits_of_streams_and_channels)
{
    make(3, 1);
    a->config.max_streams = 1;
    a->config.max_channels_per_peer = 2;
    a->config.max_channels = 4;
    start();
    cr_assert_eq(mesh_ask_subscribe(b, "x", a, 10 * SIM_S), NET_OK);
    cr_assert_eq(mesh_ask_subscribe(b, "y", a, 10 * SIM_S), NET_OK);
    cr_assert_eq(mesh_ask_subscribe(b, "z", a, 10 * SIM_S), NET_ERR_POLICY);
    cr_assert_geq(MESH_COUNT(a, subscribe_channels), 1);
    cr_assert_eq(publish("x", 1, false), NET_OK);
    cr_assert_eq(publish("y", 1, false), NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_geq(MESH_COUNT(a, drop_stream_limit), 1, "one of the two has no stream");
    cr_assert_eq(publish("v", 1, false), NET_OK);
    cr_assert_eq(publish("w", 1, false), NET_OK);
    cr_assert_eq(MESH_COUNT(a, publish_limit), 0);
    cr_assert_eq(publish("u", 1, false), NET_ERR_LIMIT);
    cr_assert_eq(MESH_COUNT(a, publish_limit), 1);
}

Test(sim_drops, publishes_that_cannot_be)
{
    make(4, 2);
    start();
    cr_assert_eq(publish("x/manifest", 1, false), NET_ERR_INVALID);
    cr_assert_eq(MESH_COUNT(a, publish_invalid), 1);
    static uint8_t frame[4 + (1 << 20) + 1];
    struct netmesh_shard *face = node_shard(a->node, log_owner(a->node, channel_hash("x", 1)))->face;
    store_le32(frame, a->config.event_bytes + 1);
    cr_assert_eq(sizeof frame, 4 + a->config.event_bytes + 1);
    cr_assert_eq(netmesh_publish(face, "x", frame, sizeof frame, 1), NET_ERR_TOO_LARGE);
    cr_assert_eq(MESH_COUNT(a, publish_too_large), 1);
    node_shutdown(a->node);
    struct publisher late = {0};
    struct channel_name name;
    cr_assert_eq(channel_name_parse("x", 1, &name), CHANNEL_NAME_OK);
    cr_assert_eq(node_publish_open(a->node, &late, &name, false), NET_ERR_STATE);
    cr_assert_eq(MESH_COUNT(a, publish_closed), 1);
}

/* A publish whose writes fail until its patience ends. */
static void fail_writes(int error, int expected)
{
    struct sim_fault fault = {.kinds = 1u << IO_WRITE, .suffix = "/dat", .error = error, .times = UINT32_MAX};
    sim_disk_fault(a->host, &fault);
    cr_assert_eq(publish("x", 5, false), expected);
    sim_disk_clear_faults(a->host);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(publish("x", 5, false), NET_OK, "and it goes on when it can");
}

Test(sim_drops, publishes_that_the_disk_refuses)
{
    make(5, 2);
    a->config.publish_timeout_ns = 2 * SIM_S;
    start();
    cr_assert_eq(publish("x", 1, false), NET_OK);
    fail_writes(ENOSPC, NET_ERR_NO_SPACE);
    cr_assert_eq(MESH_COUNT(a, publish_no_space), 1);
    fail_writes(EIO, NET_ERR_IO);
    cr_assert_eq(MESH_COUNT(a, publish_io), 1);
    sim_settings(mesh.sim)->file = (struct sim_range){5 * SIM_S, 5 * SIM_S};
    cr_assert_eq(publish("x", 1, false), NET_ERR_TIMEOUT);
    cr_assert_eq(MESH_COUNT(a, publish_timeout), 1);
    sim_settings(mesh.sim)->file = (struct sim_range){SIM_MS, SIM_MS};
    sim_run_for(mesh.sim, 20 * SIM_S);
    struct sim_fault fault = {.kinds = 1u << IO_FDATASYNC, .error = EIO, .times = 1};
    sim_disk_fault(a->host, &fault);
    cr_assert_eq(publish("x", 1, true), NET_ERR_POISONED);
    cr_assert_geq(MESH_COUNT(a, publish_poisoned), 1);
}

Test(sim_drops, events_for_a_log_that_is_poisoned)
{
    make(6, 1);
    mesh_subscribe(b, "x", a);
    start();
    cr_assert(mesh_subscribed(b, "x", 60 * SIM_S));
    cr_assert_eq(publish("x", 3, false), NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    struct sim_fault fault = {.kinds = 1u << IO_FDATASYNC, .error = EIO, .times = 1};
    sim_disk_fault(b->host, &fault);
    struct log *log = log_find(node_shard(b->node, 0), (struct log_key){a->node_id, channel_hash("x", 1), 0});
    redex_want_sync(log->redex, 3);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(redex_error(log->redex), NET_ERR_POISONED);
    cr_assert_eq(publish("x", 4, false), NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(MESH_COUNT(b, drop_log_failed), 4);
}

Test(sim_drops, a_handshake_while_the_node_stops)
{
    make(7, 2);
    static struct scripted peer;
    uint8_t msg1[HANDSHAKE_MAX_DATAGRAM];
    scripted_init(&peer, &mesh, a, false);
    start();
    struct cspan datagram = scripted_msg1(&peer, HANDSHAKE_ROUTED, msg1);
    node_shutdown(a->node);
    scripted_inject(&peer, datagram);
    sim_run_for(mesh.sim, SIM_US);
    for (int i = 0; i < 100 && MESH_COUNT(a, drop_stopping) == 0; i++)
        sim_run_for(mesh.sim, 100 * SIM_US);
    cr_assert_eq(MESH_COUNT(a, drop_stopping), 1);
    scripted_deinit(&peer);
}

Test(sim_drops, more_to_forward_than_there_are_buffers)
{
    make(8, 1);
    start();
    uint8_t d[WIRE_ROUTE + 200];
    struct wire_route route = {.ttl = 3, .src_id = 1, .dest_id = b->node_id};
    const struct io_addr stranger = {.ip = {[10] = 0xff, 0xff, 10, 9, 9, 9}, .port = 1};
    const struct io_addr to = sim_host_addr(a->host);
    memset(d, 7, sizeof d);
    wire_route_encode(&route, d);
    sim_settings(mesh.sim)->send = (struct sim_range){SIM_S, SIM_S};
    sim_settings(mesh.sim)->coalesce = 0;
    sim_settings(mesh.sim)->recv_buffers = 256; /* a datagram keeps its buffer until it is sent on */
    for (int i = 0; i < 200; i++) {
        sim_inject(mesh.sim, &stranger, &to, (struct cspan){d, sizeof d});
        sim_run_for(mesh.sim, SIM_MS);
    }
    cr_assert_geq(MESH_COUNT(a, drop_relay_busy), 1);
    cr_assert_geq(MESH_COUNT(a, relayed), 16);
    cr_assert_leq(MESH_COUNT(a, relayed) + MESH_COUNT(a, drop_relay_busy), 200);
}

/* Further behind than max_lag: what a reader misses for that, to the event. */
Test(sim_drops, what_a_reader_is_too_late_for)
{
    make(10, 1);
    a->config.channel.max_lag = 10;
    mesh_subscribe(b, "x", a);
    start();
    cr_assert(mesh_subscribed(b, "x", 10 * SIM_S));
    sim_cut(mesh.sim, a->host, b->host, true);
    sim_run_for(mesh.sim, 25 * SIM_S); /* silent: nobody sends to it */
    cr_assert_eq(publish("x", 100, false), NET_OK);
    cr_assert_eq(MESH_COUNT(a, drop_lag), 0, "nothing is lost yet");
    sim_cut(mesh.sim, a->host, b->host, false);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    sim_run_for(mesh.sim, 5 * SIM_S);
    struct mesh_log log = mesh_read(b, "x", a, 10 * SIM_S);
    cr_assert(log.err == NET_OK && log.count == 10);
    cr_assert(log.entries[0].number == 90 && log.entries[9].number == 99);
    mesh_log_free(&log);
    cr_assert_eq(MESH_COUNT(a, drop_lag), 90);
}

static void say_nothing(const char *text, size_t len)
{
    (void)text, (void)len;
}

/* What an operator is told goes to shard 0, and nobody waits for room on the way. */
Test(sim_drops, a_line_that_finds_the_ring_full)
{
    make(9, 2);
    start();
    struct shard *s = node_shard(a->node, 1);
    a->node->options.say = say_nothing;
    static const char line[1000] = "x";
    for (size_t len = sizeof line; len > 0; len /= 2)
        while (mailbox_try(s, 0, MSG_SAY, 0, 0, line, len, NULL, 0))
            ;
    shard_say(s, LEVEL_ERROR, "the disk is on fire");
    cr_assert_eq(MESH_COUNT(a, drop_say), 1);
    sim_run_for(mesh.sim, SIM_S);
    shard_say(s, LEVEL_ERROR, "and burns on");
    cr_assert_eq(MESH_COUNT(a, drop_say), 1);
}
