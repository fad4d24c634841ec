/* Asking a node for all that `top` shows. */
#ifndef NM_CLI_TOP_FETCH_H
#define NM_CLI_TOP_FETCH_H

#include "cli/client.h"
#include "cli/top/read.h"

enum { TOP_TROUBLE_MAX = 256 };

/*
 * Fills an initialised look; routes that the node does not have stay unknown. Looks at `watch` while it waits. False:
 * it did not work, `trouble` says why, and `*code` is the exit code that stands for it.
 */
bool top_fetch(struct client *, const struct http_watch *watch, struct top_look *, char trouble[TOP_TROUBLE_MAX],
               int *code);

#endif
