/*
 * Inside of the reactor. One operation is one request in the ring, with three exceptions that their drivers hide: a
 * multishot receive that waits for a buffer, a signal (poll, then read), a GSO send that the kernel refused.
 *
 * A handle is the descriptor itself. Only the UDP socket stands in the ring's table of registered files, for its sends:
 * until Linux 6.13 that table lets go of removed files strictly in order, and a request that waits for long (an armed
 * multishot, an idle connection) holds back every close behind it: no FIN, no freed disk space, a lock that stays. The
 * requests that wait look their file up once, not per event, so for them the table would gain nothing anyway.
 */
#ifndef NM_SHARDS_REACTOR_REACTOR_INTERNAL_H
#define NM_SHARDS_REACTOR_REACTOR_INTERNAL_H

#include <limits.h>
#include <liburing.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "shards/reactor/reactor.h"

enum {
    REACTOR_MAX_SHARDS = 64,
    RING_SQ_ENTRIES = 256, /* a fuller turn submits in between */
    /* The worst turn: several full submission queues completing at once, a burst of accepts and datagrams. What does
     * not fit is kept by the kernel (FEAT_NODROP), but ends multishots. */
    RING_CQ_ENTRIES = 4096,
    FIXED_UDP = 0, /* index of the UDP socket among the registered files */
    RING_FIXED_FILES = 1,
    RECV_GROUP = 0, /* id of the provided buffer ring */
    RECV_BUFFERS_DEFAULT = 16,
    RECV_BUFFERS_MAX = 4096,
};

union socket_addr {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* sockets.c: addresses. `family` is the socket's; IPv4 sockets are used for v4-mapped listen addresses. */
socklen_t addr_to_sockaddr(const struct io_addr *, int family, union socket_addr *out);
void addr_from_sockaddr(const union socket_addr *, struct io_addr *out);
bool addr_is_v4(const struct io_addr *);

/* sockets.c: each makes one socket; a descriptor, or a negative errno. */
struct udp_options {
    struct io_addr addr;
    bool reuseport;
    bool gro;            /* cleared when the kernel refuses, as is the next */
    unsigned steer_over; /* > 1: attach the steering program for so many shards before the bind */
    uint32_t buffer;     /* bytes asked for; 0: the system's default */
};
int udp_socket_open(struct udp_options *);
int tcp_listener_open(const struct io_addr *);
int unix_listener_open(const char *path);
int socket_addr_of(int fd, struct io_addr *out);
bool udp_gso_works(int fd);

/* A shard's end of the doorbells; one cache line each, for others write to it. */
struct bell {
    _Alignas(64) atomic_uint sleeping;
    int ring; /* duplicate of the ring's descriptor, -1 before the shard has made it; kept until the group goes, so that
               * a late doorbell never hits a reused descriptor */
};

struct reactor_group {
    struct bell bells[REACTOR_MAX_SHARDS];
    int udp[REACTOR_MAX_SHARDS];
    unsigned shards;
    int family; /* of the UDP sockets */
    int listener;
    char *unix_path; /* unlinked with the group; NULL: none */
    struct reactor_features features;
};

/* A received datagram's buffer: recvmsg_out, name, control, payload (aligned to 32 bytes). */
enum {
    RECV_NAME = 32, /* sockaddr_in6 and padding */
    RECV_CONTROL = CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint32_t)),
    RECV_HEAD = sizeof(struct io_uring_recvmsg_out) + RECV_NAME + RECV_CONTROL,
    /* 64 KiB of payload; an odd number of pages, so that the heads of all buffers do not share one cache set */
    RECV_BUFFER = 65536 + 4096,
};

/* What became of the one receive. */
enum recv_state {
    RECV_OFF,    /* nobody receives */
    RECV_PAUSES, /* not in the ring: no buffers, or nothing came; armed with the next turn */
    RECV_WAITS,  /* in the ring, until something comes */
    RECV_DRAINS, /* in the ring, and ends when nothing is there any more */
    RECV_LOOKS,  /* in the ring, and ends with one datagram or nothing */
    RECV_TURNS   /* it waited and is being cancelled, to be armed in another way */
};

/* udp_recv.c. As many buffers again as the ring holds stand by for those that udp_hold() keeps. */
struct udp_recv {
    struct io_uring_buf_ring *ring;
    size_t ring_bytes;
    uint8_t *memory;
    uint16_t *refs;  /* per buffer: the arrival's and those of udp_hold */
    uint16_t *spare; /* stack of buffers that are neither in the ring nor held */
    uint32_t total, want, provided, spares;
    int mask;
    enum recv_state state;
    struct io_op *op;  /* whose receive it is; NULL when it is off */
    struct msghdr msg; /* of the multishot: lengths only */
    struct {
        struct msghdr msg;
        union socket_addr from;
        _Alignas(struct cmsghdr) uint8_t control[RECV_CONTROL];
    } look;             /* where a look puts what is not payload */
    uint32_t overflows; /* last SO_RXQ_OVFL, wraps */
};
int udp_recv_init(struct reactor *, uint32_t buffers);
void udp_recv_deinit(struct reactor *);
/* In that way (waits, drains or looks), if it pauses and there is a buffer. One that waits is turned first. */
void udp_recv_arm(struct reactor *, enum recv_state how);
void udp_recv_absorb(struct reactor *);                 /* takes off the ring what only says that it pauses */
bool udp_recv_cancel(struct reactor *, struct io_op *); /* true: nothing in the ring to cancel, completed locally */
void udp_hold(struct io *, uint32_t buffer);
void udp_release(struct io *, uint32_t buffer);

/* udp_send.c: where GSO was refused, remembered for a while by destination; room for the messages of a split send,
 * which the kernel has copied once they are submitted. */
enum { SEND_REFUSALS = 16, SEND_SCRATCH = 64, SEND_SCRATCH_IOV = IOV_MAX };
struct gso_refusal {
    struct io_addr to;
    uint16_t segment; /* this size and more */
    uint64_t until;   /* monotonic ns */
};
struct udp_send {
    bool gso;
    uint64_t refused_until; /* the latest of all refusals: nothing to look up when it is past */
    struct gso_refusal refusals[SEND_REFUSALS];
    uint32_t messages, iovs; /* scratch used since the last submit */
    struct msghdr message[SEND_SCRATCH];
    struct iovec iov[SEND_SCRATCH_IOV];
};

/* entropy.c */
enum { ENTROPY_BYTES = 4096 };
struct entropy {
    size_t left;
    uint8_t bytes[ENTROPY_BYTES];
};
void entropy_random(struct io *, void *out, size_t len);
void entropy_deinit(struct entropy *);

struct reactor {
    struct io io; /* first: struct io * is struct reactor * */
    struct io_uring ring;
    struct reactor_group *group;
    uint64_t spin_ns;
    uint64_t idle_at; /* when this turn began to wait, 0: not yet */
    uint64_t wall_read,
        wall_offset;   /* ns: the monotonic time of the last reading of the wall clock; wall - monotonic */
    uint32_t pending;  /* operations of the owner between submit and last completion */
    struct list local; /* operations completed without the kernel; result in backend.a */
    int signal_fd;
    struct io_op *signal_op;
    struct udp_recv recv;
    struct udp_send send;
    struct entropy entropy;
    struct reactor_stats stats;
};

static inline struct reactor *reactor_of(struct io *io)
{
    return (struct reactor *)(void *)io;
}

/* io_op.backend.b */
enum { OP_CANCELED = 1 };

/* Kernel results on their way back to an operation; `flags` are the CQE's. */
struct op_driver {
    void (*start)(struct reactor *, struct io_op *);
    void (*on_cqe)(struct reactor *, struct io_op *, int32_t res, uint32_t flags); /* NULL: op_finish */
};

/* ops.c */
void op_submit(struct io *, struct io_op *);
void op_cancel(struct io *, struct io_op *);
void op_on_cqe(struct reactor *, struct io_op *, int32_t res, uint32_t flags);
void op_deliver(struct reactor *, struct io_op *, int32_t res, bool more);
void op_finish(struct reactor *, struct io_op *, int32_t res);       /* the last one */
void op_finish_later(struct reactor *, struct io_op *, int32_t res); /* from outside of the dispatch */

/* ring.c */
int ring_open(struct io_uring *, char *why,
              size_t why_len); /* 0 or net_err; says what the kernel refuses and what helps */
/* A request, still to be prepared, whose completion goes to `op` or, when that is NULL, to nobody. Submits when the
 * queue is full. */
struct io_uring_sqe *ring_sqe(struct reactor *, struct io_op *);
void ring_flush(struct reactor *);

/* Drivers, one file per subject. */
extern const struct op_driver udp_recv_driver, udp_send_driver;                                       /* udp_*.c */
extern const struct op_driver accept_driver, recv_driver, send_driver;                                /* streams.c */
extern const struct op_driver open_driver, read_driver, write_driver, fdatasync_driver, fsync_driver, /* files.c */
    rename_driver, unlink_driver, mkdir_driver, close_driver;
extern const struct op_driver signal_driver; /* signals.c */
extern const struct io_plain reactor_plain;  /* plain.c */
int signals_init(struct reactor *, const sigset_t *);
void signals_deinit(struct reactor *);

/* doorbell.c */
int doorbell_init(struct reactor *);
void doorbell_deinit(struct reactor *);
void doorbell_ring(struct io *, unsigned shard);
bool doorbell_fall_asleep(struct reactor *, bool (*idle)(void *), void *ctx); /* false: there is work */
void doorbell_wake_up(struct reactor *);

/* probe.c */
int probe_kernel(char *why, size_t why_len);

/* Writes why something failed, for a person; returns `err`. */
__attribute__((format(printf, 4, 5))) int explain(char *why, size_t why_len, int err, const char *format, ...);

#endif
