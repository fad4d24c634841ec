/* A node and its shards: what each holds, and what a turn of one is made of. Internal to this room. */
#ifndef NM_SHARDS_NODE_SHARD_H
#define NM_SHARDS_NODE_SHARD_H

#include <stdatomic.h>

#include "core/base/err.h"
#include "core/base/list.h"
#include "core/base/map.h"
#include "core/base/timer.h"
#include "core/channel/roster.h"
#include "core/identity/identity.h"
#include "core/ring/spsc.h"
#include "core/session/handshake.h"
#include "core/session/link.h"
#include "core/stream/fragment.h"
#include "shards/node/messages.h"
#include "shards/report/metrics.h"
#include "shards/node/node.h"
#include "shards/transport/packets.h"
#include "shards/report/say.h"
#include "storage/redex/redex.h"

/* The order of a stop; shard 0 leads, everybody reports each phase (stop.c). */
enum stop_phase { STOP_NONE, STOP_PUBLISHERS, STOP_LOGS, STOP_IO, STOP_DONE };

enum { RECEIVE_HANDLERS = 16 };

struct contacts;
struct tx_buffer;

struct node {
    const struct config *config; /* the newest, immutable; shard 0's: the shards read their own s->config */
    struct config started;       /* what the files said at the start */
    struct node_options options; /* pointers inside are not used after node_create, but dir */
    char dir[CONFIG_PATH_MAX];
    struct identity identity;
    struct handshake_local local;
    struct peers_file peers; /* as it was at the start; contacts hold what is true since */
    unsigned shard_count;
    struct shard **shards;
    struct spsc *rings;                   /* [from * shard_count + to] */
    atomic_size_t *referenced;            /* likewise: bytes that messages under way refer to (mailbox_give) */
    atomic_bool stop_requested, running;  /* running: shard 0 serves; before, the others look for shard_abandon() */
    atomic_bool gave_up;                  /* the stop took longer than it may: what is left is left */
    atomic_bool stop_incomplete;          /* or not, but not all that was received could be written */
    _Atomic(enum config_level) log_level; /* shard 0 sets it, node_say() and others look at it */
    void (*quiesced)(void *ctx);
    void *quiesced_ctx;
    struct node_reload_hooks reload_hooks;
    uint64_t started_ns, started_wall; /* when shard 0 began to serve */
};

struct shard {
    struct node *node;
    unsigned index;
    const struct config *config; /* the node's, as far as this shard has been told */
    struct link_config link_config;
    struct io *io;
    struct crypto *crypto;
    struct timer_wheel timers;
    uint64_t now; /* monotonic ns, of this turn or the completions before it */
    struct shard_metrics metrics;
    const struct reactor_stats *reactor_stats;

    struct list *parked; /* mailbox.c: per destination, what waits for room */
    uint32_t parked_count;
    uint64_t rung; /* bit per shard that got records in this turn and may need its doorbell */

    struct receive_handler { /* receive_handle() */
        uint16_t subprotocol;
        packet_handler *handler;
    } handlers[RECEIVE_HANDLERS];
    uint32_t handler_count;

    struct io_op recv;
    bool receiving;

    struct map sessions; /* rx id -> struct peer */
    struct map foreign;  /* v0.19 rx id that steers here -> (shard number + 1) as a pointer */
    struct map peers;    /* node id -> struct peer */
    struct list peer_list, tx_peers;
    struct map routes;                 /* node id -> struct route */
    struct fragment_budget reassembly; /* of all peers; limits.reassembly */
    uint64_t message_bytes;            /* of messages that wait to be sent in fragments */

    struct tx_buffer *tx_buffers;
    uint8_t *tx_memory;
    struct list tx_large, tx_small, tx_blocked;
    uint32_t tx_in_flight;
    struct packet_pool packets;
    struct list starved_streams, stalled_streams; /* that wait for a packet of the pool; for their handler */

    struct map logs;     /* log_map_key -> struct log */
    struct map followed; /* log_map_key of edition 1 -> struct log of the highest edition that is open */
    struct list log_list, grown_logs, dirty_logs, starved_logs;
    struct redex_syncs redex_syncs;
    struct redex_stats redex_stats;
    struct map views;            /* log_map_key -> struct log_view */
    struct map owner_publishers; /* log_publish.c: id -> struct owner_publisher */
    struct list spare_pending, spare_appends;
    struct list dirty_producers;     /* struct producers, of logs: what redex holds back waits for them */
    struct roster roster, followers; /* of the channels it owns: who gets them live, who follows them */
    uint64_t stream_epoch;           /* of the last stream that the application opened */

    struct contacts *contacts; /* shard 0 only */
    struct netmesh_shard *face;
    struct say_rate say;
    struct say_writer *writer; /* shard 0, where there is a stderr */
    enum stop_phase stopping;
    atomic_bool abandoned;
    uint32_t logs_closing;
    bool busy; /* wants another turn at once */
};

/* What netmesh.h calls a shard. */
struct netmesh_shard {
    struct shard *shard;
};

int shard_create(struct node *, unsigned index); /* NET_OK, NET_ERR_NO_MEMORY; node_destroy() frees it either way */
void shard_destroy(struct shard *);              /* nothing may be pending in its back end */

/* The shard that holds the logs of a channel, of whatever origin. */
static inline unsigned log_owner(const struct node *n, uint64_t channel_hash)
{
    return (unsigned)(channel_hash % n->shard_count);
}

/* stop.c */
void stop_on_message(struct shard *, enum stop_phase); /* shard 0 says: reach this phase */
void stop_log_closed(struct shard *);                  /* one of logs_closing is done */

#endif
