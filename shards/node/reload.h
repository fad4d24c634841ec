/*
 * node.yaml read again while the node runs (node_reload() of control.h). Shard 0 reads and checks it, makes a new
 * immutable configuration of what can change at run time, sends it to all shards by reference, and frees the old one
 * when all have answered. One reload at a time; who asks meanwhile is answered by the one after it.
 */
#ifndef NM_SHARDS_NODE_RELOAD_H
#define NM_SHARDS_NODE_RELOAD_H

#include "shards/node/shard.h"

struct contacts;

int reload_init(struct contacts *); /* NET_ERR_NO_MEMORY */
void reload_deinit(struct contacts *);
/* The node stops: who waits is told so. What is under way ends by itself and changes nothing. */
void reload_abort(struct contacts *);
bool reload_busy(const struct contacts *); /* a file is being read */

/* On every shard: the configuration as it is from now on. */
void shard_set_config(struct shard *, const struct config *);
void reload_on_config(struct shard *, const struct config *);
/* On shard 0: a shard has it; it keeps so many open logs as they are, though channels.log says otherwise. */
void reload_on_configured(struct shard *, uint64_t logs_kept);

#endif
