/* Everything at once: nodes that start, stop, crash, move, subscribe, leave, publish and read while the network and the
 * seam misbehave. Afterwards, in peace, every subscription works and every node stops in order. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/logs/view.h"
#include "tests/sim/mesh/sim_node.h"

enum { NODES = 3, CHANNELS = 4 };
static const char *const CHANNEL[CHANNELS] = {"doglhkojgeelmjgd", "jbphgedkkncgigag", "chaos/1", "chaos/2"};

static struct mesh mesh;
static uint64_t seed_now, numbers;

static void end(void)
{
    mesh_deinit(&mesh);
}

TestSuite(sim_chaos, .fini = end, .timeout = 280);

static uint64_t below(uint64_t bound)
{
    return sim_random_below(mesh.sim, bound);
}

static void make_world(uint64_t seed)
{
    static const enum config_log kinds[] = {LOG_NONE, LOG_MEMORY, LOG_DISK};
    seed_now = seed;
    mesh_init(&mesh, seed);
    for (int i = 0; i < NODES; i++) {
        struct mesh_node *m = mesh_add(&mesh, 1 + (unsigned)below(3));
        m->config.ring_bytes = 1 << 20;
        m->config.channel.log = kinds[below(3)];
        m->config.log_none_bytes = 512 << 10;
        m->config.rekey_interval_ns = below(2) ? 5 * SIM_S : 86400 * SIM_S;
        m->config.window = below(2) ? 65536 : 1 << 20;
    }
    for (int i = 0; i < NODES; i++) {
        for (int k = 0; k < NODES; k++) {
            if (i != k)
                mesh_know(&mesh.nodes[i], &mesh.nodes[k]);
        }
    }
    struct sim_settings *s = sim_settings(mesh.sim);
    s->missteer = (uint32_t)below(SIM_ALWAYS / 4);
    s->coalesce = (uint32_t)below(SIM_ALWAYS);
    s->send_again = (uint32_t)below(SIM_ALWAYS / 8);
    s->short_io = (uint32_t)below(SIM_ALWAYS / 4);
    s->multishot_end = (uint32_t)below(SIM_ALWAYS / 8);
}

static void set_links(bool peace)
{
    for (int i = 0; i < NODES; i++) {
        for (int k = 0; k < NODES; k++) {
            struct sim_link *l = sim_link(mesh.sim, mesh.nodes[i].host, mesh.nodes[k].host);
            l->loss = l->duplicate = l->reorder = peace ? 0 : (uint32_t)below(100000);
            l->delay = (struct sim_range){50 * SIM_US, peace ? 50 * SIM_US : 1 + 50 * SIM_US + below(50 * SIM_MS)};
            l->down = peace ? false : below(6) == 0;
        }
    }
}

/* Requests of which nobody waits for the answer are cancelled when their node goes. */
struct pending {
    struct control_request request;
    struct mesh_node *node;
    bool open;
};
static struct pending pending[64];

static void on_answer(struct control_request *r, int err, const char *message)
{
    (void)err;
    (void)message;
    container_of(r, struct pending, request)->open = false;
}

static struct pending *new_pending(struct mesh_node *m)
{
    for (size_t i = 0; i < sizeof pending / sizeof pending[0]; i++) {
        if (!pending[i].open) {
            pending[i] = (struct pending){.request.done = on_answer, .node = m, .open = true};
            return &pending[i];
        }
    }
    return NULL;
}

static void forget_pending(struct mesh_node *m)
{
    for (size_t i = 0; i < sizeof pending / sizeof pending[0]; i++)
        if (pending[i].node == m)
            pending[i].open = false;
}

struct reader {
    struct tail tail;
    struct mesh_node *node;
    bool open;
    uint64_t next;
};
static struct reader readers[8];

static bool on_event(struct tail *t, const struct tail_event *e)
{
    struct reader *r = container_of(t, struct reader, tail);
    cr_assert_geq(e->seq, r->next, "seed %lu", seed_now);
    if (below(10) == 0)
        return false; /* not taken now: it comes again */
    r->next = e->seq + 1;
    return true;
}

static bool on_gap(struct tail *t, uint64_t from, uint64_t to)
{
    struct reader *r = container_of(t, struct reader, tail);
    cr_assert(from >= r->next && to >= from, "seed %lu", seed_now);
    r->next = to + 1;
    return true;
}

static void on_end(struct tail *t, int err)
{
    (void)err;
    container_of(t, struct reader, tail)->open = false;
}

static void forget_readers(struct mesh_node *m)
{
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++)
        if (readers[i].node == m)
            readers[i].open = false;
}

static struct channel_name name_of(const char *text)
{
    struct channel_name name;
    cr_assert_eq(channel_name_parse(text, strlen(text), &name), CHANNEL_NAME_OK);
    return name;
}

static void read_something(struct mesh_node *m, const struct mesh_node *other)
{
    struct reader *r = &readers[below(8)];
    if (r->open) {
        if (below(2)) {
            node_tail_cancel(r->node->node, &r->tail);
            r->open = false;
        } else {
            node_tail_resume(r->node->node, &r->tail);
            sim_host_poke(r->node->host, 0);
        }
        return;
    }
    *r = (struct reader){.tail = {.event = on_event, .gap = on_gap, .done = on_end}, .node = m};
    struct tail_request request = {.channel = name_of(CHANNEL[below(CHANNELS)]),
                                   .self = below(2),
                                   .origin = other->node_id,
                                   .start = below(2) ? TAIL_EARLIEST : TAIL_LATEST,
                                   .follow = below(2),
                                   .counted = below(2),
                                   .count = 1 + below(100)};
    r->open = node_tail_open(m->node, &r->tail, &request) == NET_OK;
    sim_host_poke(m->host, 0);
}

static void ask_something(struct mesh_node *m, const struct mesh_node *other)
{
    struct pending *p = new_pending(m);
    struct channel_name name = name_of(CHANNEL[below(CHANNELS)]);
    char other_name[32];
    text_format(other_name, sizeof other_name, "node-%u", other->number);
    if (!p)
        return;
    struct peer_entry *entry = m->peers;
    while (entry->node_id != other->node_id)
        entry++;
    switch (below(5)) {
    case 0:
        node_peer_remove(m->node, other_name, &p->request);
        break;
    case 1:
        node_peer_add(m->node, entry, &p->request);
        break;
    case 2:
        node_unsubscribe(m->node, &name, other->node_id, 1 + below(10 * SIM_S), &p->request);
        break;
    default: {
        struct subscribe_ask want = {.channel = name, .peer = other->node_id, .mode = SUBSCRIBE_LIVE};
        node_subscribe(m->node, &want, 1 + below(10 * SIM_S), &p->request);
    }
    }
    sim_host_poke(m->host, 0);
}

static void end_life(struct mesh_node *m)
{
    forget_readers(m);
    switch (below(3)) {
    case 0:
        mesh_kill(m);
        break;
    case 1:
        mesh_crash(m);
        break;
    default:
        for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++)
            readers[i].open = readers[i].open && readers[i].node != m;
        cr_assert(mesh_stop(m, 60 * SIM_S), "seed %lu: it does not stop", seed_now);
    }
    forget_pending(m);
    sim_run_for(mesh.sim, below(2 * SIM_S));
    mesh_start(m);
}

static void act(void)
{
    struct mesh_node *m = &mesh.nodes[below(NODES)];
    struct mesh_node *other = &mesh.nodes[(m->number + 1 + below(NODES - 1)) % NODES];
    switch (below(12)) {
    case 0:
        end_life(m);
        break;
    case 1:
        set_links(below(2));
        break;
    case 2: {
        struct io_addr addr = sim_host_addr(m->host);
        addr.port = (uint16_t)(20037 + below(3));
        sim_host_set_addr(m->host, &addr);
        break;
    }
    case 3:
    case 4:
    case 5: {
        uint64_t count = 1 + below(3000);
        mesh_publish(m, CHANNEL[below(CHANNELS)], 1, numbers, count, below(4) == 0, below(2) ? 10 * SIM_S : SIM_MS);
        numbers += count;
        break;
    }
    case 6:
    case 7:
    case 8:
        ask_something(m, other);
        break;
    case 9:
        read_something(m, other);
        break;
    default:
        sim_run_for(mesh.sim, below(below(4) ? SIM_S : 40 * SIM_S));
    }
}

/* In peace: everybody knows and hears everybody, and what is subscribed to arrives. */
static void check_peace(void)
{
    set_links(true);
    struct sim_settings *s = sim_settings(mesh.sim);
    s->send_again = s->short_io = s->multishot_end = 0;
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++)
        if (readers[i].open)
            node_tail_cancel(readers[i].node->node, &readers[i].tail);
    for (int i = 0; i < NODES; i++) {
        struct mesh_node *m = &mesh.nodes[i];
        for (int k = 0, entry = 0; k < NODES; k++) {
            if (k == i)
                continue;
            m->peers[entry++].addr = sim_host_addr(mesh.nodes[k].host);
            mesh_ask_remove(m, &mesh.nodes[k]);
            cr_assert_eq(mesh_ask_add(m, &mesh.nodes[k]), NET_OK, "seed %lu", seed_now);
        }
    }
    cr_assert(mesh_settle(&mesh, 200 * SIM_S), "seed %lu: not settled", seed_now);
    sim_run_for(mesh.sim, 20 * SIM_S);
    for (int i = 0; i < NODES; i++) {
        struct mesh_node *m = &mesh.nodes[i], *from = &mesh.nodes[(i + 1) % NODES];
        int err = mesh_ask_subscribe(m, "chaos/peace", from, 30 * SIM_S);
        cr_assert_eq(err, NET_OK, "seed %lu: %s", seed_now, net_err_name(err));
        uint64_t stored = MESH_COUNT(m, stored_events);
        cr_assert_eq(mesh_publish(from, "chaos/peace", 1, 0, 100, false, 20 * SIM_S).err, NET_OK, "seed %lu", seed_now);
        sim_run_for(mesh.sim, 2 * SIM_S);
        cr_assert_geq(MESH_COUNT(m, stored_events), stored + 100, "seed %lu", seed_now);
    }
    for (int i = 0; i < NODES; i++)
        cr_assert(mesh_stop(&mesh.nodes[i], 60 * SIM_S), "seed %lu: node %d does not stop", seed_now, i);
}

static void chaos(uint64_t seed)
{
    memset(pending, 0, sizeof pending);
    memset(readers, 0, sizeof readers);
    make_world(seed);
    set_links(false);
    for (int i = 0; i < NODES; i++)
        mesh_start(&mesh.nodes[i]);
    for (int i = 0; i < 60; i++)
        act();
    check_peace();
}

Test(sim_chaos, after_the_storm_everything_works)
{
    const char *from = getenv("CHAOS_FROM"), *count = getenv("CHAOS_COUNT"); /* a longer run, or one seed again */
    uint64_t first = from ? strtoull(from, NULL, 10) : 1, seeds = count ? strtoull(count, NULL, 10) : 30;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        if (seed > first)
            mesh_deinit(&mesh);
        chaos(seed);
    }
}
