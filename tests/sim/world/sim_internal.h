/* What the files of the world share. */
#ifndef NM_TESTS_SIM_SIM_INTERNAL_H
#define NM_TESTS_SIM_SIM_INTERNAL_H

#include "core/base/list.h"
#include "core/base/map.h"
#include "core/io/io.h"
#include "tests/sim/world/disk.h"
#include "tests/sim/world/queue.h"
#include "tests/sim/world/rng.h"
#include "tests/sim/world/sim.h"

enum { SIM_STREAM_WINDOW = 65536, SIM_GSO_MAX = 65000, SIM_GSO_SEGMENTS = 64, SIM_HANDLES = 4096 };

struct sim {
    uint64_t now, seed, trace;
    FILE *trace_out;
    struct rng rng;
    struct sim_settings settings;
    struct sim_stats stats;
    struct sim_queue queue;
    struct sim_host **hosts;
    unsigned host_count, host_room;
    struct map links;    /* struct sim_link by sim_link()'s key: made when first asked for */
    struct nat *nats;    /* the last added first */
    unsigned nat_addrs;  /* outer addresses given so far */
    struct map host_map; /* struct sim_host.next_at, by address; some may share a slot */
    sim_tap_fn *tap;
    void *tap_ctx;
    struct list calls;  /* struct script_call, not made yet */
    struct list flying; /* struct datagram on its way */
};

struct sim_host {
    struct sim *sim;
    unsigned number, shard_count;
    struct io_addr addr;
    struct sim_host *next_at;  /* in its slot of host_map, by ascending number */
    struct sim_link link_base; /* what links between it and earlier hosts start with */
    struct nat *nat;           /* it stands behind it; NULL: none */
    int send_error;            /* errno, positive */
    int64_t wall_offset;
    int32_t skew_ppm;
    uint64_t skew_from, skew_local; /* at that world's time its own clock had this */
    uint64_t paused_until;
    unsigned starved;
    struct sim_range starve;
    struct disk disk;
    uint64_t incarnation; /* processes started so far */
    uint64_t boot;
    struct sim_traffic traffic;
    const struct sim_node_ops *ops;
    void *ctx, *node;
    struct sim_shard *shards; /* of the running process; NULL: none */
    struct list streams;      /* struct sim_stream.link: all that either side still has */
    struct list backlog;      /* struct sim_stream.waiting: not accepted yet */
    bool in_node;             /* the node's code runs: not the moment to take it down */
    bool dying, power_lost;   /* sim_host_crash_now() was called, and how */
    struct sim_event death;
    sim_disk_op_fn *disk_op;
    void *disk_op_ctx;
    uint64_t disk_ops;
};

enum handle_kind { HANDLE_FREE, HANDLE_UDP, HANDLE_LISTENER, HANDLE_FILE, HANDLE_STREAM };

struct handle {
    enum handle_kind kind;
    io_handle number; /* slot + uses of the slot * SIM_HANDLES, so that a stale one is told from its successor */
    unsigned pending;
    struct inode *inode;
    char *path; /* as opened, for faults */
    struct sim_stream *stream;
    struct handle *next_free;
};

struct sim_shard {
    struct io io; /* first: struct io * is struct sim_shard * */
    struct sim_host *host;
    struct rng rng;
    struct sim_event turn;
    uint64_t busy_until, last_send;
    bool cut_off;        /* the node is being taken down */
    struct list pending; /* io_op.backend.link: submitted, not completed */
    struct list ready;   /* completed, `done` not called */
    struct handle **handles, *free_handle;
    size_t handle_count, handle_room;
    struct list waiting; /* struct datagram in the socket buffer */
    size_t waiting_bytes;
    struct io_op *udp_recv, *accept, *signal;
    struct list buffers; /* struct buffer of arrivals in hand */
    uint32_t buffer_count, last_buffer;
    uint64_t signals; /* bits, by number */
};

/* What the world keeps in io_op.backend.space. */
struct sim_op {
    struct sim_event event;
    struct io_op *op;
    struct sim_shard *shard;
    bool ready;
    bool running;                /* its effect is being made */
    bool cancel_asked, canceled; /* asked for in vain, it completes as if nothing had been */
    int32_t res;
    uint64_t horizon; /* IO_FDATASYNC, IO_FSYNC: what had completed before the submit */
};
_Static_assert(sizeof(struct sim_op) <= sizeof((struct io_op){0}.backend.space), "fits into an operation");

static inline struct sim_shard *shard_of(struct io *io)
{
    return (struct sim_shard *)(void *)io;
}
static inline struct sim_op *sim_op_of(struct io_op *op)
{
    return (struct sim_op *)(void *)op->backend.space;
}

/* world.c */
enum trace_kind {
    TRACE_DONE,
    TRACE_TURN,
    TRACE_SEND,
    TRACE_LOST,
    TRACE_DELIVER,
    TRACE_START,
    TRACE_KILL,
    TRACE_CRASH,
    TRACE_SCRIPT
};
void sim_trace(struct sim *, enum trace_kind, const struct sim_host *, unsigned shard, uint64_t a, uint64_t b,
               struct cspan);
uint64_t sim_draw(struct sim *, struct sim_range);
bool sim_chance(struct sim *, uint32_t ppm);

/* host.c */
struct sim_host *sim_host_at(const struct sim *, const struct io_addr *); /* NULL: nobody's */

/* host.c: its own clock, and when that will show a time. */
uint64_t sim_host_local(const struct sim_host *);
uint64_t sim_host_world(const struct sim_host *, uint64_t local);
/* host.c: an operation of the disk begins; false: the process died before it. And it is done. */
bool sim_disk_op_begins(struct sim_host *, enum io_kind, const char *path);
void sim_disk_op_ended(struct sim_host *, enum io_kind, const char *path);

/* shard.c */
extern const struct io_ops sim_io_ops;
void sim_shard_init(struct sim_shard *, struct sim_host *, unsigned number);
void sim_shard_deinit(struct sim_shard *);
void sim_shard_clocks(struct sim_shard *);
void sim_shard_wake(struct sim_shard *);
void sim_shard_dispatch(struct sim_shard *);
void sim_shard_turn(struct sim *, struct sim_event *);

/* op.c */
void sim_op_submit(struct io *, struct io_op *);
void sim_op_cancel(struct io *, struct io_op *);
void sim_op_schedule(struct sim_shard *, struct io_op *, uint64_t at);
void sim_op_complete(struct sim_shard *, struct io_op *, int32_t res); /* `done` comes with the next dispatch */
void sim_op_deliver(struct sim_shard *, struct io_op *, int32_t res, bool more);
void sim_op_settle(struct sim_shard *); /* a process dies: what was in flight happens, or not, or in part */
void sim_op_cut_off(struct sim_shard *);
void sim_op_drop(struct sim_shard *);

/* handle.c */
struct handle *sim_handle_open(struct sim_shard *, enum handle_kind);
struct handle *sim_handle(struct sim_shard *, io_handle,
                          enum handle_kind); /* asserts that it is open and of that kind */
struct handle *sim_handle_any(struct sim_shard *, io_handle);
void sim_handle_close(struct sim_shard *, struct handle *);

/* file.c, plain.c */
void sim_file_submit(struct sim_shard *, struct io_op *);
int32_t sim_file_effect(struct sim_shard *, struct io_op *);                    /* seen by the hook */
int32_t sim_file_run(struct sim_shard *, struct io_op *, uint64_t write_limit); /* at most so many bytes of a write */
int sim_file_open(struct sim_shard *, const char *path, int flags, io_handle *out);
extern const struct io_plain sim_io_plain;

/* link.c */
struct datagram;
void sim_link_lost(struct sim_link *, enum sim_loss);
/* A datagram enters. True: it leaves after *wait ns, plus a delay. False: it is lost, and counted. */
bool sim_link_take(struct sim *, struct sim_link *, size_t len, uint64_t *wait);
uint64_t sim_link_delay(struct sim *, const struct sim_link *);
void sim_link_corrupt(struct sim *, struct sim_link *, struct datagram *); /* or leaves it alone */

/* nat.c */
struct nat;
struct nat *sim_nat_at(const struct sim *, const struct io_addr *); /* whose outer address it is; NULL: nobody's */
/* The host whose link a datagram to there takes, seen from `near`. Who gets it is for sim_nat_in() to say when it
 * comes. NULL: nobody. */
struct sim_host *sim_nat_route(const struct sim_host *near, const struct io_addr *to);
/* A host's send passes its NAT: *from, the inner address, becomes the outer one. False: refused. */
bool sim_nat_out(const struct sim_host *, const struct io_addr *to, struct io_addr *from);
struct sim_host *sim_nat_in(struct nat *, const struct io_addr *from, uint16_t port); /* NULL: refused */
void sim_nat_free_all(struct sim *);

/* net.c */
struct datagram {
    struct sim_event event;
    struct list link;      /* world's flying, then shard's waiting */
    struct sim_link *over; /* NULL: injected */
    struct io_addr from, to;
    size_t len;
    uint8_t data[];
};
struct buffer {
    struct list link;
    uint32_t number, refs;
    uint8_t data[];
};
int32_t sim_net_send(struct sim_shard *, struct io_op *);
int sim_net_path_payload(struct sim_host *, const struct io_addr *to);
bool sim_net_can_take(const struct sim_shard *);
void sim_net_take(struct sim_shard *); /* calls udp_recv's `done` for what waits */
void sim_net_hold(struct io *, uint32_t buffer);
void sim_net_release(struct io *, uint32_t buffer);
void sim_net_drop(struct list *datagrams);

/* stream.c */
void sim_stream_start(struct sim_shard *, struct io_op *); /* IO_RECV, IO_SEND: schedules it when it can go on */
int32_t sim_stream_run(struct sim_shard *, struct io_op *);
void sim_stream_accept(struct sim_shard *);
void sim_stream_node_closed(struct sim_stream *);
void sim_stream_reset_all(struct sim_host *);
void sim_stream_free_all(struct sim_host *);
void sim_stream_op_gone(struct sim_shard *, struct io_op *);

#endif
