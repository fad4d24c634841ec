/* Machines, and the life of the process on each. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/sim/world/sim_internal.h"

enum { HALT_ROUNDS = 100000 };

/* ---- by address ---- */

static uint64_t addr_key(const struct io_addr *a)
{
    uint8_t bytes[sizeof a->ip + sizeof a->scope_id + sizeof a->port];
    memcpy(bytes, a->ip, sizeof a->ip);
    memcpy(bytes + sizeof a->ip, &a->scope_id, sizeof a->scope_id);
    memcpy(bytes + sizeof a->ip + sizeof a->scope_id, &a->port, sizeof a->port);
    return XXH3_64bits(bytes, sizeof bytes);
}

/* Where several have one address the earliest host is found. */
struct sim_host *sim_host_at(const struct sim *sim, const struct io_addr *addr)
{
    struct sim_host *h = map_get(&sim->host_map, addr_key(addr));
    while (h && !io_addr_equal(&h->addr, addr))
        h = h->next_at;
    return h;
}

static void set_slot(struct sim *sim, uint64_t key, struct sim_host *first)
{
    if (!first)
        map_remove(&sim->host_map, key);
    else if (map_put(&sim->host_map, key, first) != 0)
        assert(!"memory");
}

static void enter(struct sim_host *h)
{
    uint64_t key = addr_key(&h->addr);
    struct sim_host *first = map_get(&h->sim->host_map, key), **at = &first;
    while (*at && (*at)->number < h->number)
        at = &(*at)->next_at;
    h->next_at = *at;
    *at = h;
    set_slot(h->sim, key, first);
}

static void leave(struct sim_host *h)
{
    uint64_t key = addr_key(&h->addr);
    struct sim_host *first = map_get(&h->sim->host_map, key), **at = &first;
    while (*at != h)
        at = &(*at)->next_at;
    *at = h->next_at;
    set_slot(h->sim, key, first);
}

static void append_host(struct sim *sim, struct sim_host *h)
{
    if (sim->host_count == sim->host_room) {
        sim->host_room = sim->host_room ? sim->host_room * 2 : 16;
        sim->hosts = realloc(sim->hosts, sim->host_room * sizeof *sim->hosts);
        assert(sim->hosts);
    }
    h->number = sim->host_count;
    sim->hosts[sim->host_count++] = h;
}

struct sim_host *sim_add_host(struct sim *sim, unsigned shards)
{
    assert(shards >= 1 && shards <= 64);
    struct sim_host *h = calloc(1, sizeof *h);
    assert(h);
    h->sim = sim;
    h->shard_count = shards;
    h->link_base = sim->settings.link;
    append_host(sim, h);
    unsigned last = h->number + 1;
    h->addr = (struct io_addr){.port = 20037};
    memcpy(h->addr.ip, (uint8_t[16]){[10] = 0xff, 0xff, 10, (uint8_t)(last >> 16), (uint8_t)(last >> 8), (uint8_t)last},
           16);
    enter(h);
    disk_init(&h->disk);
    list_init(&h->streams);
    list_init(&h->backlog);
    return h;
}

struct io_addr sim_host_addr(const struct sim_host *h)
{
    return h->addr;
}

void sim_host_set_addr(struct sim_host *h, const struct io_addr *addr)
{
    leave(h);
    h->addr = *addr;
    enter(h);
}

void sim_host_set_send_error(struct sim_host *h, int error)
{
    h->send_error = error;
}

void sim_host_set_wall(struct sim_host *h, int64_t offset_ns)
{
    h->wall_offset = offset_ns;
}

uint64_t sim_host_local(const struct sim_host *h)
{
    __int128 gone = (__int128)(h->sim->now - h->skew_from);
    return h->skew_local + (uint64_t)(gone * (1000000 + h->skew_ppm) / 1000000);
}

/* The first moment at which the clock shows it. */
uint64_t sim_host_world(const struct sim_host *h, uint64_t local)
{
    if (local <= h->skew_local)
        return h->sim->now;
    __int128 rate = 1000000 + h->skew_ppm;
    return h->skew_from + (uint64_t)(((__int128)(local - h->skew_local) * 1000000 + rate - 1) / rate);
}

void sim_host_set_skew(struct sim_host *h, int32_t ppm)
{
    assert(ppm > -1000000);
    h->skew_local = sim_host_local(h);
    h->skew_from = h->sim->now;
    h->skew_ppm = ppm;
}

void sim_host_pause(struct sim_host *h, uint64_t ns)
{
    bool sooner = h->shards && h->sim->now + ns < h->paused_until;
    h->paused_until = h->sim->now + ns;
    for (unsigned i = 0; sooner && i < h->shard_count; i++)
        sim_shard_wake(&h->shards[i]);
}

void sim_host_starve(struct sim_host *h, unsigned shard, struct sim_range longer)
{
    assert(shard < h->shard_count);
    h->starved = shard;
    h->starve = longer;
}

void *sim_host_node(struct sim_host *h)
{
    return h->node;
}

uint64_t sim_host_boots(const struct sim_host *h)
{
    return h->boot;
}

struct sim_traffic sim_host_traffic(const struct sim_host *h)
{
    return h->traffic;
}

struct sim_disk_settings *sim_disk_settings(struct sim_host *h)
{
    return &h->disk.settings;
}

static void note(struct sim_host *h, enum trace_kind kind)
{
    sim_trace(h->sim, kind, h, 0, h->incarnation, h->boot, (struct cspan){0});
}

static void free_shards(struct sim_host *h)
{
    for (unsigned i = 0; i < h->shard_count; i++)
        sim_shard_deinit(&h->shards[i]);
    free(h->shards);
    h->shards = NULL;
    h->node = NULL;
}

static bool quiet(const struct sim_host *h)
{
    for (unsigned i = 0; i < h->shard_count; i++) {
        if (!list_empty(&h->shards[i].pending) || !list_empty(&h->shards[i].ready))
            return false;
    }
    return true;
}

/* Lets a node that is cut off unwind. Its clock runs on so that what waits for a deadline ends. */
static void halt(struct sim_host *h)
{
    for (unsigned round = 0; !h->ops->halt(h->node) || !quiet(h); round++) {
        assert(round < HALT_ROUNDS);
        for (unsigned i = 0; i < h->shard_count; i++) {
            struct sim_shard *s = &h->shards[i];
            s->io.now += SIM_MS;
            s->io.wall += SIM_MS;
            sim_shard_dispatch(s);
            h->ops->turn(h->node, i);
        }
    }
}

static void take_down(struct sim_host *h)
{
    h->in_node = true;
    sim_stream_reset_all(h);
    for (unsigned i = 0; i < h->shard_count; i++) {
        sim_queue_remove(&h->sim->queue, &h->shards[i].turn);
        sim_shard_clocks(&h->shards[i]);
        sim_op_cut_off(&h->shards[i]);
    }
    if (h->ops->halt)
        halt(h);
    else
        for (unsigned i = 0; i < h->shard_count; i++)
            sim_op_drop(&h->shards[i]);
    h->ops->destroy(h->node);
    free_shards(h);
    h->in_node = false;
}

static void lose_power(struct sim_host *h)
{
    disk_crash(&h->disk, &h->sim->rng);
    h->boot++;
    note(h, TRACE_CRASH);
}

/* The process is gone: what remains of its death. */
static void bury(struct sim_host *h)
{
    bool power_lost = h->power_lost;
    h->dying = h->power_lost = false;
    sim_queue_remove(&h->sim->queue, &h->death);
    if (power_lost)
        lose_power(h);
}

static void die(struct sim_host *h)
{
    take_down(h);
    bury(h);
}

static void run_death(struct sim *sim, struct sim_event *e)
{
    (void)sim;
    die(container_of(e, struct sim_host, death));
}

/* What is in flight happens, or not, or in part, and then nothing more. */
static void cut_off(struct sim_host *h)
{
    note(h, TRACE_KILL);
    for (unsigned i = 0; i < h->shard_count; i++)
        sim_op_settle(&h->shards[i]);
    for (unsigned i = 0; i < h->shard_count; i++)
        sim_op_cut_off(&h->shards[i]);
    h->dying = true;
}

void sim_host_crash_now(struct sim_host *h, bool power)
{
    assert(h->shards);
    if (h->dying)
        return;
    cut_off(h);
    h->power_lost = power;
    h->death.run = run_death;
    sim_queue_put(&h->sim->queue, &h->death, h->sim->now);
}

void sim_host_kill(struct sim_host *h)
{
    assert(!h->in_node);
    if (!h->shards)
        return;
    if (!h->dying)
        cut_off(h);
    die(h);
}

void sim_host_crash(struct sim_host *h)
{
    bool lost = h->dying && h->power_lost;
    sim_host_kill(h);
    if (!lost)
        lose_power(h);
}

bool sim_host_start(struct sim_host *h, const struct sim_node_ops *ops, void *ctx)
{
    assert(!h->shards && ops);
    h->ops = ops;
    h->ctx = ctx;
    h->incarnation++;
    h->paused_until = 0;
    h->traffic = (struct sim_traffic){0};
    note(h, TRACE_START);
    h->shards = calloc(h->shard_count, sizeof *h->shards);
    assert(h->shards);
    struct io *ios[64];
    for (unsigned i = 0; i < h->shard_count; i++) {
        sim_shard_init(&h->shards[i], h, i);
        ios[i] = &h->shards[i].io;
    }
    h->in_node = true;
    h->node = ops->create(ctx, ios, h->shard_count);
    h->in_node = false;
    if (h->dying && h->node) {
        die(h);
        return false;
    }
    if (!h->node) {
        for (unsigned i = 0; i < h->shard_count; i++)
            sim_op_drop(&h->shards[i]);
        free_shards(h);
        bury(h);
        return false;
    }
    for (unsigned i = 0; i < h->shard_count; i++)
        sim_shard_wake(&h->shards[i]);
    return true;
}

bool sim_host_restart(struct sim_host *h)
{
    sim_host_kill(h);
    return sim_host_start(h, h->ops, h->ctx);
}

void sim_host_poke(struct sim_host *h, unsigned shard)
{
    assert(h->shards && shard < h->shard_count && !h->in_node);
    sim_shard_clocks(&h->shards[shard]);
    sim_shard_wake(&h->shards[shard]);
}

void sim_host_signal(struct sim_host *h, int signal)
{
    assert(signal > 0 && signal < 64);
    if (!h->shards)
        return;
    h->shards[0].signals |= UINT64_C(1) << signal;
    sim_shard_wake(&h->shards[0]);
}

void sim_disk_fault(struct sim_host *h, const struct sim_fault *fault)
{
    struct disk *d = &h->disk;
    d->faults = realloc(d->faults, (d->fault_count + 1) * sizeof *d->faults);
    assert(d->faults);
    d->faults[d->fault_count++] = *fault;
}

void sim_disk_clear_faults(struct sim_host *h)
{
    h->disk.fault_count = 0;
}

unsigned sim_disk_rot(struct sim_host *h, const char *suffix, unsigned bits)
{
    return disk_rot(&h->disk, &h->sim->rng, suffix, bits);
}

unsigned sim_disk_bad_sectors(struct sim_host *h, const char *suffix, unsigned sectors)
{
    return disk_bad_sectors(&h->disk, &h->sim->rng, suffix, sectors);
}

void sim_disk_heal(struct sim_host *h)
{
    for (size_t n = 0; n < h->disk.inode_count; n++)
        h->disk.inodes[n]->bad_count = 0;
}

void sim_disk_on_op(struct sim_host *h, sim_disk_op_fn *fn, void *ctx)
{
    h->disk_op = fn;
    h->disk_op_ctx = ctx;
    h->disk_ops = 0;
}

bool sim_disk_op_begins(struct sim_host *h, enum io_kind kind, const char *path)
{
    if (h->disk_op)
        h->disk_op(h->disk_op_ctx, &(struct sim_disk_event){h->disk_ops, kind, path, false});
    return !h->dying;
}

void sim_disk_op_ended(struct sim_host *h, enum io_kind kind, const char *path)
{
    if (h->disk_op)
        h->disk_op(h->disk_op_ctx, &(struct sim_disk_event){h->disk_ops++, kind, path, true});
}
