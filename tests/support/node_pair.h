/* Two node directories that know each other, for what needs real nodes: sockets, threads, files. */
#ifndef NM_TESTS_SUPPORT_NODE_PAIR_H
#define NM_TESTS_SUPPORT_NODE_PAIR_H

#include "shards/config/config.h"

enum { NODE_PAIR_PATH = 96 };

struct node_pair {
    char root[NODE_PAIR_PATH], a[NODE_PAIR_PATH + 2], b[NODE_PAIR_PATH + 2];
    uint16_t port_a, port_b, admin_a, admin_b;
};

/* Makes both below /var/tmp, on free ports of 127.0.0.1. b subscribes to `forth` of a; a to `back` of b (NULL: not).
 * Asserts on failure. */
void node_pair_make(struct node_pair *, const char *forth, const char *back, enum subscription_mode);
void node_pair_remove(struct node_pair *); /* and everything in it */

#endif
