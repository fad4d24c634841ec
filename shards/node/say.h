/*
 * What a person should know: one line to whoever runs the node, where logging.level lets it through. For rare things
 * only, never on the way of a packet or an event. Any shard.
 */
#ifndef NM_SHARDS_NODE_SAY_H
#define NM_SHARDS_NODE_SAY_H

#include "shards/config/config.h"

struct node;

__attribute__((format(printf, 3, 4))) void node_say(const struct node *, enum config_level, const char *format, ...);

#endif
