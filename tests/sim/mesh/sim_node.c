#include "tests/sim/mesh/sim_node.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "core/base/text.h"
#include "shards/logs/view.h"

static const char DIR[] = "/node";

/* ---- a node as the world runs it ---- */

static void *copy(const void *from, size_t len)
{
    void *to = malloc(len + 1);
    assert(to);
    if (len)
        memcpy(to, from, len);
    return to;
}

static struct peers_file copy_peers(const struct mesh_node *m)
{
    struct peers_file f = {.peer_count = m->peer_count, .subscription_count = m->subscription_count};
    f.peers = copy(m->peers, m->peer_count * sizeof *m->peers);
    f.subscriptions = copy(m->subscriptions, m->subscription_count * sizeof *m->subscriptions);
    return f;
}

/* Where a file stands in for stderr, nothing is said before the shards run and after. */
static void say_nothing(const char *lines, size_t len)
{
    (void)lines;
    (void)len;
}

static void *create(void *ctx, struct io *const *ios, unsigned shards)
{
    struct mesh_node *m = ctx;
    struct config read = m->config;
    read.shards = 0; /* as a node.yaml that leaves it to the machine */
    struct node_options options = {
        .dir = DIR,
        .config = &m->config,
        .read = &read,
        .secrets = &m->secrets,
        .peers = copy_peers(m),
        .hooks = m->hooks,
        .socket_buffer = 4 << 20,
        .gso = true,
        .gro = true,
        .say = m->says ? say_nothing : NULL,
    };
    if (m->says && ios[0]->plain->open(ios[0], "/stderr", O_WRONLY | O_CREAT, 0600, &ios[0]->err) < 0)
        return NULL;
    if (node_create(&m->node, &options, &m->error) != NET_OK)
        return NULL;
    for (unsigned i = shards; i-- > 0;) {
        if (shard_start(m->node, i, ios[i], &m->error) != NET_OK) {
            for (unsigned k = i; k < shards; k++)
                sim_io_close(ios[k]);
            node_destroy(m->node);
            m->node = NULL;
            return NULL;
        }
    }
    m->lives++;
    return m;
}

static uint64_t turn(void *node, unsigned shard)
{
    struct mesh_node *m = node;
    struct shard *s = node_shard(m->node, shard);
    return shard_done(s) ? SIM_NEVER : shard_turn(s);
}

static bool all_done(struct mesh_node *m)
{
    for (unsigned i = 0; i < m->config.shards; i++)
        if (!shard_done(node_shard(m->node, i)))
            return false;
    return true;
}

static bool halt(void *node)
{
    struct mesh_node *m = node;
    node_request_stop(m->node);
    return all_done(m);
}

static void destroy(void *node)
{
    struct mesh_node *m = node;
    node_destroy(m->node);
    m->node = NULL;
}

static const struct sim_node_ops ops = {create, turn, halt, destroy};

/* ---- a mesh ---- */

void mesh_init(struct mesh *m, uint64_t seed)
{
    *m = (struct mesh){.sim = sim_create(seed), .nodes = calloc(MESH_MAX_NODES, sizeof *m->nodes)};
    assert(m->nodes);
    /* A calm network keeps the order of sends: tests that want jitter say so. */
    sim_settings(m->sim)->link.delay = (struct sim_range){50 * SIM_US, 50 * SIM_US};
    for (size_t i = 0; i < sizeof m->psk; i++)
        m->psk[i] = (uint8_t)sim_random(m->sim);
}

void mesh_deinit(struct mesh *m)
{
    sim_destroy(m->sim);
    for (unsigned i = 0; i < m->count; i++) {
        free(m->nodes[i].peers);
        free(m->nodes[i].subscriptions);
    }
    free(m->nodes);
}

static void random_bytes(struct sim *sim, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(sim_random(sim) >> 32);
}

static void make_identity(struct mesh_node *m)
{
    struct crypto *crypto;
    struct identity id;
    assert(crypto_init(&crypto, NULL) == NET_OK);
    do
        random_bytes(m->mesh->sim, m->secrets.seed, sizeof m->secrets.seed);
    while (identity_init(&id, crypto, m->secrets.seed) != NET_OK);
    random_bytes(m->mesh->sim, m->secrets.static_secret, sizeof m->secrets.static_secret);
    memcpy(m->secrets.psk, m->mesh->psk, sizeof m->secrets.psk);
    x25519_public(m->secrets.static_secret, m->public_key);
    m->node_id = id.ids.node_id;
    crypto_deinit(crypto);
}

struct mesh_node *mesh_add(struct mesh *mesh, unsigned shards)
{
    assert(mesh->count < MESH_MAX_NODES);
    struct mesh_node *m = &mesh->nodes[mesh->count];
    *m = (struct mesh_node){.mesh = mesh, .number = mesh->count++, .host = sim_add_host(mesh->sim, shards)};
    sim_disk_put(m->host, "/node/peers.yaml", (struct cspan){0}); /* requests replace it */
    config_defaults(&m->config);
    m->config.shards = shards;
    make_identity(m);
    return m;
}

/* Room for one more of `size` bytes each. */
static void *grown(void *all, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return all;
    *room = *room ? *room * 2 : 4;
    all = realloc(all, *room * size);
    assert(all);
    return all;
}

struct peer_entry *mesh_add_entry(struct mesh_node *m)
{
    m->peers = grown(m->peers, m->peer_count, &m->peer_room, sizeof *m->peers);
    struct peer_entry *e = &m->peers[m->peer_count++];
    *e = (struct peer_entry){0};
    return e;
}

void mesh_know(struct mesh_node *m, const struct mesh_node *other)
{
    struct peer_entry *e = mesh_add_entry(m);
    *e = (struct peer_entry){
        .node_id = other->node_id, .has_addr = true, .addr = sim_host_addr(other->host), .has_key = true};
    text_format(e->name, sizeof e->name, "node-%u", other->number);
    memcpy(e->public_key, other->public_key, sizeof e->public_key);
}

struct subscription_entry *mesh_add_subscription(struct mesh_node *m)
{
    m->subscriptions = grown(m->subscriptions, m->subscription_count, &m->subscription_room, sizeof *m->subscriptions);
    struct subscription_entry *e = &m->subscriptions[m->subscription_count++];
    *e = (struct subscription_entry){0};
    return e;
}

static void want(struct mesh_node *m, const char *channel, const struct mesh_node *from, enum subscription_mode mode)
{
    struct subscription_entry *e = mesh_add_subscription(m);
    e->peer = from->node_id;
    e->mode = mode;
    text_format(e->channel, sizeof e->channel, "%s", channel);
}

void mesh_subscribe(struct mesh_node *m, const char *channel, const struct mesh_node *from)
{
    want(m, channel, from, SUBSCRIBE_LIVE);
}

void mesh_follow(struct mesh_node *m, const char *channel, const struct mesh_node *from)
{
    want(m, channel, from, SUBSCRIBE_FOLLOW);
}

bool mesh_try_start(struct mesh_node *m)
{
    return sim_host_start(m->host, &ops, m);
}

void mesh_start(struct mesh_node *m)
{
    bool started = mesh_try_start(m);
    if (!started)
        fprintf(stderr, "node %u: %s\n", m->number, m->error.text);
    assert(started);
}

void mesh_kill(struct mesh_node *m)
{
    sim_host_kill(m->host);
}

void mesh_crash(struct mesh_node *m)
{
    sim_host_crash(m->host);
}

static bool still_running(void *ctx)
{
    struct mesh_node *m = ctx;
    return m->node && !all_done(m); /* it may die on its way */
}

void mesh_stop_begin(struct mesh_node *m)
{
    node_request_stop(m->node);
    sim_host_poke(m->host, 0);
}

bool mesh_stopped(struct mesh_node *m)
{
    return all_done(m);
}

bool mesh_stop(struct mesh_node *m, uint64_t limit_ns)
{
    mesh_stop_begin(m);
    bool done = sim_run_while(m->mesh->sim, still_running, m, limit_ns);
    sim_host_kill(m->host);
    return done;
}

/* ---- looking ---- */

struct look {
    uint64_t node_id;
    bool connected;
};

static void on_peer(void *ctx, const struct peer_row *row)
{
    struct look *look = ctx;
    if (row->node_id == look->node_id)
        look->connected = row->state == PEER_CONNECTED;
}

bool mesh_connected(struct mesh_node *m, const struct mesh_node *other)
{
    struct look look = {.node_id = other->node_id};
    if (m->node)
        node_each_peer(m->node, on_peer, &look);
    return look.connected;
}

static struct mesh_node *by_id(struct mesh *mesh, uint64_t node_id)
{
    for (unsigned i = 0; i < mesh->count; i++)
        if (mesh->nodes[i].node_id == node_id)
            return &mesh->nodes[i];
    return NULL;
}

static bool is_settled(struct mesh_node *m)
{
    for (size_t k = 0; k < m->peer_count; k++) {
        struct mesh_node *other = by_id(m->mesh, m->peers[k].node_id);
        if (!mesh_connected(m, other) || !mesh_connected(other, m))
            return false;
    }
    return true;
}

/* Asked after every event: looks first at the node that was not settled the last time. */
struct settling {
    struct mesh *mesh;
    unsigned at;
};

static bool unsettled(void *ctx)
{
    struct settling *s = ctx;
    for (unsigned i = 0; i < s->mesh->count; i++) {
        unsigned at = (s->at + i) % s->mesh->count;
        if (!is_settled(&s->mesh->nodes[at])) {
            s->at = at;
            return true;
        }
    }
    return false;
}

bool mesh_settle(struct mesh *mesh, uint64_t limit_ns)
{
    return sim_run_while(mesh->sim, unsettled, &(struct settling){.mesh = mesh}, limit_ns);
}

struct subscription_look {
    struct mesh_node *node;
    const char *channel;
    bool active;
};

static void on_subscription(void *ctx, const struct subscription_row *row)
{
    struct subscription_look *look = ctx;
    if (strcmp(row->channel, look->channel) == 0)
        look->active = row->active;
}

static bool not_subscribed(void *ctx)
{
    struct subscription_look *look = ctx;
    look->active = false;
    node_each_subscription(look->node->node, on_subscription, look);
    return !look->active;
}

bool mesh_subscribed(struct mesh_node *m, const char *channel, uint64_t limit_ns)
{
    struct subscription_look look = {.node = m, .channel = channel};
    return sim_run_while(m->mesh->sim, not_subscribed, &look, limit_ns);
}

uint64_t mesh_counter(struct mesh_node *m, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; m->node && i < m->config.shards; i++)
        sum += counter_get((const counter *)(const void *)((char *)&node_shard(m->node, i)->metrics + offset));
    return sum;
}

/* ---- events ---- */

size_t mesh_event(uint32_t tag, uint64_t number, uint8_t out[256])
{
    size_t len = 12 + (size_t)((number * 7 + tag * 13) % 200);
    store_le32(out, tag);
    store_le64(out + 4, number);
    for (size_t i = 12; i < len; i++)
        out[i] = (uint8_t)(number + i);
    return len;
}

struct publish {
    struct publisher publisher;
    struct mesh_node *node;
    uint32_t tag;
    uint64_t next, end;
    bool finished, done;
    int err;
};

static void feed(struct publish *p)
{
    while (p->next < p->end) {
        uint8_t frames[20 * 260];
        size_t len = 0;
        uint32_t count = 0;
        for (; count < 20 && p->next + count < p->end; count++) {
            size_t n = mesh_event(p->tag, p->next + count, frames + len + 4);
            store_le32(frames + len, (uint32_t)n);
            len += 4 + n;
        }
        int err = node_publish_put(p->node->node, &p->publisher, (struct cspan){frames, len}, count);
        if (err == NET_ERR_AGAIN)
            return;
        if (err)
            break;
        p->next += count;
    }
    if (!p->finished) {
        p->finished = true;
        node_publish_finish(p->node->node, &p->publisher);
    }
}

static void on_writable(struct publisher *publisher)
{
    feed(container_of(publisher, struct publish, publisher));
}

static void on_done(struct publisher *publisher, int err)
{
    struct publish *p = container_of(publisher, struct publish, publisher);
    p->done = true;
    p->err = err;
}

static bool publishing(void *ctx)
{
    struct publish *p = ctx;
    return !p->done && p->node->node;
}

struct mesh_published mesh_publish(struct mesh_node *m, const char *channel, uint32_t tag, uint64_t from,
                                   uint64_t count, bool durable, uint64_t limit_ns)
{
    struct publish p = {.publisher = {.writable = on_writable, .done = on_done},
                        .node = m,
                        .tag = tag,
                        .next = from,
                        .end = from + count};
    struct channel_name name;
    assert(channel_name_parse(channel, strlen(channel), &name) == CHANNEL_NAME_OK);
    int err = node_publish_open(m->node, &p.publisher, &name, durable);
    if (err)
        return (struct mesh_published){.err = err};
    feed(&p);
    sim_host_poke(m->host, 0);
    bool ended = sim_run_while(m->mesh->sim, publishing, &p, limit_ns);
    if (!ended && m->node)
        node_publish_cancel(m->node, &p.publisher);
    return (struct mesh_published){p.publisher.events, p.publisher.first_seq, ended ? p.err : NET_ERR_TIMEOUT};
}

struct reading {
    struct tail tail;
    struct mesh_log log;
    bool done;
};

static bool on_event(struct tail *t, const struct tail_event *e)
{
    struct reading *r = container_of(t, struct reading, tail);
    struct mesh_log *log = &r->log;
    if (log->count == log->capacity) {
        log->capacity = log->capacity ? log->capacity * 2 : 1024;
        log->entries = realloc(log->entries, log->capacity * sizeof *log->entries);
        assert(log->entries);
    }
    struct mesh_entry *entry = &log->entries[log->count++];
    *entry = (struct mesh_entry){.seq = e->seq, .tag = UINT32_MAX};
    uint8_t expected[256];
    if (e->data.len < 12)
        return true;
    uint32_t tag = load_le32(e->data.data);
    uint64_t number = load_le64(e->data.data + 4);
    if (mesh_event(tag, number, expected) == e->data.len && memcmp(expected, e->data.data, e->data.len) == 0) {
        entry->tag = tag;
        entry->number = number;
    }
    return true;
}

/* None of mesh_event() is so large. */
static size_t on_piece(struct tail *t, const struct tail_piece *p)
{
    if (p->offset + p->event.data.len == p->total)
        on_event(t, &(struct tail_event){.seq = p->event.seq});
    return p->event.data.len;
}

static bool on_gap(struct tail *t, uint64_t from, uint64_t to)
{
    container_of(t, struct reading, tail)->log.gaps += to - from + 1;
    return true;
}

static void on_end(struct tail *t, int err)
{
    struct reading *r = container_of(t, struct reading, tail);
    r->done = true;
    r->log.err = err;
}

static bool reading(void *ctx)
{
    return !((struct reading *)ctx)->done;
}

static struct mesh_log read_log(struct mesh_node *m, const char *channel, struct tail_request request,
                                uint64_t limit_ns)
{
    struct reading r = {.tail = {.event = on_event, .piece = on_piece, .gap = on_gap, .done = on_end}};
    assert(channel_name_parse(channel, strlen(channel), &request.channel) == CHANNEL_NAME_OK);
    r.log.err = node_tail_open(m->node, &r.tail, &request);
    if (r.log.err)
        return r.log;
    sim_host_poke(m->host, 0);
    if (!sim_run_while(m->mesh->sim, reading, &r, limit_ns)) {
        node_tail_cancel(m->node, &r.tail);
        r.log.err = NET_ERR_TIMEOUT;
    }
    return r.log;
}

struct mesh_log mesh_read(struct mesh_node *m, const char *channel, const struct mesh_node *origin, uint64_t limit_ns)
{
    return read_log(m, channel, (struct tail_request){.self = origin == NULL, .origin = origin ? origin->node_id : 0},
                    limit_ns);
}

struct mesh_log mesh_read_followed(struct mesh_node *m, const char *channel, const struct mesh_node *origin,
                                   uint64_t limit_ns)
{
    return read_log(m, channel, (struct tail_request){.origin = origin->node_id, .edition = 1}, limit_ns);
}

void mesh_log_free(struct mesh_log *log)
{
    free(log->entries);
    *log = (struct mesh_log){0};
}
