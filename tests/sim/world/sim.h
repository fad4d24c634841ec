/*
 * A deterministic world for whole nodes: the second back end of core/io/io.h. Virtual time, seeded randomness, a
 * network that loses, delays, duplicates and cuts, disks that forget what was not synced, all shards of all nodes in
 * one thread. The same seed and the same calls give the same run, byte for byte: sim_trace_hash() says so.
 *
 * Times are nanoseconds of the world's monotonic clock, probabilities are parts per million. Everything returned
 * belongs to the world unless said otherwise. Misuse of the seam by a node (a stale handle, a close with operations
 * pending, an operation submitted twice) is an assertion here, even where the kernel would let it pass.
 */
#ifndef NM_TESTS_SIM_SIM_H
#define NM_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "core/io/io.h"

#define SIM_US UINT64_C(1000)
#define SIM_MS UINT64_C(1000000)
#define SIM_S UINT64_C(1000000000)

#define SIM_ALWAYS UINT32_C(1000000) /* as a probability */
#define SIM_NEVER UINT64_MAX         /* as a deadline */

struct sim;
struct sim_host;
struct sim_stream;

struct sim_range {
    uint64_t min, max; /* both included */
};

/* Why a datagram that was sent over a link did not come out of it. */
enum sim_loss {
    SIM_LOST_LOSS,   /* each by itself: `loss` */
    SIM_LOST_BURST,  /* a bad time of the link: `burst_begin` */
    SIM_LOST_DOWN,   /* cut when it left or on its way */
    SIM_LOST_MTU,    /* larger than the link's mtu */
    SIM_LOST_QUEUE,  /* no room before the link: `queue` */
    SIM_LOST_TAP,    /* the tap said no */
    SIM_LOST_NAT,    /* the NAT at the far end had no mapping for it */
    SIM_LOST_NOBODY, /* no process, or nobody, at the address when it came */
    SIM_LOSSES
};

/*
 * One direction between two hosts. Settings may change at any time, and one that is 0 is off; the counters are the
 * world's, count datagrams, and add up: sent + duplicated == delivered + lost + flying, lost == the sum of lost_by.
 */
struct sim_link {
    uint32_t loss, duplicate; /* for each datagram, also for each of a GSO send */
    uint32_t reorder;         /* a datagram leaves the train of its GSO send and takes a delay of its own */
    uint32_t corrupt;         /* of each copy that flies: 1 to 8 random bits are flipped, or it is cut short */
    /* Gilbert and Elliott: with each datagram the link turns bad, or good again; while it is bad everything is lost. */
    uint32_t burst_begin, burst_end;
    struct sim_range delay; /* drawn for each send: jitter reorders sends */
    uint32_t tail;          /* a delay is longer, by up to tail_max: half of those by a sixteenth of it or less, */
    uint64_t tail_max;      /* half of the rest by two sixteenths or less, and so on */
    uint32_t mtu;    /* UDP payload bytes: what is larger is lost, as IP's fragments are where nobody carries them */
    bool mtu_silent; /* io_plain's path_payload does not know of the mtu: a black hole */
    uint64_t rate;   /* UDP payload bytes a second, one after the other, before the delay */
    uint32_t queue;  /* with a rate: payload bytes that may wait for it; 0: any number */
    bool down;       /* cut: nothing leaves, and what is on its way is lost */
    int error;       /* errno, positive: a send to there fails with it and nothing leaves (no route, a firewall) */
    uint64_t sent, duplicated, corrupted, delivered, lost, lost_by[SIM_LOSSES], flying;
    struct {
        bool bad;
        uint64_t idle_at; /* when all that waits has been sent */
    } state;              /* the world's */
};

/* World-wide; may change at any time, except `link`, which is what links start with: set it before adding hosts. */
struct sim_settings {
    struct sim_link link;
    uint64_t wall_base; /* CLOCK_REALTIME of every host at time 0 */

    /* How long things take. */
    struct sim_range turn; /* how long a turn keeps its shard busy; at least 1 */
    struct sim_range wake; /* from a completion, deadline or doorbell to the turn: also puts shards in seeded order */
    struct sim_range send; /* UDP sends; those of one shard leave in order */
    struct sim_range file, sync; /* file operations complete in the order of their draws */
    struct sim_range stream;
    uint32_t late; /* a completion of a file operation comes later, by up to late_max: others overtake it */
    uint64_t late_max;

    /* Sockets. */
    uint32_t missteer;     /* a datagram goes to a random shard */
    uint32_t coalesce;     /* GRO: datagrams that wait together become one arrival where they can */
    uint32_t send_again;   /* an IO_UDP_SEND gets -EAGAIN */
    uint32_t send_enobufs; /* an IO_UDP_SEND gets -ENOBUFS */
    uint32_t send_part;    /* of a GSO send only the first datagrams leave: res is their bytes */
    bool send_whole;       /* a datagram above the link's mtu gets -EMSGSIZE, as from a socket that does not fragment */
    uint32_t multishot_end; /* an arrival ends its IO_UDP_RECV or IO_ACCEPT (more == false): arm again */
    uint32_t socket_buffer; /* payload bytes waiting at one shard before more is dropped */
    uint32_t recv_buffers;  /* arrivals in one turn, and arrivals that can be held */
    int path_payload;       /* what io_plain's path_payload answers where the link has no mtu, or a larger one */

    /* Files and shards. */
    uint32_t short_io;      /* a file read or write is cut short */
    uint32_t lost_doorbell; /* a doorbell between shards rings nobody */
};

/* A node: what the world starts, turns and takes down. It knows the world only through its struct io. */
struct sim_node_ops {
    /* Starts a process: one struct io for each shard, valid until destroy (the array only during the call). NULL: it
     * did not start; nothing of it is pending or allocated. */
    void *(*create)(void *ctx, struct io *const *ios, unsigned shards);
    /* One turn of a shard, after the `done`s of what completed. Returns its deadline; SIM_NEVER is none, one that has
     * passed means at once. */
    uint64_t (*turn)(void *node, unsigned shard);
    /* Optional, the way out of a node that is killed or crashed and cannot free operations in flight: from the first
     * call on it is cut off from the world, its pending operations come back -ECANCELED, what it still submits fails
     * and has no effect, its clock runs on by a millisecond a round. Called once a round, with turns in between, until
     * it returns true and nothing is pending. Without it pending operations are dropped and their `done` never comes.
     */
    bool (*halt)(void *node);
    void (*destroy)(void *node); /* frees the node; nothing is pending any more */
};

/* For a create that fails when something of it is pending: as the end of the shard's ring, no `done` comes any more. */
void sim_io_close(struct io *);

struct sim *sim_create(uint64_t seed);
void sim_destroy(struct sim *); /* kills what runs, frees everything */

struct sim_settings *sim_settings(struct sim *);
uint64_t sim_now(const struct sim *);
uint64_t sim_random(struct sim *); /* for the script of a test; part of the run */
uint64_t sim_random_below(struct sim *, uint64_t bound);
/* Over every event, completion and payload so far. Equal hashes: equal runs. */
uint64_t sim_trace_hash(const struct sim *);
/* Prints every event as a line as well, to look into a seed that failed. NULL: stop. */
void sim_trace_to(struct sim *, FILE *);

void sim_run_until(struct sim *, uint64_t time);
void sim_run_for(struct sim *, uint64_t ns);
/* Runs while `more(ctx)` is true, which is asked between events. False: `limit` ns went by first. */
bool sim_run_while(struct sim *, bool (*more)(void *ctx), void *ctx, uint64_t limit);
/* Calls `fn` at that time, between turns. */
void sim_call_at(struct sim *, uint64_t time, void (*fn)(void *ctx), void *ctx);

/* A machine with an address of its own (10.0.0.0/8, port 20037), an empty disk and no process. */
struct sim_host *sim_add_host(struct sim *, unsigned shards);
struct io_addr sim_host_addr(const struct sim_host *);
void sim_host_set_addr(struct sim_host *, const struct io_addr *); /* roams; the old address is nobody's */

/* Hosts that are not well; all of it outlasts the process, a pause excepted. */
void sim_host_set_wall(struct sim_host *, int64_t offset_ns); /* of its CLOCK_REALTIME: a step */
/* From now on both its clocks gain so many ppm on the world's (negative: lose); above -1,000,000. */
void sim_host_set_skew(struct sim_host *, int32_t ppm);
/* Its process stands still for so long, or until it is killed (SIGSTOP): no turns; sockets fill, operations complete.
 * 0: it goes on. */
void sim_host_pause(struct sim_host *, uint64_t ns);
/* Each turn of that shard takes so much longer, drawn; {0}: no more. One shard of a host at a time. */
void sim_host_starve(struct sim_host *, unsigned shard, struct sim_range);

/* Starts a process; false when its create returned NULL. `ops` and `ctx` stay the caller's and are used by restart. */
bool sim_host_start(struct sim_host *, const struct sim_node_ops *ops, void *ctx);
void *sim_host_node(struct sim_host *);           /* NULL: no process */
uint64_t sim_host_boots(const struct sim_host *); /* power cuts so far */
/* Datagrams of the process that runs, or ran last: that left its socket, and that were handed to it. */
struct sim_traffic {
    uint64_t sent, taken;
};
struct sim_traffic sim_host_traffic(const struct sim_host *);
/* kill -9, also the way to take down a node that has stopped by itself. Completed writes stay, in the page cache; what
 * was in flight happened, happened in part, or did not. No-op without a process. */
void sim_host_kill(struct sim_host *);
/* Power loss: as kill, and the disk keeps of what was not synced whatever it likes (struct sim_disk_settings). */
void sim_host_crash(struct sim_host *);
/* The same from within the node's own code or a hook: from this moment on nothing that the process still does has an
 * effect, and it is taken down before time goes on. `power`: as sim_host_crash(), else as sim_host_kill(). */
void sim_host_crash_now(struct sim_host *, bool power);
/* Kills what runs and starts it again. */
bool sim_host_restart(struct sim_host *);
/* For a test that calls into a node between turns: brings the shard's clock up to date, and a turn soon. */
void sim_host_poke(struct sim_host *, unsigned shard);
void sim_host_signal(struct sim_host *, int signal); /* to shard 0's IO_SIGNAL; dropped when there is none */

/* From a to b; a may be b. Behind a NAT or not, a link joins two hosts. */
struct sim_link *sim_link(struct sim *, const struct sim_host *a, const struct sim_host *b);
void sim_cut(struct sim *, const struct sim_host *a, const struct sim_host *b, bool down); /* both ways */
/* Every send of the host fails with that errno (its network is down: ENETUNREACH); 0: no more. */
void sim_host_set_send_error(struct sim_host *, int error);
/* A datagram out of nowhere, delivered at once whatever the links say; only a NAT may refuse it. */
void sim_inject(struct sim *, const struct io_addr *from, const struct io_addr *to, struct cspan datagram);
/* Sees every datagram as it leaves its host; false loses it. The bytes may be changed. NULL: none. */
typedef bool sim_tap_fn(void *ctx, const struct io_addr *from, const struct io_addr *to, struct span datagram);
void sim_set_tap(struct sim *, sim_tap_fn *, void *ctx);

/*
 * A NAT box. Hosts behind it have inner addresses (192.168.0.0/16), which only each other can reach; what they send to
 * elsewhere comes from its outer address (198.18.0.0/16) and a port drawn from the seed, and only answers that its kind
 * lets in come back. Sends refresh a mapping, and each remote endpoint's leave to answer; what comes in does not
 * (RFC 4787 REQ-6 asks for the first and leaves the second open: this is the harder world). No hairpin.
 */
enum sim_nat_kind {
    SIM_NAT_FULL_CONE,       /* a mapping is open to all */
    SIM_NAT_RESTRICTED,      /* to the addresses it was used for */
    SIM_NAT_PORT_RESTRICTED, /* to the addresses and ports it was used for */
    SIM_NAT_SYMMETRIC        /* to one address and port: each has a mapping of its own */
};
struct sim_nat {
    enum sim_nat_kind kind;
    uint64_t timeout;                   /* of what was not used; SIM_NEVER: none. May change at any time */
    uint64_t mapped, refused, hairpins; /* ports given, datagrams not let in, datagrams to its own outer address */
};
struct sim_nat *sim_add_nat(struct sim *, enum sim_nat_kind, uint64_t timeout);
void sim_host_behind(struct sim_host *, struct sim_nat *); /* for good; the host gets an inner address */
struct io_addr sim_nat_addr(const struct sim_nat *);       /* the outer address; port 0 */
void sim_nat_restart(struct sim_nat *);                    /* it has forgotten all mappings */
void sim_nat_roam(struct sim_nat *);                       /* a new outer address, and no mappings */

struct sim_stats {
    uint64_t unreachable; /* datagrams to an address without a process; those sent while it was nobody's know no link */
    uint64_t overflows;   /* dropped for want of socket buffer */
    uint64_t missteered, arrivals, datagrams, turns;
};
const struct sim_stats *sim_stats(const struct sim *);

/*
 * Disks. A write reaches the page cache at its completion and stable storage by IO_FDATASYNC, IO_FSYNC or io_plain's
 * sync; a name (creation, rename, unlink) by a sync of its directory. Of what is not stable a crash keeps what it
 * likes, each piece by itself; a write can be torn at a multiple of 512 bytes of the file. A sector that arrives does
 * so as the page cache had it at some time: with all that was written to it before.
 */
#define SIM_DRAWN UINT32_MAX
/* How names come to stable storage. ANY is what POSIX allows: each by itself, by a sync of its directory. EXT4 is what
 * a journal gives: in order, so a crash keeps a first part of the changes; a sync commits up to the last change that
 * concerns the file or directory (with a file that has grown, all); a rename over a file brings the data of the new one
 * along (auto_da_alloc). */
enum sim_names { SIM_NAMES_ANY, SIM_NAMES_EXT4 };
struct sim_disk_settings {
    uint32_t crash_keep; /* an unsynced write or name is kept; SIM_DRAWN (default): drawn for each crash */
    uint32_t crash_tear; /* a write that is not kept is torn rather than lost, if it spans a boundary; SIM_DRAWN too */
    /* Of a write, or a truncation that lengthens, what does not arrive leaves its length: zeros where the file had
     * ended. ext4 does so, for sizes go through the journal and data does not. */
    uint32_t crash_zeros;
    bool names_durable; /* names are stable at once */
    enum sim_names names;
    uint64_t quota;        /* bytes of all files, 0 = none: beyond it writes are short, then -ENOSPC */
    struct sim_range slow; /* each file operation takes so much longer */
};
struct sim_disk_settings *sim_disk_settings(struct sim_host *);

/* Operations that fail by order, plain calls too (truncate counts as IO_WRITE, sync_dir as IO_FSYNC, rmdir as
 * IO_UNLINK). After a failed sync what it covered stays readable but never becomes stable, whatever is synced later. */
struct sim_fault {
    uint32_t kinds; /* bits 1 << enum io_kind; 0 = every file operation */
    const char
        *suffix;    /* of the path as opened or named; NULL = any. The caller's memory, while the fault is in force */
    int error;      /* errno, positive */
    uint32_t after; /* matching operations that are let through first */
    uint32_t times; /* that fail then; UINT32_MAX = all */
};
void sim_disk_fault(struct sim_host *, const struct sim_fault *);
void sim_disk_clear_faults(struct sim_host *);

/* Bit rot: flips so many bits, drawn, of stable bytes in files whose name ends in `suffix` (NULL: any) and that nobody
 * has written since their last sync. Returns how many; 0: there is no such file, or it is empty. */
unsigned sim_disk_rot(struct sim_host *, const char *suffix, unsigned bits);
/* Bad sectors, drawn as rot is: whoever reads one gets -EIO until it is written again. Returns how many; sectors that
 * were bad count again. */
unsigned sim_disk_bad_sectors(struct sim_host *, const char *suffix, unsigned sectors);
void sim_disk_heal(struct sim_host *); /* none is bad any more; what rotted stays so */

/* Sees each operation of the disk, completed ones of the seam and plain calls, before and after it has its effect; a
 * failure by order comes between the two. What is in flight when the process dies is not seen. */
struct sim_disk_event {
    uint64_t number;   /* of the operation, from 0 since the hook was set */
    enum io_kind kind; /* as struct sim_fault has it */
    const char *path;  /* as opened or named */
    bool after;
};
typedef void sim_disk_op_fn(void *ctx, const struct sim_disk_event *);
void sim_disk_on_op(struct sim_host *, sim_disk_op_fn *, void *ctx); /* NULL: none */

/* Stable at once, parents made. */
void sim_disk_put(struct sim_host *, const char *path, struct cspan bytes);
/* What a reader sees now; data NULL: no such file. Valid until the disk changes. */
struct cspan sim_disk_get(struct sim_host *, const char *path);
/* The names in a directory as a reader sees them, sorted, until `fn` returns non-zero. None: no such directory. */
void sim_disk_list(struct sim_host *, const char *path, io_dir_fn *fn, void *ctx);

/* A connection to the listener of shard 0: the far end is the test. Never NULL; without a process it is reset. Whatever
 * is sent arrives complete and in order, in pieces of any size. */
struct sim_stream *sim_connect(struct sim_host *);
void sim_stream_send(struct sim_stream *, struct cspan bytes); /* copied; any amount */
void sim_stream_finish(struct sim_stream *);                   /* FIN: the node reads an end */
/* Bytes taken; 0 = the node closed and nothing is left; -EAGAIN; -ECONNRESET when the process died. */
ssize_t sim_stream_recv(struct sim_stream *, void *out, size_t room);
void sim_stream_close(struct sim_stream *); /* both directions; the pointer is invalid afterwards */

#endif
