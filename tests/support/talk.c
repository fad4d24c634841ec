#include "tests/support/talk.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "shards/logs/log.h"
#include "shards/peers/peer.h"

static const char FOLLOWED[] = "talk/followed", LIVE[] = "talk/live";

/* A tag is of one log. */
static uint32_t tag_of(int who, const char *channel)
{
    return (uint32_t)who * 2 + (channel == LIVE);
}

void talk_init(struct talk *t, uint64_t seed, unsigned shards_a, unsigned shards_b, enum talk_dials dials)
{
    memset(t, 0, sizeof *t);
    t->seed = seed;
    mesh_init(&t->mesh, seed);
    t->node[0] = mesh_add(&t->mesh, shards_a);
    t->node[1] = mesh_add(&t->mesh, shards_b);
    for (int i = 0; i < 2; i++) {
        mesh_know(t->node[i], t->node[!i]);
        mesh_follow(t->node[i], FOLLOWED, t->node[!i]);
        mesh_subscribe(t->node[i], LIVE, t->node[!i]);
    }
    if (dials == TALK_B_DIALS)
        t->node[0]->peers[0].has_addr = false;
    check_init(&t->check, &t->mesh);
}

void talk_deinit(struct talk *t)
{
    mesh_deinit(&t->mesh);
    check_deinit(&t->check);
}

void talk_start(struct talk *t)
{
    for (int i = 0; i < 2; i++)
        mesh_start(t->node[i]);
    talk_until_connected(t, 20 * SIM_S);
    for (int i = 0; i < 2; i++) {
        cr_assert(mesh_subscribed(t->node[i], FOLLOWED, 20 * SIM_S), "seed %lu", t->seed);
        cr_assert(mesh_subscribed(t->node[i], LIVE, 20 * SIM_S), "seed %lu", t->seed);
    }
}

static void publish(struct talk *t, int who, const char *channel, uint64_t count)
{
    struct mesh_published p =
        check_publish(&t->check, t->node[who], channel, tag_of(who, channel), t->told[who], count, false, 60 * SIM_S);
    cr_assert(p.err == NET_OK && p.events == count, "seed %lu: %s", t->seed, net_err_name(p.err));
}

void talk_tell(struct talk *t, int who, uint64_t count)
{
    publish(t, who, FOLLOWED, count);
    publish(t, who, LIVE, count);
    t->told[who] += count;
}

void talk_for(struct talk *t, uint64_t ns)
{
    struct sim *sim = t->mesh.sim;
    uint64_t end = sim_now(sim) + ns, step = ns / 50 > SIM_S ? ns / 50 : SIM_S;
    while (sim_now(sim) < end) {
        for (int i = 0; i < 2; i++)
            if (t->node[i]->node)
                talk_tell(t, i, 1 + sim_random_below(sim, 20));
        sim_run_for(sim, sim_random_below(sim, step));
        cr_assert(check_step(&t->check), "seed %lu: %s", t->seed, t->check.what);
    }
}

struct sim_link *talk_link(struct talk *t, int from)
{
    return sim_link(t->mesh.sim, t->node[from]->host, t->node[!from]->host);
}

void talk_cut(struct talk *t, bool down)
{
    sim_cut(t->mesh.sim, t->node[0]->host, t->node[1]->host, down);
}

static bool apart(void *ctx)
{
    const struct talk *t = ctx;
    return !mesh_connected(t->node[0], t->node[1]) || !mesh_connected(t->node[1], t->node[0]);
}

uint64_t talk_until_connected(struct talk *t, uint64_t limit_ns)
{
    uint64_t start = sim_now(t->mesh.sim);
    cr_assert(sim_run_while(t->mesh.sim, apart, t, limit_ns), "seed %lu: not connected", t->seed);
    return sim_now(t->mesh.sim) - start;
}

/* What is followed of `origin`, as long as the follow has never begun anew. */
static struct log *followed(struct mesh_node *m, const struct mesh_node *origin)
{
    uint64_t hash = channel_hash(FOLLOWED, sizeof FOLLOWED - 1);
    struct shard *s = node_shard(m->node, (unsigned)(hash % m->config.shards));
    struct log *log = log_find(s, (struct log_key){origin->node_id, hash, 1});
    return log && log->open ? log : NULL;
}

static uint64_t written(struct mesh_node *m, const struct mesh_node *origin)
{
    struct log_heads heads = {0};
    const struct log *log = followed(m, origin);
    if (log)
        log_heads(log, &heads);
    return heads.exists ? heads.written : 0;
}

static bool behind(void *ctx)
{
    const struct talk *t = ctx;
    return written(t->node[0], t->node[1]) < t->told[1] || written(t->node[1], t->node[0]) < t->told[0];
}

static bool is_event(const struct redex_event *e, uint32_t tag, uint64_t number)
{
    uint8_t expected[256];
    size_t len = mesh_event(tag, number, expected);
    return e->data.len == len && memcmp(e->data.data, expected, len) == 0;
}

static void expect_all(struct talk *t, int who)
{
    struct log *log = followed(t->node[who], t->node[!who]);
    uint64_t end = t->told[!who], next = 0, number = 0;
    while (log && next < end) {
        struct redex_event events[64];
        size_t n = log_read(log, &next, UINT64_MAX, events, 64);
        for (size_t i = 0; i < n; i++, number++)
            cr_assert(is_event(&events[i], tag_of(!who, FOLLOWED), number), "seed %lu: node %d, event %lu", t->seed,
                      who, number);
    }
    cr_assert_eq(number, end, "seed %lu: node %d has %lu of %lu events", t->seed, who, number, end);
}

/* What is live may overtake. */
static void expect_once(struct talk *t, int who)
{
    struct mesh_log log = mesh_read(t->node[who], LIVE, t->node[!who], 60 * SIM_S);
    uint8_t *seen = calloc(t->told[!who] + 1, 1);
    cr_assert_not_null(seen);
    for (size_t i = 0; i < log.count; i++) {
        const struct mesh_entry *e = &log.entries[i];
        cr_assert(e->tag == tag_of(!who, LIVE) && e->number < t->told[!who], "seed %lu: node %d, live event %zu",
                  t->seed, who, i);
        cr_assert_eq(seen[e->number]++, 0, "seed %lu: node %d has live event %lu twice", t->seed, who, e->number);
    }
    free(seen);
    mesh_log_free(&log);
}

void talk_expect_one_session(struct talk *t)
{
    const struct peer *a = mesh_peer(t->node[0], t->node[1]), *b = mesh_peer(t->node[1], t->node[0]);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(MESH_COUNT(t->node[i], gauge_sessions), 1, "seed %lu", t->seed);
    cr_assert(a && b && a->link.current.session.p.rx_id == b->link.current.session.p.tx_id &&
                  a->link.current.session.p.tx_id == b->link.current.session.p.rx_id,
              "seed %lu: they do not mean the same session", t->seed);
}

void talk_expect_heard(struct talk *t, uint64_t limit_ns)
{
    talk_until_connected(t, limit_ns);
    cr_assert(sim_run_while(t->mesh.sim, behind, t, limit_ns), "seed %lu: %lu of %lu, %lu of %lu", t->seed,
              written(t->node[0], t->node[1]), t->told[1], written(t->node[1], t->node[0]), t->told[0]);
    for (int i = 0; i < 2; i++) {
        expect_all(t, i);
        expect_once(t, i);
    }
    cr_assert(check_rest(&t->check), "seed %lu: %s", t->seed, t->check.what);
}

uint64_t talk_dropped(struct mesh_node *m)
{
    static const size_t reasons[] = {
#define AT(field) offsetof(struct shard_metrics, field)
        AT(drop_truncated),
        AT(drop_class),
        AT(drop_header),
        AT(drop_length),
        AT(drop_session),
        AT(drop_replay),
        AT(drop_auth),
        AT(drop_pingwave),
        AT(drop_keepalive),
        AT(drop_no_route),
        AT(drop_ttl),
        AT(drop_relay_busy),
        AT(drop_ring_full),
        AT(drop_gate),
        AT(drop_handshake),
        AT(drop_handshake_policy),
        AT(drop_handshake_replay),
        AT(drop_handshake_rate),
        AT(drop_handshake_pending),
        AT(drop_peer_limit),
        AT(drop_routed_heartbeat),
        AT(drop_stopping),
#undef AT
    };
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        sum += mesh_counter(m, reasons[i]);
    return sum;
}

int64_t talk_unaccounted(struct mesh_node *m)
{
    uint64_t known = talk_dropped(m) + MESH_COUNT(m, rx_packets) + MESH_COUNT(m, relayed) +
                     MESH_COUNT(m, handshakes_answered) + MESH_COUNT(m, handshakes_superseded);
    return (int64_t)(MESH_COUNT(m, rx_datagrams) - known);
}
