/* What /metrics shows of channels, peers and shards, gathered from all shards by shard 0. Bounded: beyond
 * metrics.channels and metrics.peers the youngest share one row. */
#ifndef NM_SHARDS_NODE_SCRAPE_H
#define NM_SHARDS_NODE_SCRAPE_H

#include "shards/node/shard.h"

struct scrape_list {
    void *rows;
    size_t count, room;
};

struct scrape_rows {
    struct scrape_list channels; /* struct msg_scrape_channel; when complete: the oldest, oldest first */
    struct scrape_list lags;     /* struct scrape_lag */
    struct scrape_list peers;    /* struct scrape_peer */
    struct scrape_channel rest;  /* of all logs without a row of their own */
    struct msg_scrape_shard shards[CONFIG_MAX_SHARDS];
    bool answered[CONFIG_MAX_SHARDS];
    bool no_memory;             /* rows are missing */
    struct map lag_of, peer_of; /* when complete: hash -> the largest lag, node id -> peer */
};

/* scrape_answer.c: every shard; sends what it has */
void scrape_on_ask(struct shard *, unsigned from, uint64_t request);
/* scrape.c: shard 0, but for the sum */
void scrape_add(struct scrape_channel *to, const struct scrape_channel *from);
void scrape_on_row(struct shard *, unsigned from, struct spsc_record *);
/* metrics.c: the text of all families, when the rows are there */
void metrics_render(struct node *, struct metrics_scrape *);

#endif
