/*
 * peers.yaml of a node that dies before and after every single operation of its disk, and each of them fails: there is
 * always a whole file, and it has every change that was answered. A subscription that is answered "not connected"
 * stays, as its message says.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "tests/sim/mesh/crash_points.h"
#include "tests/sim/mesh/sim_node.h"

static const char CHANNEL[] = "crash/peers";

enum known { NO, YES, UNSURE };

static struct mesh mesh;
static struct mesh_node *node, *first, *second; /* the others never run */
static enum known has_first, has_subscription;
static const char *where;

static void end(void *ctx)
{
    (void)ctx;
    mesh_deinit(&mesh);
}

static struct sim_host *begin(void *ctx, uint64_t seed, const char *at)
{
    (void)ctx;
    where = at;
    mesh_init(&mesh, seed);
    node = mesh_add(&mesh, 1);
    first = mesh_add(&mesh, 1);
    second = mesh_add(&mesh, 1);
    mesh_know(node, first);
    mesh_know(node, second);
    mesh_start(node);
    cr_assert_eq(mesh_ask_remove(node, first), NET_OK);
    has_first = has_subscription = NO;
    return node->host;
}

/* What was refused holds in memory, and a later save brings it along. */
static bool is_done(int err)
{
    return err == NET_OK || err == NET_ERR_UNREACHABLE;
}

static void change(enum known *what, enum known to, int err)
{
    if (is_done(err))
        *what = to;
    else if (*what != to)
        *what = UNSURE;
}

static void work(void *ctx)
{
    bool live;
    (void)ctx;
    change(&has_first, YES, mesh_ask_add(node, first));
    if (node->node)
        change(&has_subscription, YES, mesh_ask_follow(node, CHANNEL, second, START_SEQUENCE, 77, 10 * SIM_MS, &live));
    if (node->node)
        change(&has_first, NO, mesh_ask_remove(node, first));
}

static void check_file(void)
{
    struct peers_file f;
    struct config_error error;
    bool there[2] = {false, false}, subscribed = false;
    struct cspan text = sim_disk_get(node->host, "/node/peers.yaml");
    cr_assert_eq(peers_file_parse((const char *)text.data, text.len, "peers.yaml", &f, &error), NET_OK, "%s: %s", where,
                 error.text);
    for (size_t i = 0; i < f.peer_count; i++) {
        there[0] |= f.peers[i].node_id == first->node_id;
        there[1] |= f.peers[i].node_id == second->node_id;
    }
    for (size_t i = 0; i < f.subscription_count; i++)
        subscribed |= strcmp(f.subscriptions[i].channel, CHANNEL) == 0 && f.subscriptions[i].start == START_SEQUENCE &&
                      f.subscriptions[i].sequence == 77 && f.subscriptions[i].anew;
    peers_file_free(&f);
    cr_assert(there[1], "%s: an entry that nobody touched is gone", where);
    cr_assert(has_first == UNSURE || there[0] == (has_first == YES), "%s: the entry is %s", where,
              there[0] ? "there" : "gone");
    cr_assert(has_subscription == UNSURE || subscribed == (has_subscription == YES), "%s: the subscription is %s",
              where, subscribed ? "there" : "gone");
}

static void died(void *ctx, bool power)
{
    (void)ctx;
    (void)power;
    check_file();
}

/* The next life changes the file as if nothing had been. */
static void recover(void *ctx)
{
    (void)ctx;
    mesh_start(node);
    cr_assert_eq(mesh_ask_remove(node, first), NET_OK, "%s", where);
    has_first = has_subscription = NO; /* it was started without the one */
    check_file();
    cr_assert(mesh_stop(node, 20 * SIM_S), "%s", where);
}

Test(sim_crash_peers, has_every_change_that_was_answered, .timeout = 280)
{
    static const struct crash_scenario scenario = {.name = "peers.yaml",
                                                   .begin = begin,
                                                   .work = work,
                                                   .died = died,
                                                   .recover = recover,
                                                   .end = end,
                                                   .must = {{IO_OPEN, "peers.yaml.tmp"},
                                                            {IO_WRITE, "peers.yaml.tmp"},
                                                            {IO_FSYNC, "peers.yaml.tmp"},
                                                            {IO_RENAME, "peers.yaml.tmp"},
                                                            {IO_OPEN, "/node"},
                                                            {IO_FSYNC, "/node"}}};
    cr_assert_gt(crash_points(&scenario, NULL, 1, CRASH_ALL), 0);
}
