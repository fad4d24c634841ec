/* A shard tells what it has: its channels, how far their subscribers are behind, its peers, itself. */
#include <time.h>

#include "shards/node/mailbox.h"
#include "shards/report/scrape.h"
#include "shards/logs/view.h"

static struct msg_scrape_channel row_of(const struct log *log)
{
    struct log_heads heads;
    log_heads(log, &heads);
    bool stored = log->open && log->redex;
    return (struct msg_scrape_channel){
        .channel = log->name,
        .origin = log->key.origin,
        .hash = log->key.hash,
        .followed = log->key.edition > 0,
        .made_at = log->made_at,
        .first_seq = heads.first,
        .next_seq = heads.live,
        .sums = {.events = log->appended_events,
                 .bytes = log->appended_bytes,
                 .log_bytes = stored ? redex_bytes(log->redex) : 0,
                 .logs = 1,
                 .subscribers = log_readers(log),
                 .failing = stored && redex_error(log->redex) != NET_OK},
    };
}

/* The list is in order of age, and shard 0 shows the oldest of all: no more than that many can have a row. */
static void send_channels(struct shard *s, unsigned to, uint64_t request, struct msg_scrape_shard *own)
{
    uint32_t rows = 0;
    for (struct list *n = s->log_list.next; n != &s->log_list; n = n->next) {
        const struct log *log = container_of(n, struct log, in_shard);
        struct msg_scrape_channel row = row_of(log);
        if (!log->open && row.sums.subscribers == 0)
            continue; /* only watched: nothing there yet */
        own->log_bytes += row.sums.log_bytes;
        if (log->open && log->redex)
            own->unwritten_bytes += redex_unwritten_bytes(log->redex);
        if (log->open && log->kind == LOG_NONE)
            own->log_bytes += log->ring.size;
        bool over =
            log->key.edition && log_followed(s, log->key.origin, log->key.hash) != log; /* no row: it is still */
        if (!over && rows++ < s->config->metrics_channels)
            mailbox_send(s, to, MSG_SCRAPE_CHANNEL, 0, request, &row, sizeof row);
        else
            scrape_add(&own->rest, &row.sums);
    }
}

static void send_lags(struct shard *s, unsigned to, uint64_t request)
{
    struct scrape_lag batch[SCRAPE_BATCH];
    size_t count = 0;
    map_each(&s->views, slot)
    {
        const struct log_view *v = slot->value;
        if (!view_has_readers(v))
            continue;
        batch[count++] = (struct scrape_lag){v->key.hash, view_lag(v)};
        if (count == SCRAPE_BATCH) {
            mailbox_send(s, to, MSG_SCRAPE_LAGS, 0, request, batch, sizeof batch);
            count = 0;
        }
    }
    if (count)
        mailbox_send(s, to, MSG_SCRAPE_LAGS, 0, request, batch, count * sizeof batch[0]);
}

static void send_peers(struct shard *s, unsigned to, uint64_t request, struct msg_scrape_shard *own)
{
    struct scrape_peer batch[SCRAPE_BATCH];
    size_t count = 0;
    for (struct list *n = s->peer_list.next; n != &s->peer_list; n = n->next) {
        const struct peer *p = container_of(n, struct peer, in_shard);
        own->streams += p->streams.count;
        batch[count++] = (struct scrape_peer){p->node_id, p->tx_events, p->rx_events};
        if (count == SCRAPE_BATCH) {
            mailbox_send(s, to, MSG_SCRAPE_PEERS, 0, request, batch, sizeof batch);
            count = 0;
        }
    }
    if (count)
        mailbox_send(s, to, MSG_SCRAPE_PEERS, 0, request, batch, count * sizeof batch[0]);
}

/* Only a thread itself can tell it cheaply. */
static uint64_t cpu_time(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static uint64_t fullest_ring(const struct shard *s)
{
    uint64_t most = 0;
    for (unsigned to = 0; to < s->node->shard_count; to++) {
        uint64_t used = spsc_used(&s->node->rings[s->index * s->node->shard_count + to]);
        if (used > most)
            most = used;
    }
    return most;
}

void scrape_on_ask(struct shard *s, unsigned from, uint64_t request)
{
    struct msg_scrape_shard own = {
        .cpu_ns = cpu_time(),
        .timers = s->timers.count,
        .parked_messages = s->parked_count,
        .fullest_ring_bytes = fullest_ring(s), /* before the answer itself is in it */
    };
    send_channels(s, from, request, &own);
    send_lags(s, from, request);
    send_peers(s, from, request, &own);
    mailbox_send(s, from, MSG_SCRAPE_SHARD, 0, request, &own, sizeof own);
}
