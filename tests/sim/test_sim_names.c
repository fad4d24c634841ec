/* Channels, logs and views that come, go and collide: nothing stays behind, nothing is taken for another. */
#include <criterion/criterion.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/logs/view.h"
#include "tests/sim/mesh/sim_node.h"

/* Two names with one XXH3-64. */
static const char ONE[] = "doglhkojgeelmjgd", OTHER[] = "jbphgedkkncgigag";

static struct mesh mesh;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_names, .fini = end, .timeout = 120);

static int publish(struct mesh_node *m, const char *channel, uint32_t tag, uint64_t from, uint64_t count)
{
    return mesh_publish(m, channel, tag, from, count, false, 30 * SIM_S).err;
}

static void check_holds(struct mesh_node *m, const char *channel, const struct mesh_node *origin, uint32_t tag,
                        size_t count)
{
    struct mesh_log log = mesh_read(m, channel, origin, 10 * SIM_S);
    cr_assert_eq(log.err, NET_OK, "node %u, %s: %s", m->number, channel, net_err_name(log.err));
    cr_assert_eq(log.count, count, "node %u, %s: %zu", m->number, channel, log.count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(log.entries[i].tag, tag);
    mesh_log_free(&log);
}

static void check_absent(struct mesh_node *m, const char *channel, const struct mesh_node *origin)
{
    struct mesh_log log = mesh_read(m, channel, origin, 10 * SIM_S);
    cr_assert(log.err == NET_ERR_NOT_FOUND || log.err == NET_ERR_EXISTS, "%s: %s, %zu events", channel,
              net_err_name(log.err), log.count);
    cr_assert_eq(log.count, 0);
    mesh_log_free(&log);
}

static void start_all(void)
{
    for (unsigned i = 0; i < mesh.count; i++)
        mesh_start(&mesh.nodes[i]);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
}

static void subscribe(struct mesh_node *m, const char *channel, const struct mesh_node *from)
{
    int err = mesh_ask_subscribe(m, channel, from, 10 * SIM_S);
    cr_assert_eq(err, NET_OK, "%s: %s", channel, net_err_name(err));
}

static void unsubscribe(struct mesh_node *m, const char *channel, const struct mesh_node *from)
{
    cr_assert_eq(mesh_ask_unsubscribe(m, channel, from, 10 * SIM_S), NET_OK);
}

Test(sim_names, the_twins_are_twins)
{
    cr_assert_eq(channel_hash(ONE, strlen(ONE)), channel_hash(OTHER, strlen(OTHER)));
    mesh_init(&mesh, 1);
}

Test(sim_names, of_two_names_with_one_hash_a_publisher_has_the_first_only)
{
    for (unsigned shards = 1; shards <= 3; shards++) {
        if (shards > 1)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 1);
        struct mesh_node *a = mesh_add(&mesh, shards);
        mesh_start(a);
        cr_assert_eq(publish(a, ONE, 1, 0, 10), NET_OK);
        cr_assert_eq(publish(a, OTHER, 2, 0, 10), NET_ERR_EXISTS);
        cr_assert_eq(MESH_COUNT(a, publish_other), 1);
        check_absent(a, OTHER, NULL);
        check_holds(a, ONE, NULL, 1, 10);
    }
}

Test(sim_names, a_subscriber_of_one_twin_never_gets_the_other)
{
    for (unsigned shards = 1; shards <= 3; shards++) {
        if (shards > 1)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 2);
        struct mesh_node *a = mesh_add(&mesh, shards), *b = mesh_add(&mesh, shards), *c = mesh_add(&mesh, 1);
        mesh_know(b, a);
        mesh_know(c, a);
        start_all();
        subscribe(b, ONE, a);
        cr_assert_eq(mesh_ask_subscribe(b, OTHER, a, 10 * SIM_S), NET_ERR_EXISTS, "refused before anybody is asked");
        cr_assert_eq(mesh_ask_subscribe(c, OTHER, a, 10 * SIM_S), NET_ERR_POLICY, "refused by the publisher");
        cr_assert_geq(MESH_COUNT(a, subscribe_name), 1);
        cr_assert_eq(publish(a, ONE, 1, 0, 10), NET_OK);
        cr_assert_eq(publish(a, OTHER, 2, 0, 10), NET_ERR_EXISTS);
        sim_run_for(mesh.sim, SIM_S);
        check_holds(b, ONE, a, 1, 10);
        check_absent(b, OTHER, a);
        check_absent(c, OTHER, a);
    }
}

static void send_membership(struct mesh_node *from, const struct mesh_node *to, enum membership_type type,
                            const char *channel)
{
    struct membership m = {.type = type, .nonce = 1};
    uint8_t frame[4 + MEMBERSHIP_MAX_SENT];
    cr_assert_eq(channel_name_parse(channel, strlen(channel), &m.channel), CHANNEL_NAME_OK);
    int len = membership_encode(&m, frame + 4, MEMBERSHIP_MAX_SENT);
    cr_assert_gt(len, 0);
    store_le32(frame, (uint32_t)len);
    struct wire_header h = {.subprotocol = SUBPROTO_MEMBERSHIP, .stream_id = SUBPROTO_MEMBERSHIP, .event_count = 1};
    cr_assert(mesh_send_sealed(from, to, h, (struct cspan){frame, 4 + (size_t)len}));
}

Test(sim_names, leaving_one_twin_does_not_end_the_other)
{
    for (unsigned shards = 1; shards <= 2; shards++) {
        if (shards > 1)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 3);
        struct mesh_node *a = mesh_add(&mesh, shards), *b = mesh_add(&mesh, 1);
        mesh_know(b, a);
        start_all();
        subscribe(b, ONE, a);
        send_membership(b, a, MEMBERSHIP_UNSUBSCRIBE, OTHER);
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_eq(publish(a, ONE, 1, 0, 10), NET_OK);
        sim_run_for(mesh.sim, SIM_S);
        check_holds(b, ONE, a, 1, 10);
    }
}

Test(sim_names, what_was_stored_of_one_twin_is_not_mixed_with_the_other_later)
{
    mesh_init(&mesh, 4);
    struct mesh_node *a = mesh_add(&mesh, 1), *b = mesh_add(&mesh, 2);
    mesh_know(b, a);
    start_all();
    subscribe(b, ONE, a);
    cr_assert_eq(publish(a, ONE, 1, 0, 10), NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    unsubscribe(b, ONE, a);
    a->config.channel.log = LOG_MEMORY; /* a new life that has never heard of the first twin */
    mesh_kill(a);
    mesh_start(a);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    subscribe(b, OTHER, a);
    cr_assert_eq(publish(a, OTHER, 2, 0, 10), NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    check_holds(b, ONE, a, 1, 10);
    check_absent(b, OTHER, a);
    cr_assert_geq(MESH_COUNT(b, drop_no_log), 10, "counted: there is no place for them");
}

/* Keys that the maps of logs and views mix to the same number: nobody can find such names easily, but somebody may. */
Test(sim_names, keys_that_are_mixed_to_the_same_number_are_told_apart)
{
    mesh_init(&mesh, 5);
    struct mesh_node *a = mesh_add(&mesh, 1);
    mesh_start(a);
    struct shard *s = node_shard(a->node, 0);
    struct channel_name name = {.len = 1, .text = "x"};
    struct log_key key = {0, 77, 0}, same = {5, 77 ^ log_map_key((struct log_key){5, 0, 0}), 0};
    cr_assert_eq(log_map_key(key), log_map_key(same));
    struct log *log;
    cr_assert_eq(log_open(s, key, &name, &log), NET_OK);
    cr_assert_eq(log_find(s, key), log);
    cr_assert_null(log_find(s, same));
    cr_assert_eq(log_open(s, same, &name, &log), NET_ERR_EXISTS);
}

static uint64_t logs(struct mesh_node *m)
{
    return MESH_COUNT(m, gauge_logs);
}

static size_t views(struct mesh_node *m)
{
    size_t sum = 0;
    for (unsigned i = 0; i < m->config.shards; i++)
        sum += node_shard(m->node, i)->views.count;
    return sum;
}

Test(sim_names, a_subscriber_that_comes_and_goes_leaves_nothing_behind)
{
    for (unsigned shards = 1; shards <= 2; shards++) {
        if (shards > 1)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 6);
        struct mesh_node *a = mesh_add(&mesh, shards), *b = mesh_add(&mesh, 1);
        a->config.max_channels = 16;
        a->config.max_streams = 16;
        mesh_know(b, a);
        start_all();
        for (int i = 0; i < 100; i++) {
            char channel[32];
            text_format(channel, sizeof channel, "visit/%d", i);
            subscribe(b, channel, a);
            unsubscribe(b, channel, a);
        }
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_eq(logs(a), 0, "%lu logs of %u shards", logs(a), shards);
        cr_assert_eq(views(a), 0);
        subscribe(b, "last", a);
        cr_assert_eq(publish(a, "last", 1, 0, 10), NET_OK);
        sim_run_for(mesh.sim, SIM_S);
        check_holds(b, "last", a, 1, 10);
        mesh_kill(b);
        sim_run_for(mesh.sim, 120 * SIM_S);
        cr_assert_eq(views(a), 0);
    }
}

Test(sim_names, looking_for_a_log_that_is_not_there_leaves_nothing_and_is_answered_at_the_limit)
{
    for (unsigned shards = 1; shards <= 3; shards += 2) {
        if (shards > 1)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 7);
        struct mesh_node *a = mesh_add(&mesh, shards), *b = mesh_add(&mesh, 1);
        a->config.max_channels = 2;
        mesh_start(a);
        for (int i = 0; i < 20; i++) {
            char channel[32];
            text_format(channel, sizeof channel, "absent/%d", i);
            check_absent(a, channel, i & 1 ? b : NULL);
        }
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_eq(logs(a), 0);
        for (int i = 0; i < 30; i++) { /* full on every shard */
            char channel[32];
            text_format(channel, sizeof channel, "there/%d", i);
            int err = publish(a, channel, 1, 0, 1);
            cr_assert(err == NET_OK || err == NET_ERR_LIMIT, "%s", net_err_name(err));
        }
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_eq(logs(a), 2 * shards);
        for (int i = 0; i < 20; i++) {
            char channel[32];
            text_format(channel, sizeof channel, "absent/%d", i);
            check_absent(a, channel, NULL);
        }
    }
}
