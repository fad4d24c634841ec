/* A shard's life: start, turn, stop. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "shards/channels/append.h"
#include "shards/peers/contacts.h"
#include "shards/logs/log.h"
#include "shards/node/mailbox.h"
#include "shards/peers/peer.h"
#include "shards/transport/receive.h"
#include "shards/node/reload.h"
#include "shards/transport/transmit.h"

enum { ROSTER_CHANNELS = 65536 };
enum { SYNCS_IN_FLIGHT = 8 }; /* files; the kernel has 4 workers per CPU for this ring, and a write needs one too */
static const uint64_t BLOCKED_RETRY_NS = 200000;   /* a socket or a ring had no room: look again soon */
static const uint64_t DISK_RETRY_NS = 100000000;   /* a write failed (redex_flush) */
static const uint64_t CONTROL_WAKE_NS = 100000000; /* shard 0 looks for a stop asked by another thread */
/* Only a doorbell tells a sleeping shard of a message: should one ever be lost, the message waits so long. */
static const uint64_t LONGEST_SLEEP_NS = 1000000000;

int shard_create(struct node *n, unsigned index)
{
    struct shard *s = calloc(1, sizeof *s);
    if (!s)
        return NET_ERR_NO_MEMORY;
    n->shards[index] = s;
    s->node = n;
    s->index = index;
    shard_set_config(s, n->config);
    s->parked = calloc(n->shard_count, sizeof *s->parked);
    s->face = calloc(1, sizeof *s->face);
    if (!s->parked || !s->face)
        return NET_ERR_NO_MEMORY;
    s->face->shard = s;
    for (unsigned i = 0; i < n->shard_count; i++)
        list_init(&s->parked[i]);
    struct list *lists[] = {&s->peer_list,       &s->tx_peers,      &s->log_list,       &s->grown_logs,
                            &s->dirty_logs,      &s->starved_logs,  &s->spare_pending,  &s->starved_streams,
                            &s->stalled_streams, &s->spare_appends, &s->dirty_producers};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    receive_init(s);
    packet_pool_init(&s->packets, n->config->max_unacknowledged);
    redex_syncs_init(&s->redex_syncs, SYNCS_IN_FLIGHT);
    return transmit_init(s);
}

static void seed_maps(struct shard *s)
{
    struct map *maps[] = {&s->sessions, &s->foreign,  &s->peers, &s->routes,
                          &s->logs,     &s->followed, &s->views, &s->owner_publishers};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        uint64_t seed;
        io_random(s->io, &seed, sizeof seed);
        map_init(maps[i], seed);
    }
}

int shard_start(struct node *n, unsigned index, struct io *io, struct config_error *error)
{
    struct shard *s = n->shards[index];
    s->io = io;
    s->now = io_now(io);
    error->text[0] = '\0';
    seed_maps(s);
    timer_wheel_init(&s->timers, s->now);
    int err = say_init(s);
    if (!err)
        err = crypto_init(&s->crypto, NULL);
    uint64_t seed;
    io_random(io, &seed, sizeof seed);
    if (!err)
        err = roster_init(&s->roster, s->config->max_channels, s->config->max_channels_per_peer, seed);
    if (!err)
        err = roster_init(&s->followers, s->config->max_channels, s->config->max_channels_per_peer, seed);
    if (!err)
        err = log_open_all(s, error);
    if (!err && index == 0)
        err = contacts_init(s, error);
    if (err) {
        if (!error->text[0])
            text_format(error->text, sizeof error->text, "shard %u: %s", index, net_err_text(err));
        return err;
    }
    if (index == 0) {
        n->started_ns = s->now;
        n->started_wall = io_wall(io);
        atomic_store_explicit(&n->running, true, memory_order_relaxed);
    }
    receive_start(s);
    if (n->options.hooks.on_start)
        n->options.hooks.on_start(n->options.hooks.ctx, s->face, index);
    return NET_OK;
}

static void free_routes(struct shard *s)
{
    map_each(&s->routes, slot) free(slot->value);
}

static void free_views(struct shard *s)
{
    map_each(&s->views, slot) free(slot->value);
}

void shard_end(struct shard *s)
{
    if (s->io)
        log_abandon_all(s); /* of a start that failed, or a stop that was given up */
}

void shard_destroy(struct shard *s)
{
    if (!s)
        return;
    if (s->io) {
        shard_end(s);
        contacts_deinit(s);
        while (!list_empty(&s->peer_list))
            peer_forget(container_of(list_first(&s->peer_list), struct peer, in_shard));
        log_publishers_free(s);
        log_free_all(s);
        append_spare_free(s);
        free_views(s);
        free_routes(s);
        roster_deinit(&s->roster);
        roster_deinit(&s->followers);
        crypto_deinit(s->crypto);
        struct map *maps[] = {&s->sessions, &s->foreign,  &s->peers, &s->routes,
                              &s->logs,     &s->followed, &s->views, &s->owner_publishers};
        for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++)
            map_deinit(maps[i]);
    }
    mailbox_discard(s);
    packet_pool_deinit(&s->packets);
    transmit_deinit(s);
    say_deinit(s);
    free(s->parked);
    free(s->face);
    free(s);
}

/* Everybody who wants to send, once, as far as buffers and its share go. */
static void pull_all(struct shard *s)
{
    struct list waiting, *n;
    list_init(&waiting);
    while ((n = list_pop(&s->tx_peers)))
        list_push_back(&waiting, n);
    while ((n = list_pop(&waiting))) {
        struct peer *p = container_of(n, struct peer, tx);
        if (peer_pull(p))
            peer_wants_tx(p);
    }
    if (!list_empty(&s->tx_peers) && !list_empty(&s->tx_large) && !list_empty(&s->tx_small))
        s->busy = true; /* a share was used up, not the buffers */
}

static uint64_t next_deadline(struct shard *s)
{
    if (s->busy)
        return 0;
    uint64_t at = timer_wheel_next(&s->timers);
    /* Nobody says when room comes back. */
    if (!list_empty(&s->tx_blocked) || !list_empty(&s->starved_logs) || !list_empty(&s->stalled_streams) ||
        s->parked_count)
        at = timer_earlier(at, s->now + BLOCKED_RETRY_NS);
    if (!list_empty(&s->dirty_logs))
        at = timer_earlier(at, s->now + DISK_RETRY_NS);
    at = timer_earlier(at, say_deadline(s));
    bool watched = s->index == 0 || !atomic_load_explicit(&s->node->running, memory_order_relaxed);
    if (watched)
        at = timer_earlier(at, s->now + CONTROL_WAKE_NS);
    return timer_earlier(at, s->now + LONGEST_SLEEP_NS);
}

static void publish_gauges(struct shard *s)
{
    counter_set(&s->metrics.gauge_peers, s->peers.count);
    counter_set(&s->metrics.gauge_sessions, s->sessions.count);
    counter_set(&s->metrics.gauge_logs, s->logs.count);
    counter_set(&s->metrics.gauge_unacknowledged, s->packets.used);
}

uint64_t shard_turn(struct shard *s)
{
    s->now = io_now(s->io);
    s->busy = false;
    COUNT(s, turns);
    if (s->index == 0 && atomic_load_explicit(&s->node->stop_requested, memory_order_relaxed))
        node_shutdown(s->node);
    mailbox_drain(s);
    timer_wheel_advance(&s->timers, s->now);
    const struct netmesh_hooks *hooks = &s->node->options.hooks;
    if (hooks->on_turn && s->stopping == STOP_NONE && hooks->on_turn(hooks->ctx, s->face))
        s->busy = true;
    log_retry(s);
    log_tell(s);
    if (s->contacts) {
        tails_wake(s->contacts);
        publishers_retry(s->contacts);
    }
    transmit_retry(s);
    streams_offer(s);
    streams_fed(s);
    if (s->stopping < STOP_LOGS)
        pull_all(s);
    producers_flush_all(&s->dirty_producers);
    if (redex_flush_all(&s->dirty_logs))
        s->busy = true;
    say_turn(s);
    mailbox_flush(s);
    publish_gauges(s);
    return next_deadline(s);
}

bool shard_idle(void *shard)
{
    struct shard *s = shard;
    unsigned n = s->node->shard_count;
    if (atomic_load_explicit(&s->abandoned, memory_order_relaxed))
        return false; /* told by a doorbell alone, and perhaps before it was asleep */
    for (unsigned from = 0; from < n; from++)
        if (!spsc_empty(&s->node->rings[from * n + s->index]))
            return false;
    return true;
}

bool shard_done(const struct shard *s)
{
    if (atomic_load_explicit(&s->abandoned, memory_order_relaxed))
        return true; /* the reactor cancels and waits for what is pending */
    return s->stopping == STOP_DONE && !s->receiving && s->tx_in_flight == 0;
}

void shard_set_reactor_stats(struct shard *s, const struct reactor_stats *stats)
{
    s->reactor_stats = stats;
}

void shard_abandon(struct shard *s)
{
    atomic_store_explicit(&s->abandoned, true, memory_order_relaxed);
}
