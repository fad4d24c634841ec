/*
 * What a mesh promises, as checks that any scenario can make: a ledger of what was handed to its nodes and what they
 * acknowledged, hooks that see what they deliver, and looks at what they hold. Nothing here asserts: the first thing
 * found wrong is told in check->what, with node, channel and sequence, and stays there.
 *
 * After every step (check_step, cheap, the world does not run):
 *  - no session between strangers: its two ends are nodes of this mesh with one psk, the far key is the one that the
 *    entry names, and under security.peers: listed there is an entry (README "Configuration", session.md 3);
 *  - memory within what the configuration allows: limits.*, channels.*, rings (node.yaml, shards/README.md);
 *  - a counter never goes back within a life of a node;
 *  - nobody is called connected from whom nothing has come for 3 x session_timeout (extensions X1);
 *  - a reliable stream brings every event once and in order (netmesh.h, extensions X2);
 *  - a live event comes once, as it was published, and to subscribers only (README "What is exact").
 * At rest, faults healed (check_rest, the world runs on):
 *  - a quiet mesh converges: who knows each other is connected, every subscription is active, every follower is at the
 *    end of the log; from then on there are heartbeats and positions, and nothing is sent again;
 *  - nothing acknowledged is lost: by a stop or a kill never, by a power cut not if it was durable (README "Stop",
 *    channels.fsync, extensions X8; storage/README.md);
 *  - a log holds what was handed to it, each event once, those of a producer in order, less what retention may remove
 *    (redex.md 13); a sequence never names two events (storage/README.md);
 *  - a follower's log is the publisher's (extensions X7.4), less what its own retention may remove;
 *  - every drop is counted: what arrived was taken or has a reason (metrics.h), what was published came or has one.
 *
 * What excuses a loss is known from the mesh: the settings of a channel (log, retention, fsync), the lives of its node,
 * the power cuts of its host. What only the scenario knows (bit rot) it has to say: check_excuse().
 */
#ifndef NM_TESTS_SIM_MESH_CHECK_H
#define NM_TESTS_SIM_MESH_CHECK_H

#include "tests/sim/mesh/sim_node.h"

struct check_state;

struct check {
    struct mesh *mesh;
    char what[512];          /* the first thing found wrong: a sentence; "": nothing */
    uint64_t converge_ns;    /* how long check_rest() lets the mesh converge; 0: 120 s */
    bool live_in_order;      /* set by a scenario whose network keeps the order of datagrams */
    bool asked_again;        /* and one that asks again for what it follows: its entry forgets where that began */
    bool clocks_step;        /* so does one whose wall clocks go back: an open takes such a time for damage (scan.c) */
    struct check_state *own; /* ours */
};

/* After every mesh_add() and before the first mesh_start(): hooks of the nodes that are set then are called as before,
 * after ours. */
void check_init(struct check *, struct mesh *);
/* After mesh_deinit(), which still calls hooks. */
void check_deinit(struct check *);

/* False: c->what says what is wrong, now or before. */
bool check_step(struct check *);
bool check_rest(struct check *);

/* The parts of check_rest(), for a scenario that cannot have all of it. */
bool check_converges(struct check *, uint64_t limit_ns); /* runs until it has */
bool check_logs(struct check *);                         /* own logs beside the ledger; as they are now */
bool check_followers(struct check *);                    /* beside their publishers' logs; as they are now */
bool check_drops(struct check *);                        /* everything has its place or was counted; runs a little */
bool check_quiet(struct check *, uint64_t ns); /* for so long (0: three heartbeats) only what a mesh at rest says */

/*
 * The ledger of the log that `at` keeps of its own channel. Events are those of mesh_event(tag, number); a tag belongs
 * to one producer and one log, its numbers are handed over in order, each once (again only as a retry of the same
 * acknowledged append). workload.h does all this by itself.
 */
void check_handed(struct check *, const struct mesh_node *at, const char *channel, uint32_t tag, uint64_t from,
                  uint64_t count);
/* The same in a publish of its own that was answered: the events have the sequences from first_seq on, or, CHECK_SEQ:
 * nobody knows which. durable: they were asked to be synced. */
#define CHECK_SEQ UINT64_MAX
void check_acked(struct check *, const struct mesh_node *at, const char *channel, uint32_t tag, uint64_t from,
                 uint64_t count, uint64_t first_seq, bool durable);
/* mesh_publish(), told to the ledger. */
struct mesh_published check_publish(struct check *, struct mesh_node *, const char *channel, uint32_t tag,
                                    uint64_t from, uint64_t count, bool durable, uint64_t limit_ns);

/* Of the application's reliable stream `id` from one node to another: what netmesh_stream_send() took, in order, from
 * number 0 on; and that it was closed, reset or opened anew, which begins at 0 again under another tag. */
void check_streamed(struct check *, const struct mesh_node *from, const struct mesh_node *to, uint64_t id, uint32_t tag,
                    uint64_t count);

/* Its follows end here and begin again, by a request or because its disk fails: of what was brought to its hooks that
 * comes again which its logs have not stored (X7.4). Its logs themselves are judged as ever. */
void check_interrupted(struct check *, const struct mesh_node *);
/* From now on events may be missing from logs on this node's disk (which rotted, say), but none may be wrong. */
void check_excuse(struct check *, const struct mesh_node *);

#endif
