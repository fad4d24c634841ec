/* Followed channels of whole nodes: the follower's log is the publisher's, whatever the network, the disks and the
 * processes do. extensions X7 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "shards/logs/log.h"
#include "shards/peers/contacts.h"
#include "shards/peers/membership.h"
#include "shards/peers/peer.h"
#include "tests/support/mesh_expect.h"

static const char CHANNEL[] = "log/of/all";

static struct mesh mesh;
static struct mesh_node *a, *b; /* publisher, follower */

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_follow, .fini = end, .timeout = 280);

static void make(uint64_t seed, unsigned shards_a, unsigned shards_b)
{
    mesh_init(&mesh, seed);
    a = mesh_add(&mesh, shards_a);
    b = mesh_add(&mesh, shards_b);
    mesh_know(b, a);
}

static void start(void)
{
    mesh_start(a);
    mesh_start(b);
    cr_assert(mesh_settle(&mesh, 20 * SIM_S));
}

static void publish(uint64_t from, uint64_t count)
{
    expect_published(a, CHANNEL, 1, from, count, false);
}

/* The log of the channel that `m` holds now: its own, or the newest it has of `origin`. */
static struct log *log_held_of(struct mesh_node *m, const char *channel, const struct mesh_node *origin)
{
    uint64_t hash = channel_hash(channel, strlen(channel));
    struct shard *s = node_shard(m->node, (unsigned)(hash % m->config.shards));
    struct log *log = NULL;
    for (uint32_t edition = 0; edition < 16; edition++) {
        struct log *there = log_find(s, (struct log_key){origin ? origin->node_id : 0, hash, edition});
        log = there && there->open ? there : log;
    }
    return log;
}

static struct log *log_held(struct mesh_node *m, const struct mesh_node *origin)
{
    return log_held_of(m, CHANNEL, origin);
}

static struct log_heads heads_of(struct mesh_node *m, const struct mesh_node *origin)
{
    struct log_heads heads = {0};
    const struct log *log = m->node ? log_held(m, origin) : NULL;
    if (log)
        log_heads(log, &heads);
    return heads;
}

static bool behind(void *ctx)
{
    (void)ctx;
    struct log_heads want = heads_of(a, NULL), have = heads_of(b, a);
    return !have.exists || have.written < want.written;
}

static void catch_up(uint64_t limit_ns)
{
    cr_assert(sim_run_while(mesh.sim, behind, NULL, limit_ns), "at %lu of %lu", heads_of(b, a).written,
              heads_of(a, NULL).written);
}

struct copy { /* of a log */
    struct copied {
        uint64_t seq, ts_ns, bytes; /* bytes: their hash */
    } * rows;
    size_t count;
};

static struct copy copy_of(struct mesh_node *m, const struct mesh_node *origin)
{
    struct log_heads heads = heads_of(m, origin);
    struct copy c = {.rows = calloc(heads.written - heads.first + 1, sizeof *c.rows)};
    struct log *log = log_held(m, origin);
    cr_assert(log && c.rows);
    for (uint64_t next = heads.first; next < heads.written;) {
        struct redex_event events[64];
        size_t n = log_read(log, &next, heads.written, events, 64);
        for (size_t i = 0; i < n; i++)
            c.rows[c.count++] = (struct copied){events[i].seq, events[i].ts_ns,
                                                channel_hash((const char *)events[i].data.data, events[i].data.len)};
    }
    return c;
}

/* Each event of the publisher from `first` on is in the follower's log, the same under the same sequence. What power
 * took from the publisher the follower may still have: events where the publisher has a hole, and times. */
static void expect_mirror(uint64_t first, bool exactly)
{
    struct copy from = copy_of(a, NULL), to = copy_of(b, a);
    size_t k = 0, extra = 0;
    for (size_t i = 0; i < from.count; i++) {
        const struct copied *want = &from.rows[i];
        if (want->seq < first)
            continue;
        for (; k < to.count && to.rows[k].seq < want->seq; k++)
            extra++;
        cr_assert_lt(k, to.count, "%lu is missing", want->seq);
        const struct copied *have = &to.rows[k++];
        cr_assert_eq(have->seq, want->seq, "%lu where %lu is due", have->seq, want->seq);
        cr_assert(have->ts_ns == want->ts_ns || !exactly, "time of %lu", want->seq);
        cr_assert_eq(have->bytes, want->bytes, "bytes of %lu", want->seq);
    }
    extra += to.count - k;
    if (exactly)
        cr_assert_eq(extra, 0, "%zu events that the publisher does not have", extra);
    free(from.rows);
    free(to.rows);
}

/* ---- where it begins ---- */

Test(sim_follow, takes_all_there_is_and_goes_on)
{
    static const unsigned shards[][2] = {{1, 1}, {2, 1}, {1, 3}, {3, 2}, {2, 4}};
    for (size_t i = 0; i < sizeof shards / sizeof shards[0]; i++) {
        make(10 + i, shards[i][0], shards[i][1]);
        mesh_follow(b, CHANNEL, a);
        mesh_start(a);
        publish(0, 5000);
        mesh_start(b);
        cr_assert(mesh_subscribed(b, CHANNEL, 20 * SIM_S));
        catch_up(20 * SIM_S);
        publish(5000, 3000);
        catch_up(5 * SIM_S);
        cr_expect_eq(heads_of(b, a).written, 8000);
        expect_mirror(0, true);
        cr_expect_eq(MESH_COUNT(b, follows_asked_again), 0);
        if (i + 1 < sizeof shards / sizeof shards[0])
            mesh_deinit(&mesh);
    }
}

Test(sim_follow, waits_for_a_channel_that_is_not_there_yet)
{
    for (unsigned seed = 20; seed < 22; seed++) {
        make(seed, seed & 1 ? 2 : 1, 2);
        mesh_follow(b, CHANNEL, a);
        start();
        cr_assert(mesh_subscribed(b, CHANNEL, 10 * SIM_S));
        sim_run_for(mesh.sim, 30 * SIM_S);
        cr_assert_not(heads_of(a, NULL).exists, "asking makes no log");
        cr_assert_eq(MESH_COUNT(b, follows_asked_again), 0, "positions tell that it is alive");
        publish(0, 100);
        catch_up(2 * SIM_S);
        expect_mirror(0, true);
        if (seed == 20)
            mesh_deinit(&mesh);
    }
}

Test(sim_follow, begins_where_it_is_told)
{
    bool live;
    make(30, 1, 2);
    start();
    publish(0, 1000);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_LATEST, 0, 10 * SIM_S, &live), NET_OK);
    cr_assert_not(live);
    publish(1000, 100);
    catch_up(5 * SIM_S);
    cr_expect_eq(heads_of(b, a).first, 1000);
    expect_mirror(1000, true);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_SEQUENCE, 500, 10 * SIM_S, &live), NET_OK);
    catch_up(5 * SIM_S);
    cr_expect_eq(heads_of(b, a).first, 500, "a new log, from there");
    expect_mirror(500, true);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_EARLIEST, 0, 10 * SIM_S, &live), NET_OK);
    catch_up(5 * SIM_S);
    expect_mirror(0, true);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_DEFAULT, 0, 10 * SIM_S, &live), NET_OK);
    publish(1100, 10);
    catch_up(5 * SIM_S);
    cr_expect_eq(heads_of(b, a).first, 0, "without a start it goes on");
    expect_mirror(0, true);
}

Test(sim_follow, a_start_beyond_the_end_is_waited_for)
{
    bool live;
    make(31, 2, 1);
    start();
    publish(0, 10);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_SEQUENCE, 15, 10 * SIM_S, &live), NET_OK);
    publish(10, 10);
    catch_up(5 * SIM_S);
    cr_expect_eq(heads_of(b, a).first, 15);
    expect_mirror(15, true);
}

/* ---- through everything ---- */

static void make_links_bad(uint32_t loss, uint32_t reorder, uint32_t duplicate, uint64_t delay)
{
    struct sim_link *links[] = {sim_link(mesh.sim, a->host, b->host), sim_link(mesh.sim, b->host, a->host)};
    for (size_t i = 0; i < 2; i++) {
        links[i]->loss = loss;
        links[i]->reorder = reorder;
        links[i]->duplicate = duplicate;
        links[i]->delay = (struct sim_range){delay, delay * 2};
    }
}

Test(sim_follow, loses_nothing_where_the_network_does)
{
    for (unsigned seed = 40; seed < 43; seed++) {
        make(seed, 1 + seed % 2, 1 + seed % 3);
        mesh_follow(b, CHANNEL, a);
        start();
        make_links_bad(50000, 100000, 50000, 2 * SIM_MS);
        publish(0, 20000);
        catch_up(120 * SIM_S);
        expect_mirror(0, true);
        if (seed < 42)
            mesh_deinit(&mesh);
    }
}

Test(sim_follow, goes_on_after_the_follower_was_killed)
{
    for (unsigned seed = 50; seed < 54; seed++) {
        make(seed, 1 + seed % 2, 1 + seed / 2 % 2);
        mesh_follow(b, CHANNEL, a);
        start();
        make_links_bad(10000, 10000, 10000, SIM_MS);
        for (uint64_t life = 0; life < 6; life++) {
            publish(life * 3000, 3000);
            sim_run_for(mesh.sim, sim_random_below(mesh.sim, 100 * SIM_MS));
            if (life & 1)
                mesh_crash(b);
            else
                mesh_kill(b);
            mesh_start(b);
        }
        catch_up(60 * SIM_S);
        expect_mirror(0, true);
        if (seed < 53)
            mesh_deinit(&mesh);
    }
}

Test(sim_follow, goes_on_after_the_publisher_was_killed)
{
    for (unsigned seed = 60; seed < 64; seed++) {
        bool power = seed & 1;
        make(seed, 1 + seed / 2 % 2, 1 + seed % 2);
        mesh_follow(b, CHANNEL, a);
        start();
        make_links_bad(10000, 10000, 10000, SIM_MS);
        for (uint64_t life = 0; life < 6; life++) {
            publish(life * 3000, 3000);
            sim_run_for(mesh.sim, sim_random_below(mesh.sim, 100 * SIM_MS));
            if (power)
                mesh_crash(a);
            else
                mesh_kill(a);
            mesh_start(a);
        }
        publish(18000, 10);
        catch_up(120 * SIM_S);
        expect_mirror(0, !power);
        if (seed < 63)
            mesh_deinit(&mesh);
    }
}

Test(sim_follow, goes_on_after_a_long_outage)
{
    make(70, 2, 2);
    mesh_follow(b, CHANNEL, a);
    start();
    publish(0, 1000);
    catch_up(5 * SIM_S);
    sim_cut(mesh.sim, a->host, b->host, true);
    publish(1000, 1000);
    sim_run_for(mesh.sim, 4 * a->config.session_timeout_ns);
    publish(2000, 1000);
    cr_assert_eq(heads_of(b, a).written, 1000);
    sim_cut(mesh.sim, a->host, b->host, false);
    catch_up(120 * SIM_S);
    expect_mirror(0, true);
}

Test(sim_follow, goes_on_across_handshakes)
{
    make(71, 1, 2);
    a->config.rekey_interval_ns = b->config.rekey_interval_ns = 2 * SIM_S;
    mesh_follow(b, CHANNEL, a);
    start();
    for (uint64_t i = 0; i < 10; i++) {
        publish(i * 500, 500);
        sim_run_for(mesh.sim, SIM_S);
    }
    catch_up(5 * SIM_S);
    expect_mirror(0, true);
    cr_expect_gt(MESH_COUNT(b, sessions_confirmed), 3);
    cr_expect_eq(MESH_COUNT(b, follows_asked_again), 0, "the stream went on");
}

/* ---- what is not there ---- */

Test(sim_follow, is_told_what_retention_gave_up)
{
    make(80, 2, 1);
    a->config.channel.retention_events = 1000;
    mesh_follow(b, CHANNEL, a);
    start();
    publish(0, 500);
    catch_up(5 * SIM_S);
    sim_cut(mesh.sim, a->host, b->host, true);
    publish(500, 9000);
    sim_run_for(mesh.sim, 5 * SIM_S);
    sim_cut(mesh.sim, a->host, b->host, false);
    catch_up(120 * SIM_S);
    uint64_t first = heads_of(a, NULL).first;
    cr_assert_gt(first, 500);
    expect_mirror(first, false);
    cr_expect_eq(MESH_COUNT(b, follow_missing), first - 500);
    struct copy copy = copy_of(b, a);
    cr_assert_gt(copy.count, 500);
    cr_expect_eq(copy.rows[499].seq, 499);
    cr_expect_eq(copy.rows[500].seq, first, "the log shows the hole");
    free(copy.rows);
}

struct note {
    char text[128];
    bool active;
    enum subscription_mode mode;
};

static void on_row(void *ctx, const struct subscription_row *row)
{
    struct note *n = ctx;
    snprintf(n->text, sizeof n->text, "%s", row->note);
    n->active = row->active;
    n->mode = row->mode;
}

static struct note note(void)
{
    struct note n = {0};
    node_each_subscription(b->node, on_row, &n);
    return n;
}

static bool not_refused(void *ctx)
{
    (void)ctx;
    return note().text[0] == '\0';
}

Test(sim_follow, a_log_that_was_made_anew_is_not_mixed_with_the_old_one)
{
    bool live;
    make(90, 2, 2);
    a->config.channel.log = LOG_MEMORY; /* it has another identity after each start */
    mesh_follow(b, CHANNEL, a);
    start();
    publish(0, 1000);
    catch_up(5 * SIM_S);
    mesh_kill(a);
    mesh_start(a);
    publish(5000, 2000);
    cr_assert(sim_run_while(mesh.sim, not_refused, NULL, 60 * SIM_S));
    cr_expect_str_eq(note().text, "the log was made anew");
    cr_expect_eq(MESH_COUNT(b, drop_follow), 0, "the publisher says so, and grants nothing that has to be refused");
    cr_expect_not(note().active);
    sim_run_for(mesh.sim, 30 * SIM_S);
    cr_expect_eq(heads_of(b, a).written, 1000, "nothing of the new log");
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_DEFAULT, 0, 10 * SIM_S, &live), NET_ERR_POLICY);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_EARLIEST, 0, 10 * SIM_S, &live), NET_OK);
    catch_up(10 * SIM_S);
    expect_mirror(0, true);
    cr_expect_eq(note().text[0], '\0');
}

Test(sim_follow, a_channel_without_a_log_comes_live)
{
    bool live = false;
    make(91, 1, 1);
    a->config.channel.log = LOG_NONE;
    start();
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_DEFAULT, 0, 10 * SIM_S, &live), NET_OK);
    cr_assert(live);
    cr_expect_str_eq(note().text, "the channel keeps no log there");
    cr_expect_eq(note().mode, SUBSCRIBE_LIVE);
    publish(0, 200);
    sim_run_for(mesh.sim, SIM_S);
    expect_ascending(b, CHANNEL, a, 200, 199);
    mesh_kill(a);
    a->config.channel.log = LOG_DISK;
    mesh_start(a);
    publish(200, 100);
    sim_run_for(mesh.sim, 60 * SIM_S);
    cr_expect_eq(note().mode, SUBSCRIBE_FOLLOW, "now that it has one");
    expect_mirror(0, true);
}

Test(sim_follow, a_node_that_keeps_no_logs_takes_them_live)
{
    bool live = false;
    make(92, 1, 1);
    b->config.channel.log = LOG_NONE;
    start();
    publish(0, 10);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_DEFAULT, 0, 10 * SIM_S, &live), NET_OK);
    cr_expect(live);
    cr_expect_str_eq(note().text, "this node keeps no log of the channel");
}

/* ---- changing one's mind ---- */

Test(sim_follow, live_events_and_the_log_are_kept_apart)
{
    bool live;
    make(100, 2, 2);
    mesh_subscribe(b, CHANNEL, a);
    start();
    publish(0, 50);
    cr_assert(mesh_subscribed(b, CHANNEL, 10 * SIM_S));
    publish(50, 100);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_DEFAULT, 0, 10 * SIM_S, &live), NET_OK);
    cr_expect_not(live);
    catch_up(5 * SIM_S);
    publish(150, 100);
    catch_up(5 * SIM_S);
    expect_mirror(0, true);
    uint64_t stored = MESH_COUNT(b, rx_events);
    publish(250, 10);
    catch_up(5 * SIM_S);
    cr_expect_eq(MESH_COUNT(b, rx_events), stored + 10, "not live as well");
    cr_assert_eq(mesh_ask_subscribe(b, CHANNEL, a, 10 * SIM_S), NET_OK);
    publish(260, 10);
    sim_run_for(mesh.sim, 2 * SIM_S);
    cr_expect_eq(heads_of(b, a).written, 260, "the followed log stays as it was");
    cr_expect_eq(MESH_COUNT(b, rx_events), stored + 20);
}

Test(sim_follow, ends_when_it_is_no_longer_wanted)
{
    bool live;
    make(101, 2, 1);
    start();
    publish(0, 100);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_DEFAULT, 0, 10 * SIM_S, &live), NET_OK);
        catch_up(5 * SIM_S);
        cr_assert_eq(mesh_ask_unsubscribe(b, CHANNEL, a, 10 * SIM_S), NET_OK);
        sim_run_for(mesh.sim, SIM_S);
        cr_assert_eq(mesh_peer(a, b)->follower_count, 0);
        uint64_t sent = MESH_COUNT(a, tx_events);
        publish(100 * ((uint64_t)i + 1), 100);
        sim_run_for(mesh.sim, 2 * SIM_S);
        cr_assert_eq(MESH_COUNT(a, tx_events), sent);
    }
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_DEFAULT, 0, 10 * SIM_S, &live), NET_OK);
    catch_up(5 * SIM_S);
    expect_mirror(0, true);
}

Test(sim_follow, a_follower_that_is_gone_for_good_costs_a_place)
{
    bool live;
    make(102, 1, 1);
    start();
    publish(0, 100);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_DEFAULT, 0, 10 * SIM_S, &live), NET_OK);
    catch_up(5 * SIM_S);
    mesh_kill(b);
    publish(100, 20000);
    sim_run_for(mesh.sim, 5 * a->config.session_timeout_ns);
    publish(20100, 1000);
    mesh_start(b); /* without its peers.yaml: it wants nothing */
    sim_run_for(mesh.sim, 10 * SIM_S);
    struct peer *p = mesh_peer(a, b);
    cr_assert_not_null(p);
    cr_expect_eq(p->follower_count, 0, "it restarted, and asks for nothing");
}

Test(sim_follow, limits_hold_as_for_subscriptions)
{
    bool live;
    make(103, 2, 2);
    a->config.max_channels_per_peer = 2;
    start();
    cr_assert_eq(mesh_ask_follow(b, "x", a, START_DEFAULT, 0, 20 * SIM_S, &live), NET_OK);
    cr_assert_eq(mesh_ask_follow(b, "y", a, START_DEFAULT, 0, 20 * SIM_S, &live), NET_OK);
    cr_assert_eq(mesh_ask_follow(b, "z", a, START_DEFAULT, 0, 20 * SIM_S, &live), NET_ERR_POLICY);
    cr_assert_eq(mesh_ask_unsubscribe(b, "x", a, 20 * SIM_S), NET_OK);
    cr_assert_eq(mesh_ask_follow(b, "z", a, START_DEFAULT, 0, 60 * SIM_S, &live), NET_OK);
}

Test(sim_follow, live_and_followed_channels_share_one_limit)
{
    bool live;
    make(104, 1, 2); /* each owner of channels counts by itself */
    a->config.max_channels_per_peer = 2;
    start();
    cr_assert_eq(mesh_ask_subscribe(b, "x", a, 20 * SIM_S), NET_OK);
    cr_assert_eq(mesh_ask_subscribe(b, "y", a, 20 * SIM_S), NET_OK);
    cr_assert_eq(mesh_ask_follow(b, "z", a, START_DEFAULT, 0, 20 * SIM_S, &live), NET_ERR_POLICY);
    cr_assert_eq(mesh_ask_follow(b, "y", a, START_DEFAULT, 0, 20 * SIM_S, &live), NET_OK, "in the place it has");
}

/* ---- many at once ---- */

static void expect_numbers(struct log *log, uint32_t tag, uint64_t count)
{
    struct log_heads heads;
    log_heads(log, &heads);
    cr_assert_eq(heads.written, count);
    for (uint64_t next = 0, number = 0; next < count;) {
        struct redex_event events[64];
        size_t n = log_read(log, &next, count, events, 64);
        for (size_t i = 0; i < n; i++, number++) {
            uint8_t expected[256];
            cr_assert_eq(events[i].seq, number);
            cr_assert_eq(mesh_event(tag, number, expected), events[i].data.len);
            cr_assert_arr_eq(events[i].data.data, expected, events[i].data.len);
        }
    }
}

Test(sim_follow, everybody_follows_everybody)
{
    enum { NODES = 4 };
    static const char *const names[] = {"w/0", "w/1", "w/2"};
    mesh_init(&mesh, 110);
    for (unsigned i = 0; i < NODES; i++)
        mesh_add(&mesh, 1 + i % 3);
    for (unsigned i = 0; i < NODES; i++)
        for (unsigned k = 0; k < NODES; k++) {
            if (i == k)
                continue;
            mesh_know(&mesh.nodes[i], &mesh.nodes[k]);
            for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
                mesh_follow(&mesh.nodes[i], names[n], &mesh.nodes[k]);
        }
    for (unsigned i = 0; i < NODES; i++)
        mesh_start(&mesh.nodes[i]);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
    for (uint64_t round = 0; round < 4; round++)
        for (unsigned i = 0; i < NODES; i++)
            for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
                expect_published(&mesh.nodes[i], names[n], i, round * 500, 500, false);
    sim_run_for(mesh.sim, 10 * SIM_S);
    for (unsigned i = 0; i < NODES; i++)
        for (unsigned k = 0; k < NODES; k++)
            for (size_t n = 0; i != k && n < sizeof names / sizeof names[0]; n++) {
                struct log *log = log_held_of(&mesh.nodes[i], names[n], &mesh.nodes[k]);
                cr_assert_not_null(log);
                expect_numbers(log, k, 2000);
            }
}

/* ---- events of every size ---- */

static void on_writable(struct publisher *p)
{
    (void)p;
}

struct put {
    struct publisher publisher;
    bool done;
};

static void on_put_done(struct publisher *p, int err)
{
    cr_assert_eq(err, NET_OK, "%s", net_err_name(err));
    container_of(p, struct put, publisher)->done = true;
}

static bool putting(void *ctx)
{
    return !((struct put *)ctx)->done;
}

/* One event of each size, which all are in the log afterwards. */
static void publish_sizes(const uint32_t *sizes, size_t count)
{
    struct put p = {.publisher = {.writable = on_writable, .done = on_put_done}};
    struct channel_name name;
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &name), CHANNEL_NAME_OK);
    cr_assert_eq(node_publish_open(a->node, &p.publisher, &name, false), NET_OK);
    for (size_t i = 0; i < count; i++) {
        uint8_t *frame = calloc(1, 4 + (size_t)sizes[i]);
        store_le32(frame, sizes[i]);
        for (uint32_t k = 0; k < sizes[i]; k++)
            frame[4 + k] = (uint8_t)(k * 31 + (k >> 8) + i);
        size_t len = 4 + (size_t)sizes[i];
        bool large = len > 60000;
        int err = NET_ERR_AGAIN;
        for (; err == NET_ERR_AGAIN; sim_run_for(mesh.sim, SIM_MS))
            err = large ? node_publish_give(a->node, &p.publisher, frame, len)
                        : node_publish_put(a->node, &p.publisher, (struct cspan){frame, len}, 1);
        cr_assert_eq(err, NET_OK, "%u bytes: %s", sizes[i], net_err_name(err));
        if (!large)
            free(frame);
    }
    node_publish_finish(a->node, &p.publisher);
    sim_host_poke(a->host, 0);
    cr_assert(sim_run_while(mesh.sim, putting, &p, 60 * SIM_S));
}

Test(sim_follow, events_of_every_size)
{
    static const uint32_t sizes[] = {0,    1,     1300, 1340,  1344,   1345,   1350,   1360, 1388,
                                     1392, 8000,  8060, 8076,  8080,   8104,   8108,   8109, 9000,
                                     0,    60000, 1,    65536, 262144, 262145, 700000, 3,    1 << 19};
    static const unsigned shards[][2] = {{1, 1}, {2, 2}, {3, 4}};
    for (size_t i = 0; i < 3; i++) {
        make(120 + i, shards[i][0], shards[i][1]);
        mesh_follow(b, CHANNEL, a);
        start();
        make_links_bad(i == 2 ? 20000 : 0, i == 2 ? 20000 : 0, 0, SIM_MS);
        publish_sizes(sizes, sizeof sizes / sizeof sizes[0]);
        catch_up(60 * SIM_S);
        expect_mirror(0, true);
        if (i < 2)
            mesh_deinit(&mesh);
    }
}

static uint64_t bytes_at(struct log *log, uint64_t *seq)
{
    struct redex_event e;
    return log_read(log, seq, UINT64_MAX, &e, 1) ? e.data.len : UINT64_MAX;
}

/* Large events that go in fragments, read from another shard, while retention gives up what is on its way: no part of
 * one, and no record in its place, may be taken for the event. */
Test(sim_follow, an_event_that_is_given_up_on_its_way)
{
    enum { LEN = 400000, EVENTS = 40, ROUNDS = 12 };
    uint32_t sizes[EVENTS];
    for (size_t i = 0; i < EVENTS; i++)
        sizes[i] = LEN;
    make(130, 2, 1);
    mesh_know(a, mesh_add(&mesh, 1)); /* takes the shard of the log: the follower gets the other */
    a->config.channel.retention_events = 1;
    b->config.follow_window = 256 << 10;
    mesh_follow(b, CHANNEL, a);
    mesh_start(a);
    mesh_start(b);
    cr_assert(mesh_subscribed(b, CHANNEL, 20 * SIM_S));
    cr_assert_neq(mesh_peer(a, b)->shard->index, channel_hash(CHANNEL, strlen(CHANNEL)) % a->config.shards);
    make_links_bad(0, 0, 0, 4 * SIM_MS);
    for (int i = 0; i < ROUNDS; i++)
        publish_sizes(sizes, EVENTS);
    catch_up(120 * SIM_S);
    uint64_t held = 0;
    struct log *log = log_held(b, a);
    for (uint64_t seq = 0; seq < heads_of(b, a).written; held++) {
        uint64_t len = bytes_at(log, &seq);
        cr_assert_eq(len, LEN, "the event before %lu has %lu bytes", seq, len);
    }
    cr_expect_gt(held, 0);
    cr_expect_gt(MESH_COUNT(b, follow_missing), 0);
}

/* ---- the start that was asked for ---- */

Test(sim_follow, the_latest_of_nothing_is_all_that_comes)
{
    bool live;
    make(140, 2, 1);
    start();
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_LATEST, 0, 10 * SIM_S, &live), NET_OK);
    sim_cut(mesh.sim, a->host, b->host, true);
    publish(0, 100); /* after the follow was agreed */
    sim_run_for(mesh.sim, 4 * a->config.session_timeout_ns);
    sim_cut(mesh.sim, a->host, b->host, false);
    sim_run_for(mesh.sim, 20 * SIM_S);
    publish(100, 100);
    catch_up(120 * SIM_S);
    expect_mirror(0, true);
}

Test(sim_follow, a_start_stands_until_there_is_a_log_for_it)
{
    bool live;
    struct sim_fault no_space = {.kinds = 1U << IO_OPEN, .suffix = "log.id~", .error = ENOSPC, .times = UINT32_MAX};
    make(141, 2, 2);
    start();
    publish(0, 1000);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_SEQUENCE, 500, 10 * SIM_S, &live), NET_OK);
    catch_up(5 * SIM_S);
    expect_mirror(500, true);
    sim_disk_fault(b->host, &no_space);
    (void)mesh_ask_follow(b, CHANNEL, a, START_EARLIEST, 0, 10 * SIM_S, &live);
    sim_run_for(mesh.sim, 10 * SIM_S);
    cr_expect_eq(heads_of(b, a).first, 500);
    sim_disk_clear_faults(b->host);
    sim_run_for(mesh.sim, 60 * SIM_S);
    catch_up(60 * SIM_S);
    cr_expect_eq(heads_of(b, a).first, 0);
    expect_mirror(0, true);
}

/* The follower dies, by a kill or a power cut, and starts with what its peers.yaml says. */
static void restart_by_its_file(bool crash)
{
    struct peers_file f;
    struct config_error error;
    if (crash)
        mesh_crash(b);
    else
        mesh_kill(b);
    struct cspan text = sim_disk_get(b->host, "/node/peers.yaml");
    cr_assert_eq(peers_file_parse((const char *)text.data, text.len, "peers.yaml", &f, &error), NET_OK, "%s",
                 error.text);
    cr_assert_eq(f.subscription_count, 1);
    free(b->subscriptions);
    free(f.peers);
    b->subscriptions = f.subscriptions;
    b->subscription_count = b->subscription_room = f.subscription_count;
    mesh_start(b);
}

/* What comes after the answer comes, though the log begins later than the follower's next life. */
Test(sim_follow, the_latest_of_nothing_is_all_that_comes_after_a_restart)
{
    for (uint64_t seed = 142; seed < 152; seed++) {
        bool live;
        make(seed, 1, 1 + seed % 2);
        start();
        cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_LATEST, 0, 10 * SIM_S, &live), NET_OK);
        if (seed % 3)
            sim_cut(mesh.sim, a->host, b->host, true);
        publish(0, 100);
        restart_by_its_file(seed % 2);
        cr_expect_eq(b->subscriptions[0].start, START_EARLIEST);
        sim_cut(mesh.sim, a->host, b->host, false);
        publish(100, 100);
        cr_assert(mesh_settle(&mesh, 60 * SIM_S));
        catch_up(60 * SIM_S);
        expect_mirror(0, true);
        if (seed < 151)
            mesh_deinit(&mesh);
    }
}

/* The place that "latest" was holds as soon as it was answered. */
Test(sim_follow, the_latest_is_a_place_in_the_log_after_a_restart)
{
    for (uint64_t seed = 152; seed < 162; seed++) {
        bool live;
        make(seed, 1 + seed % 2, 2);
        start();
        publish(0, 50);
        cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_LATEST, 0, 10 * SIM_S, &live), NET_OK);
        sim_cut(mesh.sim, a->host, b->host, true);
        publish(50, 50);
        restart_by_its_file(seed % 3);
        sim_cut(mesh.sim, a->host, b->host, false);
        cr_assert(mesh_settle(&mesh, 60 * SIM_S));
        catch_up(60 * SIM_S);
        cr_expect_eq(heads_of(b, a).first, 50, "seed %lu: %lu", seed, heads_of(b, a).first);
        expect_mirror(50, true);
        if (seed < 161)
            mesh_deinit(&mesh);
    }
}

/* Nor does a disk that fails at that moment bring the start back in the next life: it is written again. */
Test(sim_follow, a_start_that_was_answered_is_written_again_where_that_failed)
{
    static const struct sim_fault fault = {
        .kinds = 1U << IO_FSYNC, .suffix = "peers.yaml.tmp", .error = EIO, .after = 1, .times = 2};
    bool live;
    make(163, 1, 1);
    start();
    publish(0, 50);
    sim_disk_fault(b->host, &fault); /* lets the wish through */
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_LATEST, 0, 10 * SIM_S, &live), NET_OK);
    publish(50, 50);
    catch_up(5 * SIM_S);
    sim_run_for(mesh.sim, 6 * SIM_S);
    sim_cut(mesh.sim, a->host, b->host, true);
    publish(100, 50);
    restart_by_its_file(true);
    cr_expect_not(b->subscriptions[0].anew);
    sim_cut(mesh.sim, a->host, b->host, false);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    catch_up(60 * SIM_S);
    cr_expect_eq(heads_of(b, a).first, 50);
    expect_mirror(50, true);
}

/* Asked for while the publisher is away, beside a log of an earlier follow; done once, it is not done again. */
Test(sim_follow, a_start_stands_through_a_restart_until_it_was_answered)
{
    bool live;
    make(162, 1, 2);
    start();
    publish(0, 100);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_SEQUENCE, 60, 10 * SIM_S, &live), NET_OK);
    catch_up(5 * SIM_S);
    sim_cut(mesh.sim, a->host, b->host, true);
    sim_run_for(mesh.sim, 2 * b->config.session_timeout_ns);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_EARLIEST, 0, 10 * SIM_S, &live), NET_ERR_UNREACHABLE);
    restart_by_its_file(true);
    cr_expect(b->subscriptions[0].anew);
    sim_cut(mesh.sim, a->host, b->host, false);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    sim_run_for(mesh.sim, 10 * SIM_S);
    cr_expect_eq(heads_of(b, a).first, 0);
    expect_mirror(0, true);
    const struct log *begun = log_held(b, a);
    uint32_t edition = begun->key.edition;
    restart_by_its_file(false);
    cr_expect_not(b->subscriptions[0].anew);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    publish(100, 10);
    catch_up(60 * SIM_S);
    cr_expect_eq(log_held(b, a)->key.edition, edition);
    expect_mirror(0, true);
}

/* It left while its publisher was away, whom the home has still to tell: the next one is not the same again. */
Test(sim_follow, what_is_asked_for_after_leaving_is_another_wish)
{
    bool live;
    make(164, 1, 2);
    start();
    publish(0, 100);
    cr_assert_eq(mesh_ask_subscribe(b, CHANNEL, a, 10 * SIM_S), NET_OK);
    sim_cut(mesh.sim, a->host, b->host, true);
    sim_run_for(mesh.sim, 2 * b->config.session_timeout_ns);
    cr_assert_eq(mesh_ask_unsubscribe(b, CHANNEL, a, 10 * SIM_S), NET_OK);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_EARLIEST, 0, 10 * SIM_S, &live), NET_ERR_UNREACHABLE);
    sim_cut(mesh.sim, a->host, b->host, false);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    sim_run_for(mesh.sim, 10 * SIM_S);
    cr_expect_eq(note().mode, SUBSCRIBE_FOLLOW);
    cr_expect_eq(heads_of(b, a).first, 0);
    expect_mirror(0, true);
}

static struct msg_subscribed late; /* about the wish before */

static void answer_late(void *ctx, const struct sim_disk_event *e)
{
    (void)ctx;
    if (e->after && e->kind == IO_FSYNC)
        contacts_on_subscribed(node_shard(b->node, 0), &late);
}

/* The peer acknowledges what was wanted before, while what is wanted now is being saved. */
Test(sim_follow, an_answer_to_an_earlier_wish_is_none)
{
    bool live = true;
    make(165, 1, 2);
    start();
    publish(0, 100);
    cr_assert_eq(mesh_ask_subscribe(b, CHANNEL, a, 10 * SIM_S), NET_OK);
    struct contact *c = contact_find(node_shard(b->node, 0)->contacts, a->node_id);
    const struct wanted *w = container_of(list_first(&c->wanted), struct wanted, in_contact);
    late = (struct msg_subscribed){
        .node_id = a->node_id, .hash = w->hash, .subscribe = true, .live = true, .note = "", .number = w->number};
    sim_disk_on_op(b->host, answer_late, NULL);
    cr_assert_eq(mesh_ask_follow(b, CHANNEL, a, START_DEFAULT, 0, 10 * SIM_S, &live), NET_OK);
    sim_disk_on_op(b->host, NULL, NULL);
    cr_expect_not(live);
    catch_up(10 * SIM_S);
    cr_expect_eq(note().mode, SUBSCRIBE_FOLLOW);
    expect_mirror(0, true);
}

Test(sim_follow, waits_for_a_way_to_ask_with_one_stream)
{
    struct stream *control;
    make(142, 1, 1);
    mesh_know(a, b);
    start();
    publish(0, 1000);
    struct peer *p = mesh_peer(b, a);
    cr_assert_eq(stream_open(p, SUBPROTO_FOLLOW, STREAM_RELIABLE, 0, 1, &control), NET_OK);
    control->tx.remaining = 0;
    struct subscribe_ask ask = {.peer = a->node_id, .mode = SUBSCRIBE_FOLLOW};
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &ask.channel), CHANNEL_NAME_OK);
    membership_on_want(p->shard, true, &(struct msg_want){.ask = ask});
    for (int i = 0; i < 100; i++) {
        sim_run_for(mesh.sim, 20 * SIM_MS);
        control->tx.remaining = 0;
    }
    cr_expect_leq(p->streams.count, 4, "%zu streams", (size_t)p->streams.count);
    control->tx.remaining = 10000;
    catch_up(10 * SIM_S);
    expect_mirror(0, true);
}

/* A publisher that grants what it was not asked for: no log of ours begins, however often it does that. */
Test(sim_follow, only_what_was_asked_for_is_granted)
{
    make(143, 1, 1);
    mesh_follow(b, CHANNEL, a);
    start();
    publish(0, 1000);
    catch_up(5 * SIM_S);
    struct peer *p = mesh_peer(b, a);
    struct subscription *sub = container_of(list_first(&p->subscriptions), struct subscription, in_peer);
    struct follow_message grant = {.type = FOLLOW_ANSWER, .status = FOLLOW_GRANTED, .sequence = 1000, .next = 1000};
    for (int i = 0; i < 2; i++) {
        following_begin(p, sub);
        sim_host_poke(b->host, 0);
        sim_run_for(mesh.sim, 5 * SIM_MS);
        sub->following.begun = false; /* as before the answer */
        grant.number = sub->following.number;
        grant.sequence = i ? 500 : sub->following.next;
        memcpy(grant.log_id, sub->following.log_id, LOG_ID);
        grant.log_id[0] ^= (uint8_t)!i;
        uint64_t before = MESH_COUNT(b, drop_follow);
        cr_assert(sub->following.sent);
        following_on_answer(p, &grant);
        cr_expect_eq(MESH_COUNT(b, drop_follow), before + 1);
        cr_expect_eq(sub->state, SUBSCRIPTION_REFUSED);
    }
    publish(1000, 1000);
    catch_up(60 * SIM_S);
    expect_mirror(0, true);
    cr_expect_eq(log_held(b, a)->key.edition, 1);
}
