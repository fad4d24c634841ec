/* Gathering what /metrics shows: shard 0 asks every shard, keeps what comes, and has it written when all have answered
 * or a second has passed. */
#include <assert.h>
#include <stdlib.h>

#include "core/base/err.h"
#include "shards/peers/contacts.h"
#include "shards/node/mailbox.h"
#include "shards/report/scrape.h"

static const uint64_t PATIENCE_NS = 1000000000;

static void rows_free(struct scrape_rows *rows)
{
    map_deinit(&rows->lag_of);
    map_deinit(&rows->peer_of);
    free(rows->channels.rows);
    free(rows->lags.rows);
    free(rows->peers.rows);
    free(rows);
}

/* Room for `more` rows of `size` bytes behind those there are; false: no memory. */
static bool grow(struct scrape_list *l, size_t more, size_t size)
{
    size_t want = l->room ? l->room : 64;
    while (want < l->count + more)
        want *= 2;
    if (want == l->room)
        return true;
    void *grown = realloc(l->rows, want * size);
    if (!grown)
        return false;
    l->rows = grown;
    l->room = want;
    return true;
}

/* The body of `r` is whole rows of `size` bytes. */
static void append(struct scrape_rows *rows, struct scrape_list *l, size_t size, const struct spsc_record *r)
{
    assert(r->len % size == 0);
    if (!grow(l, r->len / size, size)) {
        rows->no_memory = true;
        return;
    }
    memcpy((char *)l->rows + l->count * size, r->body, r->len);
    l->count += r->len / size;
}

void scrape_add(struct scrape_channel *to, const struct scrape_channel *from)
{
    to->events += from->events;
    to->bytes += from->bytes;
    to->log_bytes += from->log_bytes;
    to->logs += from->logs;
    to->subscribers += from->subscribers;
    to->failing += from->failing;
}

static int by_age(const void *a, const void *b)
{
    const struct msg_scrape_channel *x = a, *y = b;
    if (x->made_at != y->made_at)
        return x->made_at < y->made_at ? -1 : 1;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    if (x->origin != y->origin)
        return x->origin < y->origin ? -1 : 1;
    return x->followed - y->followed;
}

/* The oldest keep their rows: who comes later never takes one away. */
static void fold(struct scrape_rows *rows, uint32_t most)
{
    struct msg_scrape_channel *channels = rows->channels.rows;
    size_t count = rows->channels.count;
    if (count)
        qsort(channels, count, sizeof *channels, by_age);
    for (size_t i = most; i < count; i++)
        scrape_add(&rows->rest, &channels[i].sums);
    if (count > most)
        rows->channels.count = most;
}

/* A channel has subscribers on several shards, each with a slowest one. */
static void index_rows(struct scrape_rows *rows)
{
    struct scrape_lag *lags = rows->lags.rows;
    struct scrape_peer *peers = rows->peers.rows;
    for (size_t i = 0; i < rows->lags.count; i++) {
        const struct scrape_lag *other = map_get(&rows->lag_of, lags[i].hash);
        if (!other || other->lag < lags[i].lag)
            rows->no_memory |= map_put(&rows->lag_of, lags[i].hash, &lags[i]) != NET_OK;
    }
    for (size_t i = 0; i < rows->peers.count; i++)
        rows->no_memory |= map_put(&rows->peer_of, peers[i].node_id, &peers[i]) != NET_OK;
}

static void finish(struct metrics_scrape *m)
{
    struct shard *s = m->node.node->shards[0];
    struct scrape_rows *rows = m->node.rows;
    timer_cancel(&s->timers, &m->node.timer);
    list_remove(&m->node.link);
    fold(rows, s->config->metrics_channels);
    index_rows(rows);
    metrics_render(s->node, m);
    rows_free(rows);
    m->node.rows = NULL;
    m->done(m);
}

static void on_timer(struct timer *t, uint64_t now)
{
    (void)now;
    finish(container_of(t, struct metrics_scrape, node.timer));
}

int node_scrape(struct node *n, struct metrics_scrape *m)
{
    struct shard *s = n->shards[0];
    struct contacts *cs = s->contacts;
    memset(&m->node, 0, sizeof m->node);
    m->node.rows = calloc(1, sizeof *m->node.rows);
    if (!m->node.rows)
        return NET_ERR_NO_MEMORY;
    uint64_t seed[2];
    io_random(s->io, seed, sizeof seed);
    map_init(&m->node.rows->lag_of, seed[0]);
    map_init(&m->node.rows->peer_of, seed[1]);
    m->node.node = n;
    m->node.id = ++cs->next_id;
    m->node.waiting = n->shard_count;
    list_push_back(&cs->scrapes, &m->node.link);
    timer_init(&m->node.timer, on_timer);
    timer_arm(&s->timers, &m->node.timer, s->now + PATIENCE_NS);
    for (unsigned i = 0; i < n->shard_count; i++)
        mailbox_send(s, i, MSG_SCRAPE, 0, m->node.id, NULL, 0);
    return NET_OK;
}

void node_scrape_cancel(struct node *n, struct metrics_scrape *m)
{
    timer_cancel(&n->shards[0]->timers, &m->node.timer);
    list_remove(&m->node.link);
    rows_free(m->node.rows);
    m->node.rows = NULL;
}

static struct metrics_scrape *find(struct contacts *cs, uint64_t id)
{
    for (struct list *n = cs->scrapes.next; n != &cs->scrapes; n = n->next) {
        struct metrics_scrape *m = container_of(n, struct metrics_scrape, node.link);
        if (m->node.id == id)
            return m;
    }
    return NULL;
}

static void on_shard(struct metrics_scrape *m, unsigned from, const struct spsc_record *r)
{
    struct scrape_rows *rows = m->node.rows;
    assert(r->len == sizeof rows->shards[from]);
    memcpy(&rows->shards[from], r->body, sizeof rows->shards[from]);
    scrape_add(&rows->rest, &rows->shards[from].rest);
    rows->answered[from] = true;
    if (--m->node.waiting == 0)
        finish(m);
}

void scrape_on_row(struct shard *s, unsigned from, struct spsc_record *r)
{
    struct metrics_scrape *m = find(s->contacts, r->arg);
    struct scrape_rows *rows = m ? m->node.rows : NULL;
    if (!m)
        return; /* its client went away, or got what there was */
    if (r->kind == MSG_SCRAPE_CHANNEL)
        append(rows, &rows->channels, sizeof(struct msg_scrape_channel), r);
    else if (r->kind == MSG_SCRAPE_LAGS)
        append(rows, &rows->lags, sizeof(struct scrape_lag), r);
    else if (r->kind == MSG_SCRAPE_PEERS)
        append(rows, &rows->peers, sizeof(struct scrape_peer), r);
    else
        on_shard(m, from, r);
}
