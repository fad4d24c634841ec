/* The world itself: time, the agenda, the trace. */
#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#include "tests/sim/world/sim_internal.h"

struct script_call {
    struct sim_event event;
    struct list link;
    void (*fn)(void *ctx);
    void *ctx;
};

static const struct sim_settings defaults = {
    .link = {.delay = {20 * SIM_US, 60 * SIM_US}},
    .turn = {500, 5 * SIM_US},
    .wake = {200, 20 * SIM_US},
    .send = {200, 2 * SIM_US},
    .file = {5 * SIM_US, 200 * SIM_US},
    .sync = {100 * SIM_US, 5 * SIM_MS},
    .stream = {5 * SIM_US, 50 * SIM_US},
    .coalesce = SIM_ALWAYS / 2,
    .short_io = SIM_ALWAYS / 50,
    .multishot_end = SIM_ALWAYS / 100,
    .socket_buffer = 4u << 20,
    .recv_buffers = 16,
    .path_payload = 1472,
    .wall_base = UINT64_C(1700000000) * SIM_S,
};

struct sim *sim_create(uint64_t seed)
{
    struct sim *sim = calloc(1, sizeof *sim);
    assert(sim);
    sim->now = SIM_S; /* a deadline of 0 is in the past, as it is on a machine */
    sim->seed = seed;
    sim->settings = defaults;
    rng_init(&sim->rng, seed, 0);
    map_init(&sim->links, seed);
    map_init(&sim->host_map, seed);
    list_init(&sim->calls);
    list_init(&sim->flying);
    return sim;
}

static void host_destroy(struct sim_host *h)
{
    sim_host_kill(h);
    sim_stream_free_all(h);
    disk_deinit(&h->disk);
    free(h);
}

void sim_destroy(struct sim *sim)
{
    for (unsigned i = 0; i < sim->host_count; i++)
        host_destroy(sim->hosts[i]);
    map_each(&sim->links, slot) free(slot->value);
    map_deinit(&sim->links);
    map_deinit(&sim->host_map);
    for (struct list *l; (l = list_pop(&sim->calls));)
        free(container_of(l, struct script_call, link));
    sim_net_drop(&sim->flying);
    sim_nat_free_all(sim);
    sim_queue_deinit(&sim->queue);
    free(sim->hosts);
    free(sim);
}

struct sim_settings *sim_settings(struct sim *sim)
{
    return &sim->settings;
}

const struct sim_stats *sim_stats(const struct sim *sim)
{
    return &sim->stats;
}

uint64_t sim_now(const struct sim *sim)
{
    return sim->now;
}

uint64_t sim_random(struct sim *sim)
{
    return rng_next(&sim->rng);
}

uint64_t sim_random_below(struct sim *sim, uint64_t bound)
{
    return rng_below(&sim->rng, bound);
}

uint64_t sim_draw(struct sim *sim, struct sim_range range)
{
    return rng_between(&sim->rng, range.min, range.max);
}

bool sim_chance(struct sim *sim, uint32_t ppm)
{
    return rng_chance(&sim->rng, ppm);
}

uint64_t sim_trace_hash(const struct sim *sim)
{
    return sim->trace;
}

void sim_trace_to(struct sim *sim, FILE *out)
{
    sim->trace_out = out;
}

void sim_trace(struct sim *sim, enum trace_kind kind, const struct sim_host *h, unsigned shard, uint64_t a, uint64_t b,
               struct cspan data)
{
    static const char *const names[] = {"done", "turn", "send", "lost", "deliver", "start", "kill", "crash", "script"};
    uint64_t host = h ? h->number : UINT64_MAX;
    uint64_t words[] = {sim->trace, sim->now, kind, host, shard, a, b, data.len ? XXH3_64bits(data.data, data.len) : 0};
    sim->trace = XXH3_64bits(words, sizeof words);
    if (sim->trace_out)
        fprintf(sim->trace_out, "%12llu.%09llu %-7s host %2d.%u  %llu %lld  %zu bytes %016llx\n",
                (unsigned long long)(sim->now / SIM_S), (unsigned long long)(sim->now % SIM_S), names[kind], (int)host,
                shard, (unsigned long long)a, (long long)b, data.len, (unsigned long long)words[7]);
}

static void step(struct sim *sim, struct sim_event *e)
{
    assert(e->at >= sim->now);
    sim->now = e->at;
    sim_queue_remove(&sim->queue, e);
    e->run(sim, e);
}

void sim_run_until(struct sim *sim, uint64_t time)
{
    for (struct sim_event *e; (e = sim_queue_first(&sim->queue)) && e->at <= time;)
        step(sim, e);
    if (sim->now < time)
        sim->now = time;
}

void sim_run_for(struct sim *sim, uint64_t ns)
{
    sim_run_until(sim, sim->now + ns);
}

bool sim_run_while(struct sim *sim, bool (*more)(void *ctx), void *ctx, uint64_t limit)
{
    uint64_t end = sim->now + limit;
    while (more(ctx)) {
        struct sim_event *e = sim_queue_first(&sim->queue);
        if (!e || e->at > end) {
            sim->now = end;
            return false;
        }
        step(sim, e);
    }
    return true;
}

static void run_call(struct sim *sim, struct sim_event *e)
{
    struct script_call *c = container_of(e, struct script_call, event);
    list_remove(&c->link);
    sim_trace(sim, TRACE_SCRIPT, NULL, 0, 0, 0, (struct cspan){0});
    c->fn(c->ctx);
    free(c);
}

void sim_call_at(struct sim *sim, uint64_t time, void (*fn)(void *ctx), void *ctx)
{
    struct script_call *c = calloc(1, sizeof *c);
    assert(c && time >= sim->now);
    *c = (struct script_call){.event.run = run_call, .fn = fn, .ctx = ctx};
    list_push_back(&sim->calls, &c->link);
    sim_queue_put(&sim->queue, &c->event, time);
}
