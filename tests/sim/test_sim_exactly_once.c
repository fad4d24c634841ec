/*
 * Streams beside a model of what they promise (extensions X2.2, X1): a reliable stream brings every event that was
 * taken once and in order, and ends only when it was closed, reset, or one of its nodes lost its state; a
 * fire-and-forget stream brings no event twice. Random operations and faults on two nodes, drawn from a seed, through
 * the calls that an application makes.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "shards/transport/user_stream.h"
#include "tests/sim/mesh/sim_node.h"

enum { SIDES = 2, IDS = 8, LIVES_MAX = 4096, EVENTS_MAX = 1 << 16, EVENT_MAX = 6000, LARGE_MAX = 200000, STEPS = 150 };

/* One life of a stream, from open to its end. Every event says which one it belongs to, and its number in it. */
struct life {
    unsigned sender;
    uint64_t id;
    bool reliable, closed;
    bool reset;
    uint64_t accepted, delivered; /* events: taken from the application, handed to the other one */
    unsigned sender_age, receiver_age;
    uint8_t *seen; /* fire-and-forget: bit per event */
};

struct side {
    struct mesh_node *m;
    unsigned age;      /* how often it has been started */
    bool stalled;      /* its application takes nothing */
    uint64_t instance; /* of the other, as its node knows it */
    unsigned knows;    /* the age that is */
    struct {
        struct netmesh_stream handle;
        uint64_t life; /* 0: none is open */
    } out[IDS];
    uint64_t in[IDS]; /* the life that comes on a reliable stream; 0: none has begun */
};

static struct mesh mesh;
static struct side sides[SIDES];
static struct life lives[LIVES_MAX];
static uint64_t life_count, seed_now;

static void end(void)
{
    for (uint64_t i = 1; i <= life_count; i++)
        free(lives[i].seen);
    memset(lives, 0, sizeof lives);
    mesh_deinit(&mesh);
}

TestSuite(sim_exactly_once, .fini = end, .timeout = 280);

static uint64_t below(uint64_t bound)
{
    return sim_random_below(mesh.sim, bound);
}

/* ---- events ---- */

static uint8_t filler(uint64_t life, uint64_t number, size_t i)
{
    return (uint8_t)(life * 31 + number * 7 + i);
}

/* On reliable streams some are larger than a packet. */
static size_t event_make(uint64_t life, uint64_t number, uint8_t *out)
{
    uint64_t most = lives[life].reliable && below(10) == 0 ? LARGE_MAX : EVENT_MAX;
    size_t len = 16 + (below(20) ? below(200) : below(most - 16));
    store_le64(out, life);
    store_le64(out + 8, number);
    for (size_t i = 16; i < len; i++)
        out[i] = filler(life, number, i);
    return len;
}

static uint64_t event_check(struct cspan event, uint64_t *number)
{
    cr_assert(event.len >= 16 && event.len <= LARGE_MAX, "seed %lu", seed_now);
    uint64_t life = load_le64(event.data);
    *number = load_le64(event.data + 8);
    cr_assert(life >= 1 && life <= life_count, "seed %lu", seed_now);
    for (size_t i = 16; i < event.len; i++)
        cr_assert_eq(event.data[i], filler(life, *number, i), "seed %lu", seed_now);
    return life;
}

/* ---- the model ---- */

static struct side *other(const struct side *s)
{
    return &sides[s == &sides[0]];
}

/* Even ids are reliable, and each is one side's; on the others both send. */
static bool is_reliable(uint64_t id)
{
    return id % 2 == 0;
}

static bool may_send(const struct side *s, uint64_t id)
{
    return !is_reliable(id) || id / 2 % 2 == (uint64_t)(s - sides);
}

static void come_fire_and_forget(struct life *l, uint64_t number)
{
    cr_assert_lt(number, l->accepted, "seed %lu", seed_now);
    cr_assert_not(l->seen[number / 8] & 1 << number % 8, "seed %lu: event %lu came twice", seed_now, number);
    l->seen[number / 8] |= (uint8_t)(1 << number % 8);
    l->delivered++;
}

static void come_reliable(struct side *s, uint64_t which, uint64_t number)
{
    struct life *l = &lives[which];
    if (s->in[l->id] != which) {
        cr_assert_eq(s->in[l->id], 0, "seed %lu: life %lu of stream %lu did not end before %lu began", seed_now,
                     s->in[l->id], l->id, which);
        cr_assert_eq(l->receiver_age, s->age, "seed %lu: what was sent to one life of a node came to another",
                     seed_now);
        s->in[l->id] = which;
    }
    cr_assert_eq(number, l->delivered, "seed %lu: stream %lu: event %lu came in the place of %lu", seed_now, l->id,
                 number, l->delivered);
    cr_assert_lt(number, l->accepted, "seed %lu", seed_now);
    l->delivered++;
}

static void check_end(struct side *s, uint64_t id, enum netmesh_stream_end how)
{
    struct life *l = &lives[s->in[id]];
    if (how == NETMESH_STREAM_GOES_ON || s->in[id] == 0)
        return; /* or it ended before an event of it came */
    if (how == NETMESH_STREAM_FINISHED)
        cr_assert(l->closed && l->delivered == l->accepted, "seed %lu: stream %lu finished after %lu of %lu events",
                  seed_now, id, l->delivered, l->accepted);
    else
        cr_assert(l->reset || l->sender_age != other(s)->age, "seed %lu: stream %lu broke", seed_now, id);
    s->in[id] = 0;
}

static bool on_stream(void *ctx, struct netmesh_shard *shard, const struct netmesh_stream_events *e)
{
    struct side *s = ctx;
    (void)shard;
    if (s->stalled && e->end != NETMESH_STREAM_BROKEN)
        return false;
    struct wire_frames walk = wire_frames((struct cspan){e->frames, e->len}, e->count);
    struct cspan event;
    uint64_t number;
    cr_assert(e->stream < IDS && (e->mode == NETMESH_RELIABLE) == is_reliable(e->stream));
    cr_assert_eq(e->peer, other(s)->m->node_id);
    while (wire_frames_next(&walk, &event)) {
        uint64_t which = event_check(event, &number);
        cr_assert(lives[which].id == e->stream && &sides[lives[which].sender] == other(s), "seed %lu", seed_now);
        if (e->mode == NETMESH_RELIABLE)
            come_reliable(s, which, number);
        else
            come_fire_and_forget(&lives[which], number);
    }
    cr_assert(walk.left == 0 && walk.rest.len == 0);
    check_end(s, e->stream, e->end);
    return true;
}

static void on_stream_end(void *ctx, struct netmesh_shard *shard, const struct netmesh_stream *handle, int err)
{
    struct side *s = ctx;
    (void)shard;
    uint64_t which = s->out[handle->id].life;
    struct life *l = &lives[which];
    cr_assert(which && s->out[handle->id].handle.epoch == handle->epoch, "seed %lu: an end that was told", seed_now);
    if (err == NET_OK)
        cr_assert(l->closed && (!l->reliable || l->delivered == l->accepted),
                  "seed %lu: stream %lu ended after %lu of %lu events", seed_now, handle->id, l->delivered,
                  l->accepted);
    else
        cr_assert(err == NETMESH_CLOSED && l->receiver_age != other(s)->age, "seed %lu: stream %lu: %s", seed_now,
                  handle->id, net_err_name(err));
    s->out[handle->id].life = 0;
}

/* A node that has restarted goes on under another age for its peer when that has heard of it. */
static void on_peer(void *ctx, struct netmesh_shard *shard, uint64_t id, bool connected)
{
    struct side *s = ctx;
    const struct peer *p = mesh_peer(s->m, other(s)->m);
    (void)shard;
    cr_assert_eq(id, other(s)->m->node_id);
    if (connected && p->instance != s->instance)
        s->knows = other(s)->age;
    s->instance = p->instance;
}

/* ---- operations ---- */

/* The shard where the other one is at home, its clock brought up to date; NULL: it does not know it. */
static struct netmesh_shard *home(struct side *s)
{
    struct peer *p = mesh_peer(s->m, other(s)->m);
    if (!p)
        return NULL;
    sim_host_poke(s->m->host, p->shard->index);
    sim_run_for(mesh.sim, 10 * SIM_US); /* as a hook: right after a turn */
    sim_host_poke(s->m->host, p->shard->index);
    return p->shard->face;
}

static void begin(struct side *s, struct netmesh_shard *face, uint64_t id)
{
    struct netmesh_stream_options o = {.mode = is_reliable(id) ? NETMESH_RELIABLE : NETMESH_FIRE_AND_FORGET,
                                       .window = below(2) ? 0 : 20000 + (uint32_t)below(200000),
                                       .weight = (uint8_t)below(5)};
    struct netmesh_stream handle;
    if (netmesh_stream_open(face, other(s)->m->node_id, id, &o, &handle) != NET_OK)
        return; /* no session, or the one before is not over yet */
    cr_assert_lt(++life_count, LIVES_MAX);
    struct life *l = &lives[life_count];
    *l = (struct life){.sender = (unsigned)(s - sides),
                       .id = id,
                       .reliable = is_reliable(id),
                       .sender_age = s->age,
                       .receiver_age = s->knows};
    if (!l->reliable)
        cr_assert_not_null(l->seen = calloc(EVENTS_MAX / 8, 1));
    s->out[id].handle = handle;
    s->out[id].life = life_count;
}

static void send_some(struct side *s, struct netmesh_shard *face, uint64_t id)
{
    static uint8_t frames[64 * (4 + LARGE_MAX)];
    struct life *l = &lives[s->out[id].life];
    size_t len = 0;
    uint32_t count = 1 + (uint32_t)below(64), sent = 0;
    if (l->closed || l->accepted + count > EVENTS_MAX)
        return;
    for (uint32_t i = 0; i < count; i++) {
        size_t n = event_make(s->out[id].life, l->accepted + i, frames + len + 4);
        store_le32(frames + len, (uint32_t)n);
        len += 4 + n;
    }
    int err = netmesh_stream_send(face, &s->out[id].handle, frames, len, count, &sent);
    cr_assert((err == NET_OK && sent == count) ||
                  ((err == NETMESH_AGAIN || err == NETMESH_UNREACHABLE) && sent < count),
              "seed %lu: %s after %u of %u", seed_now, net_err_name(err), sent, count);
    l->accepted += sent;
}

static void finish(struct side *s, struct netmesh_shard *face, uint64_t id, bool reset)
{
    struct life *l = &lives[s->out[id].life];
    int err = reset ? netmesh_stream_reset(face, &s->out[id].handle) : netmesh_stream_close(face, &s->out[id].handle);
    cr_assert(err == NET_OK || (reset && l->closed && err == NETMESH_CLOSED), "seed %lu: %s", seed_now,
              net_err_name(err));
    if (err)
        return;
    if (!reset) {
        l->closed = true;
        return;
    }
    l->reset = true;
    s->out[id].life = 0; /* nothing more is heard of it here */
}

static void use_a_stream(struct side *s)
{
    struct netmesh_shard *face = home(s);
    uint64_t id = below(IDS), what = below(100);
    if (!face || !may_send(s, id))
        return;
    if (s->out[id].life == 0)
        begin(s, face, id);
    else if (what < 5)
        finish(s, face, id, false);
    else if (what < 8 && is_reliable(id))
        finish(s, face, id, true);
    else
        send_some(s, face, id);
}

static void set_links(bool peace)
{
    for (int i = 0; i < SIDES; i++) {
        struct sim_link *l = sim_link(mesh.sim, sides[i].m->host, sides[!i].m->host);
        l->loss = peace || below(3) == 0 ? 0 : (uint32_t)below(300000);
        l->duplicate = peace ? 0 : (uint32_t)below(200000);
        l->reorder = peace ? 0 : (uint32_t)below(400000);
        l->delay = (struct sim_range){50 * SIM_US, peace ? 50 * SIM_US : 50 * SIM_US + below(20 * SIM_MS)};
        l->down = !peace && below(8) == 0;
    }
}

static void start(struct side *s)
{
    s->age++;
    s->instance = 0;
    memset(s->out, 0, sizeof s->out);
    memset(s->in, 0, sizeof s->in);
    mesh_start(s->m);
}

static void restart(struct side *s)
{
    if (below(2))
        mesh_kill(s->m);
    else
        mesh_crash(s->m);
    sim_run_for(mesh.sim, below(SIM_S));
    start(s);
}

static void act(void)
{
    struct side *s = &sides[below(SIDES)];
    switch (below(40)) {
    case 0:
        if (below(3) == 0)
            restart(s);
        break;
    case 1:
    case 2:
        set_links(below(3) == 0);
        break;
    case 3:
    case 4:
        s->stalled = below(2);
        break;
    case 5:
    case 6:
    case 7:
        sim_run_for(mesh.sim, below(below(10) ? 100 * SIM_MS : 30 * SIM_S));
        break;
    default:
        use_a_stream(s);
        sim_run_for(mesh.sim, below(5 * SIM_MS));
    }
}

/* ---- afterwards ---- */

static char unfinished_text[256]; /* what is waited for */

static bool waits_for(uint64_t which, const struct netmesh_stream_stats *stats)
{
    const struct life *l = &lives[which];
    snprintf(unfinished_text, sizeof unfinished_text,
             "life %lu of stream %lu from %u: %lu of %lu events, closed %d, reset %d, ages %u %u, credit %u of %u",
             which, l->id, l->sender, l->delivered, l->accepted, l->closed, l->reset, l->sender_age, l->receiver_age,
             stats ? stats->tx_credit_remaining : 0, stats ? stats->tx_window : 0);
    return true;
}

/* Nothing is on its way: all that was taken came or its stream ended, and every byte of credit came back. */
static bool unfinished(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < SIDES; i++) {
        struct side *s = &sides[i];
        struct peer *p = mesh_peer(s->m, other(s)->m);
        for (uint64_t id = 0; id < IDS; id++) {
            struct life *l = &lives[s->out[id].life];
            struct netmesh_stream_stats stats;
            if (s->out[id].life == 0)
                continue;
            if (!p || netmesh_stream_get_stats(p->shard->face, p->node_id, id, &stats) != NET_OK)
                return waits_for(s->out[id].life, NULL);
            if (l->closed || l->reset || l->receiver_age != other(s)->age ||
                (l->reliable && l->delivered != l->accepted) || stats.tx_credit_remaining != stats.tx_window)
                return waits_for(s->out[id].life, &stats);
        }
    }
    return false;
}

static void make_world(uint64_t seed)
{
    seed_now = seed;
    life_count = 0;
    memset(sides, 0, sizeof sides);
    mesh_init(&mesh, seed);
    for (int i = 0; i < SIDES; i++) {
        struct mesh_node *m = sides[i].m = mesh_add(&mesh, 1 + (unsigned)below(2));
        m->config.rekey_interval_ns = below(2) ? 5 * SIM_S : 86400 * SIM_S;
        m->config.window = 65536 << below(4);
        m->hooks = (struct netmesh_hooks){
            .ctx = &sides[i], .on_stream = on_stream, .on_stream_end = on_stream_end, .on_peer = on_peer};
    }
    for (int i = 0; i < SIDES; i++)
        mesh_know(sides[i].m, sides[!i].m);
    struct sim_settings *s = sim_settings(mesh.sim);
    s->missteer = (uint32_t)below(SIM_ALWAYS / 4);
    s->coalesce = (uint32_t)below(SIM_ALWAYS);
    s->send_again = (uint32_t)below(SIM_ALWAYS / 8);
}

static void run(uint64_t seed)
{
    uint64_t delivered = 0;
    make_world(seed);
    for (int i = 0; i < SIDES; i++)
        start(&sides[i]);
    cr_assert(mesh_settle(&mesh, 20 * SIM_S));
    for (int i = 0; i < STEPS * 4; i++)
        act();
    set_links(true);
    sides[0].stalled = sides[1].stalled = false;
    cr_assert(sim_run_while(mesh.sim, unfinished, NULL, 200 * SIM_S), "seed %lu: never over: %s", seed,
              unfinished_text);
    for (uint64_t i = 1; i <= life_count; i++)
        delivered += lives[i].delivered;
    cr_assert_gt(delivered, 0, "seed %lu", seed);
}

Test(sim_exactly_once, nodes_do_what_the_model_says)
{
    const char *from = getenv("EXACTLY_FROM"), *count = getenv("EXACTLY_COUNT"); /* a longer run, or one seed again */
    uint64_t first = from ? strtoull(from, NULL, 10) : 1, seeds = count ? strtoull(count, NULL, 10) : 20;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        if (seed > first)
            end();
        run(seed);
    }
}
