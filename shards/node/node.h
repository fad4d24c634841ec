/*
 * A node: N shards that share nothing but the rings between them (design: "Shards and who owns what"). Whoever runs it
 * (shards/process/netmesh.c with threads and reactors, tests/sim in one thread) gives each shard its `struct io` and
 * calls shard_turn() after completions were dispatched, until shard_done().
 */
#ifndef NM_SHARDS_NODE_NODE_H
#define NM_SHARDS_NODE_NODE_H

#include "core/io/io.h"
#include "shards/config/config.h"
#include "shards/netmesh.h"
#include "shards/report/say_line.h"
#include "shards/reactor/reactor.h"

struct node;
struct shard;

struct node_options {
    const char *dir;              /* of the node; logs live in DIR/redex and DIR/redex-from */
    const struct config *config;  /* copied; config->shards is the real number here, not 0 */
    const struct config *read;    /* copied: the same as the files say it (shards.count: auto); NULL: no other */
    const char *const *overrides; /* --set, given again to a reload; must outlive the node */
    size_t override_count;
    const struct node_secrets *secrets; /* copied where needed; the caller wipes its own */
    struct peers_file peers;            /* ownership passes to the node, also on failure */
    struct netmesh_hooks hooks;         /* all NULL: none */
    uint32_t socket_buffer;             /* got, bytes; bounds the credit windows */
    bool gso, gro;
    /* say.h: takes whole lines, with their line feeds, at once, from any thread, before the shards run and after; while
     * they do, io->err is used where there is one. NULL: nobody wants to know anything. */
    void (*say)(const char *lines, size_t len);
    enum say_style say_style;
};

/* Allocates everything that does not need I/O. NET_ERR_INVALID (identity refused), NET_ERR_NO_MEMORY. */
int node_create(struct node **, const struct node_options *, struct config_error *);
void node_destroy(struct node *); /* after every shard is done (or never started); wipes secrets */

/* Called by the shard's thread, shard 0 last: opens the logs it owns, arms receiving. 0 or net_err with *error. */
int shard_start(struct node *, unsigned shard, struct io *, struct config_error *);
struct shard *node_shard(struct node *, unsigned shard);
/* Statistics of the back end, for /metrics; may be NULL. */
void shard_set_reactor_stats(struct shard *, const struct reactor_stats *);
/* Shard 0: called on its thread when everything but the admin port has come to rest; answer with node_admin_stopped().
 * With no callback set the stop goes on by itself. */
void node_on_quiesced(struct node *, void (*quiesced)(void *ctx), void *ctx);
void node_admin_stopped(struct node *);

/* What is reloaded with node.yaml by whoever runs the node, on shard 0's thread. */
struct node_reload_hooks {
    int (*prepare)(void *ctx, struct config_error *); /* before anything changes; an error: nothing does */
    void (*apply)(void *ctx, const struct config *);  /* every shard has the new configuration */
    void *ctx;
};
void node_on_reload(struct node *, const struct node_reload_hooks *);

/* One turn after completions: rings, timers, outputs, file writes. Returns when it wants the next one: 0 at once. */
uint64_t shard_turn(struct shard *);
bool shard_idle(void *shard);          /* nothing in its inbound rings; the sleep protocol asks this once more */
bool shard_done(const struct shard *); /* stopped: nothing pending, may be destroyed */

/* The orderly stop did not end in time: every shard was abandoned. What its back end still holds may not be freed. */
bool node_gave_up(const struct node *);
bool node_stop_incomplete(const struct node *); /* it did, but what a peer sent could not be written */
void shard_tell_unfinished(struct shard *);     /* on its thread, then: says what it leaves undone */

/* Nothing is pending in its back end any more, which goes next: lets go of what it holds there. On its thread. */
void shard_end(struct shard *);

/* A start that failed, or a stop: this shard ends by itself, without the orderly stop. Any thread. */
void shard_abandon(struct shard *);

/* Asks the node to stop; any thread, also a signal handler. */
void node_request_stop(struct node *);

#endif
