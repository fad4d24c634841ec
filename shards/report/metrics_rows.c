/* The families of /metrics that have a row for each channel and each peer, as many as metrics.channels and
 * metrics.peers allow; the rest shares one. No channel has the origin "_other" and no peer the id "", whatever their
 * names. */
#include <inttypes.h>
#include <stdio.h>

#include "shards/peers/contacts.h"
#include "shards/report/metrics_internal.h"

static const char OTHER[] = "_other";

/* ---- channels ---- */

/* A figure of a channel; `row` is NULL for what the channels without a row have together. False: it has none. */
typedef bool channel_figure(const struct scrape_rows *, const struct msg_scrape_channel *row,
                            const struct scrape_channel *sums, uint64_t *out);

#define SUM(field)                                                                                                     \
    static bool figure_##field(const struct scrape_rows *rows, const struct msg_scrape_channel *row,                   \
                               const struct scrape_channel *sums, uint64_t *out)                                       \
    {                                                                                                                  \
        (void)rows;                                                                                                    \
        (void)row;                                                                                                     \
        *out = sums->field;                                                                                            \
        return true;                                                                                                   \
    }
SUM(events)
SUM(bytes)
SUM(log_bytes)
SUM(failing)
#undef SUM

static bool figure_first_seq(const struct scrape_rows *rows, const struct msg_scrape_channel *row,
                             const struct scrape_channel *sums, uint64_t *out)
{
    (void)rows;
    (void)sums;
    *out = row ? row->first_seq : 0;
    return row != NULL;
}

static bool figure_next_seq(const struct scrape_rows *rows, const struct msg_scrape_channel *row,
                            const struct scrape_channel *sums, uint64_t *out)
{
    (void)rows;
    (void)sums;
    *out = row ? row->next_seq : 0;
    return row != NULL;
}

/* Only this node's own channels have subscribers. */
static bool figure_subscribers(const struct scrape_rows *rows, const struct msg_scrape_channel *row,
                               const struct scrape_channel *sums, uint64_t *out)
{
    (void)rows;
    *out = sums->subscribers;
    return !row || row->origin == 0;
}

static bool has_row(const struct scrape_rows *rows, uint64_t hash)
{
    const struct msg_scrape_channel *channels = rows->channels.rows;
    for (size_t i = 0; i < rows->channels.count; i++)
        if (channels[i].origin == 0 && channels[i].hash == hash)
            return true;
    return false;
}

static bool figure_lag(const struct scrape_rows *rows, const struct msg_scrape_channel *row,
                       const struct scrape_channel *sums, uint64_t *out)
{
    (void)sums;
    const struct scrape_lag *lag = row && row->origin == 0 ? map_get(&rows->lag_of, row->hash) : NULL;
    *out = lag ? lag->lag : 0;
    if (row)
        return lag != NULL;
    map_each(&rows->lag_of, slot)
    {
        const struct scrape_lag *l = slot->value;
        if (l->lag > *out && !has_row(rows, l->hash))
            *out = l->lag;
    }
    return true;
}

static const struct {
    const char *name, *type, *help;
    channel_figure *figure;
} channel_families[] = {
    {"channel_events_total", "counter", "Events appended to the channel's log since the node started", figure_events},
    {"channel_bytes_total", "counter", "Bytes of those events", figure_bytes},
    {"channel_first_seq", "gauge", "Sequence of the oldest event that is kept", figure_first_seq},
    {"channel_next_seq", "gauge", "Sequence that the next event gets", figure_next_seq},
    {"channel_log_bytes", "gauge", "Payload that the log holds", figure_log_bytes},
    {"channel_subscribers", "gauge", "Peers that subscribe to this node's channel", figure_subscribers},
    {"channel_lag_events", "gauge", "Events the slowest subscriber has still to be sent", figure_lag},
    {"channel_failing", "gauge", "1 while the log refuses appends", figure_failing},
};

static void put_channel(struct exposition *e, size_t family, const struct scrape_rows *rows,
                        const struct msg_scrape_channel *row)
{
    char origin[24] = "self";
    uint64_t value;
    if (!channel_families[family].figure(rows, row, row ? &row->sums : &rows->rest, &value))
        return;
    if (row && row->origin)
        snprintf(origin, sizeof origin, "0x%016" PRIx64, row->origin);
    exposition_no_labels(e);
    exposition_label(e, "channel", row ? row->channel.text : OTHER);
    exposition_label(e, "origin", row ? origin : OTHER);
    if (row && row->followed)
        exposition_label(e, "log", "followed");
    exposition_u64(e, value);
}

void metrics_put_channels(struct exposition *e, const struct scrape_rows *rows)
{
    const struct msg_scrape_channel *channels = rows->channels.rows;
    for (size_t f = 0; f < sizeof channel_families / sizeof channel_families[0]; f++) {
        exposition_family(e, channel_families[f].name, channel_families[f].type, channel_families[f].help);
        for (size_t i = 0; i < rows->channels.count; i++)
            put_channel(e, f, rows, &channels[i]);
        if (rows->rest.logs)
            put_channel(e, f, rows, NULL);
    }
    exposition_family(e, "channels_folded", "gauge", "Logs that share the row channel=\"_other\": metrics.channels");
    exposition_u64(e, rows->rest.logs);
}

/* ---- peers ---- */

enum peer_figure { PEER_UP, PEER_RTT, PEER_TX_EVENTS, PEER_RX_EVENTS };

static const struct {
    const char *name, *type, *help;
} peer_families[] = {
    [PEER_UP] = {"peer_up", "gauge", "1 while a session with the peer is in use"},
    [PEER_RTT] = {"peer_rtt_seconds", "gauge", "Round trip of the last handshake with the peer"},
    [PEER_TX_EVENTS] = {"peer_tx_events_total", "counter", "Events sent to the peer since it is known"},
    [PEER_RX_EVENTS] = {"peer_rx_events_total", "counter", "Events received from the peer since it is known"},
};

struct peer_walk {
    struct exposition *e;
    const struct scrape_rows *rows;
    enum peer_figure figure;
    uint32_t most, seen;
    uint64_t rest;
};

static uint64_t peer_value(const struct peer_walk *w, const struct peer_row *row)
{
    const struct scrape_peer *p = map_get(&w->rows->peer_of, row->node_id);
    switch (w->figure) {
    case PEER_UP:
        return row->state == PEER_CONNECTED;
    case PEER_RTT:
        return row->rtt_ns;
    case PEER_TX_EVENTS:
        return p ? p->tx_events : 0;
    default:
        return p ? p->rx_events : 0;
    }
}

static void on_peer(void *ctx, const struct peer_row *row)
{
    struct peer_walk *w = ctx;
    char id[24];
    uint64_t value = peer_value(w, row);
    if (w->seen++ >= w->most) {
        w->rest += value;
        return;
    }
    if (w->figure == PEER_RTT && !row->has_rtt)
        return;
    snprintf(id, sizeof id, "0x%016" PRIx64, row->node_id);
    exposition_no_labels(w->e);
    exposition_label(w->e, "peer", row->name ? row->name : id);
    exposition_label(w->e, "node_id", id);
    if (w->figure == PEER_RTT)
        exposition_ns(w->e, value);
    else
        exposition_u64(w->e, value);
}

void metrics_put_peers(struct exposition *e, struct node *n, const struct scrape_rows *rows)
{
    struct peer_walk w = {.e = e, .rows = rows, .most = n->shards[0]->config->metrics_peers};
    for (size_t f = 0; f < sizeof peer_families / sizeof peer_families[0]; f++) {
        exposition_family(e, peer_families[f].name, peer_families[f].type, peer_families[f].help);
        w.figure = (enum peer_figure)f;
        w.seen = 0;
        w.rest = 0;
        node_each_peer(n, on_peer, &w);
        if (w.seen <= w.most || w.figure == PEER_RTT)
            continue;
        exposition_no_labels(e);
        exposition_label(e, "peer", OTHER);
        exposition_label(e, "node_id", "");
        exposition_u64(e, w.rest);
    }
    exposition_family(e, "peers_folded", "gauge", "Peers that share the row peer=\"_other\": metrics.peers");
    exposition_u64(e, w.seen > w.most ? w.seen - w.most : 0);
}
