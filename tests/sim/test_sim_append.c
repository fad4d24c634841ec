/* Acknowledged append between whole nodes (extensions.md X8): through loss, kills and power cuts of either side, with
 * retries until there is an answer, a log holds every event once, in the order of the producer's sequences. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/channel/append.h"
#include "shards/logs/log.h"
#include "shards/peers/peer.h"
#include "tests/support/mesh_expect.h"

static const char CHANNEL[] = "orders/new";
enum { TAG = 7, PIPE = 6 };

static struct mesh mesh;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_append, .fini = end, .timeout = 280);

static void pair(uint64_t seed, unsigned shards_a, unsigned shards_b, struct mesh_node **a, struct mesh_node **b)
{
    mesh_init(&mesh, seed);
    *a = mesh_add(&mesh, shards_a);
    *b = mesh_add(&mesh, shards_b);
    mesh_know(*a, *b);
    mesh_know(*b, *a);
}

static void start_pair(struct mesh_node *a, struct mesh_node *b)
{
    mesh_start(a);
    mesh_start(b);
    cr_assert(mesh_settle(&mesh, 30 * SIM_S));
}

/* ---- one append, as a program with a file of its own would make it ---- */

struct attempt {
    struct publisher publisher; /* first */
    struct mesh_node *node;
    unsigned life; /* the node's, when it was asked */
    bool open, done;
    int err;
    uint64_t sequence, number;
    uint32_t count;
};

static const uint8_t PRODUCER[16] = {1, 2, 3, 4};

static void on_done(struct publisher *p, int err)
{
    struct attempt *a = (struct attempt *)p;
    a->done = true;
    a->open = false;
    a->err = err;
}

static void on_writable(struct publisher *p)
{
    (void)p;
}

static size_t make_frames(uint64_t number, uint32_t count, uint8_t *out)
{
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t n = mesh_event(TAG, number + i, out + len + 4);
        store_le32(out + len, (uint32_t)n);
        len += 4 + n;
    }
    return len;
}

/* Events `number` to number + count - 1 as the producer's append `sequence`. False: refused at once, with a->err. */
static bool ask(struct attempt *a, struct mesh_node *from, const struct mesh_node *to, uint64_t sequence,
                uint64_t number, uint32_t count, bool durable)
{
    static uint8_t frames[32 * 260];
    struct channel_name channel;
    *a = (struct attempt){.publisher = {.writable = on_writable, .done = on_done},
                          .node = from,
                          .life = from->lives,
                          .sequence = sequence,
                          .number = number,
                          .count = count};
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &channel), CHANNEL_NAME_OK);
    sim_host_poke(from->host, 0);
    a->err = node_publish_open_to(from->node, &a->publisher, &channel, durable, to->node_id, PRODUCER, sequence);
    if (a->err)
        return false;
    a->open = true;
    size_t len = make_frames(number, count, frames);
    a->err = node_publish_put(from->node, &a->publisher, (struct cspan){frames, len}, count);
    if (a->err) {
        node_publish_cancel(from->node, &a->publisher);
        a->open = false;
        return false;
    }
    node_publish_finish(from->node, &a->publisher);
    return true;
}

static bool not_done(void *ctx)
{
    const struct attempt *a = ctx;
    return !a->done;
}

/* Runs until there is an answer; net_err. */
static int append(struct attempt *a, struct mesh_node *from, const struct mesh_node *to, uint64_t sequence,
                  uint64_t number, uint32_t count, bool durable)
{
    if (!ask(a, from, to, sequence, number, count, durable))
        return a->err;
    cr_assert(sim_run_while(mesh.sim, not_done, a, 60 * SIM_S));
    return a->err;
}

/* The log at `to` holds events 0 .. count - 1, each once, in order. */
static void check_log(struct mesh_node *to, uint64_t count)
{
    struct mesh_log log = mesh_read(to, CHANNEL, NULL, 10 * SIM_S);
    cr_assert(count == 0 || log.err == NET_OK, "%s", net_err_name(log.err));
    for (size_t i = 0; i < log.count; i++) {
        cr_assert_eq(log.entries[i].tag, TAG);
        cr_assert_eq(log.entries[i].number, i, "event %zu is number %llu", i,
                     (unsigned long long)log.entries[i].number);
    }
    cr_assert_eq(log.count, count);
    mesh_log_free(&log);
}

Test(sim_append, is_answered_with_the_sequences_at_the_peer_whatever_the_number_of_shards)
{
    for (unsigned shards = 1; shards <= 4; shards++) {
        struct mesh_node *a, *b;
        struct attempt t;
        if (shards > 1)
            mesh_deinit(&mesh);
        pair(shards, shards, 5 - shards, &a, &b);
        start_pair(a, b);
        uint64_t number = 0;
        for (uint64_t sequence = 0; sequence < 20; sequence++) {
            uint32_t count = 1 + (uint32_t)(sequence % 5);
            cr_assert_eq(append(&t, a, b, sequence, number, count, sequence % 2 == 0), NET_OK);
            cr_assert_eq(t.publisher.events, count);
            cr_assert_eq(t.publisher.first_seq, number);
            cr_assert_eq(t.publisher.last_seq, number + count - 1);
            number += count;
        }
        check_log(b, number);
        cr_assert_eq(MESH_COUNT(b, appends_received), 20);
        cr_assert(mesh_stop(a, 10 * SIM_S));
        cr_assert(mesh_stop(b, 10 * SIM_S));
    }
}

Test(sim_append, goes_both_ways_at_once)
{
    struct mesh_node *a, *b;
    struct attempt t[2];
    pair(1, 2, 2, &a, &b);
    start_pair(a, b);
    cr_assert(ask(&t[0], a, b, 0, 0, 3, true));
    cr_assert(ask(&t[1], b, a, 0, 0, 3, true));
    cr_assert(sim_run_while(mesh.sim, not_done, &t[0], 10 * SIM_S));
    cr_assert(sim_run_while(mesh.sim, not_done, &t[1], 10 * SIM_S));
    cr_assert(t[0].err == NET_OK && t[1].err == NET_OK);
    check_log(a, 3);
    check_log(b, 3);
}

Test(sim_append, the_same_again_gets_the_first_answer)
{
    struct mesh_node *a, *b;
    struct attempt t;
    pair(2, 2, 2, &a, &b);
    start_pair(a, b);
    cr_assert_eq(append(&t, a, b, 0, 0, 3, false), NET_OK);
    cr_assert_eq(append(&t, a, b, 1, 3, 2, true), NET_OK);
    for (int life = 0; life < 4; life++) {
        cr_assert_eq(append(&t, a, b, 0, 0, 3, life % 2 == 0), NET_OK);
        cr_assert(t.publisher.first_seq == 0 && t.publisher.events == 3);
        cr_assert_eq(append(&t, a, b, 1, 3, 2, false), NET_OK);
        cr_assert(t.publisher.first_seq == 3 && t.publisher.events == 2);
        check_log(b, 5);
        cr_assert_eq(MESH_COUNT(b, appends_repeated), 2);
        if (life == 0)
            mesh_kill(b);
        else if (life == 1)
            mesh_crash(b);
        else
            cr_assert(mesh_stop(b, 10 * SIM_S));
        mesh_start(b);
        cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    }
}

Test(sim_append, is_refused_with_a_reason)
{
    struct mesh_node *a, *b;
    struct attempt t;
    pair(3, 2, 2, &a, &b);
    b->config.max_producers = 1;
    start_pair(a, b);
    cr_assert_eq(append(&t, a, b, 5, 0, 1, false), NET_ERR_REPLAY, "nobody knows this producer");
    cr_assert_eq(append(&t, a, b, 0, 0, 2, false), NET_OK);
    cr_assert_eq(append(&t, a, b, 2, 2, 1, false), NET_ERR_STATE, "1 is missing");
    cr_assert_eq(append(&t, a, b, 0, 7, 2, false), NET_ERR_EXISTS, "0 had other events");
    for (uint64_t sequence = 1; sequence <= 64; sequence++)
        cr_assert_eq(append(&t, a, b, sequence, sequence + 1, 1, false), NET_OK);
    cr_assert_eq(append(&t, a, b, 0, 0, 2, false), NET_ERR_REPLAY, "the last 64 are remembered");
    cr_assert_eq(append(&t, a, b, 1, 2, 1, false), NET_OK);
    check_log(b, 66);
    cr_assert_eq(MESH_COUNT(b, appends_refused), 4);
    mesh_kill(b);
    sim_run_for(mesh.sim, 60 * SIM_S);
    cr_assert_eq(append(&t, a, b, 65, 66, 1, false), NET_ERR_UNREACHABLE);
}

Test(sim_append, is_refused_where_the_configuration_says_so)
{
    struct mesh_node *a, *b;
    struct attempt t;
    pair(4, 1, 2, &a, &b);
    b->config.channel.append = false;
    start_pair(a, b);
    cr_assert_eq(append(&t, a, b, 0, 0, 1, false), NET_ERR_POLICY);
    cr_assert_eq(append(&t, b, a, 0, 0, 1, false), NET_OK);
    check_log(a, 1);
}

Test(sim_append, nothing_makes_a_producer_known)
{
    struct mesh_node *a, *b;
    struct attempt t;
    static const enum config_log kinds[] = {LOG_DISK, LOG_MEMORY, LOG_NONE};
    for (size_t i = 0; i < 3; i++) {
        if (i)
            mesh_deinit(&mesh);
        pair(10 + i, 2, 2, &a, &b);
        b->config.channel.log = kinds[i];
        start_pair(a, b);
        cr_assert_eq(append(&t, a, b, 0, 0, 0, true), NET_OK);
        cr_assert_eq(t.publisher.events, 0);
        cr_assert_eq(append(&t, a, b, 1, 0, 4, true), NET_OK);
        cr_assert_eq(append(&t, a, b, 1, 0, 4, false), NET_OK);
        cr_assert_eq(t.publisher.first_seq, 0);
        cr_assert_eq(append(&t, a, b, 2, 4, 1, false), NET_OK);
        cr_assert_eq(t.publisher.first_seq, 4);
        if (kinds[i] != LOG_NONE)
            check_log(b, 5);
        cr_assert(mesh_stop(b, 10 * SIM_S));
    }
}

/* A reliable packet with one event on the stream of a subprotocol, from b to a. */
static void give(struct mesh_node *b, struct mesh_node *a, uint16_t subprotocol, uint64_t sequence, struct cspan event)
{
    uint8_t frame[512];
    struct wire_header h = {.flags = WIRE_RELIABLE,
                            .subprotocol = subprotocol,
                            .stream_id = subprotocol,
                            .sequence = sequence,
                            .event_count = 1};
    store_le32(frame, (uint32_t)event.len);
    memcpy(frame + 4, event.data, event.len);
    cr_assert(mesh_send_sealed(b, a, h, (struct cspan){frame, 4 + event.len}));
    sim_run_for(mesh.sim, 100 * SIM_MS);
}

Test(sim_append, what_is_malformed_is_counted_and_costs_nothing_else)
{
    struct mesh_node *a, *b;
    uint8_t bytes[200];
    pair(5, 2, 2, &a, &b);
    start_pair(a, b);
    struct append request = {.count = 1, .frames = {bytes, 4}};
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &request.channel), CHANNEL_NAME_OK);
    memset(bytes, 0, sizeof bytes);
    uint8_t good[200];
    int len = append_encode(&request, good, sizeof good);
    give(b, a, SUBPROTO_APPEND, 0, (struct cspan){good, (size_t)len - 1});
    cr_assert_eq(MESH_COUNT(a, drop_append), 1);
    give(b, a, SUBPROTO_APPEND, 1, (struct cspan){good, (size_t)len});
    cr_assert(MESH_COUNT(a, drop_append) == 1 && MESH_COUNT(a, published_events) == 1);
    give(b, a, SUBPROTO_APPEND_ANSWER, 0, (struct cspan){bytes, APPEND_ANSWER_SIZE - 1});
    cr_assert_eq(MESH_COUNT(a, drop_append_answer), 1);
    give(b, a, SUBPROTO_APPEND_ANSWER, 1, (struct cspan){bytes, APPEND_ANSWER_SIZE});
    cr_assert_eq(MESH_COUNT(a, append_answers_late), 1, "nobody asked");
    cr_assert_eq(MESH_COUNT(b, append_answers_late), 1, "nor did b's node");
}

/* A publisher without an id of its own: many events, cut into appends that are under way together. */
Test(sim_append, many_events_keep_their_order_through_loss_and_a_restart_of_the_peer)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct mesh_node *a, *b;
        static uint8_t frames[60000];
        struct channel_name channel;
        struct attempt t = {.publisher = {.writable = on_writable, .done = on_done}};
        if (seed > 1)
            mesh_deinit(&mesh);
        pair(100 + seed, 1 + (unsigned)(seed % 3), 1 + (unsigned)(seed % 2), &a, &b);
        for (int i = 0; i < 2; i++) {
            struct sim_link *l = sim_link(mesh.sim, i ? a->host : b->host, i ? b->host : a->host);
            l->loss = l->duplicate = l->reorder = 50000;
            l->delay = (struct sim_range){SIM_MS, 20 * SIM_MS};
        }
        start_pair(a, b);
        cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &channel), CHANNEL_NAME_OK);
        sim_host_poke(a->host, 0);
        cr_assert_eq(node_publish_open_to(a->node, &t.publisher, &channel, true, b->node_id, NULL, 0), NET_OK);
        uint64_t number = 0;
        while (number < 3000) {
            size_t len = make_frames(number, 200, frames);
            sim_host_poke(a->host, 0);
            int err = node_publish_put(a->node, &t.publisher, (struct cspan){frames, len}, 200);
            cr_assert(err == NET_OK || err == NET_ERR_AGAIN);
            number += err == NET_OK ? 200 : 0;
            sim_run_for(mesh.sim, 5 * SIM_MS);
            if (number == 1600 && err == NET_OK) {
                if (seed % 2)
                    mesh_kill(b);
                else
                    mesh_crash(b);
                mesh_start(b);
            }
        }
        node_publish_finish(a->node, &t.publisher);
        cr_assert(sim_run_while(mesh.sim, not_done, &t, 120 * SIM_S));
        cr_assert_eq(t.err, NET_OK, "%s", net_err_name(t.err));
        cr_assert_eq(t.publisher.events, 3000);
        check_log(b, 3000);
    }
}

/* ---- torture ---- */

/* What a producer keeps: appends that have no answer yet, and the next sequence and event. */
struct client {
    struct attempt pipe[PIPE];
    uint64_t oldest, next; /* sequences: [oldest, next) are in pipe[sequence % PIPE] */
    uint64_t number;
    uint64_t answered; /* events */
    bool durable;
};

static bool may_fail(int err)
{
    return err == NET_ERR_UNREACHABLE || err == NET_ERR_TIMEOUT || err == NET_ERR_AGAIN || err == NET_ERR_STATE ||
           err == NET_ERR_CLOSED;
}

/* Asks again, in order, what has no answer; the first that was refused for good fails the test. */
static void drive(struct client *c, struct mesh_node *from, const struct mesh_node *to)
{
    if (!from->node)
        return;
    while (c->oldest < c->next && c->pipe[c->oldest % PIPE].done && c->pipe[c->oldest % PIPE].err == NET_OK) {
        c->answered += c->pipe[c->oldest % PIPE].count;
        c->oldest++;
    }
    for (uint64_t sequence = c->oldest; sequence < c->next; sequence++) {
        struct attempt *a = &c->pipe[sequence % PIPE];
        bool gone = a->open && a->life != from->lives;
        if (a->open && !gone)
            continue;
        if (a->done && a->err == NET_OK)
            continue;
        cr_assert(!a->done || may_fail(a->err), "append %llu: %s", (unsigned long long)sequence, net_err_name(a->err));
        if (!ask(a, from, to, sequence, a->number, a->count, c->durable)) {
            cr_assert(may_fail(a->err), "%s", net_err_name(a->err));
            return;
        }
    }
}

static void add(struct client *c, struct mesh_node *from, const struct mesh_node *to)
{
    if (c->next - c->oldest == PIPE || !from->node)
        return;
    struct attempt *a = &c->pipe[c->next % PIPE];
    uint32_t count = 1 + (uint32_t)sim_random_below(mesh.sim, 12);
    if (!ask(a, from, to, c->next, c->number, count, c->durable))
        cr_assert(may_fail(a->err), "%s", net_err_name(a->err));
    c->next++;
    c->number += count;
}

static void take_down(struct mesh_node *m, bool power)
{
    if (power)
        mesh_crash(m);
    else
        mesh_kill(m);
}

static void torture(uint64_t seed, bool durable)
{
    struct mesh_node *a, *b;
    struct client c = {.durable = durable};
    pair(seed, 1 + (unsigned)(seed % 3), 1 + (unsigned)(seed / 3 % 3), &a, &b);
    a->config.publish_timeout_ns = 2 * SIM_S;
    for (int i = 0; i < 2; i++) {
        struct sim_link *l = sim_link(mesh.sim, i ? a->host : b->host, i ? b->host : a->host);
        l->loss = l->duplicate = l->reorder = (uint32_t)sim_random_below(mesh.sim, 100000);
        l->delay = (struct sim_range){50 * SIM_US, 50 * SIM_US + sim_random_below(mesh.sim, 10 * SIM_MS)};
    }
    start_pair(a, b);
    for (int step = 0; step < 60; step++) {
        for (uint64_t n = sim_random_below(mesh.sim, 4); n > 0; n--)
            add(&c, a, b);
        sim_run_for(mesh.sim, sim_random_below(mesh.sim, 60) * SIM_MS);
        uint64_t fate = sim_random_below(mesh.sim, 20);
        if (fate < 3) {
            take_down(b, durable && fate == 0);
            sim_run_for(mesh.sim, sim_random_below(mesh.sim, 20) * SIM_MS);
            mesh_start(b);
        } else if (fate == 3) {
            take_down(a, sim_random_below(mesh.sim, 2));
            mesh_start(a);
        }
        drive(&c, a, b);
    }
    for (int i = 0; i < 2; i++) {
        struct sim_link *l = sim_link(mesh.sim, i ? a->host : b->host, i ? b->host : a->host);
        l->loss = 0;
    }
    for (int round = 0; round < 400 && c.oldest < c.next; round++) {
        sim_run_for(mesh.sim, 200 * SIM_MS);
        drive(&c, a, b);
    }
    cr_assert_eq(c.oldest, c.next, "seed %llu: %llu without an answer", (unsigned long long)seed,
                 (unsigned long long)(c.next - c.oldest));
    cr_assert_eq(c.answered, c.number);
    check_log(b, c.number);
}

Test(sim_append, each_event_is_there_once_in_order_through_kills_and_power_cuts)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        if (seed > 1)
            mesh_deinit(&mesh);
        torture(seed, true);
    }
}

Test(sim_append, each_event_is_there_once_in_order_through_kills_without_syncs)
{
    for (uint64_t seed = 1001; seed <= 1060; seed++) {
        if (seed > 1001)
            mesh_deinit(&mesh);
        torture(seed, false);
    }
}

static int put_one(struct mesh_node *from, struct attempt *t, uint64_t number)
{
    uint8_t frame[260];
    size_t len = make_frames(number, 1, frame);
    int err;
    do {
        sim_host_poke(from->host, 0);
        err = node_publish_put(from->node, &t->publisher, (struct cspan){frame, len}, 1);
        sim_run_for(mesh.sim, SIM_MS / 20);
    } while (err == NET_ERR_AGAIN && !t->done);
    return err;
}

/* More small appends are under way than the peer remembers answers, it stores them, and is killed before one is heard:
 * each is asked for again, and has to be known. */
Test(sim_append, no_more_are_under_way_than_are_remembered)
{
    struct mesh_node *a, *b;
    struct channel_name channel;
    struct attempt t = {.publisher = {.writable = on_writable, .done = on_done}};
    pair(120, 1, 1, &a, &b);
    start_pair(a, b);
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &channel), CHANNEL_NAME_OK);
    sim_host_poke(a->host, 0);
    cr_assert_eq(node_publish_open_to(a->node, &t.publisher, &channel, false, b->node_id, NULL, 0), NET_OK);
    uint64_t number = 0;
    for (; number < 2000; number++)
        cr_assert_eq(put_one(a, &t, number), NET_OK);
    sim_run_for(mesh.sim, SIM_S);
    sim_link(mesh.sim, b->host, a->host)->loss = 1000000;
    for (uint64_t end = number + 200; number < end; number++) {
        uint8_t frame[260];
        size_t len = make_frames(number, 1, frame);
        sim_host_poke(a->host, 0);
        if (node_publish_put(a->node, &t.publisher, (struct cspan){frame, len}, 1) != NET_OK)
            break;
    }
    sim_run_for(mesh.sim, 200 * SIM_MS);
    mesh_kill(b);
    sim_link(mesh.sim, b->host, a->host)->loss = 0;
    mesh_start(b);
    sim_run_for(mesh.sim, 20 * SIM_S);
    for (uint64_t end = number + 100; number < end; number++)
        cr_assert_eq(put_one(a, &t, number), NET_OK, "%s", net_err_name(t.err));
    node_publish_finish(a->node, &t.publisher);
    sim_host_poke(a->host, 0);
    cr_assert(sim_run_while(mesh.sim, not_done, &t, 120 * SIM_S));
    cr_assert_eq(t.err, NET_OK, "%s", net_err_name(t.err));
    check_log(b, number);
}

/* An id that was drawn is pushed out at the peer by another producer, and its append is asked for again: whether it was
 * appended is not known there any more, so that it must not be appended now. */
Test(sim_append, a_producer_without_a_name_is_not_taken_for_a_new_one)
{
    struct mesh_node *a, *b;
    struct channel_name channel;
    struct attempt t = {.publisher = {.writable = on_writable, .done = on_done}}, other;
    pair(130, 1, 2, &a, &b);
    struct mesh_node *c = mesh_add(&mesh, 1);
    mesh_know(c, b);
    mesh_know(b, c);
    b->config.max_producers = 1;
    mesh_start(c);
    start_pair(a, b);
    cr_assert_eq(channel_name_parse(CHANNEL, strlen(CHANNEL), &channel), CHANNEL_NAME_OK);
    sim_host_poke(a->host, 0);
    cr_assert_eq(node_publish_open_to(a->node, &t.publisher, &channel, false, b->node_id, NULL, 0), NET_OK);
    cr_assert_eq(put_one(a, &t, 0), NET_OK);
    sim_link(mesh.sim, b->host, a->host)->loss = 1000000;
    sim_run_for(mesh.sim, 200 * SIM_MS);
    cr_assert_eq(MESH_COUNT(b, published_events), 1, "its answer is lost");
    cr_assert_eq(append(&other, c, b, 0, 1, 1, false), NET_OK);
    sim_run_for(mesh.sim, 200 * SIM_MS);
    mesh_kill(b);
    sim_link(mesh.sim, b->host, a->host)->loss = 0;
    mesh_start(b);
    node_publish_finish(a->node, &t.publisher);
    sim_host_poke(a->host, 0);
    cr_assert(sim_run_while(mesh.sim, not_done, &t, 120 * SIM_S));
    cr_expect_eq(t.err, NET_ERR_REPLAY, "%s", net_err_name(t.err));
    check_log(b, 2);
}
