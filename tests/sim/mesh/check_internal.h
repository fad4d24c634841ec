/* What the files of the checks share. */
#ifndef NM_TESTS_SIM_MESH_CHECK_INTERNAL_H
#define NM_TESTS_SIM_MESH_CHECK_INTERNAL_H

#include "shards/logs/log.h"
#include "shards/netmesh.h"
#include "tests/sim/mesh/check.h"

/* ---- the ledger (check_ledger.c) ---- */

/* A publish or an append that was answered. */
struct acked {
    uint64_t from, count; /* numbers */
    uint64_t first_seq;   /* CHECK_SEQ: not known */
    bool durable;
    unsigned life; /* of the log's node, */
    uint64_t boot; /* and of its machine, when it was stored or earlier */
};

/* Who produces the events of one tag, all for one log. */
struct source {
    uint32_t tag;
    struct ledger *ledger;
    uint64_t handed; /* numbers below */
    bool retries;    /* what got no answer is handed over again, */
    bool synced;     /* and asked to be synced */
    struct acked *acked;
    size_t count, room;
};

struct held { /* an event in a log, or known to have been */
    uint64_t seq, number, ts_ns;
    uint32_t tag; /* UINT32_MAX: no event of ours */
    uint32_t len;
};

struct holding { /* all that a log has, by sequence */
    struct held *all;
    size_t count, room;
    uint64_t first, next; /* as the log says */
    uint8_t id[LOG_ID_SIZE];
};

/* What was handed over for one log of a node's own, and what was ever seen in it. */
struct ledger {
    const struct mesh_node *at;
    struct channel_name channel;
    uint64_t hash;
    struct source **sources;
    size_t count, room;
    struct holding seen; /* of the log of this id, whatever became of it since */
};

struct ledger *ledger_find(struct check *, const struct mesh_node *at, uint64_t hash); /* NULL: nothing was handed */
struct source *ledger_source(struct check *, uint32_t tag);                            /* NULL: nobody's */
void ledger_acked(struct check *, struct source *, const struct acked *);
/* What the node has there now. False: no such log, or none that can be read; *out is empty then. holding_free(). */
bool holding_read(struct mesh_node *, struct log_key, struct holding *out);
bool holding_of(struct log *, struct holding *out);
const struct held *holding_find(const struct holding *, uint64_t seq); /* NULL: it is not there */
void holding_free(struct holding *);

/* ---- what was delivered (check_hooks.c) ---- */

/* Events of one source at one other node. */
struct delivered {
    unsigned life;  /* of the node they came to */
    uint8_t *times; /* that each number came */
    size_t room;
    uint64_t next; /* behind the highest */
};

/* A reliable stream of the application, from its opening to its end. */
struct streamed {
    uint64_t from, to, id; /* node ids; the stream's */
    uint32_t tag;
    unsigned from_life, to_life; /* to_life 0: nothing has come */
    uint64_t taken, came;        /* events */
    bool ended;                  /* its sender was told, or restarted */
};

struct check_node {
    struct check *check;
    struct mesh_node *m;
    struct netmesh_hooks chained;
    bool excused;
    unsigned interruptions; /* of its follows */
    unsigned life;          /* that `counters` are of */
    uint64_t *counters;     /* by shard and row of the table in metrics.h */
};

struct check_state {
    struct check_node *nodes;
    unsigned node_count;
    struct ledger **ledgers;
    size_t ledger_count, ledger_room;
    struct map sources;   /* struct source by tag */
    struct map delivered; /* struct delivered by node, way and tag */
    struct streamed *streamed;
    size_t streamed_count, streamed_room;
    struct workload *workloads; /* the last one first */
    uint32_t next_tag;
    bool stopped; /* workload_stop() */
};

/* Notes what is wrong, if it is the first thing; false. */
bool check_fail(struct check *, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct check_node *check_node(struct check *, const struct mesh_node *);
struct mesh_node *check_by_id(struct check *, uint64_t node_id); /* NULL: not of this mesh */
/* Room for one more of `size` bytes in an array that grows. */
void *check_grown(void *all, size_t count, size_t *room, size_t size);
/* The tag and the number of an event of mesh_event(); false: its bytes are no such event's. */
bool check_event(struct cspan event, uint32_t *tag, uint64_t *number);

void check_hooks_init(struct check *);
void check_hooks_free(struct check *);
void workload_free(struct check *);

/* Of check_step(). */
bool check_counters(struct check *, struct check_node *);
bool check_memory(struct check *, struct check_node *);
bool check_strangers(struct check *, struct check_node *);

#define check_each_shard(m, s)                                                                                         \
    for (unsigned i_ = 0; (m)->node && i_ < (m)->config.shards; i_++)                                                  \
        for (struct shard *s = node_shard((m)->node, i_); s; s = NULL)

#endif
