/* What the files that write /metrics share. */
#ifndef NM_SHARDS_NODE_METRICS_INTERNAL_H
#define NM_SHARDS_NODE_METRICS_INTERNAL_H

#include "shards/report/exposition.h"
#include "shards/report/scrape.h"

/* metrics_rows.c: the families with a row for each channel or peer */
void metrics_put_channels(struct exposition *, const struct scrape_rows *);
void metrics_put_peers(struct exposition *, struct node *, const struct scrape_rows *);

#endif
