/*
 * The admin port: HTTP/1.1, JSON and NDJSON over the node's own ring, on shard 0 (API.md beside this file).
 */
#ifndef NM_SHARDS_ADMIN_ADMIN_H
#define NM_SHARDS_ADMIN_ADMIN_H

#include "core/io/io.h"
#include "shards/node/control.h"

struct admin;

struct admin_stats { /* since the start; only shard 0 reads them */
    uint64_t connections, refused, evicted, requests, unauthorized, bad_requests, bytes_in, bytes_out;
    uint64_t open; /* connections now */
};

/* Accepts on io->listener. The tokens are copied, io and node must outlive the port. 0, NET_ERR_INVALID (tokens), or
 * NET_ERR_NO_MEMORY. */
int admin_init(struct admin **, struct io *, struct node *, const struct config *, const struct node_tokens *);
/* Others from the next request on. NET_ERR_INVALID: one does not have a token's form, and nothing changes. */
int admin_set_tokens(struct admin *, const struct node_tokens *);
/* What of admin.* counts from now on, also for connections that are open; of admin.listen, what was bound stays. */
void admin_apply(struct admin *, const struct config *);
const struct admin_stats *admin_get_stats(const struct admin *);
/* Idle and slow connections end by this; call when now >= admin_deadline(), monotonic ns, UINT64_MAX for never. */
uint64_t admin_deadline(const struct admin *);
void admin_tick(struct admin *, uint64_t now);
/* Stops accepting, ends tails and publishes with what they have, closes connections except those waiting for the end of
 * the process (POST /v1/shutdown). `stopped` is called when no operation is pending, possibly from inside; then
 * admin_deinit may be called, also from `stopped`. It takes a second at most, given admin_tick. */
void admin_stop(struct admin *, void (*stopped)(void *ctx), void *ctx);
void admin_deinit(struct admin *); /* wipes the tokens */

#endif
