/* node.yaml read again while nodes run: what all shards take over, what waits for a start, and what goes wrong. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/logs/log.h"
#include "shards/logs/view.h"
#include "tests/sim/mesh/sim_node.h"

static const char YAML[] = "/node/node.yaml";

static struct mesh mesh;

static void begin(void)
{
    mesh_init(&mesh, 4711);
}

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_reload, .init = begin, .fini = end, .timeout = 120);

static void write_yaml(struct mesh_node *m, const char *text)
{
    sim_disk_put(m->host, YAML, (struct cspan){(const uint8_t *)text, strlen(text)});
}

struct ask {
    struct reload_request request;
    unsigned answers;
    int err;
    char message[1024];
    struct config_changes changes;
};

static void on_done(struct reload_request *r, int err, const char *message, const struct config_changes *changes)
{
    struct ask *ask = container_of(r, struct ask, request);
    ask->answers++;
    ask->err = err;
    text_format(ask->message, sizeof ask->message, "%s", message);
    cr_assert_eq(changes == NULL, err != NET_OK);
    if (changes)
        ask->changes = *changes;
}

static void ask(struct mesh_node *m, struct ask *a)
{
    *a = (struct ask){.request.done = on_done};
    node_reload(m->node, &a->request);
    cr_assert_eq(a->answers, 0, "never from inside the call");
    sim_host_poke(m->host, 0);
}

static bool unanswered(void *ctx)
{
    return ((struct ask *)ctx)->answers == 0;
}

static void wait_for(struct mesh_node *m, struct ask *a)
{
    cr_assert(sim_run_while(m->mesh->sim, unanswered, a, 10 * SIM_S));
    cr_assert_eq(a->answers, 1);
}

static int reload(struct mesh_node *m, const char *yaml, struct ask *a)
{
    write_yaml(m, yaml);
    ask(m, a);
    wait_for(m, a);
    return a->err;
}

/* "applied / restart" */
static const char *names(const struct ask *a, char out[1024])
{
    size_t n = 0;
    for (size_t i = 0; i < a->changes.applied_count; i++)
        n += (size_t)sprintf(out + n, "%s ", a->changes.applied[i]);
    n += (size_t)sprintf(out + n, "/");
    for (size_t i = 0; i < a->changes.restart_count; i++)
        n += (size_t)sprintf(out + n, " %s", a->changes.restart[i]);
    return out;
}

static struct mesh_node *single(unsigned shards)
{
    struct mesh_node *m = mesh_add(&mesh, shards);
    mesh_start(m);
    return m;
}

Test(sim_reload, every_shard_takes_over_what_it_can)
{
    struct mesh_node *m = single(3);
    struct ask a;
    char text[1024];
    cr_assert_eq(reload(m,
                        "listen: 127.0.0.1:1\n"
                        "shards: {count: 7}\n"
                        "session: {heartbeat_interval: 7s, session_timeout: 31s, handshake_timeout: 8s, "
                        "rekey_interval: 9s}\n"
                        "limits: {channels: 77, channels_per_peer: 5}\n"
                        "channels: {max_lag: 9, prefixes: {a: {retention_age: 1h}}}\n"
                        "logging: {level: debug}\n",
                        &a),
                 NET_OK, "%s", a.message);
    cr_expect_str_eq(names(&a, text),
                     "session.heartbeat_interval session.session_timeout session.handshake_timeout "
                     "session.rekey_interval limits.channels limits.channels_per_peer channels.max_lag "
                     "channels.prefixes logging.level / listen shards.count");
    for (unsigned i = 0; i < 3; i++) {
        const struct shard *s = node_shard(m->node, i);
        cr_expect_eq(s->config, m->node->config, "the same object");
        cr_expect_eq(s->config->shards, 3, "what cannot change stays");
        cr_expect_eq(s->config->listen.port, m->config.listen.port);
        cr_expect_eq(config_channel(s->config, "a/b")->retention_age_ns, 3600 * SIM_S);
        cr_expect_eq(s->link_config.heartbeat_interval_ns, 7 * SIM_S);
        cr_expect_eq(s->link_config.session_timeout_ns, 31 * SIM_S);
        cr_expect_eq(s->link_config.handshake_timeout_ns, 8 * SIM_S);
        cr_expect_eq(s->link_config.rekey_interval_ns, 9 * SIM_S);
        cr_expect(s->roster.max_channels == 77 && s->roster.max_channels_per_peer == 5);
    }
    cr_expect_eq(node_log_level(m->node), LEVEL_DEBUG);
    cr_assert_eq(reload(m, "", &a), NET_OK, "%s", a.message);
    cr_expect_eq(a.changes.applied_count, 9, "back to the defaults");
    cr_expect_eq(a.changes.restart_count, 0, "what the start said is there again");
}

Test(sim_reload, what_waits_for_a_start_is_named_at_every_reload_and_shown)
{
    struct mesh_node *m = single(2);
    struct ask a;
    char text[1024];
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(reload(m, "transport: {gso: false}\n", &a), NET_OK);
        cr_expect_str_eq(names(&a, text), "/ transport.gso");
    }
    node_set_log_level(m->node, LEVEL_ERROR);
    cr_assert_eq(reload(m, "transport: {gso: false}\n", &a), NET_OK);
    cr_expect_str_eq(names(&a, text), "logging.level / transport.gso", "the file has the word");
}

struct settings {
    unsigned rows;
    char seen[512];
};

static void on_setting(void *ctx, const struct config_row *row)
{
    struct settings *s = ctx;
    s->rows++;
    if (row->line || row->pending)
        text_format(s->seen + strlen(s->seen), sizeof s->seen - strlen(s->seen), "%s=%s:%d%s%s ", row->key, row->value,
                    row->line, row->pending ? "!" : "", row->pending ? row->pending : "");
}

Test(sim_reload, settings_in_use_are_shown_with_their_lines)
{
    struct mesh_node *m = single(2);
    struct ask a;
    struct settings s = {0};
    cr_assert_eq(
        reload(m, "transport:\n  gso: false\n\nchannels:\n  max_lag: 5\n  prefixes:\n    x:\n      log: none\n", &a),
        NET_OK, "%s", a.message);
    node_each_setting(m->node, on_setting, &s);
    cr_expect_str_eq(s.seen, "transport.gso=true:0!false channels.max_lag=5:5 channels.prefixes=1 prefix:6 "
                             "channels.prefixes.x.log=none:8 ");
    struct config_doc key;
    unsigned keys = 0;
    while (config_describe(keys, &key))
        keys++;
    cr_expect_eq(s.rows, keys + 1, "every key, and the one of the rule");
}

Test(sim_reload, a_mistake_changes_nothing)
{
    static const struct {
        const char *yaml, *message;
    } cases[] = {
        {"channels: {max_lag: 1}\nshards: {cuont: 2}\n",
         "/node/node.yaml:2: shards: found the unknown key \"cuont\", allowed: count, cpus, pin, spin, ring_bytes"},
        {"channels:\n  max_lag: many\n",
         "/node/node.yaml:2: channels.max_lag: found \"many\", allowed: 0..9223372036854775807"},
        {"channels:\n  prefixes:\n    a: {fsync: often}\n",
         "/node/node.yaml:3: channels.prefixes.a.fsync: found \"often\", allowed: never, each, every or interval"},
    };
    struct mesh_node *m = single(2);
    const struct config *before = m->node->config;
    struct ask a;
    cr_expect(MESH_COUNT(m, reloads_refused) == 0 && MESH_COUNT(m, reloads_applied) == 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(reload(m, cases[i].yaml, &a), NET_ERR_INVALID);
        cr_expect_str_eq(a.message, cases[i].message);
        cr_expect(m->node->config == before && node_shard(m->node, 1)->config == before);
    }
    char *large = malloc(CONFIG_MAX_YAML + 2);
    memset(large, '#', CONFIG_MAX_YAML + 1);
    large[CONFIG_MAX_YAML + 1] = '\0';
    cr_expect_eq(reload(m, large, &a), NET_ERR_TOO_LARGE);
    cr_expect_str_eq(a.message, "/node/node.yaml: found more than 65536 bytes, allowed: at most that");
    large[CONFIG_MAX_YAML] = '\0';
    cr_expect_eq(reload(m, large, &a), NET_OK, "%s", a.message);
    cr_expect(MESH_COUNT(m, reloads_refused) == 4 && MESH_COUNT(m, reloads_applied) == 1);
    free(large);
}

Test(sim_reload, a_file_that_is_not_there)
{
    struct mesh_node *m = single(1);
    struct ask a;
    ask(m, &a);
    wait_for(m, &a);
    cr_expect_eq(a.err, NET_ERR_NOT_FOUND);
    cr_expect_str_eq(a.message, "/node/node.yaml: cannot read: No such file or directory");
}

Test(sim_reload, a_file_that_cannot_be_read)
{
    struct mesh_node *m = single(1);
    const struct sim_fault faults[] = {{.kinds = 1u << IO_OPEN, .suffix = "node.yaml", .error = EACCES, .times = 1},
                                       {.kinds = 1u << IO_READ, .suffix = "node.yaml", .error = EIO, .times = 1}};
    struct ask a;
    for (size_t i = 0; i < 2; i++) {
        sim_disk_fault(m->host, &faults[i]);
        cr_expect_neq(reload(m, "channels: {max_lag: 1}\n", &a), NET_OK);
        cr_expect(strncmp(a.message, "/node/node.yaml: cannot read: ", 30) == 0, "%s", a.message);
        sim_disk_clear_faults(m->host);
    }
    cr_expect_eq(reload(m, "channels: {max_lag: 1}\n", &a), NET_OK, "%s", a.message);
    cr_expect_eq(a.changes.applied_count, 1);
}

Test(sim_reload, who_asks_meanwhile_is_answered_by_the_next_one)
{
    struct mesh_node *m = single(3);
    struct ask first, second, third, canceled;
    write_yaml(m, "channels: {max_lag: 1}\n");
    ask(m, &first);
    ask(m, &canceled);
    ask(m, &second);
    ask(m, &third);
    node_reload_cancel(m->node, &canceled.request);
    wait_for(m, &first);
    cr_expect_eq(second.answers, 0);
    wait_for(m, &second);
    wait_for(m, &third);
    cr_expect_eq(first.changes.applied_count, 1);
    cr_expect_eq(second.changes.applied_count, 0, "it read the same again");
    cr_expect_eq(canceled.answers, 0);
    cr_expect(first.err == NET_OK && second.err == NET_OK && third.err == NET_OK);
}

Test(sim_reload, open_logs_keep_their_kind)
{
    struct mesh_node *m = single(2);
    struct ask a;
    char text[1024];
    cr_assert_eq(mesh_publish(m, "old", 1, 0, 10, false, 10 * SIM_S).events, 10);
    cr_assert_eq(reload(m, "channels: {log: memory}\n", &a), NET_OK, "%s", a.message);
    cr_expect_str_eq(names(&a, text), "channels.log / channels.log", "for new ones; not for the open one");
    cr_assert_eq(mesh_publish(m, "old", 1, 10, 10, true, 10 * SIM_S).events, 10);
    cr_assert_eq(mesh_publish(m, "new/v0123456789", 1, 0, 10, false, 10 * SIM_S).events, 10);
    unsigned disk = 0, memory = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct shard *s = node_shard(m->node, i);
        for (struct list *n = s->log_list.next; n != &s->log_list; n = n->next) {
            const struct log *log = container_of(n, struct log, in_shard);
            disk += log->kind == LOG_DISK && strcmp(log->name.text, "old") == 0;
            memory += log->kind == LOG_MEMORY && strcmp(log->name.text, "new/v0123456789") == 0;
        }
    }
    cr_expect(disk == 1 && memory == 1);
    cr_assert_eq(reload(m, "", &a), NET_OK);
    cr_expect_str_eq(names(&a, text), "channels.log / channels.log", "now the other one is not as told");
    cr_expect_eq(mesh_publish(m, "new/v0123456789", 1, 10, 10, false, 10 * SIM_S).err, NET_ERR_INVALID,
                 "a name that a disk could not have");
}

static void pair(struct mesh_node **a, struct mesh_node **b)
{
    *a = mesh_add(&mesh, 3);
    *b = mesh_add(&mesh, 2);
    mesh_know(*a, *b);
    mesh_know(*b, *a);
    mesh_subscribe(*b, "traffic", *a);
    mesh_start(*a);
    mesh_start(*b);
    cr_assert(mesh_settle(&mesh, 20 * SIM_S));
    cr_assert(mesh_subscribed(*b, "traffic", 20 * SIM_S));
}

Test(sim_reload, nothing_is_lost_while_events_flow)
{
    struct mesh_node *a, *b;
    pair(&a, &b);
    for (uint64_t i = 0; i < 40; i++) {
        char yaml[256];
        struct ask at_a, at_b;
        sprintf(yaml, "session: {heartbeat_interval: %dms}\nchannels: {prefixes: {traffic: {retention_events: %d}}}\n",
                i & 1 ? 50 : 5000, 1000000 + (int)i);
        write_yaml(a, yaml);
        write_yaml(b, yaml);
        ask(a, &at_a);
        ask(b, &at_b);
        cr_assert_eq(mesh_publish(a, "traffic", 1, i * 100, 100, false, 10 * SIM_S).events, 100);
        wait_for(a, &at_a);
        wait_for(b, &at_b);
        cr_assert(at_a.err == NET_OK && at_b.err == NET_OK, "%s%s", at_a.message, at_b.message);
    }
    sim_run_for(mesh.sim, 2 * SIM_S);
    struct mesh_log log = mesh_read(b, "traffic", a, 10 * SIM_S);
    cr_assert(log.err == NET_OK && log.gaps == 0);
    cr_assert_eq(log.count, 4000);
    for (size_t i = 0; i < log.count; i++)
        cr_assert(log.entries[i].number == i && log.entries[i].tag == 1);
    mesh_log_free(&log);
}

Test(sim_reload, a_shorter_heartbeat_begins_at_once)
{
    struct mesh_node *a, *b;
    struct ask r;
    pair(&a, &b);
    cr_assert_eq(reload(a, "session: {heartbeat_interval: 30m, session_timeout: 1h}\n", &r), NET_OK, "%s", r.message);
    sim_run_for(mesh.sim, 20 * SIM_S); /* what was due by the interval before is over */
    const struct peer *p = mesh_peer(a, b);
    cr_assert_gt(p->link.heartbeat_at, sim_now(mesh.sim) + 1000 * SIM_S);
    cr_assert_eq(reload(a, "session: {heartbeat_interval: 100ms}\n", &r), NET_OK, "%s", r.message);
    uint64_t before = p->link.last_tx;
    sim_run_for(mesh.sim, 250 * SIM_MS);
    cr_expect_geq(p->link.last_tx, before + 100 * SIM_MS);
}

Test(sim_reload, max_lag_counts_for_readers_that_are_there)
{
    struct mesh_node *a, *b;
    struct ask r;
    pair(&a, &b);
    cr_assert_eq(reload(a, "channels: {prefixes: {traffic: {max_lag: 12}}}\n", &r), NET_OK, "%s", r.message);
    unsigned views = 0;
    for (unsigned i = 0; i < 3; i++)
        map_each(&node_shard(a->node, i)->views, slot)
        {
            views++;
            cr_expect_eq(((struct log_view *)slot->value)->max_lag, 12);
        }
    cr_expect_eq(views, 1);
}

/* A stop at every moment of a reload, and a reload at every moment of a stop. */
Test(sim_reload, racing_a_stop)
{
    for (uint64_t at = 0; at < 60; at++) {
        struct mesh world;
        mesh_init(&world, at);
        struct mesh_node *m = mesh_add(&world, 3);
        struct ask before, after;
        mesh_start(m);
        cr_assert_eq(mesh_publish(m, "x", 1, 0, 5, false, 10 * SIM_S).events, 5);
        write_yaml(m, "channels: {max_lag: 3}\n");
        ask(m, &before);
        sim_run_for(world.sim, at * 10 * SIM_US);
        node_request_stop(m->node);
        sim_host_poke(m->host, 0);
        sim_run_for(world.sim, at % 7 * 20 * SIM_US);
        ask(m, &after);
        cr_assert(mesh_stop(m, 20 * SIM_S));
        cr_assert(before.answers == 1 && after.answers <= 1);
        cr_expect(before.err == NET_OK || before.err == NET_ERR_STATE);
        cr_expect(after.answers == 0 || after.err == NET_OK || after.err == NET_ERR_STATE);
        mesh_deinit(&world);
    }
}
