/* What /metrics and /readyz say of nodes in the simulated world, beside what happened there. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "shards/node/shard.h"
#include "tests/sim/mesh/sim_node.h"

static struct mesh mesh;

static void tear_down(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_metrics, .fini = tear_down);

struct scraped {
    struct metrics_scrape scrape;
    bool done;
    char *text;
    size_t len;
};

static void on_text(struct metrics_scrape *m, const char *text, size_t len)
{
    struct scraped *s = container_of(m, struct scraped, scrape);
    s->text = realloc(s->text, s->len + len + 1);
    cr_assert_not_null(s->text);
    memcpy(s->text + s->len, text, len);
    s->len += len;
    s->text[s->len] = '\0';
}

static void on_done(struct metrics_scrape *m)
{
    container_of(m, struct scraped, scrape)->done = true;
}

static bool scraping(void *ctx)
{
    return !((struct scraped *)ctx)->done;
}

/* The caller frees the text. */
static char *scrape(struct mesh_node *m)
{
    struct scraped s = {.scrape = {.put = on_text, .done = on_done}};
    cr_assert_eq(node_scrape(m->node, &s.scrape), NET_OK);
    sim_host_poke(m->host, 0);
    cr_assert(sim_run_while(mesh.sim, scraping, &s, 10 * SIM_S));
    return s.text;
}

/* The value of a whole series as it is written, or UINT64_MAX: it is not there. */
static uint64_t value(const char *text, const char *series)
{
    char start[256];
    snprintf(start, sizeof start, "\n%s ", series);
    const char *at = strstr(text, start);
    return at ? strtoull(at + strlen(start), NULL, 10) : UINT64_MAX;
}

static unsigned rows_of(const char *text, const char *family)
{
    char start[128];
    unsigned count = 0;
    snprintf(start, sizeof start, "\n%s{", family);
    for (const char *at = text; (at = strstr(at, start)) != NULL; at++)
        count++;
    return count;
}

static uint64_t publish(struct mesh_node *m, const char *channel, uint64_t count, bool durable)
{
    struct mesh_published p = mesh_publish(m, channel, 1, 0, count, durable, 60 * SIM_S);
    cr_assert_eq(p.err, NET_OK);
    return p.events;
}

static uint64_t bytes_of(uint64_t count)
{
    uint8_t event[256];
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += mesh_event(1, i, event);
    return sum;
}

Test(sim_metrics, channels_and_peers_are_shown_as_they_are)
{
    for (unsigned shards = 1; shards <= 3; shards++) {
        if (shards > 1)
            mesh_deinit(&mesh);
        mesh_init(&mesh, shards);
        struct mesh_node *a = mesh_add(&mesh, shards), *b = mesh_add(&mesh, shards);
        mesh_know(a, b);
        mesh_know(b, a);
        mesh_subscribe(b, "x", a);
        mesh_start(a);
        mesh_start(b);
        cr_assert(mesh_settle(&mesh, 60 * SIM_S) && mesh_subscribed(b, "x", 60 * SIM_S));
        publish(a, "x", 100, false);
        publish(a, "y/z", 3, false);
        sim_run_for(mesh.sim, SIM_S);
        char *text = scrape(a), series[256];
        cr_assert_eq(value(text, "netmesh_channel_events_total{channel=\"x\",origin=\"self\"}"), 100);
        cr_assert_eq(value(text, "netmesh_channel_bytes_total{channel=\"x\",origin=\"self\"}"), bytes_of(100));
        cr_assert_eq(value(text, "netmesh_channel_log_bytes{channel=\"x\",origin=\"self\"}"), bytes_of(100));
        cr_assert_eq(value(text, "netmesh_channel_next_seq{channel=\"x\",origin=\"self\"}"), 100);
        cr_assert_eq(value(text, "netmesh_channel_first_seq{channel=\"x\",origin=\"self\"}"), 0);
        cr_assert_eq(value(text, "netmesh_channel_subscribers{channel=\"x\",origin=\"self\"}"), 1);
        cr_assert_eq(value(text, "netmesh_channel_lag_events{channel=\"x\",origin=\"self\"}"), 0);
        cr_assert_eq(value(text, "netmesh_channel_failing{channel=\"x\",origin=\"self\"}"), 0);
        cr_assert_eq(value(text, "netmesh_channel_events_total{channel=\"y/z\",origin=\"self\"}"), 3);
        cr_assert_eq(value(text, "netmesh_channel_lag_events{channel=\"y/z\",origin=\"self\"}"), UINT64_MAX,
                     "nobody is behind where nobody reads");
        cr_assert_eq(value(text, "netmesh_channels_folded"), 0);
        cr_assert_eq(value(text, "netmesh_scrape_missing_shards"), 0);
        cr_assert_eq(rows_of(text, "netmesh_streams"), shards);
        snprintf(series, sizeof series, "netmesh_peer_up{peer=\"%s\",node_id=\"0x%016" PRIx64 "\"}", a->peers[0].name,
                 b->node_id);
        cr_assert_eq(value(text, series), 1);
        snprintf(series, sizeof series, "netmesh_peer_tx_events_total{peer=\"%s\",node_id=\"0x%016" PRIx64 "\"}",
                 a->peers[0].name, b->node_id);
        cr_assert_eq(value(text, series), 100);
        free(text);
        text = scrape(b);
        snprintf(series, sizeof series, "netmesh_channel_events_total{channel=\"x\",origin=\"0x%016" PRIx64 "\"}",
                 a->node_id);
        cr_assert_eq(value(text, series), 100);
        cr_assert_eq(rows_of(text, "netmesh_channel_subscribers"), 0, "what was received has none");
        snprintf(series, sizeof series, "netmesh_peer_rx_events_total{peer=\"%s\",node_id=\"0x%016" PRIx64 "\"}",
                 b->peers[0].name, a->node_id);
        cr_assert_eq(value(text, series), 100);
        free(text);
    }
}

Test(sim_metrics, beyond_the_bound_the_youngest_share_a_row)
{
    mesh_init(&mesh, 5);
    struct mesh_node *a = mesh_add(&mesh, 2);
    a->config.metrics_channels = 4;
    a->config.metrics_peers = 2;
    for (int i = 0; i < 5; i++)
        mesh_know(a, mesh_add(&mesh, 1));
    for (unsigned i = 0; i < mesh.count; i++)
        mesh_start(&mesh.nodes[i]);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S));
    char name[32], *text;
    for (uint64_t i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "c/%" PRIu64, i);
        publish(a, name, i + 1, false);
        sim_run_for(mesh.sim, SIM_MS);
    }
    for (int times = 0; times < 2; times++) {
        text = scrape(a);
        cr_assert_eq(rows_of(text, "netmesh_channel_events_total"), 5);
        for (uint64_t i = 0; i < 4; i++) {
            char series[128];
            snprintf(series, sizeof series, "netmesh_channel_events_total{channel=\"c/%" PRIu64 "\",origin=\"self\"}",
                     i);
            cr_assert_eq(value(text, series), i + 1, "the oldest, whichever shard has them");
        }
        cr_assert_eq(value(text, "netmesh_channel_events_total{channel=\"_other\",origin=\"_other\"}"),
                     5 + 6 + 7 + 8 + 9 + 10);
        cr_assert_eq(value(text, "netmesh_channel_next_seq{channel=\"_other\",origin=\"_other\"}"), UINT64_MAX);
        cr_assert_eq(value(text, "netmesh_channels_folded"), 6);
        cr_assert_eq(rows_of(text, "netmesh_peer_up"), 3);
        cr_assert_eq(value(text, "netmesh_peer_up{peer=\"_other\",node_id=\"\"}"), 3);
        cr_assert_eq(rows_of(text, "netmesh_peer_rtt_seconds"), 2);
        cr_assert_eq(value(text, "netmesh_peers_folded"), 3);
        free(text);
    }
    a->config.metrics_channels = 0;
    mesh_kill(a);
    mesh_start(a);
    text = scrape(a);
    cr_assert_eq(rows_of(text, "netmesh_channel_events_total"), 1);
    cr_assert_eq(value(text, "netmesh_channels_folded"), 10);
    free(text);
}

Test(sim_metrics, a_subscriber_that_gets_nothing_lags)
{
    for (uint32_t rows = 0; rows <= 200; rows += 200) {
        if (rows)
            mesh_deinit(&mesh);
        mesh_init(&mesh, 6);
        struct mesh_node *a = mesh_add(&mesh, 2), *b = mesh_add(&mesh, 1);
        a->config.metrics_channels = rows;
        mesh_know(b, a);
        mesh_subscribe(b, "x", a);
        mesh_start(a);
        mesh_start(b);
        cr_assert(mesh_settle(&mesh, 60 * SIM_S) && mesh_subscribed(b, "x", 60 * SIM_S));
        publish(a, "x", 10, false);
        sim_run_for(mesh.sim, SIM_S);
        sim_cut(mesh.sim, a->host, b->host, true);
        sim_run_for(mesh.sim, 31 * SIM_S); /* session_timeout: nothing is sent to who is silent */
        publish(a, "x", 70, false);
        char *text = scrape(a);
        cr_assert_eq(value(text, rows ? "netmesh_channel_lag_events{channel=\"x\",origin=\"self\"}"
                                      : "netmesh_channel_lag_events{channel=\"_other\",origin=\"_other\"}"),
                     70);
        free(text);
    }
}

/* Events in the buckets of a histogram that end within [from, to] ns, all shards together. */
static uint64_t between(struct mesh_node *m, size_t offset, uint64_t from, uint64_t to)
{
    uint64_t sum = 0;
    for (unsigned s = 0; s < m->config.shards; s++) {
        const struct histogram *h = (const void *)((const char *)&node_shard(m->node, s)->metrics + offset);
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
            if (histogram_bound(i) >= from && histogram_bound(i) <= to)
                sum += counter_get(&h->bucket[i]);
    }
    return sum;
}
#define BETWEEN(m, field, from, to) between(m, offsetof(struct shard_metrics, field), from, to)

Test(sim_metrics, durations_are_those_of_the_disk)
{
    mesh_init(&mesh, 7);
    struct sim_settings *world = sim_settings(mesh.sim);
    world->file = (struct sim_range){3 * SIM_MS, 3 * SIM_MS};
    world->sync = (struct sim_range){100 * SIM_MS, 100 * SIM_MS};
    struct mesh_node *a = mesh_add(&mesh, 2);
    mesh_start(a);
    publish(a, "x", 50, false);
    cr_assert_eq(BETWEEN(a, stored_written, 3 * SIM_MS, 20 * SIM_MS), 50);
    cr_assert_eq(BETWEEN(a, stored_synced, 0, UINT64_MAX), 0);
    publish(a, "x", 20, true);
    cr_assert_eq(BETWEEN(a, stored_synced, 100 * SIM_MS, 500 * SIM_MS), 20);
    cr_assert_eq(BETWEEN(a, stored_written, 0, UINT64_MAX), 50, "who asked for more is counted there alone");
}

/* A hook has no answer to wait for; its events are timed all the same, more often than there are marks. */
Test(sim_metrics, what_hooks_publish_is_timed_too)
{
    mesh_init(&mesh, 12);
    sim_settings(mesh.sim)->file = (struct sim_range){50 * SIM_MS, 50 * SIM_MS};
    struct mesh_node *a = mesh_add(&mesh, 1);
    mesh_start(a);
    struct netmesh_shard *face = node_shard(a->node, 0)->face;
    static const uint8_t frames[] = "\1\0\0\0a\2\0\0\0bc";
    for (int i = 0; i < 30; i++) {
        cr_assert_eq(netmesh_publish(face, "x", frames, sizeof frames - 1, 2), NET_OK);
        sim_host_poke(a->host, 0);
        sim_run_for(mesh.sim, 2 * SIM_MS);
    }
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(BETWEEN(a, stored_written, 50 * SIM_MS, SIM_S), 60);
    cr_assert_eq(BETWEEN(a, stored_written, 0, UINT64_MAX), 60);
}

Test(sim_metrics, delivery_counts_from_the_append)
{
    mesh_init(&mesh, 8);
    struct mesh_node *a = mesh_add(&mesh, 1), *b = mesh_add(&mesh, 1);
    mesh_know(b, a);
    mesh_subscribe(b, "x", a);
    mesh_start(a);
    mesh_start(b);
    cr_assert(mesh_settle(&mesh, 60 * SIM_S) && mesh_subscribed(b, "x", 60 * SIM_S));
    publish(a, "x", 30, false);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(BETWEEN(a, delivered, 0, 1024), 30, "in the turn of the append");
    sim_cut(mesh.sim, a->host, b->host, true);
    sim_run_for(mesh.sim, 31 * SIM_S);
    publish(a, "x", 12, false);
    sim_run_for(mesh.sim, 10 * SIM_S);
    sim_cut(mesh.sim, a->host, b->host, false);
    sim_run_for(mesh.sim, 60 * SIM_S);
    cr_assert_eq(BETWEEN(a, delivered, 8 * SIM_S, UINT64_MAX), 12, "they waited for the way to be there again");
    sim_host_set_wall(a->host, -3600 * (int64_t)SIM_S);
    publish(a, "x", 5, false);
    sim_run_for(mesh.sim, SIM_S);
    cr_assert_eq(BETWEEN(a, delivered, 0, 1024), 35, "a clock that is set back makes no time negative");
}

static void on_problem(void *ctx, const struct problem_row *row)
{
    char *codes = ctx;
    strcat(codes, row->code);
    strcat(codes, " ");
    cr_assert(row->text[0]);
}

static const char *problems(struct mesh_node *m, char out[256])
{
    out[0] = '\0';
    node_each_problem(m->node, on_problem, out);
    return out;
}

Test(sim_metrics, a_node_is_ready_until_it_stops)
{
    char codes[256];
    mesh_init(&mesh, 9);
    struct mesh_node *a = mesh_add(&mesh, 2);
    mesh_start(a);
    cr_assert_str_eq(problems(a, codes), "");
    struct shard_metrics *m = &node_shard(a->node, 1)->metrics;
    counter_set(&m->gauge_logs_poisoned, 1);
    counter_set(&m->gauge_logs_no_space, 2);
    cr_assert_str_eq(problems(a, codes), "disk_full log_poisoned ");
    counter_set(&m->gauge_logs_poisoned, 0);
    counter_set(&m->gauge_logs_no_space, 0);
    node_shutdown(a->node);
    cr_assert_str_eq(problems(a, codes), "stopping ");
    char *text = scrape(a);
    cr_assert_eq(value(text, "netmesh_ready"), 0);
    free(text);
}

Test(sim_metrics, a_scrape_that_is_cancelled_leaves_nothing)
{
    mesh_init(&mesh, 10);
    struct mesh_node *a = mesh_add(&mesh, 2);
    mesh_start(a);
    publish(a, "x", 5, false);
    struct scraped s = {.scrape = {.put = on_text, .done = on_done}};
    cr_assert_eq(node_scrape(a->node, &s.scrape), NET_OK);
    node_scrape_cancel(a->node, &s.scrape);
    sim_run_for(mesh.sim, 2 * SIM_S);
    cr_assert(!s.done && s.len == 0);
    free(scrape(a));
}

Test(sim_metrics, a_shard_that_does_not_answer_is_left_out)
{
    mesh_init(&mesh, 11);
    struct mesh_node *a = mesh_add(&mesh, 2);
    mesh_start(a);
    publish(a, "x", 5, false);
    struct scraped s = {.scrape = {.put = on_text, .done = on_done}};
    cr_assert_eq(node_scrape(a->node, &s.scrape), NET_OK);
    struct spsc *ring = &a->node->rings[1]; /* from shard 0 to shard 1, which never gets to see the question */
    while (spsc_peek(ring))
        spsc_release(ring);
    uint64_t asked = sim_now(mesh.sim);
    sim_host_poke(a->host, 0);
    cr_assert(sim_run_while(mesh.sim, scraping, &s, 10 * SIM_S));
    cr_assert_lt(sim_now(mesh.sim) - asked, 1100 * SIM_MS);
    char *text = s.text;
    cr_assert_eq(value(text, "netmesh_scrape_missing_shards"), 1);
    cr_assert_eq(rows_of(text, "netmesh_turns_total"), 2, "what can be read without it is there");
    cr_assert_eq(rows_of(text, "netmesh_streams"), 1);
    free(text);
}
