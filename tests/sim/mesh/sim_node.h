/* Real nodes in the simulated world: what a test needs to make a mesh of them, drive them and look at what they hold.
 */
#ifndef NM_TESTS_SIM_SIM_NODE_H
#define NM_TESTS_SIM_SIM_NODE_H

#include "core/wire/wire.h"
#include "shards/node/control.h"
#include "shards/node/node.h"
#include "tests/sim/world/sim.h"

enum { MESH_MAX_NODES = 4096 };

struct mesh;
struct peer;

/* A machine that runs a node, over all its lives. */
struct mesh_node {
    struct mesh *mesh;
    unsigned number;
    struct sim_host *host;
    struct config config;
    struct netmesh_hooks hooks; /* of every life */
    struct node_secrets secrets;
    uint64_t node_id;
    uint8_t public_key[32];
    struct peer_entry *peers; /* what peers.yaml would hold at the next start */
    size_t peer_count, peer_room;
    struct subscription_entry *subscriptions;
    size_t subscription_count, subscription_room;
    struct node *node; /* NULL between lives */
    bool says;         /* what it has to say goes to the file /stderr of its disk */
    unsigned lives;
    struct config_error error;
};

struct mesh {
    struct sim *sim;
    uint8_t psk[32];
    struct mesh_node *nodes; /* room for MESH_MAX_NODES: they do not move */
    unsigned count;
};

void mesh_init(struct mesh *, uint64_t seed);
void mesh_deinit(struct mesh *);
/* A node with `shards` shards, default configuration, not started. Its settings may be changed before mesh_start(). */
struct mesh_node *mesh_add(struct mesh *, unsigned shards);
void mesh_know(struct mesh_node *, const struct mesh_node *other); /* a peer entry, with address and key */
/* An empty entry; the others may move. */
struct peer_entry *mesh_add_entry(struct mesh_node *);
struct subscription_entry *mesh_add_subscription(struct mesh_node *);
void mesh_subscribe(struct mesh_node *, const char *channel, const struct mesh_node *from); /* live */
void mesh_follow(struct mesh_node *, const char *channel, const struct mesh_node *from); /* as peers.yaml's default */
void mesh_start(struct mesh_node *);                                                     /* asserts that it starts */
bool mesh_try_start(struct mesh_node *); /* false: its disk does not let it start; m->error has why */
void mesh_kill(struct mesh_node *);
void mesh_crash(struct mesh_node *);
bool mesh_stop(struct mesh_node *, uint64_t limit_ns); /* the orderly stop; false: not done within the limit */

/* The same, not waited for: mesh_stopped() says when it is done and mesh_kill() takes it down then. */
void mesh_stop_begin(struct mesh_node *);
bool mesh_stopped(struct mesh_node *);

bool mesh_connected(struct mesh_node *, const struct mesh_node *other);
/* Runs until both ends of every entry are connected. False: not within the limit. */
bool mesh_settle(struct mesh *, uint64_t limit_ns);
/* Runs until the subscription is acknowledged. */
bool mesh_subscribed(struct mesh_node *, const char *channel, uint64_t limit_ns);

/* Publishes `count` events whose bytes follow from (tag, number from `from` on), and runs until they are acknowledged.
 * Returns how many were, and the first sequence. */
struct mesh_published {
    uint64_t events, first_seq;
    int err;
};
struct mesh_published mesh_publish(struct mesh_node *, const char *channel, uint32_t tag, uint64_t from, uint64_t count,
                                   bool durable, uint64_t limit_ns);
size_t mesh_event(uint32_t tag, uint64_t number, uint8_t out[256]); /* the bytes of one such event */

/* Reads a whole log (origin NULL: the node's own, else what came live of it), to the end it has now. */
struct mesh_log {
    struct mesh_entry {
        uint64_t seq;
        uint32_t tag; /* UINT32_MAX: the bytes are not of mesh_event() */
        uint64_t number;
    } * entries;
    size_t count, capacity;
    uint64_t gaps; /* sequences that are not there */
    int err;
};
struct mesh_log mesh_read(struct mesh_node *, const char *channel, const struct mesh_node *origin, uint64_t limit_ns);
/* The first log of that origin's that it followed. */
struct mesh_log mesh_read_followed(struct mesh_node *, const char *channel, const struct mesh_node *origin,
                                   uint64_t limit_ns);
void mesh_log_free(struct mesh_log *);

/* sim_control.c: requests of the admin port, run until answered; net_err, NET_ERR_TIMEOUT also when no answer came. */
int mesh_ask_subscribe(struct mesh_node *, const char *channel, const struct mesh_node *from, uint64_t timeout_ns);
/* As the admin port does without mode=live; *live: what was granted. */
int mesh_ask_follow(struct mesh_node *, const char *channel, const struct mesh_node *from, enum subscription_start,
                    uint64_t sequence, uint64_t timeout_ns, bool *live);
int mesh_ask_unsubscribe(struct mesh_node *, const char *channel, const struct mesh_node *from, uint64_t timeout_ns);
int mesh_ask_remove(struct mesh_node *, const struct mesh_node *other); /* one that mesh_know() told of */
int mesh_ask_add(struct mesh_node *, const struct mesh_node *other);

/* Inside a node: the other as its home shard knows it, or NULL. */
struct peer *mesh_peer(struct mesh_node *, const struct mesh_node *other);
/* A packet under the session of `m`, whatever its node would say to that: out of nowhere, at once. False: no session.
 */
bool mesh_send_sealed(struct mesh_node *m, const struct mesh_node *to, struct wire_header, struct cspan plaintext);

/* Sum over shards of a counter: MESH_COUNT(node, drop_auth). */
uint64_t mesh_counter(struct mesh_node *, size_t offset);
#define MESH_COUNT(n, field) mesh_counter((n), offsetof(struct shard_metrics, field))

#endif
